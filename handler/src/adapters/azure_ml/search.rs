//! The search through a workspace's jobs: for the job of a submission whose answer was lost, and for jobs that nobody
//! told us of.
//!
//! Resource Manager lists a workspace's jobs without a filter that would help and does not show their inputs and
//! outputs. So the list is narrowed down by time and experiment, and each job that is left is looked at on the
//! endpoint. A job is ours if one of its outputs is one of ours (each attempt has paths that nothing else uses) or if
//! it carries our tags with this attempt. Equal inputs alone prove nothing: an earlier attempt had the same.
//!
//! "None" is an answer that makes the scoring be sent again, so it is given only after the whole window was seen.

use std::collections::HashSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use lifecycle::datastore::same_place;
use lifecycle::job::experiment_asked_for;
use lifecycle::{Candidate, JobStatus, Scoring};
use time::{Duration, OffsetDateTime};

use super::wire::Resource;
use super::{AzureMl, Looked};
use crate::ports::{Listed, Listing, Place, Unclear};

/// Clocks of Azure ML and of this machine may differ by this much.
const SKEW: Duration = Duration::minutes(5);
/// Pages of the list. Resource Manager gives some ten to a hundred jobs a page.
const MOST_PAGES: usize = 200;
/// Jobs in the window that are looked at one by one.
const MOST_JOBS: usize = 1_000;
/// Looks at one time.
const AT_ONCE: usize = 4;
/// The list is left early when it turned out to be sorted, newest first, and this much older than the window.
const OLD_ENOUGH: Duration = Duration::hours(1);
/// Jobs in a row, each older than the one before, that show it to be sorted. Fewer could be chance.
const SORTED_BY: usize = 10;

pub(super) async fn find(ml: &AzureMl, scoring: &Scoring, workspace: &str) -> Result<Vec<Candidate>, Unclear> {
    let now = ml.tokens.now();
    let submitted = scoring.submitted.unwrap_or(scoring.created);
    let window = Window { from: submitted - SKEW, to: now + SKEW };
    let asked = scoring.submission.as_ref().and_then(|submission| experiment_asked_for(&submission.settings));
    let names = experiments(&scoring.endpoint, asked.as_slice());
    let possible = |job: &Resource| job.mark(scoring) != Some(false);
    let (listed, whole) = list(ml, workspace, &window, names.as_deref(), possible).await?;
    if listed.len() > MOST_JOBS {
        return Err(too_many());
    }
    let looks = listed.into_iter().map(|listed| look(ml, scoring, listed, submitted));
    let found: Vec<Option<Candidate>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let found: Vec<Candidate> = found.into_iter().flatten().collect();
    if found.is_empty() && !whole { Err(too_many()) } else { Ok(found) }
}

/// Jobs of an endpoint, but for the known ones.
pub(super) async fn made_since(
    ml: &AzureMl,
    at: &Place,
    workspace: &str,
    since: OffsetDateTime,
    known: &HashSet<String>,
) -> Result<Listing, Unclear> {
    let window = Window { from: since - SKEW, to: ml.tokens.now() + SKEW };
    let unknown = |job: &Resource| job.name().is_some_and(|name| !known.contains(name));
    let names = experiments(&at.endpoint, &at.experiments);
    let (mut listed, mut whole) = list(ml, workspace, &window, names.as_deref(), unknown).await?;
    if listed.len() > MOST_JOBS {
        // What is left now is seen by the next audit, which knows those of this one.
        listed.sort_by_key(Resource::created);
        listed.truncate(MOST_JOBS);
        whole = false;
    }
    let looks = listed.into_iter().map(|listed| async move {
        let Some(name) = listed.name() else { return Ok(None) };
        let seen = match ml.look(&at.endpoint, name).await? {
            Looked::Job(seen) => seen,
            Looked::Missing(_) if listed.marked().is_some() => listed.clone(),
            Looked::Missing(_) => return Ok(None),
        };
        Ok(seen.job().or_else(|| listed.job()).map(|job| Listed {
            job,
            status: seen.status().or_else(|| listed.status()).unwrap_or(JobStatus::Unknown),
            outputs: seen.outputs().into_iter().map(str::to_owned).collect(),
            mark: seen.marked().or_else(|| listed.marked()),
        }))
    });
    // A job that can't be looked at does not keep the others from being seen; it only makes the listing not whole.
    let (mut jobs, mut failure) = (Vec::new(), None);
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    while let Some(look) = looks.next().await {
        match look {
            Ok(job) => jobs.extend(job),
            Err(unclear) => failure = failure.or(Some(unclear)),
        }
    }
    match failure {
        Some(unclear) if jobs.is_empty() => Err(unclear),
        failure => Ok(Listing { jobs, whole: whole && failure.is_none() }),
    }
}

