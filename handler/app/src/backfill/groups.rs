//! How many jobs come of many files at least, where their rule groups.

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::rule::{GroupBy, GroupSettings};

/// Files that may share jobs. It holds a text for each folder.
pub(super) struct Together<'r> {
    settings: &'r GroupSettings,
    /// By folder, where the rule groups by it; and by which of the rule and its shadows takes them in.
    files: BTreeMap<(String, u64), Files>,
}

/// Files that may share jobs, counted for the fewest jobs that they take.
#[derive(Default)]
struct Files {
    /// Those that are not larger than a whole group.
    count: u64,
    bytes: u64,
    /// Files larger than `group.maxBytes`: each has a job of its own.
    large: u64,
}

impl<'r> Together<'r> {
    pub(super) fn new(settings: &'r GroupSettings) -> Self {
        Self { settings, files: BTreeMap::new() }
    }

    /// A file that is taken in by so many rules.
    pub(super) fn add(&mut self, path: &str, bytes: u64, rules: u64) {
        let folder = match self.settings.by {
            GroupBy::Folder | GroupBy::Marker => path.rsplit_once('/').map_or("", |(folder, _)| folder),
            GroupBy::Time => "",
        };
        for rule in 0..rules {
            let files = self.files.entry((folder.to_owned(), rule)).or_default();
            if self.settings.max_bytes.is_some_and(|max| bytes > max) {
                files.large += 1;
            } else {
                files.count += 1;
                files.bytes = files.bytes.saturating_add(bytes);
            }
        }
    }

    /// The folders that they lie in; `None`: those of several may share a job.
    pub(super) fn folders(&self) -> Option<u64> {
        let folders: BTreeSet<&str> = self.files.keys().map(|(folder, _)| folder.as_str()).collect();
        (self.settings.by != GroupBy::Time).then(|| u64::try_from(folders.len()).unwrap_or(u64::MAX))
    }

    /// The fewest jobs that all of them make: files that come late, are rather large, or leave their group make more.
    pub(super) fn jobs(&self) -> u64 {
        let full = u64::try_from(self.settings.max_files).unwrap_or(u64::MAX).max(1);
        let of = |files: &Files| {
            let by_bytes = self.settings.max_bytes.map_or(0, |max| files.bytes.div_ceil(max.max(1)));
            files.large + files.count.div_ceil(full).max(by_bytes)
        };
        self.files.values().map(of).sum()
    }
}
