//! From answers to readings: what is believed, what is worth keeping, and counts that close.
//!
//! Intake stands before the journal. An answer becomes
//! - a **failure**, if its bits are no number, are the device's own mark for a broken probe, or lie outside
//!   what the instrument can measure;
//! - a **late** reading, if it is older than the last reading of its point that was kept: kept and counted,
//!   and the engine, by the same comparison, never judges it;
//! - a **failure** too, if the point has stood still for longer than it can (`still.rs`, off by default);
//! - nothing but a count, if it moved less than the deadband since the last one kept and waiting for the
//!   next answer would not exceed the heartbeat;
//! - else a **reading**.
//!
//! A failure becomes a bad reading when it is news (another cause, or the value was believed until now) and
//! again at each heartbeat.
//!
//! An answer that begins another stretch of a point watched for standing still is kept whatever its deadband.
//!
//! While the ring is nearly full the deadband of some points is wider ([`Intake::thin`], `thinning.rs`).
//!
//! The counts of a point always close: `due = answered + failed` and `answered = kept + within_deadband + late`.
//! Of a source that sends when it likes, whatever came is counted as due.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::engine::Engine;
use crate::still::{Seen, StillWatch};
use crate::thinning;
use gateway_model::{
    BadCause, EngineTime, Plan, PointCounts, PointIx, PointPlan, Quality, Raw, Reading, UncertainCause,
};

/// What a source said about one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Answer {
    /// A value, as received.
    Raw(Raw),
    /// A value that the source itself says is an older one (retained message, device's own hold).
    Held(Raw),
    /// No value, and why.
    Failed(BadCause),
}

/// Decides what of all answers is worth keeping, and counts the rest.
#[derive(Debug, Clone)]
pub struct Intake {
    points: Vec<Door>,
    /// Points of which anything was due since counts were closed, each once: closing must not look at all the others.
    counted: Vec<PointIx>,
    thinning: bool,
    /// No value gets too old before; where it is in doubt, rather too early. So that nobody looks at all points each time.
    soonest: Option<EngineTime>,
}

/// What of a point's plan every answer needs: a few lines of memory close together, without the texts.
#[derive(Debug, Clone)]
struct Belief {
    gain: f64,
    offset: f64,
    span: Option<(f64, f64)>,
    deadband: f64,
    every_ms: i64,
    heartbeat_ms: i64,
    max_age_ms: i64,
    sentinels: Vec<i64>,
}

impl Belief {
    fn of(plan: &PointPlan) -> Self {
        Self {
            gain: plan.gain,
            offset: plan.offset,
            span: plan.span,
            deadband: plan.deadband,
            every_ms: plan.every_ms,
            heartbeat_ms: plan.heartbeat_ms,
            max_age_ms: plan.max_age_ms,
            sentinels: plan.sentinels.clone(),
        }
    }
}

/// One point's side of intake.
#[derive(Debug, Clone)]
struct Door {
    plan: Belief,
    /// The last reading handed on that was not late, and not a stale mark.
    kept: Option<(EngineTime, Quality<Raw>)>,
    /// Stamp of the last value whose age counts, kept or not.
    fresh_at: Option<EngineTime>,
    /// A stale mark has been handed on for it.
    marked: bool,
    counts: PointCounts,
    failed: [u32; BadCause::ALL.len()],
    /// What rules compare it with; `None` = never thinned.
    limits: Option<Vec<f64>>,
    /// Part of a running cycle or an open alert.
    busy: bool,
    /// How long it has stood still, where its plan watches for that.
    watch: Option<Box<StillWatch>>,
}

impl Intake {
    /// Nothing has been received yet.
    pub fn new(plan: &Plan) -> Self {
        let door = |((slot, plan), limits): ((usize, &PointPlan), Option<Vec<f64>>)| Door {
            plan: Belief::of(plan),
            kept: None,
            fresh_at: None,
            marked: false,
            counts: PointCounts { point: PointIx::of(slot), ..PointCounts::default() },
            failed: [0; BadCause::ALL.len()],
            limits,
            busy: false,
            watch: StillWatch::new(plan),
        };
        let points = plan.points.iter().enumerate().zip(thinning::limits(plan)).map(door).collect();
        Self { points, counted: Vec::new(), thinning: false, soonest: None }
    }

    /// The same points under another plan than `old`, their own: `moved` says where a point of this one is there. A point
    /// that is read and believed as before goes on as before; another one begins anew.
    #[must_use]
    pub fn under(&self, old: &Plan, plan: &Plan, moved: impl Fn(PointIx) -> Option<PointIx>) -> Self {
        let mut next = Self::new(plan);
        next.thinning = self.thinning;
        for (door, before) in self.points.iter().zip(&old.points) {
            let Some(point) = moved(door.counts.point) else { continue };
            let same = plan
                .points
                .get(point.slot())
                .is_some_and(|after| PointPlan { device: before.device, ..after.clone() } == *before);
            if let Some(new) = next.points.get_mut(point.slot()).filter(|_| same) {
                (new.kept, new.fresh_at, new.marked) = (door.kept, door.fresh_at, door.marked);
            }
        }
        next.soonest = next.points.iter().filter_map(Door::stale_at).min();
        next
    }

