//! What a record tells those outside: readings, changes of alerts, cycles, gaps, each with the names of the plan and the
//! time of the clock. Everything else in a record is the center's business.

use std::sync::Arc;

use gateway_model::{
    AlertChange, Change, ConclusionBody, Cycle, CycleOutcome, EngineTime, Gap, GatewayId, Input, ModulePlan,
    Plan, Quality, Raw, Reading, RulePlan, Unit,
};
use gateway_wire::Body;
use serde_json::{Map, Value, json};

/// What is known where a record is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Whose records: its id as text.
    gateway: String,
    /// What they are to be read with.
    pub plan: Arc<Plan>,
    /// Civil − engine time, ms, if the clock is known.
    pub offset_ms: Option<i64>,
    /// Under the demo clock.
    pub simulated: bool,
}

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Happening<'r> {
    /// A point was read, or could not be.
    Reading(&'r Reading),
    /// An alert changed.
    Alert(EngineTime, &'r AlertChange),
    /// A cycle is over.
    Cycle(EngineTime, &'r Cycle),
    /// Readings are not there.
    Gap(&'r Gap),
    /// The clock is known anew.
    Clock(Option<i64>),
}

/// Everything in a record that somebody outside may want, in order.
pub fn happenings(body: &Body) -> Vec<Happening<'_>> {
    match body {
        Body::Inputs(inputs) => inputs
            .items
            .iter()
            .filter_map(|input| match input {
                Input::Reading(reading) => Some(Happening::Reading(reading)),
                Input::Clock(clock) => {
                    Some(Happening::Clock(clock.error_ms.is_some().then_some(clock.offset_ms)))
                }
                Input::Start(_)
                | Input::Advance(_)
                | Input::Command(_)
                | Input::Fact(_)
                | Input::Stop { .. }
                | Input::Heartbeat(_) => None,
            })
            .collect(),
        Body::Conclusions(conclusions) => conclusions
            .list
            .iter()
            .filter_map(|conclusion| match &conclusion.body {
                ConclusionBody::Alert(change) => Some(Happening::Alert(conclusion.at, change)),
                ConclusionBody::Cycle(cycle) => Some(Happening::Cycle(conclusion.at, cycle)),
                ConclusionBody::Order { .. }
                | ConclusionBody::Storage(_)
                | ConclusionBody::Folded(_)
                | ConclusionBody::Config(_)
                | ConclusionBody::Suppression(_) => None,
            })
            .collect(),
        Body::Gap(gap) => vec![Happening::Gap(gap)],
        Body::Start(_) | Body::Config(_) | Body::Checkpoint(_) | Body::Parted(_) | Body::Part(_) => {
            Vec::new()
        }
    }
}

impl Scene {
    /// Records of this gateway, read with this plan.
    pub fn new(gateway: GatewayId, plan: impl Into<Arc<Plan>>, simulated: bool) -> Self {
        let plan = plan.into();
        Self { gateway: gateway.to_string(), plan, offset_ms: None, simulated }
    }

    /// The id of the gateway.
    pub fn gateway_text(&self) -> &str {
        &self.gateway
    }

    /// Civil time, ms since 1970.
    pub fn civil(&self, at: EngineTime) -> Option<i64> {
        self.offset_ms.map(|offset| at.civil(offset).0)
    }

    /// Civil time as RFC 3339 in UTC, with milliseconds.
    pub fn stamp(&self, at: EngineTime) -> Option<String> {
        let moment = jiff::Timestamp::from_millisecond(self.civil(at)?).ok()?;
        Some(format!("{moment:.3}"))
    }

    /// Number, quality and cause; a bad reading has no number.
    pub fn quality(&self, reading: &Reading) -> Option<(Option<f64>, &'static str, Option<String>)> {
        let point = self.plan.points.get(reading.point.slot())?;
        let number = |raw: Raw| raw.value(point.gain, point.offset);
        Some(match reading.value {
            Quality::Good(raw) => (number(raw), "good", None),
            Quality::Uncertain(raw, cause) => (number(raw), "uncertain", Some(code(&cause))),
            Quality::Bad(cause) => (None, "bad", Some(code(&cause))),
        })
    }

    /// A change of an alert, every field by name; `None` where the plan has no such rule. An alert whose rule has gone from
    /// the plan is over: its end is told without what only the rule knew.
    pub fn alert(&self, at: EngineTime, change: &AlertChange) -> Option<Map<String, Value>> {
        let rule = match change.rule {
            Some(rule) => Some(self.plan.rules.get(rule.slot())?),
            None => None,
        };
        let (word, cause) = match change.change {
            Change::Cleared(cause) => ("cleared".to_owned(), Some(code(&cause))),
            Change::Escalated(cause) => ("escalated".to_owned(), Some(code(&cause))),
            told @ (Change::Raised
            | Change::Acknowledged
            | Change::Quality
            | Change::Gap
            | Change::Recurred
            | Change::Step
            | Change::ReAlarmed
            | Change::Suppression
            | Change::Reset
            | Change::Chattering
            | Change::Provable
            | Change::Aggravated) => (code(&told), None),
        };
        let detail = change.detail.unwrap_or_default();
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("time", self.stamp(at).into());
        put("gateway", self.gateway.clone().into());
        put("site", self.plan.site.0.clone().into());
        put("institution", self.plan.institution.0.clone().into());
        put("alert", change.alert.to_string().into());
        put("event", change.event.into());
        put("change", word.into());
        put("cause", cause.into());
        put("state", code(&change.regions.shown()).into());
        put("quality", code(&change.regions.quality).into());
        put("value", change.value.into());
        put("limit", change.limit.into());
        put("since", change.since.and_then(|since| self.stamp(since)).into());
        put("provable", detail.provable.into());
        put("trial", detail.trial.into());
        put("escalated", detail.escalated.into());
        self.rule(rule, &mut fields)?;
        self.mark(&mut fields);
        Some(fields)
    }

    /// What the rule of an alert knows: all of it `null` without one.
    fn rule(&self, rule: Option<&RulePlan>, fields: &mut Map<String, Value>) -> Option<()> {
        let device = match rule {
            Some(rule) => Some(self.plan.devices.get(rule.subject.slot())?),
            None => None,
        };
        let shown = rule.and_then(RulePlan::shown_point);
        let unit = rule.and_then(|rule| rule.shown_unit(&self.plan));
        let point = shown.and_then(|point| self.plan.points.get(point.slot()));
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("rule", rule.map(|rule| rule.id.clone()).into());
        put("priority", rule.map(|rule| priority(rule.priority)).into());
        put("device", device.map(|device| device.id.clone()).into());
        put("device_zh", device.map(|device| device.name.zh.clone()).into());
        put("device_en", device.map(|device| device.name.en.clone()).into());
        put("title_zh", rule.map(|rule| rule.text.title.zh.clone()).into());
        put("title_en", rule.map(|rule| rule.text.title.en.clone()).into());
        put("action_zh", rule.map(|rule| rule.text.action.zh.clone()).into());
        put("action_en", rule.map(|rule| rule.text.action.en.clone()).into());
        put("norm_zh", rule.map(|rule| rule.text.norm.zh.clone()).into());
        put("norm_en", rule.map(|rule| rule.text.norm.en.clone()).into());
        put("point", point.map(|point| point.id.clone()).into());
        put("unit", unit.map(Unit::symbol).into());
        Some(())
    }

    /// Device, outcome and figures of a cycle.
    pub fn cycle(&self, at: EngineTime, cycle: &Cycle) -> Option<(String, Value)> {
        let ModulePlan::HeatCycle(module) = self.plan.modules.get(cycle.module.slot())? else {
            return None;
        };
        let device = self.plan.devices.get(module.device.slot())?;
        let outcome = match cycle.outcome {
            CycleOutcome::Judged(verdict) => code(&verdict),
            CycleOutcome::Drying | CycleOutcome::NotMeasured | CycleOutcome::Aborted => code(&cycle.outcome),
        };
        let mut fields = Map::new();
        fields.insert("time".into(), self.stamp(at).into());
        fields.insert("gateway".into(), self.gateway.clone().into());
        fields.insert("device".into(), device.id.clone().into());
        fields.insert("program".into(), module.program.id.clone().into());
        fields.insert("n".into(), cycle.n.into());
        fields.insert("started".into(), self.stamp(cycle.started).into());
        fields.insert("outcome".into(), outcome.into());
        fields.insert("hold_ms".into(), cycle.hold_ms.into());
        fields.insert("peak_c".into(), json!(cycle.peak_c));
        fields.insert("unseen_ms".into(), cycle.unseen_ms.into());
        self.mark(&mut fields);
        Some((device.id.clone(), fields.into()))
    }

    /// A gap; the point is `null` where it is every point of the site.
    pub fn gap(&self, gap: &Gap) -> Value {
        let point = gap.point.and_then(|point| self.plan.points.get(point.slot()));
        let mut fields = Map::new();
        fields.insert("gateway".into(), self.gateway.clone().into());
        fields.insert("point".into(), point.map(|point| point.id.clone()).into());
        fields.insert("from".into(), self.stamp(gap.from).into());
        fields.insert("to".into(), self.stamp(gap.to).into());
        fields.insert("count".into(), gap.count.into());
        fields.insert("cause".into(), code(&gap.cause).into());
        self.mark(&mut fields);
        fields.into()
    }

    /// What was made up says so.
    fn mark(&self, fields: &mut Map<String, Value>) {
        fields.insert("simulated".into(), self.simulated.into());
    }
}

/// 1 = the most urgent.
pub fn priority(priority: gateway_model::Priority) -> u8 {
    match priority {
        gateway_model::Priority::Red => 1,
        gateway_model::Priority::Orange => 2,
        gateway_model::Priority::Yellow => 3,
        gateway_model::Priority::Blue => 4,
    }
}

/// `NoCommunication` as `no_communication`: the codes that the center's interface uses too.
pub fn code(value: &impl std::fmt::Debug) -> String {
    let mut text = String::new();
    for c in format!("{value:?}").chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
