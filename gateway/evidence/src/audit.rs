//! What became of every reading that was due: per point, due = kept + within the deadband + late + failed (by cause) +
//! not asked (stopped, crashed, overload), and the sums have to close.
//!
//! Counted is what the inputs records of the span say; not asked is what gap records say, point by point as the plan calls
//! for it. `planned` is what plan and time alone call for: what differs from `due` nobody has told. A record counts in the
//! span in which it ends, with all the time that it tells of (so a day has its minutes give or take what the records at its
//! ends cover); a gap is cut at the ends of the span. Of a source that sends when it likes nothing is planned.

use std::collections::BTreeMap;

use gateway_model::{BadCause, EngineTime, Gap, GapCause, Input, Plan, Quality, StartCause, UncertainCause};
use gateway_wire::{Body, Header, InputsBody};
use serde_json::{Value, json};

/// One point's sums over the span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// By plan and time: one every so often while the span lasts.
    pub planned: u64,
    /// Asked for, and not asked: everything that is accounted for.
    pub due: u64,
    /// Kept and judged.
    pub kept: u64,
    /// Not kept, because nothing had changed.
    pub within_deadband: u64,
    /// Kept, but older than the last of their point: never judged.
    pub late: u64,
    /// No number, in the order of [`BadCause::ALL`].
    pub failed: [u64; BadCause::ALL.len()],
    /// Not asked: the gateway had been stopped.
    pub stopped: u64,
    /// Not asked, or lost before it was sealed: the gateway had crashed or lost its power.
    pub crashed: u64,
    /// Not taken: a queue or the disk was full.
    pub overload: u64,
}

impl Account {
    /// Do the parts make the whole?
    pub fn closes(&self) -> bool {
        let failed: u64 = self.failed.iter().sum();
        let not_asked = self.stopped + self.crashed + self.overload;
        self.due == self.kept + self.within_deadband + self.late + failed + not_asked
    }

    /// Planned but not accounted for (or, negative, more than planned); 0 where nothing is planned.
    pub fn untold(&self) -> i64 {
        if self.planned == 0 { 0 } else { self.planned as i64 - self.due as i64 }
    }
}

impl Account {
    /// As one line of JSON: what `gateway audit --json` and `center audit --json` print.
    pub fn json(&self, point: &str) -> Value {
        json!({
            "point": point, "planned": self.planned, "due": self.due, "kept": self.kept,
            "within_deadband": self.within_deadband, "late": self.late, "failed": self.causes(),
            "stopped": self.stopped, "crashed": self.crashed, "overload": self.overload,
            "untold": self.untold(), "closes": self.closes(),
        })
    }

    /// Failures by cause, those that happened.
    fn causes(&self) -> serde_json::Map<String, Value> {
        let causes = BadCause::ALL.iter().zip(self.failed).filter(|(_, n)| *n > 0);
        causes.map(|(cause, n)| (format!("{cause:?}"), n.into())).collect()
    }

    /// Head of the columns of [`Account::row`].
    pub fn head() -> String {
        format!(
            "{:<34} {:>8} {:>8} {:>8} {:>8} {:>6} {:>7} {:>8} {:>8} {:>8} {:>8}",
            "point",
            "planned",
            "due",
            "kept",
            "within",
            "late",
            "failed",
            "stopped",
            "crashed",
            "overload",
            "untold"
        )
    }

    /// As one line for people.
    pub fn row(&self, point: &str) -> String {
        let failed: u64 = self.failed.iter().sum();
        let by_cause: Vec<String> = self.causes().iter().map(|(cause, n)| format!("{cause} {n}")).collect();
        format!(
            "{point:<34} {:>8} {:>8} {:>8} {:>8} {:>6} {failed:>7} {:>8} {:>8} {:>8} {:>8} {}{}",
            self.planned,
            self.due,
            self.kept,
            self.within_deadband,
            self.late,
            self.stopped,
            self.crashed,
            self.overload,
            self.untold(),
            by_cause.join(", "),
            if self.closes() { "" } else { " THE SUM DOES NOT CLOSE" }
        )
    }
}

const EVER: (EngineTime, EngineTime) = (EngineTime(i64::MIN), EngineTime(i64::MAX));
const NEVER: (EngineTime, EngineTime) = (EngineTime(0), EngineTime(0));

/// Adds up records of one gateway, in their order.
#[derive(Debug, Default)]
pub struct Audit {
    span: (EngineTime, EngineTime),
    plan: Option<Plan>,
    cause: Option<StartCause>,
    /// Where the plan's time in the span began, or was last added up.
    since: Option<EngineTime>,
    points: BTreeMap<String, Account>,
    /// Readings due in gaps of which no plan is known.
    unplanned: u64,
    /// Where the record before the present epoch's start ended.
    seen: Option<EngineTime>,
    last: Option<EngineTime>,
}

/// The sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audited {
    /// Per point id.
    pub points: BTreeMap<String, Account>,
    /// Readings that gap records name where no config says which points there were.
    pub unplanned: u64,
}

impl Audited {
    /// Do the sums of every point close?
    pub fn closes(&self) -> bool {
        self.unplanned == 0 && self.points.values().all(Account::closes)
    }
}

