//! `scorekeeper projection rebuild`: has the tables for Durable Functions' tools written again from the ledger.

use std::io::Write;

use app::ledger::Ledger;

use super::on_ledger::{Error, OK};
use crate::config::WhichLedger;

/// What to do with the projection.
#[derive(Debug, Clone, clap::Args)]
pub struct ProjectionArgs {
    /// `rebuild`: write every scoring's rows again, whatever a tool has made of them
    #[arg(value_name = "rebuild")]
    pub action: Action,
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
}

/// What can be done with the projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Write it again.
    Rebuild,
}

/// Marks every scoring, so that the next reconcile runs write its rows of the projection again. Done twice it does no more than once.
pub async fn projection(ledger: &Ledger, args: &ProjectionArgs, out: &mut dyn Write) -> Result<u8, Error> {
    let Action::Rebuild = args.action;
    let marked = ledger.project_again().await.map_err(Error::Write)?;
    let hub = ledger.task_hub();
    writeln!(
        out,
        "Scorings marked: {marked}. The next reconcile runs write their rows in {hub}Instances and {hub}History again."
    )?;
    writeln!(out, "An app whose SCOREKEEPER_PROJECTION is off does not.")?;
    Ok(OK)
}
