//! What rules would have said: the recorded inputs through the engine, under other rules than those of the time.
//!
//! The engine is the gateway's own and eats what the gateway ate, in that order, as [`crate::recompute()`] does; but the plan
//! is whoever's asks. Points and devices are found again by their ids. A reading counts as the number it was when it was
//! taken (gain, offset and unit of the recorded plan), whatever the new plan says of the sensor.
//!
//! Everything recorded is eaten, so that windows and ledgers know what they would have known; counted is what stood
//! between two moments. Where inputs are missing nobody watched: the engine is told so, as at a start after a break.
//!
//! Leaves out: acknowledgements, resets and pauses, because they name alerts that may not exist under other rules; and
//! signatures and hashes, which [`crate::verify()`] checks. Where the plan says otherwise for how long a point may stand still,
//! readings are looked at again ([`Restuck`]); an answer that was recorded as stuck has no number in the record and stays so, which is
//! counted.

use std::collections::BTreeMap;

use gateway_engine::{Engine, Restuck};
use gateway_model::{
    AlertId, BadCause, Change, Command, CommandBody, Conclusion, ConclusionBody, Cursor, DeviceFact,
    DeviceIx, EngineTime, Epoch, Fact, FactBody, GapCause, Input, Plan, PointIx, Quality, Raw, Reading,
    StartCause, StartInput, Text, Unit,
};
use gateway_rules::convert;
use gateway_wire::{Body, Record};

use crate::dates::Dates;

/// Occurrences of one rule at one device that are told one by one; the rest is counted.
pub const OCCURRENCES_MAX: usize = 100_000;

/// One time that an alert stood.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Occurrence {
    /// Raised.
    pub from: EngineTime,
    /// Over; `None` = it still stood at the end.
    pub to: Option<EngineTime>,
    /// How often it came back within its off-delay (chatter).
    pub returned: u32,
    /// The value shown when it was raised.
    pub value: Option<f64>,
}

/// What one rule said of one device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// The rule's title.
    pub title: Text,
    /// The device's name.
    pub device: Text,
    /// Every time it stood, oldest first.
    pub occurrences: Vec<Occurrence>,
    /// Times beyond [`OCCURRENCES_MAX`], which are counted and nothing else.
    pub more: u64,
}

/// A rule at a device: ids of both.
pub type Key = (String, String);

/// What one set of rules said.
pub type Judged = BTreeMap<Key, Said>;

/// One thing that two sets of rules see differently.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Differs {
    /// Raised by the first only.
    OnlyFirst(Occurrence),
    /// Raised by the second only.
    OnlySecond(Occurrence),
    /// Raised by both, at another time or for another time.
    Moved(Occurrence, Occurrence),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Backtested {
    /// By each set of rules, in the order in which they were given.
    pub judged: Vec<Judged>,
    /// What is counted: from, to.
    pub window: (EngineTime, EngineTime),
    /// Readings eaten within it.
    pub readings: u64,
    /// Times within it at which inputs are missing.
    pub holes: u64,
    /// Readings within it of points that the first plan does not have, or has in a unit of another kind.
    pub unknown: u64,
    /// Readings within it that were good when they were taken, and stood still for too long under a plan asked about.
    pub restuck: u64,
    /// Readings within it that were recorded as stuck, without a number, and would not have been under a plan asked about.
    pub numberless: u64,
    /// What was said of civil time.
    pub dates: Dates,
}

/// Feeds records to engines.
#[derive(Debug)]
pub struct Backtest {
    judges: Vec<Judge>,
    since: EngineTime,
    opening: Option<StartInput>,
    last: Option<Cursor>,
    now: EngineTime,
    epochs: u64,
    watched: bool,
    found: Backtested,
}

impl Backtest {
    /// One engine per plan; what stood at or after `since` is counted.
    pub fn new(plans: impl IntoIterator<Item = Plan>, since: EngineTime) -> Self {
        Self {
            judges: plans.into_iter().map(Judge::new).collect(),
            since,
            opening: None,
            last: None,
            now: EngineTime(0),
            epochs: 0,
            watched: false,
            found: Backtested::default(),
        }
    }

