//! The one HTTP client behind every Azure call, and the one place that repeats a request.
//!
//! The client itself **never** repeats anything: no redirect, no retry of refused streams, no proxy. Repeating is a
//! decision about what the request does. Requests that only look (and the cancel, which may be asked twice) go through
//! [`ask`]; the submission of a scoring must not, since each POST can start a job.
//!
//! There is no proxy on purpose. A proxy named in the environment would be handed the bearer tokens that are meant for
//! a loopback simulator, and the requests to the platform's identity endpoint, which must not leave the machine.

use std::sync::OnceLock;
use std::time::Duration;

use azure_core::http::{ClientOptions, RetryOptions, Transport};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, Url};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::tokens::{Audience, Tokens};
use app::ports::Unclear;
use lifecycle::text::chain;

/// TCP and TLS together. Far below any deadline of ours, so that "not sent" can still be told from "no answer".
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two reads of one answer. The limits of whole requests are the callers'.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection idle for this long is not used again. Short, because a front door that closed it in the meantime
/// turns the next submission into one with a lost answer.
const IDLE: Duration = Duration::from_secs(20);

/// One try of a request that may be repeated.
const TRY: Duration = Duration::from_secs(20);
/// Pauses before the second and the third try; there is no fourth.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// A longer `Retry-After` is not waited for here: the next look is soon enough.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// No further try is begun when this has passed.
const ALL_TRIES: Duration = Duration::from_secs(30);
/// Answers are not read beyond this: a page of a job list has some ten kilobytes.
const LONGEST_BODY: usize = 8 << 20;
/// Nobody asks for a longer pause in earnest, and sums with it must not overflow.
const LONGEST_RETRY_AFTER: time::Duration = time::Duration::DAY;

/// The shared client, built when first needed: building costs milliseconds that a cold start should not pay.
///
/// Certificates are checked against the platform's roots and, beside them, Mozilla's compiled-in ones: the static
/// binary may run on an image whose certificate bundle is elsewhere or missing.
#[expect(clippy::missing_panics_doc, reason = "it can't panic, see the `expect`")]
pub fn client() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let built = CLIENT.get_or_init(|| {
        let roots =
            webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().filter_map(|der| reqwest::Certificate::from_der(der).ok());
        reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .tls_certs_merge(roots)
            .user_agent(concat!("scorekeeper/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("all settings are constants and the compiled-in roots are valid, so there is nothing to fail on")
    });
    built.clone()
}

/// The shared client as `azure_core` wants it. Decompression is off, as blob clients need it.
pub fn transport() -> Transport {
    Transport::new(std::sync::Arc::new(client()))
}

/// Options for an `azure_*` client: the shared client, and **no** retries by the library. Its default is eight, over
/// more than a minute, for every method.
pub fn options(transport: Transport) -> ClientOptions {
    ClientOptions { transport: Some(transport), retry: RetryOptions::none(), ..ClientOptions::default() }
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The service's clock when it answered, to the second.
    pub(crate) date: Option<OffsetDateTime>,
}

/// Why an answer's body is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the answer broke off: {0}")]
    Cut(String),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Asks, with a token, and repeats a few times what may pass: no connection, no answer, 408, 429, 5xx. A 401 drops the
/// token and is repeated once. Only for requests that may be repeated. The last answer is returned whatever its status.
pub(crate) async fn ask<A: Audience>(
    client: &reqwest::Client,
    tokens: &Tokens<A>,
    method: Method,
    url: &Url,
) -> Result<Got, Unclear> {
    let place = format!("{method} {}{}", url.host_str().unwrap_or_default(), url.path());
    let end = Instant::now() + ALL_TRIES;
    let mut pauses = PAUSES.into_iter();
    let mut renewed = false;
    loop {
        let token = tokens.get().await.map_err(|error| Unclear(error.to_string()))?;
        let bearer = token.bearer_for(url).map_err(Unclear)?;
        let mut request = client.request(method.clone(), url.clone()).header(AUTHORIZATION, bearer).timeout(TRY);
        if method == Method::POST {
            request = request.header(CONTENT_LENGTH, 0); // Resource Manager answers 411 without it
        }
        let (trouble, asked) = match request.send().await {
            Err(error) => (Err(Unclear(format!("{place}: {}", chain(&error.without_url())))), None),
            Ok(response) => {
                let status = response.status().as_u16();
                if status == 401 && !renewed {
                    renewed = true;
                    tokens.forget(&token);
                    continue;
                }
                let asked = retry_after(response.headers(), tokens.now());
                let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
                let date = date.and_then(|date| azure_core::time::parse_rfc7231(date).ok());
                match read_body(response, LONGEST_BODY).await {
                    Ok(body) if !may_pass(status) => return Ok(Got { status, body, date }),
                    Ok(body) => (Ok(Got { status, body, date }), asked),
                    Err(error @ BodyError::TooLong(_)) => return Err(Unclear(format!("{place}: {error}"))),
                    Err(error) => (Err(Unclear(format!("{place}: {error}"))), asked),
                }
            }
        };
        let Some(pause) = pauses.next() else { return trouble };
        let pause = asked.and_then(|asked| asked.try_into().ok()).map_or(pause, |asked: Duration| asked.max(pause));
        if pause > LONGEST_PAUSE || Instant::now() + pause >= end {
            return trouble;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Statuses that may be gone at the next try.
pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// Reads a body, but not more than `limit` bytes of it.
pub(crate) async fn read_body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(BodyError::TooLong(limit)),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => return Err(BodyError::Cut(chain(&error.without_url()))),
        }
    }
}

/// `Retry-After` in either of its forms, seconds or an HTTP date; never negative, at most a day.
pub(crate) fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<time::Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => time::Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX)),
        Err(_) => azure_core::time::parse_rfc7231(text).ok()? - now,
    };
    Some(wait.clamp(time::Duration::ZERO, LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn read(value: &str) -> Option<i64> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().expect("a header value"))]);
        retry_after(&headers, datetime!(2026-07-21 10:00 UTC)).map(time::Duration::whole_seconds)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_never_absurd() {
        assert_eq!(read("17"), Some(17));
        assert_eq!(read("Tue, 21 Jul 2026 10:00:42 GMT"), Some(42));
        assert_eq!(read("Tue, 21 Jul 2026 09:00:00 GMT"), Some(0));
        assert_eq!(read("99999999999999999"), Some(86_400));
        assert_eq!(read("18446744073709551615"), Some(86_400));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-5"), None);
    }

    proptest::proptest! {
        #[test]
        fn retry_after_of_any_text_is_at_most_a_day(text in "\\PC{0,40}|[0-9]{1,24}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT") {
            if let Ok(value) = reqwest::header::HeaderValue::from_str(&text) {
                let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
                let wait = retry_after(&headers, datetime!(2026-07-21 10:00 UTC));
                proptest::prop_assert!(wait.is_none_or(|wait| (time::Duration::ZERO..=LONGEST_RETRY_AFTER).contains(&wait)));
                if let Ok(seconds) = text.trim().parse::<u64>() {
                    let most = LONGEST_RETRY_AFTER.whole_seconds();
                    proptest::prop_assert_eq!(wait.map(time::Duration::whole_seconds), Some(i64::try_from(seconds).unwrap_or(most).min(most)));
                }
            }
        }
    }

    #[test]
    fn the_client_is_built_with_the_compiled_in_roots() {
        assert!(webpki_root_certs::TLS_SERVER_ROOT_CERTS.len() > 50);
        let _ = client();
    }
}
