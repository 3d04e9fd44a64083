//! Circuit breakers as people see them: the command line, the page, one JSON for scripts.

use lifecycle::breaker::{Breaker, BreakerSubject};
use lifecycle::redact::redacted;
use serde::Serialize;
use time::OffsetDateTime;

use super::text::{shortened, utc_text};
use crate::admission::{name_of, remedy};
use crate::ledger::Controls;

/// A deployment or a rule of which scorings have failed. Names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerView {
    /// The deployment or the rule that it is of, for orders; `endpoint`, `deployment` and `rule` tell scripts the same.
    #[serde(skip)]
    pub of: BreakerSubject,
    /// The endpoint's invoke URI; none: it is a rule's.
    pub endpoint: Option<String>,
    /// The deployment; none: the endpoint's default, or it is a rule's.
    pub deployment: Option<String>,
    /// The rule's id; none: it is a deployment's.
    pub rule: Option<String>,
    /// `closed`, `open`, or `probing` while one scoring tries.
    pub state: &'static str,
    /// Failed scorings in a row.
    pub failures: usize,
    /// The same, or how many of the last twenty failed if that is what opened it, in words.
    pub failed: String,
    /// Why the last of them failed: one of the causes that the README lists.
    pub cause: Option<&'static str>,
    /// What the last of them told.
    pub error: Option<String>,
    /// When that failure was counted; none while no failure is remembered.
    #[serde(with = "time::serde::rfc3339::option")]
    pub failed_time: Option<OffsetDateTime>,
    /// When a scoring may probe.
    #[serde(with = "time::serde::rfc3339::option")]
    pub open_until: Option<OffsetDateTime>,
    /// Id of the scoring that was let through to probe; none while nobody does.
    pub probe: Option<String>,
}

impl BreakerView {
    fn new(of: BreakerSubject, breaker: &Breaker) -> Self {
        let (endpoint, deployment, rule) = match &of {
            BreakerSubject::Deployment { endpoint, deployment } => {
                (Some(endpoint.to_string()), deployment.as_ref().map(ToString::to_string), None)
            }
            BreakerSubject::Rule(rule) => (None, None, Some(rule.to_string())),
        };
        let last = breaker.outcomes.iter().rev().find_map(|outcome| outcome.failed);
        Self {
            of,
            endpoint,
            deployment,
            rule,
            state: match (breaker.open_until, &breaker.probe) {
                (None, _) => "closed",
                (Some(_), None) => "open",
                (Some(_), Some(_)) => "probing",
            },
            failures: breaker.in_a_row(),
            failed: breaker.failures(),
            cause: last.map(lifecycle::FailureCause::name),
            error: breaker.error.as_deref().map(|text| redacted(text).into_owned()),
            failed_time: breaker.failed,
            open_until: breaker.open_until,
            probe: breaker.probe.as_ref().map(|probe| probe.id.to_string()),
        }
    }

    /// It keeps scorings waiting: it is open, or a probe is on its way.
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// The deployment or the rule in words, as `deployment blue of https://…`.
    pub fn subject(&self) -> String {
        name_of(&self.of)
    }

    /// `open, one scoring probes it at …; 10 scorings in a row failed (userCode), the last: …`
    pub fn summary(&self) -> String {
        let cause = self.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        let error = self.error.as_deref().map(|error| format!(", the last: {}", shortened(error, 120)));
        let failed = format!("{}{cause}{}", self.failed, error.unwrap_or_default());
        let word = if self.rule.is_some() { "paused" } else { "open" };
        match (self.open_until, &self.probe) {
            (None, _) if self.failures == 0 => "closed".to_owned(),
            (None, _) => format!("closed, {failed}"),
            (Some(_), Some(id)) => format!("probing by scoring {id}; {failed}"),
            (Some(until), None) => format!("{word}, one scoring probes it at {} UTC; {failed}", utc_text(until)),
        }
    }

    /// The command that lets all go.
    pub fn remedy(&self) -> String {
        remedy(&self.of)
    }
}

/// The breakers of all deployments and rules of which scorings have failed.
pub fn breakers(controls: &Controls) -> Vec<BreakerView> {
    controls.subjects().map(|(of, breaker)| BreakerView::new(of, breaker)).collect()
}
