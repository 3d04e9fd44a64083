//! What the outputs of a scoring hold, at a glance: only for whoever asks, as it is read from the storage, and only where whoever looks
//! reads it with their own rights. The function app reads with its own, and shows none: who may see the ledger need not see the data.

use std::error::Error;
use std::sync::Arc;

use futures::future::BoxFuture;
use lifecycle::Scoring;

/// A larger file is told with its size alone.
pub const MAX_PREVIEW: u64 = 64 << 10;
/// Characters of one that are shown.
const MAX_SHOWN: usize = 4_000;

/// One file of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile {
    /// Name of the output that it belongs to, as the job has it.
    pub output: String,
    /// The file's name below it.
    pub name: String,
    /// Length of the whole file in bytes, however much of it is shown.
    pub bytes: u64,
    /// The beginning of its text; `None`: it is too large, or no text.
    pub text: Option<String>,
}

/// Reads the files of a scoring's outputs.
pub type Results =
    Arc<dyn Fn(Scoring) -> BoxFuture<'static, Result<Vec<ResultFile>, Box<dyn Error + Send + Sync>>> + Send + Sync>;

/// The beginning of what is text.
pub fn text_of(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_text = |c: char| !c.is_control() || c.is_whitespace();
    text.chars().all(is_text).then(|| text.chars().take(MAX_SHOWN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_not_shown_and_what_is_long_is_cut() {
        assert_eq!(text_of("row,ü\r\n1,2\n".as_bytes()).as_deref(), Some("row,ü\r\n1,2\n"));
        assert_eq!(text_of(b"PAR1\x00\x01"), None);
        assert_eq!(text_of(&[0xff, 0xfe]), None);
        assert_eq!(text_of("x".repeat(5_000).as_bytes()).map(|text| text.len()), Some(MAX_SHOWN));
    }
}