    /// Eats a record. They come in the order of their cursors.
    pub fn take(&mut self, Record { header, body }: Record) {
        let at = header.cursor();
        let follows = self.last.is_none_or(|last| {
            if let Body::Start(start) = &body {
                start.previous.is_none_or(|(epoch, seq)| (epoch, seq) == (last.epoch, last.seq))
            } else {
                (last.epoch, last.seq.0 + 1) == (at.epoch, at.seq.0)
            }
        });
        if !follows {
            self.hole(header.t0);
        }
        self.last = Some(at);
        match body {
            Body::Start(start) => {
                self.open();
                self.opening = Some(start);
            }
            Body::Config(config) => self.judges.iter_mut().for_each(|judge| judge.learn(&config.plan)),
            Body::Inputs(inputs) => {
                self.open();
                if !self.watched {
                    self.begin(header.t0, None);
                }
                for input in &inputs.items {
                    self.eat(input);
                }
            }
            // Inputs were judged and not recorded.
            Body::Gap(gap) if gap.cause == GapCause::Full => self.hole(header.t1),
            Body::Checkpoint(_) | Body::Conclusions(_) | Body::Gap(_) | Body::Parted(_) | Body::Part(_) => {}
        }
    }

    /// What was found. Nothing of it was told to anybody.
    pub fn finish(mut self) -> Backtested {
        self.open();
        self.found.window = (self.since, self.now);
        let since = self.since;
        self.found.judged = self.judges.into_iter().map(|judge| judge.finish(since)).collect();
        self.found
    }

    /// Up to where it has come.
    pub fn now(&self) -> EngineTime {
        self.now
    }

    fn hole(&mut self, until: EngineTime) {
        if self.watched && until >= self.since {
            self.found.holes += 1;
        }
        self.watched = false;
        self.judges.iter_mut().flat_map(|judge| &mut judge.restuck).flatten().for_each(Restuck::forget);
    }

    /// The start of an epoch, once its config is known.
    fn open(&mut self) {
        if let Some(start) = self.opening.take() {
            self.begin(start.at, start.downtime_ms);
        }
    }

    /// The engines are told that nobody watched until now.
    fn begin(&mut self, at: EngineTime, downtime_ms: Option<i64>) {
        self.epochs += 1;
        self.watched = true;
        self.now = self.now.max(at);
        let start = StartInput {
            at,
            epoch: Epoch(self.epochs),
            previous: None,
            previous_hash: None,
            cause: StartCause::Unclean,
            downtime_ms,
            simulated: false,
        };
        self.judges.iter_mut().for_each(|judge| judge.start(start.clone()));
    }

    fn eat(&mut self, input: &Input) {
        self.now = self.now.max(input.at());
        let counts = self.now >= self.since;
        if let Input::Clock(clock) = input
            && clock.error_ms.is_some()
        {
            self.found.dates.learn(clock.at, clock.offset_ms);
        }
        if let (Input::Reading(reading), true) = (input, counts) {
            self.found.readings += 1;
            let known = self.judges.first().is_none_or(|judge| judge.knows(reading.point));
            self.found.unknown += u64::from(!known);
        }
        let looked = self.judges.iter_mut().map(|judge| judge.eat(input));
        // Each is counted once, however many plans see it so.
        let (restuck, numberless) = looked.fold((false, false), |(restuck, numberless), looked| {
            (restuck || looked == Looked::Restuck, numberless || looked == Looked::Numberless)
        });
        self.found.restuck += u64::from(restuck && counts);
        self.found.numberless += u64::from(numberless && counts);
    }
}

/// What became of a reading whose point may stand still for another time than it might then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// Nothing.
    Same,
    /// It was good.
    Restuck,
    /// It was stuck and is not; nobody knows which number it was.
    Numberless,
}

