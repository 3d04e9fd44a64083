//! Rows as a Parquet file, a row group at a time: what is in memory is one group and the file's own table of contents.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Rows of one group: a reader skips groups, and a writer holds one.
const GROUP: usize = 10_000;

/// What a column holds. Every value may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text in UTF-8; a value that is not one is written as its JSON.
    Text,
    /// A whole number of 64 bits.
    Number,
    /// A time in UTC, in microseconds.
    Time,
}

/// Bytes of the file that are not written out yet. The writer of the format wants to own what it writes to, on any thread.
#[derive(Clone, Default)]
struct Unwritten(Arc<Mutex<Vec<u8>>>);

impl Unwritten {
    fn take(&self) -> Vec<u8> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Unwritten {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes rows as a Parquet file. It is one only after [`end`](Self::end).
pub(super) struct ParquetFile<'a> {
    columns: &'a [(&'a str, Kind)],
    rows: Vec<Value>,
    unwritten: Unwritten,
    writer: SerializedFileWriter<Unwritten>,
    out: &'a mut dyn Write,
}

impl<'a> ParquetFile<'a> {
    /// Begins it. `columns`: members of the rows, in this order.
    pub(super) fn new(columns: &'a [(&'a str, Kind)], out: &'a mut dyn Write) -> io::Result<Self> {
        let fields = columns.iter().map(|(name, kind)| {
            let (physical, logical) = match kind {
                Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
                Kind::Number => (Physical::INT64, None),
                Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
            };
            let field = Type::primitive_type_builder(name, physical);
            field.with_repetition(Repetition::OPTIONAL).with_logical_type(logical).build().map(Arc::new)
        });
        let fields = fields.collect::<Result<_, _>>().map_err(failed)?;
        let schema = Type::group_type_builder("scorings").with_fields(fields).build().map_err(failed)?;
        let unwritten = Unwritten::default();
        let properties = Arc::new(WriterProperties::builder().build());
        let writer = SerializedFileWriter::new(unwritten.clone(), Arc::new(schema), properties).map_err(failed)?;
        Ok(Self { columns, rows: Vec::new(), unwritten, writer, out })
    }

    /// Adds what `row` serializes to; it is written out only when a group is full, or with [`end`](Self::end).
    pub(super) fn write(&mut self, row: &impl Serialize) -> io::Result<()> {
        self.rows.push(serde_json::to_value(row)?);
        if self.rows.len() == GROUP { self.group() } else { Ok(()) }
    }

    /// Ends it: without its table of contents a file cannot be read.
    pub(super) fn end(mut self) -> io::Result<()> {
        if !self.rows.is_empty() {
            self.group()?;
        }
        self.writer.close().map_err(failed)?;
        self.out.write_all(&self.unwritten.take())
    }

    fn group(&mut self) -> io::Result<()> {
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for (name, kind) in self.columns {
            let values = self.rows.iter().map(|row| row.get(name).filter(|value| !value.is_null()));
            let written = match kind {
                Kind::Text => column::<ByteArrayType>(&mut group, values.map(|value| Some(text(value?)))),
                Kind::Number => column::<Int64Type>(&mut group, values.map(|value| value?.as_i64())),
                Kind::Time => column::<Int64Type>(&mut group, values.map(|value| micros(value?.as_str()?))),
            };
            written.map_err(failed)?;
        }
        group.close().map_err(failed)?;
        self.rows.clear();
        self.out.write_all(&self.unwritten.take())
    }
}

/// The next column of a group; `None`: there is no value.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Unwritten>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let (mut present, mut levels) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        present.extend(value);
    }
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    column.typed::<T>().write_batch(&present, Some(&levels), None)?;
    column.close()
}

fn text(value: &Value) -> ByteArray {
    match value {
        Value::String(text) => ByteArray::from(text.as_str()),
        other => ByteArray::from(other.to_string().into_bytes()),
    }
}

fn micros(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000).ok()
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::{Row, RowAccessor as _};
    use serde_json::json;

    const COLUMNS: [(&str, Kind); 3] = [("id", Kind::Text), ("bytes", Kind::Number), ("createdTime", Kind::Time)];

    fn file(rows: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut file = ParquetFile::new(&COLUMNS, &mut out).unwrap();
        for n in 0..rows {
            let bytes = (n % 2 == 0).then_some(n);
            file.write(&json!({"id": format!("s{n}"), "bytes": bytes, "createdTime": "2026-07-21T10:00:00.25Z"}))
                .unwrap();
        }
        file.end().unwrap();
        out
    }

    #[test]
    fn a_file_is_read_back_with_its_types_and_what_is_missing() {
        let reader = SerializedFileReader::new(bytes::Bytes::from(file(2))).unwrap();
        let rows: Vec<Row> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!((rows[0].get_string(0).unwrap().as_str(), rows[0].get_long(1).unwrap()), ("s0", 0));
        assert!(rows[1].get_long(1).is_err(), "it is missing: {}", rows[1]);
        assert_eq!(rows[0].get_timestamp_micros(2).unwrap(), 1_784_628_000_250_000);
        let schema = reader.metadata().file_metadata().schema_descr();
        let time = schema.column(2).logical_type_ref().cloned();
        assert_eq!(time, Some(LogicalType::timestamp(true, TimeUnit::MICROS)));
    }

    #[test]
    fn an_empty_file_is_one_and_a_long_one_has_several_groups() {
        let groups = |rows| {
            let metadata = SerializedFileReader::new(bytes::Bytes::from(file(rows))).unwrap().metadata().clone();
            (metadata.num_row_groups(), metadata.file_metadata().num_rows())
        };
        assert_eq!(groups(0), (0, 0));
        assert_eq!(groups(GROUP + 1), (2, 10_001));
    }
}
