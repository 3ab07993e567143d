//! The live list of alerts. The server draws every row; the script only exchanges rows and never moves one.

use std::collections::HashMap;

use askama::Template;
use center_casebook::CaseState;

use super::texts::{Texts, fill};
use super::view::{
    Badge, Ctx, Mark, Moment, Shell, case_number, first_name, quality_name, state_name, state_of,
    value_and_limit,
};
use crate::alerts::is_lead;
use crate::store::{AlertRow, CaseRow};

/// The page.
#[derive(Debug, Template)]
#[template(path = "alerts.html")]
pub(crate) struct AlertsPage {
    s: Shell,
    t: &'static Texts,
    all: bool,
    rows: Vec<Row>,
    count: String,
}

#[derive(Debug)]
struct Row {
    id: String,
    mark: Mark,
    title: String,
    sentence: String,
    unit: String,
    device: String,
    value: Option<String>,
    limit: Option<String>,
    raised: Moment,
    state: &'static str,
    state_text: String,
    unacked: bool,
    over: bool,
    badges: Vec<Badge>,
    case: Option<CaseLink>,
}

#[derive(Debug)]
struct CaseLink {
    id: i64,
    number: String,
    seen: u32,
    receivable: bool,
}

impl AlertsPage {
    /// From alerts, newest first, and the cases they are in. `receives` = the asker may receive.
    pub(crate) fn new(s: Shell, alerts: &[AlertRow], cases: &[CaseRow], all: bool, receives: bool) -> Self {
        let t = s.ctx.texts();
        let cases: HashMap<i64, &CaseRow> = cases.iter().map(|case| (case.id, case)).collect();
        let rows: Vec<Row> = alerts
            .iter()
            // Leads have a list of their own.
            .filter(|alert| !is_lead(alert))
            .map(|alert| row(alert, alert.case.and_then(|id| cases.get(&id).copied()), s.ctx, receives))
            .collect();
        let open = rows.iter().filter(|row| !row.over).count().to_string();
        let unacked = rows.iter().filter(|row| row.unacked).count().to_string();
        Self { count: fill(&t.alerts_count, &[("open", &open), ("unacked", &unacked)]), all, rows, s, t }
    }
}

fn row(alert: &AlertRow, case: Option<&CaseRow>, ctx: Ctx, receives: bool) -> Row {
    let t = ctx.texts();
    let over = alert.state == "cleared";
    // Received at the center counts at once; the gateway's own region follows by its record.
    let case_state = case.map(state_of);
    let waiting = matches!(alert.shown.as_str(), "unacknowledged" | "returned_unacknowledged");
    // A case that is not among those at hand is not one to be received.
    let unacked = waiting && (alert.case.is_none() || case_state == Some(CaseState::Open));
    let (state, state_text): (&'static str, &str) = match (case_state, unacked) {
        (Some(state), false) => (state.code(), state_name(state, t)),
        (Some(_) | None, true) if over => ("returned_unacknowledged", &t.shown_returned_unacknowledged),
        (Some(_) | None, true) => ("unacknowledged", &t.shown_unacknowledged),
        (None, false) => shown(&alert.shown, t),
    };
    let mut badges = Vec::new();
    if over {
        badges.push(Badge::plain(cleared_name(alert.clear_cause.as_deref(), t)));
    }
    if alert.quality != "good" {
        badges.push(Badge::warn(quality_name(&alert.quality, t)));
    }
    if alert.chain == "open" {
        badges.push(Badge::plain(&*t.chain_open));
    }
    if alert.case.is_none() {
        badges.push(Badge::plain(first_name(&alert.first, t)));
    }
    let (value, limit) = value_and_limit(alert);
    Row {
        id: alert.id.clone(),
        mark: Mark::new(&alert.priority, ctx.lang),
        title: ctx.words(&alert.title),
        sentence: ctx.words(&alert.sentence),
        unit: ctx.words(&alert.institution_name),
        device: ctx.words(&alert.device_name),
        value,
        limit,
        raised: ctx.moment(alert.since.unwrap_or(alert.raised_at)),
        state,
        state_text: state_text.to_owned(),
        unacked,
        over,
        badges,
        case: case.map(|case| CaseLink {
            id: case.id,
            number: case_number(case.id),
            seen: case.event,
            receivable: receives && state_of(case) == CaseState::Open,
        }),
    }
}

fn shown<'t>(code: &str, t: &'t Texts) -> (&'static str, &'t str) {
    match code {
        "acknowledged" => ("acknowledged", &t.shown_acknowledged),
        "latched" => ("latched", &t.shown_latched),
        "shelved" => ("shelved", &t.shown_shelved),
        "suppressed_by_design" => ("suppressed_by_design", &t.shown_suppressed_by_design),
        "out_of_service" => ("out_of_service", &t.shown_out_of_service),
        _ => ("normal", &t.shown_normal),
    }
}

/// Why an alert is over.
pub(crate) fn cleared_name<'t>(cause: Option<&str>, t: &'t Texts) -> &'t str {
    match cause {
        Some("settled") => &t.cleared_settled,
        Some("lapsed") => &t.cleared_lapsed,
        Some("superseded") => &t.cleared_superseded,
        Some("rule_removed") => &t.cleared_rule_removed,
        Some("disabled") => &t.cleared_disabled,
        Some(_) | None => &t.cleared_returned,
    }
}