impl Audit {
    /// Over this span of engine time, its end not included.
    pub fn new(from: EngineTime, to: EngineTime) -> Self {
        Self { span: (from, to), ..Self::default() }
    }

    /// Takes the next record.
    pub fn take(&mut self, header: &Header, body: &Body) {
        match body {
            Body::Start(start) => {
                self.cause = Some(start.cause);
                self.seen = self.last;
            }
            Body::Config(config) => {
                // The time until now was due by the plan before; a restart's is told by its gap record and due by it too.
                self.plan_until(header.t1, self.span);
                self.plan = Some(config.plan.clone());
                self.since.get_or_insert(header.t1);
            }
            Body::Inputs(inputs) => {
                let counted = self.holds(header.t1);
                if counted {
                    self.inputs(inputs);
                }
                self.plan_until(header.t1, if counted { EVER } else { NEVER });
            }
            Body::Gap(gap) => {
                self.gap(gap);
                self.plan_until(header.t1, self.span);
            }
            // What was read until one of these is sealed may be told by inputs that are sealed after it.
            Body::Conclusions(_) | Body::Checkpoint(_) | Body::Parted(_) | Body::Part(_) => {}
        }
        self.last = self.last.max(Some(header.t1));
    }

    /// The sums.
    pub fn finish(self) -> Audited {
        Audited { points: self.points, unplanned: self.unplanned }
    }

    fn holds(&self, at: EngineTime) -> bool {
        self.span.0 <= at && at < self.span.1
    }

    /// How much of a span lies in the audited one, ms.
    fn clipped(&self, from: EngineTime, to: EngineTime) -> i64 {
        to.min(self.span.1).since(from.max(self.span.0)).max(0)
    }

    /// What the plan calls for from where it was added up last to `to`, as far as that lies in `within`.
    fn plan_until(&mut self, to: EngineTime, within: (EngineTime, EngineTime)) {
        let (Some(plan), Some(since)) = (&self.plan, self.since) else { return };
        self.since = Some(to.max(since));
        let (from, to) = (since.max(within.0), to.min(within.1));
        // Whole periods are counted at the ends: record by record would round away what is due less often than it is sealed.
        for point in plan.points.iter().filter(|point| point.every_ms > 0) {
            let until = |at: EngineTime| at.since(self.span.0).div_euclid(point.every_ms);
            let due = if from < to { until(to) - until(from) } else { 0 };
            self.points.entry(point.id.clone()).or_default().planned += due as u64;
        }
    }

    fn account(&mut self, slot: usize) -> &mut Account {
        let id = self.plan.as_ref().and_then(|plan| plan.points.get(slot)).map(|point| point.id.clone());
        self.points.entry(id.unwrap_or_else(|| slot.to_string())).or_default()
    }

    fn inputs(&mut self, inputs: &InputsBody) {
        let mut kept: BTreeMap<usize, u64> = BTreeMap::new();
        for item in &inputs.items {
            if let Input::Reading(reading) = item {
                let answered = match reading.value {
                    Quality::Good(_) => true,
                    Quality::Uncertain(_, cause) => cause != UncertainCause::Stale,
                    Quality::Bad(_) => false,
                };
                if answered {
                    *kept.entry(reading.point.slot()).or_default() += 1;
                }
            }
        }
        for counts in &inputs.counts {
            let slot = counts.point.slot();
            let here = kept.get(&slot).copied().unwrap_or(0);
            let account = self.account(slot);
            account.due += u64::from(counts.due);
            account.kept += here.saturating_sub(u64::from(counts.late));
            account.late += u64::from(counts.late);
            account.within_deadband += u64::from(counts.within_deadband);
            for (sum, n) in account.failed.iter_mut().zip(&counts.failed) {
                *sum += u64::from(*n);
            }
        }
    }

    fn gap(&mut self, gap: &Gap) {
        // Evicted and damaged records were counted before they went; what they said is gone with them.
        let cause = match (gap.cause, self.cause) {
            (GapCause::Stopped, _) | (GapCause::Crash, Some(StartCause::Clean)) => Cause::Stopped,
            (GapCause::Crash, _) => Cause::Crashed,
            // Without room they were asked and judged, but there was nowhere to keep them.
            (GapCause::Overrun | GapCause::Full, _) => Cause::Overload,
            (GapCause::Evicted | GapCause::Corrupt | GapCause::TailLost, _) => return,
        };
        let Some(plan) = &self.plan else {
            self.unplanned += gap.count;
            return;
        };
        // A box that replaces another did not know of the records that came from the other's disk afterwards.
        let told = self.seen.filter(|_| self.cause == Some(StartCause::Replaced)).unwrap_or(gap.from);
        let span = self.clipped(gap.from.max(told), gap.to);
        let slots: Vec<(usize, u64)> = plan
            .points
            .iter()
            .enumerate()
            .filter(|(slot, point)| point.every_ms > 0 && gap.point.is_none_or(|only| only.slot() == *slot))
            .map(|(slot, point)| (slot, (span / point.every_ms) as u64))
            .collect();
        for (slot, n) in slots {
            let account = self.account(slot);
            account.due += n;
            match cause {
                Cause::Stopped => account.stopped += n,
                Cause::Crashed => account.crashed += n,
                Cause::Overload => account.overload += n,
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Cause {
    Stopped,
    Crashed,
    Overload,
}
