//! Reads an invocation's body. It comes chunked, without a length, so its size is known only when it is there.
//!
//! Whoever can reach the port decides how many bodies are begun, how large they are, and how slowly they come. So what is kept
//! of a body beyond [`FREE`] takes a place, of which there are so many of each size; and a sender who says nothing for
//! [`IDLE`], or needs longer than [`WHOLE`], is given up. A body moves up from size to size and never down, so that nobody waits for a
//! place whose holder waits for him.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

const MIB: usize = 1024 * 1024;
/// Nearly all events: no place is taken for so much.
const FREE: usize = 64 * 1024;
/// Places by the most bytes of a body that has one. Event Grid's deliveries end at 1 MiB, the envelope doubles some of it;
/// larger than the last is nobody's event. All together they bound the memory that bodies can take.
const PLACES: [(usize, usize); 3] = [(2 * MIB, 32), (8 * MIB, 4), (64 * MIB, 1)];
/// How long a sender may say nothing. The host is on the same machine.
pub(super) const IDLE: Duration = Duration::from_secs(5);
/// How long all of a body may take, waiting for a place aside.
pub(super) const WHOLE: Duration = Duration::from_secs(15);

/// The places of all bodies of a process.
pub(super) struct Places([Semaphore; PLACES.len()]);

impl Places {
    pub(super) fn new() -> Self {
        Self(PLACES.map(|(_, count)| Semaphore::new(count)))
    }

    /// The smallest that takes so many bytes, and how many it takes.
    fn that_takes(&self, bytes: usize) -> Option<(&Semaphore, usize)> {
        self.0.iter().zip(PLACES).map(|(places, (most, _))| (places, most)).find(|(_, most)| bytes <= *most)
    }
}

/// A body, and the place that one beyond [`FREE`] holds for as long as it is used.
pub(super) struct Read<'a> {
    pub(super) bytes: Vec<u8>,
    pub(super) place: Option<SemaphorePermit<'a>>,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the body has more than {} bytes", PLACES[PLACES.len() - 1].0)]
    TooLarge,
    #[error("the body did not arrive whole: {0}")]
    Broken(axum::Error),
    /// The sender is too slow; it is answered with 408.
    #[error("nothing of the body arrived for {IDLE:?}, or not all of it within {WHOLE:?}; nothing of it was taken")]
    Slow,
    /// All places for large bodies were taken until the deadline; the sender may try again.
    #[error("too many large bodies are being read; there was no place for this one in time")]
    Busy,
}

/// Chunks of a body, as long as its sender is quick enough.
struct Chunks {
    chunks: BodyDataStream,
    left: Duration,
}

impl Chunks {
    fn of(body: Body) -> Self {
        Self { chunks: body.into_data_stream(), left: WHOLE }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let begun = Instant::now();
        let chunk = timeout(IDLE.min(self.left), self.chunks.next()).await.map_err(|_| Error::Slow)?;
        self.left = self.left.saturating_sub(begun.elapsed());
        chunk.transpose().map_err(Error::Broken)
    }

    /// Lets the rest pass, as far as its sender is quick enough. An answer to a body that is still on its way closes the connection
    /// under it, and whoever sends sees a broken connection in place of the answer.
    async fn pass(&mut self) {
        while let Ok(Some(_)) = self.next().await {}
    }
}

/// Reads all of a body, also of one that is refused, of which nothing is kept then. `by`: how long it may wait for a place.
pub(super) async fn read(body: Body, places: &Places, by: Instant) -> Result<Read<'_>, Error> {
    let (mut place, mut most) = (None, FREE);
    let mut kept = Vec::new();
    let mut chunks = Chunks::of(body);
    while let Some(chunk) = chunks.next().await? {
        let bytes = kept.len() + chunk.len();
        if bytes > most {
            let larger = match places.that_takes(bytes) {
                None => Err(Error::TooLarge),
                Some((larger, takes)) => {
                    let larger = timeout_at(by, larger.acquire()).await;
                    larger.map(|larger| (larger, takes)).map_err(|_| Error::Busy)
                }
            };
            let (larger, takes) = match larger {
                Ok(larger) => larger,
                Err(refused) => {
                    drop((kept, place));
                    chunks.pass().await;
                    return Err(refused);
                }
            };
            // The smaller one is given back only now: what is kept stands in it.
            place = Some(larger.expect("the semaphore is never closed"));
            most = takes;
        }
        kept.extend_from_slice(&chunk);
    }
    Ok(Read { bytes: kept, place })
}

