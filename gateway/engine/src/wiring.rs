//! Which rule, module and device looks at which point: made once from the plan, so that a reading touches
//! only what depends on it.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use gateway_model::{Counted, ModulePlan, Op, Plan, PointIx, Program, RuleKind, RulePlan, WindowFunction};

use crate::handling::aggravating_point;

/// Slots by slot, each list in ascending order. `L`: the lists by point, which every reading looks at.
#[derive(Debug, Clone)]
pub(crate) struct Wiring<L = Lists> {
    /// Condition rules that read the point.
    pub(crate) conditions: L,
    /// Absence rules of the point.
    pub(crate) absences: L,
    /// Modules that read the point.
    pub(crate) modules: L,
    /// Devices that cannot be judged without the point.
    pub(crate) devices: L,
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
    pub(crate) windows: L,
    /// By window: it is asked for an age.
    pub(crate) aged: Vec<bool>,
    /// Condition rules that look through the window.
    pub(crate) window_rules: Vec<Vec<usize>>,
    /// Rules that ask the calendar.
    pub(crate) hours: Vec<usize>,
    /// "Cannot be judged" rules of the clock.
    pub(crate) clock_rules: Vec<usize>,
    /// Rules whose open events get worse by a number above 0 of the point.
    pub(crate) aggravating: L,
    /// Ratio modules.
    pub(crate) ratios: Vec<usize>,
    /// Ratio modules that count the minutes in which the module is on.
    pub(crate) minutes: Vec<Vec<usize>>,
}

/// Lists while they grow.
type Draft = Vec<Vec<usize>>;

/// Lists one behind the other in one piece of memory: those of neighbours lie side by side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lists {
    /// By slot, where its list ends.
    ends: Vec<u32>,
    entries: Vec<u32>,
}

impl Lists {
    fn new(draft: &Draft) -> Self {
        let entries: Vec<u32> = draft.iter().flatten().map(|&entry| entry as u32).collect();
        let mut end = 0;
        let ends = draft.iter().map(|list| {
            end += list.len() as u32;
            end
        });
        Self { ends: ends.collect(), entries }
    }

    /// Where the slot's list lies; an empty one where the slot does not exist.
    pub(crate) fn span(&self, slot: usize) -> Range<usize> {
        let Some(&end) = self.ends.get(slot) else { return 0..0 };
        let start = slot.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        start as usize..end as usize
    }

    /// The entry at a place within [`Lists::span`].
    pub(crate) fn entry(&self, place: usize) -> Option<usize> {
        self.entries.get(place).map(|&entry| entry as usize)
    }

    pub(crate) fn of(&self, slot: usize) -> impl Iterator<Item = usize> {
        self.entries.get(self.span(slot)).unwrap_or_default().iter().map(|&entry| entry as usize)
    }

    pub(crate) fn is_empty(&self, slot: usize) -> bool {
        self.span(slot).is_empty()
    }
}

impl Wiring {
    pub(crate) fn new(plan: &Plan) -> Self {
        let draft = Wiring::<Draft>::drafted(plan);
        Self {
            conditions: Lists::new(&draft.conditions),
            absences: Lists::new(&draft.absences),
            modules: Lists::new(&draft.modules),
            devices: Lists::new(&draft.devices),
            watched: draft.watched,
            device_rules: draft.device_rules,
            bus_devices: draft.bus_devices,
            bus_rules: draft.bus_rules,
            events: draft.events,
            outputs: draft.outputs,
            windows: Lists::new(&draft.windows),
            aged: draft.aged,
            window_rules: draft.window_rules,
            hours: draft.hours,
            clock_rules: draft.clock_rules,
            aggravating: Lists::new(&draft.aggravating),
            ratios: draft.ratios,
            minutes: draft.minutes,
        }
    }
}

impl Wiring<Draft> {
    fn drafted(plan: &Plan) -> Self {
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
            ratios: Vec::new(),
            minutes: vec![Vec::new(); plan.modules.len()],
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
                                push(&mut wiring.watched, subject, point);
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
                    push(&mut wiring.watched, module.device().slot(), point);
                }
            }
        }
        for (slot, module) in plan.modules.iter().enumerate() {
            let ModulePlan::Ratio(ratio) = module else { continue };
            wiring.ratios.push(slot);
            for counted in [ratio.of, ratio.to] {
                if let Counted::OnMinutes(module) = counted {
                    note(&mut wiring.minutes, module.slot(), slot);
                }
            }
        }
        for points in &mut wiring.watched {
            points.sort_unstable();
            points.dedup();
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
        if handling.sleeps && self.hours.last() != Some(&slot) {
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
            } else if let (Op::Hours(_), false) = (op, self.hours.last() == Some(&slot)) {
                self.hours.push(slot);
            }
        }
    }
}

/// Adds the entry once: entries come in ascending order, so that only the last can be the same. A slot that does not exist
/// in the plan is looked at by nobody.
fn note(lists: &mut [Vec<usize>], slot: usize, entry: usize) {
    if let Some(list) = lists.get_mut(slot)
        && list.last() != Some(&entry)
    {
        list.push(entry);
    }
}

/// Adds an entry that may be there already.
fn push<T>(lists: &mut [Vec<T>], slot: usize, entry: T) {
    if let Some(list) = lists.get_mut(slot) {
        list.push(entry);
    }
}

/// A list, or an empty one where the slot does not exist.
pub(crate) fn listed<T>(lists: &[Vec<T>], slot: usize) -> &[T] {
    lists.get(slot).map_or(&[], Vec::as_slice)
}
