//! `cargo xtask budget`: what the packaged executable may cost.
//!
//! Sizes and memory are the same on any machine. The one time among them is the best of many starts, so that a machine that
//! has other work does not fail it.

use std::{fs, path::PathBuf, time::Duration};

use crate::{
    builds::EXECUTABLE,
    failure::{Failure, Result, cannot},
    handler_process::{Answer, Handler, Resident},
    workspace,
};

/// What the packaged executable costs, against its budget.
///
/// Size, time from exec to the first 200, resident memory when idle and at a body of 16 MiB, events per delivery. Fails if
/// one of them is exceeded. Run `cargo xtask package` before.
#[derive(Debug, clap::Args)]
pub(crate) struct Budget {
    /// The executable; default target/app/scorekeeper.
    executable: Option<PathBuf>,
}

const MEGABYTE: u64 = 1_000_000;
const MEBIBYTE: u64 = 1 << 20;

/// It is copied to each new instance before anything runs there.
const MAX_BINARY: u64 = 12 * MEGABYTE;
/// Before the first event, all functions ready.
const MAX_IDLE: u64 = 10 * MEGABYTE;
/// From exec to the first 200.
const MAX_START: Duration = Duration::from_millis(5);
/// Whoever can reach the handler decides what is in a body, so this is for the worst one, the process itself included.
const MAX_AT_LARGE_BODY: u64 = 64 * MEBIBYTE;
/// Events of one delivery; Event Grid sends no more.
const MAX_EVENTS: usize = 5_000;

/// The best of so many counts.
const STARTS: usize = 30;
const LARGE_BODY: usize = 16 << 20;
/// Tables at a port where nobody listens: the handler asks for nothing before the first event.
const NO_LEDGER: &str = "http://127.0.0.1:9/devstoreaccount1";

/// One measured figure beside its limit, both as texts with their unit.
struct Figure {
    name: String,
    measured: String,
    limit: String,
    exceeded: bool,
}

impl Figure {
    fn bytes(name: impl Into<String>, measured: u64, limit: u64) -> Self {
        Self { name: name.into(), measured: megabytes(measured), limit: megabytes(limit), exceeded: measured > limit }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{:02} MB", bytes / MEGABYTE, bytes % MEGABYTE / 10_000)
}

pub(super) fn run(Budget { executable }: Budget) -> Result<()> {
    let executable = executable.unwrap_or_else(|| workspace::target().join("app").join(EXECUTABLE));
    let folder = tempfile::tempdir().map_err(|cause| Failure::because("cannot create a folder", cause))?;
    let size = fs::metadata(&executable).map_err(cannot("read", &executable))?.len();
    let mut figures = vec![Figure::bytes("binary", size, MAX_BINARY)];

    let (mut start, mut idle) = (Duration::MAX, 0);
    for _ in 0..STARTS {
        let handler = Handler::start(&executable, folder.path(), NO_LEDGER)?;
        start = start.min(handler.started_in);
        // Answered only when all functions are there.
        expected(&handler.post("NoFunction", "{}")?, 404, "no function is at")?;
        idle = idle.max(handler.resident()?.now);
    }
    figures.push(Figure {
        name: format!("exec to the first 200, best of {STARTS}"),
        measured: format!("{:.1} ms", start.as_secs_f64() * 1e3),
        limit: format!("{:.1} ms", MAX_START.as_secs_f64() * 1e3),
        exceeded: start > MAX_START,
    });
    figures.push(Figure::bytes(format!("resident when idle, most of {STARTS}"), idle, MAX_IDLE));

    for (name, value) in too_many_events() {
        let handler = Handler::start(&executable, folder.path(), NO_LEDGER)?;
        expected(&handler.post("BlobCreated", &envelope(&value))?, 500, "TooManyEvents")?;
        let Resident { peak, .. } = handler.resident()?;
        figures.push(Figure::bytes(format!("resident at {name}"), peak, MAX_AT_LARGE_BODY));
    }
    // It is read, and no rule wants its container; that it is skipped cannot be kept.
    let handler = Handler::start(&executable, folder.path(), NO_LEDGER)?;
    let answer = handler.post("BlobCreated", &envelope(&one_large_event()))?;
    expected(&answer, 500, "NotTaken")?;
    let Resident { peak, .. } = handler.resident()?;
    figures.push(Figure::bytes("resident at one event of 16 MiB", peak, MAX_AT_LARGE_BODY));

    for Figure { name, measured, limit, exceeded } in &figures {
        println!("{name:44} {measured:>10}   {} {limit}", if *exceeded { "EXCEEDS" } else { "of at most" });
    }
    println!("{:44} {:>10}", "events of one delivery", format!("{MAX_EVENTS} at most"));
    let exceeded: Vec<_> = figures.iter().filter(|figure| figure.exceeded).map(|figure| figure.name.as_str()).collect();
    if exceeded.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} exceeds its budget: {}", executable.display(), exceeded.join("; "))))
}

