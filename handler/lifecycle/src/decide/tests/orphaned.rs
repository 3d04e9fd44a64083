//! Jobs that no scoring needs.

use super::*;

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
        crate::decide::unknown::remember(&mut names, job_name(&n.to_string()));
    }
    assert_eq!((names.len(), names[0].as_str()), (MAX_JOB_NAMES, "0"));
}
