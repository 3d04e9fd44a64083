use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime, macros::datetime};

use super::*;
use crate::blob::BlobVersion;
use crate::duration::IsoDuration;
use crate::failure::FailureCause;
use crate::id::{JobName, LedgerId};
use crate::input::InputFound;
use crate::job::{
    Answer, Candidate, Job, JobSnapshot, JobStatus, JobsFound, LostLook, OutputFound, OutputPrint, OutputSnapshot,
};
use crate::rule::{OnUnknown, Rules};
use crate::scoring::MAX_JOB_NAMES;
use crate::status::TRANSITIONS;

const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

fn rule() -> Rule {
    rule_with(|_| {})
}

fn rule_with(change: impl FnOnce(&mut Rule)) -> Rule {
    let rules = Rules::read(
        r#"{"rules":[{"id":"claims","match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs"},"maxAttempts":2,"verifyInput":false}]}"#,
    )
    .unwrap();
    let mut rule = rules.get("claims").unwrap().clone();
    change(&mut rule);
    rule
}

fn resolved(resolution: Resolution) -> Observation {
    let (by, reason) = ("ann@contoso.com".to_owned(), "the studio shows it".to_owned());
    Observation::Resolved(ResolveOrder { resolution, by, reason })
}

struct Life {
    rule: Rule,
    scoring: Scoring,
    now: OffsetDateTime,
    taken: Vec<(Status, Event, Status)>,
}

impl Life {
    fn new() -> Self {
        let rule = rule();
        let blob = BlobVersion::read("https://a.blob.core.windows.net/con/x.csv", "1").unwrap();
        let scoring = Scoring::accept(&LedgerId::of_random([1; 16]), &rule, blob, NOW);
        Self { rule, scoring, now: NOW, taken: Vec::new() }
    }

    fn decide(&self, observation: &Observation) -> Step {
        decide(&self.scoring, Some(&self.rule), observation, self.now)
    }

    /// Takes the move that `seen` leads to; panics if there is none.
    fn moves(&mut self, observation: &Observation) -> Effect {
        match self.decide(observation) {
            Step::Move { next, entry, effect } => {
                assert_eq!(next.version, self.scoring.version + 1);
                assert_eq!((entry.from, entry.to, entry.seq), (Some(self.scoring.status), next.status, next.version));
                assert!(!entry.reason.is_empty());
                assert_eq!(next.completed.is_some(), next.status.is_terminal());
                self.taken.push((self.scoring.status, entry.event.unwrap(), next.status));
                self.scoring = *next;
                effect
            }
            Step::Wait { reason } => panic!("{} waits on {observation:?}: {reason}", self.scoring.status),
            Step::LookAtInput => panic!("{} wants its input looked at on {observation:?}", self.scoring.status),
            Step::Publish(order) => panic!("{} publishes on {observation:?}: {order:?}", self.scoring.status),
        }
    }

    fn waits(&self, observation: &Observation) -> String {
        match self.decide(observation) {
            Step::Wait { reason } => reason,
            Step::Move { entry, .. } => panic!("{} moves on {observation:?}: {}", self.scoring.status, entry.reason),
            Step::LookAtInput => panic!("{} wants its input looked at on {observation:?}", self.scoring.status),
            Step::Publish(order) => panic!("{} publishes on {observation:?}: {order:?}", self.scoring.status),
        }
    }

    fn later(&mut self, by: Duration) -> &mut Self {
        self.now += by;
        self
    }

    fn submitting() -> Self {
        let mut life = Self::new();
        assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
        life
    }

    fn running() -> Self {
        let mut life = Self::submitting();
        life.moves(&accepted());
        life
    }

    fn unknown() -> Self {
        let mut life = Self::submitting();
        life.moves(&Observation::Answer(Answer::Unknown { text: "connection reset".into() }));
        life.now = life.scoring.due;
        life
    }

    fn verifying() -> Self {
        let mut life = Self::running();
        life.moves(&job(JobStatus::Completed));
        life
    }
}

fn job_name(text: &str) -> JobName {
    text.parse().expect("a name")
}

fn cancel_answer(refused: Option<&str>) -> CancelAnswer {
    CancelAnswer { job: job_name("job-1"), refused: refused.map(str::to_owned), request_id: "8a1e".parse().ok() }
}

fn named(name: &str) -> Job {
    let id = format!(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/batchEndpoints/e/jobs/{name}"
    );
    Job { name: job_name(name), id: Some(id), studio: None }
}

fn accepted() -> Observation {
    Observation::Answer(Answer::Accepted { job: named("job-1"), status: JobStatus::Preparing })
}

