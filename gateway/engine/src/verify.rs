//! Is a rectification real? Decided from signed readings alone, over a window.
//!
//! | rule | FAIL | INSUFFICIENT | PASS |
//! |---|---|---|---|
//! | condition | true at any moment at which it could be judged, however short | some moment could not be judged, or too few answers | false and judged throughout |
//! | absence | silent for the rule's time anywhere in the window | no reading at all before the silence began | never silent that long |
//! | failed cycle | the last judged cycle of the window failed | no judged cycle ended in it | the last judged cycle passed |
//! | device cannot be judged | any of its watched points not believed at any moment | too few answers | believed throughout |
//! | bus cannot be judged | at any moment none of its devices could be | too few answers | always at least one |
//!
//! FAIL outweighs INSUFFICIENT: a violation that was seen stays one, whatever else was not seen. The delays of
//! a rule do not matter here: "false for the whole window" has no exceptions.
//!
//! A condition that looks through windows, at opening hours or at outputs of modules cannot be judged from the
//! readings of a window alone: INSUFFICIENT.
//!
//! Values age as in the engine: a point without a reading for its maximum age is not believed from then on,
//! so silence can never pass. Late readings are skipped, stamps never step back.
//!
//! **Coverage** is answers ÷ due over the counts whose span touches the window, of the worst point; where the
//! counts of a polled point leave holes longer than three of its periods, what was due in them by plan
//! counts as due. Points that nobody polls have none; for them only age speaks. Absence and cycles do not ask
//! for coverage: the one is about receiving at all, the other counts unseen time itself.

use alloc::vec;
use alloc::vec::Vec;

use gateway_model::{
    CycleOutcome, CycleVerdict, EngineTime, HeatCyclePlan, ModuleIx, ModulePlan, Plan, PointCounts, PointIx,
    Reading, RuleIx, RuleKind,
};

use crate::cycle::{blind_since, door, sample};
use crate::engine::received;
use crate::eval::evaluate;
use crate::heat_cycle::{Chamber, HeatCycle};
use crate::module::Heat;
use crate::points::{Eaten, Points};
use crate::quality::BUS_DEVICES_MIN;
use crate::wiring::{Wiring, listed};

/// Between two spans of counts, so many periods without any are nothing but the space between two records.
const HOLE_IN_PERIODS: i64 = 3;
const ALL_PERMILLE: u16 = 1000;

/// From and to, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First moment.
    pub from: EngineTime,
    /// Last moment.
    pub to: EngineTime,
}

/// What the data say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Rectified.
    Pass,
    /// Not rectified.
    Fail,
    /// They do not say: never a pass.
    Insufficient,
}

/// Why that is the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Everything asked for held throughout.
    Held,
    /// The condition was true.
    Violated,
    /// At some moment it could not be judged.
    NotGood,
    /// Too few of the answers that were due came.
    Coverage,
    /// The point was silent for the rule's time.
    Silent,
    /// No reading of the point is known from before the silence.
    NeverSeen,
    /// The last judged cycle of the window failed.
    CycleFailed,
    /// No judged cycle ended in the window.
    NoCycle,
    /// There is no such rule, the window is empty, or the rule reads no point.
    NotVerifiable,
}

/// A verdict with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The verdict.
    pub verdict: Verdict,
    /// Answers ÷ due of the worst point, ‰.
    pub coverage_permille: u16,
    /// Points that could not be believed at some moment of the window, in ascending order.
    pub unseen: Vec<PointIx>,
    /// When it was first violated.
    pub first_violation: Option<EngineTime>,
    /// Why.
    pub reason: Reason,
}

