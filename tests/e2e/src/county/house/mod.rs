//! One house and its people: what its probes show and what its systems tell, day by day.
//!
//! The rates are those of `users.md` B (assumptions there, to be replaced by what back-tests of real sites say): how many
//! things go wrong among so many cycles, lamps, fridges, hand-overs. What is wrong for long is put down as truth.

mod hotel;
mod practice;
mod waste;

use gateway::config::Site;
use gateway_model::{DeviceIx, FactBody, PointIx, Raw};

use crate::county::fleet::{Kind, Premises};
use crate::county::track::Track;
use crate::county::truth::{DAY, HOUR, MINUTE, Truth, Violation};
use crate::dice::Dice;

/// Times in ten thousand.
mod rate {
    /// Cabinet cycles that come out cool or short: 24 of 600 a day …
    pub(super) const CABINET_FAILS: u64 = 400;
    /// … and are run again the same day.
    pub(super) const CABINET_AGAIN: u64 = 8_500;
    /// Cabinets that nobody starts on a trading day: 8 of 400.
    pub(super) const CABINET_FORGOTTEN: u64 = 200;
    /// Hotels without a guest.
    pub(super) const NO_GUESTS: u64 = 300;
    /// Sterilizer cycles that fail or are aborted: 18 of 1,085.
    pub(super) const STERILIZER_FAILS: u64 = 170;
    /// Repeated within two hours; within four; the rest never.
    pub(super) const STERILIZER_AGAIN: u64 = 8_000;
    pub(super) const STERILIZER_LATE: u64 = 1_200;
    /// B-D tests that are forgotten.
    pub(super) const TEST_FORGOTTEN: u64 = 300;
    /// Somebody walks in under a lit lamp: 12 of about 250 watched sessions.
    pub(super) const WALKS_IN: u64 = 480;
    /// Lamps that become weak: 0.9 of 600 a day.
    pub(super) const LAMP_WEAK: u64 = 15;
    /// Fridges with a long stocking or defrosting: 9 of 225; that stop cooling.
    pub(super) const FRIDGE_LONG: u64 = 400;
    pub(super) const FRIDGE_FAILS: u64 = 40;
    /// Fridge doors left ajar.
    pub(super) const AJAR: u64 = 300;
    /// The collector does not come.
    pub(super) const NOT_FETCHED: u64 = 350;
    /// Weights of a hand-over that differ; by more than 2 kg.
    pub(super) const DIFFERS: u64 = 300;
    pub(super) const LOST: u64 = 40;
    /// Labels that are given twice.
    pub(super) const LABEL_TWICE: u64 = 10;
    /// A bus that is away for minutes; for up to an hour.
    pub(super) const BUS_SHORT: u64 = 300;
    pub(super) const BUS_LONG: u64 = 60;
    /// Somebody opens the clinic late, or leaves early.
    pub(super) const LATE: u64 = 500;
    pub(super) const EARLY: u64 = 300;
}

/// A probe at its point.
#[derive(Debug)]
pub(in crate::county) struct Probe {
    pub(in crate::county) point: PointIx,
    pub(in crate::county) every_s: i64,
    /// Thousandths of the unit to counts.
    per_count: f64,
    offset: f64,
    track: Track,
    /// Seconds in which it gives no value.
    pub(in crate::county) dead: Vec<(i64, i64)>,
    /// On the line that is sometimes away.
    pub(in crate::county) line: bool,
}

impl Probe {
    /// What it shows; `None`: nothing.
    pub(in crate::county) fn at(&mut self, second: i64) -> Option<Raw> {
        let value = self.track.at(second);
        if self.dead.iter().any(|(from, to)| (*from..*to).contains(&second)) {
            return None;
        }
        Some(Raw::Int(((value as f64 / 1_000.0 - self.offset) * self.per_count).round() as i64))
    }
}

/// Something a system of the house tells.
#[derive(Debug, Clone)]
pub(in crate::county) struct Told {
    pub(in crate::county) at: i64,
    pub(in crate::county) device: DeviceIx,
    pub(in crate::county) point: PointIx,
    pub(in crate::county) value: i64,
    pub(in crate::county) fact: Option<FactBody>,
}

