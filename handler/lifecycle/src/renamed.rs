//! Blobs and folders that have another name now: what is told of them, and whose uploads they are.
//!
//! Event Grid tells of a renamed folder once and not of its files, so that these are listed ([`PendingFolder`]).

use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::blob::InvalidBlob;
use crate::digest::digest;
use crate::id::RuleId;
use crate::own_output::may_be_forgotten;
use crate::payload::{json_within, members, string};
use crate::pending::{Cause, MAX_REASON, PendingUpload, pause};
use crate::rule::{Api, Rules};
use crate::skipped::{SkippedEvent, skip_key};
use crate::text::one_line;
use crate::unversioned::{MAX_PATH, MAX_URL, UnversionedBlob};

/// Members of the `data` of a rename that are read.
const DATA: [&str; 2] = ["destinationUrl", "sourceUrl"];

/// Why an event cannot be read as one about a rename.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRename {
    /// The event has no `data` that is an object, so that it names no blob.
    #[error("`data` is missing or not a JSON object")]
    NoData,
    /// It is not told what the blob is called now.
    #[error("`data.destinationUrl` is missing or not a string")]
    NoDestination,
    /// What it is called now names no blob.
    #[error(transparent)]
    Blob(#[from] InvalidBlob),
    /// What it is called now is longer than names are.
    #[error("`data.destinationUrl` is longer than Azure Storage allows")]
    TooLong,
}

/// What has another name now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    /// A blob, told of by `Microsoft.Storage.BlobRenamed`.
    Blob,
    /// A folder, and with it all that lies in it.
    Folder,
}

/// What an event tells of names alone. It is kept where nobody has seen the version that has the new name: the blob may be moved on,
/// and whoever sees it then asks what it was called at first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameChange {
    /// What is called something else now.
    pub of: Renamed,
    /// What it is called now.
    pub to: UnversionedBlob,
    /// URLs that its former name may have; see [`Cause::Renamed`].
    pub from: Vec<String>,
    /// When, if the event tells.
    pub at: Option<OffsetDateTime>,
}

/// A blob or folder that has another name now. Neither version nor size is told.
pub(crate) struct Rename {
    to: UnversionedBlob,
    /// URLs that the former name may have; see [`Cause::Renamed`].
    from: Vec<String>,
    /// When, if the event tells.
    at: Option<OffsetDateTime>,
}

impl Rename {
    /// Reads `subject` and `data` of an event: both tell what the blob is called now.
    pub(crate) fn read(
        what: Renamed,
        subject: &str,
        data: &RawValue,
        at: Option<OffsetDateTime>,
    ) -> Result<Self, InvalidRename> {
        let opened = json_within(data);
        let [to, from] = members(opened.as_deref().unwrap_or(data), DATA).ok_or(InvalidRename::NoData)?;
        let to = to.and_then(string).ok_or(InvalidRename::NoDestination)?;
        let to = match what {
            Renamed::Blob => UnversionedBlob::of_event(subject, &to)?,
            Renamed::Folder => UnversionedBlob::folder_of_event(subject, &to)?,
        };
        // What the blob was called before is worth knowing, and no reason to lose what it is called now.
        let from = from.and_then(string).filter(|url| url.len() <= 2 * MAX_URL).unwrap_or_default();
        let from = match what {
            Renamed::Blob => UnversionedBlob::readings(&from),
            Renamed::Folder => UnversionedBlob::readings(from.trim_end_matches('/')),
        };
        let from = from.into_iter().map(|blob| blob.url).filter(|url| url.len() <= MAX_URL).collect();
        if to.url.len() > MAX_URL || to.path.chars().count() > MAX_PATH {
            return Err(InvalidRename::TooLong);
        }
        Ok(Self { to, from, at })
    }

    /// What it tells of names alone.
    pub(crate) fn name_change(self, of: Renamed) -> NameChange {
        let Self { to, from, at } = self;
        NameChange { of, to, from, at }
    }

    /// The blob under each rule that wants its name; else why none does.
    pub(crate) fn uploads(&self, rules: &Rules, now: OffsetDateTime) -> Result<Vec<PendingUpload>, SkippedEvent> {
        renamed(&self.to, &self.from, self.at, rules, now)
    }

    /// The folder, if a rule may want one of its files; else why none does.
    pub(crate) fn folder(self, rules: &Rules, now: OffsetDateTime) -> Result<PendingFolder, SkippedEvent> {
        let UnversionedBlob { account, container, path, .. } = &self.to;
        let refused: Option<Vec<String>> = rules
            .iter()
            .map(|rule| Some(format!("rule `{}`: {}", rule.id, rule.refuses_folder(account, container, path)?)))
            .collect();
        let folder = PendingFolder { event_time: self.at, ..PendingFolder::new(self.to, self.from, now) };
        match refused {
            None => Ok(folder),
            Some(reasons) => {
                let reason = one_line(&format!("a folder was renamed; {}", reasons.join("; ")), MAX_REASON);
                let key = skip_key(&[&folder.key], self.at, &reason);
                Err(SkippedEvent { key, subject: folder.folder.url, rule: None, etag: None, reason })
            }
        }
    }
}

