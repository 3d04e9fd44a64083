//! Programs that a test puts into a folder and then runs.
//!
//! Linux executes no file that anybody holds open for writing (`ETXTBSY`, "Text file busy"). A child that another thread
//! of the tests has just forked holds whatever this process has open until it executes its own program, so that a
//! program which this process wrote itself may be busy for a moment after it was closed. A shell writes it: nobody
//! else ever has it open.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A copy of `program` at `to`.
pub fn copy(program: &Path, to: &Path) {
    let from = File::open(program).unwrap_or_else(|why| panic!("{}: {why}", program.display()));
    written(writer(to, from.into()), to);
}

/// A script at `to`, its first line included.
pub fn script(text: &str, to: &Path) {
    let mut writer = writer(to, Stdio::piped());
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    written(writer, to);
}

fn writer(to: &Path, content: Stdio) -> Child {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(to).stdin(content);
    shell.spawn().unwrap()
}

fn written(mut writer: Child, to: &Path) {
    assert!(writer.wait().unwrap().success(), "cannot write {}", to.display());
}
