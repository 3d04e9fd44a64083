//! `scorekeeper output`: where the predictions of a blob are, and the predictions themselves.
//!
//! Told is where people read them: the path that they are published to, if they are. Downloaded is what was verified, from where its
//! attempt wrote it: what lies at a published path may be a newer result by then.

use std::io::Write;
use std::path::PathBuf;

use app::ledger::Ledger;
use doctor::Caller;
use lifecycle::text::visible;
use lifecycle::{Scoring, Status};

use super::download::{Source, Target, download};
use super::ledger_command::Here;
use super::on_ledger::{ATTENTION, Error, OK};
use super::suggested::Suggesting;
use super::wait::{Newest, tell_skipped};
use crate::compose;
use crate::config::identity::is_app;
use crate::config::{LedgerLocation, ProcessVars, RulesAccess, WhichLedger, local};

/// Of which blob, and whether it is fetched.
#[derive(Debug, Clone, clap::Args)]
pub struct OutputArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The blob's URL, its container and path, its path alone, or the id of a scoring
    pub blob: String,
    /// Download it into this folder, or, of one file, as this file [default: the working folder]
    #[arg(long, value_name = "DIR|FILE", num_args = 0..=1, default_missing_value = ".")]
    pub download: Option<PathBuf>,
    /// Overwrite what is there
    #[arg(long, requires = "download")]
    pub force: bool,
}

/// `output`, with or without a download.
pub(super) async fn run(args: &OutputArgs, here: &Here<'_>, out: &mut dyn Write) -> Result<u8, Error> {
    let mut told = Suggesting::new(out, &args.which);
    let scored = scored(here.ledger, &args.blob, &mut told).await?;
    told.flush()?;
    let Some(scored) = scored else { return Ok(ATTENTION) };
    let Some(target) = &args.download else { return print(&scored, &args.blob, out) };
    if scored.iter().all(Scoring::asks_for_no_output) {
        return tell_none(&args.blob, out);
    }
    let target = Target { path: target.clone(), overwrite: args.force };
    Ok(download(&source(here)?, &scored, &target, out).await?)
}

/// Where the outputs lie of what is in this ledger: folders of this machine beside that of a `local`, else storage.
pub(super) fn source(here: &Here<'_>) -> Result<Source, Error> {
    if let LedgerLocation::Embedded(folder) = here.place
        && let Some(datastores) = local::datastores(folder)
    {
        return Ok(Source::Folders(datastores));
    }
    let caller = if is_app(&ProcessVars) { Caller::App } else { Caller::Operator };
    let access = RulesAccess::read(&ProcessVars)?;
    Ok(Source::Storage(Box::new(compose::outputs(&access, caller, here.clock)?)))
}

/// Runs `output` without a download: the URIs of what was scored, one on each line, so that scripts can pass them on.
pub async fn output(ledger: &Ledger, wanted: &str, out: &mut dyn Write) -> Result<u8, Error> {
    let Some(scored) = scored(ledger, wanted, out).await? else { return Ok(ATTENTION) };
    print(&scored, wanted, out)
}

fn print(scored: &[Scoring], wanted: &str, out: &mut dyn Write) -> Result<u8, Error> {
    if scored.iter().all(Scoring::asks_for_no_output) {
        return tell_none(wanted, out);
    }
    for (_, uri) in scored.iter().flat_map(Scoring::result_uris) {
        writeln!(out, "{}", visible(uri))?;
    }
    Ok(OK)
}

fn tell_none(wanted: &str, out: &mut dyn Write) -> Result<u8, Error> {
    writeln!(out, "`{}` is scored; its rule asks for no output.", visible(wanted))?;
    Ok(ATTENTION)
}

/// What is scored of the newest version; `None`: nothing is, which was said.
async fn scored(ledger: &Ledger, wanted: &str, out: &mut dyn Write) -> Result<Option<Vec<Scoring>>, Error> {
    let Newest { scorings: newest, skipped } = Newest::read(ledger, wanted).await?;
    if let Some(skip) = skipped {
        tell_skipped(&skip, wanted, out)?;
        return Ok(None);
    }
    if newest.iter().all(|scoring| scoring.status != Status::Scored) {
        let (name, first) = (visible(wanted), newest.first());
        let is = first.map_or_else(|| "is not in the ledger".to_owned(), |scoring| format!("is {}", scoring.status));
        writeln!(out, "`{name}` {is}; there is no output of its newest version. `scorekeeper explain` says why.")?;
        return Ok(None);
    }
    Ok(Some(newest.into_iter().filter(|scoring| scoring.status == Status::Scored).collect()))
}
