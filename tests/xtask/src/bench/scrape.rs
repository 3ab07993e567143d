//! What a running gateway says of itself, and what it costs: read twice, the difference is what a measurement saw.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::demo::child::Child;
use crate::demo::http::Client;

/// Counters and CPU of a gateway at a moment.
pub(super) struct Scrape {
    text: String,
    cpu_s: f64,
    at: Instant,
}

/// What changed between two looks.
pub(super) struct Passed<'a> {
    before: &'a Scrape,
    after: &'a Scrape,
}

impl Scrape {
    /// Looks. `up` is what the gateway said when it was up.
    pub(super) fn take(gateway: &mut Child, up: &Value) -> Result<Self> {
        gateway.check()?;
        let page = up["page"].as_str().context("the gateway says where its page is")?;
        let answer = Client::new(page).get("/metrics")?;
        anyhow::ensure!(answer.status == 200, "GET /metrics: {}", answer.status);
        // Behind the asking, whose own cost is the same at both looks.
        Ok(Self { text: answer.text(), cpu_s: gateway.cpu_of_threads_s()?, at: Instant::now() })
    }

    /// The sum of a counter over all series that have this label (`outcome="ok"`; empty: all).
    pub(super) fn sum(&self, counter: &str, label: &str) -> u64 {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("nonsite_gateway_"));
        let series = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            (name == counter && labels.contains(label)).then(|| value.parse::<f64>().ok())?
        });
        series.sum::<f64>() as u64
    }
}

impl<'a> Passed<'a> {
    pub(super) fn between(before: &'a Scrape, after: &'a Scrape) -> Self {
        Self { before, after }
    }

    pub(super) fn sum(&self, counter: &str, label: &str) -> u64 {
        self.after.sum(counter, label).saturating_sub(self.before.sum(counter, label))
    }

    pub(super) fn seconds(&self) -> f64 {
        (self.after.at - self.before.at).as_secs_f64()
    }

    pub(super) fn cpu_s(&self) -> f64 {
        self.after.cpu_s - self.before.cpu_s
    }
}
