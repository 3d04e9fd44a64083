use super::*;
use crate::blob::BlobVersion;
use crate::group::{Group, Grouping};
use crate::job::Job;
use crate::rule::Rules;
use crate::status::Status;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);
const SETTINGS: BreakerSettings = BreakerSettings { failures: 3, pause: IsoDuration(Duration::minutes(5)) };

fn id(n: u32) -> ScoringId {
    ScoringId::read(&format!("{n:032x}")).expect("32 hex digits")
}

/// One of two sources.
fn source(n: u32) -> Source {
    Source(format!("{:08x}", n % 2))
}

fn told(n: u32, verdict: Verdict) -> BreakerEvent {
    BreakerEvent::Attempt { id: id(n), file: None, is_group: false, source: source(n), ran_on: None, verdict }
}

fn failed_by(n: u32, cause: FailureCause) -> BreakerEvent {
    told(n, Verdict::Failed { cause, error: format!("exit code {n}") })
}

fn failed(n: u32) -> BreakerEvent {
    failed_by(n, FailureCause::Unknown)
}

fn good(n: u32) -> BreakerEvent {
    told(n, Verdict::Succeeded)
}

fn nothing(n: u32) -> BreakerEvent {
    told(n, Verdict::Nothing)
}

struct Life {
    subject: BreakerSubject,
    breaker: Breaker,
    now: OffsetDateTime,
}

impl Life {
    fn new() -> Self {
        let endpoint = "https://e.example/jobs".parse().expect("a URI");
        let subject = BreakerSubject::Deployment { endpoint, deployment: None };
        Self { subject, breaker: Breaker::default(), now: NOW }
    }

    fn of_rule() -> Self {
        Self { subject: BreakerSubject::Rule("claims".parse().expect("an id")), ..Self::new() }
    }

    fn open() -> Self {
        let mut life = Self::new();
        for n in 1..=3 {
            life.then(&failed(n));
        }
        life
    }

    /// Sixteen of twenty have failed, none of them beside another.
    fn mostly_failed() -> Self {
        let mut life = Self::new();
        for n in 0..20 {
            life.then(&if n % 5 == 2 { good(100 + n) } else { failed_by(2 * n, FailureCause::UserCode) });
        }
        life
    }

    /// Twenty have failed.
    fn all_failed() -> Self {
        let mut life = Self::new();
        for n in 0..20 {
            life.then(&failed(n));
        }
        life
    }

    /// The pause is over, and scoring 99 probes.
    fn probed(mut self) -> Self {
        self.later(5);
        assert_eq!(self.ask(99), BreakerDecision::Probe);
        self.then(&BreakerEvent::ProbeRequested(id(99)));
        self
    }

    fn later(&mut self, minutes: i64) -> &mut Self {
        self.now += Duration::minutes(minutes);
        self
    }

    fn after(&self, event: &BreakerEvent) -> Option<Breaker> {
        self.breaker.after(&self.subject, event, &SETTINGS, self.now)
    }

