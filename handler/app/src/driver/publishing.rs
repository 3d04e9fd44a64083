//! The look at where a result is published, and the copy to there. `decide` says whether and on which condition; here is how.
//!
//! Never: a copy to a path that is not on record. The scoring's row names it since its output was verified, and a note of the path
//! itself is written right before: by that its events are known, whatever becomes of rules and scoring.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use lifecycle::datastore::DatastorePath;
use lifecycle::destination::DestinationLook;
use lifecycle::job::OutputKind;
use lifecycle::publication::{
    BlobPlace, CopySource, NotedResult, PublicationMark, Published, PublishedBlob, Refusal, RefusalKind, WriteCondition,
};
use lifecycle::publishing::{FileVersion, MAX_PARTS, PublishedPlace, Publishing};
use lifecycle::rule::{IfExists, Rule};
use lifecycle::{Observation, PublishAnswer, PublishOrder, Scoring, UnversionedBlob};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::observed::Observed;
use super::services::{Services, cannot_look};
use super::{Driver, Reach};
use crate::error::error_chain;
use crate::ports::{Answered, Inconclusive, InconclusiveKind};

/// Files of a folder that are copied in one drive; the next look goes on.
const MAX_COPIES: usize = 200;
/// Copies under way at one time.
const MAX_CONCURRENT_COPIES: usize = 8;

impl Driver {
    /// Whether anything was published yet, so that a blob may be such a result. Costs nothing beside the controls, which are read for
    /// the same event to admit it.
    pub(crate) async fn may_have_published(&self, now: OffsetDateTime) -> bool {
        let Reach::Services { admission, .. } = &self.reach else { return true };
        match admission.controls().recent(now).await {
            Ok(controls) => controls.published,
            // As it was last known; a process that publishes asks in any case.
            Err(_) => {
                admission.controls().last().published || self.rules.iter().any(|rule| rule.published().next().is_some())
            }
        }
    }

    /// What lies where the next result of a scoring is published.
    pub(super) async fn look_at_destination(&self, services: &Services, scoring: &Scoring) -> Observed {
        let now = self.clock.now();
        let ledger = match self.ledger.id().await {
            Ok(ledger) => ledger,
            Err(error) => return Observed::of(Observation::CannotLook(error_chain(&error)), now),
        };
        let Some((_, publication)) = scoring.publishing.as_ref().and_then(Publishing::next) else {
            return Observed::of(Observation::Nothing, now);
        };
        let scoring = &*services.with_workspace_for_storage(scoring).await;
        let mark = PublicationMark::of(ledger, scoring, &publication.output);
        let target = publication.target();
        let look = async {
            let to = BlobPlace::of(scoring, target.as_str());
            let at = services.blobs.locate(&to).await?;
            let found = services.blobs.published(&to).await?;
            let beside = match publication.if_exists {
                IfExists::Version => {
                    services.blobs.published(&BlobPlace::of(scoring, publication.beside(&mark))).await?
                }
                IfExists::Refuse | IfExists::Replace => None,
            };
            let is_input = at == UnversionedBlob::from(scoring.blob.clone());
            let is_ours = |there: &PublishedBlob| there.mark.as_ref().is_some_and(|by| by.ledger == mark.ledger);
            let place = PublishedPlace::of(&at);
            let newer = match &found {
                Some(there) if is_ours(there) => None,
                _ => {
                    let newer = self.ledger.newer_published_at(&place, &NotedResult::of(scoring)).await;
                    newer
                        .map_err(|why| Inconclusive::not_reachable("what was published there before").caused_by(why))?
                }
            };
            Ok(DestinationLook { mark: mark.clone(), place, found, beside, is_input, newer })
        };
        let seen = match look.await {
            Ok(look) => Observation::Destination(Box::new(look)).into(),
            Err(inconclusive) => not_seen(target, inconclusive),
        };
        Observed::of(seen, now)
    }

    /// Carries a [`PublishOrder`] out, once. Without services the next tick does.
    pub(super) async fn publish(&self, scoring: &Scoring, order: PublishOrder) -> Observed {
        let Reach::Services { services, .. } = &self.reach else {
            return Observed::of(Observation::Nothing, self.clock.now());
        };
        let scoring = &*services.with_workspace_for_storage(scoring).await;
        let to = BlobPlace::of(scoring, order.to.as_str());
        let seen = match self.note_destination(services, scoring, &to).await {
            Err(seen) => seen,
            Ok(place) => match self.write(services, scoring, &order, &to).await {
                Ok(answer) => answer.map(|answer| {
                    let to = order.to.clone();
                    Observation::PublishAnswered { to, place: Some(place), answer }
                }),
                // It may have happened: the next look tells.
                Err(inconclusive) => cannot_look(inconclusive),
            },
        };
        if let Observation::PublishAnswered { answer: PublishAnswer::Answered(Published::Written { .. }), .. } =
            &seen.value
        {
            tracing::info!(scoring = %scoring.id, attempt = scoring.attempt, to = order.to, "result of {} published", scoring.id);
        }
        Observed::of(seen, self.clock.now())
    }

