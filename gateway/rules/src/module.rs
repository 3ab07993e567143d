//! Modules of a pack besides the heat cycle: `[module.NAME]`. Their outputs are read in conditions as `NAME.output`, what they
//! say happened is an event, `event = "NAME.what"`.
//!
//! | `kind` | keys | outputs | events |
//! |---|---|---|---|
//! | `dose` | `irradiance`, `lit`, `warm_up`, `gap` | `hours`, `session`, `lowest`, `warm` | |
//! | `run` | `power`, `running`, `gap` | `hours`, `starts`, `running` | |
//! | `ratio` | `of`, `to`, `days`, `at_least` | `ratio`, `of`, `to` | |
//! | `duty` | `duty`, `every`, `open_time` | `overdue`, `passed` | `failed` |
//! | `waste` | `tolerance`, `share`, `other_share`, `great`, `division`, `net`, `stable` | `oldest`, `bags`, `weight`, `at_source`, `on_the_road`, `unremoved` | `duplicate-label`, `unknown-label`, `weight-differs`, `weight-lost`, `vanished`, `unknown-category` |
//!
//! A ratio counts `visits`, `handpieces`, `cycles` (passed ones of the pack's own heat cycle), `waste` (g), `open-days`, `NAME.minutes`
//! (on-time of a `dose` or `run` module above it), or the readings of a point.

use std::collections::BTreeMap;
use std::ops::Range;

use gateway_model::{
    Counted, DosePlan, DutyPlan, ModuleEvent, ModuleIx, ModulePlan, PointIx, RatioPlan, RunPlan, Unit,
    WastePlan,
};

use crate::bind::{Subject, module_duration, module_number};
use crate::document::{At, File, Table};
use crate::pack::PackPoint;
use crate::quantity::{Millis, Quantity};
use crate::rule::one_of;
use crate::suggest::did_you_mean;

/// A module that a pack names.
#[derive(Debug, Clone, PartialEq)]
pub struct PackNamed {
    /// `bowie_dick`: as conditions write it.
    pub name: String,
    /// The kind of device that has it, in packs for several kinds; `None` = all.
    pub device: Option<String>,
    /// `without = "temperature"`: there only on a device that does not have this point, which tells it better.
    pub without: Option<String>,
    /// What it computes.
    pub what: PackComputes,
}

/// What a module computes.
#[derive(Debug, Clone, PartialEq)]
pub enum PackComputes {
    /// Lamp hours and sessions.
    Dose {
        /// Name of the irradiance point.
        irradiance: String,
        /// Lit from here on.
        lit: Quantity,
        /// Not measured so long after it is lit.
        warm_up: Millis,
        /// Values further apart leave time unseen.
        gap: Millis,
    },
    /// Run hours and starts.
    Run {
        /// Name of the power point.
        power: String,
        /// Running from here on.
        running: Quantity,
        /// Values further apart leave time unseen.
        gap: Millis,
    },
    /// A ratio over whole local days.
    Ratio {
        /// Above the line.
        of: PackCounts,
        /// Below it.
        to: PackCounts,
        /// Over so many days.
        days: u16,
        /// Fewer below the line say nothing.
        at_least: f64,
    },
    /// A duty that comes again.
    Duty {
        /// What an entry names.
        duty: String,
        /// Due again so long after it was done.
        every: Millis,
        /// Only open time counts.
        open_time: bool,
    },
    /// The ledger of medical waste.
    Waste {
        /// Weights may differ by this …
        tolerance: Quantity,
        /// … or by this share, whichever is more …
        share: f64,
        /// … and by this between scales of different houses.
        other_share: f64,
        /// More than this is lost weight.
        great: Quantity,
        /// A division of the scales.
        division: Option<Quantity>,
        /// Name of the point of what lies on the scale.
        net: Option<String>,
        /// Name of the point that says it has come to rest.
        stable: Option<String>,
    },
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackCounts {
    /// Visits.
    Visits,
    /// Handpieces packed.
    Handpieces,
    /// Passed cycles of the pack's own heat cycle.
    Cycles,
    /// Grams of waste labelled.
    Waste,
    /// Days on which the institution was open.
    OpenDays,
    /// Minutes in which a module above was on.
    Minutes(String),
    /// The readings of a point, added up.
    Readings(String),
}

/// The pack's own heat cycle, among the modules that say something.
pub(crate) const CYCLE: &str = "cycle";
/// Readings further apart than this leave time unseen unless the pack says otherwise.
const GAP: Millis = Millis(300_000);
/// Days of a ratio, at most.
const DAYS_MAX: i64 = 62;

/// Reads every `[module.NAME]`, in the order of the file. `points`: those of the pack, and of neighbours with their dots.
pub(crate) fn read(
    root: &Table<'_>,
    points: &BTreeMap<String, PackPoint>,
    has_cycle: bool,
) -> Vec<PackNamed> {
    let Some(table) = root.table("module", "the modules") else { return Vec::new() };
    let mut modules: Vec<PackNamed> = Vec::new();
    for (name, entry) in table.entries::<Table<'_>>() {
        crate::read::check_identifier(table.file(), &name);
        if name.value == CYCLE {
            table.file().error(name.span.clone(), "`cycle` is the heat cycle of [cycle]", None);
        }
        let reader =
            ModuleReader { table: entry.value.called("a module"), points, has_cycle, above: &modules };
        let device = reader.table.get::<String>("device").map(|device| device.value);
        let without = crate::read::without(&reader.table, points);
        let what = reader.what();
        reader.table.finish();
        if let Some(what) = what {
            modules.push(PackNamed { name: name.value, device, without, what });
        }
    }
    modules
}

