//! Log records for a collector: the same as on stdout, with ids as attributes and in the trace that they belong to.

use std::fmt::Debug;
use std::time::SystemTime;

use lifecycle::text::one_line;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, Severity};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Characters of a text that are kept: what waits to be sent has a bound.
const MAX_TEXT: usize = 4_000;

/// Hands records of our own to the SDK.
#[derive(Debug)]
pub(super) struct LogRecords(pub(super) SdkLogger);

/// What a span says of itself.
#[derive(Default)]
struct Members(Vec<(&'static str, AnyValue)>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogRecords {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut members = Members::default();
        attributes.record(&mut members);
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().insert(members);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id)
            && let Some(members) = span.extensions_mut().get_mut::<Members>()
        {
            values.record(members);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        if !super::is_ours(metadata.target()) {
            return;
        }
        let mut record = self.0.create_log_record();
        #[expect(clippy::disallowed_methods, reason = "a record is of the moment at which it is written")]
        record.set_timestamp(SystemTime::now());
        record.set_target(metadata.target());
        record.set_severity_text(metadata.level().as_str());
        record.set_severity_number(severity(*metadata.level()));
        for span in ctx.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(Members(members)) = span.extensions().get() {
                record.add_attributes(members.iter().cloned());
            }
        }
        let mut members = Members::default();
        event.record(&mut members);
        for (name, value) in members.0 {
            add(&mut record, name, value);
        }
        self.0.emit(record);
    }
}

fn add(record: &mut SdkLogRecord, name: &'static str, value: AnyValue) {
    if name == "message" {
        record.set_body(value);
    } else {
        record.add_attribute(name, value);
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::Trace,
        Level::DEBUG => Severity::Debug,
        Level::INFO => Severity::Info,
        Level::WARN => Severity::Warn,
        Level::ERROR => Severity::Error,
    }
}

impl Members {
    fn add(&mut self, field: &Field, value: impl Into<AnyValue>) {
        self.0.push((field.name(), value.into()));
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, one_line(value, MAX_TEXT));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, one_line(&format!("{value:?}"), MAX_TEXT));
    }
}
