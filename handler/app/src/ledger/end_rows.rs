//! Rows of the index of ends by status, and back; see `ends.rs`.

use lifecycle::id::RuleId;
use lifecycle::{FailureCause, Scoring, ScoringId, Status, UnversionedBlob};
use time::OffsetDateTime;

use super::index_rows::Place;
use super::rows::{self, Reader, Terminal, Unreadable};
use crate::ports::table_store::{Entity, Key, Op};

/// What the keys of the index by status begin with.
pub(super) const PREFIX: &str = "E~";
/// What the keys of the index of failed ones by cause begin with.
pub(super) const BY_CAUSE: &str = "C~";

/// A final scoring as its index has it; what that does not tell is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The scoring's id, from the row's key.
    pub id: ScoringId,
    /// The status that it ended in; the index by status has none that are `scored`.
    pub status: Status,
    /// Id of the rule that it was scored under (`RuleId`). The rules may not hold it any more.
    pub rule: RuleId,
    /// The blob that was to be scored; `None` where it was read from the terminal index, whose rows have no URL.
    pub blob: Option<UnversionedBlob>,
    /// The batch endpoint's invoke URI.
    pub endpoint: Option<String>,
    /// The deployment that was asked for; `None` beside an endpoint: the endpoint's default.
    pub deployment: Option<String>,
    /// When it was accepted (`CreatedTime`), which may be long before it ended.
    pub created: OffsetDateTime,
    /// The number of its last attempt.
    pub attempt: Option<u32>,
    /// Whose fault it is that it failed.
    pub failure: Option<FailureCause>,
    /// Its place in the index.
    pub place: Place,
}

pub(super) fn is_indexed(status: Status) -> bool {
    status.is_terminal() && status != Status::Scored
}

pub(super) fn prefix(status: Status) -> String {
    format!("{PREFIX}{status}~")
}

pub(super) fn cause_prefix(cause: FailureCause) -> String {
    format!("{BY_CAUSE}{}~", cause.name())
}

/// Keys of the rows beside a row of the terminal index; `cause` is why it failed, if it did and that is known.
pub fn end_keys(status: Status, cause: Option<FailureCause>, terminal: &Key) -> Vec<Key> {
    let Some(rest) = terminal.row.strip_prefix(rows::TERMINAL).filter(|_| is_indexed(status)) else {
        return Vec::new();
    };
    let by_cause = cause.filter(|_| status == Status::Failed).map(cause_prefix);
    let prefixes = std::iter::once(prefix(status)).chain(by_cause);
    prefixes.map(|prefix| Key::new(terminal.partition.as_str(), format!("{prefix}{rest}"))).collect()
}

/// Writes the rows of a scoring that has ended, if it has any.
pub(super) fn added(s: &Scoring, completed: OffsetDateTime) -> impl Iterator<Item = Op> {
    let keys = end_keys(s.status, s.failure, &rows::end_key(s, completed));
    keys.into_iter().map(|key| Op::Upsert(row(key, s)))
}

fn row(key: Key, s: &Scoring) -> Entity {
    Entity::new(key)
        .with("SchemaVersion", rows::SCHEMA)
        .with("RuleId", s.rule.as_str())
        .with("BlobUrl", s.blob.url.as_str())
        .with("Endpoint", s.endpoint.as_str())
        .with_some("Deployment", s.deployment.as_deref())
        .with("CreatedTime", s.created)
        .with("Attempt", rows::count(s.attempt))
        .with_some("FailureCause", s.failure.map(FailureCause::name))
}

pub(super) fn from_row(row: &Entity) -> Result<Ended, Unreadable> {
    let read = Reader(row);
    read.schema()?;
    let by_cause =
        row.key.row.strip_prefix(BY_CAUSE).and_then(|key| Some((Status::Failed.name(), key.split_once('~')?.1)));
    let key = by_cause.or_else(|| row.key.row.strip_prefix(PREFIX)?.split_once('~'));
    let (status, rest) = key.ok_or_else(|| read.wrong("the key has no status".to_owned()))?;
    let id = rest.rsplit('~').next().and_then(ScoringId::read);
    let blob = UnversionedBlob::read(&read.string("BlobUrl")?).map_err(|why| read.wrong(why.to_string()))?;
    Ok(Ended {
        id: id.ok_or_else(|| read.wrong("the key has no id".to_owned()))?,
        status: status.parse().map_err(|_| read.wrong(format!("the key names the status `{status}`")))?,
        rule: read.parsed("RuleId")?,
        blob: Some(blob),
        endpoint: Some(read.string("Endpoint")?),
        deployment: row.string("Deployment").map(str::to_owned),
        created: read.time("CreatedTime")?,
        attempt: Some(read.number("Attempt")?),
        failure: read.parsed_if_there("FailureCause")?,
        place: Place(format!("{}{rest}", rows::TERMINAL)),
    })
}

pub(super) fn from_terminal_row(row: &Entity) -> Result<Ended, Unreadable> {
    let Terminal { id, status, rule, endpoint, deployment, created, row, .. } = rows::from_terminal_row(row)?;
    Ok(Ended {
        id,
        status,
        rule,
        blob: None,
        endpoint,
        deployment,
        created,
        attempt: None,
        failure: None,
        place: Place(row),
    })
}
