//! `cargo xtask release`: the files of a release.

use std::{
    collections::BTreeMap,
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
/// What the workflow makes by others' tools and adds: the compiled templates, the container's base of that day, and the image.
const BY_THE_WORKFLOW: [&str; 4] = ["main.json", "events.json", "container-base.txt", "container-image.txt"];

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
    let mut sizes = Vec::new();
    for name in names(&out)? {
        let bytes = fs::read(out.join(&name)).map_err(cannot("read", &out))?;
        println!("{:>11}  {name}", bytes.len());
        if name != CHECKSUMS && name != NOTES {
            let _ = writeln!(sums, "{}  {name}", sbom::digest(&bytes));
        }
        sizes.push((name, bytes.len() as u64));
    }
    write(&out.join(CHECKSUMS), sums.as_bytes())?;
    require_documented(&documented(&read(&root().join(PAGE))?)?, &sizes)
}

/// The page whose table lists the files of a release with their sizes.
const PAGE: &str = "handler/docs/infrastructure.md";

/// That table: each file with its size in bytes, where it tells one. `VERSION` stands for the version.
fn documented(page: &str) -> Result<BTreeMap<String, Option<f64>>> {
    let rows = page.split_once("| file | size | what |\n").map(|(_, table)| table.lines().skip(1));
    let rows = rows.ok_or_else(|| Failure::new(format!("{PAGE} has no table `| file | size | what |`")))?;
    let row = |row: &str| {
        let mut cells = row.strip_prefix("| ")?.split(" | ");
        let name = cells.next()?.trim_matches('`').replace("VERSION", env!("CARGO_PKG_VERSION"));
        let size = cells.next().and_then(|cell| cell.trim().split_once(' ')).and_then(|(number, unit)| {
            let unit = match unit {
                "MB" => 1e6,
                "kB" => 1e3,
                _ => return None,
            };
            number.parse::<f64>().ok().map(|number| number * unit)
        });
        Some((name, size))
    };
    Ok(rows.map_while(row).collect())
}

/// Each file is in the table, and its size is what the table says within a fifth.
#[expect(clippy::cast_precision_loss, reason = "sizes of files")]
fn require_documented(listed: &BTreeMap<String, Option<f64>>, files: &[(String, u64)]) -> Result<()> {
    for (name, size) in files {
        let told = listed.get(name).ok_or_else(|| Failure::new(format!("{PAGE} does not list `{name}`")))?;
        let size = *size as f64;
        if told.is_some_and(|told| size > told * 1.2 || size < told * 0.8) {
            let is = if size < 1e6 { format!("{:.0} kB", size / 1e3) } else { format!("{:.1} MB", size / 1e6) };
            return Err(Failure::new(format!("{PAGE} tells another size of `{name}`; it has {is}: write that")));
        }
    }
    Ok(())
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
    let missing: Vec<String> = required().filter(|name| !out.join(name).is_file()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} lacks {}; `cargo xtask release --target TRIPLE` makes archives, package and schema, release.yml the others",
        out.display(),
        missing.join(", ")
    )))
}

/// The files of a release, but for notes and checksums, which are made of them.
fn required() -> impl Iterator<Item = String> {
    let archives = TARGETS.iter().map(|(target, _)| command_line::archive(target));
    archives.chain([ZIP, BILL, SCHEMA].into_iter().chain(BY_THE_WORKFLOW).map(str::to_owned))
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
    use std::collections::BTreeSet;

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
        for name in required() {
            assert!(refused(&tag).contains(&name), "{name}");
            fs::write(folder.path().join(&name), "").unwrap();
        }
        require_complete(folder.path(), &tag).unwrap();
    }

    /// What the documentation of releases names is demanded, the workflow makes it, and nothing else is demanded.
    #[test]
    fn each_file_of_a_release_is_documented_demanded_and_made() {
        let page = |path: &str| fs::read_to_string(root().join(path)).unwrap();
        let (listed, workflow) = (documented(&page(PAGE)).unwrap(), page(".github/workflows/release.yml"));
        let listed: BTreeSet<String> = listed.into_keys().collect();
        let made = required().chain([CHECKSUMS, NOTES].map(str::to_owned));
        assert_eq!(listed, made.collect());
        for name in BY_THE_WORKFLOW {
            assert!(workflow.contains(&format!("dist/{name}")) || workflow.contains(&format!("> {name}")), "{name}");
        }
        let told = page("infra/README.md");
        let told = told.split("\n### Releases\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a section");
        for name in [ZIP, BILL, SCHEMA].into_iter().chain(BY_THE_WORKFLOW) {
            assert!(told.contains(&format!("`{name}`")), "infra/README.md does not tell of {name}");
        }
    }

    #[test]
    fn a_size_that_the_page_tells_is_that_of_the_file_within_a_fifth() {
        let page = "| file | size | what |\n|---|---|---|\n| `a-VERSION-x.zip` | 10.0 MB | x |\n| `b.json` | 1 kB | x |\n| `c` | | x |\n";
        let listed = documented(page).unwrap();
        assert_eq!(listed.len(), 3);
        let files =
            |sizes: &[(&str, u64)]| sizes.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect::<Vec<_>>();
        let version = env!("CARGO_PKG_VERSION");
        let archive = format!("a-{version}-x.zip");
        assert!(require_documented(&listed, &files(&[(&archive, 11_900_000), ("b.json", 900), ("c", 1)])).is_ok());
        for (wrong, said) in [(files(&[(&archive, 12_100_000)]), "12.1 MB"), (files(&[("d", 1)]), "`d`")] {
            let refused = require_documented(&listed, &wrong).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
