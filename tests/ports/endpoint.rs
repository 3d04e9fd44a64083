//! What the port `Endpoint` promises. Each claim gets a stage of its own.

use std::collections::{BTreeSet, HashSet};

use app::ports::ScanTarget;
use lifecycle::{Answer, Job, JobName, JobStatus, Scoring};
use stores::fault::Fault;
use time::Duration;

use super::stage::{Ending, Stage, address, next_attempt, scoring};

const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

async fn accepted(stage: &dyn Stage, scoring: &Scoring) -> Job {
    match stage.endpoint().submit(scoring, TIMEOUT).await.value {
        Answer::Accepted { job, .. } => job,
        other => panic!("{other:?}"),
    }
}

/// Names of the jobs that a search for the scoring's submission finds, in order.
async fn found(stage: &dyn Stage, scoring: &Scoring) -> Vec<JobName> {
    let search = stage.endpoint().find(scoring).await.unwrap();
    let names: BTreeSet<_> = search.jobs.iter().map(|candidate| candidate.job.name.clone()).collect();
    assert_eq!(names.len(), search.jobs.len(), "a job is found once");
    names.into_iter().collect()
}

async fn status(stage: &dyn Stage, scoring: &Scoring, job: &Job) -> JobStatus {
    stage.endpoint().job(&address(scoring, job)).await.unwrap().value.expect("the job is known").status
}

/// Names of the jobs that may be the scoring's.
async fn possible(stage: &dyn Stage, scoring: &Scoring) -> BTreeSet<JobName> {
    let search = stage.endpoint().find(scoring).await.unwrap();
    assert_eq!(search.jobs, [], "nothing says whose they are");
    search.possible.into_iter().map(|candidate| candidate.job.name).collect()
}

pub async fn a_job_that_shows_too_little_may_be_ours_and_is_not_taken_for_it(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    let job = accepted(stage, &scoring).await;
    assert_eq!(possible(stage, &scoring).await, BTreeSet::from([job.name.clone()]));
    stage.finish().await;
    let search = stage.endpoint().find(&Scoring { due: stage.now(), ..scoring.clone() }).await.unwrap();
    assert_eq!(search.possible.len(), 1);
    assert_eq!(search.possible[0].status, JobStatus::Completed, "its end is seen");
    let known = Scoring { deployment: Some("another".parse().unwrap()), ..scoring };
    assert!(possible(stage, &known).await.len() <= 1, "a deployment may exclude it where one was named");
}

pub async fn a_strangers_job_over_the_same_input_looks_just_like_ours(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    let theirs = stage.make_strangers(&scoring).await;
    let job = accepted(stage, &scoring).await;
    assert_eq!(possible(stage, &scoring).await, BTreeSet::from([theirs, job.name]));
}

pub async fn a_job_over_another_input_is_not_ours_however_little_it_shows(stage: &dyn Stage) {
    let other = scoring(stage, "other.csv", Ending::Scored).await;
    let ours = scoring(stage, "ours.csv", Ending::Scored).await;
    let job = accepted(stage, &other).await;
    assert!(possible(stage, &ours).await.is_empty());
    // It was looked at for another scoring, and is found for its own from memory.
    assert_eq!(possible(stage, &other).await, BTreeSet::from([job.name]));
}

pub async fn a_submission_makes_one_job_and_names_it(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    let job = accepted(stage, &scoring).await;
    let status = status(stage, &scoring, &job).await;
    assert!(matches!(status, JobStatus::Preparing | JobStatus::Running), "{status:?}");
    assert_eq!(found(stage, &scoring).await, [job.name]);
}

pub async fn a_refused_submission_makes_no_job(stage: &dyn Stage) {
    for permanent in [true, false] {
        let scoring = scoring(stage, &format!("{permanent}.csv"), Ending::Scored).await;
        stage.next(Fault::Refused { permanent });
        let answer = stage.endpoint().submit(&scoring, TIMEOUT).await.value;
        assert!(matches!(&answer, Answer::Refused { permanent: told, .. } if *told == permanent), "{answer:?}");
        assert!(found(stage, &scoring).await.is_empty());
    }
}

pub async fn a_throttled_submission_makes_no_job_and_says_when_to_come_again(stage: &dyn Stage) {
    for wait in [Some(Duration::seconds(7)), None] {
        let scoring = scoring(stage, &format!("{wait:?}.csv"), Ending::Scored).await;
        stage.next(Fault::Throttled(wait));
        let answer = stage.endpoint().submit(&scoring, TIMEOUT).await.value;
        let Answer::Refused { permanent: false, retry_after, .. } = answer else { panic!("{answer:?}") };
        assert_eq!(retry_after, wait);
        assert!(found(stage, &scoring).await.is_empty());
    }
}

pub async fn a_lost_request_is_unknown_and_made_no_job(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    stage.next(Fault::LostRequest);
    let answer = stage.endpoint().submit(&scoring, TIMEOUT).await.value;
    assert!(matches!(answer, Answer::Unknown { .. }), "{answer:?}");
    assert!(found(stage, &scoring).await.is_empty());
}

pub async fn a_lost_answer_is_unknown_and_each_job_that_was_made_is_found(stage: &dyn Stage) {
    for times in [1, 2] {
        let scoring = scoring(stage, &format!("{times}.csv"), Ending::Scored).await;
        stage.next(Fault::LostAnswer { times });
        let answer = stage.endpoint().submit(&scoring, TIMEOUT).await.value;
        assert!(matches!(answer, Answer::Unknown { .. }), "{answer:?}");
        assert_eq!(found(stage, &scoring).await.len(), usize::try_from(times).unwrap());
    }
}

