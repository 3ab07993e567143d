//! Which rule, module and device looks at which point: made once from the plan, so that a reading touches
//! only what depends on it.

use alloc::vec;
use alloc::vec::Vec;

use gateway_model::{Op, Plan, PointIx, Program, RuleKind, RulePlan, WindowFunction};

use crate::handling::aggravating_point;

/// Slots by slot, each list in ascending order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wiring {
    /// Condition rules that read the point.
    pub(crate) conditions: Vec<Vec<usize>>,
    /// Absence rules of the point.
    pub(crate) absences: Vec<Vec<usize>>,
    /// Modules that read the point.
    pub(crate) modules: Vec<Vec<usize>>,
    /// Devices that cannot be judged without the point.
    pub(crate) devices: Vec<Vec<usize>>,
    /// Points without which the device cannot be judged: what its conditions and modules read.
    pub(crate) watched: Vec<Vec<PointIx>>,
    /// "Cannot be judged" rules of the device.
    pub(crate) device_rules: Vec<Vec<usize>>,
    /// Devices on the bus that watch any point.
    pub(crate) bus_devices: Vec<Vec<usize>>,
    /// "Cannot be judged" rules of the bus.
    pub(crate) bus_rules: Vec<Vec<usize>>,
    /// Event rules of the module.
    pub(crate) events: Vec<Vec<usize>>,
    /// Condition rules that read an output of the module.
    pub(crate) outputs: Vec<Vec<usize>>,
    /// Windows over the point.
    pub(crate) windows: Vec<Vec<usize>>,
    /// By window: it is asked for an age.
    pub(crate) aged: Vec<bool>,
    /// Condition rules that look through the window.
    pub(crate) window_rules: Vec<Vec<usize>>,
    /// Rules that ask the calendar.
    pub(crate) hours: Vec<usize>,
    /// "Cannot be judged" rules of the clock.
    pub(crate) clock_rules: Vec<usize>,
    /// Rules whose open events get worse by a number above 0 of the point.
    pub(crate) aggravating: Vec<Vec<usize>>,
}

impl Wiring {
    pub(crate) fn new(plan: &Plan) -> Self {
        let buses = plan.devices.iter().map(|device| usize::from(device.bus) + 1).max().unwrap_or(0);
        let count = plan.judging.as_ref().map_or(0, |judging| judging.windows.len());
        let mut wiring = Self {
            conditions: vec![Vec::new(); plan.points.len()],
            absences: vec![Vec::new(); plan.points.len()],
            modules: vec![Vec::new(); plan.points.len()],
            devices: vec![Vec::new(); plan.points.len()],
            watched: vec![Vec::new(); plan.devices.len()],
            device_rules: vec![Vec::new(); plan.devices.len()],
            bus_devices: vec![Vec::new(); buses],
            bus_rules: vec![Vec::new(); buses],
            events: vec![Vec::new(); plan.modules.len()],
            outputs: vec![Vec::new(); plan.modules.len()],
            windows: vec![Vec::new(); plan.points.len()],
            aged: vec![false; count],
            window_rules: vec![Vec::new(); count],
            hours: Vec::new(),
            clock_rules: Vec::new(),
            aggravating: vec![Vec::new(); plan.points.len()],
        };
        for (slot, window) in plan.judging.iter().flat_map(|judging| &judging.windows).enumerate() {
            note(&mut wiring.windows, window.point.slot(), slot);
        }
        for (slot, rule) in plan.rules.iter().enumerate() {
            wiring.handling(slot, rule);
            let subject = rule.subject.slot();
            match &rule.kind {
                RuleKind::Condition { when, returned, .. } => {
                    for program in core::iter::once(when).chain(returned) {
                        wiring.reads(slot, program);
                        // A neighbour that cannot be believed is that neighbour's trouble: one alert per cause.
                        for point in program.points() {
                            let own = plan.points.get(point.slot()).is_some_and(|point| {
                                point.device.slot() == subject || rule.handling.is_none()
                            });
                            if own {
                                note(&mut wiring.watched, subject, point);
                            }
                        }
                    }
                }
                RuleKind::Absence { point, .. } => note(&mut wiring.absences, point.slot(), slot),
                RuleKind::CycleFailed { module, .. } | RuleKind::Event { module, .. } => {
                    note(&mut wiring.events, module.slot(), slot);
                }
                RuleKind::ClockUnevaluable { .. } => wiring.clock_rules.push(slot),
                RuleKind::DeviceUnevaluable { .. } => note(&mut wiring.device_rules, subject, slot),
                RuleKind::BusUnevaluable { bus, .. } => note(&mut wiring.bus_rules, usize::from(*bus), slot),
            }
        }
        for (slot, module) in plan.modules.iter().enumerate() {
            for point in module.points() {
                note(&mut wiring.modules, point.slot(), slot);
                // As above: a neighbour that cannot be believed is that neighbour's trouble.
                if plan.points.get(point.slot()).is_some_and(|point| point.device == module.device()) {
                    note(&mut wiring.watched, module.device().slot(), point);
                }
            }
        }
        for points in &mut wiring.watched {
            points.sort_unstable();
        }
        for (device, points) in wiring.watched.iter().enumerate() {
            for point in points {
                note(&mut wiring.devices, point.slot(), device);
            }
            if let (false, Some(plan)) = (points.is_empty(), plan.devices.get(device)) {
                note(&mut wiring.bus_devices, usize::from(plan.bus), device);
            }
        }
        wiring
    }

    /// The programs of a rule's handling, and what else it depends on.
    fn handling(&mut self, slot: usize, rule: &RulePlan) {
        let Some(handling) = &rule.handling else { return };
        let steps = handling.steps.iter().map(|step| &step.when);
        let provable = handling.provable.iter().map(|provable| &provable.when);
        for program in steps.chain(provable).chain(&handling.suppressed) {
            self.reads(slot, program);
        }
        if handling.sleeps && !self.hours.contains(&slot) {
            self.hours.push(slot);
        }
        if let Some(point) = aggravating_point(handling) {
            note(&mut self.aggravating, point.slot(), slot);
        }
    }

    /// The rule has to be judged when what the program reads changes.
    fn reads(&mut self, slot: usize, program: &Program) {
        for point in program.points() {
            note(&mut self.conditions, point.slot(), slot);
        }
        for op in &program.0 {
            if let Op::Window { window, function, .. } = op {
                note(&mut self.window_rules, *window as usize, slot);
                if *function == WindowFunction::Age
                    && let Some(aged) = self.aged.get_mut(*window as usize)
                {
                    *aged = true;
                }
            } else if let Op::Output { module, .. } = op {
                note(&mut self.outputs, module.slot(), slot);
            } else if let (Op::Hours(_), false) = (op, self.hours.contains(&slot)) {
                self.hours.push(slot);
            }
        }
    }
}

/// Adds the entry once. A slot that does not exist in the plan is looked at by nobody.
fn note<T: PartialEq>(lists: &mut [Vec<T>], slot: usize, entry: T) {
    if let Some(list) = lists.get_mut(slot)
        && !list.contains(&entry)
    {
        list.push(entry);
    }
}

/// A list, or an empty one where the slot does not exist.
pub(crate) fn listed<T>(lists: &[Vec<T>], slot: usize) -> &[T] {
    lists.get(slot).map_or(&[], Vec::as_slice)
}
