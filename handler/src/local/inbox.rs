//! The inbox: a folder that stands for a container. A file that stopped changing becomes a blob version.
//!
//! Scanned, not watched: a scan also finds what changed while nobody ran, works on any file system, and needs nothing
//! from the operating system. Every file is told of again after a restart; the ledger knows repetitions.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// Account and container that the inbox stands for. `.localhost` never leaves a machine (RFC 6761).
pub(super) const ACCOUNT: &str = "local";
pub(super) const CONTAINER: &str = "inbox";
pub(super) const HOST: &str = "local.blob.localhost";

/// A file must look the same for this long before it is taken for complete.
const STILL: Duration = Duration::from_secs(1);
/// Files that one scan reads; more are told of once, in a warning.
const MAX_FILES: usize = 100_000;
/// What stays as it is in the path of a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Remembers what it has seen and what was delivered.
#[derive(Debug)]
pub(super) struct Inbox {
    folder: PathBuf,
    files: HashMap<PathBuf, SeenFile>,
    warned: bool,
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

impl Inbox {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, files: HashMap::new(), warned: false }
    }

    /// One scan: the files that are complete and not delivered yet. `now` comes from the caller.
    pub(super) fn scan(&mut self, now: Instant) -> io::Result<Vec<Ready>> {
        let mut found = Vec::new();
        walk(&self.folder, Path::new(""), &mut found)?;
        if found.len() >= MAX_FILES && !std::mem::replace(&mut self.warned, true) {
            tracing::warn!("the inbox holds more than {MAX_FILES} files; only the first are looked at");
        }
        let mut ready = Vec::new();
        let mut files = HashMap::with_capacity(found.len());
        for (path, metadata) in found {
            let etag = simulator::file_etag(&metadata);
            let seen = match self.files.remove(&path) {
                Some(seen) if seen.etag == etag => seen,
                _ => SeenFile { etag, since: now, delivered: false },
            };
            if !seen.delivered && now.duration_since(seen.since) >= STILL {
                ready.push(Ready {
                    event: event(&path, &seen.etag, metadata.len()),
                    etag: seen.etag.clone(),
                    path: path.clone(),
                });
            }
            files.insert(path, seen);
        }
        self.files = files;
        ready.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(ready)
    }

    /// The event about this version was taken.
    pub(super) fn delivered(&mut self, ready: &Ready) {
        if let Some(seen) = self.files.get_mut(&ready.path).filter(|seen| seen.etag == ready.etag) {
            seen.delivered = true;
        }
    }
}

fn walk(root: &Path, below: &Path, found: &mut Vec<(PathBuf, Metadata)>) -> io::Result<()> {
    let entries = match std::fs::read_dir(root.join(below)) {
        Ok(entries) => entries,
        // Removed while we walked; the inbox itself must be there.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !below.as_os_str().is_empty() => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // Editors and copy programs write to hidden names first.
        if name.to_str().is_none_or(|name| name.starts_with('.') || name.ends_with('~')) || found.len() >= MAX_FILES {
            continue;
        }
        // Not followed: a link could lead out of the inbox or in a circle.
        let Ok(metadata) = entry.metadata() else { continue };
        let path = below.join(name);
        if metadata.is_dir() {
            walk(root, &path, found)?;
        } else if metadata.is_file() {
            found.push((path, metadata));
        }
    }
    Ok(())
}

fn event(path: &Path, etag: &str, size: u64) -> Value {
    let path = path.to_string_lossy().replace('\\', "/");
    let encoded = utf8_percent_encode(&path, PATH);
    let id = format!("{path}#{etag}");
    json!({
        "id": id,
        "topic": "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/local/providers/Microsoft.Storage/storageAccounts/local",
        "subject": format!("/blobServices/default/containers/{CONTAINER}/blobs/{path}"),
        "eventType": "Microsoft.Storage.BlobCreated",
        "data": {
            "api": "PutBlob",
            "eTag": etag,
            "contentLength": size,
            "blobType": "BlockBlob",
            "url": format!("https://{HOST}/{CONTAINER}/{encoded}"),
        },
        "dataVersion": "",
        "metadataVersion": "1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::BlobVersion;

    fn ready(inbox: &mut Inbox, at: Instant) -> Vec<String> {
        inbox.scan(at).unwrap().into_iter().map(|ready| ready.path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_told_of_when_it_stopped_changing_and_until_it_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let mut inbox = Inbox::new(folder.path().to_owned());
        let start = Instant::now();
        std::fs::create_dir(folder.path().join("eu")).unwrap();
        std::fs::write(folder.path().join("eu/a.csv"), "1").unwrap();
        std::fs::write(folder.path().join(".hidden"), "1").unwrap();
        assert!(ready(&mut inbox, start).is_empty());
        std::fs::write(folder.path().join("eu/a.csv"), "12").unwrap();
        assert!(ready(&mut inbox, start + STILL).is_empty(), "it changed meanwhile");
        let found = inbox.scan(start + STILL * 2).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(ready(&mut inbox, start + STILL * 3), ["eu/a.csv"], "not delivered yet");
        inbox.delivered(&found[0]);
        assert!(ready(&mut inbox, start + STILL * 4).is_empty());
        std::fs::write(folder.path().join("eu/a.csv"), "12").unwrap();
        assert!(ready(&mut inbox, start + STILL * 5).is_empty());
        let again = inbox.scan(start + STILL * 6).unwrap();
        assert_eq!(again.len(), 1, "the same bytes again are a new version");
        assert_ne!(again[0].etag, found[0].etag);
    }

    #[test]
    fn a_missing_inbox_is_an_error_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Inbox::new(folder.path().join("gone")).scan(Instant::now()).is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/etc/hostname", folder.path().join("link")).unwrap();
            let mut inbox = Inbox::new(folder.path().to_owned());
            let now = Instant::now();
            inbox.scan(now).unwrap();
            assert!(ready(&mut inbox, now + STILL).is_empty());
        }
    }

    #[test]
    fn any_name_survives_the_url() {
        for name in ["a b.csv", "100%.csv", "ü#?.csv", "a+b&c.csv"] {
            let event = event(Path::new(name), "1", 1);
            let blob = BlobVersion::read(event["data"]["url"].as_str().unwrap(), "1").unwrap();
            assert_eq!(
                (blob.account.as_str(), blob.container.as_str(), blob.path.as_str()),
                (ACCOUNT, CONTAINER, name)
            );
        }
    }
}
