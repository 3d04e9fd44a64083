//! A cloud that answers at once, for benches of what is ours.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use app::ports::{
    Answered, BlobPage, Blobs, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, NamedBy, PartPage, ScanTarget,
};
use async_trait::async_trait;
use lifecycle::{
    Answer, BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, CopySource, InputContent, InputSnapshot, Job,
    JobSnapshot, JobStatus, OutputPrint, OutputSnapshot, PublicationMark, Published, PublishedBlob, Scoring, ScoringId,
    SeenVersion, UnversionedBlob, WriteCondition,
};
use time::OffsetDateTime;

/// Answers everything at once: jobs are made, and run for ever; nothing is listed but what it was given.
#[derive(Default)]
pub(crate) struct AtOnce {
    list: Option<List>,
}

/// One page of so many blobs at most, from there.
pub(crate) type List = Box<dyn Fn(Option<&str>, usize) -> BlobPage + Send + Sync>;

impl AtOnce {
    /// Lists this.
    pub(crate) fn listing(list: List) -> Self {
        Self { list: Some(list) }
    }
}

#[async_trait]
impl Endpoint for AtOnce {
    async fn submit(&self, scoring: &Scoring, _timeout: std::time::Duration) -> Answered<Answer> {
        Answer::Accepted { job: job_of(scoring), status: JobStatus::Running }.into()
    }

    async fn job(&self, _at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        Ok(Some(JobSnapshot { status: JobStatus::Running, error: None, studio: None }).into())
    }

    async fn find(&self, _scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        Ok(JobSearch { jobs: Vec::new(), possible: Vec::new(), as_of: None, request_id: None })
    }

    async fn jobs_created_since(
        &self,
        _at: &ScanTarget,
        _since: OffsetDateTime,
        _known: &HashSet<lifecycle::JobName>,
    ) -> Result<JobListing, Inconclusive> {
        Ok(JobListing::default())
    }

    async fn cancel(&self, _at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        Ok(().into())
    }
}

#[async_trait]
impl Blobs for AtOnce {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        let content = InputContent { bytes: 1, md5: None };
        Ok(InputSnapshot::Present(SeenVersion { etag: blob.etag.clone(), content }))
    }

    async fn output_print(&self, _scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        Ok(None)
    }

    async fn blob(&self, _blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        Err(Inconclusive::not_reachable("no blob of this bench is there"))
    }

    async fn index_tags(&self, _blob: &UnversionedBlob, _etag: &str) -> Result<BTreeMap<String, String>, Inconclusive> {
        Err(Inconclusive::not_reachable("no blob of this bench is there"))
    }

    async fn list(&self, _place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive> {
        match &self.list {
            Some(list) => Ok(list(from, max)),
            None => Err(Inconclusive::not_reachable("no blob of this bench is there")),
        }
    }

    async fn outputs(&self, _scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        Err(Inconclusive::not_reachable("no job of this bench ends"))
    }

    async fn locate(&self, _at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        Err(Inconclusive::not_reachable("nothing of this bench is published"))
    }

    async fn published(&self, _at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        Err(Inconclusive::not_reachable("nothing of this bench is published"))
    }

    async fn parts(&self, _folder: &BlobPlace, _from: Option<&str>) -> Result<PartPage, Inconclusive> {
        Err(Inconclusive::not_reachable("nothing of this bench is published"))
    }

    async fn publish(
        &self,
        _source: &CopySource,
        _to: &BlobPlace,
        _condition: &WriteCondition,
        _mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        Err(Inconclusive::not_reachable("nothing of this bench is published"))
    }

    async fn write_manifest(
        &self,
        _to: &BlobPlace,
        _body: Vec<u8>,
        _condition: &WriteCondition,
        _mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        Err(Inconclusive::not_reachable("nothing of this bench is published"))
    }

    async fn remove(&self, _at: &BlobPlace, _etag: &str) -> Result<(), Inconclusive> {
        Err(Inconclusive::not_reachable("nothing of this bench is published"))
    }

    async fn named_in_outputs(
        &self,
        _scoring: &Scoring,
        _ids: &BTreeSet<ScoringId>,
        _by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        Err(Inconclusive::not_reachable("no job of this bench ends"))
    }
}

pub(crate) fn job_of(scoring: &Scoring) -> Job {
    Job { name: format!("job-{}", scoring.id).parse().expect("a name"), id: None, studio: None }
}