fn job(status: JobStatus) -> Observation {
    Observation::Job(JobSnapshot { status, error: None, studio: None })
}

fn refused(permanent: bool, retry_after: Option<Duration>) -> Observation {
    Observation::Answer(Answer::Refused { code: "429".into(), text: "slow down".into(), permanent, retry_after })
}

fn tags_refused() -> Observation {
    Observation::Answer(Answer::TagsRefused {
        code: "400 UserError".into(),
        text: "could not find member 'tags'".into(),
    })
}

fn candidate(name: &str, minute: i64) -> Candidate {
    Candidate { job: named(name), status: JobStatus::Running, created: NOW + Duration::minutes(minute) }
}

fn made(attempt: u32, name: &str, status: &str) -> Observation {
    let job = Job { name: job_name(name), id: None, studio: None };
    Observation::UnexpectedJob { attempt, job, status: JobStatus::read(status) }
}

fn output(bytes: u64, modified: OffsetDateTime) -> Observation {
    Observation::output(OutputSnapshot::Present { bytes, modified, print: OutputPrint::of([("", "1")]) })
}

fn absent() -> Observation {
    Observation::output(OutputSnapshot::Absent { uri: "azureml://x".into() })
}

mod followed;
mod group;
mod input;
mod operator;
mod publish;

fn every_seen() -> Vec<Observation> {
    let statuses = [
        "NotStarted",
        "Running",
        "Completed",
        "Failed",
        "Canceled",
        "CancelRequested",
        "NotResponding",
        "Paused",
        "Unknown",
        "Melted",
    ];
    let mut all = vec![
        Observation::Nothing,
        Observation::SlotFree,
        Observation::Waiting { reason: "all slots are taken".into() },
        accepted(),
        refused(true, None),
        refused(false, None),
        Observation::Answer(Answer::Unknown { text: "reset".into() }),
        Observation::JobMissing,
        Observation::candidates(vec![]),
        Observation::candidates(vec![candidate("a", 0)]),
        Observation::candidates(vec![candidate("a", 0), candidate("b", 1)]),
        output(5, NOW),
        output(0, NOW),
        output(5, NOW - Duration::days(1)),
        absent(),
        Observation::CannotLook("403".into()),
        Observation::CannotLook("503".into()),
        Observation::CancelAnswered(vec![cancel_answer(Some("403"))]),
        followed::possible(&[("other", JobStatus::Running)]),
        followed::possible(&[("other", JobStatus::Completed)]),
        followed::possible(&[("other", JobStatus::Failed)]),
        input::after(followed::possible(&[("other", JobStatus::Failed)]), InputFound::Gone),
        input::after(followed::possible(&[("other", JobStatus::Failed)]), input::newer()),
        followed::output_is("1"),
        tags_refused(),
        made(1, "orphaned job", "Running"),
        made(2, "orphaned job", "Running"),
        resolved(Resolution::SendAgain),
        resolved(Resolution::JobIs(job_name("named"))),
        resolved(Resolution::GiveUp),
        Observation::RecordRefused { reason: "a property is too long".into(), job: None },
    ];
    all.extend(Verb::ALL.map(operator::order));
    all.extend(statuses.map(|word| job(JobStatus::read(word))));
    let seen = input::version("1", Some("m"));
    for found in
        [InputFound::Named(seen), input::newer(), InputFound::Gone, InputFound::NotSeen("storage answered 403".into())]
    {
        for then in [Observation::SlotFree, output(5, NOW), absent(), job(JobStatus::Failed)] {
            all.push(input::after(then, found.clone()));
        }
    }
    all.extend([Observation::VersionSeen, Observation::ScoredAs(input::other_scoring())]);
    all.push(Observation::Overtaken { etag: "2".to_owned(), by: input::other_scoring() });
    all
}

#[test]
fn the_straight_way_is_queued_submitting_running_verifying_scored() {
    let mut life = Life::verifying();
    life.moves(&output(120, life.now));
    assert_eq!(life.scoring.status, Status::Scored);
    assert_eq!(life.scoring.output_bytes, Some(120));
    assert_eq!((life.scoring.attempt, life.scoring.submits, life.scoring.version), (1, 1, 5));
    assert!(life.scoring.workspace.as_deref().unwrap().ends_with("/workspaces/w"));
}

