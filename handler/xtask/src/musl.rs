//! What a build for a musl target needs on this machine: the target's standard library, and a C compiler that
//! knows musl (the TLS library, SQLite and the allocator are C).

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    debian,
    failure::{Failure, Result},
    workspace::{asked, run},
};

/// The target triple of what is shipped for Azure.
pub(crate) const SHIPPED: &str = "x86_64-unknown-linux-musl";

/// The C compilers that the `cc` crate tries for [`SHIPPED`]. Debian's `musl-tools` has both.
const COMPILERS: [&str; 2] = ["x86_64-linux-musl-gcc", "musl-gcc"];

/// Something that has to be installed first.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missing {
    #[error("rust's standard library for {target} is missing; `rustup target add {target}` installs it")]
    Target { target: String },
    #[error(
        "no C compiler for {target}: neither {tried} is there; on Debian `apt-get install musl-tools` brings it, \
         or name one in {variable}"
    )]
    Compiler { target: String, tried: String, variable: String },
}

/// What is missing to build for `target`; empty if all is there.
pub(crate) fn missing(target: &str) -> Vec<Missing> {
    let library = asked("rustc", &["--print", "target-libdir", "--target", target]);
    let there = library.is_some_and(|folder| Path::new(&folder).is_dir());
    let folders: Vec<PathBuf> = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    let target_missing = (!there).then(|| Missing::Target { target: target.to_owned() });
    target_missing.into_iter().chain(missing_compiler(target, &folders, |name| env::var_os(name).is_some())).collect()
}

fn missing_compiler(target: &str, folders: &[PathBuf], is_set: impl Fn(&str) -> bool) -> Option<Missing> {
    let variables = variables(target);
    let named = variables.iter().any(|name| is_set(name));
    let found = folders.iter().any(|folder| COMPILERS.iter().any(|compiler| folder.join(compiler).is_file()));
    if !target.contains("musl") || named || found {
        return None;
    }
    let [_, variable, _] = variables;
    Some(Missing::Compiler { target: target.to_owned(), tried: COMPILERS.join(" nor "), variable })
}

/// The C compiler that the `cc` crate will take for `target`, as far as this module knows.
pub(crate) fn compiler(target: &str) -> Option<String> {
    let named = variables(target).into_iter().find_map(env::var_os).and_then(|name| name.into_string().ok());
    let installed = || COMPILERS.iter().find(|compiler| asked(compiler, &["--version"]).is_some());
    named.or_else(|| installed().filter(|_| target == SHIPPED).map(|&compiler| compiler.to_owned()))
}

/// The variables that name a C compiler for `target`.
fn variables(target: &str) -> [String; 3] {
    [format!("CC_{target}"), format!("CC_{}", target.replace('-', "_")), "TARGET_CC".to_owned()]
}

/// Packs the relocations of a static executable (`DT_RELR`), which takes a thirtieth off it. It applies them itself when it starts: the
/// musl of Rust 1.93 (1.2.5) can, an earlier one would crash. `rustc` is what `rustc -vV` says.
pub(crate) fn packed_relocations(target: &str, rustc: &str) -> Option<&'static str> {
    let release = rustc.lines().find_map(|line| line.strip_prefix("release: "))?;
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    (target.ends_with("-linux-musl") && version >= (1, 93)).then_some("-Clink-arg=-Wl,-z,pack-relative-relocs")
}

/// Refuses with the remedies unless all is there, before minutes of building are spent.
pub(crate) fn require(target: &str) -> Result<()> {
    let missing: Vec<String> = missing(target).iter().map(ToString::to_string).collect();
    if missing.is_empty() { Ok(()) } else { Err(Failure::new(missing.join("\n"))) }
}

/// Installs what is missing where that is harmless: a Rust target by rustup, the C compiler only for root on Debian.
pub(crate) fn install(target: &str) -> Result<()> {
    for missing in missing(target) {
        match missing {
            Missing::Target { target } => run(Command::new("rustup").args(["target", "add", &target]))?,
            Missing::Compiler { .. } if debian::is_root() => debian::install("musl-tools")?,
            Missing::Compiler { .. } => return Err(Failure::new(missing.to_string())),
        }
    }
    require(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_compiler_is_told_with_its_remedy() {
        let empty = tempfile::tempdir().unwrap();
        let folders = [empty.path().to_path_buf()];
        let missing = missing_compiler(SHIPPED, &folders, |_| false).unwrap().to_string();
        assert!(missing.contains("musl-tools") && missing.contains("CC_x86_64_unknown_linux_musl"), "{missing}");
        assert_eq!(missing_compiler(SHIPPED, &folders, |name| name == "CC_x86_64_unknown_linux_musl"), None);
        assert_eq!(missing_compiler("x86_64-unknown-linux-gnu", &folders, |_| false), None);
        std::fs::write(empty.path().join("musl-gcc"), "").unwrap();
        assert_eq!(missing_compiler(SHIPPED, &folders, |_| false), None);
    }

    #[test]
    fn relocations_are_packed_where_the_executable_can_unpack_them() {
        let said =
            |release: &str| format!("rustc {release}\nbinary: rustc\nrelease: {release}\nLLVM version: 21.1.8\n");
        for (target, release, packed) in [
            (SHIPPED, "1.93.0", true),
            (SHIPPED, "1.100.0-nightly", true),
            (SHIPPED, "2.0.0", true),
            (SHIPPED, "1.92.0", false),
            (SHIPPED, "", false),
            ("aarch64-unknown-linux-musl", "1.95.0", true),
            ("x86_64-unknown-linux-gnu", "1.95.0", false),
            ("aarch64-apple-darwin", "1.95.0", false),
        ] {
            assert_eq!(packed_relocations(target, &said(release)).is_some(), packed, "{target} {release}");
        }
    }

    #[test]
    fn a_missing_target_is_told_with_its_remedy() {
        let missing = missing("riscv64gc-no-such-target").first().unwrap().to_string();
        assert!(missing.contains("rustup target add riscv64gc-no-such-target"), "{missing}");
    }
}
