//! Tokens, by audience, in front of whoever issues them.
//!
//! `azure_identity` keeps tokens too, but in the last five minutes of a token's life every caller goes to the identity
//! endpoint, one by one, and a failing endpoint then makes all of them wait and fail although the token they have is
//! still good. Here a token is renewed in the background from half of its life on, by one request at a time, and is
//! handed out for as long as it is valid.
//!
//! What a token is for is part of its type: a token for Azure Machine Learning cannot be sent to Resource Manager.
//!
//! ```compile_fail
//! use azure::tokens::{MachineLearning, ResourceManager, Tokens};
//! fn swap(tokens: Tokens<MachineLearning>) -> Tokens<ResourceManager> { tokens }
//! ```
//! ```compile_fail
//! use azure::tokens::{MachineLearning, Storage, Token};
//! fn swap(token: Token<Storage>) -> Token<MachineLearning> { token }
//! ```
//! ```
//! use azure::tokens::{MachineLearning, Token, Tokens};
//! fn keep(tokens: Tokens<MachineLearning>, token: Token<MachineLearning>) -> (Tokens<MachineLearning>, Token<MachineLearning>) {
//!     (tokens, token) // the same, unswapped: the two above fail for no other reason
//! }
//! ```
//!
//! A token's text leaves this module as a header value for a URL that may have it, see [`Token::bearer_for`], and for
//! storage inside `azure_core`'s own credential trait. It is never printed.

mod answer;
mod certificate;
mod claims;
mod entra;
mod entra_errors;
mod identity;
mod managed_identity;
mod sources;

use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use lifecycle::IdentityName;
use lifecycle::text::{error_chain, one_line};
use reqwest::Url;
use reqwest::header::HeaderValue;
use time::OffsetDateTime;
use tokio::task::AbortHandle;

use app::measures;
use app::ports::Clock;

use self::answer::{Refused, Unreadable};
pub use self::identity::{Identity, IdentityEndpoint, ManagedIdentity, Proof, ServicePrincipal};
use crate::http::retry::{self, Tries};

/// Callers without any valid token wait for this long at most.
const PATIENCE: Duration = Duration::from_millis(4_500);
/// All tries to get one token together. Far longer than anybody waits: an endpoint that needs ten seconds, as one does while
/// its instance starts, would never give a token if each caller took its request down with it.
const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// A token with less life than this is not handed out without an attempt to get a better one.
const MARGIN: time::Duration = time::Duration::seconds(30);
/// After a renewal was started in the background, the next one is not started before this time has passed.
const RENEWAL_PAUSE: time::Duration = time::Duration::seconds(60);

/// What a token is for.
pub trait Audience: Send + Sync + 'static {
    /// The resource in the public cloud, without trailing slash.
    const RESOURCE: &'static str;
}

