//! The command line as people install it: nothing but the executable lies in a folder.
//!
//! `SCOREKEEPER_RELEASED` names the one that `cargo xtask release` has made; without it, it is the one that was built for the tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use handler::config::{ProcessVars, Vars as _};

use crate::support::executable;
use crate::support::functions_host::SCOREKEEPER;

/// A folder in which it lies alone.
fn alone() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("scorekeeper");
    let released = ProcessVars.get("SCOREKEEPER_RELEASED").unwrap_or_else(|| SCOREKEEPER.to_owned());
    executable::copy(Path::new(&released), &program);
    (folder, program)
}

/// Runs it there, with nothing of this process's environment.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("./scorekeeper");
    command.args(arguments).current_dir(folder).env_clear().output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn alone_in_a_folder_it_says_which_build_it_is() {
    let (folder, _) = alone();
    let said = text(&run(folder.path(), &["--version"]));
    assert!(said.starts_with(&format!("scorekeeper {} (commit ", env!("CARGO_PKG_VERSION"))), "{said}");
    assert!(said.trim_end().ends_with("features cli, dev)"), "{said}");
}

#[test]
fn alone_in_a_folder_it_checks_rules_and_the_doctor_says_what_is_missing() {
    let (folder, _) = alone();
    let rules = r#"{"rules":[{"id":"a","match":{"container":"con"},"endpoint":{"uri":"https://e.r.inference.ml.azure.com/jobs"}}]}"#;
    std::fs::write(folder.path().join("rules.json"), rules).unwrap();
    let checked = run(folder.path(), &["rules", "check", "rules.json"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    std::fs::write(folder.path().join("rules.json"), rules.replace("con\"", "CON\"")).unwrap();
    let checked = run(folder.path(), &["rules", "check", "rules.json"]);
    assert!(checked.status.code() == Some(1) && text(&checked).contains("write \"con\""), "{}", text(&checked));
    std::fs::remove_file(folder.path().join("rules.json")).unwrap();
    let doctor = run(folder.path(), &["doctor", "--within", "PT5S"]);
    assert!(matches!(doctor.status.code(), Some(1 | 2 | 64)), "{}", text(&doctor));
    assert!(text(&doctor).contains("SCOREKEEPER_LEDGER"), "{}", text(&doctor));
}

#[test]
fn alone_in_a_folder_it_runs_the_whole_product_and_shows_how_it_stands() {
    let (folder, program) = alone();
    let mut local = Command::new(&program);
    local.args(["local", "--listen", "127.0.0.1:0"]).current_dir(folder.path()).env_clear();
    let mut local = local.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let inbox = folder.path().join(".scorekeeper/inbox");
    let end = Instant::now() + Duration::from_secs(60);
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(Instant::now() < end, "{what}");
            std::thread::yield_now();
        }
    };
    until("an inbox", &|| inbox.is_dir());
    std::fs::write(inbox.join("claims.csv"), "age\n65\n").unwrap();
    until("its predictions", &|| text(&run(folder.path(), &["status"])).contains("scored 1 "));
    let status = run(folder.path(), &["status"]);
    assert_eq!(status.status.code(), Some(0), "{}", text(&status));
    local.kill().unwrap();
    local.wait().unwrap();
}
