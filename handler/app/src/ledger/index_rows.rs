//! Rows of the indexes for people, and back: the list index (`L~`), what was received of a blob (`B~`), and skipped events (`S~`).
//!
//! They are written with a scoring, or a skip, and never changed but for the note that an event came again.

use lifecycle::id::RuleId;
use lifecycle::intake::SkippedEvent;
use lifecycle::{Scoring, ScoringId, UnversionedBlob};
use time::OffsetDateTime;

use super::rows::{self, Reader, Unreadable};
use crate::ports::table_store::{Entity, Key};

/// What the keys of the list index begin with.
pub(super) const LISTED: &str = "L~";

/// A scoring as the list index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The scoring's id, from the row's key.
    pub id: ScoringId,
    /// The rule that it is scored under.
    pub rule: RuleId,
    /// The blob that is scored; which version of it, only the scoring's own row tells.
    pub blob: UnversionedBlob,
    /// The invoke URI of the endpoint that it goes to; `None` in rows that do not tell.
    pub endpoint: Option<String>,
    /// Its deployment; `None` beside an endpoint: the endpoint's default.
    pub deployment: Option<String>,
    /// When it was accepted (`CreatedTime`): the index has the newest first.
    pub created: OffsetDateTime,
    /// Its place in the index: a list goes on behind it.
    pub place: Place,
}

/// Prefix of the rows of events that no rule wanted, by their day.
pub(super) const SKIPPED: &str = "S~";
/// Likewise of those that could not be read.
pub(super) const QUARANTINED: &str = "Q~";

/// A place in an index; the next page of a list begins behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub(super) String);

impl Place {
    /// As scripts and URLs hold it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The place of a scoring among all of them.
    pub fn of(id: &ScoringId, created: OffsetDateTime) -> Self {
        Self(listed_key(id, created).row)
    }

    /// Whether it lies among final scorings, by their ends.
    pub fn is_of_ends(&self) -> bool {
        self.0.starts_with(rows::TERMINAL)
    }

    /// When what lies there was accepted, ended or received: of final ones to the hour, of events to the day.
    pub fn time(&self) -> Option<OffsetDateTime> {
        let (prefix, rest) = self.0.split_at_checked(LISTED.len())?;
        rows::time_of(rest.split('~').next()?).filter(|_| prefix.ends_with('~'))
    }

    /// Reads what [`as_str`](Self::as_str) gave; `None` if it is none.
    pub fn read(text: &str) -> Option<Self> {
        let in_index = [LISTED, rows::TERMINAL, SKIPPED, QUARANTINED].iter().any(|prefix| text.starts_with(prefix));
        let plain = text.len() <= 80 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'~');
        (in_index && plain).then(|| Self(text.to_owned()))
    }
}

/// Key of the scoring's row in the list index, `L~{time}~{id}`, by which the newest come first.
pub fn listed_key(id: &ScoringId, created: OffsetDateTime) -> Key {
    Key::new(rows::partition_of(id), format!("{LISTED}{}~{id}", rows::newest_first(created)))
}

pub(super) fn to_listed_row(s: &Scoring) -> Entity {
    Entity::new(listed_key(&s.id, s.created))
        .with("SchemaVersion", rows::SCHEMA)
        .with("RuleId", s.rule.as_str())
        .with("BlobUrl", s.blob.url.as_str())
        .with("Endpoint", s.endpoint.as_str())
        .with_some("Deployment", s.deployment.as_deref())
        .with("CreatedTime", s.created)
}

pub(super) fn from_listed_row(row: &Entity) -> Result<Listed, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let id = row.key.row.rsplit('~').next().and_then(ScoringId::read);
    Ok(Listed {
        id: id.ok_or_else(|| read.wrong("the key has no id".to_owned()))?,
        rule: read.parsed("RuleId")?,
        blob: UnversionedBlob::read(&read.string("BlobUrl")?).map_err(|why| read.wrong(why.to_string()))?,
        endpoint: row.string("Endpoint").map(str::to_owned),
        deployment: row.string("Deployment").map(str::to_owned),
        created: read.time("CreatedTime")?,
        place: Place(row.key.row.clone()),
    })
}

/// How an event came, as far as a row keeps it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Announced<'a> {
    /// The event, without its secrets; none: no event told of the version.
    pub event: Option<&'a str>,
    /// Why the rules that do not want the blob do not.
    pub refused: Option<&'a str>,
}

