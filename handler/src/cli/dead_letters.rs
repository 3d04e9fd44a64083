//! `scorekeeper dead-letters`: takes in what Event Grid could not deliver, at once and as the app does, by its settings and rules.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use app::ports::Clock;
use app::{DeadLetterReport, TooOld};
use lifecycle::duration::IsoDuration;

use super::json::JsonArgs;
use super::on_ledger::{ATTENTION, OK};
use super::{config, one_thread, working_directory};
use crate::compose;
use crate::functions::Failure;
use crate::redacting::Redacting;

/// Which, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub struct DeadLettersArgs {
    /// With the ledger of this profile [default: `SCOREKEEPER_PROFILE`, unless the environment names a ledger]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Also those that are older than what the ledger remembers: what they tell of may have been scored, and is scored again then
    #[arg(long)]
    pub too_old: bool,
    /// How long it may take; what is left then is taken in by the function Sweep
    #[arg(long, value_name = "DURATION", default_value = "PT10M", value_parser = super::doctor::limit)]
    pub within: IsoDuration,
    /// Whether what was taken in is told as JSON, or as text for people.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Why none was taken in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The app cannot be put together from the settings.
    #[error(transparent)]
    Compose(#[from] compose::Error),
    /// The rules cannot be had at the moment: those in a blob could not be read, or do not hold.
    #[error(transparent)]
    Rules(#[from] Failure),
    /// Nobody says where they lie.
    #[error(
        "no setting says where Event Grid writes what it cannot deliver: set SCOREKEEPER_DEAD_LETTERS to the URL of that container"
    )]
    NoPlace,
}

pub(super) fn run(args: &DeadLettersArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let config = config::read(args.profile.as_deref(), &working_directory()?)?;
    let app = compose::app(&config, Clock::clone(clock)).map_err(Error::from)?;
    let too_old = if args.too_old { TooOld::TakenIn } else { TooOld::Left };
    let report = one_thread()?.block_on(async {
        let now = app.now();
        let app = app.get(now).await?;
        app.take_in_dead_letters(now + args.within.0, too_old).await.ok_or(Error::NoPlace)
    })?;
    let mut out = Redacting::new(io::stdout().lock());
    if args.json.is_asked_for() {
        args.json.write(&serde_json::to_value(report).map_err(io::Error::from)?, &mut out)?;
    } else {
        out.write_all(text(&report).as_bytes())?;
    }
    out.flush()?;
    let is_fine = report.left + report.too_old + report.quarantined == 0;
    Ok(ExitCode::from(if is_fine { OK } else { ATTENTION }))
}

fn text(report: &DeadLetterReport) -> String {
    let DeadLetterReport { moved, taken_in, duplicates, skipped, quarantined, left, too_old } = report;
    let mut text = format!(
        "{moved} dead letters are in the ledger and moved aside: {taken_in} events taken in, {duplicates} were known, {skipped} skipped, {quarantined} quarantined\n"
    );
    // Writing to a String cannot fail.
    if *left > 0 {
        let _ = writeln!(text, "{left} are left: `scorekeeper status` tells why");
    }
    if *too_old > 0 {
        let _ =
            writeln!(text, "{too_old} are older than what the ledger remembers, and are left: --too-old takes them in");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_with_what_to_do() {
        let none = DeadLetterReport::default();
        assert_eq!(text(&none).lines().count(), 1);
        let some = text(&DeadLetterReport { left: 2, too_old: 3, ..none });
        assert!(some.contains("2 are left: `scorekeeper status`") && some.contains("--too-old"), "{some}");
    }
}