    /// Goes on watching for stuck values where the engine is, which has it from the records: after a start, and under
    /// another plan.
    pub fn resume(&mut self, engine: &Engine) {
        for (door, point) in self.points.iter_mut().zip(&engine.points.0) {
            if let (Some(watch), Some(known)) = (&mut door.watch, &point.watch) {
                watch.still = known.still;
            }
        }
    }

    /// Another probe stands at these points: how long the old one stood still is not its own.
    pub fn replaced(&mut self, points: impl IntoIterator<Item = PointIx>) {
        for point in points {
            let door = self.points.get_mut(point.slot());
            if let Some(watch) = door.and_then(|door| door.watch.as_mut()) {
                watch.forget();
            }
        }
    }

    /// When the point last had a good answer, kept or not, if its last one was.
    pub fn answering(&self, point: PointIx) -> Option<EngineTime> {
        let door = self.points.get(point.slot())?;
        door.fresh_at.filter(|_| door.number().is_some() && !door.marked)
    }

    /// From now on steady points are kept more sparsely, as far as no judgement depends on it; or again as planned.
    /// `busy` are the points of running cycles and open alerts: they are kept as always.
    pub fn thin(&mut self, thinning: bool, busy: &[PointIx]) {
        self.thinning = thinning;
        for door in &mut self.points {
            door.busy = false;
        }
        for point in busy {
            if let Some(door) = self.points.get_mut(point.slot()) {
                door.busy = true;
            }
        }
    }

    /// Takes the answer to one request, or one field of a payload. What it returns belongs into the journal.
    pub fn offer(&mut self, point: PointIx, at: EngineTime, answer: Answer) -> Option<Reading> {
        let door = self.points.get_mut(point.slot())?;
        door.due(&mut self.counted);
        let (raw, held) = match answer {
            Answer::Raw(raw) => (raw, false),
            Answer::Held(raw) => (raw, true),
            Answer::Failed(cause) => return door.fail(at, cause),
        };
        let reading = match door.plausible(raw) {
            Ok(value) => match door.look(at, raw, held) {
                Seen::Stuck => door.fail(at, BadCause::Stuck),
                Seen::Unmoved => door.take(at, raw, value, held, self.thinning, false),
                Seen::Moved(lasted) => {
                    // Short stretches would undo the thinning.
                    let telling = !self.thinning || lasted >= door.plan.heartbeat_ms;
                    door.take(at, raw, value, held, self.thinning, telling)
                }
            },
            Err(cause) => door.fail(at, cause),
        };
        let known = self.soonest.unwrap_or(EngineTime(i64::MAX));
        self.soonest = door.stale_at().filter(|&ages| ages < known).or(self.soonest);
        reading
    }

    /// A reading was due, and nobody even asked for it (the bus had no time).
    pub fn missed(&mut self, point: PointIx, cause: BadCause) {
        if let Some(door) = self.points.get_mut(point.slot()) {
            door.due(&mut self.counted);
            bump(&mut door.failed[cause.code()]);
        }
    }

    /// Marks for the values that have become too old by `now`, once each, in the order in which they did. A
    /// mark is stamped with the moment it became so.
    pub fn stale(&mut self, now: EngineTime) -> Vec<Reading> {
        let mut marks: Vec<Reading> = Vec::new();
        if self.soonest.is_none_or(|soonest| soonest > now) {
            return marks;
        }
        for door in &mut self.points {
            if let (Some(at), Some(value)) = (door.stale_at().filter(|&at| at <= now), door.number()) {
                door.marked = true;
                door.silent(at);
                let value = Quality::Uncertain(value, UncertainCause::Stale);
                marks.push(Reading { point: door.counts.point, at, value });
            }
        }
        marks.sort_by_key(|mark| (mark.at, mark.point));
        self.soonest = self.points.iter().filter_map(Door::stale_at).min();
        marks
    }

    /// When [`Intake::stale`] may next have something to say; asked then, it knows better when. It says nothing before.
    pub fn next_stale(&self) -> Option<EngineTime> {
        self.soonest
    }

    /// The counts since they were last closed, of points of which anything was due.
    pub fn close(&mut self) -> Vec<PointCounts> {
        self.counted.sort_unstable();
        let points = &mut self.points;
        let close = |point: PointIx| points.get_mut(point.slot()).map(Door::close);
        self.counted.drain(..).filter_map(close).collect()
    }
}

impl Door {
    /// One more is due; the first of them puts the point on the list of those that count.
    fn due(&mut self, counted: &mut Vec<PointIx>) {
        if self.counts.due == 0 {
            counted.push(self.counts.point);
        }
        bump(&mut self.counts.due);
    }