/// A folder that was renamed, and how far its files were taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingFolder {
    /// The same for every event that tells of this folder under these two names, however often.
    pub key: String,
    /// The folder as it is called now.
    pub folder: UnversionedBlob,
    /// URLs that its former name may have; see [`Cause::Renamed`].
    pub from: Vec<String>,
    /// When its last event came.
    pub since: OffsetDateTime,
    /// The time that its event names, if it names one.
    pub event_time: Option<OffsetDateTime>,
    /// Nobody lists the folder before this time; a try that fails puts it off.
    pub due: OffsetDateTime,
    /// When `due` was set, by the clock of whoever set it.
    pub updated: OffsetDateTime,
    /// Listings in a row that failed.
    pub failures: u32,
    /// Where the listing goes on; `None`: at its beginning.
    pub cursor: Option<String>,
    /// Files that were listed so far.
    pub files: u64,
    /// What it waits for, for people.
    pub reason: String,
}

impl PendingFolder {
    /// A folder that was renamed just now.
    pub fn new(folder: UnversionedBlob, from: Vec<String>, now: OffsetDateTime) -> Self {
        let key = digest(&["folder", &folder.url, &from.join("\n")]);
        let reason = "it was renamed, and its files are not listed yet".to_owned();
        Self {
            key,
            folder,
            from,
            since: now,
            event_time: None,
            due: now,
            updated: now,
            failures: 0,
            cursor: None,
            files: 0,
            reason,
        }
    }

    /// It was renamed once more while it was listed: files may have come to where the listing has been, so that it begins anew.
    #[must_use]
    pub fn told_again(self, told: Self) -> Self {
        Self { event_time: told.event_time.max(self.event_time), ..told }
    }

    /// What the paths of its files begin with.
    pub fn prefix(&self) -> String {
        format!("{}/", self.folder.path)
    }

    /// One of its files, under each rule that wants its name; else why none does.
    pub fn file(&self, path: &str, rules: &Rules, now: OffsetDateTime) -> Result<Vec<PendingUpload>, SkippedEvent> {
        let unreadable = |why: String| SkippedEvent {
            key: digest(&[&self.key, path]),
            subject: format!("{}/{path}", self.folder.url),
            rule: None,
            etag: None,
            reason: one_line(&why, MAX_REASON),
        };
        let blob = self.folder.beside(path).map_err(|invalid| unreadable(invalid.to_string()))?;
        let rest = path.strip_prefix(&self.prefix()).unwrap_or(path);
        let from: Vec<String> = self.from.iter().filter_map(|folder| file_of(folder, rest)).collect();
        renamed(&blob, &from, self.event_time, rules, now)
    }

    /// The listing went so far; `next`: where it goes on.
    #[must_use]
    pub fn listed(self, files: u64, next: Option<String>, now: OffsetDateTime) -> Self {
        let files = self.files.saturating_add(files);
        Self {
            cursor: next,
            files,
            failures: 0,
            due: now,
            updated: now,
            reason: format!("{files} of its files were taken in"),
            ..self
        }
    }

    /// It could not be listed.
    #[must_use]
    pub fn not_listed(self, why: &str, now: OffsetDateTime) -> Self {
        let due = now + pause(&self.key, self.failures);
        let reason = format!("the folder could not be listed: {}", one_line(why, MAX_REASON));
        Self { due, updated: now, failures: self.failures.saturating_add(1), reason, ..self }
    }
}

/// The URL of a file by the URL of a folder that it lies in, at whatever depth.
pub fn file_of(folder: &str, rest: &str) -> Option<String> {
    let folder = UnversionedBlob::read(folder).ok()?;
    folder.beside(&format!("{}/{rest}", folder.path)).ok().map(|blob| blob.url)
}

/// A blob that was renamed, under each rule that wants its name; else why none does.
fn renamed(
    blob: &UnversionedBlob,
    from: &[String],
    at: Option<OffsetDateTime>,
    rules: &Rules,
    now: OffsetDateTime,
) -> Result<Vec<PendingUpload>, SkippedEvent> {
    let skipped = |rule: Option<RuleId>, reason: &str| {
        let reason = one_line(reason, MAX_REASON);
        let key = skip_key(&["renamed", &blob.url, &from.join("\n")], at, &reason);
        Err(SkippedEvent { key, subject: blob.url.clone(), rule, etag: None, reason })
    };
    // As of any upload: what was handed out the ledger is asked about, when the version is known.
    if let Some(rule) = rules.output_at(&blob.path).filter(|_| may_be_forgotten(at, now)) {
        let reason = format!("the blob is an output of rule `{}`; outputs never trigger", rule.id);
        return skipped(Some(rule.id.clone()), &reason);
    }
    let cause = || Cause::Renamed { from: from.to_vec() };
    let (mut wanted, mut reasons, mut nearest) = (Vec::new(), Vec::new(), None);
    for rule in rules {
        let refused = rule.refuses_name(&blob.account, &blob.container, &blob.path);
        match refused.or_else(|| rule.refuses_api(Api::RenameFile.name())) {
            None => {
                let upload = PendingUpload::new(rule, blob.clone(), cause(), now);
                wanted.push(PendingUpload { event_time: at, ..upload });
            }
            Some(why) => {
                if *rule.matches.container == *blob.container && nearest.is_none() {
                    nearest = Some(rule.id.clone());
                }
                reasons.push(format!("rule `{}`: {why}", rule.id));
            }
        }
    }
    if wanted.is_empty() { skipped(nearest, &reasons.join("; ")) } else { Ok(wanted) }
}

#[cfg(test)]
mod tests;
