//! Circuit breakers as people see them: the command line, the page, one JSON for scripts.

use lifecycle::redact::redacted;
use serde::Serialize;
use time::OffsetDateTime;

use super::text::{shortened, utc_text};
use crate::ledger::{Controls, DeploymentBreaker};

/// A deployment of which attempts have failed. Names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerView {
    /// The endpoint's invoke URI.
    pub endpoint: String,
    /// The deployment; none: the endpoint's default.
    pub deployment: Option<String>,
    /// `closed`, `open`, or `probing` while one scoring tries the deployment.
    pub state: &'static str,
    /// Failed attempts in a row.
    pub failures: u32,
    /// What the last of them told.
    pub error: Option<String>,
    /// When it was counted.
    #[serde(with = "time::serde::rfc3339::option")]
    pub failed_time: Option<OffsetDateTime>,
    /// When a scoring may probe the deployment.
    #[serde(with = "time::serde::rfc3339::option")]
    pub open_until: Option<OffsetDateTime>,
    /// The scoring that probes it.
    pub probe: Option<String>,
}

impl From<&DeploymentBreaker> for BreakerView {
    fn from(known: &DeploymentBreaker) -> Self {
        let breaker = &known.breaker;
        Self {
            endpoint: known.endpoint.to_string(),
            deployment: known.deployment.as_ref().map(ToString::to_string),
            state: match (breaker.open_until, &breaker.probe) {
                (None, _) => "closed",
                (Some(_), None) => "open",
                (Some(_), Some(_)) => "probing",
            },
            failures: breaker.failures,
            error: breaker.error.as_deref().map(|text| redacted(text).into_owned()),
            failed_time: breaker.failed,
            open_until: breaker.open_until,
            probe: breaker.probe.as_ref().map(|probe| probe.id.to_string()),
        }
    }
}

/// The breakers of all deployments of which attempts have failed.
pub fn breakers(controls: &Controls) -> Vec<BreakerView> {
    controls.breakers.values().map(BreakerView::from).collect()
}

impl BreakerView {
    /// It keeps scorings waiting.
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// Whom it is about.
    pub fn subject(&self) -> String {
        let deployment = self
            .deployment
            .as_deref()
            .map_or_else(|| "the default deployment".to_owned(), |name| format!("deployment {name}"));
        format!("{deployment} of {}", self.endpoint)
    }

    /// `open after 10 failed attempts in a row, the last: …; one scoring probes it at …`
    pub fn summary(&self) -> String {
        let error = self.error.as_deref().map(|error| format!(", the last: {}", shortened(error, 120)));
        let failures = format!("{} failed in a row{}", self.failures, error.unwrap_or_default());
        match (self.open_until, &self.probe) {
            (None, _) if self.failures == 0 => "closed".to_owned(),
            (None, _) => format!("closed, {failures}"),
            (Some(_), Some(id)) => format!("probing by scoring {id}; {failures}"),
            (Some(until), None) => format!("open, one scoring probes it at {} UTC; {failures}", utc_text(until)),
        }
    }

    /// The command that lets all go.
    pub fn remedy(&self) -> String {
        let deployment = self.deployment.as_deref().map(|name| format!(" --deployment {name}")).unwrap_or_default();
        format!("scorekeeper breaker close --endpoint {}{deployment}", self.endpoint)
    }
}