/// An answer that is not the expected one means that something else was measured.
fn expected(answer: &Answer, status: u16, text: &str) -> Result<()> {
    if answer.status == status && answer.body.contains(text) {
        return Ok(());
    }
    Err(Failure::new(format!("expected an answer {status} with `{text}`, not {}: {}", answer.status, answer.body)))
}

fn envelope(value: &str) -> String {
    format!(r#"{{"Data":{{"event":{value}}},"Metadata":{{}}}}"#)
}

fn event(padding: &str) -> String {
    format!(
        r#"{{"id":"1","eventType":"Microsoft.Storage.BlobCreated","subject":"/blobServices/default/containers/other/blobs/a.csv","eventTime":"2026-07-21T10:00:00Z","data":{{"api":"PutBlob","eTag":"0x1","contentLength":1,"url":"https://uploads.blob.core.windows.net/other/a.csv","padding":{padding}}}}}"#
    )
}

/// A list of one item, so often.
fn list(item: &str, times: usize) -> String {
    format!("[{}]", vec![item; times].join(","))
}

/// Deliveries of more events than one may hold: just one more, and as many as a body of 16 MiB can, also as a string that
/// holds the JSON, which is how the host hands on all but objects.
fn too_many_events() -> [(&'static str, String); 4] {
    let event = event("0");
    let escaped = serde_json::Value::from(event.as_str()).to_string();
    let escaped = &escaped[1..escaped.len() - 1];
    let full = |item: &str| list(item, LARGE_BODY / (item.len() + 1));
    [
        ("one event too many", list(&event, MAX_EVENTS + 1)),
        ("16 MiB of numbers", full("0")),
        ("16 MiB of small events", full(&event)),
        ("16 MiB of small events in a string", format!("\"{}\"", full(escaped))),
    ]
}

fn one_large_event() -> String {
    event(&list("0", LARGE_BODY / 2))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_bodies_are_json_of_the_announced_size() {
        for (name, value) in too_many_events() {
            let mut read: Value = serde_json::from_str(&value).unwrap();
            if let Value::String(inner) = &read {
                read = serde_json::from_str(inner).unwrap();
            }
            assert!(read.as_array().is_some_and(|events| events.len() > MAX_EVENTS), "{name}");
            assert!(!name.contains("16 MiB") || value.len() > LARGE_BODY - 1_000, "{name}");
        }
        let one: Value = serde_json::from_str(&one_large_event()).unwrap();
        assert!(one["data"]["padding"].as_array().is_some_and(|list| list.len() > 8_000_000));
    }

    #[test]
    fn what_is_over_its_limit_is_marked() {
        assert!(!Figure::bytes("binary", MAX_BINARY, MAX_BINARY).exceeded);
        assert!(Figure::bytes("binary", MAX_BINARY + 1, MAX_BINARY).exceeded);
        assert_eq!(megabytes(12_345_678), "12.34 MB");
    }

    #[test]
    fn an_unexpected_answer_is_no_measurement() {
        let answer = Answer { status: 500, body: r#"{"errorType":"NotTaken"}"#.to_owned() };
        assert!(expected(&answer, 500, "NotTaken").is_ok());
        assert!(expected(&answer, 500, "TooManyEvents").is_err());
        assert!(expected(&answer, 404, "NotTaken").is_err());
    }
}
