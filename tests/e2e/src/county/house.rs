//! One house and its people: what its probes show and what its systems tell, day by day.
//!
//! The rates are those of `users.md` B (assumptions there, to be replaced by what back-tests of real sites say): how many
//! things go wrong among so many cycles, lamps, fridges, hand-overs. What is wrong for long is put down as truth.

use gateway::config::Site;
use gateway_model::{DeviceIx, FactBody, PointIx, Raw};

use super::fleet::{Kind, Premises};
use super::track::Track;
use super::truth::{DAY, HOUR, MINUTE, Truth, Violation};
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
pub(super) struct Probe {
    pub(super) point: PointIx,
    pub(super) every_s: i64,
    /// Thousandths of the unit to counts.
    per_count: f64,
    offset: f64,
    track: Track,
    /// Seconds in which it gives no value.
    pub(super) dead: Vec<(i64, i64)>,
    /// On the line that is sometimes away.
    pub(super) line: bool,
}

impl Probe {
    /// What it shows; `None`: nothing.
    pub(super) fn at(&mut self, second: i64) -> Option<Raw> {
        let value = self.track.at(second);
        if self.dead.iter().any(|(from, to)| (*from..*to).contains(&second)) {
            return None;
        }
        Some(Raw::Int(((value as f64 / 1_000.0 - self.offset) * self.per_count).round() as i64))
    }
}

/// Something a system of the house tells.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) at: i64,
    pub(super) device: DeviceIx,
    pub(super) point: PointIx,
    pub(super) value: i64,
    pub(super) fact: Option<FactBody>,
}

/// A house.
pub(super) struct House {
    pub(super) premises: Premises,
    pub(super) probes: Vec<Probe>,
    /// Told this day, in order.
    pub(super) told: Vec<Told>,
    /// Without mains this day: from and to.
    pub(super) off: Vec<(i64, i64)>,
    /// The line to the instruments is away this day.
    pub(super) away: Vec<(i64, i64)>,
    pub(super) truth: Vec<Truth>,
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
    /// Day of the next removal.
    fetch: i64,
}

const ROOM: i64 = 24_000;
/// A weak lamp is replaced after so many working days.
const LAMP_REPLACED: i64 = 5;