    fn then(&mut self, event: &BreakerEvent) -> &mut Self {
        if let Some(next) = self.after(event) {
            self.breaker = next;
        }
        assert!(self.breaker.outcomes.len() <= WINDOW);
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

    fn is_open(&self) -> bool {
        self.breaker.open_until.is_some()
    }
}

#[test]
fn it_opens_after_so_many_failures_in_a_row_and_says_why() {
    let mut life = Life::new();
    life.then(&failed(1)).then(&failed(2)).then(&good(7)).then(&failed(3)).then(&failed(4));
    assert_eq!(life.ask(1), BreakerDecision::Allow, "not in a row");
    life.then(&failed(5));
    let reason = life.waits(1);
    for part in ["3 scorings in a row failed", "exit code 5", "2026-07-21 10:05:00 UTC"] {
        assert!(reason.contains(part), "{reason}");
    }
}

#[test]
fn from_one_source_it_takes_twice_as_many_as_from_two() {
    let mut life = Life::new();
    for n in 0..5 {
        life.then(&failed(2 * n));
    }
    assert!(!life.is_open(), "one sender's bad files are no broken model");
    assert!(life.then(&failed(10)).is_open());
    let mut life = Life::new();
    assert!(life.then(&failed(2)).then(&failed(4)).then(&failed(5)).is_open());
}

#[test]
fn twelve_bad_files_of_one_sender_do_not_open_it_by_default() {
    let (mut life, settings) = (Life::new(), BreakerSettings::default());
    for n in 0..12 {
        let event = failed_by(2 * n, FailureCause::UserCode);
        life.breaker = life.breaker.after(&life.subject, &event, &settings, NOW).expect("it is counted");
    }
    assert!(!life.is_open());
}

#[test]
fn a_scoring_counts_once_however_often_it_is_tried() {
    let mut life = Life::new();
    for n in [1, 1, 2, 2, 1, 2, 1] {
        life.then(&failed(n));
    }
    assert_eq!((life.is_open(), life.breaker.in_a_row()), (false, 2));
    life.then(&good(1));
    assert_eq!(life.breaker.failed_of_all(), 1, "what is scored in the end did not fail");
}

#[test]
fn sixteen_of_the_last_twenty_open_it_whatever_succeeds_between() {
    let life = Life::mostly_failed();
    assert!(life.is_open());
    assert!(life.waits(1).contains("16 of the last 20 scorings failed"));
    let mut half = Life::new();
    for n in 0..200 {
        half.then(&if n % 2 == 0 { good(n) } else { failed(n) });
    }
    assert!(!half.is_open(), "half of them failing do not");
}

#[test]
fn where_most_failed_three_successes_in_a_row_close_it_and_one_does_not() {
    let mut life = Life::all_failed().probed();
    life.then(&good(99));
    assert!(life.is_open());
    assert_eq!(life.ask(98), BreakerDecision::Probe, "without another pause");
    life.then(&BreakerEvent::ProbeRequested(id(98))).then(&good(98));
    life.then(&BreakerEvent::ProbeRequested(id(97)));
    life.then(&good(97));
    assert_eq!(life.breaker, Breaker::default());
    let mut life = Life::all_failed().probed();
    life.then(&good(99)).then(&BreakerEvent::ProbeRequested(id(98))).then(&failed(98));
    assert!(life.waits(98).contains("one scoring probes it at"), "a failure among them begins another pause");
}

#[test]
fn one_scoring_probes_when_the_pause_is_over_and_no_other() {
    let mut life = Life::open();
    life.later(4);
    assert_eq!(life.after(&BreakerEvent::ProbeRequested(id(9))), None);
    assert!(!life.breaker.awaits_probe(&SETTINGS, life.now));
    life.later(1);
    assert!(life.breaker.awaits_probe(&SETTINGS, life.now));
    life.then(&BreakerEvent::ProbeRequested(id(9)));
    assert!(!life.breaker.awaits_probe(&SETTINGS, life.now));
    assert_eq!(life.ask(9), BreakerDecision::Allow, "also when it has to ask again");
    assert!(life.waits(8).contains(id(9).as_str()));
    assert_eq!(life.after(&BreakerEvent::ProbeRequested(id(8))), None);
}

#[test]
fn a_probe_that_succeeds_closes_it_and_one_that_fails_opens_it_again() {
    let mut life = Life::open().probed();
    life.then(&good(99));
    assert_eq!((life.is_open(), life.breaker.in_a_row()), (false, 0));
    let mut life = Life::open().probed();
    life.later(7).then(&failed(99));
    assert!(life.waits(99).contains("2026-07-21 10:17:00 UTC"), "the pause begins anew, for the probe too");
    life.later(5);
    assert_eq!(life.ask(8), BreakerDecision::Probe);
}

#[test]
fn a_probe_that_is_never_heard_of_again_does_not_block_for_ever() {
    let mut life = Life::open().probed();
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
        let mut life = Life::open().probed();
        let before = life.breaker.open_until;
        life.later(minutes).then(&failed(4));
        assert_eq!(life.breaker.open_until == before, awaited, "{minutes} minutes");
    }
}

