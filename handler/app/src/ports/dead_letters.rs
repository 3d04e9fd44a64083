//! Where Event Grid writes what it could not deliver.

use async_trait::async_trait;
use lifecycle::dead_letter::Aside;

use super::{BlobPage, Inconclusive};

/// A dead letter as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// ETag of what was read: only this is moved aside.
    pub etag: String,
    /// The blob's content as it is; Event Grid writes a JSON array of events.
    pub bytes: Vec<u8>,
}

/// The container of dead letters. Every call may be repeated.
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// The container, as people know it.
    fn place(&self) -> String;

    /// One page of what lies there in the order of names, what was moved aside among it.
    async fn list(&self, from: Option<&str>) -> Result<BlobPage, Inconclusive>;

    /// What a dead letter holds; `None` if it is not there any more.
    async fn read(&self, name: &str) -> Result<Option<DeadLetter>, Inconclusive>;

    /// Moves a dead letter that was read to its name aside: what it holds lies there before it is gone from here. That somebody
    /// else has done it is success.
    async fn move_aside(&self, name: &str, letter: &DeadLetter, aside: Aside) -> Result<(), Inconclusive>;
}
