//! The command line: one file per command, each with its arguments, its run and its errors.
//!
//! Exit codes: 0 fine; 1 something needs attention, or the command failed; 2 the ledger cannot be read (`doctor`: not
//! everything could be seen); 64 the command line or the settings are wrong, nothing was begun. A reader of the output that goes
//! away (`| head`) changes none of them. Output for people goes to a terminal or a file alike; `--json` is for scripts.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use app::error_chain;
use app::ports::Clock;
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use self::ledger_command::LedgerCommand;
use crate::config::Problems;
use crate::redacting::Redacting;
use crate::telemetry::fatal;

#[cfg(feature = "cli")]
pub mod backfill;
pub mod breaker;
mod config;
#[cfg(feature = "cli")]
pub mod coverage;
#[cfg(feature = "cli")]
pub mod dead_letters;
pub mod doctor;
#[cfg(feature = "cli")]
pub mod download;
#[cfg(feature = "dev")]
pub(crate) mod expected;
pub mod explain;
#[cfg(feature = "cli")]
pub mod export;
pub mod filter;
pub mod format;
pub mod json;
pub mod ledger_command;
pub mod limit;
pub mod list;
mod list_events;
#[cfg(feature = "dev")]
pub(crate) mod local;
mod named;
mod newest;
pub mod on_ledger;
pub mod order;
#[cfg(feature = "cli")]
pub mod output;
#[cfg(feature = "cli")]
mod parquet_file;
#[cfg(feature = "dev")]
pub(crate) mod preview;
#[cfg(feature = "cli")]
mod profile;
mod progress;
#[cfg(feature = "cli")]
pub mod projection;
pub mod replay;
pub mod resolve;
mod rules;
#[cfg(feature = "cli")]
mod rules_deployed;
mod rules_grouped;
#[cfg(feature = "cli")]
mod rules_push;
#[cfg(feature = "cli")]
mod run;
pub(crate) mod serve;
#[cfg(feature = "cli")]
mod shell;
pub mod show;
#[cfg(feature = "dev")]
mod simulate;
#[cfg(feature = "dev")]
pub mod simulator;
pub mod since;
pub mod status;
mod suggested;
pub mod sweep;
mod table;
#[cfg(feature = "cli")]
mod terminal;
#[cfg(feature = "dev")]
pub(crate) mod ui;
pub mod view;
#[cfg(feature = "cli")]
pub mod wait;
#[cfg(feature = "cli")]
pub mod watch;

/// Scores every uploaded blob exactly once on an Azure Machine Learning batch endpoint.
#[derive(Debug, Parser)]
#[command(name = "scorekeeper", version = crate::version::text())]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Azure Functions host; it starts this command itself (host.json, customHandler).
    Serve,
    /// Run the whole product on this machine: inbox folder, simulated endpoint, status page. No cloud needed.
    #[cfg(feature = "dev")]
    Local(local::LocalArgs),
    /// Serve only the simulated batch endpoint; it injects faults on request.
    #[cfg(feature = "dev")]
    Simulator(simulator::SimulatorArgs),
    /// What there is to see and to do on a ledger.
    #[cfg(feature = "cli")]
    #[command(flatten)]
    OnLedger(Box<LedgerCommand>),
    /// Show the page of a ledger, on this machine alone, and give the orders of whoever uses it there in your name.
    #[cfg(feature = "dev")]
    Ui(ui::UiArgs),
    /// Prove each hop from an upload to its predictions, and say how to fix what is broken; makes no job.
    ///
    /// Exit code 1 if there is a fault, 2 if none was found but not everything could be seen. It looks as the app where
    /// the app's identity is at hand, else as whoever is signed in with the Azure CLI.
    Doctor(doctor::DoctorArgs),
    /// Show what accounts for the versions of each rule and day; print the manifests of days, or prove that they hold.
    ///
    /// Exit code 1 if something is unaccounted for, or does not hold.
    #[cfg(feature = "cli")]
    Coverage(coverage::CoverageArgs),
    /// Take in what lay in a place before its rule watched it, or score a place once more as another generation.
    #[cfg(feature = "cli")]
    Backfill(Box<backfill::BackfillArgs>),
    /// Take in what Event Grid could not deliver, at once: the function Sweep does it every few minutes.
    #[cfg(feature = "cli")]
    DeadLetters(dead_letters::DeadLettersArgs),
    /// Run the app itself many times in a simulated world where everything fails, and report invariant violations.
    ///
    /// Exit code 1 if there is one. The same seed and arguments are the same run on any machine; nothing outside of this
    /// process is touched.
    #[cfg(feature = "dev")]
    Simulate(simulation::SimulateArgs),
    /// Score blobs now: under a rule of the app, or at an endpoint that you name, as whoever is signed in.
    #[cfg(feature = "cli")]
    Run(Box<run::RunArgs>),
    /// Check rules, say what they make of a blob, or put them into the blob that the app reads; needs no ledger.
    Rules(rules::RulesArgs),
    /// Name ledgers, so that commands find them by a name.
    #[cfg(feature = "cli")]
    Profile(profile::ProfileArgs),
    /// Print completions for a shell.
    #[cfg(feature = "cli")]
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write those of all commands.
    #[cfg(feature = "cli")]
    Man(shell::ManArgs),
    /// Print every setting as it is understood, with where it came from; secrets are masked.
    Config(config::ConfigArgs),
}

