//! Arguments, settings, log, app, host: in this order, and nothing below branches on where it runs.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use handler::compose;
use handler::config::{Config, ProcessVars};
use handler::functions::{BLOB_CREATED, RECONCILE, blob_created, reconcile};
use handler::hosts::azure::{self, Functions};
use handler::ports::Clock;
use handler::telemetry::{self, fatal};
use time::OffsetDateTime;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Scores every uploaded blob exactly once on an Azure Machine Learning batch endpoint.
#[derive(Debug, Parser)]
#[command(name = "scorekeeper", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Azure Functions host; it starts this command itself (host.json, customHandler).
    Serve,
    /// Print every setting as it is understood, with where it came from; secrets are masked.
    Config {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The settings are wrong (`EX_USAGE` of sysexits.h); nothing was begun.
const SETTINGS: u8 = 64;

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let config = match settings() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match command {
        Command::Serve => serve(&config),
        Command::Config { json } => {
            let text = if json { format!("{:#}\n", config.json()) } else { config.table() };
            // A reader that went away (`| head`) is no failure of ours.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
    }
}

fn settings() -> Result<Config, ExitCode> {
    let cwd =
        std::env::current_dir().map_err(|why| fatal(1, &format!("the working directory can't be read: {why}")))?;
    Config::read(&ProcessVars, &cwd).map_err(|problems| fatal(SETTINGS, &problems.to_string()))
}

fn serve(config: &Config) -> ExitCode {
    let Some(port) = config.host.port else {
        let remedy = "the Functions host sets it; without a host there is `scorekeeper local`";
        return fatal(SETTINGS, &format!("`FUNCTIONS_CUSTOMHANDLER_PORT` is not set; expected a TCP port; {remedy}"));
    };
    telemetry::start(&config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return fatal(1, &format!("no runtime: {why}")),
    };
    let code = runtime.block_on(async {
        let listening = match azure::listen(port, config.concurrency, &config.host) {
            Ok(listening) => listening,
            // The host restarts us on any code but 0, by then the port may be free.
            Err(why) => return fatal(1, &format!("127.0.0.1:{port} can't be listened on: {why}")),
        };
        match compose::app(config, clock()) {
            Ok(app) => {
                let functions =
                    Functions::new().event(BLOB_CREATED, blob_created(app.clone())).timer(RECONCILE, reconcile(app));
                ExitCode::from(listening.run(functions).await)
            }
            Err(why) => fatal(1, &why),
        }
    });
    // Work that is still running is not waited for: what it leaves undone is in the ledger.
    runtime.shutdown_background();
    code
}

#[expect(clippy::disallowed_methods, reason = "time is read in the mains and handed down")]
fn clock() -> Clock {
    Arc::new(OffsetDateTime::now_utc)
}
