//! The resolved plan of a site: what `gateway-rules` makes of site file, profiles and packs, what the engine
//! eats, and what every config record holds. No secrets: these stay references to files in the shell.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{
    Calibration, Counted, DeviceIx, DosePlan, DutyPlan, Handling, InstitutionId, Judging, ModuleEvent,
    ModuleIx, PointIx, Program, RatioPlan, RunPlan, SiteId, Text, Unit, WastePlan,
};

/// Everything the engine and the center need to know of a site.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct Plan {
    /// Which premises.
    #[n(0)]
    pub site: SiteId,
    /// Whose.
    #[n(1)]
    pub institution: InstitutionId,
    /// Devices, by slot.
    #[n(2)]
    pub devices: Vec<DevicePlan>,
    /// Points, by slot.
    #[n(3)]
    pub points: Vec<PointPlan>,
    /// Rules, by slot.
    #[n(4)]
    pub rules: Vec<RulePlan>,
    /// Modules, by slot.
    #[n(5)]
    pub modules: Vec<ModulePlan>,
    /// Packs the rules come from.
    #[n(6)]
    pub packs: Vec<PackRef>,
    /// Names of buses and brokers, by slot.
    #[n(7)]
    pub buses: Vec<String>,
    /// Offset of civil time from UTC at the site, minutes (480 in China).
    #[n(8)]
    pub utc_offset_min: i16,
    /// Windows, opening hours, trial run; `None` = none of them.
    #[n(9)]
    pub judging: Option<Judging>,
}

/// One instrument or machine.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct DevicePlan {
    /// `cabinet-1`.
    #[n(0)]
    pub id: String,
    /// `disinfection-cabinet`, `sterilizer`, … as packs name it.
    #[n(1)]
    pub kind: String,
    /// As people call it.
    #[n(2)]
    pub name: Text,
    /// Slot of its bus or broker in [`Plan::buses`].
    #[n(3)]
    pub bus: u16,
}

/// One quantity with a name and a unit.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct PointPlan {
    /// `cabinet-1/temperature`.
    #[n(0)]
    pub id: String,
    /// Its device.
    #[n(1)]
    pub device: DeviceIx,
    /// As people call it.
    #[n(2)]
    pub name: Text,
    /// Unit of the value after scaling.
    #[n(3)]
    pub unit: Unit,
    /// `raw × gain + offset`.
    #[n(4)]
    pub gain: f64,
    /// `raw × gain + offset`.
    #[n(5)]
    pub offset: f64,
    /// Where it is read and how it is encoded, as a person would write it: `input 0x0000 i16`, `/DS18B20/Temperature`.
    #[n(6)]
    pub source: String,
    /// How often a reading is due, ms; 0 = the source sends when it likes (none is ever due).
    #[n(7)]
    pub every_ms: i64,
    /// Older than this is stale, ms.
    #[n(8)]
    pub max_age_ms: i64,
    /// How far it must move to be kept, in its unit. 0 = every answer is kept.
    #[n(9)]
    pub deadband: f64,
    /// Kept at least this often, ms, moved or not.
    #[n(10)]
    pub heartbeat_ms: i64,
    /// What the instrument can measure, in the unit. Outside is implausible.
    #[n(11)]
    pub span: Option<(f64, f64)>,
    /// Raw integers that mean "probe broken" and the like.
    #[n(12)]
    pub sentinels: Vec<i64>,
    /// A truth value: true is shown as the first of "open/closed" and so on by the reader's language.
    #[n(13)]
    pub truth: bool,
    /// Its calibration; without one nothing about it is provable.
    #[n(14)]
    pub calibration: Option<Calibration>,
    /// When a value that does not move is no longer believed; `None` = it may stand still for ever.
    #[n(15)]
    pub stuck: Option<Stuck>,
}

/// A value that answers but stands still for longer than the quantity can is a frozen probe, and no measurement.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct Stuck {
    /// Not believed once it has not moved for so long, ms.
    #[n(0)]
    pub after_ms: i64,
    /// Movement up to this is noise and proves nothing, in the point's unit.
    #[n(1)]
    pub noise: f64,
    /// At or below this it may stand still for ever (a lamp that is off), in the point's unit; `None` = nowhere.
    #[n(2)]
    pub above: Option<f64>,
}

/// A pack that took part, by content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PackRef {
    /// `disinfection-cabinet`.
    #[n(0)]
    pub name: String,
    /// `2026.11`.
    #[n(1)]
    pub version: String,
    /// SHA-256 of the pack file's bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

