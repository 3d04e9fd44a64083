//! `scorekeeper list`: scorings, the newest first.

use std::io::Write;

use app::ledger::{Ledger, Place};
use app::reports::{self, Filter, Newest, ScoringView, UnreadableView, WithGroups};
use lifecycle::Status;
use lifecycle::text::visible;
use time::OffsetDateTime;

use super::filter::FurtherFilter;
use super::format::Format;
use super::json::JsonArgs;
use super::ledger_command::Here;
use super::list_events;
use super::named::{Named, by_finding};
use super::on_ledger::{ATTENTION, Error, OK};
use super::progress::Progress;
use super::since::Since;
use super::suggested::Suggesting;
use super::table::{self, Column};
use super::view::utc_text;
#[cfg(feature = "cli")]
use super::watch::{Block, WatchArgs, watch};
use crate::config::WhichLedger;

/// Which scorings, or what else of the ledger, `list` shows, and in which form.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ListArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// Only scorings in this status; may be given several times
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Status>,
    /// What is listed in place of scorings.
    #[command(flatten)]
    pub instead: Instead,
    /// Groups that have not ended, in place of scorings
    #[arg(long, conflicts_with_all = ["prefix", "cause", "group", "pending", "skipped", "quarantined"])]
    pub groups: bool,
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
    /// Go on behind a page, by the cursor that it ends with
    #[arg(long, value_name = "CURSOR", value_parser = place)]
    pub after: Option<Place>,
    /// Show at most this many, the newest first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub limit: usize,
    /// Only what this finding of `status` concerns
    #[arg(long, value_name = "FINDING", conflicts_with_all = ["status", "rule", "prefix", "since", "FurtherFilter", "after", "pending", "skipped", "quarantined", "groups"])]
    pub finding: Option<String>,
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t, conflicts_with = "json")]
    pub output: Format,
    /// Whether rows are printed as a JSON array; `--output json` is the same.
    #[command(flatten)]
    pub json: JsonArgs,
    /// Whether it is shown again.
    #[cfg(feature = "cli")]
    #[command(flatten)]
    pub watch: WatchArgs,
    /// Characters of a line of the terminal; none: it is no terminal.
    #[arg(skip)]
    pub width: Option<usize>,
}

impl ListArgs {
    /// What is asked of the scorings.
    pub(crate) fn filter(&self, now: OffsetDateTime) -> Filter {
        Filter {
            status: self.status.clone(),
            rule: self.rule.clone(),
            prefix: self.prefix.clone(),
            since: self.since.map(|since| since.before(now)),
            after: self.after.clone(),
            groups: if self.groups { WithGroups::Only } else { WithGroups::LeftOut },
            ..self.further.filter(now, self.limit)
        }
    }

    pub(super) fn format(&self) -> Format {
        if self.json.is_asked_for() { Format::Json } else { self.output }
    }

    /// Characters that a line may have.
    pub(super) fn width(&self) -> Option<usize> {
        self.width
    }
}

/// Pages that a person waits for, of [`reports::MAX_LOOKED`] rows each: a second, or some on a remote ledger.
const PAGES: usize = 20;

/// Members of a scoring that are columns, the first ones first.
pub(super) const COLUMNS: &[&str] = &[
    "id",
    "status",
    "rule",
    "path",
    "blobUrl",
    "etag",
    "attempt",
    "createdTime",
    "lastUpdatedTime",
    "completedTime",
    "job",
    "jobStatus",
    "outputUri",
    "outputBytes",
    "publishedUri",
    "failureCause",
    "error",
    "lastError",
    "group",
    "alone",
];

/// What is listed in place of scorings; one at most.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(multiple = false)]
pub struct Instead {
    /// Uploads whose version is not known yet, and renamed folders whose files are not listed yet, in place of scorings
    #[arg(long, conflicts_with_all = ["status", "rule", "limit", "prefix", "since", "FurtherFilter", "after"])]
    pub pending: bool,
    /// Events that no rule wanted, in place of scorings
    #[arg(long, conflicts_with_all = ["status", "FurtherFilter"])]
    pub skipped: bool,
    /// Events that could not be read, in place of scorings
    #[arg(long, conflicts_with_all = ["status", "rule", "prefix", "FurtherFilter"])]
    pub quarantined: bool,
}

/// `list`, once or again and again.
pub(super) async fn run(args: &ListArgs, here: &Here<'_>, out: &mut dyn Write) -> Result<u8, Error> {
    let args = ListArgs { width: here.columns, ..args.clone() };
    #[cfg(feature = "cli")]
    if let Some(every) = args.watch.watch {
        let look = async |now| {
            let mut text = Vec::new();
            let code = list(here.ledger, &args, now, &mut text).await?;
            let compared = String::from_utf8_lossy(&text).into_owned();
            Ok(Block { code, text, compared })
        };
        return watch(every, args.format() == Format::Table, here.clock, look).await;
    }
    list(here.ledger, &args, (here.clock)(), out).await
}

