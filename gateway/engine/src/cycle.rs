//! Feeds the modules from points and settles the events that their cycles cause or end.

use alloc::vec::Vec;

use gateway_model::{
    Conclusion, ConclusionBody, CycleOutcome, CycleVerdict, EngineTime, HeatCyclePlan, ModuleIx, ModulePlan,
    PointIx,
};

use crate::engine::Engine;
use crate::heat_cycle::{Chamber, Door, HeatCycle};
use crate::points::{Class, Points};
use crate::timers::Timer;

/// One module of the plan at work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Module {
    pub(crate) chamber: Chamber,
    pub(crate) cycle: HeatCycle,
}

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
        let Some((Module { chamber, cycle }, ModulePlan::HeatCycle(plan))) =
            self.modules.get_mut(module).zip(self.plan.modules.get(module))
        else {
            return;
        };
        let door = door(plan, &self.points);
        if plan.door == Some(point) {
            cycle.door(chamber, door);
        }
        if let (true, Some(at), Some(celsius)) = (plan.temperature == point, at, self.points.believed(point))
        {
            cycle.temperature(chamber, at, celsius, previous, door);
        }
        self.arm_module(module);
    }

    pub(crate) fn arm_module(&mut self, module: usize) {
        let due = self.modules.get(module).zip(self.plan.modules.get(module)).and_then(
            |(Module { chamber, cycle }, ModulePlan::HeatCycle(plan))| {
                cycle.deadline(chamber, blind_since(plan, &self.points))
            },
        );
        self.timers.set(Timer::Module(module), due, self.now);
    }

    /// The module's timer fired.
    pub(crate) fn end_cycle(&mut self, module: usize, out: &mut Vec<Conclusion>) {
        let Some(Module { chamber, cycle }) = self.modules.get_mut(module) else { return };
        let limit = chamber.program.set_c;
        let Some(cycle) = cycle.end(chamber, ModuleIx(module as u16), self.now) else { return };
        let (outcome, started, peak) = (cycle.outcome, cycle.started, cycle.peak_c);
        out.push(Conclusion { at: self.now, body: ConclusionBody::Cycle(cycle) });
        match outcome {
            CycleOutcome::Judged(CycleVerdict::Passed) => self.settle_events(module, (peak, limit), out),
            CycleOutcome::Judged(
                CycleVerdict::TooCool
                | CycleVerdict::TooShort
                | CycleVerdict::DoorOpened
                | CycleVerdict::TooHot,
            ) => self.raise_events(module, started, (peak, limit), out),
            CycleOutcome::Drying | CycleOutcome::NotMeasured => (),
        }
    }
}
