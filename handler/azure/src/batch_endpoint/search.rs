//! The search through a workspace's jobs: for the job of a submission whose answer was lost, and for jobs that nobody
//! told us of.
//!
//! Resource Manager lists a workspace's jobs without a filter that would help and does not show their inputs and
//! outputs. So the list is narrowed down by time and experiment, and each job that is left is looked at on the
//! endpoint. A job is ours if one of its outputs is one of ours (each attempt has paths that nothing else uses) or if
//! it carries our tags with this attempt. Equal inputs alone prove nothing: an earlier attempt had the same.
//!
//! "None" is an answer that makes the scoring be sent again, so it is given only after the whole window was seen, and as
//! of the moment when reading the list began. In a burst the window holds thousands of jobs and many answers may be lost:
//! lists are shared, and a job that writes elsewhere is looked at once (`known`).

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration as Limit;

use futures::{StreamExt as _, stream};
use lifecycle::datastore::same_place;
use lifecycle::job::experiment_asked_for;
use lifecycle::{Candidate, JobStatus, Scoring};
use time::{Duration, OffsetDateTime};
use tokio::time::{Instant, timeout, timeout_at};

use super::client::{AzureMl, JobLookup};
use super::job_cache::{CachedJob, Turn};
use super::list::{self, Entry};
use super::wire::{JobTags, Resource};
use app::ports::{Inconclusive, JobListing, JobSearch, ListedJob, ScanTarget};

/// Clocks of Azure ML and of this machine may differ by this much.
const SKEW: Duration = Duration::minutes(5);
/// Jobs in the window that one search looks at one by one; the next one goes on.
const MAX_JOBS: usize = 1_000;
/// A list goes back so much further than the search that needs it, for the other ones that it serves.
const FURTHER: Duration = Duration::minutes(10);
/// Looks at one time.
const MAX_CONCURRENT_LOOKUPS: usize = 4;
/// A search takes no longer, with the time that it waits for others of its endpoint. What it saw until then is remembered.
const LIMIT: Limit = Limit::from_secs(120);
/// Looks that may fail before a search is given up. One job that nobody can look at does not hide the others.
const MAX_FAILURES: usize = 3;

pub(super) async fn find(ml: &AzureMl, scoring: &Scoring, workspace: &str) -> Result<JobSearch, Inconclusive> {
    let search = async {
        let turn = ml.job_cache.turn(workspace, &scoring.endpoint).await;
        find_in_turn(ml, scoring, workspace, &turn).await
    };
    timeout(LIMIT, search).await.unwrap_or_else(|_| {
        let text = format!("looking through the jobs took longer than {} s; the next look goes on", LIMIT.as_secs());
        Err(Inconclusive::unfinished(text))
    })
}

async fn find_in_turn(
    ml: &AzureMl,
    scoring: &Scoring,
    workspace: &str,
    turn: &Turn<'_>,
) -> Result<JobSearch, Inconclusive> {
    let now = ml.tokens.now();
    let submitted = submitted_at(scoring);
    let window = Window { from: submitted - SKEW, to: now + SKEW };
    let list = match turn.list(window.from, scoring.due, now) {
        Some(shared) => shared?,
        None => match list::read(&ml.manager, ml.tokens.now(), workspace, window.from - FURTHER).await {
            Ok(list) => turn.keep(list, ml.tokens.now()),
            Err(inconclusive) => {
                turn.fail(&inconclusive, ml.tokens.now());
                return Err(inconclusive);
            }
        },
    };
    let asked = scoring.submission.as_ref().and_then(|submission| experiment_asked_for(&submission.settings));
    let names = experiments(&scoring.endpoint, asked.as_slice());
    let mut possible = Vec::new();
    for job in list.jobs.iter().filter(|job| window.has(job) && is_of(names.as_deref(), job)) {
        let mut silent = None;
        match &job.tags {
            Some(tags) if !tags.is_of(scoring) => continue,
            Some(_) => {}
            None => match turn.remembers(&job.job.name, now, |uri| is_output_of(scoring, uri)) {
                Some(CachedJob::Elsewhere) => continue,
                // As good as a look after this list was read.
                Some(CachedJob::Silent(looked)) if looked >= list.begun => continue,
                Some(CachedJob::Silent(looked)) => silent = Some(looked),
                None => {}
            },
        }
        possible.push((job, silent));
    }
    let crowd = possible.len();
    let mut as_of = list.begun;
    let mut unseen = 0;
    if crowd > MAX_JOBS {
        // First what bears our mark, then what nobody has looked at; ours was most likely made at once.
        possible.sort_by_key(|(job, silent)| {
            (job.tags.is_none(), *silent, job.created.map(|created| (created - submitted).abs()))
        });
        for (_, silent) in possible.drain(MAX_JOBS..) {
            match silent.filter(|looked| *looked >= scoring.due) {
                Some(looked) => as_of = as_of.min(looked),
                None => unseen += 1,
            }
        }
    }
    let possible = possible.into_iter().map(|(job, _)| job.clone()).collect();
    let found = check_candidates(ml, scoring, possible, turn).await?;
    if found.is_empty() && unseen > 0 {
        return Err(Inconclusive::unfinished(format!(
            "{crowd} jobs were made about the time of the submission, of which {MAX_JOBS} are looked at at a time; the next \
             look goes on"
        )));
    }
    if found.is_empty() && !list.complete {
        return Err(list::too_many(&list));
    }
    Ok(JobSearch { jobs: found, as_of: Some(as_of) })
}