struct Window {
    from: OffsetDateTime,
    to: OffsetDateTime,
}

/// The jobs that may be ours, and whether the whole window was seen.
async fn list(
    ml: &AzureMl,
    workspace: &str,
    window: &Window,
    experiments: Option<&[String]>,
    wanted: impl Fn(&Resource) -> bool,
) -> Result<(Vec<Resource>, bool), Unclear> {
    let mut possible = Vec::new();
    let (mut from, mut last, mut sorted, mut descents) = (None, None, true, 0);
    for _ in 0..MOST_PAGES {
        let page = ml.manager.jobs(workspace, from.as_ref()).await?;
        let mut newest = None;
        for job in page.jobs.into_iter().map(Resource::of) {
            if let Some(created) = job.created() {
                sorted &= last.is_none_or(|last| created <= last);
                descents += usize::from(last.is_some_and(|last| created < last));
                last = Some(created);
                newest = newest.max(Some(created));
                if created < window.from || created > window.to {
                    continue;
                }
            }
            let elsewhere = experiments.is_some_and(|names| {
                job.experiment().is_some_and(|name| !names.iter().any(|known| known.eq_ignore_ascii_case(name)))
            });
            if !elsewhere && wanted(&job) && job.name().is_some() {
                possible.push(job);
            }
        }
        let past = sorted && descents >= SORTED_BY && newest.is_some_and(|newest| newest < window.from - OLD_ENOUGH);
        match page.next {
            None => return Ok((possible, true)),
            Some(_) if past => return Ok((possible, true)),
            Some(_) if possible.len() > MOST_JOBS => return Ok((possible, false)),
            next => from = next,
        }
    }
    Ok((possible, false))
}

async fn look(
    ml: &AzureMl,
    scoring: &Scoring,
    listed: Resource,
    submitted: OffsetDateTime,
) -> Result<Option<Candidate>, Unclear> {
    let Some(name) = listed.name() else { return Ok(None) };
    let seen = match ml.look(&scoring.endpoint, name).await? {
        Looked::Job(seen) => seen,
        // Not a job of this endpoint, or not yet known to it: only our own mark in the list speaks for it.
        Looked::Missing(_) => listed.clone(),
    };
    if !is_ours(&seen, scoring) && listed.mark(scoring) != Some(true) {
        return Ok(None);
    }
    Ok(seen.job().or_else(|| listed.job()).map(|job| Candidate {
        job,
        status: seen.status().or_else(|| listed.status()).unwrap_or(JobStatus::Unknown),
        created: seen.created().or_else(|| listed.created()).unwrap_or(submitted),
    }))
}

fn is_ours(job: &Resource, scoring: &Scoring) -> bool {
    let ours = scoring.submission.iter().flat_map(|submission| submission.outputs.values());
    let theirs = job.outputs();
    job.mark(scoring) == Some(true)
        || ours.into_iter().any(|our| theirs.iter().any(|their| same_place(&our.uri, their)))
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

fn too_many() -> Unclear {
    Unclear(format!(
        "the workspace lists more jobs than are looked through ({MOST_PAGES} pages, {MOST_JOBS} jobs since the submission); archive old jobs, or look for the output path in the studio and decide by hand"
    ))
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
