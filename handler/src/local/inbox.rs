//! The inbox: a folder that stands for a container. A file that stopped changing becomes a blob version.
//!
//! Scanned, not watched: a scan also finds what changed while nobody ran, works on any file system, and needs nothing
//! from the operating system. Every file is told of again after a restart; the ledger knows repetitions.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{DirEntry, Metadata, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lifecycle::digest::digest;
use lifecycle::skipped::SkippedEvent;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// A folder and the container that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) account: String,
    pub(super) container: String,
    pub(super) folder: PathBuf,
}

impl Place {
    /// The host of its blobs. `.localhost` never leaves a machine (RFC 6761).
    pub(super) fn host(&self) -> String {
        format!("{}.blob.localhost", self.account)
    }
}

/// A file must look the same for this long before it is taken for complete.
const STILL: Duration = Duration::from_secs(1);
/// Files that one scan reads; more are told of once, in a warning.
const MAX_FILES: usize = 100_000;
/// Things that are told of; whoever has more of them knows by then.
const MAX_NOTICES: usize = 1_000;
/// What stays as it is in the path of a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

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
    /// Its version.
    pub(super) etag: String,
    /// The Event Grid event about it.
    pub(super) event: Value,
}

/// Something in the inbox that is not scored, and why. Told of once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Notice {
    /// A symbolic link.
    Link(PathBuf),
    /// A name that editors and copy programs write to first.
    Hidden(PathBuf),
    /// A name that is no text.
    NotText(PathBuf),
    /// A pipe, a socket, a device.
    NoFile(PathBuf),
    /// It cannot be looked into; told of again after it could be.
    Unreadable(PathBuf, io::ErrorKind),
    /// The same file as one that is scored, under both names.
    OtherName(PathBuf, PathBuf),
    /// Beside the folders of the containers, of which this is one.
    Beside(PathBuf, PathBuf),
    /// There are more files than are looked at.
    TooMany,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(path) => {
                write!(f, "`{}` is a symbolic link, which is not followed; copy the file itself", path.display())
            }
            Self::Hidden(path) => write!(
                f,
                "`{}` is not scored: names that begin with `.` or end with `~` are taken for unfinished",
                path.display()
            ),
            Self::NotText(path) => write!(f, "`{}` is not scored: its name is not UTF-8; rename it", path.display()),
            Self::NoFile(path) => {
                write!(f, "`{}` is not scored: it is a pipe, a socket or a device; put a file there", path.display())
            }
            Self::Unreadable(path, error) => {
                write!(f, "`{}` cannot be read ({error}); the rest of the inbox is", path.display())
            }
            Self::OtherName(path, scored) => write!(
                f,
                "`{}` is the file that was taken in as `{}`, under another name; copy it to score it again",
                path.display(),
                scored.display()
            ),
            Self::Beside(path, folder) => write!(
                f,
                "`{}` is not scored: it lies beside the folders of the containers; move it into one, such as `{}`",
                path.display(),
                folder.display()
            ),
            Self::TooMany => write!(f, "the inbox holds more than {MAX_FILES} files; only the first are looked at"),
        }
    }
}

impl Notice {
    /// The record of what it tells of, as of an event that no rule wants, so that lists and `explain` know it too. None where
    /// there is no one file, or no name for it.
    pub(super) fn record(&self, place: Option<&Place>) -> Option<SkippedEvent> {
        let subject = match self {
            Self::Link(path) | Self::Hidden(path) | Self::NoFile(path) | Self::OtherName(path, _) => {
                url(place?, &blob_name(path))
            }
            Self::Beside(path, _) => path.to_str()?.to_owned(),
            Self::NotText(_) | Self::Unreadable(..) | Self::TooMany => return None,
        };
        let reason = self.to_string();
        Some(SkippedEvent { key: digest(&[&subject, &reason]), subject, rule: None, etag: None, reason })
    }
}

/// What one scan found.
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
            unscored.push(Notice::TooMany);
        }
        let mut scan = Scan::default();
        let paths: HashSet<PathBuf> = found.iter().map(|(path, _)| path.clone()).collect();
        let mut files = HashMap::with_capacity(found.len());
        let mut versions = HashSet::new();
        for (path, metadata) in found {
            let etag = simulator::file_etag(&metadata);
            let seen = match self.files.remove(&path) {
                Some(seen) if seen.etag == etag => seen,
                _ => SeenFile { etag, since: now, delivered: false },
            };
            match self.scored.get(&seen.etag).filter(|name| SAME_FILE_IS_KNOWN && **name != path) {
                Some(name) if paths.contains(name) => unscored.push(Notice::OtherName(path.clone(), name.clone())),
                // Moved: whether it is scored under its new name is for the rules to say, as of any rename.
                Some(name) if !seen.delivered && versions.insert(seen.etag.clone()) => scan.ready.push(Ready {
                    event: renamed(&self.place, name, &path),
                    etag: seen.etag.clone(),
                    path: path.clone(),
                }),
                // Of two names of one file, the second waits for what becomes of the first.
                None if !seen.delivered
                    && now.duration_since(seen.since) >= STILL
                    && (versions.insert(seen.etag.clone()) || !SAME_FILE_IS_KNOWN) =>
                {
                    scan.ready.push(Ready {
                        event: event(&self.place, &path, &seen.etag, metadata.len()),
                        etag: seen.etag.clone(),
                        path: path.clone(),
                    });
                }
                _ => {}
            }
            files.insert(path, seen);
        }
        self.files = files;
        // What could be read again, or is gone, is told of again when it comes back.
        self.told.retain(|told| !matches!(told, Notice::Unreadable(..)) || unscored.contains(told));
        for notice in unscored {
            if self.told.len() < MAX_NOTICES && self.told.insert(notice.clone()) {
                scan.notices.push(notice);
            }
        }
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