#[test]
fn every_row_of_the_table_is_taken_and_nothing_beside_it() {
    // Breadth first over everything that can be seen now, a day later and when something is due.
    let mut taken = BTreeSet::new();
    let mut lives = vec![(Life::new(), 0)];
    lives.extend(group::lives().into_iter().map(|life| (life, 0)));
    let mut known = BTreeSet::new();
    while let Some((life, depth)) = lives.pop() {
        for observation in every_seen().into_iter().chain(group::observations()) {
            for pause in
                [Duration::ZERO, Duration::minutes(1), Duration::minutes(20), Duration::days(1), Duration::days(8)]
            {
                let now = life.now + pause;
                if let Step::Move { next, entry, .. } = decide(&life.scoring, Some(&life.rule), &observation, now) {
                    let row = (life.scoring.status, entry.event.unwrap(), next.status);
                    assert!(TRANSITIONS.contains(&row), "{row:?}");
                    let opened = matches!(row.1, Event::SeenAgain | Event::Retried) && next.completed.is_none();
                    let same = (next.status, next.completed) == (life.scoring.status, life.scoring.completed);
                    assert!(!life.scoring.status.is_terminal() || same || opened);
                    taken.insert(row);
                    let key = format!(
                        "{:?}{:?}{}{}{:?}{}{}{}{}",
                        next.status,
                        next.grouping,
                        next.attempt,
                        next.submission.is_some(),
                        next.missing_since.is_some(),
                        next.last_error.is_some(),
                        next.followed_ended.is_some(),
                        next.on_hold.is_some(),
                        next.output_seen.is_some() || next.stop_ordered
                    );
                    if depth < 9 && known.insert(key) {
                        lives.push((
                            Life { rule: life.rule.clone(), scoring: *next, now, taken: Vec::new() },
                            depth + 1,
                        ));
                    }
                }
            }
        }
    }
    // Tried by tests of their own, as these would double all that is to be known here: acknowledging in each status, and publishing.
    let elsewhere = |row: &&(_, Event, _)| {
        matches!(row.1, Event::Acknowledged | Event::Publishing | Event::NotPublishedYet | Event::PublishOrdered)
    };
    let missed: Vec<_> = TRANSITIONS.iter().filter(|row| !taken.contains(row) && !elsewhere(row)).collect();
    assert!(missed.is_empty(), "never taken: {missed:?}");
}

#[test]
fn a_queued_scoring_waits_for_its_back_off_its_slot_and_its_rule() {
    let mut life = Life::submitting();
    life.moves(&refused(false, Some(Duration::minutes(7))));
    assert_eq!(life.scoring.due, life.now + Duration::minutes(7));
    assert!(life.waits(&Observation::SlotFree).contains("back-off"));
    life.later(Duration::minutes(7));
    assert_eq!(life.waits(&Observation::Waiting { reason: "all slots are taken".into() }), "all slots are taken");
    let step = decide(&life.scoring, None, &Observation::SlotFree, life.now);
    assert!(matches!(step, Step::Wait { reason } if reason.contains("rule `claims`")));
}

#[test]
fn a_refused_attempt_keeps_its_number_request_and_output_path() {
    let mut life = Life::submitting();
    let sent = life.scoring.submission.clone();
    life.moves(&refused(false, None));
    life.later(Duration::hours(2)).moves(&Observation::SlotFree);
    assert_eq!((life.scoring.attempt, life.scoring.submits), (1, 2));
    assert_eq!(life.scoring.submission, sent);
}

#[test]
fn refusals_back_off_and_are_given_up_after_their_time() {
    let mut life = Life::submitting();
    let mut last = Duration::ZERO;
    for _ in 0..5 {
        life.moves(&refused(false, None));
        let pause = life.scoring.due - life.now;
        assert!(pause > last, "{pause} after {last}");
        last = pause;
        life.now = life.scoring.due;
        life.moves(&Observation::SlotFree);
    }
    life.later(Duration::days(1)).moves(&refused(false, None));
    assert_eq!(life.scoring.status, Status::Failed);
    assert!(life.scoring.error.as_deref().unwrap().contains("slow down"));
    let mut life = Life::submitting();
    life.moves(&refused(true, None));
    assert_eq!(life.scoring.status, Status::Failed);
}

#[test]
fn the_time_in_the_queue_does_not_count_for_give_up_after() {
    let mut life = Life::new();
    life.later(Duration::days(2)).moves(&Observation::SlotFree);
    life.moves(&refused(false, None));
    assert_eq!(life.scoring.status, Status::Queued);

    let mut life = Life::new();
    life.later(Duration::days(2)).moves(&Observation::SlotFree);
    life.moves(&Observation::Answer(Answer::Unknown { text: "reset".into() }));
    assert_eq!(life.later(Duration::minutes(20)).moves(&Observation::candidates(vec![])), Effect::Submit);
}

