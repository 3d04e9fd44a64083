//! The list of packages in the executable itself, as `cargo auditable` writes it: scanners (`cargo audit bin`, Trivy, Grype,
//! osv-scanner) find it there, wherever the executable has gone without its zip.
//!
//! Written here and not by `cargo auditable`, which asks `cargo metadata` and so would list what only the workspace's tests
//! switch on, and which would have to be installed first. The format and its compression are those of
//! `auditable-serde`; the section is added by the `objcopy` that comes with rustc.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use auditable_serde::{DependencyKind, Package, Source, VersionInfo};
use flate2::{Compression, write::ZlibEncoder};

use crate::{
    failure::{Failure, Result, cannot},
    materials::Materials,
    workspace::{asked, run},
};

/// The section's name, of which scanners know.
const SECTION: &str = ".dep-v0";

/// More than any list of ours (bytes); bounds what an odd executable makes us unpack.
const LIMIT: usize = 1 << 22;

/// Copies `program` to the folder `to` with the list of `materials` in it; where the copy is.
pub(crate) fn embed(program: &Path, materials: &Materials, to: &Path) -> Result<PathBuf> {
    let failed = |cause: std::io::Error| Failure::because("cannot pack the list of packages", cause);
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    serde_json::to_writer(&mut packed, &list(materials)?)
        .map_err(|cause| Failure::because("cannot write the list of packages", cause))?;
    let section = to.join("packages");
    fs::write(&section, packed.finish().map_err(failed)?).map_err(cannot("write", &section))?;
    let copy = to.join(program.file_name().unwrap_or_default());
    let add = format!("{SECTION}={}", section.display());
    let sysroot = sysroot()?;
    let mut command = Command::new(objcopy(&sysroot)?);
    // It needs the toolchain's own LLVM, which cargo makes known to programs that it runs, and nobody else does.
    command.env("LD_LIBRARY_PATH", sysroot.join("lib")).env("DYLD_FALLBACK_LIBRARY_PATH", sysroot.join("lib"));
    run(command.args(["--add-section", &add]).args([program, &copy]))?;
    Ok(copy)
}

/// The list in an executable.
pub(crate) fn read(program: &[u8]) -> Result<VersionInfo> {
    auditable_info::audit_info_from_slice(program, LIMIT)
        .map_err(|cause| Failure::because("the executable does not list its packages", cause))
}

fn list(materials: &Materials) -> Result<VersionInfo> {
    let ids: Vec<_> = materials.packages.keys().collect();
    let packages = materials.packages.values().map(|material| {
        let package = &material.package;
        Ok(Package {
            name: package.name.to_string(),
            version: package.version.clone(),
            source: match &package.source {
                None => Source::Local,
                Some(source) if source.is_crates_io() => Source::CratesIo,
                Some(_) => Source::Registry,
            },
            kind: DependencyKind::Runtime,
            dependencies: material.needs.iter().filter_map(|needed| ids.binary_search(&needed).ok()).collect(),
            root: package.id == materials.product,
        })
    });
    Ok(VersionInfo { packages: packages.collect::<Result<_>>()?, format: 0 })
}

fn sysroot() -> Result<PathBuf> {
    asked("rustc", &["--print", "sysroot"]).map(PathBuf::from).ok_or_else(failed)
}

/// The one in the toolchain, so that it is there and the same wherever that is.
fn objcopy(sysroot: &Path) -> Result<PathBuf> {
    let version = asked("rustc", &["-vV"]).ok_or_else(failed)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or_else(failed)?;
    let path = sysroot.join("lib/rustlib").join(host).join("bin/rust-objcopy");
    if path.is_file() { Ok(path) } else { Err(Failure::new(format!("{} is missing", path.display()))) }
}

fn failed() -> Failure {
    Failure::new("`rustc` does not tell where it is; is the toolchain whole?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::materials::tests::made_up;

    #[test]
    fn the_list_of_packages_is_found_in_the_executable() {
        let folder = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        assert!(read(&fs::read(&program).unwrap()).is_err());
        let copy = embed(&program, &made_up(), folder.path()).unwrap();
        assert_eq!(copy.file_name(), program.file_name());
        let found = read(&fs::read(copy).unwrap()).unwrap();
        let names: Vec<_> =
            found.packages.iter().map(|it| (it.name.as_str(), it.root, it.dependencies.len())).collect();
        assert_eq!(names, [("handler", true, 2), ("one", false, 1), ("two", false, 0)]);
    }
}
