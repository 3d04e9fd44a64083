//! What accounts for each version that the ledger knows of, and the manifest of a day: a line for each, chained by digest to the one
//! before and to the day before, so that none can be taken out or changed unseen.

use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime};

use crate::digest::digest;
use crate::status::Status;

/// What accounts for a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Its output was verified, as that of a scoring which is `scored`.
    Scored,
    /// It is on its way.
    InFlight,
    /// Which version it is, or whether it is whole, shows in a later look.
    Waiting,
    /// No rule wants it; the manifest says why.
    Skipped,
    /// Its scoring failed and has no attempt left, until an operator orders one.
    Failed,
    /// A person or somebody in Azure ML stopped it.
    Cancelled,
    /// Its event cannot be read.
    Quarantined,
    /// A newer version of its path is scored in its place.
    Superseded,
    /// It was not there any more.
    Gone,
}

impl Outcome {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Scored,
        Self::InFlight,
        Self::Waiting,
        Self::Skipped,
        Self::Failed,
        Self::Cancelled,
        Self::Quarantined,
        Self::Superseded,
        Self::Gone,
    ];

    /// What the status of a scoring accounts for its version as; each that is not final is `InFlight`.
    pub fn of(status: Status) -> Self {
        match status {
            Status::Scored => Self::Scored,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
            Status::Gone => Self::Gone,
            Status::Superseded => Self::Superseded,
            Status::Queued
            | Status::Grouped
            | Status::Staging
            | Status::Submitting
            | Status::Unknown
            | Status::Held
            | Status::Running
            | Status::Cancelling
            | Status::Verifying => Self::InFlight,
        }
    }

    /// The word for it, as scripts see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scored => "scored",
            Self::InFlight => "inFlight",
            Self::Waiting => "waiting",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Quarantined => "quarantined",
            Self::Superseded => "superseded",
            Self::Gone => "gone",
        }
    }

    /// Whether nothing changes it but an operator's order, or a look that shows the version again.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::InFlight | Self::Waiting)
    }
}

/// One version in the manifest of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestLine {
    /// The rule, if it is known which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// URL of its blob; of what cannot be read, the id of the quarantined event.
    pub blob: String,
    /// Its ETag, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// What accounted for it when the manifest was written.
    pub outcome: Outcome,
    /// Its scoring, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoring: Option<String>,
    /// Where its result is, if it was scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Why it was skipped or quarantined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// First line of a day in a file of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestHead {
    /// The day in UTC, as `2026-07-21`.
    pub day: String,
    /// Id of the ledger that the manifest was written from: a check against another one says so.
    pub ledger: String,
    /// The digest of the day before.
    pub before: String,
}

/// Last line of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestFoot {
    /// How many lines lie between.
    pub lines: u64,
    /// Over the digest of the day before, the day and each line.
    pub digest: String,
}

/// The digest that a day begins with.
pub fn begun(ledger: &str, before: &str, day: &str) -> String {
    digest(&["manifest", ledger, before, day])
}

/// The digest with one more line.
pub fn chained(digest_before: &str, line: &str) -> String {
    digest(&[digest_before, line])
}

/// When a day begins, and when the next one does.
pub fn bounds(day: Date) -> (OffsetDateTime, OffsetDateTime) {
    let begin = day.midnight().assume_utc();
    (begin, begin.saturating_add(Duration::DAY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    #[test]
    fn every_status_is_accounted_for_and_words_are_those_of_json() {
        for status in Status::ALL {
            assert_eq!(Outcome::of(status).is_final(), status.is_terminal(), "{status}");
        }
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn a_chain_changes_with_each_line_its_place_the_day_and_the_day_before() {
        let of = |before: &str, day: &str, lines: &[&str]| {
            lines.iter().fold(begun("ledger", before, day), |digest, line| chained(&digest, line))
        };
        let good = of("d0", "2026-07-21", &["a", "b"]);
        for other in [
            of("d0", "2026-07-21", &["b", "a"]),
            of("d0", "2026-07-21", &["a"]),
            of("d0", "2026-07-21", &["a", "b", "c"]),
            of("d1", "2026-07-21", &["a", "b"]),
            of("d0", "2026-07-22", &["a", "b"]),
        ] {
            assert_ne!(other, good);
        }
    }

    #[test]
    fn days_follow_each_other_without_a_gap() {
        let ((_, end), (begin, _)) = (bounds(date!(2026 - 02 - 28)), bounds(date!(2026 - 03 - 01)));
        assert_eq!(end, begin);
    }
}
