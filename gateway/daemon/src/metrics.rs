//! Counters of the shell, in Prometheus text. Names are part of the product: `nonsite_…`.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Arc;

use crate::bus::health::Boards;

type Labels<const N: usize> = [(&'static str, String); N];
/// A label whose values are all known: counted without making text.
type Known = [(&'static str, &'static str); 1];

/// Shared by all tasks; cloning is cheap.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    bus: Family<Vec<(&'static str, String)>, Counter>,
    trouble: Family<Vec<(&'static str, String)>, Gauge>,
    boards: Boards,
    mqtt: Family<Known, Counter>,
    records: Family<Known, Counter>,
    uplink: Family<Vec<(&'static str, String)>, Counter>,
    sinks: Family<Vec<(&'static str, String)>, Counter>,
    sink_states: Family<Vec<(&'static str, String)>, Gauge>,
    readings: Counter,
    gauges: Family<Vec<(&'static str, String)>, Gauge>,
    line: Family<Vec<(&'static str, String)>, Gauge>,
    alerts: Gauge,
    receipts: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("nonsite_gateway");
        let bus: Family<_, Counter> = Family::default();
        let trouble: Family<_, Gauge> = Family::default();
        let mqtt: Family<_, Counter> = Family::default();
        let records: Family<_, Counter> = Family::default();
        let uplink: Family<_, Counter> = Family::default();
        let sinks: Family<_, Counter> = Family::default();
        let sink_states: Family<_, Gauge> = Family::default();
        let gauges: Family<_, Gauge> = Family::default();
        let line: Family<_, Gauge> = Family::default();
        let readings = Counter::default();
        let alerts = Gauge::default();
        registry.register("bus_requests", "Modbus requests by outcome", bus.clone());
        registry.register(
            "bus_trouble",
            "1 while a bus, or a unit on it, is in this trouble",
            trouble.clone(),
        );
        registry.register("mqtt_payloads", "MQTT payloads by outcome", mqtt.clone());
        registry.register("records", "Sealed records by kind", records.clone());
        registry.register("uplink_posts", "Batches sent to the center by outcome", uplink.clone());
        registry.register("sink", "What sinks did, by outcome: delivered, aside, busy, down", sinks.clone());
        let help = "Sinks: parcels waiting, late messages, gaps, failures in a row";
        registry.register("sink_state", help, sink_states.clone());
        registry.register("readings", "Answers offered to intake", readings.clone());
        registry.register("alerts_open", "Open alerts", alerts.clone());
        registry.register("journal", "Journal: bytes per set, position, receipted position", gauges.clone());
        let help =
            "Line to the center: bytes this month, heads and framing estimated; 0 allowed = not metered";
        // 19 % apart, from 1 ms to 70 s.
        let receipts = Histogram::new(exponential_buckets(0.001, 1.19, 64));
        registry.register(
            "receipt_seconds",
            "Seconds from conclusions on disk here to the receipt that the center has them",
            receipts.clone(),
        );
        registry.register("line", help, line.clone());
        Self(Arc::new(Inner {
            registry,
            bus,
            trouble,
            boards: Boards::default(),
            mqtt,
            records,
            uplink,
            sinks,
            sink_states,
            readings,
            gauges,
            line,
            alerts,
            receipts,
        }))
    }
}

/// Counts how requests of one bus end; what was counted before is found without making text.
pub struct BusCounts {
    metrics: Metrics,
    bus: String,
    known: Vec<(&'static str, Counter)>,
}

impl BusCounts {
    /// So many ended so.
    pub fn count(&mut self, outcome: &'static str, n: u64) {
        if let Some((_, counter)) = self.known.iter().find(|(known, _)| *known == outcome) {
            counter.inc_by(n);
            return;
        }
        let labels: Labels<2> = [("bus", self.bus.clone()), ("outcome", outcome.to_owned())];
        let counter = self.metrics.0.bus.get_or_create(&labels.to_vec()).clone();
        counter.inc_by(n);
        self.known.push((outcome, counter));
    }
}

impl Metrics {
    /// A Modbus request ended.
    pub fn bus(&self, bus: &str, outcome: &str, n: u64) {
        let labels: Labels<2> = [("bus", bus.to_owned()), ("outcome", outcome.to_owned())];
        self.0.bus.get_or_create(&labels.to_vec()).inc_by(n);
    }

    /// The same for who counts often.
    pub fn of_bus(&self, bus: &str) -> BusCounts {
        BusCounts { metrics: self.clone(), bus: bus.to_owned(), known: Vec::new() }
    }

    /// A bus, or a unit on it, is in some trouble now, or no longer.
    pub fn bus_trouble(&self, bus: &str, unit: Option<u8>, trouble: &str, on: bool) {
        let unit = unit.map_or_else(String::new, |unit| unit.to_string());
        let labels: Labels<3> = [("bus", bus.to_owned()), ("unit", unit), ("trouble", trouble.to_owned())];
        self.0.trouble.get_or_create(&labels.to_vec()).set(i64::from(on));
    }

    /// What is wrong with buses now, in words.
    pub fn boards(&self) -> &Boards {
        &self.0.boards
    }

    /// How often requests on a bus ended so: for tests and the status page.
    pub fn bus_count(&self, bus: &str, outcome: &str) -> u64 {
        let labels: Labels<2> = [("bus", bus.to_owned()), ("outcome", outcome.to_owned())];
        self.0.bus.get_or_create(&labels.to_vec()).get()
    }

    /// An MQTT payload was taken or refused.
    pub fn mqtt(&self, outcome: &'static str) {
        self.0.mqtt.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Records were sealed.
    pub fn record(&self, kind: &'static str) {
        self.0.records.get_or_create(&[("kind", kind)]).inc();
    }

    /// A batch was sent to the center.
    pub fn uplink(&self, outcome: &str) {
        let labels: Labels<1> = [("outcome", outcome.to_owned())];
        self.0.uplink.get_or_create(&labels.to_vec()).inc();
    }

    /// A sink delivered parcels, set some aside, or met trouble.
    pub fn sink(&self, sink: &str, outcome: &str, n: u64) {
        let labels: Labels<2> = [("sink", sink.to_owned()), ("outcome", outcome.to_owned())];
        self.0.sinks.get_or_create(&labels.to_vec()).inc_by(n);
    }

    /// How a sink stands.
    pub fn sink_state(&self, sink: &str, of: &str, value: u64) {
        let labels: Labels<2> = [("sink", sink.to_owned()), ("of", of.to_owned())];
        self.0.sink_states.get_or_create(&labels.to_vec()).set(value as i64);
    }

    /// Answers were offered to intake.
    pub fn readings(&self, n: usize) {
        self.0.readings.inc_by(n as u64);
    }

    /// Sets what is only known when asked.
    pub fn journal(&self, what: &str, value: u64) {
        let labels: Labels<1> = [("of", what.to_owned())];
        self.0.gauges.get_or_create(&labels.to_vec()).set(value as i64);
    }

    /// Sets what went over the line to the center.
    pub fn line(&self, what: &str, value: u64) {
        let labels: Labels<1> = [("of", what.to_owned())];
        self.0.line.get_or_create(&labels.to_vec()).set(value as i64);
    }

    /// Conclusions were receipted so long after they were on disk.
    pub fn receipt_after(&self, after: std::time::Duration) {
        self.0.receipts.observe(after.as_secs_f64());
    }

    /// Sets how many alerts are open.
    pub fn alerts(&self, n: usize) {
        self.0.alerts.set(n as i64);
    }

    /// How often a payload ended so: for tests and the status page.
    pub fn mqtt_count(&self, outcome: &'static str) -> u64 {
        self.0.mqtt.get_or_create(&[("outcome", outcome)]).get()
    }

    /// How often the uplink met this: for tests.
    pub fn uplink_count(&self, outcome: &str) -> u64 {
        let labels: Labels<1> = [("outcome", outcome.to_owned())];
        self.0.uplink.get_or_create(&labels.to_vec()).get()
    }

    /// Everything, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        if encode(&mut text, &self.0.registry).is_err() {
            text.clear();
        }
        text
    }
}