/// What lies in an inbox that is divided among containers, and in none of their folders.
#[derive(Debug)]
pub(super) struct Beside {
    inbox: PathBuf,
    folders: Vec<PathBuf>,
    told: HashSet<Notice>,
}

impl Beside {
    pub(super) fn new(inbox: PathBuf, places: &[Place]) -> Self {
        let folders = places.iter().map(|place| place.folder.clone()).filter(|folder| *folder != inbox).collect();
        Self { inbox, folders, told: HashSet::new() }
    }

    /// What is new there. An error: the inbox cannot be read.
    pub(super) fn scan(&mut self) -> io::Result<Vec<Notice>> {
        // An inbox that is one container's has nothing beside it.
        let Some(folder) = self.folders.first().and_then(|folder| folder.file_name()) else { return Ok(Vec::new()) };
        let mut notices = Vec::new();
        for entry in std::fs::read_dir(&self.inbox)? {
            let entry = entry?;
            let notice = Notice::Beside(entry.file_name().into(), folder.into());
            if !self.folders.contains(&entry.path())
                && self.told.len() < MAX_NOTICES
                && self.told.insert(notice.clone())
            {
                notices.push(notice);
            }
        }
        Ok(notices)
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

/// The name of a file's blob. On Unix a backslash is a character of a name like any other.
fn blob_name(path: &Path) -> String {
    path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
}

fn url(place: &Place, name: &str) -> String {
    format!("https://{}/{}/{}", place.host(), place.container, utf8_percent_encode(name, PATH))
}

/// The event about a file that has another name now, as an account with a hierarchical namespace raises it.
fn renamed(place: &Place, from: &Path, to: &Path) -> Value {
    let (from, to) = (blob_name(from), blob_name(to));
    json!({
        "id": format!("{from}#{to}"),
        "topic": topic(&place.account),
        "subject": format!("/blobServices/default/containers/{}/blobs/{to}", place.container),
        "eventType": "Microsoft.Storage.BlobRenamed",
        "data": { "api": "RenameFile", "sourceUrl": url(place, &from), "destinationUrl": url(place, &to) },
        "dataVersion": "",
        "metadataVersion": "1",
    })
}

fn topic(account: &str) -> String {
    format!(
        "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.Storage/storageAccounts/{account}"
    )
}

fn event(place: &Place, path: &Path, etag: &str, size: u64) -> Value {
    let Place { account, container, .. } = place;
    let path = blob_name(path);
    let id = format!("{path}#{etag}");
    json!({
        "id": id,
        "topic": topic(account),
        "subject": format!("/blobServices/default/containers/{container}/blobs/{path}"),
        "eventType": "Microsoft.Storage.BlobCreated",
        "data": {
            "api": "PutBlob",
            "eTag": etag,
            "contentLength": size,
            "contentType": content_type(&path),
            "blobType": "BlockBlob",
            "url": url(place, &path),
        },
        "dataVersion": "",
        "metadataVersion": "1",
    })
}

/// What an upload tool would say of it.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
        Some("csv") => "text/csv",
        Some("txt") => "text/plain",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::BlobVersion;

    fn place(folder: &Path) -> Place {
        Place { account: "local".to_owned(), container: "inbox".to_owned(), folder: folder.to_owned() }
    }

    fn inbox(folder: &Path) -> Inbox {
        Inbox::new(place(folder), HashMap::new())
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
        let again = Inbox::new(place(folder.path()), [(found[0].etag.clone(), "b.csv".into())].into());
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
        let record = Notice::Hidden("a b/.x".into()).record(Some(&place(folder.path()))).unwrap();
        assert_eq!(record.subject, "https://local.blob.localhost/inbox/a%20b/.x");
        assert!(record.reason.contains("names that begin with `.`"), "{}", record.reason);
        assert_eq!(Notice::TooMany.record(Some(&place(folder.path()))), None);
    }

    #[test]
    fn what_lies_beside_the_folders_of_containers_is_told_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let places = ["claims", "scans"].map(|name| Place { folder: at(name), ..place(folder.path()) });
        for Place { folder, .. } in &places {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(at("a.csv"), "1").unwrap();
        let mut beside = Beside::new(folder.path().to_owned(), &places);
        let notice = Notice::Beside("a.csv".into(), "claims".into());
        assert_eq!(beside.scan().unwrap(), std::slice::from_ref(&notice));
        assert!(beside.scan().unwrap().is_empty());
        let record = notice.record(None).unwrap();
        assert_eq!(record.subject, "a.csv");
        assert!(record.reason.contains("move it into one, such as `claims`"), "{}", record.reason);
        assert!(Beside::new(folder.path().to_owned(), &[place(folder.path())]).scan().unwrap().is_empty());
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

    #[test]
    fn any_name_survives_the_url() {
        for name in ["a b.csv", "100%.csv", "ü#?.csv", "a+b&c.csv", "a\\b.csv", "%5C.csv"] {
            if cfg!(not(unix)) && name.contains('\\') {
                continue;
            }
            let event = event(&place(Path::new("inbox")), Path::new(name), "1", 1);
            let blob = BlobVersion::read(event["data"]["url"].as_str().unwrap(), "1").unwrap();
            assert_eq!((blob.account.as_str(), blob.container.as_str(), blob.path.as_str()), ("local", "inbox", name));
        }
    }
}
