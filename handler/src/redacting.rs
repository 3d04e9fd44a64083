//! A writer that lets no secret through, and nothing that a terminal would obey: the last net under everything that a
//! command prints.
//!
//! Each text is redacted where it is made; this catches what somebody forgot. It works line by line, as a secret that came
//! in two writes could not be known in either. A reader that goes away (`| head`) has seen enough, and is no failure: what comes
//! after that is dropped, so that a command still ends with the code of what it found. Control characters and those that turn the direction of writing become JSON's
//! escapes, so that JSON stays the same JSON; a line end within a name is the business of whoever prints the name.

use std::io::{self, Write};

use lifecycle::redact::redacted;
use lifecycle::text::visible_lines;

/// Writes whole lines without their secrets and control characters. What has no line end yet is written on [`flush`](Write::flush) or in the end.
#[derive(Debug)]
pub struct Redacting<W: Write> {
    inner: W,
    line: Vec<u8>,
    /// The reader has gone away (a broken pipe): whatever else is written is dropped, and that is no error.
    unread: bool,
    /// It is no text: nothing can be masked in it.
    is_binary: bool,
}

impl<W: Write> Redacting<W> {
    /// Has whole lines written to `inner`, each when its end has come.
    pub fn new(inner: W) -> Self {
        Self { inner, line: Vec::new(), unread: false, is_binary: false }
    }

    /// Writes to `inner` as it is what is no text, and was made without secrets.
    #[cfg(feature = "cli")]
    pub fn binary(inner: W) -> Self {
        Self { inner, line: Vec::new(), unread: false, is_binary: true }
    }

    fn write_line(&mut self) -> io::Result<()> {
        // Taken first: a line that cannot be written is not tried again in the end.
        let line = std::mem::take(&mut self.line);
        // The line end of RFC 4180: what moves a cursor back stands before what moves it on.
        let (line, end) = line.strip_suffix(b"\r\n").map_or((&line[..], ""), |line| (line, "\r\n"));
        self.unless_unread(|inner| {
            inner.write_all(visible_lines(&redacted(&String::from_utf8_lossy(line))).as_bytes())?;
            inner.write_all(end.as_bytes())
        })
    }

    fn unless_unread(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) -> io::Result<()> {
        if self.unread {
            return Ok(());
        }
        match write(&mut self.inner) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.unread = true;
                Ok(())
            }
            written => written,
        }
    }
}

impl<W: Write> Write for Redacting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_binary {
            self.unless_unread(|inner| inner.write_all(bytes))?;
            return Ok(bytes.len());
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_line()?;
        self.unless_unread(W::flush)
    }
}

impl<W: Write> Drop for Redacting<W> {
    fn drop(&mut self) {
        // Whoever must know of a failure has flushed.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        let mut kept = Vec::new();
        Redacting::new(&mut kept).write_all("a\u{1b}[2Jb\u{202e}c\n{\"d\": 1}\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(kept).unwrap(), "a\\u001b[2Jb\\u202ec\n{\"d\": 1}\n");
    }

    #[test]
    fn what_divides_values_is_written_as_it_is_and_a_return_within_a_line_is_not() {
        let mut kept = Vec::new();
        Redacting::new(&mut kept).write_all(b"a\tb\n\"c\rd\",e\r\n").unwrap();
        assert_eq!(String::from_utf8(kept).unwrap(), "a\tb\n\"c\\u000dd\",e\r\n");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure_and_any_other_is() {
        struct Refusing(io::ErrorKind);
        impl Write for Refusing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(self.0.into())
            }
        }
        let mut out = Redacting::new(Refusing(io::ErrorKind::BrokenPipe));
        out.write_all(b"a\nb\nc").unwrap();
        out.flush().unwrap();
        let full = Redacting::new(Refusing(io::ErrorKind::StorageFull)).write_all(b"a\n").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_secret_in_several_writes_is_masked_and_the_last_line_is_not_lost() {
        let mut kept = Vec::new();
        let mut out = Redacting::new(&mut kept);
        for part in ["see ?s", "ig=abc", "def&se=1\nBea", "rer X1y"] {
            out.write_all(part.as_bytes()).unwrap();
        }
        drop(out);
        assert_eq!(String::from_utf8(kept).unwrap(), "see ?sig=***&se=1\nBearer ***");
    }
}
