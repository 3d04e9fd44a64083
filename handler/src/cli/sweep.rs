//! `scorekeeper sweep`: has the places of rules swept now, and all of their versions held against the ledger. The app does it, with
//! its next run of sweeps: it knows the rules, and may list.

use std::io::Write;

use app::ledger::Ledger;
use lifecycle::RuleId;
use lifecycle::text::visible;
use time::OffsetDateTime;

use super::on_ledger::{ATTENTION, Error, OK};
use crate::config::WhichLedger;

/// Of which rule the places are swept; all rules' without one.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct SweepArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The places of this rule alone
    #[arg(long, value_name = "ID")]
    pub rule: Option<RuleId>,
}

/// Marks the places so that the next run of the function Sweep looks through them; it sweeps nothing itself.
pub async fn sweep(ledger: &Ledger, args: &SweepArgs, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, Error> {
    let places = app::order_sweep(ledger, args.rule.as_ref(), now).await?;
    if places.is_empty() {
        let (of, or) = match &args.rule {
            Some(rule) => (format!(" of rule {rule}"), "there is no such rule, "),
            None => (String::new(), ""),
        };
        writeln!(
            out,
            "No place{of} is swept: {or}its `sweep` is off, it names no account and SCOREKEEPER_WATCHED_ACCOUNTS none, or the function Sweep has not run yet."
        )?;
        return Ok(ATTENTION);
    }
    for place in &places {
        writeln!(
            out,
            "rule {}  {}  is swept by the next run",
            visible(&place.rule),
            visible(&place.place.to_string())
        )?;
    }
    writeln!(out, "`scorekeeper status` tells when it came to its end, and what it found.")?;
    Ok(OK)
}
