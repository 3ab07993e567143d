//! Counters of the center, as Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::app::App;
use crate::store::Scope;

macro_rules! counters {
    ($($name:ident $metric:literal $help:literal,)*) => {
        /// Counts since the start of the process; what must survive it is counted in the database.
        #[derive(Debug, Default)]
        pub struct Metrics { $(#[doc = $help] pub $name: AtomicU64,)* }

        impl Metrics {
            fn each(&self, mut show: impl FnMut(&str, &str, u64)) {
                $(show($metric, $help, self.$name.load(Ordering::Relaxed));)*
            }
        }
    };
}

counters! {
    records_stored "center_records_stored_total" "Records made durable.",
    records_duplicate "center_records_duplicate_total" "Records that were here already.",
    records_quarantined "center_records_quarantined_total" "Records kept but not understood.",
    refused_signature "center_records_refused_bad_signature_total" "Records refused: signature.",
    refused_gateway "center_records_refused_wrong_gateway_total" "Records refused: of another gateway.",
    refused_equivocation "center_records_refused_equivocation_total" "Records refused: same number, other bytes.",
    records_aside "center_records_aside_total" "Records kept apart from the chain: another record has their number, or went before them.",
    refused_simulated "center_records_refused_simulated_total" "Records refused: made under the demo clock.",
    refused_malformed "center_records_refused_malformed_total" "Records refused: not a record.",
    refused_epoch "center_records_refused_epoch_total" "Records refused: epoch not above the floor.",
    tokens_refused "center_tokens_refused_total" "Requests of gateways refused: token.",
    refused_session "center_batches_refused_session_total" "Batches refused: the session is not the newest of the gateway.",
    batches "center_batches_total" "Requests with records.",
    commits "center_commits_total" "Group commits.",
    alerts_raised "center_alerts_raised_total" "Alerts seen for the first time.",
    verdicts "center_verdicts_total" "Verdicts from data.",
    projection_failures "center_projection_failures_total" "Records stored whose conclusions could not be derived.",
}

impl Metrics {
    /// One more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything, as Prometheus text.
pub async fn text(app: &App) -> sqlx::Result<String> {
    let mut text = String::new();
    let mut show = |name: &str, kind: &str, help: &str, value: i64| {
        // Writing to a String cannot fail.
        write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n").ok();
    };
    app.metrics.each(|name, help, value| show(name, "counter", help, value as i64));
    let (records, bytes, quarantined) = app.store.record_totals().await?;
    show("center_records", "gauge", "Records in the index.", records);
    show("center_record_bytes", "gauge", "Their bytes.", bytes);
    show("center_records_quarantined", "gauge", "Of those, not understood.", quarantined);
    let open = app.store.open_alert_count(&Scope::All).await?;
    show("center_alerts_open", "gauge", "Alerts that are not over.", open);
    show("center_live_clients", "gauge", "Open live streams.", app.hub.listeners() as i64);
    write!(text, "# HELP center_cases Cases by state.\n# TYPE center_cases gauge\n").ok();
    for (state, n) in app.store.case_counts(&Scope::All).await? {
        writeln!(text, "center_cases{{state=\"{state}\"}} {n}").ok();
    }
    write!(text, "# HELP center_gateway_state Gateways by state.\n# TYPE center_gateway_state gauge\n").ok();
    let gateways = app.store.gateways(&Scope::All, app.clock.real()).await?;
    for state in ["never", "live", "delayed", "silent", "off"] {
        let n = gateways.iter().filter(|gateway| gateway.state == state).count();
        writeln!(text, "center_gateway_state{{state=\"{state}\"}} {n}").ok();
    }
    Ok(text)
}
