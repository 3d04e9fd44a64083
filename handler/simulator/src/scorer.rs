//! What stands in for a model: the demonstration scorer, or a command of the user's.
//!
//! The demonstration scorer predicts nothing. It writes one row per row of the input, with a number drawn from a hash
//! of that row and its own name in every line, so that nobody takes it for a model.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::run_error::RunError;

/// What every row of the demonstration scorer says.
pub const SCORED_BY: &str = "scorekeeper-demonstration";

/// Bytes of a failed command's standard error that are kept.
const TAIL: usize = 4096;

/// Scores `inputs` in order into the new file `output`; returns the number of rows. Memory does not grow with the data. `names`: each
/// row tells its file, as MLflow's deployments do of a folder.
pub(super) fn demonstrate(inputs: &[PathBuf], output: &Path, names: bool, stop: &AtomicBool) -> io::Result<u64> {
    let mut out = BufWriter::new(File::create_new(output)?);
    writeln!(out, "row,prediction,scored_by{}", if names { ",file" } else { "" })?;
    let mut row = 0;
    let mut chunk = vec![0; 64 * 1024];
    for input in inputs {
        let csv = input.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let mut rows = Rows { csv, header: csv, quoted: false, hash: FNV, length: 0 };
        let file_name = input.file_name().map(|name| format!(",{}", name.to_string_lossy())).filter(|_| names);
        let file_name = file_name.unwrap_or_default();
        let mut file = File::open(input)?;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let read = match file.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            // A file need not end with a line end; a blank line more is no row.
            let bytes = if read == 0 { b"\n".as_slice() } else { &chunk[..read] };
            rows.quoted &= read != 0;
            for hash in bytes.iter().filter_map(|byte| rows.feed(*byte)) {
                row += 1;
                writeln!(out, "{row},0.{:06},{SCORED_BY}{file_name}", hash % 1_000_000)?;
            }
            if read == 0 {
                break;
            }
        }
    }
    out.flush()?;
    Ok(row)
}

/// FNV-1a's beginning: short, stable for ever, and nothing depends on its strength.
const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// Finds the rows of a file, byte by byte: CSV records, else lines. Blank ones and a CSV's header are none.
struct Rows {
    csv: bool,
    header: bool,
    quoted: bool,
    hash: u64,
    /// Bytes of the row so far.
    length: u64,
}

impl Rows {
    /// The hash of the row that ends with this byte, if one does.
    fn feed(&mut self, byte: u8) -> Option<u64> {
        match byte {
            b'\r' if !self.quoted => return None,
            b'\n' if !self.quoted => {
                let hash = std::mem::replace(&mut self.hash, FNV);
                let is_blank = std::mem::take(&mut self.length) == 0;
                let is_header = !is_blank && std::mem::take(&mut self.header);
                return (!is_blank && !is_header).then_some(hash);
            }
            // A doubled quote ends and begins the quotation again: right without looking ahead.
            b'"' if self.csv => self.quoted = !self.quoted,
            _ => {}
        }
        self.length += 1;
        self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        None
    }
}

/// Runs the command that it is given as `$1` and, beside it, waits for the end of its own standard input, whose other end
/// this process holds: it comes when this process ends, even by SIGKILL, and then the whole group goes. Without it a scoring
/// command would work on for hours for a job that nobody knows of any more. What left the group (`setsid`, a daemon) is not
/// found again and works on.
const WITH_LIFELINE: &str = r#"exec 3<&0 </dev/null
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
exec sh -c "$1""#;