const STUCK: Quality<Raw> = Quality::Bad(BadCause::Stuck);

/// How a recorded point is found again.
#[derive(Debug, Clone, Copy)]
struct Found {
    point: PointIx,
    gain: f64,
    offset: f64,
    from: Unit,
    to: Unit,
    /// Another word on how long it may stand still.
    other_stuck: bool,
}

/// One set of rules at work.
#[derive(Debug)]
struct Judge {
    plan: Plan,
    units: Vec<Unit>,
    engine: Option<Engine>,
    points: Vec<Option<Found>>,
    devices: Vec<Option<DeviceIx>>,
    /// How long each point of the plan has stood still.
    restuck: Vec<Option<Restuck>>,
    open: BTreeMap<AlertId, (Key, Occurrence, u32)>,
    judged: Judged,
}

impl Judge {
    fn new(mut plan: Plan) -> Self {
        let units = plan.points.iter().map(|point| point.unit).collect();
        for point in &mut plan.points {
            // Readings come as numbers in the point's unit.
            (point.gain, point.offset) = (1.0, 0.0);
        }
        let mut judged = Judged::new();
        for rule in
            plan.rules.iter().filter(|rule| !rule.handling.as_ref().is_some_and(|handling| handling.disabled))
        {
            let Some(device) = plan.devices.get(rule.subject.slot()) else { continue };
            let said =
                Said { title: rule.text.title.clone(), device: device.name.clone(), ..Said::default() };
            judged.insert((rule.id.clone(), device.id.clone()), said);
        }
        let restuck = plan.points.iter().map(Restuck::new).collect();
        let (engine, points, devices, open) = (None, vec![], vec![], BTreeMap::new());
        Self { plan, units, engine, points, devices, restuck, open, judged }
    }

    /// From here on inputs name points and devices by the slots of this plan.
    fn learn(&mut self, recorded: &Plan) {
        let points: BTreeMap<&str, usize> =
            self.plan.points.iter().enumerate().map(|(slot, point)| (point.id.as_str(), slot)).collect();
        self.points = recorded
            .points
            .iter()
            .map(|point| {
                let slot = *points.get(point.id.as_str())?;
                let (from, to) = (point.unit, *self.units.get(slot)?);
                convert(0.0, from, to)?;
                let other_stuck = self.plan.points.get(slot)?.stuck != point.stuck;
                let (gain, offset) = (point.gain, point.offset);
                Some(Found { point: PointIx::of(slot), gain, offset, from, to, other_stuck })
            })
            .collect();
        let own = |id: &str| self.plan.devices.iter().position(|device| device.id == id);
        self.devices = recorded.devices.iter().map(|device| own(&device.id).map(DeviceIx::of)).collect();
    }

    fn knows(&self, point: PointIx) -> bool {
        self.points.get(point.slot()).is_some_and(Option::is_some)
    }

    fn start(&mut self, start: StartInput) {
        let mut out = Vec::new();
        // What a restarted gateway does.
        let engine = match self.engine.take() {
            None => Engine::new(self.plan.clone()),
            Some(engine) => match Engine::restore(self.plan.clone(), engine.save()) {
                Ok((engine, superseded)) => {
                    out = superseded;
                    engine
                }
                Err(_) => Engine::new(self.plan.clone()),
            },
        };
        let engine = self.engine.insert(engine);
        engine.step(&Input::Start(start), &mut out);
        self.note(&out);
    }

    fn eat(&mut self, input: &Input) -> Looked {
        let Some(mut translated) = translated(input, &self.points, &self.devices) else {
            return Looked::Same;
        };
        let looked = self.look(input, &mut translated);
        let Some(engine) = &mut self.engine else { return looked };
        let mut out = Vec::new();
        engine.step(&translated, &mut out);
        self.note(&out);
        looked
    }

