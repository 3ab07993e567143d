//! Recognises and judges heat cycles: disinfection cabinets, sterilizers.
//!
//! **Life of a cycle.** It begins with the first believed temperature above `start_c` (and not below `end_c`,
//! or the tail of one cycle would begin the next) and ends when the
//! temperature has stayed below `end_c` for `end_ms` (a timer: it needs no further reading). In between, *holds*
//! are spans in which the temperature stays at or above `set_c` with the door shut.
//!
//! **What is measured.** A hold runs from the first to the last reading at or above the set temperature, so it
//! is too short by up to one reading at each end, never too long. A dip, from the first reading below to the
//! first back above, of at most `dip_ms` does not break it, and its lowest value counts as the hold's.
//!
//! **Door.** "Held with the door shut": opening it ends the hold; the next can begin when it is shut again.
//! Opening it after the hold was long enough spoils nothing.
//!
//! **Which hold is judged.** One that was long enough and inside the band, else one that was long enough,
//! else the longest.
//!
//! **What nobody measured.** Time between two believed temperatures that are more than `gap_ms` apart (three
//! times what is usual for the point) is unseen, and so is time in a hold in which a door contact that should
//! be there cannot be believed. As long as all of it together is at most `unseen_ms`, a hold goes on across it:
//! a chamber that was hot before and after a gateway's restart was hot in between. Beyond that no hold spans it,
//! and the cycle is "not measured" unless what was seen passes by itself. A cycle that was already hot when
//! it came into sight may have been so for any time: it counts as unseen for just more than is allowed.
//!
//! **Losing sight.** If the temperature cannot be believed for `unseen_ms + end_ms`, the cycle is over:
//! what was seen passes, or it was not measured. Losing sight after it had come below `end_c` ends it as usual.
//!
//! **Verdict**, at the end of the cycle: the peak below `set_c` is too cool (below `dry_c`, or over within `dry_ms`: only
//! drying, not judged; stopped while it was still heating, where the plan tells that apart ([`crate::abort`]): aborted, not
//! judged and no pass); then the hold too short, said as "door opened" where opening it ended the hold; then too hot.
//!
//! **What else a program may ask for** (criteria): F0 and A0 of the whole cycle, each stretch between two
//! readings counted at the cooler of them, so that they are never too large, and unseen stretches not at all;
//! the spread between probes and the distance from saturated steam, the largest of the hold that is judged. A
//! measure that is asked for and was never taken in that hold makes the cycle "not measured".

use gateway_model::{
    Cycle, CycleMeasured, CycleOutcome, CycleState, CycleVerdict, EngineTime, HeatCriteria, HeatCyclePlan,
    HeatMeasures, HeatProgram, ModuleIx, Phase, PointPlan,
};

use crate::abort;
use crate::lethality::{a0_rate, f0_rate};

/// Two believed readings further apart than so many usual distances leave time unseen.
const GAP_IN_READINGS: i64 = 3;

/// What the module is told of the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Shut, or there is no contact to ask.
    Shut,
    /// Open.
    Open,
    /// There is a contact, and it cannot be believed.
    Unknown,
}

/// A believed temperature and what belongs to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: EngineTime,
    pub(crate) celsius: f64,
    /// Stamp of the believed temperature before it, if there ever was one.
    pub(crate) previous: Option<EngineTime>,
    pub(crate) door: Door,
    /// Largest difference to another probe, K, where one can be believed.
    pub(crate) spread_k: Option<f64>,
    /// Difference from saturated steam at the measured pressure, K, where that can be believed.
    pub(crate) saturation_k: Option<f64>,
    /// The heater's power is believed to be on.
    pub(crate) heating: bool,
}

/// What a module is made from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chamber {
    pub(crate) program: HeatProgram,
    /// Longest time between two readings that counts as measured, ms.
    pub(crate) gap_ms: i64,
    /// Stopped cycles are told apart: there is a door contact, or the heater's power.
    stops: bool,
    /// There is a door contact.
    contact: bool,
}