    /// The path is on record before anything is written there; `Err`: it is not.
    async fn note_destination(
        &self,
        services: &Services,
        scoring: &Scoring,
        to: &BlobPlace,
    ) -> Result<PublishedPlace, Answered<Observation>> {
        let now = self.clock.now();
        let blob = match services.blobs.locate(to).await {
            Ok(blob) => blob,
            Err(inconclusive) => return Err(not_seen(to.uri.clone(), inconclusive)),
        };
        let noted = async {
            if self.ledger.begins_publishing(now).await? {
                return Ok(false);
            }
            self.ledger.note_published(&blob, &NotedResult::of(scoring), now).await.map(|()| true)
        };
        match noted.await {
            Ok(true) => Ok(PublishedPlace::of(&blob)),
            // Once in the life of a ledger: until the next look all processes know that paths are to be asked for.
            Ok(false) => {
                tracing::info!(scoring = %scoring.id, "the first result of this ledger is published by the next reconcile run: until then every process learns that uploads may be such results");
                Err(Observation::Nothing.into())
            }
            Err::<_, crate::ledger::Error>(error) => {
                let why = format!("the path that it is published to was not recorded: {}", error_chain(&error));
                Err(Observation::CannotLook(why).into())
            }
        }
    }

    async fn write(
        &self,
        services: &Services,
        scoring: &Scoring,
        order: &PublishOrder,
        place: &BlobPlace,
    ) -> Result<Answered<PublishAnswer>, Inconclusive> {
        let PublishOrder { publication, condition, mark, .. } = order;
        let sent = scoring.submission.as_ref().and_then(|sent| sent.outputs.get(&publication.output));
        let Some(from) = sent.map(|output| BlobPlace::of(scoring, output.uri.as_str())) else {
            return Err(Inconclusive::not_asked("the attempt's output is not on record"));
        };
        match (publication.kind, &publication.source) {
            (OutputKind::UriFile, Some(FileVersion { etag, len })) => {
                let source = CopySource { at: from, etag: etag.clone(), len: *len };
                let answer = services.blobs.publish(&source, place, condition, mark).await?;
                Ok(answer.map(PublishAnswer::Answered))
            }
            (OutputKind::UriFile, None) => Ok(PublishAnswer::Answered(Published::SourceChanged).into()),
            (OutputKind::UriFolder, _) => {
                let folder = publication.files(mark);
                let verified = publication.source.as_ref();
                let parts = match services.copy_parts(scoring, &from, verified, &folder, mark).await? {
                    Parts::There(parts) => parts,
                    Parts::Answered(answer) => return Ok(answer.into()),
                };
                let body = manifest(scoring, &folder, &parts);
                let answer = services.blobs.write_manifest(place, body, condition, mark).await?;
                Ok(answer.map(PublishAnswer::Answered))
            }
        }
    }
}

/// Files of a folder, by their paths in it.
type Files = Vec<(String, CopySource)>;

/// One file that is to be copied: its path in the folder, its version, and on which condition.
type Copy = (String, CopySource, WriteCondition);

/// What came of copying the files of a folder.
enum Parts {
    /// All of them are there.
    There(Files),
    /// They are not yet, or will not be.
    Answered(PublishAnswer),
}

impl Services {
    /// The version of each output that is published, as it is before the output is looked at. What is not there has none, nor has a
    /// folder of more files than are published.
    pub(super) async fn sources(
        &self,
        scoring: &Scoring,
        rule: Option<&Rule>,
    ) -> Result<Vec<(String, FileVersion)>, Inconclusive> {
        let mut sources = Vec::new();
        let outputs = scoring.submission.iter().flat_map(|sent| &sent.outputs);
        for (name, output) in outputs {
            let is_published = |rule: &Rule| rule.published().any(|(published, ..)| published == name);
            if !rule.is_some_and(is_published) {
                continue;
            }
            let place = BlobPlace::of(scoring, output.uri.as_str());
            let version = match output.kind {
                OutputKind::UriFile => {
                    let there = self.blobs.published(&place).await?;
                    there.map(|there| FileVersion { etag: there.etag, len: there.len })
                }
                OutputKind::UriFolder => self.files_below(&place).await?.map(|files| version_of(&files)),
            };
            sources.extend(version.map(|version| (name.clone(), version)));
        }
        Ok(sources)
    }

