//! Where data lies: URIs of inputs and outputs, and blobs of the storage side, become paths under configured folders.
//!
//! Nothing outside of those folders is ever reached, whatever a request says: names that climb are refused, links that
//! lead outside are refused, and the simulator's own unfinished files are not there.

use std::io;
use std::path::{Path, PathBuf};

use crate::installation::{Container, Datastore};
use crate::urls::{Blob, NoBlob, without_query};

/// Folder of a datastore in which outputs grow before they are published. Names with this beginning cannot be reached.
pub(super) const HIDDEN: &str = ".scorekeeper-";

/// What the URI of an input or output names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Uri {
    /// A blob by its URL.
    Blob { account: String, container: String, path: String },
    /// A path on a datastore of the workspace.
    Datastore { name: String, path: String },
}

/// Why a URI leads to no file here, in the words that a job's error shows. Holds no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoFile {
    /// None of the documented forms.
    #[error("`{0}` is neither a blob's URL nor a path on a datastore")]
    UnknownForm(String),
    /// A URL that is not one of a blob.
    #[error(transparent)]
    Url(#[from] NoBlob),
    /// An input that is not there.
    #[error("found no resources for the input provided: '{0}'")]
    NoInput(String),
    /// An output that is a blob's URL.
    #[error("the output '{0}' is not on a datastore")]
    NotOnDatastore(String),
    /// An output on a datastore that the workspace does not have.
    #[error("the workspace has no datastore '{0}'")]
    NoDatastore(String),
    /// A path that climbs, is absolute, or is one of the simulator's own.
    #[error("'{0}' is not a path of a blob")]
    BadPath(String),
    /// A link leads outside of the datastore's folder.
    #[error("'{path}' leads out of '{datastore}'")]
    Outside {
        /// The path on the datastore, as the URI has it.
        path: String,
        /// The datastore whose folder it leads out of.
        datastore: String,
    },
}

/// Reads the documented forms: blob and dfs URLs, `azureml://datastores/…/paths/…`, the same with the workspace in it,
/// and the ARM id form.
pub(super) fn read_uri(uri: &str) -> Result<Uri, NoFile> {
    let unknown = || NoFile::UnknownForm(without_query(uri).to_owned());
    if uri.starts_with("https://") || uri.starts_with("http://") {
        let blob = Blob::from_url(uri)?;
        return Ok(Uri::Blob { account: blob.account, container: blob.container, path: blob.path });
    }
    let rest = uri.strip_prefix("azureml:/").unwrap_or(uri);
    if !rest.starts_with('/') || rest.starts_with("//") {
        return Err(unknown());
    }
    let (before, path) = rest.split_once("/paths/").ok_or_else(unknown)?;
    let segments: Vec<&str> = before.split('/').skip(1).collect();
    let (["datastores", name] | ["subscriptions", .., "workspaces", _, "datastores", name]) = segments.as_slice()
    else {
        return Err(unknown());
    };
    if name.is_empty() || path.is_empty() {
        return Err(unknown());
    }
    Ok(Uri::Datastore { name: (*name).to_owned(), path: path.to_owned() })
}

/// Which folder stands for each container and datastore; their paths are canonical.
#[derive(Debug)]
pub(super) struct StorageMap {
    containers: Vec<Container>,
    datastores: Vec<Datastore>,
}

impl StorageMap {
    /// Makes the folders that are missing.
    pub(super) fn open(containers: &[Container], datastores: &[Datastore]) -> Result<Self, (PathBuf, std::io::Error)> {
        let open = |folder: &Path| {
            std::fs::create_dir_all(folder)
                .and_then(|()| folder.canonicalize())
                .map_err(|error| (folder.to_owned(), error))
        };
        let mut storage_map = Self { containers: containers.to_vec(), datastores: datastores.to_vec() };
        for container in &mut storage_map.containers {
            container.folder = open(&container.folder)?;
        }
        for datastore in &mut storage_map.datastores {
            datastore.folder = open(&datastore.folder)?;
        }
        Ok(storage_map)
    }

