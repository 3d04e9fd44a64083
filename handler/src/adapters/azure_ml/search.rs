//! The search for the job of a submission whose answer was lost.
//!
//! Resource Manager lists a workspace's jobs without a filter that would help and does not show their inputs and
//! outputs. So the list is narrowed down by time and experiment, and each job that is left is looked at on the
//! endpoint. A job is ours if one of its outputs is one of ours (each attempt has paths that nothing else uses) or if
//! it carries our tags with this attempt. Equal inputs alone prove nothing: an earlier attempt had the same.
//!
//! "None" is an answer that makes the scoring be sent again, so it is given only after the whole window was seen.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use lifecycle::{Candidate, JobStatus, Scoring};
use time::{Duration, OffsetDateTime};

use super::datastore::same_place;
use super::wire::Resource;
use super::{AzureMl, Looked};
use crate::ports::Unclear;

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
    let (listed, whole) = list(ml, scoring, workspace, &window).await?;
    if listed.len() > MOST_JOBS {
        return Err(too_many());
    }
    let looks = listed.into_iter().map(|listed| look(ml, scoring, listed, submitted));
    let found: Vec<Option<Candidate>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let found: Vec<Candidate> = found.into_iter().flatten().collect();
    if found.is_empty() && !whole { Err(too_many()) } else { Ok(found) }
}

struct Window {
    from: OffsetDateTime,
    to: OffsetDateTime,
}

/// The jobs that may be ours, and whether the whole window was seen.
async fn list(
    ml: &AzureMl,
    scoring: &Scoring,
    workspace: &str,
    window: &Window,
) -> Result<(Vec<Resource>, bool), Unclear> {
    let experiments = experiments(scoring);
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
            let elsewhere = experiments.as_ref().is_some_and(|names| {
                job.experiment().is_some_and(|name| !names.iter().any(|known| known.eq_ignore_ascii_case(name)))
            });
            if !elsewhere && job.mark(scoring) != Some(false) && job.name().is_some() {
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
fn experiments(scoring: &Scoring) -> Option<Vec<String>> {
    let url = reqwest::Url::parse(&scoring.endpoint).ok()?;
    let path: Vec<&str> = url.path_segments()?.collect();
    let in_path =
        path.iter().position(|part| part.eq_ignore_ascii_case("batchEndpoints")).and_then(|at| path.get(at + 1));
    let endpoint = match in_path {
        Some(name) => (*name).to_owned(),
        None => url.domain()?.split_once(".inference.")?.0.split('.').next()?.to_owned(),
    };
    let settings = scoring.submission.as_ref().map(|submission| &submission.settings);
    let asked = settings.and_then(|settings| settings.get("properties")?.get("experimentName")?.as_str());
    Some([Some(endpoint), asked.map(str::to_owned)].into_iter().flatten().collect())
}

fn too_many() -> Unclear {
    Unclear(format!(
        "the workspace lists more jobs than are looked through ({MOST_PAGES} pages, {MOST_JOBS} jobs since the submission); archive old jobs, or look for the output path in the studio and decide by hand"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::{BlobVersion, Rules};

    fn scoring(endpoint: &str, settings: &str) -> Scoring {
        let text = format!(
            r#"{{"rules":[{{"id":"r","match":{{"container":"c"}},"endpoint":{{"uri":"{endpoint}"}},"settings":{settings}}}]}}"#
        );
        let rules = Rules::read(&text).expect("rules");
        let rule = rules.get("r").expect("the rule");
        let blob = BlobVersion::read("https://a.blob.core.windows.net/c/p.csv", "1").expect("a blob");
        let mut scoring = Scoring::accept(rule, blob, OffsetDateTime::UNIX_EPOCH);
        scoring.submission = Some(rule.submission(&scoring, 1));
        scoring
    }

    #[test]
    fn the_experiment_is_the_endpoint_or_the_one_asked_for() {
        let host = "https://claims.westeurope.inference.ml.azure.com/jobs";
        let path = "https://westeurope.api.azureml.ms/mferp/managementfrontend/subscriptions/s/batchEndpoints/claims/jobs?api-version=1";
        assert_eq!(experiments(&scoring(host, "{}")), Some(vec!["claims".to_owned()]));
        assert_eq!(experiments(&scoring(path, "{}")), Some(vec!["claims".to_owned()]));
        let asked = r#"{"properties":{"experimentName":"nightly"}}"#;
        assert_eq!(experiments(&scoring(host, asked)), Some(vec!["claims".to_owned(), "nightly".to_owned()]));
        assert_eq!(experiments(&scoring("http://127.0.0.1:1/jobs", "{}")), None);
    }
}
