//! Takes the building machine's folders out of the executable, so that two machines build the same bytes and a release
//! tells nobody's home. Each folder that compilers see gets a fixed name; what they embed (panic messages, `__FILE__`)
//! has that name.
//!
//! A build that is shipped listens to none of the machine's own `RUSTFLAGS`: they would be part of the bytes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{Metadata, camino::Utf8Path};

use crate::{musl, workspace::asked};

/// Sources of packages of others are below it: `/crates/NAME-VERSION/`.
const CRATES: &str = "/crates";

/// `__DATE__` of the C libraries, in seconds since 1970: the day of the zip's entries, 1980-01-01.
/// See <https://reproducible-builds.org/specs/source-date-epoch/>.
const DATE: &str = "315532800";

/// Folder by folder what it is called in the executable. The last that fits counts, for rustc as for gcc and clang.
pub(crate) struct Prefixes(Vec<(PathBuf, String)>);

impl Prefixes {
    /// For a build in the checkout at `root`.
    pub(crate) fn of(root: &Path, metadata: &Metadata) -> Self {
        let mut prefixes = Vec::new();
        let sysroot = asked("rustc", &["--print", "sysroot"]);
        let version = asked("rustc", &["-vV"]).unwrap_or_default();
        let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
        if let (Some(sysroot), Some(commit)) = (sysroot, commit) {
            // With the component rust-src, code of the standard library would be named by where that is.
            prefixes.push((Path::new(&sysroot).join("lib/rustlib/src/rust"), format!("/rustc/{commit}")));
        }
        let others = metadata.packages.iter().filter(|package| package.source.is_some());
        let stores = others.filter_map(|package| package.manifest_path.ancestors().nth(2));
        let stores: BTreeSet<&Utf8Path> = stores.collect();
        prefixes.extend(stores.into_iter().map(|store| (store.into(), CRATES.to_owned())));
        prefixes.push((root.to_owned(), "/scorekeeper".to_owned()));
        // Behind the workspace: usually it is inside of it.
        // Newer cargos may keep what is between elsewhere.
        let targets = metadata.build_directory.iter().chain([&metadata.target_directory]);
        prefixes.extend(targets.map(|target| (target.into(), "/target".to_owned())));
        Self(prefixes)
    }

    /// Gives a cargo command for `target` all that makes its bytes independent of place and day.
    pub(crate) fn apply(&self, command: &mut Command, target: &str) {
        let mut flags: Vec<String> = Vec::new();
        for (folder, name) in &self.0 {
            flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
        }
        if target.contains("linux") {
            // Whether there is a build id is the C compiler's own default, different from machine to machine.
            flags.push("-Clink-arg=-Wl,--build-id=none".to_owned());
        }
        let rustc = asked("rustc", &["-vV"]).unwrap_or_default();
        flags.extend(musl::packed_relocations(target, &rustc).map(str::to_owned));
        command.env_remove("RUSTFLAGS").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));

        // The C compiler's flags are split at blanks; a folder with one stays, and `reproduce` finds it.
        let plain = self.0.iter().filter(|(folder, _)| !folder.to_string_lossy().contains(char::is_whitespace));
        let c_flags: Vec<String> =
            plain.map(|(folder, name)| format!("-ffile-prefix-map={}={name}", folder.display())).collect();
        for name in ["CFLAGS", "TARGET_CFLAGS", &format!("CFLAGS_{target}")] {
            command.env_remove(name);
        }
        command.env(format!("CFLAGS_{}", target.replace('-', "_")), c_flags.join(" "));
        command.env("SOURCE_DATE_EPOCH", DATE);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::materials::tests::metadata;

    #[test]
    fn every_folder_of_a_build_has_a_fixed_name_and_the_machines_own_flags_are_left_out() {
        let prefixes = Prefixes::of(Path::new("/w"), &metadata());
        let mut command = Command::new("cargo");
        prefixes.apply(&mut command, "x86_64-unknown-linux-musl");
        let set: BTreeMap<_, _> = command
            .get_envs()
            .map(|(name, value)| (name.to_str().unwrap(), value.map(|value| value.to_str().unwrap())))
            .collect();
        let flags: Vec<&str> = set["CARGO_ENCODED_RUSTFLAGS"].unwrap().split('\u{1f}').collect();
        let store = "/home/me/.cargo/registry/src/index";
        for flag in [
            format!("--remap-path-prefix={store}=/crates"),
            "--remap-path-prefix=/w=/scorekeeper".to_owned(),
            "--remap-path-prefix=/w/target=/target".to_owned(),
            "-Clink-arg=-Wl,--build-id=none".to_owned(),
        ] {
            assert!(flags.contains(&&*flag), "{flag} in {flags:?}");
        }
        let last = |flag: &str| flags.iter().position(|it| it.contains(flag));
        assert!(last("=/w=") < last("=/w/target="), "the last that fits counts: {flags:?}");
        let c_flags = set["CFLAGS_x86_64_unknown_linux_musl"].unwrap();
        assert!(c_flags.contains(&format!("-ffile-prefix-map={store}=/crates")), "{c_flags}");
        assert_eq!(set["SOURCE_DATE_EPOCH"], Some("315532800"));
        for name in ["RUSTFLAGS", "CFLAGS", "TARGET_CFLAGS", "CFLAGS_x86_64-unknown-linux-musl"] {
            assert_eq!(set.get(name), Some(&None), "{name}");
        }
    }
}
