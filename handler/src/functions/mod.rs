//! The functions, one file each: `Service<LambdaEvent<_>>` values that every host can run.
//!
//! A function reads its payload, calls the app and maps the error; it knows no HTTP and no host. The very same value
//! is mounted by [`hosts::azure`](crate::hosts::azure) and handed to `lambda_runtime::run` by `bin/bootstrap.rs`; a
//! test starts both and compares their answers.
//!
//! `Err` means one thing on every host: **not taken, deliver again**. Poison is recorded and answered with `Ok`.

mod blob_created;
mod deadline;
mod http;
mod instance;
mod operations;
mod page;
mod reconcile;
mod scorings;
mod sweep;

use std::fmt::Debug;

use lambda_runtime::{Diagnostic, LambdaEvent, Service};
use serde::Serialize;

pub use app::function_names::{
    BLOB_CREATED, BLOB_CREATED_FROM_QUEUE, NAMES, OPERATIONS, PAGE, RECONCILE, SCORINGS, SWEEP,
};

pub use self::blob_created::blob_created;
pub use self::http::{HttpAnswer, HttpRequest};
pub use self::operations::operations;
pub use self::page::{PageAccess, ROUTE as PAGE_ROUTE, page};
pub use self::reconcile::{Tick, reconcile};
pub use self::scorings::{HttpAccess, scorings};
pub use self::sweep::sweep;

/// A function that every host can run: the bounds of `lambda_runtime::run`, and what a concurrent host adds to them.
///
/// Implemented for every service that fits, so nobody implements it; `lambda_runtime::service_fn` over a `Clone`
/// closure makes one.
pub trait Function<A>:
    Service<LambdaEvent<A>, Response = Self::Output, Error: Into<Diagnostic> + Debug, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The answer of an invocation, which the host gets as JSON.
    type Output: Serialize + Send + 'static;
}

impl<A, R, S> Function<A> for S
where
    S: Service<LambdaEvent<A>, Response = R> + Clone + Send + Sync + 'static,
    S::Error: Into<Diagnostic> + Debug,
    S::Future: Send + 'static,
    R: Serialize + Send + 'static,
{
    type Output = R;
}

/// Why a function asks to be called again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The caller's situation, one word; becomes `errorType`.
    pub kind: &'static str,
    /// What was tried and why it failed; becomes `errorMessage`.
    pub message: String,
}

impl From<Failure> for Diagnostic {
    fn from(Failure { kind, message }: Failure) -> Self {
        Self { error_type: kind.to_owned(), error_message: message }
    }
}
