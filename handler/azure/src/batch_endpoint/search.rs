//! The search through a workspace's jobs: for the job of a submission whose answer was lost, and for jobs that nobody
//! told us of.
//!
//! Resource Manager lists a workspace's jobs without a filter that would help and does not show their inputs and
//! outputs. So the list is narrowed down by time, and each job that is left is looked at on the endpoint, those of the right
//! experiment first; an experiment decides against no job. A job is ours if one of its outputs is one of ours (each attempt has
//! paths that nothing else uses) or if it carries our tags with this attempt. Equal inputs alone prove nothing: an earlier
//! attempt had the same, and so may a stranger's job. Such a job is *possible* if it shows neither outputs nor tags.
//!
//! "None" is an answer that makes the scoring be sent again, so it is given only after the whole window was seen, and as
//! of the moment when reading the list began. In a burst the window holds thousands of jobs and many answers may be lost:
//! lists are shared, and a job that writes elsewhere, or reads something else, is looked at once (`job_cache`).

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration as Limit;

use futures::{StreamExt as _, stream};
use lifecycle::datastore::same_place;
use lifecycle::job::{Input, experiment_asked_for};
use lifecycle::{Candidate, EndpointUri, Job, JobName, JobStatus, Scoring, Submission};
use time::{Duration, OffsetDateTime};
use tokio::time::{Instant, timeout, timeout_at};

use super::client::{AzureMl, JobLookup};
use super::job_cache::{CachedJob, SilentJob, Turn};
use super::list::{self, Entry};
use super::wire::{InputShown, JobTags, Resource};
use app::ports::{Answered, Inconclusive, JobListing, JobSearch, ListedJob, ScanTarget};

/// Jobs in the window that one search looks at one by one; the next one goes on.
const MAX_JOBS: usize = 1_000;
/// A list goes back so much further than the search that needs it, for the other ones that it serves.
const FURTHER: Duration = Duration::minutes(10);
/// Jobs that a search looks at on the endpoint at the same time.
const MAX_CONCURRENT_LOOKUPS: usize = 4;
/// A search takes no longer, with the time that it waits for others of its endpoint. What it saw until then is remembered.
const LIMIT: Limit = Limit::from_secs(120);
/// A job that the endpoint does not know so long after it was made is none of its own. Before the orphan scan stops listing it.
const FAR_AGE: Duration = Duration::minutes(30);
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
    let list = shared_list(ml, scoring, workspace, turn).await?;
    let window = Window::of(&list, submitted, now);
    let asked = scoring.submission.as_ref().and_then(|submission| experiment_asked_for(&submission.settings));
    let names = experiments(&scoring.endpoint, asked.as_slice());
    let mut found = SearchCandidates::default();
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for job in list.jobs.iter().filter(|job| window.has(job)) {
        let mut silent = None;
        match &job.tags {
            Some(tags) if !tags.is_of(scoring) => continue,
            Some(_) => {}
            None if !job.is_pipeline => continue,
            None => match turn.remembers(&job.job.name, now, |uri| is_output_of(scoring, uri)) {
                Some(CachedJob::Elsewhere) => continue,
                Some(CachedJob::Silent(looked)) => match turn.silent(&job.job.name) {
                    // Its inputs never change, so it will never be ours.
                    Some(shown) if !may_be_of(scoring, &shown, names.as_deref()) => continue,
                    // As good as a look after this list was read.
                    shown if looked >= list.begun => {
                        found.possible.extend(shown.map(|shown| shown.candidate.clone()));
                        continue;
                    }
                    _ => silent = Some(looked),
                },
                None => {}
            },
        }
        let nearest = if is_of(names.as_deref(), job) || job.tags.is_some() { &mut near } else { &mut far };
        nearest.push((job, silent));
    }
    let crowd = near.len() + far.len();
    let (mut as_of, mut unseen) = (list.begun, 0);
    // First what bears our mark, then what nobody has looked at; ours was most likely made at once.
    let by_hope = |(job, silent): &(&Entry, Option<OffsetDateTime>)| {
        (job.tags.is_none(), *silent, job.created.map(|created| (created - list.clock.at(submitted)).abs()))
    };
    let mut room = MAX_JOBS;
    for jobs in [&mut near, &mut far] {
        if jobs.len() > room {
            jobs.sort_by_key(by_hope);
            for (job, silent) in jobs.drain(room..) {
                match silent.filter(|looked| *looked >= scoring.due) {
                    Some(looked) => {
                        as_of = as_of.min(looked);
                        found.possible.extend(turn.silent(&job.job.name).map(|shown| shown.candidate.clone()));
                    }
                    None => unseen += 1,
                }
            }
        }
        room -= jobs.len();
    }
    for jobs in [near, far] {
        let jobs = jobs.into_iter().map(|(job, _)| job.clone()).collect();
        check_candidates(ml, scoring, jobs, (turn, names.as_deref()), &mut found).await?;
        // What comes after cannot change the answer.
        if !found.ours.is_empty() || !list.complete {
            break;
        }
    }
    if found.ours.is_empty() && unseen > 0 {
        return Err(Inconclusive::unfinished(format!(
            "{crowd} jobs were made about the time of the submission, of which {MAX_JOBS} are looked at at a time; the next \
             look goes on"
        )));
    }
    if found.ours.is_empty() && !list.complete {
        return Err(list::too_many(&list));
    }
    found.keep_followed(scoring, &list);
    Ok(JobSearch {
        jobs: found.ours,
        possible: found.possible,
        as_of: Some(as_of),
        request_id: list.request_id.clone(),
    })
}

