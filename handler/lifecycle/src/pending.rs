//! Uploads whose version is not known yet: they were renamed, copied, or begun and never closed, and the blob must be looked at.
//!
//! An event about one of these tells too little: no ETag, no size, or those of a blob whose content comes later. What the
//! event told is kept until a look at the blob tells the rest ([`PendingUpload::judge`]).

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use crate::blob::BlobVersion;
use crate::digest::digest;
use crate::id::{LedgerId, RuleId, ScoringId};
use crate::origin::Origin;
use crate::rule::{Complete, EmptyBlobs, Renames, Rule};
use crate::schedule::{back_off, is_ahead};
use crate::scoring::Scoring;
use crate::skipped::{SkippedEvent, skip_key};
use crate::status::Status;
use crate::text::one_line;
use crate::unversioned::UnversionedBlob;

/// Between two looks at what does not change by itself soon, at first; doubled each time.
const FIRST_PAUSE: Duration = Duration::seconds(30);
/// Between two looks at most.
const MAX_PAUSE: Duration = Duration::hours(1);
/// A blob that has no bytes for so long after its last event is taken for empty.
const CONTENT_DEADLINE: Duration = Duration::days(1);
/// A rule that is not there for so long after the last event of an upload that it wanted was removed for good.
const RULE_DEADLINE: Duration = Duration::days(1);
/// How long a page blob, which is written in place, must be unchanged where the rule does not say.
const PAGES_UNCHANGED_FOR: Duration = Duration::minutes(2);
/// Characters of a reason that are kept.
pub const MAX_REASON: usize = 2_000;

/// An upload that waits for a look at its blob, under one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingUpload {
    /// The same for every event that tells the same of the blob, however often.
    pub key: String,
    /// The rule that wants it.
    pub rule: RuleId,
    /// The blob by its name: which version is there is what the look tells.
    pub blob: UnversionedBlob,
    /// What was told of it.
    pub cause: Cause,
    /// When its last event came.
    pub since: OffsetDateTime,
    /// The time that its event names; `None` where it names none, or tells of another version.
    pub event_time: Option<OffsetDateTime>,
    /// Nobody looks at the blob before this time; a look that decides nothing puts it off.
    pub due: OffsetDateTime,
    /// When `due` was set, by the clock of whoever set it.
    pub updated: OffsetDateTime,
    /// How often it was looked at.
    pub looks: u32,
    /// The last look did not tell anything: no right, no network.
    pub look_failed: bool,
    /// The version that was seen last, and since when it is that one.
    pub seen: Option<Sighting>,
    /// What it waits for, for people.
    pub reason: String,
    /// Its event as it came, if that was kept.
    pub event: Option<String>,
}

/// A version of a blob, and since when it is not known to have been another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its ETag, unquoted, by which a later look tells whether it rests.
    pub etag: String,
    /// When it was first seen.
    pub since: OffsetDateTime,
}

/// What was told of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It was renamed: its content may have been scored under its former name.
    Renamed {
        /// URLs that its former name may have, each in one spelling, the likeliest first; none if that was not told. An event tells
        /// of it by a URL alone, and nobody says whether that is percent-encoded.
        from: Vec<String>,
    },
    /// It was created by this operation, and its content may come later.
    Created {
        /// The operation, as the event names it.
        api: String,
    },
    /// It was taken in because it was unchanged for a while, and is looked at once more.
    Taken,
    /// An operator ordered that it is taken in as it is.
    Replayed {
        /// Who ordered it, and why.
        order: String,
    },
    /// It was listed in a version that the ledger did not know.
    Found {
        /// ETag of the version of this path that was scored last, if one was.
        taken: Option<String>,
        /// Who has listed it: decides about its place in the queue and what the history says.
        by: Finder,
    },
    /// It was another version when it was looked at once more, and no event has told of that one.
    Changed {
        /// ETag of the version that was taken in.
        taken: String,
    },
}

/// Who lists versions that the ledger does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finder {
    /// A sweep of the rule's place, for uploads that no event told of.
    Sweep,
    /// A backfill that a person ordered.
    Backfill {
        /// Who ordered it, and why.
        order: String,
        /// So many of its rule are at Azure ML at most, if there is such a limit.
        slots: Option<u32>,
    },
}

