//! The Azure Functions host around a handler: it starts it, calls it, tells senders what its answers mean, and starts it again.
//!
//! It does what the real host (4.1037) was seen to do around this handler; every line has a test in `tests/supervised_host.rs`.
//!
//! | seen | test |
//! |---|---|
//! | the invocations of Event Grid, a queue and a timer, byte by byte (`tests/cases/host`) | `each_captured_invocation_is_answered_as_it_should_be` |
//! | without Application Insights no `traceparent` | `an_invocation_has_the_headers_of_the_real_host` |
//! | a delivery of n events is n invocations at once; 202 when all are done, 500 if one of them failed | `a_delivery_is_spread_and_fails_as_a_whole` |
//! | any non-2xx, or a 2xx without JSON, is 500 to the sender | `what_an_answer_means_to_the_sender` |
//! | 204, or an empty 200, is no answer; after `functionTimeout` the whole handler is killed, which counts as no death | `an_answer_without_a_body_costs_everybody_the_handler` |
//! | what is in flight when the handler dies is 500; what comes while it starts again waits | `a_death_costs_what_is_in_flight_and_nothing_that_comes_after` |
//! | one port for life | `a_death_costs_what_is_in_flight_and_nothing_that_comes_after` |
//! | the third death within half an hour ends the host | `the_third_death_ends_the_host` |
//! | a handler that ends with 0 is never started again, and every invocation is 500 | `exit_code_zero_is_never_started_again` |
//! | a stop is SIGKILL alone | `a_stop_is_a_kill_without_a_word` |
//! | a queue's message is a string in a string; one that is no base64 is poison without a call | `a_queued_message_is_a_string_in_a_string` |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::functions_host::{client, free_port, given, invocation};
use super::process::Process;

/// Deaths that lie further back do not count.
const WINDOW: Duration = Duration::from_secs(30 * 60);
/// Deaths within it that the host outlives.
const RESTARTS: usize = 2;

/// What a handler is started with.
pub struct Handler {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub root: PathBuf,
    pub vars: BTreeMap<String, String>,
}

/// A host at work. Its handler dies with it.
pub struct SupervisedHost {
    port: u16,
    state: watch::Receiver<State>,
    orders: mpsc::UnboundedSender<Order>,
    client: reqwest::Client,
    function_timeout: Duration,
    /// As the real host sends it with Application Insights.
    pub traceparent: Option<&'static str>,
}

/// How the handler stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is starting.
    Starting,
    /// It answers; how often it was started.
    Ready { starts: usize },
    /// It left with 0, which is taken for a state that needs nothing.
    Left,
    /// The host gave up, or was stopped; what the last handler had said by then.
    Ended { said: Vec<String> },
}

enum Order {
    /// An invocation of this start took longer than `functionTimeout`.
    TimedOut { starts: usize },
    /// The host is stopped.
    Stop,
}

/// What a queue does with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Queued {
    /// It is gone: the function took it.
    Done,
    /// It is shown again later.
    Again,
    /// It is moved to the poison queue at once, and nobody was called.
    Poison,
}

impl SupervisedHost {
    /// Starts the handler and waits until it answers.
    pub async fn start(handler: Handler, function_timeout: Duration) -> Self {
        let port = free_port();
        let (sender, state) = watch::channel(State::Starting);
        let (orders, received) = mpsc::unbounded_channel();
        tokio::spawn(supervise(handler, port, sender, received));
        let host = Self { port, state, orders, client: client(), function_timeout, traceparent: None };
        assert_eq!(host.until(|state| *state != State::Starting).await, State::Ready { starts: 1 });
        host
    }

    /// Waits for a state, a minute at most.
    pub async fn until(&self, wanted: impl Fn(&State) -> bool) -> State {
        let mut state = self.state.clone();
        let waiting = state.wait_for(|state| wanted(state));
        let state = tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("within a minute");
        state.map_or(State::Ended { said: Vec::new() }, |state| state.clone())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the host. Returns what its handler had said.
    pub async fn stop(self) -> Vec<String> {
        let _ = self.orders.send(Order::Stop);
        match self.until(|state| matches!(state, State::Ended { .. })).await {
            State::Ended { said } => said,
            other => panic!("{other:?}"),
        }
    }

    /// A delivery of Event Grid: what it sees.
    pub async fn deliver(&self, id: &str, events: &[Value]) -> u16 {
        let calls = events.iter().enumerate().map(|(nth, event)| {
            let data = event["data"].clone();
            let envelope =
                json!({ "Data": { "event": event }, "Metadata": { "data": data, "sys": sys("BlobCreated") } });
            let id = format!("{id}-{nth}");
            async move { self.call("BlobCreated", &id, envelope.to_string()).await }
        });
        let seen = futures::future::join_all(calls).await;
        if seen.iter().all(|status| *status == 202) { 202 } else { 500 }
    }

    /// A message of the queue, as it lies there.
    pub async fn message(&self, id: &str, message: &str) -> Queued {
        let Some(text) = STANDARD.decode(message).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return Queued::Poison;
        };
        let envelope = json!({
            // .NET hands the text on as JSON text, and the protocol writes that as a string once more.
            "Data": { "event": json!(text).to_string() },
            "Metadata": { "DequeueCount": "1", "sys": sys("BlobCreatedFromQueue") },
        });
        match self.call("BlobCreatedFromQueue", id, envelope.to_string()).await {
            202 => Queued::Done,
            _ => Queued::Again,
        }
    }