/// A house.
pub(in crate::county) struct House {
    pub(in crate::county) premises: Premises,
    pub(in crate::county) probes: Vec<Probe>,
    /// Told this day, in order.
    pub(in crate::county) told: Vec<Told>,
    /// Without mains this day: from and to.
    pub(in crate::county) off: Vec<(i64, i64)>,
    /// The line to the instruments is away this day.
    pub(in crate::county) away: Vec<(i64, i64)>,
    pub(in crate::county) truth: Vec<Truth>,
    names: Vec<String>,
    devices: Vec<String>,
    dice: Dice,
    planted: Option<(i64, Violation)>,
    /// Irradiance of each lamp, thousandths of a µW/cm², and days since it became weak.
    lamps: Vec<(i64, i64)>,
    /// Machines whose last load failed with no time left to run it again.
    overnight: Vec<bool>,
    /// Bags in the store: label and grams.
    bags: Vec<(String, i64)>,
    /// Labels given so far.
    labels: u64,
    /// Days on which the planted cabinet failed.
    worn: i64,
    /// Day of the next removal.
    fetch: i64,
}

const ROOM: i64 = 24_000;
/// A weak lamp is replaced after so many working days.
const LAMP_REPLACED: i64 = 5;

impl House {
    pub(in crate::county) fn new(
        seed: u64,
        premises: Premises,
        site: &Site,
        planted: Option<(i64, Violation)>,
    ) -> Self {
        let mut dice = Dice::new(seed, 2_000_000 + premises.n);
        let points = site.plan.points.iter().zip(0..).filter(|(point, _)| point.every_ms > 0);
        let probes = points
            .map(|(point, ix)| {
                let name = point.id.rsplit('/').next().unwrap_or_default();
                let (value, noise) = match name {
                    "temperature" if point.id.starts_with("fridge") => (4_500, 150),
                    "temperature" => (ROOM, 200),
                    "stable" => (1_000, 0),
                    _ => (0, 0),
                };
                Probe {
                    point: PointIx(ix),
                    every_s: point.every_ms / 1_000,
                    per_count: 1.0 / point.gain,
                    offset: point.offset,
                    track: Track::new(value, noise, Dice::new(dice.next(), 0)),
                    dead: Vec::new(),
                    line: name == "temperature" || name == "pressure" || name == "irradiance",
                }
            })
            .collect();
        let lamps = (0..premises.lamps).map(|_| (dice.between(85_000, 120_000), 0)).collect();
        Self {
            probes,
            told: Vec::new(),
            off: Vec::new(),
            away: Vec::new(),
            truth: Vec::new(),
            names: site.plan.points.iter().map(|point| point.id.clone()).collect(),
            devices: site.plan.devices.iter().map(|device| device.id.clone()).collect(),
            planted,
            lamps,
            overnight: vec![false; premises.machines + 1],
            bags: Vec::new(),
            worn: 0,
            labels: 0,
            fetch: dice.between(0, premises.removal.max(1)),
            dice,
            premises,
        }
    }

    /// Lives through the planning of a day. `cut`: the mains of the township are away then.
    pub(in crate::county) fn begin(&mut self, day: i64, cut: Option<(i64, i64)>) {
        self.told.clear();
        self.off.clear();
        self.away.clear();
        self.power(day, cut);
        self.line(day);
        match self.premises.kind {
            Kind::Hotel => self.hotel(day),
            Kind::Clinic | Kind::Hospital => {
                self.sterilizers(day);
                self.lamps(day);
                self.fridges(day);
                self.waste(day);
            }
        }
        self.tamper(day);
        if let Some(cut) = cut {
            self.without_mains(cut);
        }
        self.told.sort_by_key(|told| told.at);
    }

    fn chance(&mut self, in_ten_thousand: u64) -> bool {
        self.dice.below(10_000) < in_ten_thousand
    }

    /// Is this planted, so many days after its beginning?
    fn day_of(&self, violation: Violation, day: i64) -> Option<i64> {
        self.planted
            .filter(|(_, planted)| *planted == violation)
            .map(|(from, _)| day - from)
            .filter(|n| *n >= 0)
    }

