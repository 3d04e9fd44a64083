//! Programs that know Kusto's language. `cargo xtask test` installs each below `target/`, in the version that a file of `tests/` pins.

use std::env;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::project::root;

/// What a program that reads and prints JSON answers. `None` where `installed`, a file below `target/`, is not there: the test says
/// so and passes, unless the variable that requires it is set.
pub fn ask(program: &mut Command, installed: &str, required: &str, question: &Value) -> Option<Value> {
    if !root().join("target").join(installed).is_file() {
        assert!(env::var_os(required).is_none(), "there is no target/{installed}");
        println!("left out: there is no target/{installed}");
        return None;
    }
    let mut process = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
