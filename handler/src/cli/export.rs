//! `scorekeeper export`: every scoring that a filter names, for other tools, page after page: what is in memory is one page, or one
//! row group of Parquet.

use std::io::{self, Write};

use app::ledger::Ledger;
use app::reports::{self, Filter, ScoringView};
use lifecycle::Status;
use time::OffsetDateTime;

use super::filter::FurtherFilter;
use super::format::{Format, RowWriter};
use super::list::COLUMNS;
use super::on_ledger::{ATTENTION, Error, OK};
use super::parquet_file::{Kind, ParquetFile};
use super::progress::Progress;
use super::since::Since;
use crate::config::WhichLedger;

/// Scorings that are read at one time.
const PAGE: usize = 500;

/// Which scorings of which ledger `export` writes, and in which form.
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
    /// Only what was received since then: `90m`, `24h`, `7d` before now, a day such as `2026-07-21` (UTC), or a time such as `2026-07-21T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub since: Option<Since>,
    /// What else is asked of them.
    #[command(flatten)]
    pub further: FurtherFilter,
    /// In which form; Parquet is binary: `-o parquet > scorings.parquet`
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
    /// A Parquet file, with numbers and times (UTC, microseconds) as such
    Parquet,
}

/// Writes scorings in one of these forms.
enum Rows<'a> {
    Lines(RowWriter<'a>),
    Parquet(Box<ParquetFile<'a>>),
}

impl<'a> Rows<'a> {
    fn new(format: ExportFormat, columns: &'a [(&'a str, Kind)], out: &'a mut dyn Write) -> io::Result<Self> {
        Ok(match format {
            ExportFormat::Csv => Self::Lines(RowWriter::new(Format::Csv, COLUMNS, out)?),
            ExportFormat::Jsonl => Self::Lines(RowWriter::new(Format::Jsonl, COLUMNS, out)?),
            ExportFormat::Parquet => Self::Parquet(Box::new(ParquetFile::new(columns, out)?)),
        })
    }

    fn write(&mut self, scoring: &ScoringView) -> io::Result<()> {
        match self {
            Self::Lines(lines) => lines.write(scoring),
            Self::Parquet(file) => file.write(scoring),
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Lines(_) => Ok(()),
            Self::Parquet(file) => file.end(),
        }
    }
}

/// What a column of scorings holds.
fn kind(column: &str) -> Kind {
    match column {
        "attempt" | "outputBytes" => Kind::Number,
        _ if column.ends_with("Time") => Kind::Time,
        _ => Kind::Text,
    }
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
    let columns: Vec<(&str, Kind)> = COLUMNS.iter().map(|name| (*name, kind(name))).collect();
    let mut rows = Rows::new(args.output, &columns, out)?;
    let (mut progress, mut whole) = (Progress::new(), true);
    loop {
        let page = reports::newest(ledger, &filter, || progress.count()).await?;
        if args.further.is_ambiguous(&page, &mut io::stderr())? {
            return Ok(ATTENTION);
        }
        whole &= page.unreadable.is_empty();
        page.scorings.iter().try_for_each(|scoring| rows.write(scoring))?;
        filter.after = page.next;
        if filter.after.is_none() {
            rows.end()?;
            return Ok(if whole { OK } else { ATTENTION });
        }
    }
}
