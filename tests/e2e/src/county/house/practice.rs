//! A dental clinic's or a small hospital's day: sterilizers and patients, lamps, fridges.

use gateway_model::FactBody;

use super::{House, LAMP_REPLACED, ROOM, Run, rate};
use crate::county::fleet::Kind;
use crate::county::truth::{DAY, HOUR, MINUTE, Violation};

impl House {
    pub(super) fn sterilizers(&mut self, day: i64) {
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
                // Weekly, on a day of its own; and on the day on which it is to grow.
                let grows = self.day_of(Violation::BiologicalGrows, day) == Some(0) && n == 1;
                if grows || (day + self.premises.n as i64).rem_euclid(7) == 1 {
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
                // Where its line was away, nobody knows what became of it; that is said instead.
                let rules = &["sterilizer/cycle-failed", "sterilizer/cycle-unmeasured"];
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

    pub(super) fn duty(&mut self, id: &str, at: i64, duty: &str, passed: bool) {
        let body = FactBody::DutyDone { duty: duty.to_owned(), passed };
        self.tell(at, &format!("{id}/bowie_dick"), i64::from(passed), Some(body));
    }

    /// Twelve minutes up, the pressure behind it, six and a half at 135 °C, ten down; then the door.
    pub(super) fn sterilizer_cycle(&mut self, id: &str, at: i64, how: Run) -> i64 {
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

    pub(super) fn lamps(&mut self, day: i64) {
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
    pub(super) fn lamp(&mut self, n: usize) -> i64 {
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

    pub(super) fn fridges(&mut self, day: i64) {
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
}