#[test]
fn reasons_say_when_and_what_is_final() {
    let waits = Life::submitting().waits(&Observation::Nothing);
    assert!(waits.ends_with("until 2026-07-21 10:02:00 UTC"), "{waits}");
    let mut life = Life::verifying();
    life.moves(&output(120, life.now));
    assert_eq!(life.waits(&Observation::Nothing), "scored is final");
    assert!(Life::running().waits(&Observation::Nothing).contains("nothing to conclude"));
}

#[test]
fn a_lease_protects_its_owner_and_then_the_job_is_looked_for() {
    let mut life = Life::submitting();
    assert!(life.waits(&Observation::Nothing).contains("lease"));
    life.now = life.scoring.due;
    assert_eq!(life.moves(&Observation::Nothing), Effect::None);
    assert_eq!(life.scoring.status, Status::Unknown);
}

#[test]
fn a_lost_submission_is_sent_again_to_the_same_path_only_after_resubmit_after() {
    let mut life = Life::unknown();
    let sent = life.scoring.submission.clone();
    let none = Observation::candidates(vec![]);
    assert!(life.waits(&none).contains("resubmitAfter"));
    life.now = life.scoring.since + Policy::default().resubmit_after.0 - Duration::SECOND;
    life.waits(&none);
    life.later(Duration::SECOND);
    assert_eq!(life.moves(&none), Effect::Submit);
    assert_eq!((life.scoring.attempt, life.scoring.submits), (1, 2));
    assert_eq!(life.scoring.submission, sent);
    assert_eq!(life.scoring.due, life.now + life.rule.policy.lease());
}

#[test]
fn orphaned_jobs_beyond_those_that_are_kept_by_name_are_counted() {
    let mut life = Life::unknown();
    let crowd = (0..MAX_JOB_NAMES + 11).map(|n| candidate(&format!("job-{n}"), i64::try_from(n).unwrap())).collect();
    life.moves(&Observation::candidates(crowd));
    assert_eq!(
        (life.scoring.orphaned_jobs.len(), life.scoring.orphaned_job_count as usize),
        (MAX_JOB_NAMES, MAX_JOB_NAMES + 10)
    );
}

#[test]
fn one_found_job_is_adopted_and_of_several_the_oldest() {
    let mut life = Life::unknown();
    life.moves(&Observation::candidates(vec![candidate("only", 0)]));
    assert_eq!(life.scoring.job.as_ref().unwrap().name, "only");

    let several = [candidate("young", 2), candidate("old", 0), candidate("middle", 1)];
    for turn in 0..3 {
        let mut life = Life::unknown();
        let mut found = several.to_vec();
        found.rotate_left(turn);
        let effect = life.moves(&Observation::candidates(found));
        assert_eq!(life.scoring.job.as_ref().unwrap().name, "old");
        assert_eq!(life.scoring.orphaned_job_count, 2);
        let Effect::Cancel(jobs) = effect else { panic!("{effect:?}") };
        assert!(jobs.iter().all(|job| job.name != "old"), "{jobs:?}");
        assert_eq!(jobs.len(), 2);
    }
}

#[test]
fn nothing_is_sent_when_it_could_not_be_looked_and_the_error_is_written_once() {
    let mut life = Life::unknown();
    let forbidden = Observation::CannotLook("403".into());
    assert_eq!(life.moves(&forbidden), Effect::None);
    assert_eq!((life.scoring.status, life.scoring.last_error.as_deref()), (Status::Unknown, Some("403")));
    life.waits(&forbidden);
    // After `resubmitAfter` it is for an operator to see. Whatever is found later, or however late, nothing is sent blindly.
    life.later(Duration::minutes(15));
    assert_eq!(life.moves(&forbidden), Effect::None);
    assert_eq!((life.scoring.status, life.scoring.last_error.as_deref()), (Status::Held, Some("403")));
    life.later(Duration::days(3)).waits(&forbidden);
    assert_eq!(life.moves(&Observation::CannotLook("503".into())), Effect::None);
    assert_eq!((life.scoring.status, life.scoring.last_error.as_deref()), (Status::Held, Some("503")));
}

#[test]
fn what_is_held_because_nobody_could_look_goes_on_when_somebody_can() {
    let held = || {
        let mut life = Life::unknown();
        life.later(Duration::days(3)).moves(&Observation::CannotLook("403".into()));
        life
    };
    let mut life = held();
    life.moves(&Observation::candidates(vec![candidate("found", 0)]));
    assert_eq!((life.scoring.status, life.scoring.last_error.as_deref()), (Status::Running, None));
    let mut life = held();
    let sent = life.scoring.submission.clone();
    assert_eq!(life.moves(&Observation::candidates(vec![])), Effect::Submit);
    assert_eq!((life.scoring.attempt, life.scoring.submits, &life.scoring.submission), (1, 2, &sent));
    // submitDeadline does not count the days in which nobody could look.
    life.moves(&refused(false, None));
    assert_eq!(life.scoring.status, Status::Queued);
}