impl Finder {
    fn told(&self) -> String {
        match self {
            Self::Sweep => "found by sweep: no event told of it".to_owned(),
            Self::Backfill { order, .. } => order.clone(),
        }
    }

    fn origin(&self) -> Origin {
        match self {
            Self::Sweep => Origin::FoundBySweep,
            Self::Backfill { slots, .. } => Origin::Backfilled { slots: *slots },
        }
    }
}

impl Cause {
    /// The word that a row keeps.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Renamed { .. } => "renamed",
            Self::Created { .. } => "created",
            Self::Taken => "taken",
            Self::Replayed { .. } => "replayed",
            Self::Found { .. } => "found",
            Self::Changed { .. } => "changed",
        }
    }
}

/// A blob as the storage shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobSnapshot {
    /// Its ETag, unquoted: a list shows it so, and a look with quotes.
    pub etag: String,
    /// Length in bytes as the storage shows it now; it may still grow.
    pub size: u64,
    /// Content type, if it has one.
    pub content_type: Option<String>,
    /// Block, append or page blob: tells whether more content may come after its event.
    pub kind: BlobKind,
    /// It lies in the archive tier, where nobody can read it before it is rehydrated.
    pub archived: bool,
    /// What is known of a copy into it.
    pub copy: CopyState,
    /// It stands for a folder of an account with a hierarchical namespace.
    pub is_folder: bool,
    /// When it was last written, by the storage's clock, if that was told. A rename leaves it as it is.
    pub modified: Option<OffsetDateTime>,
    /// Its metadata, by names in lower case.
    pub metadata: BTreeMap<String, String>,
    /// Its index tags, which take a request of their own.
    pub index_tags: IndexTags,
}

/// What is known of a blob's index tags. They are asked for by a request of their own, and only for a rule that wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IndexTags {
    /// Nobody has asked for them, or not yet.
    #[default]
    NotAsked,
    /// These, of the version that was seen.
    Seen(BTreeMap<String, String>),
    /// It was not found out: why, and the remedy.
    NotSeen(String),
}

impl BlobSnapshot {
    /// Why nobody can read it at the moment, if nobody can.
    pub fn not_readable_yet(&self) -> Option<String> {
        if self.copy == CopyState::Pending {
            return Some("a copy into it is under way (x-ms-copy-status is pending)".to_owned());
        }
        self.archived.then(|| "it lies in the archive tier; it is scored when it was rehydrated".to_owned())
    }
}

/// How a blob is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlobKind {
    /// A block blob: what is written is there as a whole, once it is committed.
    #[default]
    Block,
    /// At its end, for as long as anybody likes.
    Append,
    /// A page blob, written in place: its content comes after the blob was created.
    Page,
}

/// How far a copy into the blob has come, by its `x-ms-copy-status`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CopyState {
    /// It was not copied, or the copy is whole.
    #[default]
    Whole,
    /// The content is on its way.
    Pending,
    /// The copy failed; what the storage says of it.
    Failed(String),
    /// Somebody aborted the copy, so that the content never became whole.
    Aborted,
}

/// What is known of the same version under a name that it had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Former {
    /// The rule's scoring of it.
    Scoring {
        /// The scoring that is named where the upload is skipped, or waits, for its sake.
        id: ScoringId,
        /// Under `renames: ignoreScored` an upload is skipped where this is `scored`, and waits while it may become so.
        status: Status,
    },
    /// It is an output of ours.
    Output {
        /// The scoring that wrote it.
        of: ScoringId,
    },
    /// It has the form of an output, and neither it nor its id is in the ledger, which may have forgotten both.
    LikeOutput {
        /// The rule whose outputs have that form.
        of: RuleId,
    },
}

impl Former {
    /// Whether it stands against a scoring of the version under its new name, now or as it looks now.
    pub fn counts(&self) -> bool {
        match self {
            Self::Output { .. } | Self::LikeOutput { .. } => true,
            // What waits finds its blob gone; what ended without a result has scored nothing.
            Self::Scoring { status, .. } => {
                let is_grouped = matches!(status, Status::Grouped | Status::Staging);
                is_grouped || status.holds_slot() || matches!(status, Status::Verifying | Status::Scored)
            }
        }
    }
}

