//! The county month: four hundred sites for thirty days, to see how much of what goes wrong reaches a supervisor, and that what must
//! reach one does.
//!
//! ```text
//! fleet ── house: people, cycles, lamps, fridges, waste ── edge: the real intake and engine with the real packs
//!   └── truth: what really is wrong, by when a person must know       │ changes of alerts
//!                                                       desk: the real casebook, silence, a duty officer
//! then: items a day, an hour, in ten minutes; every truth with its item; a table per rule
//! ```
//!
//! Two cuts of the mains in a township each, a mobile network that is dead for hours, a festival, weekends, 40 % of the gateways
//! switched off at night. The same seed gives the same month. Leaves out: buses, journals, the uplink and its receipts (`crate::system`
//! has them with fewer sites), devices behind sockets (`crate::sim`). Figures of how often things go wrong are assumptions (`users.md`
//! B): the test is of the defaults, not of a real county.

mod desk;
mod edge;
mod fleet;
mod house;
mod table;
mod track;
mod truth;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use desk::World;
use edge::Lived;
use fleet::{FESTIVAL, Premises};
use gateway_rules::{Pack, parse_pack};
use house::House;
use truth::{DAY, HOUR, MINUTE};

use crate::ground::Place;

/// The first moment: Monday, 2027-02-01T00:00:00+08:00; the festival's first day is the Saturday after it.
const BEGIN_MS: i64 = 1_801_411_200_000;
/// Township, day of the run, and when the mains are away.
const CUTS: [(u64, i64, i64); 2] = [
    (3, 2 * DAY + 12 * HOUR + 10 * MINUTE, 2 * DAY + 13 * HOUR + 10 * MINUTE),
    (7, 4 * DAY + 15 * HOUR, 4 * DAY + 17 * HOUR),
];
/// Mobile network, and when it is dead.
const DEAD: (u64, i64, i64) = (1, 3 * DAY + 10 * HOUR, 3 * DAY + 14 * HOUR);

/// New items a day, at most on the average of seven days running (capacity of a duty officer, users.md B) …
pub const ITEMS_A_DAY: u64 = 30;
/// … and on any single day: what is beyond the capacity waits for the next one.
pub const ITEMS_ON_A_DAY: u64 = 45;
/// Announcements an hour, at most on average (ISA-18.2).
pub const ANNOUNCED_AN_HOUR: f64 = 6.0;
/// Announcements in ten minutes: more is a flood …
pub const FLOOD: usize = 10;
/// … and fewer than this share of all windows may be one.
pub const FLOODS: f64 = 0.01;

/// What is changed to see that the check can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Control {
    /// Whoever is first has no time: every alert is an item at once.
    pub nobody_first: bool,
    /// Every alert is a case of its own.
    pub ungrouped: bool,
    /// A rule that is switched off everywhere.
    pub switched_off: Option<&'static str>,
}

/// What to simulate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct County {
    /// Chooses everything.
    pub seed: u64,
    /// Sites.
    pub sites: u64,
    /// Of virtual time.
    pub days: u64,
    /// Threads.
    pub jobs: usize,
    /// Files of rule packs in place of those in the program.
    pub packs: Vec<PathBuf>,
    /// For a test of the simulation itself.
    pub control: Control,
}

/// A rule's share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RuleCount {
    /// Alerts.
    pub raised: u64,
    /// Solved by whoever is first: never an item.
    pub below: u64,
    /// Items: cases opened.
    pub items: u64,
    /// Became an item of a case that was open already.
    pub joined: u64,
    /// Alerts that chattered.
    pub chatter: u64,
    /// Open at the end.
    pub open: u64,
}

/// What a run saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// By rule.
    pub rules: BTreeMap<String, RuleCount>,
    /// Items per day.
    pub daily: Vec<u64>,
    /// Announcements an hour, on average.
    pub hourly: f64,
    /// Ten-minute windows with more than [`FLOOD`] announcements, of all.
    pub floods: (u64, u64),
    /// Red items at night (17:30–08:30): calls to the stand-by.
    pub night_calls: u64,
    /// What had to reach a supervisor: kinds, how many, and how many did in time.
    pub truths: BTreeMap<&'static str, (u64, u64)>,
    /// Those that did not, in words.
    pub missed: Vec<String>,
    /// Every alert, a line each.
    pub alerts: Vec<String>,
    /// Cases open at the end.
    pub open: usize,
    /// Answers, readings kept, cycles.
    pub work: (u64, u64, u64),
    /// Of each alert at each site: equal for equal seeds.
    pub hash: String,
    site_days: u64,
}

