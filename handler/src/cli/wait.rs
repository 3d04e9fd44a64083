//! `scorekeeper wait`: until a blob is scored, or ended otherwise; and `scorekeeper output`: where its predictions are.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use app::ledger::Ledger;
use app::ports::Clock;
use app::reports;
use lifecycle::text::visible;
use lifecycle::{Scoring, Status};
use tokio::time::Instant;

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::since::Since;
use super::view::path;
use crate::config::WhichLedger;

/// Between two looks into the ledger.
const PAUSE: Duration = Duration::from_secs(2);

/// For which blob, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct WaitArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The blob's URL, its container and path, its path alone, or the id of a scoring
    pub blob: String,
    /// Give up after so long: `90m`, `24h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = Since::time, default_value = "24h")]
    pub timeout: time::Duration,
}

/// Of which blob.
#[derive(Debug, Clone, clap::Args)]
pub struct OutputArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The blob's URL, its container and path, its path alone, or the id of a scoring
    pub blob: String,
}

pub(super) fn run(args: &WaitArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let command = async |ledger: &Ledger, _, out: &mut dyn Write| wait(ledger, args, out).await;
    run_on_ledger(&args.which, Access::Read, clock, command)
}

pub(super) fn run_output(args: &OutputArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let command = async |ledger: &Ledger, _, out: &mut dyn Write| output(ledger, &args.blob, out).await;
    run_on_ledger(&args.which, Access::Read, clock, command)
}

/// The scorings that count: of the newest version of the blob, the latest generation under each rule.
async fn newest(ledger: &Ledger, wanted: &str) -> Result<Vec<Scoring>, Error> {
    let known = reports::find(ledger, wanted, || ()).await?;
    let Some(etag) = known.scorings.first().map(|newest| newest.blob.etag.clone()) else { return Ok(Vec::new()) };
    let mut newest: Vec<Scoring> = Vec::new();
    for scoring in known.scorings.into_iter().filter(|scoring| scoring.blob.etag == etag) {
        if newest.iter().all(|other| other.rule != scoring.rule) {
            newest.push(scoring);
        }
    }
    Ok(newest)
}

/// Runs `wait`: exit code 0 if each rule that wants the newest version of the blob has scored it; 1 if one ended otherwise, or if it
/// took too long. A blob of which nothing is known yet is waited for as well: its event may be on the way.
pub async fn wait(ledger: &Ledger, args: &WaitArgs, out: &mut dyn Write) -> Result<u8, Error> {
    let end = Instant::now() + args.timeout.try_into().unwrap_or(Duration::ZERO);
    loop {
        let newest = newest(ledger, &args.blob).await?;
        let ended = !newest.is_empty() && newest.iter().all(|scoring| scoring.status.is_terminal());
        if ended || Instant::now() >= end {
            for scoring in &newest {
                let error = scoring.error.as_deref().map(|error| format!(": {}", visible(error))).unwrap_or_default();
                writeln!(out, "{}  {:10}  {}{error}", scoring.id, scoring.status, visible(&path(&scoring.blob)))?;
            }
            if !ended {
                let name = visible(&args.blob);
                writeln!(
                    out,
                    "`{name}` did not come to its end in time; `scorekeeper explain` says what it waits for."
                )?;
            }
            let scored = newest.iter().all(|scoring| scoring.status == Status::Scored);
            return Ok(if ended && scored { OK } else { ATTENTION });
        }
        tokio::time::sleep(PAUSE.min(end.saturating_duration_since(Instant::now()))).await;
    }
}

/// Runs `output`: the URIs of what was scored, one on each line, so that scripts can pass them on.
pub async fn output(ledger: &Ledger, wanted: &str, out: &mut dyn Write) -> Result<u8, Error> {
    let newest = newest(ledger, wanted).await?;
    let scored: Vec<_> = newest.iter().filter(|scoring| scoring.status == Status::Scored).collect();
    for (_, uri) in scored.iter().flat_map(|scoring| scoring.output_uris()) {
        writeln!(out, "{}", visible(uri))?;
    }
    if scored.is_empty() {
        let (name, first) = (visible(wanted), newest.first());
        let is = first.map_or_else(|| "is not in the ledger".to_owned(), |scoring| format!("is {}", scoring.status));
        writeln!(out, "`{name}` {is}; there is no output of its newest version. `scorekeeper explain` says why.")?;
        return Ok(ATTENTION);
    }
    Ok(OK)
}