    /// Copies the files of a folder that are not in the other one yet, as many as one drive takes. Nobody but this attempt writes
    /// there, so that a name of the same length is the same file.
    async fn copy_parts(
        &self,
        scoring: &Scoring,
        from: &BlobPlace,
        verified: Option<&FileVersion>,
        folder: &str,
        mark: &PublicationMark,
    ) -> Result<Parts, Inconclusive> {
        let Some(parts) = self.files_below(from).await? else {
            return Ok(Parts::Answered(PublishAnswer::TooManyFiles));
        };
        let Some(there) = self.files_below(&BlobPlace::of(scoring, folder)).await? else {
            return Ok(Parts::Answered(PublishAnswer::TooManyFiles));
        };
        if parts.is_empty() || verified.is_some_and(|verified| *verified != version_of(&parts)) {
            return Ok(Parts::Answered(PublishAnswer::Answered(Published::SourceChanged)));
        }
        let there: BTreeMap<String, CopySource> = there.into_iter().collect();
        let copy = |(path, part): &(String, CopySource)| match there.get(path) {
            None => Some((path.clone(), part.clone(), WriteCondition::Absent)),
            // Whoever has written that has no business there.
            Some(other) if other.len != part.len => {
                Some((path.clone(), part.clone(), WriteCondition::Unchanged(other.etag.clone())))
            }
            Some(_) => None,
        };
        let missing: Vec<Copy> = parts.iter().filter_map(copy).collect();
        // By index: a closure over borrowed parts would not be general enough for a future that is sent between threads.
        let mut answers = stream::iter(0..missing.len().min(MAX_COPIES))
            .map(|at| self.copy_part(scoring, &missing[at], folder, mark))
            .buffered(MAX_CONCURRENT_COPIES);
        let mut is_changed = false;
        while let Some(answer) = answers.next().await {
            match answer? {
                Published::Written { .. } => {}
                // Most often a copy that came late has written it: the next look tells.
                Published::DestinationChanged => is_changed = true,
                other @ (Published::SourceChanged | Published::Refused(_)) => {
                    return Ok(Parts::Answered(PublishAnswer::Answered(other)));
                }
            }
        }
        let left = missing.len().saturating_sub(MAX_COPIES);
        if left > 0 || is_changed {
            let files = parts.len() - left;
            return Ok(Parts::Answered(PublishAnswer::Unfinished(files)));
        }
        Ok(Parts::There(parts))
    }

    async fn copy_part(
        &self,
        scoring: &Scoring,
        (path, part, condition): &Copy,
        folder: &str,
        mark: &PublicationMark,
    ) -> Result<Published, Inconclusive> {
        let to = BlobPlace::of(scoring, format!("{folder}/{path}"));
        let answer = self.blobs.publish(part, &to, condition, mark).await?;
        Ok(answer.value)
    }

    /// The files below a folder; `None`: more than are published.
    async fn files_below(&self, folder: &BlobPlace) -> Result<Option<Files>, Inconclusive> {
        let below = |uri: &str| {
            let (folder, place) = (DatastorePath::read(&folder.uri)?, DatastorePath::read(uri)?);
            let path = place.path.trim_matches('/').strip_prefix(folder.path.trim_matches('/'))?;
            Some(path.trim_matches('/').to_owned())
        };
        let (mut files, mut from) = (Files::new(), None);
        loop {
            let page = self.blobs.parts(folder, from.as_deref()).await?;
            files.extend(page.parts.into_iter().filter_map(|part| Some((below(&part.at.uri)?, part))));
            if files.len() > MAX_PARTS {
                return Ok(None);
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(Some(files)),
            }
        }
    }
}

/// The version of all files of a folder.
fn version_of(files: &Files) -> FileVersion {
    FileVersion::of_folder(files.iter().map(|(path, file)| (path.as_str(), file.etag.as_str(), file.len)))
}

/// A place that nobody could look at: what takes a person to change is tried for as long as a refused copy, and else the storage is
/// looked at until it answers.
fn not_seen(to: String, inconclusive: Inconclusive) -> Answered<Observation> {
    let kind = match inconclusive.kind {
        InconclusiveKind::NotReachable | InconclusiveKind::Unfinished => return cannot_look(inconclusive),
        InconclusiveKind::NotAllowed => RefusalKind::MayNotWrite,
        InconclusiveKind::NotAsked => RefusalKind::NotAsked,
        InconclusiveKind::NotUnderstood => RefusalKind::Other,
    };
    let refusal = Refusal { kind, text: error_chain(&inconclusive) };
    let answer = PublishAnswer::Answered(Published::Refused(refusal));
    Answered { value: Observation::PublishAnswered { to, place: None, answer }, request_id: inconclusive.request_id }
}

/// The document that lists the files of a published folder.
fn manifest(scoring: &Scoring, folder: &str, parts: &[(String, CopySource)]) -> Vec<u8> {
    let files: Vec<Value> = parts.iter().map(|(path, part)| json!({ "path": path, "bytes": part.len })).collect();
    let path = DatastorePath::read(folder).map(|place| place.path);
    let document = json!({
        "scoring": scoring.id.as_str(), "attempt": scoring.attempt, "rule": scoring.rule.as_str(), "generation": scoring.generation,
        "blobUrl": scoring.blob.url, "blobETag": scoring.blob.etag, "folder": folder, "path": path, "files": files,
    });
    serde_json::to_vec_pretty(&document).unwrap_or_default() // values always serialise
}
