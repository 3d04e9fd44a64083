//! Each record on one line and without secrets, whoever formats it.

use std::borrow::Cow;
use std::io::{self, Write};

use lifecycle::redact::redacted;
use lifecycle::text::{is_printable_ascii, visible};
use tracing_subscriber::fmt::MakeWriter;

/// Keeps every record on one line and without secrets: the host makes a record of each line, error texts of services hold
/// line ends, and at level `trace` libraries tell what they send.
pub(super) struct Lines<M>(pub(super) M);

/// Writes one record as one line, without secrets.
pub(super) struct OneLine<W>(W);

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
        let mut text = redacted(&text);
        if !is_printable_ascii(&text) {
            // A log is read on terminals, too.
            text = Cow::Owned(visible(&text.replace(['\n', '\r'], " ")).into_owned());
        }
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
