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
use lifecycle::Verb;
use tokio::runtime::{Builder, Runtime};

use crate::config::Problems;
use crate::redacting::Redacting;
use crate::telemetry::fatal;

pub mod breaker;
mod config;
pub mod doctor;
#[cfg(feature = "dev")]
pub(crate) mod expected;
pub mod explain;
#[cfg(feature = "cli")]
pub mod export;
pub mod format;
pub mod limit;
pub mod list;
#[cfg(feature = "dev")]
pub(crate) mod local;
mod named;
pub mod on_ledger;
pub mod order;
mod progress;
pub mod replay;
pub mod resolve;
mod rules;
mod serve;
#[cfg(feature = "cli")]
mod shell;
pub mod show;
#[cfg(feature = "dev")]
mod simulate;
#[cfg(feature = "dev")]
pub mod simulator;
pub mod since;
pub mod status;
pub mod view;
#[cfg(feature = "cli")]
pub mod wait;

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
    /// Show a summary; exit code 1 if something needs attention.
    Status(status::StatusArgs),
    /// List scorings, the newest first.
    List(list::ListArgs),
    /// Show a scoring with its history, or all of a blob: what happened, and why.
    Show(show::ShowArgs),
    /// Explain why a blob was scored, why not, why not yet, or why never: each version, each rule, the event as it came.
    Explain(explain::ExplainArgs),
    /// Wait until a blob is scored, or ended otherwise.
    #[cfg(feature = "cli")]
    Wait(wait::WaitArgs),
    /// Print where the predictions of a blob are.
    #[cfg(feature = "cli")]
    Output(wait::OutputArgs),
    /// Print every scoring that a filter names, for other tools.
    #[cfg(feature = "cli")]
    Export(export::ExportArgs),
    /// Resolve a held scoring: its submission's answer was lost, and the search was inconclusive.
    Resolve(resolve::ResolveArgs),
    /// Try scorings again that failed, were cancelled or are gone; or end the back-off of queued ones.
    Retry(order::OrderArgs),
    /// Do not score these: what is queued or held ends at once, the cancellation of a job is requested.
    Cancel(order::OrderArgs),
    /// Do not score these, as long as no job runs for them: one that runs is left alone.
    Skip(order::OrderArgs),
    /// Do not send what is queued before it is released.
    Hold(order::OrderArgs),
    /// Let go what was put on hold.
    Release(order::OrderArgs),
    /// Send what is queued before all others of its endpoint, without its back-off.
    Expedite(order::OrderArgs),
    /// Score once more what is scored, as another generation, under its rule as it is now.
    Rescore(order::OrderArgs),
    /// Take blobs in as they are now, under the rules as they are now: their events were skipped, could not be read, or never came.
    Replay(replay::ReplayArgs),
    /// Acknowledge that scorings failed, that jobs of them were orphaned, or that events cannot be read: they need no attention
    /// any more.
    Ack(order::OrderArgs),
    /// Send nothing more of a rule or to an endpoint, in all processes, until it is resumed. Running jobs go on.
    Pause(limit::PauseArgs),
    /// End a pause: what held before it holds again.
    Resume(limit::PauseArgs),
    /// Show how much may be in flight and what waits, or set a limit for all processes at once: a number, 0 to pause.
    Limit(limit::LimitArgs),
    /// Show the circuit breakers of deployments whose attempts fail, or close one for all processes at once.
    Breaker(breaker::BreakerArgs),
    /// Prove each hop from an upload to its predictions, and say how to fix what is broken; makes no job.
    ///
    /// Exit code 1 if there is a fault, 2 if none was found but not everything could be seen. It looks as the app where
    /// the app's identity is at hand, else as whoever is signed in with the Azure CLI.
    Doctor(doctor::DoctorArgs),
    /// Run the app itself many times in a simulated world where everything fails, and report invariant violations.
    ///
    /// Exit code 1 if there is one. The same seed and arguments are the same run on any machine; nothing outside of this
    /// process is touched.
    #[cfg(feature = "dev")]
    Simulate(simulation::SimulateArgs),
    /// Check rules, or say what they make of a blob; needs no ledger and no cloud.
    Rules(rules::RulesArgs),
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
    /// The settings are wrong.
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
    #[error(transparent)]
    OnLedger(#[from] on_ledger::Error),
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
    Simulator(#[from] simulator::Error),
}

impl Error {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Doctor(_) | Self::Rules(_) | Self::Serve(serve::Error::NoPort) => USAGE,
            // A simulation whose reader went away (`| head`) ends; other commands are not told of that.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::OnLedger(on_ledger::Error::Output(_)) => 1,
            Self::OnLedger(_) => on_ledger::LEDGER_UNAVAILABLE,
            #[cfg(feature = "dev")]
            Self::Local(error) if error.is_about_rules() || error.is_usage() => USAGE,
            _ => 1,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::OnLedger(error) => error.remedy(),
            _ => None,
        }
    }
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
        Command::Simulator(args) => simulator::run(args),
        Command::Status(args) => status::run(&args, clock),
        Command::List(args) => list::run(&args, clock),
        Command::Show(args) => show::run(&args, clock),
        Command::Explain(args) => explain::run(&args, clock),
        #[cfg(feature = "cli")]
        Command::Wait(args) => wait::run(&args, clock),
        #[cfg(feature = "cli")]
        Command::Output(args) => wait::run_output(&args, clock),
        #[cfg(feature = "cli")]
        Command::Export(args) => export::run(&args, clock),
        #[cfg(feature = "cli")]
        Command::Completions(args) => Ok(shell::completions(&args)),
        #[cfg(feature = "cli")]
        Command::Man(args) => shell::man(&args),
        Command::Resolve(args) => resolve::run(args, clock),
        Command::Retry(args) => order::run(Verb::Retry, &args, clock),
        Command::Cancel(args) => order::run(Verb::Cancel, &args, clock),
        Command::Skip(args) => order::run(Verb::Skip, &args, clock),
        Command::Hold(args) => order::run(Verb::Hold, &args, clock),
        Command::Release(args) => order::run(Verb::Release, &args, clock),
        Command::Expedite(args) => order::run(Verb::Expedite, &args, clock),
        Command::Rescore(args) => order::run(order::Doing::Rescore, &args, clock),
        Command::Replay(args) => replay::run(&args, clock),
        Command::Pause(args) => limit::run_pause(true, &args, clock),
        Command::Resume(args) => limit::run_pause(false, &args, clock),
        Command::Ack(args) => order::run(Verb::Acknowledge, &args, clock),
        Command::Limit(args) => limit::run(&args, clock),
        Command::Breaker(args) => breaker::run(&args, clock),
        Command::Doctor(args) => doctor::run(&args, clock),
        #[cfg(feature = "dev")]
        Command::Simulate(args) => simulate::run(&args),
        Command::Rules(args) => rules::run(&args, clock),
        Command::Config(args) => config::run(&args),
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
