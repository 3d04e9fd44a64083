//! An event's JSON becomes wanted scorings, a recorded skip, or a recorded malformed event. Total: any JSON goes in.
//!
//! Event Grid delivers at least once, in any order, in two schemas, one or many at a time, and some hosts pass JSON
//! as a string that holds JSON. All of that is read here; nothing is ever answered with an error, because one bad
//! event would make Event Grid redeliver its whole batch.

use std::borrow::Cow;

use serde_json::value::RawValue;
use time::{Duration, OffsetDateTime};

use crate::digest::digest;
use crate::event_grid::{About, BLOB_RENAMED, DIRECTORY_RENAMED, Upload};
use crate::id::{LedgerId, RuleId};
pub use crate::own_output::MIN_RETENTION;
use crate::own_output::may_be_forgotten;
use crate::payload::{Payload, TooManyEvents, string};
use crate::pending::{APPEND_BLOB, BlobKind, Cause, PendingUpload, Sighting};
use crate::renamed::{NameChange, PendingFolder, Renamed};
use crate::rule::{Complete, Rule, Rules};
use crate::scoring::Scoring;
use crate::skipped::MAX_REASON;
pub use crate::skipped::{SkippedEvent, skipped};
use crate::text::one_line;
use crate::uri::without_query;

/// Characters of a malformed event that are kept: a property of a row holds 32,000 UTF-16 units, and a character may
/// take two. Of an event that is longer the beginning is kept, and its delivery is not answered with success.
pub const MAX_RECEIVED: usize = 16_000;

/// After an event whose blob's content comes later, until the first look at the blob.
const CONTENT_COMES: Duration = Duration::minutes(2);

/// Writing APIs after which a blob is complete. `CreateFile` and `SftpCreate` come before the content;
/// `FlushWithClose` and `SftpCommit` after it.
pub const COMPLETE: [&str; 5] = ["PutBlob", "PutBlockList", "CopyBlob", "FlushWithClose", "SftpCommit"];

/// Operations that begin a file of an account with a hierarchical namespace; its content comes later, and a writer who
/// never closes it raises no other event.
pub const BEGUN: [&str; 2] = ["CreateFile", "SftpCreate"];

/// The event types that tell of new names.
pub const RENAMED: [&str; 2] = [BLOB_RENAMED, DIRECTORY_RENAMED];

/// What becomes of one event.
#[derive(Debug, Clone, PartialEq)]
pub enum Classification {
    /// One scoring for each rule that wants the blob.
    Wanted(Vec<Scoring>),
    /// Which version it tells of, or whether that is whole, shows in a look at the blob; some rules may want it as it is.
    Pending {
        /// One scoring for each rule that wants the blob as the event tells of it.
        scorings: Vec<Scoring>,
        /// One for each rule that wants it looked at.
        uploads: Vec<PendingUpload>,
    },
    /// A folder was renamed, and a rule may want its files.
    Folder(PendingFolder),
    /// No rule wants it. Recorded, so that "why not?" has an answer.
    Skipped(SkippedEvent),
    /// It cannot be read as an event about a blob. Recorded with what was received.
    Quarantined(QuarantinedEvent),
}

/// An event that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedEvent {
    /// The same for every delivery of the event.
    pub key: String,
    /// What could not be read or agreed on, for people; on record with what was received.
    pub reason: String,
    /// What was received, cut to [`MAX_RECEIVED`] characters, signatures and keys masked.
    pub received: String,
    /// Whether that is all of it. If not, Event Grid must keep it: an answer of success would lose the rest.
    pub whole: bool,
}

/// Reads a delivery: one event or many, as object, array, or string holding either. Every item gets a verdict.
pub fn read(
    delivery: impl Into<Payload>,
    ledger: &LedgerId,
    rules: &Rules,
    now: OffsetDateTime,
) -> Result<Vec<Classification>, TooManyEvents> {
    Ok(delivery.into().events()?.iter().map(|event| classify(event, ledger, rules, now)).collect())
}

/// What becomes of one event in the ledger of this id. Total: any JSON gets a verdict.
pub fn classify(event: &RawValue, ledger: &LedgerId, rules: &Rules, now: OffsetDateTime) -> Classification {
    match About::read(event) {
        Ok(About::Upload(upload)) => upload.classify(ledger, rules, now),
        Ok(About::Rename(rename)) => match rename.uploads(rules, now) {
            Ok(uploads) => Classification::Pending { scorings: Vec::new(), uploads },
            Err(skipped) => Classification::Skipped(skipped),
        },
        Ok(About::FolderRename(rename)) => match rename.folder(rules, now) {
            Ok(folder) => Classification::Folder(folder),
            Err(skipped) => Classification::Skipped(skipped),
        },
        Ok(About::SomethingElse(skipped)) => Classification::Skipped(skipped),
        Err(malformed) => {
            let received = received(event, MAX_RECEIVED);
            let event = string(event).unwrap_or(Cow::Borrowed(event.get()));
            // By what is kept: of two deliveries that differ in a signature alone, one is kept.
            let key = digest(&[&received]);
            Classification::Quarantined(QuarantinedEvent {
                key,
                reason: one_line(&malformed.to_string(), MAX_REASON),
                received,
                whole: event.chars().nth(MAX_RECEIVED).is_none(),
            })
        }
    }
}

/// What an event tells of names alone, if it is about a rename that can be read.
pub fn name_change(event: &RawValue) -> Option<NameChange> {
    match About::read(event).ok()? {
        About::Rename(rename) => Some(rename.name_change(Renamed::Blob)),
        About::FolderRename(rename) => Some(rename.name_change(Renamed::Folder)),
        About::Upload(_) | About::SomethingElse(_) => None,
    }
}

