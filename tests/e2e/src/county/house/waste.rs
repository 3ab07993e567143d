//! Medical waste: bags, and the collector who comes or does not.

use gateway_model::FactBody;

use super::{House, rate};
use crate::county::fleet::Kind;
use crate::county::truth::{DAY, HOUR, MINUTE, Violation};

impl House {
    pub(super) fn waste(&mut self, day: i64) {
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

    pub(super) fn hand_over(&mut self, at: i64, day: i64) {
        let labels: Vec<String> = self.bags.iter().map(|(label, _)| label.clone()).collect();
        let labelled: i64 = self.bags.iter().map(|(_, grams)| *grams).sum();
        self.bags.clear();
        let lost = self.day_of(Violation::WeightLost, day).is_some_and(|n| n < 2) && labelled > 4_000;
        let grams = if lost || labelled > 4_000 && self.chance(rate::LOST) {
            // Beyond what scales may differ by (3 %: domain A.6, mark P): less is not seen in the sum of a heavy load, by nobody.
            labelled - labelled * 3 / 100 - self.dice.between(2_200, 3_500)
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
}
