//! Feeds the modules from points and facts, and settles the events that they cause or end.

use alloc::vec::Vec;

use gateway_model::{
    About, AggravatedBy, Conclusion, ConclusionBody, Counted, Counters, CycleOutcome, CycleVerdict,
    DeviceFact, EngineTime, Fact, FactBody, HeatCyclePlan, ModuleEvent, ModuleIx, ModulePlan, PointIx,
    RuleKind,
};

use crate::engine::Engine;
use crate::heat_cycle::{Door, Sample};
use crate::lethality::saturation_c;
use crate::module::{Heat, Module};
use crate::points::{Class, Points};
use crate::timers::Timer;
use crate::waste::Noticed;
use crate::wiring::listed;

/// Conditions look again at an output that grows with time alone at most this often, ms.
const LOOK_MIN_MS: i64 = 60_000;

/// What the door contact says.
pub(crate) fn door(plan: &HeatCyclePlan, points: &Points) -> Door {
    match plan.door {
        None => Door::Shut,
        Some(point) => match points.believed(point) {
            None => Door::Unknown,
            Some(0.0) => Door::Shut,
            Some(_) => Door::Open,
        },
    }
}

/// Whether the heater's power is on; `None` = there is none to ask, or it cannot be believed.
fn heating(plan: &HeatCyclePlan, points: &Points) -> Option<bool> {
    let stop = plan.stop?;
    points.believed(stop.power?).map(|power| power >= stop.heating)
}

/// A believed temperature with all that is measured beside it.
pub(crate) fn sample(
    plan: &HeatCyclePlan,
    points: &Points,
    at: EngineTime,
    celsius: f64,
    previous: Option<EngineTime>,
) -> Sample {
    let probes = plan.probes.as_ref();
    let others = probes.into_iter().flat_map(|probes| &probes.others).filter_map(|p| points.believed(*p));
    let (mut low, mut high, mut any) = (celsius, celsius, false);
    for other in others {
        any = true;
        low = if other < low { other } else { low };
        high = if other > high { other } else { high };
    }
    let pressure = probes.and_then(|probes| probes.pressure).and_then(|point| points.believed(point));
    Sample {
        at,
        celsius,
        previous,
        door: door(plan, points),
        spread_k: any.then_some(high - low),
        saturation_k: pressure.and_then(saturation_c).map(|steam| libm::fabs(steam - celsius)),
        heating: heating(plan, points) == Some(true),
    }
}

/// Since when the temperature cannot be believed, if it cannot.
pub(crate) fn blind_since(plan: &HeatCyclePlan, points: &Points) -> Option<EngineTime> {
    let point = points.get(plan.temperature)?;
    point.since.filter(|_| point.class() != Class::Good)
}

impl Engine {
    /// The point has a new reading or another class. `previous`: stamp of its believed reading before this
    /// one. `at`: the reading's stamp, where there is one.
    pub(crate) fn feed_module(
        &mut self,
        module: usize,
        point: PointIx,
        at: Option<EngineTime>,
        previous: Option<EngineTime>,
    ) {
        let Some((working, plan)) = self.modules.get_mut(module).zip(self.plan.modules.get(module)) else {
            return;
        };
        match (working, plan) {
            (Module::Heat(Heat { chamber, cycle }), ModulePlan::HeatCycle(plan)) => {
                if plan.door == Some(point) {
                    cycle.door(chamber, self.now, door(plan, &self.points));
                }
                if plan.stop.is_some_and(|stop| stop.power == Some(point)) {
                    cycle.power(self.now, heating(plan, &self.points));
                }
                if let (true, Some(at), Some(celsius)) =
                    (plan.temperature == point, at, self.points.believed(point))
                {
                    cycle.temperature(chamber, &sample(plan, &self.points, at, celsius, previous));
                }
            }
            (Module::Lamp(meter) | Module::Machine(meter), _) => {
                let before = meter.state.on_ms;
                match (self.points.believed(point), at) {
                    (Some(value), Some(at)) => meter.read(at, value),
                    (None, _) => meter.lose(),
                    (Some(_), None) => (),
                }
                let minutes = meter.state.on_ms.saturating_sub(before) as f64 / 60_000.0;
                if minutes > 0.0 {
                    for place in 0..listed(&self.wiring.minutes, module).len() {
                        let ratio = self.wiring.minutes[module][place];
                        self.tally_in(ratio, Counted::OnMinutes(ModuleIx::of(module)), minutes);
                    }
                }
            }
            (Module::Ratio(_), ModulePlan::Ratio(plan)) => {
                if let (Some(value), Some(_)) = (self.points.believed(point), at) {
                    let amount = |counted| if counted == Counted::Readings(point) { value } else { 0.0 };
                    let (of, to) = (amount(plan.of), amount(plan.to));
                    self.count(module, of, to);
                }
            }
            (Module::Waste(waste), ModulePlan::Waste(plan)) => {
                let rests = plan.stable.is_none_or(|stable| self.points.believed(stable) == Some(1.0));
                if let (Some(kg), true) =
                    (plan.net.and_then(|net| self.points.believed(net)), rests && at.is_some())
                {
                    waste.weighed(self.now, libm::round(kg * 1000.0) as i64);
                }
            }
            _ => (),
        }
        self.arm_module(module);
    }

