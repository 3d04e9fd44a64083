//! The commands on a ledger: which there are, what each needs, and how one runs on a ledger that is open.

use std::io::Write;
#[cfg(feature = "cli")]
use std::{io, process::ExitCode};

use app::ledger::Ledger;
use app::ports::Clock;
use clap::Subcommand;
use lifecycle::Verb;

#[cfg(feature = "cli")]
use super::on_ledger::Access;
use super::on_ledger::Error;
use super::order::Doing;
use super::suggested::Suggesting;
use super::{breaker, explain, limit, list, order, replay, resolve, show, status, sweep};
#[cfg(feature = "cli")]
use super::{export, output, projection, wait};
#[cfg(feature = "cli")]
use super::{one_thread, terminal, working_directory};
use crate::config::{LedgerLocation, WhichLedger};
#[cfg(feature = "cli")]
use crate::{
    compose,
    config::{LedgerSettings, ProcessVars, Vars},
    redacting::Redacting,
};

/// A command on a ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
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
    /// Print where the predictions of a blob are, or download them.
    #[cfg(feature = "cli")]
    Output(output::OutputArgs),
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
    /// Publish what is scored and could not be published, by its rule as it is now: the result that was verified is copied, and no job
    /// is made.
    Publish(order::OrderArgs),
    /// Take blobs in as they are now, under the rules as they are now: their events were skipped, could not be read, or never came.
    Replay(replay::ReplayArgs),
    /// Have what lies in the rules' places held against the ledger now: what no event told of is taken in.
    Sweep(sweep::SweepArgs),
    /// Acknowledge that scorings failed, that jobs of them were orphaned, or that events cannot be read: they need no attention
    /// any more.
    Ack(order::OrderArgs),
    /// Send nothing more of a rule or to an endpoint, in all processes, until it is resumed. Running jobs go on.
    Pause(limit::PauseArgs),
    /// End a pause: what held before it holds again.
    Resume(limit::PauseArgs),
    /// Show how much may be in flight and what waits, or set a limit for all processes at once: a number, 0 to pause.
    Limit(limit::LimitArgs),
    /// Write the tables that Durable Functions' tools read again: after the projection was off, or when a tool has changed rows.
    #[cfg(feature = "cli")]
    Projection(projection::ProjectionArgs),
    /// Show the circuit breakers of deployments whose attempts fail, or close one for all processes at once.
    Breaker(breaker::BreakerArgs),
}

/// On which ledger a command runs, by whom and for whom.
pub struct Here<'a> {
    /// The ledger that the command's options name, opened for what it does.
    pub ledger: &'a Ledger,
    /// Where the ledger lies; beside an embedded one lie the outputs that `local` made.
    pub place: &'a LedgerLocation,
    /// Who gives the command, for the history.
    pub by: &'a str,
    /// Characters of a line of the terminal; none: it is no terminal.
    pub columns: Option<usize>,
    /// Tells the time that ages, back-offs and the history are of.
    pub clock: &'a Clock,
}

impl LedgerCommand {
    /// What is done to scorings, and which, if it is an order.
    fn order(&self) -> Option<(Doing, &order::OrderArgs)> {
        Some(match self {
            Self::Retry(args) => (Verb::Retry.into(), args),
            Self::Cancel(args) => (Verb::Cancel.into(), args),
            Self::Skip(args) => (Verb::Skip.into(), args),
            Self::Hold(args) => (Verb::Hold.into(), args),
            Self::Release(args) => (Verb::Release.into(), args),
            Self::Expedite(args) => (Verb::Expedite.into(), args),
            Self::Publish(args) => (Verb::Publish.into(), args),
            Self::Ack(args) => (Verb::Acknowledge.into(), args),
            Self::Rescore(args) => (Doing::Rescore, args),
            _ => return None,
        })
    }

    /// Which ledger it is about, and whether it changes anything there.
    #[cfg(feature = "cli")]
    fn needs(&self) -> (&WhichLedger, Access) {
        let changes = |changes| if changes { Access::Write } else { Access::Read };
        match self {
            Self::Status(args) => (&args.which, Access::Read),
            Self::List(args) => (&args.which, Access::Read),
            Self::Show(args) => (&args.which, Access::Read),
            Self::Explain(args) => (&args.which, Access::Read),
            #[cfg(feature = "cli")]
            Self::Wait(args) => (&args.which, Access::Read),
            #[cfg(feature = "cli")]
            Self::Output(args) => (&args.which, Access::Read),
            #[cfg(feature = "cli")]
            Self::Export(args) => (&args.which, Access::Read),
            Self::Resolve(args) => (&args.which, Access::Write),
            Self::Replay(args) => (&args.which, changes(!args.dry_run)),
            Self::Sweep(args) => (&args.which, Access::Write),
            #[cfg(feature = "cli")]
            Self::Projection(args) => (&args.which, Access::Write),
            Self::Pause(args) | Self::Resume(args) => (&args.which, Access::Write),
            Self::Limit(args) => (&args.which, changes(args.new_limit.is_some())),
            Self::Breaker(args) => (&args.which, changes(args.action.is_some())),
            Self::Retry(args)
            | Self::Cancel(args)
            | Self::Skip(args)
            | Self::Hold(args)
            | Self::Release(args)
            | Self::Expedite(args)
            | Self::Publish(args)
            | Self::Ack(args)
            | Self::Rescore(args) => (&args.which, changes(!args.dry_run)),
        }
    }

