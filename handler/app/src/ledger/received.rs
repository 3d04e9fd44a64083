//! What was received: of each blob, the newest first (`B~{blob}~{time}~{key}`), and events that became no scoring (`S~`, `Q~`).
//!
//! `B~` is written with the scoring or the skip that it belongs to, and removed with it. It keeps the event as it came, without
//! its secrets, so that "why was it scored, or not?" can be answered from what was delivered.

use lifecycle::id::RuleId;
use lifecycle::intake::{QuarantinedEvent, SkippedEvent};
use lifecycle::{Scoring, Status, UnversionedBlob};
use time::OffsetDateTime;

use super::index_rows::{
    Place, QUARANTINED, Received, SKIPPED, Skipped, from_received_row, from_skipped_row, key_of, received_key,
    to_skipped_row,
};
use super::merged::{IndexRange, Merged};
use super::rows::{self, Reader, Unreadable};
use super::{Error, Ledger, Rows};
use crate::ports::table_store::{self, Entity, IfMatch, Key, Op, Range};

/// Days between two deliveries of an event that cannot be read, over which a person's word holds. Each costs a read.
const ACKNOWLEDGED_FOR: i64 = 7;
/// Writes of one row of an event that cannot be read, against others who write it and remove it meanwhile.
const MAX_TRIES: usize = 4;

/// An event that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The same for every delivery of the event.
    pub key: String,
    /// When it was last received.
    pub at: OffsetDateTime,
    /// Why it could not be taken in, for people.
    pub reason: String,
    /// The event as it came, secrets masked; of a long one its beginning.
    pub received: String,
    /// Since when it needs no attention any more.
    pub acknowledged: Option<OffsetDateTime>,
}

impl Quarantined {
    /// What it tells of in the sender's own words, where so much can be read: its `subject`, else its `data.url`.
    pub fn subject(&self) -> Option<String> {
        let event: serde_json::Value = serde_json::from_str(&self.received).ok()?;
        let text = |place: &str| event.pointer(place)?.as_str().filter(|text| !text.is_empty());
        text("/subject").or_else(|| text("/data/url")).map(str::to_owned)
    }
}

/// The two kinds of events that became no scoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedEvent {
    /// Understood, and wanted by no rule.
    Skipped,
    /// Not understood, or refused by the store under the ledger: a person has to look at it.
    Quarantined,
}

impl RecordedEvent {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Skipped => SKIPPED,
            Self::Quarantined => QUARANTINED,
        }
    }
}

impl RecordedEvent {
    /// The rows of such events from that day on, as a range of keys.
    fn since(self, since: OffsetDateTime) -> IndexRange {
        IndexRange::of_prefix(self.prefix()).through(&rows::newest_day_first(since))
    }
}

fn from_quarantined_row(row: &Entity) -> Result<Quarantined, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    Ok(Quarantined {
        key: key_of(row),
        at: read.time("SeenTime")?,
        reason: read.string("Reason")?,
        received: read.string("Received")?,
        acknowledged: row.time("AcknowledgedTime"),
    })
}

impl Ledger {
    /// Keeps a skipped event with its reason. The same event twice is one row a day.
    pub async fn skip(&self, skip: &SkippedEvent, event: Option<&str>, now: OffsetDateTime) -> Result<(), Error> {
        let partition = rows::partition_of_key(&skip.key);
        let day = rows::newest_day_first(now);
        let mut row = to_skipped_row(Key::new(&partition, format!("S~{day}~{}", skip.key)), skip, event, now);
        let mut ops = Vec::with_capacity(2);
        // An event that tells of no upload names no blob.
        if let Ok(blob) = UnversionedBlob::read(&skip.subject) {
            let of_blob = rows::blob_key(&blob.container, &blob.path);
            let start = rows::newest_first(now.to_offset(time::UtcOffset::UTC).replace_time(time::Time::MIDNIGHT));
            let key = format!("B~{of_blob}~{start}~{}", skip.key);
            row = row.with("BlobRow", key.as_str());
            ops.push(Op::Upsert(to_skipped_row(Key::new(&partition, key), skip, event, now).with("Kind", "skipped")));
        }
        ops.push(Op::Upsert(row));
        self.upsert_rows(&ops).await
    }

