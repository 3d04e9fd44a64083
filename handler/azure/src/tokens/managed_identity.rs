//! The identity endpoint of App Service: `IDENTITY_ENDPOINT`, asked with `IDENTITY_HEADER`.
//!
//! `azure_identity` asks it too, and reads one form of its answers. Images and versions of the platform write the end of a
//! token as a text, a number, an ISO date or a date of the United States, or leave it out beside `expires_in`; what the
//! endpoint says of a refusal (which identity is not assigned) is what an operator needs; and a user-assigned identity is
//! found by its ARM id here, which `azure_identity` refuses to ask for. Where these two variables are not set, it is asked all
//! the same: it knows the other places.
//!
//! Source: *How to use managed identities for App Service and Azure Functions*, REST endpoint reference.

use azure_core::credentials::AccessToken;
use azure_core::error::ErrorKind;

use super::answer::{self, Issuer};
use super::identity::{IdentityEndpoint, ManagedIdentity};
use crate::http;

impl IdentityEndpoint {
    /// The endpoint of this process, if it has one.
    #[expect(clippy::disallowed_methods, reason = "the platform's own variables, not settings of ours")]
    pub(super) fn of_this_process() -> Option<Self> {
        let url = std::env::var("IDENTITY_ENDPOINT").ok()?.parse().ok()?;
        Some(Self { url, header: std::env::var("IDENTITY_HEADER").ok()?.into() })
    }

    /// A token for the audience `resource`.
    pub(super) async fn token(&self, resource: &str, which: &ManagedIdentity) -> azure_core::Result<AccessToken> {
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("api-version", "2019-08-01").append_pair("resource", resource);
        let named = match which {
            ManagedIdentity::SystemAssigned => None,
            ManagedIdentity::ClientId(id) => Some(("client_id", id)),
            ManagedIdentity::ObjectId(id) => Some(("principal_id", id)),
            ManagedIdentity::ResourceId(id) => Some(("mi_res_id", id)),
        };
        if let Some((name, id)) = named {
            url.query_pairs_mut().append_pair(name, id);
        }
        let request = http::client().get(url).header("X-IDENTITY-HEADER", self.header.secret());
        let io = |error: reqwest::Error| azure_core::Error::new(ErrorKind::Io, error.without_url());
        answer::token(Issuer::IdentityEndpoint, http::call::send(request).await.map_err(io)?).await
    }
}
