//! The id of a scoring.

use std::str::FromStr;
use std::sync::Arc;

use super::ledger::LedgerId;
use super::name::{RuleId, text};
use crate::blob::BlobVersion;
use crate::digest::{digest, is_digest};

/// Names a scoring: the first 32 hex digits of SHA-256 over ledger id, rule id, normalised blob URL, unquoted ETag and
/// generation. The same upload gives the same id however often and by whichever event it is told of; event ids, times,
/// app and deployment names are left out on purpose. Another ledger gives it another id: tags, request ids and output
/// paths are made of it, and are one ledger's alone by that. Where a rule ignores overwrites `*` stands for the ETag: see
/// [`Rule::scoring_id`](crate::Rule::scoring_id).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScoringId(Arc<str>);

/// A text that is not 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is an invalid scoring id; it takes 32 lower-case hex digits")]
pub struct InvalidScoringId(pub String);

impl ScoringId {
    /// The id of `blob` under `rule` in `generation`, in this ledger.
    pub fn new(ledger: &LedgerId, rule: &RuleId, blob: &BlobVersion, generation: u32) -> Self {
        Self(digest(&[ledger, rule, &blob.url, &blob.etag, &generation.to_string()]).into())
    }

    /// The id that is this digest.
    pub(crate) fn of_digest(digest: &str) -> Self {
        debug_assert!(is_digest(digest), "{digest}");
        Self(digest.into())
    }

    /// Reads an id: exactly 32 lower-case hex digits.
    #[doc(hidden)]
    pub fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    /// The 32 digits, as rows and paths have them.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The request id of an attempt, shaped as a UUID: the same before and after a crash, so that an endpoint which
    /// honours it sees a repetition as one.
    pub fn request_id(&self, attempt: u32) -> String {
        let digest = digest(&[&self.0, &attempt.to_string()]);
        format!("{}-{}-8{}-8{}-{}", &digest[..8], &digest[8..12], &digest[13..16], &digest[17..20], &digest[20..])
    }
}

text!(ScoringId);

impl FromStr for ScoringId {
    type Err = InvalidScoringId;

    fn from_str(text: &str) -> Result<Self, InvalidScoringId> {
        if is_digest(text) { Ok(Self(text.into())) } else { Err(InvalidScoringId(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str) -> RuleId {
        id.parse().expect("an id")
    }

    fn ledger(byte: u8) -> LedgerId {
        LedgerId::of_random([byte; 16])
    }

    fn blob(url: &str, etag: &str) -> BlobVersion {
        BlobVersion::read(url, etag).expect("a blob URL")
    }

    #[test]
    fn one_upload_has_one_id_however_it_is_written() {
        let same = [
            ("https://uploads.blob.core.windows.net/claims/eu/a%20b.csv", "0x8DC1"),
            ("https://UPLOADS.BLOB.core.windows.net/claims/eu/a b.csv", "\"0x8DC1\""),
            ("https://uploads.dfs.core.windows.net/claims/eu/a%20b.csv?sig=secret", "0x8DC1"),
            ("https://uploads.blob.core.windows.net:443/%63laims/eu%2fa%20%62.csv", "W/\"0x8DC1\""),
        ];
        let id = |(url, etag): &(&str, &str)| ScoringId::new(&ledger(1), &rule("claims"), &blob(url, etag), 0);
        let ids: Vec<_> = same.iter().map(id).collect();
        assert!(ids.windows(2).all(|w| w[0] == w[1]), "{ids:?}");
        // Pinned: a change of this value re-scores everything that anybody has.
        assert_eq!(ids[0].as_str(), "7edcf2af88339d866120cf831c07019b");
    }

    #[test]
    fn an_id_has_32_lower_case_hex_digits() {
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(id.parse::<ScoringId>().expect("an id").as_str(), id);
        for other in [&id[1..], &format!("{id}0"), &id.replace('f', "g"), &id.to_uppercase(), ""] {
            assert_eq!(other.parse::<ScoringId>(), Err(InvalidScoringId(other.to_owned())));
        }
    }

    #[test]
    fn ledger_rule_path_etag_and_generation_each_change_the_id() {
        let url = "https://uploads.blob.core.windows.net/claims/a.csv";
        let base = ScoringId::new(&ledger(1), &rule("claims"), &blob(url, "1"), 0);
        for other in [
            ScoringId::new(&ledger(2), &rule("claims"), &blob(url, "1"), 0),
            ScoringId::new(&ledger(1), &rule("other"), &blob(url, "1"), 0),
            ScoringId::new(
                &ledger(1),
                &rule("claims"),
                &blob("https://uploads.blob.core.windows.net/claims/A.csv", "1"),
                0,
            ),
            ScoringId::new(&ledger(1), &rule("claims"), &blob(url, "2"), 0),
            ScoringId::new(&ledger(1), &rule("claims"), &blob(url, "1"), 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_request_id_is_a_uuid_and_depends_on_the_attempt() {
        let id = ScoringId::new(&ledger(1), &rule("claims"), &blob("https://a.blob.core.windows.net/c/x", "1"), 0);
        let one = id.request_id(1);
        assert_eq!(one.len(), 36);
        assert_eq!(one.matches('-').count(), 4);
        assert_eq!(one, id.request_id(1));
        assert_ne!(one, id.request_id(2));
    }
}
