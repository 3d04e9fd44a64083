//! The app's side of circuit breakers: who may go, who probes, what an attempt's end means.
//!
//! The state machine is `lifecycle::breaker`; its rows are controls, changed by compare-and-swap. What a process knows of
//! them may be a moment old: for so long after a breaker opened it may still submit, and for so long after it closed it
//! may still wait. A probe is claimed on the row itself.
//!
//! While all goes well nothing is read or written for it: there is no row, and a success changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle::breaker::{
    Breaker, BreakerDecision, BreakerEvent, BreakerSubject, RanOn, Source, Verdict, Verdicts, verdicts,
};
use lifecycle::group::Group;
use lifecycle::id::DeploymentName;
use lifecycle::{BreakerSettings, Event, FailureCause, Rules, Scoring, ScoringId, Status};
use time::{Duration, OffsetDateTime};

use super::controls::KnownControls;
use super::refusal::{Refusal, WaitScope};
use crate::clock::LedgerClock;
use crate::error::error_chain;
use crate::ledger::{self, Controls, InFlight, Ledger};

/// While a breaker waits for a probe, one failed group is split in so long: half of it may be the only one that can probe. All that were
/// held back would copy their files for halves that wait for that probe.
const SPLIT_TO_PROBE: Duration = Duration::minutes(1);

/// The circuit breakers of all deployments and rules, as one process goes by them.
pub(crate) struct Breakers {
    ledger: Ledger,
    rules: Arc<Rules>,
    clock: LedgerClock,
    controls: Arc<KnownControls>,
    /// One change of a breaker at a time: those of this process need not race each other.
    changing: tokio::sync::Mutex<()>,
    /// Deployments and rules whose breaker waits for a probe, each with when a failed group was split for want of one.
    split_to_probe: Mutex<BTreeMap<String, OffsetDateTime>>,
}

impl Breakers {
    pub(super) fn new(ledger: Ledger, rules: Arc<Rules>, clock: LedgerClock, controls: Arc<KnownControls>) -> Self {
        Self {
            ledger,
            rules,
            clock,
            controls,
            changing: tokio::sync::Mutex::default(),
            split_to_probe: Mutex::default(),
        }
    }

    /// Whether a scoring may go, as far as this process knows: the breakers that it would have to probe, none if all are
    /// closed.
    pub(super) fn check(
        &self,
        controls: &Controls,
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<Vec<BreakerSubject>, Refusal> {
        let mut probes = Vec::new();
        if controls.breakers.is_empty() && controls.pauses.is_empty() {
            return Ok(probes);
        }
        let settings = self.rules.breaker(&scoring.endpoint);
        for (subject, wait_scope) in [
            (BreakerSubject::rule_of(scoring), WaitScope::Rule),
            (BreakerSubject::deployment_of(scoring), WaitScope::Deployment),
        ] {
            match controls.breaker(&subject).check(&scoring.id, &settings, now) {
                BreakerDecision::Allow => {}
                BreakerDecision::Probe => probes.push(subject),
                BreakerDecision::Wait(reason) => {
                    return Err(Refusal::new(wait_scope, told(&subject, &reason)));
                }
            }
        }
        Ok(probes)
    }

    /// Whether the scoring probes a breaker already, as far as this process knows.
    pub(super) fn is_probe(controls: &Controls, scoring: &Scoring) -> bool {
        [BreakerSubject::rule_of(scoring), BreakerSubject::deployment_of(scoring)]
            .iter()
            .any(|subject| controls.breaker(subject).probe.is_some_and(|probe| probe.id == scoring.id))
    }

    /// Makes the scoring the probe of a breaker. `false`: it may go without, as the breaker was closed a moment ago.
    pub(super) async fn probe(
        &self,
        subject: &BreakerSubject,
        scoring: &Scoring,
        now: OffsetDateTime,
    ) -> Result<bool, Refusal> {
        let settings = self.rules.breaker(&scoring.endpoint);
        let event = BreakerEvent::ProbeRequested(scoring.id.clone());
        let reason = match self.change(subject, &event, &settings, now).await {
            // It is asked again as it is now: two may have claimed the probe, and one of them has it.
            Ok(breaker) => match breaker.check(&scoring.id, &settings, now) {
                BreakerDecision::Allow => {
                    let probes = breaker.probe.as_ref().is_some_and(|probe| probe.id == scoring.id);
                    if probes {
                        tracing::info!(scoring = %scoring.id, "{} probes {}: {}", scoring.id, name_of(subject), breaker.failures());
                    }
                    return Ok(probes);
                }
                BreakerDecision::Wait(reason) => told(subject, &reason),
                BreakerDecision::Probe => format!("another scoring was faster to probe {}", name_of(subject)),
            },
            Err(error) => format!("the circuit breaker cannot be changed: {}", error_chain(&error)),
        };
        let wait_scope = match subject {
            BreakerSubject::Deployment { .. } => WaitScope::Deployment,
            BreakerSubject::Rule(_) => WaitScope::Rule,
        };
        Err(Refusal::new(wait_scope, reason))
    }

    /// Puts those first in line of an endpoint's queue who are to probe: of each deployment and rule whose breaker waits for
    /// one, a scoring that was not tried yet, else the one tried longest ago. Else the probe would be the first in line
    /// again and again, which may be the one file that fails.
    pub(crate) fn probes_first(&self, rows: Vec<InFlight>, now: OffsetDateTime) -> Vec<InFlight> {
        let controls = self.controls.last();
        let mut first = BTreeSet::new();
        for (subject, breaker) in controls.subjects() {
            let of = || rows.iter().enumerate().filter(|(_, row)| is_of(row, &subject));
            let Some((_, row)) = of().next().filter(|_| breaker.open_until.is_some()) else { continue };
            if breaker.awaits_probe(&self.rules.breaker(&row.endpoint), now) {
                // Of those that were not tried, the first in line.
                first
                    .extend(of().map(|(at, row)| ((row.attempt > 0).then_some(row.since), at)).min().map(|(_, at)| at));
            }
        }
        if first.is_empty() {
            return rows;
        }
        let (mut probes, rest): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(at, _)| first.contains(at));
        probes.extend(rest);
        probes.into_iter().map(|(_, row)| row).collect()
    }