/// Judges the window. `readings`: in the order they were eaten, with at least the last one before the window
/// of each point (for cycles: from before the first cycle began). `counts`: each with the span it covers.
pub fn verify(
    plan: &Plan,
    rule: RuleIx,
    window: Window,
    readings: &[Reading],
    counts: &[(EngineTime, EngineTime, PointCounts)],
) -> Verification {
    let Some(rule) = plan.rules.get(rule.slot()).filter(|_| window.to > window.from) else {
        return insufficient(Reason::NotVerifiable);
    };
    let least = rule.verify.coverage_permille;
    let wiring = Wiring::new(plan);
    let subject = rule.subject.slot();
    match &rule.kind {
        RuleKind::Condition { when, .. } => {
            let watched = when.points();
            throughout(plan, window, readings, &watched, |points| {
                match evaluate(when, |point| points.believed(point)) {
                    Some(true) => Moment::Violated,
                    Some(false) => Moment::Fine,
                    None => Moment::Unknown,
                }
            })
            .covered(plan, window, &watched, counts, least)
        }
        RuleKind::DeviceUnevaluable { .. } => {
            let watched = listed(&wiring.watched, subject).to_vec();
            throughout(plan, window, readings, &watched, |points| {
                let believed = watched.iter().all(|&point| points.is_good(point));
                if believed { Moment::Fine } else { Moment::Violated }
            })
            .covered(plan, window, &watched, counts, least)
        }
        RuleKind::BusUnevaluable { bus, .. } => {
            let devices = listed(&wiring.bus_devices, usize::from(*bus));
            let watched: Vec<PointIx> =
                devices.iter().flat_map(|&device| listed(&wiring.watched, device)).copied().collect();
            throughout(plan, window, readings, &watched, |points| {
                let blind =
                    |device: &usize| listed(&wiring.watched, *device).iter().any(|&p| !points.is_good(p));
                let dead = devices.len() >= BUS_DEVICES_MIN && devices.iter().all(blind);
                if dead { Moment::Violated } else { Moment::Fine }
            })
            .covered(plan, window, &watched, counts, least)
        }
        RuleKind::Absence { point, after_ms } => heard(window, readings, *point, *after_ms),
        RuleKind::CycleFailed { module, .. } => cycles(plan, window, readings, *module),
        // Neither facts nor civil time are among what is looked at here.
        RuleKind::ClockUnevaluable { .. } | RuleKind::Event { .. } => insufficient(Reason::NotVerifiable),
    }
}

/// What one moment of the window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Fine,
    Violated,
    Unknown,
}

/// Looks at every moment of the window at which something changes.
fn throughout(
    plan: &Plan,
    window: Window,
    readings: &[Reading],
    watched: &[PointIx],
    look: impl Fn(&Points) -> Moment,
) -> Verification {
    if watched.is_empty() {
        return insufficient(Reason::NotVerifiable);
    }
    let mut first_violation = None;
    let mut unknown = false;
    let mut unseen = Vec::new();
    let mut inspect = |points: &Points, at: EngineTime| {
        if at < window.from {
            return;
        }
        unseen.extend(watched.iter().copied().filter(|&point| !points.is_good(point)));
        match look(points) {
            Moment::Fine => (),
            Moment::Violated => first_violation = first_violation.or(Some(at)),
            Moment::Unknown => unknown = true,
        }
    };
    let mut sweep = Sweep::new(plan, watched);
    for reading in readings.iter().filter(|reading| watched.contains(&reading.point)) {
        if reading.at > window.to {
            break;
        }
        sweep.advance(reading.at, window.from, &mut inspect);
        sweep.eat(reading);
    }
    sweep.advance(window.to, window.from, &mut inspect);
    inspect(&sweep.points, window.to);
    unseen.sort_unstable();
    unseen.dedup();
    let (verdict, reason) = match (first_violation, unknown) {
        (Some(_), _) => (Verdict::Fail, Reason::Violated),
        (None, true) => (Verdict::Insufficient, Reason::NotGood),
        (None, false) => (Verdict::Pass, Reason::Held),
    };
    Verification { verdict, coverage_permille: ALL_PERMILLE, unseen, first_violation, reason }
}

/// The watched points as time passes.
struct Sweep<'w> {
    points: Points,
    watched: &'w [PointIx],
    now: EngineTime,
}

impl<'w> Sweep<'w> {
    fn new(plan: &Plan, watched: &'w [PointIx]) -> Self {
        Self { points: Points::new(plan), watched, now: EngineTime(i64::MIN) }
    }

