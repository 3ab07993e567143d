//! A rule pack: what it is. How it is read is in [`crate::read`].

use std::collections::{BTreeMap, BTreeSet};

use gateway_model::{Dimension, First, HeatProgram, ModuleEvent, Priority, RuleText, Text, Unit, VerifyPlan};

use crate::document::At;
use crate::expression::{Expression, Function};
use crate::handling::PackHandling;
use crate::module::{CYCLE, PackComputes, PackCounts, PackNamed};
use crate::problem::Source;
use crate::quantity::{Millis, Quantity, SelfFix};
use crate::series::PackTest;

/// A pack, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    /// The file it came from, byte for byte: its hash is in the plan.
    pub source: Source,
    /// `cold-chain`.
    pub name: String,
    /// `2026.11`.
    pub version: String,
    /// As people call it.
    pub title: Text,
    /// Which devices it watches.
    pub subject: PackSubject,
    /// Points it uses, by name.
    pub points: BTreeMap<String, PackPoint>,
    /// Other devices whose points it uses, by the name before the dot.
    pub neighbours: BTreeMap<String, PackNeighbour>,
    /// The heat cycle it judges, if any.
    pub cycle: Option<PackModule>,
    /// Its other modules.
    pub modules: Vec<PackNamed>,
    /// Its rules.
    pub rules: Vec<PackRule>,
    /// Its tests.
    pub tests: Vec<PackTest>,
}

/// Which devices a pack watches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackSubject {
    /// Those of these kinds.
    pub kinds: Vec<String>,
    /// `*`: every device that another pack watches, and every bus, for what the gateway says about itself.
    pub everything: bool,
}

/// Another device whose points a pack uses: the only one of its kind at a site, or the one the site names.
#[derive(Debug, Clone, PartialEq)]
pub struct PackNeighbour {
    /// Its kind.
    pub device: String,
    /// Its points, by name.
    pub points: BTreeMap<String, PackPoint>,
}

/// A point a pack uses.
#[derive(Debug, Clone, PartialEq)]
pub struct PackPoint {
    /// The kind of device that has it, in packs for several kinds; `None` = all.
    pub kind: Option<String>,
    /// Its unit; [`Unit::Truth`] for truth points.
    pub unit: Unit,
    /// Without it the rules that use it are left out.
    pub optional: bool,
    /// `or = "power"`: a device that has that point need not have this one.
    pub instead: Option<String>,
    /// `with = "temperature"`: only a device that has that point must have this one.
    pub beside: Option<String>,
    /// As people call it.
    pub name: Text,
    /// For how long it can stand still, if for ever is impossible.
    pub stuck: Option<PackStuck>,
}

/// A quantity that never stands still: if it does for so long, its probe is frozen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PackStuck {
    /// Longer than the quantity can.
    pub after: Millis,
    /// Where it is seen to move in steps of this or finer; nothing is said of a coarser instrument.
    pub step: Quantity,
}

/// `stop = {}`: a cycle that was stopped before its hold is told by the door; `{ power = "power", heating = "0.1 kW" }` by the heater's
/// power too.
#[derive(Debug, Clone, PartialEq)]
pub struct PackStop {
    /// Name of the point, which a device can lack, and from what power on it heats.
    pub power: Option<(String, Quantity)>,
}

/// A heat cycle.
#[derive(Debug, Clone, PartialEq)]
pub struct PackModule {
    /// Name of the chamber's temperature point.
    pub temperature: String,
    /// Name of the door point.
    pub door: Option<String>,
    /// Names of more temperature points in the chamber.
    pub probes: Vec<String>,
    /// Name of the point of its gauge pressure.
    pub pressure: Option<String>,
    /// By what a cycle that was stopped before its hold is told, besides the door.
    pub stop: Option<PackStop>,
    /// What it can be judged against; a site chooses one per device, none is implied.
    pub programs: Vec<PackProgram>,
}

