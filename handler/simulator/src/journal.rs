//! The simulator's memory on disk: JSON lines, one per job made and one per phase entered.
//!
//! It survives the end of the process, SIGKILL included; it is not synced, so it need not survive the end of the
//! machine. A torn last line is what a killed process leaves and is dropped; any other bad line is an error, since
//! guessing would lose jobs. At start the file is written anew with just the jobs that are kept.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::job::{Job, Phase};
use crate::run_error::RunError;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Line<'a> {
    Made(Cow<'a, Job>),
    Entered(Entered),
}

#[derive(Serialize, Deserialize)]
struct Entered {
    seq: u64,
    phase: Phase,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RunError>,
}

/// The open file and its length.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    length: u64,
}

impl Journal {
    /// Reads what is there, drops the oldest finished jobs beyond `keep`, and writes the rest anew.
    pub(super) fn open(path: &Path, keep: usize) -> io::Result<(Self, Vec<Job>)> {
        let mut jobs = read(path)?;
        let mut surplus = jobs.len().saturating_sub(keep);
        jobs.retain(|job| {
            let drop = surplus > 0 && job.phase.is_final();
            surplus -= usize::from(drop);
            !drop
        });
        let fresh = path.with_extension("new");
        // Input URIs may hold what their sender should not have put there: the file is the owner's alone.
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.create(true).append(true).open(path)
        };
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut out = BufWriter::new(open(&fresh)?);
        for job in &jobs {
            out.write_all(&encoded(&Line::Made(Cow::Borrowed(job)))?)?;
        }
        out.flush()?;
        std::fs::rename(&fresh, path)?;
        let file = open(path)?;
        Ok((Self { length: file.metadata()?.len(), file }, jobs))
    }

    /// Records a new job. On an error it must not be made.
    pub(super) fn made(&mut self, job: &Job) -> io::Result<()> {
        self.append(&Line::Made(Cow::Borrowed(job)))
    }

    /// Records that a job entered a phase.
    pub(super) fn entered(&mut self, job: &Job) -> io::Result<()> {
        let line = Entered { seq: job.seq, phase: job.phase, at: job.since, error: job.error.clone() };
        self.append(&Line::Entered(line))
    }

    fn append(&mut self, line: &Line<'_>) -> io::Result<()> {
        let bytes = encoded(line)?;
        let written = self.file.write_all(&bytes);
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            // Half a line before a whole one could never be read again.
            Err(_) => self.file.set_len(self.length)?,
        }
        written
    }
}

/// One line, written with one call, so that a kill tears at most the last.
fn encoded(line: &Line<'_>) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<Vec<Job>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut jobs: Vec<Job> = Vec::new();
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        if reader.read_until(b'\n', &mut text)? == 0 || text.last() != Some(&b'\n') {
            break; // the end, or a torn last line
        }
        let line: Line<'_> = serde_json::from_slice(&text).map_err(|error| {
            let text = format!("line {number} of the journal cannot be read ({error}); repair it or move it away");
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        match line {
            Line::Made(job) => jobs.push(job.into_owned()),
            Line::Entered(entered) => {
                // Made in order of `seq`, so found by halving.
                if let Ok(at) = jobs.binary_search_by_key(&entered.seq, |job| job.seq) {
                    jobs[at].enter(entered.phase, entered.at, entered.error);
                }
            }
        }
    }
    Ok(jobs)
}
