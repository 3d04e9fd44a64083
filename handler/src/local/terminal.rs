//! The live view in the terminal: one line for each change, and on a terminal a line of counts that stays at the end.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use lifecycle::redact::redacted;
use lifecycle::text::{fit, visible};
use lifecycle::{Scoring, ScoringId, Status, UnversionedBlob};
use time::{Duration, OffsetDateTime};

use crate::cli::view::{name_of, path, utc_text};
use crate::config::WhichLedger;
use app::ledger::{self, Ledger};
use app::ports::table_store::ETag;

/// Events that one look reads of a day; whoever has more reads them by `list`.
const MAX_EVENTS: usize = 1_000;
/// Whoever starts it again after a longer time is told again.
const TOLD_FOR: Duration = Duration::days(30);
/// Digits of an id that tell it from others of one machine.
const SHORT_ID: usize = 8;
/// Whoever was away for longer is told of what happened in so long.
const CATCHES_UP: Duration = Duration::DAY;

/// Follows a ledger and prints what changes.
pub(super) struct View<W> {
    out: W,
    /// Whether the last line may be overwritten.
    terminal: bool,
    known: HashMap<ScoringId, Status>,
    /// Events that became no scoring and were told of.
    told: HashSet<String>,
    started: OffsetDateTime,
    /// What happened behind this time was not told of by an earlier run.
    since: OffsetDateTime,
    counts: String,
    /// How commands find the ledger.
    which: WhichLedger,
}

impl<W: Write> View<W> {
    /// `last`: the time of the last change that an earlier run told of, if one did.
    pub(super) fn new(
        out: W,
        terminal: bool,
        which: WhichLedger,
        started: OffsetDateTime,
        last: Option<OffsetDateTime>,
    ) -> Self {
        // Nobody wants to read a week of what they were away for; `list` has it.
        let since = last.map_or(started, |last| last.clamp(started - CATCHES_UP, started));
        let (known, told, counts) = (HashMap::new(), HashSet::new(), String::new());
        Self { out, terminal, known, told, started, since, counts, which }
    }

    /// Takes what the ledger has recorded of events so far for told of. Each file is found anew at every start, and what is not
    /// scored is recorded again as of today; that is no news. To be called before anything is found.
    pub(super) async fn skip_what_was_told(&mut self, ledger: &Ledger) -> Result<(), ledger::Error> {
        let since = self.started - TOLD_FOR;
        let skipped = ledger.skipped(since, MAX_EVENTS).await?.read.into_iter().map(|event| event.key);
        let quarantined = ledger.quarantined(since, MAX_EVENTS).await?.read.into_iter().map(|event| event.key);
        self.told.extend(skipped.chain(quarantined));
        Ok(())
    }

