//! A hotel's day: guests, and cabinets that are run, forgotten, opened too early, or do not get hot.

use super::{House, ROOM, Run, rate};
use crate::county::truth::{DAY, HOUR, MINUTE, Violation};

impl House {
    pub(super) fn hotel(&mut self, day: i64) {
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
                self.worn += i64::from(wears);
                // The third day on which it ran: guests may be few, and a day without a load is none.
                if wears && self.worn == 3 {
                    self.know(
                        "a cabinet failed on three days",
                        &id,
                        &["disinfection-cabinet/cycle-failed"],
                        at,
                        3 * HOUR,
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
                // Until midnight of the fifth working day behind it; this house opens every day.
                5 * DAY + 16 * HOUR,
            );
        }
    }

    /// Twenty minutes up, 34 to 40 at 128 to 131 °C, an hour and a half down; the door is opened when it is cold. Answers with its end.
    pub(super) fn cabinet_cycle(&mut self, id: &str, at: i64, how: Run) -> i64 {
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
}
