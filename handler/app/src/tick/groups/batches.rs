//! What waits, in batches that become groups now, each with the reason.

use std::collections::BTreeMap;

use lifecycle::UnversionedBlob;
use lifecycle::id::RuleId;
use lifecycle::rule::{GroupBy, GroupSettings};
use time::OffsetDateTime;

use super::Groups;
use super::waiting::{Batch, SealReason, Waiting, WaitingPlace};
use crate::error::error_chain;
use crate::tick::report::Counts;

impl Groups {
    /// What waits, in batches that are to become groups now.
    pub(super) async fn batches(
        &self,
        waiting: BTreeMap<RuleId, Vec<Waiting>>,
        counts: &Counts,
    ) -> Vec<(RuleId, Batch)> {
        let now = self.clock.now();
        let mut batches = Vec::new();
        for (id, waiting) in waiting {
            let Some((rule, settings)) = self.rules.get(&id).and_then(|rule| Some((rule, rule.group.as_ref()?))) else {
                continue;
            };
            let mut together = BTreeMap::<WaitingPlace, Vec<Waiting>>::new();
            for one in waiting {
                let mut place = one.place.clone();
                if settings.by == GroupBy::Time {
                    place.folder.truncate(account_of(&place.folder).len());
                }
                together.entry(place).or_default().push(one);
            }
            for (WaitingPlace { folder, .. }, mut files) in together {
                files.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
                let closed = self.closed(settings, &folder, &files, now, counts).await;
                batches.extend(cut(settings, files, closed).into_iter().map(|batch| (rule.id.clone(), batch)));
            }
        }
        batches
    }

    /// Why those that wait together go now, however few they are; `None`: they wait on.
    async fn closed(
        &self,
        settings: &GroupSettings,
        folder: &str,
        files: &[Waiting],
        now: OffsetDateTime,
        counts: &Counts,
    ) -> Option<SealReason> {
        if files.first().is_some_and(|oldest| now - oldest.created >= settings.max_wait.0) {
            return Some(SealReason::Waited);
        }
        let marker = settings.marker.as_ref()?;
        let blob = marker_in(folder, marker.as_str())?;
        match self.blobs.blob(&blob).await {
            Ok(there) => there.map(|_| SealReason::Marked(marker.as_str().to_owned())),
            Err(inconclusive) => {
                counts.errors(1);
                tracing::warn!(error = %error_chain(&inconclusive), "whether the marker {} is there is not known", blob.url);
                None
            }
        }
    }
}

/// The marker of a folder, whose URL is percent-encoded; the marker is a name. `None`: no blob can have it.
fn marker_in(folder: &str, marker: &str) -> Option<UnversionedBlob> {
    let any = UnversionedBlob::read(&format!("{folder}/-")).ok()?;
    any.beside(&format!("{}{marker}", any.path.strip_suffix('-')?)).ok()
}

/// The account in the URL of a folder.
fn account_of(folder: &str) -> &str {
    let host = folder.find("://").map_or(0, |at| at + 3);
    folder[host..].find('/').map_or(folder, |end| &folder[..host + end])
}

/// Cuts those that wait together into groups: as many as one takes, and what is left if it is `closed`.
pub(super) fn cut(settings: &GroupSettings, files: Vec<Waiting>, closed: Option<SealReason>) -> Vec<Batch> {
    let (mut batches, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
    let max_bytes = settings.max_bytes.unwrap_or(u64::MAX);
    for file in files {
        let size = file.bytes.unwrap_or(0);
        if batch.len() >= settings.max_files || !batch.is_empty() && bytes.saturating_add(size) > max_bytes {
            batches.push(Batch { files: std::mem::take(&mut batch), reason: SealReason::Full });
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        batch.push(file.id);
    }
    let is_full = batch.len() >= settings.max_files || bytes >= max_bytes;
    let reason = if is_full { Some(SealReason::Full) } else { closed };
    batches.extend(reason.filter(|_| !batch.is_empty()).map(|reason| Batch { files: batch, reason }));
    batches
}
