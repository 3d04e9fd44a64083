//! How large the terminal is that stdout is, if it is one.

use std::io::IsTerminal as _;

use crate::config::{ProcessVars, Vars as _};

/// Characters of a line; none: it is no terminal, and nothing has to fit.
pub(super) fn columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    // As `COLUMNS` says, which a shell keeps and a person may set; else as the terminal does.
    let told = ProcessVars.get("COLUMNS").and_then(|text| text.trim().parse().ok());
    Some(told.or_else(|| size().map(|(columns, _)| columns)).filter(|columns| *columns > 0).unwrap_or(80))
}

/// Lines of the terminal behind standard output; `None` if there is none, or it does not tell.
pub(super) fn rows() -> Option<usize> {
    size().map(|(_, rows)| rows).filter(|rows| *rows > 0)
}

#[cfg(unix)]
fn size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some((size.ws_col.into(), size.ws_row.into()))
}

#[cfg(not(unix))]
fn size() -> Option<(usize, usize)> {
    None
}
