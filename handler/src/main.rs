//! Arguments, settings, log, app, host: in this order, and nothing below branches on where it runs.

use std::io::Write;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use app::error_chain;
use app::ledger::Ledger;
use app::ports::Clock;
use clap::{Parser, Subcommand};
use doctor::Caller;
use handler::compose;
use handler::config::{Config, LedgerSettings, ProcessVars, WhichLedger};
use handler::functions::{BLOB_CREATED, BLOB_CREATED_FROM_QUEUE, RECONCILE, blob_created, reconcile};
use handler::hosts::azure::{self, Functions};
use handler::hosts::breakers::{self, BreakerArgs};
use handler::hosts::cli::{self, ListArgs, ResolveArgs};
use handler::hosts::doctor::{self as examination, AppSettings, DoctorArgs};
use handler::hosts::limits::{self, LimitArgs};
use handler::hosts::local::{self, LocalArgs};
use handler::hosts::simulator::{self, SimulatorArgs};
use handler::redacting::Redacting;
use handler::telemetry::{self, fatal};
use simulation::{self, SimulateArgs};
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
    /// Run the whole product on this machine: inbox folder, simulated endpoint, status page. No cloud needed.
    Local(LocalArgs),
    /// Serve the simulated batch endpoint alone, which also misbehaves on order.
    Simulator(SimulatorArgs),
    /// Tell in a few lines how things stand; exit code 1 if something needs attention.
    Status {
        #[command(flatten)]
        which: WhichLedger,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List scorings, the newest first.
    List {
        #[command(flatten)]
        which: WhichLedger,
        #[command(flatten)]
        args: ListArgs,
    },
    /// Show one scoring with its history: what happened, and why.
    Show {
        #[command(flatten)]
        which: WhichLedger,
        /// Its id or the beginning of it, or the blob's URL or path.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how a held scoring goes on: its submission's answer was lost, and looking did not settle it.
    Resolve {
        #[command(flatten)]
        which: WhichLedger,
        /// Its id.
        id: String,
        #[command(flatten)]
        args: ResolveArgs,
    },
    /// Show how much may be in flight and what waits, or set a limit for all processes at once: a number, 0 to pause.
    Limit {
        #[command(flatten)]
        which: WhichLedger,
        #[command(flatten)]
        args: LimitArgs,
    },
    /// Show the circuit breakers of deployments whose attempts fail, or close one for all processes at once.
    Breaker {
        #[command(flatten)]
        which: WhichLedger,
        #[command(flatten)]
        args: BreakerArgs,
    },
    /// Prove each hop from an upload to its predictions, and say how to fix what is broken; makes no job.
    ///
    /// Exit code 1 if there is a fault, 2 if none was found but not everything could be seen. It looks as the app where
    /// the app's identity is at hand, else as whoever is signed in with the Azure CLI.
    Doctor(DoctorArgs),
    /// Run the app itself, many times, in a world where everything fails; tell how it could be made to break a promise.
    ///
    /// Exit code 1 if it could. The same seed and arguments are the same run on any machine; nothing outside of this
    /// process is touched.
    Simulate(SimulateArgs),
    /// Print every setting as it is understood, with where it came from; secrets are masked.
    Config {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The command line or the settings are wrong (`EX_USAGE` of sysexits.h); nothing was begun.
const SETTINGS: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors. Nothing is to be done if it can't be printed.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // An error quotes what was typed, a SAS perhaps.
            let _ = Redacting::new(std::io::stderr()).write_all(error.render().to_string().as_bytes());
            return ExitCode::from(SETTINGS);
        }
    };
    match arguments.command {
        Command::Serve => settings().map_or_else(|code| code, |config| serve(&config)),
        Command::Local(args) => local(&args),
        Command::Simulator(args) => simulator(args),
        Command::Status { which, json } => {
            read(&which, |ledger, now, out| Box::pin(cli::status(ledger, json, now, out)))
        }
        Command::List { which, args } => {
            read(&which, |ledger, _, out| Box::pin(async move { cli::list(ledger, &args, out).await }))
        }
        Command::Show { which, id, json } => {
            read(&which, |ledger, _, out| Box::pin(async move { cli::show(ledger, &id, json, out).await }))
        }
        Command::Resolve { which, id, args } => with_ledger(&which, compose::ledger_to_change, |ledger, now, out| {
            Box::pin(async move { cli::resolve(ledger, &id, args.into(), now, out).await })
        }),
        Command::Limit { which, args } => {
            let open = if args.changes() { compose::ledger_to_change } else { compose::ledger_to_read };
            with_ledger(&which, open, |ledger, now, out| {
                Box::pin(async move { limits::limit(ledger, &args, now, out).await })
            })
        }
        Command::Breaker { which, args } => {
            let open = if args.changes() { compose::ledger_to_change } else { compose::ledger_to_read };
            with_ledger(&which, open, |ledger, now, out| {
                Box::pin(async move { breakers::breaker(ledger, &args, now, out).await })
            })
        }
        Command::Doctor(args) => doctor(&args),
        Command::Simulate(args) => match simulation::simulate(&args, &mut std::io::stdout().lock()) {
            Ok(code) => ExitCode::from(code),
            // A reader that went away (`| head`) is no failure of ours.
            Err(why) if why.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(why) => fatal(1, &format!("the output can't be written: {why}")),
        },
        Command::Config { json } => settings().map_or_else(
            |code| code,
            |config| {
                let text = if json { format!("{:#}\n", config.json()) } else { config.table() };
                // A reader that went away (`| head`) is no failure of ours.
                let _ = Redacting::new(std::io::stdout()).write_all(text.as_bytes());
                ExitCode::SUCCESS
            },
        ),
    }
}