/// A list that shows what was made since the submission: one that others have just read, or a new one.
async fn shared_list(
    ml: &AzureMl,
    scoring: &Scoring,
    workspace: &str,
    turn: &Turn<'_>,
) -> Result<Arc<list::List>, Inconclusive> {
    let submitted = submitted_at(scoring);
    if let Some(shared) = turn.list(submitted, scoring.due, ml.tokens.now()) {
        return shared;
    }
    match list::read(&ml.manager, ml.tokens.now(), workspace, submitted - FURTHER).await {
        Ok(list) => Ok(turn.keep(list, ml.tokens.now())),
        Err(inconclusive) => {
            turn.fail(&inconclusive, ml.tokens.now());
            Err(inconclusive)
        }
    }
}

/// What a search has found so far.
#[derive(Default)]
struct SearchCandidates {
    ours: Vec<Candidate>,
    possible: Vec<Candidate>,
}

impl SearchCandidates {
    /// A job that is followed and is not listed any more may be there all the same: nothing may be concluded without it.
    fn keep_followed(&mut self, scoring: &Scoring, list: &list::List) {
        for name in &scoring.followed {
            if list.jobs.iter().all(|job| job.job.name != *name) {
                self.possible.push(Candidate {
                    job: Job { name: name.clone(), id: None, studio: None },
                    status: JobStatus::Unlisted("NotListed".to_owned()),
                    created: submitted_at(scoring),
                });
            }
        }
    }
}

/// What one job is to a scoring.
enum Looked {
    Ours(Candidate),
    Possible(Candidate),
    SomebodyElses,
}

