//! The commands that a command suggests: each finds the ledger that this one was given.

use std::io::{self, Write};

use crate::config::WhichLedger;

/// Prints a text for people line by line, each command in it with the options that name the ledger. What is for scripts goes past it.
pub(super) struct Suggesting<'a> {
    out: &'a mut dyn Write,
    which: &'a WhichLedger,
    /// What was written of a line that has not ended.
    line: Vec<u8>,
}

impl<'a> Suggesting<'a> {
    pub(super) fn new(out: &'a mut dyn Write, which: &'a WhichLedger) -> Self {
        Self { out, which, line: Vec::new() }
    }

    fn pass_on(&mut self, through: usize) -> io::Result<()> {
        let lines: Vec<u8> = self.line.drain(..through).collect();
        match std::str::from_utf8(&lines) {
            Ok(text) => self.out.write_all(self.which.named_in(text).as_bytes()),
            Err(_) => self.out.write_all(&lines),
        }
    }
}

impl Write for Suggesting<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(text);
        if let Some(newline) = self.line.iter().rposition(|byte| *byte == b'\n') {
            self.pass_on(newline + 1)?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on(self.line.len())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_named_once_however_its_line_is_written() {
        let which = WhichLedger { data: Some("d".into()), ..WhichLedger::default() };
        let mut out = Vec::new();
        let mut told = Suggesting::new(&mut out, &which);
        for piece in
            ["  scorekeeper brea", "ker close --rule r\nthen scorekeeper ", "list --data d\n\u{fc}, scorekeeper show 1"]
        {
            told.write_all(piece.as_bytes()).unwrap();
        }
        told.flush().unwrap();
        let expected = "  scorekeeper breaker --data d close --rule r\nthen scorekeeper list --data d\n\u{fc}, scorekeeper show --data d 1";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
