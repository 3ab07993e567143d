//! What a bundle tells people: who, when, what happened, and the curve of every point. For the cover only; nothing here is
//! a check.

use std::collections::BTreeMap;

use gateway_model::{
    Change, ConclusionBody, ConfigStep, CycleOutcome, CycleVerdict, EngineTime, GapCause, Input, Plan,
    Quality, StorageState, Text,
};
use gateway_wire::{Body, Header};

/// Columns of a chart: what falls into one is drawn from its lowest to its highest value.
pub(crate) const COLUMNS: usize = 720;
/// Empty columns that a line crosses in any case: points are read now and then, not always.
const BRIDGE: usize = 12;
/// Things told one by one; the rest is counted.
const TOLD_MAX: usize = 500;

/// Lowest and highest of the good values of one column, and whether anything else was in it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Column {
    pub(crate) span: Option<(f64, f64)>,
    pub(crate) doubt: bool,
}

/// One point's curve.
pub(crate) struct Curve {
    pub(crate) name: Text,
    pub(crate) unit: &'static str,
    pub(crate) limits: Vec<f64>,
    pub(crate) columns: Vec<Column>,
    /// Empty columns that a line still crosses.
    pub(crate) bridge: usize,
    /// Alerts that stood: from and to as shares of the width, and what they were.
    pub(crate) stood: Vec<(f64, f64, String)>,
}

impl Curve {
    /// Empty. Between two readings the point had not moved by its deadband, for as long as its heartbeat or its period lasts:
    /// so far a line goes on, and a little further.
    pub(crate) fn new(plan: &Plan, slot: usize, window: (EngineTime, EngineTime)) -> Option<Self> {
        let point = plan.points.get(slot)?;
        let quiet_ms = point.heartbeat_ms.max(point.every_ms).max(0) as f64 * 1.25;
        let column_ms = (window.1.since(window.0).max(1) as f64 / COLUMNS as f64).max(1.0);
        Some(Self {
            name: point.name.clone(),
            unit: point.unit.symbol(),
            limits: limits(Some(plan), slot),
            columns: vec![Column::default(); COLUMNS],
            bridge: BRIDGE.max((quiet_ms / column_ms) as usize + 1),
            stood: Vec::new(),
        })
    }

    /// A reading at this share (0 to 1) of the width; without a value it is doubtful.
    pub(crate) fn take(&mut self, share: f64, value: Option<f64>) {
        let place = ((share * COLUMNS as f64) as usize).min(COLUMNS - 1);
        let Some(column) = self.columns.get_mut(place) else { return };
        match value {
            Some(value) => {
                let widened = |(low, high): (f64, f64)| (low.min(value), high.max(value));
                column.span = Some(column.span.map_or((value, value), widened));
            }
            None => column.doubt = true,
        }
    }
}

/// Where between two moments this one lies, 0 to 1; `None` = outside.
pub(crate) fn share(window: (EngineTime, EngineTime), at: EngineTime) -> Option<f64> {
    let (from, to) = (window.0.0, window.1.0);
    (from..=to).contains(&at.0).then(|| (at.0 - from) as f64 / (to - from).max(1) as f64)
}