fn held() -> Life {
    let mut life = Life::unknown();
    life.rule = rule_with(|rule| {
        rule.policy = Policy { on_unknown: OnUnknown::Hold, verify_input: false, ..Policy::default() }
    });
    life.later(Duration::minutes(15));
    assert_eq!(life.moves(&Observation::candidates(vec![])), Effect::None);
    assert_eq!(life.scoring.status, Status::Held);
    life
}

#[test]
fn a_rule_that_says_hold_never_sends_twice_by_itself_but_adopts_what_it_finds() {
    let mut life = held();
    assert!(life.scoring.last_error.as_deref().unwrap().contains("onUnknown: hold"));
    life.later(Duration::days(6)).waits(&Observation::candidates(vec![]));
    life.moves(&Observation::candidates(vec![candidate("late", 99), candidate("later", 100)]));
    assert_eq!(
        (life.scoring.status, life.scoring.orphaned_jobs.as_slice()),
        (Status::Running, [job_name("later")].as_slice())
    );
}

#[test]
fn without_its_rule_nothing_is_sent_again_until_that_is_put_back() {
    for possible in [vec![], vec![candidate("strangers", 0)]] {
        let mut life = Life::unknown();
        let ended = |mut job: Candidate| {
            job.status = JobStatus::Failed;
            job
        };
        let look = LostLook {
            jobs: JobsFound::Seen { ours: vec![], possible: possible.into_iter().map(ended).collect() },
            output: OutputFound::Nothing,
        };
        let seen = Observation::Lost(look);
        let decide = |life: &Life, rule: Option<&Rule>| decide(&life.scoring, rule, &seen, life.now);
        let mut moves = 0;
        for _ in 0..50 {
            life.later(Duration::minutes(30));
            if let Step::Move { next, effect, .. } = decide(&life, None) {
                assert_eq!(effect, Effect::None);
                (life.scoring, moves) = (*next, moves + 1);
            }
        }
        assert_eq!((life.scoring.status, life.scoring.attempt, life.scoring.submits), (Status::Held, 1, 1));
        assert!(moves < 5, "the same is not written again and again: {moves}");
        let why = life.scoring.last_error.clone().unwrap_or_default();
        assert!(why.ends_with("its rule is not in the rules any more") || life.scoring.slot_freed, "{why}");
        assert!(matches!(decide(&life, Some(&life.rule)), Step::Move { .. }), "it goes on once its rule is there");
    }
}

#[test]
fn a_person_decides_what_is_held_and_nothing_else() {
    let mut life = held();
    let sent = life.scoring.submission.clone();
    life.later(Duration::days(2)).moves(&resolved(Resolution::SendAgain));
    assert_eq!(life.scoring.status, Status::Queued);
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
    assert_eq!((life.scoring.attempt, life.scoring.submits, &life.scoring.submission), (1, 2, &sent));
    life.moves(&refused(false, None));
    assert_eq!(life.scoring.status, Status::Queued, "submitDeadline counts from the person's word");

    let mut life = held();
    life.moves(&resolved(Resolution::JobIs(job_name("job-9"))));
    assert_eq!((life.scoring.status, life.scoring.job.as_ref().unwrap().name.as_str()), (Status::Running, "job-9"));

    let mut life = held();
    life.moves(&resolved(Resolution::GiveUp));
    assert_eq!(life.scoring.status, Status::Failed);

    for life in [Life::new(), Life::submitting(), Life::unknown(), Life::running(), Life::verifying(), life] {
        assert!(life.waits(&resolved(Resolution::SendAgain)).contains("only a held scoring"));
    }
}

#[test]
fn a_late_answer_is_adopted_by_the_attempt_it_belongs_to() {
    let refused_then = || {
        let mut life = Life::submitting();
        life.moves(&refused(false, None));
        life
    };
    for mut life in [Life::submitting(), Life::unknown(), refused_then(), held()] {
        assert_eq!(life.moves(&made(1, "late", "Running")), Effect::None);
        assert_eq!((life.scoring.status, life.scoring.orphaned_job_count), (Status::Running, 0));
        assert_eq!(life.scoring.job.as_ref().unwrap().name, "late");
        assert!(life.waits(&made(1, "late", "Running")).contains("known"));
    }
}