    /// Tells the breakers of a scoring's deployment and rule what a move means.
    pub(crate) async fn notify(&self, before: &Scoring, next: &Scoring, event: Option<Event>, now: OffsetDateTime) {
        let Some(Verdicts { deployment, rule }) = event.and_then(|event| verdicts(event, next)) else { return };
        let settings = self.rules.breaker(&next.endpoint);
        if !settings.is_on() {
            return;
        }
        let known = self.controls.last();
        for (subject, verdict, is_deployment) in
            [(BreakerSubject::deployment_of(next), deployment, true), (BreakerSubject::rule_of(next), rule, false)]
        {
            // A success, by far the most frequent, is written only where it can change something.
            if !matches!(verdict, Verdict::Failed { .. }) && known.breaker(&subject).is_quiet() {
                continue;
            }
            let ran_on = is_deployment.then(|| ran_on(before, next)).flatten();
            if matches!(verdict, Verdict::Made) && ran_on.is_none() {
                continue;
            }
            let is_failed = matches!(verdict, Verdict::Failed { .. });
            let source = self.source_of(next, is_failed).await;
            let file = next.group().and_then(only_file).filter(|_| is_failed);
            let is_group = next.is_group() && file.is_none();
            let event = BreakerEvent::Attempt { id: next.id.clone(), file, is_group, source, ran_on, verdict };
            if let Err(error) = self.change(&subject, &event, &settings, now).await {
                tracing::warn!(scoring = %next.id, error = %error_chain(&error), "an attempt of {} could not be counted by the circuit breaker of {}", next.id, name_of(&subject));
            }
        }
        if next.status == Status::Failed
            && next.is_group()
            && let Err(error) = Box::pin(self.notify_of_halves(next, now)).await
        {
            tracing::warn!(group = %next.id, error = %error_chain(&error), "whether both halves failed of which group {} is one could not be counted by the circuit breakers", next.id);
        }
    }

