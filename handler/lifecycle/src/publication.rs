//! Results at paths that users chose: whose what lies there is, which of two is newer, and how a copy to there ended.
//!
//! An attempt writes to a path of its own. A verified result is copied from there to the chosen one, whole or not at all, if what
//! lies there is still what was looked at. What Scorekeeper has written there says so in its metadata.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::digest::{digest, is_digest};
use crate::id::{IdentityName, LedgerId, ScoringId, WorkspaceId};
use crate::scoring::Scoring;

/// Metadata that names the ledger.
pub const LEDGER: &str = "scorekeeper_ledger";
/// Metadata that names the scoring.
pub const SCORING: &str = "scorekeeper_scoring";
/// Metadata that names the output.
pub const OUTPUT: &str = "scorekeeper_output";
/// Metadata that tells the attempt.
pub const ATTEMPT: &str = "scorekeeper_attempt";
/// Metadata that tells the order.
pub const ORDER: &str = "scorekeeper_order";

/// What Scorekeeper writes on each blob that it publishes: whose it is, and how new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicationMark {
    /// The ledger that the scoring is in.
    pub ledger: LedgerId,
    /// The scoring whose result it is.
    pub scoring: ScoringId,
    /// The output of it that is published.
    pub output: String,
    /// The attempt that gave the result.
    pub attempt: u32,
    /// Which of two results is newer.
    pub order: PublicationOrder,
}

impl PublicationMark {
    /// The mark of an output of a scoring's current attempt.
    pub fn of(ledger: &LedgerId, scoring: &Scoring, output: &str) -> Self {
        Self {
            ledger: ledger.clone(),
            scoring: scoring.id.clone(),
            output: output.to_owned(),
            attempt: scoring.attempt,
            order: PublicationOrder::of(scoring),
        }
    }

    /// As metadata of a blob.
    pub fn metadata(&self) -> [(&'static str, String); 5] {
        [
            (LEDGER, self.ledger.to_string()),
            (SCORING, self.scoring.to_string()),
            (OUTPUT, self.output.clone()),
            (ATTEMPT, self.attempt.to_string()),
            (ORDER, self.order.to_string()),
        ]
    }

    /// The mark in a blob's metadata, whose names are in lower case. `None` if any of it is missing or reads otherwise: such a blob
    /// is treated as somebody else's.
    pub fn read(metadata: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            ledger: metadata.get(LEDGER)?.parse().ok()?,
            scoring: metadata.get(SCORING)?.parse().ok()?,
            output: metadata.get(OUTPUT)?.clone(),
            attempt: metadata.get(ATTEMPT)?.parse().ok()?,
            order: metadata.get(ORDER)?.parse().ok()?,
        })
    }
}

/// How new a result is among those of one path.
///
/// It has no `Ord`: of three results two may be told apart by their events and the others only by when they were accepted, which
/// makes circles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicationOrder {
    /// Stands for the blob that was scored, 32 hex digits: generations and sequencers compare versions of one blob only.
    pub blob: String,
    /// The scoring's generation: of two results of one blob the higher one is newer.
    pub generation: u32,
    /// Orders the versions of the blob, if an event told it.
    pub sequencer: Option<String>,
    /// When the scoring was accepted.
    pub accepted_at: OffsetDateTime,
}

impl PublicationOrder {
    /// The order of a scoring's result.
    pub fn of(scoring: &Scoring) -> Self {
        Self {
            blob: digest(&[&scoring.blob.url]),
            generation: scoring.generation,
            sequencer: scoring.blob.sequencer.clone(),
            accepted_at: scoring.created.to_offset(UtcOffset::UTC),
        }
    }

    /// Whether this result is the newer one. Of one blob: by generation, then by the event's sequencer if both have one and they
    /// differ, else by when they were accepted. Of two blobs: by when they were accepted. Two that agree in all of it are not newer
    /// than each other.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        if self.blob != other.blob {
            return self.accepted_at > other.accepted_at;
        }
        if self.generation != other.generation {
            return self.generation > other.generation;
        }
        match (&self.sequencer, &other.sequencer) {
            (Some(own), Some(other)) if own != other => own > other,
            _ => self.accepted_at > other.accepted_at,
        }
    }
}

/// `GENERATION~BLOB~ACCEPTED~SEQUENCER`, of characters that a header takes.
impl fmt::Display for PublicationOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted = self.accepted_at.to_offset(UtcOffset::UTC).format(&Rfc3339).map_err(|_| fmt::Error)?;
        write!(f, "{}~{}~{accepted}", self.generation, self.blob)?;
        match &self.sequencer {
            Some(sequencer) => write!(f, "~{}", utf8_percent_encode(sequencer, NON_ALPHANUMERIC)),
            None => Ok(()),
        }
    }
}

