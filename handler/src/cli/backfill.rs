//! `scorekeeper backfill`: takes in what lay in a place before its rule watched it, or scores a place once more as another
//! generation. It lists and takes in itself, as the app does: by its settings and rights. The app's reconcile runs submit it.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use app::backfill::{self, BackfillEnd, BackfillPlan, BackfillRequest, PlaceBackfill, TimeLimit};
use app::ledger::BackfillRow;
use app::ports::Clock;
use app::reports::duration_text;
use lifecycle::RuleId;
use lifecycle::text::visible;
use serde_json::json;
use time::{Duration, OffsetDateTime};

use super::json::JsonArgs;
use super::on_ledger::{ATTENTION, OK};
use super::since::Since;
use super::{config, ledger_command, on_ledger, one_thread, working_directory};
use crate::compose;
use crate::config::ProcessVars;
use crate::functions::Failure;
use crate::redacting::Redacting;

/// What is taken in, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct BackfillArgs {
    /// With the ledger of this profile [default: `SCOREKEEPER_PROFILE`, unless the environment names a ledger]
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Under this rule
    #[arg(long, value_name = "ID")]
    pub rule: RuleId,
    /// Blobs of the rule's container whose path begins so; empty: all that the rule wants
    #[arg(long, value_name = "PATH", default_value = "")]
    pub prefix: String,
    /// Written since then: `90m`, `24h`, `7d` before it begins, a day such as `2026-07-21` (UTC), or a time such as
    /// `2026-07-21T10:00:00Z`; the same words go on with one that was stopped
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub since: Option<Since>,
    /// Written before then
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub until: Option<Since>,
    /// Show what would be done, and write nothing
    #[arg(long, conflicts_with = "pause")]
    pub plan: bool,
    /// Have the backfill of this rule and prefix rest; the same command without this goes on with it
    #[arg(long)]
    pub pause: bool,
    /// How much of the rule's `maxInFlight`, else of the endpoint's, it may have at one time
    #[arg(long, value_name = "PERCENT", default_value = "20%", value_parser = share)]
    pub share: u8,
    /// Score the place once more as this generation, under a new model; the old results stay
    #[arg(long, value_name = "NUMBER", requires = "reason")]
    pub generation: Option<u32>,
    /// Also what was written before the ledger began to forget: it may have been scored, and is scored again then
    #[arg(long)]
    pub forgotten: bool,
    /// Why: it stands in the history, with who ordered it
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    pub reason: String,
    /// Whether what became of each place is told as a JSON array, or progress and end as text for people.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// A text that is no share.
#[derive(Debug, thiserror::Error)]
#[error("expected a share from 1% to 100%")]
struct NoShare;

fn share(text: &str) -> Result<u8, NoShare> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|share| (1..=100).contains(share)).ok_or(NoShare)
}

