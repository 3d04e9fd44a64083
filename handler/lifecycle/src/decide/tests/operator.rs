//! What operators order: done once, with their name and reason in the history, or answered with why not.

use super::*;

pub(super) fn order(verb: Verb) -> Observation {
    Observation::Ordered(Order { verb, by: "ann@contoso.com".to_owned(), reason: "the role is there".to_owned() })
}

fn failed() -> Life {
    let mut life = Life::submitting();
    life.moves(&refused(true, None));
    assert_eq!(life.scoring.status, Status::Failed);
    life
}

fn last_reason(life: &Life, observation: &Observation) -> String {
    match decide(&life.scoring, Some(&life.rule), observation, life.now) {
        Step::Move { entry, .. } => entry.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_failed_is_tried_again_with_an_attempt_and_an_output_path_of_its_own() {
    let mut life = failed();
    let first = life.scoring.submission.clone();
    let reason = last_reason(&life, &order(Verb::Retry));
    assert!(reason.contains("retried by ann@contoso.com (the role is there)"), "{reason}");
    life.moves(&order(Verb::Retry));
    assert_eq!((life.scoring.status, life.scoring.completed), (Status::Queued, None));
    assert!(life.waits(&order(Verb::Retry)).contains("queued already"), "twice is once");
    life.moves(&Observation::SlotFree);
    assert_eq!(life.scoring.attempt, 2);
    assert_ne!(life.scoring.submission, first);
}

#[test]
fn a_back_off_ends_by_a_retry_and_what_is_under_way_or_scored_is_left_alone() {
    let mut life = Life::submitting();
    life.moves(&refused(false, Some(Duration::minutes(7))));
    life.moves(&order(Verb::Retry));
    assert_eq!((life.scoring.due, life.scoring.refusals), (life.now, 0));
    let mut life = Life::verifying();
    assert!(life.waits(&order(Verb::Retry)).contains("under way"));
    life.moves(&output(120, life.now));
    assert!(life.waits(&order(Verb::Retry)).contains("it is scored"));
    assert!(life.waits(&order(Verb::Cancel)).contains("is final"));
}

#[test]
fn a_cancelled_job_is_told_to_stop_and_no_attempt_follows_however_it_ends() {
    for (end, status) in [
        (job(JobStatus::Canceled), Status::Cancelled),
        (job(JobStatus::Failed), Status::Cancelled),
        (job(JobStatus::Completed), Status::Verifying),
    ] {
        let mut life = Life::running();
        let Step::Move { effect: Effect::Cancel(jobs), .. } =
            decide(&life.scoring, Some(&life.rule), &order(Verb::Cancel), life.now)
        else {
            panic!("its job is told to stop")
        };
        assert_eq!(jobs.len(), 1);
        life.moves(&order(Verb::Cancel));
        assert_eq!(life.scoring.status, Status::Cancelling);
        assert!(life.waits(&order(Verb::Cancel)).contains("told to stop already"), "twice is once");
        // Who had the ledger alone told nobody: the next look does.
        let again = decide(&life.scoring, Some(&life.rule), &job(JobStatus::Running), life.now);
        assert!(matches!(again, Step::Move { effect: Effect::Cancel(_), .. }), "{again:?}");
        life.moves(&end);
        assert_eq!(life.scoring.status, status);
        if status == Status::Cancelled {
            let why = life.scoring.error.clone().unwrap_or_default();
            assert!(why.contains("cancelled by ann@contoso.com"), "{why}");
        }
    }
}

#[test]
fn what_has_no_job_is_cancelled_at_once_and_what_may_have_one_waits() {
    let mut life = Life::new();
    life.moves(&order(Verb::Cancel));
    assert_eq!(life.scoring.status, Status::Cancelled);
    assert!(last_reason(&Life::new(), &order(Verb::Cancel)).ends_with("nothing was sent for it"));
    let mut refused_once = Life::submitting();
    refused_once.moves(&refused(false, None));
    assert!(last_reason(&refused_once, &order(Verb::Cancel)).ends_with("a job that appears late is stopped"));
    assert!(Life::submitting().waits(&order(Verb::Cancel)).contains("being found out"));
}

#[test]
fn a_failure_is_acknowledged_once_and_needs_it_again_when_it_fails_again() {
    let mut life = failed();
    assert!(life.scoring.needs_acknowledgement());
    life.moves(&order(Verb::Acknowledge));
    assert!(!life.scoring.needs_acknowledgement() && life.scoring.status == Status::Failed);
    assert!(life.waits(&order(Verb::Acknowledge)).contains("acknowledged"), "twice is once");
    life.moves(&made(9, "late", "Running"));
    assert!(life.scoring.needs_acknowledgement(), "an orphaned job is something else than what was seen");
    life.moves(&order(Verb::Acknowledge));
    life.moves(&order(Verb::Retry));
    life.moves(&Observation::SlotFree);
    life.moves(&refused(true, None));
    assert!(life.scoring.needs_acknowledgement(), "it failed again");
}

#[test]
fn an_orphaned_job_is_acknowledged_in_every_status_and_changes_none() {
    for status in Status::ALL {
        let mut life = Life::new();
        life.scoring.status = status;
        life.scoring.completed = status.is_terminal().then_some(life.now);
        life.scoring.orphaned_job_count = 1;
        life.scoring.last_error = Some("what keeps it waiting".to_owned());
        life.moves(&order(Verb::Acknowledge));
        assert_eq!((life.scoring.status, life.scoring.acknowledged), (status, Some(life.now)));
        assert_eq!(life.scoring.last_error.as_deref(), Some("what keeps it waiting"));
    }
}

#[test]
fn what_is_on_hold_goes_nowhere_before_it_is_released() {
    let mut life = Life::new();
    life.moves(&order(Verb::Hold));
    assert_eq!(life.scoring.status, Status::Queued);
    assert!(life.waits(&Observation::SlotFree).contains("put on hold by ann@contoso.com (the role is there)"));
    for verb in [Verb::Hold, Verb::Retry, Verb::Expedite] {
        assert!(life.waits(&order(verb)).contains("scorekeeper release"), "{verb:?}");
    }
    life.moves(&order(Verb::Release));
    assert!(life.waits(&order(Verb::Release)).contains("not on hold"), "twice is once");
    life.moves(&Observation::SlotFree);
    assert_eq!(life.scoring.status, Status::Submitting);
    assert!(life.waits(&order(Verb::Hold)).contains("only what is queued"));
}

#[test]
fn what_is_on_hold_can_be_cancelled_and_a_retry_of_that_is_not_on_hold() {
    let mut life = Life::new();
    life.moves(&order(Verb::Hold));
    life.moves(&order(Verb::Cancel));
    assert_eq!((life.scoring.status, &life.scoring.on_hold), (Status::Cancelled, &None));
    life.moves(&order(Verb::Retry));
    life.moves(&Observation::SlotFree);
}

#[test]
fn what_is_expedited_is_due_at_once_and_stays_so_until_its_request_is_answered() {
    let mut life = Life::submitting();
    life.moves(&refused(false, Some(Duration::minutes(7))));
    life.moves(&order(Verb::Expedite));
    assert_eq!((life.scoring.due, life.scoring.expedited), (life.now, true));
    assert!(life.waits(&order(Verb::Expedite)).contains("already"), "twice is once");
    life.moves(&Observation::SlotFree);
    assert!(life.scoring.expedited, "a refusal that passes leaves it first");
    life.moves(&made(1, "job", "Running"));
    assert!(!life.scoring.expedited);
}

#[test]
fn an_order_that_a_process_whose_clock_is_ahead_has_done_is_not_done_again() {
    for verb in [Verb::Retry, Verb::Expedite] {
        let mut life = Life::submitting();
        life.moves(&refused(false, Some(Duration::minutes(7))));
        life.now += Duration::minutes(3);
        life.moves(&order(verb));
        life.now -= Duration::minutes(3);
        assert!(life.waits(&order(verb)).contains("already"), "{verb:?}");
    }
}

#[test]
fn a_skip_ends_what_has_no_job_and_leaves_a_running_one_alone() {
    let mut life = Life::new();
    life.moves(&order(Verb::Skip));
    assert_eq!(life.scoring.status, Status::Cancelled);
    assert!(life.scoring.error.unwrap_or_default().starts_with("skipped by ann@contoso.com"));
    assert!(Life::running().waits(&order(Verb::Skip)).contains("left alone"));
    assert!(failed().waits(&order(Verb::Skip)).contains("scorekeeper ack"));
}
