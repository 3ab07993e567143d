//! A scenario at a moment of civil time.
//!
//! The world begins at a local midnight and goes on in steps of one second, whatever the holder asks for. The values
//! at a moment depend on the scenario, its seed, the time since that midnight and what people did through [`World::force`]
//! and [`World::inject`]; never on the date, nor on how often or in what pieces it was stepped.

use crate::civil::{Civil, DAY_S};
use crate::device::{Device, Message, Tick};
use crate::face::answer::{Act, Quirks, TARGET_SILENT, answer, exception, framed, read, write};
use crate::face::frame::Request;
use crate::face::maps::Block;
use crate::fault::feed::{Feed, Sent};
use crate::fault::link::{is_taken_in, seen, spoil, spoil_frame};
use crate::fault::probe::{moves, probe};
use crate::fault::{Effect, Fault, LinkFault, Mishap, Mishaps, Occurrence, ProbeFault, Timeline};
use crate::noise;
use crate::scenario::{Chance, Endpoint, Plant, Scenario, build};
use crate::signal::{Probe, SignalIx, Signals};

/// Messages held until somebody takes them; the oldest give way beyond it and are counted.
pub const MESSAGES_MAX: usize = 100_000;

/// See the module.
#[derive(Debug, Clone)]
pub struct World {
    utc_offset_min: i32,
    origin: Civil,
    /// Seconds stepped so far: the state is that at the end of second `steps - 1`.
    steps: i64,
    devices: Vec<(String, &'static str, Device)>,
    /// What each device is plugged into.
    supplies: Vec<Option<SignalIx>>,
    closed: Vec<(i64, i64)>,
    mishaps: Vec<Mishaps>,
    signals: Signals,
    endpoints: Vec<Endpoint>,
    links: Vec<Vec<Option<LinkFault>>>,
    previous: Vec<Vec<Option<Vec<u8>>>>,
    /// Requests of each unit so far.
    turns: Vec<Vec<u64>>,
    /// Had each unit power in the second before? Empty where nothing is plugged into a supply.
    powered: Vec<Vec<bool>>,
    feeds: Vec<Feed>,
    /// Probe faults that change from second to second: signal, what, since when.
    moving: Vec<(SignalIx, ProbeFault, i64)>,
    timeline: Timeline,
    chances: Vec<Chance>,
    messages: std::collections::VecDeque<Sent>,
    messages_dropped: u64,
}

/// What is plugged into nothing of the scenario always has power.
fn powered(signals: &Signals, supply: Option<SignalIx>) -> bool {
    supply.is_none_or(|ix| signals.value(ix) > 0.5)
}

/// Is its box, or a unit behind it, plugged into a supply of the scenario?
fn is_plugged(endpoint: &Endpoint) -> bool {
    endpoint.supply.is_some() || endpoint.units.iter().any(|unit| unit.supply.is_some())
}

impl World {
    /// The world at the local midnight before `from`; with the scenario's scripted incident, if it is given a moment.
    #[must_use]
    pub fn new(scenario: &Scenario, from: Civil, incident_at: Option<Civil>) -> Self {
        let origin = from.midnight(scenario.utc_offset_min);
        let mut timeline = Timeline::default();
        let mut sure = |plant: &Plant, from: i64| {
            // A scenario has fewer plants than a timeline has room.
            timeline.add(Occurrence {
                from,
                to: from + plant.for_s,
                effect: plant.effect,
                target: plant.target.clone(),
            });
        };
        for plant in &scenario.plants {
            sure(plant, plant.from);
        }
        if let Some(at) = incident_at {
            let second = (at.0 - origin.0).div_euclid(1000);
            for plant in &scenario.incident {
                sure(plant, second + plant.from);
            }
        }
        // An indicator has no units, and one link all the same.
        let units = |endpoint: &Endpoint| endpoint.units.len().max(1);
        Self {
            utc_offset_min: scenario.utc_offset_min,
            origin,
            steps: 0,
            mishaps: vec![Mishaps::default(); scenario.devices.len()],
            devices: scenario.devices.clone(),
            supplies: scenario.supplies.clone(),
            closed: scenario.closed.clone(),
            signals: scenario.signals.clone(),
            links: scenario.endpoints.iter().map(|e| vec![None; units(e)]).collect(),
            turns: scenario.endpoints.iter().map(|e| vec![0; units(e)]).collect(),
            powered: if scenario.endpoints.iter().any(is_plugged) {
                scenario.endpoints.iter().map(|e| vec![true; e.units.len()]).collect()
            } else {
                Vec::new()
            },
            feeds: vec![Feed::default(); scenario.devices.len()],
            moving: Vec::new(),
            previous: scenario.endpoints.iter().map(|e| vec![None; units(e)]).collect(),
            endpoints: scenario.endpoints.clone(),
            timeline,
            chances: scenario.chances.clone(),
            messages: std::collections::VecDeque::new(),
            messages_dropped: 0,
        }
    }

