//! Who asks: the `Authorization` header of a request.
//!
//! Production asks with an Entra token, over TLS only. Shared keys are for emulators on this machine: a key in a setting
//! of a deployed app is what managed identities do away with, so other hosts are refused.
//!
//! Sources: *Authorize with Shared Key* (Shared Key Lite for the Table service), *Authorize with Microsoft Entra ID*.

use azure_core::credentials::Secret;
use lifecycle::uri::is_loopback;
use reqwest::Request;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use url::Url;

use super::error::{NoAnswer, SetupError};
use crate::tokens::{Storage, Token, Tokens};

/// When a request was made: part of what is signed.
pub(super) const MS_DATE: HeaderName = HeaderName::from_static("x-ms-date");

/// By what requests to the tables are authorised: a token, or an emulator's key.
#[derive(Debug, Clone)]
pub enum Auth {
    /// An Entra identity with the role *Storage Table Data Contributor*; https only.
    Entra(Tokens<Storage>),
    /// An emulator's account key; hosts of this machine only.
    SharedKeyLite {
        /// Name of the emulator's account, which is part of the signed text.
        account: String,
        /// The account's key in Base64, by which requests are signed.
        key: Secret,
    },
}

impl Auth {
    /// Whether it may be used for this account at all.
    pub(super) fn check(&self, endpoint: &Url) -> Result<(), SetupError> {
        match self {
            Self::Entra(_) if endpoint.scheme() != "https" => Err(SetupError::TokenWithoutTls(endpoint.clone())),
            Self::SharedKeyLite { .. } if !is_loopback(endpoint) => {
                Err(SetupError::KeyBeyondLoopback(endpoint.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Puts the header on a request that has its `x-ms-date` already. Gives the token that was used, to be forgotten if it
    /// is refused.
    pub(super) async fn authorize(&self, request: &mut Request) -> Result<Option<Token<Storage>>, NoAnswer> {
        let (value, token) = match self {
            Self::Entra(tokens) => {
                let token = tokens.get().await.map_err(NoAnswer::not_sent)?;
                (token.bearer_for(request.url()).map_err(NoAnswer::not_sent)?, Some(token))
            }
            Self::SharedKeyLite { account, key } => {
                let date = request.headers().get(MS_DATE).and_then(|date| date.to_str().ok()).unwrap_or_default();
                let text = signed_text(account, date, request.url());
                let signature = azure_core::hmac::hmac_sha256(&text, key).map_err(NoAnswer::not_sent)?;
                let value = HeaderValue::try_from(format!("SharedKeyLite {account}:{signature}"));
                (value.map_err(NoAnswer::not_sent)?, None)
            }
        };
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(token)
    }

    /// Drops a token that was refused.
    pub(super) fn forget(&self, refused: Option<&Token<Storage>>) {
        if let (Self::Entra(tokens), Some(token)) = (self, refused) {
            tokens.forget(token);
        }
    }
}

/// The text that is signed. An emulator has the account in its path already, so that it stands there twice.
fn signed_text(account: &str, date: &str, url: &Url) -> String {
    let comp = url.query_pairs().find(|(name, _)| name == "comp").map(|(_, value)| format!("?comp={value}"));
    format!("{date}\n/{account}{}{}", url.path(), comp.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_the_documented_one() {
        let url = "http://127.0.0.1:10002/devstoreaccount1/T(PartitionKey='p%27')?$filter=x&comp=acl".parse().unwrap();
        assert_eq!(
            signed_text("devstoreaccount1", "Fri, 20 Nov 2026 10:00:00 GMT", &url),
            "Fri, 20 Nov 2026 10:00:00 GMT\n/devstoreaccount1/devstoreaccount1/T(PartitionKey='p%27')?comp=acl"
        );
    }

    #[test]
    fn a_shared_key_stays_on_this_machine() {
        let checked = |url: &str| {
            let key = Secret::new("c2VjcmV0");
            Auth::SharedKeyLite { account: "a".to_owned(), key }.check(&url.parse().unwrap())
        };
        for good in ["http://127.0.0.1:1/a", "http://127.9.9.9:1/a", "http://[::1]:1/a", "https://localhost/a"] {
            assert_eq!(checked(good), Ok(()), "{good}");
        }
        for bad in
            ["https://a.table.core.windows.net", "http://10.0.0.1/a", "http://localhost.example/a", "http://0.0.0.0/a"]
        {
            let error = checked(bad).unwrap_err();
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