pub async fn of_a_duplicated_submission_one_job_is_named_and_both_are_found(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    stage.next(Fault::Duplicated { times: 2 });
    let job = accepted(stage, &scoring).await;
    let found = found(stage, &scoring).await;
    assert!(found.len() == 2 && found.contains(&job.name), "{found:?} {job:?}");
}

pub async fn a_search_finds_the_jobs_of_its_own_attempt_and_no_others(stage: &dyn Stage) {
    let other = scoring(stage, "other.csv", Ending::Scored).await;
    let mut ours = scoring(stage, "ours.csv", Ending::Scored).await;
    accepted(stage, &other).await;
    accepted(stage, &ours).await;
    next_attempt(stage, &mut ours, Ending::Scored).await;
    let second = accepted(stage, &ours).await;
    assert_eq!(found(stage, &ours).await, [second.name]);
    next_attempt(stage, &mut ours, Ending::Scored).await;
    assert!(found(stage, &ours).await.is_empty(), "of an attempt that was never sent");
}

pub async fn a_search_is_not_held_against_a_later_time_than_it_saw(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    stage.pass(Duration::MINUTE).await;
    let asked = stage.now();
    let search = stage.endpoint().find(&scoring).await.unwrap();
    assert!(search.as_of.is_none_or(|at| scoring.due <= at && at <= stage.now()), "{search:?} {asked}");
}

pub async fn a_job_that_was_never_made_is_none(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    accepted(stage, &scoring).await;
    let nobodys = Job { name: "batchjob-nobodys".parse().unwrap(), id: None, studio: None };
    assert_eq!(stage.endpoint().job(&address(&scoring, &nobodys)).await.map(|found| found.value), Ok(None));
}

pub async fn a_failed_job_has_its_error_text_and_a_completed_one_has_none(stage: &dyn Stage) {
    let good = scoring(stage, "good.csv", Ending::Scored).await;
    let good_job = accepted(stage, &good).await;
    let bad = scoring(stage, "bad.csv", Ending::Failed).await;
    let bad_job = accepted(stage, &bad).await;
    stage.finish().await;
    let seen = stage.endpoint().job(&address(&good, &good_job)).await.unwrap().value.unwrap();
    assert_eq!((seen.status, seen.error), (JobStatus::Completed, None));
    let seen = stage.endpoint().job(&address(&bad, &bad_job)).await.unwrap().value.unwrap();
    assert_eq!(seen.status, JobStatus::Failed);
    assert!(seen.error.is_some_and(|text| !text.is_empty()));
}

pub async fn jobs_since_a_time_are_those_that_were_made_since_and_are_not_known(stage: &dyn Stage) {
    let first = scoring(stage, "1.csv", Ending::Scored).await;
    let before = accepted(stage, &first).await;
    stage.pass(Duration::HOUR).await;
    let since = stage.now();
    let second = scoring(stage, "2.csv", Ending::Scored).await;
    let third = scoring(stage, "3.csv", Ending::Scored).await;
    let (known, new) = (accepted(stage, &second).await, accepted(stage, &third).await);
    // A list need not show the outputs of a job that is some seconds old.
    stage.pass(Duration::seconds(15)).await;
    let target = ScanTarget {
        endpoint: first.endpoint.clone(),
        workspace: first.workspace.clone(),
        identity: None,
        experiments: Some(Vec::new()),
    };
    let known = HashSet::from([known.name]);
    let listing = stage.endpoint().jobs_created_since(&target, since, &known).await.unwrap();
    assert!(listing.complete, "{listing:?}");
    let names: Vec<_> = listing.jobs.iter().map(|listed| listed.job.name.as_str()).collect();
    assert_eq!(names, [new.name.as_str()], "not {}", before.name);
    let outputs: Vec<_> = third.submission.unwrap().outputs.into_values().map(|output| output.uri).collect();
    assert_eq!(listing.jobs[0].outputs, outputs, "by these it is known whose it is");
    assert!(listing.jobs[0].tags.as_ref().is_none_or(|tags| *tags == (third.id.clone(), 1)));
}

pub async fn a_cancelled_job_ends_as_such_however_often_it_is_asked(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    let job = accepted(stage, &scoring).await;
    for _ in 0..2 {
        stage.endpoint().cancel(&address(&scoring, &job)).await.unwrap();
    }
    stage.finish().await;
    assert_eq!(status(stage, &scoring, &job).await, JobStatus::Canceled);
    stage.endpoint().cancel(&address(&scoring, &job)).await.unwrap();
}

pub async fn a_request_to_stop_leaves_a_job_that_has_ended_as_it_is(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    let job = accepted(stage, &scoring).await;
    stage.finish().await;
    stage.endpoint().cancel(&address(&scoring, &job)).await.unwrap();
    stage.pass(Duration::MINUTE).await;
    assert_eq!(status(stage, &scoring, &job).await, JobStatus::Completed);
}

pub async fn what_cannot_be_looked_at_is_an_error_and_never_none(stage: &dyn Stage) {
    let scoring = scoring(stage, "a.csv", Ending::Scored).await;
    let job = accepted(stage, &scoring).await;
    stage.deny_lookups();
    let endpoint = stage.endpoint();
    let nobodys = Job { name: "batchjob-nobodys".parse().unwrap(), id: None, studio: None };
    for job in [&job, &nobodys] {
        assert!(endpoint.job(&address(&scoring, job)).await.is_err(), "{job:?}");
    }
    assert!(endpoint.find(&scoring).await.is_err());
    let target = ScanTarget {
        endpoint: scoring.endpoint.clone(),
        workspace: scoring.workspace.clone(),
        identity: None,
        experiments: Some(Vec::new()),
    };
    assert!(endpoint.jobs_created_since(&target, stage.now(), &HashSet::new()).await.is_err());
}
