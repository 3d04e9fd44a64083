//! Without a collector telemetry costs nothing: no span is made and nothing is measured, from the event to `scored`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use app::{measures, spans};
use handler::config::{Log, LogFormat};
use handler::telemetry;
use lifecycle::{JobStatus, Status};
use time::Duration;
use tracing::instrument::WithSubscriber as _;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use crate::support::world::{World, event};

/// Spans and events that came by, by their target.
type Reached = Arc<Mutex<BTreeMap<String, usize>>>;

/// Counts what comes by on its way to another.
struct Counting {
    to: Box<dyn Subscriber + Send + Sync>,
    reached: Reached,
}

impl Counting {
    fn count(&self, metadata: &Metadata<'_>) {
        *self.reached.lock().unwrap().entry(metadata.target().to_owned()).or_default() += 1;
    }
}

impl Subscriber for Counting {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.to.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.to.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        self.to.max_level_hint()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.count(span.metadata());
        self.to.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.to.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.to.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.count(event.metadata());
        self.to.event(event);
    }

    fn enter(&self, span: &Id) {
        self.to.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.to.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.to.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.to.try_close(id)
    }
}

/// Takes an upload from its event to `scored`, and gives what came by.
async fn scored(to: Box<dyn Subscriber + Send + Sync>) -> BTreeMap<String, usize> {
    let reached = Reached::default();
    let counting = Counting { to, reached: Arc::clone(&reached) };
    let way = async {
        let world = World::new();
        let app = world.app();
        let delivery = app.accept(&event("a.csv", "1")).await.unwrap();
        let id = delivery.accepted.accepted[0].id.parse().unwrap();
        delivery.submit().await;
        let job = world.jobs()[0].name.clone();
        world.end_job(&job, &JobStatus::Completed);
        world.later(Duration::hours(1));
        app.tick(world.now() + Duration::HOUR).await.unwrap();
        let (scoring, _) = app.ledger().get(&id).await.unwrap().unwrap();
        assert_eq!((scoring.status, scoring.trace), (Status::Scored, None));
    };
    way.with_subscriber(counting).await;
    reached.lock().unwrap().clone()
}

#[tokio::test]
async fn without_a_collector_no_span_is_made_and_nothing_is_measured() {
    // Once around first: a place in the code that another test meets for the first time while a subscriber is made here may stay without
    // that subscriber, as `tracing` lists it only after it has asked those that there were.
    scored(Box::new(tracing_subscriber::registry())).await;
    for filter in ["info", "trace"] {
        let log = Log { filter: filter.parse().unwrap(), format: LogFormat::Json };
        let reached = scored(telemetry::subscriber(&log, std::io::sink)).await;
        assert!(reached.contains_key("app::driver"), "{reached:?}");
        assert_eq!((reached.get(spans::TARGET), reached.get(measures::TARGET)), (None, None), "{filter}");
    }
    // Whoever asks for all of them gets them: the counts above are no accident.
    let all = tracing_subscriber::registry();
    let reached = scored(Box::new(all)).await;
    assert!(reached[spans::TARGET] >= 3 && reached[measures::TARGET] >= 8, "{reached:?}");
}