/// Candidates among these jobs. An error only if there is none among those that could be looked at: adopting one of two is
/// safe, and the other one is found by the orphan scan.
async fn check_candidates(
    ml: &AzureMl,
    scoring: &Scoring,
    jobs: Vec<Entry>,
    turn: &Turn<'_>,
) -> Result<Vec<Candidate>, Inconclusive> {
    let mut looks =
        stream::iter(jobs.into_iter().map(|listed| look(ml, scoring, listed, turn))).buffered(MAX_CONCURRENT_LOOKUPS);
    let (mut found, mut failure, mut failures, mut successes) = (Vec::new(), None, 0, 0);
    while failures < MAX_FAILURES
        && let Some(looked) = looks.next().await
    {
        match looked {
            Ok(candidate) => {
                successes += 1;
                found.extend(candidate);
            }
            Err(inconclusive) => {
                failures += 1;
                failure = failure.or(Some(inconclusive));
            }
        }
    }
    match failure {
        Some(inconclusive) if found.is_empty() => {
            if successes == 0 && failures == MAX_FAILURES {
                // Not this job or that one: nothing can be looked at.
                turn.fail(&inconclusive, ml.tokens.now());
            }
            Err(inconclusive)
        }
        _ => Ok(found),
    }
}

/// The job as it is now, if it is the scoring's. What it shows is remembered.
async fn look(
    ml: &AzureMl,
    scoring: &Scoring,
    listed: Entry,
    turn: &Turn<'_>,
) -> Result<Option<Candidate>, Inconclusive> {
    let name = &listed.job.name;
    let before = ml.tokens.now();
    // Missing: not a job of this endpoint, or not yet known to it. Only our own mark in the list speaks for it.
    let seen = match ml.look(&scoring.endpoint, name).await? {
        JobLookup::Job(seen) => Some(seen),
        JobLookup::Missing(_) => None,
    };
    turn.learn(name, &seen.as_ref().map(Resource::outputs).unwrap_or_default(), before);
    let is_tagged = |tags: Option<JobTags>| tags.is_some_and(|tags| tags.is_of(scoring));
    if !seen.as_ref().is_some_and(|seen| is_ours(seen, scoring)) && !is_tagged(listed.tags) {
        return Ok(None);
    }
    let seen = seen.as_ref();
    Ok(Some(Candidate {
        job: seen.and_then(Resource::job).unwrap_or(listed.job),
        status: seen.and_then(Resource::status).or(listed.status).unwrap_or(JobStatus::Unknown),
        created: seen.and_then(Resource::created).or(listed.created).unwrap_or_else(|| submitted_at(scoring)),
    }))
}