    /// Tells them once both halves of a group have failed for the sake of the same one: two such groups make it suspect, and no file.
    /// Each half is looked at when it ends, and whichever ends last sees the other.
    ///
    /// A half of one file says so only of a group that is no half itself, all of whose files fail then. Further down they may be two bad
    /// files that came one after the other.
    async fn notify_of_halves(&self, half: &Scoring, now: OffsetDateTime) -> Result<(), ledger::Error> {
        let Some(whole) = half.group().and_then(|group| group.half_of.as_ref()) else { return Ok(()) };
        let Some(cause) = half.failure else { return Ok(()) };
        let of_rule = |scoring: &Scoring| scoring.failure.map(FailureCause::is_of_rule);
        let mut several = true;
        for id in [whole.half(0), whole.half(1)] {
            let Some((other, _)) = self.ledger.get(&id).await? else { return Ok(()) };
            if other.status != Status::Failed || of_rule(&other) != of_rule(half) {
                return Ok(());
            }
            several &= other.group().is_some_and(|group| group.members.len() > 1);
        }
        if !several {
            let row = self.ledger.get(whole).await?;
            if row.is_none_or(|(row, _)| row.group().is_none_or(|group| group.half_of.is_some())) {
                return Ok(());
            }
        }
        let subject =
            if cause.is_of_rule() { BreakerSubject::rule_of(half) } else { BreakerSubject::deployment_of(half) };
        let error = half.error.clone().unwrap_or_default();
        let event = BreakerEvent::BothHalvesFailed { group: whole.clone(), cause, error };
        self.change(&subject, &event, &self.rules.breaker(&half.endpoint), now).await?;
        Ok(())
    }

    /// Where a scoring's files come from: a failed group's is that of its first file, as the place of its copies is the same for all
    /// groups of a rule.
    async fn source_of(&self, scoring: &Scoring, is_failed: bool) -> Source {
        let rule = self.rules.get(&scoring.rule);
        let first = scoring.group().filter(|_| is_failed).and_then(|group| group.staged().next());
        if let Some(first) = first
            // On the heap: few need it, and the way of each move holds its room.
            && let Ok(Some((member, _))) = Box::pin(self.ledger.get(first)).await
        {
            return Source::of(&member, rule);
        }
        Source::of(scoring, rule)
    }

    /// Why a failed group is not split now: its deployment, or its rule, is suspect, and each half would fail as well.
    pub(crate) async fn forbids_split(&self, group: &Scoring, now: OffsetDateTime) -> Option<String> {
        let controls = self.controls.recent(now).await.ok()?;
        let settings = self.rules.breaker(&group.endpoint);
        let mut probed = Vec::new();
        for subject in [BreakerSubject::rule_of(group), BreakerSubject::deployment_of(group)] {
            let breaker = controls.breaker(&subject);
            match breaker.check(&group.id, &settings, now) {
                BreakerDecision::Allow => {}
                BreakerDecision::Wait(reason) => return Some(reason),
                BreakerDecision::Probe => probed.push((name_of(&subject), breaker.reason())),
            }
        }
        let mut splits = self.split_to_probe.lock().unwrap_or_else(PoisonError::into_inner);
        let is_split_for = |name: &String| splits.get(name).is_some_and(|last| now - *last < SPLIT_TO_PROBE);
        if let Some((_, reason)) = probed.iter().find(|(name, _)| is_split_for(name)) {
            return Some(format!("{reason}; the halves of another group may probe it"));
        }
        splits.extend(probed.into_iter().map(|(name, _)| (name, now)));
        None
    }

    /// Frees the place of a probe that will not say a word.
    pub(super) async fn free(&self, subject: &BreakerSubject, nothing: &BreakerEvent, now: OffsetDateTime) {
        if let Err(error) = self.change(subject, nothing, &BreakerSettings::default(), now).await {
            tell_not_freed(subject, &error);
        }
    }

    async fn change(
        &self,
        subject: &BreakerSubject,
        event: &BreakerEvent,
        settings: &BreakerSettings,
        now: OffsetDateTime,
    ) -> Result<Breaker, ledger::Error> {
        let before = self.controls.last().breaker(subject).open_until.is_some();
        let _one = self.changing.lock().await;
        let breaker = self.ledger.change_breaker(subject, event, settings, now).await?;
        let (name, open) = (name_of(subject), breaker.open_until.is_some());
        let (endpoint, deployment, rule) = match subject {
            BreakerSubject::Deployment { endpoint, deployment } => {
                (Some(endpoint.as_str()), deployment.as_ref().map(DeploymentName::as_str), None)
            }
            BreakerSubject::Rule(rule) => (None, None, Some(rule.as_str())),
        };
        if open && !before {
            tracing::warn!(endpoint, deployment, rule, "{name}: {}", breaker.reason());
        } else if before && !open {
            tracing::info!(endpoint, deployment, rule, "{name}: the circuit breaker is closed");
        }
        self.controls.store_breaker(subject, breaker.clone());
        Ok(breaker)
    }