/// An event as it came, on one line and cut to so many characters. Without its secrets also in the ledger: a table is a display
/// too, for Storage browser and whatever reads it.
pub fn received(event: &RawValue, max: usize) -> String {
    one_line(&string(event).unwrap_or(Cow::Borrowed(event.get())), max)
}

/// What a rule makes of an upload whose name it wants.
enum Handling {
    /// It is scored as the event tells of it.
    TakeIn,
    /// The blob is looked at, for the first time after this.
    Look(Duration),
    /// The rule does not want it: why, for the record of the skip.
    Refuse(String),
}

impl Upload {
    fn classify(self, ledger: &LedgerId, rules: &Rules, now: OffsetDateTime) -> Classification {
        // Before every rule is asked: an output that a rule wants would be scored, its output as well, and so on without end.
        // Whether a scoring handed the path out, the ledger knows, and whoever takes scorings in asks it first; what only looks
        // like an output is an upload. Only where the ledger may have forgotten, the form by the rules of today decides.
        let forgotten = may_be_forgotten(self.blob.event_time, now);
        if let Some(rule) = rules.output_of(&self.blob).filter(|_| forgotten) {
            let reason = format!("the blob is an output of rule `{}`; outputs never trigger", rule.id);
            return self.skipped(Some(rule.id.clone()), &reason);
        }
        let (mut reasons, mut nearest) = (Vec::new(), None);
        let (mut scorings, mut uploads) = (Vec::new(), Vec::new());
        for rule in rules {
            let blob = &self.blob;
            let refused = match rule.refuses_name(&blob.account, &blob.container, &blob.path) {
                Some(reason) => reason,
                None => match self.handling_under(rule) {
                    Handling::TakeIn => {
                        scorings.push(Scoring::accept(ledger, rule, blob.clone(), now));
                        continue;
                    }
                    Handling::Look(after) => {
                        uploads.push(self.pending(rule, after, now));
                        continue;
                    }
                    Handling::Refuse(reason) => reason,
                },
            };
            // A shadow wants what its rule wants.
            if rule.shadow_of.is_some() {
                continue;
            }
            if *rule.matches.container == *blob.container && nearest.is_none() {
                nearest = Some(rule.id.clone());
            }
            reasons.push(format!("rule `{}`: {refused}", rule.id));
        }
        match (scorings.is_empty(), uploads.is_empty()) {
            (true, true) => self.skipped(nearest, &reasons.join("; ")),
            (false, true) => Classification::Wanted(scorings),
            (_, false) => Classification::Pending { scorings, uploads },
        }
    }

    fn handling_under(&self, rule: &Rule) -> Handling {
        let api = self.api.as_deref().unwrap_or_default();
        if let Some(reason) = rule.refuses_api(api) {
            return Handling::Refuse(reason);
        }
        let quiet = match &rule.complete {
            Complete::UnchangedFor(quiet) => Some(quiet.0),
            Complete::Closed | Complete::Marker(_) => None,
        };
        // No api: from an emulator, which tells of whole blobs only.
        if !api.is_empty() && !COMPLETE.contains(&api) {
            return match quiet.filter(|_| BEGUN.contains(&api)) {
                Some(quiet) => Handling::Look(quiet),
                None => Handling::Refuse(format!(
                    "`{}` does not complete a blob; its content comes with {} (complete is closed)",
                    one_line(api, 64),
                    COMPLETE.join(", ")
                )),
            };
        }
        match (self.kind, quiet) {
            (BlobKind::Append, None) => Handling::Refuse(APPEND_BLOB.to_owned()),
            (BlobKind::Append, Some(quiet)) => Handling::Look(quiet),
            (BlobKind::Page, quiet) => Handling::Look(quiet.unwrap_or(CONTENT_COMES)),
            // The event may come when the copy begins.
            (BlobKind::Block, _) if api == "CopyBlob" || self.archived => Handling::Look(Duration::ZERO),
            // SFTP gateways are known to tell no length.
            (BlobKind::Block, _)
                if api == "SftpCommit"
                    && self.blob.size == Some(0)
                    && !matches!(rule.complete, Complete::Marker(_)) =>
            {
                Handling::Look(CONTENT_COMES)
            }
            (BlobKind::Block, _) => match rule.refuses(&self.blob) {
                Some(reason) => Handling::Refuse(reason),
                None if rule.needs_more_than(&self.blob) => Handling::Look(Duration::ZERO),
                None => Handling::TakeIn,
            },
        }
    }

    fn pending(&self, rule: &Rule, after: Duration, now: OffsetDateTime) -> PendingUpload {
        let cause = Cause::Created { api: self.api.clone().unwrap_or_default() };
        let seen = Some(Sighting { etag: self.blob.etag.clone(), since: now });
        let mut pending = PendingUpload::new(rule, self.blob.clone().into(), cause, now);
        if rule.asks_what_no_event_tells() {
            "no event tells its metadata and index tags".clone_into(&mut pending.reason);
        }
        PendingUpload { due: now + after, event_time: self.blob.event_time, seen, ..pending }
    }

    fn skipped(self, rule: Option<RuleId>, reason: &str) -> Classification {
        Classification::Skipped(skipped(&self.blob, rule, reason))
    }
}

/// A URL fit for logs.
pub fn shown(url: &str) -> &str {
    without_query(url)
}

#[cfg(test)]
mod tests;