/// Jobs of an endpoint, but for the known ones.
pub(super) async fn jobs_created_since(
    ml: &AzureMl,
    at: &ScanTarget,
    workspace: &str,
    since: OffsetDateTime,
    known: &HashSet<lifecycle::JobName>,
) -> Result<JobListing, Inconclusive> {
    let end = Instant::now() + LIMIT;
    let window = Window { from: since - SKEW, to: ml.tokens.now() + SKEW };
    let names = experiments(&at.endpoint, &at.experiments);
    let list = list::read(&ml.manager, ml.tokens.now(), workspace, window.from).await?;
    let (mut listed, mut complete) = (list.jobs, list.complete);
    listed.retain(|job| window.has(job) && is_of(names.as_deref(), job) && !known.contains(&job.job.name));
    // The newest first: what runs on for nobody is among them, and the older ones were there for the orphan scan before, be it
    // another process's. What time does not suffice for is seen by the next orphan scan, which knows those of this one.
    listed.sort_by_key(|job| (job.created.is_some(), Reverse(job.created)));
    let looks = listed.into_iter().map(|listed| async move {
        let tags = listed.tags.as_ref().and_then(JobTags::read);
        let seen = match ml.look(&at.endpoint, &listed.job.name).await? {
            JobLookup::Job(seen) => Some(seen),
            JobLookup::Missing(_) if tags.is_some() => None,
            JobLookup::Missing(_) => return Ok(None),
        };
        let seen = seen.as_ref();
        Ok(Some(ListedJob {
            job: seen.and_then(Resource::job).unwrap_or(listed.job),
            status: seen.and_then(Resource::status).or(listed.status).unwrap_or(JobStatus::Unknown),
            outputs: seen.map(Resource::outputs).unwrap_or_default().into_iter().map(str::to_owned).collect(),
            tags: seen.and_then(|seen| seen.tags()?.read()).or(tags),
        }))
    });
    // A job that cannot be looked at does not keep the others from being seen; it only makes the listing not whole.
    let (mut jobs, mut failure) = (Vec::new(), None);
    let mut looks = stream::iter(looks).buffered(MAX_CONCURRENT_LOOKUPS);
    loop {
        match timeout_at(end, looks.next()).await {
            Ok(Some(Ok(job))) => jobs.extend(job),
            Ok(Some(Err(inconclusive))) => failure = failure.or(Some(inconclusive)),
            Ok(None) => break,
            Err(_) => {
                complete = false;
                break;
            }
        }
    }
    match failure {
        Some(inconclusive) if jobs.is_empty() => Err(inconclusive),
        failure => Ok(JobListing { jobs, complete: complete && failure.is_none() }),
    }
}

fn submitted_at(scoring: &Scoring) -> OffsetDateTime {
    scoring.submitted.unwrap_or(scoring.created)
}

struct Window {
    from: OffsetDateTime,
    to: OffsetDateTime,
}

impl Window {
    /// A job without a time may be of any.
    fn has(&self, job: &Entry) -> bool {
        job.created.is_none_or(|created| created >= self.from && created <= self.to)
    }
}

/// The job is of one of these experiments, or does not say of which.
fn is_of(experiments: Option<&[String]>, job: &Entry) -> bool {
    let Some((names, experiment)) = experiments.zip(job.experiment.as_ref()) else { return true };
    names.iter().any(|name| name.eq_ignore_ascii_case(experiment))
}

fn is_ours(job: &Resource, scoring: &Scoring) -> bool {
    job.tags().is_some_and(|tags| tags.is_of(scoring)) || job.outputs().iter().any(|uri| is_output_of(scoring, uri))
}

fn is_output_of(scoring: &Scoring, uri: &str) -> bool {
    let ours = scoring.submission.iter().flat_map(|submission| submission.outputs.values());
    ours.into_iter().any(|our| same_place(&our.uri, uri))
}

/// Names that the experiment of our job may have: the endpoint's, or the one that the rule's settings ask for. `None`
/// if the URI does not tell the endpoint's name.
fn experiments(endpoint: &str, asked: &[String]) -> Option<Vec<String>> {
    let url = reqwest::Url::parse(endpoint).ok()?;
    let path: Vec<&str> = url.path_segments()?.collect();
    let in_path =
        path.iter().position(|part| part.eq_ignore_ascii_case("batchEndpoints")).and_then(|at| path.get(at + 1));
    let name = match in_path {
        Some(name) => (*name).to_owned(),
        None => url.domain()?.split_once(".inference.")?.0.split('.').next()?.to_owned(),
    };
    Some(std::iter::once(name).chain(asked.iter().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_experiment_is_the_endpoint_or_the_one_asked_for() {
        let host = "https://claims.westeurope.inference.ml.azure.com/jobs";
        let path = "https://westeurope.api.azureml.ms/mferp/managementfrontend/subscriptions/s/batchEndpoints/claims/jobs?api-version=1";
        let asked = ["nightly".to_owned()];
        assert_eq!(experiments(host, &[]), Some(vec!["claims".to_owned()]));
        assert_eq!(experiments(path, &[]), Some(vec!["claims".to_owned()]));
        assert_eq!(experiments(host, &asked), Some(vec!["claims".to_owned(), "nightly".to_owned()]));
        assert_eq!(experiments("http://127.0.0.1:1/jobs", &[]), None);
    }
}