    /// Keeps an event that cannot be read, with its reason and what was received. That a person has seen it holds for its
    /// further deliveries, if no week lies between them.
    pub async fn quarantine(&self, bad: &QuarantinedEvent, now: OffsetDateTime) -> Result<(), Error> {
        let row = |ago: i64| {
            let day = rows::newest_day_first(now.saturating_sub(time::Duration::days(ago)));
            Entity::new(Key::new(rows::partition_of_key(&bad.key), format!("Q~{day}~{}", bad.key)))
        };
        let told = row(0)
            .with("SchemaVersion", rows::SCHEMA)
            .with("SeenTime", now)
            .with("Reason", rows::clipped(&bad.reason, rows::MAX_FOREIGN))
            .with("Received", rows::clipped(&bad.received, rows::MAX_PROPERTY));
        for ago in 0..=ACKNOWLEDGED_FOR {
            let Some(before) = self.row(&row(ago).key).await?.map(|row| row.entity) else { continue };
            if ago > 0 {
                let of_before = |name| before.string(name);
                let told = told
                    .with_some("AcknowledgedTime", before.time("AcknowledgedTime"))
                    .with_some("AcknowledgedBy", of_before("AcknowledgedBy"))
                    .with_some("AcknowledgedReason", of_before("AcknowledgedReason"));
                return self.keep_quarantined(told, false).await;
            }
            return self.keep_quarantined(told, true).await;
        }
        self.keep_quarantined(told, false).await
    }