impl Chamber {
    pub(crate) fn new(plan: &HeatCyclePlan, temperature: Option<&PointPlan>) -> Self {
        let usual = temperature.map_or(0, |point| {
            let kept = if point.deadband > 0.0 || point.every_ms <= 0 { point.heartbeat_ms } else { 0 };
            point.every_ms.max(kept).max(0)
        });
        Self {
            program: plan.program.clone(),
            gap_ms: usual.saturating_mul(GAP_IN_READINGS),
            stops: plan.stop.is_some(),
            contact: plan.door.is_some(),
        }
    }
}

/// A stretch at or above the set temperature with the door shut.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Hold {
    from: EngineTime,
    to: EngineTime,
    min_c: f64,
    max_c: f64,
    /// Opening the door ended it.
    door: bool,
}

impl Hold {
    fn long_enough(&self, program: &HeatProgram) -> bool {
        self.to.since(self.from) >= program.hold_ms
    }

    fn in_band(&self, program: &HeatProgram) -> bool {
        program.band_c.is_none_or(|band| self.max_c <= program.set_c + band)
    }

    fn passes(&self, program: &HeatProgram) -> bool {
        self.long_enough(program) && self.in_band(program)
    }

    fn rank(&self, program: &HeatProgram) -> (bool, bool, i64) {
        (self.passes(program), self.long_enough(program), self.to.since(self.from))
    }
}

/// A module's memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeatCycle {
    /// Number of the next cycle to end.
    pub(crate) next: u32,
    pub(crate) running: Option<CycleState>,
}

impl HeatCycle {
    pub(crate) fn new() -> Self {
        Self { next: 1, running: None }
    }

    /// A believed temperature.
    pub(crate) fn temperature(&mut self, chamber: &Chamber, sample: &Sample) {
        let Sample { at, celsius, door, .. } = *sample;
        let program = &chamber.program;
        let cycle = match &mut self.running {
            Some(cycle) => cycle,
            None if celsius > program.start_c && celsius >= program.end_c => {
                self.running.insert(begun(chamber, sample))
            }
            None => return,
        };
        let passed = at.since(cycle.seen_at).max(0);
        let blind_door = door == Door::Unknown && holds(cycle.phase);
        if passed > chamber.gap_ms || blind_door {
            cycle.unseen_ms = cycle.unseen_ms.saturating_add(passed);
            if cycle.unseen_ms > program.unseen_ms {
                end_hold(cycle, program, false);
            }
        }
        if program.criteria.is_some() {
            lethality(cycle, celsius, if passed > chamber.gap_ms { 0 } else { passed });
        }
        cycle.seen_at = cycle.seen_at.max(at);
        cycle.peak_c = if celsius > cycle.peak_c { celsius } else { cycle.peak_c };
        if celsius < program.set_c {
            dip(cycle, program, at, celsius);
        } else if door != Door::Open {
            hold(cycle, program, at, celsius);
            if let Some(measures) = &mut cycle.measures {
                measures.spread_k = larger(measures.spread_k, sample.spread_k);
                measures.saturation_k = larger(measures.saturation_k, sample.saturation_k);
            }
        }
        if let Some(start) = &mut cycle.start {
            abort::temperature(start, at, celsius);
        }
        if celsius < program.end_c {
            cycle.below_since.get_or_insert(at);
        } else {
            cycle.below_since = None;
        }
    }

    /// The door contact says something.
    pub(crate) fn door(&mut self, chamber: &Chamber, now: EngineTime, door: Door) {
        let Some(cycle) = &mut self.running else { return };
        match door {
            Door::Open => {
                abort::door(cycle, now, true);
                end_hold(cycle, &chamber.program, true);
            }
            Door::Shut => abort::door(cycle, now, false),
            Door::Unknown => (),
        }
    }

    /// The heater's power is on or off; `None` = it cannot be believed.
    pub(crate) fn power(&mut self, now: EngineTime, on: Option<bool>) {
        if let Some(cycle) = &mut self.running {
            abort::power(cycle, now, on);
        }
    }

