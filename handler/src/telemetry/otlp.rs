//! OpenTelemetry's protocol: spans, log records and metrics go to a collector as protobuf over the HTTP client that all calls have.

use std::sync::Arc;
use std::time::Duration;

use app::measures::LOST;
use async_trait::async_trait;
use bytes::Bytes;
use lifecycle::text::one_line;
use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{Status, TracerProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::log_records::LogRecords;
use super::measures::Measures;
use super::queue::{CAPACITY, Queue, Sending, queue};
use crate::config::Otlp;

/// Name of what we measure and trace with.
const SCOPE: &str = "scorekeeper";
/// Before the one further try of an export that found nobody.
const PAUSE: Duration = Duration::from_millis(500);
/// Characters of an attribute that are kept.
const MAX_TEXT: usize = 2_000;
/// No answer of a collector is longer.
const MAX_ANSWER: usize = 64 * 1024;

/// A collector, and what goes there.
pub(super) struct Collector {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    loggers: SdkLoggerProvider,
    sending: [Sending; 2],
}

impl Collector {
    /// Starts to send on `runtime`. Nobody is asked before something is to be sent.
    pub(super) fn new(otlp: &Otlp, runtime: &Handle) -> Result<Self, ExporterBuildError> {
        let resource = resource(otlp);
        let client: Arc<dyn HttpClient> = Arc::new(Carrier { runtime: runtime.clone(), limit: otlp.timeout });
        let mut spans = to(SpanExporter::builder().with_http(), otlp, "v1/traces", &client).build()?;
        let mut logs = to(LogExporter::builder().with_http(), otlp, "v1/logs", &client).build()?;
        let metrics = to(MetricExporter::builder().with_http(), otlp, "v1/metrics", &client).build()?;
        spans.set_resource(&resource);
        logs.set_resource(&resource);
        let spans = Arc::new(spans);
        let (span_queue, sending_spans) = queue(("spans", CAPACITY), otlp.timeout, runtime, move |batch| {
            let spans = Arc::clone(&spans);
            async move { spans.export(without_secrets(batch)).await }
        });
        let logs = Arc::new(logs);
        let (log_queue, sending_logs) = queue(("log records", CAPACITY), otlp.timeout, runtime, move |batch| {
            let logs = Arc::clone(&logs);
            async move { export_logs(&logs, batch).await }
        });
        let sending = [sending_spans, sending_logs];
        let meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(PeriodicReader::builder(metrics).build())
            .build();
        count_losses(&meters, &sending);
        Ok(Self {
            tracers: SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_span_processor(SpanQueue(span_queue))
                .build(),
            meters,
            loggers: SdkLoggerProvider::builder()
                .with_resource(resource)
                .with_log_processor(LogQueue(log_queue))
                .build(),
            sending,
        })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.tracers.tracer(SCOPE)
    }

    pub(super) fn log_records(&self) -> LogRecords {
        let logger: SdkLogger = self.loggers.logger(SCOPE);
        LogRecords(logger)
    }

    pub(super) fn measures(&self) -> Measures {
        Measures::new(&self.meters.meter(SCOPE))
    }

    /// Sends what waits, for so long at most: what is not sent then is lost. The process was to end, and the host does not wait.
    pub(super) async fn end(self, within: Duration) {
        let Self { meters, sending: [spans, logs], .. } = self;
        // The SDK's own end blocks, and knows no bound that it keeps.
        let metrics = tokio::task::spawn_blocking(move || meters.shutdown());
        // Said nowhere: the log has ended, too.
        let _ = timeout(within, futures::future::join3(spans.end(), logs.end(), metrics)).await;
    }
}

/// Where a signal goes, and how.
fn to<B: WithExportConfig + WithHttpConfig>(builder: B, otlp: &Otlp, path: &str, client: &Arc<dyn HttpClient>) -> B {
    builder
        .with_endpoint(format!("{}/{path}", otlp.endpoint.as_str().trim_end_matches('/')))
        .with_timeout(otlp.timeout)
        .with_shared_http_client(Arc::clone(client))
        // The SDK's pauses would keep a thread of the runtime; the one try more is the client's.
        .with_retry_policy(RetryPolicy::disabled())
}

/// Who sends it. What `OTEL_RESOURCE_ATTRIBUTES` says comes last, so that it counts.
fn resource(otlp: &Otlp) -> Resource {
    let mut attributes = vec![
        KeyValue::new("service.name", otlp.service.clone()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    attributes.extend(otlp.instance.clone().map(|instance| KeyValue::new("service.instance.id", instance)));
    attributes.extend(otlp.resource_id.clone().map(|id| KeyValue::new("cloud.resource_id", id)));
    Resource::builder_empty().with_attributes(attributes).with_detector(Box::new(EnvResourceDetector::new())).build()
}

fn count_losses(meters: &SdkMeterProvider, sending: &[Sending; 2]) {
    let [spans, logs] = sending;
    let losses = [("traces", Arc::clone(&spans.losses)), ("logs", Arc::clone(&logs.losses))];
    // The provider keeps it.
    let _ = meters
        .meter(SCOPE)
        .u64_observable_counter(LOST.name)
        .with_unit(LOST.unit)
        .with_description(LOST.about)
        .with_callback(move |observer| {
            for (signal, losses) in &losses {
                for (reason, count) in losses.by_reason() {
                    observer.observe(count, &[KeyValue::new("signal", *signal), KeyValue::new("reason", reason)]);
                }
            }
        })
        .build();
}

async fn export_logs(exporter: &LogExporter, batch: Vec<(SdkLogRecord, InstrumentationScope)>) -> OTelSdkResult {
    let records: Vec<_> = batch.iter().map(|(record, scope)| (record, scope)).collect();
    exporter.export(LogBatch::new(&records)).await
}

/// The same spans as they may be seen. Here and not where they are made: this is the one way out, and nobody waits for it.
fn without_secrets(mut batch: Vec<SpanData>) -> Vec<SpanData> {
    for span in &mut batch {
        clean(&mut span.attributes);
        for event in &mut span.events.events {
            clean(&mut event.attributes);
        }
        if let Status::Error { description } = &mut span.status {
            *description = one_line(description, MAX_TEXT).into();
        }
    }
    batch
}

fn clean(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        if let Value::String(text) = &attribute.value {
            attribute.value = one_line(text.as_str(), MAX_TEXT).into();
        }
    }
}

/// Spans that ended, on their way into the queue.
#[derive(Debug)]
struct SpanQueue(Queue<SpanData>);

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.put(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Log records on their way into the queue.
#[derive(Debug)]
struct LogQueue(Queue<(SdkLogRecord, InstrumentationScope)>);

impl LogProcessor for LogQueue {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.0.put((record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Carries exports by the process's client, on the runtime's threads whoever asks: the SDK's reader of metrics has a thread of its own.
#[derive(Debug)]
struct Carrier {
    runtime: Handle,
    limit: Duration,
}

#[async_trait]
impl HttpClient for Carrier {
    async fn send_bytes(
        &self,
        request: opentelemetry_http::Request<Bytes>,
    ) -> Result<opentelemetry_http::Response<Bytes>, HttpError> {
        let limit = self.limit;
        let carried = async move { timeout(limit, carry(request)).await? };
        self.runtime.spawn(carried).await?
    }
}

/// Sends an export, and once more if nobody was there or too much came at once: a collector that restarts costs nothing.
async fn carry(request: opentelemetry_http::Request<Bytes>) -> Result<opentelemetry_http::Response<Bytes>, HttpError> {
    let request = reqwest::Request::try_from(request)?;
    // Without a span of its own: each export would lead to the next.
    let sent = match request.try_clone() {
        Some(first) => match azure::http::client().execute(first).await {
            Ok(answer) if !matches!(answer.status().as_u16(), 429 | 502..=504) => Ok(answer),
            _ => {
                sleep(PAUSE).await;
                azure::http::client().execute(request).await
            }
        },
        None => azure::http::client().execute(request).await,
    };
    let mut answer = sent.map_err(reqwest::Error::without_url)?;
    let mut response = opentelemetry_http::Response::new(Bytes::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    *response.body_mut() = body.into();
    Ok(response)
}