    /// Inserts the row, or merges into the one that is there: nobody who acknowledges it at this moment is written over.
    async fn keep_quarantined(&self, told: Entity, mut is_there: bool) -> Result<(), Error> {
        let mut last = table_store::Error::Missing { op: 0 };
        for _ in 0..MAX_TRIES {
            let op = if is_there { Op::Merge(told.clone(), IfMatch::Any) } else { Op::Insert(told.clone()) };
            match self.write(&[op]).await {
                Ok(_) => return Ok(()),
                Err(error @ table_store::Error::Missing { .. }) => (is_there, last) = (false, error),
                Err(error @ table_store::Error::AlreadyExists { .. }) => (is_there, last) = (true, error),
                // Done again: the insert that was done after all is found there.
                Err(error @ table_store::Error::Ambiguous(_)) => last = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.into())
    }

    /// Notes that the event of a scoring was delivered again. People read it; nothing is decided by it, so that it is not worth a
    /// second try.
    pub(crate) async fn note_repetition(&self, known: &Scoring, now: OffsetDateTime) {
        let blob = rows::blob_key(&known.blob.container, &known.blob.path);
        let note = Entity::new(received_key(&blob, &known.id, known.created)).with("RepeatedTime", now);
        if let Err(error) = self.write(&[Op::Merge(note, IfMatch::Any)]).await {
            tracing::debug!(scoring = %known.id, %error, "a repeated event was not noted: {error}");
        }
    }

    /// What was received of a blob of this container and path, the newest first; at most `max`.
    pub async fn received(&self, container: &str, path: &str, max: usize) -> Result<Rows<Received>, Error> {
        let range = IndexRange::of_prefix(&format!("B~{}~", rows::blob_key(container, path)));
        let (mut found, mut index) = (Vec::new(), Merged::new(self, &[range], 1));
        while found.len() < max
            && let Some(row) = index.next().await?
        {
            found.push(from_received_row(&row));
        }
        Ok(Rows::of(found))
    }

    /// Whether a version of this blob that was accepted after `created` is scored under the rule.
    pub(crate) async fn is_scored_since(
        &self,
        blob: &str,
        rule: &RuleId,
        created: OffsetDateTime,
    ) -> Result<bool, Error> {
        let range = IndexRange::of_prefix(&format!("B~{blob}~")).below(&rows::newest_first(created));
        let mut index = Merged::new(self, &[range], 1);
        while let Some(row) = index.next().await? {
            let Ok(Received::Scoring(row)) = from_received_row(&row) else { continue };
            // What cannot be read is no success, and is told of elsewhere.
            if let Ok(Some((scoring, _))) = self.get(&row.id).await
                && scoring.status == Status::Scored
                && scoring.rule == *rule
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The quarantined event of this key, as it was last received.
    pub async fn quarantined_event(&self, key: &str) -> Result<Option<Quarantined>, Error> {
        let range = Range::of_prefix(rows::partition_of_key(key), "Q~");
        let found = self.all(&self.0.state, &range, usize::MAX).await?;
        let row = found.iter().find(|row| key_of(&row.entity) == key);
        Ok(row.map(|row| from_quarantined_row(&row.entity)).transpose()?)
    }

    /// Notes that a person has seen a quarantined event; `false` if there is none of this key.
    pub async fn acknowledge_quarantined(
        &self,
        key: &str,
        by: &str,
        reason: &str,
        now: OffsetDateTime,
    ) -> Result<bool, Error> {
        let range = Range::of_prefix(rows::partition_of_key(key), "Q~");
        let found = self.all(&self.0.state, &range, usize::MAX).await?;
        let mut any = false;
        for row in found.into_iter().filter(|row| key_of(&row.entity) == key) {
            let note = Entity::new(row.entity.key)
                .with("AcknowledgedTime", now)
                .with("AcknowledgedBy", rows::clipped(by, 200))
                .with("AcknowledgedReason", rows::clipped(reason, rows::MAX_SHORT_ERROR));
            match self.write(&[Op::Merge(note, IfMatch::Any)]).await {
                Ok(_) => any = true,
                // Removed by its retention meanwhile.
                Err(table_store::Error::Missing { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(any)
    }

    /// Skipped events, the newest day first and within a day in no order; at most `max` since a day.
    pub async fn skipped(&self, since: OffsetDateTime, max: usize) -> Result<Rows<Skipped>, Error> {
        let rows = self.recorded_events(RecordedEvent::Skipped, since, max).await?;
        Ok(Rows::of(rows.iter().map(from_skipped_row)))
    }

    /// Quarantined events, the newest day first and within a day in no order; at most `max` since a day.
    pub async fn quarantined(&self, since: OffsetDateTime, max: usize) -> Result<Rows<Quarantined>, Error> {
        let rows = self.recorded_events(RecordedEvent::Quarantined, since, max).await?;
        Ok(Rows::of(rows.iter().map(from_quarantined_row)))
    }

    /// One page of the skipped events that are wanted, from behind `after`, and where the next one begins.
    pub async fn skipped_page(
        &self,
        since: OffsetDateTime,
        after: Option<&Place>,
        max: usize,
        wants: impl Fn(&Skipped) -> bool,
    ) -> Result<(Rows<Skipped>, Option<Place>), Error> {
        self.page_of_events(RecordedEvent::Skipped, since, after, max, from_skipped_row, wants).await
    }

    /// One page of the quarantined events since then, as [`Self::skipped_page`].
    pub async fn quarantined_page(
        &self,
        since: OffsetDateTime,
        after: Option<&Place>,
        max: usize,
    ) -> Result<(Rows<Quarantined>, Option<Place>), Error> {
        let wants = |event: &Quarantined| event.at >= since;
        self.page_of_events(RecordedEvent::Quarantined, since, after, max, from_quarantined_row, wants).await
    }

    async fn page_of_events<T>(
        &self,
        kind: RecordedEvent,
        since: OffsetDateTime,
        after: Option<&Place>,
        max: usize,
        read: fn(&Entity) -> Result<T, Unreadable>,
        wants: impl Fn(&T) -> bool,
    ) -> Result<(Rows<T>, Option<Place>), Error> {
        let range = kind.since(since);
        let after = after.and_then(|place| place.as_str().strip_prefix(kind.prefix()));
        let range = after.map_or(range.clone(), |after| range.after(after));
        let (mut found, mut next) = (Vec::new(), None);
        let mut index = Merged::new(self, &[range], max.min(1_000));
        while found.len() < max
            && let Some(row) = index.next().await?
        {
            let event = read(&row);
            if event.as_ref().map_or(true, &wants) {
                found.push(event);
                next = Some(Place(row.key.row));
            }
        }
        let next = next.filter(|_| found.len() >= max);
        Ok((Rows::of(found), next))
    }

    /// Skipped (`S~`) or quarantined (`Q~`) events since a day, the newest day first; at most `max`.
    pub async fn recorded_events(
        &self,
        kind: RecordedEvent,
        since: OffsetDateTime,
        max: usize,
    ) -> Result<Vec<Entity>, Error> {
        let (mut found, mut index) = (Vec::new(), Merged::new(self, &[kind.since(since)], max.min(1_000)));
        while found.len() < max
            && let Some(row) = index.next().await?
        {
            found.push(row);
        }
        Ok(found)
    }

    pub(super) async fn upsert_rows(&self, ops: &[Op]) -> Result<(), Error> {
        // Last writer wins, and all writers write the same: a lost answer is answered by writing again.
        match self.write(ops).await {
            Err(table_store::Error::Ambiguous(_)) => self.write(ops).await.map(drop)?,
            other => other.map(drop)?,
        }
        Ok(())
    }

    pub(super) async fn upsert_row(&self, row: Entity) -> Result<(), Error> {
        self.upsert_rows(&[Op::Upsert(row)]).await
    }
}