    /// When the cycle is over if nothing more comes. `blind_since`: since when the temperature cannot be
    /// believed, if it cannot.
    pub(crate) fn deadline(&self, chamber: &Chamber, blind_since: Option<EngineTime>) -> Option<EngineTime> {
        let cycle = self.running.as_ref()?;
        let program = &chamber.program;
        let end_ms = program.end_ms.max(0);
        let cooled = cycle.below_since.map(|since| since.plus(end_ms));
        let given_up = blind_since.map(|since| since.plus(end_ms.saturating_add(program.unseen_ms.max(0))));
        cooled.or(given_up)
    }

    /// The deadline has come: judges the cycle.
    pub(crate) fn end(&mut self, chamber: &Chamber, module: ModuleIx, now: EngineTime) -> Option<Cycle> {
        let program = &chamber.program;
        let mut cycle = self.running.take()?;
        if cycle.below_since.is_none() {
            cycle.unseen_ms = cycle.unseen_ms.saturating_add(now.since(cycle.seen_at).max(0));
        }
        end_hold(&mut cycle, program, false);
        let best = best(&cycle);
        let n = self.next;
        self.next = self.next.saturating_add(1);
        Some(Cycle {
            module,
            n,
            started: cycle.started,
            hold_started: best.map(|hold| hold.from),
            hold_ms: best.map_or(0, |hold| hold.to.since(hold.from)),
            peak_c: cycle.peak_c,
            hold_min_c: best.map(|hold| hold.min_c),
            hold_max_c: best.map(|hold| hold.max_c),
            door_opened: best.is_some_and(|hold| hold.door && !hold.long_enough(program)),
            unseen_ms: cycle.unseen_ms,
            outcome: outcome(&cycle, best, program),
            measured: cycle.measures.map(|measures| {
                let (spread_k, saturation_k) = measures.best.unwrap_or_default();
                CycleMeasured { f0_min: measures.f0_min, a0_s: measures.a0_s, spread_k, saturation_k }
            }),
        })
    }
}

fn outcome(cycle: &CycleState, best: Option<Hold>, program: &HeatProgram) -> CycleOutcome {
    if best.is_some_and(|hold| hold.passes(program)) {
        return match (program.criteria, cycle.measures) {
            (Some(criteria), Some(measures)) => measured_outcome(&criteria, &measures),
            _ => CycleOutcome::Judged(CycleVerdict::Passed),
        };
    }
    if cycle.unseen_ms > program.unseen_ms {
        return CycleOutcome::NotMeasured;
    }
    let short = cycle
        .below_since
        .zip(program.dry_ms)
        .is_some_and(|(over, dry_ms)| over.since(cycle.started) < dry_ms);
    if cycle.peak_c < program.dry_c || short {
        return CycleOutcome::Drying;
    }
    if abort::stopped(cycle) {
        return CycleOutcome::Aborted;
    }
    CycleOutcome::Judged(match best {
        None if cycle.peak_c < program.set_c => CycleVerdict::TooCool,
        // At temperature, but never with the door shut.
        None => CycleVerdict::DoorOpened,
        Some(hold) if hold.long_enough(program) => CycleVerdict::TooHot,
        Some(hold) if hold.door => CycleVerdict::DoorOpened,
        Some(_) => CycleVerdict::TooShort,
    })
}

/// Temperature, time and door are as the program asks: is the rest?
fn measured_outcome(criteria: &HeatCriteria, measures: &HeatMeasures) -> CycleOutcome {
    let (spread_k, saturation_k) = measures.best.unwrap_or_default();
    let within = |limit: Option<f64>, value: Option<f64>| match (limit, value) {
        (None, _) => Some(true),
        (Some(_), None) => None,
        (Some(limit), Some(value)) => Some(value <= limit),
    };
    let weak = criteria.f0_min.is_some_and(|least| measures.f0_min < least)
        || criteria.a0_s.is_some_and(|least| measures.a0_s < least);
    match (within(criteria.spread_k, spread_k), within(criteria.saturation_k, saturation_k)) {
        _ if weak => CycleOutcome::Judged(CycleVerdict::TooWeak),
        (Some(false), _) => CycleOutcome::Judged(CycleVerdict::Uneven),
        (_, Some(false)) => CycleOutcome::Judged(CycleVerdict::NotSaturated),
        (None, _) | (_, None) => CycleOutcome::NotMeasured,
        (Some(true), Some(true)) => CycleOutcome::Judged(CycleVerdict::Passed),
    }
}

