//! Instructions per event, as valgrind counts them: the same on a busy machine, so that a change of one in a hundred shows.
//!
//! Of the handler alone, without the kernel's share. What a start costs drops out: it is what a process with many events takes more
//! than one with few.

use std::path::{Path, PathBuf};

use crate::fakes::{Fakes, Request};
use crate::process::{Handler, Start};
use crate::{MANY_SLOTS, Outcome, bare, drive};

/// Events of the shorter and of the longer run of each.
const EVENTS: [usize; 2] = [320, 1_600];
/// Where profiles are left for `callgrind_annotate`, one of each handler.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// Counts both handlers, without and with `maxInFlight`, and says what came of it.
pub(crate) async fn compared(binary: &Path, folder: &Path) -> Outcome<String> {
    let fakes = Fakes::start().await?;
    let plain = [Request::Acceptance, Request::Submission, Request::Move];
    let slots = [Request::Write, Request::Acceptance, Request::Submission, Request::Move];
    let mut lines = vec!["instructions per event, kernel excluded".to_owned()];
    for (name, max_in_flight, requests) in [("", None, &plain[..]), (", maxInFlight", Some(MANY_SLOTS), &slots[..])] {
        let start = Start { binary, folder, fakes: &fakes, max_in_flight, log: None, counted: None };
        let recorded = bare::recorded(&start, requests).await?;
        #[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is of one lifetime")]
        let ours = per_event(&start, "scorekeeper", |start| start.ours()).await?;
        let bare = per_event(&start, "bare", |start| start.bare(&recorded)).await?;
        let (whole, hundredths) = (ours / bare, ours % bare * 100 / bare);
        lines.push(format!("scorekeeper{name} {ours}, same I/O, no logic {bare}: {whole}.{hundredths:02} x"));
    }
    lines.push(format!("profiles: {FOLDER}/callgrind.*"));
    Ok(lines.join("\n"))
}

async fn per_event(start: &Start<'_>, name: &str, run: impl Fn(&Start<'_>) -> Outcome<Handler>) -> Outcome<u64> {
    let limit = if start.max_in_flight.is_some() { ".maxInFlight" } else { "" };
    let profile = PathBuf::from(format!("{FOLDER}/callgrind.{name}{limit}"));
    let mut totals = [0; EVENTS.len()];
    for (events, total) in EVENTS.into_iter().zip(&mut totals) {
        let _ = std::fs::remove_file(&profile);
        let handler = run(&Start { counted: Some(&profile), ..*start })?;
        drive::events(&handler, events).await?;
        handler.end()?;
        *total = total_of(&std::fs::read_to_string(&profile)?)?;
    }
    let [few, many] = totals;
    Ok(many.saturating_sub(few) / u64::try_from(EVENTS[1] - EVENTS[0])?)
}

/// The sum that callgrind writes at the end of a profile.
fn total_of(profile: &str) -> Outcome<u64> {
    let mut lines = profile.lines().filter_map(|line| line.strip_prefix("totals:"));
    Ok(lines.next_back().ok_or("callgrind wrote no totals")?.trim().parse()?)
}
