//! `cargo xtask release`: the files of a release.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::package::{self, Package};
use crate::{
    app_folder::BILL_OF_MATERIALS,
    command_line::{self, TARGETS},
    commit::Commit,
    failure::{Failure, Result, cannot},
    musl,
    packaging::ZIP,
    sbom,
    workspace::{self, Checkout, asked, root},
    zip_file,
};

/// The files of a release.
///
/// For each target an archive of the command line; with the one that the Functions host runs, the package, its bill of materials and
/// the JSON Schema of rules as well. Then notes made of CHANGELOG.md, and the checksums of all that is in DIR.
#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// Builds for this target; may be given again. None: notes and checksums of what is there.
    #[arg(long, value_name = "TRIPLE")]
    target: Vec<String>,
    /// Default target/release-files.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Demands all files of a release, and that version and CHANGELOG.md are this tag's.
    #[arg(long, value_name = "vVERSION")]
    tag: Option<String>,
}

const CHECKSUMS: &str = "SHA256SUMS";
const NOTES: &str = "NOTES.md";
const SCHEMA: &str = "rules.schema.json";
const BILL: &str = "scorekeeper.cdx.json";

pub(super) fn run(Release { target: targets, out, tag }: Release) -> Result<()> {
    let out = out.unwrap_or_else(|| workspace::target().join("release-files"));
    fs::create_dir_all(&out).map_err(cannot("create", &out))?;
    for target in &targets {
        musl::require(target)?;
        // First: what it compiles is what the command line needs, too.
        if target == musl::SHIPPED {
            put_package(&out)?;
        }
        let archive = command_line::make(&Checkout::here(), target)?;
        if runs_here(target) {
            require_version(&archive)?;
        }
        write(&out.join(command_line::archive(target)), &archive)?;
    }
    let changelog = read(&root().join("CHANGELOG.md"))?;
    let version = env!("CARGO_PKG_VERSION");
    if let Some(tag) = &tag {
        require_complete(&out, tag)?;
    }
    let section = notes(&changelog, version, tag.is_some())?;
    write(&out.join(NOTES), section.as_bytes())?;
    let mut sums = String::new();
    for name in names(&out)? {
        let bytes = fs::read(out.join(&name)).map_err(cannot("read", &out))?;
        println!("{:>11}  {name}", bytes.len());
        if name != CHECKSUMS && name != NOTES {
            let _ = writeln!(sums, "{}  {name}", sbom::digest(&bytes));
        }
    }
    write(&out.join(CHECKSUMS), sums.as_bytes())
}

fn put_package(out: &Path) -> Result<()> {
    package::run(Package::shipped(workspace::target()))?;
    let app = workspace::target().join("app").join(BILL_OF_MATERIALS);
    for (from, name) in
        [(workspace::target().join(ZIP), ZIP), (app, BILL), (root().join("handler").join(SCHEMA), SCHEMA)]
    {
        fs::copy(&from, out.join(name)).map_err(cannot("copy", &from))?;
    }
    Ok(())
}

/// Where the executable of an archive is put that runs here, for the tests of it.
pub(super) fn released() -> PathBuf {
    workspace::target().join("released")
}

/// Whether this machine runs what is built for a target.
fn runs_here(target: &str) -> bool {
    let host = asked("rustc", &["-vV"]).unwrap_or_default();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
    let machine = |triple: &str| {
        let mut parts = triple.split('-');
        (parts.next().map(str::to_owned), ["linux", "darwin", "windows"].into_iter().find(|os| triple.contains(os)))
    };
    machine(&host) == machine(target)
}

/// The executable of an archive says which commit it was built from, and that it has all features.
fn require_version(archive: &[u8]) -> Result<()> {
    let folder = released();
    fs::create_dir_all(&folder).map_err(cannot("create", &folder))?;
    let mut says = None;
    for (name, bytes) in zip_file::unpacked(archive)? {
        if name == crate::builds::EXECUTABLE {
            let program = folder.join(name);
            write(&program, &bytes)?;
            set_executable(&program)?;
            let output = Command::new(&program).arg("--version").output().map_err(cannot("run", &program))?;
            says = Some(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
    }
    let commit = Commit::of(&root()).name;
    let says = says.unwrap_or_default();
    println!("{says}");
    if says.contains(&format!("(commit {}", if commit.is_empty() { "unknown" } else { &commit }))
        && says.contains("features cli, dev")
    {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`scorekeeper --version` says `{says}`; expected commit `{commit}` and the features cli, dev"
    )))
}

fn set_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).map_err(cannot("set the mode of", program))
}

/// Everything that belongs into a release of this tag is there.
fn require_complete(out: &Path, tag: &str) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    if tag != format!("v{version}") {
        return Err(Failure::new(format!(
            "the tag is `{tag}`, the version in Cargo.toml is `{version}`; correct either"
        )));
    }
    let archives = TARGETS.iter().map(|(target, _)| command_line::archive(target));
    let wanted = archives.chain([ZIP, BILL, SCHEMA].map(str::to_owned));
    let missing: Vec<String> = wanted.filter(|name| !out.join(name).is_file()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} lacks {}; `cargo xtask release --target TRIPLE` makes them",
        out.display(),
        missing.join(", ")
    )))
}

/// What CHANGELOG.md says of a version; of what is not released yet, unless it is to be a release.
fn notes(changelog: &str, version: &str, is_release: bool) -> Result<String> {
    let section = |name: &str| {
        let begin = changelog.find(&format!("\n## [{name}]"))?;
        let (_, rest) = changelog[begin + 1..].split_once('\n')?;
        Some(rest.split("\n## ").next().unwrap_or_default().trim().to_owned() + "\n")
    };
    let of_version = section(version);
    match of_version.or_else(|| section("Unreleased").filter(|_| !is_release)) {
        Some(text) => Ok(text),
        None => Err(Failure::new(format!(
            "CHANGELOG.md has no section `## [{version}]`; rename `[Unreleased]`, and begin a new one"
        ))),
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(cannot("list", folder))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<std::io::Result<_>>().map_err(cannot("list", folder))?;
    names.sort_unstable();
    Ok(names)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(cannot("read", path))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(cannot("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n* new\n\n## [0.2.0] - 2026-07-21\n\n### Added\n\n* this\n\n## [0.1.0]\n\n* that\n";

    #[test]
    fn notes_are_the_versions_own_and_a_release_never_has_those_of_the_next() {
        assert_eq!(notes(CHANGELOG, "0.2.0", true).unwrap(), "### Added\n\n* this\n");
        assert_eq!(notes(CHANGELOG, "0.1.0", true).unwrap(), "* that\n");
        assert_eq!(notes(CHANGELOG, "0.3.0", false).unwrap(), "* new\n");
        let refused = notes(CHANGELOG, "0.3.0", true).unwrap_err().to_string();
        assert!(refused.contains("## [0.3.0]"), "{refused}");
    }

    #[test]
    fn a_release_that_lacks_a_file_or_has_another_tag_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let tag = format!("v{}", env!("CARGO_PKG_VERSION"));
        let refused = |tag: &str| require_complete(folder.path(), tag).unwrap_err().to_string();
        assert!(refused("v9.9.9").contains("`v9.9.9`"));
        let names = TARGETS.iter().map(|(target, _)| command_line::archive(target));
        for name in names.chain([ZIP, BILL, SCHEMA].map(str::to_owned)) {
            assert!(refused(&tag).contains(&name), "{name}");
            fs::write(folder.path().join(&name), "").unwrap();
        }
        require_complete(folder.path(), &tag).unwrap();
    }
}
