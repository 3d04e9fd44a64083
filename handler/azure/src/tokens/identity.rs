//! Who asks for tokens.

use std::fmt;
use std::path::PathBuf;

use azure_core::credentials::Secret;
use reqwest::Url;

/// Where tokens come from. Anything else that implements [`azure_core::credentials::TokenCredential`] may be given to [`super::Tokens::new`] as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The identity of the app, as App Service and virtual machines provide it.
    Managed(ManagedIdentity),
    /// The one that this endpoint gives tokens of: that of a simulated app, to commands beside it.
    Endpoint(IdentityEndpoint),
    /// An application registered in a tenant, wherever it runs.
    ServicePrincipal(ServicePrincipal),
    /// Whoever is signed in on this machine with the Azure CLI or the Azure Developer CLI: for operators.
    SignedIn,
}

/// Which managed identity of those that a resource has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagedIdentity {
    /// The one that lives and dies with the resource.
    SystemAssigned,
    /// The user-assigned one with this client id.
    ClientId(String),
    /// The one with this object id (*principal id*).
    ObjectId(String),
    /// The user-assigned one with this ARM id.
    ResourceId(String),
}

/// Where to ask, as the platform says it in the environment, or who works beside an app on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityEndpoint {
    /// Where tokens are asked for, as IDENTITY_ENDPOINT has it.
    pub url: Url,
    /// What lets whoever knows it in.
    pub header: Secret,
}

/// An application that proves who it is to its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePrincipal {
    /// Microsoft Entra ID of the cloud, `https://login.microsoftonline.com/`.
    pub authority: Url,
    /// Id or domain of the tenant.
    pub tenant: String,
    /// Application (client) id of the registration in the tenant.
    pub client_id: String,
    /// By what it proves it.
    pub proof: Proof,
}

/// By what an application proves who it is. Files are read for each request: whoever rotates them restarts nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The client secret itself, from a setting.
    Secret(Secret),
    /// A file with nothing but the client secret.
    SecretFile(PathBuf),
    /// A PEM file with a certificate that the application knows, and its RSA key.
    Certificate(PathBuf),
    /// A file with a token of another issuer that the application trusts: workload identity federation.
    FederatedToken(PathBuf),
    /// The token of a managed identity of the app that the application trusts, in whatever tenant it is a guest: no secret at all.
    ManagedIdentity {
        /// A user-assigned one: the application can trust no other.
        which: ManagedIdentity,
        /// What such a token is for, in this cloud.
        audience: &'static str,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Managed(which) => write!(f, "managed identity, {which}"),
            Self::Endpoint(endpoint) => write!(f, "the identity that {} gives tokens of", endpoint.url),
            Self::ServicePrincipal(ServicePrincipal { client_id, tenant, proof, .. }) => {
                write!(f, "service principal {client_id} of tenant {tenant}, by ")?;
                match proof {
                    Proof::Secret(_) | Proof::SecretFile(_) => f.write_str("a secret"),
                    Proof::Certificate(_) => f.write_str("a certificate"),
                    Proof::FederatedToken(_) => f.write_str("a federated token"),
                    Proof::ManagedIdentity { which, .. } => write!(f, "the managed identity that is {which}"),
                }
            }
            Self::SignedIn => f.write_str("whoever is signed in with the Azure CLI or the Azure Developer CLI"),
        }
    }
}

impl fmt::Display for ManagedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemAssigned => f.write_str("system-assigned"),
            Self::ClientId(id) => write!(f, "user-assigned with client id {id}"),
            Self::ObjectId(id) => write!(f, "user-assigned with object id {id}"),
            Self::ResourceId(id) => write!(f, "user-assigned {id}"),
        }
    }
}
