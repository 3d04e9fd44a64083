//! A collector of OpenTelemetry on loopback, written against the protocol's own messages; and a tap, through which requests go to a
//! service while their `traceparent` is kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Texts by name.
pub type Attributes = BTreeMap<String, String>;

/// A span as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub attributes: Attributes,
    /// Traces that it links to.
    pub links: Vec<String>,
}

/// A log record as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    pub trace: String,
    pub body: String,
    pub attributes: Attributes,
}

/// The newest value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub value: f64,
    /// Values that it was made of, for histograms; else 1.
    pub count: u64,
}

/// Everything that was sent.
#[derive(Debug, Clone, Default)]
pub struct Received {
    pub spans: Vec<Span>,
    pub logs: Vec<LogRecord>,
    /// Series by name and attributes.
    pub metrics: BTreeMap<(String, Attributes), Point>,
    /// Units by name.
    pub units: BTreeMap<String, String>,
    /// Of all that sent something.
    pub resource: Attributes,
    /// Bodies as they came, as texts: whatever is in them is in here.
    pub raw: String,
}

impl Received {
    /// The spans of a trace.
    pub fn of_trace(&self, trace: &str) -> Vec<&Span> {
        self.spans.iter().filter(|span| span.trace == trace).collect()
    }

    /// The sum over all series of a metric.
    pub fn sum(&self, name: &str) -> f64 {
        self.metrics.iter().filter(|((of, _), _)| of == name).map(|(_, point)| point.value).sum()
    }
}

/// What a collector does with what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Takes,
    Refuses,
    /// Reads and never answers.
    Hangs,
}

/// A collector. It ends with this value.
pub struct Collector {
    address: SocketAddr,
    received: watch::Receiver<Received>,
    serving: tokio::task::JoinHandle<()>,
}

impl Collector {
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = watch::channel(Received::default());
        let router = Router::new().fallback(take).with_state(Arc::new((sender, behaviour)));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, received, serving }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until what was received is as wanted, a minute at most.
    pub async fn until(&self, wanted: impl Fn(&Received) -> bool) -> Received {
        let mut received = self.received.clone();
        let waiting = received.wait_for(&wanted);
        let Ok(found) = tokio::time::timeout(Duration::from_secs(60), waiting).await else {
            panic!("not within a minute; received: {:#?}", without_raw(&self.received.borrow()));
        };
        found.unwrap().clone()
    }

    pub fn received(&self) -> Received {
        self.received.borrow().clone()
    }
}

fn without_raw(received: &Received) -> Received {
    Received { raw: String::new(), ..received.clone() }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(state): State<Arc<(watch::Sender<Received>, Behaviour)>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let (received, behaviour) = &*state;
    assert_eq!(parts.headers["content-type"], "application/x-protobuf");
    received.send_modify(|received| {
        received.raw.push_str(&String::from_utf8_lossy(&body));
        match parts.uri.path() {
            "/v1/traces" => spans(received, &body),
            "/v1/logs" => logs(received, &body),
            "/v1/metrics" => metrics(received, &body),
            other => panic!("no signal goes to {other}"),
        }
    });
    match behaviour {
        Behaviour::Takes => StatusCode::OK.into_response(),
        Behaviour::Refuses => (StatusCode::BAD_REQUEST, "no").into_response(),
        Behaviour::Hangs => std::future::pending().await,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    }
}

fn attributes(all: &[KeyValue]) -> Attributes {
    all.iter().map(|one| (one.key.clone(), text(one.value.as_ref()))).collect()
}

fn spans(received: &mut Received, body: &Bytes) {
    for of_resource in ExportTraceServiceRequest::decode(body.clone()).unwrap().resource_spans {
        received.resource = attributes(&of_resource.resource.unwrap().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            received.spans.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: attributes(&span.attributes),
                links: span.links.iter().map(|link| hex(&link.trace_id)).collect(),
                name: span.name,
            });
        }
    }
}

fn logs(received: &mut Received, body: &Bytes) {
    for of_resource in ExportLogsServiceRequest::decode(body.clone()).unwrap().resource_logs {
        for record in of_resource.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
            received.logs.push(LogRecord {
                trace: hex(&record.trace_id),
                body: text(record.body.as_ref()),
                attributes: attributes(&record.attributes),
            });
        }
    }
}

fn metrics(received: &mut Received, body: &Bytes) {
    for of_resource in ExportMetricsServiceRequest::decode(body.clone()).unwrap().resource_metrics {
        for metric in of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            received.units.insert(metric.name.clone(), metric.unit);
            let number = |value: &Option<number_data_point::Value>| match value {
                Some(number_data_point::Value::AsDouble(value)) => *value,
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                Some(number_data_point::Value::AsInt(value)) => *value as f64,
                None => panic!("a point without a value"),
            };
            let points: Vec<(Attributes, Point)> = match metric.data.unwrap() {
                Data::Sum(sum) => {
                    let point = |one: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| {
                        (attributes(&one.attributes), Point { value: number(&one.value), count: 1 })
                    };
                    sum.data_points.iter().map(point).collect()
                }
                Data::Gauge(gauge) => {
                    let point = |one: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| {
                        (attributes(&one.attributes), Point { value: number(&one.value), count: 1 })
                    };
                    gauge.data_points.iter().map(point).collect()
                }
                Data::Histogram(histogram) => histogram
                    .data_points
                    .iter()
                    .map(|one| (attributes(&one.attributes), Point { value: one.sum.unwrap(), count: one.count }))
                    .collect(),
                other => panic!("{other:?}"),
            };
            for (of, point) in points {
                received.metrics.insert((metric.name.clone(), of), point);
            }
        }
    }
}

/// A request that went through a tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tapped {
    pub method: String,
    pub path: String,
    pub traceparent: Option<String>,
}

/// Stands before a service and hands on what it is sent.
pub struct Tap {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Tapped>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Tap {
    /// Before the service at this origin.
    pub async fn before(origin: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::default();
        let client = super::functions_host::client();
        let state = (origin.trim_end_matches('/').to_owned(), client, Arc::clone(&seen));
        let router = Router::new().fallback(hand_on).with_state(state);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, serving }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn seen(&self) -> Vec<Tapped> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type TapState = (String, reqwest::Client, Arc<Mutex<Vec<Tapped>>>);

async fn hand_on(State((origin, client, seen)): State<TapState>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let traceparent = parts.headers.get("traceparent").map(|value| value.to_str().unwrap().to_owned());
    let tapped = Tapped { method: parts.method.to_string(), path: parts.uri.path().to_owned(), traceparent };
    seen.lock().unwrap().push(tapped);
    parts.headers.remove("host");
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let url = format!("{origin}{}", parts.uri.path_and_query().unwrap());
    let answer = client.request(parts.method, url).headers(parts.headers).body(body).send().await.unwrap();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    response.headers_mut().remove("transfer-encoding");
    *response.body_mut() = Body::from(answer.bytes().await.unwrap());
    response
}
