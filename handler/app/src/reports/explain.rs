//! Why a blob was scored, why not, why not yet, or why never: every version of it, each rule's verdict, and the event as it came.

use std::borrow::Cow;

use lifecycle::own_output::NEVER_TRIGGER;
use lifecycle::redact::redacted;
use lifecycle::text::shell;
use lifecycle::uri::without_query;
use lifecycle::{Entry, Origin, Scoring, ScoringId, Status, UnversionedBlob};
use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::events::QuarantinedView;
use super::expected::{ENOUGH, expected};
use super::find::{self, SearchResult};
use super::groups::{
    GroupJobView, GroupView, group_job, group_of, is_waiting_for_others, waits_for_others, waits_in_vain_since,
};
use super::limits::waits_for;
use super::pending::{PendingView, pending};
use super::scorings::UnreadableView;
use super::text::counted;
use crate::ledger::{self, Controls, EndCounts, InFlight, Ledger, Received, ReceivedScoring, Rows, Skipped};
use crate::stuck;

/// Quarantined events that are looked through for a blob's name.
const MAX_QUARANTINED: usize = 1_000;

/// The answer to "why?" for one blob.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Container and path, if they are known.
    pub blob: Option<String>,
    /// Every version of it that the ledger knows, under each rule; the newest first.
    pub verdicts: Vec<Verdict>,
    /// Uploads of it that wait for a look at the storage.
    pub pending: Vec<PendingView>,
    /// Events that could not be read and have its name in them.
    pub quarantined: Vec<QuarantinedView>,
    /// Rows of it that cannot be read.
    pub unreadable: Vec<UnreadableView>,
}

/// What became of one version under one rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The version; none if the event told of none.
    pub etag: Option<String>,
    /// Which time the version is scored under its rule, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// The scoring's status, or `skipped`.
    pub verdict: &'static str,
    /// The rule; for a skip the one whose container it lies in.
    pub rule: Option<String>,
    /// When its scoring was accepted; a skipped event, when it last came.
    #[serde(with = "time::serde::rfc3339")]
    pub received_time: OffsetDateTime,
    /// When the same was last delivered again.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub repeated_time: Option<OffsetDateTime>,
    /// Since when it stands so.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Why it stands so: what the status means and the last line of its history, or why it was skipped.
    pub reason: String,
    /// What a person does about its failure, where the reason does not say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Cow<'static, str>>,
    /// What it waits for, and behind whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// It stands so for longer than that takes.
    pub stuck: bool,
    /// Id of the scoring; none for a skip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name of the job that the current attempt has; none: there is no job of its own, or not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The group that it is, or was last, a member of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The job that it shares with the other members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_job: Option<GroupJobView>,
    /// Why it is scored alone, though its rule groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alone: Option<String>,
    /// If it is a group: of whom.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub of_group: Option<GroupView>,
    /// The scoring in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// Why other rules of its container do not want it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_rules: Option<String>,
    /// The event as it came; none: no event of its own told of it.
    pub event: Option<String>,
    /// The command that goes on from here, for people; none for a skip that no command would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Explanation {
    /// No event was ever received for it.
    pub fn was_never_received(&self) -> bool {
        self.verdicts.is_empty() && self.pending.is_empty() && self.quarantined.is_empty() && self.unreadable.is_empty()
    }
}

