//! Limits as people see them: the command line, the page, one JSON for scripts.

use std::collections::BTreeSet;

use lifecycle::breaker::BreakerSubject;
use lifecycle::redact::redacted;
use lifecycle::{Scoring, Status};
use serde::Serialize;
use time::OffsetDateTime;

use super::groups::waits_for_others;
use super::text::{counted, utc_text};
use crate::ledger::{Controls, LimitScope, ScopeStatus};

/// A rule or an endpoint with its limit. Names are stable: scripts rely on them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitView {
    /// What `name` names: `rule` or `endpoint`.
    pub kind: &'static str,
    /// The rule's id or the endpoint's invoke URI.
    pub name: String,
    /// The limit that holds; none: no limit.
    pub limit: Option<u32>,
    /// The limit in the rules.
    pub configured: Option<u32>,
    /// Since when an operator's limit holds instead.
    #[serde(with = "time::serde::rfc3339::option")]
    pub set_time: Option<OffsetDateTime>,
    /// Which operator set the limit that holds instead; none: none did, or it was not said.
    pub set_by: Option<String>,
    /// Why that operator set it; none: none did, or it was not said.
    pub set_reason: Option<String>,
    /// Slots that were taken when the last tick looked.
    pub taken: Option<u32>,
    /// Queued scorings that found no room then, and those behind them.
    pub waiting: u32,
    /// How many of these are groups, each of which counts as one.
    pub waiting_groups: u32,
    /// Why the first of those that wait does; none if none does.
    pub reason: Option<String>,
}

/// Every rule and endpoint that a tick has told of or an operator has limited.
pub fn limits(controls: &Controls) -> Vec<LimitView> {
    let none = ScopeStatus::default();
    let scopes: BTreeSet<&LimitScope> = controls.scopes.keys().chain(controls.limits.keys()).collect();
    let view = |scope: &LimitScope| {
        let (scope_status, live) = (controls.scopes.get(scope).unwrap_or(&none), controls.limits.get(scope));
        LimitView {
            kind: if matches!(scope, LimitScope::Rule(_)) { "rule" } else { "endpoint" },
            name: redacted(if scope_status.name.is_empty() {
                live.map_or("", |live| &live.name)
            } else {
                &scope_status.name
            })
            .into_owned(),
            limit: live.map(|live| live.limit).or(scope_status.configured),
            configured: scope_status.configured,
            set_time: live.map(|live| live.set),
            set_by: live.and_then(|live| live.by.as_deref()).map(|by| redacted(by).into_owned()),
            set_reason: live.and_then(|live| live.reason.as_deref()).map(|text| redacted(text).into_owned()),
            taken: scope_status.taken,
            waiting: scope_status.waiting,
            waiting_groups: scope_status.waiting_groups,
            reason: scope_status.reason.as_deref().map(|text| redacted(text).into_owned()),
        }
    };
    scopes.into_iter().map(view).collect()
}

impl LimitView {
    /// There is something to tell of it.
    pub fn matters(&self) -> bool {
        self.limit.is_some() || self.waiting > 0
    }

    /// `10 of 50 taken, 3 wait: …`
    pub fn summary(&self) -> String {
        let taken = match (self.limit, self.taken) {
            (None, _) => "no limit".to_owned(),
            (Some(0), _) => "paused".to_owned(),
            (Some(limit), taken) => format!("{} of {limit} slots taken", taken.unwrap_or(0)),
        };
        let set = self.set_time.map(|at| {
            let rules = self.configured.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
            let who = self.set_by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
            let why = self.set_reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!(" (an operator's limit since {}{who}{why}; in the rules: {rules})", utc_text(at))
        });
        let waiting = Some(self.waits_text()).filter(|_| self.waiting > 0).map(|waits| format!(", {waits}"));
        [taken, set.unwrap_or_default(), waiting.unwrap_or_default()].concat()
    }

    /// `3 wait`, `3 scorings and 1 group wait`.
    pub fn waits_text(&self) -> String {
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (waiting, groups) = (number(self.waiting), number(self.waiting_groups));
        format!("{} {}", counted(waiting, groups), if groups > 0 && waiting == 1 { "waits" } else { "wait" })
    }
}

/// The slots that a scoring may have one of; `None`: neither its rule nor its endpoint has a limit.
pub(super) fn slots_of(controls: &Controls, scoring: &Scoring) -> Option<u32> {
    let scopes = [LimitScope::Endpoint(scoring.endpoint.key().clone()), LimitScope::rule(&scoring.rule)];
    let limit = |scope: &LimitScope| match controls.limits.get(scope) {
        Some(live) => Some(live.limit),
        None => controls.scopes.get(scope)?.configured,
    };
    scopes.iter().filter_map(limit).min()
}

/// Why a queued scoring is not submitted yet, as far as the controls tell.
pub fn waits_for(controls: &Controls, scoring: &Scoring) -> Option<String> {
    if scoring.status != Status::Queued {
        return None;
    }
    if let Some(order) = &scoring.on_hold {
        return Some(format!("{order}; `scorekeeper release` lets it go"));
    }
    let back_off = (scoring.due > scoring.since).then(|| format!("not before {} UTC", utc_text(scoring.due)));
    if let Some(others) = waits_for_others(controls, scoring) {
        return Some(back_off.into_iter().chain([others]).collect::<Vec<_>>().join("; "));
    }
    let breakers = [BreakerSubject::rule_of(scoring), BreakerSubject::deployment_of(scoring)];
    let open = breakers.iter().map(|of| controls.breaker(of)).find(|breaker| breaker.open_until.is_some());
    let reason = if let Some(breaker) = open {
        Some(format!("{} (scorekeeper breaker)", breaker.reason()))
    } else {
        let scopes = [LimitScope::Endpoint(scoring.endpoint.key().clone()), LimitScope::rule(&scoring.rule)];
        scopes.iter().find_map(|scope| controls.scopes.get(scope)?.reason.clone())
    };
    let reasons: Vec<_> = back_off.into_iter().chain(reason).collect();
    Some(if reasons.is_empty() { "the next reconcile run submits it".to_owned() } else { reasons.join("; ") })
}
