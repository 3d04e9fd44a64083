//! The inbox: a folder that stands for a container. A file that stopped changing becomes a blob version.
//!
//! Scanned, not watched: a scan also finds what changed while nobody ran, works on any file system, and needs nothing
//! from the operating system. Every file is told of again after a restart; the ledger knows repetitions.

use std::collections::{HashMap, HashSet};
use std::fs::{DirEntry, Metadata, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::events::{event, renamed};
use super::notices::{Notice, new_ones};
use super::place::Place;

/// A file must look the same for this long before it is taken for complete.
const STILL: Duration = Duration::from_secs(1);
/// Files that one scan reads; more are told of once, in a warning.
const MAX_FILES: usize = 100_000;

/// Remembers what it has seen and what was delivered.
#[derive(Debug)]
pub(super) struct Inbox {
    place: Place,
    files: HashMap<PathBuf, SeenFile>,
    /// Versions that are scored, with the name under which they are: the same file under another name is not scored again.
    scored: HashMap<String, PathBuf>,
    told: HashSet<Notice>,
}

#[derive(Debug)]
struct SeenFile {
    etag: String,
    since: Instant,
    delivered: bool,
}

/// A file that is ready to be told of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ready {
    /// Its path in the inbox.
    pub(super) path: PathBuf,
    /// Its ETag, as the simulated storage shows it too.
    pub(super) etag: String,
    /// The Event Grid event about it.
    pub(super) event: Value,
}

/// What one scan of the inbox found to deliver and to tell of.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scan {
    /// Complete files that were not delivered yet, by path.
    pub(super) ready: Vec<Ready>,
    /// What is new of what is not scored.
    pub(super) notices: Vec<Notice>,
}

impl Inbox {
    /// `scored`: the versions that the ledger holds, with their paths.
    pub(super) fn new(place: Place, scored: HashMap<String, PathBuf>) -> Self {
        Self { place, files: HashMap::new(), scored, told: HashSet::new() }
    }

    /// One scan: the files that are complete and not delivered yet. `now` comes from the caller. An error: the inbox itself
    /// cannot be read.
    pub(super) fn scan(&mut self, now: Instant) -> io::Result<Scan> {
        let mut seen = Listing::by(|path| std::fs::read_dir(path), DirEntry::metadata);
        seen.walk(&self.place.folder, Path::new(""))?;
        let Listing { files: mut found, notices: mut unscored, .. } = seen;
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        if found.len() >= MAX_FILES {
            unscored.push(Notice::TooMany(MAX_FILES));
        }
        let mut scan = Scan::default();
        let etags: HashMap<PathBuf, String> =
            found.iter().map(|(path, metadata)| (path.clone(), simulator::file_etag(metadata))).collect();
        let mut files = HashMap::with_capacity(found.len());
        let mut versions = HashSet::new();
        for (path, metadata) in found {
            let etag = etags[&path].clone();
            let seen = match self.files.remove(&path) {
                Some(seen) if seen.etag == etag => seen,
                _ => SeenFile { etag, since: now, delivered: false },
            };
            match self.scored.get(&seen.etag).filter(|name| SAME_FILE_IS_KNOWN && **name != path) {
                // Both names lead to it. Another file under the old name (logs that are rotated, two that swap their names) is
                // no second name of this one.
                Some(name) if etags.get(name) == Some(&seen.etag) => {
                    unscored.push(Notice::OtherName(path.clone(), name.clone()));
                }
                // Moved: whether it is scored under its new name is for the rules to say, as of any rename.
                Some(name) if !seen.delivered && versions.insert(seen.etag.clone()) => scan.ready.push(Ready {
                    event: renamed(&self.place, name, &path, &metadata),
                    etag: seen.etag.clone(),
                    path: path.clone(),
                }),
                // Of two names of one file, the second waits for what becomes of the first.
                None if !seen.delivered
                    && now.duration_since(seen.since) >= STILL
                    && (versions.insert(seen.etag.clone()) || !SAME_FILE_IS_KNOWN) =>
                {
                    scan.ready.push(Ready {
                        event: event(&self.place, &path, &seen.etag, &metadata),
                        etag: seen.etag.clone(),
                        path: path.clone(),
                    });
                }
                _ => {}
            }
            files.insert(path, seen);
        }
        self.files = files;
        scan.notices = new_ones(&mut self.told, unscored);
        Ok(scan)
    }