macro_rules! audiences {
    ($($(#[$doc:meta])* $name:ident = $resource:literal;)*) => {
        $($(#[$doc])* #[derive(Debug, Clone, Copy)] pub enum $name {}
        impl Audience for $name {
            const RESOURCE: &'static str = $resource;
        })*
    };
}

audiences! {
    /// Batch endpoints and run history.
    MachineLearning = "https://ml.azure.com";
    /// Azure Resource Manager: list and cancel jobs, resolve datastores.
    ResourceManager = "https://management.azure.com";
    /// Azure Storage: blobs and the ledger's tables.
    Storage = "https://storage.azure.com";
}

/// There is no token. The text says for what, why, and what to do.
///
/// It keeps no source on purpose: `azure_identity`'s errors quote the identity endpoint's answer, and that is a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token for {resource}: {why}; {remedy}")]
pub struct TokenError {
    resource: String,
    why: String,
    remedy: String,
}

/// A token is not sent to a URL.
#[derive(Debug, thiserror::Error)]
pub enum BearerError {
    /// It would travel in the clear, and not stay on this machine.
    #[error("a token is not sent to {scheme}://{host} in the clear; use https")]
    InTheClear {
        /// Scheme of the URL that the token was not sent to.
        scheme: String,
        /// Host of the URL, without port and path.
        host: String,
    },
    /// The identity endpoint gave something that is none.
    #[error("the identity endpoint gave a token that fits in no header")]
    Malformed(#[source] reqwest::header::InvalidHeaderValue),
}

/// A token for the audience `A`; nothing prints it, and it goes into no other audience's request.
pub struct Token<A> {
    secret: Secret,
    audience: PhantomData<fn() -> A>,
}

impl<A> fmt::Debug for Token<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl<A> Token<A> {
    /// Who it was given to, if it says so: a person's sign-in name, else an application's id.
    pub fn holder(&self) -> Option<String> {
        claims::holder(self.secret.secret())
    }

    /// The `Authorization` header for a request to `url`. Refused unless the token travels encrypted or stays on this
    /// machine.
    pub fn bearer_for(&self, url: &Url) -> Result<HeaderValue, BearerError> {
        if !lifecycle::uri::may_carry_secrets(url) {
            let host = url.host_str().unwrap_or_default().to_owned();
            return Err(BearerError::InTheClear { scheme: url.scheme().to_owned(), host });
        }
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", self.secret.secret())).map_err(BearerError::Malformed)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The tokens for one audience: one cache, shared by all clones.
pub struct Tokens<A> {
    cache: Arc<Cache>,
    audience: PhantomData<fn() -> A>,
}

impl<A> Clone for Tokens<A> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), audience: PhantomData }
    }
}

impl<A> fmt::Debug for Tokens<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("resource", &self.cache.resource).finish_non_exhaustive()
    }
}

impl<A: Audience> Tokens<A> {
    /// Tokens from `source`. Nothing is asked for before the first is needed.
    pub fn new(source: Arc<dyn TokenCredential>, clock: Clock) -> Self {
        Self::of_resource(source, clock, A::RESOURCE)
    }

    /// As [`Self::new`], with the name that the audience has in another cloud (`https://ml.azure.us`).
    pub fn of_resource(source: Arc<dyn TokenCredential>, clock: Clock, resource: &str) -> Self {
        Self::of_identity(source, clock, resource, None)
    }

    /// As [`Self::of_resource`], of an identity that the settings have beside the app's own: errors name it and its settings.
    pub fn of_identity(
        source: Arc<dyn TokenCredential>,
        clock: Clock,
        resource: &str,
        identity: Option<&IdentityName>,
    ) -> Self {
        let resource = resource.trim_end_matches('/').to_owned();
        let scope = format!("{resource}/.default");
        let cache = Cache { source, clock, identity: identity.cloned(), resource, scope, state: Mutex::default() };
        Self { cache: Arc::new(cache), audience: PhantomData }
    }

    /// A valid token. Waits only if there is none: once per audience, however many ask, and a few seconds at most.
    pub async fn get(&self) -> Result<Token<A>, TokenError> {
        self.cache.access_token().await.map(|token| Token { secret: token.token, audience: PhantomData })
    }

    /// Drops a token that was refused (401), so that the next call asks for a new one. Does nothing if another has
    /// taken its place already.
    pub fn forget(&self, refused: &Token<A>) {
        let mut state = self.cache.state();
        if state.cached.as_ref().is_some_and(|cached| cached.token.token == refused.secret) {
            state.cached = None;
        }
    }

    /// As [`Self::forget`], for a client that does not say which token it used.
    pub(crate) fn forget_current(&self) {
        self.cache.state().cached = None;
    }

    /// The time by this cache's clock.
    pub(crate) fn now(&self) -> OffsetDateTime {
        (self.cache.clock)()
    }
}

/// For the storage clients, over the same cache.
#[async_trait]
impl TokenCredential for Tokens<Storage> {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if scopes != [self.cache.scope.as_str()] {
            let text = format!("a token for {} was asked for as {}", self.cache.resource, scopes.join(", "));
            return Err(azure_core::Error::with_message(ErrorKind::Credential, text));
        }
        self.cache
            .access_token()
            .await
            .map_err(|error| azure_core::Error::with_message(ErrorKind::Credential, error.to_string()))
    }
}

