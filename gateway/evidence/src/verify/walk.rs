//! One pass over what the records say: the lines "liveness", "time" and "coverage", and what the lines "context" and
//! "recomputation" want to know.

use std::collections::BTreeMap;

use gateway_model::{
    AlertChange, BadCause, ClockInput, ClockSource, ConclusionBody, Cursor, EngineTime, Epoch, Gap, Input,
    Plan, Quality, StartCause, UncertainCause,
};
use gateway_wire::{Body, Header, InputsBody, Manifest};
use minicbor::{Decode, Encode};
use serde_json::{Value, json};

use super::{Parts, RECEIVED};
use crate::report::Line;

/// A gateway says that it is there at least this often, ms …
pub(super) const CADENCE_MS: i64 = 300_000;
/// … give or take a busy machine.
const GRACE_MS: i64 = 60_000;
/// A smaller change of the offset is drift, not a step, ms.
const STEP_MS: i64 = 1_000;
/// A receipt may be this much earlier than the record says, besides the error of its clock, ms.
const RECEIPT_MS: i64 = 60_000;

/// From and to, civil ms.
type Span = (i64, i64);

/// When the center received a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Received {
    /// In which epoch.
    #[n(0)]
    pub epoch: Epoch,
    /// At which position.
    #[n(1)]
    pub seq: gateway_model::Seq,
    /// Civil time of the center, ms.
    #[n(2)]
    pub at: i64,
}

#[derive(Default, Clone, Copy)]
struct Sums {
    due: u64,
    answered: u64,
    within: u64,
    late: u64,
    failed: [u64; BadCause::ALL.len()],
    good: u64,
    uncertain: u64,
    bad: u64,
}

/// What one rule was seen to do.
pub(super) struct Ruled {
    pub(super) rule: String,
    pub(super) subject: String,
    pub(super) changes: u64,
    /// The limit it judged by, and where that comes from.
    pub(super) limit: Option<f64>,
    pub(super) norm: String,
}

/// What the records say, summed up.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) institution: Option<String>,
    pub(super) site: Option<String>,
    pub(super) plan: Option<Plan>,
    /// Epochs that begin here, and why.
    pub(super) starts: Vec<String>,
    pub(super) software: Vec<String>,
    pub(super) semantics: Vec<u16>,
    pub(super) packs: BTreeMap<[u8; 32], (String, String)>,
    /// Per config record: the devices that its rules watch, and the civil span of its records.
    watched: Vec<(Vec<String>, Option<Span>)>,
    pub(super) rules: Vec<Ruled>,
    pub(super) suppressed: u64,
    /// Alerts that were raised in the bundle, with the rule whose cases they belong to.
    pub(super) raised: BTreeMap<(u64, u32), String>,
    pub(super) rules_in_plan: usize,
    last: Option<(Cursor, EngineTime)>,
    /// Engine time of the last sign of life.
    alive: Option<EngineTime>,
    longest: i64,
    silent: Vec<(Cursor, i64)>,
    stopped: bool,
    back: Vec<Cursor>,
    clock: Option<ClockInput>,
    sources: Vec<&'static str>,
    steps: u64,
    redated: u64,
    error_max: Option<i64>,
    simulated: Option<Cursor>,
    points: BTreeMap<String, Sums>,
    open: Vec<(Cursor, String)>,
    loose: Vec<(Cursor, String)>,
    /// Civil time at which each record ends, as the gateway claims, with the error it admits.
    claims: BTreeMap<Cursor, (i64, i64)>,
}