    /// Has it stood still for too long, by this plan's word?
    fn look(&mut self, recorded: &Input, translated: &mut Input) -> Looked {
        if let Input::Fact(Fact { device, body: FactBody::Device(DeviceFact::Replaced { .. }), .. }) =
            translated
        {
            let watches = self.restuck.iter_mut().zip(&self.plan.points);
            let of_device = watches.filter(|(_, point)| point.device == *device);
            of_device.filter_map(|(watch, _)| watch.as_mut()).for_each(Restuck::forget);
        }
        let (Input::Reading(recorded), Input::Reading(reading)) = (recorded, translated) else {
            return Looked::Same;
        };
        let other = self.points.get(recorded.point.slot()).copied().flatten();
        let other = other.is_some_and(|found| found.other_stuck);
        let watch = self.restuck.get_mut(reading.point.slot()).and_then(Option::as_mut);
        // Also where the word is the same: a later plan of the record may have had another.
        let judged = match watch {
            None => reading.value,
            Some(watch) => {
                let judged = watch.judge(reading.at, reading.value);
                if reading.value == STUCK && watch.is_stuck(reading.at) {
                    return Looked::Same;
                }
                judged
            }
        };
        match (other, reading.value == STUCK, judged == STUCK) {
            (false, ..) | (true, false, false) => Looked::Same,
            (true, true, _) => Looked::Numberless,
            (true, false, true) => {
                reading.value = judged;
                Looked::Restuck
            }
        }
    }

    fn note(&mut self, concluded: &[Conclusion]) {
        for Conclusion { at, body } in concluded {
            let ConclusionBody::Alert(change) = body else { continue };
            match change.change {
                Change::Raised => {
                    let rule = change.rule.and_then(|rule| self.plan.rules.get(rule.slot()));
                    let Some(rule) = rule else { continue };
                    let device = self.plan.devices.get(rule.subject.slot());
                    let key = (rule.id.clone(), device.map_or_else(String::new, |device| device.id.clone()));
                    let occurrence = Occurrence { from: *at, to: None, returned: 0, value: change.value };
                    self.open.insert(change.alert, (key, occurrence, 0));
                }
                Change::Cleared(_) => {
                    if let Some((key, occurrence, returned)) = self.open.remove(&change.alert) {
                        let folded = change.detail.map_or(0, |detail| detail.folded);
                        let returned = returned.max(folded);
                        self.put(&key, Occurrence { to: Some(*at), returned, ..occurrence });
                    }
                }
                Change::Recurred => {
                    if let Some((_, _, returned)) = self.open.get_mut(&change.alert) {
                        *returned += 1;
                    }
                }
                Change::Acknowledged
                | Change::Quality
                | Change::Gap
                | Change::Step
                | Change::ReAlarmed
                | Change::Suppression
                | Change::Reset
                | Change::Chattering
                | Change::Provable
                | Change::Aggravated
                | Change::Escalated(_) => {}
            }
        }
    }

    fn put(&mut self, key: &Key, occurrence: Occurrence) {
        let Some(said) = self.judged.get_mut(key) else { return };
        if said.occurrences.len() < OCCURRENCES_MAX {
            said.occurrences.push(occurrence);
        } else {
            said.more += 1;
        }
    }

    fn finish(mut self, since: EngineTime) -> Judged {
        for (key, occurrence, returned) in std::mem::take(&mut self.open).into_values() {
            self.put(&key, Occurrence { returned, ..occurrence });
        }
        for said in self.judged.values_mut() {
            said.occurrences.retain(|occurrence| occurrence.to.is_none_or(|to| to >= since));
            said.occurrences.sort_by_key(|occurrence| occurrence.from);
        }
        self.judged
    }
}

