//! What the Functions host says about an invocation, in the words of Lambda's `Context`; and our own deadline.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::HeaderMap;
use lambda_runtime::Context;
use lifecycle::TraceContext;

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
    /// Event Grid, which delivers again if there is no answer in time: the shortest limit.
    Event,
    /// A timer of the host, for whose answer nobody waits: the longest limit.
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

/// `traceparent`, if the host sent a valid one. It does so only while it traces itself.
pub(super) fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::read(headers.get("traceparent")?.to_str().ok()?)
}

/// The same in X-Ray's spelling; trace ids convert without loss.
fn x_ray(trace: &TraceContext) -> String {
    let id = trace.trace_id_text();
    let (time, unique) = id.split_at(8);
    format!("Root=1-{time}-{unique};Parent={};Sampled={}", trace.span_id_text(), u8::from(trace.is_sampled()))
}

/// The context of an invocation. `limit` counts from `received`; the deadline told is the one that is kept here.
pub(super) fn context(
    facts: &HostFacts,
    function: &str,
    invocation_id: &str,
    trace: Option<&TraceContext>,
    received: SystemTime,
    limit: Duration,
) -> Context {
    let deadline = (received + limit).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut context = Context::default();
    invocation_id.clone_into(&mut context.request_id);
    context.deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    context.invoked_function_arn = format!("{}/functions/{function}", facts.resource_id.as_deref().unwrap_or_default());
    context.xray_trace_id = trace.map(x_ray);
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

    #[test]
    fn a_trace_context_is_optional_and_respelt_as_x_ray_has_it() {
        let mut headers = HeaderMap::new();
        assert_eq!(trace(&headers), None);
        headers.insert(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().expect("a header"),
        );
        let read = trace(&headers).expect("valid");
        assert_eq!(x_ray(&read), "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1");
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