impl Walk {
    pub(super) fn take(&mut self, header: &Header, body: &Body) {
        let at = header.cursor();
        let follows = self.last.is_some_and(|(last, _)| last.epoch == at.epoch && last.seq.0 + 1 == at.seq.0);
        if header.t1 < header.t0 || self.last.is_some_and(|(_, t1)| header.t1 < t1) {
            self.back.push(at);
        }
        if !follows {
            self.alive = Some(header.t0);
        }
        match body {
            Body::Start(start) => {
                self.stopped = false;
                let away =
                    start.downtime_ms.map_or("an unknown time".into(), |ms| format!("{} s", ms / 1000));
                self.starts.push(match start.cause {
                    StartCause::First => format!("{} the first", start.epoch),
                    StartCause::Clean => format!("{} after a clean stop, away {away}", start.epoch),
                    StartCause::Unclean => format!("{} after a crash or power cut, away {away}", start.epoch),
                    StartCause::Replaced => format!("{} in another box, away {away}", start.epoch),
                });
                self.alive = Some(start.at);
                if start.simulated {
                    self.simulated.get_or_insert(at);
                }
            }
            Body::Config(config) => self.config(config),
            Body::Inputs(inputs) => self.inputs(at, inputs),
            Body::Conclusions(conclusions) => {
                for one in &conclusions.list {
                    if let ConclusionBody::Alert(change) = &one.body {
                        self.alert(change);
                    }
                }
            }
            Body::Checkpoint(state) => {
                // What was known of civil time goes on.
                if let (None, Some(source)) = (&self.clock, state.clock.source) {
                    self.learn(&ClockInput {
                        at: state.now,
                        offset_ms: state.clock.offset_ms,
                        error_ms: state.clock.error_ms,
                        source,
                        since: None,
                    });
                }
            }
            // What is told is not silence.
            Body::Gap(Gap { point: None, to, .. }) => self.alive = self.alive.max(Some(*to)),
            Body::Gap(Gap { point: Some(_), .. }) | Body::Parted(_) | Body::Part(_) => {}
        }
        self.last = Some((at, header.t1));
        if let Some(ClockInput { offset_ms, error_ms: Some(error), .. }) = self.clock {
            let (from, to) = (header.t0.civil(offset_ms).0, header.t1.civil(offset_ms).0);
            self.claims.insert(at, (to, error));
            if let Some((_, span)) = self.watched.last_mut() {
                *span = Some(span.map_or((from, to), |known| (known.0.min(from), known.1.max(to))));
            }
        }
    }

    fn config(&mut self, config: &gateway_wire::ConfigBody) {
        let plan = &config.plan;
        self.institution.get_or_insert_with(|| plan.institution.0.clone());
        self.site.get_or_insert_with(|| plan.site.0.clone());
        if !self.software.contains(&config.software) {
            self.software.push(config.software.clone());
        }
        if !self.semantics.contains(&config.semantics) {
            self.semantics.push(config.semantics);
        }
        for pack in &plan.packs {
            self.packs.insert(pack.sha256, (pack.name.clone(), pack.version.clone()));
        }
        let subjects = plan.rules.iter().filter_map(|rule| plan.devices.get(rule.subject.slot()));
        let mut subjects: Vec<String> = subjects.map(|device| device.id.clone()).collect();
        subjects.sort_unstable();
        subjects.dedup();
        self.watched.push((subjects, None));
        self.rules_in_plan = self.rules_in_plan.max(plan.rules.len());
        self.plan = Some(plan.clone());
    }

