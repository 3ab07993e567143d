//! The modules of a plan at work: what each is fed, what conditions can ask it, what it remembers.

use alloc::format;
use alloc::string::String;

use gateway_model::{EngineTime, ModulePlan, ModuleState, Plan};

use crate::heat_cycle::{Chamber, HeatCycle};
use crate::hours::Hours;
use crate::meter::Meter;
use crate::restore::device_id;
use crate::tally::{Duty, Ratio};
use crate::waste::Waste;

/// A heat-cycle module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heat {
    pub(crate) chamber: Chamber,
    pub(crate) cycle: HeatCycle,
}

/// One module of the plan at work.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a handful of modules per site, most of them heat cycles")]
pub(crate) enum Module {
    Heat(Heat),
    Lamp(Meter),
    Machine(Meter),
    Ratio(Ratio),
    Duty(Duty),
    Waste(Waste),
}

impl Module {
    pub(crate) fn new(plan: &Plan, module: &ModulePlan) -> Self {
        match module {
            ModulePlan::HeatCycle(heat) => {
                let temperature = plan.points.get(heat.temperature.slot());
                Self::Heat(Heat { chamber: Chamber::new(heat, temperature), cycle: HeatCycle::new() })
            }
            ModulePlan::Dose(dose) => Self::Lamp(Meter::of_lamp(dose)),
            ModulePlan::Run(run) => Self::Machine(Meter::of_machine(run)),
            ModulePlan::Ratio(ratio) => Self::Ratio(Ratio::new(ratio)),
            ModulePlan::Duty(duty) => Self::Duty(Duty::new(duty)),
            ModulePlan::Waste(waste) => Self::Waste(Waste::new(waste)),
        }
    }

    /// What a condition reads; `None` = not known.
    pub(crate) fn output(&self, now: EngineTime, hours: &Hours<'_>, output: u8) -> Option<f64> {
        match self {
            Self::Heat(_) => None,
            Self::Lamp(meter) => meter.lamp_output(output),
            Self::Machine(meter) => meter.run_output(output),
            Self::Ratio(ratio) => {
                ratio.output(hours.day(now)?, output, |first, end| hours.open_days(now, first, end))
            }
            Self::Duty(duty) => duty.output(now, hours, output),
            Self::Waste(waste) => waste.output(now, output),
        }
    }

    pub(crate) fn state(&self, plan: &Plan, module: &ModulePlan) -> ModuleState {
        let device = device_id(plan, module.device().slot()).into();
        match (self, module) {
            (Self::Heat(heat), ModulePlan::HeatCycle(plan)) => ModuleState::HeatCycle {
                device,
                next: heat.cycle.next,
                running: heat.cycle.running.clone(),
                program: plan.program.id.clone(),
            },
            (Self::Ratio(ratio), _) => {
                ModuleState::Ratio { device, what: counted(module), days: ratio.counts.clone() }
            }
            (Self::Duty(duty), ModulePlan::Duty(plan)) => ModuleState::Duty {
                device,
                duty: plan.duty.clone(),
                done: duty.done,
                since: duty.since,
                good_since_bad: duty.good_since_bad,
            },
            (Self::Waste(waste), _) => ModuleState::Waste { device, waste: waste.state.clone() },
            (Self::Lamp(meter) | Self::Machine(meter), _) => {
                ModuleState::Meter { device, meter: meter.state }
            }
            // A module is made from its plan, so it is of its plan's kind.
            (Self::Heat(_) | Self::Duty(_), _) => {
                ModuleState::Meter { device, meter: gateway_model::MeterState::default() }
            }
        }
    }

    /// True if the state was this module's, and is taken over.
    pub(crate) fn restore(&mut self, plan: &Plan, module: &ModulePlan, state: &ModuleState) -> bool {
        let own = device_id(plan, module.device().slot());
        match (self, module, state) {
            (
                Self::Heat(heat),
                ModulePlan::HeatCycle(plan),
                ModuleState::HeatCycle { device, next, running, program },
            ) if device == own => {
                heat.cycle.next = (*next).max(1);
                heat.cycle.running = running.clone().filter(|_| *program == plan.program.id);
                true
            }
            (Self::Lamp(meter) | Self::Machine(meter), _, ModuleState::Meter { device, meter: state })
                if device == own =>
            {
                meter.state = *state;
                true
            }
            (Self::Ratio(ratio), _, ModuleState::Ratio { device, what, days })
                if device == own && *what == counted(module) =>
            {
                ratio.counts.clone_from(days);
                true
            }
            (
                Self::Duty(duty),
                ModulePlan::Duty(plan),
                ModuleState::Duty { device, duty: name, done, since, good_since_bad },
            ) if device == own && *name == plan.duty => {
                duty.done = *done;
                duty.since = *since;
                duty.good_since_bad = *good_since_bad;
                true
            }
            (Self::Waste(waste), _, ModuleState::Waste { device, waste: state }) if device == own => {
                waste.state.clone_from(state);
                true
            }
            _ => false,
        }
    }
}

/// What a ratio counts, as one word: another ratio of the same device is another.
pub(crate) fn counted(module: &ModulePlan) -> String {
    match module {
        ModulePlan::Ratio(ratio) => format!("{:?}/{:?}/{}", ratio.of, ratio.to, ratio.days),
        ModulePlan::HeatCycle(_)
        | ModulePlan::Dose(_)
        | ModulePlan::Run(_)
        | ModulePlan::Duty(_)
        | ModulePlan::Waste(_) => String::new(),
    }
}
