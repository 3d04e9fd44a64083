//! Keys made of several parts: 32 hex digits that are the same in every process and version.

use sha2::{Digest, Sha256};

/// Between the parts of a key: it occurs in no rule id, URL, ETag or deployment name, so that no two lists of parts
/// give one text.
const SEPARATOR: &str = "\u{1f}";

/// The first 32 lower-case hex digits of SHA-256 over the parts.
pub fn digest(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join(SEPARATOR).as_bytes());
    let digits = digest[..16].iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let mut text = String::with_capacity(32);
    text.extend(digits.filter_map(|digit| char::from_digit(digit.into(), 16)));
    text
}

/// Whether a text has the form of such a key.
pub(crate) fn is_digest(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
