//! The circuit breaker of a deployment: a broken model must not burn the queue.
//!
//! ```text
//!          N failed attempts in a row             the pause is over
//!  closed ───────────────────────────▶ open ◀──────────────────────▶ one scoring probes
//!    ▲                                  │  it failed                        │
//!    └──────────── any attempt succeeded, or an operator closed it ◀────────┘
//! ```
//!
//! Attempts that fail are counted, whoever is to blame: a job that failed, vanished, had to be stopped or left no good
//! output, and a request that was refused for good. A job that a person cancelled says nothing; neither does a refusal
//! that may pass. Attempts that were under way when it opened are counted too and open nothing anew; one of them that
//! succeeds closes it.
//!
//! Never: a probe that blocks for ever. Its word is awaited for a time, then another scoring may probe.

use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use crate::duration::{IsoDuration, utc_text};
use crate::id::ScoringId;
use crate::status::Event;

/// For how long a probe's word is awaited, if the pause is not longer.
const PROBE: Duration = Duration::minutes(30);
/// Longer errors are cut: the scoring has them whole.
const MAX_ERROR_CHARS: usize = 300;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BreakerSettings {
    /// Failed attempts in a row that open it. Default 10; 0 switches it off.
    pub failures: u32,
    /// Time from its opening to the first probe, and between probes. Default 5 minutes.
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

/// A breaker as it is remembered. The default is closed, without a failure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Breaker {
    /// Failed attempts in a row.
    pub failures: u32,
    /// What the last of them told.
    pub error: Option<String>,
    /// When the last failure was counted.
    pub failed: Option<OffsetDateTime>,
    /// It is open, and probed from then on; `None`: closed.
    pub open_until: Option<OffsetDateTime>,
    /// The scoring whose word on the deployment is awaited, while the breaker is open.
    pub probe: Option<Probe>,
}

/// A scoring that probes a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The scoring that was let through.
    pub id: ScoringId,
    /// After this another one may.
    pub until: OffsetDateTime,
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

/// What changes a breaker: the ends of attempts, a wish to probe, an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerEvent {
    /// An attempt of this scoring failed.
    Failed {
        /// The scoring whose attempt it was; if it is the probe, the breaker opens anew.
        id: ScoringId,
        /// Why it failed, as people read it; cut to 300 characters.
        error: String,
    },
    /// An attempt left a good output: the deployment works, whoever tried it.
    Succeeded,
    /// An attempt of this scoring ended and says nothing about the deployment.
    Ended(ScoringId),
    /// This scoring wants to probe.
    ProbeRequested(ScoringId),
    /// An operator closed it. Failures are counted from 0.
    Closed,
}

impl Breaker {
    /// Whether a scoring may go now.
    pub fn check(&self, id: &ScoringId, settings: &BreakerSettings, now: OffsetDateTime) -> BreakerDecision {
        let Some(until) = self.open_until.filter(|_| settings.is_on()) else { return BreakerDecision::Allow };
        match &self.probe {
            // It is let through as often as it asks: between its claim and its POST there are a slot and the rate
            // limit, and a probe that cannot go would keep all others waiting.
            Some(probe) if probe.id == *id => BreakerDecision::Allow,
            Some(probe) if now < probe.until => {
                BreakerDecision::Wait(format!("{}; scoring {} probes it now", self.reason(), probe.id))
            }
            _ if now < until => {
                BreakerDecision::Wait(format!("{}; one scoring probes it at {}", self.reason(), utc_text(until)))
            }
            _ => BreakerDecision::Probe,
        }
    }

    /// Why it is open, for people.
    pub fn reason(&self) -> String {
        let error = self.error.as_deref().unwrap_or("no reason was given");
        format!("the circuit breaker is open after {} failed attempts in a row, the last: {error}", self.failures)
    }

