//! How requests go out: the one client, the one retry policy, the one path for requests that carry a token.
//!
//! The [`client`] itself **never** repeats anything: no redirect, no retry of refused streams, no proxy. Repeating is a
//! decision about what the request does. Requests that only look (and the cancel, which may be asked twice) go through
//! [`authorized`]; the submission of a scoring must not, since each POST can start a job, and neither does a write to a table.

pub(crate) mod authorized;
pub(crate) mod body;
mod client;
pub(crate) mod retry;

use azure_core::Uuid;
use lifecycle::ServiceRequestId;
use reqwest::header::{HeaderMap, HeaderName};

pub use client::{choose_cryptography, client, options, transport};

/// Names a request in the service's own logs; support asks for it. `azure_core` makes an error object, with a stack trace
/// where these are switched on, for each request that has none when it comes to its pipeline.
pub(crate) const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// Names the request in the service's logs, by the service: Azure's own header, and the one that Azure ML's front door sends.
const REQUEST_IDS: [&str; 2] = ["x-ms-request-id", "x-request-id"];

/// The service's own id of an answered request.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<ServiceRequestId> {
    REQUEST_IDS.into_iter().find_map(|name| headers.get(name)?.to_str().ok()?.parse().ok())
}

/// An id for a request that has none of its own.
pub(crate) fn new_request_id() -> String {
    Uuid::new_v4().to_string()
}