#[test]
fn a_probe_that_says_nothing_makes_room_for_another() {
    let mut life = Life::open().probed();
    life.then(&nothing(7)).then(&told(99, Verdict::Made));
    life.waits(8);
    life.then(&nothing(99));
    assert_eq!(life.ask(8), BreakerDecision::Probe);
    assert_eq!(Life::open().after(&nothing(1)), None);
}

#[test]
fn earlier_attempts_do_not_prolong_the_pause_and_a_success_among_them_closes_it() {
    let mut life = Life::open();
    life.later(4).then(&failed(4)).later(1);
    assert_eq!((life.ask(8), life.breaker.in_a_row()), (BreakerDecision::Probe, 4));
    let mut life = Life::open().probed();
    life.then(&failed(4));
    assert_eq!(life.ask(99), BreakerDecision::Allow, "the probe's word is awaited");
    life.then(&good(5));
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
    assert_eq!((life.ask(8), life.breaker.in_a_row()), (BreakerDecision::Allow, 0));
    assert_eq!(life.after(&BreakerEvent::Closed), None);
    let off = BreakerSettings { failures: 0, ..SETTINGS };
    let mut breaker = Breaker::default();
    for n in 0..100 {
        breaker = breaker.after(&life.subject, &failed(n), &off, NOW).expect("it is counted");
    }
    assert_eq!(breaker.check(&id(1), &off, NOW), BreakerDecision::Allow);
    assert_eq!(Life::open().breaker.check(&id(1), &off, NOW), BreakerDecision::Allow, "also if it was open before");
}

#[test]
fn after_twenty_successes_a_failure_is_forgotten() {
    let mut life = Life::new();
    life.then(&failed(1));
    for n in 100..119 {
        life.then(&good(n));
    }
    assert!(!life.breaker.is_quiet());
    life.then(&good(119));
    assert_eq!(life.breaker.outcomes, []);
    assert_eq!(life.after(&good(120)).map(|next| next.outcomes), None, "and nothing is written");
}

#[test]
fn a_rule_is_paused_by_several_of_one_cause_in_a_row_from_whatever_source() {
    let mut life = Life::of_rule();
    for (n, cause) in [(2, FailureCause::Request), (4, FailureCause::Access), (6, FailureCause::Request)] {
        life.then(&failed_by(n, cause));
    }
    assert!(!life.is_open(), "of several causes");
    life.then(&failed_by(8, FailureCause::Request)).then(&failed_by(8, FailureCause::Request));
    assert!(!life.is_open(), "of one scoring twice");
    assert!(life.then(&failed_by(10, FailureCause::Request)).is_open());
    assert!(life.waits(1).contains("because Azure ML refused the request"));
    let mut life = life.probed();
    life.then(&good(99));
    assert_eq!(life.breaker, Breaker::default());
}

fn ran_on(n: u32, deployment: &str, minute: i64, verdict: Verdict) -> BreakerEvent {
    let ran_on = RanOn { deployment: deployment.parse().expect("a name"), submitted: NOW + Duration::minutes(minute) };
    BreakerEvent::Attempt { id: id(n), file: None, is_group: false, source: source(n), ran_on: Some(ran_on), verdict }
}

