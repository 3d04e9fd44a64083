//! `scorekeeper retry`, `cancel`, `skip`, `hold`, `release`, `expedite`, `rescore`, `publish` and `ack`: what an operator orders, of one scoring or of all
//! that a finding or a filter names.
//!
//! Each order goes through the driver, alone: a command that dies half way has ordered the first ones, and given again it orders
//! the rest, as what is ordered already is left alone.

use std::io::Write;

use app::ledger::Ledger;
use app::{self, AskOutcome, ResolveOutcome};
use lifecycle::text::visible;
use lifecycle::{Order, Scoring, Status, Verb};
use serde::Serialize;
use time::OffsetDateTime;

use super::filter::FurtherFilter;
use super::json::JsonArgs;
use super::named::{Named, named};
use super::on_ledger::{ATTENTION, Error, OK};
use super::since::Since;
use super::view::{name_of, shortened};
use crate::config::WhichLedger;

/// Scorings that are shown before a command is confirmed.
const SHOWN: usize = 10;

/// Of which scorings, and why.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OrderArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The scorings' ids or unambiguous beginnings of them, or blobs (URL, container and path, path): of these the newest
    /// version is meant. Without one, all that the filter names
    #[arg(value_name = "ID|BLOB", conflicts_with_all = ["finding", "status", "rule", "prefix", "since", "FurtherFilter"])]
    pub ids: Vec<String>,
    /// What this finding of `status` concerns, and nothing else
    #[arg(long, value_name = "FINDING", conflicts_with_all = ["status", "rule", "prefix", "since", "FurtherFilter"])]
    pub finding: Option<String>,
    /// Scorings in this status; may be given several times
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<Status>,
    /// Scorings of this rule
    #[arg(long, value_name = "ID")]
    pub rule: Option<String>,
    /// Scorings of blobs whose container and path begin so
    #[arg(long, value_name = "CONTAINER/PATH")]
    pub prefix: Option<String>,
    /// Scorings that were accepted since then: `90m`, `24h`, `7d` before now, a day such as `2026-07-21` (UTC), or a time such as `2026-07-21T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Since::read)]
    pub since: Option<Since>,
    /// What else is asked of them.
    #[command(flatten)]
    pub further: FurtherFilter,
    /// Why: it stands in the history, with who ordered it; a dry run needs none
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub reason: Option<String>,
    /// Show which scorings it would be, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Order it of several scorings at once, or of a group, which is of all its members
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Whether what came of each scoring is told as a JSON array, or as lines for people.
    #[command(flatten)]
    pub json: JsonArgs,
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
    /// Of a group: how many members it was made of, whom the order concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<usize>,
    /// Why it was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What is done to scorings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// What the driver does at once.
    Verb(Verb),
    /// They are scored once more, as another generation, with the next reconcile run.
    Rescore,
}

impl From<Verb> for Doing {
    fn from(verb: Verb) -> Self {
        Self::Verb(verb)
    }
}

impl Doing {
    /// What was done, as part of a sentence.
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Verb(verb) => verb.done(),
            Self::Rescore => "rescored",
        }
    }
}

/// Who orders it of what is named, and why.
struct OrderDraft<'a> {
    doing: Doing,
    by: &'a str,
    reason: &'a str,
}

