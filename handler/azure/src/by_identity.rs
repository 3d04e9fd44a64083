//! The app's ports over several identities: what a scoring asks for is asked for by the identity that its rule names, with a client
//! and tokens of its own. A token of one tenant is never sent to an endpoint of another.
//!
//! Uploads are looked at as the app itself: the events come from the app's own tenant, whatever scores them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use app::ports::{
    Answered, BlobPage, Blobs, Endpoint, Inconclusive, JobAddress, JobListing, JobSearch, NamedBy, PartPage, ScanTarget,
};
use async_trait::async_trait;
use lifecycle::{
    Answer, BlobPlace, BlobPrefix, BlobSnapshot, BlobVersion, CopySource, IdentityName, InputSnapshot, JobName,
    JobSnapshot, OutputPrint, OutputSnapshot, PublicationMark, Published, PublishedBlob, Scoring, ScoringId,
    UnversionedBlob, WriteCondition,
};
use time::OffsetDateTime;

/// One client for the app itself, and one for each further identity of the settings.
#[derive(Debug)]
pub struct ByIdentity<T> {
    own: Arc<T>,
    others: BTreeMap<IdentityName, Arc<T>>,
}

/// The settings define no identity of this name. Nothing is asked as the app instead: that would send its token to whomever.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no identity is named `{0}`, as whom the rule of this scoring asks; name it in SCOREKEEPER_IDENTITIES and say who it is, or correct `endpoint.identity` in the rule"
)]
pub struct NoSuchIdentity(pub IdentityName);

impl From<NoSuchIdentity> for Inconclusive {
    fn from(error: NoSuchIdentity) -> Self {
        Self::not_asked(error.to_string())
    }
}

impl<T> ByIdentity<T> {
    /// The app's own, and the others by the names that rules have for them.
    pub fn new(own: Arc<T>, others: BTreeMap<IdentityName, Arc<T>>) -> Self {
        Self { own, others }
    }

    /// That of an identity; `None` is the app itself.
    pub fn of(&self, identity: Option<&IdentityName>) -> Result<&Arc<T>, NoSuchIdentity> {
        let Some(name) = identity else { return Ok(&self.own) };
        self.others.get(name).ok_or_else(|| NoSuchIdentity(name.clone()))
    }

    /// That of the app itself.
    pub fn own(&self) -> &Arc<T> {
        &self.own
    }

    /// The further identities, with theirs.
    pub fn others(&self) -> impl Iterator<Item = (&IdentityName, &Arc<T>)> {
        self.others.iter()
    }

    /// The same identities, each with a part of what it has here.
    #[must_use]
    pub fn map<U>(&self, part: impl Fn(&T) -> Arc<U>) -> ByIdentity<U> {
        let others = self.others.iter().map(|(name, one)| (name.clone(), part(one)));
        ByIdentity { own: part(&self.own), others: others.collect() }
    }
}

#[async_trait]
impl<T: Endpoint> Endpoint for ByIdentity<T> {
    async fn submit(&self, scoring: &Scoring, timeout: std::time::Duration) -> Answered<Answer> {
        match self.of(scoring.identity.as_ref()) {
            Ok(endpoint) => endpoint.submit(scoring, timeout).await,
            // Not for good: the setting may come back.
            Err(none) => Answered::from(Answer::Refused {
                code: "not sent".to_owned(),
                text: none.to_string(),
                permanent: false,
                retry_after: None,
            }),
        }
    }

    async fn job(&self, at: &JobAddress) -> Result<Answered<Option<JobSnapshot>>, Inconclusive> {
        self.of(at.identity.as_ref())?.job(at).await
    }

    async fn find(&self, scoring: &Scoring) -> Result<JobSearch, Inconclusive> {
        self.of(scoring.identity.as_ref())?.find(scoring).await
    }

    async fn jobs_created_since(
        &self,
        at: &ScanTarget,
        since: OffsetDateTime,
        known: &HashSet<JobName>,
    ) -> Result<JobListing, Inconclusive> {
        self.of(at.identity.as_ref())?.jobs_created_since(at, since, known).await
    }

    async fn cancel(&self, at: &JobAddress) -> Result<Answered<()>, Inconclusive> {
        self.of(at.identity.as_ref())?.cancel(at).await
    }
}

#[async_trait]
impl<T: Blobs> Blobs for ByIdentity<T> {
    async fn input(&self, blob: &BlobVersion) -> Result<InputSnapshot, Inconclusive> {
        self.own.input(blob).await
    }

    async fn blob(&self, blob: &UnversionedBlob) -> Result<Option<BlobSnapshot>, Inconclusive> {
        self.own.blob(blob).await
    }

    async fn index_tags(&self, blob: &UnversionedBlob, etag: &str) -> Result<BTreeMap<String, String>, Inconclusive> {
        self.own.index_tags(blob, etag).await
    }

    async fn list(&self, place: &BlobPrefix, from: Option<&str>, max: usize) -> Result<BlobPage, Inconclusive> {
        self.own.list(place, from, max).await
    }

    async fn outputs(&self, scoring: &Scoring) -> Result<OutputSnapshot, Inconclusive> {
        self.of(scoring.identity.as_ref())?.outputs(scoring).await
    }

    async fn output_print(&self, scoring: &Scoring) -> Result<Option<OutputPrint>, Inconclusive> {
        self.of(scoring.identity.as_ref())?.output_print(scoring).await
    }

    async fn locate(&self, at: &BlobPlace) -> Result<UnversionedBlob, Inconclusive> {
        self.of(at.identity.as_ref())?.locate(at).await
    }

    async fn published(&self, at: &BlobPlace) -> Result<Option<PublishedBlob>, Inconclusive> {
        self.of(at.identity.as_ref())?.published(at).await
    }

    async fn parts(&self, folder: &BlobPlace, from: Option<&str>) -> Result<PartPage, Inconclusive> {
        self.of(folder.identity.as_ref())?.parts(folder, from).await
    }

    async fn publish(
        &self,
        source: &CopySource,
        to: &BlobPlace,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.of(to.identity.as_ref())?.publish(source, to, condition, mark).await
    }

    async fn write_manifest(
        &self,
        to: &BlobPlace,
        body: Vec<u8>,
        condition: &WriteCondition,
        mark: &PublicationMark,
    ) -> Result<Answered<Published>, Inconclusive> {
        self.of(to.identity.as_ref())?.write_manifest(to, body, condition, mark).await
    }

    async fn remove(&self, at: &BlobPlace, etag: &str) -> Result<(), Inconclusive> {
        self.of(at.identity.as_ref())?.remove(at, etag).await
    }

    async fn named_in_outputs(
        &self,
        scoring: &Scoring,
        ids: &BTreeSet<ScoringId>,
        by: NamedBy,
    ) -> Result<BTreeSet<ScoringId>, Inconclusive> {
        self.of(scoring.identity.as_ref())?.named_in_outputs(scoring, ids, by).await
    }
}
