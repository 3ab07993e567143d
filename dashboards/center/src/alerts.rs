//! From an alert's changes, as the gateway's records tell them, to the row that people see.
//!
//! Changes may arrive out of order (conclusions go up ahead of any backlog): a row takes the regions of the
//! highest event number it has seen, and the facts of its raising whenever these come.

use std::fmt::Write as _;

use center_casebook::Telling;
use gateway_model::{
    About, AlertChange, Change, ClearCause, Cycle, EngineTime, First, Plan, Priority, ProcessRegion,
    QualityRegion, RulePlan, Shown, Text,
};
use sqlx::SqliteConnection;

use crate::app::App;
use crate::cases;
use crate::civil::ClockTable;
use crate::metrics::Metrics;
use crate::project::Changes;
use crate::store::alerts::StoredAlert;
use crate::store::gateways::Enrolled;
use crate::store::records::RecordRow;
use crate::store::{AlertRow, Words, alerts as rows, count_up};

/// What a change is to be read with.
pub struct Raised<'p> {
    /// The center.
    pub app: &'p App,
    /// Whose record.
    pub gateway: &'p Enrolled,
    /// Which record.
    pub row: &'p RecordRow,
    /// Its plan.
    pub plan: &'p Plan,
    /// What is known of civil time.
    pub clocks: &'p ClockTable,
    /// Offset where nothing is.
    pub fallback: i64,
    /// Engine time of the conclusion.
    pub at: EngineTime,
    /// The cycle concluded just before it.
    pub cycle: Option<&'p Cycle>,
    /// Of a box that was replaced, and unknown to the one that took its place: history, nobody's task any more.
    pub tail: bool,
}

/// `red`, `orange`, `yellow`, `blue`.
pub fn priority_code(priority: Priority) -> &'static str {
    match priority {
        Priority::Red => "red",
        Priority::Orange => "orange",
        Priority::Yellow => "yellow",
        Priority::Blue => "blue",
    }
}

fn first_code(first: First) -> &'static str {
    match first {
        First::Institution => "institution",
        First::Maintainer => "maintainer",
        First::Collector => "collector",
        First::Supervisor => "supervisor",
    }
}

fn shown_code(shown: Shown) -> &'static str {
    match shown {
        Shown::Normal => "normal",
        Shown::Unacknowledged => "unacknowledged",
        Shown::Acknowledged => "acknowledged",
        Shown::ReturnedUnacknowledged => "returned_unacknowledged",
        Shown::Latched => "latched",
        Shown::Shelved => "shelved",
        Shown::SuppressedByDesign => "suppressed_by_design",
        Shown::OutOfService => "out_of_service",
    }
}

fn quality_code(quality: QualityRegion) -> &'static str {
    match quality {
        QualityRegion::Good => "good",
        QualityRegion::Stale => "stale",
        QualityRegion::Bad => "bad",
        QualityRegion::Unevaluable => "unevaluable",
    }
}

/// Why an alert is over whose rule another configuration does not have.
const RULE_REMOVED: &str = "rule_removed";

fn cause_code(cause: ClearCause) -> &'static str {
    match cause {
        ClearCause::Returned => "returned",
        ClearCause::Settled => "settled",
        ClearCause::Lapsed => "lapsed",
        ClearCause::Superseded => "superseded",
        ClearCause::Disabled => "disabled",
    }
}