impl OrderDraft<'_> {
    fn order(&self, verb: Verb) -> Order {
        Order { verb, by: self.by.to_owned(), reason: self.reason.to_owned() }
    }

    /// How many members of a group it is ordered of, if that is what is named.
    fn members(&self, scoring: &Scoring) -> Option<usize> {
        match self.doing {
            Doing::Verb(verb) => scoring.members_ordered(verb),
            Doing::Rescore => None,
        }
    }

    /// Whether who names this one alone is asked all the same, as many are meant. Of what is refused nobody is asked.
    async fn is_asked_of(&self, ledger: &Ledger, scoring: &Scoring, now: OffsetDateTime) -> Result<bool, Error> {
        Ok(self.members(scoring).is_some() && self.refusal(ledger, scoring, now).await?.is_none())
    }

    /// Why it would change nothing of the scoring.
    async fn refusal(&self, ledger: &Ledger, scoring: &Scoring, now: OffsetDateTime) -> Result<Option<String>, Error> {
        Ok(match self.doing {
            Doing::Verb(verb) => app::refusal(ledger, scoring, &self.order(verb), now),
            Doing::Rescore => app::rescore_refusal(ledger, scoring).await?,
        })
    }

    /// Gives the order for one scoring. What refuses it is part of the outcome; an error is the ledger's own.
    async fn give(&self, ledger: &Ledger, scoring: &Scoring, now: OffsetDateTime) -> Result<Outcome, Error> {
        let id = scoring.id.to_string();
        let status = match self.doing {
            Doing::Verb(verb) => match app::order(ledger, &scoring.id, &self.order(verb), now).await? {
                ResolveOutcome::Recorded { scoring, .. } => scoring.status,
                ResolveOutcome::Refused(why) => return Ok(left_alone(&id, why.to_string())),
            },
            Doing::Rescore => match app::rescore(ledger, scoring, self.by, self.reason, now).await? {
                AskOutcome::Recorded => scoring.status,
                AskOutcome::Refused(why) => return Ok(left_alone(&id, why)),
            },
        };
        Ok(Outcome { id, outcome: "ordered", status: Some(status.name()), members: self.members(scoring), why: None })
    }
}

/// Orders it of all that is named, or says why not.
pub async fn order(
    ledger: &Ledger,
    doing: impl Into<Doing>,
    args: &OrderArgs,
    by: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let reason = args.reason.as_deref().unwrap_or_default().trim();
    if reason.is_empty() && !args.dry_run {
        writeln!(out, "Nothing was changed: --reason is empty; it tells whoever reads the history why.")?;
        return Ok(ATTENTION);
    }
    let said = OrderDraft { doing: doing.into(), by, reason };
    let Some(named) = named(ledger, said.doing, args, now, out).await? else { return Ok(ATTENTION) };
    let count = named.scorings.len() + named.events.len();
    if count == 0 {
        writeln!(out, "No scoring matches the filter; nothing was changed.")?;
        return Ok(ATTENTION);
    }
    let mut is_asked = args.dry_run || count > 1 && !args.yes;
    if let ([scoring], false) = (&named.scorings[..], args.yes) {
        is_asked |= said.is_asked_of(ledger, scoring, now).await?;
    }
    if is_asked {
        return preview(ledger, &named, &said, args, now, out).await;
    }
    let mut outcomes = Vec::with_capacity(count);
    for key in &named.events {
        outcomes.push(of_event(ledger, key, &said, now).await?);
    }
    for scoring in &named.scorings {
        outcomes.push(said.give(ledger, scoring, now).await?);
    }
    let alone = outcomes.iter().filter(|outcome| outcome.why.is_some()).count();
    if args.json.is_asked_for() {
        args.json.write(&outcomes, out)?;
        return Ok(if alone == 0 { OK } else { ATTENTION });
    }
    for outcome in &outcomes {
        match &outcome.why {
            None if said.doing == Doing::Rescore => {
                writeln!(
                    out,
                    "{}  is scored once more with the next reconcile run, as another generation",
                    outcome.id
                )?;
            }
            None => {
                let status = outcome.status.unwrap_or_default();
                let with =
                    outcome.members.map(|members| format!(" with what is left of its {}", members_text(members)));
                let with = with.unwrap_or_default();
                writeln!(out, "{}  {}{with}; it is {status} now", outcome.id, said.doing.done())?;
            }
            Some(why) => writeln!(out, "{}  left alone: {}", outcome.id, visible(why))?,
        }
    }
    if outcomes.len() > 1 {
        let done = outcomes.len() - alone;
        let verb = if said.doing == Doing::Rescore { "to be rescored" } else { said.doing.done() };
        writeln!(out, "{done} {verb}, {alone} left alone; the next reconcile run goes on.")?;
    }
    Ok(if alone == 0 { OK } else { ATTENTION })
}

