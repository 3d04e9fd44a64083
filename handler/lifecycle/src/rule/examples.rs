//! Uploads that a rule may take, as examples: its paths are checked by what they make of these.

use time::OffsetDateTime;

use super::definition::Match;
use super::template::{Template, Values};
use super::upload::Complete;
use crate::blob::BlobVersion;
use crate::id::{LedgerId, RuleId, ScoringId};

/// Stands for metadata in an example, the same percent-encoded.
pub(super) const METADATA: &str = "metadata-of-some-upload";

/// Names behind a rule's prefix that differ in each part that a placeholder stands for: in no folder, in one and in two, of two folders
/// and of two extensions, and with signs that are none of a datastore's name.
const NAMES: [&str; 7] = [
    "name",
    "name.csv",
    "folder/name",
    "folder/name.csv",
    "other/name.csv",
    "folder/name.txt",
    "folder/sub folder/name.v1.csv",
];

/// Examples of what a rule takes by its names.
pub(super) struct Examples(Vec<BlobVersion>);

impl Examples {
    /// Those that a rule wants by prefix, suffix, globs and marker; where its globs have a form that none of them has, one by prefix
    /// and suffix.
    pub(super) fn of(matches: &Match, complete: &Complete) -> Self {
        let Match { prefix, suffix, globs, .. } = matches;
        let named = |name: &&str| match complete {
            Complete::Marker(marker) => {
                let folder = name.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
                format!("{prefix}{folder}{}", marker.as_str())
            }
            Complete::Closed | Complete::UnchangedFor(_) => format!("{prefix}{name}{suffix}"),
        };
        let mut paths: Vec<String> = NAMES.iter().map(named).collect();
        paths.retain(|path| globs.is_empty() || globs.iter().any(|glob| glob.matches(path)));
        if paths.is_empty() {
            paths.push(format!("{prefix}{}{suffix}", NAMES[2]));
        }
        paths.dedup();
        let account = matches.account.as_deref().unwrap_or("account");
        // No two versions have one ETag.
        let blob = |(n, path): (usize, String)| blob(account, &matches.container, path, &format!("0x{n}"));
        Self(paths.into_iter().enumerate().filter_map(blob).collect())
    }

    /// What a template makes of each, with the path of the upload.
    pub(super) fn fill(&self, template: &Template, rule: &RuleId) -> Vec<(String, String)> {
        self.0.iter().map(|blob| (blob.path.clone(), filled(template, blob.clone(), rule))).collect()
    }
}

fn blob(account: &str, container: &str, path: String, etag: &str) -> Option<BlobVersion> {
    let blob = BlobVersion::read("https://account.blob.core.windows.net/container/name", etag).ok()?;
    Some(BlobVersion { account: account.to_owned(), container: container.to_owned(), path, ..blob })
}

fn filled(template: &Template, mut blob: BlobVersion, rule: &RuleId) -> String {
    blob.metadata = template.metadata().map(|name| (name.to_owned(), METADATA.to_owned())).collect();
    let of = BlobVersion { url: blob.path.clone(), ..blob.clone() };
    let scoring = ScoringId::new(&LedgerId::of_random([0; 16]), rule, &of, 0);
    let event_time = OffsetDateTime::UNIX_EPOCH;
    template.fill(&Values { blob: &blob, rule, scoring: &scoring, event_time, attempt: 1 })
}

/// The text with every hole filled as for some blob of some rule.
pub(super) fn example(template: &Template) -> String {
    let blob = BlobVersion::read("https://account.blob.core.windows.net/container/folder/name.csv", "0x0");
    match (blob, "rule".parse()) {
        (Ok(blob), Ok(rule)) => filled(template, blob, &rule),
        _ => String::new(),
    }
}
