//! Where the tokens of each identity come from.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_identity::UserAssignedId;

use super::entra;
use super::identity::{Identity, IdentityEndpoint, ManagedIdentity, ServicePrincipal};
use crate::http;

impl Identity {
    /// The source itself. Nothing is asked for yet.
    pub fn source(&self) -> Arc<dyn TokenCredential> {
        match self.clone() {
            Self::Managed(which) => Arc::new(which),
            Self::Endpoint(endpoint) => Arc::new(endpoint),
            Self::ServicePrincipal(principal) => Arc::new(principal),
            Self::SignedIn => Arc::new(SignedIn),
        }
    }
}

/// Asks App Service's endpoint where there is one, else builds a new `azure_identity` credential for each request. A kept one would answer from its own cache until five
/// minutes before the end: a renewal from half life on, or after a 401, would get the old token back.
#[async_trait]
impl TokenCredential for ManagedIdentity {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if let Some(endpoint) = IdentityEndpoint::of_this_process() {
            return endpoint.token(resource_of(scopes), self).await;
        }
        let user_assigned_id = match self.clone() {
            Self::SystemAssigned => None,
            Self::ClientId(id) => Some(UserAssignedId::ClientId(id)),
            Self::ObjectId(id) => Some(UserAssignedId::ObjectId(id)),
            Self::ResourceId(id) => Some(UserAssignedId::ResourceId(id)),
        };
        let settings = azure_identity::ManagedIdentityCredentialOptions {
            user_assigned_id,
            client_options: http::options(http::transport()),
        };
        azure_identity::ManagedIdentityCredential::new(Some(settings))?.get_token(scopes, options).await
    }
}

/// The audience of a token.
fn resource_of<'a>(scopes: &[&'a str]) -> &'a str {
    scopes.first().map_or("", |scope| scope.trim_end_matches("/.default"))
}

#[async_trait]
impl TokenCredential for IdentityEndpoint {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        self.token(resource_of(scopes), &ManagedIdentity::SystemAssigned).await
    }
}

#[async_trait]
impl TokenCredential for ServicePrincipal {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        entra::token(self, scopes.first().copied().unwrap_or_default()).await
    }
}

/// Built for each request as well: the tools that it runs keep a cache of their own.
#[derive(Debug)]
struct SignedIn;

#[async_trait]
impl TokenCredential for SignedIn {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        azure_identity::DeveloperToolsCredential::new(None)?.get_token(scopes, options).await
    }
}
