//! The command line as it is released: an archive for each target, with the executable at its root.

use std::collections::BTreeSet;

use cargo_lock::Lockfile;
use cargo_metadata::{Metadata, TargetKind};

use crate::{
    app_folder::{AppFolder, File},
    audit,
    builds::{Build, EXECUTABLE, SHIPPED_PROFILE},
    failure::{Failure, Result, cannot},
    materials::{self, Materials},
    prefixes::Prefixes,
    workspace::Checkout,
    zip_file,
};

/// What a release is made for, with the machine of the workflow that makes it.
pub(crate) const TARGETS: [(&str, &str); 5] = [
    ("x86_64-unknown-linux-musl", "ubuntu-24.04"),
    ("aarch64-unknown-linux-musl", "ubuntu-24.04-arm"),
    ("aarch64-apple-darwin", "macos-15"),
    ("x86_64-apple-darwin", "macos-15"),
    ("x86_64-pc-windows-gnu", "ubuntu-24.04"),
];

/// The name of a target's archive.
pub(crate) fn archive(target: &str) -> String {
    format!("scorekeeper-{}-{target}.zip", env!("CARGO_PKG_VERSION"))
}

/// The executable's name on a target.
fn executable(target: &str) -> String {
    if target.contains("windows") { format!("{EXECUTABLE}.exe") } else { EXECUTABLE.to_owned() }
}

/// Builds it, with all that people at a terminal use. It shares what the package's build has compiled for the same target.
pub(crate) fn make(checkout: &Checkout, target: &str) -> Result<Vec<u8>> {
    let metadata = materials::metadata(checkout, target)?;
    let prefixes = Prefixes::of(&checkout.root, &metadata);
    let (target, profile) = (target, SHIPPED_PROFILE);
    let built = Build { checkout, target: Some(target), profile, whole: true, shipped: Some(&prefixes) }.run()?;
    let folder = tempfile::tempdir().map_err(|cause| Failure::because("cannot create a folder", cause))?;
    let mut program = built.executable.clone();
    // The tool that adds the list of packages knows the format of Linux.
    if target.contains("linux") {
        let lock = checkout.root.join("Cargo.lock");
        let lock = Lockfile::load(&lock).map_err(cannot("read", &lock))?;
        program = audit::embed(&program, &Materials::of(&metadata, &lock, &built)?, folder.path())?;
    }
    let mut files = AppFolder::default();
    let licence = checkout.root.join("LICENSE");
    for (name, path, executable) in [(executable(target), program, true), ("LICENSE".to_owned(), licence, false)] {
        let bytes = std::fs::read(&path).map_err(cannot("read", &path))?;
        files.0.insert(name, File { bytes, executable });
    }
    require_installable(&metadata, &files, target)?;
    zip_file::packed(&files)
}

/// What `cargo binstall` wants to find in an archive: each executable of the package that no feature is required for. Others are
/// taken where they are there.
fn installable(metadata: &Metadata) -> BTreeSet<&str> {
    let product = metadata.packages.iter().filter(|package| package.name == materials::PRODUCT);
    let targets = product.flat_map(|package| &package.targets);
    let wanted = targets.filter(|it| it.kind.contains(&TargetKind::Bin) && it.required_features.is_empty());
    wanted.map(|target| target.name.as_str()).collect()
}

/// The archive holds exactly that.
fn require_installable(metadata: &Metadata, files: &AppFolder, target: &str) -> Result<()> {
    let extension = if target.contains("windows") { ".exe" } else { "" };
    let wanted: BTreeSet<String> = installable(metadata).iter().map(|name| format!("{name}{extension}")).collect();
    let held: BTreeSet<String> =
        files.0.iter().filter(|(_, file)| file.executable).map(|(name, _)| name.clone()).collect();
    if wanted == held {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`cargo binstall` looks for {wanted:?} in the archive for {target}, which holds {held:?}; give what is not released a \
         required feature in handler/Cargo.toml"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::root;

    #[test]
    fn binstall_asks_for_what_the_archive_holds_and_for_nothing_else() {
        for (target, _) in TARGETS {
            let metadata = materials::metadata(&Checkout::here(), target).unwrap();
            assert_eq!(installable(&metadata), BTreeSet::from([EXECUTABLE]));
            let file = |executable| File { bytes: Vec::new(), executable };
            let mut files = AppFolder([(executable(target), file(true)), ("LICENSE".to_owned(), file(false))].into());
            require_installable(&metadata, &files, target).unwrap();
            files.0.remove(&executable(target));
            files.0.insert("bootstrap".to_owned(), file(true));
            let refused = require_installable(&metadata, &files, target).unwrap_err().to_string();
            assert!(refused.contains("bootstrap") && refused.contains(EXECUTABLE), "{refused}");
        }
    }

    #[test]
    fn binstall_finds_each_archive_and_the_executable_in_it() {
        let manifest = std::fs::read_to_string(root().join("handler/Cargo.toml")).unwrap();
        let of = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
            line.unwrap().trim_matches('"').to_owned()
        };
        let section = manifest.split("[package.metadata.binstall]\n").nth(1).unwrap();
        for (target, _) in TARGETS {
            let found =
                of(section, "pkg-url").replace("{ version }", env!("CARGO_PKG_VERSION")).replace("{ target }", target);
            assert!(found.ends_with(&format!("/v{}/{}", env!("CARGO_PKG_VERSION"), archive(target))), "{found}");
        }
        assert_eq!(of(section, "bin-dir"), "{ bin }{ binary-ext }", "at the root of the archive");
    }

    #[test]
    fn the_workflow_makes_each_archive_by_the_command_that_runs_here() {
        let workflow = std::fs::read_to_string(root().join(".github/workflows/release.yml")).unwrap();
        for (target, machine) in TARGETS {
            let row = format!("{{ target: {target}, machine: {machine} }}");
            assert!(workflow.contains(&row), "{row}");
        }
        for command in [
            "cargo xtask release --target \"$TARGET\" --out dist",
            "cargo xtask release --tag \"$GITHUB_REF_NAME\" --out dist",
        ] {
            assert!(workflow.contains(command), "{command}");
        }
    }
}