/// Adds what these jobs are. An error only if none of them is ours among those that could be looked at: adopting one of two is
/// safe, and the other one is found by the orphan scan.
async fn check_candidates(
    ml: &AzureMl,
    scoring: &Scoring,
    jobs: Vec<Entry>,
    (turn, experiments): (&Turn<'_>, Option<&[String]>),
    found: &mut SearchCandidates,
) -> Result<(), Inconclusive> {
    let looks = jobs.into_iter().map(|listed| look(ml, scoring, listed, (turn, experiments)));
    let mut looks = stream::iter(looks).buffered(MAX_CONCURRENT_LOOKUPS);
    let (mut failure, mut failures, mut successes) = (None, 0, 0);
    while failures < MAX_FAILURES
        && let Some(looked) = looks.next().await
    {
        successes += usize::from(looked.is_ok());
        match looked {
            Ok(Looked::Ours(candidate)) => found.ours.push(candidate),
            Ok(Looked::Possible(candidate)) => found.possible.push(candidate),
            Ok(Looked::SomebodyElses) => {}
            Err(inconclusive) => {
                failures += 1;
                failure = failure.or(Some(inconclusive));
            }
        }
    }
    match failure {
        Some(inconclusive) if found.ours.is_empty() => {
            if successes == 0 && failures == MAX_FAILURES {
                // Not this job or that one: nothing can be looked at.
                turn.fail(&inconclusive, ml.tokens.now());
            }
            Err(inconclusive)
        }
        _ => Ok(()),
    }
}

/// The job as it is now. What it shows is remembered.
async fn look(
    ml: &AzureMl,
    scoring: &Scoring,
    listed: Entry,
    (turn, experiments): (&Turn<'_>, Option<&[String]>),
) -> Result<Looked, Inconclusive> {
    let name = &listed.job.name;
    let before = ml.tokens.now();
    // Missing: not a job of this endpoint, or not yet known to it. Only our own mark in the list speaks for it.
    let seen = match ml.look(&scoring.endpoint, name).await?.value {
        JobLookup::Job(seen) => Some(seen),
        JobLookup::Missing(_) => None,
    };
    let is_tagged = |tags: Option<JobTags>| tags.is_some_and(|tags| tags.is_of(scoring));
    let ours = seen.as_ref().is_some_and(|seen| is_ours(seen, scoring)) || is_tagged(listed.tags);
    let followed = scoring.followed.contains(name);
    let of_seen = seen.as_ref();
    let candidate = Candidate {
        job: of_seen.and_then(Resource::job).unwrap_or_else(|| listed.job.clone()),
        status: of_seen.and_then(Resource::status).or(listed.status).unwrap_or(JobStatus::Unknown),
        created: of_seen.and_then(Resource::created).or(listed.created).unwrap_or_else(|| submitted_at(scoring)),
    };
    let outputs = of_seen.map(Resource::outputs).unwrap_or_default();
    let silent = of_seen.filter(|seen| outputs.is_empty() && seen.tags().is_none()).map(|seen| SilentJob {
        candidate: candidate.clone(),
        inputs: seen.inputs(),
        deployment: seen.deployment().map(str::to_owned),
        endpoint: seen.endpoint().map(str::to_owned),
    });
    let possible = match &silent {
        Some(shown) => may_be_of(scoring, shown, experiments),
        // It was seen before, and the endpoint does not know it at the moment.
        None => seen.is_none() && followed,
    };
    turn.learn(name, &outputs, silent, before);
    Ok(match (ours, possible) {
        (true, _) => Looked::Ours(candidate),
        (false, true) => Looked::Possible(candidate),
        (false, false) => Looked::SomebodyElses,
    })
}

/// A job that shows neither outputs nor tags may be the scoring's: it has the same inputs, all of them, as far as it shows any.
fn may_be_of(scoring: &Scoring, shown: &SilentJob, experiments: Option<&[String]>) -> bool {
    // A request that named no deployment went to whichever was the default then.
    let differs =
        |ours: &str, theirs: &Option<String>| theirs.as_ref().is_some_and(|theirs| !theirs.eq_ignore_ascii_case(ours));
    if scoring.deployment.as_ref().is_some_and(|ours| differs(ours, &shown.deployment)) {
        return false;
    }
    if experiments.and_then(|names| names.first()).is_some_and(|ours| differs(ours, &shown.endpoint)) {
        return false;
    }
    let Some(submission) = &scoring.submission else { return false };
    shown.inputs.is_empty() || has_inputs(&shown.inputs, submission)
}

/// The inputs are those of the submission, by their values: model deployments ignore names.
fn has_inputs(shown: &[InputShown], submission: &Submission) -> bool {
    let mut left: Vec<&Input> = submission.inputs.values().collect();
    if shown.len() != left.len() {
        return false;
    }
    // What shows nothing may be any of those that are left.
    shown.iter().filter(|one| one.uri.is_some() || one.value.is_some()).all(|one| {
        let same = |ours: &&Input| match (ours, &one.uri, &one.value) {
            (Input::UriFile(ours) | Input::UriFolder(ours), Some(theirs), _) => same_input(&ours.uri, theirs),
            (Input::Literal { value }, None, Some(theirs)) => value == theirs,
            _ => false,
        };
        left.iter().position(same).map(|at| left.swap_remove(at)).is_some()
    })
}

/// Two URIs of one input. Rather once too often: the job is only followed.
fn same_input(ours: &str, theirs: &str) -> bool {
    same_place(ours, theirs) || plain(ours) == plain(theirs)
}

/// A URI without what a service may write otherwise: case, percent-encoding, the last slash, a query, the host of Gen2.
fn plain(uri: &str) -> String {
    let path = uri.split('?').next().unwrap_or_default().trim_end_matches('/');
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    decoded.to_lowercase().replacen(".dfs.", ".blob.", 1)
}

/// What an orphan scan's look at a job came to.
enum Scanned {
    /// It is the endpoint's, or carries our tags.
    Job(ListedJob),
    /// The endpoint will never know it.
    Elsewhere(JobName),
    /// The endpoint does not know it, perhaps not yet.
    NotYet,
}

/// Jobs of an endpoint, but for the known ones.
pub(super) async fn jobs_created_since(
    ml: &AzureMl,
    at: &ScanTarget,
    workspace: &str,
    since: OffsetDateTime,
    known: &HashSet<JobName>,
) -> Result<JobListing, Inconclusive> {
    let end = Instant::now() + LIMIT;
    let names = at.experiments.as_ref().and_then(|asked| experiments(&at.endpoint, asked));
    let list = list::read(&ml.manager, ml.tokens.now(), workspace, since).await?;
    let window = Window::of(&list, since, ml.tokens.now());
    let (mut listed, mut complete) = (list.jobs, list.complete);
    let old = list.clock.at(ml.tokens.now()) - FAR_AGE;
    let is_old = |job: &Entry| job.created.is_none_or(|created| created <= old);
    let is_near = |job: &Entry| job.tags.is_some() || is_of(names.as_deref(), job);
    // An experiment decides against no job: a rule that is gone may have asked for another one. Most jobs of other experiments
    // are other people's, so each is looked at once, when nobody can say any more that the endpoint does not know it yet.
    listed.retain(|job| {
        let wanted = is_near(job) || job.is_pipeline && is_old(job);
        window.has(job) && wanted && !known.contains(&job.job.name)
    });
    // The newest first: what runs on for nobody is among them, and the older ones were there for the orphan scan before, be it
    // another process's. What time does not suffice for is seen by the next orphan scan, which knows those of this one.
    listed.sort_by_key(|job| (!is_near(job), job.created.is_some(), Reverse(job.created)));
    let looks = listed.into_iter().map(|listed| async move {
        let tags = listed.tags.as_ref().and_then(JobTags::read);
        let Answered { value, request_id } = ml.look(&at.endpoint, &listed.job.name).await?;
        let seen = match value {
            JobLookup::Job(seen) => Some(seen),
            JobLookup::Missing(_) if tags.is_some() => None,
            JobLookup::Missing(_) if is_old(&listed) => return Ok(Scanned::Elsewhere(listed.job.name)),
            JobLookup::Missing(_) => return Ok(Scanned::NotYet),
        };
        let seen = seen.as_ref();
        Ok(Scanned::Job(ListedJob {
            job: seen.and_then(Resource::job).unwrap_or(listed.job),
            status: seen.and_then(Resource::status).or(listed.status).unwrap_or(JobStatus::Unknown),
            outputs: seen.map(Resource::outputs).unwrap_or_default().into_iter().map(str::to_owned).collect(),
            tags: seen.and_then(|seen| seen.tags()?.read()).or(tags),
            request_id,
        }))
    });
    // A job that cannot be looked at does not keep the others from being seen; it only makes the listing not whole.
    let (mut jobs, mut elsewhere, mut failure) = (Vec::new(), Vec::new(), None);
    let mut looks = stream::iter(looks).buffered(MAX_CONCURRENT_LOOKUPS);
    loop {
        match timeout_at(end, looks.next()).await {
            Ok(Some(Ok(Scanned::Job(job)))) => jobs.push(job),
            Ok(Some(Ok(Scanned::Elsewhere(name)))) => elsewhere.push(name),
            Ok(Some(Ok(Scanned::NotYet))) => {}
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
        failure => Ok(JobListing { jobs, elsewhere, complete: complete && failure.is_none() }),
    }
}

fn submitted_at(scoring: &Scoring) -> OffsetDateTime {
    scoring.submitted.unwrap_or(scoring.created)
}

/// Times of the service between which a job was made.
struct Window {
    from: OffsetDateTime,
    to: OffsetDateTime,
}

impl Window {
    /// The window between two times of ours.
    fn of(list: &list::List, from: OffsetDateTime, to: OffsetDateTime) -> Self {
        Self { from: list.clock.at(from) - list.clock.margin(), to: list.clock.at(to) + list.clock.margin() }
    }

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
fn experiments(endpoint: &EndpointUri, asked: &[String]) -> Option<Vec<String>> {
    Some(std::iter::once(endpoint.name()?.to_owned()).chain(asked.iter().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_experiment_is_the_endpoint_or_the_one_asked_for() {
        let host = "https://claims.westeurope.inference.ml.azure.com/jobs";
        let path =
            "https://westeurope.api.azureml.ms/mferp/managementfrontend/subscriptions/s/batchEndpoints/claims/jobs";
        let experiments = |uri: &str, asked: &[String]| experiments(&uri.parse().unwrap(), asked);
        let asked = ["nightly".to_owned()];
        assert_eq!(experiments(host, &[]), Some(vec!["claims".to_owned()]));
        assert_eq!(experiments(path, &[]), Some(vec!["claims".to_owned()]));
        assert_eq!(experiments(host, &asked), Some(vec!["claims".to_owned(), "nightly".to_owned()]));
        for another in ["http://127.0.0.1:1/jobs", "https://gateway.example/claims/jobs"] {
            assert_eq!(experiments(another, &[]), None);
        }
    }
}
