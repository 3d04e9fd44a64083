//! An event's JSON becomes wanted scorings, a recorded skip, or a recorded malformed event. Total: any JSON goes in.
//!
//! Event Grid delivers at least once, in any order, in two schemas, one or many at a time, and some hosts pass JSON
//! as a string that holds JSON. All of that is read here; nothing is ever answered with an error, because one bad
//! event would make Event Grid redeliver its whole batch.

use std::borrow::Cow;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, general_purpose};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::blob::{BlobVersion, InvalidBlob};
use crate::digest::digest;
use crate::id::{LedgerId, RuleId};
pub use crate::own_output::MIN_RETENTION;
use crate::own_output::may_be_forgotten;
use crate::payload::{Payload, TooManyEvents, json_within, members, repair, string};
use crate::pending::{APPEND_BLOB, BlobKind, Cause, PendingUpload, Sighting};
use crate::renamed::{InvalidRename, NameChange, PendingFolder, Rename, Renamed};
use crate::rule::{Complete, Rule, Rules};
use crate::scoring::Scoring;
pub use crate::skipped::SkippedEvent;
use crate::text::{clipped, one_line};
use crate::unversioned::{MAX_PATH, MAX_URL};
use crate::uri::without_query;

/// Characters of a malformed event that are kept: a property of a row holds 32,000 UTF-16 units, and a character may
/// take two. Of an event that is longer the beginning is kept, and its delivery is not answered with success.
pub const MAX_RECEIVED: usize = 16_000;

/// Characters of a reason that are kept; it quotes the event or names each rule.
const MAX_REASON: usize = 2_000;
/// After an event whose blob's content comes later, until the first look at the blob.
const CONTENT_COMES: Duration = Duration::minutes(2);
/// Members of an event that are read.
const EVENT: [&str; 9] =
    ["id", "specversion", "type", "eventType", "subject", "data", "data_base64", "eventTime", "time"];
/// Members of its `data` that are read.
const DATA: [&str; 9] =
    ["url", "eTag", "etag", "sequencer", "contentType", "contentLength", "api", "blobType", "accessTier"];

/// The event type that tells of a new blob version.
const BLOB_CREATED: &str = "Microsoft.Storage.BlobCreated";
/// The event type that tells of a blob's new name, in accounts with a hierarchical namespace.
const BLOB_RENAMED: &str = "Microsoft.Storage.BlobRenamed";
/// The event type that tells of a folder's new name; there is none for each of its files.
const DIRECTORY_RENAMED: &str = "Microsoft.Storage.DirectoryRenamed";

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
    /// Why.
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