/// Something that happened.
pub(crate) struct Told {
    /// Civil time, ms; engine time where no clock was known.
    pub(crate) at: i64,
    pub(crate) what: Text,
    pub(crate) title: Text,
    pub(crate) value: Option<(f64, &'static str)>,
    pub(crate) limit: Option<f64>,
}

/// Points whose curves a report shows, at most; what it shows of the rest is how many there are. A curve is 1 kB.
const CURVES_MAX: usize = 200;

/// Which points of a plan have curves: all, or those that rules show first.
fn charted(plan: &Plan) -> Vec<bool> {
    let mut charted = vec![false; plan.points.len()];
    let shown = plan.rules.iter().filter_map(|rule| Some(rule.shown_point()?.slot()));
    let mut left = CURVES_MAX;
    for slot in shown.chain(0..plan.points.len()) {
        if let (1.., Some(one @ false)) = (left, charted.get_mut(slot)) {
            (*one, left) = (true, left - 1);
        }
    }
    charted
}

/// All of it.
pub(crate) struct Story {
    pub(crate) window: (EngineTime, EngineTime),
    pub(crate) institution: String,
    pub(crate) site: String,
    pub(crate) utc_offset_min: i16,
    pub(crate) offset_ms: i64,
    pub(crate) simulated: bool,
    pub(crate) records: u64,
    pub(crate) readings: u64,
    pub(crate) packs: BTreeMap<[u8; 32], (String, String)>,
    pub(crate) curves: BTreeMap<String, Curve>,
    pub(crate) told: Vec<Told>,
    pub(crate) more: u64,
    /// Points of the largest plan that have no curve here.
    pub(crate) uncharted: usize,
    plan: Option<Plan>,
    charted: Vec<bool>,
}

impl Story {
    pub(crate) fn new(window: (EngineTime, EngineTime)) -> Self {
        Self {
            window,
            institution: String::new(),
            site: String::new(),
            utc_offset_min: 0,
            offset_ms: 0,
            simulated: false,
            records: 0,
            readings: 0,
            packs: BTreeMap::new(),
            curves: BTreeMap::new(),
            told: Vec::new(),
            more: 0,
            uncharted: 0,
            plan: None,
            charted: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, header: &Header, body: &Body) {
        self.records += 1;
        match body {
            Body::Start(start) => self.simulated |= start.simulated,
            Body::Config(config) => {
                let plan = &config.plan;
                self.institution.clone_from(&plan.institution.0);
                self.site.clone_from(&plan.site.0);
                self.utc_offset_min = plan.utc_offset_min;
                for pack in &plan.packs {
                    self.packs.insert(pack.sha256, (pack.name.clone(), pack.version.clone()));
                }
                self.charted = charted(plan);
                let uncharted = self.charted.iter().filter(|charted| !**charted).count();
                self.uncharted = self.uncharted.max(uncharted);
                self.plan = Some(plan.clone());
            }
            Body::Inputs(inputs) => inputs.items.iter().for_each(|input| self.input(input)),
            Body::Conclusions(conclusions) => {
                let from = self.window.0;
                for one in conclusions.list.iter().filter(|one| one.at >= from) {
                    self.conclusion(one.at, &one.body);
                }
            }
            Body::Checkpoint(state) => self.offset_ms = state.clock.offset_ms,
            Body::Gap(gap) if header.t1 >= self.window.0 => {
                let (zh, en) = match gap.cause {
                    GapCause::Crash => {
                        ("网关未运行，期间无记录", "the gateway was not running: nothing recorded")
                    }
                    GapCause::Evicted => {
                        ("存储已满，较早的读数已让出", "storage full: older readings were given up")
                    }
                    GapCause::Corrupt => {
                        ("存储损坏，部分记录缺失", "damaged storage: some records are missing")
                    }
                    GapCause::Overrun => {
                        ("来不及记录，部分读数缺失", "too much at once: some readings are missing")
                    }
                    GapCause::Full => (
                        "存储已满，期间照常判断但未保存读数",
                        "storage full: judged as before, but readings were not kept",
                    ),
                    GapCause::Stopped => (
                        "网关按指令停机，期间无记录",
                        "the gateway had been stopped on purpose: nothing recorded",
                    ),
                    GapCause::TailLost => (
                        "网关存储丢失了中心已收到的记录",
                        "the gateway's storage lost records that the center has",
                    ),
                };
                self.tell(gap.from, text(zh, en), text("数据缺口", "Gap in the data"), None, None);
            }
            Body::Gap(_) | Body::Parted(_) | Body::Part(_) => {}
        }
    }

    fn input(&mut self, input: &Input) {
        match input {
            Input::Clock(clock) => self.offset_ms = clock.offset_ms,
            Input::Reading(reading) => {
                self.readings += 1;
                let slot = reading.point.slot();
                if self.charted.get(slot) != Some(&true) {
                    return;
                }
                let Some(point) = self.plan.as_ref().and_then(|plan| plan.points.get(slot)) else { return };
                let value = match reading.value {
                    Quality::Good(raw) => raw.value(point.gain, point.offset),
                    Quality::Uncertain(..) | Quality::Bad(_) => None,
                };
                let (Some(share), Some(plan)) = (share(self.window, reading.at), &self.plan) else { return };
                let id = point.id.clone();
                if !self.curves.contains_key(&id)
                    && let Some(curve) = Curve::new(plan, slot, self.window)
                {
                    self.curves.insert(id.clone(), curve);
                }
                if let Some(curve) = self.curves.get_mut(&id) {
                    curve.take(share, value);
                }
            }
            Input::Start(_)
            | Input::Advance(_)
            | Input::Command(_)
            | Input::Fact(_)
            | Input::Stop { .. }
            | Input::Heartbeat(_) => {}
        }
    }

    fn conclusion(&mut self, at: EngineTime, body: &ConclusionBody) {
        match body {
            ConclusionBody::Alert(change) => {
                let plan = self.plan.as_ref();
                let rule = plan.zip(change.rule).and_then(|(plan, rule)| plan.rules.get(rule.slot()));
                let device = rule.and_then(|rule| plan?.devices.get(rule.subject.slot()));
                let title = |pick: fn(&Text) -> &str| {
                    let rule = rule.map_or("?", |rule| pick(&rule.text.title));
                    device
                        .map_or_else(|| rule.to_owned(), |device| format!("{} · {rule}", pick(&device.name)))
                };
                let title = Text { zh: title(|text| &text.zh), en: title(|text| &text.en) };
                let (zh, en) = match change.change {
                    Change::Raised => ("报告异常", "raised"),
                    Change::Cleared(_) => ("恢复正常", "over"),
                    Change::Acknowledged => ("已签收", "received by a person"),
                    Change::Quality => ("数据质量变化", "quality of the data changed"),
                    Change::Gap => ("期间有数据缺口", "a gap in the data while it lasted"),
                    Change::Recurred => ("再次出现", "came back"),
                    Change::Step => ("程度变化", "another step of priority"),
                    Change::ReAlarmed => ("再次提醒", "reminded again"),
                    Change::Suppression => ("提醒状态变化", "reminders on or off"),
                    Change::Reset => ("复位", "reset"),
                    Change::Chattering => ("反复出现，合并提醒", "comes and goes: told as one"),
                    Change::Provable => ("超限可证明", "beyond the limit by more than the uncertainty"),
                    Change::Aggravated => ("情况加重", "got worse"),
                    Change::Escalated(_) => ("转为监督事项", "a supervisor's item now"),
                };
                let unit = rule.zip(plan).and_then(|(rule, plan)| rule.shown_unit(plan));
                let unit = unit.map_or("", gateway_model::Unit::symbol);
                self.tell(at, text(zh, en), title, change.value.map(|value| (value, unit)), change.limit);
            }
            ConclusionBody::Cycle(cycle) => {
                let (zh, en) = match cycle.outcome {
                    CycleOutcome::Judged(CycleVerdict::Passed) => ("周期合格", "cycle passed"),
                    CycleOutcome::Judged(
                        CycleVerdict::TooCool
                        | CycleVerdict::TooShort
                        | CycleVerdict::DoorOpened
                        | CycleVerdict::TooHot
                        | CycleVerdict::TooWeak
                        | CycleVerdict::Uneven
                        | CycleVerdict::NotSaturated,
                    ) => ("周期不合格", "cycle failed"),
                    CycleOutcome::Drying => ("烘干", "drying"),
                    CycleOutcome::Aborted => ("周期中止", "cycle stopped before its hold"),
                    CycleOutcome::NotMeasured => ("周期数据不足", "cycle not measured"),
                };
                let title = text(&format!("第{}次", cycle.n), &format!("cycle {}", cycle.n));
                self.tell(at, text(zh, en), title, Some((cycle.peak_c, "°C")), None);
            }
            ConclusionBody::Storage(storage) => {
                let (zh, en) = match storage.state {
                    StorageState::Enough => ("存储恢复正常", "there is room again"),
                    StorageState::Thinning => {
                        ("存储将满，读数记录变疏", "little room: readings are kept more sparsely")
                    }
                    StorageState::Full => ("存储已满，只保存预警", "no room: only alerts are kept"),
                };
                self.tell(at, text(zh, en), text("网关存储", "The gateway's storage"), None, None);
            }
            ConclusionBody::Folded(folded) => {
                let rule = self.plan.as_ref().and_then(|plan| plan.rules.get(folded.rule.slot()));
                let title = rule.map_or_else(|| text("?", "?"), |rule| rule.text.title.clone());
                let (zh, en) = (
                    format!("存储已满期间变化{}次", folded.changes),
                    format!("changed {} times while there was no room", folded.changes),
                );
                self.tell(at, text(&zh, &en), title, None, None);
            }
            ConclusionBody::Config(change) => {
                let (zh, en) = match change.step {
                    ConfigStep::Refused => ("新配置未被接受", "another configuration was refused"),
                    ConfigStep::Applied => ("新配置生效", "another configuration is in force"),
                    ConfigStep::Confirmed => ("新配置运行正常", "the configuration is confirmed"),
                    ConfigStep::RolledBack => ("已恢复原配置", "the configuration before is in force again"),
                };
                self.tell(at, text(zh, en), text("网关配置", "The gateway's configuration"), None, None);
            }
            // Said again in the life of each alert that it touches.
            ConclusionBody::Suppression(_) | ConclusionBody::Order { .. } => {}
        }
    }

    fn tell(
        &mut self,
        at: EngineTime,
        what: Text,
        title: Text,
        value: Option<(f64, &'static str)>,
        limit: Option<f64>,
    ) {
        if self.told.len() < TOLD_MAX {
            self.told.push(Told { at: at.civil(self.offset_ms).0, what, title, value, limit });
        } else {
            self.more += 1;
        }
    }
}

fn text(zh: &str, en: &str) -> Text {
    Text { zh: zh.to_owned(), en: en.to_owned() }
}

/// Limits of the conditions that show this point.
fn limits(plan: Option<&Plan>, slot: usize) -> Vec<f64> {
    let mut limits = Vec::new();
    for rule in plan.into_iter().flat_map(|plan| &plan.rules) {
        if let gateway_model::RuleKind::Condition { shown: Some(point), limit: Some(limit), .. } = &rule.kind
            && point.slot() == slot
        {
            limits.push(*limit);
        }
    }
    limits
}