/// What becomes of a pending upload after a look at its blob.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// The version is known and wanted.
    TakeIn {
        /// The scoring of that version under the rule, not in the ledger yet.
        scoring: Box<Scoring>,
        /// Why it is wanted, for its history.
        reason: String,
        /// What is to be looked at again later.
        again: Option<Box<PendingUpload>>,
        /// No event told of the version: it is one of the few of its path that are taken in so within an hour, or waits as this.
        unannounced: Option<Box<PendingUpload>>,
    },
    /// It is looked at again.
    Wait(Box<PendingUpload>),
    /// The rule does not want it after all.
    Skip(SkippedEvent),
    /// There is nothing more to look at.
    Done,
}

impl PendingUpload {
    /// An upload that is looked at first when it is `due`.
    pub fn new(rule: &Rule, blob: UnversionedBlob, cause: Cause, now: OffsetDateTime) -> Self {
        let from = match &cause {
            Cause::Renamed { from } => from.join("\n"),
            Cause::Created { .. }
            | Cause::Taken
            | Cause::Found { .. }
            | Cause::Changed { .. }
            | Cause::Replayed { .. } => String::new(),
        };
        // One row for all that is begun, however often and by whichever operation; one for each rename.
        let key = digest(&["pending", &rule.id, &blob.url, cause.name(), &from]);
        let reason = match &cause {
            Cause::Renamed { .. } => "it was renamed, and which version it is was not looked at yet".to_owned(),
            Cause::Created { api } => format!("the content of a blob may come after `{}`", one_line(api, 64)),
            Cause::Replayed { order } => order.clone(),
            Cause::Found { by, .. } => by.told(),
            Cause::Taken | Cause::Changed { .. } => "it is looked at once more".to_owned(),
        };
        let rule = rule.id.clone();
        Self {
            key,
            rule,
            blob,
            cause,
            since: now,
            event_time: None,
            due: now,
            updated: now,
            looks: 0,
            look_failed: false,
            seen: None,
            reason,
            event: None,
        }
    }

    /// What was listed, unchanged since it was written; `taken` is the version of its path that was scored last.
    pub fn found(
        rule: &Rule,
        blob: UnversionedBlob,
        seen: &BlobSnapshot,
        (taken, by): (Option<String>, Finder),
        now: OffsetDateTime,
    ) -> Self {
        let since = seen.modified.filter(|modified| *modified < now).unwrap_or(now);
        let seen = Some(Sighting { etag: seen.etag.clone(), since });
        Self { since, seen, ..Self::new(rule, blob, Cause::Found { taken, by }, now) }
    }

    /// Stands for its event, which names no version: the same when that event comes again, and no other's. None where nothing was told
    /// of this version, or no time: two renames to one name differ by their times alone. Later and earlier say nothing, as clocks
    /// differ.
    pub fn event_key(&self) -> Option<String> {
        let told = matches!(self.cause, Cause::Renamed { .. } | Cause::Created { .. });
        let at = self.event_time.filter(|_| told)?;
        Some(digest(&["told", &self.key, &at.unix_timestamp_nanos().to_string()]))
    }

    /// One more event of its kind has come while it waited. What it tells of came after whatever was seen before, so that a
    /// look which was begun earlier must not be the last one: whoever keeps this changes the row by it.
    #[must_use]
    pub fn told_again(self, told: Self) -> Self {
        let (reason, look_failed) = match (self.look_failed, told.look_failed) {
            (true, false) => (self.reason, true),
            (_, failed) => (told.reason, failed),
        };
        // A version that rests goes on resting, and events without end put no look off; all else begins anew, as by a first event.
        let (event_time, due) = (told.event_time.max(self.event_time), told.due.min(self.due));
        Self { seen: self.seen.or(told.seen), event_time, due, reason, look_failed, ..told }
    }

    /// The version under each of the names that may have been its former one, if that was told. That another blob has had one of
    /// them does no harm: no two blobs have one ETag.
    pub fn former_versions(&self, seen: &BlobSnapshot) -> Vec<BlobVersion> {
        let Cause::Renamed { from } = &self.cause else { return Vec::new() };
        from.iter().filter_map(|url| BlobVersion::read(url, &seen.etag).ok()).collect()
    }

    /// Its version is one too many for now.
    #[must_use]
    pub fn put_off(self, until: OffsetDateTime, why: &str, now: OffsetDateTime) -> Self {
        Self { due: until, updated: now, reason: one_line(why, MAX_REASON), ..self }
    }