#[test]
fn a_switched_default_deployment_begins_closed_and_the_old_one_counts_no_more() {
    let fails = || Verdict::Failed { cause: FailureCause::UserCode, error: "ValueError".to_owned() };
    let mut life = Life::new();
    for n in 1..=3 {
        life.then(&ran_on(n, "v1", 0, fails()));
    }
    assert!(life.is_open());
    life.then(&ran_on(4, "v1", 5, Verdict::Made));
    assert!(life.is_open(), "the same one");
    life.then(&ran_on(5, "v2", 6, Verdict::Made));
    assert_eq!((life.is_open(), life.breaker.in_a_row()), (false, 0));
    for n in 10..20 {
        life.then(&ran_on(n, "v1", 1, fails()));
    }
    assert_eq!(life.breaker.in_a_row(), 0, "these ran on the one before");
    for n in 20..23 {
        life.then(&ran_on(n, "v2", 7, fails()));
    }
    assert!(life.is_open());
}

fn scoring(path: &str) -> (Rules, Scoring) {
    let rules = r#"{"rules":[{"id":"r","match":{"container": "con","prefix":"in/"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
    let rules = Rules::read(rules).expect("good rules");
    let blob = BlobVersion::read(&format!("https://a.blob.core.windows.net/con/{path}"), "1").expect("a blob");
    let ledger = crate::id::LedgerId::of_random([1; 16]);
    let scoring = Scoring::accept(&ledger, rules.get("r").expect("the rule"), blob, NOW);
    (rules, scoring)
}

#[test]
fn a_source_is_the_first_folder_below_the_rules_prefix() {
    let of = |path: &str| {
        let (rules, scoring) = scoring(path);
        Source::of(&scoring, rules.get("r"))
    };
    assert_eq!(of("in/eu/2026/a.csv"), of("in/eu/2027/b.csv"));
    assert_ne!(of("in/eu/a.csv"), of("in/us/a.csv"));
    assert_eq!(of("in/a.csv"), of("in/b.csv"));
    assert_eq!(Source::read(of("in/a.csv").as_str()), Some(of("in/a.csv")));
    assert_eq!(Source::read("x"), None);
}

#[test]
fn what_counts_on_whom_is_decided_by_the_cause() {
    use FailureCause as C;
    let (_, mut scoring) = scoring("in/a.csv");
    scoring.error = Some("why".to_owned());
    let mut of = |event, cause| {
        scoring.failure = cause;
        let Verdicts { deployment, rule } = verdicts(event, &scoring)?;
        let word = |verdict| match verdict {
            Verdict::Made => "made",
            Verdict::Succeeded => "good",
            Verdict::Failed { .. } => "bad",
            Verdict::Nothing => "nothing",
            Verdict::Split => "split",
        };
        Some((word(deployment), word(rule)))
    };
    for (event, cause, expected) in [
        (Event::OutputGood, None, ("good", "good")),
        (Event::Accepted, None, ("made", "made")),
        (Event::RefusedPermanently, Some(C::Request), ("nothing", "bad")),
        (Event::RefusedPermanently, Some(C::Access), ("nothing", "bad")),
        (Event::AttemptFailed, Some(C::Access), ("nothing", "bad")),
        (Event::AttemptFailed, Some(C::Input), ("nothing", "bad")),
        (Event::LastAttemptFailed, Some(C::UserCode), ("bad", "good")),
        (Event::AttemptFailed, Some(C::Unknown), ("bad", "nothing")),
        (Event::AttemptFailed, Some(C::Platform), ("nothing", "nothing")),
        (Event::LastAttemptFailed, Some(C::Platform), ("bad", "nothing")),
        (Event::JobCancelled, None, ("nothing", "nothing")),
        (Event::InputGone, None, ("nothing", "nothing")),
        (Event::InputNewer, None, ("nothing", "nothing")),
        (Event::RecordRefused, None, ("nothing", "nothing")),
        (Event::SameContent, None, ("nothing", "nothing")),
        (Event::InputNotSeen, None, ("nothing", "nothing")),
        (Event::GivenUp, None, ("nothing", "nothing")),
        (Event::Withdrawn, None, ("nothing", "nothing")),
        (Event::FoundOne, None, ("made", "made")),
        (Event::FoundSeveral, None, ("made", "made")),
    ] {
        assert_eq!(of(event, cause), Some(expected), "{event:?} {cause:?}");
    }
    for event in [Event::RefusedTransiently, Event::AnswerLost, Event::JobCompleted, Event::Progressed, Event::Missing]
    {
        assert_eq!(of(event, None), None, "{event:?}");
    }
}

