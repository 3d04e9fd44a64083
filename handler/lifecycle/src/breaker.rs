//! Circuit breakers: of a deployment, as a broken model must not burn the queue, and of a rule, as a right that was taken away
//! must not fail all that is uploaded meanwhile.
//!
//! ```text
//!          too many scorings failed            the pause is over
//!  closed ─────────────────────────▶ open ◀──────────────────────▶ one scoring probes
//!    ▲                                │  it failed                        │
//!    └──── a scoring succeeded, or an operator closed it ◀────────────────┘
//! ```
//!
//! Scorings are counted, not attempts: each once, however often it is tried. What a failure means ([`FailureCause`]) decides
//! where it counts:
//!
//! * on the **deployment** what its code, its compute or nobody known caused. It opens at [`failures`](BreakerSettings::failures)
//!   in a row from two sources or more, a source being a rule and the first folder below its prefix, or twice as many from one,
//!   as a dozen bad files of one sender are no broken model; or when 80 % of the last [`WINDOW`] failed, so that a success now and then does not keep
//!   a broken model going. One success closes it where failures in a row opened it; else three in a row do.
//!   Groups of files that share a job open it as well: two of which both halves failed ([`BreakerEvent::BothHalvesFailed`]).
//! * on the **rule** what its request, its input or a right caused: so many of one cause in a row pause the rule, and no other
//!   one of the deployment. A scoring that succeeds, or that fails by what only code that has its input can do, closes it.
//!
//! A job that a person cancelled says nothing; neither does a refusal that may pass. What was under way when a breaker opened is
//! counted too and opens nothing anew.
//!
//! Never: a probe that blocks for ever. Its word is awaited for a time, then another scoring may probe. Never more than
//! [`WINDOW`] scorings in memory or in a row.

use time::{Duration, OffsetDateTime};

use crate::digest::digest;
use crate::duration::{IsoDuration, utc_text};
use crate::failure::FailureCause;
use crate::id::{DeploymentName, EndpointUri, RuleId, ScoringId};
use crate::publishing::Publishing;
use crate::rule::Rule;
use crate::schedule::is_ahead;
use crate::scoring::Scoring;
use crate::status::Event;

/// Ended scorings that a breaker remembers.
pub const WINDOW: usize = 20;
/// Failures among a full [`WINDOW`] of outcomes that open a deployment's breaker though successes are between them: 80 %.
const MIN_FAILED_OF_WINDOW: usize = 16;
/// Successes in a row that close a deployment of which most have failed: one in ten is what it does when it is broken, too.
const CONVINCING: usize = 3;
/// For how long a probe's word is awaited, if the pause is not longer.
const PROBE: Duration = Duration::minutes(30);
/// Groups of which both halves failed that open a deployment's breaker.
const SUSPECT_GROUPS: usize = 2;
/// What the source of such a group begins with: no digest of a folder has a letter beyond `f`.
const HALVES: &str = "g";
/// Longer errors are cut: the scoring has them whole.
const MAX_ERROR_CHARS: usize = 300;

/// When breakers open, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct BreakerSettings {
    /// Failed scorings in a row that open it, 1 to [`WINDOW`]. Default 10; 0 switches it off.
    #[cfg_attr(feature = "schema", schemars(range(max = WINDOW)))]
    pub failures: u32,
    /// Time from its opening to the first probe, and between probes. Default 5 minutes.
    #[cfg_attr(feature = "schema", schemars(transform = crate::rule::some_time))]
    pub pause: IsoDuration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 10, pause: IsoDuration(Duration::minutes(5)) }
    }
}

impl BreakerSettings {
    /// Whether there is a breaker at all.
    pub fn is_on(&self) -> bool {
        self.failures > 0
    }
}

/// Whose breaker it is: what is held back while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerSubject {
    /// Counts what the model's code, its compute or nobody known caused, and holds back all that goes to that deployment.
    Deployment {
        /// The invoke URI of the endpoint that the deployment is in: its name is unique there only.
        endpoint: EndpointUri,
        /// The deployment; `None`: the endpoint's default.
        deployment: Option<DeploymentName>,
    },
    /// Counts what the rule's request, its input or a right caused, and holds back the scorings of this rule alone.
    Rule(RuleId),
}

impl BreakerSubject {
    /// The breaker of the deployment that a scoring goes to.
    pub fn deployment_of(scoring: &Scoring) -> Self {
        Self::Deployment { endpoint: scoring.endpoint.clone(), deployment: scoring.deployment.clone() }
    }

    /// The breaker of its rule.
    pub fn rule_of(scoring: &Scoring) -> Self {
        Self::Rule(scoring.rule.clone())
    }