struct ModuleReader<'f, 'p> {
    table: Table<'f>,
    points: &'p BTreeMap<String, PackPoint>,
    has_cycle: bool,
    above: &'p [PackNamed],
}

impl ModuleReader<'_, '_> {
    fn what(&self) -> Option<PackComputes> {
        let table = &self.table;
        let kinds = ["dose", "run", "ratio", "duty", "waste"].map(|kind| (kind, kind));
        match one_of(table, "kind", &kinds)? {
            "dose" => {
                let irradiance = self.point("irradiance", Unit::MicrowattPerCm2);
                let lit = self.quantity("lit", Unit::MicrowattPerCm2);
                let warm_up = table.need::<Millis>("warm_up");
                let gap = self.gap();
                Some(PackComputes::Dose { irradiance: irradiance?, lit: lit?, warm_up: warm_up?.value, gap })
            }
            "run" => {
                let (power, running) =
                    (self.point("power", Unit::Kilowatt), self.quantity("running", Unit::Kilowatt));
                let gap = self.gap();
                Some(PackComputes::Run { power: power?, running: running?, gap })
            }
            "ratio" => {
                let (of, to) = (self.counts("of"), self.counts("to"));
                let days = table.need::<i64>("days").and_then(|days| self.days(&days));
                let at_least = table.need::<f64>("at_least");
                Some(PackComputes::Ratio { of: of?, to: to?, days: days?, at_least: at_least?.value })
            }
            "duty" => {
                let (duty, every) = (table.need::<String>("duty"), table.need::<Millis>("every"));
                let open_time = table.get::<bool>("open_time").is_some_and(|open| open.value);
                Some(PackComputes::Duty { duty: duty?.value, every: every?.value, open_time })
            }
            _ => self.waste(),
        }
    }

    fn waste(&self) -> Option<PackComputes> {
        let tolerance = self.quantity("tolerance", Unit::Kilogram);
        let (share, other_share) = (self.share("share"), self.share("other_share"));
        let great = self.quantity("great", Unit::Kilogram);
        let division = if self.table.has("division") {
            self.quantity("division", Unit::Kilogram).map(Some)
        } else {
            Some(None)
        };
        let named =
            |key, unit| if self.table.has(key) { self.point(key, unit).map(Some) } else { Some(None) };
        let (net, stable) = (named("net", Unit::Kilogram), named("stable", Unit::Truth));
        Some(PackComputes::Waste {
            tolerance: tolerance?,
            share: share?,
            other_share: other_share?,
            great: great?,
            division: division?,
            net: net?,
            stable: stable?,
        })
    }