#[test]
fn a_job_that_nothing_needs_is_cancelled_counted_once_and_changes_nothing_else() {
    let second_attempt = || {
        let mut life = Life::running();
        life.moves(&job(JobStatus::Failed));
        life.later(Duration::hours(2)).moves(&Observation::SlotFree);
        life
    };
    let waits_for_the_second = || {
        let mut life = Life::running();
        life.moves(&job(JobStatus::Failed));
        life
    };
    let unknown_second = || {
        let mut life = second_attempt();
        life.moves(&Observation::Answer(Answer::Unknown { text: "reset".into() }));
        life
    };
    let held_second = || {
        let mut life = unknown_second();
        life.later(Duration::hours(1)).moves(&Observation::CannotLook("403".into()));
        life
    };
    let scored = || {
        let mut life = Life::verifying();
        life.moves(&output(9, NOW));
        life
    };
    let cancelled = || {
        let mut life = Life::running();
        life.moves(&job(JobStatus::Canceled));
        life
    };
    let failed = || {
        let mut life = second_attempt();
        life.moves(&refused(true, None));
        life
    };
    let cancelling = || {
        let mut life = Life::running();
        life.later(Duration::days(7)).moves(&job(JobStatus::Running));
        life
    };
    for mut life in vec![
        waits_for_the_second(),
        second_attempt(),
        unknown_second(),
        held_second(),
        Life::running(),
        cancelling(),
        Life::verifying(),
        scored(),
        failed(),
        cancelled(),
    ] {
        let before = life.scoring.clone();
        life.later(Duration::minutes(1));
        let orphaned_job = Job { name: job_name("orphaned job"), id: None, studio: None };
        assert_eq!(
            life.moves(&made(1, "orphaned job", "Running")),
            Effect::Cancel(vec![orphaned_job]),
            "{}",
            before.status
        );
        let expected = Scoring {
            orphaned_jobs: vec![job_name("orphaned job")],
            orphaned_job_count: 1,
            version: before.version + 1,
            updated: life.now,
            ..before
        };
        assert_eq!(life.scoring, expected);
        assert!(life.waits(&made(1, "orphaned job", "Canceled")).contains("known"), "counted once");
        assert_eq!(life.moves(&made(1, "ended", "Completed")), Effect::None, "what has ended cannot be stopped");
        assert_eq!(life.scoring.orphaned_job_count, 2);
        if life.scoring.attempt == 2 {
            assert!(life.waits(&made(1, "job-1", "Failed")).contains("known"), "the first attempt had adopted it");
        }
    }
}

#[test]
fn orphaned_jobs_without_end_do_not_fill_the_ledger() {
    let mut life = Life::running();
    for n in 0..MAX_JOB_NAMES {
        life.moves(&made(1, &format!("orphaned job-{n}"), "Running"));
    }
    life.waits(&made(1, "one-more", "Running"));
    let mut names = Vec::new();
    for n in 0..2 * MAX_JOB_NAMES {
        super::unknown::remember(&mut names, job_name(&n.to_string()));
    }
    assert_eq!((names.len(), names[0].as_str()), (MAX_JOB_NAMES, "0"));
}

#[test]
fn progress_is_written_when_the_word_changes_and_not_before() {
    let mut life = Life::running();
    life.waits(&job(JobStatus::Preparing));
    life.moves(&job(JobStatus::Running));
    life.waits(&job(JobStatus::Running));
    for word in ["NotResponding", "Paused", "Unknown", "Melted"] {
        life.moves(&job(JobStatus::read(word)));
        assert_eq!(life.scoring.status, Status::Running, "{word} is not final");
    }
    life.waits(&Observation::CannotLook("the endpoint did not answer".into()));
}

#[test]
fn a_failed_attempt_is_followed_by_one_with_another_path_until_none_is_left() {
    let mut life = Life::running();
    let first = life.scoring.output_uri().unwrap().to_owned();
    let failed =
        Observation::Job(JobSnapshot { status: JobStatus::Failed, error: Some("exit code 42".into()), studio: None });
    life.moves(&failed);
    assert_eq!((life.scoring.status, life.scoring.error.as_deref()), (Status::Queued, Some("exit code 42")));
    assert!(life.scoring.due > life.now);
    life.now = life.scoring.due;
    life.moves(&Observation::SlotFree);
    assert_eq!((life.scoring.attempt, life.scoring.submits), (2, 1));
    assert_ne!(life.scoring.output_uri().unwrap(), first);
    life.moves(&accepted());
    life.moves(&failed);
    assert_eq!(life.scoring.status, Status::Failed);
}

fn failed_with(error: &str) -> Observation {
    Observation::Job(JobSnapshot { status: JobStatus::Failed, error: Some(error.to_owned()), studio: None })
}