    /// Devices that any rule watches, with the span of civil time in which they did, as far as it is known.
    pub(super) fn devices(&self) -> BTreeMap<&str, Option<Span>> {
        let mut devices: BTreeMap<&str, Option<Span>> = BTreeMap::new();
        for (names, span) in &self.watched {
            for name in names {
                let known = devices.entry(name).or_default();
                *known = match (*known, *span) {
                    (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
                    (one, None) | (None, one) => one,
                };
            }
        }
        devices
    }

    fn inputs(&mut self, at: Cursor, inputs: &InputsBody) {
        let mut kept = BTreeMap::new();
        self.stopped = false;
        for item in &inputs.items {
            let now = self.alive.map_or(item.at(), |alive| alive.max(item.at()));
            if let Some(alive) = self.alive {
                let silence = now.since(alive);
                self.longest = self.longest.max(silence);
                if silence > CADENCE_MS + GRACE_MS {
                    self.silent.push((at, silence));
                }
            }
            self.alive = Some(now);
            self.stopped = matches!(item, Input::Stop { .. });
            match item {
                Input::Reading(reading) => {
                    let point = self.point(reading.point.slot());
                    let sums = self.points.entry(point).or_default();
                    match reading.value {
                        Quality::Good(_) => sums.good += 1,
                        Quality::Uncertain(..) => sums.uncertain += 1,
                        Quality::Bad(_) => sums.bad += 1,
                    }
                    let stale = matches!(reading.value, Quality::Uncertain(_, UncertainCause::Stale));
                    if reading.value.number().is_some() && !stale {
                        *kept.entry(reading.point).or_insert(0_u32) += 1;
                    }
                }
                Input::Clock(clock) => self.learn(clock),
                Input::Start(_)
                | Input::Advance(_)
                | Input::Command(_)
                | Input::Fact(_)
                | Input::Stop { .. }
                | Input::Heartbeat(_) => {}
            }
        }
        for counts in &inputs.counts {
            let id = self.point(counts.point.slot());
            let failed: u64 = counts.failed.iter().map(|n| u64::from(*n)).sum();
            if u64::from(counts.due) != u64::from(counts.answered) + failed {
                self.open.push((at, id.clone()));
            }
            let here = kept.get(&counts.point).copied().unwrap_or(0);
            if u64::from(counts.answered) != u64::from(here) + u64::from(counts.within_deadband) {
                self.loose.push((at, id.clone()));
            }
            let sums = self.points.entry(id).or_default();
            sums.due += u64::from(counts.due);
            sums.answered += u64::from(counts.answered);
            sums.within += u64::from(counts.within_deadband);
            sums.late += u64::from(counts.late);
            for (sum, n) in sums.failed.iter_mut().zip(&counts.failed) {
                *sum += u64::from(*n);
            }
        }
    }

    fn learn(&mut self, clock: &ClockInput) {
        let name = match clock.source {
            ClockSource::Unknown => "unknown",
            ClockSource::System => "system",
            ClockSource::Center => "center",
            ClockSource::Demo => "demo",
        };
        if !self.sources.contains(&name) {
            self.sources.push(name);
        }
        let step =
            |before: &ClockInput| before.offset_ms.saturating_sub(clock.offset_ms).saturating_abs() > STEP_MS;
        self.steps += u64::from(self.clock.as_ref().is_some_and(step));
        self.redated += u64::from(clock.since.is_some());
        self.error_max = self.error_max.max(clock.error_ms);
        self.clock = Some(*clock);
    }

    fn alert(&mut self, change: &AlertChange) {
        let plan = self.plan.as_ref();
        let rule = plan.zip(change.rule).and_then(|(plan, rule)| plan.rules.get(rule.slot()));
        let subject = rule.and_then(|rule| plan?.devices.get(rule.subject.slot()));
        let id = rule.map_or_else(String::new, |rule| rule.id.clone());
        let subject = subject.map_or_else(String::new, |device| device.id.clone());
        let norm = rule.map_or_else(String::new, |rule| rule.text.norm.en.clone());
        let suppression = change.regions.suppression;
        self.suppressed +=
            u64::from(suppression.shelved || suppression.by_design || suppression.out_of_service);
        if change.event == 1 {
            // A rule may say that its alerts belong to the cases of another.
            let joins = rule.and_then(|rule| rule.handling.as_ref()?.joins.clone());
            self.raised.insert((change.alert.epoch.0, change.alert.n), joins.unwrap_or_else(|| id.clone()));
        }
        match self.rules.iter_mut().find(|ruled| ruled.rule == id && ruled.subject == subject) {
            Some(ruled) => ruled.changes += 1,
            None => self.rules.push(Ruled { rule: id, subject, changes: 1, limit: change.limit, norm }),
        }
    }

    fn point(&self, slot: usize) -> String {
        let point = self.plan.as_ref().and_then(|plan| plan.points.get(slot));
        point.map_or_else(|| slot.to_string(), |point| point.id.clone())
    }

    pub(super) fn liveness(&self, manifest: Option<&Manifest>) -> Line {
        let mut line = Line::new("liveness");
        for (at, silence) in &self.silent {
            line.fail("silence", at, format!("{} s without a sign of life", silence / 1000));
        }
        let end = self.last.map(|(_, t1)| t1);
        let reaches = manifest.zip(end).is_some_and(|(manifest, end)| end >= manifest.window.1);
        if !reaches {
            line.fail("short", "", "the records end before the window does");
        }
        line.fact("cadence_ms", CADENCE_MS);
        line.fact("longest_silence_ms", self.longest);
        line.fact("ends_with_stop", self.stopped);
        line.say = format!(
            "longest silence {} s; a sign of life is due every {} s; {}",
            self.longest / 1000,
            CADENCE_MS / 1000,
            if self.stopped { "ends with a stop" } else { "ends in the middle of operation" }
        );
        line
    }

    pub(super) fn time(&self, parts: &Parts<'_>, accept_simulated: bool) -> Line {
        let mut line = Line::new("time");
        for at in &self.back {
            line.fail("back", at, "engine time goes back");
        }
        if let (Some(at), false) = (self.simulated, accept_simulated) {
            line.fail("simulated", at, "made under the demo clock: no evidence");
        }
        if self.error_max.is_none() {
            line.lack("clock_unknown", "", "no record says what the civil time was");
        }
        let received = self.received(parts, &mut line);
        line.fact("sources", self.sources.clone());
        line.fact("steps", self.steps);
        line.fact("redated", self.redated);
        line.fact("error_max_ms", self.error_max);
        line.fact("simulated", self.simulated.is_some());
        line.fact("received", received);
        line.say = format!(
            "clock from {}; {} steps; largest error admitted {}; {received} receipts of the center compared{}",
            if self.sources.is_empty() { "nowhere".to_owned() } else { self.sources.join(", ") },
            self.steps,
            self.error_max.map_or_else(|| "unknown".to_owned(), |error| format!("{error} ms")),
            if self.simulated.is_some() { "; SIMULATED" } else { "" }
        );
        line
    }

    /// No record may claim to be later than its receipt.
    fn received(&self, parts: &Parts<'_>, line: &mut Line) -> u64 {
        let Some(bytes) = parts.file(RECEIVED) else { return 0 };
        let Ok(list) = gateway_wire::decode::<Vec<Received>>(RECEIVED, bytes) else {
            line.fail("received", RECEIVED, "the list of receipts cannot be read");
            return 0;
        };
        let mut compared = 0;
        for one in list {
            let at = Cursor { epoch: one.epoch, seq: one.seq };
            let Some((claim, error)) = self.claims.get(&at) else { continue };
            compared += 1;
            if claim.saturating_sub(*error).saturating_sub(RECEIPT_MS) > one.at {
                line.fail("before_receipt", at, "claims to be later than the center received it");
            }
        }
        compared
    }

    pub(super) fn coverage(&self) -> Line {
        let mut line = Line::new("coverage");
        for (at, point) in &self.open {
            line.fail("counts", at, format!("{point}: due is not answered and failed"));
        }
        for (at, point) in &self.loose {
            line.lack("kept", at, format!("{point}: answered is not kept and within the deadband"));
        }
        let (mut due, mut answered) = (0_u64, 0_u64);
        let points: Vec<Value> = self
            .points
            .iter()
            .map(|(point, sums)| {
                due += sums.due;
                answered += sums.answered;
                json!({
                    "point": point, "due": sums.due, "answered": sums.answered, "within_deadband": sums.within,
                    "late": sums.late, "failed": sums.failed, "good": sums.good, "uncertain": sums.uncertain,
                    "bad": sums.bad,
                })
            })
            .collect();
        line.say = format!("{} points, {answered} answers of {due} readings due", points.len());
        line.fact("points", points);
        line
    }
}