    /// The datastores of the workspace, their folders canonical.
    pub(super) fn datastores(&self) -> &[Datastore] {
        &self.datastores
    }

    /// Accounts with a container that inputs lie in.
    pub(super) fn accounts(&self) -> std::collections::BTreeSet<&str> {
        self.containers.iter().map(|container| container.account.as_str()).collect()
    }

    /// The datastore of this name.
    pub(super) fn datastore(&self, name: &str) -> Option<&Datastore> {
        self.datastores.iter().find(|datastore| datastore.name == name)
    }

    /// The datastore for outputs that no request places.
    pub(super) fn default_datastore(&self) -> Option<&Datastore> {
        self.datastore("workspaceblobstore").or_else(|| self.datastores.first())
    }

    /// The folder of a container, if there is one.
    pub(super) fn container(&self, account: &str, container: &str) -> Option<&Path> {
        let containers = self.containers.iter().map(|c| (&c.account, &c.container, &c.folder));
        let datastores = self.datastores.iter().map(|d| (&d.account, &d.container, &d.folder));
        containers
            .chain(datastores)
            .find(|(a, c, _)| *a == account && *c == container)
            .map(|(_, _, folder)| folder.as_path())
    }

    /// The file or folder that an input URI names, if it is there.
    pub(super) fn input(&self, uri: &str) -> Result<PathBuf, NoFile> {
        let (folder, path) = match read_uri(uri)? {
            Uri::Blob { account, container, path } => (self.container(&account, &container), path),
            Uri::Datastore { name, path } => (self.datastore(&name).map(|d| d.folder.as_path()), path),
        };
        folder
            .and_then(|folder| existing(folder, path.trim_end_matches('/')).ok())
            .ok_or_else(|| NoFile::NoInput(without_query(uri).to_owned()))
    }

    /// Where an output URI leads: the datastore's folder, and the path that nothing need exist at.
    pub(super) fn output(&self, uri: &str) -> Result<(PathBuf, PathBuf), NoFile> {
        let Uri::Datastore { name, path } = read_uri(uri)? else {
            return Err(NoFile::NotOnDatastore(without_query(uri).to_owned()));
        };
        let datastore = self.datastore(&name).ok_or_else(|| NoFile::NoDatastore(name.clone()))?;
        let relative = relative(path.trim_end_matches('/')).ok_or_else(|| NoFile::BadPath(path.clone()))?;
        // It stands for a container, which is there whoever tidied up here.
        std::fs::create_dir_all(&datastore.folder).map_err(|_| NoFile::NoDatastore(name.clone()))?;
        let target = datastore.folder.join(relative);
        // The part of it that exists must not lead outside by a link.
        let inside = target
            .ancestors()
            .find_map(|ancestor| ancestor.canonicalize().ok())
            .is_some_and(|real| real.starts_with(&datastore.folder));
        if inside { Ok((datastore.folder.clone(), target)) } else { Err(NoFile::Outside { path, datastore: name }) }
    }
}

/// A blob's name as a path below a folder; `None` for a name that climbs, is absolute, or is hidden.
pub(super) fn relative(name: &str) -> Option<PathBuf> {
    // A backslash is a character of a name like any other, but where it separates folders.
    let separates = |part: &str| std::path::MAIN_SEPARATOR == '\\' && part.contains('\\');
    let good = |part: &str| {
        !matches!(part, "" | "." | "..") && !part.starts_with(HIDDEN) && !part.contains('\0') && !separates(part)
    };
    name.split('/').all(good).then(|| name.split('/').collect())
}

