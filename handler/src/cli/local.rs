//! `scorekeeper local`: the arguments of the product without a cloud, which [`crate::local`] runs.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use app::ports::Clock;

use super::all_processors;
use super::expected::{address, shell_command};
use super::rules::given;
use super::serve::CLOSING;
use super::simulator::FaultArgs;
use crate::config::{LOCAL, WhichLedger};
use crate::local;
use crate::telemetry;

/// How `scorekeeper local` runs: its folder, its rules, its page and what the simulated endpoint does wrong.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LocalArgs {
    /// Folder for everything: inbox, outbox, ledger, log
    #[arg(long, value_name = "DIR", default_value = LOCAL)]
    pub data: PathBuf,
    /// Rules to rehearse, in place of one for the whole inbox
    ///
    /// Each container that they name is a folder of the inbox, each datastore one of the outbox; their endpoints are simulated,
    /// as a model or, where a rule asks for what models do not take, as a pipeline. Nothing that the file names is reached. Rules
    /// in a blob are read from it once, as `rules check` reads them: by whoever is signed in with the Azure CLI.
    #[arg(long, value_name = "FILE|URL")]
    pub rules: Option<PathBuf>,
    /// Address of the status page [default: 127.0.0.1:7072, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Let --listen open the page to other machines
    ///
    /// Whoever reaches the address then sees, without any password, the names of all files, their endpoints, jobs, errors and
    /// histories, and the same as JSON; nobody can change anything there. Only the page is opened: the simulator and the
    /// handler stay on this machine. The page travels unencrypted.
    #[arg(long)]
    pub allow_remote: bool,
    /// Shell command that scores one file: reads $SCORE_INPUT, writes $SCORE_OUTPUT, the first by name;
    /// of several also $SCORE_INPUT_name and $SCORE_OUTPUT_name; a UriFolder is a folder [default: a demonstration scorer]
    ///
    /// It is killed with `local`, and so is what it started, unless that leaves its process group (`setsid`).
    #[arg(long, value_name = "COMMAND", value_parser = shell_command)]
    pub score_command: Option<String>,
    /// Faults of the simulated endpoint.
    #[command(flatten)]
    pub fault_args: FaultArgs,
}

impl LocalArgs {
    /// How other commands find the ledger: without an option where that is in its usual place.
    pub(crate) fn which(&self) -> WhichLedger {
        let data = Some(self.data.clone()).filter(|data| data.as_os_str() != LOCAL);
        WhichLedger { data, ..WhichLedger::default() }
    }
}

/// Why it did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The handler is this program again, and its path cannot be read.
    #[error("this program's own path cannot be read")]
    OwnPath(#[source] io::Error),
    #[error(transparent)]
    Local(#[from] local::Error),
}

impl Error {
    /// The command line is what is wrong.
    pub(super) fn is_usage(&self) -> bool {
        matches!(self, Self::Local(local::Error::Remote(_)))
    }

    /// The rules that were to be rehearsed are what is wrong.
    pub(super) fn is_about_rules(&self) -> bool {
        matches!(self, Self::Local(local::Error::Rules { .. }))
    }
}

pub(super) fn run(args: &LocalArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    telemetry::start_for_people();
    let binary = std::env::current_exe().map_err(Error::OwnPath)?;
    let rules = args.rules.as_deref().map(|rules| given(rules, clock)).transpose()?;
    let runtime = all_processors()?;
    let ended = runtime.block_on(local::run(args, rules.as_ref(), binary, Clock::clone(clock)));
    // Of two processes on one ledger the last one closes it, so the handler has ended by now.
    runtime.shutdown_timeout(CLOSING);
    ended.map_err(Error::from)?;
    Ok(ExitCode::SUCCESS)
}
