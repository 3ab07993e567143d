//! Which rule, module and device looks at which point: made once from the plan, so that a reading touches
//! only what depends on it.

use alloc::vec;
use alloc::vec::Vec;

use gateway_model::{ModulePlan, Plan, PointIx, RuleKind};

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
}

impl Wiring {
    pub(crate) fn new(plan: &Plan) -> Self {
        let buses = plan.devices.iter().map(|device| usize::from(device.bus) + 1).max().unwrap_or(0);
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
        };
        for (slot, rule) in plan.rules.iter().enumerate() {
            let subject = usize::from(rule.subject.0);
            match &rule.kind {
                RuleKind::Condition { when, returned, .. } => {
                    for program in core::iter::once(when).chain(returned) {
                        for point in program.points() {
                            note(&mut wiring.conditions, usize::from(point.0), slot);
                            note(&mut wiring.watched, subject, point);
                        }
                    }
                }
                RuleKind::Absence { point, .. } => note(&mut wiring.absences, usize::from(point.0), slot),
                RuleKind::CycleFailed { module, .. } => note(&mut wiring.events, usize::from(module.0), slot),
                RuleKind::DeviceUnevaluable { .. } => note(&mut wiring.device_rules, subject, slot),
                RuleKind::BusUnevaluable { bus, .. } => note(&mut wiring.bus_rules, usize::from(*bus), slot),
            }
        }
        for (slot, ModulePlan::HeatCycle(module)) in plan.modules.iter().enumerate() {
            for point in core::iter::once(module.temperature).chain(module.door) {
                note(&mut wiring.modules, usize::from(point.0), slot);
                note(&mut wiring.watched, usize::from(module.device.0), point);
            }
        }
        for points in &mut wiring.watched {
            points.sort_unstable();
        }
        for (device, points) in wiring.watched.iter().enumerate() {
            for point in points {
                note(&mut wiring.devices, usize::from(point.0), device);
            }
            if let (false, Some(plan)) = (points.is_empty(), plan.devices.get(device)) {
                note(&mut wiring.bus_devices, usize::from(plan.bus), device);
            }
        }
        wiring
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