/// How soon somebody has to respond. 1 is the most urgent (红橙黄蓝).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Priority {
    /// Red: at once, at any hour.
    #[n(1)]
    Red,
    /// Orange: within the working day.
    #[n(2)]
    Orange,
    /// Yellow: within three working days.
    #[n(3)]
    Yellow,
    /// Blue: a lead.
    #[n(4)]
    Blue,
}

/// Whose turn it is before it becomes a supervisor's item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum First {
    /// 被监管单位.
    #[n(0)]
    Institution,
    /// 运维单位.
    #[n(1)]
    Maintainer,
    /// 收运单位.
    #[n(2)]
    Collector,
    /// 值班员 at the center.
    #[n(3)]
    Supervisor,
}

/// One rule, bound to one device of this site.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct RulePlan {
    /// `disinfection-cabinet/too-hot`: pack and rule. With the subject it names the alert across restarts.
    #[n(0)]
    pub id: String,
    /// Slot of its pack in [`Plan::packs`].
    #[n(1)]
    pub pack: u16,
    /// The device it watches.
    #[n(2)]
    pub subject: DeviceIx,
    /// What it watches for.
    #[n(3)]
    pub kind: RuleKind,
    /// How urgent.
    #[n(4)]
    pub priority: Priority,
    /// Whose turn first.
    #[n(5)]
    pub first: First,
    /// How long that party has before it is a supervisor's item, ms. `None` = at once.
    #[n(6)]
    pub self_fix_ms: Option<i64>,
    /// Stays listed until reset.
    #[n(7)]
    pub latching: bool,
    /// What people read.
    #[n(8)]
    pub text: RuleText,
    /// How a rectification is verified from data.
    #[n(9)]
    pub verify: VerifyPlan,
    /// What becomes of its alerts while they are open; `None` = they are raised and cleared.
    #[n(10)]
    pub handling: Option<Handling>,
}

impl RulePlan {
    /// The point whose value is shown with its alerts.
    pub fn shown_point(&self) -> Option<PointIx> {
        match &self.kind {
            RuleKind::Condition { shown, .. } => *shown,
            RuleKind::Absence { point, .. } => Some(*point),
            RuleKind::CycleFailed { .. }
            | RuleKind::DeviceUnevaluable { .. }
            | RuleKind::BusUnevaluable { .. }
            | RuleKind::ClockUnevaluable { .. }
            | RuleKind::Event { .. } => None,
        }
    }

    /// The unit of the value and the limit that are shown with its alerts: a computed value's own, else the point's, of a heat
    /// cycle its temperature's. `plan` is the rule's own.
    pub fn shown_unit(&self, plan: &Plan) -> Option<Unit> {
        if let RuleKind::Event { event: ModuleEvent::WeightDiffers | ModuleEvent::WeightLost, .. } = self.kind
        {
            return Some(Unit::Kilogram);
        }
        let computed = self.handling.as_ref().and_then(|handling| handling.shown.as_ref());
        let point = self.shown_point().or_else(|| match &self.kind {
            RuleKind::CycleFailed { module, .. }
            | RuleKind::Event {
                module,
                event: ModuleEvent::CycleUnmeasured | ModuleEvent::CycleAborted,
                ..
            } => match plan.modules.get(module.slot())? {
                ModulePlan::HeatCycle(heat) => Some(heat.temperature),
                ModulePlan::Dose(_)
                | ModulePlan::Run(_)
                | ModulePlan::Ratio(_)
                | ModulePlan::Duty(_)
                | ModulePlan::Waste(_) => None,
            },
            RuleKind::Condition { .. }
            | RuleKind::Absence { .. }
            | RuleKind::DeviceUnevaluable { .. }
            | RuleKind::BusUnevaluable { .. }
            | RuleKind::ClockUnevaluable { .. }
            | RuleKind::Event { .. } => None,
        });
        let of_point = || plan.points.get(point?.slot()).map(|point| point.unit);
        computed.map(|shown| shown.unit).or_else(of_point)
    }
}