    /// It could not be looked at.
    #[must_use]
    pub fn not_seen(self, why: &str, now: OffsetDateTime) -> Self {
        let reason = format!("the blob could not be looked at: {}", one_line(why, MAX_REASON));
        Self { look_failed: true, ..self.later(reason, now) }
    }

    /// What becomes of it. `seen` is the blob as it is now, `None` if it is not there; `former` what is known of
    /// [`former_versions`](Self::former_versions), if anything is.
    pub fn judge(
        self,
        ledger: &LedgerId,
        rule: Option<&Rule>,
        seen: Option<&BlobSnapshot>,
        former: Option<&Former>,
        now: OffsetDateTime,
    ) -> Judgement {
        let upload = self.by_this_clock(now);
        let Some(rule) = rule else { return upload.without_rule(now) };
        let Some(seen) = seen else {
            if matches!(upload.cause, Cause::Taken | Cause::Changed { .. } | Cause::Found { .. }) {
                return Judgement::Done;
            }
            if let Cause::Replayed { order } = &upload.cause {
                let why = format!("{order}; the blob is not there");
                return upload.skip(&why);
            }
            return upload
                .skip("the blob is not there any more: it was renamed again or deleted before it was looked at");
        };
        let UnversionedBlob { account, container, path, .. } = &upload.blob;
        if let Some(why) = rule.refuses_name(account, container, path) {
            return upload.skip(&why);
        }
        if matches!(upload.cause, Cause::Found { .. }) && !rule.matches.apis.is_empty() {
            let why = format!(
                "{}; by which operation it was written no list tells, and the rule asks (match.apis)",
                upload.told()
            );
            return upload.skip(&why);
        }
        let output = match former {
            Some(Former::Output { of }) => Some(format!("it is an output of scoring {of} that was moved")),
            Some(Former::LikeOutput { of }) => {
                let why = "and neither it nor its id is in the ledger any more";
                Some(format!("its first name has the form of an output of rule `{of}`, {why}"))
            }
            Some(Former::Scoring { .. }) | None => None,
        };
        if let Some(output) = output {
            let why = format!("{}; {output}, and outputs never trigger", upload.told());
            return upload.skip(&why);
        }
        if upload.cause == Cause::Taken {
            return upload.judge_again(rule, seen, now);
        }
        upload.judge_version(ledger, rule, seen, former, now)
    }

    /// What becomes of it by what its blob is like.
    fn judge_version(
        self,
        ledger: &LedgerId,
        rule: &Rule,
        seen: &BlobSnapshot,
        former: Option<&Former>,
        now: OffsetDateTime,
    ) -> Judgement {
        if let Some(why) = never_scored(rule, seen) {
            return self.skip(&why);
        }
        if let Some(why) = seen.not_readable_yet() {
            return Judgement::Wait(Box::new(self.later(why, now)));
        }
        if seen.size == 0 && rule.empty_blobs == EmptyBlobs::Skip {
            return self.judge_empty(rule, now);
        }
        let quiet = self.must_be_unchanged_for(rule, seen.kind);
        if let Some(quiet) = quiet
            && !self.seen.as_ref().is_some_and(|last| last.etag == seen.etag && now - last.since >= quiet)
        {
            return Judgement::Wait(Box::new(self.watched(seen, quiet, now)));
        }
        // After it has rested: until then it may grow.
        let content_type = seen.content_type.as_deref().unwrap_or_default();
        let refused = rule.refuses_size(seen.size).or_else(|| rule.refuses_type(content_type));
        if let Some(why) = refused.or_else(|| rule.refuses_metadata(&seen.metadata)) {
            return self.skip(&why);
        }
        if rule.asks_for_index_tags() {
            match &seen.index_tags {
                IndexTags::Seen(tags) => {
                    if let Some(why) = rule.refuses_index_tags(tags) {
                        return self.skip(&why);
                    }
                }
                IndexTags::NotSeen(why) => return Judgement::Wait(Box::new(self.not_seen(why, now))),
                IndexTags::NotAsked => {
                    let why = "its index tags were not asked for yet";
                    return Judgement::Wait(Box::new(self.later(why.to_owned(), now)));
                }
            }
        }
        match former.filter(|former| former.counts() && rule.renames == Renames::IgnoreScored) {
            Some(Former::Scoring { id, status: Status::Scored }) => {
                let why = format!("{}; this rule has scored it as {id} (renames is ignoreScored)", self.told());
                return self.skip(&why);
            }
            // Its job may be reading what was there: whether this is the same again shows at its end.
            Some(Former::Scoring { id, status }) => {
                let why = format!("{}, and {id} scores it, {status} (renames is ignoreScored)", self.told());
                return Judgement::Wait(Box::new(self.later(why, now)));
            }
            Some(Former::Output { .. } | Former::LikeOutput { .. }) | None => {}
        }
        self.take_in(ledger, rule, seen, quiet, now)
    }

