//! The folder that the Functions host runs: `host.json`, the executable, one folder per function.
//!
//! The host lists only the immediate sub-folders of the one with `host.json`, so `function-definitions/<Name>/` is
//! flattened to `<Name>/` here. Beside them the rules if they are given, and the bill of materials. Nothing else goes in.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::failure::{Failure, Result, cannot};

/// The name of the bill of materials.
pub(crate) const BILL_OF_MATERIALS: &str = "sbom.cdx.json";

/// One file to be shipped.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// What the file holds, as it is shipped.
    pub(crate) bytes: Vec<u8>,
    /// Whether it gets mode 0755; else it gets 0644.
    pub(crate) executable: bool,
}

impl File {
    /// The permission bits it is shipped with, whatever they are on the building machine.
    pub(crate) fn mode(&self) -> u32 {
        if self.executable { 0o755 } else { 0o644 }
    }
}

/// All files of the app by their path below its root, with `/`, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppFolder(pub(crate) BTreeMap<String, File>);

impl AppFolder {
    /// Reads what belongs into the app: from the repository at `root`, the built `executable`, and `rules` if given.
    pub(crate) fn gather(root: &Path, executable: &Path, rules: Option<&Path>) -> Result<Self> {
        let mut app = Self::default();
        app.add("host.json", &root.join("host.json"), false)?;
        let name = executable.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Failure::new(format!("{} has no plain file name", executable.display())))?;
        app.add(name, executable, true)?;
        for (function, definition) in definitions(&root.join("function-definitions"))? {
            app.add(&format!("{function}/function.json"), &definition, false)?;
        }
        if let Some(rules) = rules {
            app.add("rules.json", rules, false)?;
            let bytes = &app.0["rules.json"].bytes;
            serde_json::from_slice::<serde_json::Value>(bytes).map_err(cannot("read as JSON", rules))?;
        }
        Ok(app)
    }

    fn add(&mut self, name: &str, source: &Path, executable: bool) -> Result<()> {
        let bytes = fs::read(source).map_err(cannot("read", source))?;
        self.put(name, File { bytes, executable })
    }

    /// Adds a file that was made here.
    pub(crate) fn add_made(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.put(name, File { bytes, executable: false })
    }

    fn put(&mut self, name: &str, file: File) -> Result<()> {
        match self.0.insert(name.to_owned(), file) {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("two files would be shipped as `{name}`"))),
        }
    }

    /// Writes the files into `folder`. Of what is there already it removes only an earlier staging's files, so that a
    /// `local.settings.json` of the developer stays.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        remove_functions(folder)?;
        for gone in ["rules.json", BILL_OF_MATERIALS] {
            remove_file(&folder.join(gone))?;
        }
        for (name, file) in &self.0 {
            let path = folder.join(name);
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).map_err(cannot("create", parent))?;
            // Written aside and renamed: an executable that is running at the moment cannot be written to.
            let aside = path.with_extension("part");
            fs::write(&aside, &file.bytes).map_err(cannot("write", &aside))?;
            let mode = fs::Permissions::from_mode(file.mode());
            fs::set_permissions(&aside, mode).map_err(cannot("set the mode of", &aside))?;
            fs::rename(&aside, &path).map_err(cannot("write", &path))?;
        }
        Ok(())
    }
}

/// Name and file of each function under `function-definitions`. Anything else in there is a mistake, since it would
/// silently not be shipped.
fn definitions(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let strange = |path: &Path| {
        Failure::new(format!(
            "{} does not belong there: it holds <Name>/function.json and nothing else",
            path.display()
        ))
    };
    let mut found = Vec::new();
    for path in entries(folder)? {
        let function =
            path.file_name().and_then(|name| name.to_str()).map(str::to_owned).ok_or_else(|| strange(&path))?;
        if !path.is_dir() {
            return Err(strange(&path));
        }
        let definition = path.join("function.json");
        if let Some(other) = entries(&path)?.into_iter().find(|entry| *entry != definition) {
            return Err(strange(&other));
        }
        found.push((function, definition));
    }
    Ok(found)
}

fn remove_functions(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for path in entries(folder)? {
        let definition = path.join("function.json");
        if definition.is_file() {
            remove_file(&definition)?;
            // Stays if somebody put something else into it.
            let _ = fs::remove_dir(&path);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(folder).and_then(|list| list.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>());
    let mut entries: Vec<PathBuf> = listed.map_err(cannot("list", folder))?;
    entries.sort();
    Ok(entries)
}

/// Removes `path` if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with one function and a made-up executable.
    fn repository() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("function-definitions/Tick")).unwrap();
        fs::write(root.path().join("function-definitions/Tick/function.json"), "{}").unwrap();
        fs::write(root.path().join("host.json"), "{}").unwrap();
        fs::write(root.path().join("scorekeeper"), "binary").unwrap();
        root
    }

    fn names(app: &AppFolder) -> Vec<&str> {
        app.0.keys().map(String::as_str).collect()
    }

    #[test]
    fn definitions_are_flattened_beside_host_json() {
        let root = repository();
        let app = AppFolder::gather(root.path(), &root.path().join("scorekeeper"), None).unwrap();
        assert_eq!(names(&app), ["Tick/function.json", "host.json", "scorekeeper"]);
        let executables: Vec<_> = app.0.iter().filter(|(_, file)| file.mode() == 0o755).map(|(name, _)| name).collect();
        assert_eq!(executables, ["scorekeeper"]);
    }

    #[test]
    fn an_unexpected_file_among_the_definitions_is_refused() {
        for path in ["function-definitions/README.md", "function-definitions/Tick/host.json"] {
            let root = repository();
            fs::write(root.path().join(path), "").unwrap();
            let refused = AppFolder::gather(root.path(), &root.path().join("scorekeeper"), None).unwrap_err();
            assert!(refused.to_string().contains(path), "{refused}");
        }
    }

    #[test]
    fn rules_are_shipped_only_when_given_and_readable() {
        let root = repository();
        let (executable, rules) = (root.path().join("scorekeeper"), root.path().join("my-rules.json"));
        fs::write(&rules, "{").unwrap();
        let refused = AppFolder::gather(root.path(), &executable, Some(&rules)).unwrap_err();
        assert!(refused.to_string().contains("my-rules.json"), "{refused}");
        fs::write(&rules, "{}").unwrap();
        let app = AppFolder::gather(root.path(), &executable, Some(&rules)).unwrap();
        assert_eq!(names(&app), ["Tick/function.json", "host.json", "rules.json", "scorekeeper"]);
    }

    #[test]
    fn staging_again_removes_what_is_gone_and_keeps_the_developers_settings() {
        let root = repository();
        let folder = root.path().join("app");
        fs::create_dir_all(folder.join("Gone")).unwrap();
        for file in ["Gone/function.json", "local.settings.json", "rules.json", "sbom.cdx.json"] {
            fs::write(folder.join(file), "{}").unwrap();
        }
        let app = AppFolder::gather(root.path(), &root.path().join("scorekeeper"), None).unwrap();
        app.write(&folder).unwrap();
        app.write(&folder).unwrap();
        let left: Vec<_> = entries(&folder).unwrap().iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(left, ["Tick", "host.json", "local.settings.json", "scorekeeper"]);
        let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("scorekeeper"), mode("host.json")), (0o755, 0o644));
    }
}
