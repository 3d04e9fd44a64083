//! What people mean: a scoring's id or its beginning, a blob's URL, its container and path, or its path alone.

use lifecycle::uri::without_query;
use lifecycle::{Scoring, UnversionedBlob};
use time::OffsetDateTime;

use crate::ledger::{self, Ledger, Quarantined, Received, Unreadable};

/// Scorings that one word may mean.
const MAX_FOUND: usize = 100;
/// Scorings whose containers are tried for a path alone.
const RECENT: usize = 50;

/// What there is of what was asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SearchResult {
    /// The scorings that are meant, the newest first: of a blob, or whose ids begin so.
    pub scorings: Vec<Scoring>,
    /// What was received of the blob, the newest first; nothing if an id was asked for.
    pub received: Vec<Received>,
    /// Rows of it that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// The quarantined event whose key was asked for.
    pub quarantined: Option<Quarantined>,
    /// The blob's container and path, if a blob was asked for and its name can be told.
    pub blob: Option<(String, String)>,
}

impl SearchResult {
    /// There is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.scorings.is_empty() && self.received.is_empty() && self.unreadable.is_empty() && self.quarantined.is_none()
    }
}

/// Finds what is meant. A path without its container is looked for in the containers of recent scorings, and then in the whole
/// list index: `progress` is called for each row of that.
///
/// `#` and `?` may be part of a name, or begin what a copied URL has behind it: the whole is looked for first.
pub async fn find(ledger: &Ledger, wanted: &str, mut progress: impl FnMut()) -> Result<SearchResult, ledger::Error> {
    let mut found = SearchResult::default();
    // A space at the end may be part of a name, or come with what was copied.
    let cut = without_query(wanted);
    let mut asked: Vec<&str> = Vec::new();
    for name in [wanted, wanted.trim(), cut, cut.trim()] {
        if asked.contains(&name) {
            continue;
        }
        let known = find_exactly(ledger, name, &mut progress).await?;
        if !known.is_empty() {
            return Ok(known);
        }
        if asked.is_empty() {
            found = known;
        }
        asked.push(name);
    }
    Ok(found)
}

async fn find_exactly(
    ledger: &Ledger,
    wanted: &str,
    progress: &mut impl FnMut(),
) -> Result<SearchResult, ledger::Error> {
    let digits = (1..=32).contains(&wanted.len()) && wanted.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if digits {
        let found = ledger.of_id(wanted, MAX_FOUND).await?;
        if !found.is_empty() || !found.unreadable.is_empty() {
            let mut known =
                SearchResult { scorings: found.read, unreadable: found.unreadable, ..SearchResult::default() };
            known.scorings.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
            return Ok(known);
        }
        if let Some(event) = ledger.quarantined_event(wanted).await? {
            return Ok(SearchResult { quarantined: Some(event), ..SearchResult::default() });
        }
    }
    if wanted.contains("://") {
        return match UnversionedBlob::read(wanted) {
            Ok(blob) => of_blob(ledger, blob.container, blob.path).await,
            Err(_) => Ok(SearchResult::default()),
        };
    }
    let named = wanted.split_once('/').map(|(container, path)| (container.to_owned(), path.to_owned()));
    let mut first = SearchResult { blob: named.clone(), ..SearchResult::default() };
    if let Some((container, path)) = named.filter(|(_, path)| !path.is_empty()) {
        first = of_blob(ledger, container, path).await?;
        if !first.is_empty() {
            return Ok(first);
        }
    }
    let found = by_path_alone(ledger, wanted, progress).await?;
    Ok(found.unwrap_or(first))
}

async fn by_path_alone(
    ledger: &Ledger,
    wanted: &str,
    progress: &mut impl FnMut(),
) -> Result<Option<SearchResult>, ledger::Error> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let (mut index, mut tried, mut read) = (ledger.newest(None, None, RECENT), Vec::new(), 0);
    while let Some(row) = index.next().await? {
        progress();
        let Ok(row) = row else { continue };
        read += 1;
        if row.blob.path == wanted {
            return of_blob(ledger, row.blob.container, row.blob.path).await.map(Some);
        }
        if read <= RECENT && !tried.contains(&row.blob.container) {
            let found = of_blob(ledger, row.blob.container.clone(), wanted.to_owned()).await?;
            if !found.is_empty() {
                return Ok(Some(found));
            }
            tried.push(row.blob.container);
        }
    }
    // A container of which nothing is scored.
    for skip in ledger.skipped(OffsetDateTime::UNIX_EPOCH, usize::MAX).await?.iter() {
        progress();
        match UnversionedBlob::read(&skip.subject) {
            Ok(blob) if blob.path == wanted => return of_blob(ledger, blob.container, blob.path).await.map(Some),
            // It lies in no container, and so under no blob.
            Err(_) if skip.subject == wanted => {
                return Ok(Some(SearchResult {
                    received: vec![Received::Skipped(skip.clone())],
                    ..SearchResult::default()
                }));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// What there is of the blob of this name, whichever account it lies in.
pub(super) async fn of_blob(ledger: &Ledger, container: String, path: String) -> Result<SearchResult, ledger::Error> {
    let received = ledger.received(&container, &path, MAX_FOUND).await?;
    let mut known = SearchResult { unreadable: received.unreadable, ..SearchResult::default() };
    for row in &received.read {
        let Received::Scoring(row) = row else { continue };
        match ledger.get(&row.id).await {
            Ok(scoring) => known.scorings.extend(scoring.map(|(scoring, _)| scoring)),
            Err(ledger::Error::Unreadable(row)) => known.unreadable.push(row),
            Err(error) => return Err(error),
        }
    }
    known.received = received.read;
    // Skips have the time of their day in the index.
    known.received.sort_by_key(|row| std::cmp::Reverse(row.at()));
    known.blob = Some((container, path));
    Ok(known)
}

/// What was received of a scoring's own blob.
pub(super) async fn beside(ledger: &Ledger, scoring: &Scoring) -> Result<SearchResult, ledger::Error> {
    of_blob(ledger, scoring.blob.container.clone(), scoring.blob.path.clone()).await
}