/// Explains what a word means; see [`find`](super::find). `progress` is called for each row that a search walks over.
pub async fn explain(
    ledger: &Ledger,
    wanted: &str,
    now: OffsetDateTime,
    progress: impl FnMut(),
) -> Result<Explanation, ledger::Error> {
    let mut known = find::find(ledger, wanted, progress).await?;
    // Whoever names a scoring asks of its blob, and who names a group of that, which is of no blob; whoever names the beginning of
    // several ids asks of each of them.
    if known.blob.is_none()
        && let Some(first) = known.scorings.first().filter(|first| !first.is_group())
        && known.scorings.iter().all(|other| other.blob.url == first.blob.url)
    {
        known = find::beside(ledger, first).await?;
    }
    let context = Context::read(ledger, &known, now).await?;
    let mut verdicts = Vec::new();
    for scoring in &known.scorings {
        let received = known.received.iter().find_map(|row| match row {
            Received::Scoring(row) if row.id == scoring.id => Some(row),
            _ => None,
        });
        let entries = ledger.entries(&scoring.id).await?;
        let shared = group_job(ledger, scoring).await?;
        let mut verdict = context.of_scoring(scoring, received, entries.last(), shared);
        verdict.of_group = group_of(ledger, scoring, usize::MAX).await?;
        if let Some(group) = &mut verdict.of_group {
            group.made = entries.first().map(|entry| redacted(&entry.reason).into_owned());
        }
        verdicts.push(verdict);
    }
    let skips = known.received.iter().filter_map(|row| match row {
        Received::Skipped(skip) => Some(of_skip(skip)),
        Received::Scoring(_) => None,
    });
    verdicts.extend(skips);
    verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.received_time));
    let name = known.blob.as_ref().map(|(container, path)| format!("{container}/{path}"));
    let (mut waiting, mut bad) = (Vec::new(), Vec::new());
    if let Some((container, path)) = &known.blob {
        let is_it =
            |url: &str| UnversionedBlob::read(url).is_ok_and(|blob| blob.container == *container && blob.path == *path);
        waiting = pending(ledger).await?.waiting.into_iter().filter(|view| is_it(&view.url)).collect();
        // An event may name it in percent-encoding, as a URL that is asked for does.
        let asked = if wanted.contains("://") { without_query(wanted) } else { wanted }.trim();
        let names_it = |text: &str| text.contains(path.as_str()) || text.contains(asked);
        let quarantined = ledger.quarantined(OffsetDateTime::UNIX_EPOCH, MAX_QUARANTINED).await?;
        bad = quarantined.into_iter().filter(|event| names_it(&event.received)).map(Into::into).collect();
    } else if known.is_empty() && !wanted.trim().is_empty() {
        // A path alone, of a blob that nothing else is known of.
        let ends_so = |subject: String| subject == wanted || subject.ends_with(&format!("/{wanted}"));
        let quarantined = ledger.quarantined(OffsetDateTime::UNIX_EPOCH, MAX_QUARANTINED).await?;
        bad = quarantined.into_iter().filter(|event| event.subject().is_some_and(ends_so)).map(Into::into).collect();
    }
    bad.extend(known.quarantined.map(Into::into));
    Ok(Explanation {
        blob: name.map(|name| redacted(&name).into_owned()),
        verdicts,
        pending: waiting,
        quarantined: bad,
        unreadable: known.unreadable.into_iter().map(Into::into).collect(),
    })
}

/// What is asked once for all versions.
struct Context {
    controls: Controls,
    in_flight: Option<Rows<InFlight>>,
    /// What ended in the last day, for times that are usual; empty where nothing waits or runs.
    ended: EndCounts,
    now: OffsetDateTime,
}

impl Context {
    async fn read(ledger: &Ledger, known: &SearchResult, now: OffsetDateTime) -> Result<Self, ledger::Error> {
        let waits = known.scorings.iter().any(|scoring| scoring.status == Status::Queued);
        let (controls, _) = if waits { ledger.readable_controls().await? } else { Default::default() };
        let in_flight = if waits { Some(ledger.in_flight().await?) } else { None };
        let runs = known.scorings.iter().any(|scoring| scoring.status == Status::Running);
        let (ended, _) =
            if waits || runs { ledger.counted_since(now - Duration::DAY).await? } else { Default::default() };
        Ok(Self { controls, in_flight, ended, now })
    }

    fn of_scoring(
        &self,
        s: &Scoring,
        received: Option<&ReceivedScoring>,
        last: Option<&Entry>,
        group_job: Option<GroupJobView>,
    ) -> Verdict {
        let shown = |text: &str| redacted(text).into_owned();
        let since = s.since;
        let reason = match last {
            // A status says what it means; the last line of history says why it came to be so.
            Some(entry) => format!("{}: {}", s.sentence(), entry.reason),
            None => s.sentence().to_owned(),
        };
        let waits = match s.status {
            Status::Queued => Some(self.waits(s)),
            Status::Grouped if group_job.as_ref().is_some_and(|job| job.splits) => Some(
                "its group failed: it goes on in one of the halves, which are made once no circuit breaker of its deployment is open (scorekeeper breaker)"
                    .to_owned(),
            ),
            Status::Grouped => s.member_of().map(|group| {
                let why = group_job.as_ref().and_then(|job| job.last_error.as_deref());
                let why = why.map(|why| format!("; at present {why}")).unwrap_or_default();
                format!("the job of its group ends{why}; see scorekeeper show {group}")
            }),
            status if status.is_terminal() => None,
            _ => s.last_error.clone().or_else(|| expected(s, 0, &self.controls, &self.ended)),
        };
        let is_slow =
            || s.status == Status::Running && stuck::is_slow(self.ended.usual_time(&s.rule, ENOUGH), since, self.now);
        let others = waits_for_others(&self.controls, s);
        let others = others.and_then(|_| waits_in_vain_since(&self.controls, &s.rule, s.created));
        let in_vain_since = others.map_or(since, |over| over.max(since));
        let remedy = s.remedy();
        let told = |text: &Option<String>| text.as_deref().map(shown);
        Verdict {
            etag: Some(shown(&s.blob.etag)),
            generation: Some(s.generation),
            verdict: s.status.name(),
            rule: Some(shown(&s.rule)),
            received_time: s.created,
            repeated_time: received.and_then(|row| row.repeated),
            since,
            remedy: remedy.filter(|remedy| !reason.contains(&**remedy)),
            reason: shown(&reason),
            waits: waits.as_deref().map(shown),
            stuck: s.on_hold.is_none() && (stuck::is_stuck(s.status, in_vain_since, self.now) || is_slow()),
            id: Some(s.id.to_string()),
            job: s.job.as_ref().map(|job| shown(&job.name)),
            group: s.member_of().map(ToString::to_string),
            group_job,
            alone: s.alone().map(shown),
            of_group: None,
            replaced_by: s.replaced_by.as_ref().map(ToString::to_string),
            other_rules: received.and_then(|row| told(&row.refused)),
            event: received.and_then(|row| told(&row.event)),
            next: Some(next(s)),
        }
    }

