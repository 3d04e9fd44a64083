//! What is left after the burst, by one installation's ledger and by the simulator's own account.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use app::ledger::Ledger;
use lifecycle::{Event, Scoring, Status};
use serde_json::Value;

use super::grid::url_of;
use super::stage::Stage;

/// A job as the simulator tells of it.
#[derive(Debug)]
pub(super) struct Made {
    name: String,
    output: String,
    status: String,
}

impl Made {
    fn read(job: &Value) -> Self {
        let text = |member: &Value| member.as_str().unwrap_or_else(|| panic!("{job}")).to_owned();
        Self { name: text(&job["name"]), output: text(&job["outputs"]["score"]), status: text(&job["status"]) }
    }
}

pub(super) struct Outcome {
    pub(super) summary: Value,
    pub(super) scorings: Vec<Scoring>,
    pub(super) jobs: Vec<Made>,
    /// Final outputs that are there.
    published: BTreeSet<String>,
    /// Scorings whose job was found by looking.
    found: usize,
}

impl Outcome {
    pub(super) async fn read(stage: &Stage, ledger: &Ledger) -> Self {
        let mut scorings: Vec<Scoring> = Vec::new();
        let all = |scoring| {
            scorings.push(scoring);
            true
        };
        ledger.scorings(all).await.unwrap();
        let jobs = stage.admin("jobs").await["jobs"].as_array().unwrap().iter().map(Made::read).collect();
        let (mut published, mut found) = (BTreeSet::new(), 0);
        for scoring in &scorings {
            let output = scoring.output_uri().filter(|uri| stage.output(uri).is_some_and(|text| !text.is_empty()));
            published.extend(output.map(str::to_owned));
            let entries = ledger.entries(&scoring.id).await.unwrap();
            let by_looking = [Some(Event::FoundOne), Some(Event::FoundSeveral)];
            found += usize::from(entries.iter().any(|entry| by_looking.contains(&entry.event)));
        }
        Self { summary: stage.admin("summary").await, scorings, jobs, published, found }
    }

    /// Scorings whose job was adopted after its answer, or who waited for it, was lost.
    pub(super) fn found(&self) -> usize {
        self.found
    }

    /// Jobs that the ledger counts as needed by nobody.
    pub(super) fn orphaned_jobs(&self) -> usize {
        self.scorings.iter().map(|scoring| scoring.orphaned_jobs.len()).sum()
    }

    /// What is not over yet, and why; for a burst that does not end.
    pub(super) fn unfinished(&self) -> String {
        let open = self.scorings.iter().filter(|scoring| !scoring.status.is_terminal());
        let told = |scoring: &Scoring| format!("{} {}: {:?}", scoring.status, scoring.blob.path, scoring.error);
        open.map(told).collect::<Vec<_>>().join("\n") + &format!("\n{self}; {}", self.summary)
    }

    /// The most jobs that were unfinished at one time.
    pub(super) fn max_in_flight(&self) -> u64 {
        self.summary["maxInFlight"].as_u64().unwrap()
    }

    /// The same, where the jobs that one request made count as one.
    pub(super) fn max_requests_in_flight(&self) -> u64 {
        self.summary["maxRequestsInFlight"].as_u64().unwrap()
    }

    /// Nothing lost, nothing twice: one scoring for each upload; each is `scored`, its output is there, and the only job
    /// that wrote it is the one that was adopted.
    pub(super) fn assert_each_is_scored_by_its_adopted_job(&self, paths: &[String]) {
        let mut blobs: Vec<&str> = self.scorings.iter().map(|scoring| scoring.blob.url.as_str()).collect();
        blobs.sort_unstable();
        let mut uploaded: Vec<String> = paths.iter().map(|path| url_of(path)).collect();
        uploaded.sort_unstable();
        assert_eq!(blobs, uploaded);
        let mut writers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for job in self.jobs.iter().filter(|job| job.status == "Completed") {
            writers.entry(&job.output).or_default().push(&job.name);
        }
        for scoring in &self.scorings {
            let output = scoring.output_uri().unwrap();
            assert_eq!(scoring.status, Status::Scored, "{scoring:?}");
            assert!(self.published.contains(output), "{scoring:?}");
            assert_eq!(writers[output], [scoring.job.as_ref().unwrap().name.as_str()], "{scoring:?}");
        }
    }

    /// Attempts and orphaned jobs of this ledger's scorings, whose output paths hold their ids.
    pub(super) fn own_jobs(&self) -> usize {
        let own = |job: &&Made| self.scorings.iter().any(|scoring| job.output.contains(scoring.id.as_str()));
        self.jobs.iter().filter(own).count()
    }

    /// Each job that no attempt of its scoring needs is on record with it and is over without having written the scoring's
    /// output. How many of them were stopped.
    pub(super) fn assert_orphaned_jobs_are_found_and_counted(&self) -> usize {
        let mut stopped = 0;
        for scoring in &self.scorings {
            let own: Vec<&Made> = self.jobs.iter().filter(|job| job.output.contains(scoring.id.as_str())).collect();
            let attempts = usize::try_from(scoring.attempt).unwrap();
            assert_eq!(own.len(), attempts + scoring.orphaned_jobs.len(), "{scoring:?}: {own:?}");
            for orphaned_job in &scoring.orphaned_jobs {
                let job = own
                    .iter()
                    .find(|job| *job.name == **orphaned_job)
                    .unwrap_or_else(|| panic!("{orphaned_job}: {own:?}"));
                let elsewhere = scoring.output_uri() != Some(job.output.as_str());
                assert!(elsewhere || ["Canceled", "Failed"].contains(&job.status.as_str()), "{scoring:?}: {job:?}");
                stopped += usize::from(job.status == "Canceled");
            }
        }
        stopped
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} scorings, {} jobs, {} adopted after a look, {} orphaned jobs, at most {} in flight of {} requests, {} POSTs, {} attempts",
            self.scorings.len(),
            self.jobs.len(),
            self.found,
            self.orphaned_jobs(),
            self.max_in_flight(),
            self.max_requests_in_flight(),
            self.summary["posts"],
            self.scorings.iter().map(|scoring| scoring.attempt).sum::<u32>(),
        )
    }
}