impl House {
    pub(super) fn new(seed: u64, premises: Premises, site: &Site, planted: Option<(i64, Violation)>) -> Self {
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
            labels: 0,
            fetch: dice.between(0, premises.removal.max(1)),
            dice,
            premises,
        }
    }

    /// Lives through the planning of a day. `cut`: the mains of the township are away then.
    pub(super) fn begin(&mut self, day: i64, cut: Option<(i64, i64)>) {
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
        self.probes.iter_mut().find(|probe| usize::from(probe.point.0) == slot)
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
        self.told.push(Told {
            at,
            device: DeviceIx(device as u16),
            point: PointIx(slot as u16),
            value,
            fact,
        });
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

    fn hotel(&mut self, day: i64) {
        if !self.premises.works(day) {
            return;
        }
        let begin = day * DAY;
        let guests = if self.chance(rate::NO_GUESTS) { 0 } else { self.dice.between(5, 80) };
        let told = begin + self.premises.opens.max(480) * MINUTE + self.dice.between(0, 600);
        self.tell(told, "desk-1/occupied", guests, None);
        for n in 1..=self.premises.machines {
            let id = format!("cabinet-{n}");
            let idle = self.day_of(Violation::NoCycle, day).is_some();
            if n == 1 && self.day_of(Violation::NoCycle, day) == Some(0) {
                // Judged when the day is over; the second day without one makes it the supervisor's.
                self.know(
                    "nothing was disinfected for two trading days",
                    &id,
                    &["disinfection-cabinet/no-cycle"],
                    begin + DAY,
                    DAY + 12 * HOUR,
                );
            }
            if idle || guests == 0 || self.chance(rate::CABINET_FORGOTTEN) {
                continue;
            }
            let mut at = begin + self.premises.opens.max(570) * MINUTE + self.dice.between(0, 4 * HOUR);
            let runs = if self.dice.percent(50) { 2 } else { 1 };
            for run in 0..runs {
                let wears =
                    n == 1 && run == 0 && self.day_of(Violation::CabinetWears, day).is_some_and(|n| n < 4);
                let fails = wears || self.chance(rate::CABINET_FAILS);
                if wears && self.day_of(Violation::CabinetWears, day) == Some(0) {
                    self.know(
                        "a cabinet failed on three days",
                        &id,
                        &["disinfection-cabinet/cycle-failed"],
                        at,
                        3 * DAY,
                    );
                }
                let how = match (fails, self.dice.percent(50)) {
                    (false, _) => Run::Good,
                    (true, true) => Run::Cool,
                    (true, false) => Run::Short,
                };
                at = self.cabinet_cycle(&id, at, how) + self.dice.between(20, 120) * MINUTE;
                if fails && (wears || self.chance(rate::CABINET_AGAIN)) {
                    at = self.cabinet_cycle(&id, at, Run::Good) + self.dice.between(20, 120) * MINUTE;
                }
            }
        }
        if let Some(0) = self.day_of(Violation::ProbeDead, day) {
            let at = begin + 9 * HOUR;
            if let Some(probe) = self.probe("cabinet-1/temperature") {
                probe.dead.push((at, i64::MAX));
            }
            self.know(
                "a probe was dead for days",
                "cabinet-1",
                &["gateway-self/device-unevaluable"],
                at,
                5 * DAY + HOUR,
            );
        }
    }

    /// Twenty minutes up, 34 to 40 at 128 to 131 °C, an hour and a half down; the door is opened when it is cold. Answers with its end.
    fn cabinet_cycle(&mut self, id: &str, at: i64, how: Run) -> i64 {
        let (temperature, door) = (format!("{id}/temperature"), format!("{id}/door"));
        let peak = match how {
            Run::Good | Run::Short => self.dice.between(128_000, 131_000),
            Run::Cool => self.dice.between(95_000, 121_000),
        };
        let hold = match how {
            Run::Good | Run::Cool => self.dice.between(34, 40),
            Run::Short => self.dice.between(8, 25),
        } * MINUTE;
        let track = self.track(&temperature);
        if !track.free(at) {
            return at;
        }
        track.stay(at);
        track.to(at + 20 * MINUTE, peak);
        track.to(at + 20 * MINUTE + hold, peak);
        track.to(at + 50 * MINUTE + hold, 60_000);
        track.to(at + 110 * MINUTE + hold, ROOM);
        let opened = if how == Run::Short { at + 20 * MINUTE + hold } else { at + 100 * MINUTE + hold };
        let seconds = self.dice.between(40, 100);
        self.pulse(&door, opened, seconds);
        at + 110 * MINUTE + hold
    }

    fn sterilizers(&mut self, day: i64) {
        if !self.premises.works(day) {
            return;
        }
        let begin = day * DAY;
        let (opens, closes) = (begin + self.premises.opens * MINUTE, begin + self.premises.closes * MINUTE);
        let used = self.day_of(Violation::LoadUsed, day) == Some(0);
        for n in 1..=self.premises.machines {
            let id = format!("sterilizer-{n}");
            if self.premises.kind == Kind::Hospital {
                if !self.chance(rate::TEST_FORGOTTEN) {
                    let at = opens + self.dice.between(5, 50) * MINUTE;
                    self.duty(&id, at, "bowie-dick", true);
                }
                if day.rem_euclid(7) == 1 {
                    let grows = self.day_of(Violation::BiologicalGrows, day).is_some_and(|n| n < 7) && n == 1;
                    let at = opens + self.dice.between(60, 200) * MINUTE;
                    self.duty(&id, at, "biological", !grows);
                    if grows {
                        self.know(
                            "a biological indicator grew",
                            &id,
                            &["sterilizer/biological-failed"],
                            at,
                            HOUR,
                        );
                    }
                }
            }
            let mut at = opens + self.dice.between(50, 110) * MINUTE;
            // What failed in the evening is run first thing in the morning, where people know it.
            if std::mem::take(&mut self.overnight[n]) && self.chance(rate::STERILIZER_AGAIN) {
                at = opens + self.dice.between(5, 20) * MINUTE;
            }
            let mut last_failed = None;
            while at < closes - 70 * MINUTE {
                let planted = used && n == 1 && last_failed.is_none();
                let fails = planted || self.chance(rate::STERILIZER_FAILS);
                let how = match (fails, self.dice.percent(50)) {
                    (false, _) => Run::Good,
                    (true, true) => Run::Cool,
                    (true, false) => Run::Short,
                };
                let ended = self.sterilizer_cycle(&id, at, how);
                let again = self.dice.below(10_000);
                if planted || fails && again >= rate::STERILIZER_AGAIN + rate::STERILIZER_LATE {
                    last_failed = Some(ended);
                    break;
                }
                self.overnight[n] = fails;
                at = match fails {
                    true if again < rate::STERILIZER_AGAIN => ended + self.dice.between(5, 40) * MINUTE,
                    true => ended + self.dice.between(100, 180) * MINUTE,
                    false => ended + self.dice.between(40, 150) * MINUTE,
                };
            }
            if let Some(ended) =
                last_failed.filter(|_| self.premises.kind == Kind::Clinic && self.premises.feed)
            {
                let rules = &["sterilizer/cycle-failed"];
                if ended < closes - 4 * HOUR {
                    // Patients go on coming: 90 minutes later it is plain that nobody sterilizes it again.
                    self.know("a failed load was used", &id, rules, ended, 4 * HOUR);
                } else if self.premises.works(day + 1) {
                    // It was the day's last; the first patients of the next morning get its instruments.
                    let within = begin + DAY + self.premises.opens * MINUTE + 3 * HOUR - ended;
                    self.know(
                        "the day's last load failed and was used in the morning",
                        &id,
                        rules,
                        ended,
                        within,
                    );
                }
            }
        }
        if self.premises.kind == Kind::Clinic && self.premises.feed {
            let mut at = opens + self.dice.between(5, 30) * MINUTE;
            while at < closes - 20 * MINUTE {
                self.tell(at, "feed-1/visits", 1, Some(FactBody::Visits { count: 1 }));
                let packed = self.dice.between(1, 4);
                self.tell(
                    at + 600,
                    "feed-1/packed",
                    packed,
                    Some(FactBody::HandpiecesPacked { count: packed as u32 }),
                );
                at += self.dice.between(20, 60) * MINUTE;
            }
        }
    }

    fn duty(&mut self, id: &str, at: i64, duty: &str, passed: bool) {
        let body = FactBody::DutyDone { duty: duty.to_owned(), passed };
        self.tell(at, &format!("{id}/bowie_dick"), i64::from(passed), Some(body));
    }

    /// Twelve minutes up, the pressure behind it, six and a half at 135 °C, ten down; then the door.
    fn sterilizer_cycle(&mut self, id: &str, at: i64, how: Run) -> i64 {
        let peak = match how {
            Run::Good | Run::Short => self.dice.between(134_900, 135_800),
            Run::Cool => self.dice.between(118_000, 131_000),
        };
        let hold = match how {
            Run::Good | Run::Cool => 390,
            Run::Short => self.dice.between(60, 150),
        };
        let track = self.track(&format!("{id}/temperature"));
        if !track.free(at) {
            return at;
        }
        track.stay(at);
        track.to(at + 12 * MINUTE, peak);
        track.to(at + 12 * MINUTE + hold, peak);
        track.to(at + 22 * MINUTE + hold, 60_000);
        track.to(at + 40 * MINUTE + hold, ROOM);
        let steam = (peak - 100_000).max(0) * 6;
        let pressure = self.track(&format!("{id}/pressure"));
        pressure.to(at + 8 * MINUTE, 0);
        pressure.to(at + 12 * MINUTE, steam);
        pressure.to(at + 12 * MINUTE + hold, steam);
        pressure.to(at + 16 * MINUTE + hold, 0);
        self.pulse(&format!("{id}/door"), at + 26 * MINUTE + hold, 120);
        at + 26 * MINUTE + hold
    }

    fn lamps(&mut self, day: i64) {
        if !self.premises.works(day) {
            return;
        }
        for n in 1..=self.premises.lamps {
            let id = format!("lamp-{n}");
            let weak = n == 2 && self.day_of(Violation::LampWeak, day).is_some();
            if n == 2 && self.day_of(Violation::LampWeak, day) == Some(0) {
                let at = day * DAY + 12 * HOUR;
                self.know("a weak lamp was used every day", &id, &["uv-lamp/weak"], at, 3 * DAY);
            }
            let at = day * DAY + 12 * HOUR + self.dice.between(5, 25) * MINUTE;
            let lasts = self.dice.between(35, 50) * MINUTE;
            let strength = if weak { 45_000 } else { self.lamp(n - 1) };
            let track = self.track(&format!("{id}/irradiance"));
            track.to(at, 0);
            track.to(at + 30, strength * 7 / 10);
            track.to(at + 4 * MINUTE, strength);
            track.to(at + lasts, strength);
            track.to(at + lasts + 10, 0);
            if n % 3 != 1 {
                continue;
            }
            let exposed = n == 1 && self.day_of(Violation::PersonExposed, day).is_some_and(|n| n < 3);
            if exposed && self.day_of(Violation::PersonExposed, day) == Some(0) {
                let rules = &["uv-lamp/person-exposed"];
                self.know("people stayed under a lit lamp on three days", &id, rules, at, 2 * DAY + 2 * HOUR);
            }
            let seconds = if exposed { 240 } else { self.dice.between(5, 90) };
            let walks_in = exposed || self.chance(rate::WALKS_IN);
            let when = at + 6 * MINUTE + self.dice.between(0, 20) * MINUTE;
            if walks_in {
                self.pulse(&format!("{id}/person"), when, seconds);
            }
        }
    }

    /// A lamp on a working day: it ages by a twentieth in half a year of daily use; some break early, and are replaced within days.
    fn lamp(&mut self, n: usize) -> i64 {
        let breaks = self.chance(rate::LAMP_WEAK);
        let fresh = self.dice.between(100_000, 120_000);
        let drop = self.dice.between(58_000, 69_000);
        let (strength, weak) = &mut self.lamps[n];
        *strength -= *strength / 3_600;
        if *weak > 0 {
            *weak += 1;
        } else if breaks {
            (*strength, *weak) = (drop, 1);
        }
        if *weak > LAMP_REPLACED {
            (*strength, *weak) = (fresh, 0);
        }
        *strength
    }

    fn fridges(&mut self, day: i64) {
        let begin = day * DAY;
        for n in 1..=self.premises.fridges {
            let id = format!("fridge-{n}");
            let (temperature, door) = (format!("{id}/temperature"), format!("{id}/door"));
            let planted = n == 1 && self.day_of(Violation::FridgeFails, day) == Some(0);
            let fails = planted || self.chance(rate::FRIDGE_FAILS);
            let long = !fails && self.premises.works(day) && self.chance(rate::FRIDGE_LONG);
            let opens = begin + self.premises.opens * MINUTE + 30 * MINUTE;
            if fails {
                // Watched around the clock only where the gateway is.
                let span = if self.premises.breaker { 3 * HOUR } else { 18 * HOUR };
                let at = if self.premises.breaker { opens } else { begin } + self.dice.between(0, span);
                let track = self.track(&temperature);
                track.stay(at);
                track.to(at + 3 * HOUR, 16_000);
                track.to(at + 7 * HOUR, 16_000);
                track.to(at + 8 * HOUR, 4_500);
                if self.premises.works(day) || !self.premises.breaker {
                    let rules = &["cold-chain/far-too-warm", "cold-chain/too-warm"];
                    self.know("a fridge stopped cooling", &id, rules, at, 4 * HOUR);
                }
                continue;
            }
            if !self.premises.works(day) {
                continue;
            }
            let mut at = opens + self.dice.between(0, 90) * MINUTE;
            for opening in 0..self.dice.between(2, 6) {
                let stocking = long && opening == 1;
                let minutes = if stocking { self.dice.between(35, 55) } else { self.dice.between(5, 18) };
                let peak = if stocking {
                    self.dice.between(9_000, 11_500)
                } else {
                    self.dice.between(5_500, 10_500)
                };
                let ajar = self.chance(rate::AJAR);
                let open_s = if stocking {
                    15 * MINUTE
                } else if ajar {
                    self.dice.between(6, 20) * MINUTE
                } else {
                    self.dice.between(10, 120)
                };
                self.pulse(&door, at, open_s);
                let track = self.track(&temperature);
                track.stay(at);
                track.to(at + 4 * MINUTE, peak);
                track.to(at + minutes * MINUTE, peak.min(8_600));
                track.to(at + (minutes + 15) * MINUTE, 4_500);
                at += self.dice.between(60, 150) * MINUTE;
            }
        }
    }

    fn waste(&mut self, day: i64) {
        let begin = day * DAY;
        let left = self.day_of(Violation::WasteLeft, day).is_some_and(|n| n < 4);
        if self.premises.removal > 0 && day >= self.fetch && !self.bags.is_empty() {
            let absent = left || self.chance(rate::NOT_FETCHED);
            if absent {
                self.fetch = day + 1;
            } else if self.premises.works(day) || self.premises.kind == Kind::Hospital {
                self.fetch = day + self.premises.removal;
                let at = begin + 9 * HOUR + self.dice.between(0, 90) * MINUTE;
                self.hand_over(at, day);
            }
        }
        if !self.premises.works(day) {
            return;
        }
        if self.day_of(Violation::WasteLeft, day) == Some(0) {
            let rules = &["medical-waste/stored-too-long", "medical-waste/storage-ends-soon"];
            self.know("waste stayed for days", "waste-1", rules, begin + 8 * HOUR, 66 * HOUR);
        }
        let number = if self.premises.kind == Kind::Hospital {
            self.dice.between(12, 30)
        } else {
            self.dice.between(1, 5)
        };
        for n in 0..number {
            // Clinics close their bags in the evening, hospitals all day.
            let minute = if self.premises.kind == Kind::Hospital {
                610 + n * 12
            } else {
                self.premises.closes - 30 + n * 4
            };
            let twice = self.chance(rate::LABEL_TWICE);
            if !twice {
                self.labels += 1;
            }
            let label = format!("{}-{}", self.premises.n, self.labels);
            let grams = self.dice.between(800, 5_000);
            if !twice {
                self.bags.push((label.clone(), grams));
            }
            let body = FactBody::BagLabelled {
                label,
                category: "841-001-01".to_owned(),
                department: "d".to_owned(),
                grams,
            };
            self.tell(begin + minute * MINUTE, "waste-1/bag", grams / 10, Some(body));
        }
        // The last is carried away first where more than a day lies there: nothing rests on it.
        if self.premises.festival.is_some_and(|(from, _)| day == from - 1) {
            // Before it closes for days the house has everything fetched.
            self.hand_over(begin + (self.premises.closes - 5) * MINUTE, day);
        }
    }

    fn hand_over(&mut self, at: i64, day: i64) {
        let labels: Vec<String> = self.bags.iter().map(|(label, _)| label.clone()).collect();
        let labelled: i64 = self.bags.iter().map(|(_, grams)| *grams).sum();
        self.bags.clear();
        let lost = self.day_of(Violation::WeightLost, day).is_some_and(|n| n < 2) && labelled > 4_000;
        let grams = if lost || labelled > 4_000 && self.chance(rate::LOST) {
            labelled - self.dice.between(2_200, 3_500)
        } else if self.chance(rate::DIFFERS) {
            labelled - labelled * 4 / 100 - 700
        } else {
            labelled + self.dice.between(-60, 60)
        };
        if lost {
            self.know("kilograms of waste were lost", "waste-1", &["medical-waste/weight-lost"], at, HOUR);
        }
        let body = FactBody::HandOver { labels, grams, to: "collector".to_owned() };
        self.tell(at, "waste-1/handover", grams / 10, Some(body));
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