/// The command line or the settings are wrong (`EX_USAGE` of sysexits.h); nothing was begun.
pub(crate) const USAGE: u8 = 64;

/// Why a command could not do its work. The variant decides the exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Settings or options that cannot be used, each with its remedy; nothing was begun.
    #[error(transparent)]
    Settings(#[from] Problems),
    /// Relative paths and the default ledger begin there.
    #[error("the working directory cannot be read")]
    WorkingDirectory(#[source] io::Error),
    /// No threads, no file descriptors.
    #[error("the async runtime cannot be started")]
    Runtime(#[source] io::Error),
    /// Nobody reads stdout, or it is full.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
    /// A command on the ledger.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    OnLedger(#[from] on_ledger::Error),
    /// What was asked of an answer.
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Json(json::Error),
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Profiles(#[from] crate::config::profiles::Error),
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Coverage(#[from] coverage::Error),
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Backfill(#[from] backfill::Error),
    #[cfg(feature = "cli")]
    #[error(transparent)]
    DeadLetters(#[from] dead_letters::Error),
    #[cfg(feature = "cli")]
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error(transparent)]
    Serve(#[from] serve::Error),
    #[error(transparent)]
    Doctor(#[from] doctor::Error),
    #[error(transparent)]
    Rules(#[from] rules::Error),
    #[cfg(feature = "dev")]
    #[error(transparent)]
    Local(#[from] local::Error),
    #[cfg(feature = "dev")]
    #[error(transparent)]
    Ui(#[from] ui::Error),
    #[cfg(feature = "dev")]
    #[error(transparent)]
    Simulator(#[from] simulator::Error),
}

impl From<json::Error> for Error {
    fn from(error: json::Error) -> Self {
        match error {
            json::Error::Output(source) => Self::Output(source),
            #[cfg(feature = "cli")]
            json::Error::Query { .. } => Self::Json(error),
        }
    }
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Doctor(_) | Self::Serve(serve::Error::NoPort) => USAGE,
            Self::Rules(error) if error.is_usage() => USAGE,
            #[cfg(feature = "cli")]
            Self::Run(error) if error.is_usage() => USAGE,
            #[cfg(feature = "cli")]
            Self::Profiles(error) if profile::is_usage(error) => USAGE,
            // A simulation whose reader went away (`| head`) ends; other commands are not told of that.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            #[cfg(feature = "cli")]
            Self::Json(_) => USAGE,
            #[cfg(feature = "cli")]
            Self::OnLedger(on_ledger::Error::Json(_) | on_ledger::Error::Settings(_)) => USAGE,
            #[cfg(feature = "cli")]
            Self::OnLedger(on_ledger::Error::Download(_)) => 1,
            #[cfg(feature = "cli")]
            Self::OnLedger(on_ledger::Error::Output(_)) => 1,
            #[cfg(feature = "cli")]
            Self::OnLedger(_) => on_ledger::LEDGER_UNAVAILABLE,
            #[cfg(feature = "dev")]
            Self::Local(error) if error.is_about_rules() || error.is_usage() => USAGE,
            #[cfg(feature = "dev")]
            Self::Ui(ui::Error::Remote(_)) => USAGE,
            _ => 1,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            #[cfg(feature = "cli")]
            Self::OnLedger(error) => error.remedy(),
            _ => None,
        }
    }
}

/// A command on a ledger, as the shell splits it.
#[derive(Debug, Parser)]
#[command(name = "scorekeeper")]
struct OnLedger {
    #[command(subcommand)]
    command: LedgerCommand,
}

/// Reads a command line as the shell splits it, without the program's name; it must be of a command on a ledger.
///
/// For whoever has a ledger open already. An error is what is printed of a line that is wrong.
pub fn read_ledger_command(line: &[&str]) -> Result<LedgerCommand, clap::Error> {
    let line = std::iter::once("scorekeeper").chain(line.iter().copied());
    Ok(OnLedger::try_parse_from(line)?.command)
}

/// Reads the command line and runs the command it names. `clock` is what every command takes for now.
pub fn main(clock: &Clock) -> ExitCode {
    azure::http::choose_cryptography();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors. Nothing is to be done if they cannot be printed.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // An error quotes what was typed, a SAS perhaps.
            let _ = Redacting::new(io::stderr()).write_all(error.render().to_string().as_bytes());
            return ExitCode::from(USAGE);
        }
    };
    match run(arguments.command, clock) {
        Ok(code) => code,
        Err(error) => match error.exit_code() {
            0 => ExitCode::SUCCESS,
            code => {
                let remedy = error.remedy().map(|remedy| format!("; {remedy}")).unwrap_or_default();
                let text = match &error {
                    // One line for each problem, however long.
                    Error::Settings(problems) => problems.to_string(),
                    #[cfg(feature = "dev")]
                    Error::Local(error) if error.is_about_rules() => error.to_string(),
                    error => error_chain(error),
                };
                fatal(code, &format!("{text}{remedy}"))
            }
        },
    }
}

fn run(command: Command, clock: &Clock) -> Result<ExitCode, Error> {
    match command {
        Command::Serve => serve::run(clock),
        #[cfg(feature = "dev")]
        Command::Local(args) => local::run(&args, clock),
        #[cfg(feature = "dev")]
        Command::Ui(args) => ui::run(&args, clock),
        #[cfg(feature = "dev")]
        Command::Simulator(args) => simulator::run(args),
        #[cfg(feature = "cli")]
        Command::OnLedger(command) => ledger_command::run(&command, clock),
        #[cfg(feature = "cli")]
        Command::Profile(args) => profile::run(&args),
        #[cfg(feature = "cli")]
        Command::Completions(args) => shell::completions(&args),
        #[cfg(feature = "cli")]
        Command::Man(args) => shell::man(&args),
        Command::Doctor(args) => doctor::run(&args, clock),
        #[cfg(feature = "cli")]
        Command::Coverage(args) => coverage::run(&args, clock),
        #[cfg(feature = "cli")]
        Command::Backfill(args) => backfill::run(&args, clock),
        #[cfg(feature = "cli")]
        Command::DeadLetters(args) => dead_letters::run(&args, clock),
        #[cfg(feature = "dev")]
        Command::Simulate(args) => simulate::run(&args),
        #[cfg(feature = "cli")]
        Command::Run(args) => run::run(&args, clock),
        Command::Rules(args) => rules::run(&args, clock),
        Command::Config(args) => config::run(&args, clock),
    }
}

fn working_directory() -> Result<PathBuf, Error> {
    std::env::current_dir().map_err(Error::WorkingDirectory)
}

/// One thread: for a command that asks a question and ends.
fn one_thread() -> Result<Runtime, Error> {
    Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)
}

/// All processors: for what serves.
fn all_processors() -> Result<Runtime, Error> {
    Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)
}