/// Takes one change of one alert in.
pub async fn changed(
    tx: &mut SqliteConnection,
    with: &Raised<'_>,
    change: &AlertChange,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let held = rows::find(tx, &with.row.gateway, "gateway", change.alert).await?;
    // What both boxes know of is told by the one that is in use.
    let known_before = held.as_ref().is_some_and(|held| {
        let (epoch, seq) = held.record;
        !with.gateway.keys.iter().any(|key| key.is_tail(epoch, seq))
    });
    if with.tail && known_before {
        return Ok(());
    }
    let Some(rule) = change.rule.and_then(|rule| with.plan.rules.get(rule.slot())) else {
        return without_rule(tx, with, change, held, changes).await;
    };
    let is_raise = change.change == Change::Raised;
    let new = held.is_none();
    let mut alert = match held {
        Some(held) => held,
        None => fresh(tx, with, rule, change).await?,
    };
    if is_raise && !new {
        // It was known by a later change only.
        raised(&mut alert, with, rule, change);
    }
    center_casebook::telling(with.plan, rule).code().clone_into(&mut alert.row.told);
    alert.row.trial |= change.detail.is_some_and(|detail| detail.trial);
    if new || change.event > alert.row.event {
        regions(&mut alert, with, change);
        priority_code(center_casebook::priority(rule, change.detail)).clone_into(&mut alert.row.priority);
    }
    if with.tail {
        supersede(&mut alert, with.clocks.civil(with.at, with.fallback).0);
    }
    rows::keep(tx, &alert).await?;
    changes.alerts.insert(alert.row.n);
    if new {
        Metrics::count(&with.app.metrics.alerts_raised);
    }
    let urgent = center_casebook::priority(rule, change.detail);
    // What is handled below is shown and counted, but opens no case before its window ends (design §7).
    let opens = (is_raise || alert.row.state == "open") && !with.tail;
    if opens && alert.row.case.is_none() && center_casebook::is_item(with.plan, rule, change.detail) {
        let case = cases::raise(tx, with.app, &alert, rule, urgent, changes).await?;
        alert.row.case = Some(case);
        rows::keep(tx, &alert).await?;
    }
    if opens && !is_raise && alert.row.case.is_some() {
        cases::worsen(tx, with.app, &alert, urgent, changes).await?;
    }
    if alert.row.state == "cleared" && alert.row.case.is_some() {
        cases::clear(tx, with.app, &alert, changes).await?;
    }
    Ok(())
}

/// Ended because the box that raised it is gone; one that it ended itself stays as it was.
pub fn supersede(alert: &mut StoredAlert, now: i64) {
    if alert.row.state != "cleared" {
        "cleared".clone_into(&mut alert.row.state);
        alert.row.clear_cause = Some(cause_code(ClearCause::Superseded).to_owned());
        alert.row.cleared_at = Some(now);
        alert.cleared = Some(alert.raised);
    }
}

/// The gateway's plan no longer has the rule: it can only be over.
async fn without_rule(
    tx: &mut SqliteConnection,
    with: &Raised<'_>,
    change: &AlertChange,
    held: Option<StoredAlert>,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let Some(mut alert) = held.filter(|held| change.event > held.row.event) else {
        Metrics::count(&with.app.metrics.projection_failures);
        tracing::warn!(
            gateway = with.row.gateway,
            alert = %change.alert,
            "an alert that is not known here names no rule"
        );
        return Ok(());
    };
    regions(&mut alert, with, change);
    if alert.row.clear_cause.as_deref() == Some(cause_code(ClearCause::Superseded)) {
        alert.row.clear_cause = Some(RULE_REMOVED.to_owned());
    }
    rows::keep(tx, &alert).await?;
    changes.alerts.insert(alert.row.n);
    if alert.row.state == "cleared" && alert.row.case.is_some() {
        cases::clear(tx, with.app, &alert, changes).await?;
    }
    Ok(())
}

async fn fresh(
    tx: &mut SqliteConnection,
    with: &Raised<'_>,
    rule: &RulePlan,
    change: &AlertChange,
) -> sqlx::Result<StoredAlert> {
    let n = count_up(tx, "alerts").await?;
    let device = with.plan.devices.get(rule.subject.slot());
    let row = AlertRow {
        n,
        id: format!("{}/{}", with.row.gateway, change.alert),
        source: "gateway".to_owned(),
        gateway: with.row.gateway.clone(),
        institution: with.gateway.institution.clone(),
        institution_name: Words::default(),
        site: with.gateway.site.clone(),
        device: device.map(|device| device.id.clone()).unwrap_or_default(),
        device_name: device.map(|device| device.name.clone().into()).unwrap_or_default(),
        rule: rule.id.clone(),
        title: Words::default(),
        sentence: Words::default(),
        action: Words::default(),
        norm: Words::default(),
        priority: priority_code(rule.priority).to_owned(),
        first: first_code(rule.first).to_owned(),
        told: String::new(),
        trial: false,
        state: "open".to_owned(),
        shown: String::new(),
        quality: String::new(),
        clear_cause: None,
        chain: "open".to_owned(),
        point: None,
        value: None,
        limit: None,
        unit: None,
        since: None,
        raised_at: 0,
        cleared_at: None,
        received_at: with.row.received_at,
        event: 0,
        case: None,
        simulated: with.app.clock.simulated(),
    };
    let mut alert =
        StoredAlert { row, alert: change.alert, record: (0, 0), since: None, raised: 0, cleared: None };
    raised(&mut alert, with, rule, change);
    Ok(alert)
}

