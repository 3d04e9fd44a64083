//! A log record as one JSON object, with all ids at its top level: what reads logs finds them without knowing of spans.
//!
//! tracing-subscriber's own format puts each span into a list below the record, and reads the text of each span back as JSON for each
//! record to do so.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats records: `timestamp`, `level`, members of the spans around it, `trace_id` and `span_id` where it is traced, members of the
/// event (`message` among them), `target`.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut at = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut at))?;
        let mut line = Vec::with_capacity(1_024);
        for part in [r#"{"timestamp":""#, &at, r#"","level":""#, event.metadata().level().as_str(), r#"","#] {
            line.extend_from_slice(part.as_bytes());
        }
        for span in ctx.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(members) = span.extensions().get::<FormattedFields<N>>() {
                line.extend_from_slice(members.fields.as_bytes());
            }
        }
        if let Some(here) = app::spans::current() {
            let ids = format!(r#""trace_id":"{}","span_id":"{}","#, here.trace_id_text(), here.span_id_text());
            line.extend_from_slice(ids.as_bytes());
        }
        event.record(&mut Object(&mut line));
        line.extend_from_slice(br#""target":"#);
        push(&mut line, event.metadata().target());
        line.extend_from_slice(b"}\n");
        write(writer, &line)
    }
}

/// Formats the fields of a span as members of an object, each with a comma behind it.
pub(super) struct Members;

impl<'writer> FormatFields<'writer> for Members {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut members = Vec::new();
        fields.record(&mut Object(&mut members));
        write(writer, &members)
    }
}

/// Writes each field as a member.
struct Object<'a>(&'a mut Vec<u8>);

impl Object<'_> {
    fn member(&mut self, field: &Field, value: &(impl serde::Serialize + ?Sized)) {
        push(self.0, field.name().trim_start_matches("r#"));
        self.0.push(b':');
        push(self.0, value);
        self.0.push(b',');
    }
}

impl Visit for Object<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, &format_args!("{value:?}"));
    }
}

/// A text, number or truth as JSON, which each of them always is unless it fails to be shown.
fn push(line: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    let before = line.len();
    if serde_json::to_writer(&mut *line, value).is_err() {
        line.truncate(before);
        line.extend_from_slice(b"null");
    }
}

fn write(mut writer: Writer<'_>, members: &[u8]) -> fmt::Result {
    writer.write_str(std::str::from_utf8(members).map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::field;

    use crate::config::{Log, LogFormat};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic before").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_object_with_the_ids_of_its_spans_at_the_top() {
        let kept = Kept::default();
        let make = kept.clone();
        let log = Log { filter: "info".parse().expect("a filter"), format: LogFormat::Json };
        let subscriber = super::super::subscriber(&log, move || make.clone());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("invocation", invocation_id = "6a\"5b", trace_id = field::Empty);
            span.record("trace_id", "0af7");
            span.in_scope(|| tracing::info!(n = 3, good = true, half = 0.5, why = ?"x", "said \"{}\"", 1));
            tracing::warn!(n = -1);
        });
        let text = String::from_utf8(kept.0.lock().expect("no panic").clone()).expect("text");
        let mut records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        for record in &mut records {
            assert!(record["timestamp"].take().as_str().is_some_and(|at| at.ends_with('Z')), "{record}");
        }
        assert_eq!(
            records[0],
            json!({"timestamp": null, "level": "INFO", "invocation_id": "6a\"5b", "trace_id": "0af7", "message": "said \"1\"",
                "n": 3, "good": true, "half": 0.5, "why": "\"x\"", "target": module_path!()})
        );
        assert_eq!(records[1], json!({"timestamp": null, "level": "WARN", "n": -1, "target": module_path!()}));
    }
}
