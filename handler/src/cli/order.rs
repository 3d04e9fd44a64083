//! `scorekeeper retry`, `cancel` and `ack`: what an operator orders, of one scoring or of all that a filter names.
//!
//! Each order goes through the driver, alone: a command that dies half way has ordered the first ones, and given again it orders
//! the rest, as what is ordered already is left alone.

use std::io::Write;
use std::process::ExitCode;

use app::ledger::Ledger;
use app::ports::Clock;
use app::reports::{self, Filter};
use app::{self, ResolveOutcome};
use lifecycle::text::visible;
use lifecycle::{Order, Scoring, ScoringId, Status, Verb};
use serde::Serialize;
use time::OffsetDateTime;

use super::on_ledger::{ATTENTION, Access, Error, OK, run_on_ledger};
use super::since::Since;
use super::view::{path, shortened};
use crate::config::{ProcessVars, Vars, WhichLedger};

/// Scorings that one command orders at most.
const MAX_ORDERS: usize = 10_000;
/// Scorings that are shown before a command is confirmed.
const SHOWN: usize = 10;

/// Of which scorings, and why.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OrderArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The scorings' ids, or unambiguous beginnings of them; without one, all that the filter names
    #[arg(value_name = "ID", conflicts_with_all = ["status", "rule", "prefix", "since"])]
    pub ids: Vec<String>,
    /// Scorings in this status; may be given several times
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Status>,
    /// Scorings of this rule
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// Scorings of blobs whose container and path begin so
    #[arg(long, value_name = "CONTAINER/PATH")]
    pub prefix: Option<String>,
    /// Scorings that were accepted since then: `90m`, `24h`, `7d` before now, or a time such as `2026-07-21T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub since: Option<Since>,
    /// Why: it stands in the history, with who ordered it
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Show which scorings it would be, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Order it of several scorings at once
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// A JSON array for scripts
    #[arg(long)]
    pub json: bool,
}

/// What came of an order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    id: String,
    /// `ordered`, `leftAlone`, or `wouldBeOrdered` of a dry run.
    outcome: &'static str,
    /// The scoring's status after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// Why it was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(super) fn run(verb: Verb, args: &OrderArgs, clock: &Clock) -> Result<ExitCode, super::Error> {
    let access = if args.dry_run { Access::Read } else { Access::Write };
    let by = operator();
    let command = async |ledger: &Ledger, now, out: &mut dyn Write| order(ledger, verb, args, &by, now, out).await;
    run_on_ledger(&args.which, access, clock, command)
}

/// Who gives the command: the user of this machine.
fn operator() -> String {
    let name = ["USER", "LOGNAME", "USERNAME"].iter().find_map(|name| ProcessVars.get(name));
    name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "an unnamed user".to_owned())
}

/// Orders it of all that is named, or says why not.
pub async fn order(
    ledger: &Ledger,
    verb: Verb,
    args: &OrderArgs,
    by: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    if args.reason.trim().is_empty() {
        writeln!(out, "Nothing was changed: --reason is empty; it tells whoever reads the history why.")?;
        return Ok(ATTENTION);
    }
    if let (Verb::Acknowledge, [id], false) = (verb, &args.ids[..], args.dry_run)
        && ledger.acknowledge_quarantined(id, by, &args.reason, now).await?
    {
        writeln!(out, "{id}  acknowledged; it is a quarantined event")?;
        return Ok(OK);
    }
    let Some(scorings) = named(ledger, verb, args, now, out).await? else { return Ok(ATTENTION) };
    if scorings.is_empty() {
        writeln!(out, "No scoring matches the filter; nothing was changed.")?;
        return Ok(ATTENTION);
    }
    let bulk = scorings.len() > 1 && !args.yes;
    if args.dry_run || bulk {
        if args.json {
            let each = |scoring: &Scoring| Outcome {
                id: scoring.id.to_string(),
                outcome: "wouldBeOrdered",
                status: Some(scoring.status.name()),
                why: None,
            };
            write_json(out, &scorings.iter().map(each).collect::<Vec<_>>())?;
        } else {
            for scoring in scorings.iter().take(SHOWN) {
                writeln!(out, "{}  {:10}  {}", scoring.id, scoring.status, shortened(&path(&scoring.blob), 80))?;
            }
            let more = scorings.len().saturating_sub(SHOWN);
            if more > 0 {
                writeln!(out, "and {more} more")?;
            }
            let what = if args.dry_run { "would be" } else { "are to be" };
            let next = if args.dry_run { "" } else { "; to do it, add --yes" };
            writeln!(out, "{} scorings {what} {}; nothing was changed{next}.", scorings.len(), verb.done())?;
        }
        return Ok(if args.dry_run { OK } else { ATTENTION });
    }
    let order = Order { verb, by: by.to_owned(), reason: args.reason.clone() };
    let mut outcomes = Vec::with_capacity(scorings.len());
    for scoring in &scorings {
        let outcome = match app::order(ledger, &scoring.id, &order, now).await? {
            ResolveOutcome::Recorded { scoring, .. } => Outcome {
                id: scoring.id.to_string(),
                outcome: "ordered",
                status: Some(scoring.status.name()),
                why: None,
            },
            ResolveOutcome::Refused(why) => {
                Outcome { id: scoring.id.to_string(), outcome: "leftAlone", status: None, why: Some(why.to_string()) }
            }
        };
        if !args.json {
            match (&outcome.status, &outcome.why) {
                (Some(status), _) => writeln!(out, "{}  {}; it is {status} now", outcome.id, verb.done())?,
                (None, why) => {
                    let why = why.as_deref().unwrap_or_default();
                    writeln!(out, "{}  left alone: {}", outcome.id, visible(why))?;
                }
            }
        }
        outcomes.push(outcome);
    }
    if args.json {
        write_json(out, &outcomes)?;
    }
    let alone = outcomes.iter().filter(|outcome| outcome.why.is_some()).count();
    if !args.json && outcomes.len() > 1 {
        writeln!(
            out,
            "{} {}, {alone} left alone; the next reconcile run goes on.",
            outcomes.len() - alone,
            verb.done()
        )?;
    }
    Ok(if alone == 0 { OK } else { ATTENTION })
}

