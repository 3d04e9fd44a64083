//! What is being checked: the rule, the service's habits, how much may go wrong, and what is broken on purpose.

use std::sync::LazyLock;

use lifecycle::{LedgerId, Observation, Rule, Rules, Scoring, Status, Step, decide};
use time::{Duration, OffsetDateTime, macros::datetime};

/// When the first event comes.
pub(crate) const START: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
/// Time passes in steps of this; every duration of the rules below is a multiple of it.
pub(crate) const UNIT: Duration = Duration::MINUTE;

/// A slot younger than this is not freed, as in the application's `ledger::slots`.
pub(crate) const SLOT_EXPIRY: Duration = Duration::minutes(8);
/// Who has a slot for longer than this records nothing on it, as there.
pub(crate) const MAX_CLAIM_AGE: Duration = Duration::minutes(2);

/// How often each fault may come. A life in which all of them are used up goes on without faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// A worker dies between two of its steps.
    pub crashes: u8,
    /// A POST's answer, or the POST itself, is lost.
    pub lost_answers: u8,
    /// A POST takes effect after the time that the settings allow for it.
    pub zombies: u8,
    /// A table's answer is lost; the write takes effect at any later time.
    pub lost_writes: u8,
    /// The endpoint refuses for now.
    pub refusals: u8,
    /// A look finds nothing out: an outage, or a job that the endpoint does not know for a moment.
    pub blind_looks: u8,
    /// A job ends in another way than with a good output.
    pub bad_jobs: u8,
    /// A worker takes minutes, or for ever, for its next step. The others take no time.
    pub pauses: u8,
    /// An input is deleted: a job may fail by that, whatever else may go wrong.
    pub deletions: u8,
}

/// A guard that is taken out. Each has a test that wants the checker to find the harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemovedGuard {
    /// All guards are there.
    None,
    /// A write whose answer was lost is believed to be done.
    NoReadBack,
    /// The POST is sent before its intent is on record.
    PostFirst,
    /// A submission whose job was not found is sent again at once.
    NoResubmitAfter,
    /// An intent is sent however old it is.
    NoLeaseCheck,
    /// Others conclude from an intent that is under way that its owner is gone.
    NoLease,
    /// A look is decided on with the time after it.
    ClockAfterLook,
    /// A move is written over whatever is there.
    NoCompareAndSwap,
    /// A scoring whose answer was lost is never looked for.
    NeverLookedFor,
    /// A slot is freed by its number, whoever has it by now.
    SlotFreedByNumber,
    /// A slot without a holder is freed however young it is.
    OrphansFreedAtOnce,
    /// Orphaned slots are never freed.
    OrphansKept,
    /// A worker records its intent however old its claim of a slot is.
    StaleClaims,
    /// Nobody lists the service's jobs.
    NoOrphanScan,
    /// The projection is written without a look at its version.
    ProjectionUnguarded,
    /// Nobody looks at an input: it is always there.
    NoInputLook,
}

/// One check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    /// The rules file: one rule.
    pub rules: &'static LazyLock<Rules>,
    /// Uploads: 1 or 2.
    pub uploads: usize,
    /// How often each upload is told of.
    pub deliveries: u8,
    /// The service answers a repeated submission with the job that it made before.
    pub names_are_kept: bool,
    /// The Durable-shaped tables are written.
    pub projection: bool,
    /// What may go wrong.
    pub budget: Budget,
    /// What is broken on purpose.
    pub removed_guard: RemovedGuard,
}

fn rules(more: &str) -> Rules {
    rules_that_look(false, more)
}

fn rules_that_look(verify_input: bool, more: &str) -> Rules {
    Rules::read(&format!(
        r#"{{"rules":[{{"id":"claims","match":{{"container": "con"}},"endpoint":{{"uri":"https://e.example/jobs"}},"maxAttempts":2,
            "submitTimeout":"PT1M","lookupInterval":"PT1M","resubmitAfter":"PT2M","outputTimeout":"PT1M","retryBackOff":"PT1M","verifyInput":{verify_input},{more}}}]}}"#
    ))
    .expect("the rules are good")
}

/// Never gives up, and lets jobs run for ever.
pub(crate) static PLAIN: LazyLock<Rules> = LazyLock::new(|| rules(r#""submitDeadline":"P30D","jobTimeout":"P21D""#));
/// Stops jobs that run for two minutes.
pub(crate) static STUCK: LazyLock<Rules> = LazyLock::new(|| rules(r#""submitDeadline":"P30D","jobTimeout":"PT2M""#));
/// Gives up after three minutes.
pub(crate) static HASTY: LazyLock<Rules> = LazyLock::new(|| rules(r#""submitDeadline":"PT3M","jobTimeout":"P21D""#));
/// Holds for an operator what looking did not settle.
pub(crate) static HOLD: LazyLock<Rules> =
    LazyLock::new(|| rules(r#""submitDeadline":"P30D","jobTimeout":"P21D","onUnknown":"hold""#));
/// Allows one job at a time.
pub(crate) static ONE_SLOT: LazyLock<Rules> =
    LazyLock::new(|| rules(r#""submitDeadline":"P30D","jobTimeout":"P21D","maxInFlight":1"#));

/// Has inputs looked at before a job, after a failed one and before `scored`.
pub(crate) static LOOKING: LazyLock<Rules> =
    LazyLock::new(|| rules_that_look(true, r#""submitDeadline":"P30D","jobTimeout":"P21D""#));

impl World {
    /// The ledger that all workers share.
    pub(crate) fn ledger() -> LedgerId {
        LedgerId::of_random([1; 16])
    }

    /// The real decision, or what the guard removal makes of it.
    pub(crate) fn decide(&self, scoring: &Scoring, observation: &Observation, now: OffsetDateTime) -> Step {
        let rule = Some(self.rule());
        match (self.removed_guard, scoring.status, observation) {
            (RemovedGuard::NoResubmitAfter, Status::Unknown, Observation::Lost(look)) if look.is_empty() => {
                decide(scoring, rule, observation, now + Duration::HOUR)
            }
            (RemovedGuard::NoLease, Status::Submitting, Observation::Nothing) => {
                decide(&Scoring { due: now, ..scoring.clone() }, rule, observation, now)
            }
            (RemovedGuard::NeverLookedFor, Status::Unknown, _) => Step::Wait { reason: "no".to_owned() },
            _ => decide(scoring, rule, observation, now),
        }
    }

    /// The rule limits its jobs.
    pub(crate) fn capped(&self) -> bool {
        self.rule().max_in_flight.is_some()
    }

    /// The rule that every upload has.
    pub(crate) fn rule(&self) -> &'static Rule {
        self.rules.get("claims").expect("the rule is there")
    }
}
