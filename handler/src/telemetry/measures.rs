//! Metrics: events that measure ([`app::measures`]) become values of the SDK's instruments, one for each row of that table.

use std::collections::HashMap;
use std::fmt::Debug;

use app::measures::{ALL, Kind, LOST, Measure};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Seconds by which durations are told apart: an event takes tenths of one, a job up to a day.
const SECONDS: [f64; 17] = [
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0,
    86_400.0,
];

/// Instruments by the names of their measures.
#[derive(Debug)]
pub(super) struct Measures(HashMap<&'static str, (Measure, Instrument)>);

#[derive(Debug)]
enum Instrument {
    Counter(Counter<u64>),
    Gauge(Gauge<f64>),
    Histogram(Histogram<f64>),
}

impl Measures {
    /// Of all measures, but for what is lost: the SDK asks for that by itself.
    pub(super) fn new(meter: &Meter) -> Self {
        let instrument = |measure: &Measure| {
            let Measure { name, unit, about, .. } = *measure;
            match measure.kind {
                Kind::Counter => {
                    Instrument::Counter(meter.u64_counter(name).with_unit(unit).with_description(about).build())
                }
                Kind::Gauge => Instrument::Gauge(meter.f64_gauge(name).with_unit(unit).with_description(about).build()),
                Kind::Histogram => {
                    let histogram = meter.f64_histogram(name).with_unit(unit).with_description(about);
                    Instrument::Histogram(histogram.with_boundaries(SECONDS.to_vec()).build())
                }
            }
        };
        let asked_for = ALL.iter().filter(|measure| **measure != LOST);
        Self(asked_for.map(|measure| (measure.name, (*measure, instrument(measure)))).collect())
    }
}

impl<S: Subscriber> Layer<S> for Measures {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut measured = Measured::default();
        event.record(&mut measured);
        let Some((measure, instrument)) = self.0.get(measured.measure.as_str()) else { return };
        // What the table does not name would multiply series that nobody knows of.
        measured.attributes.retain(|attribute| measure.attributes.contains(&attribute.key.as_str()));
        match instrument {
            Instrument::Counter(counter) => counter.add(measured.count, &measured.attributes),
            Instrument::Gauge(gauge) => gauge.record(measured.value, &measured.attributes),
            Instrument::Histogram(histogram) => histogram.record(measured.value, &measured.attributes),
        }
    }
}

/// What an event that measures says.
#[derive(Default)]
struct Measured {
    measure: String,
    value: f64,
    count: u64,
    attributes: Vec<KeyValue>,
}

impl Visit for Measured {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "value" {
            self.value = value;
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "value" {
            self.count = value;
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.push(KeyValue::new(field.name(), value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "measure" {
            value.clone_into(&mut self.measure);
        } else {
            self.attributes.push(KeyValue::new(field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.attributes.push(KeyValue::new(field.name(), format!("{value:?}")));
    }
}