fn left_alone(id: &str, why: String) -> Outcome {
    Outcome { id: id.to_owned(), outcome: "leftAlone", status: None, members: None, why: Some(why) }
}

fn members_text(members: usize) -> String {
    format!("{members} member{}", if members == 1 { "" } else { "s" })
}

/// What an order would be done to: so many scorings, and groups of so many members.
fn counted(scorings: usize, groups: &[usize]) -> String {
    let members = members_text(groups.iter().sum());
    let groups = match groups.len() {
        0 => return scorings.to_string(),
        1 => format!("1 group with its {members}"),
        count => format!("{count} groups with their {members}"),
    };
    if scorings == 0 { groups } else { format!("{scorings} and {groups}") }
}

const ONLY_ACK: &str = "it is a quarantined event, which became no scoring; `scorekeeper ack` says that it was seen, `scorekeeper replay` takes its blob in";

/// A quarantined event is acknowledged, and nothing else can be ordered of it.
async fn of_event(ledger: &Ledger, key: &str, said: &OrderDraft<'_>, now: OffsetDateTime) -> Result<Outcome, Error> {
    if said.doing != Doing::Verb(Verb::Acknowledge) {
        return Ok(left_alone(key, ONLY_ACK.to_owned()));
    }
    Ok(if ledger.acknowledge_quarantined(key, said.by, said.reason, now).await.map_err(Error::Write)? {
        Outcome { id: key.to_owned(), outcome: "ordered", status: Some("quarantined"), members: None, why: None }
    } else {
        left_alone(key, "it is not there any more".to_owned())
    })
}

/// What the order would do to each, and that nothing was changed.
async fn preview(
    ledger: &Ledger,
    named: &Named,
    said: &OrderDraft<'_>,
    args: &OrderArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let mut lines = Vec::new();
    let would = |id: &str, status, members| Outcome {
        id: id.to_owned(),
        outcome: "wouldBeOrdered",
        status,
        members,
        why: None,
    };
    for key in &named.events {
        let ack = said.doing == Doing::Verb(Verb::Acknowledge);
        let outcome = if ack { would(key, Some("quarantined"), None) } else { left_alone(key, ONLY_ACK.to_owned()) };
        lines.push((outcome, String::new()));
    }
    for scoring in &named.scorings {
        let outcome = match said.refusal(ledger, scoring, now).await? {
            Some(why) => left_alone(scoring.id.as_str(), why),
            None => would(scoring.id.as_str(), Some(scoring.status.name()), said.members(scoring)),
        };
        lines.push((outcome, shortened(&name_of(scoring), 80)));
    }
    let alone = lines.iter().filter(|(outcome, _)| outcome.why.is_some()).count();
    if args.json.is_asked_for() {
        args.json.write(&lines.into_iter().map(|(outcome, _)| outcome).collect::<Vec<_>>(), out)?;
    } else {
        for (outcome, what) in lines.iter().take(SHOWN) {
            let Outcome { id, status, why, .. } = outcome;
            match why {
                None => writeln!(out, "{id}  {:10}  {what}", status.unwrap_or_default())?,
                Some(why) => writeln!(out, "{id}  left alone: {}", visible(why))?,
            }
        }
        let more = lines.len().saturating_sub(SHOWN);
        if more > 0 {
            writeln!(out, "and {more} more")?;
        }
        let groups: Vec<usize> = lines.iter().filter_map(|(outcome, _)| outcome.members).collect();
        let count = counted(lines.len() - alone - groups.len(), &groups);
        let verb = said.doing.done();
        let alone = if alone == 0 { String::new() } else { format!(", {alone} left alone") };
        if args.dry_run {
            writeln!(out, "{count} would be {verb}{alone}; nothing was changed.")?;
        } else {
            writeln!(out, "{count} are to be {verb}{alone}; nothing was changed; to do it, add --yes.")?;
        }
    }
    Ok(if args.dry_run && alone == 0 { OK } else { ATTENTION })
}
