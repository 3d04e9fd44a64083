//! Which scorings an order names: by ids or their beginnings, by a finding, or by a filter.

use std::collections::BTreeSet;
use std::io::Write;

use app::ledger::Ledger;
use app::reports::{self, Filter, WithGroups};
use lifecycle::publishing::Publishing;
use lifecycle::text::visible;
use lifecycle::{Scoring, ScoringId, Status, Verb};
use time::OffsetDateTime;

use super::newest::of_newest_version;
use super::on_ledger::Error;
use super::order::{Doing, OrderArgs};
use super::progress::Progress;

/// Scorings that one command orders at most.
const MAX_ORDERS: usize = 10_000;

/// What an order is about.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// Scorings, as they are now.
    pub(super) scorings: Vec<Scoring>,
    /// Keys of quarantined events, which are rows of the ledger and no scorings.
    pub(super) events: Vec<String>,
}

/// What is named; `None` if nothing is, or not clearly, which was said.
pub(super) async fn named(
    ledger: &Ledger,
    doing: Doing,
    args: &OrderArgs,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<Option<Named>, Error> {
    if !args.ids.is_empty() {
        return by_ids(ledger, &args.ids, out).await;
    }
    if let Some(finding) = &args.finding {
        return by_finding(ledger, finding, now, out).await;
    }
    let filter = Filter {
        status: args.status.clone(),
        rule: args.rule.clone(),
        prefix: args.prefix.clone(),
        since: args.since.map(|since| since.before(now)),
        ..args.further.filter(now, MAX_ORDERS)
    };
    if filter.is_of_all() {
        writeln!(
            out,
            "Name what is to be {}: ids, --finding, or a filter (--status, --rule, --prefix, --since, --before, --endpoint, --deployment, --attempt, --cause, --group).",
            doing.done()
        )?;
        return Ok(None);
    }
    let wanted: &[Status] = match doing {
        Doing::Rescore | Doing::Verb(Verb::Publish) => &[Status::Scored],
        Doing::Verb(Verb::Retry) => &[Status::Failed],
        Doing::Verb(Verb::Cancel) => &[Status::Queued, Status::Grouped, Status::Held, Status::Running],
        Doing::Verb(Verb::Skip) => &[Status::Queued, Status::Held],
        Doing::Verb(Verb::Hold | Verb::Release | Verb::Expedite) => &[Status::Queued],
        // Whatever needs it, in each status.
        Doing::Verb(Verb::Acknowledge) if filter.group.is_some() => &[],
        Doing::Verb(Verb::Acknowledge) => {
            let scorings = acknowledgeable(ledger, &filter).await?;
            return Ok(Some(Named { scorings, ..Named::default() }));
        }
    };
    let status = if filter.status.is_empty() { wanted.to_vec() } else { filter.status.clone() };
    let mut progress = Progress::new();
    // Until a group ends its one job is put off, hastened and let go for all its members, which do not take that themselves. Who cancels by
    // a filter names files: of a group those that the filter names, and each of them once.
    let groups = match doing {
        Doing::Verb(Verb::Hold | Verb::Release | Verb::Expedite | Verb::Retry | Verb::Skip) => WithGroups::Beside,
        _ => WithGroups::LeftOut,
    };
    let filter = Filter { status, groups, ..filter };
    let found = reports::newest_of_pages(ledger, &filter, usize::MAX, || progress.count()).await?;
    drop(progress);
    if args.further.is_ambiguous(&found, out)? {
        return Ok(None);
    }
    if found.next.is_some() && !args.json.is_asked_for() {
        writeln!(out, "More than {MAX_ORDERS} match: these are the newest ones; give the order again for the rest.")?;
    }
    let mut scorings = Vec::with_capacity(found.scorings.len());
    for view in found.scorings {
        if let Some(id) = ScoringId::read(&view.id) {
            scorings.extend(ledger.get(&id).await?.map(|(scoring, _)| scoring));
        }
    }
    let of_groups: BTreeSet<ScoringId> =
        scorings.iter().filter(|one| one.is_group()).map(|one| one.id.clone()).collect();
    // Where a group is named, its members are.
    scorings.retain(|one| one.member_of().is_none_or(|group| !of_groups.contains(group)));
    if doing == Doing::Verb(Verb::Release) {
        // A filter means those, and not the whole queue.
        scorings.retain(|scoring| scoring.on_hold.is_some());
    }
    if doing == Doing::Verb(Verb::Acknowledge) {
        scorings.retain(Scoring::needs_acknowledgement);
    }
    if doing == Doing::Verb(Verb::Publish) {
        let could_not = |all: &Publishing| all.needs_person().is_some() && all.can_be_ordered();
        scorings.retain(|scoring| scoring.publishing.as_ref().is_some_and(could_not));
    }
    Ok(Some(Named { scorings, ..Named::default() }))
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

/// What one finding of `status` concerns now.
pub(super) async fn by_finding(
    ledger: &Ledger,
    finding: &str,
    now: OffsetDateTime,
    out: &mut dyn Write,
) -> Result<Option<Named>, Error> {
    let report = reports::status(ledger, now, None).await?;
    let Some(finding) = report.findings.into_iter().find(|known| known.id.as_deref() == Some(finding)) else {
        let shown = visible(finding);
        writeln!(out, "There is no finding `{shown}` any more; `scorekeeper status` shows those of now.")?;
        return Ok(None);
    };
    let mut named = Named::default();
    for id in finding.of {
        let scoring = match ScoringId::read(&id) {
            Some(id) => ledger.get(&id).await?,
            None => None,
        };
        match scoring {
            Some((scoring, _)) => named.scorings.push(scoring),
            None => named.events.push(id),
        }
    }
    Ok(Some(named))
}

async fn by_ids(ledger: &Ledger, ids: &[String], out: &mut dyn Write) -> Result<Option<Named>, Error> {
    let mut named = Named::default();
    for id in ids {
        if ledger.quarantined_event(id).await?.is_some() {
            named.events.push(id.clone());
            continue;
        }
        let Some(scoring) = by_id(ledger, id, out).await? else { return Ok(None) };
        named.scorings.push(scoring);
    }
    Ok(Some(named))
}

/// The scoring of an id, of an unambiguous beginning of one, or of the newest version of a blob that is named as for `explain`;
/// `None` if there is none or not one, which was said.
pub(super) async fn by_id(ledger: &Ledger, name: &str, out: &mut dyn Write) -> Result<Option<Scoring>, Error> {
    let shown = visible(name);
    if ScoringId::read(&format!("{name:0<32}")).is_some() {
        let mut found = ledger.of_id(name, 2).await?;
        match (found.read.len(), found.unreadable.len()) {
            (1, 0) => return Ok(found.read.pop()),
            (0, 0) => {}
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
    let mut progress = Progress::new();
    let known = reports::find(ledger, name, || progress.count()).await?;
    drop(progress);
    let mut newest = of_newest_version(known.scorings);
    match newest.len() {
        1 => return Ok(newest.pop()),
        0 => writeln!(
            out,
            "There is no scoring `{shown}`, nor one of a blob of that name; nothing was changed. `scorekeeper explain` knows more."
        )?,
        count => {
            writeln!(out, "`{shown}` has {count} scorings; nothing was changed. Name one of them:")?;
            for scoring in &newest {
                let path = reports::name_of(scoring);
                writeln!(
                    out,
                    "  {}  {:10}  {}  under rule {}",
                    scoring.id,
                    scoring.status,
                    visible(&path),
                    visible(&scoring.rule)
                )?;
            }
        }
    }
    Ok(None)
}
