//! Who asks: the policies that authorise a request and the mark that it left.
//!
//! Production asks with an Entra token, over TLS only. Shared keys are for emulators on this machine: a key in a setting
//! of a deployed app is what managed identities do away with, so other hosts are refused.
//!
//! Sources: *Authorize with Shared Key* (Shared Key Lite for the Table service), *Authorize with Microsoft Entra ID*.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, MS_DATE};
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request};
use azure_core::time::to_rfc7231;
use url::{Host, Url};

use super::SetupError;

/// The audience of every storage account, in the public cloud and the others.
const SCOPE: &str = "https://storage.azure.com/.default";

/// How requests are authorised.
#[derive(Debug, Clone)]
pub enum Auth {
    /// An Entra identity with the role *Storage Table Data Contributor*; https only.
    Entra(Arc<dyn TokenCredential>),
    /// An emulator's account key; hosts of this machine only.
    SharedKeyLite {
        /// The account's name.
        account: String,
        /// Its key, in Base64.
        key: Secret,
    },
}

impl Auth {
    /// The policies that run for each request, in order; the last one marks that the request goes out.
    pub(super) fn policies(self, endpoint: &Url) -> Result<Vec<Arc<dyn Policy>>, SetupError> {
        let authorise: Arc<dyn Policy> = match self {
            Self::Entra(credential) => {
                if endpoint.scheme() != "https" {
                    return Err(SetupError::TokenWithoutTls(endpoint.clone()));
                }
                Arc::new(BearerTokenAuthorizationPolicy::new(credential, [SCOPE]))
            }
            Self::SharedKeyLite { account, key } => {
                if !is_loopback(endpoint) {
                    return Err(SetupError::KeyBeyondLoopback(endpoint.clone()));
                }
                Arc::new(SharedKeyLite { account, key })
            }
        };
        Ok(vec![Arc::new(Dated), authorise, Arc::new(MarkSent)])
    }
}

fn is_loopback(endpoint: &Url) -> bool {
    match endpoint.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Sets `x-ms-date`; the service refuses a request that is more than 15 minutes old.
#[derive(Debug)]
struct Dated;

#[async_trait]
impl Policy for Dated {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        #[expect(
            clippy::disallowed_methods,
            reason = "the moment of sending is part of the protocol, not of a decision"
        )]
        let now = time::OffsetDateTime::now_utc();
        request.insert_header(MS_DATE, to_rfc7231(&now));
        next[0].send(ctx, request, &next[1..]).await
    }
}

#[derive(Debug)]
struct SharedKeyLite {
    account: String,
    key: Secret,
}

impl SharedKeyLite {
    /// The text that is signed. An emulator has the account in its path already, so that it stands there twice.
    fn text(&self, date: &str, url: &Url) -> String {
        let comp = url.query_pairs().find(|(name, _)| name == "comp").map(|(_, value)| format!("?comp={value}"));
        format!("{date}\n/{}{}{}", self.account, url.path(), comp.unwrap_or_default())
    }
}

#[async_trait]
impl Policy for SharedKeyLite {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let date = request.headers().get_str(&MS_DATE)?;
        let signature = azure_core::hmac::hmac_sha256(&self.text(date, request.url()), &self.key).map_err(|error| {
            azure_core::Error::with_error(ErrorKind::Credential, error, "the account key is no Base64")
        })?;
        request.insert_header(AUTHORIZATION, format!("SharedKeyLite {}:{signature}", self.account));
        next[0].send(ctx, request, &next[1..]).await
    }
}

/// Whether a request was handed to the transport. What failed before surely did not happen.
#[derive(Debug, Clone, Default)]
pub(super) struct SentFlag(Arc<AtomicBool>);

impl SentFlag {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct MarkSent;

#[async_trait]
impl Policy for MarkSent {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if let Some(SentFlag(flag)) = ctx.value::<SentFlag>() {
            flag.store(true, Ordering::SeqCst);
        }
        next[0].send(ctx, request, &next[1..]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_the_documented_one() {
        let lite = SharedKeyLite { account: "devstoreaccount1".to_owned(), key: Secret::new("c2VjcmV0") };
        let url = "http://127.0.0.1:10002/devstoreaccount1/T(PartitionKey='p%27')?$filter=x&comp=acl".parse().unwrap();
        assert_eq!(
            lite.text("Fri, 20 Nov 2026 10:00:00 GMT", &url),
            "Fri, 20 Nov 2026 10:00:00 GMT\n/devstoreaccount1/devstoreaccount1/T(PartitionKey='p%27')?comp=acl"
        );
    }

    #[test]
    fn a_shared_key_stays_on_this_machine() {
        let policies = |url: &str| {
            let key = Secret::new("c2VjcmV0");
            Auth::SharedKeyLite { account: "a".to_owned(), key }.policies(&url.parse().unwrap()).map(|_| ())
        };
        for good in ["http://127.0.0.1:1/a", "http://127.9.9.9:1/a", "http://[::1]:1/a", "https://localhost/a"] {
            assert_eq!(policies(good), Ok(()), "{good}");
        }
        for bad in
            ["https://a.table.core.windows.net", "http://10.0.0.1/a", "http://localhost.example/a", "http://0.0.0.0/a"]
        {
            let error = policies(bad).unwrap_err();
            assert!(matches!(error, SetupError::KeyBeyondLoopback(_)), "{bad}");
            assert!(error.to_string().contains("managed identity"), "{error}");
        }
    }

    #[test]
    fn a_key_is_never_printed() {
        let auth = Auth::SharedKeyLite { account: "a".to_owned(), key: Secret::new("c2VjcmV0") };
        assert!(!format!("{auth:?}").contains("c2VjcmV0"));
    }
}
