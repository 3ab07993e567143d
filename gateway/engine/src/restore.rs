//! What a checkpoint holds, and how a plan, the same or another, takes it over.
//!
//! Everything is found again by id, so that slots may move. A rule that says something else than before (its
//! fingerprint differs) or is gone ends its open alerts as superseded (T23) and is looked at anew at the next
//! start; branches that wait for an acknowledgement go on waiting while the rule exists. A cycle that runs
//! under a program that was exchanged is dropped: it can be judged by neither.
//!
//! Order at a start of the process: restore first, then step the `Start` input.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use gateway_model::{
    AlertState, ClearCause, Conclusion, DevicePlan, HandlingState, JudgingState, ModuleState, Plan, PointIx,
    PointState, RuleIx, RulePlan, RuleState, SEMANTICS, State,
};

use crate::alert::{Desk, Face, Life};
use crate::engine::{Engine, is_disabled, windows};
use crate::fingerprint::fingerprint;
use crate::points::Point;
use crate::timers::Timer;

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
    pub fn restore(
        plan: impl Into<Arc<Plan>>,
        state: State,
    ) -> Result<(Self, Vec<Conclusion>), RestoreError> {
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
        engine.restore_judging(state.judging.unwrap_or_default());
        engine.restore_rules(state.rules, &mut out);
        for slot in 0..engine.lives.len() {
            let due = engine.lives.get(slot).and_then(|life| life.state.due);
            engine.timers.set(Timer::Rule(slot), due, engine.now);
            let due = engine.lives.get(slot).and_then(Life::handling_due);
            engine.timers.set(Timer::Handling(slot), due, engine.now);
            engine.arm_lapse(slot);
            engine.remember(slot);
        }
        engine.hours_now = engine.hours().now(engine.now);
        engine.arm_calendar();
        for slot in 0..engine.windows.len() {
            let due = engine.windows.get(slot).and_then(|window| window.look);
            engine.timers.set(Timer::Window(slot), due, engine.now);
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
                    handling: rule.handling.as_ref().map(|_| life.handling.clone()),
                })
                .collect(),
            modules: modules.map(|(plan, module)| module.state(&self.plan, plan)).collect(),
            judging: self.plan.judging.as_ref().map(|judging| JudgingState {
                windows: judging
                    .windows
                    .iter()
                    .zip(&self.windows)
                    .map(|(plan, window)| window.state(point_id(&self.plan, plan.point), plan))
                    .collect(),
                closures: self.closures.clone(),
            }),
        }
    }

    fn restore_judging(&mut self, state: JudgingState) {
        self.closures = state.closures;
        let mut slots = BTreeMap::new();
        for (slot, plan) in windows(&self.plan).iter().enumerate() {
            slots.entry((point_id(&self.plan, plan.point), plan.span_ms)).or_insert(slot);
        }
        for state in state.windows {
            let found = slots.get(&(state.point.as_str(), state.span_ms));
            if let Some(window) = found.and_then(|&slot| self.windows.get_mut(slot)) {
                window.restore(state);
            }
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
            self.timers.set(Timer::Stale(slot), point.stale_at(), self.now);
        }
        for slot in 0..self.points.0.len() {
            self.count_blind(slot);
        }
        self.note_blind_buses();
    }

    fn restore_modules(&mut self, states: &[ModuleState]) {
        let mut states: Vec<&ModuleState> = states.iter().collect();
        for (plan, module) in self.plan.modules.iter().zip(&mut self.modules) {
            // Each state once: a device may have several modules, in the order of the plan.
            if let Some(taken) = states.iter().position(|state| module.restore(&self.plan, plan, state)) {
                states.remove(taken);
            }
        }
    }

    fn restore_rules(&mut self, states: Vec<RuleState>, out: &mut Vec<Conclusion>) {
        let mut slots: BTreeMap<(&str, &str), (usize, u64)> = BTreeMap::new();
        for (slot, rule) in self.plan.rules.iter().enumerate() {
            let key = (rule.id.as_str(), subject(&self.plan, rule));
            slots.entry(key).or_insert((slot, fingerprint(&self.plan, rule)));
        }
        let mut desk =
            Desk { now: self.now, epoch: self.epoch, next_alert: &mut self.next_alert, out, about: None };
        for state in states {
            let mut life = Life {
                state: state.alert,
                events: state.events,
                unacked: state.unacked,
                handling: state.handling.unwrap_or_default(),
            };
            let found = slots.get(&(state.rule.as_str(), state.subject.as_str()));
            if found.is_none_or(|&(_, fingerprint)| fingerprint != state.fingerprint) {
                let disabled =
                    found.and_then(|&(slot, _)| self.plan.rules.get(slot)).is_some_and(is_disabled);
                let cause = if disabled { ClearCause::Disabled } else { ClearCause::Superseded };
                supersede(&mut life, found.map(|&(slot, _)| RuleIx::of(slot)), cause, &mut desk);
            }
            if let Some(kept) = found.and_then(|&(slot, _)| self.lives.get_mut(slot)) {
                *kept = life;
            }
        }
    }
}

/// T23, T24: what is open is over, and nothing but branches is remembered, and a permit to be out of service:
/// that is of the device, not of the rule. A pause ends (T19: not known = not paused).
fn supersede(life: &mut Life, rule: Option<RuleIx>, cause: ClearCause, desk: &mut Desk<'_>) {
    let face = Face::bare(rule);
    if life.is_open() {
        life.clear(cause, &face, desk);
    }
    while !life.events.is_empty() {
        life.clear_event(cause, &face, desk);
    }
    let out_of_service = life.handling.out_of_service;
    life.handling = HandlingState { out_of_service, ..HandlingState::default() };
    life.state = AlertState::default();
    life.state.regions.suppression.out_of_service = out_of_service.is_some();
}

fn subject<'p>(plan: &'p Plan, rule: &RulePlan) -> &'p str {
    device_id(plan, rule.subject.slot())
}

pub(crate) fn device_id(plan: &Plan, device: usize) -> &str {
    plan.devices.get(device).map_or("", |device: &DevicePlan| device.id.as_str())
}

pub(crate) fn point_id(plan: &Plan, point: PointIx) -> &str {
    plan.points.get(point.slot()).map_or("", |point| point.id.as_str())
}