struct Cache {
    source: Arc<dyn TokenCredential>,
    clock: Clock,
    /// The identity of the settings that errors name; `None`: the app's own.
    identity: Option<IdentityName>,
    resource: String,
    scope: String,
    state: Mutex<TokenState>,
}

#[derive(Default)]
struct TokenState {
    cached: Option<CachedToken>,
    flight: Option<Flight>,
}

struct CachedToken {
    token: AccessToken,
    /// When a renewal is to be started.
    renew: OffsetDateTime,
}

/// A request under way. It runs as a task of its own: a caller that gives up must not take it from the others.
struct Flight {
    task: AbortHandle,
    landing: Landing,
}

type Landing = Shared<BoxFuture<'static, Result<AccessToken, TokenError>>>;

impl Cache {
    fn state(&self) -> MutexGuard<'_, TokenState> {
        // No code panics while it holds the lock; if some ever did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn access_token(self: &Arc<Self>) -> Result<AccessToken, TokenError> {
        let now = (self.clock)();
        let landing = {
            let mut state = self.state();
            match &mut state.cached {
                Some(cached) if now + MARGIN < cached.token.expires_on => {
                    let token = cached.token.clone();
                    if cached.renew <= now {
                        cached.renew = now + RENEWAL_PAUSE;
                        drop(self.flight(&mut state)); // its landing is nobody's business
                    }
                    return Ok(token);
                }
                _ => self.flight(&mut state),
            }
        };
        // The caller gives up at its own time; the request goes on and serves the next.
        let landed = tokio::time::timeout(PATIENCE, landing).await.unwrap_or_else(|_| {
            let why =
                format!("the identity endpoint gave none within {} s, and is still asked", PATIENCE.as_secs_f32());
            Err(self.error(&why, IT_IS_SLOW))
        });
        match landed {
            Ok(token) => Ok(token),
            Err(error) => {
                let state = self.state();
                let last = state.cached.as_ref().map(|cached| &cached.token);
                last.filter(|token| (self.clock)() < token.expires_on).cloned().ok_or(error)
            }
        }
    }

    /// The request under way, or a new one.
    fn flight(self: &Arc<Self>, state: &mut TokenState) -> Landing {
        if let Some(flight) = &state.flight
            && !flight.task.is_finished()
        {
            return flight.landing.clone();
        }
        let cache = Arc::clone(self);
        let task = tokio::spawn(async move {
            let fetched = cache.fetch().await;
            let outcome = if fetched.is_ok() { "given" } else { "refused" };
            tracing::trace!(target: measures::TARGET, measure = measures::TOKENS.name, value = 1_u64, resource = cache.resource, outcome);
            match &fetched {
                Ok(token) => {
                    let now = (cache.clock)();
                    let renew = now + (token.expires_on - now) / 2;
                    cache.state().cached = Some(CachedToken { token: token.clone(), renew });
                }
                Err(error) => tracing::warn!(resource = cache.resource, "{error}"),
            }
            fetched
        });
        let abort = task.abort_handle();
        let gone = self.error("the request for it was broken off", "ask again");
        let landing = task.map(move |landed| landed.unwrap_or(Err(gone))).boxed().shared();
        state.flight = Some(Flight { task: abort, landing: landing.clone() });
        landing
    }

    async fn fetch(&self) -> Result<AccessToken, TokenError> {
        let tries = async {
            let mut tries = Tries::new();
            loop {
                match self.source.get_token(&[&self.scope], None).await {
                    Ok(token) => return Ok(token),
                    Err(error) if may_pass(&error) && tries.again(wished_pause(&error)).await => {}
                    Err(error) => return Err(self.explain(&error)),
                }
            }
        };
        let late = || {
            let why = format!("the identity endpoint gave none within {} s", FETCH_LIMIT.as_secs());
            Err(self.error(&why, IT_IS_SLOW))
        };
        tokio::time::timeout(FETCH_LIMIT, tries).await.unwrap_or_else(|_| late())
    }

    fn error(&self, why: &str, remedy: &'static str) -> TokenError {
        let resource = self.resource.clone();
        let Some(identity) = &self.identity else {
            return TokenError { resource, why: why.to_owned(), remedy: remedy.to_owned() };
        };
        TokenError { resource, why: format!("as identity `{identity}`: {why}"), remedy: of_identity(remedy, identity) }
    }

    fn explain(&self, error: &azure_core::Error) -> TokenError {
        let (status, kind) = innermost(error);
        // What cannot be sent as it is needs somebody at the settings.
        if let Some(unfit) = causes(error).find_map(|cause| cause.downcast_ref::<entra::Unfit>()) {
            return self.error(&error_chain(unfit), unfit.remedy());
        }
        // The issuer's own words where they are known to be no token.
        let own = causes(error).find_map(|cause| cause.downcast_ref::<Refused>());
        let said =
            |status: u16| own.map_or_else(|| format!("the identity endpoint answered {status}"), ToString::to_string);
        let unreadable = causes(error).find_map(|cause| cause.downcast_ref::<Unreadable>());
        match (status, kind) {
            (Some(status), _) if own.is_some_and(|own| own.remedy().is_some()) => {
                self.error(&said(status), own.and_then(Refused::remedy).unwrap_or(IS_IT_ENABLED))
            }
            (Some(status @ (400 | 404)), _) => self.error(
                &said(status),
                "check that the app has this identity: AZURE_CLIENT_ID or SCOREKEEPER_IDENTITY for a user-assigned one, else the system-assigned one",
            ),
            (Some(status @ (401 | 403)), _) => self.error(
                &said(status),
                "check IDENTITY_ENDPOINT and IDENTITY_HEADER; the platform sets both",
            ),
            (Some(status), _) => {
                self.error(&said(status), "it is tried again; see the platform's health")
            }
            // Its text could quote the answer, and the answer is a token.
            (None, ErrorKind::DataConversion) => {
                let why = unreadable.map(|why| format!(": {why}")).unwrap_or_default();
                self.error(&format!("the identity endpoint's answer could not be read{why}"), IS_IT_ENABLED)
            }
            (None, _) => {
                self.error(&one_line(&error_chain(error), 300), IS_IT_ENABLED)
            }
        }
    }
}