    pub(crate) fn arm_module(&mut self, module: usize) {
        let Some((working, plan)) = self.modules.get(module).zip(self.plan.modules.get(module)) else {
            return;
        };
        let looked_at = !listed(&self.wiring.outputs, module).is_empty();
        let due = match (working, plan) {
            (Module::Heat(Heat { chamber, cycle }), ModulePlan::HeatCycle(plan)) => {
                cycle.deadline(chamber, blind_since(plan, &self.points))
            }
            (Module::Ratio(_), _) => self.hours().next_day(self.now),
            (Module::Duty(duty), _) if looked_at => {
                let due = duty.due(&self.hours());
                due.map(|due| if due > self.now { due } else { self.look_again(due, LOOK_MIN_MS) })
            }
            (Module::Waste(waste), _) if looked_at => {
                waste.growing().map(|since| self.look_again(since, LOOK_MIN_MS)).min()
            }
            _ => None,
        };
        self.timers.set(Timer::Module(module), due, self.now);
    }

    /// The module's timer fired.
    pub(crate) fn module_due(&mut self, module: usize, out: &mut Vec<Conclusion>) {
        match self.modules.get(module) {
            Some(Module::Heat(_)) => self.end_cycle(module, out),
            Some(Module::Ratio(_)) => {
                self.count(module, 0.0, 0.0);
                self.outputs_changed(module, out);
            }
            _ => self.outputs_changed(module, out),
        }
        self.arm_module(module);
    }

    fn end_cycle(&mut self, module: usize, out: &mut Vec<Conclusion>) {
        let Some(Module::Heat(Heat { chamber, cycle })) = self.modules.get_mut(module) else { return };
        let limit = chamber.program.set_c;
        let Some(cycle) = cycle.end(chamber, ModuleIx::of(module), self.now) else { return };
        let (outcome, started, peak) = (cycle.outcome, cycle.started, cycle.peak_c);
        out.push(Conclusion { at: self.now, body: ConclusionBody::Cycle(cycle) });
        match outcome {
            CycleOutcome::Judged(CycleVerdict::Passed) => {
                self.settle_events(module, (peak, limit), out);
                self.tally(Counted::CyclesPassed(ModuleIx::of(module)), 1.0);
            }
            CycleOutcome::Judged(
                CycleVerdict::TooCool
                | CycleVerdict::TooShort
                | CycleVerdict::DoorOpened
                | CycleVerdict::TooHot
                | CycleVerdict::TooWeak
                | CycleVerdict::Uneven
                | CycleVerdict::NotSaturated,
            ) => self.raise_events(module, started, (peak, limit), out),
            CycleOutcome::NotMeasured => {
                let shown = (Some(peak), Some(limit));
                self.raise_module_event(module, ModuleEvent::CycleUnmeasured, shown, None, out);
            }
            CycleOutcome::Aborted => {
                let shown = (Some(peak), Some(limit));
                self.raise_module_event(module, ModuleEvent::CycleAborted, shown, None, out);
            }
            CycleOutcome::Drying => (),
        }
    }

