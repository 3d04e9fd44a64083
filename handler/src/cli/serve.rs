//! `scorekeeper serve`: the handler under the Azure Functions host, which starts this command itself (host.json).

use std::io;
use std::process::ExitCode;

use app::ports::Clock;

use super::{all_processors, working_directory};
use crate::compose;
use crate::config::{Config, ProcessVars};
use crate::functions::{BLOB_CREATED, BLOB_CREATED_FROM_QUEUE, RECONCILE, blob_created, reconcile};
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
        /// Why not.
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Compose(#[from] compose::Error),
}

pub(super) fn run(clock: &Clock) -> Result<ExitCode, super::Error> {
    let config = Config::read(&ProcessVars, &working_directory()?)?;
    let port = config.host.port.ok_or(Error::NoPort)?;
    telemetry::start(&config.log);
    for warning in config.all_warnings() {
        tracing::warn!("{warning}");
    }
    let runtime = all_processors()?;
    let code = runtime.block_on(serve(&config, port, clock));
    // Work that is still running is not waited for: what it leaves undone is in the ledger.
    runtime.shutdown_background();
    Ok(ExitCode::from(code?))
}

async fn serve(config: &Config, port: u16, clock: &Clock) -> Result<u8, Error> {
    // First, so that the host's probe is answered while the rest is put together.
    let listening =
        azure::listen(port, config.concurrency, &config.host).map_err(|source| Error::Listen { port, source })?;
    let app = compose::app(config, Clock::clone(clock))?;
    // One value, two triggers: together they have the places that one has.
    let taking = blob_created(app.clone());
    let functions = Functions::new()
        .event(BLOB_CREATED, taking.clone())
        .event(BLOB_CREATED_FROM_QUEUE, taking)
        .timer(RECONCILE, reconcile(app));
    Ok(listening.run(functions).await)
}
