//! `resolve`: what a person says about a scoring that is held. The one command that changes a scoring.

use std::io::Write;

use lifecycle::{Resolution, ScoringId};
use time::OffsetDateTime;

use super::{ATTENTION, Error, OK};
use app::ledger::Ledger;
use app::{self, ResolveOutcome};

/// What is said; exactly one.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct ResolveArgs {
    /// No job exists in Azure ML: send the same submission again, to the same output path
    #[arg(long)]
    pub send_again: bool,
    /// This job is the scoring's: adopt it
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Not to be scored any more: the scoring becomes failed
    #[arg(long)]
    pub give_up: bool,
}

impl From<ResolveArgs> for Resolution {
    fn from(args: ResolveArgs) -> Self {
        match args.job {
            Some(name) => Self::JobIs(name),
            None if args.send_again => Self::SendAgain,
            None => Self::GiveUp,
        }
    }
}

/// `resolve ID`: records it; the next tick acts on it.
pub async fn resolve(
    ledger: &Ledger,
    id: &str,
    resolution: Resolution,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let Some(id) = ScoringId::read(id) else {
        writeln!(
            out,
            "`{id}` is no scoring's id; it has 32 hexadecimal digits, as `scorekeeper list --status held` shows them."
        )?;
        return Ok(ATTENTION);
    };
    match app::resolve(ledger, &id, resolution, now).await? {
        ResolveOutcome::Recorded(scoring) => {
            writeln!(out, "{id} is {} now; the next tick goes on with it.", scoring.status)?;
            Ok(OK)
        }
        ResolveOutcome::Refused(why) => {
            writeln!(out, "Nothing was changed: {why}.")?;
            Ok(ATTENTION)
        }
    }
}
