//! `scorekeeper coverage`: what accounts for the versions of each rule and day; the manifests of days, and whether they hold.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use app::coverage::Checked;
use app::ledger::{Ledger, ManifestPart};
use app::ports::Clock;
use app::reports::{self, Coverage, CoverageView};
use lifecycle::coverage::{ManifestFoot, ManifestHead, Outcome, bounds};
use lifecycle::text::visible;
use time::format_description::well_known::Iso8601;
use time::{Date, Duration};

use super::json::JsonArgs;
use super::on_ledger::{ATTENTION, Access, OK};
use super::table::{self, Column};
use super::{config, on_ledger, one_thread, terminal, working_directory};
use crate::compose;
use crate::config::{LedgerSettings, ProcessVars, WhichLedger};
use crate::functions::Failure;
use crate::redacting::Redacting;

/// What is shown of it.
#[derive(Debug, Clone, clap::Args)]
pub struct CoverageArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// Of so many days, today among them
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=400))]
    pub days: u16,
    /// Print the manifests of days: JSON lines, of this day or `all`
    #[arg(long, value_name = "DAY", conflicts_with = "check")]
    pub manifest: Option<Days>,
    /// Prove a file of manifests against the ledger and what lies in the swept places, as the app does: by its settings and rights
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ledger", "data", "task_hub"])]
    pub check: Option<PathBuf>,
    /// The day that the file must begin with
    #[arg(long, value_name = "DAY", value_parser = day, requires = "check", conflicts_with_all = ["ledger", "data", "task_hub", "manifest"])]
    pub since: Option<Date>,
    /// Whether the report is printed as JSON, or as text for people.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// Of which days manifests are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Days {
    /// All that the ledger has.
    All,
    /// The manifest of this day, in UTC.
    One(Date),
}

/// A text that is no day.
#[derive(Debug, thiserror::Error)]
#[error("expected a day such as 2026-07-21")]
pub struct NoDay;

fn day(text: &str) -> Result<Date, NoDay> {
    Date::parse(text, &Iso8601::DATE).map_err(|_| NoDay)
}

impl std::str::FromStr for Days {
    type Err = NoDay;

    fn from_str(text: &str) -> Result<Self, NoDay> {
        if text == "all" { Ok(Self::All) } else { day(text).map(Self::One) }
    }
}

