//! What lies in the inbox and is not scored, with the reason. Told of once.

use std::collections::HashSet;
use std::path::PathBuf;
use std::{fmt, io};

use lifecycle::digest::digest;
use lifecycle::skipped::SkippedEvent;

use super::place::{Place, blob_name};

/// Things that are told of by name; of more there is one line.
const MAX_NOTICES: usize = 1_000;

/// Something in the inbox that is not scored, and why. Told of once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Notice {
    /// A symbolic link, which is not followed.
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
    /// There are more files than the so many that are looked at.
    TooMany(usize),
    /// There is more that is not scored than is told of by name.
    More,
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
            Self::TooMany(max) => write!(f, "the inbox holds more than {max} files; only the first are looked at"),
            Self::More => write!(
                f,
                "more than {MAX_NOTICES} things in the inbox are not scored (links, hidden names and the like); the others are not named"
            ),
        }
    }
}

/// What is new among all that was `found`, by name as long as not too much is told of. What is there no more makes room, and is
/// news when it comes back.
pub(super) fn new_ones(told: &mut HashSet<Notice>, found: Vec<Notice>) -> Vec<Notice> {
    let there: HashSet<&Notice> = found.iter().collect();
    let is_more = there.len() > MAX_NOTICES;
    told.retain(|notice| if *notice == Notice::More { is_more } else { there.contains(notice) });
    let mut new = Vec::new();
    for notice in found {
        if told.contains(&notice) {
            continue;
        }
        let notice = if told.len() < MAX_NOTICES { notice } else { Notice::More };
        if told.insert(notice.clone()) {
            new.push(notice);
        }
    }
    new
}

impl Notice {
    /// The record of what it tells of, as of an event that no rule wants, so that lists and `explain` know it too. None where
    /// there is no one file, or no name for it.
    pub(super) fn record(&self, place: Option<&Place>) -> Option<SkippedEvent> {
        let subject = match self {
            // A name that is no text is recorded with a sign in the place of each byte that is none.
            Self::Link(path)
            | Self::Hidden(path)
            | Self::NotText(path)
            | Self::NoFile(path)
            | Self::OtherName(path, _) => place?.url(&blob_name(path)),
            Self::Beside(path, _) => path.to_str()?.to_owned(),
            Self::Unreadable(..) | Self::TooMany(_) | Self::More => return None,
        };
        let reason = self.to_string();
        Some(SkippedEvent { key: digest(&[&subject, &reason]), subject, rule: None, etag: None, reason })
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
        let mut beside = Vec::new();
        for entry in std::fs::read_dir(&self.inbox)? {
            let entry = entry?;
            if !self.folders.contains(&entry.path()) {
                beside.push(Notice::Beside(entry.file_name().into(), folder.into()));
            }
        }
        Ok(new_ones(&mut self.told, beside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_than_is_told_of_by_name_is_told_of_once() {
        let notices =
            |names: std::ops::Range<usize>| names.map(|n| Notice::Hidden(format!(".{n}").into())).collect::<Vec<_>>();
        let mut told = HashSet::new();
        assert_eq!(new_ones(&mut told, notices(0..MAX_NOTICES)).len(), MAX_NOTICES);
        assert_eq!(new_ones(&mut told, notices(0..MAX_NOTICES)), []);
        assert_eq!(new_ones(&mut told, notices(0..MAX_NOTICES + 7)), [Notice::More]);
        assert_eq!(new_ones(&mut told, notices(0..MAX_NOTICES + 9)), []);
        // What was tidied away makes room for what comes, and for word of what comes back.
        assert_eq!(new_ones(&mut told, notices(0..5)), []);
        let new = [Notice::Hidden(".new".into())];
        assert_eq!(new_ones(&mut told, [notices(0..5), new.to_vec()].concat()), new);
        assert_eq!(new_ones(&mut told, notices(0..MAX_NOTICES + 7)).last(), Some(&Notice::More), "again");
    }

    #[test]
    fn what_lies_beside_the_folders_of_containers_is_told_of_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let places = ["claims", "scans"].map(|name| Place { folder: at(name), ..Place::inbox_at(folder.path()) });
        for Place { folder, .. } in &places {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(at("a.csv"), "1").unwrap();
        let mut beside = Beside::new(folder.path().to_owned(), &places);
        let notice = Notice::Beside("a.csv".into(), "claims".into());
        assert_eq!(beside.scan().unwrap(), std::slice::from_ref(&notice));
        assert!(beside.scan().unwrap().is_empty());
        let bytes = Notice::NotText("a\u{fffd}.csv".into()).record(Some(&places[0])).unwrap();
        assert!(bytes.subject.ends_with("a%EF%BF%BD.csv") && bytes.reason.contains("not UTF-8"), "{bytes:?}");
        let record = notice.record(None).unwrap();
        assert_eq!(record.subject, "a.csv");
        assert!(record.reason.contains("move it into one, such as `claims`"), "{}", record.reason);
        assert!(Beside::new(folder.path().to_owned(), &[Place::inbox_at(folder.path())]).scan().unwrap().is_empty());
    }
}
