//! The forms in which lists are printed. Names of columns are those of the members in JSON.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people; long values are shortened
    #[default]
    Table,
    /// For people; nothing is shortened
    Wide,
    /// One JSON array
    Json,
    /// One JSON object on each line
    Jsonl,
    /// Comma-separated values with a header (RFC 4180)
    Csv,
    /// Values between tabs with a header; tabs and line ends within them are shown as `\\t` and `\\n`
    Tsv,
}

/// Prints rows one after another, in any form but a table or one array.
pub struct RowWriter<'a> {
    format: Format,
    columns: &'a [&'a str],
    out: &'a mut dyn Write,
}

impl<'a> RowWriter<'a> {
    /// Begins with the header, if the form has one. `columns`: members of the rows, in this order; of JSON lines all are printed.
    pub fn new(format: Format, columns: &'a [&'a str], out: &'a mut dyn Write) -> io::Result<Self> {
        let mut writer = Self { format, columns, out };
        if format != Format::Jsonl {
            let header: Vec<_> = columns.iter().map(|name| (*name).to_owned()).collect();
            writer.line(&header)?;
        }
        Ok(writer)
    }

    /// Prints one row: the members of what `row` serializes to that the columns name, or with JSON lines all of it.
    pub fn write(&mut self, row: &impl Serialize) -> io::Result<()> {
        if self.format == Format::Jsonl {
            serde_json::to_writer(&mut *self.out, row)?;
            return writeln!(self.out);
        }
        let values = values(row, self.columns)?;
        self.line(&values)
    }

    fn line(&mut self, values: &[String]) -> io::Result<()> {
        let (between, quoted): (_, fn(&str) -> Cow<'_, str>) = match self.format {
            Format::Csv => (",", csv),
            Format::Tsv => ("\t", tsv),
            Format::Table | Format::Wide | Format::Json | Format::Jsonl => ("  ", tsv),
        };
        let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
        let end = if self.format == Format::Csv { "\r\n" } else { "\n" };
        write!(self.out, "{}{end}", values.join(between))
    }
}

/// The members of a row that are columns, as texts.
pub(super) fn values(row: &impl Serialize, columns: &[&str]) -> io::Result<Vec<String>> {
    let row = serde_json::to_value(row)?;
    Ok(columns.iter().map(|name| text(row.get(name))).collect())
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn csv(value: &str) -> Cow<'_, str> {
    if value.contains(['"', ',', '\r', '\n']) {
        Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(value)
    }
}

fn tsv(value: &str) -> Cow<'_, str> {
    if value.contains(['\t', '\r', '\n', '\\']) {
        let escaped = value.replace('\\', "\\\\").replace('\t', "\\t").replace('\r', "\\r").replace('\n', "\\n");
        Cow::Owned(escaped)
    } else {
        Cow::Borrowed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_with_separators_are_quoted_and_a_missing_one_is_empty() {
        let row = json!({"id": "1", "path": "a,\"b\"\tc\nd", "attempt": 2, "error": null});
        let columns = ["id", "path", "attempt", "error", "job"];
        for (format, expected) in [
            (Format::Csv, "id,path,attempt,error,job\r\n1,\"a,\"\"b\"\"\tc\nd\",2,,\r\n"),
            (Format::Tsv, "id\tpath\tattempt\terror\tjob\n1\ta,\"b\"\\tc\\nd\t2\t\t\n"),
        ] {
            let mut out = Vec::new();
            RowWriter::new(format, &columns, &mut out).unwrap().write(&row).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        RowWriter::new(Format::Jsonl, &columns, &mut out).unwrap().write(&row).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), row);
        assert_eq!(out.split(|byte| *byte == b'\n').count(), 2);
    }
}
