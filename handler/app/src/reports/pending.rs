//! What waits for a look at the storage: uploads whose version is not known yet, and folders that were renamed.

use lifecycle::redact::redacted;
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};
use time::OffsetDateTime;

use super::scorings::UnreadableView;
use crate::ledger::{self, Ledger, Pending};

/// An upload or a folder that waits, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingView {
    /// URL of the blob or folder.
    pub url: String,
    /// The rule that wants it; none for a folder, whose files are each wanted by rules of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// When its last event came; of an order, when it was given.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// When it is looked at next.
    #[serde(with = "time::serde::rfc3339")]
    pub due: OffsetDateTime,
    /// Whether the last look told nothing: a right or a way is missing.
    pub look_failed: bool,
    /// What it waits for, or why the last look told nothing, for people; secrets are masked.
    pub reason: String,
}

impl From<&Pending> for PendingView {
    fn from(pending: &Pending) -> Self {
        let rule = match pending {
            Pending::Upload(upload) => Some(upload.rule.to_string()),
            Pending::Folder(_) | Pending::Order(_) => None,
        };
        Self {
            url: redacted(pending.url()).into_owned(),
            rule,
            since: pending.since(),
            due: pending.due(),
            look_failed: pending.look_failed(),
            reason: redacted(pending.reason()).into_owned(),
        }
    }
}

/// What waits, and behind it the rows that cannot be read: nothing is done for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingList {
    /// What waits, the oldest first.
    pub waiting: Vec<PendingView>,
    /// Every row that should say what waits and cannot be read.
    pub unreadable: Vec<UnreadableView>,
}

impl PendingList {
    /// How many rows there are, readable or not.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.unreadable.len()
    }

    /// Nothing waits, and no row is unreadable.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One list, as scripts see it.
impl Serialize for PendingList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        self.waiting.iter().try_for_each(|one| list.serialize_element(one))?;
        self.unreadable.iter().try_for_each(|row| list.serialize_element(row))?;
        list.end()
    }
}

/// All that waits for a look or for the next reconcile run, in the order of the keys.
pub async fn pending(ledger: &Ledger) -> Result<PendingList, ledger::Error> {
    let (mut found, mut from) = (PendingList::default(), None);
    loop {
        let (rows, next) = ledger.pending_page(from.as_ref()).await?;
        for row in rows {
            match row {
                Ok((pending, _)) => found.waiting.push(PendingView::from(&pending)),
                // Its key is in the form of an id, and no scoring's.
                Err(row) => found.unreadable.push(UnreadableView { id: None, ..row.into() }),
            }
        }
        from = next;
        if from.is_none() {
            found.waiting.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| a.url.cmp(&b.url)));
            return Ok(found);
        }
    }
}
