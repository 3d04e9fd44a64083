//! `scorekeeper wait`: until a blob is scored, or ended otherwise.

use std::io::Write;
use std::time::Duration;

use app::ledger::{Ledger, Received, Skipped};
use app::reports;
use lifecycle::text::visible;
use lifecycle::{Scoring, Status};
use tokio::time::Instant;

use super::newest::{newest_version, of_newest_version};
use super::on_ledger::{ATTENTION, Error, OK};
use super::since::Since;
use super::view::{path, utc_text};
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

/// What counts of a blob.
pub(super) struct Newest {
    /// Of its newest version, the latest generation under each rule.
    pub(super) scorings: Vec<Scoring>,
    /// It was skipped, or a version of it that came after those scorings was: what they scored is not what is there.
    pub(super) skipped: Option<Skipped>,
}

impl Newest {
    pub(super) async fn read(ledger: &Ledger, wanted: &str) -> Result<Self, Error> {
        let known = reports::find(ledger, wanted, || ()).await?;
        let newest = newest_version(&known.scorings);
        let (etag, came) = (newest.map(|first| first.blob.etag.clone()), newest.map(|first| first.created));
        let is_newer = |skip: &&Skipped| {
            let is_other = skip.etag.is_none() || skip.etag != etag;
            is_other && came.is_none_or(|came| skip.at > came)
        };
        let skips = known.received.iter().filter_map(|row| match row {
            Received::Skipped(skip) => Some(skip),
            Received::Scoring(_) => None,
        });
        let skipped = skips.filter(is_newer).max_by_key(|skip| skip.at).cloned();
        let scorings = of_newest_version(known.scorings);
        Ok(Self { scorings, skipped })
    }

    pub(super) fn has_ended(&self) -> bool {
        !self.scorings.is_empty() && self.scorings.iter().all(|scoring| scoring.status.is_terminal())
    }
}

/// Says that what is there was skipped.
pub(super) fn tell_skipped(skip: &Skipped, wanted: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let (name, at, reason) = (visible(wanted), utc_text(skip.at), visible(&skip.reason));
    writeln!(out, "`{name}` was skipped at {at} UTC: {reason}. `scorekeeper explain` shows its versions.")
}

/// Runs `wait`: exit code 0 if each rule that wants the newest version of the blob has scored it; 1 if one ended otherwise, if that
/// version was skipped, or if it took too long. A blob of which nothing is known yet is waited for as well: its event may be on the way.
pub async fn wait(ledger: &Ledger, args: &WaitArgs, out: &mut dyn Write) -> Result<u8, Error> {
    let end = Instant::now() + args.timeout.try_into().unwrap_or(Duration::ZERO);
    loop {
        let newest = Newest::read(ledger, &args.blob).await?;
        if let Some(skip) = &newest.skipped {
            tell_skipped(skip, &args.blob, out)?;
            return Ok(ATTENTION);
        }
        let ended = newest.has_ended();
        if ended || Instant::now() >= end {
            for scoring in &newest.scorings {
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
            let scored = newest.scorings.iter().all(|scoring| scoring.status == Status::Scored);
            return Ok(if ended && scored { OK } else { ATTENTION });
        }
        tokio::time::sleep(PAUSE.min(end.saturating_duration_since(Instant::now()))).await;
    }
}
