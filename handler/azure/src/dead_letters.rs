//! The container into which Event Grid writes what it could not deliver.

use std::sync::Arc;

use app::ports::{BlobPage, Blobs as _, DeadLetter, DeadLetters, Inconclusive, MAX_LISTED};
use async_trait::async_trait;
use lifecycle::dead_letter::Aside;
use lifecycle::{BlobPrefix, StorageHosts};
use url::Url;

use crate::blobs::AzureBlobs;
use crate::small_blob::{BlobRead, Error, SmallBlob};
use crate::tokens::{Storage, Tokens};

/// Event Grid's deliveries have a mebibyte at most. A larger blob is not one of its.
const MAX_BYTES: usize = 4 << 20;

/// Dead letters in a container that the identity may read and write.
pub struct AzureDeadLetters {
    blobs: Arc<AzureBlobs>,
    place: BlobPrefix,
    hosts: StorageHosts,
    tokens: Tokens<Storage>,
}

impl AzureDeadLetters {
    /// Those of this container on one of these hosts; `blobs` list it.
    pub fn new(blobs: Arc<AzureBlobs>, place: BlobPrefix, hosts: StorageHosts, tokens: Tokens<Storage>) -> Self {
        Self { blobs, place, hosts, tokens }
    }

    fn blob(&self, name: &str) -> Result<SmallBlob, Inconclusive> {
        let blob = self.place.blob(name).ok().and_then(|blob| Url::parse(&blob.url).ok());
        let url = blob.ok_or_else(|| Inconclusive::not_asked(format!("`{name}` is no name of a dead letter")))?;
        SmallBlob::new(&url, &self.hosts, self.tokens.clone(), MAX_BYTES)
            .map_err(|foreign| Inconclusive::not_asked(foreign.to_string()))
    }
}

/// For those who wait until it is otherwise.
fn inconclusive(error: Error) -> Inconclusive {
    match error {
        Error::Inconclusive(inconclusive) => inconclusive,
        Error::NotAllowed { .. } => Inconclusive::not_allowed(format!(
            "{error}; the app's identity needs the role Storage Blob Data Contributor on the container of dead letters"
        )),
        Error::Missing(_) | Error::NoContainer(_) | Error::Changed(_) => Inconclusive::unfinished(error.to_string()),
    }
}

#[async_trait]
impl DeadLetters for AzureDeadLetters {
    fn place(&self) -> String {
        self.place.container_url()
    }

    async fn list(&self, from: Option<&str>) -> Result<BlobPage, Inconclusive> {
        self.blobs.list(&self.place, from, MAX_LISTED).await
    }

    async fn read(&self, name: &str) -> Result<Option<DeadLetter>, Inconclusive> {
        match self.blob(name)?.read(None).await {
            Ok(BlobRead::Version { etag, bytes }) => Ok(Some(DeadLetter { etag, bytes })),
            Ok(BlobRead::Unchanged) | Err(Error::Missing(_)) => Ok(None),
            Err(error) => Err(inconclusive(error)),
        }
    }

    async fn move_aside(&self, name: &str, letter: &DeadLetter, aside: Aside) -> Result<(), Inconclusive> {
        // In this order: who dies in between leaves it in both places, and the next one finds it there.
        self.blob(&aside.name_of(name))?.write(&letter.bytes, None).await.map_err(inconclusive)?;
        self.blob(name)?.delete(&letter.etag).await.map_err(inconclusive)
    }
}