fn write_json(out: &mut dyn Write, outcomes: &[Outcome]) -> Result<(), Error> {
    serde_json::to_writer_pretty(&mut *out, outcomes).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// The scorings that are named; `None` if they are not, which was said.
async fn named(
    ledger: &Ledger,
    verb: Verb,
    args: &OrderArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<Option<Vec<Scoring>>, Error> {
    if !args.ids.is_empty() {
        return by_ids(ledger, &args.ids, out).await;
    }
    let filter = Filter {
        status: args.status.clone(),
        rule: args.rule.clone(),
        prefix: args.prefix.clone(),
        since: args.since.map(|since| since.before(now)),
        after: None,
        limit: MAX_ORDERS,
    };
    if filter == (Filter { limit: MAX_ORDERS, ..Filter::default() }) {
        writeln!(out, "Name what is to be {}: ids, or a filter (--status, --rule, --prefix, --since).", verb.done())?;
        return Ok(None);
    }
    let wanted: &[Status] = match verb {
        Verb::Retry => &[Status::Failed],
        Verb::Cancel => &[Status::Queued, Status::Held, Status::Running],
        // Whatever needs it, in each status.
        Verb::Acknowledge => return acknowledgeable(ledger, &filter).await.map(Some),
    };
    let status = if filter.status.is_empty() { wanted.to_vec() } else { filter.status.clone() };
    let found = reports::newest(ledger, &Filter { status, ..filter }, || ()).await?;
    let mut scorings = Vec::with_capacity(found.scorings.len());
    for view in found.scorings {
        if let Some(id) = ScoringId::read(&view.id) {
            scorings.extend(ledger.get(&id).await?.map(|(scoring, _)| scoring));
        }
    }
    Ok(Some(scorings))
}

async fn acknowledgeable(ledger: &Ledger, filter: &Filter) -> Result<Vec<Scoring>, Error> {
    let mut scorings = Vec::new();
    for row in ledger.unacknowledged(MAX_ORDERS).await? {
        let Some((scoring, _)) = ledger.get(&row.id).await? else { continue };
        if filter.wants_scoring(&scoring) {
            scorings.push(scoring);
        }
    }
    scorings.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
    Ok(scorings)
}

async fn by_ids(ledger: &Ledger, ids: &[String], out: &mut dyn Write) -> Result<Option<Vec<Scoring>>, Error> {
    let mut scorings = Vec::with_capacity(ids.len());
    for id in ids {
        let shown = visible(id);
        if ScoringId::read(&format!("{id:0<32}")).is_none() {
            writeln!(out, "`{shown}` is not the id of a scoring: 32 hexadecimal digits, or the beginning of them.")?;
            return Ok(None);
        }
        let mut found = ledger.of_id(id, 2).await?;
        match (found.read.len(), found.unreadable.len()) {
            (1, 0) => scorings.append(&mut found.read),
            (0, 0) => {
                writeln!(out, "There is no scoring `{shown}`; nothing was changed.")?;
                return Ok(None);
            }
            (_, 0) => {
                writeln!(out, "Several scorings begin with `{shown}`; nothing was changed.")?;
                return Ok(None);
            }
            _ => {
                writeln!(out, "The row of `{shown}` cannot be read; nothing was changed.")?;
                return Ok(None);
            }
        }
    }
    Ok(Some(scorings))
}