    fn know(
        &mut self,
        what: &'static str,
        device: &str,
        rules: &'static [&'static str],
        at: i64,
        within: i64,
    ) {
        let device = device.to_owned();
        self.truth.push(Truth { what, site: self.premises.n, device, rules, at, by: at + within });
    }

    fn probe(&mut self, point: &str) -> Option<&mut Probe> {
        let slot = self.names.iter().position(|name| name == point)?;
        self.probes.iter_mut().find(|probe| probe.point.slot() == slot)
    }

    fn track(&mut self, point: &str) -> &mut Track {
        match self.probe(point) {
            Some(probe) => &mut probe.track,
            None => panic!("no point `{point}`"),
        }
    }

    /// True for a while.
    fn pulse(&mut self, point: &str, at: i64, seconds: i64) {
        let track = self.track(point);
        if track.free(at) {
            track.to(at, 0);
            track.to(at, 1_000);
            track.to(at + seconds, 1_000);
            track.to(at + seconds, 0);
        }
    }

    fn tell(&mut self, at: i64, point: &str, value: i64, fact: Option<FactBody>) {
        let Some(slot) = self.names.iter().position(|name| name == point) else { return };
        let device = point.split('/').next().unwrap_or_default();
        let Some(device) = self.devices.iter().position(|id| id == device) else { return };
        self.told.push(Told { at, device: DeviceIx::of(device), point: PointIx::of(slot), value, fact });
    }

    fn power(&mut self, day: i64, cut: Option<(i64, i64)>) {
        let begin = day * DAY;
        if self.premises.breaker {
            if self.premises.works(day) {
                let late = if self.chance(rate::LATE) {
                    self.dice.between(35, 90)
                } else {
                    self.dice.between(-15, 15)
                };
                let on = begin + (self.premises.opens + late) * MINUTE;
                let early = self.chance(rate::EARLY);
                let past = if early { self.dice.between(-90, -35) } else { self.dice.between(0, 60) };
                let off = begin + (self.premises.closes + past).min(1_439) * MINUTE;
                self.off = vec![(begin, on), (off, begin + DAY)];
            } else {
                self.off = vec![(begin, begin + DAY)];
            }
        }
        self.off.extend(cut);
        if let Some(n) = self.day_of(Violation::BoxGone, day) {
            let from = if n == 0 { begin + 10 * HOUR } else { begin };
            self.off.push((from, begin + DAY));
            if n == 0 {
                self.know("the box was unplugged", "", &["center/gateway-lost"], from, 74 * HOUR);
            }
        }
        self.off.sort_unstable();
    }

    fn line(&mut self, day: i64) {
        let begin = day * DAY + self.dice.between(0, DAY);
        if self.chance(rate::BUS_LONG) {
            self.away.push((begin, begin + self.dice.between(10, 60) * MINUTE));
        } else if self.chance(rate::BUS_SHORT) {
            self.away.push((begin, begin + self.dice.between(1, 8) * MINUTE));
        }
    }

    /// What a cut of the mains does to what was planned: chambers and lamps go cold, fridges warm up by two degrees an hour, and
    /// somebody starts again what was interrupted.
    fn without_mains(&mut self, (from, to): (i64, i64)) {
        for name in self.names.clone() {
            let Some(probe) = self.probe(&name) else { continue };
            let (device, point) = name.split_once('/').unwrap_or_default();
            match point {
                "temperature" if device.starts_with("fridge") => {
                    let warmer = (to - from) * 2_000 / HOUR;
                    probe.track.cut(from, 4_500 + warmer, to - from);
                    probe.track.to(to + HOUR, 4_500);
                }
                "temperature" => probe.track.cut(from, ROOM, 40 * MINUTE),
                "pressure" | "irradiance" | "door" | "person" => probe.track.cut(from, 0, MINUTE),
                _ => {}
            }
        }
        if self.premises.kind == Kind::Hotel {
            for n in 1..=self.premises.machines {
                self.cabinet_cycle(&format!("cabinet-{n}"), to + HOUR, Run::Good);
            }
        } else {
            for n in 1..=self.premises.machines {
                self.sterilizer_cycle(&format!("sterilizer-{n}"), to + HOUR, Run::Good);
            }
        }
    }

    fn tamper(&mut self, day: i64) {
        if self.day_of(Violation::LidOpened, day) == Some(0) {
            let at = day * DAY + 14 * HOUR;
            self.pulse("box-1/lid", at, 600);
            self.know("somebody opened the box", "box-1", &["gateway-self/lid-open"], at, 30 * MINUTE);
        }
    }
}

/// How a cycle comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Good,
    /// It does not get hot enough.
    Cool,
    /// It is not held long enough.
    Short,
}