    /// Calls a function with a body; what the sender behind the trigger sees of the answer.
    pub async fn call(&self, function: &str, id: &str, body: String) -> u16 {
        let mut before = 0;
        loop {
            // What comes while the handler starts again waits.
            let state = self.until(|state| !matches!(state, State::Ready { starts } if *starts == before)).await;
            let state =
                if state == State::Starting { self.until(|state| *state != State::Starting).await } else { state };
            let State::Ready { starts } = state else { return 500 };
            match self.call_once(function, id, body.clone(), starts).await {
                Some(status) => return status,
                // Nobody listened: it had died, and nothing of the request has left.
                None => before = starts,
            }
        }
    }

    async fn call_once(&self, function: &str, id: &str, body: String, starts: usize) -> Option<u16> {
        let chunks = futures::stream::iter([Ok::<_, std::io::Error>(body)]);
        let request = invocation(&self.client, self.port, function, id, self.traceparent)
            .body(reqwest::Body::wrap_stream(chunks));
        let answer = async {
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) if error.is_connect() => return None,
                Err(_) => return Some(false),
            };
            let status = response.status();
            let Ok(body) = response.bytes().await else { return Some(false) };
            if status.is_success() && body.is_empty() {
                // The host waits for a value that never comes.
                std::future::pending::<()>().await;
            }
            Some(status.is_success() && serde_json::from_slice::<Value>(&body).is_ok())
        };
        let Ok(understood) = tokio::time::timeout(self.function_timeout, answer).await else {
            let _ = self.orders.send(Order::TimedOut { starts });
            return Some(500);
        };
        understood.map(|understood| if understood { 202 } else { 500 })
    }
}

fn sys(function: &str) -> Value {
    json!({ "MethodName": function, "UtcNow": "2026-07-21T10:00:00.5Z", "RandGuid": "3f0c9a1e" })
}

/// Starts the handler, and again, until it has died too often, has left, or the host is stopped.
async fn supervise(
    handler: Handler,
    port: u16,
    state: watch::Sender<State>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let vars = given(&handler.root, port, &handler.vars);
    let arguments: Vec<&str> = handler.arguments.iter().map(String::as_str).collect();
    let probe = client().get(format!("http://127.0.0.1:{port}/"));
    let mut deaths = Vec::new();
    for starts in 1.. {
        state.send_replace(State::Starting);
        let mut process = Process::spawn(&handler.program, &arguments, &handler.root, &vars);
        let ended = match process.ready(probe.try_clone().expect("no stream"), "listening").await {
            Ok(()) => {
                state.send_replace(State::Ready { starts });
                watched(&mut process, &mut orders, starts).await
            }
            Err(status) => Ended::ByItself(status),
        };
        match ended {
            Ended::ByItself(status) if status.success() => {
                state.send_replace(State::Left);
                return;
            }
            Ended::ByItself(_) => deaths.push(Instant::now()),
            Ended::TimedOut => continue,
            Ended::Stopped => {
                state.send_replace(State::Ended { said: process.stdout() });
                return;
            }
        }
        if is_over(&deaths, Instant::now()) {
            state.send_replace(State::Ended { said: process.stdout() });
            return;
        }
    }
}

/// How a handler ended.
enum Ended {
    ByItself(ExitStatus),
    TimedOut,
    Stopped,
}

async fn watched(process: &mut Process, orders: &mut mpsc::UnboundedReceiver<Order>, now: usize) -> Ended {
    let order = loop {
        tokio::select! {
            status = process.child.wait() => return Ended::ByItself(status.unwrap()),
            order = orders.recv() => match order {
                // Of one that is gone already.
                Some(Order::TimedOut { starts }) if starts < now => {}
                order => break order,
            }
        }
    };
    process.child.kill().await.unwrap();
    process.ended().await;
    match order {
        Some(Order::TimedOut { .. }) => Ended::TimedOut,
        Some(Order::Stop) | None => Ended::Stopped,
    }
}

/// Whether these deaths end the host.
pub fn is_over(deaths: &[Instant], now: Instant) -> bool {
    deaths.iter().filter(|death| now - **death <= WINDOW).count() > RESTARTS
}

impl Handler {
    /// The handler of this project, under the settings of an app.
    pub fn scorekeeper(root: &Path, vars: &BTreeMap<String, String>) -> Self {
        Self {
            program: super::functions_host::SCOREKEEPER.into(),
            arguments: vec!["serve".to_owned()],
            root: root.to_owned(),
            vars: vars.clone(),
        }
    }
}