    /// Looks at the ledger once and prints what is new. Returns the time of the last change that was told of, if one was.
    pub(super) async fn refresh(
        &mut self,
        ledger: &Ledger,
        now: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let in_flight = ledger.in_flight().await?;
        // What ended while nobody looked is shown, older history is for `list`.
        let ended = ledger.ended_since(self.since.min(now - Duration::hours(1))).await?;
        let mut changed: Vec<Scoring> = Vec::new();
        let mut counts = HashMap::new();
        // One that ended between the two questions is in both answers.
        let rows: HashMap<&ScoringId, Status> =
            in_flight.iter().map(|r| (&r.id, r.status)).chain(ended.iter().map(|r| (&r.id, r.status))).collect();
        for status in rows.values() {
            *counts.entry(*status).or_insert(0) += 1;
        }
        // Where a group ended no list tells; it is in flight no more.
        let left = self.known.iter().filter(|(id, status)| !status.is_terminal() && !rows.contains_key(id));
        let left: Vec<ScoringId> = left.map(|(id, _)| id.clone()).collect();
        let moved = rows.iter().filter(|(id, status)| self.known.get(**id) != Some(*status)).map(|(id, _)| *id);
        for id in moved.chain(&left) {
            if let Some(scoring) = readable(ledger.get(id).await)?
                // By now it may be further than its index row said, or have been told of as that.
                && self.known.get(id) != Some(&scoring.status)
            {
                changed.push(scoring);
            }
        }
        changed.sort_by_key(|scoring| scoring.updated);
        let mut last = None;
        for scoring in changed {
            let before = self.known.insert(scoring.id.clone(), scoring.status);
            // History of an earlier run is known, not news.
            if before.is_some() || scoring.updated > self.since {
                last = Some(scoring.updated);
                let detail = detail(ledger, &scoring).await?;
                self.line(scoring.updated, scoring.status.name(), &name(&scoring), &detail)?;
            }
        }
        let parts = Status::ALL.iter().filter_map(|s| counts.get(s).map(|count| format!("{s} {count}")));
        let counts = parts.collect::<Vec<_>>().join("  ");
        if self.terminal && counts != self.counts {
            write!(self.out, "\r\x1b[2K{counts}")?;
            self.out.flush()?;
        }
        self.counts = counts;
        // From here on all that changes is seen when it does.
        self.since = self.since.max(now - Duration::hours(1));
        Ok(last)
    }