    fn is_rule(&self) -> bool {
        matches!(self, Self::Rule(_))
    }
}

/// Where a scoring's file comes from, as a short key: its rule, and the first folder below the rule's prefix. What one
/// sender writes is mostly there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source(String);

impl Source {
    /// The source of a scoring.
    pub fn of(scoring: &Scoring, rule: Option<&Rule>) -> Self {
        let blob = &scoring.blob;
        let prefix = rule.map_or("", |rule| rule.matches.prefix.as_str());
        let below = blob.path.strip_prefix(prefix).unwrap_or(&blob.path);
        let folder = below.trim_start_matches('/').split_once('/').map_or("", |(folder, _)| folder);
        Self(digest(&[scoring.rule.as_str(), &blob.account, &blob.container, folder])[..8].to_owned())
    }

    /// As it stands in a row.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads what stands in a row.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(HALVES).unwrap_or(text);
        (text.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Self(text.to_owned()))
    }
}

/// How a scoring ended, or failed for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The scoring that it counts as; of the only file of a group that file's.
    pub id: ScoringId,
    /// Where its file came from.
    pub source: Source,
    /// Why it failed; `None`: it is scored.
    pub failed: Option<FailureCause>,
    /// It is no scoring of one blob but a group of some, which counts as one.
    pub is_group: bool,
}

/// The deployment that a job ran on where the request named none, and when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RanOn {
    /// The deployment that Azure ML chose, as the job tells it.
    pub deployment: DeploymentName,
    /// When the attempt's first request was intended. Of two deployments the one asked for later is the endpoint's
    /// default now.
    pub submitted: OffsetDateTime,
}

/// A breaker as it is remembered. The default is closed, without a failure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Breaker {
    /// Outcomes of scorings, the last [`WINDOW`], the oldest first. None while none of them failed.
    pub outcomes: Vec<Outcome>,
    /// What the last failure told.
    pub error: Option<String>,
    /// When the last failure was counted.
    pub failed: Option<OffsetDateTime>,
    /// It is open, and probed from then on; `None`: closed.
    pub open_until: Option<OffsetDateTime>,
    /// The scoring whose word is awaited, while the breaker is open.
    pub probe: Option<Probe>,
    /// The deployment that the outcomes are of, where the requests named none.
    pub ran_on: Option<RanOn>,
}

/// A scoring that is let through an open breaker, to find out whether those behind it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The scoring that was let through.
    pub id: ScoringId,
    /// After this another one may.
    pub until: OffsetDateTime,
}

impl Probe {
    fn awaited_until(&self, settings: &BreakerSettings, now: OffsetDateTime) -> OffsetDateTime {
        not_beyond(self.until, probe_time(settings), now)
    }
}

/// How many of those that failed are groups, where some are.
fn of_them_groups(failed: usize, groups: usize) -> String {
    match groups {
        0 => String::new(),
        _ if groups == failed => ", all of them groups".to_owned(),
        1 => ", 1 of them a group".to_owned(),
        groups => format!(", {groups} of them groups"),
    }
}

/// For how long a probe's word is awaited.
fn probe_time(settings: &BreakerSettings) -> Duration {
    settings.pause.0.max(PROBE)
}

/// A time that was at most `span` ahead when it was told; `now` if it cannot have been, as a clock told it that was corrected
/// since. Nobody may wait for it: it may lie years ahead.
fn not_beyond(until: OffsetDateTime, span: Duration, now: OffsetDateTime) -> OffsetDateTime {
    if is_ahead(until, now + span) { now } else { until }
}

/// Whether a scoring may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerDecision {
    /// It may go: the breaker is closed or off, or this scoring is the probe already.
    Allow,
    /// It may as the probe, if it becomes that ([`BreakerEvent::ProbeRequested`]).
    Probe,
    /// It may not go; the text says why and until when, for people.
    Wait(String),
}

/// What an attempt says of whose breaker it is told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A job was made. It says on which deployment, and nothing else.
    Made,
    /// It left a good output, or got as far as only good ones do.
    Succeeded,
    /// It failed, for the sake of whom the breaker is of.
    Failed {
        /// Why it failed: outcomes keep it, and a rule's breaker opens by failures of one cause in a row.
        cause: FailureCause,
        /// As people read it; cut to 300 characters.
        error: String,
    },
    /// It is over, and says nothing about whom the breaker is of.
    Nothing,
    /// It failed as a group, whose halves tell more. It counts as no failure; but where it was to prove that others may go, it did not.
    Split,
}