/// Why no coverage could be reported, or no manifest printed or checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file of manifests that `--check` names.
        path: PathBuf,
        /// What the system answered when it was opened.
        #[source]
        source: io::Error,
    },
    /// It could not be checked.
    #[error(transparent)]
    Check(#[from] app::coverage::Error),
    /// The app cannot be put together from the settings.
    #[error(transparent)]
    Compose(#[from] compose::Error),
    /// The rules cannot be had at the moment: those in a blob could not be read, or do not hold.
    #[error(transparent)]
    Rules(#[from] Failure),
}

pub(super) fn run(args: &CoverageArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let mut out = Redacting::new(io::stdout().lock());
    let code = if let Some(path) = &args.check {
        told(&check(args, path, clock)?, &args.json, &mut out)?
    } else {
        let settings = LedgerSettings::read(&ProcessVars, &working_directory()?, &args.which)?;
        let opened = compose::ledger_alone(&settings, clock, Access::Read).map_err(on_ledger::Error::from)?;
        one_thread()?.block_on(shown(&opened.ledger, args, clock, terminal::columns(), &mut out))?
    };
    out.flush()?;
    Ok(ExitCode::from(code))
}

fn check(args: &CoverageArgs, path: &PathBuf, clock: &Clock) -> Result<Checked, super::Error> {
    let file = File::open(path).map_err(|source| Error::File { path: path.clone(), source })?;
    let config = config::read(args.which.profile.as_deref(), &working_directory()?)?;
    let app = compose::app(&config, Clock::clone(clock)).map_err(Error::from)?;
    let checked = one_thread()?.block_on(async {
        let app = app.get(app.now()).await?;
        app.check_coverage(BufReader::new(file).lines(), args.since).await.map_err(Error::from)
    })?;
    Ok(checked)
}

fn told(checked: &Checked, json: &JsonArgs, out: &mut dyn Write) -> Result<u8, on_ledger::Error> {
    let code = if checked.wrong == 0 { OK } else { ATTENTION };
    if json.is_asked_for() {
        json.write(&serde_json::to_value(checked).map_err(io::Error::from)?, out)?;
        return Ok(code);
    }
    for discrepancy in &checked.discrepancies {
        writeln!(out, "{}", visible(&discrepancy.to_string()))?;
    }
    if checked.wrong > checked.discrepancies.len() {
        writeln!(out, "… and {} more", checked.wrong - checked.discrepancies.len())?;
    }
    let (from, until) = (checked.from.as_deref().unwrap_or("-"), checked.until.as_deref().unwrap_or("-"));
    let Checked { days, lines, listed, forgotten, wrong, .. } = checked;
    writeln!(
        out,
        "{days} days ({from} to {until}), {lines} versions, {forgotten} of them forgotten by the ledger, {listed} blobs listed: {}",
        if *wrong == 0 { "all of it holds".to_owned() } else { format!("{wrong} discrepancies") }
    )?;
    Ok(code)
}

/// Runs `coverage` without a check.
pub async fn shown(
    ledger: &Ledger,
    args: &CoverageArgs,
    clock: &Clock,
    columns: Option<usize>,
    out: &mut dyn Write,
) -> Result<u8, on_ledger::Error> {
    if let Some(days) = args.manifest {
        return manifests(ledger, days, out).await;
    }
    let now = clock();
    let first = now.date().saturating_sub(Duration::days(i64::from(args.days) - 1));
    let coverage = reports::coverage(ledger, bounds(first).0, now).await?;
    let code = if coverage.unaccounted == 0 { OK } else { ATTENTION };
    if args.json.is_asked_for() {
        args.json.write(&serde_json::to_value(&coverage).map_err(io::Error::from)?, out)?;
        return Ok(code);
    }
    print(&coverage, columns, out)?;
    Ok(code)
}

fn print(coverage: &Coverage, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let columns: Vec<Column> = [Column::whole("DAY"), Column::whole("RULE"), Column::number("ACCOUNTED")]
        .into_iter()
        .chain(Outcome::ALL.map(|outcome| Column::number(heading(outcome))))
        .collect();
    let row = |view: &CoverageView| {
        let count = |outcome: Outcome| view.outcomes.get(&outcome).copied().unwrap_or_default().to_string();
        let rule = view.rule.clone().unwrap_or_else(|| "-".to_owned());
        [view.day.clone(), rule, view.accounted.to_string()].into_iter().chain(Outcome::ALL.map(count)).collect()
    };
    table::print(&columns, &coverage.days.iter().map(row).collect::<Vec<_>>(), width, out)?;
    for view in &coverage.days {
        for (reason, count) in &view.skipped {
            let rule = view.rule.as_deref().unwrap_or("-");
            writeln!(out, "{} {}: {count} skipped: {}", view.day, visible(rule), visible(reason))?;
        }
    }
    for place in &coverage.places {
        writeln!(
            out,
            "{} under rule {}: {} unaccounted, {} there before",
            visible(&place.place),
            visible(&place.rule),
            place.unaccounted,
            place.older
        )?;
    }
    writeln!(out, "{} unaccounted", coverage.unaccounted)
}

fn heading(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Scored => "SCORED",
        Outcome::InFlight => "IN FLIGHT",
        Outcome::Waiting => "WAITING",
        Outcome::Skipped => "SKIPPED",
        Outcome::Failed => "FAILED",
        Outcome::Cancelled => "CANCELLED",
        Outcome::Quarantined => "QUARANTINED",
        Outcome::Superseded => "SUPERSEDED",
        Outcome::Gone => "GONE",
    }
}

/// Prints the manifests of days. A day whose lines the ledger has forgotten is not printed, and told of by the exit code.
async fn manifests(ledger: &Ledger, days: Days, out: &mut dyn Write) -> Result<u8, on_ledger::Error> {
    let (first, last) = match days {
        Days::All => (Date::MIN, Date::MAX),
        Days::One(day) => (day, day),
    };
    let id = ledger.id().await?.as_str().to_owned();
    let mut printed = 0;
    for (manifest, _) in ledger.manifests(first).await?.read {
        if manifest.day > last || manifest.next != ManifestPart::Done {
            continue;
        }
        let mut text = String::new();
        let mut is_whole = true;
        for chunk in 0..manifest.chunks {
            match ledger.manifest_lines(manifest.day, chunk).await? {
                Some(lines) => text.push_str(&lines),
                None => is_whole = false,
            }
        }
        if !is_whole {
            continue;
        }
        let head = ManifestHead { day: manifest.day.to_string(), ledger: id.clone(), before: manifest.before };
        let foot = ManifestFoot { lines: manifest.lines, digest: manifest.digest };
        let json = |value: serde_json::Result<String>| value.map_err(io::Error::from);
        writeln!(out, "{}", json(serde_json::to_string(&head))?)?;
        out.write_all(text.as_bytes())?;
        writeln!(out, "{}", json(serde_json::to_string(&foot))?)?;
        printed += 1;
    }
    Ok(if printed > 0 { OK } else { ATTENTION })
}
