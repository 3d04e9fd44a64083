//! Logs: to **stdout**, one record per line, JSON or text. And, if the settings name a collector, spans, metrics and logs to there.
//!
//! The Functions host reads stdout as information and every line of stderr as an error, and knows nothing of levels;
//! so nothing but [`fatal`] errors goes there, and the level is a field of the record. Fields of the surrounding spans
//! (`invocation_id`, `function`, `trace_id`) are members of each record.
//!
//! Nobody waits for a collector: what it is to get goes into queues with a bound, tasks of their own send it, and what does not fit is
//! dropped and counted ([`otlp`]).

mod json;
mod lines;
mod log_records;
mod measures;
mod otlp;
mod queue;

use std::io::{self, Write};
use std::process::ExitCode;

use app::{measures as measured, spans};
use lifecycle::TraceContext;
use lifecycle::redact::redacted;
use lifecycle::text::visible;
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;

use self::json::{Json, Members};
use self::lines::Lines;
use self::otlp::Collector;
use crate::config::{Log, LogFormat, Otlp};

/// What is sent to a collector, until the end of the process; nothing, if the settings name none.
#[must_use = "what waits to be sent is lost unless it is ended"]
pub struct Exporting(Option<Collector>);

impl Exporting {
    /// Sends what waits, for so long at most.
    pub async fn end(self, within: std::time::Duration) {
        if let Some(collector) = self.0 {
            collector.end(within).await;
        }
    }
}

/// Why nothing can be sent to the collector that the settings name.
#[derive(Debug, thiserror::Error)]
#[error("OpenTelemetry cannot be started")]
pub struct NotStarted(#[from] opentelemetry_otlp::ExporterBuildError);

/// Installs the log for the whole process, panics included, and what sends to a collector on this runtime. Only the first call of
/// a process has an effect.
///
/// A collector that cannot be used costs telemetry and nothing else; the log says so.
pub fn start(log: &Log, otlp: Option<&Otlp>, runtime: &Handle) -> Exporting {
    let (subscriber, exporting, failed) = match otlp.map(|otlp| Collector::new(otlp, runtime)) {
        None => (subscriber(log, io::stdout), None, None),
        Some(Ok(collector)) => (traced(log, io::stdout, &collector), Some(collector), None),
        Some(Err(failed)) => (subscriber(log, io::stdout), None, Some(NotStarted(failed))),
    };
    // Fails only if a log is there already.
    let _ = tracing::subscriber::set_global_default(subscriber);
    if let Some(failed) = failed {
        tracing::warn!(error = %lifecycle::text::error_chain(&failed), "nothing is sent to the collector");
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", panic_text(panic.payload()));
    }));
    Exporting(exporting)
}

/// The log, written by `writer`: each record on one line and without secrets.
pub fn subscriber<W>(log: &Log, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A filter of all and not of one layer: what nobody asks for costs the comparison of a level.
    Box::new(tracing_subscriber::registry().with(written(log, writer)).with(filter(log)))
}

/// The same, with all that a collector gets.
fn traced<W>(log: &Log, writer: W, collector: &Collector) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Of spans that are in the log those of invocations are in traces, too.
    let spans = |metadata: &tracing::Metadata<'_>| {
        metadata.is_span() && (metadata.target() == spans::TARGET || is_ours(metadata.target()))
    };
    let layer = tracing_opentelemetry::layer().with_location(false).with_threads(false).with_target(false);
    let layer = layer.with_tracked_inactivity(false).with_tracer(collector.tracer());
    let measures = Targets::new().with_target(measured::TARGET, LevelFilter::TRACE);
    let subscriber = tracing_subscriber::registry()
        .with(written(log, writer).with_filter(filter(log)))
        .with(layer.with_filter(filter_fn(spans)))
        .with(collector.log_records().with_filter(filter(log)))
        .with(collector.measures().with_filter(measures));
    Box::new(subscriber)
}

/// What is logged; never the spans and events that are there for a collector alone.
fn filter(log: &Log) -> Targets {
    let filter = log.filter.clone();
    filter.with_target(spans::TARGET, LevelFilter::OFF).with_target(measured::TARGET, LevelFilter::OFF)
}

fn written<W>(log: &Log, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // Internal errors would be printed to stderr, which panics once the host and its pipes are gone.
    let fmt = tracing_subscriber::fmt::layer().log_internal_errors(false).with_ansi(false).with_writer(Lines(writer));
    match log.format {
        LogFormat::Json => Box::new(fmt.event_format(Json).fmt_fields(Members)),
        LogFormat::Text => Box::new(fmt),
    }
}

/// Whether code of ours says it. What libraries say stays out of what is exported: what one says of an export would be exported.
fn is_ours(target: &str) -> bool {
    const CRATES: [&str; 6] = ["app", "azure", "doctor", "handler", "lifecycle", "stores"];
    target.split("::").next().is_some_and(|name| CRATES.contains(&name))
}

/// Puts an invocation's span below the one that the host told of. Where nobody traces, the log has the trace's id all the same.
pub(crate) fn continue_trace(span: &Span, host: Option<&TraceContext>) {
    let Some(host) = host else { return };
    if span.set_parent(spans::remote(*host)).is_err() {
        span.record("trace_id", host.trace_id_text());
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

/// The message of a panic; `(no text)` if it was given something else than a text.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}
