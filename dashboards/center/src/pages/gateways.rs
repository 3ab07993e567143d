//! The gateways: who is in contact, and how far their data reach.

use askama::Template;

use super::format::ago;
use super::texts::{Texts, fill};
use super::view::{Moment, Shell};
use crate::store::GatewayRow;

/// The page.
#[derive(Debug, Template)]
#[template(path = "gateways.html")]
pub(crate) struct GatewaysPage {
    s: Shell,
    t: &'static Texts,
    count: String,
    rows: Vec<Row>,
    may_join: bool,
}

#[derive(Debug)]
struct Row {
    id: String,
    short_id: String,
    unit: String,
    site: String,
    state: &'static str,
    state_text: String,
    abnormal: bool,
    last_seen: String,
    data_until: Option<Moment>,
    position: String,
    records: String,
    quarantined: Option<String>,
    software: String,
    line: Option<String>,
    open_alerts: i64,
}

/// Bytes as MB.
fn megabytes(bytes: i64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

impl GatewaysPage {
    pub(crate) fn new(s: Shell, gateways: &[GatewayRow], may_join: bool) -> Self {
        let (ctx, t) = (s.ctx, s.ctx.texts());
        let rows: Vec<Row> = gateways
            .iter()
            .map(|gateway| {
                let (state, text, abnormal) = match gateway.state.as_str() {
                    "live" => ("live", &t.gw_live, false),
                    "delayed" => ("delayed", &t.gw_delayed, true),
                    "off" => ("off", &t.gw_off, false),
                    "silent" => ("silent", &t.gw_silent, true),
                    _ => ("never", &t.gw_never, false),
                };
                Row {
                    short_id: gateway.id.chars().take(8).collect(),
                    id: gateway.id.clone(),
                    unit: ctx.words(&gateway.institution_name),
                    site: gateway.site.clone(),
                    state,
                    state_text: text.clone(),
                    abnormal,
                    last_seen: gateway
                        .last_seen
                        .map_or_else(|| t.never.clone(), |at| ago(at, ctx.now, ctx.lang)),
                    data_until: gateway.data_until.map(|at| ctx.moment(at)),
                    position: match (gateway.epoch, gateway.through) {
                        (Some(epoch), Some(through)) => format!("{epoch}/{through}"),
                        (Some(epoch), None) => format!("{epoch}/—"),
                        (None, _) => "—".to_owned(),
                    },
                    records: gateway.records.to_string(),
                    quarantined: (gateway.quarantined > 0)
                        .then(|| fill(&t.quarantined, &[("n", &gateway.quarantined.to_string())])),
                    software: gateway.software.clone().unwrap_or_else(|| "—".to_owned()),
                    line: gateway.line_used.zip(gateway.line_budget).map(|(used, budget)| {
                        fill(&t.gw_line, &[("used", &megabytes(used)), ("budget", &megabytes(budget))])
                    }),
                    open_alerts: gateway.open_alerts,
                }
            })
            .collect();
        let live = gateways.iter().filter(|gateway| gateway.state == "live").count().to_string();
        let count = fill(&t.gateways_count, &[("n", &rows.len().to_string()), ("live", &live)]);
        Self { s, t, count, rows, may_join }
    }
}