/// One program: see [`gateway_model::HeatProgram`].
#[derive(Debug, Clone, PartialEq)]
pub struct PackProgram {
    /// The program.
    pub program: HeatProgram,
    /// Where its figures come from.
    pub norm: Text,
    /// Confidence in them.
    pub mark: String,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct PackRule {
    /// `too-warm`.
    pub name: String,
    /// What it watches for.
    pub watch: Watch,
    /// How urgent.
    pub priority: Priority,
    /// Whose turn first.
    pub first: First,
    /// How long that party has; `None` = at once the supervisor's.
    pub self_fix: Option<SelfFix>,
    /// `without = "temperature"`: judged only on a device that does not have this point, which says it better.
    pub without: Option<String>,
    /// Judged only where the site says so: what it rests on is disputed, or not every institution owes it.
    pub opt_in: bool,
    /// Stays listed until reset.
    pub latching: bool,
    /// What people read.
    pub text: RuleText,
    /// How a rectification is verified.
    pub verify: VerifyPlan,
    /// `verify.during`: a condition is judged only while this holds.
    pub during: Option<(At<String>, Expression)>,
    /// Numbers a site may change.
    pub parameters: BTreeMap<String, PackParameter>,
    /// What becomes of its alerts while they are open.
    pub handling: PackHandling,
}

/// What a rule watches for.
#[derive(Debug, Clone, PartialEq)]
pub enum Watch {
    /// A condition.
    Condition {
        /// As written.
        when: At<String>,
        /// As read.
        expression: Expression,
        /// `for`.
        hold: Millis,
        /// `clear_for`.
        clear_for: Millis,
        /// How far beyond the limit it must return.
        deadband: Option<Quantity>,
    },
    /// Nothing received of a point.
    Absence {
        /// Name of the point.
        point: String,
        /// `for`.
        after: Millis,
    },
    /// A cycle failed.
    CycleFailed {
        /// A passing cycle within this time settles it.
        settle_within: Millis,
    },
    /// A module says that something happened.
    Event {
        /// Name of the module.
        module: String,
        /// What.
        event: ModuleEvent,
        /// Afterwards it lapses to "recorded".
        lapses: Millis,
    },
    /// A device cannot be judged.
    DeviceUnevaluable {
        /// `for`.
        after: Millis,
    },
    /// All devices of a bus cannot be judged.
    BusUnevaluable {
        /// `for`.
        after: Millis,
    },
    /// Civil time is not known, so that nothing that depends on opening hours can be judged.
    ClockUnevaluable {
        /// `for`.
        after: Millis,
    },
}

/// A number a site may change.
#[derive(Debug, Clone, PartialEq)]
pub struct PackParameter {
    /// Default, with its unit.
    pub default: Quantity,
    /// Smallest a site may set, in the default's unit.
    pub min: Option<f64>,
    /// Largest a site may set, in the default's unit.
    pub max: Option<f64>,
    /// As people call it.
    pub name: Text,
    /// Confidence in the default.
    pub mark: String,
}

impl PackPoint {
    /// Does a device of this kind have it?
    pub fn is_of(&self, kind: &str) -> bool {
        self.kind.as_deref().is_none_or(|own| own == kind)
    }
}

impl Watch {
    /// The settings of this rule that a site may change besides its parameters, with what they are now.
    pub(crate) fn durations(&self) -> Vec<(&'static str, Millis)> {
        match self {
            Self::Condition { hold, clear_for, .. } => vec![("for", *hold), ("clear_for", *clear_for)],
            Self::Absence { after, .. }
            | Self::DeviceUnevaluable { after }
            | Self::BusUnevaluable { after }
            | Self::ClockUnevaluable { after } => {
                vec![("for", *after)]
            }
            Self::Event { lapses, .. } => vec![("lapses", *lapses)],
            Self::CycleFailed { settle_within } => vec![("settle_within", *settle_within)],
        }
    }

