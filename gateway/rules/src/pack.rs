//! A rule pack: what it is. How it is read is in [`crate::read`].

use std::collections::BTreeMap;

use gateway_model::{Dimension, First, HeatProgram, Priority, RuleText, Text, Unit, VerifyPlan};

use crate::document::At;
use crate::expression::Expression;
use crate::handling::PackHandling;
use crate::problem::Source;
use crate::quantity::{Millis, Quantity};
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
    /// The heat cycle it judges, if any.
    pub cycle: Option<PackModule>,
    /// Its rules.
    pub rules: Vec<PackRule>,
    /// Its tests.
    pub tests: Vec<PackTest>,
}

/// Which devices a pack watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackSubject {
    /// Those of these kinds.
    Kinds(Vec<String>),
    /// Every device that another pack watches, and every bus: for what the gateway says about itself.
    Everything,
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
    /// As people call it.
    pub name: Text,
}

/// A heat cycle.
#[derive(Debug, Clone, PartialEq)]
pub struct PackModule {
    /// Name of the chamber's temperature point.
    pub temperature: String,
    /// Name of the door point.
    pub door: Option<String>,
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
    pub self_fix: Option<Millis>,
    /// Stays listed until reset.
    pub latching: bool,
    /// What people read.
    pub text: RuleText,
    /// How a rectification is verified.
    pub verify: VerifyPlan,
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
            | Self::BusUnevaluable { after } => {
                vec![("for", *after)]
            }
            Self::CycleFailed { settle_within } => vec![("settle_within", *settle_within)],
        }
    }

    /// Names of the points it cannot do without.
    pub(crate) fn points<'w>(&'w self, pack: &'w Pack) -> Vec<&'w str> {
        match self {
            Self::Condition { expression, .. } => expression
                .names()
                .into_iter()
                .map(|(name, _)| name)
                .filter(|name| pack.points.contains_key(*name))
                .collect(),
            Self::Absence { point, .. } => vec![point],
            Self::CycleFailed { .. } => pack.cycle.iter().map(|cycle| cycle.temperature.as_str()).collect(),
            Self::DeviceUnevaluable { .. } | Self::BusUnevaluable { .. } => Vec::new(),
        }
    }
}

/// The dimension of truth points, for callers that compare.
pub(crate) fn is_truth(unit: Unit) -> bool {
    unit.dimension() == Dimension::Truth
}
