//! `resolve`: what an operator says about a scoring that is held.

use std::io::Write;

use app::ledger::Ledger;
use app::{self, ResolveOutcome};
use lifecycle::{Resolution, ResolveOrder, Scoring, Status};
use time::OffsetDateTime;

use super::named::by_id;
use super::on_ledger::{ATTENTION, Error, OK};
use crate::config::WhichLedger;

/// Which scoring, and what is said of it.
#[derive(Debug, Clone, clap::Args)]
pub struct ResolveArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The scoring's id or an unambiguous beginning of it, or its blob: URL, container and path, or path
    pub id: String,
    /// What is said; exactly one.
    #[command(flatten)]
    pub said: ResolutionArgs,
    /// Give up a group, and so all its members
    #[arg(long)]
    pub yes: bool,
    /// Why: it stands in the history, with who said it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
}

/// What is said; exactly one.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct ResolutionArgs {
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

impl From<ResolutionArgs> for Resolution {
    fn from(said: ResolutionArgs) -> Self {
        match said.job {
            Some(name) => Self::JobIs(name),
            None if said.send_again => Self::SendAgain,
            None => Self::GiveUp,
        }
    }
}

/// `resolve ID`: records it; the next reconcile run acts on it.
pub async fn resolve(
    ledger: &Ledger,
    args: &ResolveArgs,
    by: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let reason = args.reason.trim();
    if reason.is_empty() {
        writeln!(out, "Nothing was changed: --reason is empty; it tells whoever reads the history why.")?;
        return Ok(ATTENTION);
    }
    let Some(scoring) = by_id(ledger, &args.id, out).await? else { return Ok(ATTENTION) };
    if let Some(group) = scoring.group().filter(|_| args.said.give_up && !args.yes && scoring.status == Status::Held) {
        let (id, members) = (&scoring.id, group.members.len());
        writeln!(
            out,
            "{id} is a group of {members}, all of which would fail; nothing was changed; to do it, add --yes."
        )?;
        return Ok(ATTENTION);
    }
    let Scoring { id, .. } = scoring;
    let order = ResolveOrder { resolution: args.said.clone().into(), by: by.to_owned(), reason: reason.to_owned() };
    match app::resolve(ledger, &id, &order, now).await? {
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