    fn gap(&self) -> Millis {
        self.table.get::<Millis>("gap").map_or(GAP, |gap| gap.value)
    }

    fn share(&self, key: &'static str) -> Option<f64> {
        let share = self.table.need::<f64>(key)?;
        if !(0.0..=1.0).contains(&share.value) {
            self.table.file().error(share.span, format!("`{key}` is a share from 0 to 1"), None);
            return None;
        }
        Some(share.value)
    }

    fn days(&self, days: &At<i64>) -> Option<u16> {
        let known = u16::try_from(days.value).ok().filter(|_| (1..=DAYS_MAX).contains(&days.value));
        if known.is_none() {
            self.table.file().error(days.span.clone(), format!("a ratio is over 1 to {DAYS_MAX} days"), None);
        }
        known
    }

    /// A quantity of the dimension of `unit`.
    fn quantity(&self, key: &'static str, unit: Unit) -> Option<Quantity> {
        let quantity = self.table.need::<Quantity>(key)?;
        if quantity.value.unit.dimension() != unit.dimension() {
            self.table.file().error(quantity.span, format!("expected a value in {}", unit.symbol()), None);
            return None;
        }
        Some(quantity.value)
    }

    /// The name of a point of the dimension of `unit`.
    fn point(&self, key: &'static str, unit: Unit) -> Option<String> {
        let name = self.table.need::<String>(key)?;
        self.known_point(name, Some(unit))
    }

    fn known_point(&self, name: At<String>, unit: Option<Unit>) -> Option<String> {
        let file = self.table.file();
        match (self.points.get(&name.value), unit) {
            (Some(point), Some(unit)) if point.unit.dimension() != unit.dimension() => {
                file.error(name.span, format!("`{}` is not in {}", name.value, unit.symbol()), None);
                None
            }
            (Some(_), _) => Some(name.value),
            (None, _) => {
                let near = did_you_mean(&name.value, self.points.keys().map(String::as_str));
                let hint = near.map(|near| format!("did you mean `{near}`?"));
                file.error(name.span, format!("there is no point `{}`", name.value), hint);
                None
            }
        }
    }

    fn counts(&self, key: &'static str) -> Option<PackCounts> {
        let name = self.table.need::<String>(key)?;
        let file = self.table.file();
        match name.value.as_str() {
            "visits" => Some(PackCounts::Visits),
            "handpieces" => Some(PackCounts::Handpieces),
            "waste" => Some(PackCounts::Waste),
            "open-days" => Some(PackCounts::OpenDays),
            "cycles" if self.has_cycle => Some(PackCounts::Cycles),
            "cycles" => {
                file.error(name.span, "this pack has no [cycle] to count", None);
                None
            }
            other => match other.strip_suffix(".minutes") {
                Some(module)
                    if self.above.iter().any(|above| above.name == module && above.what.is_meter()) =>
                {
                    Some(PackCounts::Minutes(module.to_owned()))
                }
                Some(module) => {
                    let hint = "modules are made in the order of the file".to_owned();
                    file.error(
                        name.span,
                        format!("no `dose` or `run` module `{module}` stands above this one"),
                        Some(hint),
                    );
                    None
                }
                None => self.known_point(name, None).map(PackCounts::Readings),
            },
        }
    }
}

impl PackComputes {
    /// It counts by local days, which only a calendar knows.
    pub(crate) fn counts_days(&self) -> bool {
        matches!(self, Self::Ratio { .. })
    }

    fn is_meter(&self) -> bool {
        matches!(self, Self::Dose { .. } | Self::Run { .. })
    }