/// What a rule watches for.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum RuleKind {
    /// A condition that has an end.
    #[n(0)]
    Condition {
        /// True = violated.
        #[n(0)]
        when: Program,
        /// True = back beyond the deadband; `None` = as soon as `when` is false.
        #[n(1)]
        returned: Option<Program>,
        /// `for`: on-delay, ms.
        #[n(2)]
        on_delay_ms: i64,
        /// `clear_for`: off-delay, ms.
        #[n(3)]
        off_delay_ms: i64,
        /// The point whose value is shown with the alert.
        #[n(4)]
        shown: Option<PointIx>,
        /// The limit shown with it, in that point's unit.
        #[n(5)]
        limit: Option<f64>,
    },
    /// Nothing was received of a point for a time. Any reading with a number ends it.
    #[n(1)]
    Absence {
        /// The point.
        #[n(0)]
        point: PointIx,
        /// How long, ms.
        #[n(1)]
        after_ms: i64,
    },
    /// An event: a cycle of the module failed.
    #[n(2)]
    CycleFailed {
        /// The module.
        #[n(0)]
        module: ModuleIx,
        /// A passing cycle within this time settles it, ms; afterwards it lapses to "recorded".
        #[n(1)]
        settle_within_ms: i64,
    },
    /// Rules of a device cannot be judged, because its points are bad or stale. One alert per device.
    #[n(3)]
    DeviceUnevaluable {
        /// Delay before it is said, ms.
        #[n(0)]
        after_ms: i64,
    },
    /// All devices of a bus (two or more) cannot be judged: one alert, the devices fold into it. `subject` is
    /// the first device of the bus.
    #[n(4)]
    BusUnevaluable {
        /// Slot in [`Plan::buses`].
        #[n(0)]
        bus: u16,
        /// Delay before it is said, ms.
        #[n(1)]
        after_ms: i64,
    },
    /// Civil time is not known, so that nothing that depends on opening hours can be judged. One per site;
    /// `subject` is the first device with such a rule.
    #[n(5)]
    ClockUnevaluable {
        /// Delay before it is said, ms.
        #[n(0)]
        after_ms: i64,
    },
    /// An event: a module said so.
    #[n(6)]
    Event {
        /// The module.
        #[n(0)]
        module: ModuleIx,
        /// What it said.
        #[n(1)]
        event: ModuleEvent,
        /// Afterwards it lapses to "recorded", ms.
        #[n(2)]
        lapses_ms: i64,
    },
}

/// What people read about a rule.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct RuleText {
    /// A few words for a list.
    #[n(0)]
    pub title: Text,
    /// One sentence that a nurse or a housekeeping manager understands.
    #[n(1)]
    pub sentence: Text,
    /// What to do.
    #[n(2)]
    pub action: Text,
    /// Standard and clause.
    #[n(3)]
    pub norm: Text,
    /// Confidence in the figure: V, S, C, K or P as in the project's domain notes.
    #[n(4)]
    pub mark: String,
}

/// "Condition false and good for the whole window, with enough coverage."
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct VerifyPlan {
    /// Length of the window, ms.
    #[n(0)]
    pub window_ms: i64,
    /// Good answers ÷ due, at least, ‰.
    #[n(1)]
    pub coverage_permille: u16,
    /// Of a condition: only the time counts in which this is true, and there must be as much of it as the rule's own on-delay.
    /// `None` = all time counts.
    #[n(2)]
    pub during: Option<Program>,
    /// What makes a pass, where it is not what the kind of rule asks for by itself.
    #[n(3)]
    pub criterion: Option<Criterion>,
}

/// What makes a pass of some rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Criterion {
    /// Of a condition that holds for a while in ordinary use: only what lasts for the rule's own on-delay is a violation.
    #[n(0)]
    Lasting,
    /// Of a duty with a bad result: so many good ones since the last bad one.
    #[n(1)]
    GoodResults(#[n(0)] u16),
}

