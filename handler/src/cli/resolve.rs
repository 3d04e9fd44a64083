//! `resolve`: what an operator says about a scoring that is held.

use std::io::Write;
use std::process::ExitCode;

use app::ledger::Ledger;
use app::ports::Clock;
use app::{self, ResolveOutcome};
use lifecycle::{Resolution, Scoring};
use time::OffsetDateTime;

use super::named::by_id;
use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use crate::config::WhichLedger;

/// Which scoring, and what is said of it.
#[derive(Debug, Clone, clap::Args)]
pub struct ResolveArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The scoring's id, or an unambiguous beginning of it
    pub id: String,
    /// What is said; exactly one.
    #[command(flatten)]
    pub said: Said,
}

/// What is said; exactly one.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Said {
    /// No job exists in Azure ML: send the same submission again, to the same output path
    #[arg(long)]
    pub send_again: bool,
    /// This job is the scoring's: adopt it
    #[arg(long, value_name = "NAME")]
    pub job: Option<lifecycle::JobName>,
    /// Not to be scored any more: the scoring becomes failed
    #[arg(long)]
    pub give_up: bool,
}

impl From<Said> for Resolution {
    fn from(said: Said) -> Self {
        match said.job {
            Some(name) => Self::JobIs(name),
            None if said.send_again => Self::SendAgain,
            None => Self::GiveUp,
        }
    }
}

pub(super) fn run(args: ResolveArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let (id, resolution) = (args.id, args.said.into());
    let command = async |ledger: &Ledger, now, out: &mut dyn Write| resolve(ledger, &id, resolution, now, out).await;
    run_on_ledger(&args.which, Access::Write, clock, command)
}

/// `resolve ID`: records it; the next reconcile run acts on it.
pub async fn resolve(
    ledger: &Ledger,
    id: &str,
    resolution: Resolution,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let Some(Scoring { id, .. }) = by_id(ledger, id, out).await? else { return Ok(ATTENTION) };
    match app::resolve(ledger, &id, resolution, now).await? {
        ResolveOutcome::Recorded { scoring, .. } => {
            writeln!(out, "{id} is {} now; the next reconcile run continues with it.", scoring.status)?;
            Ok(OK)
        }
        ResolveOutcome::Refused(why) => {
            writeln!(out, "Nothing was changed: {why}.")?;
            Ok(ATTENTION)
        }
    }
}
