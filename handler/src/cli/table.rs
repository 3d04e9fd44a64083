//! Tables for people: as wide as their contents in a pipe, and on a terminal as wide as that.

use std::io::{self, Write};

use lifecycle::text::visible;

use super::view::shortened;

/// A column of a table for people: its heading, and how its values are cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    cut: Cut,
}

/// How a value gives way where the terminal is too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// It stays whole, however narrow the terminal is.
    No,
    /// Not at all, and it stands at the right: numbers.
    Right,
    /// Its beginning is enough for whoever reads it, down to so many characters: commands take the beginning of an id.
    End(usize),
    /// Its middle goes, down to so many characters: paths differ at their end.
    Middle(usize),
}

impl Column {
    /// What is short: a word, a time.
    pub(super) const fn whole(name: &'static str) -> Self {
        Self { name, cut: Cut::No }
    }

    /// A number: it stands at the right and is never cut.
    pub(super) const fn number(name: &'static str) -> Self {
        Self { name, cut: Cut::Right }
    }

    /// An id, of which its beginning is enough.
    pub(super) const fn id(name: &'static str) -> Self {
        Self { name, cut: Cut::End(10) }
    }

    /// A path, a URL, a sentence.
    pub(super) const fn long(name: &'static str, least: usize) -> Self {
        Self { name, cut: Cut::Middle(least) }
    }
}

/// Prints rows under their header. `width`: of the terminal; none: nothing has to fit.
pub(super) fn print(
    columns: &[Column],
    rows: &[Vec<String>],
    width: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|value| visible(value).into_owned()).collect()).collect();
    let widths = widths(columns, &rows, width);
    let header: Vec<String> = columns.iter().map(|column| column.name.to_owned()).collect();
    for row in std::iter::once(&header).chain(&rows) {
        let mut line = String::new();
        for ((value, column), width) in row.iter().zip(columns).zip(&widths) {
            let value = fitted(value, column.cut, *width);
            let padding = " ".repeat(width.saturating_sub(value.chars().count()));
            let cell = if column.cut == Cut::Right { padding + &value } else { value + &padding };
            line += &cell;
            line += "  ";
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn fitted(value: &str, cut: Cut, width: usize) -> String {
    match cut {
        Cut::End(_) => value.chars().take(width).collect(),
        Cut::Middle(_) => shortened(value, width),
        Cut::No | Cut::Right => value.to_owned(),
    }
}

/// As wide as the widest value; where that is too wide, the widest that can give way does.
fn widths(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<usize> {
    let longest = |index: usize| rows.iter().filter_map(|row| row.get(index)).map(|value| value.chars().count()).max();
    let natural = columns.iter().enumerate();
    let mut widths: Vec<usize> =
        natural.map(|(index, column)| longest(index).unwrap_or(0).max(column.name.chars().count())).collect();
    let Some(width) = width else { return widths };
    let between = 2 * columns.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + between > width {
        let least = |index: usize| match columns[index].cut {
            Cut::End(least) | Cut::Middle(least) => least,
            Cut::No | Cut::Right => usize::MAX,
        };
        let gives = (0..columns.len()).filter(|index| widths[*index] > least(*index));
        // An id is shortened first: nothing is lost by it.
        let next = gives.max_by_key(|index| (matches!(columns[*index].cut, Cut::End(_)), widths[*index]));
        let Some(next) = next else { break };
        widths[next] -= 1;
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(width: Option<usize>) -> String {
        let columns = [Column::id("ID"), Column::long("BLOB", 12), Column::number("ATTEMPT")];
        let rows = [
            ["0123456789abcdef", "claims/2026/07/21/a-long-name.csv", "1"],
            ["fedcba9876543210", "claims/\u{1b}b.csv", "12"],
        ];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        print(&columns, &rows, width, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pipe_gets_everything_and_a_terminal_what_fits_it() {
        let whole = "\
ID                BLOB                               ATTEMPT
0123456789abcdef  claims/2026/07/21/a-long-name.csv        1
fedcba9876543210  claims/\\u001bb.csv                      12
";
        assert_eq!(printed(None), whole);
        assert_eq!(printed(Some(200)), whole);
        let fits = "\
ID          BLOB                 ATTEMPT
0123456789  claims…ong-name.csv        1
fedcba9876  claims/\\u001bb.csv        12
";
        assert_eq!(printed(Some(40)), fits);
        let narrow = printed(Some(1));
        assert!(narrow.lines().all(|line| line.chars().count() == 33), "each column has its least: {narrow}");
    }
}