/// Runs a shell command with `env` added to this process's environment. When this future is dropped, or this process ends,
/// the command is killed, and with it what it started and what is in its process group still.
pub(super) async fn command(shell: &str, env: Vec<(String, OsString)>, limit: Duration) -> Result<(), RunError> {
    let mut command = Command::new("sh");
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command
        .args(["-c", WITH_LIFELINE, "sh", shell])
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| RunError::user(format!("the scoring command cannot be run: {error}")))?;
    let group = Group::of(&child);
    // Nothing is ever written to it. `wait` would close it.
    let lifeline = child.stdin.take();
    let stderr = child.stderr.take();
    let reading = tokio::spawn(tail(stderr));
    let ended = tokio::time::timeout(limit, child.wait()).await;
    // What the command left behind goes with it, and with it the last writers of the pipe.
    drop(group);
    drop(lifeline);
    let said = tokio::time::timeout(Duration::from_secs(1), reading).await;
    let said = said.ok().and_then(Result::ok).unwrap_or_default();
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(RunError::user(format!("the scoring command ended with {status}: {}", said.trim_end()))),
        Ok(Err(error)) => Err(RunError::user(format!("the scoring command cannot be waited for: {error}"))),
        Err(_) => Err(RunError::user(format!("the scoring command took longer than {limit:?} and was killed"))),
    }
}

/// The end of what the command says, however much it says.
async fn tail(stderr: Option<tokio::process::ChildStderr>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut kept = Vec::new();
    let mut chunk = [0; TAIL];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        let surplus = kept.len().saturating_sub(TAIL);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// A process group, killed when dropped: a shell's children outlive the shell otherwise.
#[cfg(unix)]
struct Group(Option<rustix::process::Pid>);

#[cfg(unix)]
impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)))
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // Nobody left in it is the usual case.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// There are no groups: the command is killed when its handle is dropped, what it started ends with its input.
#[cfg(not(unix))]
struct Group;

#[cfg(not(unix))]
impl Group {
    fn of(_: &Child) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join(name), folder.path().join("out"));
        std::fs::write(&input, text).unwrap();
        let counted = demonstrate(&[input], &output, false, &AtomicBool::new(false)).unwrap();
        let written = std::fs::read_to_string(output).unwrap();
        let mut lines = written.lines().map(str::to_owned);
        assert_eq!(lines.next().as_deref(), Some("row,prediction,scored_by"));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len() as u64, counted);
        lines
    }

    #[test]
    fn a_csv_has_one_prediction_per_record_behind_its_header() {
        let scored = rows("x.csv", "id,text\r\n1,a\r\n\r\n2,\"two\nlines, \"\"quoted\"\"\"\n3,c");
        assert_eq!(scored.len(), 3);
        assert!(scored.iter().all(|line| line.ends_with(",scorekeeper-demonstration")), "{scored:?}");
        assert_eq!(scored[0].split(',').next(), Some("1"));
        assert_eq!(scored, rows("y.CSV", "other header\n1,a\n2,\"two\nlines, \"\"quoted\"\"\"\n3,c\n"));
        assert_ne!(scored[0].split(',').nth(1), scored[2].split(',').nth(1));
    }

    #[test]
    fn anything_else_has_one_prediction_per_line() {
        assert_eq!(rows("x.jsonl", "{\"a\": \"b\n{}\n").len(), 2);
        assert_eq!(rows("x.csv", "").len(), 0);
        assert_eq!(rows("x.csv", "header only").len(), 0);
        assert_eq!(rows("x.csv", "h\n\"never closed\n1\n2").len(), 1);
    }

    #[test]
    fn of_a_folder_each_row_tells_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("a.csv"), folder.path().join("out"));
        std::fs::write(&input, "h\n1\n").unwrap();
        demonstrate(&[input], &output, true, &AtomicBool::new(false)).unwrap();
        let text = std::fs::read_to_string(output).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "row,prediction,scored_by,file");
        assert!(lines[1].ends_with(",scorekeeper-demonstration,a.csv"), "{text}");
    }

    #[test]
    fn a_stopped_scorer_stops() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("x");
        std::fs::write(&input, "1\n").unwrap();
        let error = demonstrate(&[input], &folder.path().join("out"), false, &AtomicBool::new(true)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    }
}