/// Why an event cannot be read as one about a blob.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("the event is {0}, not a JSON object")]
    NoObject(&'static str),
    #[error("the event is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error(
        "`{0}` is missing or not a string; expected Event Grid's schema (eventType) or CloudEvents 1.0 (specversion, type)"
    )]
    NoType(&'static str),
    #[error("`data` is missing or not a JSON object")]
    NoData,
    #[error("`data_base64` is not a JSON object in base64")]
    NoDataInBase64,
    #[error("`data.url` is missing or not a string")]
    NoUrl,
    #[error(transparent)]
    Rename(#[from] InvalidRename),
    #[error("`data.eTag` is missing or not a string")]
    NoETag,
    #[error(transparent)]
    Blob(#[from] InvalidBlob),
    #[error("the ETag was damaged on the way: U+FFFD stands where a character was lost")]
    Lost,
    #[error("the blob's URL or its ETag is longer than Azure Storage allows")]
    TooLong,
}

/// What an event tells of.
enum About {
    Upload(Upload),
    Rename(Rename),
    FolderRename(Rename),
    /// Not a new blob version, so no rule is asked. A subscription that is not filtered sends these.
    SomethingElse(SkippedEvent),
}

impl About {
    fn read(event: &RawValue) -> Result<Self, Malformed> {
        let [id, spec_version, cloud_type, grid_type, subject, data, data_base64, grid_time, cloud_time] =
            members(event, EVENT).ok_or_else(|| no_object(event))?;
        let (member, event_type, at) =
            if spec_version.is_some() { ("type", cloud_type, cloud_time) } else { ("eventType", grid_type, grid_time) };
        let at = at.and_then(string).and_then(|at| event_time(&at));
        let event_type = event_type.and_then(string).ok_or(Malformed::NoType(member))?;
        let subject = subject.and_then(string).unwrap_or_default();
        // CloudEvents 1.0 has data in one of two members, and relays write the second for whatever they took as bytes.
        let data = || match (data, data_base64) {
            (None, Some(bytes)) => json_in_base64(bytes).map(Cow::Owned).ok_or(Malformed::NoDataInBase64),
            (data, _) => data.map(Cow::Borrowed).ok_or(Malformed::NoData),
        };
        match &*event_type {
            BLOB_CREATED => return Upload::read(&subject, &data()?, at).map(Self::Upload),
            BLOB_RENAMED => return Ok(Self::Rename(Rename::read(Renamed::Blob, &subject, &data()?, at)?)),
            DIRECTORY_RENAMED => {
                return Ok(Self::FolderRename(Rename::read(Renamed::Folder, &subject, &data()?, at)?));
            }
            _ => {}
        }
        let id = id.and_then(string).unwrap_or_default();
        Ok(Self::SomethingElse(SkippedEvent {
            key: digest(&[&event_type, &id]),
            subject: one_line(&subject, MAX_REASON),
            rule: None,
            etag: None,
            reason: format!("event type `{}` tells of no upload", one_line(&event_type, 200)),
        }))
    }
}

/// A new blob version, as its event tells of it.
struct Upload {
    blob: BlobVersion,
    /// The storage operation that raised the event; emulators and some hosts leave it out.
    api: Option<String>,
    /// How the blob is written; emulators and some hosts leave it out.
    kind: BlobKind,
    /// It lies in the archive tier.
    archived: bool,
}

/// What a rule makes of an upload whose name it wants.
enum Handling {
    /// It is scored as the event tells of it.
    TakeIn,
    /// The blob is looked at, for the first time after this.
    Look(Duration),
    /// It is not wanted.
    Refuse(String),
}

impl Upload {
    fn read(subject: &str, data: &RawValue, at: Option<OffsetDateTime>) -> Result<Self, Malformed> {
        let opened = json_within(data);
        let data = members(opened.as_deref().unwrap_or(data), DATA).ok_or(Malformed::NoData)?;
        let [url, etag, etag_as_documented, sequencer, content_type, content_length, api, kind, tier] = data;
        let url = url.and_then(string).ok_or(Malformed::NoUrl)?;
        // Documentation and practice disagree on the spelling.
        let etag = etag.and_then(string).or_else(|| etag_as_documented.and_then(string)).ok_or(Malformed::NoETag)?;
        let mut blob = BlobVersion::of_event(subject, &url, &etag)?;
        blob.event_time = at;
        blob.sequencer = sequencer.and_then(string).map(|s| clipped(&s, 64).to_owned());
        blob.content_type = content_type.and_then(string).map(|s| clipped(&s, 128).to_owned());
        blob.size = content_length.and_then(|length| serde_json::from_str(length.get()).ok());
        // Whatever was there, it is no longer known.
        if blob.etag.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Malformed::Lost);
        }
        if blob.url.len() > MAX_URL || blob.etag.len() > 200 || blob.path.chars().count() > MAX_PATH {
            return Err(Malformed::TooLong);
        }
        let kind = match kind.and_then(string).as_deref() {
            Some("AppendBlob") => BlobKind::Append,
            Some("PageBlob") => BlobKind::Page,
            _ => BlobKind::Block,
        };
        let archived = tier.and_then(string).is_some_and(|tier| tier == "Archive");
        Ok(Self { blob, api: api.and_then(string).map(Cow::into_owned), kind, archived })
    }

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

/// The record of a blob version that is skipped. One that is skipped for another reason, as after a change of the rules, is
/// another record.
pub fn skipped(blob: &BlobVersion, rule: Option<RuleId>, reason: &str) -> SkippedEvent {
    let reason = one_line(reason, MAX_REASON);
    let key = digest(&[&blob.url, &blob.etag, rule.as_deref().unwrap_or_default(), &reason]);
    let (subject, etag) = (blob.url.clone(), Some(blob.etag.clone()));
    SkippedEvent { key, subject, rule, etag, reason }
}

/// The time that an event names, in whole seconds of UTC: it stands in paths, which a store that keeps less of a second must
/// not change. One that no table can hold is none.
fn event_time(text: &str) -> Option<OffsetDateTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    at.replace_nanosecond(0).ok().filter(|at| at.year() > 1601)
}