/// `list`: scorings, the newest first.
pub async fn list(ledger: &Ledger, args: &ListArgs, now: OffsetDateTime, out: &mut dyn Write) -> Result<u8, Error> {
    #[cfg(feature = "cli")]
    if args.json.query.is_some() && !matches!(args.output, Format::Table | Format::Json) {
        writeln!(out, "--query is of JSON; leave --output out, or say --output json.")?;
        return Ok(super::USAGE);
    }
    match args.instead {
        Instead { pending: true, .. } => return list_events::pending(ledger, args, out).await,
        Instead { skipped: true, .. } => return list_events::skipped(ledger, args, now, out).await,
        Instead { quarantined: true, .. } => return list_events::quarantined(ledger, args, now, out).await,
        Instead { .. } => {}
    }
    let mut progress = Progress::new();
    let filter = args.filter(now);
    let found = if let Some(finding) = &args.finding {
        let mut told = Suggesting::new(out, &args.which);
        let Some(Named { scorings, .. }) = by_finding(ledger, finding, now, &mut told).await? else {
            return Ok(ATTENTION);
        };
        let scorings = scorings.into_iter().take(args.limit).map(Into::into).collect();
        Newest { scorings, ..Newest::default() }
    } else {
        // A script gets all that it asks for: nothing in an array says that there may be more.
        let pages = if args.format() == Format::Table { PAGES } else { usize::MAX };
        reports::newest_of_pages(ledger, &filter, pages, || progress.count()).await?
    };
    drop(progress);
    if args.further.is_ambiguous(&found, out)? {
        return Ok(ATTENTION);
    }
    match args.format() {
        Format::Table => {}
        Format::Json => {
            args.json.write(&found, out)?;
            return Ok(code(&found.unreadable));
        }
        format => {
            list_events::rows(format, COLUMNS, &found.scorings, out)?;
            return Ok(code(&found.unreadable));
        }
    }
    let next = found.next.as_ref().map(Place::as_str);
    if let (Some(back_to), Some(next)) = (found.looked_back_to, next) {
        if !found.scorings.is_empty() {
            print(&found.scorings, args, out)?;
        }
        let count = found.scorings.len();
        let back_to = utc_text(back_to);
        writeln!(out, "({count} shown; looked back to {back_to} UTC, and further: --after {next})")?;
        return told(&found.unreadable, out);
    }
    if found.scorings.is_empty() {
        let is_first_of_all = filter.is_of_all() && filter.after.is_none();
        let text = match (args.groups, is_first_of_all) {
            (true, _) => "No group that has not ended matches the filter.",
            (false, true) => "The ledger holds no scoring yet.",
            (false, false) if args.status.contains(&Status::Staging) => {
                "No scoring matches the filter; only groups are staging, which `list --groups` lists."
            }
            (false, false) => "No scoring matches the filter.",
        };
        writeln!(out, "{text}")?;
    } else {
        print(&found.scorings, args, out)?;
        shown_and_next(found.scorings.len(), next, out)?;
    }
    told(&found.unreadable, out)
}

/// As a table. On a narrow terminal names of jobs stand back: `show` has them.
fn print(scorings: &[ScoringView], args: &ListArgs, out: &mut dyn Write) -> std::io::Result<()> {
    const NARROW: usize = 120;
    let width = args.width();
    let is_wide = width.is_none_or(|width| width >= NARROW);
    let has_why = scorings.iter().any(|scoring| why(scoring).is_some());
    let mut columns = vec![
        Column::id("ID"),
        Column::whole("STATUS"),
        Column::long("BLOB", 16),
        Column::number("ATTEMPT"),
        Column::whole("CREATED (UTC)"),
    ];
    columns.extend(is_wide.then(|| Column::long("JOB", 12)));
    columns.extend(has_why.then(|| Column::long("WHY", 8)));
    let row = |scoring: &ScoringView| {
        let mut row = vec![
            scoring.id.clone(),
            scoring.status.to_owned(),
            scoring.name().into_owned(),
            scoring.attempt.to_string(),
            utc_text(scoring.created_time),
        ];
        row.extend(is_wide.then(|| scoring.job.clone().unwrap_or_else(|| "-".to_owned())));
        row.extend(has_why.then(|| args.which.named_in(why(scoring).unwrap_or_default())));
        row
    };
    table::print(&columns, &scorings.iter().map(row).collect::<Vec<_>>(), width, out)
}

fn why(scoring: &ScoringView) -> Option<&str> {
    scoring.last_error.as_deref().or(scoring.error.as_deref())
}

/// How a list goes on, if it does.
pub(super) fn shown_and_next(count: usize, next: Option<&str>, out: &mut dyn Write) -> std::io::Result<()> {
    let Some(next) = next else { return Ok(()) };
    writeln!(out, "({count} shown; the next: --after {next})")
}

/// Rows that cannot be read need attention, as nothing is done for them; as text and as JSON.
pub(super) fn code(unreadable: &[UnreadableView]) -> u8 {
    if unreadable.is_empty() { OK } else { ATTENTION }
}

/// Tells of rows that cannot be read.
pub(super) fn told(unreadable: &[UnreadableView], out: &mut dyn Write) -> Result<u8, Error> {
    for row in unreadable {
        writeln!(out, "{:32}  {:10}  {}", row.id.as_deref().unwrap_or("?"), row.status, visible(&row.error))?;
    }
    Ok(code(unreadable))
}

fn place(text: &str) -> Result<Place, NoPlace> {
    Place::read(text).ok_or_else(|| NoPlace(text.to_owned()))
}

/// A text that is no cursor.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no cursor; one stands at the end of a list that has more, and in its JSON as `cursor`")]
struct NoPlace(String);
