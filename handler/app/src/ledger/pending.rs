//! Uploads whose version is not known yet, and renamed folders: one row each in the partition `pending`.
//!
//! A row is what an event told, until a look at the storage tells the rest; the tick looks at those that are due. What comes
//! of a look is written elsewhere first, and may be written twice: only then the row is changed or removed, if nobody else
//! has meanwhile.

use lifecycle::pending::{Cause, Finder, Sighting};
use lifecycle::pending_order::{OrderedOf, PendingOrder, StartOrder};
use lifecycle::schedule::believable_due;
use lifecycle::start::StartKey;
use lifecycle::{PendingFolder, PendingUpload, UnversionedBlob};
use time::OffsetDateTime;

use super::{Error, Ledger, Unreadable, rows};
use crate::ports::table_store::{self, Continuation, ETag, Entity, IfMatch, Key, Op, Range};

/// The partition of all such rows.
const PARTITION: &str = "pending";
/// Attempts against other processes that keep or change the same row.
const MAX_TRIES: usize = 5;

/// What waits for a look at the storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// A blob of which a look has to show which version it is, or whether it is whole.
    Upload(PendingUpload),
    /// A folder whose files are listed.
    Folder(PendingFolder),
    /// What an operator ordered of one blob, a replay, a rescore or a start, which the next reconcile run carries out.
    Order(PendingOrder),
}

impl Pending {
    pub(crate) fn key(&self) -> Key {
        let key = match self {
            Self::Upload(upload) => &upload.key,
            Self::Folder(folder) => &folder.key,
            Self::Order(order) => &order.key,
        };
        Key::new(PARTITION, key.as_str())
    }

    /// When it is looked at next, at the earliest: each look that settles nothing puts it off.
    pub fn due(&self) -> OffsetDateTime {
        match self {
            Self::Upload(upload) => upload.due,
            Self::Folder(folder) => folder.due,
            Self::Order(order) => order.due,
        }
    }

    /// Whether it is looked at now. What was put off by a clock that was wrong is.
    pub fn is_due(&self, now: OffsetDateTime) -> bool {
        let updated = match self {
            Self::Upload(upload) => upload.updated,
            Self::Folder(folder) => folder.updated,
            Self::Order(order) => order.updated,
        };
        believable_due(updated, self.due(), now) <= now
    }

    /// One more event about it; see [`PendingUpload::told_again`] and [`PendingFolder::told_again`].
    fn told_again(self, told: Self) -> Self {
        match (self, told) {
            (Self::Upload(kept), Self::Upload(told)) => Self::Upload(kept.told_again(told)),
            (Self::Folder(kept), Self::Folder(told)) => Self::Folder(kept.told_again(told)),
            // Their keys tell the two apart.
            (_, told) => told,
        }
    }

    /// When its last event came.
    pub fn since(&self) -> OffsetDateTime {
        match self {
            Self::Upload(upload) => upload.since,
            Self::Folder(folder) => folder.since,
            Self::Order(order) => order.since,
        }
    }

    /// URL of the blob or folder.
    pub fn url(&self) -> &str {
        match self {
            Self::Upload(upload) => &upload.blob.url,
            Self::Folder(folder) => &folder.folder.url,
            Self::Order(order) => &order.blob.url,
        }
    }

    /// Whether the last look told nothing.
    pub fn look_failed(&self) -> bool {
        match self {
            Self::Upload(upload) => upload.look_failed,
            Self::Folder(folder) => folder.failures > 0,
            Self::Order(order) => order.failures > 0,
        }
    }

    /// What it waits for, for people.
    pub fn reason(&self) -> &str {
        match self {
            Self::Upload(upload) => &upload.reason,
            Self::Folder(folder) => &folder.reason,
            Self::Order(order) => &order.reason,
        }
    }
}