fn cwd() -> Result<PathBuf, ExitCode> {
    std::env::current_dir().map_err(|why| fatal(1, &format!("the working directory can't be read: {why}")))
}

type Reading<'a> = Pin<Box<dyn Future<Output = Result<u8, cli::Error>> + 'a>>;

/// Runs a command that reads a ledger.
fn read<F>(which: &WhichLedger, command: F) -> ExitCode
where
    F: for<'a> FnOnce(&'a Ledger, OffsetDateTime, &'a mut dyn Write) -> Reading<'a>,
{
    with_ledger(which, compose::ledger_to_read, command)
}

/// Runs a command on a ledger.
fn with_ledger<F>(
    which: &WhichLedger,
    open: fn(&LedgerSettings, &Clock) -> Result<Ledger, String>,
    command: F,
) -> ExitCode
where
    F: for<'a> FnOnce(&'a Ledger, OffsetDateTime, &'a mut dyn Write) -> Reading<'a>,
{
    let cwd = match cwd() {
        Ok(cwd) => cwd,
        Err(code) => return code,
    };
    let settings = match LedgerSettings::read(&ProcessVars, &cwd, which) {
        Ok(settings) => settings,
        Err(problems) => return fatal(SETTINGS, &problems.to_string()),
    };
    let clock = clock();
    let ledger = match open(&settings, &clock) {
        Ok(ledger) => ledger,
        Err(why) => return fatal(cli::LEDGER_UNAVAILABLE, &why),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return fatal(1, &format!("no runtime: {why}")),
    };
    let (mut out, mut err) = (Redacting::new(std::io::stdout().lock()), Redacting::new(std::io::stderr().lock()));
    ExitCode::from(runtime.block_on(cli::reported(command(&ledger, clock(), &mut out), &mut err)))
}

fn local(args: &LocalArgs) -> ExitCode {
    telemetry::start_for_people();
    let binary = match std::env::current_exe() {
        Ok(binary) => binary,
        Err(why) => return fatal(1, &format!("this program's own path can't be read: {why}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return fatal(1, &format!("no runtime: {why}")),
    };
    let code = match runtime.block_on(local::run(args, binary, clock())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fatal(1, &error_chain(&why)),
    };
    runtime.shutdown_background();
    code
}

fn simulator(args: SimulatorArgs) -> ExitCode {
    telemetry::start_for_people();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return fatal(1, &format!("no runtime: {why}")),
    };
    let print = |text: String| {
        // A reader that went away is no failure of ours; a pipe is not flushed by a newline.
        let mut out = std::io::stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    };
    let code = match runtime.block_on(simulator::run(args, print)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fatal(1, &error_chain(&why)),
    };
    runtime.shutdown_background();
    code
}

fn doctor(args: &DoctorArgs) -> ExitCode {
    let cwd = match cwd() {
        Ok(cwd) => cwd,
        Err(code) => return code,
    };
    let settings = match AppSettings::read(args, &ProcessVars) {
        Ok(settings) => settings,
        Err(why) => return fatal(SETTINGS, &why),
    };
    let report = match examination::settings(&settings, &cwd) {
        Err(report) => report,
        Ok(config) => {
            let caller = if settings.is_app() { Caller::App } else { Caller::Operator };
            let limit = args.within.0.try_into().unwrap_or_default(); // never negative, see its parser
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(why) => return fatal(1, &format!("no runtime: {why}")),
            };
            match compose::doctor(&config, caller, settings.facts(args), limit, clock()) {
                Ok(doctor) => {
                    let report = runtime.block_on(doctor.examine());
                    // Looks that were given up are not waited for.
                    runtime.shutdown_background();
                    report
                }
                Err(why) => return fatal(SETTINGS, &why),
            }
        }
    };
    match examination::print(&report, args, &mut Redacting::new(std::io::stdout().lock())) {
        // A reader that went away (`| head`) is no failure of ours.
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            fatal(1, &format!("the output can't be written: {why}"))
        }
        _ => ExitCode::from(report.exit_code()),
    }
}

fn settings() -> Result<Config, ExitCode> {
    let cwd = cwd()?;
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
                // One value, two triggers: together they have the places that one has.
                let taking = blob_created(app.clone());
                let functions = Functions::new()
                    .event(BLOB_CREATED, taking.clone())
                    .event(BLOB_CREATED_FROM_QUEUE, taking)
                    .timer(RECONCILE, reconcile(app));
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