    /// Steps until the state is that of `at`; never back.
    pub fn step_to(&mut self, at: Civil) {
        let until = (at.0 - self.origin.0).div_euclid(1000) + 1;
        while self.steps < until {
            self.step();
        }
    }

    fn step(&mut self) {
        let n = self.steps;
        self.steps += 1;
        let tick = Tick {
            n,
            day: n.div_euclid(DAY_S),
            second: n.rem_euclid(DAY_S),
            at: self.origin.plus_s(n),
            utc_offset_min: self.utc_offset_min,
            closed: self.closed.iter().any(|(first, last)| (*first..=*last).contains(&n.div_euclid(DAY_S))),
        };
        if tick.second == 0 {
            self.draw_day(tick.day);
        }
        if self.timeline.turned(n) {
            self.take_faults(n);
        }
        for (ix, fault, since) in self.moving.clone() {
            self.set_probe(ix, fault, since, n);
        }
        let (messages, dropped) = (&mut self.messages, &mut self.messages_dropped);
        let mut out = |sent| {
            if messages.len() >= MESSAGES_MAX {
                messages.pop_front();
                *dropped += 1;
            }
            messages.push_back(sent);
        };
        let devices = self.devices.iter_mut().zip(&self.mishaps).zip(&self.supplies).zip(&mut self.feeds);
        for ((((_, _, device), mishaps), supply), feed) in devices {
            let mut mishaps = *mishaps;
            if !powered(&self.signals, *supply) {
                mishaps.add(Mishap::NoPower);
            }
            device.step(tick, mishaps, &mut self.signals, &mut |message| feed.pass(message, tick, &mut out));
            if !feed.is_idle() {
                feed.second(tick.at, &mut out);
            }
        }
        self.power_units();
    }

    /// Units whose power came back begin anew with what they were set to.
    fn power_units(&mut self) {
        for (endpoint, powered) in self.endpoints.iter_mut().zip(&mut self.powered) {
            let box_on = self::powered(&self.signals, endpoint.supply);
            for (unit, before) in endpoint.units.iter_mut().zip(powered) {
                let now = box_on && self::powered(&self.signals, unit.supply);
                if now && !*before {
                    unit.map.power_up();
                }
                *before = now;
            }
        }
    }

    fn draw_day(&mut self, day: i64) {
        for chance in self.chances.iter().filter(|c| day >= c.from_day) {
            let (from, to) = chance.between;
            for piece in 0..(to - from) / chance.every_s {
                let draw = noise::mix(noise::mix(chance.seed, day as u64), piece as u64);
                if noise::share(draw) >= chance.chance {
                    continue;
                }
                let into = noise::pick(draw, 1, 0, chance.every_s - 1);
                let begins = day * DAY_S + from + piece * chance.every_s + into;
                // A full timeline draws no more: what people injected stays.
                self.timeline.add(Occurrence {
                    from: begins,
                    to: begins + chance.for_s,
                    effect: chance.effect,
                    target: chance.target.clone(),
                });
            }
        }
    }