    /// A fact is for every module that counts its kind, whichever device reports it, and for the ledger and the
    /// duties of its own device.
    pub(crate) fn fact(&mut self, fact: &Fact, out: &mut Vec<Conclusion>) {
        match &fact.body {
            FactBody::Visits { count } => {
                self.tally(Counted::Visits, f64::from(*count));
                if *count > 0 {
                    self.aggravate(AggravatedBy::Visit, out);
                }
            }
            FactBody::HandpiecesPacked { count } => {
                self.tally(Counted::HandpiecesPacked, f64::from(*count));
            }
            // Another probe: how long the old one stood still is not its own, whatever becomes of the counters.
            FactBody::Device(DeviceFact::Replaced { .. }) => {
                let plans = self.points.0.iter_mut().zip(&self.plan.points);
                for (point, _) in plans.filter(|(_, plan)| plan.device == fact.device) {
                    if let Some(watch) = &mut point.watch {
                        watch.forget();
                    }
                }
            }
            FactBody::BagLabelled { grams, .. } => self.tally(Counted::WasteGrams, *grams as f64),
            FactBody::Weighing { .. }
            | FactBody::HandOver { .. }
            | FactBody::Device(_)
            | FactBody::BagsStored { .. }
            | FactBody::WasteReceived { .. }
            | FactBody::DutyDone { .. } => (),
        }
        for module in 0..self.modules.len() {
            self.fact_for(module, fact, out);
        }
    }

    fn fact_for(&mut self, module: usize, fact: &Fact, out: &mut Vec<Conclusion>) {
        let now = self.now;
        let Some((working, plan)) = self.modules.get_mut(module).zip(self.plan.modules.get(module)) else {
            return;
        };
        let noticed = match (working, plan, &fact.body) {
            (Module::Waste(waste), ModulePlan::Waste(plan), body)
                if plan.feed == fact.device || plan.scale == Some(fact.device) =>
            {
                waste.fact(now, body)
            }
            (Module::Duty(duty), ModulePlan::Duty(plan), FactBody::DutyDone { duty: name, passed })
                if plan.device == fact.device && plan.duty == *name =>
            {
                duty.enter(now, *passed);
                (!passed).then_some(Noticed::of(ModuleEvent::DutyFailed)).into_iter().collect()
            }
            // A new lamp, a new pump: what the old one ran is not its own. Ids that count (cycles) go on, and so do ratios
            // and duties, which are the place's.
            (
                Module::Lamp(meter) | Module::Machine(meter),
                plan,
                FactBody::Device(DeviceFact::Replaced { counters: Some(Counters::Reset), .. }),
            ) if plan.device() == fact.device => {
                meter.begin_anew();
                Vec::new()
            }
            _ => return,
        };
        for Noticed { event, value, limit, about } in noticed {
            self.raise_module_event(module, event, (value, limit), about.as_ref(), out);
        }
        self.arm_module(module);
        self.outputs_changed(module, out);
    }

    /// Counts in every ratio that counts it. A ratio speaks of whole days before today, so no condition has to look.
    fn tally(&mut self, what: Counted, amount: f64) {
        for place in 0..self.wiring.ratios.len() {
            self.tally_in(self.wiring.ratios[place], what, amount);
        }
    }

    fn tally_in(&mut self, module: usize, what: Counted, amount: f64) {
        let Some(ModulePlan::Ratio(plan)) = self.plan.modules.get(module) else { return };
        let (of, to) = (plan.of == what, plan.to == what);
        if of || to {
            let amount = |counts: bool| if counts { amount } else { 0.0 };
            self.count(module, amount(of), amount(to));
        }
    }

    pub(crate) fn count(&mut self, module: usize, of: f64, to: f64) {
        let Some(day) = self.hours().day(self.now) else { return };
        if let Some(Module::Ratio(ratio)) = self.modules.get_mut(module) {
            ratio.count(day, of, to);
        }
        self.arm_module(module);
    }

    /// What failed is being used.
    pub(crate) fn aggravate(&mut self, by: AggravatedBy, out: &mut Vec<Conclusion>) {
        for slot in self.eventful().to_vec() {
            self.with_life(slot, out, |life, face, desk| life.aggravate(by, face, desk));
        }
    }

    pub(crate) fn outputs_changed(&mut self, module: usize, out: &mut Vec<Conclusion>) {
        for place in 0..listed(&self.wiring.outputs, module).len() {
            self.judge(self.wiring.outputs[module][place], out);
        }
    }

    fn raise_module_event(
        &mut self,
        module: usize,
        event: ModuleEvent,
        shown: (Option<f64>, Option<f64>),
        about: Option<&About>,
        out: &mut Vec<Conclusion>,
    ) {
        for slot in listed(&self.wiring.events, module).to_vec() {
            let Some(RuleKind::Event { event: wanted, lapses_ms, .. }) = self.kind(slot) else { continue };
            if *wanted == event {
                let lapses = self.now.plus((*lapses_ms).max(0));
                self.raise_event(slot, (self.now, lapses), shown, about.cloned(), out);
            }
        }
    }
}
