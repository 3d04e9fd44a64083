//! The one HTTP client behind every Azure call.
//!
//! There is no proxy on purpose. A proxy named in the environment would be handed the bearer tokens that are meant for
//! a loopback simulator, and the requests to the platform's identity endpoint, which must not leave the machine.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, Transport};
use tracing::Instrument as _;

use super::call;

/// TCP and TLS together. Far below any deadline of ours, so that "not sent" can still be told from "no answer".
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two reads of one answer. The limits of whole requests are the callers'.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection idle for this long is not used again. Short, because a front door that closed it in the meantime
/// turns the next submission into one with a lost answer.
const IDLE: Duration = Duration::from_secs(20);

/// The shared client, built when first needed: building costs milliseconds that a cold start should not pay.
///
/// Certificates are checked against the platform's roots and, beside them, Mozilla's compiled-in ones: the static
/// binary may run on an image whose certificate bundle is elsewhere or missing.
#[expect(clippy::missing_panics_doc, reason = "it cannot panic, see the `expect`")]
pub fn client() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let built = CLIENT.get_or_init(|| {
        let built = unshared().build();
        built.expect("all settings are constants and the compiled-in roots are valid, so there is nothing to fail on")
    });
    built.clone()
}

/// What becomes a client with the same settings, for one call that takes more of them.
pub(crate) fn unshared() -> reqwest::ClientBuilder {
    choose_cryptography();
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
}

/// Chooses ring for all TLS of the process: without a choice no client can be built. Of several calls the first counts.
///
/// For the mains: a client that some library builds for itself must find it, too.
pub fn choose_cryptography() {
    // Refused only where there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The shared client as `azure_core` wants it. Decompression is off, as blob clients need it.
pub fn transport() -> Transport {
    Transport::new(Arc::new(WhenNeeded))
}

/// The shared client, built with the first request that goes through it.
#[derive(Debug)]
struct WhenNeeded;

#[async_trait]
impl HttpClient for WhenNeeded {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let span = call::of(request.method().as_str(), request.url());
        let answered = match call::traceparent(&span) {
            None => client().execute_request(request).await,
            Some(traceparent) => {
                let mut request = request.clone();
                let text = traceparent.to_str().unwrap_or_default().to_owned();
                request.insert_header(call::TRACEPARENT.as_str().to_owned(), text);
                client().execute_request(&request).instrument(span.clone()).await
            }
        };
        call::ended(&span, answered.as_ref().ok().map(|answer| answer.status().into()));
        answered
    }
}

/// Options for an `azure_*` client: the shared client, and **no** retries by the library. Its default is eight, over
/// more than a minute, for every method.
pub fn options(transport: Transport) -> ClientOptions {
    ClientOptions { transport: Some(transport), retry: RetryOptions::none(), ..ClientOptions::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_built_with_the_compiled_in_roots() {
        assert!(webpki_root_certs::TLS_SERVER_ROOT_CERTS.len() > 50);
        let _ = client();
    }
}