    fn take_faults(&mut self, n: i64) {
        self.mishaps.fill(Mishaps::default());
        self.links.iter_mut().for_each(|units| units.fill(None));
        self.feeds.iter_mut().for_each(Feed::mend);
        let mut probes: Vec<(SignalIx, ProbeFault, i64)> = Vec::new();
        for occurrence in self.timeline.on(n) {
            match occurrence.effect {
                Effect::Mishap { device, mishap } => self.mishaps[device].add(mishap),
                Effect::Feed { device, fault } => self.feeds[device].add(fault),
                Effect::Probe { signal, fault } => probes.push((signal, fault, occurrence.from)),
                Effect::Link { endpoint, unit, fault } => {
                    let units = &self.endpoints[endpoint].units;
                    for (i, place) in self.links[endpoint].iter_mut().enumerate() {
                        if unit.is_none_or(|unit| units.get(i).is_some_and(|known| known.unit == unit)) {
                            *place = Some(fault);
                        }
                    }
                }
            }
        }
        for ix in self.signals.all() {
            match probes.iter().find(|(signal, ..)| *signal == ix) {
                None => self.signals.set_probe(ix, Probe::Sound),
                Some((_, fault, since)) => self.set_probe(ix, *fault, *since, n),
            }
        }
        probes.retain(|(_, fault, _)| moves(*fault));
        self.moving = probes;
    }

    fn set_probe(&mut self, ix: SignalIx, fault: ProbeFault, since: i64, n: i64) {
        let seed = noise::named(0, self.signals.label(ix).0);
        let probe = probe(fault, self.signals.probe(ix), self.signals.value(ix), since, n, seed);
        self.signals.set_probe(ix, probe);
    }

    /// The beginning of the second whose state this is.
    #[must_use]
    pub const fn now(&self) -> Civil {
        self.origin.plus_s(if self.steps > 0 { self.steps - 1 } else { 0 })
    }

    /// The first midnight.
    #[must_use]
    pub const fn origin(&self) -> Civil {
        self.origin
    }

    /// The Modbus servers.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// All signals.
    #[must_use]
    pub const fn signals(&self) -> &Signals {
        &self.signals
    }

    /// Ids and kinds of the devices.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.devices.iter().map(|(id, kind, _)| (id.as_str(), *kind))
    }