/// What became of a blob version under a rule, when it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A rule wants the version, and this scoring was made for it.
    Scoring(ReceivedScoring),
    /// Nothing is scored for it: no rule wants it, or its reason tells why it was passed over.
    Skipped(Skipped),
}

impl Received {
    /// When it was received: a scoring when it was accepted, a skipped event when it last came.
    pub fn at(&self) -> OffsetDateTime {
        match self {
            Self::Scoring(scoring) => scoring.at,
            Self::Skipped(skip) => skip.at,
        }
    }
}

/// A scoring of a blob, with how it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedScoring {
    /// The scoring's id; its status is in its own row.
    pub id: ScoringId,
    /// When it was accepted (`SeenTime`); `repeated` tells of later deliveries.
    pub at: OffsetDateTime,
    /// The event as it came, if one did.
    pub event: Option<String>,
    /// Why the other rules do not want it.
    pub refused: Option<String>,
    /// When the same was last delivered again, if it was.
    pub repeated: Option<OffsetDateTime>,
}

/// An event that became no scoring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The same for every delivery of the event.
    pub key: String,
    /// When it was last received.
    pub at: OffsetDateTime,
    /// URL of its blob, or the event's `subject`.
    pub subject: String,
    /// The rule whose container it lies in.
    pub rule: Option<RuleId>,
    /// The version that it told of.
    pub etag: Option<String>,
    /// Why nothing is scored for it, for people; what rules say of it names them.
    pub reason: String,
    /// The event as it came.
    pub event: Option<String>,
}

/// Key of the row of a scoring.
pub(super) fn received_key(blob: &str, id: &ScoringId, created: OffsetDateTime) -> Key {
    Key::new(rows::partition_of(id), format!("B~{blob}~{}~{id}", rows::newest_first(created)))
}

pub(super) fn to_received_row(s: &Scoring, announced: &Announced<'_>) -> Entity {
    let blob = rows::blob_key(&s.blob.container, &s.blob.path);
    Entity::new(received_key(&blob, &s.id, s.created))
        .with("SchemaVersion", rows::SCHEMA)
        .with("Kind", "scoring")
        .with("SeenTime", s.created)
        .with_some("Event", announced.event.map(|event| rows::clipped(event, rows::MAX_EVENT)))
        .with_some("Refused", announced.refused.map(|text| rows::clipped(text, rows::MAX_FOREIGN)))
}

pub(super) fn from_received_row(row: &Entity) -> Result<Received, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    match read.string("Kind")?.as_str() {
        "scoring" => {
            let id = row.key.row.rsplit('~').next().and_then(ScoringId::read);
            Ok(Received::Scoring(ReceivedScoring {
                id: id.ok_or_else(|| read.wrong("the key has no id".to_owned()))?,
                at: read.time("SeenTime")?,
                event: row.string("Event").map(str::to_owned),
                refused: row.string("Refused").map(str::to_owned),
                repeated: row.time("RepeatedTime"),
            }))
        }
        "skipped" => from_skipped_row(row).map(Received::Skipped),
        other => Err(read.wrong(format!("`Kind` is `{other}`, which this version does not know"))),
    }
}

pub(super) fn to_skipped_row(key: Key, skip: &SkippedEvent, event: Option<&str>, now: OffsetDateTime) -> Entity {
    Entity::new(key)
        .with("SchemaVersion", rows::SCHEMA)
        .with("SeenTime", now)
        .with("Subject", rows::clipped(&skip.subject, rows::MAX_FOREIGN))
        .with_some("RuleId", skip.rule.as_deref())
        .with_some("BlobETag", skip.etag.as_deref().map(|etag| rows::clipped(etag, rows::MAX_FOREIGN)))
        .with("Reason", rows::clipped(&skip.reason, rows::MAX_FOREIGN))
        .with_some("Event", event.map(|event| rows::clipped(event, rows::MAX_EVENT)))
}

pub(super) fn from_skipped_row(row: &Entity) -> Result<Skipped, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    Ok(Skipped {
        key: key_of(row),
        at: read.time("SeenTime")?,
        subject: read.string("Subject")?,
        rule: read.parsed_if_there("RuleId")?,
        etag: row.string("BlobETag").map(str::to_owned),
        reason: read.string("Reason")?,
        event: row.string("Event").map(str::to_owned),
    })
}

/// What the key of a recorded event ends with.
pub(super) fn key_of(row: &Entity) -> String {
    row.key.row.rsplit('~').next().unwrap_or_default().to_owned()
}