    /// The event about this version was taken; `scored`: there is a scoring of it, it was not only skipped.
    pub(super) fn delivered(&mut self, ready: &Ready, scored: bool) {
        if let Some(seen) = self.files.get_mut(&ready.path).filter(|seen| seen.etag == ready.etag) {
            seen.delivered = true;
        }
        match self.scored.get_mut(&ready.etag) {
            // It was moved; the next move is one from here.
            Some(name) => name.clone_from(&ready.path),
            None if scored => drop(self.scored.insert(ready.etag.clone(), ready.path.clone())),
            None => {}
        }
    }
}

/// What a walk through the inbox has seen so far.
struct Listing {
    files: Vec<(PathBuf, Metadata)>,
    notices: Vec<Notice>,
    read_dir: fn(&Path) -> io::Result<ReadDir>,
    metadata: fn(&DirEntry) -> io::Result<Metadata>,
}

impl Listing {
    fn by(read_dir: fn(&Path) -> io::Result<ReadDir>, metadata: fn(&DirEntry) -> io::Result<Metadata>) -> Self {
        Self { files: Vec::new(), notices: Vec::new(), read_dir, metadata }
    }

    fn walk(&mut self, root: &Path, below: &Path) -> io::Result<()> {
        for entry in (self.read_dir)(&root.join(below))? {
            let entry = entry?;
            if self.files.len() >= MAX_FILES {
                return Ok(());
            }
            let name = entry.file_name();
            let path = below.join(&name);
            let Some(name) = name.to_str() else {
                self.notices.push(Notice::NotText(path));
                continue;
            };
            // Editors and copy programs write to hidden names first.
            if name.starts_with('.') || name.ends_with('~') {
                self.notices.push(Notice::Hidden(path));
                continue;
            }
            // Not followed: a link could lead out of the inbox or in a circle.
            let metadata = match (self.metadata)(&entry) {
                Ok(metadata) => metadata,
                // Gone by now: nothing to tell of.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // A folder that may be listed and not entered: so it is with all that is in it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                Err(error) => {
                    self.notices.push(Notice::Unreadable(path, error.kind()));
                    continue;
                }
            };
            if metadata.is_symlink() {
                self.notices.push(Notice::Link(path));
            } else if metadata.is_file() {
                self.files.push((path, metadata));
            } else if metadata.is_dir() {
                match self.walk(root, &path) {
                    Ok(()) => {}
                    // Removed while we walked.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    // One folder must not stop the inbox.
                    Err(error) => self.notices.push(Notice::Unreadable(path, error.kind())),
                }
            } else {
                self.notices.push(Notice::NoFile(path));
            }
        }
        Ok(())
    }
}