    /// The value in the point's unit, or what is wrong with it.
    fn plausible(&self, raw: Raw) -> Result<f64, BadCause> {
        let number = raw.number().ok_or(BadCause::Malformed)?;
        #[expect(clippy::float_cmp, reason = "a mark is one exact number")]
        let broken = self.plan.sentinels.iter().any(|&mark| mark as f64 == number);
        if broken {
            return Err(BadCause::Sentinel);
        }
        let value = raw.value(self.plan.gain, self.plan.offset).ok_or(BadCause::Malformed)?;
        match self.plan.span {
            Some((low, high)) if value < low || value > high => Err(BadCause::Implausible),
            Some(_) | None => Ok(value),
        }
    }

    /// Has it moved? A late answer says nothing, and a held one is as stuck as the value before it.
    fn look(&mut self, at: EngineTime, raw: Raw, held: bool) -> Seen {
        let late = self.watch.is_some() && self.is_late(at);
        match &mut self.watch {
            Some(watch) if !late && !held => watch.see(at, raw),
            Some(watch) if !late && watch.is_stuck(at) => {
                watch.heard();
                Seen::Stuck
            }
            Some(_) | None => Seen::Unmoved,
        }
    }

    /// No value, from `at`.
    fn silent(&mut self, at: EngineTime) {
        if let Some(watch) = &mut self.watch {
            watch.silent(at);
        }
    }

    fn take(
        &mut self,
        at: EngineTime,
        raw: Raw,
        value: f64,
        held: bool,
        thinning: bool,
        telling: bool,
    ) -> Option<Reading> {
        bump(&mut self.counts.answered);
        let quality = if held { Quality::Uncertain(raw, UncertainCause::Held) } else { Quality::Good(raw) };
        let reading = Reading { point: self.counts.point, at, value: quality };
        if self.is_late(at) {
            bump(&mut self.counts.late);
            return Some(reading);
        }
        let news = telling || self.marked || !self.same(value, held, thinning) || self.heartbeat_due(at);
        // As in the engine: a repetition of an older value makes nothing younger.
        self.fresh_at = Some(if held { self.fresh_at.unwrap_or(at) } else { at });
        if !news {
            bump(&mut self.counts.within_deadband);
            return None;
        }
        self.keep(at, quality);
        Some(reading)
    }

    fn fail(&mut self, at: EngineTime, cause: BadCause) -> Option<Reading> {
        bump(&mut self.failed[cause.code()]);
        let quality = Quality::Bad(cause);
        let known = self.kept.is_some_and(|(_, last)| last == quality) && !self.heartbeat_due(at);
        if known || self.is_late(at) {
            return None;
        }
        if cause != BadCause::Stuck {
            self.silent(at);
        }
        self.keep(at, quality);
        Some(Reading { point: self.counts.point, at, value: quality })
    }

    fn keep(&mut self, at: EngineTime, quality: Quality<Raw>) {
        self.kept = Some((at, quality));
        // A held value that is too old already needs no mark: it never was believed again.
        self.marked = self.too_old(at);
    }

    fn is_late(&self, at: EngineTime) -> bool {
        self.kept.is_some_and(|(last, _)| at < last)
    }

    /// Within the deadband of the last reading kept, and of the same quality.
    fn same(&self, value: f64, held: bool, thinning: bool) -> bool {
        let kept = match self.kept {
            Some((_, Quality::Good(kept))) if !held => kept,
            Some((_, Quality::Uncertain(kept, UncertainCause::Held))) if held => kept,
            Some((_, Quality::Good(_) | Quality::Uncertain(..) | Quality::Bad(_))) | None => return false,
        };
        let Some(kept) = kept.value(self.plan.gain, self.plan.offset) else { return false };
        let limits = self.limits.as_deref().filter(|_| thinning && !self.busy);
        libm::fabs(value - kept) < thinning::deadband(self.plan.deadband, kept, limits)
    }

    /// The next answer would come too late for "kept at least this often".
    fn heartbeat_due(&self, at: EngineTime) -> bool {
        let next = at.plus(self.plan.every_ms.max(0));
        self.kept.is_none_or(|(last, _)| {
            at.since(last) >= self.plan.heartbeat_ms || next.since(last) > self.plan.heartbeat_ms
        })
    }

    fn number(&self) -> Option<Raw> {
        self.kept.and_then(|(_, quality)| quality.number())
    }

    fn too_old(&self, at: EngineTime) -> bool {
        self.plan.max_age_ms > 0 && self.fresh_at.is_some_and(|fresh| fresh.plus(self.plan.max_age_ms) <= at)
    }

    fn stale_at(&self) -> Option<EngineTime> {
        let ages = self.plan.max_age_ms > 0 && !self.marked && self.number().is_some();
        self.fresh_at.filter(|_| ages).map(|fresh| fresh.plus(self.plan.max_age_ms))
    }

    fn close(&mut self) -> PointCounts {
        let empty = PointCounts { point: self.counts.point, ..PointCounts::default() };
        let mut counts = core::mem::replace(&mut self.counts, empty);
        let failed = core::mem::take(&mut self.failed);
        if failed.iter().any(|&count| count > 0) {
            counts.failed = Vec::from(failed);
        }
        counts
    }
}

fn bump(count: &mut u32) {
    *count = count.saturating_add(1);
}