/// What changes a breaker: attempts, a wish to probe, an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerEvent {
    /// An attempt got so far.
    Attempt {
        /// The scoring whose attempt it is.
        id: ScoringId,
        /// The scoring that it counts as, if that is another: the only file of a group, which is one however often it is tried.
        file: Option<ScoringId>,
        /// It is a group of several files.
        is_group: bool,
        /// Where its file comes from.
        source: Source,
        /// The deployment that its job ran on, if only that tells.
        ran_on: Option<RanOn>,
        /// What it counts as: a success, a failure, or nothing of these.
        verdict: Verdict,
    },
    /// Both halves of a group failed by what one of its files may have caused. Two such groups open the breaker: that two files
    /// of each fail is less likely than that all do.
    BothHalvesFailed {
        /// The group that failed and was split into these halves.
        group: ScoringId,
        /// Why the half failed that was looked at last.
        cause: FailureCause,
        /// The error of the half that was looked at last; kept of it are 300 characters.
        error: String,
    },
    /// This scoring wants to probe.
    ProbeRequested(ScoringId),
    /// An operator closed it. All is counted anew.
    Closed,
}

impl Breaker {
    /// Nothing is remembered that the next failure would be counted on, and nobody waits.
    pub fn is_quiet(&self) -> bool {
        self.outcomes.is_empty() && self.open_until.is_none()
    }

    /// Whether a scoring may go now.
    pub fn check(&self, id: &ScoringId, settings: &BreakerSettings, now: OffsetDateTime) -> BreakerDecision {
        let Some(until) = self.open_until.filter(|_| settings.is_on()) else { return BreakerDecision::Allow };
        let until = not_beyond(until, settings.pause.0, now);
        match &self.probe {
            // It is let through as often as it asks: between its claim and its POST there are a slot and the rate
            // limit, and a probe that cannot go would keep all others waiting.
            Some(probe) if probe.id == *id => BreakerDecision::Allow,
            Some(probe) if now < probe.awaited_until(settings, now) => {
                BreakerDecision::Wait(format!("{}; scoring {} probes it now", self.reason(), probe.id))
            }
            _ if now < until => {
                BreakerDecision::Wait(format!("{}; one scoring probes it at {}", self.reason(), utc_text(until)))
            }
            _ => BreakerDecision::Probe,
        }
    }

    /// Whether the next scoring that asks would probe.
    pub fn awaits_probe(&self, settings: &BreakerSettings, now: OffsetDateTime) -> bool {
        settings.is_on()
            && self.open_until.is_some_and(|until| not_beyond(until, settings.pause.0, now) <= now)
            && self.probe.as_ref().is_none_or(|probe| probe.awaited_until(settings, now) <= now)
    }

    /// The failed scorings at the end, the last first.
    fn run(&self) -> impl Iterator<Item = (&Outcome, FailureCause)> {
        self.outcomes.iter().rev().map_while(|outcome| Some((outcome, outcome.failed?)))
    }

    /// Failed scorings in a row.
    pub fn in_a_row(&self) -> usize {
        self.run().count()
    }

    fn mostly_failed(&self) -> bool {
        self.outcomes.len() == WINDOW && self.failed_of_all() >= MIN_FAILED_OF_WINDOW
    }

