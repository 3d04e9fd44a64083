//! Microsoft Entra ID's token endpoint, asked by an application for itself (the client credentials flow).
//!
//! `azure_identity` has a credential each for a secret and for a federated token, and none for a certificate without OpenSSL.
//! All are one request with one field more or less. It is made here, so that a refusal's own words and code are read
//! (`azure_identity` quotes whole answers), and so that a simulator on this machine, which has no TLS, can stand for it.
//!
//! Sources: *Microsoft identity platform and the OAuth 2.0 client credentials flow*; *Configure an application to trust a managed
//! identity*.

use std::path::{Path, PathBuf};

use azure_core::credentials::{AccessToken, TokenCredential as _};
use azure_core::error::ErrorKind;
use reqwest::Url;
use url::form_urlencoded::Serializer;

use super::answer::{self, Issuer, now};
use super::certificate::{self, InvalidCertificate};
use super::identity::{Proof, ServicePrincipal};
use crate::http;

/// Larger is no secret, certificate or token, but another file.
const MAX_FILE: u64 = 64 * 1024;

const SECRET: &str = "client_secret";
const ASSERTION: &str = "client_assertion";

/// The proof of who asks cannot be sent as it is. Nothing of it is quoted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("the file {} cannot be read", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the file {} is empty, or larger than {MAX_FILE} bytes, or no text", path.display())]
    NoText { path: PathBuf },
    #[error("the certificate {} cannot be used", path.display())]
    Certificate { path: PathBuf, source: InvalidCertificate },
    #[error("AZURE_CLIENT_SECRET is a Key Vault reference that the platform has not resolved")]
    UnresolvedReference,
    #[error("{0} is no address for a secret: https, or http on this machine")]
    Authority(String),
}

impl Unfit {
    /// What an operator does about it: the remedy of the error that there is no token.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::NoText { .. } => {
                "check the path in AZURE_CLIENT_SECRET_FILE, AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE, and that the file is mounted and this process may read it"
            }
            Self::Certificate { source, .. } => source.remedy(),
            Self::UnresolvedReference => {
                "the portal tells why beside the setting; mostly the app's identity lacks the role Key Vault Secrets User, or the secret's name is wrong"
            }
            Self::Authority(_) => "correct AZURE_AUTHORITY_HOST, or leave it out for the cloud's own",
        }
    }
}

/// A token for `scope`, `RESOURCE/.default`.
pub(super) async fn token(principal: &ServicePrincipal, scope: &str) -> azure_core::Result<AccessToken> {
    let (name, proof) = proof(principal).await?;
    let form = form(principal, scope, name, &proof);
    let request = http::client()
        .post(endpoint(principal))
        .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form);
    let io = |error: reqwest::Error| azure_core::Error::new(ErrorKind::Io, error.without_url());
    answer::token(Issuer::Entra, http::call::send(request).await.map_err(io)?).await
}

fn endpoint(principal: &ServicePrincipal) -> Url {
    let mut url = principal.authority.clone();
    // The settings take a tenant's id or domain only, so that it stays one segment.
    url.set_path(&format!("{}/oauth2/v2.0/token", principal.tenant));
    url
}

fn unfit(why: Unfit) -> azure_core::Error {
    azure_core::Error::new(ErrorKind::Credential, why)
}

/// By what it proves who it is: the name of the field and its value.
async fn proof(principal: &ServicePrincipal) -> azure_core::Result<(&'static str, String)> {
    let authority = &principal.authority;
    if !lifecycle::uri::may_carry_secrets(authority) {
        return Err(unfit(Unfit::Authority(lifecycle::redact::redacted(authority.as_str()).into_owned())));
    }
    match &principal.proof {
        Proof::Secret(secret) if secret.secret().starts_with("@Microsoft.KeyVault(") => {
            Err(unfit(Unfit::UnresolvedReference))
        }
        Proof::Secret(secret) => Ok((SECRET, secret.secret().to_owned())),
        Proof::SecretFile(path) => Ok((SECRET, read(path).await.map_err(unfit)?.trim().to_owned())),
        Proof::Certificate(path) => {
            let (audience, pem) = (endpoint(principal), read(path).await.map_err(unfit)?);
            let assertion = certificate::assertion(&pem, &principal.client_id, audience.as_str(), now());
            let unusable = |source| unfit(Unfit::Certificate { path: path.clone(), source });
            Ok((ASSERTION, assertion.map_err(unusable)?))
        }
        Proof::FederatedToken(path) => Ok((ASSERTION, read(path).await.map_err(unfit)?.trim().to_owned())),
        // Asked for each time: the platform keeps one itself, and a second cache would outlive what it forgets.
        Proof::ManagedIdentity { which, audience } => {
            let assertion = which.get_token(&[&format!("{audience}/.default")], None).await?;
            Ok((ASSERTION, assertion.token.secret().to_owned()))
        }
    }
}

/// Body of the request for a token: client credentials, proved by the field `name`, a secret or an assertion.
fn form(principal: &ServicePrincipal, scope: &str, name: &str, proof: &str) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &principal.client_id)
        .append_pair("scope", scope)
        .append_pair(name, proof);
    if name == ASSERTION {
        form.append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    }
    form.finish()
}

async fn read(path: &Path) -> Result<String, Unfit> {
    use tokio::io::AsyncReadExt as _;
    let file = |source| Unfit::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let opened = tokio::fs::File::open(path).await.map_err(file)?;
    opened.take(MAX_FILE + 1).read_to_end(&mut bytes).await.map_err(file)?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.trim().is_empty() && text.len() as u64 <= MAX_FILE);
    text.ok_or_else(|| {
        let path = path.to_owned();
        // What a certificate's store exports by default.
        let is_pkcs12 =
            path.extension().is_some_and(|it| it.eq_ignore_ascii_case("pfx") || it.eq_ignore_ascii_case("p12"));
        if is_pkcs12 { Unfit::Certificate { path, source: InvalidCertificate::Pkcs12 } } else { Unfit::NoText { path } }
    })
}