    fn eat(&mut self, reading: &Reading) -> Option<Eaten> {
        let slot = reading.point.slot();
        self.points.0.get_mut(slot)?.eat(reading, self.now)
    }

    /// Moves on to `until`. Every moment left behind is shown once all that is stamped with it is eaten: the
    /// one it stands at, those at which values get too old, and `from`, the window's first.
    fn advance(
        &mut self,
        until: EngineTime,
        from: EngineTime,
        inspect: &mut impl FnMut(&Points, EngineTime),
    ) {
        while self.now < until {
            inspect(&self.points, self.now);
            let begins = Some(from).filter(|&from| self.now < from);
            let next = self.next_stale().into_iter().chain(begins).chain([until]).min().unwrap_or(until);
            self.age(next.min(until));
        }
    }

    fn next_stale(&self) -> Option<EngineTime> {
        self.watched.iter().filter_map(|&point| self.points.get(point)?.stale_at()).min()
    }

    fn age(&mut self, to: EngineTime) {
        self.now = self.now.max(to);
        for &slot in self.watched {
            let slot = slot.slot();
            if let Some(point) = self.points.0.get_mut(slot) {
                point.refresh(self.now);
            }
        }
    }
}

impl Verification {
    /// A pass needs enough answers, too.
    fn covered(
        mut self,
        plan: &Plan,
        window: Window,
        watched: &[PointIx],
        counts: &[(EngineTime, EngineTime, PointCounts)],
        least: u16,
    ) -> Self {
        if self.reason == Reason::NotVerifiable {
            return self;
        }
        self.coverage_permille =
            watched.iter().map(|&point| coverage(plan, window, point, counts)).min().unwrap_or(0);
        if self.verdict == Verdict::Pass && self.coverage_permille < least {
            self.verdict = Verdict::Insufficient;
            self.reason = Reason::Coverage;
        }
        self
    }
}

/// Answers ÷ due of one point, ‰.
fn coverage(
    plan: &Plan,
    window: Window,
    point: PointIx,
    counts: &[(EngineTime, EngineTime, PointCounts)],
) -> u16 {
    let mut spans: Vec<_> = counts
        .iter()
        .filter(|(from, to, counts)| counts.point == point && *to >= window.from && *from <= window.to)
        .collect();
    spans.sort_by_key(|(from, to, _)| (*from, *to));
    let (mut due, mut answered) = (0_u64, 0_u64);
    for (_, _, counts) in &spans {
        due = due.saturating_add(u64::from(counts.due));
        answered = answered.saturating_add(u64::from(counts.answered));
    }
    let every_ms = plan.points.get(point.slot()).map_or(0, |point| point.every_ms);
    if every_ms > 0 {
        let mut reached = window.from;
        let end = (window.to, window.to);
        for (from, to) in spans.iter().map(|(from, to, _)| (*from, *to)).chain([end]) {
            let hole = from.since(reached);
            if hole > every_ms.saturating_mul(HOLE_IN_PERIODS) {
                due = due.saturating_add((hole / every_ms) as u64);
            }
            reached = reached.max(to);
        }
    }
    match (every_ms > 0, due) {
        (false, 0) => ALL_PERMILLE,
        (true, 0) => 0,
        (_, due) => u16::try_from(u128::from(answered) * 1000 / u128::from(due))
            .map_or(ALL_PERMILLE, |p| p.min(ALL_PERMILLE)),
    }
}

/// Absence: no silence of `after_ms` may reach into the window.
fn heard(window: Window, readings: &[Reading], point: PointIx, after_ms: i64) -> Verification {
    let mut now = EngineTime(i64::MIN);
    let mut before = None;
    let mut within = Vec::new();
    for reading in readings.iter().filter(|reading| reading.point == point && received(reading.value)) {
        now = now.max(reading.at);
        if now <= window.from {
            before = Some(now);
        } else if now <= window.to {
            within.push(now);
        }
    }
    // Where nothing is known from before, the silence began at the window's first moment at the latest.
    let mut heard_at = before.unwrap_or(window.from);
    for next in within.into_iter().chain([window.to]) {
        let silent_at = heard_at.plus(after_ms.max(0));
        if silent_at <= next {
            return Verification {
                verdict: Verdict::Fail,
                unseen: vec![point],
                first_violation: Some(silent_at.max(window.from)),
                reason: Reason::Silent,
                ..passed()
            };
        }
        heard_at = next;
    }
    match before {
        Some(_) => passed(),
        None => Verification { unseen: vec![point], ..insufficient(Reason::NeverSeen) },
    }
}