    /// Names of the points it cannot do without.
    pub(crate) fn points(&self) -> Vec<&str> {
        let counted = |counts: &'_ PackCounts| match counts {
            PackCounts::Readings(_) => true,
            PackCounts::Visits
            | PackCounts::Handpieces
            | PackCounts::Cycles
            | PackCounts::Waste
            | PackCounts::OpenDays
            | PackCounts::Minutes(_) => false,
        };
        match self {
            Self::Dose { irradiance, .. } => vec![irradiance],
            Self::Run { power, .. } => vec![power],
            Self::Ratio { of, to, .. } => [of, to]
                .into_iter()
                .filter(|counts| counted(counts))
                .filter_map(|counts| {
                    if let PackCounts::Readings(point) = counts { Some(point.as_str()) } else { None }
                })
                .collect(),
            // A ledger without a scale is a ledger.
            Self::Duty { .. } | Self::Waste { .. } => Vec::new(),
        }
    }

    /// Its outputs: name, number, unit ([`Unit::Truth`] for truths). `points`: units of points by name.
    pub(crate) fn outputs(&self, unit_of: impl Fn(&str) -> Option<Unit>) -> Vec<(&'static str, u8, Unit)> {
        match self {
            Self::Dose { irradiance, .. } => {
                let lowest = unit_of(irradiance).unwrap_or(Unit::MicrowattPerCm2);
                vec![
                    ("hours", DosePlan::HOURS, Unit::Hour),
                    ("session", DosePlan::SESSION_MS, Unit::Millisecond),
                    ("lowest", DosePlan::LOWEST, lowest),
                    ("warm", DosePlan::WARM, Unit::Truth),
                ]
            }
            Self::Run { .. } => vec![
                ("hours", RunPlan::HOURS, Unit::Hour),
                ("starts", RunPlan::STARTS, Unit::One),
                ("running", RunPlan::RUNNING_MS, Unit::Millisecond),
            ],
            Self::Ratio { .. } => vec![
                ("ratio", RatioPlan::RATIO, Unit::One),
                ("of", RatioPlan::OF, Unit::One),
                ("to", RatioPlan::TO, Unit::One),
            ],
            Self::Duty { .. } => vec![
                ("overdue", DutyPlan::OVERDUE_MS, Unit::Millisecond),
                ("passed", DutyPlan::PASSED, Unit::Truth),
            ],
            Self::Waste { .. } => vec![
                ("oldest", WastePlan::OLDEST_MS, Unit::Millisecond),
                ("bags", WastePlan::BAGS, Unit::One),
                ("weight", WastePlan::GRAMS, Unit::Gram),
                ("at_source", WastePlan::AT_SOURCE_MS, Unit::Millisecond),
                ("on_the_road", WastePlan::ON_THE_ROAD_MS, Unit::Millisecond),
                ("unremoved", WastePlan::UNREMOVED_MS, Unit::Millisecond),
            ],
        }
    }

    /// What it says happened: name and event.
    pub(crate) fn events(&self) -> &'static [(&'static str, ModuleEvent)] {
        match self {
            Self::Dose { .. } | Self::Run { .. } | Self::Ratio { .. } => &[],
            Self::Duty { .. } => &[("failed", ModuleEvent::DutyFailed)],
            Self::Waste { .. } => &[
                ("duplicate-label", ModuleEvent::DuplicateLabel),
                ("unknown-label", ModuleEvent::UnknownLabel),
                ("weight-differs", ModuleEvent::WeightDiffers),
                ("weight-lost", ModuleEvent::WeightLost),
                ("vanished", ModuleEvent::Vanished),
                ("unknown-category", ModuleEvent::UnknownCategory),
            ],
        }
    }

    /// Settings that a site may change.
    pub(crate) fn settings(&self) -> &'static [&'static str] {
        match self {
            Self::Dose { .. } => &["lit", "warm_up"],
            Self::Run { .. } => &["running"],
            Self::Ratio { .. } => &["at_least"],
            Self::Duty { .. } => &["every"],
            Self::Waste { .. } => &["tolerance", "great", "division"],
        }
    }
}

/// Where a module binds: the device, the slots of what it may name.
pub(crate) struct Binding<'b, 's> {
    pub(crate) subject: &'b Subject<'s>,
    /// `pack/module`.
    pub(crate) id: String,
    /// Slot of a point by its name, with a dot for those of neighbours.
    pub(crate) point: &'b dyn Fn(&str) -> Option<(PointIx, Unit)>,
    /// Slot of the pack's own heat cycle.
    pub(crate) cycle: Option<ModuleIx>,
    /// Slots of the modules above.
    pub(crate) above: &'b BTreeMap<String, ModuleIx>,
}