    fn take_in(
        self,
        ledger: &LedgerId,
        rule: &Rule,
        seen: &BlobSnapshot,
        quiet: Option<Duration>,
        now: OffsetDateTime,
    ) -> Judgement {
        let mut blob = match self.blob.version(&seen.etag) {
            Ok(blob) => blob,
            Err(invalid) => return self.skip(&invalid.to_string()),
        };
        blob.size = Some(seen.size);
        blob.content_type.clone_from(&seen.content_type);
        blob.metadata = rule.metadata_kept(&seen.metadata);
        blob.event_time = self.event_time;
        let reason = format!("rule `{}` wants this blob version: {}", rule.id, self.told());
        let mut scoring = Scoring::accept(ledger, rule, blob, now);
        if let Cause::Found { by, .. } = &self.cause {
            scoring.origin = by.origin();
        }
        let unannounced = if let Cause::Changed { taken } | Cause::Found { taken: Some(taken), .. } = &self.cause {
            // The same content under another ETag, as after a change of metadata, is not scored twice where that can be told.
            let taken = self.blob.version(taken).ok();
            scoring.in_place_of = taken.map(|taken| rule.scoring_id(ledger, &taken));
            Some(Box::new(self.clone()))
        } else {
            None
        };
        let again = quiet.map(|quiet| {
            let seen = Some(Sighting { etag: seen.etag.clone(), since: now });
            let reason = "it was taken in unchanged, and is looked at once more".to_owned();
            Box::new(Self { cause: Cause::Taken, seen, due: now + quiet, updated: now, looks: 0, reason, ..self })
        });
        Judgement::TakeIn { scoring: Box::new(scoring), reason, again, unannounced }
    }

    /// A version was taken in because it had rested: one that came since is an upload like that one.
    fn judge_again(self, rule: &Rule, seen: &BlobSnapshot, now: OffsetDateTime) -> Judgement {
        let taken = match &self.seen {
            Some(last) if last.etag != seen.etag => last.etag.clone(),
            _ => return Judgement::Done,
        };
        let changed = Self { cause: Cause::Changed { taken }, since: now, event_time: None, ..self };
        // The rule may say by now that only what is closed is whole: what rested was taken in before that.
        let quiet = changed.must_be_unchanged_for(rule, seen.kind).unwrap_or(PAGES_UNCHANGED_FOR);
        Judgement::Wait(Box::new(changed.watched(seen, quiet, now)))
    }

    /// What a clock told that was wrong, and is corrected, is told now: nothing waits for it.
    fn by_this_clock(self, now: OffsetDateTime) -> Self {
        let believed = |at: OffsetDateTime| if is_ahead(at, now) { now } else { at };
        let seen = self.seen.map(|seen| Sighting { since: believed(seen.since), ..seen });
        Self { since: believed(self.since), seen, ..self }
    }

    /// As what is queued: a rule that is gone by mistake, or in one process that has not read the new file yet, must not cost its
    /// uploads. But what nobody will take in is not looked at for ever.
    fn without_rule(self, now: OffsetDateTime) -> Judgement {
        if now - self.since >= RULE_DEADLINE {
            return self.skip("the rule that wanted it was removed a day ago");
        }
        let why = format!("rule `{}` is not in the rules any more; put it back to have this scored", self.rule);
        Judgement::Wait(Box::new(self.later(why, now)))
    }

    fn judge_empty(self, rule: &Rule, now: OffsetDateTime) -> Judgement {
        let may_come = match &self.cause {
            Cause::Renamed { .. } | Cause::Replayed { .. } => matches!(rule.complete, Complete::UnchangedFor(_)),
            Cause::Created { .. } | Cause::Taken | Cause::Found { .. } | Cause::Changed { .. } => true,
        };
        if !may_come {
            return self.skip("the blob has no bytes (emptyBlobs is skip)");
        }
        if now - self.since >= CONTENT_DEADLINE {
            return self.skip("the blob has no bytes a day after its event (emptyBlobs is skip)");
        }
        Judgement::Wait(Box::new(self.later("the blob has no bytes yet".to_owned(), now)))
    }

