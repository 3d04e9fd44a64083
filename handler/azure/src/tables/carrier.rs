//! What carries a request to the service and brings the answer back.

use std::fmt;

use async_trait::async_trait;
use lifecycle::text::error_chain;
use reqwest::{Client, Request, Response};

use super::error::NoAnswer;
use crate::http;

/// Carries requests; a service of a test's own can take its place. It repeats nothing and follows no redirect.
#[async_trait]
pub(super) trait Carrier: fmt::Debug + Send + Sync {
    async fn carry(&self, request: Request) -> Result<Response, NoAnswer>;
}

/// The process's client, built with the first request: building takes milliseconds that a cold start should not.
#[derive(Debug)]
pub(super) struct Shared;

#[async_trait]
impl Carrier for Shared {
    async fn carry(&self, request: Request) -> Result<Response, NoAnswer> {
        http::client().carry(request).await
    }
}

#[async_trait]
impl Carrier for Client {
    async fn carry(&self, request: Request) -> Result<Response, NoAnswer> {
        http::call::execute(self, request).await.map_err(|error| {
            // Without a connection no byte has left.
            let unsent = error.is_connect();
            let why = error_chain(&error.without_url());
            if unsent { NoAnswer::NotSent(why) } else { NoAnswer::Sent(why) }
        })
    }
}
