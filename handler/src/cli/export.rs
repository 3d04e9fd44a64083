//! `scorekeeper export`: every scoring that a filter names, for other tools, page after page: what is in memory is one page.
//!
//! Parquet is left out: its writer (`parquet` with `arrow`) would bring a second stack of a hundred crates and some megabytes into
//! a command that DuckDB, pandas and Spark do without, as all of them read CSV and JSON lines.

use std::io::Write;

use app::ledger::Ledger;
use app::reports::{self, Filter};
use lifecycle::Status;
use time::OffsetDateTime;

use super::filter::FurtherFilter;
use super::format::{Format, RowWriter};
use super::list::COLUMNS;
use super::on_ledger::{ATTENTION, Error, OK};
use super::progress::Progress;
use super::since::Since;
use crate::config::WhichLedger;

/// Scorings that are read at one time.
const PAGE: usize = 500;

/// What is exported.
#[derive(Debug, Clone, clap::Args)]
pub struct ExportArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// Only scorings in this status; may be given several times
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Status>,
    /// Only scorings of this rule
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// Only blobs whose container and path begin so
    #[arg(long, value_name = "CONTAINER/PATH")]
    pub prefix: Option<String>,
    /// Only what was received since then: `90m`, `24h`, `7d` before now, or a time such as `2026-07-21T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub since: Option<Since>,
    /// What else is asked of them.
    #[command(flatten)]
    pub further: FurtherFilter,
    /// In which form; Parquet is not one, as its writer would be a second stack of a hundred crates in this command: DuckDB, pandas
    /// and Spark make it of either
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = ExportFormat::Csv)]
    pub output: ExportFormat,
}

/// The forms of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values with a header (RFC 4180)
    Csv,
    /// One JSON object on each line
    Jsonl,
}

/// Runs `export`. Rows that cannot be read are not in it; the exit code tells of them.
pub async fn export(ledger: &Ledger, args: &ExportArgs, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, Error> {
    let mut filter = Filter {
        status: args.status.clone(),
        rule: args.rule.clone(),
        prefix: args.prefix.clone(),
        since: args.since.map(|since| since.before(now)),
        ..args.further.filter(now, PAGE)
    };
    let format = match args.output {
        ExportFormat::Csv => Format::Csv,
        ExportFormat::Jsonl => Format::Jsonl,
    };
    let mut writer = RowWriter::new(format, COLUMNS, out)?;
    let (mut progress, mut whole) = (Progress::new(), true);
    loop {
        let page = reports::newest(ledger, &filter, || progress.count()).await?;
        whole &= page.unreadable.is_empty();
        page.scorings.iter().try_for_each(|scoring| writer.write(scoring))?;
        filter.after = page.next;
        if filter.after.is_none() {
            return Ok(if whole { OK } else { ATTENTION });
        }
    }
}