    fn failed_of_all(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.failed.is_some()).count()
    }

    /// `12 scorings in a row failed`, `12 scorings in a row failed, 2 of them groups`, `2 groups in a row failed`.
    pub fn failures(&self) -> String {
        if self.mostly_failed() {
            let groups = self.outcomes.iter().filter(|outcome| outcome.failed.is_some() && outcome.is_group).count();
            let failed = self.failed_of_all();
            return format!("{failed} of the last {WINDOW} scorings failed{}", of_them_groups(failed, groups));
        }
        let (count, groups) = (self.in_a_row(), self.run().filter(|(outcome, _)| outcome.is_group).count());
        let what = if groups == count && count > 0 { "group" } else { "scoring" };
        let groups = if groups == count { String::new() } else { of_them_groups(count, groups) };
        if count == 1 { format!("1 {what} failed") } else { format!("{count} {what}s in a row failed{groups}") }
    }

    /// Why it is open, for people.
    pub fn reason(&self) -> String {
        let why = self.run().next().map_or_else(String::new, |(_, cause)| format!(", because {}", cause.because()));
        let error = self.error.as_deref().unwrap_or("no reason was given");
        format!("the circuit breaker is open, as {}{why}, the last: {error}", self.failures())
    }

    /// Whether what is remembered is reason enough to open it.
    fn opens(&self, subject: &BreakerSubject, settings: &BreakerSettings) -> bool {
        let enough = usize::try_from(settings.failures).unwrap_or(usize::MAX).min(WINDOW);
        if enough == 0 {
            return false;
        }
        let last = self.run().next().map(|(_, cause)| cause);
        if subject.is_rule() {
            return self.run().take_while(|(_, cause)| Some(*cause) == last).count() >= enough;
        }
        let mut sources: Vec<_> = self.run().map(|(outcome, _)| &outcome.source).collect();
        let in_a_row = sources.len();
        sources.sort();
        sources.dedup();
        (in_a_row >= enough && sources.len() > 1) || in_a_row >= (2 * enough).min(WINDOW) || self.mostly_failed()
    }

    /// The breaker after what happened; `None` if that changes nothing.
    pub fn after(
        &self,
        subject: &BreakerSubject,
        event: &BreakerEvent,
        settings: &BreakerSettings,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let mut next = self.clone();
        match event {
            BreakerEvent::Attempt { id, file, is_group, source, ran_on, verdict } => {
                let counts = next.is_of_its_deployment(ran_on.as_ref());
                let counted = file.as_ref().unwrap_or(id);
                let outcome =
                    |failed| Outcome { id: counted.clone(), source: source.clone(), failed, is_group: *is_group };
                match verdict {
                    _ if !counts => next.free_probe(id),
                    Verdict::Made => {}
                    Verdict::Nothing => next.free_probe(id),
                    Verdict::Split => next.pause_anew(id, settings, now),
                    Verdict::Succeeded => next.succeeded(subject, id, outcome(None), now),
                    Verdict::Failed { cause, error } => {
                        next.error = Some(error.chars().take(MAX_ERROR_CHARS).collect());
                        next.failed = Some(now);
                        next.failed(subject, id, outcome(Some(*cause)), settings, now);
                    }
                }
            }
            BreakerEvent::BothHalvesFailed { group, cause, error } => {
                next.error = Some(error.chars().take(MAX_ERROR_CHARS).collect());
                next.failed = Some(now);
                next.both_halves_failed(group, *cause, settings, now);
            }
            BreakerEvent::Closed => next = Self::default(),
            BreakerEvent::ProbeRequested(id) => {
                // Asked again on the row as it is now: of two processes that want to probe, the one whose write comes
                // second sees the first one's claim here.
                if self.check(id, settings, now) != BreakerDecision::Probe {
                    return None;
                }
                next.probe = Some(Probe { id: id.clone(), until: now + probe_time(settings) });
            }
        }
        (next != *self).then_some(next)
    }

    /// Whether what happened on a deployment counts. One that the endpoint's default was switched to begins closed, and what
    /// still comes from the one before it is history.
    fn is_of_its_deployment(&mut self, ran_on: Option<&RanOn>) -> bool {
        let Some(ran_on) = ran_on else { return true };
        match &mut self.ran_on {
            Some(known) if known.deployment == ran_on.deployment => {
                known.submitted = known.submitted.max(ran_on.submitted);
            }
            Some(known) if known.submitted >= ran_on.submitted => return false,
            Some(_) => *self = Self { ran_on: Some(ran_on.clone()), ..Self::default() },
            None => self.ran_on = Some(ran_on.clone()),
        }
        true
    }

    fn free_probe(&mut self, id: &ScoringId) {
        self.probe.take_if(|probe| probe.id == *id);
    }

    /// Whoever probed has shown nothing good: the next one probes after another pause.
    fn pause_anew(&mut self, id: &ScoringId, settings: &BreakerSettings, now: OffsetDateTime) {
        if self.open_until.is_some() && self.probe.as_ref().is_some_and(|probe| probe.id == *id) {
            (self.open_until, self.probe) = (Some(now + settings.pause.0), None);
        }
    }

    /// Remembers an outcome, in place of an earlier one of the same scoring.
    fn remember(&mut self, outcome: Outcome) {
        self.outcomes.retain(|other| other.id != outcome.id);
        self.outcomes.push(outcome);
        let surplus = self.outcomes.len().saturating_sub(WINDOW);
        self.outcomes.drain(..surplus);
    }

    fn succeeded(&mut self, subject: &BreakerSubject, id: &ScoringId, outcome: Outcome, now: OffsetDateTime) {
        self.remember(outcome);
        let good = self.outcomes.iter().rev().take_while(|outcome| outcome.failed.is_none()).count();
        let quiet = Self { ran_on: self.ran_on.take(), ..Self::default() };
        if subject.is_rule() || good == self.outcomes.len() || (self.open_until.is_some() && good >= CONVINCING) {
            *self = quiet;
        } else {
            self.ran_on = quiet.ran_on;
            if !self.mostly_failed() {
                (self.open_until, self.probe) = (None, None);
            } else if self.probe.as_ref().is_some_and(|probe| probe.id == *id) {
                // One good one proves little here: the next one may try at once.
                (self.open_until, self.probe) = (Some(now), None);
            }
        }
    }

    /// A group whose halves both failed is a source of its own, told apart from others by that.
    fn both_halves_failed(
        &mut self,
        group: &ScoringId,
        cause: FailureCause,
        settings: &BreakerSettings,
        now: OffsetDateTime,
    ) {
        let source = Source(format!("{HALVES}{}", &group.as_str()[..8 - HALVES.len()]));
        self.remember(Outcome { id: group.clone(), source, failed: Some(cause), is_group: true });
        let groups = self.run().filter(|(outcome, _)| outcome.source.0.starts_with(HALVES)).count();
        if self.open_until.is_none() && groups >= SUSPECT_GROUPS {
            (self.open_until, self.probe) = (Some(now + settings.pause.0), None);
        }
    }

    fn failed(
        &mut self,
        subject: &BreakerSubject,
        id: &ScoringId,
        outcome: Outcome,
        settings: &BreakerSettings,
        now: OffsetDateTime,
    ) {
        let probed = self.probe.as_ref().is_some_and(|probe| probe.id == *id);
        let awaited = self.probe.as_ref().is_some_and(|probe| now < probe.awaited_until(settings, now));
        self.remember(outcome);
        let opens = match self.open_until {
            None => self.opens(subject, settings),
            // What was under way when it opened fails, as was to be expected; or the probe's word is awaited.
            Some(until) => probed || (not_beyond(until, settings.pause.0, now) <= now && !awaited),
        };
        if opens {
            // Also where nobody probed: a failure after the pause tells as much as a probe's.
            (self.open_until, self.probe) = (Some(now + settings.pause.0), None);
        }
    }
}