/// A text that is no order of a publication.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is an invalid order of a publication; expected GENERATION~BLOB~ACCEPTED, and ~SEQUENCER where there is one"
)]
pub struct InvalidPublicationOrder(pub String);

impl FromStr for PublicationOrder {
    type Err = InvalidPublicationOrder;

    fn from_str(text: &str) -> Result<Self, InvalidPublicationOrder> {
        let read = || {
            let mut parts = text.splitn(4, '~');
            let generation = parts.next()?.parse().ok()?;
            let blob = parts.next().filter(|blob| is_digest(blob))?.to_owned();
            let accepted_at = OffsetDateTime::parse(parts.next()?, &Rfc3339).ok()?;
            let accepted_at = accepted_at.checked_to_offset(UtcOffset::UTC)?;
            let sequencer = match parts.next() {
                Some(encoded) => Some(percent_decode_str(encoded).decode_utf8().ok()?.into_owned()),
                None => None,
            };
            Some(Self { blob, generation, sequencer, accepted_at })
        };
        read().ok_or_else(|| InvalidPublicationOrder(text.to_owned()))
    }
}

/// A result of which a note says that it is written at a place, or about to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedResult {
    /// The scoring whose result it is, in the ledger that keeps the note.
    pub scoring: ScoringId,
    /// Compared with that of another result for the same place, before that is written.
    pub order: PublicationOrder,
}

/// `SCORING ORDER`, with a space between: as a note in the ledger holds it.
impl fmt::Display for NotedResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.scoring, self.order)
    }
}

impl NotedResult {
    /// The result of a scoring, ordered by its generation, its blob's sequencer and when it was accepted.
    pub fn of(scoring: &Scoring) -> Self {
        Self { scoring: scoring.id.clone(), order: PublicationOrder::of(scoring) }
    }

    /// Reads one as it is written; `None` of any other text.
    pub fn read(text: &str) -> Option<Self> {
        let (scoring, order) = text.split_once(' ')?;
        Some(Self { scoring: ScoringId::read(scoring)?, order: order.parse().ok()? })
    }
}

/// Where a blob lies that is named as outputs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobPlace {
    /// Path on a datastore, `azureml://datastores/NAME/paths/PATH`, or the blob's own URL.
    pub uri: String,
    /// ARM id of the workspace that has the datastore, where the URI does not name it.
    pub workspace: Option<WorkspaceId>,
    /// Who reads and writes there; `None`: the app itself.
    pub identity: Option<IdentityName>,
}

impl BlobPlace {
    /// A blob's own URL; the app itself reads and writes there.
    pub fn of_url(url: impl Into<String>) -> Self {
        Self { uri: url.into(), workspace: None, identity: None }
    }

    /// A path on a datastore of the workspace that the scoring's endpoint is in, as its rule or its job tells it.
    pub fn of(scoring: &Scoring, uri: impl Into<String>) -> Self {
        let of_job = || scoring.job.as_ref().and_then(|job| job.id.as_deref()).and_then(WorkspaceId::of_resource);
        Self {
            uri: uri.into(),
            workspace: scoring.workspace.clone().or_else(of_job),
            identity: scoring.identity.clone(),
        }
    }
}

/// A blob that is to be copied, in the version that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    /// Where it lies: the destination's storage reads it from there itself.
    pub at: BlobPlace,
    /// ETag of the version that is copied, without quotes; of another one nothing is.
    pub etag: String,
    /// Its length in bytes: decides between one call and copying in blocks.
    pub len: u64,
}

/// What lies at a place now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedBlob {
    /// Its ETag, without quotes; what is written in its place is written on the condition that it has it still.
    pub etag: String,
    /// Its length in bytes, as the storage shows it.
    pub len: u64,
    /// Whose it is; `None`: not Scorekeeper's.
    pub mark: Option<PublicationMark>,
}

/// On which condition something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteCondition {
    /// Nothing lies there: whoever was faster keeps the place (`If-None-Match: *`).
    Absent,
    /// What lies there has this ETag.
    Unchanged(String),
}

/// How a write ended that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It is written, whole, with its mark.
    Written {
        /// The ETag that the service gave to what was written, without quotes.
        etag: String,
    },
    /// Nothing was written: at the destination lies something else than the condition says.
    DestinationChanged,
    /// Nothing was written: the source is gone, or is another version.
    SourceChanged,
    /// Nothing was written: the service refuses. It may be otherwise later, mostly once somebody did something about it.
    Refused(Refusal),
}

