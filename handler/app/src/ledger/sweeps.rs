//! How far each place is swept: one row for each rule and place in the partition `sweep`.
//!
//! Who works on a place has claimed its row by compare-and-swap, and changes it with each page: of two processes one lists a page.

use super::rows::{self, Reader};
use super::{Error, Ledger, Rows, Unreadable};
use crate::ports::table_store::{self, ETag, Entity, IfMatch, Key, Op, Range};
use lifecycle::RuleId;
use lifecycle::listing::BlobPrefix;
use lifecycle::sweep::{Sweep, SweptPlace};
use time::OffsetDateTime;

const PARTITION: &str = "sweep";

/// Beside the heartbeat, where no place is.
fn not_swept_key() -> Key {
    Key::new("heartbeat", "not-swept")
}

/// Rules that are to be swept and are not, as nobody says in which account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotSwept {
    /// Their ids, as the last run of sweeps wrote them; empty if all can be swept.
    pub rules: Vec<RuleId>,
    /// Since when there are some.
    pub since: Option<OffsetDateTime>,
}

impl Ledger {
    /// All places that were ever swept, with their versions.
    pub async fn swept_places(&self) -> Result<Rows<(SweptPlace, ETag)>, Error> {
        let range = Range { partition: PARTITION.to_owned(), from: String::new(), below: "~".to_owned() };
        let found = self.all(&self.0.state, &range, usize::MAX).await?;
        Ok(Rows::of(found.into_iter().map(|row| Ok((from_row(&row.entity)?, row.etag)))))
    }

    /// Keeps a place as it is now, if it is as it was at `etag`; `None`: if there is none yet. Its version then; `None` if somebody
    /// else changed it, or nobody knows.
    pub async fn keep_swept_place(&self, place: &SweptPlace, etag: Option<&ETag>) -> Result<Option<ETag>, Error> {
        let op = match etag {
            Some(etag) => Op::Replace(to_row(place), IfMatch::Tag(etag.clone())),
            None => Op::Insert(to_row(place)),
        };
        match self.write(&[op]).await {
            Ok(etags) => super::first(etags).map(Some),
            // A claim whose answer was lost is left behind: it ends by itself.
            Err(
                table_store::Error::Conflict { .. }
                | table_store::Error::Missing { .. }
                | table_store::Error::AlreadyExists { .. }
                | table_store::Error::Ambiguous(_),
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps which rules are to be swept and are not, where `before` was kept.
    pub async fn record_not_swept(
        &self,
        rules: &[RuleId],
        before: &NotSwept,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let since = before.since.filter(|_| !before.rules.is_empty()).unwrap_or(now);
        let ids: Vec<&str> = rules.iter().map(|rule| &**rule).collect();
        let row = Entity::new(not_swept_key()).with("SchemaVersion", rows::SCHEMA).with("Since", since);
        self.upsert_row(row.with("Rules", serde_json::to_string(&ids).unwrap_or_default())).await // texts always serialise
    }

    /// The same, as it was kept last.
    pub async fn not_swept(&self) -> Result<NotSwept, Error> {
        let Some(row) = self.row(&not_swept_key()).await? else { return Ok(NotSwept::default()) };
        let ids: Option<Vec<String>> = row.entity.string("Rules").and_then(|text| serde_json::from_str(text).ok());
        let rules = ids.unwrap_or_default().into_iter().filter_map(|id| id.parse().ok()).collect();
        Ok(NotSwept { rules, since: row.entity.time("Since") })
    }

    /// Forgets a place, as its rule wants it swept no more.
    pub async fn forget_swept_place(&self, place: &SweptPlace, etag: &ETag) -> Result<(), Error> {
        match self.write(&[Op::Delete(Key::new(PARTITION, &place.key), IfMatch::Tag(etag.clone()))]).await {
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

fn to_row(place: &SweptPlace) -> Entity {
    let json = |sweep: &Sweep| serde_json::to_string(sweep).unwrap_or_default(); // numbers, times and a text always serialise
    Entity::new(Key::new(PARTITION, &place.key))
        .with("SchemaVersion", rows::SCHEMA)
        .with("RuleId", place.rule.as_str())
        .with("AccountUrl", place.place.account_url())
        .with("Container", place.place.container())
        .with("Prefix", place.place.prefix())
        .with("SinceTime", place.since)
        .with("Due", place.due)
        .with("Updated", place.updated)
        .with_some("ClaimedUntil", place.claimed_until)
        .with_some("Current", place.current.as_ref().map(json))
        .with_some("Last", place.last.as_ref().map(|(last, _)| json(last)))
        .with_some("EndTime", place.ended())
        .with_some("LastWholeTime", place.last_whole)
        .with("Unaccounted", i64::try_from(place.unaccounted).unwrap_or(i64::MAX))
        .with("Failures", rows::count(place.failures))
        .with_some("Failure", place.failure.as_deref())
}

fn from_row(row: &Entity) -> Result<SweptPlace, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let sweep = |name: &str| -> Result<Option<Sweep>, Unreadable> {
        let Some(text) = row.string(name) else { return Ok(None) };
        serde_json::from_str(text).map(Some).map_err(|why| read.wrong(format!("`{name}` is no sweep: {why}")))
    };
    let prefix = row.string("Prefix").unwrap_or_default();
    let place = BlobPrefix::new(&read.string("AccountUrl")?, &read.string("Container")?, prefix);
    let ended = |last: Sweep| Ok::<_, Unreadable>((last, read.time("EndTime")?));
    Ok(SweptPlace {
        key: row.key.row.clone(),
        rule: read.parsed("RuleId")?,
        place: place.map_err(|why| read.wrong(why.to_string()))?,
        since: read.time("SinceTime")?,
        due: read.time("Due")?,
        updated: read.time("Updated")?,
        claimed_until: row.time("ClaimedUntil"),
        current: sweep("Current")?,
        last: sweep("Last")?.map(ended).transpose()?,
        last_whole: row.time("LastWholeTime"),
        unaccounted: row.int64("Unaccounted").and_then(|count| u64::try_from(count).ok()).unwrap_or_default(),
        failures: read.number("Failures")?,
        failure: row.string("Failure").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::Rules;
    use lifecycle::sweep::SweepCounts;
    use time::OffsetDateTime;
    use time::macros::datetime;

    #[test]
    fn rows_read_back_as_they_were_written() {
        let rules = r#"{"rules":[{"id":"r","match":{"container":"con"},"endpoint":{"uri":"https://e.example/jobs"}}]}"#;
        let rules = Rules::read(rules).unwrap();
        let rule = rules.get("r").unwrap();
        let now: OffsetDateTime = datetime!(2026-07-21 10:00:00.1234567 UTC);
        let retention = time::Duration::days(30);
        for base in ["https://a.blob.core.windows.net", "http://127.0.0.1:10000/a"] {
            let new = SweptPlace::new(&rule.id, BlobPrefix::new(base, "con", "ü %/").unwrap(), now);
            let claimed = new.claim(rule, retention, now).unwrap();
            let counts = SweepCounts { pages: 1, found: 2, ..SweepCounts::default() };
            let paged = claimed.clone().paged(rule, counts, Some("next".to_owned()), now);
            let ended = paged.clone().paged(rule, counts, None, now);
            for place in [new, claimed.clone().not_done("403", 2, now), claimed, paged, ended] {
                assert_eq!(from_row(&to_row(&place)), Ok(place));
            }
        }
    }
}