/// The row of the partition `pending`; its `Kind` says which of the three it is, and its cause.
fn to_row(pending: &Pending) -> Entity {
    let (updated, event_time) = match pending {
        Pending::Upload(upload) => (upload.updated, upload.event_time),
        Pending::Folder(folder) => (folder.updated, folder.event_time),
        Pending::Order(order) => (order.updated, None),
    };
    let row = Entity::new(pending.key())
        .with("SchemaVersion", rows::SCHEMA)
        .with("BlobUrl", pending.url())
        .with("SeenTime", pending.since())
        .with("Due", pending.due())
        .with("Updated", updated)
        .with_some("EventTime", event_time)
        .with("Reason", pending.reason());
    match pending {
        Pending::Upload(PendingUpload { rule, cause, looks, look_failed, seen, event, .. }) => {
            let (from, api, taken, order) = match cause {
                Cause::Renamed { from } => (rows::list(from), None, None, None),
                Cause::Created { api } => (None, Some(api.as_str()), None, None),
                Cause::Taken => (None, None, None, None),
                Cause::Replayed { order } => (None, None, None, Some(order.as_str())),
                Cause::Found { taken, by: Finder::Sweep } => (None, None, taken.as_deref(), None),
                Cause::Found { taken, by: Finder::Backfill { order, .. } } => {
                    (None, None, taken.as_deref(), Some(order.as_str()))
                }
                Cause::Changed { taken } => (None, None, Some(taken.as_str()), None),
            };
            let slots = if let Cause::Found { by: Finder::Backfill { slots, .. }, .. } = cause { *slots } else { None };
            row.with("Kind", cause.name())
                .with_some("BackfillSlots", slots.map(rows::count))
                .with("RuleId", rule.as_str())
                .with("Looks", rows::count(*looks))
                .with("LookFailed", *look_failed)
                .with_some("SourceUrls", from)
                .with_some("Api", api)
                .with_some("TakenETag", taken)
                .with_some("Order", order)
                .with_some("SeenETag", seen.as_ref().map(|seen| seen.etag.as_str()))
                .with_some("SeenETagSince", seen.as_ref().map(|seen| seen.since))
                .with_some("Event", event.as_deref().map(|event| rows::clipped(event, rows::MAX_EVENT)))
        }
        Pending::Folder(PendingFolder { from, failures, cursor, files, .. }) => row
            .with("Kind", "folder")
            .with("Looks", rows::count(*failures))
            .with("Files", i64::try_from(*files).unwrap_or(i64::MAX))
            .with_some("SourceUrls", rows::list(from))
            .with_some("Cursor", cursor.as_deref()),
        Pending::Order(PendingOrder { of, order, failures, .. }) => {
            let row = row.with("Looks", rows::count(*failures)).with("Order", order.as_str());
            match of {
                OrderedOf::Replay => row.with("Kind", "replay"),
                OrderedOf::Rescore(id) => row.with("Kind", "rescore").with("Scoring", id.as_str()),
                OrderedOf::Start(start) => row
                    .with("Kind", "start")
                    .with("RuleId", start.rule.as_str())
                    .with("Again", start.again)
                    .with("StartKey", start.key.expose())
                    .with_some("Parameters", rows::by_name(&start.parameters)),
            }
        }
    }
}

