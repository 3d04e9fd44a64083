//! Jobs that may be an attempt's own and show too little: followed, never adopted, never cancelled.

use super::*;
use crate::job::{JobsFound, LostLook, OutputFound, OutputPrint};

fn jobs(shown: &[(&str, JobStatus)]) -> JobsFound {
    let possible = shown.iter().zip(0..).map(|((name, status), minute)| Candidate {
        job: named(name),
        status: status.clone(),
        created: NOW + Duration::minutes(minute),
    });
    JobsFound::Seen { ours: Vec::new(), possible: possible.collect() }
}

/// These jobs may be its own, and nothing is at its output path.
pub(super) fn possible(shown: &[(&str, JobStatus)]) -> Observation {
    Observation::Lost(LostLook { jobs: jobs(shown), output: OutputFound::Nothing })
}

/// Something is at its output path; no job shows anything.
pub(super) fn output_is(etag: &str) -> Observation {
    let output = OutputFound::Something(OutputPrint::of([("predictions.csv", etag)]));
    Observation::Lost(LostLook { jobs: jobs(&[]), output })
}

const RUNS: (&str, JobStatus) = ("one", JobStatus::Running);

#[test]
fn a_job_that_may_be_its_own_is_followed_and_nothing_is_sent_while_it_runs() {
    let mut life = Life::unknown();
    assert_eq!(life.moves(&possible(&[RUNS])), Effect::None);
    assert_eq!((life.scoring.status, life.scoring.followed.as_slice()), (Status::Unknown, &[job_name("one")][..]));
    assert!(life.waits(&possible(&[RUNS])).contains("job one"), "written once");
    assert_eq!(life.moves(&possible(&[RUNS, ("two", JobStatus::NotResponding)])), Effect::None);
    life.later(Duration::minutes(15));
    assert_eq!(life.moves(&possible(&[RUNS])), Effect::None);
    assert_eq!(life.scoring.status, Status::Held, "a person may name it from now on");
    for _ in 0..6 {
        life.later(Duration::days(1)).waits(&possible(&[RUNS]));
    }
    assert_eq!((life.scoring.submits, &life.scoring.job), (1, &None));
}

#[test]
fn an_output_that_is_unchanged_proves_the_attempt_and_leads_to_scored_without_a_job() {
    let mut life = Life::unknown();
    life.moves(&possible(&[RUNS]));
    life.moves(&output_is("1"));
    life.later(Duration::minutes(1)).waits(&output_is("1"));
    life.later(Duration::minutes(1)).moves(&output_is("2"));
    life.later(Duration::minutes(2) - Duration::SECOND).waits(&output_is("2"));
    assert_eq!(life.scoring.status, Status::Unknown, "what was written over is not proved yet");
    life.later(Duration::SECOND).moves(&output_is("2"));
    assert_eq!((life.scoring.status, &life.scoring.job), (Status::Verifying, &None));
    life.moves(&output(5, life.now));
    assert_eq!((life.scoring.status, &life.scoring.job), (Status::Scored, &None));
    life.waits(&made(1, "one", "Completed"));
    assert_eq!(life.scoring.orphaned_job_count, 0, "it is the one that wrote the output");
}

#[test]
fn an_output_settles_it_also_while_jobs_cannot_be_listed_or_run_on() {
    for jobs in [JobsFound::NotSeen("403".into()), jobs(&[RUNS])] {
        let mut life = Life::unknown();
        let output = OutputFound::Something(OutputPrint::of([("a", "1")]));
        let seen = Observation::Lost(LostLook { jobs, output });
        life.moves(&seen);
        life.later(Duration::minutes(2)).moves(&seen);
        assert_eq!(life.scoring.status, Status::Verifying);
    }
}

#[test]
fn nothing_is_sent_again_before_the_output_path_was_looked_at() {
    let mut life = Life::unknown();
    let output = OutputFound::NotSeen("403 from storage".into());
    let unseen = Observation::Lost(LostLook { jobs: jobs(&[]), output });
    life.moves(&unseen);
    assert_eq!(life.later(Duration::minutes(15)).moves(&unseen), Effect::None);
    assert_eq!(life.scoring.status, Status::Held);
    assert!(life.scoring.last_error.as_deref().unwrap().contains("403 from storage"));
    assert_eq!(life.moves(&Observation::candidates(vec![])), Effect::Submit, "it leaves by itself");
}