/// A pure module that computes points and cycles from points.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum ModulePlan {
    /// Recognises and judges heat cycles.
    #[n(0)]
    HeatCycle(#[n(0)] HeatCyclePlan),
    /// Lamp hours and dose.
    #[n(1)]
    Dose(#[n(0)] DosePlan),
    /// Run hours and starts.
    #[n(2)]
    Run(#[n(0)] RunPlan),
    /// A ratio over days.
    #[n(3)]
    Ratio(#[n(0)] RatioPlan),
    /// A duty that comes again.
    #[n(4)]
    Duty(#[n(0)] DutyPlan),
    /// The ledger of medical waste.
    #[n(5)]
    Waste(#[n(0)] WastePlan),
}

impl ModulePlan {
    /// The device it belongs to.
    pub fn device(&self) -> DeviceIx {
        match self {
            Self::HeatCycle(plan) => plan.device,
            Self::Dose(plan) => plan.device,
            Self::Run(plan) => plan.device,
            Self::Ratio(plan) => plan.device,
            Self::Duty(plan) => plan.device,
            Self::Waste(plan) => plan.feed,
        }
    }

    /// The points it computes from.
    pub fn points(&self) -> Vec<PointIx> {
        match self {
            Self::HeatCycle(plan) => {
                let probes = plan.probes.iter().flat_map(|probes| probes.others.iter().copied());
                let pressure = plan.probes.as_ref().and_then(|probes| probes.pressure);
                let power = plan.stop.and_then(|stop| stop.power);
                let own = core::iter::once(plan.temperature).chain(plan.door).chain(probes);
                own.chain(pressure).chain(power).collect()
            }
            Self::Dose(plan) => Vec::from([plan.irradiance]),
            Self::Run(plan) => Vec::from([plan.power]),
            Self::Ratio(plan) => {
                let counted =
                    |counted| if let Counted::Readings(point) = counted { Some(point) } else { None };
                [plan.of, plan.to].into_iter().filter_map(counted).collect()
            }
            Self::Waste(plan) => plan.net.into_iter().chain(plan.stable).collect(),
            Self::Duty(_) => Vec::new(),
        }
    }
}

/// One heat-cycle module.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct HeatCyclePlan {
    /// Which device.
    #[n(0)]
    pub device: DeviceIx,
    /// Chamber temperature, °C.
    #[n(1)]
    pub temperature: PointIx,
    /// Door contact, true = open.
    #[n(2)]
    pub door: Option<PointIx>,
    /// What it is judged against.
    #[n(3)]
    pub program: HeatProgram,
    /// What else is measured in the chamber.
    #[n(4)]
    pub probes: Option<HeatProbes>,
    /// A cycle that was stopped before its hold is told from one whose heater did not make it; `None` = it is not: both were too
    /// cool.
    #[n(5)]
    pub stop: Option<HeatStopPlan>,
}

/// By what a stopped cycle is told, besides the door.
#[derive(Debug, Clone, Copy, PartialEq, Default, Encode, Decode)]
pub struct HeatStopPlan {
    /// The heater's power.
    #[n(0)]
    pub power: Option<PointIx>,
    /// It heats from this power on, in the point's unit.
    #[n(1)]
    pub heating: f64,
}

/// What else is measured in a chamber.
#[derive(Debug, Clone, PartialEq, Default, Encode, Decode)]
pub struct HeatProbes {
    /// More temperature points, °C.
    #[n(0)]
    pub others: Vec<PointIx>,
    /// Gauge pressure, kPa.
    #[n(1)]
    pub pressure: Option<PointIx>,
}

/// A program of a cabinet or sterilizer. Durations in ms, temperatures in °C.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct HeatProgram {
    /// `catering-100/10`.
    #[n(0)]
    pub id: String,
    /// Set temperature: the hold is at or above it.
    #[n(1)]
    pub set_c: f64,
    /// How long it must be held without a break.
    #[n(2)]
    pub hold_ms: i64,
    /// A dip below the set temperature this short does not break the hold.
    #[n(3)]
    pub dip_ms: i64,
    /// During the hold at most `set_c + band_c`.
    #[n(4)]
    pub band_c: Option<f64>,
    /// Above this a cycle has begun.
    #[n(5)]
    pub start_c: f64,
    /// Below this, for `end_ms`, it is over.
    #[n(6)]
    pub end_c: f64,
    /// How long below `end_c`.
    #[n(7)]
    pub end_ms: i64,
    /// A cycle whose peak stays below this was only drying: logged, not judged.
    #[n(8)]
    pub dry_c: f64,
    /// A cycle of which more than this was not measured is "not measured", unless it passed all the same.
    #[n(9)]
    pub unseen_ms: i64,
    /// What else a cycle must show; `None` = nothing else is computed.
    #[n(10)]
    pub criteria: Option<HeatCriteria>,
    /// A cycle that was over sooner than this was only drying, whatever its peak, ms.
    #[n(11)]
    pub dry_ms: Option<i64>,
}

/// What a cycle must show besides temperature and time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Encode, Decode)]
pub struct HeatCriteria {
    /// F0 at least, min (z = 10 K, reference 121.1 °C).
    #[n(0)]
    pub f0_min: Option<f64>,
    /// A0 at least, s (z = 10 K, reference 80 °C, counted from 65 °C).
    #[n(1)]
    pub a0_s: Option<f64>,
    /// Probes differ by at most this during the hold, K.
    #[n(2)]
    pub spread_k: Option<f64>,
    /// Temperature differs by at most this from that of saturated steam at the measured pressure during the hold, K.
    #[n(3)]
    pub saturation_k: Option<f64>,
}
