//! `cargo xtask reproduce`: is the package what these sources make, wherever they are built?

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::{
    builds::SHIPPED_PROFILE,
    failure::{Failure, Result, cannot},
    musl,
    packaging::{Order, ZIP},
    sbom,
    workspace::{self, Checkout},
    zip_file,
};

/// Is the package what these sources make, wherever they are built?
///
/// Builds it once more from a copy of the sources in another folder, with another cargo home and nothing built before, and
/// compares it byte by byte. Both need the same compilers.
#[derive(Debug, clap::Args)]
pub(crate) struct Reproduce {
    /// What `package` wrote; default target/scorekeeper.zip.
    zip: Option<PathBuf>,
    /// The rules that were shipped.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The folder to build below; default the system's for temporary files.
    #[arg(long = "in", value_name = "DIR")]
    place: Option<PathBuf>,
}

/// In the workspace's root, but no sources: outputs, history, a local run's data.
const LEFT_OUT: [&str; 4] = ["target", ".git", ".scorekeeper", "node_modules"];

pub(super) fn run(Reproduce { zip, rules, place }: Reproduce) -> Result<()> {
    let place = place.unwrap_or_else(std::env::temp_dir);
    let zip = zip.unwrap_or_else(|| workspace::target().join(ZIP));
    musl::require(musl::SHIPPED)?;
    let first = fs::read(&zip).map_err(cannot("read", &zip))?;

    let folder = tempfile::Builder::new().prefix("scorekeeper-again-").tempdir_in(&place);
    let folder = folder.map_err(cannot("create a folder in", &place))?;
    let checkout = copy(folder.path())?;
    println!("building again in {}", checkout.root.display());
    let order = Order { target: musl::SHIPPED, profile: SHIPPED_PROFILE, rules: rules.as_deref() };
    let second = order.make(&checkout)?.zip;
    println!("{}  {}", sbom::digest(&first), zip.display());
    println!("{}  built again", sbom::digest(&second));
    if first == second {
        println!("the same bytes");
        return Ok(());
    }
    Err(Failure::new(format!("the two packages differ:\n  {}", differences(&first, &second)?.join("\n  "))))
}

/// The sources in `folder`, with a cargo home and a target folder of their own. The home is a link to the usual one, so
/// that nothing is downloaded again; compilers see its name, which is what a difference would come from.
fn copy(folder: &Path) -> Result<Checkout> {
    let root = folder.join("sources");
    for name in names(&workspace::root())? {
        if !LEFT_OUT.contains(&name.as_str()) {
            copy_all(&workspace::root().join(&name), &root.join(&name))?;
        }
    }
    let home = folder.join("home-of-cargo");
    let usual = cargo_home()?;
    symlink(&usual, &home).map_err(cannot("link to", &usual))?;
    Ok(Checkout { root, folders: vec![("CARGO_HOME", home), ("CARGO_TARGET_DIR", folder.join("outputs"))] })
}

fn cargo_home() -> Result<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    home.ok_or_else(|| Failure::new("neither CARGO_HOME nor HOME is set: where is cargo's home?"))
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(cannot("list", folder))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<std::io::Result<_>>().map_err(cannot("list", folder))
}

/// A folder with all that is in it, or a file. Links are of no use in a build and are left out.
fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from).map_err(cannot("read", from))?;
    if kind.is_dir() {
        fs::create_dir_all(to).map_err(cannot("create", to))?;
        for name in names(from)? {
            copy_all(&from.join(&name), &to.join(&name))?;
        }
    } else if kind.is_file() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(cannot("create", parent))?;
        }
        fs::copy(from, to).map_err(cannot("copy", from))?;
    }
    Ok(())
}

/// Which files of two zips differ, and from where on.
fn differences(first: &[u8], second: &[u8]) -> Result<Vec<String>> {
    let (first, second) = (zip_file::unpacked(first)?, zip_file::unpacked(second)?);
    let mut differences = Vec::new();
    for (name, one) in &first {
        match second.get(name) {
            None => differences.push(format!("`{name}` was not built again")),
            Some(other) if one != other => {
                let at = one.iter().zip(other).take_while(|(one, other)| one == other).count();
                let sizes = (one.len(), other.len());
                differences.push(format!("`{name}` differs from byte {at} on; {} and {} bytes", sizes.0, sizes.1));
            }
            Some(_) => {}
        }
    }
    let added = second.keys().filter(|name| !first.contains_key(*name));
    differences.extend(added.map(|name| format!("`{name}` is only in the package built again")));
    if differences.is_empty() {
        differences.push("the files are the same; their order, modes or times differ".to_owned());
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app_folder::{AppFolder, File};

    fn zip(files: &[(&str, &str)]) -> Vec<u8> {
        let file = |text: &str| File { bytes: text.as_bytes().to_vec(), executable: false };
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect();
        zip_file::packed(&AppFolder(files)).unwrap()
    }

    #[test]
    fn a_difference_is_told_by_file_and_byte() {
        let first = zip(&[("host.json", "{}"), ("program", "abcd"), ("rules.json", "{}")]);
        let second = zip(&[("host.json", "{}"), ("program", "abXde"), ("sbom", "{}")]);
        let expected = [
            "`program` differs from byte 2 on; 4 and 5 bytes",
            "`rules.json` was not built again",
            "`sbom` is only in the package built again",
        ];
        assert_eq!(differences(&first, &second).unwrap(), expected);
        assert!(differences(&first, &first).unwrap()[0].contains("order, modes or times"));
    }

    #[test]
    fn the_copy_has_the_sources_and_other_folders() {
        let folder = tempfile::tempdir().unwrap();
        let checkout = copy(folder.path()).unwrap();
        assert!(checkout.root.join("handler/src/main.rs").is_file());
        assert!(checkout.root.join(".cargo/config.toml").is_file());
        assert!(!checkout.root.join("target").exists() && !checkout.root.join(".git").exists());
        for (name, place) in &checkout.folders {
            assert!(place.starts_with(folder.path()), "{name}");
        }
        assert!(checkout.folders[0].1.join("registry").is_dir(), "the packages are found through the link");
    }
}
