//! An Event Grid event, as JSON, becomes what it tells of: an upload, a blob's or a folder's new name, or something else.
//!
//! Two schemas (Event Grid's and CloudEvents 1.0), two spellings of the ETag, data as JSON, as a string that holds JSON or in base64.

use std::borrow::Cow;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, general_purpose};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::blob::{BlobVersion, InvalidBlob};
use crate::digest::digest;
use crate::payload::{json_within, members, repair, string};
use crate::pending::BlobKind;
use crate::renamed::{InvalidRename, Rename, Renamed};
use crate::skipped::{MAX_REASON, SkippedEvent};
use crate::text::{clipped, one_line};
use crate::unversioned::{MAX_PATH, MAX_URL};

/// Members of an event that are read.
const EVENT: [&str; 9] =
    ["id", "specversion", "type", "eventType", "subject", "data", "data_base64", "eventTime", "time"];

/// Members of its `data` that are read.
const DATA: [&str; 9] =
    ["url", "eTag", "etag", "sequencer", "contentType", "contentLength", "api", "blobType", "accessTier"];

/// The event type that tells of a new blob version.
pub(crate) const BLOB_CREATED: &str = "Microsoft.Storage.BlobCreated";

/// The event type that tells of a blob's new name, in accounts with a hierarchical namespace.
pub(crate) const BLOB_RENAMED: &str = "Microsoft.Storage.BlobRenamed";

/// The event type that tells of a folder's new name; there is none for each of its files.
pub(crate) const DIRECTORY_RENAMED: &str = "Microsoft.Storage.DirectoryRenamed";

/// Why an event cannot be read as one about a blob.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
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
pub(crate) enum About {
    Upload(Upload),
    Rename(Rename),
    FolderRename(Rename),
    /// Not a new blob version, so no rule is asked. A subscription that is not filtered sends these.
    SomethingElse(SkippedEvent),
}

impl About {
    pub(crate) fn read(event: &RawValue) -> Result<Self, Malformed> {
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
pub(crate) struct Upload {
    pub(crate) blob: BlobVersion,
    /// The storage operation that raised the event; emulators and some hosts leave it out.
    pub(crate) api: Option<String>,
    /// How the blob is written; emulators and some hosts leave it out.
    pub(crate) kind: BlobKind,
    /// It lies in the archive tier.
    pub(crate) archived: bool,
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
