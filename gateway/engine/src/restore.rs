//! What a checkpoint holds, and how a plan, the same or another, takes it over.
//!
//! Everything is found again by id, so that slots may move. A rule that says something else than before (its
//! fingerprint differs) or is gone ends its open alerts as superseded (T23) and is looked at anew at the next
//! start; branches that wait for an acknowledgement go on waiting while the rule exists. A cycle that runs
//! under a program that was exchanged is dropped: it can be judged by neither.
//!
//! Order at a start of the process: restore first, then step the `Start` input.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use gateway_model::{
    ClearCause, Conclusion, DevicePlan, HeatProgram, ModulePlan, ModuleState, Op, Plan, PointIx, PointState,
    Program, RuleIx, RuleKind, RulePlan, RuleState, SEMANTICS, State,
};

use crate::alert::{Desk, Face, Life};
use crate::engine::Engine;
use crate::points::Point;
use crate::timers::Timer;

/// The rule slot that superseded alerts name when their rule is no longer in the plan.
pub(crate) const NO_RULE: RuleIx = RuleIx(u16::MAX);

/// A state that cannot be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreError {
    /// It was saved by an engine that decides in a way this one does not know.
    UnknownSemantics(u16),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSemantics(semantics) => {
                write!(f, "saved with semantics {semantics}; this engine knows {SEMANTICS}")
            }
        }
    }
}

impl core::error::Error for RestoreError {}

impl Engine {
    /// Takes over what another engine saved. The conclusions are alerts superseded by a change of rules.
    pub fn restore(plan: Plan, state: State) -> Result<(Self, Vec<Conclusion>), RestoreError> {
        if state.semantics != SEMANTICS {
            return Err(RestoreError::UnknownSemantics(state.semantics));
        }
        let mut engine = Self::new(plan);
        let mut out = Vec::new();
        engine.now = state.now;
        engine.epoch = state.epoch;
        engine.next_alert = state.next_alert.max(1);
        engine.clock = state.clock;
        engine.restore_points(&state.points);
        engine.restore_modules(&state.modules);
        engine.restore_rules(state.rules, &mut out);
        for slot in 0..engine.lives.len() {
            let due = engine.lives.get(slot).and_then(|life| life.state.due);
            engine.timers.set(Timer::Rule(slot), due, engine.now);
            engine.arm_lapse(slot);
        }
        for module in 0..engine.modules.len() {
            engine.arm_module(module);
        }
        Ok((engine, out))
    }

    /// All it remembers, in the order of the plan.
    pub fn save(&self) -> State {
        let points = self.plan.points.iter().zip(&self.points.0);
        let rules = self.plan.rules.iter().zip(&self.lives);
        let modules = self.plan.modules.iter().zip(&self.modules);
        State {
            semantics: SEMANTICS,
            now: self.now,
            epoch: self.epoch,
            next_alert: self.next_alert,
            clock: self.clock,
            points: points.map(|(plan, point)| point.state(&plan.id)).collect(),
            rules: rules
                .map(|(rule, life)| RuleState {
                    rule: rule.id.clone(),
                    subject: subject(&self.plan, rule).into(),
                    fingerprint: fingerprint(&self.plan, rule),
                    alert: life.state,
                    events: life.events.clone(),
                    unacked: life.unacked.clone(),
                })
                .collect(),
            modules: modules
                .map(|(ModulePlan::HeatCycle(plan), module)| ModuleState::HeatCycle {
                    device: device_id(&self.plan, usize::from(plan.device.0)).into(),
                    next: module.cycle.next,
                    running: module.cycle.running.clone(),
                    program: plan.program.id.clone(),
                })
                .collect(),
        }
    }

    fn restore_points(&mut self, states: &[PointState]) {
        let states: BTreeMap<&str, &PointState> =
            states.iter().map(|state| (state.id.as_str(), state)).collect();
        for (slot, plan) in self.plan.points.iter().enumerate() {
            let (Some(state), Some(point)) = (states.get(plan.id.as_str()), self.points.0.get_mut(slot))
            else {
                continue;
            };
            *point = Point::restored(plan, state, self.now);
            self.timers.set(Timer::Stale(slot), point.stale_at(plan), self.now);
        }
        self.count_all_blind();
    }

    fn restore_modules(&mut self, states: &[ModuleState]) {
        let mut states: Vec<&ModuleState> = states.iter().collect();
        for (ModulePlan::HeatCycle(plan), module) in self.plan.modules.iter().zip(&mut self.modules) {
            let id = device_id(&self.plan, usize::from(plan.device.0));
            let position = states.iter().position(|ModuleState::HeatCycle { device, .. }| device == id);
            let Some(position) = position else { continue };
            // Each state once: a device may have several modules, in the order of the plan.
            let ModuleState::HeatCycle { next, running, program, device: _ } = states.remove(position);
            module.cycle.next = (*next).max(1);
            module.cycle.running = running.clone().filter(|_| *program == plan.program.id);
        }
    }