    /// Prints the events that became no scoring since this view began, once each.
    pub(super) async fn refresh_events(&mut self, ledger: &Ledger) -> Result<(), Error> {
        let skipped = ledger.skipped(self.started, MAX_EVENTS).await?.read.into_iter();
        let quarantined = ledger.quarantined(self.started, MAX_EVENTS).await?.read.into_iter();
        let skipped = skipped.map(|event| (event.at, event.key, "skipped", shown(&event.subject), event.reason));
        let quarantined = quarantined.map(|event| {
            let what = event.subject().map_or_else(|| format!("event {}", event.key), |subject| shown(&fit(&subject)));
            (event.at, event.key, "quarantined", what, event.reason)
        });
        let mut events: Vec<_> = skipped.chain(quarantined).collect();
        events.sort();
        for (at, key, status, what, reason) in events {
            if at >= self.started && self.told.insert(key) {
                self.line(at, status, &what, &reason)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, at: OffsetDateTime, status: &str, what: &str, detail: &str) -> io::Result<()> {
        let at = utc_text(at);
        let (clear, again) = if self.terminal { ("\r\x1b[2K", self.counts.as_str()) } else { ("", "") };
        // Here the terminal is written to directly, so that nothing else stands between it and a name or a service's text.
        let detail = self.which.named_in(detail);
        let detail = redacted(&detail);
        // A name may hold one as well, as of a file that was saved with its SAS.
        let what = redacted(what);
        writeln!(self.out, "{clear}{}  {status:10}  {}  {}", &at[11..], visible(&what), visible(&detail))?;
        write!(self.out, "{again}")?;
        self.out.flush()
    }
}

/// Container and path of its blob. A group, which has none, by the beginning of its id, as other commands take it.
fn name(s: &Scoring) -> String {
    match s.group() {
        Some(_) => format!("{}, {}", &s.id.as_str()[..SHORT_ID], name_of(s)),
        None => path(&s.blob),
    }
}

/// What there is to say of a scoring that has just moved: its result, its error, its job, else why it moved.
async fn detail(ledger: &Ledger, s: &Scoring) -> Result<String, ledger::Error> {
    let said = match s.status {
        Status::Scored => {
            let places: Vec<&str> = s.output_uris().map(|(_, uri)| uri).collect();
            Some(format!("{} bytes at {}", s.output_bytes.unwrap_or_default(), places.join(", ")))
        }
        Status::Failed => s.error.clone(),
        Status::Cancelled | Status::Gone | Status::Superseded => None,
        _ => s.last_error.clone().or_else(|| s.job.as_ref().map(|job| job.name.to_string())),
    };
    if let Some(said) = said {
        return Ok(said);
    }
    let last = ledger.entries(&s.id).await?.read.pop();
    Ok(last.map(|entry| entry.reason).unwrap_or_default())
}

/// A skipped event's subject as the lines of scorings have it: container and path of a blob.
fn shown(subject: &str) -> String {
    UnversionedBlob::read(subject)
        .map_or_else(|_| subject.to_owned(), |blob| format!("{}/{}", blob.container, blob.path))
}

/// What cannot be read is told by the other commands; here it must not stop the others.
fn readable(got: Result<Option<(Scoring, ETag)>, ledger::Error>) -> Result<Option<Scoring>, ledger::Error> {
    match got {
        Err(ledger::Error::Unreadable(_)) => Ok(None),
        other => Ok(other?.map(|(scoring, _)| scoring)),
    }
}

/// Why the view could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] ledger::Error),
    /// Standard output cannot be written any more.
    #[error(transparent)]
    Output(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use app::ledger::{Announced, rows};
    use app::ports::table_store::{Op, TableName, TableStore};
    use lifecycle::group::{Group, Grouping};
    use lifecycle::intake::QuarantinedEvent;
    use lifecycle::skipped::SkippedEvent;
    use lifecycle::{BlobVersion, Order, Rules, Verb};
    use stores::memory::MemoryStore;
    use time::macros::datetime;

    #[tokio::test]
    async fn what_becomes_no_scoring_is_told_of_once_with_its_reason() {
        let started = datetime!(2026-07-21 10:00 UTC);
        let options = crate::compose::ledger_options("Scorekeeper", false);
        let ledger = Ledger::new(Arc::new(MemoryStore::new()), &options).unwrap();
        let skipped = |subject: &str, reason: &str| SkippedEvent {
            key: lifecycle::digest::digest(&[subject, reason]),
            subject: subject.to_owned(),
            rule: None,
            etag: None,
            reason: reason.to_owned(),
        };
        let hidden = skipped("https://local.blob.localhost/inbox/.a%20b", "its name begins with `.`");
        let before = skipped("https://local.blob.localhost/inbox/old.csv", "of an earlier run");
        ledger.skip(&before, None, started - Duration::SECOND).await.unwrap();
        ledger.skip(&hidden, None, started).await.unwrap();
        let bad = QuarantinedEvent { key: "0".repeat(32), reason: "no URL".into(), received: "{}".into(), whole: true };
        ledger.quarantine(&bad, started + Duration::SECOND).await.unwrap();
        let received = r#"{"subject":"/blobServices/default/containers/inbox/blobs/a.csv","data":{}}"#.into();
        let named = QuarantinedEvent { key: "1".repeat(32), received, ..bad.clone() };
        ledger.quarantine(&named, started + Duration::SECOND * 2).await.unwrap();
        let mut out = Vec::new();
        let mut view = View::new(&mut out, false, WhichLedger::default(), started, None);
        view.refresh_events(&ledger).await.unwrap();
        view.refresh_events(&ledger).await.unwrap();
        // Started again, it finds the same once more.
        let again = started + Duration::days(1);
        let mut second = Vec::new();
        let mut view = View::new(&mut second, false, WhichLedger::default(), again, None);
        view.skip_what_was_told(&ledger).await.unwrap();
        ledger.skip(&hidden, None, again).await.unwrap();
        ledger.quarantine(&bad, again).await.unwrap();
        view.refresh_events(&ledger).await.unwrap();
        assert_eq!(String::from_utf8(second).unwrap(), "");
        let golden = format!(
            "10:00:00  skipped     inbox/.a b  its name begins with `.`\n10:00:01  quarantined  event {}  no URL\n\
             10:00:02  quarantined  /blobServices/default/containers/inbox/blobs/a.csv  no URL\n",
            bad.key
        );
        assert_eq!(String::from_utf8(out).unwrap(), golden);
    }

    #[tokio::test]
    async fn what_ends_between_the_two_questions_is_told_of_once() {
        let now = datetime!(2026-07-21 10:00 UTC);
        let options = crate::compose::ledger_options("Scorekeeper", false);
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::new(Arc::clone(&store) as Arc<dyn TableStore>, &options).unwrap();
        let rules =
            r#"{"rules":[{"id":"r","match":{"container":"inbox"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rules = Rules::read(rules).unwrap();
        let blob = BlobVersion::read("https://local.blob.localhost/inbox/a.csv", "1").unwrap();
        let id = ledger.id().await.unwrap();
        let scoring = Scoring::accept(id, rules.get("r").unwrap(), blob, now);
        let entry = scoring.accepted_entry("it came".to_owned());
        ledger.accept(&scoring, &[entry], &Announced::default()).await.unwrap();
        // As the second question finds it, while the first one's answer still has it in flight.
        let ended = [Op::Insert(rows::to_terminal_row(&scoring, now))];
        store.write(&TableName::read("ScorekeeperState").unwrap(), &ended).await.unwrap();
        let mut out = Vec::new();
        let mut view = View::new(&mut out, false, WhichLedger::default(), now, Some(now - Duration::SECOND));
        assert_eq!(view.refresh(&ledger, now).await.unwrap(), Some(now));
        assert_eq!(view.refresh(&ledger, now).await.unwrap(), None);
        let told = String::from_utf8(out).unwrap();
        assert_eq!(told.lines().count(), 1, "{told}");
        // Whoever starts it again hours later is told of what an earlier run did not tell, and of nothing else.
        let again = now + Duration::hours(5);
        for (last, lines) in [(None, 0), (Some(now), 0), (Some(now - Duration::SECOND), 1)] {
            let mut out = Vec::new();
            let mut view = View::new(&mut out, false, WhichLedger::default(), again, last);
            view.refresh(&ledger, again).await.unwrap();
            let told = String::from_utf8(out).unwrap();
            assert_eq!(told.lines().count(), lines, "{last:?}: {told}");
        }
    }

    #[tokio::test]
    async fn the_end_of_a_group_is_told_though_no_list_has_it() {
        let now = datetime!(2026-07-21 10:00 UTC);
        let options = crate::compose::ledger_options("Scorekeeper", false);
        let ledger = Ledger::new(Arc::new(MemoryStore::new()), &options).unwrap();
        let rules = r#"{"rules":[{"id":"r","match":{"container":"inbox"},"group":{"by":"time"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rules = Rules::read(rules).unwrap();
        let folder = BlobVersion::read("https://local.blob.localhost/copies/g", "1").unwrap();
        let id = ledger.id().await.unwrap();
        let mut group = Scoring::accept(id, rules.get("r").unwrap(), folder, now);
        group.status = Status::Staging;
        group.grouping = Some(Box::new(Grouping::Group(Group::sealed([group.id.half(0)], None))));
        let entry = group.accepted_entry("it was made".to_owned());
        ledger.accept(&group, &[entry], &Announced::default()).await.unwrap();
        let mut out = Vec::new();
        let mut view = View::new(&mut out, false, WhichLedger::default(), now, Some(now - Duration::SECOND));
        view.refresh(&ledger, now).await.unwrap();
        let order = Order { verb: Verb::Cancel, by: "ann".to_owned(), reason: "a test".to_owned() };
        app::order(&ledger, &group.id, &order, now + Duration::SECOND).await.unwrap();
        for _ in 0..2 {
            view.refresh(&ledger, now + Duration::SECOND).await.unwrap();
        }
        let told = String::from_utf8(out).unwrap();
        let statuses: Vec<_> = told.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(statuses, ["staging", "cancelled"], "{told}");
        let named = format!("  {}, a group of 1 member  ", &group.id.as_str()[..8]);
        assert!(told.lines().all(|line| line.contains(&named)), "its folder of copies is named by ids: {told}");
    }
}
