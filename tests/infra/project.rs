//! The files that must agree, in memory, so that a test can spoil a copy and see who notices.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::bicep::{self, Kind, Source};

/// Texts by their path below the repository's root.
#[derive(Debug, Clone)]
pub struct Files(BTreeMap<String, String>);

impl Files {
    /// Those of this repository.
    pub fn load() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = BTreeMap::new();
        for folder in ["infra", "function-definitions", "handler", ".github"] {
            gather(&root, folder, &mut files);
        }
        files.insert("host.json".to_owned(), fs::read_to_string(root.join("host.json")).unwrap());
        Self(files)
    }

    pub fn get(&self, path: &str) -> &str {
        self.0.get(path).unwrap_or_else(|| panic!("there is no {path}"))
    }

    pub fn find(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(|text| &**text)
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
        } else {
            files.insert(path.clone(), fs::read_to_string(root.join(&path)).unwrap());
        }
    }
}

/// The files, with the templates read.
#[derive(Debug)]
pub struct Project {
    pub files: Files,
    /// Templates and parameter files by path.
    pub sources: BTreeMap<String, Source>,
    /// What could not be read.
    pub unread: Vec<String>,
}

impl Project {
    pub fn read(files: Files) -> Self {
        let (mut sources, mut unread) = (BTreeMap::new(), Vec::new());
        for (path, text) in files.all("infra/", ".bicep").chain(files.all("infra/", ".bicepparam")) {
            match bicep::parse(text) {
                Ok(source) => {
                    sources.insert(path.to_owned(), source);
                }
                Err((line, why)) => unread.push(format!("{path}:{line}: {why}")),
            }
        }
        Self { files, sources, unread }
    }

    pub fn load() -> Self {
        Self::read(Files::load())
    }

    /// Templates only.
    pub fn templates(&self) -> impl Iterator<Item = (&str, &Source)> {
        let templates = self.files.all("infra/", ".bicep").filter_map(|(path, _)| self.sources.get_key_value(path));
        templates.map(|(path, source)| (&**path, source))
    }

    /// Parameter files with the template that they are for.
    pub fn parameter_files(&self) -> impl Iterator<Item = (&str, &Source, String)> {
        self.sources.iter().filter_map(|(path, source)| {
            let using = source.statements.iter().find_map(|statement| match &statement.kind {
                Kind::Using(template) => Some(beside(path, template)),
                _ => None,
            })?;
            Some((&**path, source, using))
        })
    }
}

/// A path that a file names, below the root.
pub fn beside(file: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}
