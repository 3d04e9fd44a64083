//! AWS Lambda's runtime: the same functions, one for each process; `_HANDLER` names it.

use std::io;
use std::process::ExitCode;

use app::error_chain;
use app::ports::Clock;
use tokio::runtime::Builder;

use crate::cli::USAGE;
use crate::cli::serve::{CLOSING, http_access, page_access};
use crate::compose;
use crate::config::{Config, Problems, ProcessVars, Vars as _};
use crate::functions::{
    BLOB_CREATED, BLOB_CREATED_FROM_QUEUE, HttpAccess, NAMES, OPERATIONS, PAGE, PageAccess, RECONCILE, SCORINGS, SWEEP,
    blob_created, operations, page, reconcile, scorings, sweep,
};
use crate::rules_in_blob::CurrentApp;
use crate::telemetry::{self, fatal};

/// Why no function runs, or why none runs any more.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Settings(#[from] Problems),
    #[error("`_HANDLER` is `{0}`; expected one of {names}", names = NAMES.join(", "))]
    NoSuchFunction(String),
    #[error("the working directory cannot be read")]
    WorkingDirectory(#[source] io::Error),
    #[error("the async runtime cannot be started")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Compose(#[from] compose::Error),
    /// Lambda's runtime API could not be called, or its loop ended with an error.
    #[error("{0}")]
    Lambda(lambda_runtime::Error),
}

/// Runs the function that Lambda names until Lambda ends the process.
pub fn main(clock: &Clock) -> ExitCode {
    azure::http::choose_cryptography();
    match run(clock) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match &error {
            // One line for each problem, however long.
            Error::Settings(problems) => fatal(USAGE, &problems.to_string()),
            Error::NoSuchFunction(_) => fatal(USAGE, &error_chain(&error)),
            _ => fatal(1, &error_chain(&error)),
        },
    }
}

fn run(clock: &Clock) -> Result<(), Error> {
    let cwd = std::env::current_dir().map_err(Error::WorkingDirectory)?;
    let config = Config::read(&ProcessVars, &cwd)?;
    let function = ProcessVars.get("_HANDLER").unwrap_or_default();
    let runtime = Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let exporting = telemetry::start(&config.log, config.otlp.as_ref(), runtime.handle());
    let app = compose::app(&config, Clock::clone(clock))?;
    runtime.block_on(async {
        let ended = serve(&function, app, http_access(&config), page_access(&config)).await;
        exporting.end(CLOSING).await;
        ended
    })
}

async fn serve(function: &str, app: CurrentApp, access: HttpAccess, shown: PageAccess) -> Result<(), Error> {
    match function {
        BLOB_CREATED | BLOB_CREATED_FROM_QUEUE => lambda_runtime::run(blob_created(app)).await,
        RECONCILE => Box::pin(lambda_runtime::run(reconcile(app))).await,
        SCORINGS => Box::pin(lambda_runtime::run(scorings(app, access))).await,
        OPERATIONS => Box::pin(lambda_runtime::run(operations(app, access))).await,
        PAGE => Box::pin(lambda_runtime::run(page(app, shown))).await,
        SWEEP => Box::pin(lambda_runtime::run(sweep(app))).await,
        other => return Err(Error::NoSuchFunction(other.to_owned())),
    }
    .map_err(Error::Lambda)
}
