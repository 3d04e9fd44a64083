//! The id of a ledger.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use super::name::text;
use crate::digest::is_digest;

/// Names a ledger: 32 lower-case hex digits of chance, written once with its table. It is the first thing that a
/// [`ScoringId`](super::ScoringId) is made of, so that two installations with the same rules on one endpoint have no
/// scoring, tag, request id or output path in common.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LedgerId(Arc<str>);

/// A text that is not 32 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is an invalid ledger id; it takes 32 lower-case hex digits")]
pub struct InvalidLedgerId(pub String);

impl LedgerId {
    /// The id that is made of these random bytes. Where they come from is for hosts to say.
    pub fn of_random(bytes: [u8; 16]) -> Self {
        let digits = bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self(digits.into())
    }

    /// The 32 digits, as the ledger's row and blobs' metadata have them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

text!(LedgerId);

impl FromStr for LedgerId {
    type Err = InvalidLedgerId;

    fn from_str(text: &str) -> Result<Self, InvalidLedgerId> {
        if is_digest(text) { Ok(Self(text.into())) } else { Err(InvalidLedgerId(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_id_reads_back_as_it_was_made_of_its_bytes() {
        let id = LedgerId::of_random([0x0f; 16]);
        assert_eq!(id.as_str(), "0f".repeat(16));
        assert_eq!(id.parse::<LedgerId>(), Ok(id.clone()));
        for other in ["", "0f", &id.to_uppercase(), &format!("{id}0")] {
            assert_eq!(other.parse::<LedgerId>(), Err(InvalidLedgerId(other.to_owned())));
        }
    }
}