/// Reads what [`to_row`] wrote; of a kind that this release does not know it says so.
fn from_row(row: &Entity) -> Result<Pending, Unreadable> {
    let read = rows::Reader(row);
    read.schema()?;
    let (key, kind) = (row.key.row.clone(), read.string("Kind")?);
    let blob = UnversionedBlob::read(&read.string("BlobUrl")?).map_err(|why| read.wrong(why.to_string()))?;
    let (since, due, reason) = (read.time("SeenTime")?, read.time("Due")?, read.string("Reason")?);
    let (updated, event_time) = (read.time("Updated")?, row.time("EventTime"));
    let from = read.list("SourceUrls")?;
    let looks = read.number("Looks")?;
    let cause = match kind.as_str() {
        "renamed" => Cause::Renamed { from },
        "created" => Cause::Created { api: read.string("Api")? },
        "taken" => Cause::Taken,
        "replayed" => Cause::Replayed { order: read.string("Order")? },
        "replay" | "rescore" | "start" => {
            let (of, failures) = (ordered_of(&read, &kind)?, looks);
            let order = read.string("Order")?;
            return Ok(Pending::Order(PendingOrder { key, blob, of, order, since, due, updated, failures, reason }));
        }
        "found" => {
            let by = row.string("Order").map_or(Finder::Sweep, |order| Finder::Backfill {
                order: order.to_owned(),
                slots: row.int32("BackfillSlots").and_then(|slots| u32::try_from(slots).ok()),
            });
            Cause::Found { taken: row.string("TakenETag").map(str::to_owned), by }
        }
        "changed" => Cause::Changed { taken: read.string("TakenETag")? },
        "folder" => {
            let cursor = row.string("Cursor").map(str::to_owned);
            let files = row.int64("Files").and_then(|files| u64::try_from(files).ok()).unwrap_or_default();
            return Ok(Pending::Folder(PendingFolder {
                key,
                folder: blob,
                from,
                since,
                event_time,
                due,
                updated,
                failures: looks,
                cursor,
                files,
                reason,
            }));
        }
        other => return Err(read.wrong(format!("`Kind` is `{other}`, which this version does not know"))),
    };
    let seen = row.string("SeenETag").zip(row.time("SeenETagSince"));
    let seen = seen.map(|(etag, since)| Sighting { etag: etag.to_owned(), since });
    let (rule, look_failed) = (read.parsed("RuleId")?, row.boolean("LookFailed").unwrap_or(false));
    let event = row.string("Event").map(str::to_owned);
    Ok(Pending::Upload(PendingUpload {
        key,
        rule,
        blob,
        cause,
        since,
        event_time,
        due,
        updated,
        looks,
        look_failed,
        seen,
        reason,
        event,
    }))
}

fn ordered_of(read: &rows::Reader<'_>, kind: &str) -> Result<OrderedOf, Unreadable> {
    Ok(match kind {
        "rescore" => OrderedOf::Rescore(read.scoring_id("Scoring", &read.string("Scoring")?)?),
        "start" => {
            let key = StartKey::read(&read.string("StartKey")?).map_err(|why| read.wrong(why.to_string()))?;
            let (rule, parameters) = (read.parsed("RuleId")?, read.by_name("Parameters")?);
            OrderedOf::Start(StartOrder { rule, parameters, again: read.0.boolean("Again").unwrap_or(false), key })
        }
        _ => OrderedOf::Replay,
    })
}

impl Ledger {
    /// Keeps what waits for a look; `false` if it was kept already. **Durable once `Ok`.**
    ///
    /// A row that is there is changed all the same: somebody may be looking at its blob, in the version before the one that this
    /// event tells of, and must neither remove the row by that look nor write over it.
    pub async fn keep_pending(&self, pending: &Pending) -> Result<bool, Error> {
        let (mut op, mut is_new) = (Op::Insert(to_row(pending)), true);
        for _ in 0..MAX_TRIES {
            match self.write(&[op]).await {
                Ok(_) => return Ok(is_new),
                // What is there then is this, or what an earlier event left: changed it is in either case.
                Err(table_store::Error::Ambiguous(_)) => {}
                Err(
                    table_store::Error::AlreadyExists { .. }
                    | table_store::Error::Conflict { .. }
                    | table_store::Error::Missing { .. },
                ) => is_new = false,
                Err(error) => return Err(error.into()),
            }
            op = match self.row(&pending.key()).await? {
                None => Op::Insert(to_row(pending)),
                Some(row) => {
                    // One that cannot be read cannot be looked at either: what this event tells takes its place.
                    let kept = from_row(&row.entity).ok();
                    let kept = kept.map_or_else(|| pending.clone(), |kept| kept.told_again(pending.clone()));
                    Op::Replace(to_row(&kept), IfMatch::Tag(row.etag))
                }
            };
        }
        Err(Error::Unavailable(table_store::Error::Unavailable(format!(
            "the row of {} that waits for a look keeps changing",
            pending.url()
        ))))
    }

