//! How requests go out: the one client, the one retry policy, the one path for requests that carry a token.
//!
//! The [`client`] itself **never** repeats anything: no redirect, no retry of refused streams, no proxy. Repeating is a
//! decision about what the request does. Requests that only look (and the cancel, which may be asked twice) go through
//! [`authorized`]; the submission of a scoring must not, since each POST can start a job, and neither does a write to a table.

pub(crate) mod authorized;
pub(crate) mod body;
pub(crate) mod call;
mod client;
pub(crate) mod retry;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use azure_core::Uuid;
use lifecycle::ServiceRequestId;
use reqwest::header::{HeaderMap, HeaderName};

pub(crate) use client::unshared;
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

/// An id for a request that has none of its own: unlike any other, of this process and of all.
///
/// Randomness is asked of the system once, as each time would be a system call; from then on a number is mixed into it.
pub(crate) fn new_request_id() -> String {
    static OF_PROCESS: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // Into the last digits, which say nothing of the kind of the id: a process sends no 2^48 requests.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Uuid::from_u128(OF_PROCESS.as_u128() ^ u128::from(number)).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_request_has_an_id_of_its_own_that_is_a_random_uuid() {
        let ids: HashSet<String> = (0..1_000).map(|_| new_request_id()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 4)));
    }
}