    /// The breaker after what happened; `None` if that changes nothing.
    pub fn after(&self, event: &BreakerEvent, settings: &BreakerSettings, now: OffsetDateTime) -> Option<Self> {
        let mut next = self.clone();
        match event {
            BreakerEvent::Failed { id, error } => {
                next.failures = next.failures.saturating_add(1);
                next.error = Some(error.chars().take(MAX_ERROR_CHARS).collect());
                next.failed = Some(now);
                let probed = self.probe.as_ref().is_some_and(|probe| probe.id == *id);
                let awaited = self.probe.as_ref().is_some_and(|probe| now < probe.until);
                let opens = match self.open_until {
                    // `>=`, as failures are counted while the breaker is off or has a higher limit, too.
                    None => settings.is_on() && next.failures >= settings.failures,
                    // What was under way when it opened fails, as was to be expected; or the probe's word is awaited.
                    Some(until) => probed || (until <= now && !awaited),
                };
                if opens {
                    // Also where nobody probed: a failure after the pause tells as much as a probe's.
                    next.open_until = Some(now + settings.pause.0);
                    next.probe = None;
                }
            }
            BreakerEvent::Succeeded | BreakerEvent::Closed => next = Self::default(),
            BreakerEvent::Ended(id) => next.probe = next.probe.filter(|probe| probe.id != *id),
            BreakerEvent::ProbeRequested(id) => {
                // Asked again on the row as it is now: of two processes that want to probe, the one whose write comes
                // second sees the first one's claim here.
                if self.check(id, settings, now) != BreakerDecision::Probe {
                    return None;
                }
                next.probe = Some(Probe { id: id.clone(), until: now + settings.pause.0.max(PROBE) });
            }
        }
        (next != *self).then_some(next)
    }
}

