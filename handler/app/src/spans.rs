//! Spans of the work on scorings, for whoever traces; nobody does unless the settings name a collector.
//!
//! A scoring is worked on by many invocations: that of its event, then one reconcile run a minute, in this process and in others, for
//! hours. Its trace is that of its event, which its row keeps: whatever moves it later is a span **in** that trace, and links to the run
//! that did it. Links alone were rejected, as few tools follow them and nobody would see one way from the event to `scored`; so was one
//! span that is open all the while, as it would live in no process. A look that finds a job as it was belongs to its run and not here:
//! a job of a day would add a thousand spans that tell nothing.
//!
//! The spans are of a target of their own at the level `TRACE`, so that the log never has them and that they cost one comparison where
//! nobody traces.

use std::pin::Pin;

use futures::future::Either;
use lifecycle::{Scoring, TraceContext};
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span, field};

/// Target of all spans that are there for traces alone.
pub const TARGET: &str = "scorekeeper::spans";

/// Where what is done now belongs; `None` if nobody traces it.
pub fn current() -> Option<TraceContext> {
    Context::map_current(|context| {
        let span = context.span();
        let here = span.span_context();
        TraceContext::new(here.trace_id().to_bytes(), here.span_id().to_bytes(), here.is_sampled())
    })
}

/// The same as OpenTelemetry has it: of another process, or of an invocation that is over.
pub fn remote(trace: TraceContext) -> Context {
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace_id, span_id) = (TraceId::from_bytes(trace.trace_id()), SpanId::from_bytes(trace.span_id()));
    Context::new().with_remote_span_context(SpanContext::new(trace_id, span_id, flags, true, TraceState::default()))
}

/// A scoring is taken into the ledger. Later spans of it are below this one.
pub(crate) fn taking_in(scoring: &Scoring) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "take in",
        scoring = %scoring.id,
        rule = scoring.rule.as_str(),
        blob = scoring.blob.url
    )
}

/// A scoring is brought further: below the span by which it was taken in, wherever that was.
pub(crate) fn driving(scoring: &Scoring) -> Span {
    let span = || {
        tracing::trace_span!(
            target: TARGET,
            "drive",
            scoring = %scoring.id,
            rule = scoring.rule.as_str(),
            attempt = field::Empty,
            from = %scoring.status,
            to = field::Empty
        )
    };
    let Some(trace) = scoring.trace.filter(|_| tracing::span_enabled!(target: TARGET, tracing::Level::TRACE)) else {
        return span();
    };
    let by = Span::current();
    let elsewhere = current().is_none_or(|here| here.trace_id() != trace.trace_id());
    let driving = {
        let _below = remote(trace).attach();
        span()
    };
    if elsewhere {
        driving.follows_from(by);
    }
    driving
}

/// Work as the span. Where nobody traces it is the work and nothing around it; else boxed, so that the work of those who do not trace
/// is no larger for it.
pub(crate) fn within<F: Future>(span: Span, work: F) -> Either<F, Pin<Box<Instrumented<F>>>> {
    if span.is_disabled() { Either::Left(work) } else { Either::Right(Box::pin(work.instrument(span))) }
}

/// Says on the current span how far a scoring was brought.
pub(crate) fn driven(scoring: &Scoring) {
    if tracing::span_enabled!(target: TARGET, tracing::Level::TRACE) {
        Span::current().record("attempt", scoring.attempt).record("to", scoring.status.name());
    }
}