    /// What a queued scoring waits for, and how many are before it.
    fn waits(&self, s: &Scoring) -> String {
        if s.on_hold.is_some() || waits_for_others(&self.controls, s).is_some() {
            return waits_for(&self.controls, s).unwrap_or_default();
        }
        // As a reconcile run goes through them, but for rules' priorities, which the ledger does not know.
        let place =
            |expedited: bool, origin: Origin, created, id: &ScoringId| (!expedited, origin.rank(), created, id.clone());
        let own = place(s.expedited, s.origin, s.created, &s.id);
        let earlier = self.in_flight.iter().flat_map(|rows| rows.iter()).filter(|row| {
            let is_before = place(row.expedited, row.origin, row.created, &row.id) < own;
            row.status == Status::Queued
                && row.on_hold.is_none()
                && row.endpoint == s.endpoint
                && is_before
                && !is_waiting_for_others(&self.controls, row)
        });
        let earlier: Vec<&InFlight> = earlier.collect();
        let last = earlier.iter().max_by_key(|row| place(row.expedited, row.origin, row.created, &row.id));
        let groups = earlier.iter().filter(|row| row.is_group()).count();
        let behind = match (earlier.len(), last) {
            (1, Some(last)) => {
                let one = if groups == 1 { "group" } else { "scoring" };
                format!("1 {one} is before it in the queue of its endpoint, {}", last.id)
            }
            (before, Some(last)) => {
                let all = if groups == 0 { format!("{before} scorings") } else { counted(before, groups) };
                format!("{all} are before it in the queue of its endpoint, the last of them {}", last.id)
            }
            (_, None) => "first in the queue of its endpoint".to_owned(),
        };
        let expected = expected(s, earlier.len(), &self.controls, &self.ended);
        let all = waits_for(&self.controls, s).into_iter().chain([behind]).chain(expected);
        all.collect::<Vec<_>>().join("; ")
    }
}

fn of_skip(skip: &Skipped) -> Verdict {
    let shown = |text: &str| redacted(text).into_owned();
    Verdict {
        etag: skip.etag.as_deref().map(shown),
        generation: None,
        verdict: "skipped",
        rule: skip.rule.as_deref().map(shown),
        received_time: skip.at,
        repeated_time: None,
        since: skip.at,
        reason: shown(&skip.reason),
        remedy: None,
        waits: None,
        stuck: false,
        id: None,
        job: None,
        group: None,
        group_job: None,
        alone: None,
        of_group: None,
        replaced_by: None,
        other_rules: None,
        event: skip.event.as_deref().map(shown),
        next: next_of_skip(skip).map(|text| shown(&text)),
    }
}

/// What may be done of a skip. Nothing of what no container holds, as there is no blob to be taken in, and nothing of an output, which
/// would be skipped again.
fn next_of_skip(skip: &Skipped) -> Option<String> {
    UnversionedBlob::read(&skip.subject).ok()?;
    if skip.reason.ends_with(NEVER_TRIGGER) {
        return None;
    }
    let replay = format!("scorekeeper replay {} --reason …", shell(&skip.subject));
    // Reasons of rules begin with their names. Where none refused it, none has to change: the blob was not there any more when it
    // was looked at, or is scored under the name that it had before.
    let is_refused = skip.reason.contains("rule `");
    let when = if is_refused { "once a rule wants it" } else { "if it is to be taken in as it is now" };
    Some(format!("{replay}, {when}"))
}

/// The command that goes on from here: one that this takes.
fn next(s: &Scoring) -> String {
    match s.status {
        Status::Failed if s.is_group() && !s.splits() => format!("scorekeeper retry --group {} --reason …", s.id),
        Status::Cancelled if s.is_group() => {
            format!("scorekeeper retry --group {} --status cancelled --reason …", s.id)
        }
        status if s.is_group() && status.is_terminal() => format!("scorekeeper list --group {}", s.id),
        Status::Held => format!("scorekeeper resolve {} --send-again | --job NAME | --give-up --reason TEXT", s.id),
        Status::Failed | Status::Cancelled => format!("scorekeeper retry {} --reason …", s.id),
        Status::Scored
            if s.publishing.as_ref().is_some_and(|all| all.needs_person().is_some() && all.can_be_ordered()) =>
        {
            format!("scorekeeper publish {} --reason …", s.id)
        }
        _ => format!("scorekeeper show {}", s.id),
    }
}
