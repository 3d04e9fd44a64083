//! A cloud that answers at once, for benches of what is ours.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// Answers everything at once: jobs are made, and run for ever if they are not to end; nothing is listed but what it was given.
#[derive(Default)]
pub(crate) struct AtOnce {
    list: Option<List>,
    /// Jobs complete with outputs of that time, and copies can be made.
    ended: Option<OffsetDateTime>,
    copies: Mutex<BTreeMap<String, CopySource>>,
    submitted: AtomicU32,
}

/// One page of so many blobs at most, from there.
pub(crate) type List = Box<dyn Fn(Option<&str>, usize) -> BlobPage + Send + Sync>;

impl AtOnce {
    /// Lists this.
    pub(crate) fn listing(list: List) -> Self {
        Self { list: Some(list), ..Self::default() }
    }

    /// Ends each job when it is looked at first.
    pub(crate) fn ending(ended: OffsetDateTime) -> Self {
        Self { ended: Some(ended), ..Self::default() }
    }

    /// How many jobs were made.
    pub(crate) fn submitted(&self) -> u32 {
        self.submitted.load(Ordering::Relaxed)
    }

    fn copies(&self) -> MutexGuard<'_, BTreeMap<String, CopySource>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is written to a place lies there then.
    fn write(&self, to: &BlobPlace) -> Result<Answered<Published>, Inconclusive> {
        if self.ended.is_none() {
            return Err(Inconclusive::not_reachable("nothing of this bench is published"));
        }
        let etag = "0x1".to_owned();
        self.copies().insert(to.uri.clone(), CopySource { at: to.clone(), etag: etag.clone(), len: 1 });
        Ok(Published::Written { etag }.into())
    }
}

#[async_trait]
impl Endpoint for AtOnce {
    async fn submit(&self, scoring: &Scoring, _timeout: std::time::Duration) -> Answered<Answer> {
        self.submitted.fetch_add(1, Ordering::Relaxed);
        Answer::Accepted { job: job_of(scoring), status: JobStatus::Running }.into()
    }

    async fn job(&self, _at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        let status = if self.ended.is_some() { JobStatus::Completed } else { JobStatus::Running };
        Ok(Some(JobSnapshot { status, error: None, studio: None }).into())
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
        let ended = self.ended.ok_or_else(|| Inconclusive::not_reachable("no job of this bench ends"))?;
        Ok(OutputSnapshot::Present { bytes: 1, modified: ended, print: OutputPrint::of([("predictions.csv", "0x1")]) })
    }

    async fn locate(&self, _at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        Err(Inconclusive::not_reachable("nothing of this bench is published"))
    }

    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        Ok(self.copies().get(&at.uri).map(|copy| PublishedBlob { etag: copy.etag.clone(), len: copy.len, mark: None }))
    }

    async fn parts(&self, folder: &BlobPlace, _from: Option<&str>) -> Result<PartPage, Inconclusive> {
        let prefix = format!("{}/", folder.uri);
        let copies = self.copies();
        let below = copies.range(prefix.clone()..).take_while(|(uri, _)| uri.starts_with(&prefix));
        Ok(PartPage { parts: below.map(|(_, copy)| copy.clone()).collect(), next: None })
    }

    async fn publish(
        &self,
        _source: &CopySource,
        to: &BlobPlace,
        _condition: &WriteCondition,
        _mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.write(to)
    }

    async fn write_manifest(
        &self,
        to: &BlobPlace,
        _body: Vec<u8>,
        _condition: &WriteCondition,
        _mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.write(to)
    }

    async fn remove(&self, at: &BlobPlace, _etag: &str) -> Result<(), Inconclusive> {
        self.copies().remove(&at.uri);
        Ok(())
    }

    async fn named_in_outputs(
        &self,
        _scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        _by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        Ok(ids.clone())
    }
}

pub(crate) fn job_of(scoring: &Scoring) -> Job {
    Job { name: format!("job-{}", scoring.id).parse().expect("a name"), id: None, studio: None }
}
