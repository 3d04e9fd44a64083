//! `scorekeeper explain`: why a blob was scored, why not, why not yet, or why never.

use std::io::Write;

use app::ledger::Ledger;
use app::reports::{self, Explanation, GroupView, MemberView, Verdict};
use lifecycle::Status;
use lifecycle::intake;
use lifecycle::text::visible;
use time::OffsetDateTime;

use super::json::JsonArgs;
use super::on_ledger::{ATTENTION, Error, OK};
use super::progress::Progress;
use super::view::{ago, utc_text};
use crate::config::WhichLedger;

/// Which blob `explain` tells of, and in which form.
#[derive(Debug, Clone, clap::Args)]
pub struct ExplainArgs {
    /// Which ledger it is about.
    #[command(flatten)]
    pub which: WhichLedger,
    /// The blob's URL, its container and path, its path alone, or the id of one of its scorings
    pub blob: String,
    /// Whether versions, verdicts and the event are printed as JSON, or as text for people.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// `explain BLOB`: every version of it, each rule's verdict, and the event as it came, with the next command on the ledger that
/// `which` names.
pub async fn explain(
    ledger: &Ledger,
    which: &WhichLedger,
    wanted: &str,
    json: &JsonArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<u8, Error> {
    let mut progress = Progress::new();
    let mut explanation = reports::explain(ledger, wanted, now, || progress.count()).await?;
    for next in explanation.verdicts.iter_mut().filter_map(|verdict| verdict.next.as_mut()) {
        *next = which.named_in(next);
    }
    drop(progress);
    let code = if explanation.was_never_received() { ATTENTION } else { OK };
    if json.is_asked_for() {
        json.write(&explanation, out)?;
    } else {
        print(&explanation, which, wanted, now, out)?;
    }
    Ok(code)
}

/// The explanation as people read it.
pub(super) fn print(
    explanation: &Explanation,
    which_ledger: &WhichLedger,
    wanted: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if explanation.was_never_received() {
        let asked = visible(intake::shown(wanted));
        writeln!(out, "No event was ever received for `{asked}`, as far as the ledger remembers.")?;
        let replay = which_ledger.named_in("scorekeeper replay URL --reason …");
        let list = which_ledger.named_in("scorekeeper list --prefix CONTAINER/BEGINNING-OF-PATH");
        writeln!(
            out,
            "  Is that how it is called?      {list}\n  \
             Would a rule want it?          scorekeeper rules test URL\n  \
             Do events come at all?         scorekeeper doctor\n  \
             Is the blob there?             {replay} takes it in"
        )?;
        return Ok(());
    }
    if let Some(blob) = &explanation.blob {
        writeln!(out, "{}", visible(blob))?;
    }
    for row in &explanation.unreadable {
        writeln!(out, "  {}: {}", row.status, visible(&row.error))?;
    }
    for verdict in &explanation.verdicts {
        print_verdict(verdict, now, out)?;
    }
    for view in &explanation.pending {
        let rule = view.rule.as_deref().map(|rule| format!(" under rule {rule}")).unwrap_or_default();
        writeln!(
            out,
            "  waits for a look at the storage{} since {} UTC ({})",
            visible(&rule),
            utc_text(view.since),
            ago(view.since, now)
        )?;
        writeln!(out, "    why        {}", visible(&view.reason))?;
        writeln!(out, "    next look  {} UTC", utc_text(view.due))?;
    }
    for event in &explanation.quarantined {
        let which = if explanation.blob.is_some() { "an event with its name in it" } else { "this event" };
        writeln!(out, "  quarantined at {} UTC: {which} cannot be read", utc_text(event.seen_time))?;
        writeln!(out, "    why        {}", visible(&event.reason))?;
        writeln!(out, "    received   {}", visible(&event.received))?;
        if let Some(at) = event.acknowledged_time {
            writeln!(out, "    seen       acknowledged at {} UTC", utc_text(at))?;
        } else {
            let ack = which_ledger.named_in(&format!("scorekeeper ack {} --reason …", event.id));
            writeln!(out, "    next       {ack}")?;
        }
    }
    Ok(())
}

/// Members of a group that are named where it is explained; `show` has them all.
const MEMBERS_NAMED: usize = 5;

/// Of whom a group was made, the first ones by name; where some are scored, of those that are not.
fn members(group: &GroupView) -> String {
    let is_scored = |member: &&MemberView| member.status == Some(Status::Scored.name());
    let (scored, others): (Vec<_>, Vec<_>) = group.group_members.iter().partition(is_scored);
    let (of, these) = match (scored.is_empty(), others.is_empty()) {
        (false, false) => ("not scored: ", others),
        (true, _) => ("", others),
        (_, true) => ("", scored),
    };
    let named: Vec<&str> =
        these.iter().take(MEMBERS_NAMED).map(|member| member.path.as_deref().unwrap_or(&member.id)).collect();
    let more = these.len().saturating_sub(named.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{} ({of}{}{more})", group.told(), named.join(", "))
}

fn print_verdict(verdict: &Verdict, now: OffsetDateTime, out: &mut dyn Write) -> std::io::Result<()> {
    let group = verdict.of_group.as_ref();
    let version = match (group, &verdict.id, &verdict.etag) {
        (Some(_), Some(id), _) => format!("group {id}"),
        (_, _, etag) => etag.as_deref().map(|etag| format!("version {etag}")).unwrap_or_default(),
    };
    let generation = verdict.generation.filter(|generation| *generation > 0);
    let generation = generation.map(|generation| format!(", generation {generation}")).unwrap_or_default();
    let rule = verdict.rule.as_deref().map(|rule| format!(" under rule {rule}")).unwrap_or_default();
    let stuck = if verdict.stuck { ", stuck" } else { "" };
    writeln!(
        out,
        "  {}{generation}: {}{}{stuck} since {} UTC ({})",
        visible(if version.is_empty() { "an event" } else { &version }),
        verdict.verdict,
        visible(&rule),
        utc_text(verdict.since),
        ago(verdict.since, now)
    )?;
    let repeated = verdict.repeated_time.map(|at| format!(", delivered again at {} UTC", utc_text(at)));
    let event = verdict.event.as_deref().unwrap_or("none of its own: the reason says how it came in");
    let shared = verdict.group_job.as_ref().map(|job| format!(" ({})", job.told())).unwrap_or_default();
    let sealed = |group: &GroupView| {
        let at = utc_text(group.sealed_time);
        let made = group.made.as_deref().unwrap_or("of what waited then under its rule");
        format!("at {at} UTC by a reconcile run: {made}")
    };
    let received = Some(format!("{} UTC{}", utc_text(verdict.received_time), repeated.unwrap_or_default()));
    let rows = [
        ("why", Some(verdict.reason.clone())),
        ("remedy", verdict.remedy.as_ref().map(ToString::to_string)),
        ("waits", verdict.waits.clone()),
        ("job", verdict.job.clone()),
        ("group", verdict.group.as_ref().map(|group| format!("{group}{shared}"))),
        ("alone", verdict.alone.clone()),
        ("made", group.map(sealed)),
        ("members", group.map(members)),
        ("halves", group.map(|group| group.halves.join(", ")).filter(|halves| !halves.is_empty())),
        ("replaced by", verdict.replaced_by.clone()),
        ("received", received.filter(|_| group.is_none())),
        ("other rules", verdict.other_rules.clone()),
        ("event", Some(event.to_owned()).filter(|_| group.is_none())),
        ("next", verdict.next.clone()),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            writeln!(out, "    {name:11}{}", visible(&value))?;
        }
    }
    Ok(())
}