/// Adds what `passed` ms between the last temperature and this one kill, at the cooler of the two.
fn lethality(cycle: &mut CycleState, celsius: f64, passed: i64) {
    let measures =
        cycle.measures.get_or_insert_with(|| HeatMeasures { last_c: celsius, ..HeatMeasures::default() });
    let cooler = if celsius < measures.last_c { celsius } else { measures.last_c };
    let seconds = passed as f64 / 1000.0;
    measures.f0_min += seconds / 60.0 * f0_rate(cooler);
    measures.a0_s += seconds * a0_rate(cooler);
    measures.last_c = celsius;
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b > a { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// A cycle that comes into sight.
fn begun(chamber: &Chamber, sample: &Sample) -> CycleState {
    let Sample { at, celsius, previous, .. } = *sample;
    let shut = chamber.contact && sample.door == Door::Shut;
    let unseen_ms = match previous {
        None => chamber.program.unseen_ms.saturating_add(1),
        Some(previous) => Some(at.since(previous)).filter(|&gap| gap > chamber.gap_ms).unwrap_or(0),
    };
    CycleState {
        phase: Phase::Heating,
        started: at,
        hold_from: None,
        hold_to: None,
        hold_span: None,
        hold_door: false,
        best: None,
        peak_c: celsius,
        below_since: None,
        seen_at: at,
        unseen_ms,
        dip: None,
        measures: None,
        start: chamber.stops.then(|| abort::begun(at, celsius, shut, sample.heating)),
    }
}

fn holds(phase: Phase) -> bool {
    match phase {
        Phase::Holding | Phase::Dipping => true,
        Phase::Heating | Phase::Cooling => false,
    }
}

/// At or above the set temperature with the door not open: the hold goes on, or a new one begins.
fn hold(cycle: &mut CycleState, program: &HeatProgram, at: EngineTime, celsius: f64) {
    let mut lowest = celsius;
    if let Some((since, dip_c)) = cycle.dip.take() {
        if at.since(since) > program.dip_ms {
            end_hold(cycle, program, false);
        }
        lowest = if dip_c < celsius { dip_c } else { celsius };
    }
    if holds(cycle.phase)
        && let Some((min, max)) = cycle.hold_span
    {
        let min = if lowest < min { lowest } else { min };
        cycle.hold_span = Some((min, if celsius > max { celsius } else { max }));
    } else {
        cycle.hold_from = Some(at);
        cycle.hold_span = Some((celsius, celsius));
    }
    cycle.hold_to = Some(at);
    cycle.phase = Phase::Holding;
}

/// Below the set temperature: a hold dips, or is over.
fn dip(cycle: &mut CycleState, program: &HeatProgram, at: EngineTime, celsius: f64) {
    if !holds(cycle.phase) {
        return;
    }
    let (since, lowest) = cycle.dip.unwrap_or((at, celsius));
    if at.since(since) > program.dip_ms {
        end_hold(cycle, program, false);
    } else {
        cycle.phase = Phase::Dipping;
        cycle.dip = Some((since, if celsius < lowest { celsius } else { lowest }));
    }
}

/// The current hold, if there is one, is over; the better of it and the best so far is kept.
fn end_hold(cycle: &mut CycleState, program: &HeatProgram, door: bool) {
    cycle.dip = None;
    let span = cycle.hold_from.take().zip(cycle.hold_to.take()).zip(cycle.hold_span.take());
    let Some(((from, to), (min_c, max_c))) = span else { return };
    cycle.phase = Phase::Cooling;
    let hold = Hold { from, to, min_c, max_c, door };
    let better = best(cycle).is_none_or(|best| hold.rank(program) > best.rank(program));
    if better {
        cycle.best = Some((from, to, min_c, max_c, door));
    }
    if let Some(measures) = &mut cycle.measures {
        let hold = (measures.spread_k.take(), measures.saturation_k.take());
        if better {
            measures.best = Some(hold);
        }
    }
}

fn best(cycle: &CycleState) -> Option<Hold> {
    cycle.best.map(|(from, to, min_c, max_c, door)| Hold { from, to, min_c, max_c, door })
}
