//! Storage on this machine, over plain http: an emulator, the simulator.
//!
//! Microsoft's client sends no token in the clear, whoever answers. What stands in for an account on this machine may want one
//! all the same, as the service does; it says so with a challenge, and only then, and only to hosts that a setting names, is the
//! token shown. Azurite never asks, and refuses what it is not asked for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, WWW_AUTHENTICATE};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{ClientOptions, Context, Request, StatusCode, Transport};
use lifecycle::StorageHosts;

use crate::http;
use crate::tokens::{Storage, Tokens};

/// Answers challenges of storage on this machine.
#[derive(Debug)]
pub(crate) struct EmulatorAccess {
    tokens: Tokens<Storage>,
    hosts: StorageHosts,
    /// Origins that asked for a token: they are shown it at once.
    challenged: Mutex<BTreeSet<String>>,
}

impl EmulatorAccess {
    /// Shows `tokens` to what stands in for `hosts`, if it asks.
    pub(crate) fn new(tokens: Tokens<Storage>, hosts: StorageHosts) -> Arc<Self> {
        Arc::new(Self { tokens, hosts, challenged: Mutex::default() })
    }

    /// Options of a storage client that goes by it.
    pub(crate) fn options(self: &Arc<Self>, transport: Transport) -> ClientOptions {
        ClientOptions { per_call_policies: vec![Arc::clone(self) as Arc<dyn Policy>], ..http::options(transport) }
    }

    fn challenged(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Nobody panics with it in hand; and an origin that is not remembered asks again.
        self.challenged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn authorize(&self, request: &mut Request) -> azure_core::Result<()> {
        let refused = |error| azure_core::Error::new(ErrorKind::Credential, error);
        let token = self.tokens.get().await.map_err(|why| azure_core::Error::new(ErrorKind::Credential, why))?;
        let bearer = token.bearer_for(request.url()).map_err(refused)?;
        let bearer = bearer.to_str().map_err(|why| azure_core::Error::new(ErrorKind::Credential, why))?;
        request.insert_header(AUTHORIZATION, bearer.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Policy for EmulatorAccess {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some((first, rest)) = next.split_first() else {
            return Err(azure_core::Error::with_message(ErrorKind::Other, "the pipeline ends without a transport"));
        };
        if !self.hosts.is_emulator(request.url()) {
            return first.send(ctx, request, rest).await;
        }
        let origin = request.url().origin().ascii_serialization();
        let known = self.challenged().contains(&origin);
        if known {
            self.authorize(request).await?;
        }
        let response = first.send(ctx, request, rest).await?;
        let asks =
            response.headers().get_optional_str(&WWW_AUTHENTICATE).is_some_and(|scheme| scheme.starts_with("Bearer"));
        if known || response.status() != StatusCode::Unauthorized || !asks {
            return Ok(response);
        }
        self.challenged().insert(origin);
        self.authorize(request).await?;
        first.send(ctx, request, rest).await
    }
}