    /// One page of what waits, in no order of time; rows that cannot be read are told apart.
    pub async fn pending_page(
        &self,
        from: Option<&Continuation>,
    ) -> Result<(Vec<Result<(Pending, ETag), Unreadable>>, Option<Continuation>), Error> {
        // Keys are hex digits.
        let range = Range { partition: PARTITION.to_owned(), from: String::new(), below: "~".to_owned() };
        let page = self.page(&self.0.state, &range, from).await?;
        let read = |row: &table_store::Row| from_row(&row.entity).map(|pending| (pending, row.etag.clone()));
        Ok((page.rows.iter().map(read).collect(), page.next))
    }

    /// Keeps what it is now, if nobody has changed it since `etag`; its new version then.
    pub async fn replace_pending(&self, etag: &ETag, pending: &Pending) -> Result<Option<ETag>, Error> {
        match self.write(&[Op::Replace(to_row(pending), IfMatch::Tag(etag.clone()))]).await {
            Ok(etags) => super::first(etags).map(Some),
            // Whoever changed it has seen the same, or looks again; a lost answer: the next look decides.
            Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes it, if nobody has changed it since `etag`.
    pub async fn remove_pending(&self, etag: &ETag, pending: &Pending) -> Result<(), Error> {
        match self.write(&[Op::Delete(pending.key(), IfMatch::Tag(etag.clone()))]).await {
            Ok(_)
            | Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::Rules;
    use time::macros::datetime;

    #[test]
    fn rows_read_back_as_they_were_written() {
        let rules =
            r#"{"rules":[{"id":"r","match":{"container": "con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rules = Rules::read(rules).unwrap();
        let rule = rules.get("r").unwrap();
        let now = datetime!(2026-07-21 10:00:00.1234567 UTC);
        let blob = UnversionedBlob::read("https://a.blob.core.windows.net/con/%C3%BC%20x.csv").unwrap();
        let from =
            ["%20y.csv", "%2520y.csv"].map(|path| format!("https://a.blob.core.windows.net/con/{path}")).to_vec();
        let causes = [
            Cause::Renamed { from: from.clone() },
            Cause::Renamed { from: Vec::new() },
            Cause::Created { api: "CreateFile".to_owned() },
            Cause::Taken,
            Cause::Replayed { order: "replayed by ann (a test)".to_owned() },
            Cause::Changed { taken: "0x0".to_owned() },
            Cause::Found { taken: None, by: Finder::Sweep },
            Cause::Found { taken: Some("0x0".to_owned()), by: Finder::Sweep },
            Cause::Found {
                taken: None,
                by: Finder::Backfill { order: "backfilled by ann (a test)".to_owned(), slots: Some(2) },
            },
        ];
        for cause in causes {
            let event_time = Some(now.replace_nanosecond(0).unwrap());
            let upload = PendingUpload { event_time, ..PendingUpload::new(rule, blob.clone(), cause, now) };
            let seen = Some(Sighting { etag: "0x1".to_owned(), since: now });
            let event = Some("{}".to_owned());
            for upload in [PendingUpload { seen, event, ..upload.clone() }, upload.not_seen("403", now)] {
                let pending = Pending::Upload(upload);
                assert_eq!(from_row(&to_row(&pending)), Ok(pending));
            }
        }
        let id = lifecycle::ScoringId::read(&"a".repeat(32)).unwrap();
        let start = StartOrder {
            rule: rule.id.clone(),
            parameters: [("t".to_owned(), "0.7".to_owned())].into(),
            again: true,
            key: StartKey::read("1234").unwrap(),
        };
        for of in [OrderedOf::Replay, OrderedOf::Rescore(id), OrderedOf::Start(start)] {
            let order = PendingOrder::new(blob.clone(), of, "ann", "a test", now);
            for order in [order.clone(), order.not_done("403", now)] {
                let pending = Pending::Order(order);
                assert_eq!(from_row(&to_row(&pending)), Ok(pending));
            }
        }
        let folder = PendingFolder::new(blob, from, now);
        for folder in [folder.clone(), folder.listed(7, Some("next".to_owned()), now)] {
            let pending = Pending::Folder(folder);
            assert_eq!(from_row(&to_row(&pending)), Ok(pending));
        }
    }
}