/// Whether a file is told from all others by its version: file systems of Unix number them.
const SAME_FILE_IS_KNOWN: bool = cfg!(unix);

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    fn inbox(folder: &Path) -> Inbox {
        Inbox::new(Place::inbox_at(folder), HashMap::new())
    }

    fn ready(inbox: &mut Inbox, at: Instant) -> Vec<String> {
        let scan = inbox.scan(at).unwrap();
        scan.ready.into_iter().map(|ready| ready.path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_told_of_when_it_stopped_changing_and_until_it_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let mut inbox = inbox(folder.path());
        let start = Instant::now();
        std::fs::create_dir(folder.path().join("eu")).unwrap();
        std::fs::write(folder.path().join("eu/a.csv"), "1").unwrap();
        assert!(ready(&mut inbox, start).is_empty());
        std::fs::write(folder.path().join("eu/a.csv"), "12").unwrap();
        assert!(ready(&mut inbox, start + STILL).is_empty(), "it changed meanwhile");
        let found = inbox.scan(start + STILL * 2).unwrap().ready;
        assert_eq!(found.len(), 1);
        assert_eq!(ready(&mut inbox, start + STILL * 3), ["eu/a.csv"], "not delivered yet");
        inbox.delivered(&found[0], true);
        assert!(ready(&mut inbox, start + STILL * 4).is_empty());
        std::fs::write(folder.path().join("eu/a.csv"), "12").unwrap();
        assert!(ready(&mut inbox, start + STILL * 5).is_empty());
        let again = inbox.scan(start + STILL * 6).unwrap().ready;
        assert_eq!(again.len(), 1, "the same bytes again are a new version");
        assert_ne!(again[0].etag, found[0].etag);
    }

    #[test]
    fn a_missing_inbox_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(inbox(&folder.path().join("gone")).scan(Instant::now()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn rights_and_links_are_no_upload_and_another_name_is_a_rename() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("b.csv"), "1").unwrap();
        let mut first = inbox(folder.path());
        let now = Instant::now();
        first.scan(now).unwrap();
        let found = first.scan(now + STILL).unwrap().ready;
        first.delivered(&found[0], true);

        std::fs::set_permissions(at("b.csv"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::hard_link(at("b.csv"), at("a.csv")).unwrap();
        std::fs::copy(at("b.csv"), at("copy.csv")).unwrap();
        first.scan(now + STILL * 2).unwrap();
        assert_eq!(ready(&mut first, now + STILL * 3), ["copy.csv"], "a copy is an upload");
        std::fs::rename(at("b.csv"), at("c.csv")).unwrap();
        // One of the names that are left; started again, it knows of the file from the ledger.
        let again = Inbox::new(Place::inbox_at(folder.path()), [(found[0].etag.clone(), "b.csv".into())].into());
        for mut inbox in [first, again] {
            inbox.scan(now + STILL * 4).unwrap();
            let found = inbox.scan(now + STILL * 5).unwrap().ready;
            let told: Vec<_> = found.iter().map(|ready| (ready.path.to_str(), &ready.event["eventType"])).collect();
            let (created, renamed) = ("Microsoft.Storage.BlobCreated", "Microsoft.Storage.BlobRenamed");
            assert_eq!(told, [(Some("a.csv"), &json!(renamed)), (Some("copy.csv"), &json!(created))]);
            inbox.delivered(&found[0], false);
            let notices = inbox.scan(now + STILL * 6).unwrap().notices;
            assert_eq!(notices, [Notice::OtherName("c.csv".into(), "a.csv".into())], "a second name of the same file");
        }
    }

    /// Takes in all that is ready, as a handler that scores each.
    #[cfg(unix)]
    fn taken_in(inbox: &mut Inbox, at: Instant) -> Vec<(String, String)> {
        inbox.scan(at).unwrap();
        let found = inbox.scan(at + STILL).unwrap();
        assert_eq!(found.notices, []);
        let told = |ready: &Ready| {
            let from = ready.event["data"]["sourceUrl"].as_str().and_then(|url| url.rsplit_once('/'));
            (ready.path.to_str().unwrap().to_owned(), from.map_or("new", |(_, name)| name).to_owned())
        };
        found.ready.iter().for_each(|ready| inbox.delivered(ready, true));
        found.ready.iter().map(told).collect()
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_moved_although_another_one_has_taken_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pair = |to: &str, from: &str| (to.to_owned(), from.to_owned());
        let (mut inbox, now) = (inbox(folder.path()), Instant::now());
        std::fs::write(at("log"), "1").unwrap();
        assert_eq!(taken_in(&mut inbox, now), [pair("log", "new")]);
        // Rotated.
        std::fs::rename(at("log"), at("log.1")).unwrap();
        std::fs::write(at("log"), "22").unwrap();
        assert_eq!(taken_in(&mut inbox, now + STILL * 2), [pair("log", "new"), pair("log.1", "log")]);
        // Swapped.
        std::fs::rename(at("log"), at("third")).unwrap();
        std::fs::rename(at("log.1"), at("log")).unwrap();
        std::fs::rename(at("third"), at("log.1")).unwrap();
        assert_eq!(taken_in(&mut inbox, now + STILL * 4), [pair("log", "log.1"), pair("log.1", "log")]);
        assert_eq!(taken_in(&mut inbox, now + STILL * 6), []);
    }

    #[test]
    fn an_event_says_when_the_file_came_to_be_what_it_is_and_says_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.csv");
        std::fs::write(&file, "1").unwrap();
        let time = |inbox: &mut Inbox| {
            inbox.scan(Instant::now()).unwrap();
            inbox.scan(Instant::now() + STILL).unwrap().ready[0].event["eventTime"].as_str().unwrap().to_owned()
        };
        let first = time(&mut inbox(folder.path()));
        assert!(OffsetDateTime::parse(&first, &Rfc3339).is_ok(), "{first}");
        assert_eq!(time(&mut inbox(folder.path())), first, "after a restart");
        // As `cp -p` leaves it: its bytes are older than the version before it.
        let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        if cfg!(unix) {
            assert!(time(&mut inbox(folder.path())) >= first);
        }
    }

    #[test]
    fn a_file_that_was_only_skipped_is_told_of_under_its_final_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.part"), "1").unwrap();
        let mut inbox = inbox(folder.path());
        let now = Instant::now();
        inbox.scan(now).unwrap();
        let found = inbox.scan(now + STILL).unwrap().ready;
        inbox.delivered(&found[0], false);
        std::fs::rename(folder.path().join("a.part"), folder.path().join("a.csv")).unwrap();
        inbox.scan(now + STILL * 2).unwrap();
        assert_eq!(ready(&mut inbox, now + STILL * 3), ["a.csv"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_hidden_names_and_unreadable_folders_are_told_of_once_and_stop_nothing() {
        use std::os::unix::ffi::OsStrExt as _;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink("/etc/hostname", at("link")).unwrap();
        std::fs::write(at(".hidden"), "1").unwrap();
        std::fs::write(at("back~"), "1").unwrap();
        let bad = PathBuf::from(std::ffi::OsStr::from_bytes(b"bad\xff.csv"));
        std::fs::write(folder.path().join(&bad), "1").unwrap();
        std::fs::write(at("z.csv"), "1").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let mut inbox = inbox(folder.path());
        let now = Instant::now();
        let notices: HashSet<_> = inbox.scan(now).unwrap().notices.into_iter().collect();
        let [link, hidden, back] = ["link", ".hidden", "back~"].map(PathBuf::from);
        let socket = Notice::NoFile("socket".into());
        let expected = [Notice::Link(link), Notice::Hidden(hidden), Notice::Hidden(back), Notice::NotText(bad), socket];
        assert_eq!(notices, expected.into());
        let second = inbox.scan(now + STILL).unwrap();
        assert_eq!((second.ready.len(), second.notices), (1, Vec::new()));
        let record = Notice::Hidden("a b/.x".into()).record(Some(&Place::inbox_at(folder.path()))).unwrap();
        assert_eq!(record.subject, "https://local.blob.localhost/inbox/a%20b/.x");
        assert!(record.reason.contains("names that begin with `.`"), "{}", record.reason);
        assert_eq!(Notice::TooMany(MAX_FILES).record(Some(&Place::inbox_at(folder.path()))), None);
    }

    /// Root may read every folder, so the system does not refuse it here.
    #[test]
    fn a_folder_that_cannot_be_read_stops_no_other() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("x.csv"), "1").unwrap();
        }
        let not_listed = Listing::by(
            |path| {
                if path.ends_with("a") { Err(io::ErrorKind::PermissionDenied.into()) } else { std::fs::read_dir(path) }
            },
            DirEntry::metadata,
        );
        // With mode 444 names can be listed, and nothing behind them can be looked at.
        let not_entered = Listing::by(
            |path| std::fs::read_dir(path),
            |entry| {
                let is_in = entry.path().parent().is_some_and(|parent| parent.ends_with("a"));
                if is_in { Err(io::ErrorKind::PermissionDenied.into()) } else { entry.metadata() }
            },
        );
        for mut seen in [not_listed, not_entered] {
            seen.walk(folder.path(), Path::new("")).unwrap();
            assert_eq!(seen.notices, [Notice::Unreadable("a".into(), io::ErrorKind::PermissionDenied)]);
            assert_eq!(seen.files.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>(), [Path::new("b/x.csv")]);
        }
    }
}