impl Binding<'_, '_> {
    /// `None`: a point it needs is not there.
    pub(crate) fn bind(&self, what: &PackComputes) -> Option<ModulePlan> {
        let device = self.subject.device;
        let number = |key, default, unit| module_number(&self.id, key, default, unit, self.subject);
        let duration = |key, default| module_duration(&self.id, key, default, self.subject).0;
        Some(match what {
            PackComputes::Dose { irradiance, lit, warm_up, gap } => {
                let (irradiance, unit) = (self.point)(irradiance)?;
                ModulePlan::Dose(DosePlan {
                    device,
                    irradiance,
                    lit: number("lit", *lit, unit),
                    warm_up_ms: duration("warm_up", *warm_up),
                    gap_ms: gap.0,
                })
            }
            PackComputes::Run { power, running, gap } => {
                let (power, unit) = (self.point)(power)?;
                ModulePlan::Run(RunPlan {
                    device,
                    power,
                    running: number("running", *running, unit),
                    gap_ms: gap.0,
                })
            }
            PackComputes::Ratio { of, to, days, at_least } => {
                let at_least = Quantity { value: *at_least, unit: Unit::One };
                ModulePlan::Ratio(RatioPlan {
                    device,
                    of: self.counted(of)?,
                    to: self.counted(to)?,
                    days: *days,
                    at_least: number("at_least", at_least, Unit::One),
                })
            }
            PackComputes::Duty { duty, every, open_time } => ModulePlan::Duty(DutyPlan {
                device,
                duty: duty.clone(),
                every_ms: duration("every", *every),
                open_time: *open_time,
            }),
            PackComputes::Waste { tolerance, share, other_share, great, division, net, stable } => {
                let permille = |share: f64| (share * 1000.0).round() as u16;
                let grams = |key, quantity| number(key, quantity, Unit::Gram).round() as i64;
                // The engine counts in kg there.
                let read = |name: &Option<String>, unit| {
                    let (point, own) = (self.point)(name.as_deref()?)?;
                    (own == unit).then_some(point)
                };
                ModulePlan::Waste(WastePlan {
                    scale: None,
                    feed: device,
                    tolerance_g: grams("tolerance", *tolerance),
                    tolerance_permille: permille(*share),
                    other_permille: Some(permille(*other_share)),
                    great_g: Some(grams("great", *great)),
                    net: read(net, Unit::Kilogram),
                    stable: read(stable, Unit::Truth),
                    division_g: division.map(|division| grams("division", division)),
                })
            }
        })
    }

    fn counted(&self, counts: &PackCounts) -> Option<Counted> {
        Some(match counts {
            PackCounts::Visits => Counted::Visits,
            PackCounts::Handpieces => Counted::HandpiecesPacked,
            PackCounts::Cycles => Counted::CyclesPassed(self.cycle?),
            PackCounts::Waste => Counted::WasteGrams,
            PackCounts::OpenDays => Counted::OpenDays,
            PackCounts::Minutes(module) => Counted::OnMinutes(*self.above.get(module)?),
            PackCounts::Readings(point) => Counted::Readings((self.point)(point)?.0),
        })
    }
}

/// The module and the event that `text` (`bowie_dick.failed`) names.
pub(crate) fn event(
    file: &File<'_>,
    modules: &[PackNamed],
    text: &str,
    span: Range<usize>,
) -> Option<(String, ModuleEvent)> {
    let known = || {
        modules.iter().flat_map(|module| {
            module
                .what
                .events()
                .iter()
                .map(move |(name, event)| (format!("{}.{name}", module.name), module, *event))
        })
    };
    let found = known().find(|(name, ..)| name == text);
    if found.is_none() {
        let names: Vec<String> = known()
            .map(|(name, ..)| name)
            .chain(["cycle-failed".to_owned(), "cycle-unmeasured".to_owned()])
            .collect();
        let hint = did_you_mean(text, names.iter().map(String::as_str)).map_or_else(
            || format!("events: {}", names.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        file.error(span, format!("there is no event `{text}` here"), Some(hint));
    }
    found.map(|(_, module, event)| (module.name.clone(), event))
}