/// A remedy with the names that the settings of this identity have in place of the app's own.
fn of_identity(remedy: &str, identity: &IdentityName) -> String {
    let prefix = format!("SCOREKEEPER_IDENTITY_{}", identity.to_ascii_uppercase());
    ["TENANT_ID", "CLIENT_", "FEDERATED_TOKEN_FILE", "AUTHORITY_HOST"]
        .iter()
        .fold(remedy.replace("SCOREKEEPER_IDENTITY", &prefix), |text, name| {
            text.replace(&format!("AZURE_{name}"), &format!("{prefix}_{name}"))
        })
}

/// It was reached, so an identity is there; a missing one is refused at once.
const IT_IS_SLOW: &str = "it is slow, as often just after a start: whoever asks next has what it gives; if it lasts, see the platform's health";
const IS_IT_ENABLED: &str =
    "check that the app's managed identity is enabled, or sign in with a credential that works here";

/// An error and what caused it, from the outside in.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Status and kind of the error at the bottom: `azure_identity` wraps what happened into a `Credential` error.
fn innermost(error: &azure_core::Error) -> (Option<u16>, &ErrorKind) {
    let inner = causes(error).filter_map(|cause| cause.downcast_ref::<azure_core::Error>());
    inner.fold((None, error.kind()), |(status, _), inner| (inner.http_status().map(u16::from).or(status), inner.kind()))
}

/// How long the identity endpoint asks to wait, where it says so: it limits requests, and one that comes too early counts.
fn wished_pause(error: &azure_core::Error) -> Option<Duration> {
    causes(error).find_map(|cause| cause.downcast_ref::<Refused>())?.retry_after
}

fn may_pass(error: &azure_core::Error) -> bool {
    match innermost(error) {
        (Some(status), _) => retry::may_pass(status),
        (None, kind) => matches!(kind, ErrorKind::Io | ErrorKind::Connection),
    }
}