/// What a move of a scoring says: of its deployment, and of its rule. `None`: nothing, and nobody need be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts {
    /// Told to the breaker of the deployment that the scoring goes to.
    pub deployment: Verdict,
    /// Told to the breaker of the scoring's rule.
    pub rule: Verdict,
}

/// What a move means for the breakers; `next` is the scoring after it.
pub fn verdicts(event: Event, next: &Scoring) -> Option<Verdicts> {
    let both = |verdict: Verdict| Some(Verdicts { deployment: verdict.clone(), rule: verdict });
    match event {
        // One of its files may have failed it; each half tells more. What was repeated before is counted as of any other scoring: attempts
        // in vain are what a breaker saves.
        Event::LastAttemptFailed if next.failure.is_some_and(|cause| next.splits_at_once(cause)) => {
            both(Verdict::Split)
        }
        // What an operator ordered to be published was good long ago.
        Event::OutputGood if next.publishing.as_ref().is_some_and(Publishing::is_ordered) => None,
        Event::OutputGood => both(Verdict::Succeeded),
        Event::AttemptFailed | Event::LastAttemptFailed | Event::RefusedPermanently => {
            let cause = next.failure.unwrap_or(FailureCause::Unknown);
            let error = next.error.clone().unwrap_or_else(|| "no reason was given".to_owned());
            let failed = Verdict::Failed { cause, error };
            Some(match cause {
                FailureCause::Input | FailureCause::Access | FailureCause::Request => {
                    Verdicts { deployment: Verdict::Nothing, rule: failed }
                }
                // The request was taken, and the code had its input.
                FailureCause::UserCode => Verdicts { deployment: failed, rule: Verdict::Succeeded },
                // A lost node is not the deployment's fault. It is told of when no further attempt could make up for it: a
                // thousand more would cost money and help nobody.
                FailureCause::Platform if event == Event::AttemptFailed => return both(Verdict::Nothing),
                FailureCause::Platform | FailureCause::Unknown => {
                    Verdicts { deployment: failed, rule: Verdict::Nothing }
                }
            })
        }
        Event::Accepted | Event::FoundOne | Event::FoundSeveral => both(Verdict::Made),
        // What a person decided says nothing, nor does an input that is gone, newer, or cannot be looked at, nor a move that the
        // ledger refuses. But the probe's place must become free.
        Event::JobCancelled
        | Event::GivenUp
        | Event::Withdrawn
        | Event::RecordRefused
        | Event::InputGone
        | Event::InputNewer
        | Event::SameContent
        | Event::InputNotSeen => both(Verdict::Nothing),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