/// What a move of a scoring means for the breaker of its deployment, if anything.
pub fn breaker_event(event: Event, id: &ScoringId, error: Option<&str>) -> Option<BreakerEvent> {
    match event {
        Event::OutputGood => Some(BreakerEvent::Succeeded),
        // Who is to blame is not known here: a missing right looks the same as a broken model, and in both cases a
        // thousand further attempts cost money and help nobody.
        Event::AttemptFailed | Event::LastAttemptFailed | Event::RefusedPermanently => {
            Some(BreakerEvent::Failed { id: id.clone(), error: error.unwrap_or("no reason was given").to_owned() })
        }
        // A person's decision says nothing about the deployment, but the probe's place must become free.
        // Nor does an input that is gone, newer, or cannot be looked at, nor a move that the ledger refuses.
        Event::RecordRefused
        | Event::JobCancelled
        | Event::InputGone
        | Event::InputNewer
        | Event::SameContent
        | Event::InputNotSeen => Some(BreakerEvent::Ended(id.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
    const SETTINGS: BreakerSettings = BreakerSettings { failures: 3, pause: IsoDuration(Duration::minutes(5)) };

    fn id(n: u32) -> ScoringId {
        ScoringId::read(&format!("{n:032x}")).expect("32 hex digits")
    }

    fn failed(n: u32) -> BreakerEvent {
        BreakerEvent::Failed { id: id(n), error: format!("exit code {n}") }
    }

    struct Life {
        breaker: Breaker,
        now: OffsetDateTime,
    }

    impl Life {
        fn new() -> Self {
            Self { breaker: Breaker::default(), now: NOW }
        }

        fn open() -> Self {
            let mut life = Self::new();
            for n in 1..=3 {
                life.then(&failed(n));
            }
            life
        }

        /// The pause is over, and scoring 9 probes.
        fn probed() -> Self {
            let mut life = Self::open();
            life.later(5);
            assert_eq!(life.ask(9), BreakerDecision::Probe);
            life.then(&BreakerEvent::ProbeRequested(id(9)));
            life
        }

        fn later(&mut self, minutes: i64) -> &mut Self {
            self.now += Duration::minutes(minutes);
            self
        }

        fn then(&mut self, event: &BreakerEvent) -> &mut Self {
            if let Some(next) = self.breaker.after(event, &SETTINGS, self.now) {
                self.breaker = next;
            }
            self
        }

        fn ask(&self, n: u32) -> BreakerDecision {
            self.breaker.check(&id(n), &SETTINGS, self.now)
        }

        fn waits(&self, n: u32) -> String {
            match self.ask(n) {
                BreakerDecision::Wait(reason) => reason,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_says_why() {
        let mut life = Life::new();
        life.then(&failed(1)).then(&failed(2)).then(&BreakerEvent::Succeeded).then(&failed(3)).then(&failed(4));
        assert_eq!(life.ask(1), BreakerDecision::Allow, "not in a row");
        life.then(&failed(5));
        let reason = life.waits(1);
        for part in ["3 failed attempts", "exit code 5", "2026-07-21 10:05:00 UTC"] {
            assert!(reason.contains(part), "{reason}");
        }
    }

    #[test]
    fn one_scoring_probes_when_the_pause_is_over_and_no_other() {
        let mut life = Life::open();
        life.later(4);
        assert_eq!(life.breaker.after(&BreakerEvent::ProbeRequested(id(9)), &SETTINGS, life.now), None);
        life.later(1);
        life.then(&BreakerEvent::ProbeRequested(id(9)));
        assert_eq!(life.ask(9), BreakerDecision::Allow, "also when it has to ask again");
        assert!(life.waits(8).contains(id(9).as_str()));
        assert_eq!(life.breaker.after(&BreakerEvent::ProbeRequested(id(8)), &SETTINGS, life.now), None);
    }

    #[test]
    fn a_probe_that_succeeds_closes_it_and_one_that_fails_opens_it_again() {
        let mut life = Life::probed();
        life.then(&BreakerEvent::Succeeded);
        assert_eq!(life.breaker, Breaker::default());
        let mut life = Life::probed();
        life.later(7).then(&failed(9));
        assert!(life.waits(9).contains("2026-07-21 10:17:00 UTC"), "the pause begins anew, for the probe too");
        life.later(5);
        assert_eq!(life.ask(8), BreakerDecision::Probe);
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_does_not_block_for_ever() {
        let mut life = Life::probed();
        life.later(29).waits(8);
        life.later(1);
        assert_eq!(life.ask(8), BreakerDecision::Probe);
        life.then(&BreakerEvent::ProbeRequested(id(8)));
        assert_eq!(life.ask(8), BreakerDecision::Allow);
        life.waits(9);
    }

    #[test]
    fn a_probes_word_is_awaited_until_its_time_is_over_and_no_longer() {
        for (minutes, awaited) in [(29, true), (30, false)] {
            let mut life = Life::probed();
            let before = life.breaker.open_until;
            life.later(minutes).then(&failed(4));
            assert_eq!(life.breaker.open_until == before, awaited, "{minutes} minutes");
        }
    }

    #[test]
    fn a_probe_that_a_person_cancelled_says_nothing_and_another_may_go() {
        let mut life = Life::probed();
        life.then(&BreakerEvent::Ended(id(7)));
        life.waits(8);
        life.then(&BreakerEvent::Ended(id(9)));
        assert_eq!(life.ask(8), BreakerDecision::Probe);
        assert_eq!(Life::open().breaker.after(&BreakerEvent::Ended(id(1)), &SETTINGS, NOW), None);
    }

    #[test]
    fn earlier_attempts_do_not_prolong_the_pause_and_a_success_among_them_closes_it() {
        let mut life = Life::open();
        life.later(4).then(&failed(4)).later(1);
        assert_eq!((life.ask(8), life.breaker.failures), (BreakerDecision::Probe, 4));
        let mut life = Life::probed();
        life.then(&failed(4));
        assert_eq!(life.ask(9), BreakerDecision::Allow, "the probe's word is awaited");
        life.then(&BreakerEvent::Succeeded);
        assert_eq!(life.ask(8), BreakerDecision::Allow);
        // Nobody has probed since the pause was over: it is still broken.
        let mut life = Life::open();
        life.later(8).then(&failed(4));
        assert!(life.waits(8).contains("10:13:00"));
    }

    #[test]
    fn an_operator_closes_it_and_a_breaker_that_is_off_never_opens() {
        let mut life = Life::open();
        life.then(&BreakerEvent::Closed);
        assert_eq!((life.ask(8), life.breaker.failures), (BreakerDecision::Allow, 0));
        assert_eq!(life.breaker.after(&BreakerEvent::Closed, &SETTINGS, NOW), None);
        let off = BreakerSettings { failures: 0, ..SETTINGS };
        let mut breaker = Breaker::default();
        for n in 0..100 {
            breaker = breaker.after(&failed(n), &off, NOW).expect("it is counted");
        }
        assert_eq!(breaker.check(&id(1), &off, NOW), BreakerDecision::Allow);
        assert_eq!(Life::open().breaker.check(&id(1), &off, NOW), BreakerDecision::Allow, "also if it was open before");
    }

    #[test]
    fn what_counts_is_what_the_deployment_did() {
        let means = |event| breaker_event(event, &id(1), Some("why"));
        for event in [Event::AttemptFailed, Event::LastAttemptFailed, Event::RefusedPermanently] {
            assert_eq!(means(event), Some(BreakerEvent::Failed { id: id(1), error: "why".to_owned() }), "{event:?}");
        }
        assert_eq!(means(Event::OutputGood), Some(BreakerEvent::Succeeded));
        assert_eq!(means(Event::JobCancelled), Some(BreakerEvent::Ended(id(1))));
        for event in
            [Event::RefusedTransiently, Event::AnswerLost, Event::JobCompleted, Event::Accepted, Event::Missing]
        {
            assert_eq!(means(event), None, "{event:?}");
        }
    }

    #[test]
    fn a_long_error_is_cut() {
        let long = BreakerEvent::Failed { id: id(1), error: "ü".repeat(10_000) };
        let next = Breaker::default().after(&long, &SETTINGS, NOW).expect("counted");
        assert_eq!(next.error.map(|error| error.chars().count()), Some(MAX_ERROR_CHARS));
    }
}
