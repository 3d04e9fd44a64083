//! How whoever looks sees what changes: the page is drawn again and sent where it differs, or asked for again by its script.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two drawings of a page that is looked at.
const DRAWN_EVERY: Duration = Duration::from_secs(2);
/// A stream ends then, and the browser asks for another: what lies between may cut one that stays.
const ENDS_AFTER: Duration = Duration::from_secs(60);
/// Seconds between two looks where no stream can be had.
const REFRESH: u32 = 3;
/// A page is cut by its rows; none comes near.
const MAX_PAGE: usize = 16 << 20;

/// How whoever looks sees what changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// By server-sent events, at the page's own address.
    Pushed,
    /// By asking again after so many seconds: what hands answers on may hold a stream back to its end.
    Polled(u32),
}

impl Live {
    /// Seconds after which the page's script asks again.
    pub(super) fn refresh(self) -> u32 {
        match self {
            Self::Pushed => REFRESH,
            Self::Polled(seconds) => seconds,
        }
    }

    /// The page, or a stream of it for whoever asks for that.
    pub(super) async fn answer<F>(self, headers: &HeaderMap, draw: impl Fn() -> F + Send + Sync + 'static) -> Response
    where
        F: Future<Output = Response> + Send,
    {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if self == Self::Pushed && accepted.starts_with("text/event-stream") { pushed(draw) } else { draw().await }
    }
}

/// A stream of the page, each time that it differs from what was sent before.
fn pushed<F>(draw: impl Fn() -> F + Send + Sync + 'static) -> Response
where
    F: Future<Output = Response> + Send,
{
    let mut every = interval(DRAWN_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + ENDS_AFTER;
    let drawn = stream::unfold((every, draw, String::new()), move |(mut every, draw, mut sent)| async move {
        loop {
            if every.tick().await >= end {
                return None;
            }
            // What cannot be drawn now is drawn the next time.
            if let Some(page) = text(draw().await).await.filter(|page| *page != sent) {
                sent.clone_from(&page);
                return Some((page, (every, draw, sent)));
            }
        }
    });
    Sse::new(drawn.map(|page| Ok::<_, Infallible>(Event::default().data(page)))).into_response()
}

async fn text(response: Response<Body>) -> Option<String> {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, MAX_PAGE).await.ok().filter(|_| parts.status == StatusCode::OK)?;
    String::from_utf8(bytes.into()).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_page_is_sent_where_it_differs_and_the_stream_ends_by_itself() {
        let drawn = Arc::new(AtomicUsize::new(0));
        let draw = {
            let drawn = Arc::clone(&drawn);
            move || {
                let n = drawn.fetch_add(1, Ordering::Relaxed);
                // Twenty times the same; once it cannot be drawn.
                async move {
                    let status = if n == 5 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
                    (status, format!("page {}\nof it", n / 20)).into_response()
                }
            }
        };
        let headers = HeaderMap::from_iter([(header::ACCEPT, "text/event-stream".parse().unwrap())]);
        let pushed = Live::Pushed.answer(&headers, draw.clone()).await;
        let sent = text(pushed).await.unwrap();
        assert_eq!(sent, "data: page 0\ndata: of it\n\ndata: page 1\ndata: of it\n\n");
        assert_eq!(drawn.swap(0, Ordering::Relaxed), 30, "every other second of a minute");
        for (live, headers) in [(Live::Polled(1), &headers), (Live::Pushed, &HeaderMap::new())] {
            assert_eq!(text(live.answer(headers, draw.clone()).await).await.as_deref(), Some("page 0\nof it"));
        }
    }
}
