//! Traces of the machine that built an executable: its folders, as compilers write them into messages. They tell who
//! built it and make two machines' builds differ, so a package has none.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::workspace;

/// As much as is shown around a trace, in bytes.
const SHOWN: usize = 60;

/// The traces in `program` of any Rust toolchain's usual folders, and of this machine's.
pub(crate) fn of_a_machine(program: &[u8]) -> Vec<String> {
    traces(program, &telltales(&workspace::root(), |name| env::var_os(name).map(PathBuf::from)))
}

/// Texts that give a machine away. Long enough not to be met by chance: a workspace may well be `/src`.
fn telltales(root: &Path, variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<String> {
    let mut telltales = vec!["/.cargo/".to_owned(), "/.rustup/".to_owned()];
    let mut below = |folder: &Path, parts: &[&str]| {
        // A folder such as `/` is no trace of anybody.
        if folder.is_absolute() && folder.parent().is_some() {
            telltales.extend(parts.iter().map(|part| format!("{}/{part}", folder.display())));
        }
    };
    below(root, &["handler/", "target/", "tests/"]);
    for (name, parts) in [
        ("HOME", &[""][..]),
        ("CARGO_HOME", &["registry/", "git/"]),
        ("RUSTUP_HOME", &["toolchains/"]),
        ("CARGO_TARGET_DIR", &["release/", "x86_64"]),
    ] {
        if let Some(folder) = variable(name) {
            below(&folder, parts);
        }
    }
    telltales
}

fn traces(program: &[u8], telltales: &[String]) -> Vec<String> {
    let found = telltales.iter().filter_map(|telltale| {
        let at = program.windows(telltale.len()).position(|window| window == telltale.as_bytes())?;
        let around = program.get(at.saturating_sub(SHOWN)..(at + telltale.len() + SHOWN).min(program.len()))?;
        let printable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' };
        Some(format!("`{telltale}` in `{}`", around.iter().map(printable).collect::<String>().trim()))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(program: &str) -> Vec<String> {
        let variable = |name: &str| match name {
            "HOME" => Some(PathBuf::from("/home/me")),
            "CARGO_HOME" => Some(PathBuf::from("/var/cargo")),
            "RUSTUP_HOME" => Some(PathBuf::from("/")),
            _ => None,
        };
        traces(program.as_bytes(), &telltales(Path::new("/src"), variable))
    }

    #[test]
    fn folders_of_the_machine_are_found() {
        for program in [
            "\0called `unwrap`/home/me/work/handler/src/main.rs\0",
            "\0/src/handler/src/main.rs\0",
            "\0/src/target/release/build/out/rules.rs\0",
            "\0/root/.cargo/registry/src/index/tokio-1.0.0/src/lib.rs\0",
            "\0/var/cargo/registry/src/index/tokio-1.0.0/src/lib.rs\0",
            "\0/opt/.rustup/toolchains/stable/lib/rustlib/src\0",
        ] {
            let found = found(program);
            assert_eq!(found.len(), 1, "{program}: {found:?}");
            assert!(found[0].contains(program.trim_matches('\0')), "{found:?}");
        }
    }

    #[test]
    fn names_that_every_machine_gives_are_no_traces() {
        let program = "/crates/tokio-1.0.0/src/lib.rs/scorekeeper/handler/src/main.rs/rustc/59807616/library/core/src/a.rs\
                       /home/site/wwwroot handler/src/main.rs toolchains/";
        assert_eq!(found(program), [""; 0]);
    }
}
