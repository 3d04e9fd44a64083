//! Reads an invocation's body. It comes chunked, without a length, so its size is known only when it is there.

use axum::body::Body;
use futures::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Event Grid's deliveries end at 1 MiB, the envelope doubles some of it. Larger bodies take turns.
const SMALL: usize = 2 * 1024 * 1024;
/// Larger is nobody's event.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Large bodies at once. With small ones, this bounds the memory that invocations can take.
pub(super) const MAX_CONCURRENT_LARGE_BODIES: usize = 2;

/// A body, and the turn that a large one holds for as long as it is used.
pub(super) struct Read<'a> {
    pub(super) bytes: Vec<u8>,
    pub(super) turn: Option<SemaphorePermit<'a>>,
}

/// Why a body could not be read.
#[derive(Debug)]
pub(super) enum Error {
    TooLarge,
    Broken(axum::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the body has more than {MAX_BODY_BYTES} bytes"),
            Self::Broken(why) => write!(f, "the body did not arrive whole: {why}"),
        }
    }
}

/// Reads all of a body; waits for a turn if it is large.
pub(super) async fn read(body: Body, large: &Semaphore) -> Result<Read<'_>, Error> {
    let mut turn = None;
    let mut kept = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(Error::Broken)?;
        if kept.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Error::TooLarge);
        }
        if kept.len() + chunk.len() > SMALL && turn.is_none() {
            turn = Some(large.acquire().await.expect("the semaphore is never closed"));
        }
        kept.extend_from_slice(&chunk);
    }
    Ok(Read { bytes: kept, turn })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use bytes::Bytes;

    use super::*;

    fn chunked(size: usize) -> Body {
        let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
        let chunks = (0..size / chunk.len()).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
        Body::from_stream(futures::stream::iter(chunks))
    }

    #[tokio::test]
    async fn large_bodies_take_turns_and_small_ones_do_not_wait() {
        let large = Semaphore::new(1);
        let first = read(chunked(4 * SMALL), &large).await.expect("a large body");
        assert_eq!(first.bytes.len(), 4 * SMALL);
        assert!(read(chunked(4 * SMALL), &large).now_or_never().is_none(), "the second waits");
        assert!(read(chunked(SMALL), &large).now_or_never().is_some());
        drop(first);
        assert!(read(chunked(4 * SMALL), &large).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_and_gives_its_turn_back() {
        let large = Semaphore::new(1);
        assert!(read(chunked(MAX_BODY_BYTES), &large).await.is_ok());
        assert!(matches!(read(chunked(MAX_BODY_BYTES + 1024 * 1024), &large).await, Err(Error::TooLarge)));
        assert_eq!(large.available_permits(), 1);
    }
}