impl County {
    /// Lives through it.
    pub fn go(&self) -> anyhow::Result<Report> {
        let premises: Vec<Premises> = (0..self.sites).map(|n| Premises::new(self.seed, n)).collect();
        let planted = truth::plant(self.seed, &premises, self.days as i64);
        let packs: Vec<Pack> = gateway_rules::embedded_packs()
            .iter()
            .map(|source| parse_pack(source).expect("an embedded pack"))
            .collect();
        let place = Place::new("county");
        let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while let Some(one) = premises.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let lived = self.live(one, planted.get(&one.n).copied(), &packs, place.path());
                        done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(one.n, lived);
                    }
                });
            }
        });
        let done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let lived: Vec<Lived> = done.into_values().collect::<anyhow::Result<_>>()?;
        let dead = |one: &Premises| if one.carrier == DEAD.0 { vec![(DEAD.1, DEAD.2)] } else { Vec::new() };
        let world = World {
            begin_ms: BEGIN_MS,
            days: self.days as i64,
            dead: &dead,
            works: &office_day,
            grouped: !self.control.ungrouped,
        };
        let desk = desk::sit(&premises, &lived, &world);
        Ok(table::report(self, &premises, &lived, &desk, &dead))
    }

    fn live(
        &self,
        one: &Premises,
        planted: Option<(i64, truth::Violation)>,
        packs: &[Pack],
        folder: &Path,
    ) -> anyhow::Result<Lived> {
        let site = one.site(&self.settings(one, packs), date, &self.packs, folder)?;
        let house = House::new(self.seed, one.clone(), &site, planted);
        let cuts: Vec<(i64, i64)> = CUTS
            .iter()
            .filter(|(township, ..)| *township == one.township)
            .map(|(_, from, to)| (*from, *to))
            .collect();
        Ok(edge::live(house, site, self.days as i64, &cuts, BEGIN_MS))
    }

    /// Settings for the site file of a house, by its packs.
    fn settings(&self, one: &Premises, packs: &[Pack]) -> String {
        let mut text = String::new();
        let in_use = |name: &str| one.packs().contains(&name);
        if self.control.nobody_first {
            for pack in packs.iter().filter(|pack| in_use(&pack.name)) {
                let own = pack.rules.iter().filter(|rule| rule.self_fix.is_some());
                text.extend(own.map(|rule| format!("\"{}/{}.self_fix\" = \"0s\"\n", pack.name, rule.name)));
            }
        }
        let off = self.control.switched_off.filter(|rule| in_use(rule.split('/').next().unwrap_or_default()));
        text.extend(off.map(|rule| format!("\"{rule}.off\" = \"yes\"\n")));
        text
    }
}

/// The local date of a day of the run.
fn date(day: i64) -> String {
    let first = jiff::civil::date(2027, 2, 1);
    let days = jiff::Span::new().days(day);
    first.checked_add(days).expect("a date of this century").to_string()
}

/// The center's people work: Monday to Friday, not in the festival week.
fn office_day(day: i64) -> bool {
    day.rem_euclid(7) < 5 && !(FESTIVAL..FESTIVAL + 7).contains(&day)
}

impl Report {
    /// What does not hold, in words; empty: all of it does.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.missed.clone();
        for (day, items) in self.daily.iter().enumerate().filter(|(_, items)| **items > ITEMS_ON_A_DAY) {
            faults
                .push(format!("day {day}: {items} new items, and {ITEMS_ON_A_DAY} are what two days can do"));
        }
        let span = self.daily.len().clamp(1, 7);
        for (day, week) in self.daily.windows(span).enumerate() {
            let items: u64 = week.iter().sum();
            if items > ITEMS_A_DAY * span as u64 {
                faults.push(format!(
                    "days {day} to {}: {items} new items, and {ITEMS_A_DAY} a day are what people can do",
                    day + span - 1
                ));
            }
        }
        if self.hourly > ANNOUNCED_AN_HOUR {
            faults.push(format!("{:.2} announcements an hour, at most {ANNOUNCED_AN_HOUR}", self.hourly));
        }
        let (floods, windows) = self.floods;
        if floods as f64 >= windows as f64 * FLOODS {
            faults.push(format!(
                "{floods} of {windows} windows of ten minutes with more than {FLOOD} announcements"
            ));
        }
        faults
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::print(self, f)
    }
}
