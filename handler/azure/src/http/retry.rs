//! When a request that may be repeated is repeated, and how long a service asks to wait.

use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::headers::HeaderName;
use reqwest::header::HeaderMap;
use time::OffsetDateTime;
use tokio::time::Instant;

/// Pauses before the second and the third try; there is no fourth. Whoever looks comes again by itself, so that more would
/// only keep an invocation waiting.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// A longer `Retry-After` is not waited for here: the next look is soon enough.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// No further try is begun when this has passed.
const ALL_TRIES: Duration = Duration::from_secs(30);
/// Nobody asks for a longer pause in earnest, and sums with it must not overflow.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The tries of one request that may be repeated.
#[derive(Debug)]
pub(crate) struct Tries {
    pauses: std::array::IntoIter<Duration, 2>,
    end: Instant,
    renewed: bool,
}

impl Tries {
    /// The first try begins now.
    pub(crate) fn new() -> Self {
        Self { pauses: PAUSES.into_iter(), end: Instant::now() + ALL_TRIES, renewed: false }
    }

    /// Waits until the next try is due, not shorter than the service `asked` for. `false`: there is none, and what the last
    /// one came to is the outcome.
    pub(crate) async fn again(&mut self, asked: Option<Duration>) -> bool {
        let Some(pause) = self.pauses.next() else { return false };
        let pause = asked.unwrap_or_default().max(pause);
        if pause > MAX_PAUSE || Instant::now() + pause >= self.end {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }

    /// Whether a refused token (401) is to be replaced and the request tried at once: the first time only. A second token
    /// that is refused says that the identity is, and asking for a third would load the identity endpoint for nothing.
    pub(crate) fn renew(&mut self) -> bool {
        !std::mem::replace(&mut self.renewed, true)
    }
}

/// Statuses that may be gone at the next try.
pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long a service asks to wait: milliseconds in Microsoft's own headers, which come first as they say it more exactly;
/// seconds or an HTTP date in the standard one. Never negative, at most a day. `header` gives a header's text.
pub(crate) fn retry_after<'a>(
    header: impl Fn(&'static str) -> Option<&'a str>,
    now: OffsetDateTime,
) -> Option<Duration> {
    let number = |name| header(name)?.trim().parse::<u64>().ok();
    let wait = number("x-ms-retry-after-ms")
        .or_else(|| number("retry-after-ms"))
        .map(Duration::from_millis)
        .or_else(|| number("retry-after").map(Duration::from_secs))
        .or_else(|| {
            let date = azure_core::time::parse_rfc7231(header("retry-after")?.trim()).ok()?;
            // A date that has passed asks for no wait.
            Some(Duration::try_from(date - now).unwrap_or_default())
        })?;
    Some(wait.min(MAX_RETRY_AFTER))
}

/// What an answer's headers say of the next try.
pub(crate) fn wished_pause(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    retry_after(|name| headers.get(name)?.to_str().ok(), now)
}

/// The same of an answer that Microsoft's client has made an error of.
pub(crate) fn pause_wished_by(error: &azure_core::Error, now: OffsetDateTime) -> Option<Duration> {
    let ErrorKind::HttpResponse { raw_response: Some(answer), .. } = error.kind() else { return None };
    retry_after(|name| answer.headers().get_optional_str(&HeaderName::from_static(name)), now)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-07-21 10:00 UTC);

    fn read(name: &str, value: &str) -> Option<Duration> {
        retry_after(|asked| (asked == name).then_some(value), NOW)
    }

    #[test]
    fn retry_after_is_read_in_its_unit_and_is_never_absurd() {
        let seconds = |value| read("retry-after", value).map(|wait| wait.as_secs());
        assert_eq!(seconds("17"), Some(17));
        assert_eq!(seconds("Tue, 21 Jul 2026 10:00:42 GMT"), Some(42));
        assert_eq!(seconds("Tue, 21 Jul 2026 09:00:00 GMT"), Some(0));
        assert_eq!(seconds("99999999999999999"), Some(86_400));
        assert_eq!(seconds("18446744073709551615"), Some(86_400));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-5"), None);
        assert_eq!(read("x-ms-retry-after-ms", "700"), Some(Duration::from_millis(700)));
        assert_eq!(read("retry-after-ms", " 700 "), Some(Duration::from_millis(700)));
        assert_eq!(retry_after(|_| None, NOW), None);
    }

    proptest::proptest! {
        #[test]
        fn retry_after_of_any_text_is_at_most_a_day(
            name in "retry-after|retry-after-ms|x-ms-retry-after-ms",
            text in "\\PC{0,40}|[0-9]{1,24}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT"
        ) {
            let wait = read(&name, &text);
            proptest::prop_assert!(wait.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
            if let Ok(number) = text.trim().parse::<u64>() {
                let expected = if name == "retry-after" { Duration::from_secs(number) } else { Duration::from_millis(number) };
                proptest::prop_assert_eq!(wait, Some(expected.min(MAX_RETRY_AFTER)));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_three_tries_and_a_wish_is_granted_within_limits() {
        let begun = Instant::now();
        let mut tries = Tries::new();
        assert!(tries.again(Some(Duration::from_secs(2))).await);
        assert!(tries.again(Some(Duration::from_millis(10))).await);
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
        assert!(!tries.again(None).await, "there is no fourth");
        assert!(!Tries::new().again(Some(Duration::from_secs(60))).await, "a long wait is the caller's to decide");
        let mut tries = Tries::new();
        tokio::time::advance(ALL_TRIES).await;
        assert!(!tries.again(None).await, "the time is over");
        assert!(tries.renew() && !tries.renew());
    }
}