    fn restore_rules(&mut self, states: Vec<RuleState>, out: &mut Vec<Conclusion>) {
        let mut slots: BTreeMap<(&str, &str), (usize, u64)> = BTreeMap::new();
        for (slot, rule) in self.plan.rules.iter().enumerate() {
            let key = (rule.id.as_str(), subject(&self.plan, rule));
            slots.entry(key).or_insert((slot, fingerprint(&self.plan, rule)));
        }
        let mut desk = Desk { now: self.now, epoch: self.epoch, next_alert: &mut self.next_alert, out };
        for state in states {
            let mut life = Life { state: state.alert, events: state.events, unacked: state.unacked };
            let found = slots.get(&(state.rule.as_str(), state.subject.as_str()));
            if found.is_none_or(|&(_, fingerprint)| fingerprint != state.fingerprint) {
                let rule = found.map_or(NO_RULE, |&(slot, _)| RuleIx(slot as u16));
                supersede(&mut life, rule, &mut desk);
            }
            if let Some(kept) = found.and_then(|&(slot, _)| self.lives.get_mut(slot)) {
                *kept = life;
            }
        }
    }
}

/// T23: what is open is over, and nothing but branches is remembered.
fn supersede(life: &mut Life, rule: RuleIx, desk: &mut Desk<'_>) {
    let face = Face { rule, latching: false, value: None, limit: None };
    if life.is_open() {
        life.clear(ClearCause::Superseded, &face, desk);
    }
    while !life.events.is_empty() {
        life.clear_event(ClearCause::Superseded, &face, desk);
    }
    life.state = gateway_model::AlertState::default();
}

fn subject<'p>(plan: &'p Plan, rule: &RulePlan) -> &'p str {
    device_id(plan, usize::from(rule.subject.0))
}

fn device_id(plan: &Plan, device: usize) -> &str {
    plan.devices.get(device).map_or("", |device: &DevicePlan| device.id.as_str())
}

/// What the rule says, as one number: FNV-1a over its fields, with ids in the place of slots. Texts, priority
/// and verification are not part of it: they change nothing about when it is raised.
pub(crate) fn fingerprint(plan: &Plan, rule: &RulePlan) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.number(u64::from(rule.latching));
    match &rule.kind {
        RuleKind::Condition { when, returned, on_delay_ms, off_delay_ms, shown, limit } => {
            hash.number(0);
            hash.program(plan, when);
            hash.number(u64::from(returned.is_some()));
            if let Some(returned) = returned {
                hash.program(plan, returned);
            }
            hash.signed(*on_delay_ms);
            hash.signed(*off_delay_ms);
            hash.text(shown.map_or("", |point| point_id(plan, point)));
            hash.optional(*limit);
        }
        RuleKind::Absence { point, after_ms } => {
            hash.number(1);
            hash.text(point_id(plan, *point));
            hash.signed(*after_ms);
        }
        RuleKind::CycleFailed { module, settle_within_ms } => {
            hash.number(2);
            if let Some(ModulePlan::HeatCycle(module)) = plan.modules.get(usize::from(module.0)) {
                hash.text(point_id(plan, module.temperature));
                hash.text(module.door.map_or("", |point| point_id(plan, point)));
                hash.heat(&module.program);
            }
            hash.signed(*settle_within_ms);
        }
        RuleKind::DeviceUnevaluable { after_ms } => {
            hash.number(3);
            hash.signed(*after_ms);
        }
        RuleKind::BusUnevaluable { bus, after_ms } => {
            hash.number(4);
            hash.text(plan.buses.get(usize::from(*bus)).map_or("", |bus| bus.as_str()));
            hash.signed(*after_ms);
        }
    }
    hash.0
}

fn point_id(plan: &Plan, point: PointIx) -> &str {
    plan.points.get(usize::from(point.0)).map_or("", |point| point.id.as_str())
}

struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn signed(&mut self, number: i64) {
        self.bytes(&number.to_le_bytes());
    }

    fn float(&mut self, number: f64) {
        self.number(number.to_bits());
    }

    fn optional(&mut self, number: Option<f64>) {
        self.number(u64::from(number.is_some()));
        self.float(number.unwrap_or(0.0));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    fn program(&mut self, plan: &Plan, program: &Program) {
        self.number(program.0.len() as u64);
        for op in &program.0 {
            let code: u64 = match op {
                Op::Number(number) => {
                    self.float(*number);
                    0
                }
                Op::Truth(truth) => 1 + (u64::from(*truth) << 8),
                Op::Point(point) => {
                    self.text(point_id(plan, *point));
                    2
                }
                Op::TruthPoint(point) => {
                    self.text(point_id(plan, *point));
                    3
                }
                Op::Negate => 4,
                Op::Add => 5,
                Op::Subtract => 6,
                Op::Multiply => 7,
                Op::Divide => 8,
                Op::Less => 9,
                Op::LessOrEqual => 10,
                Op::Greater => 11,
                Op::GreaterOrEqual => 12,
                Op::Equal => 13,
                Op::NotEqual => 14,
                Op::And => 15,
                Op::Or => 16,
                Op::Not => 17,
                Op::Absolute => 18,
                Op::Minimum => 19,
                Op::Maximum => 20,
            };
            self.number(code);
        }
    }

    fn heat(&mut self, program: &HeatProgram) {
        self.text(&program.id);
        self.optional(program.band_c);
        for celsius in [program.set_c, program.start_c, program.end_c, program.dry_c] {
            self.float(celsius);
        }
        for ms in [program.hold_ms, program.dip_ms, program.end_ms, program.unseen_ms] {
            self.signed(ms);
        }
    }
}