/// Both halves of a group failed; each group is a source of its own.
fn halves_of(group: u32) -> BreakerEvent {
    let group = ScoringId::read(&format!("{group:07x}{:025}", 0)).expect("32 hex digits");
    BreakerEvent::BothHalvesFailed { group, cause: FailureCause::UserCode, error: "ValueError".to_owned() }
}

#[test]
fn the_halves_of_two_groups_open_a_deployments_breaker_and_those_of_one_do_not() {
    let mut life = Life::new();
    life.then(&halves_of(1)).later(1).then(&halves_of(1));
    assert!(!life.is_open(), "one group has two bad files, and was looked at twice");
    life.then(&halves_of(2));
    assert!(life.waits(1).contains("ValueError"));
    let until = life.breaker.open_until;
    life.later(1).then(&halves_of(3));
    assert_eq!(life.breaker.open_until, until, "what was under way when it opened does not keep it open");
}

#[test]
fn groups_among_those_that_failed_are_told_as_such() {
    let group = |n| {
        let verdict = Verdict::Failed { cause: FailureCause::Platform, error: "it was lost".to_owned() };
        BreakerEvent::Attempt { id: id(n), file: None, is_group: true, source: source(n), ran_on: None, verdict }
    };
    let told = |events: &[BreakerEvent]| {
        let mut life = Life::new();
        for event in events {
            life.then(event);
        }
        life.breaker.failures()
    };
    assert_eq!(told(&[group(1)]), "1 group failed");
    assert_eq!(told(&[group(1), halves_of(2)]), "2 groups in a row failed");
    assert_eq!(told(&[group(1), halves_of(2), failed(3)]), "3 scorings in a row failed, 2 of them groups");
    let all: Vec<_> = (0..20).map(|n| if n % 5 == 2 { good(100 + n) } else { failed(n) }).chain([group(0)]).collect();
    assert_eq!(told(&all), "16 of the last 20 scorings failed, 1 of them a group");
}

#[test]
fn a_group_that_is_split_is_no_failure_of_anybody_and_its_last_file_is_one() {
    let (_, mut scoring) = scoring("in/a.csv");
    (scoring.status, scoring.failure) = (Status::Failed, Some(FailureCause::UserCode));
    scoring.job = Some(Job::told("j".parse().expect("a name"), None, None));
    let mut verdict = |members: &[u32], cause| {
        let group = Group::sealed(members.iter().map(|n| id(*n)), None);
        scoring.grouping = Some(Box::new(Grouping::Group(group)));
        scoring.failure = Some(cause);
        verdicts(Event::LastAttemptFailed, &scoring).expect("it is told")
    };
    let (code, platform) = (FailureCause::UserCode, FailureCause::Platform);
    assert_eq!(verdict(&[1, 2], code), Verdicts { deployment: Verdict::Split, rule: Verdict::Split });
    assert!(matches!(verdict(&[1], code).deployment, Verdict::Failed { cause: FailureCause::UserCode, .. }));
    let in_vain = verdict(&[1, 2], platform).deployment;
    assert!(matches!(in_vain, Verdict::Failed { cause: FailureCause::Platform, .. }), "all its attempts were made");
}

#[test]
fn a_jobs_id_names_the_deployment_that_it_ran_on() {
    let job = |id: &str| Job::told("j".parse().expect("a name"), Some(id), None).deployment();
    let workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
    let id = format!("{workspace}/batchEndpoints/e/Deployments/v7/jobs/j");
    assert_eq!(job(&id).as_deref(), Some("v7"));
    assert_eq!(job(&format!("{workspace}/batchEndpoints/e/jobs/j")), None);
    assert_eq!(job("/deployments//jobs/j"), None);
}