/// The JSON that a string holds in base64, with or without padding.
fn json_in_base64(bytes: &RawValue) -> Option<Box<RawValue>> {
    let engine = GeneralPurpose::new(
        &alphabet::STANDARD,
        general_purpose::PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let bytes = engine.decode(string(bytes)?.as_ref()).ok()?;
    RawValue::from_string(repair::text(bytes).ok()?).ok()
}

fn no_object(event: &RawValue) -> Malformed {
    // What was cut out of a damaged delivery comes as a string.
    let text = string(event).filter(|text| text.trim_start().starts_with('{'));
    match text.map(|text| serde_json::from_str::<IgnoredAny>(&text)) {
        Some(Err(why)) => Malformed::NotJson(why),
        _ => Malformed::NoObject(kind(event)),
    }
}

fn kind(event: &RawValue) -> &'static str {
    match event.get().as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a string",
        Some(b'[') => "a list within a list",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

/// A URL fit for logs.
pub fn shown(url: &str) -> &str {
    without_query(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use time::macros::datetime;

    fn rules() -> Rules {
        Rules::read(
            r#"{"rules":[
                {"id":"claims","match":{"account":"uploads","container":"claims","prefix":"eu/","suffix":".csv"},"endpoint":{"uri":"https://e.example/jobs"}},
                {"id":"all","match":{"container":"everything"},"endpoint":{"uri":"https://e.example/jobs"},"emptyBlobs":"score"},
                {"id":"too","match":{"container":"everything"},"endpoint":{"uri":"https://f.example/jobs"}}
            ]}"#,
        )
        .expect("good rules")
    }

    fn data(url: &str) -> Value {
        json!({"api": "PutBlockList", "eTag": "0x8D4BCC2E4835CD0", "contentLength": 5, "contentType": "text/csv",
               "url": url, "sequencer": "0000000000000442"})
    }

    fn event(url: &str) -> Value {
        json!({"id": "831e1650", "eventType": "Microsoft.Storage.BlobCreated", "subject": "/blobServices/default",
               "eventTime": "2026-07-21T10:00:00Z", "data": data(url), "dataVersion": "", "metadataVersion": "1"})
    }

    fn cloud_event(url: &str) -> Value {
        json!({"id": "831e1650", "specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "source": "/x",
               "time": "2026-07-21T12:00:00.5+02:00", "data": data(url)})
    }

    fn judged(payload: &Value) -> Vec<Classification> {
        read(payload, &LedgerId::of_random([1; 16]), &rules(), OffsetDateTime::UNIX_EPOCH).expect("not too many events")
    }

    const URL: &str = "https://uploads.blob.core.windows.net/claims/eu/a.csv";

    #[test]
    fn every_encoding_and_both_schemas_give_the_same_scoring() {
        let plain = judged(&event(URL));
        let Classification::Wanted(scorings) = &plain[0] else { panic!("{plain:?}") };
        assert_eq!((scorings.len(), scorings[0].rule.as_str()), (1, "claims"));
        assert_eq!(scorings[0].blob.size, Some(5));
        assert_eq!(scorings[0].event_time(), datetime!(2026-07-21 10:00 UTC));
        for one in [event(URL), cloud_event(URL)] {
            for payload in [
                one.clone(),
                json!([one]),
                json!(one.to_string()),
                json!(json!([one]).to_string()),
                json!([one.to_string()]),
            ] {
                assert_eq!(judged(&payload), plain, "{payload}");
            }
        }
        assert_eq!(judged(&json!([event(URL), cloud_event(URL)])).len(), 2);
        let mut text_data = event(URL);
        text_data["data"] = json!(data(URL).to_string());
        assert_eq!(judged(&text_data), plain);
    }

    #[test]
    fn each_rule_that_wants_the_blob_gets_a_scoring() {
        let classifications = judged(&event("https://x.blob.core.windows.net/everything/a"));
        let Classification::Wanted(scorings) = &classifications[0] else { panic!("{classifications:?}") };
        assert_eq!(scorings.iter().map(|s| s.rule.as_str()).collect::<Vec<_>>(), ["all", "too"]);
        assert_ne!(scorings[0].id, scorings[1].id);
    }

    #[test]
    fn skips_say_which_rule_and_why() {
        let reason = |payload: Value| match judged(&payload).remove(0) {
            Classification::Skipped(skip) => (skip.rule, skip.reason),
            other => panic!("{other:?}"),
        };
        assert!(reason(event("https://uploads.blob.core.windows.net/claims/us/a.csv")).1.contains("`eu/`"));
        assert_eq!(reason(event("https://uploads.blob.core.windows.net/claims/us/a.csv")).0.as_deref(), Some("claims"));
        assert!(reason(event("https://uploads.blob.core.windows.net/claims/eu/a.txt")).1.contains("`.csv`"));
        assert!(reason(event("https://other.blob.core.windows.net/claims/eu/a.csv")).1.contains("account `other`"));
        assert_eq!(reason(event("https://uploads.blob.core.windows.net/photos/a.csv")).0, None);
        let mut created = event(URL);
        created["data"]["api"] = json!("CreateFile");
        assert!(reason(created).1.contains("CreateFile"));
        let mut empty = event(URL);
        empty["data"]["contentLength"] = json!(0);
        assert!(reason(empty).1.contains("no bytes"));
        let temporary = reason(event("https://uploads.blob.core.windows.net/claims/eu/_temporary/0/a.csv"));
        assert!(temporary.1.contains("`_temporary/`") && temporary.0.as_deref() == Some("claims"), "{temporary:?}");
        let mut deleted = event(URL);
        let mut log = event(URL);
        log["data"]["blobType"] = json!("AppendBlob");
        assert!(reason(log).1.contains("append blob"));
        deleted["eventType"] = json!("Microsoft.Storage.BlobDeleted");
        assert!(reason(deleted).1.contains("BlobDeleted"));
    }

    #[test]
    fn what_looks_like_an_output_is_one_by_the_rules_only_if_the_ledger_may_have_forgotten_it() {
        let url = "https://uploads.blob.core.windows.net/everything/scorekeeper/all/0123456789abcdef0123456789abcdef/1/predictions.csv";
        let told = |event: &Value, now: OffsetDateTime| {
            let ledger = LedgerId::of_random([1; 16]);
            read(event, &ledger, &rules(), now).expect("not too many events").remove(0)
        };
        let (at, output) = (datetime!(2026-07-21 10:00 UTC), event(url));
        assert!(matches!(told(&output, at + Duration::days(7)), Classification::Wanted(_)), "the ledger is asked");
        let mut without_time = output.clone();
        without_time.as_object_mut().expect("an object").remove("eventTime");
        for old in [told(&output, at + MIN_RETENTION), told(&without_time, at)] {
            assert!(matches!(&old, Classification::Skipped(skip) if skip.reason.contains("output")), "{old:?}");
        }
    }

    /// What becomes of an event under one rule with these members.
    fn under(rule: &Value, event: &Value) -> Classification {
        let mut full =
            json!({"id": "r", "match": {"container": "claims"}, "endpoint": {"uri": "https://e.example/jobs"}});
        full.as_object_mut().expect("an object").extend(rule.as_object().expect("an object").clone());
        let rules = Rules::read(&json!({ "rules": [full] }).to_string()).expect("good rules");
        let ledger = LedgerId::of_random([1; 16]);
        read(event, &ledger, &rules, OffsetDateTime::UNIX_EPOCH).expect("not too many events").remove(0)
    }

    #[test]
    fn size_type_and_operation_decide_and_what_the_event_does_not_tell_is_looked_at() {
        let told = |matches: Value, change: &dyn Fn(&mut Value)| {
            let mut rule = json!({ "match": matches });
            rule["match"]["container"] = json!("claims");
            let mut event = event(URL);
            change(&mut event["data"]);
            match under(&rule, &event) {
                Classification::Wanted(_) => "taken in".to_owned(),
                Classification::Pending { uploads, .. } if uploads.len() == 1 => "looked at".to_owned(),
                Classification::Skipped(skipped) => skipped.reason,
                other => panic!("{other:?}"),
            }
        };
        let as_it_is: &dyn Fn(&mut Value) = &|_| {};
        let unsized_: &dyn Fn(&mut Value) = &|data| drop(data.as_object_mut().expect("data").remove("contentLength"));
        let untyped: &dyn Fn(&mut Value) = &|data| drop(data.as_object_mut().expect("data").remove("contentType"));
        let by_copy: &dyn Fn(&mut Value) = &|data| data["api"] = json!("FlushWithClose");
        for (matches, change, said) in [
            (json!({"minBytes": 5, "maxBytes": 5}), as_it_is, "taken in"),
            (json!({"minBytes": 6}), as_it_is, "rule `r`: it has 5 bytes, fewer than 6 (match.minBytes)"),
            (json!({"maxBytes": 4}), as_it_is, "rule `r`: it has 5 bytes, more than 4 (match.maxBytes)"),
            (json!({"minBytes": 6}), unsized_, "looked at"),
            (json!({}), unsized_, "taken in"),
            (json!({"contentTypes": ["application/json", "Text/*"]}), as_it_is, "taken in"),
            (
                json!({"contentTypes": ["application/json"]}),
                as_it_is,
                "rule `r`: its content type is `text/csv`, not `application/json` (match.contentTypes)",
            ),
            (json!({"contentTypes": ["application/json"]}), untyped, "looked at"),
            (json!({"metadata": {"tenant": "a"}}), as_it_is, "looked at"),
            (json!({"indexTags": {"tenant": false}}), as_it_is, "looked at"),
            (
                json!({"metadata": {"tenant": "a"}, "minBytes": 6}),
                as_it_is,
                "rule `r`: it has 5 bytes, fewer than 6 (match.minBytes)",
            ),
            (json!({"apis": ["PutBlob", "PutBlockList"]}), as_it_is, "taken in"),
            (
                json!({"apis": ["PutBlob", "PutBlockList"]}),
                by_copy,
                "rule `r`: it was written by `FlushWithClose`, not by PutBlob, PutBlockList (match.apis)",
            ),
        ] {
            assert_eq!(told(matches.clone(), change), said, "{matches}");
        }
    }

    #[test]
    fn a_marker_stands_for_its_folder_and_other_files_wait_for_it() {
        let rule = json!({"complete": {"marker": "_SUCCESS"}, "emptyBlobs": "score"});
        let marker = |path: &str, api: &str| {
            let mut event = event(&format!("https://uploads.blob.core.windows.net/claims/{path}"));
            (event["data"]["contentLength"], event["data"]["api"]) = (json!(0), json!(api));
            under(&rule, &event)
        };
        for (path, api) in
            [("eu/2026/_SUCCESS", "PutBlob"), ("_SUCCESS", "FlushWithClose"), ("a/_SUCCESS", "SftpCommit")]
        {
            let Classification::Wanted(scorings) = marker(path, api) else { panic!("{path}") };
            assert_eq!(scorings[0].blob.path, path);
        }
        for path in ["eu/2026/part-0.csv", "eu/2026/_SUCCESS.crc", "eu/x_SUCCESS", "_SUCCESS/a.csv"] {
            let Classification::Skipped(skipped) = marker(path, "PutBlob") else { panic!("{path}") };
            assert!(skipped.reason.contains("it is not the marker `_SUCCESS`"), "{path}: {}", skipped.reason);
        }
    }

    #[test]
    fn an_empty_blob_is_scored_where_the_rule_says_so() {
        let mut empty = event("https://x.blob.core.windows.net/everything/a");
        empty["data"]["contentLength"] = json!(0);
        let classifications = judged(&empty);
        assert!(
            matches!(&classifications[0], Classification::Wanted(scorings) if scorings.len() == 1),
            "{classifications:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_kept_with_its_reason_and_without_secrets() {
        let mut no_tag = event(&format!("{URL}?sv=1&SIG=VERYSECRET&se=2"));
        no_tag["data"]["eTag"] = Value::Null;
        for payload in [
            json!(null),
            json!(5),
            json!("text"),
            json!({}),
            json!([[[[1]]]]),
            json!({"eventType": 1}),
            no_tag,
            json!({"eventType": "Microsoft.Storage.BlobCreated"}),
            json!({"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "data": {"url": "x", "eTag": "1"}}),
        ] {
            match judged(&payload).remove(0) {
                Classification::Quarantined(bad) => {
                    assert!(!bad.reason.is_empty());
                    assert!(!bad.received.contains("VERYSECRET"), "{}", bad.received);
                }
                other => panic!("{payload}: {other:?}"),
            }
        }
        assert!(judged(&json!([])).is_empty());
    }

    #[test]
    fn a_time_that_no_row_holds_costs_the_time_and_not_the_event() {
        for (told, known) in [
            (json!("2026-07-21T10:00:00.1234567Z"), Some(datetime!(2026-07-21 10:00 UTC))),
            (json!("1601-01-01T00:00:00Z"), None),
            (json!("9999-12-31T23:59:59-23:59"), None),
            (json!("yesterday"), None),
            (json!(1_721_556_000), None),
            (Value::Null, None),
        ] {
            let mut event = event(URL);
            event["eventTime"] = told.clone();
            let Classification::Wanted(scorings) = judged(&event).remove(0) else { panic!("{told}") };
            assert_eq!(scorings[0].blob.event_time, known, "{told}");
            assert_eq!(
                scorings[0].event_time(),
                known.unwrap_or(OffsetDateTime::UNIX_EPOCH),
                "else when it is accepted"
            );
        }
    }

    #[test]
    fn data_in_base64_is_decoded() {
        let plain = judged(&event(URL));
        let engine = general_purpose::STANDARD;
        let with = |data: &str| json!({"id": "1", "specversion": "1.0", "type": BLOB_CREATED, "time": "2026-07-21T10:00:00Z", "data_base64": data});
        let encoded = engine.encode(data(URL).to_string());
        assert_eq!(judged(&with(&encoded)), plain);
        assert_eq!(judged(&with(encoded.trim_end_matches('='))), plain, "without padding");
        assert!(malformed(&with("{}")).reason.contains("data_base64"));
    }

    #[test]
    fn one_damaged_event_of_forty_costs_itself_alone() {
        let events: Vec<String> = (0..40)
            .map(|n| {
                event(&format!("{}/{n}", URL.trim_end_matches(".csv")))
                    .to_string()
                    .replace(&format!("/{n}\""), &format!("/{n}.csv\""))
            })
            .collect();
        let whole = format!("[{}]", events.join(","));
        for damage in ["\\ud83d", "\u{fffd}", "\t", "\\q", "\"", "\"},{"] {
            // In the place of the seventeenth event's `.csv`.
            let damaged = whole.replace("/17.csv", &format!("/17{damage}.csv"));
            for delivery in [
                damaged.clone(),
                json!(damaged).to_string(),
                json!(damaged).to_string().replace("\\\\ud83d", "\\ud83d"),
            ] {
                let verdicts = read(
                    Payload::new(delivery).opened(),
                    &LedgerId::of_random([1; 16]),
                    &rules(),
                    OffsetDateTime::UNIX_EPOCH,
                )
                .expect("few");
                let wanted = verdicts.iter().filter(|verdict| matches!(verdict, Classification::Wanted(_))).count();
                assert_eq!(wanted, 39, "{damage:?}");
            }
        }
    }

    #[test]
    fn what_is_too_long_to_be_kept_whole_says_so() {
        let quarantined = |length: usize| malformed(&json!("x".repeat(length)));
        assert!(quarantined(MAX_RECEIVED).whole && !quarantined(MAX_RECEIVED + 1).whole && !quarantined(500_000).whole);
    }

    fn malformed(payload: &Value) -> QuarantinedEvent {
        match judged(payload).remove(0) {
            Classification::Quarantined(bad) => bad,
            other => panic!("{payload}: {other:?}"),
        }
    }

    #[test]
    fn a_delivery_is_opened_so_deep_and_no_deeper() {
        let wrap: [fn(Value) -> Value; 2] = [|value| json!([value]), |value| json!(value.to_string())];
        for wrap in wrap {
            let mut payload = event(URL);
            for _ in 0..crate::payload::MAX_NESTING {
                payload = wrap(payload);
            }
            assert!(matches!(judged(&payload)[0], Classification::Wanted(_)), "{payload}");
            assert!(!malformed(&wrap(payload)).reason.is_empty());
        }
    }

    #[test]
    fn what_is_no_event_is_called_by_its_kind() {
        let deep = json!([[[[1]]]]);
        for (payload, kind) in [
            (json!(null), "null"),
            (json!(true), "a boolean"),
            (json!(5), "a number"),
            (json!("text"), "a string"),
            (deep, "a list within a list"),
        ] {
            assert_eq!(malformed(&payload).reason, format!("the event is {kind}, not a JSON object"));
        }
    }

    #[test]
    fn what_no_row_could_hold_is_kept_as_unreadable() {
        let with = |container: &str, path: &str, etag: &str| {
            let mut one = event(&format!("https://x.blob.core.windows.net/{container}/{path}"));
            one["data"]["eTag"] = json!(etag);
            judged(&one).remove(0)
        };
        let rest = "https://x.blob.core.windows.net//a".len();
        for (container, path, etag) in [
            ("everything".to_owned(), "p".repeat(1_024), "1".to_owned()),
            ("everything".to_owned(), "a".to_owned(), "1".repeat(200)),
            ("c".repeat(13_000 - rest), "a".to_owned(), "1".to_owned()),
        ] {
            assert!(!matches!(with(&container, &path, &etag), Classification::Quarantined(_)));
            let more = match (path.len(), etag.len()) {
                (1_024, _) => with(&container, &format!("{path}p"), &etag),
                (_, 200) => with(&container, &path, &format!("{etag}1")),
                _ => with(&format!("{container}c"), &path, &etag),
            };
            assert!(matches!(more, Classification::Quarantined(bad) if bad.reason.contains("longer than")));
        }
    }

    #[test]
    fn what_is_kept_has_a_key_of_its_own_and_shows_all_but_its_secrets() {
        let bad = malformed(&json!({"x": "a?Sig=s3cret&code=s3cret&b=1\u{85}"}));
        assert_eq!(bad.received, r#"{"x":"a?Sig=***&code=***&b=1 "}"#);
        assert_eq!(bad.key, malformed(&json!({"x": "a?Sig=other&code=another&b=1\u{85}"})).key, "{}", bad.received);
        assert_ne!(bad.key, malformed(&json!({"x": "b"})).key);
        assert!(bad.key.len() == 32 && bad.key.bytes().all(|b| b.is_ascii_hexdigit()), "{}", bad.key);
        assert_eq!(shown("https://x/a?sig=secret#b"), "https://x/a");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
            Just(json!("Microsoft.Storage.BlobCreated")),
            Just(json!("https://uploads.blob.core.windows.net/claims/eu/a.csv")),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            let name = prop_oneof![
                Just("data".to_owned()),
                Just("eventType".to_owned()),
                Just("type".to_owned()),
                Just("specversion".to_owned()),
                Just("url".to_owned()),
                Just("eTag".to_owned()),
                Just("api".to_owned()),
                "[a-z]{1,5}"
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(name, inner.clone(), 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
                inner.prop_map(|value| json!(value.to_string())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_gets_a_verdict_and_the_same_one_twice(payload in any_json()) {
            prop_assert_eq!(judged(&payload), judged(&payload));
        }

        #[test]
        fn any_url_and_etag_are_read_or_refused(url in ".{0,60}", etag in ".{0,20}") {
            let mut one = event(URL);
            one["data"]["url"] = json!(url);
            one["data"]["eTag"] = json!(etag);
            prop_assert_eq!(judged(&one).len(), 1);
        }
    }
}