/// The facts of the raising.
fn raised(alert: &mut StoredAlert, with: &Raised<'_>, rule: &RulePlan, change: &AlertChange) {
    let civil = |at| with.clocks.civil(at, with.fallback).0;
    let point = rule.shown_point().and_then(|point| with.plan.points.get(point.slot()));
    alert.record = (with.row.epoch, with.row.seq);
    alert.raised = with.at.0;
    alert.since = change.since.map(|at| at.0);
    let row = &mut alert.row;
    row.raised_at = civil(with.at);
    row.since = change.since.map(civil);
    row.point = point.map(|point| point.id.clone());
    row.unit = rule.shown_unit(with.plan).map(|unit| unit.symbol().to_owned());
    row.value = change.value.filter(|value| value.is_finite());
    row.limit = change.limit.filter(|limit| limit.is_finite());
    let fill = Fill {
        value: row.value,
        limit: row.limit,
        unit: row.unit.as_deref().unwrap_or_default(),
        device: &row.device_name,
        point: point.map(|point| &point.name),
        cycle: with.cycle,
        held_ms: change.since.map(|since| with.at.since(since)),
        about: change.about.as_ref(),
    };
    row.title = fill.words(&rule.text.title);
    row.sentence = fill.words(&rule.text.sentence);
    row.action = fill.words(&rule.text.action);
    row.norm = rule.text.norm.clone().into();
}

/// Where it stands after the change.
fn regions(alert: &mut StoredAlert, with: &Raised<'_>, change: &AlertChange) {
    let row = &mut alert.row;
    row.event = change.event;
    shown_code(change.regions.shown()).clone_into(&mut row.shown);
    quality_code(change.regions.quality).clone_into(&mut row.quality);
    match change.change {
        Change::Cleared(cause) => {
            "cleared".clone_into(&mut row.state);
            row.clear_cause = Some(cause_code(cause).to_owned());
            row.cleared_at = Some(with.clocks.civil(with.at, with.fallback).0);
            alert.cleared = Some(with.at.0);
        }
        Change::Acknowledged
        | Change::Quality
        | Change::Gap
        | Change::Recurred
        | Change::Raised
        | Change::Step
        | Change::ReAlarmed
        | Change::Suppression
        | Change::Reset
        | Change::Chattering
        | Change::Provable
        | Change::Aggravated
        | Change::Escalated(_) => {
            // A later change of an alert that is over (its acknowledgement) leaves it so.
            let active = matches!(change.regions.process, ProcessRegion::Active | ProcessRegion::Clearing);
            if active || row.state.is_empty() {
                "open".clone_into(&mut row.state);
            }
        }
    }
}

/// Has nobody received it, by its last known regions?
pub fn waits(row: &AlertRow) -> bool {
    let acked = Shown::Acknowledged;
    row.state == "open" && row.shown != shown_code(acked)
        || row.shown == shown_code(Shown::ReturnedUnacknowledged)
}

/// Is it told on Monday only?
pub fn is_lead(row: &AlertRow) -> bool {
    row.told == Telling::Lead.code()
}

/// What a rule's texts may hold.
struct Fill<'f> {
    value: Option<f64>,
    limit: Option<f64>,
    unit: &'f str,
    device: &'f Words,
    point: Option<&'f Text>,
    cycle: Option<&'f Cycle>,
    held_ms: Option<i64>,
    about: Option<&'f About>,
}