/// Why nothing was written: a kind to decide by, and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Decides for how long it is tried again.
    pub kind: RefusalKind,
    /// For people: status and code, the place, the remedy.
    pub text: String,
}

/// Situations in which nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The app's identity may not write at the destination.
    MayNotWrite,
    /// The destination's storage may not read the source.
    MayNotReadSource,
    /// The source is in a state, or of a kind, that the storage does not copy, such as archived.
    SourceNotCopied,
    /// There is no container for the destination.
    NoContainer,
    /// Somebody holds a lease on what lies at the destination.
    Leased,
    /// What lies at the destination cannot be written over: it is immutable, a folder, or of another kind.
    CannotReplace,
    /// The destination or the source cannot be named: no datastore, or a host that no token goes to.
    NotAsked,
    /// Any other refusal, or an answer that cannot be read.
    Other,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    const AT: OffsetDateTime = datetime!(2026-07-21 10:00:00.123_456_789 UTC);

    fn order(blob: u8, generation: u32, sequencer: Option<&str>, seconds: i64) -> PublicationOrder {
        PublicationOrder {
            blob: digest(&[&blob.to_string()]),
            generation,
            sequencer: sequencer.map(str::to_owned),
            accepted_at: AT + Duration::seconds(seconds),
        }
    }

    #[test]
    fn of_one_blob_generation_counts_before_the_event_and_the_event_before_acceptance() {
        let older = order(1, 0, Some("0005"), 0);
        for (newer, case) in [
            (order(1, 1, Some("0001"), -9), "generation"),
            (order(1, 0, Some("0006"), -9), "sequencer, though accepted earlier"),
            (order(1, 0, None, 1), "accepted later, without an event"),
            (order(1, 0, Some("0005"), 1), "the same event, accepted later"),
        ] {
            assert!(newer.is_newer_than(&older), "{case}");
            assert!(!older.is_newer_than(&newer), "{case}");
        }
        assert!(!older.is_newer_than(&older.clone()));
    }

    #[test]
    fn of_two_blobs_only_acceptance_counts() {
        let (first, second) = (order(1, 7, Some("0009"), 0), order(2, 0, Some("0001"), 1));
        assert!(second.is_newer_than(&first) && !first.is_newer_than(&second));
    }

    #[test]
    fn a_mark_reads_back_and_a_damaged_one_is_none() {
        let mark = PublicationMark {
            ledger: LedgerId::of_random([1; 16]),
            scoring: "0123456789abcdef0123456789abcdef".parse().expect("an id"),
            output: "score".to_owned(),
            attempt: 3,
            order: order(1, 2, Some("00~0 ä"), 0),
        };
        let metadata: BTreeMap<String, String> =
            mark.metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert!(metadata.values().all(|value| value.bytes().all(|byte| byte.is_ascii_graphic())), "{metadata:?}");
        assert_eq!(PublicationMark::read(&metadata), Some(mark.clone()));
        for name in [LEDGER, SCORING, OUTPUT, ATTEMPT, ORDER] {
            let mut damaged = metadata.clone();
            // Any text may be an output's name.
            if name != OUTPUT {
                damaged.insert(name.to_owned(), "x".to_owned());
                assert_eq!(PublicationMark::read(&damaged), None, "{name}");
            }
            damaged.remove(name);
            assert_eq!(PublicationMark::read(&damaged), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_order_is_refused() {
        let digits = "0".repeat(32);
        for text in [
            "",
            "1",
            "1~x~2026-07-21T10:00:00Z",
            &format!("1~{digits}~soon"),
            &format!("-1~{digits}~2026-07-21T10:00:00Z"),
        ] {
            assert_eq!(text.parse::<PublicationOrder>(), Err(InvalidPublicationOrder(text.to_owned())));
        }
    }

    fn any_order() -> impl Strategy<Value = PublicationOrder> {
        let sequencer = proptest::option::of("[0-9]{1,3}|\\PC{0,9}");
        (1..3_u8, 0..3_u32, sequencer, -2..3_i64)
            .prop_map(|(blob, generation, sequencer, at)| order(blob, generation, sequencer.as_deref(), at))
    }

    proptest! {
        #[test]
        fn an_order_reads_back_as_it_was_written(order in any_order()) {
            prop_assert_eq!(order.to_string().parse(), Ok(order));
        }

        #[test]
        fn never_are_two_results_each_newer_than_the_other(one in any_order(), other in any_order()) {
            prop_assert!(!(one.is_newer_than(&other) && other.is_newer_than(&one)));
        }
    }
}
