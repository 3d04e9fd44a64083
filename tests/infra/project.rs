//! The files that must agree, in memory, so that a test can spoil a copy and see who notices.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::snapshot::Snapshot;

/// Where the compiler's predictions lie.
pub const SNAPSHOTS: &str = "infra/snapshots/";

/// Environments by the names of their snapshots, each of `main.bicep` (`azd`: of `azd/main.bicep`).
pub const ENVIRONMENTS: [&str; 5] = ["azd", "branches", "dev", "private", "prod"];

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Texts by their path below the repository's root.
#[derive(Debug, Clone)]
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// Those of this repository.
    pub fn load() -> Self {
        let mut files = BTreeMap::new();
        for folder in ["infra", "function-definitions", "handler", ".github", "tests/infra/templates"] {
            gather(&root(), folder, &mut files);
        }
        for file in ["azure.yaml", "host.json"] {
            files.insert(file.to_owned(), fs::read_to_string(root().join(file)).unwrap());
        }
        Self(files)
    }

    pub fn get(&self, path: &str) -> &str {
        self.0.get(path).unwrap_or_else(|| panic!("there is no {path}"))
    }

    pub fn find(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(|text| &**text)
    }

    pub fn put(&mut self, path: &str, text: String) {
        self.0.insert(path.to_owned(), text);
    }

    /// Those whose path begins and ends so.
    pub fn all<'a>(&'a self, begin: &'a str, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let fits = move |path: &&String| path.starts_with(begin) && path.ends_with(end);
        self.0.iter().filter(move |(path, _)| fits(path)).map(|(path, text)| (&**path, &**text))
    }

    /// A copy with the first `from` of a file exchanged. It must be there, or a defect would be none.
    pub fn spoilt(&self, path: &str, from: &str, to: &str) -> Self {
        let text = self.get(path);
        assert!(text.contains(from), "{path} holds no `{from}`: this defect is none any more");
        let mut copy = self.clone();
        copy.0.insert(path.to_owned(), text.replacen(from, to, 1));
        copy
    }

    pub fn moved(&self, from: &str, to: &str) -> Self {
        let mut copy = self.clone();
        let text = copy.0.remove(from).unwrap_or_else(|| panic!("there is no {from}"));
        copy.0.insert(to.to_owned(), text);
        copy
    }
}

fn gather(root: &Path, folder: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            gather(root, &path, files);
        } else if let Ok(text) = String::from_utf8(fs::read(root.join(&path)).unwrap()) {
            // What is no text is a picture.
            files.insert(path, text);
        }
    }
}

/// The files, with what the compiler made of them.
#[derive(Debug)]
pub struct Project {
    pub files: Files,
    /// What would be deployed, by name: each of [`ENVIRONMENTS`], `dev.events` and `prod.events` for the second stage, `packaged` with
    /// rules that the templates do not see.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// The compiled templates' parameters, types, outputs, order and exported variables.
    pub templates: Value,
}

impl Project {
    pub fn read(files: Files) -> Self {
        let json = |name: &str| -> Value {
            let path = format!("{SNAPSHOTS}{name}.json");
            serde_json::from_str(files.get(&path)).unwrap_or_else(|why| panic!("{path}: {why}"))
        };
        let names = ENVIRONMENTS.into_iter().chain(["dev.events", "packaged", "prod.events"]);
        let snapshots = names.map(|name| (name.to_owned(), Snapshot::read(&json(name)))).collect();
        let templates = json("templates");
        Self { files, snapshots, templates }
    }

    pub fn load() -> Self {
        Self::read(Files::load())
    }

    /// An exported variable of `contract.bicep`.
    pub fn contract(&self, name: &str) -> &Value {
        &self.templates["contract"]["variables"][name]
    }

    /// Environments, without second stages.
    pub fn environments(&self) -> impl Iterator<Item = (&str, &Snapshot)> {
        let environments = self.snapshots.iter().filter(|(name, _)| ENVIRONMENTS.contains(&&***name));
        environments.map(|(name, snapshot)| (&**name, snapshot))
    }

    /// Texts of templates by path and line, without comments: for what is forbidden wherever it stands.
    pub fn source_lines(&self) -> impl Iterator<Item = (String, &str)> {
        self.files.all("infra/", ".bicep").flat_map(|(path, text)| {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
            lines.map(move |(number, line)| (format!("{path}:{}", number + 1), line))
        })
    }
}
