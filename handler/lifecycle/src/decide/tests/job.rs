//! A job as it goes on, fails, vanishes or is told to stop.

use super::*;

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