#[test]
fn a_recognised_user_error_gets_one_attempt_unless_the_rule_says_otherwise() {
    let error = failed_with("UserError: exit code 1: ValueError: columns are missing");
    let mut life = Life::running();
    life.moves(&error);
    assert_eq!((life.scoring.status, life.scoring.failure), (Status::Failed, Some(FailureCause::UserCode)));
    let mut life = Life::running();
    life.rule.policy.retry_user_errors = true;
    life.moves(&error);
    assert_eq!((life.scoring.status, life.scoring.failure), (Status::Queued, Some(FailureCause::UserCode)));
}

#[test]
fn what_a_retry_can_fix_and_what_nobody_knows_is_tried_again() {
    for (error, cause) in [
        ("exit code 42", FailureCause::Unknown),
        ("UserError: exit code 137", FailureCause::Unknown),
        ("the node was lost", FailureCause::Platform),
        ("StreamAccessException was caused by AuthenticationException", FailureCause::Access),
    ] {
        let mut life = Life::running();
        life.moves(&failed_with(error));
        assert_eq!((life.scoring.status, life.scoring.failure), (Status::Queued, Some(cause)), "{error}");
    }
}

#[test]
fn a_job_that_vanishes_is_given_time_to_come_back() {
    let mut life = Life::running();
    life.moves(&Observation::JobMissing);
    life.later(Duration::minutes(9)).waits(&Observation::JobMissing);
    life.moves(&job(JobStatus::Preparing));
    assert_eq!((life.scoring.missing_since, life.scoring.last_error.as_deref()), (None, None));
    life.moves(&Observation::JobMissing);
    life.later(Duration::minutes(10)).moves(&Observation::JobMissing);
    assert_eq!(life.scoring.status, Status::Queued);
}

#[test]
fn a_job_that_is_stopped_and_cannot_be_found_is_given_time_too() {
    let mut life = Life::running();
    life.later(Duration::days(7)).moves(&job(JobStatus::Queued));
    assert_eq!(life.moves(&Observation::JobMissing), Effect::None);
    assert_eq!(life.scoring.status, Status::Cancelling);
    life.later(Duration::minutes(4)).moves(&job(JobStatus::CancelRequested));
    assert_eq!((life.scoring.status, life.scoring.missing_since), (Status::Cancelling, None));
    life.moves(&Observation::JobMissing);
    life.later(Duration::minutes(9)).waits(&Observation::JobMissing);
    life.later(Duration::minutes(1)).moves(&Observation::JobMissing);
    assert_eq!(life.scoring.status, Status::Queued);
}

#[test]
fn a_stuck_job_is_stopped_and_counts_as_a_failed_attempt() {
    let mut life = Life::running();
    life.later(Duration::days(7));
    assert_eq!(life.moves(&job(JobStatus::Queued)), Effect::Cancel(vec![named("job-1")]));
    assert_eq!(life.scoring.status, Status::Cancelling);
    life.waits(&job(JobStatus::CancelRequested));
    life.later(crate::schedule::CANCEL_INTERVAL);
    assert!(matches!(life.moves(&job(JobStatus::CancelRequested)), Effect::Cancel(_)));
    life.moves(&job(JobStatus::Canceled));
    assert_eq!(life.scoring.status, Status::Queued);
    assert!(life.scoring.error.as_deref().unwrap().contains("jobTimeout"));
}

#[test]
fn a_running_job_has_its_rules_present_job_timeout_or_without_a_rule_the_recorded() {
    let mut life = Life::running();
    life.later(Duration::hours(1)).waits(&job(JobStatus::Preparing));
    life.rule.policy.job_timeout = IsoDuration(Duration::hours(2));
    life.waits(&job(JobStatus::Preparing));
    let without = |life: &Life| decide(&life.scoring, None, &job(JobStatus::Preparing), life.now);
    life.later(Duration::hours(1));
    assert!(matches!(without(&life), Step::Wait { .. }));
    assert!(matches!(life.decide(&job(JobStatus::Preparing)), Step::Move { effect: Effect::Cancel(_), .. }));
    life.rule.policy.job_timeout = IsoDuration(Duration::days(9));
    life.later(Duration::days(7)).waits(&job(JobStatus::Preparing));
    assert!(matches!(without(&life), Step::Move { effect: Effect::Cancel(_), .. }));
}

#[test]
fn a_job_that_completes_while_it_is_stopped_is_not_thrown_away() {
    let mut life = Life::running();
    life.later(Duration::days(7)).moves(&job(JobStatus::Running));
    life.moves(&job(JobStatus::Completed));
    assert_eq!(life.scoring.status, Status::Verifying);
}