    /// How long the blob must be unchanged before it is taken for whole.
    fn must_be_unchanged_for(&self, rule: &Rule, kind: BlobKind) -> Option<Duration> {
        match self.cause {
            // Whoever renames has written before.
            Cause::Renamed { .. } | Cause::Replayed { .. } | Cause::Taken => {
                (kind == BlobKind::Append).then(|| unchanged_for(rule)).flatten()
            }
            Cause::Created { .. } | Cause::Found { .. } | Cause::Changed { .. } => {
                unchanged_for(rule).or((kind == BlobKind::Page).then_some(PAGES_UNCHANGED_FOR))
            }
        }
    }

    /// Seen in this version, and looked at again when it may have rested long enough.
    fn watched(self, seen: &BlobSnapshot, quiet: Duration, now: OffsetDateTime) -> Self {
        let seen = match self.seen {
            Some(last) if last.etag == seen.etag => last,
            _ => Sighting { etag: seen.etag.clone(), since: now },
        };
        let due = seen.since + quiet;
        let reason = format!("it must be unchanged for {} s before it is taken for whole", quiet.whole_seconds());
        let looks = self.looks.saturating_add(1);
        Self { due, updated: now, reason, seen: Some(seen), looks, look_failed: false, ..self }
    }

    fn later(self, reason: String, now: OffsetDateTime) -> Self {
        let (due, looks) = (now + pause(&self.key, self.looks), self.looks.saturating_add(1));
        Self { due, updated: now, reason, looks, look_failed: false, ..self }
    }

    /// What was told, as part of a sentence.
    fn told(&self) -> String {
        match &self.cause {
            Cause::Renamed { from } if from.is_empty() => "it was renamed".to_owned(),
            Cause::Renamed { from } => format!("it was renamed from {}", from.join(" or ")),
            Cause::Created { api } => format!("it was created by `{}` and is whole now", one_line(api, 64)),
            Cause::Replayed { order } => order.clone(),
            Cause::Found { by, .. } => by.told(),
            Cause::Taken => "it was taken in before".to_owned(),
            Cause::Changed { .. } => "it has changed since it was taken in, and rests now".to_owned(),
        }
    }

    fn skip(self, reason: &str) -> Judgement {
        let reason = one_line(reason, MAX_REASON);
        let key = skip_key(&[&self.key, "skipped"], self.event_time, &reason);
        let etag = self.seen.map(|seen| seen.etag);
        Judgement::Skip(SkippedEvent { key, subject: self.blob.url, rule: Some(self.rule), etag, reason })
    }
}

/// Why blobs of this kind are not scored at all.
fn never_scored(rule: &Rule, seen: &BlobSnapshot) -> Option<String> {
    if seen.is_folder {
        return Some("it is a folder".to_owned());
    }
    match &seen.copy {
        CopyState::Failed(why) => {
            return Some(format!("the copy into it failed (x-ms-copy-status): {}", one_line(why, 500)));
        }
        CopyState::Aborted => return Some("the copy into it was aborted (x-ms-copy-status)".to_owned()),
        CopyState::Whole | CopyState::Pending => {}
    }
    (seen.kind == BlobKind::Append && unchanged_for(rule).is_none()).then(|| APPEND_BLOB.to_owned())
}

/// Why an append blob is not scored.
pub(crate) const APPEND_BLOB: &str = "it is an append blob, which grows and never says that it is whole; a rule with `complete: {\"unchangedFor\": …}` scores it when it rests";

/// The rule's own time of rest.
fn unchanged_for(rule: &Rule) -> Option<Duration> {
    match &rule.complete {
        Complete::Closed | Complete::Marker(_) => None,
        Complete::UnchangedFor(quiet) => Some(quiet.0),
    }
}

pub(crate) fn pause(key: &str, times: u32) -> Duration {
    // A key has the form of an id; what spreads the looks needs no more.
    ScoringId::read(key).map_or(MAX_PAUSE, |key| back_off(FIRST_PAUSE, MAX_PAUSE, times, &key))
}

#[cfg(test)]
mod tests;