/// Failed cycle: runs the module over the readings and looks at what ended in the window.
fn cycles(plan: &Plan, window: Window, readings: &[Reading], module: ModuleIx) -> Verification {
    let Some(ModulePlan::HeatCycle(heat)) = plan.modules.get(module.slot()) else {
        return insufficient(Reason::NotVerifiable);
    };
    let temperature = plan.points.get(heat.temperature.slot());
    let module = Heat { chamber: Chamber::new(&heat.program, temperature), cycle: HeatCycle::new() };
    let mut replay = Replay { module, heat, last: None };
    let watched = ModulePlan::HeatCycle(heat.clone()).points();
    let mut sweep = Sweep::new(plan, &watched);
    for reading in readings.iter().filter(|reading| watched.contains(&reading.point)) {
        let at = sweep.now.max(reading.at);
        if at > window.to {
            break;
        }
        replay.run_to(&mut sweep, at, window);
        let previous = sweep.points.get(heat.temperature).and_then(|point| point.good_at);
        if sweep.eat(reading).is_some() {
            replay.feed(&sweep.points, reading, previous);
        }
    }
    replay.run_to(&mut sweep, window.to, window);
    match replay.last {
        None => insufficient(Reason::NoCycle),
        Some((_, true)) => passed(),
        Some((at, false)) => Verification {
            verdict: Verdict::Fail,
            first_violation: Some(at),
            reason: Reason::CycleFailed,
            ..passed()
        },
    }
}

/// A module at work outside the engine.
struct Replay<'p> {
    module: Heat,
    heat: &'p HeatCyclePlan,
    /// When the last judged cycle of the window ended, and whether it passed.
    last: Option<(EngineTime, bool)>,
}

impl Replay<'_> {
    fn feed(&mut self, points: &Points, reading: &Reading, previous: Option<EngineTime>) {
        let Heat { chamber, cycle } = &mut self.module;
        if self.heat.door == Some(reading.point) {
            cycle.door(chamber, door(self.heat, points));
        }
        if let (true, Some(celsius)) =
            (self.heat.temperature == reading.point, points.believed(reading.point))
        {
            cycle.temperature(chamber, &sample(self.heat, points, reading.at, celsius, previous));
        }
    }

    /// Lets values age and cycles end until `until`, in the order of their times.
    fn run_to(&mut self, sweep: &mut Sweep<'_>, until: EngineTime, window: Window) {
        loop {
            let Heat { chamber, cycle } = &mut self.module;
            let end =
                cycle.deadline(chamber, blind_since(self.heat, &sweep.points)).filter(|&end| end <= until);
            let ages = sweep.next_stale().filter(|&ages| ages <= until);
            if let Some(end) = end.filter(|&end| ages.is_none_or(|ages| end < ages)) {
                sweep.now = sweep.now.max(end);
                let ended = cycle.end(chamber, ModuleIx(0), sweep.now).map(|cycle| cycle.outcome);
                if let (Some(CycleOutcome::Judged(verdict)), true) = (ended, sweep.now >= window.from) {
                    self.last = Some((sweep.now, verdict == CycleVerdict::Passed));
                }
            } else if let Some(ages) = ages {
                sweep.age(ages);
            } else {
                break;
            }
        }
        sweep.now = sweep.now.max(until);
    }
}

fn passed() -> Verification {
    Verification {
        verdict: Verdict::Pass,
        coverage_permille: ALL_PERMILLE,
        unseen: Vec::new(),
        first_violation: None,
        reason: Reason::Held,
    }
}

fn insufficient(reason: Reason) -> Verification {
    Verification {
        verdict: Verdict::Insufficient,
        coverage_permille: 0,
        unseen: Vec::new(),
        first_violation: None,
        reason,
    }
}