impl Fill<'_> {
    fn words(&self, text: &Text) -> Words {
        Words { zh: self.fill(&text.zh, false), en: self.fill(&text.en, true) }
    }

    fn fill(&self, text: &str, english: bool) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let Some((name, tail)) = after.split_once('}') else {
                filled.push('{');
                rest = after;
                continue;
            };
            match self.slot(name, english) {
                Some(value) => filled.push_str(&value),
                // Unknown to this release: shown as written, so that somebody notices.
                None => write!(filled, "{{{name}}}").unwrap_or_default(),
            }
            rest = tail;
        }
        filled.push_str(rest);
        filled
    }

    fn slot(&self, name: &str, english: bool) -> Option<String> {
        let none = || if english { "unknown".to_owned() } else { "未知".to_owned() };
        let shown = |value: Option<f64>| value.map_or_else(none, number);
        Some(match name {
            "value" => shown(self.value),
            "limit" => shown(self.limit),
            "unit" => unit_name(self.unit, english).to_owned(),
            "device" => self.device.pick(english).to_owned(),
            "point" => {
                self.point.map_or_else(none, |name| if english { name.en.clone() } else { name.zh.clone() })
            }
            "peak" => shown(self.cycle.map(|cycle| cycle.peak_c)),
            "hold" => self.cycle.map_or_else(none, |cycle| duration(cycle.hold_ms, english)),
            "duration" => self.held_ms.map_or_else(none, |ms| duration(ms, english)),
            "labels" => self.about.map_or_else(none, |about| labels(about, english)),
            _ => return None,
        })
    }
}

/// The things an alert is about, by name.
fn labels(about: &About, english: bool) -> String {
    let mut text = about.labels.join(if english { ", " } else { "、" });
    if about.more > 0 {
        let all = about.labels.len() as u64 + u64::from(about.more);
        if english {
            write!(text, " and {} more", about.more).unwrap_or_default();
        } else {
            write!(text, "等{all}袋").unwrap_or_default();
        }
    }
    text
}

/// As a sentence says it: hours, minutes and seconds are words in Chinese, a plain number has no unit.
fn unit_name(unit: &str, english: bool) -> &str {
    match unit {
        "1" | "bool" => "",
        "h" if !english => "小时",
        "min" if !english => "分钟",
        "s" if !english => "秒",
        unit => unit,
    }
}

/// At most two digits after the point, none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn duration(ms: i64, english: bool) -> String {
    let seconds = ms / 1_000;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let names = if english { [" h ", " min ", " s"] } else { ["小时", "分钟", "秒"] };
    let mut text = String::new();
    if hours > 0 {
        write!(text, "{hours}{}", names[0]).unwrap_or_default();
    }
    if minutes > 0 {
        write!(text, "{minutes}{}", names[1]).unwrap_or_default();
    }
    if hours == 0 && (seconds > 0 || minutes == 0) {
        write!(text, "{seconds}{}", names[2]).unwrap_or_default();
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_filled_and_unknown_slots_stay() {
        let device = Words { zh: "1号消毒柜".into(), en: "Cabinet 1".into() };
        let about = About { labels: vec!["MW-7".into(), "MW-9".into()], more: 3 };
        let fill = Fill {
            value: Some(131.5),
            limit: Some(125.0),
            unit: "°C",
            device: &device,
            point: None,
            cycle: None,
            held_ms: Some(90_000),
            about: Some(&about),
        };
        let text = Text {
            zh: "{device}温度{value}{unit}，超过{limit}{unit}已{duration}".into(),
            en: "{device}: {value} {unit}, above {limit} for {duration}; {peak} {later} {".into(),
        };
        let words = fill.words(&text);
        assert_eq!(words.zh, "1号消毒柜温度131.5°C，超过125°C已1分钟30秒");
        assert_eq!(words.en, "Cabinet 1: 131.5 °C, above 125 for 1 min 30 s; unknown {later} {");
        let which = fill.words(&Text { zh: "标签{labels}".into(), en: "labels {labels}".into() });
        assert_eq!(
            (which.zh.as_str(), which.en.as_str()),
            ("标签MW-7、MW-9等5袋", "labels MW-7, MW-9 and 3 more")
        );
    }
}
