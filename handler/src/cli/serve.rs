//! `scorekeeper serve`: the handler under the Azure Functions host, which starts this command itself (host.json).

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use app::ports::Clock;
use lifecycle::text::error_chain;

use super::{all_processors, working_directory};
use crate::compose;
use crate::config::{AtStart, Config, HostFacts, Problems, ProcessVars, WhichLedger};
use crate::functions::{
    BLOB_CREATED, BLOB_CREATED_FROM_QUEUE, HttpAccess, OPERATIONS, PAGE, PAGE_ROUTE, PageAccess, RECONCILE, SCORINGS,
    SWEEP, blob_created, operations, page, reconcile, scorings, sweep,
};
use crate::hosts::azure::{self, Functions};
use crate::telemetry;

/// Why the handler cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody said where the host will call.
    #[error(
        "`FUNCTIONS_CUSTOMHANDLER_PORT` is not set; expected a TCP port; the Functions host sets it; \
         without a host there is `scorekeeper local`"
    )]
    NoPort,
    /// The port is taken. The host restarts the handler on any exit code but 0; by then the port may be free.
    #[error("127.0.0.1:{port} cannot be listened on")]
    Listen {
        port: u16,
        /// What the system answered when the port was bound.
        #[source]
        source: io::Error,
    },
}

/// Why the handler listens and can do nothing else. It stays: the third end within half an hour would end the host, and with
/// it the place where anybody can read why.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    /// A setting is wrong, or several are.
    #[error(transparent)]
    Settings(Problems),
    /// What the settings name cannot be used.
    #[error(transparent)]
    Compose(#[from] compose::Error),
}

/// How long closing may take in the end.
pub(crate) const CLOSING: Duration = Duration::from_secs(2);

pub(super) fn run(clock: &Clock) -> Result<ExitCode, super::Error> {
    let AtStart { host, log, otlp, concurrency, config } = AtStart::read(&ProcessVars, &working_directory()?);
    let port = match (host.port, &config) {
        (Some(port), _) => port,
        // No host started us, so a person did.
        (None, Ok(_)) => return Err(Error::NoPort.into()),
        (None, Err(problems)) => return Err(problems.clone().into()),
    };
    let runtime = all_processors()?;
    let exporting = telemetry::start(&log, otlp.as_ref(), runtime.handle());
    for warning in config.iter().flat_map(Config::all_warnings) {
        tracing::warn!("{warning}");
    }
    let code = runtime.block_on(async {
        let code = serve(config, port, (concurrency, &host), clock).await;
        exporting.end(CLOSING).await;
        code
    });
    // What is idle is closed: an embedded ledger's log goes into its file. Work that is still running is not waited for: what it
    // leaves undone is in the ledger.
    runtime.shutdown_timeout(CLOSING);
    Ok(ExitCode::from(code?))
}

async fn serve(
    config: Result<Config, Problems>,
    port: u16,
    (concurrency, host): (usize, &HostFacts),
    clock: &Clock,
) -> Result<u8, Error> {
    // First, so that the host's probe is answered while the rest is put together.
    let listening = azure::listen(port, concurrency, host).map_err(|source| Error::Listen { port, source })?;
    let functions = config.map_err(Unusable::Settings).and_then(|config| functions(&config, clock));
    Ok(match functions {
        Ok(functions) => listening.run(functions).await,
        Err(unusable) => {
            let why = error_chain(&unusable);
            // The host makes an error of each line there; what is logged it takes for information.
            telemetry::complain(&unusable.to_string());
            listening.refuse(why).await
        }
    })
}

fn functions(config: &Config, clock: &Clock) -> Result<Functions, Unusable> {
    let app = compose::app(config, Clock::clone(clock))?;
    // One value, two triggers: together they have the places that one has.
    let taking = blob_created(app.clone());
    Ok(Functions::new()
        .event(BLOB_CREATED, taking.clone())
        .event(BLOB_CREATED_FROM_QUEUE, taking)
        .timer(RECONCILE, reconcile(app.clone()))
        .timer(SWEEP, sweep(app.clone()))
        .http(SCORINGS, "scorings", scorings(app.clone(), http_access(config)))
        .http(OPERATIONS, "operations", operations(app.clone(), http_access(config)))
        .http(PAGE, PAGE_ROUTE, page(app, page_access(config))))
}

/// Who may ask by HTTP. Nobody is believed to have signed in unless the platform asks for it, and says so.
pub(crate) fn http_access(config: &Config) -> HttpAccess {
    HttpAccess {
        on: config.http,
        signed_in: config.sign_in_required && config.sign_in_on,
        callback_hosts: config.callback_hosts.clone(),
    }
}

/// Who is shown the page.
pub(crate) fn page_access(config: &Config) -> PageAccess {
    // Whoever types a command that the page suggests does so elsewhere.
    let which = WhichLedger {
        ledger: Some(config.ledger.to_string()),
        task_hub: Some(config.task_hub.clone()),
        ..WhichLedger::default()
    };
    PageAccess {
        on: config.page,
        signed_in: config.sign_in_required && config.sign_in_on,
        place: config.ledger.clone(),
        which,
    }
}