    /// The names it cannot do without: of points, of outputs of modules and of points of neighbours.
    pub(crate) fn names<'w>(&'w self, pack: &'w Pack, rule: &PackRule) -> Vec<&'w str> {
        match self {
            Self::Condition { expression, .. } => expression
                .names()
                .into_iter()
                .map(|(name, _)| name)
                .filter(|name| !rule.parameters.contains_key(*name))
                .collect(),
            Self::Absence { point, .. } => vec![point],
            Self::CycleFailed { .. } => pack.cycle.iter().map(|cycle| cycle.temperature.as_str()).collect(),
            Self::Event { module, .. } => vec![module],
            Self::DeviceUnevaluable { .. } | Self::BusUnevaluable { .. } | Self::ClockUnevaluable { .. } => {
                Vec::new()
            }
        }
    }
}

impl Pack {
    /// The module that a name, or what stands before its dot, belongs to.
    pub(crate) fn module_of(&self, name: &str) -> Option<&PackNamed> {
        let head = name.split('.').next().unwrap_or(name);
        self.modules.iter().find(|module| module.name == head)
    }

    /// Does a device of this kind have what the name stands for?
    pub(crate) fn is_of(&self, name: &str, kind: &str) -> bool {
        match (self.points.get(name), self.module_of(name)) {
            (Some(point), _) => point.is_of(kind),
            (None, Some(module)) => module.device.as_deref().is_none_or(|own| own == kind),
            (None, None) => true,
        }
    }

    /// The points that a rule rests on, by itself or through its modules; of a heat cycle its temperature.
    pub fn rests_on<'p>(&'p self, rule: &'p PackRule) -> BTreeSet<&'p str> {
        let mut points = BTreeSet::new();
        for name in rule.watch.names(self, rule) {
            self.gather(name, &mut points);
        }
        points
    }

    fn gather<'p>(&'p self, name: &'p str, points: &mut BTreeSet<&'p str>) {
        let cycle = self.cycle.iter().map(|cycle| cycle.temperature.as_str());
        match self.module_of(name) {
            None if name == CYCLE => points.extend(cycle),
            None => points.extend([name]),
            Some(PackNamed { what: PackComputes::Ratio { of, to, .. }, .. }) => {
                for counted in [of, to] {
                    match counted {
                        PackCounts::Minutes(module) => self.gather(module, points),
                        PackCounts::Readings(point) => points.extend([point.as_str()]),
                        PackCounts::Cycles => points.extend(cycle.clone()),
                        PackCounts::Visits
                        | PackCounts::Handpieces
                        | PackCounts::Waste
                        | PackCounts::OpenDays => (),
                    }
                }
            }
            Some(module) => points.extend(module.what.points()),
        }
    }

    /// True if a rule cannot be judged while nobody knows what day or hour it is.
    pub fn asks_time(&self, rule: &PackRule) -> bool {
        let Watch::Condition { expression, .. } = &rule.watch else { return false };
        let days =
            |(name, _): (&str, _)| self.module_of(name).is_some_and(|module| module.what.counts_days());
        expression.functions().any(Function::asks_hours) || expression.names().into_iter().any(days)
    }

    /// Its points and those of its neighbours, these with a dot.
    pub fn all_points(&self) -> BTreeMap<String, PackPoint> {
        with_neighbours(&self.points, &self.neighbours)
    }
}

pub(crate) fn with_neighbours(
    points: &BTreeMap<String, PackPoint>,
    neighbours: &BTreeMap<String, PackNeighbour>,
) -> BTreeMap<String, PackPoint> {
    let dotted = neighbours.iter().flat_map(|(name, neighbour)| {
        neighbour.points.iter().map(move |(point, plan)| (format!("{name}.{point}"), plan.clone()))
    });
    points.iter().map(|(name, point)| (name.clone(), point.clone())).chain(dotted).collect()
}

/// The dimension of truth points, for callers that compare.
pub(crate) fn is_truth(unit: Unit) -> bool {
    unit.dimension() == Dimension::Truth
}
