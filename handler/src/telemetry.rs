//! Logs: to **stdout**, one record per line, JSON or text.
//!
//! The Functions host reads stdout as information and every line of stderr as an error, and knows nothing of levels;
//! so nothing but [`fatal`] errors goes there, and the level is a field of the record. Fields of the surrounding spans
//! (`invocation_id`, `function`, `trace_id`; `scoring`, `job`) are part of each record.

use std::borrow::Cow;
use std::io::{self, Write};
use std::process::ExitCode;

use lifecycle::redact::redacted;
use lifecycle::text::visible;
use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::config::{Log, LogFormat};

/// Installs the log for the whole process, panics included. Only the first call of a process has an effect.
pub fn start(log: &Log) {
    // Fails only if a log is there already.
    let _ = tracing::subscriber::set_global_default(subscriber(log, io::stdout));
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", panic_text(panic.payload()));
    }));
}

/// The log, written by `writer`: each record on one line and without secrets.
pub fn subscriber<W>(log: &Log, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Internal errors would be printed to stderr, which panics once the host and its pipes are gone.
    let fmt = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).log_internal_errors(false).with_ansi(false);
    let filter = log.filter.clone();
    match log.format {
        LogFormat::Json => {
            let json = fmt.json().flatten_event(true).with_current_span(false).with_span_list(true);
            Box::new(json.with_writer(Lines(writer)).finish().with(filter))
        }
        LogFormat::Text => Box::new(fmt.with_writer(Lines(writer)).finish().with(filter)),
    }
}

/// The log of a command that a person runs: warnings and errors on stderr, because stdout is the command's own page.
pub fn start_for_people() {
    let fmt = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).log_internal_errors(false).without_time();
    // Fails only if a log is there already.
    let _ = tracing::subscriber::set_global_default(fmt.with_target(false).with_writer(Lines(io::stderr)).finish());
}

/// Says on stderr why the process cannot start or go on, and gives its exit code. This is all that stderr is for: the
/// Functions host shows its last lines together with the code.
pub fn fatal(code: u8, why: &str) -> ExitCode {
    complain(why);
    ExitCode::from(code)
}

/// Says on stderr why the process can do nothing, although it goes on.
pub fn complain(why: &str) {
    for line in why.lines() {
        // Where nobody reads it, nothing is to be done.
        let _ = writeln!(io::stderr(), "scorekeeper: {}", visible(&redacted(line)));
    }
}

/// What a panic said.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}

/// Keeps every record on one line and without secrets: the host makes a record of each line, error texts of services hold
/// line ends, and at level `trace` libraries tell what they send.
struct Lines<M>(M);

/// Writer of one record.
struct OneLine<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Lines<M> {
    type Writer = OneLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// The formatter hands over a record by one call, its last byte a line end.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let body = record.strip_suffix(b"\n").unwrap_or(record);
        // All is text that a formatter wrote; copies are made only where something is to be changed.
        let text = std::str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
        let text = redacted(&text);
        let text = if text.contains(['\n', '\r']) { Cow::Owned(text.replace(['\n', '\r'], " ")) } else { text };
        // A log is read on terminals, too.
        let text = visible(&text);
        // By one call either way: two lines of two threads must not mix.
        if text.as_bytes() == body {
            self.0.write_all(record)?;
        } else {
            self.0.write_all(format!("{text}\n").as_bytes())?;
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic before").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_of_several_lines_is_written_as_one() {
        let kept = Kept::default();
        let make = kept.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Lines(move || make.clone())).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("the service said:\r\n<Error>\n</Error>\u{9b}2J\u{202e}");
            tracing::info!("next");
        });
        let text = String::from_utf8(kept.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().next().is_some_and(|line| line.contains(r"<Error> </Error>\u{9b}2J\u202e")), "{text}");
    }
}