    /// The messages published since the last time, oldest first.
    pub fn take_messages(&mut self) -> impl Iterator<Item = Message> + '_ {
        self.take_sent().map(|sent| sent.message)
    }

    /// The same, and whether each was published retained.
    pub fn take_sent(&mut self) -> impl Iterator<Item = Sent> + '_ {
        self.messages.drain(..)
    }

    /// Messages that gave way because nobody took them.
    #[must_use]
    pub const fn messages_dropped(&self) -> u64 {
        self.messages_dropped
    }

    /// The fault on the answers of a unit, endpoint and unit by position; without power it is silent.
    #[must_use]
    pub fn link_fault(&self, endpoint: usize, unit: usize) -> Option<LinkFault> {
        let unpowered = !self.is_powered(endpoint, unit);
        if unpowered { Some(LinkFault::Silent) } else { self.links[endpoint][unit] }
    }

    /// Are the box of an endpoint and this unit behind it (both by position) plugged into something that is on?
    fn is_powered(&self, endpoint: usize, unit: usize) -> bool {
        let endpoint = &self.endpoints[endpoint];
        powered(&self.signals, endpoint.supply)
            && endpoint.units.get(unit).is_none_or(|unit| powered(&self.signals, unit.supply))
    }

    /// What a connection to this endpoint, a weighing indicator, has to do for its next frame.
    #[must_use]
    pub fn weighing(&self, endpoint: usize) -> Vec<Act> {
        let Some(indicator) = &self.endpoints[endpoint].indicator else { return Vec::new() };
        let frame = indicator.frame(&self.signals);
        match self.link_fault(endpoint, 0) {
            Some(fault) => spoil_frame(fault, frame),
            None => vec![Act::Send(frame)],
        }
    }

    /// What a poll of one of a unit's documented blocks brings; endpoint and unit by position. Nothing under a fault that
    /// leaves no usable answer.
    #[must_use]
    pub fn block(&self, endpoint: usize, unit: usize, block: Block) -> Vec<u16> {
        let map = &self.endpoints[endpoint].units[unit].map;
        let words = read(map, Quirks::default(), &self.signals, block.table, block.first, block.count);
        seen(self.link_fault(endpoint, unit), words.unwrap_or_default()).unwrap_or_default()
    }

    /// Do the units with this id understand what comes at this speed, bit/s? Bytes at another are noise to them.
    #[must_use]
    pub fn understands(&self, endpoint: usize, unit: u8, baud: u32) -> bool {
        let endpoint = &self.endpoints[endpoint];
        let mut asked = endpoint.units.iter().filter(|known| known.unit == unit);
        asked.all(|known| known.map.baud().unwrap_or(endpoint.line.baud) == baud)
    }

    /// What a connection to this endpoint has to do for a request.
    pub fn ask(&mut self, endpoint: usize, request: &Request) -> Vec<Act> {
        if !powered(&self.signals, self.endpoints[endpoint].supply) {
            return Vec::new();
        }
        let units = &self.endpoints[endpoint].units;
        let Some(unit) = units.iter().position(|known| known.unit == request.unit) else {
            // A TCP gateway says that nobody is there; on a line there is nobody to say it.
            return if request.transaction.is_some() {
                let pdu = exception(request.pdu.first().copied().unwrap_or(0), TARGET_SILENT);
                vec![Act::Send(framed(request, request.unit, &pdu))]
            } else {
                Vec::new()
            };
        };
        let pdu = self.answer(endpoint, unit, &request.pdu);
        let previous = self.previous[endpoint][unit].replace(pdu.clone());
        let turn = self.turns[endpoint][unit];
        self.turns[endpoint][unit] += 1;
        let mut acts = match self.link_fault(endpoint, unit) {
            Some(fault) => spoil(fault, request, &pdu, previous.as_deref(), turn),
            None => vec![Act::Send(framed(request, request.unit, &pdu))],
        };
        let of = &self.endpoints[endpoint];
        let turnaround = of.units[unit].turnaround_ms.unwrap_or(of.turnaround_ms);
        if turnaround > 0 {
            acts.insert(0, Act::Wait(std::time::Duration::from_millis(turnaround)));
        }
        acts
    }

    /// What a sound device answers; one that is told another id has it from now on.
    fn answer(&mut self, endpoint: usize, unit: usize, pdu: &[u8]) -> Vec<u8> {
        // What does not reach the device changes nothing in it.
        let reached = self.link_fault(endpoint, unit).is_none_or(is_taken_in);
        let unit = &mut self.endpoints[endpoint].units[unit];
        if reached && let Some(answer) = write(&mut unit.map, unit.quirks, pdu) {
            unit.unit = unit.map.unit();
            return answer;
        }
        answer(&unit.map, unit.quirks, &self.signals, pdu)
    }

    /// Holds what instruments see of a signal at `value`; `None` lets it go.
    pub fn force(&mut self, name: &str, value: Option<f64>) -> Result<(), String> {
        let ix = self.signals.find(name).ok_or_else(|| format!("no signal is called `{name}`"))?;
        self.signals.force(ix, value);
        Ok(())
    }

    /// Lets a fault begin with the next second, for so many seconds (`None`: until cleared).
    pub fn inject(&mut self, target: &str, fault: Fault, for_s: Option<i64>) -> Result<(), String> {
        let effect = build::resolve(target, fault, &self.devices, &self.signals, &self.endpoints)?;
        let from = self.steps;
        let to = for_s.map_or(i64::MAX, |for_s| from.saturating_add(for_s));
        let added = self.timeline.add(Occurrence { from, to, effect, target: target.to_owned() });
        // Tests set a fault and ask at once: it is on before the next second comes.
        self.take_faults(from);
        if added { Ok(()) } else { Err("too many faults".to_owned()) }
    }

    /// Ends the faults that are on, and the held value, of `target`; of everything for `None`. Says how many.
    pub fn clear(&mut self, target: Option<&str>) -> usize {
        let mut ended = self.timeline.clear(target, self.steps);
        match target {
            None => self.signals.unforce_all(),
            Some(target) => {
                if let Some(ix) = self.signals.find(target).filter(|ix| self.signals.is_forced(*ix)) {
                    self.signals.force(ix, None);
                    ended += 1;
                }
            }
        }
        self.take_faults(self.steps);
        ended
    }

    /// The faults that are on: target and word.
    pub fn faults_on(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.timeline.on(self.steps).map(|occurrence| {
            let fault = match occurrence.effect {
                Effect::Link { fault, .. } => Fault::Link(fault),
                Effect::Probe { fault, .. } => Fault::Probe(fault),
                Effect::Feed { fault, .. } => Fault::Feed(fault),
                Effect::Mishap { mishap, .. } => Fault::Mishap(mishap),
            };
            (occurrence.target.as_str(), fault.word())
        })
    }
}