#[test]
fn what_a_person_cancelled_is_not_started_again() {
    let mut life = Life::running();
    life.moves(&job(JobStatus::Canceled));
    assert_eq!(life.scoring.status, Status::Cancelled);
}

#[test]
fn scored_is_never_shown_for_an_output_that_is_absent_empty_or_old() {
    for bad in [absent(), output(0, NOW), output(9, NOW - Duration::hours(1))] {
        let mut life = Life::verifying();
        life.waits(&bad);
        life.later(Duration::minutes(2)).moves(&bad);
        assert_eq!(life.scoring.status, Status::Queued, "{bad:?}");
    }
    let mut life = Life::verifying();
    life.moves(&Observation::CannotLook("403".into()));
    life.waits(&Observation::CannotLook("403".into()));
    assert_eq!(life.scoring.status, Status::Verifying);
}

#[test]
fn a_clock_that_is_minutes_off_does_not_condemn_an_output() {
    let mut life = Life::verifying();
    life.moves(&output(9, NOW - Duration::minutes(4)));
    assert_eq!(life.scoring.status, Status::Scored);
}

#[test]
fn what_is_refused_for_its_tags_is_sent_once_more_without_them_by_the_reconciler() {
    let mut life = Life::submitting();
    assert_eq!(life.moves(&tags_refused()), Effect::None, "no invocation sends two requests");
    assert_eq!((life.scoring.status, life.scoring.due), (Status::Queued, life.now));
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
    let sent = life.scoring.submission.as_ref().unwrap();
    assert!(sent.untagged && (life.scoring.attempt, life.scoring.submits) == (1, 2));
    life.moves(&tags_refused());
    assert_eq!(life.scoring.status, Status::Failed, "once, not for ever");
}

#[test]
fn a_refused_cancel_is_on_record_once_for_each_reason() {
    let mut life = Life::running();
    life.now = life.scoring.due;
    assert!(matches!(life.moves(&job(JobStatus::Running)), Effect::Cancel(_)));
    let refused = |why: &str| Observation::CancelAnswered(vec![cancel_answer(Some(why))]);
    life.moves(&refused("403 from Resource Manager"));
    assert_eq!(
        (life.scoring.status, life.scoring.last_error.as_deref()),
        (Status::Cancelling, Some("403 from Resource Manager"))
    );
    assert!(matches!(life.later(Duration::minutes(5)).moves(&job(JobStatus::Running)), Effect::Cancel(_)));
    life.waits(&refused("403 from Resource Manager"));
    life.moves(&refused("no connection"));
    let mut life = Life::verifying();
    life.moves(&output(120, life.now));
    life.moves(&refused("403"));
    assert_eq!((life.scoring.status, life.scoring.last_error.as_deref()), (Status::Scored, None), "of an orphaned job");
}

#[test]
fn a_request_to_stop_a_job_is_on_record_with_its_answer() {
    let mut life = Life::running();
    life.now = life.scoring.due;
    life.moves(&job(JobStatus::Running));
    life.moves(&Observation::CancelAnswered(vec![cancel_answer(Some("403"))]));
    let taken = |job: &str| CancelAnswer { job: job_name(job), ..cancel_answer(None) };
    let Step::Move { next, entry, .. } = life.decide(&Observation::CancelAnswered(vec![taken("job-1")])) else {
        panic!("it moves")
    };
    assert_eq!((next.status, next.last_error), (Status::Cancelling, None), "it is told now");
    assert_eq!(entry.reason, "Azure ML has taken the request to stop job job-1", "its id is a member of its own");
    let several = vec![taken("job-2"), CancelAnswer { refused: Some("503".into()), ..taken("job-3") }];
    let Step::Move { entry, .. } = life.decide(&Observation::CancelAnswered(several)) else { panic!("it moves") };
    assert_eq!(
        entry.reason,
        "Azure ML has taken the request to stop job job-2 (request 8a1e); 503 (request 8a1e); it is asked again"
    );
    life.waits(&Observation::CancelAnswered(Vec::new()));
}

#[test]
fn a_failed_scoring_shows_its_job_as_it_ended_and_not_as_last_polled() {
    for (seen, shown) in [(job(JobStatus::Failed), "Failed"), (Observation::JobMissing, "NotFound")] {
        let mut life = Life::running();
        life.rule.policy.max_attempts = 1;
        life.moves(&job(JobStatus::Running));
        if seen == Observation::JobMissing {
            life.moves(&seen);
            life.later(Duration::hours(1));
        }
        life.moves(&seen);
        assert_eq!((life.scoring.status, life.scoring.job_status.as_deref()), (Status::Failed, Some(shown)));
    }
}