    /// Closes the breakers that are not wanted any more: they were switched off, or their rule is gone. Nobody waits for them, and
    /// it should not look as if.
    pub(crate) async fn close_unwanted(&self, controls: &Controls) {
        for (subject, breaker) in controls.subjects() {
            let wanted = match &subject {
                BreakerSubject::Deployment { endpoint, .. } => self.rules.breaker(endpoint).is_on(),
                BreakerSubject::Rule(rule) => {
                    self.rules.get(rule).is_some_and(|rule| self.rules.breaker(&rule.endpoint.uri).is_on())
                }
            };
            if wanted || breaker.open_until.is_none() {
                continue;
            }
            // Closing needs no settings.
            let settings = BreakerSettings::default();
            let closed = self.ledger.change_breaker(&subject, &BreakerEvent::Closed, &settings, self.clock.now()).await;
            if let Err(error) = closed {
                tracing::warn!(error = %error_chain(&error), "the circuit breaker of {} was not closed", name_of(&subject));
            }
        }
    }
}

/// Whether what is in flight goes by this breaker.
pub(crate) fn is_of(row: &InFlight, subject: &BreakerSubject) -> bool {
    match subject {
        BreakerSubject::Deployment { endpoint, deployment } => {
            row.endpoint == *endpoint && row.deployment == *deployment
        }
        BreakerSubject::Rule(rule) => row.rule == *rule,
    }
}

/// The deployment that an attempt ran on, as its job tells it, where none was asked for.
fn ran_on(before: &Scoring, next: &Scoring) -> Option<RanOn> {
    // A failed attempt has given its job away.
    let job = next.job.as_ref().or(before.job.as_ref()).filter(|_| next.deployment.is_none())?;
    let submitted = before.submitted.or(next.submitted).unwrap_or(next.created);
    Some(RanOn { deployment: job.deployment()?, submitted })
}

/// The file that a group of one stands for.
fn only_file(group: &Group) -> Option<ScoringId> {
    match &group.members[..] {
        [only] => Some(only.id.clone()),
        _ => None,
    }
}

/// What a scoring says of a breaker whose word is not awaited any more.
pub(super) fn says_nothing(scoring: &Scoring) -> BreakerEvent {
    let source = Source::of(scoring, None);
    let (file, is_group, ran_on, verdict) = (None, false, None, Verdict::Nothing);
    BreakerEvent::Attempt { id: scoring.id.clone(), file, is_group, source, ran_on, verdict }
}

/// Frees the places of a scoring that was ended by somebody who has the ledger alone.
pub(crate) async fn free_probes_of(ledger: &Ledger, ended: &Scoring, now: OffsetDateTime) {
    for subject in [BreakerSubject::rule_of(ended), BreakerSubject::deployment_of(ended)] {
        // When a breaker opens does not matter here: nothing is counted.
        let freed = ledger.change_breaker(&subject, &says_nothing(ended), &BreakerSettings::default(), now).await;
        if let Err(error) = freed {
            tell_not_freed(&subject, &error);
        }
    }
}

fn tell_not_freed(subject: &BreakerSubject, error: &ledger::Error) {
    let name = name_of(subject);
    tracing::warn!(error = %error_chain(error), "whoever probes {name} will not say a word, and its place could not be freed; another one probes when the time for its word is over");
}

/// `deployment v7 of https://…`, `rule claims`.
pub(crate) fn name_of(subject: &BreakerSubject) -> String {
    match subject {
        BreakerSubject::Deployment { endpoint, deployment: Some(name) } => format!("deployment {name} of {endpoint}"),
        BreakerSubject::Deployment { endpoint, deployment: None } => format!("the default deployment of {endpoint}"),
        BreakerSubject::Rule(rule) => format!("rule {rule}"),
    }
}

/// How an operator lets what waits for a breaker go at once.
pub(crate) fn remedy(subject: &BreakerSubject) -> String {
    match subject {
        BreakerSubject::Deployment { endpoint, deployment } => {
            let deployment = deployment.as_ref().map(|name| format!(" --deployment {name}")).unwrap_or_default();
            format!("scorekeeper breaker close --endpoint {endpoint}{deployment} --reason …")
        }
        BreakerSubject::Rule(rule) => format!("scorekeeper breaker close --rule {rule} --reason …"),
    }
}

/// Why a scoring waits, with whom it is about and the command that helps.
fn told(subject: &BreakerSubject, reason: &str) -> String {
    let about = match subject {
        BreakerSubject::Deployment { .. } => String::new(),
        BreakerSubject::Rule(rule) => format!("rule `{rule}` is paused: "),
    };
    format!("{about}{reason}; {} lets all go at once", remedy(subject))
}