    /// Runs it on a ledger that is open: its answer is the exit code. What it tells people suggests commands on the same ledger; what
    /// is for scripts, and rows of a table, which have their width, it prints as they are.
    pub async fn run(&self, here: &Here<'_>, out: &mut dyn Write) -> Result<u8, Error> {
        let Some(which) = self.tells_people() else { return self.run_on(here, out).await };
        let mut told = Suggesting::new(out, which);
        let code = self.run_on(here, &mut told).await;
        told.flush()?;
        code
    }

    /// The ledger that the commands are on which it suggests; `None`: it is asked for data, or sees to that itself.
    fn tells_people(&self) -> Option<&WhichLedger> {
        if let Some((_, args)) = self.order() {
            return (!args.json.is_asked_for()).then_some(&args.which);
        }
        let (which, json) = match self {
            Self::Status(args) => (&args.which, args.json.is_asked_for()),
            Self::Show(args) => (&args.which, args.json.is_asked_for()),
            Self::Explain(args) => (&args.which, args.json.is_asked_for()),
            #[cfg(feature = "cli")]
            Self::Wait(args) => (&args.which, false),
            Self::Resolve(args) => (&args.which, false),
            Self::Replay(args) => (&args.which, false),
            Self::Sweep(args) => (&args.which, false),
            Self::Pause(args) | Self::Resume(args) => (&args.which, false),
            Self::Limit(args) => (&args.which, args.json.is_asked_for()),
            Self::Breaker(args) => (&args.which, args.json.is_asked_for()),
            _ => return None,
        };
        (!json).then_some(which)
    }

    async fn run_on(&self, here: &Here<'_>, out: &mut dyn Write) -> Result<u8, Error> {
        let Here { ledger, by, .. } = *here;
        let now = (here.clock)();
        if let Some((doing, args)) = self.order() {
            return order::order(ledger, doing, args, by, now, out).await;
        }
        match self {
            Self::Status(args) => status::run(args, here, out).await,
            Self::List(args) => list::run(args, here, out).await,
            Self::Show(args) => show::show(ledger, &args.which, &args.id, &args.json, now, out).await,
            Self::Explain(args) => explain::explain(ledger, &args.which, &args.blob, &args.json, now, out).await,
            #[cfg(feature = "cli")]
            Self::Wait(args) => wait::wait(ledger, args, out).await,
            #[cfg(feature = "cli")]
            Self::Output(args) => output::run(args, here, out).await,
            #[cfg(feature = "cli")]
            Self::Export(args) => export::export(ledger, args, now, out).await,
            Self::Resolve(args) => resolve::resolve(ledger, args, by, now, out).await,
            Self::Replay(args) => replay::replay(ledger, args, by, now, out).await,
            Self::Sweep(args) => sweep::sweep(ledger, args, now, out).await,
            #[cfg(feature = "cli")]
            Self::Projection(args) => projection::projection(ledger, args, out).await,
            Self::Pause(args) => limit::pause(ledger, true, args, by, now, out).await,
            Self::Resume(args) => limit::pause(ledger, false, args, by, now, out).await,
            Self::Limit(args) => limit::limit(ledger, args, by, now, out).await,
            Self::Breaker(args) => breaker::breaker(ledger, args, by, now, out).await,
            // Told above.
            _ => Ok(super::USAGE),
        }
    }
}

/// Opens the ledger that the command line or the settings name, and runs the command on it.
#[cfg(feature = "cli")]
pub(super) fn run(command: &LedgerCommand, clock: &Clock) -> Result<ExitCode, super::Error> {
    let (which, access) = command.needs();
    let settings = LedgerSettings::read(&ProcessVars, &working_directory()?, which)?;
    let opened = compose::ledger_alone(&settings, clock, access).map_err(Error::from)?;
    let runtime = one_thread()?;
    let stdout = io::stdout().lock();
    let is_binary = matches!(command, LedgerCommand::Export(args) if args.output == export::ExportFormat::Parquet);
    let mut out = if is_binary { Redacting::binary(stdout) } else { Redacting::new(stdout) };
    let code = runtime.block_on(async {
        // What only reads stands in no history.
        let holder = if access == Access::Write { opened.holder().await } else { None };
        let by = holder.unwrap_or_else(|| user(&ProcessVars));
        let (ledger, place, columns) = (&opened.ledger, &settings.ledger, terminal::columns());
        command.run(&Here { ledger, place, by: &by, columns, clock }, &mut out).await
    })?;
    out.flush()?;
    Ok(ExitCode::from(code))
}

/// Opens the ledger that the command line or the settings name.
#[cfg(feature = "cli")]
pub(super) fn opened_for(
    which: &WhichLedger,
    access: Access,
    cwd: &std::path::Path,
    clock: &Clock,
) -> Result<(LedgerSettings, compose::LedgerAlone), super::Error> {
    let settings = LedgerSettings::read(&ProcessVars, cwd, which)?;
    let opened = compose::ledger_alone(&settings, clock, access).map_err(Error::from)?;
    Ok((settings, opened))
}

/// Who gives a command, for the history.
#[cfg(feature = "cli")]
pub(super) async fn by(opened: &compose::LedgerAlone) -> String {
    opened.holder().await.unwrap_or_else(|| user(&ProcessVars))
}

/// The user of this machine, for a ledger that asks for no token.
#[cfg(feature = "cli")]
pub(crate) fn user(vars: &dyn Vars) -> String {
    let name = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| vars.get(name));
    name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "an unnamed user".to_owned())
}