/// The input under the slots of another plan; `None` = nothing that this plan knows.
fn translated(input: &Input, points: &[Option<Found>], devices: &[Option<DeviceIx>]) -> Option<Input> {
    Some(match input {
        Input::Reading(reading) => {
            let found = (*points.get(reading.point.slot())?)?;
            let number = |raw: Raw| {
                let value = raw.value(found.gain, found.offset);
                // Bits that are no number stay none.
                let value = value.and_then(|value| convert(value, found.from, found.to)).unwrap_or(f64::NAN);
                Raw::F64(value.to_bits())
            };
            let value = match reading.value {
                Quality::Good(raw) => Quality::Good(number(raw)),
                Quality::Uncertain(raw, cause) => Quality::Uncertain(number(raw), cause),
                Quality::Bad(cause) => Quality::Bad(cause),
            };
            Input::Reading(Reading { point: found.point, at: reading.at, value })
        }
        Input::Fact(fact) => {
            let device = (*devices.get(fact.device.slot())?)?;
            Input::Fact(Fact { device, ..fact.clone() })
        }
        Input::Command(Command { at, body, .. }) => match body {
            // Alerts of the time: under these rules they may not exist, or another one may have their number.
            CommandBody::Acknowledge { .. } | CommandBody::Reset { .. } | CommandBody::Pause { .. } => {
                Input::Advance(*at)
            }
            CommandBody::Resume { .. }
            | CommandBody::TakeOut { .. }
            | CommandBody::PutBack { .. }
            | CommandBody::DeclareClosure { .. }
            | CommandBody::RotateKey
            | CommandBody::Configure { .. }
            | CommandBody::CenterKeys { .. } => input.clone(),
        },
        // Its epoch is counted anew.
        Input::Start(_) => return None,
        Input::Advance(_) | Input::Clock(_) | Input::Stop { .. } | Input::Heartbeat(_) => input.clone(),
    })
}

/// What two sets of rules see differently, by rule and device, oldest first. Empty = they agree on everything.
pub fn differences(first: &Judged, second: &Judged) -> BTreeMap<Key, Vec<Differs>> {
    let none = Said::default();
    let keys = first.keys().chain(second.keys().filter(|key| !first.contains_key(*key)));
    let mut all = BTreeMap::new();
    for key in keys {
        let (a, b) = (first.get(key).unwrap_or(&none), second.get(key).unwrap_or(&none));
        let differs = compare(&a.occurrences, &b.occurrences);
        if !differs.is_empty() {
            all.insert(key.clone(), differs);
        }
    }
    all
}

/// Both oldest first and without overlaps among themselves, but for events of one rule.
fn compare(first: &[Occurrence], second: &[Occurrence]) -> Vec<Differs> {
    let mut second: std::collections::VecDeque<Occurrence> = second.iter().copied().collect();
    let mut differs = Vec::new();
    let end = |occurrence: &Occurrence| occurrence.to.unwrap_or(EngineTime(i64::MAX));
    for a in first {
        while let Some(b) = second.pop_front_if(|b| end(b) < a.from) {
            differs.push(Differs::OnlySecond(b));
        }
        match second.pop_front_if(|b| b.from <= end(a)) {
            None => differs.push(Differs::OnlyFirst(*a)),
            Some(b) if (a.from, a.to) == (b.from, b.to) => {}
            Some(b) => differs.push(Differs::Moved(*a, b)),
        }
    }
    differs.extend(second.into_iter().map(Differs::OnlySecond));
    differs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stood(from: i64, to: i64) -> Occurrence {
        Occurrence { from: EngineTime(from), to: Some(EngineTime(to)), returned: 0, value: None }
    }

    #[test]
    fn what_stands_at_the_same_time_is_the_same_alert() {
        let (a, b, c) = (stood(0, 10), stood(20, 30), stood(40, 50));
        assert_eq!(compare(&[a, b, c], &[a, b, c]), []);
        assert_eq!(compare(&[a, b], &[b, c]), [Differs::OnlyFirst(a), Differs::OnlySecond(c)]);
        let later = stood(22, 30);
        assert_eq!(compare(&[a, b], &[a, later]), [Differs::Moved(b, later)]);
        // One long one against two short ones: the first is its counterpart.
        let long = stood(0, 30);
        assert_eq!(compare(&[long], &[a, b]), [Differs::Moved(long, a), Differs::OnlySecond(b)]);
    }
}
