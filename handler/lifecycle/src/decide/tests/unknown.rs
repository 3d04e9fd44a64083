//! A request whose answer was lost: looking, adopting, sending again, holding.

use super::*;

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