#[test]
fn when_followed_jobs_completed_without_its_output_it_is_sent_again_to_its_path() {
    let mut life = Life::unknown();
    let sent = life.scoring.submission.clone();
    life.moves(&possible(&[RUNS]));
    life.later(Duration::minutes(20)).moves(&possible(&[RUNS]));
    assert_eq!(life.scoring.status, Status::Held);
    let ended = possible(&[("one", JobStatus::Completed)]);
    assert_eq!(life.moves(&ended), Effect::None, "storage may show a blob later than the job's end");
    life.later(Duration::minutes(2) - Duration::SECOND).waits(&ended);
    assert_eq!(life.later(Duration::SECOND).moves(&ended), Effect::Submit);
    assert_eq!((life.scoring.attempt, life.scoring.submits, &life.scoring.submission), (1, 2, &sent));
    assert_eq!((life.scoring.followed.len(), &life.scoring.followed_ended), (0, &None));
}

#[test]
fn when_a_followed_job_ended_without_success_the_attempt_failed() {
    for bad in [JobStatus::Failed, JobStatus::Canceled] {
        let mut life = Life::unknown();
        let ended = possible(&[("one", JobStatus::Completed), ("two", bad)]);
        life.moves(&ended);
        life.later(Duration::minutes(3)).waits(&ended);
        assert_eq!(life.later(Duration::minutes(12)).moves(&ended), Effect::None);
        assert_eq!((life.scoring.status, &life.scoring.submission), (Status::Queued, &None));
        assert!(life.scoring.previous_jobs.is_empty() && life.scoring.orphaned_jobs.is_empty());
    }
}

#[test]
fn a_job_that_comes_after_all_had_ended_is_followed_as_well() {
    let mut life = Life::unknown();
    life.moves(&possible(&[("one", JobStatus::Completed)]));
    life.later(Duration::minutes(20)).moves(&possible(&[("one", JobStatus::Completed), ("two", JobStatus::Running)]));
    assert_eq!((life.scoring.followed.len(), life.scoring.followed_ended), (2, None));
    let ended = possible(&[("one", JobStatus::Completed), ("two", JobStatus::Completed)]);
    life.moves(&ended);
    life.waits(&ended);
}

#[test]
fn former_and_orphaned_jobs_are_neither_followed_nor_adopted() {
    let mut life = Life::unknown();
    life.scoring.previous_jobs = vec![job_name("former")];
    life.scoring.orphaned_jobs = vec![job_name("orphaned")];
    let known = [("former", JobStatus::Running), ("orphaned", JobStatus::Running)];
    life.waits(&possible(&known));
    life.waits(&Observation::candidates(vec![candidate("former", 0), candidate("orphaned", 1)]));
    assert_eq!(life.later(Duration::minutes(15)).moves(&possible(&known)), Effect::Submit);
}

#[test]
fn what_is_held_longer_than_a_job_may_run_gives_its_slot_back_and_waits() {
    let mut life = Life::unknown();
    life.later(Duration::minutes(15)).moves(&possible(&[RUNS]));
    assert!(life.scoring.holds_slot());
    life.later(Duration::days(7)).moves(&possible(&[RUNS]));
    assert!(life.scoring.status == Status::Held && !life.scoring.holds_slot());
    assert!(life.scoring.last_error.as_deref().unwrap().contains("job one"));
    life.waits(&possible(&[RUNS]));
    assert_eq!(life.moves(&Observation::candidates(vec![])), Effect::None, "its slot is somebody else's");
    assert_eq!((life.scoring.status, life.scoring.slot_freed), (Status::Queued, false));
    assert_eq!(life.moves(&Observation::SlotFree), Effect::Submit);
    assert_eq!((life.scoring.attempt, life.scoring.submits), (1, 2));

    let mut life = Life::unknown();
    life.moves(&Observation::CannotLook("403".into()));
    life.later(Duration::minutes(15)).moves(&Observation::CannotLook("403".into()));
    life.later(Duration::days(7)).moves(&Observation::CannotLook("403".into()));
    assert!(!life.scoring.holds_slot(), "also if nobody can look");
}

#[test]
fn a_rule_that_says_hold_is_held_when_followed_jobs_ended_without_its_output() {
    for status in [JobStatus::Completed, JobStatus::Failed] {
        let mut life = Life::unknown();
        life.rule = rule_with(|rule| rule.policy.on_unknown = OnUnknown::Hold);
        let ended = possible(&[("one", status)]);
        life.moves(&ended);
        assert_eq!(life.later(Duration::minutes(15)).moves(&ended), Effect::None);
        assert_eq!(life.scoring.status, Status::Held);
        life.later(Duration::days(1)).waits(&ended);
    }
}
