//! What waits for a look at the storage: uploads whose version is not known yet, and folders that were renamed.

use lifecycle::redact::redacted;
use serde::Serialize;
use time::OffsetDateTime;

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
    /// When its event came.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// When it is looked at next.
    #[serde(with = "time::serde::rfc3339")]
    pub due: OffsetDateTime,
    /// Whether the last look told nothing: a right or a way is missing.
    pub look_failed: bool,
    /// What it waits for.
    pub reason: String,
}

impl From<&Pending> for PendingView {
    fn from(pending: &Pending) -> Self {
        let rule = match pending {
            Pending::Upload(upload) => Some(upload.rule.to_string()),
            Pending::Folder(_) => None,
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

/// All that waits, the oldest first. A row that cannot be read is left to the tick to complain of.
pub async fn pending(ledger: &Ledger) -> Result<Vec<PendingView>, ledger::Error> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let (rows, next) = ledger.pending_page(from.as_ref()).await?;
        found.extend(rows.iter().flatten().map(|(pending, _)| PendingView::from(pending)));
        from = next;
        if from.is_none() {
            found.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| a.url.cmp(&b.url)));
            return Ok(found);
        }
    }
}
