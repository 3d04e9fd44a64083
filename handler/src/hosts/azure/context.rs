//! What the Functions host says about an invocation, in the words of Lambda's `Context`; and our own deadline.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use lambda_runtime::Context;

use crate::config::HostFacts;

/// Event Grid waits about 30 s for an answer, host and network included, and then delivers again.
const EVENT_LIMIT: Duration = Duration::from_secs(25);
/// Azure's front end waits for about 230 s, and whoever asks has no reason to.
const HTTP_LIMIT: Duration = Duration::from_secs(60);
/// No invocation of ours needs longer, whatever the host allows.
const MAX_INVOCATION: Duration = Duration::from_secs(600);
/// Most that is kept free before the host's timeout.
const MARGIN: Duration = Duration::from_secs(30);

/// What calls a function, as far as it sets the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    /// Event Grid.
    Event,
    /// A timer.
    Timer,
    /// Somebody who waits for an answer.
    Http,
}

impl Trigger {
    /// How long an invocation may take from its receipt. A tenth of the host's timeout is kept free: one invocation
    /// that runs into that costs the process, and all others with it.
    pub(super) fn limit(self, function_timeout: Option<Duration>) -> Duration {
        let ours = function_timeout
            .map_or(MAX_INVOCATION, |timeout| timeout.saturating_sub((timeout / 10).min(MARGIN)).min(MAX_INVOCATION));
        match self {
            Self::Event => ours.min(EVENT_LIMIT),
            Self::Http => ours.min(HTTP_LIMIT),
            Self::Timer => ours,
        }
    }
}

/// The invocation's id, for logs. The host always sends one.
pub(super) fn invocation_id(headers: &HeaderMap) -> String {
    let id = headers.get("x-azure-functions-invocationid").and_then(|value| value.to_str().ok());
    id.unwrap_or_default().chars().take(128).collect()
}

/// W3C trace context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    /// 32 hexadecimal digits.
    pub(super) trace_id: String,
    parent_id: String,
    sampled: bool,
}

/// `traceparent`, if the host sent a valid one. It does so only while it traces itself.
pub(super) fn trace(headers: &HeaderMap) -> Option<Trace> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.trim().split('-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        let hex = part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (hex && part.len() == length).then(|| part.to_owned())
    };
    let (version, trace_id, parent_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    let zero = |id: &str| id.bytes().all(|b| b == b'0');
    if version == "ff" || zero(&trace_id) || zero(&parent_id) {
        return None;
    }
    let sampled = u8::from_str_radix(&flags, 16).ok()? & 1 == 1;
    Some(Trace { trace_id, parent_id, sampled })
}

impl Trace {
    /// The same in X-Ray's spelling; trace ids convert without loss.
    fn x_ray(&self) -> String {
        let (time, unique) = self.trace_id.split_at(8);
        format!("Root=1-{time}-{unique};Parent={};Sampled={}", self.parent_id, u8::from(self.sampled))
    }
}

/// The context of an invocation. `limit` counts from `received`; the deadline told is the one that is kept here.
pub(super) fn context(
    facts: &HostFacts,
    function: &str,
    invocation_id: &str,
    trace: Option<&Trace>,
    received: SystemTime,
    limit: Duration,
) -> Context {
    let deadline = (received + limit).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut context = Context::default();
    invocation_id.clone_into(&mut context.request_id);
    context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    context.invoked_function_arn = format!("{}/functions/{function}", facts.resource_id.as_deref().unwrap_or_default());
    context.xray_trace_id = trace.map(Trace::x_ray);
    context.env_config = Arc::new(lambda_runtime::Config {
        function_name: function.to_owned(),
        memory: 0,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        log_stream: facts.instance.clone().unwrap_or_default(),
        log_group: facts.site.clone().unwrap_or_default(),
    });
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(value: &str) -> Option<Trace> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", value.parse().expect("a header value"));
        trace(&headers)
    }

    #[test]
    fn a_trace_context_is_read_and_respelt() {
        let trace = traced("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").expect("valid");
        assert_eq!(trace.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.x_ray(), "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1");
    }

    #[test]
    fn what_is_no_trace_context_is_ignored() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        ] {
            assert_eq!(traced(bad), None, "{bad}");
        }
        assert_eq!(trace(&HeaderMap::new()), None, "it is optional");
    }

    #[test]
    fn events_are_answered_before_event_grid_gives_up_and_all_before_the_host_does() {
        let minutes = |n: u64| Some(Duration::from_secs(n * 60));
        assert_eq!(Trigger::Event.limit(minutes(10)), Duration::from_secs(25));
        assert_eq!(Trigger::Event.limit(None), Duration::from_secs(25));
        assert_eq!(Trigger::Timer.limit(minutes(5)), Duration::from_secs(270));
        assert_eq!(Trigger::Timer.limit(minutes(30)), Duration::from_secs(600));
        assert_eq!(Trigger::Timer.limit(None), Duration::from_secs(600));
        for trigger in [Trigger::Event, Trigger::Timer] {
            assert!(trigger.limit(Some(Duration::from_secs(1))) < Duration::from_secs(1));
        }
    }

    #[test]
    fn the_context_says_what_runs_where_and_until_when() {
        let facts = HostFacts {
            port: Some(1),
            worker_id: None,
            root: "/".into(),
            function_timeout: None,
            site: Some("func-scores".into()),
            instance: Some("pod-1".into()),
            resource_id: Some("/subscriptions/s/sites/func-scores".into()),
        };
        let received = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let context = context(&facts, "Reconcile", "6a5b", None, received, Duration::from_secs(25));
        assert_eq!(context.request_id, "6a5b");
        assert_eq!(context.deadline, 1_025_000);
        assert_eq!(context.invoked_function_arn, "/subscriptions/s/sites/func-scores/functions/Reconcile");
        assert_eq!(context.env_config.function_name, "Reconcile");
        assert_eq!(
            (context.env_config.log_group.as_str(), context.env_config.log_stream.as_str()),
            ("func-scores", "pod-1")
        );
        assert_eq!(context.xray_trace_id, None);
    }
}