/// Reads a short body to its end; `None` if it has more than `max` bytes, however slowly the rest of it comes.
pub(super) async fn short(body: Body, max: usize) -> Result<Option<Vec<u8>>, Error> {
    let (mut kept, mut chunks) = (Vec::new(), Chunks::of(body));
    while let Some(chunk) = chunks.next().await? {
        if kept.len() + chunk.len() > max {
            drop(kept);
            chunks.pass().await;
            return Ok(None);
        }
        kept.extend_from_slice(&chunk);
    }
    Ok(Some(kept))
}

/// Reads a body of which nothing is wanted, so that its sender sees the answer.
pub(super) async fn pass_over(body: Body) {
    Chunks::of(body).pass().await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;

    use super::*;

    fn chunked(size: usize) -> Body {
        let chunk = Bytes::from(vec![b'x'; MIB]);
        let chunks = (0..size / chunk.len()).map(move |_| Ok::<_, std::io::Error>(chunk.clone()));
        Body::from_stream(futures::stream::iter(chunks))
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(25)
    }

    #[tokio::test]
    async fn bodies_of_one_size_take_turns_and_others_do_not_wait() {
        let places = Places::new();
        let first = read(chunked(16 * MIB), &places, later()).await.expect("the one place");
        assert_eq!(first.bytes.len(), 16 * MIB);
        assert!(read(chunked(9 * MIB), &places, later()).now_or_never().is_none(), "it waits");
        assert!(read(chunked(8 * MIB), &places, later()).now_or_never().is_some());
        assert!(read(Body::from("x".repeat(FREE)), &places, later()).now_or_never().is_some());
        drop(first);
        assert!(read(chunked(9 * MIB), &places, later()).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_is_refused_and_gives_its_places_back() {
        let places = Places::new();
        assert!(read(chunked(64 * MIB), &places, later()).await.is_ok());
        assert!(matches!(read(chunked(65 * MIB), &places, later()).await, Err(Error::TooLarge)));
        let free: Vec<_> = places.0.iter().map(Semaphore::available_permits).collect();
        assert_eq!(free, PLACES.map(|(_, count)| count));
    }

    /// A body of so many MiB, and how many of them were read.
    fn counted(size: usize) -> (Body, Arc<AtomicUsize>) {
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let body = chunked(size).into_data_stream().inspect(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        (Body::from_stream(body), read)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_for_its_size_is_read_to_its_end_so_that_its_sender_sees_it() {
        let places = Places::new();
        let (body, seen) = counted(100 * MIB);
        assert!(matches!(read(body, &places, later()).await, Err(Error::TooLarge)));
        assert_eq!(seen.load(Ordering::Relaxed), 100);
        let (body, seen) = counted(100 * MIB);
        assert!(matches!(short(body, FREE).await, Ok(None)));
        assert_eq!(seen.load(Ordering::Relaxed), 100);
        let _held = read(chunked(16 * MIB), &places, later()).await.expect("the one place");
        let (body, seen) = counted(20 * MIB);
        assert!(matches!(read(body, &places, later()).await, Err(Error::Busy)));
        assert_eq!(seen.load(Ordering::Relaxed), 20);
        // Of what is too long already it does not matter how slowly the rest comes.
        let begun = chunked(MIB).into_data_stream().chain(futures::stream::pending());
        assert!(matches!(short(Body::from_stream(begun), FREE).await, Ok(None)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_or_dripping_sender_is_given_up_and_waiting_for_a_place_is_not_his() {
        let dripping = |every: Duration| {
            let chunks = futures::stream::unfold((), move |()| async move {
                tokio::time::sleep(every).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
            });
            Body::from_stream(chunks)
        };
        let places = Places::new();
        for (every, given_up_after) in [(IDLE * 2, IDLE), (Duration::from_secs(1), WHOLE)] {
            let begun = Instant::now();
            assert!(matches!(read(dripping(every), &places, later()).await, Err(Error::Slow)), "{every:?}");
            assert_eq!(begun.elapsed(), given_up_after);
            let begun = Instant::now();
            pass_over(dripping(every)).await;
            assert_eq!(begun.elapsed(), given_up_after);
        }
        let _held = read(chunked(16 * MIB), &places, later()).await.expect("the one place");
        let begun = Instant::now();
        assert!(matches!(read(chunked(16 * MIB), &places, later()).await, Err(Error::Busy)));
        assert_eq!(begun.elapsed(), Duration::from_secs(25), "longer than a sender may be silent");
    }
}