/// What is there under this name within `folder`.
pub(super) fn existing(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let nothing = || io::Error::from(io::ErrorKind::NotFound);
    let real = folder.join(relative(name).ok_or_else(nothing)?).canonicalize()?;
    if real.starts_with(folder) { Ok(real) } else { Err(nothing()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datastore(uri: &str) -> Option<(String, String)> {
        match read_uri(uri) {
            Ok(Uri::Datastore { name, path }) => Some((name, path)),
            _ => None,
        }
    }

    #[test]
    fn every_documented_form_of_a_uri_is_read() {
        let expected = Some(("d".to_owned(), "x/y.csv".to_owned()));
        let arm = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";
        assert_eq!(datastore("azureml://datastores/d/paths/x/y.csv"), expected);
        assert_eq!(datastore(&format!("{arm}/datastores/d/paths/x/y.csv")), expected);
        let long = "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths/x/y.csv";
        assert_eq!(datastore(long), expected);
        let blob = Uri::Blob { account: "local".into(), container: "inbox".into(), path: "a b.csv".into() };
        for uri in [
            "https://local.blob.localhost/inbox/a%20b.csv",
            "https://local.dfs.core.windows.net/inbox/a%20b.csv",
            "http://127.0.0.1:10000/local/inbox/a%20b.csv",
        ] {
            assert_eq!(read_uri(uri).as_ref(), Ok(&blob), "{uri}");
        }
        for uri in
            ["", "x", "azureml://datastores/d/x.csv", "azureml://datastores/d/paths/", "wasbs://c@a/x", "//x/paths/y"]
        {
            assert!(read_uri(uri).is_err(), "{uri}");
        }
        assert!(!read_uri("s3://b/x?sig=SECRET").unwrap_err().to_string().contains("SECRET"));
    }

    fn storage_map(root: &Path) -> StorageMap {
        let datastore = Datastore {
            name: "d".into(),
            account: "local".into(),
            container: "outbox".into(),
            folder: root.join("outbox"),
        };
        let container = Container { account: "local".into(), container: "inbox".into(), folder: root.join("inbox") };
        StorageMap::open(&[container], &[datastore]).unwrap()
    }

    /// Whoever tidies up the outbox of a `local` that runs would see every job fail that comes after.
    #[test]
    fn a_folder_that_was_removed_is_made_again_for_the_next_output() {
        let root = tempfile::tempdir().unwrap();
        let storage_map = storage_map(root.path());
        std::fs::remove_dir_all(root.path().join("outbox")).unwrap();
        let (folder, target) = storage_map.output("azureml://datastores/d/paths/a/b.csv").unwrap();
        assert!(folder.is_dir() && target.starts_with(&folder));
        // What stands in its place is not written through.
        std::fs::remove_dir(&folder).unwrap();
        std::os::unix::fs::symlink(root.path(), &folder).unwrap();
        assert!(storage_map.output("azureml://datastores/d/paths/a/b.csv").is_err());
    }

    #[test]
    fn nothing_outside_of_the_folders_is_reached() {
        let root = tempfile::tempdir().unwrap();
        let storage_map = storage_map(root.path());
        std::fs::write(root.path().join("secret"), "s").unwrap();
        std::fs::write(root.path().join("inbox/x"), "x").unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("inbox/link")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("outbox/link")).unwrap();
        let inbox = storage_map.container("local", "inbox").unwrap();
        std::fs::write(root.path().join("inbox/a\\b"), "x").unwrap();
        for name in ["x", "a\\b"] {
            assert!(existing(inbox, name).is_ok(), "{name}");
        }
        for name in ["../secret", "link/secret", "a/../../secret", "./x", "", "/x", "..\\secret", "x\0"] {
            assert!(existing(inbox, name).is_err(), "{name}");
        }
        for path in ["../secret", "link/new", "a/../../new", "..", "a//b", ".scorekeeper-simulator/x"] {
            assert!(storage_map.output(&format!("azureml://datastores/d/paths/{path}")).is_err(), "{path}");
        }
        assert!(storage_map.output("azureml://datastores/d/paths/a/b.csv").is_ok());
        assert!(storage_map.output("azureml://datastores/other/paths/a/b.csv").is_err());
        assert!(storage_map.input("azureml://datastores/d/paths/../secret").is_err());
        assert!(storage_map.input("https://local.blob.localhost/inbox/%2E%2E/secret").is_err());
        assert!(storage_map.input("https://local.blob.localhost/inbox/x?sig=1").is_ok());
    }
}