/// Why nothing was taken in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The app cannot be put together from the settings.
    #[error(transparent)]
    Compose(#[from] compose::Error),
    /// The rules cannot be had at the moment: those in a blob could not be read, or do not hold.
    #[error(transparent)]
    Rules(#[from] Failure),
    /// The backfill cannot be begun, or could not go on.
    #[error(transparent)]
    Backfill(#[from] backfill::Error),
    /// The output cannot be written.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

pub(super) fn run(args: &BackfillArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let config = config::read(args.profile.as_deref(), &working_directory()?)?;
    let app = compose::app(&config, Clock::clone(clock)).map_err(Error::from)?;
    let mut out = Redacting::new(io::stdout().lock());
    let answers = one_thread()?.block_on(async {
        let now = app.now();
        let app = app.get(now).await?;
        let request = BackfillRequest {
            rule: args.rule.clone(),
            prefix: args.prefix.clone(),
            since: args.since.map(TimeLimit::from),
            until: args.until.map(TimeLimit::from),
            generation: args.generation,
            share: args.share,
            forgotten: args.forgotten,
            by: ledger_command::user(&ProcessVars),
            reason: args.reason.clone(),
        };
        let mut answers = Vec::new();
        for place in app.backfiller().places(&request)? {
            answers.push(of_place(args, &place, clock, &mut out).await?);
        }
        Ok::<_, Error>(answers)
    })?;
    if args.json.is_asked_for() {
        let all: Vec<_> = answers.iter().map(|(_, answer)| answer).collect();
        args.json.write(&json!(all), &mut out).map_err(on_ledger::Error::from)?;
    }
    out.flush()?;
    let is_fine = answers.iter().all(|(is_fine, _)| *is_fine);
    Ok(ExitCode::from(if is_fine { OK } else { ATTENTION }))
}

/// Whether one place is done, and what is told of it.
async fn of_place(
    args: &BackfillArgs,
    place: &PlaceBackfill,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<(bool, serde_json::Value), Error> {
    let (name, quiet) = (place.place(), args.json.is_asked_for());
    let mut tell = |text: String| if quiet { Ok(()) } else { writeln!(out, "{text}") };
    if args.pause {
        let paused = place.pause().await?;
        tell(format!(
            "{}: {}",
            visible(&name),
            if paused { "it rests after its page" } else { "no backfill of it is under way" }
        ))?;
        return Ok((paused, json!({ "place": name, "paused": paused })));
    }
    let mut progress = ProgressLine::new();
    // Also before it is carried out: how many blobs there are tells when it ends.
    let resumed = place.state().await?.filter(|row| row.ended.is_none());
    let expected = match resumed.and_then(|row| row.expected) {
        Some(expected) if !args.plan => expected,
        _ => {
            let plan = place.plan(|counts| progress.show(&format!("{} blobs looked at", counts.listed))).await?;
            progress.clear();
            if args.plan {
                tell(planned(&name, &plan))?;
                return Ok((true, json!({ "place": name, "plan": plan })));
            }
            plan.counts.listed
        }
    };
    let mut first: Option<(OffsetDateTime, u64)> = None;
    let end = place
        .run(Some(expected), |row| {
            let since = *first.get_or_insert((clock(), row.done.listed));
            progress.show(&bar(row, since, clock()));
        })
        .await?;
    progress.clear();
    let row = place.state().await?;
    let done = row.as_ref().map(|row| row.done).unwrap_or_default();
    let how = match end {
        BackfillEnd::Ended => "all of it was looked through",
        BackfillEnd::Paused => "it was paused; the same command goes on",
        BackfillEnd::Elsewhere => "another process works on it",
    };
    tell(format!(
        "{}: {how}: {} listed, {} taken in, {} known, {} skipped, {} outside of the times, {} unwanted, {} of ours, {} not ready, {} perhaps forgotten",
        visible(&name),
        done.listed,
        done.taken_in,
        done.known,
        done.skipped,
        done.outside,
        done.unwanted,
        done.own,
        done.young,
        done.forgotten
    ))?;
    Ok((end == BackfillEnd::Ended, json!({ "place": name, "backfill": row })))
}

fn planned(name: &str, plan: &BackfillPlan) -> String {
    let counts = plan.counts;
    let known: Vec<_> = plan.known.iter().map(|(outcome, count)| format!("{} {count}", outcome.name())).collect();
    let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
    let jobs = match plan.grouped_jobs {
        Some(grouped) => {
            let folders = plan.grouped_folders.map(|folders| format!(" of {folders} folders")).unwrap_or_default();
            format!("{grouped} jobs at least after grouping{folders}, instead of {}", plan.jobs)
        }
        None => format!("{} jobs", plan.jobs),
    };
    let slots = plan.slots.map_or("no limit of slots".to_owned(), |slots| format!("{slots} at one time"));
    let expected = match (plan.median_seconds, plan.expected_seconds) {
        (Some(median), Some(expected)) => format!(
            "about {}, as half of the last week's take {} at most",
            duration_text(Duration::seconds(expected)),
            duration_text(Duration::seconds(median))
        ),
        _ => "how long is not known: nothing was scored under this rule in the last week".to_owned(),
    };
    format!(
        "{}: {} listed\n  {} would be taken in: {jobs}, {slots}, {expected}\n  {} known{known}\n  {} would be skipped\n  {} outside of the times, {} unwanted, {} of ours, {} not ready, {} perhaps forgotten\nNothing was written.",
        visible(name),
        counts.listed,
        counts.taken_in,
        counts.known,
        counts.skipped,
        counts.outside,
        counts.unwanted,
        counts.own,
        counts.young,
        counts.forgotten
    )
}

/// `[#####.....] 50%  5000 of 10000  250/s  ends in 20 s`
fn bar(row: &BackfillRow, (since, before): (OffsetDateTime, u64), now: OffsetDateTime) -> String {
    const WIDTH: u64 = 24;
    let (done, all) = (row.done.listed, row.expected.unwrap_or_default().max(row.done.listed));
    let full = (done * WIDTH).checked_div(all).unwrap_or(WIDTH);
    let (full, rest) = (usize::try_from(full).unwrap_or(0), usize::try_from(WIDTH - full).unwrap_or(0));
    let seconds = (now - since).whole_seconds().unsigned_abs();
    let rate = (done - before).checked_div(seconds).filter(|rate| *rate > 0);
    let rate = rate.map_or(String::new(), |rate| {
        let left = i64::try_from((all - done) / rate).unwrap_or(i64::MAX);
        format!("  {rate}/s  ends in {}", duration_text(Duration::seconds(left)))
    });
    let percent = (done * 100).checked_div(all).unwrap_or(100);
    format!(
        "[{}{}] {percent}%  {done} of {all}, {} taken in{rate}",
        "#".repeat(full),
        ".".repeat(rest),
        row.done.taken_in
    )
}

/// A line that changes, on stderr and only if that is a terminal.
struct ProgressLine {
    is_shown: bool,
}

impl ProgressLine {
    fn new() -> Self {
        Self { is_shown: false }
    }

    fn show(&mut self, text: &str) {
        if io::stderr().is_terminal() {
            self.is_shown = true;
            // It is a sign of life, nothing more.
            let _ = write!(io::stderr(), "\r\x1b[2K{text}");
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::backfill::BackfillCounts;
    use time::macros::datetime;

    #[test]
    fn the_bar_tells_rate_and_end() {
        let began = datetime!(2026-07-21 10:00 UTC);
        let row = |listed, expected| BackfillRow {
            key: String::new(),
            rule: "r".to_owned(),
            place: String::new(),
            order: String::new(),
            expected,
            began,
            since: None,
            until: None,
            claimed_until: None,
            paused: false,
            cursor: None,
            done: BackfillCounts { listed, taken_in: 7, ..BackfillCounts::default() },
            ended: None,
        };
        let later = began + Duration::seconds(20);
        let shown = bar(&row(6_000, Some(12_000)), (began, 1_000), later);
        assert_eq!(shown, "[############............] 50%  6000 of 12000, 7 taken in  250/s  ends in 24 s");
        // More than were planned, nothing at all, and no time passed.
        assert!(bar(&row(10, Some(5)), (began, 10), began).contains("100%  10 of 10"));
        assert!(bar(&row(0, Some(0)), (began, 0), began).contains("100%  0 of 0"));
        assert!(bar(&row(0, None), (began, 0), began).contains("0 of 0"));
    }

    #[test]
    fn a_plan_tells_the_jobs_and_where_the_rule_groups_the_fewest_of_them() {
        let counts = BackfillCounts { listed: 9, taken_in: 7, ..BackfillCounts::default() };
        let alone = BackfillPlan { counts, jobs: 7, ..BackfillPlan::default() };
        assert!(
            planned("a", &alone).contains("7 would be taken in: 7 jobs, no limit of slots"),
            "{}",
            planned("a", &alone)
        );
        let mut grouped = BackfillPlan { grouped_jobs: Some(2), ..alone };
        let told = planned("a", &grouped);
        assert!(told.contains("7 would be taken in: 2 jobs at least after grouping, instead of 7, "), "{told}");
        grouped.grouped_folders = Some(2);
        assert!(planned("a", &grouped).contains("2 jobs at least after grouping of 2 folders, instead of 7, "));
    }

    #[test]
    fn a_share_is_of_a_hundred() {
        assert_eq!((share("20%").ok(), share("1").ok(), share("100%").ok()), (Some(20), Some(1), Some(100)));
        for bad in ["0%", "101%", "x", "", "-1"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
