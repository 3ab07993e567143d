//! `gateway backtest SITE`: what the rules of a site file would have said of the gateway's own journal, rule by rule; and how
//! that differs under other packs.
//!
//! 0 = done, whatever the rules say; 3 = some inputs of the time asked for are not there (evicted, damaged, or not understood
//! by this release); 78 = the site file or a pack is wrong. Nothing is written, and a running gateway is not disturbed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use gateway_evidence::{
    Backtest as Judging, Backtested, Differs, Judged, Key, Occurrence, Plot, Said, differences, local,
};
use gateway_journal::{Journal, Position};
use gateway_model::{EngineTime, Plan};
use gateway_rules::Millis;
use gateway_wire::{Joiner, KeyRing, Record};
use serde_json::{Value, json};

use super::progress::Progress;
use super::{CONFIG, Ended, GOOD, INCOMPLETE, data_dir, journal, load, rules, say, show};
use crate::config::{self, Site};

/// Differences of one rule at one device that are told to a person; a program gets all.
const TOLD_MAX: usize = 20;

/// What `gateway backtest` is asked.
#[derive(Args)]
pub(super) struct Backtest {
    /// The site file.
    site: PathBuf,
    /// How far back from the end of the journal: 30d, 12h.
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = Millis::parse)]
    since: Millis,
    /// Other packs, a file or a directory: each takes the place of the one of its name.
    #[arg(long, value_name = "PACKS")]
    rules: Option<PathBuf>,
    /// Another data directory than the site file's.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    shown: Shown,
}

/// How the answer is given.
#[derive(Args)]
pub(super) struct Shown {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    /// Draws this point with the alerts of its device into the file of --out (SVG).
    #[arg(long, value_name = "POINT", requires = "out")]
    plot: Option<String>,
    /// Where the picture goes.
    #[arg(long, value_name = "FILE", requires = "plot")]
    out: Option<PathBuf>,
}

/// Records to be judged, with all that is not there.
#[derive(Default)]
pub(super) struct Lacking {
    /// Places that cannot be read, or are not signed by the gateway.
    pub(super) damaged: u64,
    /// Records of a later release.
    pub(super) not_understood: u64,
    joiner: Joiner,
}

pub(super) fn backtest(asked: &Backtest) -> Ended {
    let site = match load(&asked.site) {
        Ok(site) => site,
        Err(status) => return Ok(status),
    };
    let mut plans = vec![gateway_model::Plan::clone(&site.plan)];
    if let Some(rules) = &asked.rules {
        let files = rules::packs(rules)?;
        anyhow::ensure!(
            !files.is_empty(),
            "there are no packs (*.toml) in {}: --rules names a pack or a directory of packs",
            rules.display()
        );
        match config::load_under(&asked.site, &files) {
            Ok(other) => plans.push(std::sync::Arc::unwrap_or_clone(other.plan)),
            Err(problems) => {
                show(&problems);
                return Ok(CONFIG);
            }
        }
    }
    let data = data_dir(&asked.site, asked.data.clone());
    let (key, journal) = at_hand(&site, &data)?;
    of_journal(&journal, &key, &plans, Some(asked.since), &asked.shown)
}

/// The gateway's keys and journal.
fn at_hand(site: &Site, data: &Path) -> anyhow::Result<(KeyRing, Journal)> {
    let hint = || format!("{}: --data names the data directory of the gateway", data.display());
    let key = journal::key(data).with_context(hint)?;
    let place = site.journal.dir.clone().unwrap_or_else(|| data.to_owned());
    let (journal, _) = journal::opened(&place).with_context(hint)?;
    Ok((key, journal))
}

/// What rules say of a journal: of its last `since`, or of all of it.
pub(super) fn of_journal(
    journal: &Journal,
    key: &KeyRing,
    plans: &[Plan],
    since: Option<Millis>,
    shown: &Shown,
) -> Ended {
    let (ring, keep) = journal.bytes();
    let mut progress = Progress::of(ring + keep);
    let mut lacking = Lacking::default();
    let records = journal.scan(Position::default()).filter_map(|stored| {
        let Ok(stored) = stored else {
            lacking.damaged += 1;
            return None;
        };
        progress.add(stored.bytes.len() as u64);
        lacking.open(key, &stored.bytes)
    });
    let window = window(journal, key, since)?;
    let judged = judge(records, plans, window, shown)?;
    drop(progress);
    tell(plans, &judged, &lacking, shown)
}

impl Lacking {
    /// The record, if it is one.
    pub(super) fn open(&mut self, key: &KeyRing, bytes: &[u8]) -> Option<Record> {
        let Ok(opened) = key.open(bytes) else {
            self.damaged += 1;
            return None;
        };
        let opened = self.joiner.opened(opened);
        let body = opened.body.inspect_err(|_| self.not_understood += 1).ok()?;
        Some(Record { header: opened.header, body })
    }

    fn any(&self) -> bool {
        self.damaged + self.not_understood > 0
    }
}

/// From when to when the journal is asked: engine time.
fn window(
    journal: &Journal,
    key: &KeyRing,
    since: Option<Millis>,
) -> anyhow::Result<(EngineTime, EngineTime)> {
    let read = |position: Position| -> anyhow::Result<Option<EngineTime>> {
        Ok(journal.read(position)?.and_then(|bytes| key.open(&bytes).ok()).map(|opened| opened.header.t1))
    };
    let last = journal.last().context("the journal is empty: there is nothing to judge")?;
    let end =
        read(last)?.with_context(|| format!("record {last}, the last of the journal, cannot be read"))?;
    let first = journal
        .scan(Position::default())
        .find_map(|stored| key.open(&stored.ok()?.bytes).ok().map(|opened| opened.header.t0));
    let first = first.unwrap_or(end);
    let from = since.map_or(first, |since| EngineTime(end.0.saturating_sub(since.0)).max(first));
    Ok((from, end))
}

/// A run and the picture asked for.
pub(super) struct Found {
    backtested: Backtested,
    picture: Option<String>,
}

/// Feeds records to engines.
pub(super) fn judge(
    records: impl Iterator<Item = Record>,
    plans: &[Plan],
    window: (EngineTime, EngineTime),
    shown: &Shown,
) -> anyhow::Result<Found> {
    let new = plans.last().context("no rules")?;
    let mut plot = match &shown.plot {
        None => None,
        Some(point) => Some(Plot::new(new, point, window).with_context(|| {
            let known: Vec<&str> = new.points.iter().map(|point| point.id.as_str()).collect();
            format!("--plot {point}: the site has no such point; points: {}", known.join(", "))
        })?),
    };
    let mut judging = Judging::new(plans.iter().cloned(), window.0);
    for record in records {
        if let Some(plot) = &mut plot {
            plot.take(&record.body);
        }
        judging.take(record);
    }
    let backtested = judging.finish();
    let judged = backtested.judged.last().context("no rules")?;
    let picture = plot.and_then(|plot| plot.draw(new, judged, &backtested));
    Ok(Found { backtested, picture })
}

/// Prints what was found, and writes the picture.
pub(super) fn tell(plans: &[Plan], found: &Found, lacking: &Lacking, shown: &Shown) -> Ended {
    let Found { backtested, picture } = found;
    let utc_offset_min = plans.first().map_or(0, |plan| plan.utc_offset_min);
    let teller = Teller { found: backtested, utc_offset_min };
    if shown.json {
        say(&teller.json(lacking))?;
    } else {
        teller.table()?;
        teller.differences()?;
    }
    if let (Some(path), Some(picture)) = (&shown.out, picture) {
        std::fs::write(path, picture).with_context(|| format!("write {}", path.display()))?;
    }
    if backtested.unknown > 0 {
        eprintln!(
            "{} readings are of points that the site file does not have (any more), or has in another kind of unit",
            backtested.unknown
        );
    }
    if backtested.restuck > 0 {
        eprintln!(
            "{} readings stood still for longer than `stuck` allows now: they count as stuck here, and did not then",
            backtested.restuck
        );
    }
    if backtested.numberless > 0 {
        eprintln!(
            "{} readings were recorded as stuck, and `stuck` would allow them now: the record has no number of them, so they stay bad here",
            backtested.numberless
        );
    }
    if backtested.holes > 0 {
        eprintln!(
            "at {} moments inputs are missing (evicted, damaged, or judged on a full disk); nothing is concluded from that silence",
            backtested.holes
        );
    }
    if lacking.any() {
        eprintln!(
            "{} places are damaged or not the gateway's, {} records are of a later release: `gateway journal fsck` says which",
            lacking.damaged, lacking.not_understood
        );
    }
    Ok(if backtested.holes == 0 && !lacking.any() { GOOD } else { INCOMPLETE })
}

/// How often, how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    raised: u64,
    returned: u64,
    stood_ms: i64,
    longest_ms: i64,
    standing: u64,
}

impl Sums {
    fn of(said: &Said, window: (EngineTime, EngineTime)) -> Self {
        let mut sums = Self { raised: said.more, ..Self::default() };
        for one in &said.occurrences {
            let (from, to) = (one.from.max(window.0), one.to.unwrap_or(window.1));
            sums.raised += u64::from(one.from >= window.0);
            sums.returned += u64::from(one.returned);
            sums.stood_ms += to.since(from).max(0);
            sums.longest_ms = sums.longest_ms.max(to.since(from));
            sums.standing += u64::from(one.to.is_none());
        }
        sums
    }

    fn json(self) -> Value {
        json!({"raised": self.raised, "returned": self.returned, "stood_ms": self.stood_ms,
            "longest_ms": self.longest_ms, "standing": self.standing})
    }
}

struct Teller<'f> {
    found: &'f Backtested,
    utc_offset_min: i16,
}

impl Teller<'_> {
    /// The sums of a rule under each set.
    fn sums(&self, key: &Key) -> Vec<Sums> {
        let sums = |judged: &Judged| {
            judged.get(key).map_or_else(Sums::default, |said| Sums::of(said, self.found.window))
        };
        self.found.judged.iter().map(sums).collect()
    }

    fn keys(&self) -> BTreeMap<&Key, &Said> {
        self.found.judged.iter().flatten().collect()
    }

    fn differing(&self) -> BTreeMap<Key, Vec<Differs>> {
        match self.found.judged.as_slice() {
            [old, new] => differences(old, new),
            _ => BTreeMap::new(),
        }
    }

    fn at(&self, at: EngineTime) -> String {
        let civil = self.found.dates.civil(at);
        civil.map_or_else(|| format!("{} ms of engine time", at.0), |civil| local(civil, self.utc_offset_min))
    }

    fn civil_ms(&self, at: EngineTime) -> Value {
        self.found.dates.civil(at).map_or(Value::Null, |civil| civil.0.into())
    }

    fn table(&self) -> anyhow::Result<()> {
        let (from, to) = self.found.window;
        say(&format_args!(
            "{} to {} ({}), {} readings",
            self.at(from),
            self.at(to),
            span(to.since(from)),
            self.found.readings
        ))?;
        let rows: Vec<(&Key, Vec<Sums>)> = self.keys().into_keys().map(|key| (key, self.sums(key))).collect();
        let quiet = rows.iter().filter(|(_, sums)| sums.iter().all(|sums| *sums == Sums::default())).count();
        let width = |column: fn(&Key) -> &str, least: usize| {
            rows.iter().map(|(key, _)| column(key).chars().count()).max().unwrap_or(0).max(least)
        };
        let (rule_width, device_width) = (width(|key| &key.0, 4), width(|key| &key.1, 6));
        if quiet < rows.len() {
            say(&format_args!(
                "{:rule_width$}  {:device_width$}  {:>13} {:>13} {:>19} {:>19} {:>9}",
                "rule", "device", "raised", "returned", "stood", "longest", "standing"
            ))?;
        }
        for ((rule, device), sums) in
            rows.iter().filter(|(_, sums)| sums.iter().any(|sums| *sums != Sums::default()))
        {
            let column = |pick: &dyn Fn(&Sums) -> String| {
                let each: Vec<String> = sums.iter().map(pick).collect();
                each.join(" > ")
            };
            say(&format_args!(
                "{rule:rule_width$}  {device:device_width$}  {:>13} {:>13} {:>19} {:>19} {:>9}",
                column(&|sums| sums.raised.to_string()),
                column(&|sums| sums.returned.to_string()),
                column(&|sums| span(sums.stood_ms)),
                column(&|sums| span(sums.longest_ms)),
                column(&|sums| sums.standing.to_string()),
            ))?;
        }
        say(&format_args!("{quiet} of {} rules said nothing", rows.len()))
    }

    fn differences(&self) -> anyhow::Result<()> {
        let [old, new] = self.found.judged.as_slice() else { return Ok(()) };
        for (key, said) in self.keys() {
            let word = match (old.contains_key(key), new.contains_key(key)) {
                (false, true) => "only in the new rules",
                (true, false) => "only in the present rules",
                _ => continue,
            };
            say(&format_args!("{} {} ({}): {word}", key.0, key.1, said.title.en))?;
        }
        let all = self.differing();
        if all.is_empty() {
            return say(
                &"no difference: both sets of rules raise and clear the same alerts at the same times",
            );
        }
        for ((rule, device), differs) in &all {
            say(&format_args!("{rule} {device} differs {}", times(differs.len())))?;
            for one in differs.iter().take(TOLD_MAX) {
                say(&match one {
                    Differs::OnlyFirst(one) => format!("  only present   {}", self.occurrence(one)),
                    Differs::OnlySecond(one) => format!("  only new       {}", self.occurrence(one)),
                    Differs::Moved(old, new) => {
                        format!("  other times    {}; new: {}", self.occurrence(old), self.occurrence(new))
                    }
                })?;
            }
            if differs.len() > TOLD_MAX {
                say(&format_args!("  and {} more (--json has all)", differs.len() - TOLD_MAX))?;
            }
        }
        Ok(())
    }

    fn occurrence(&self, one: &Occurrence) -> String {
        let lasted = one.to.map_or_else(|| "still standing".to_owned(), |to| span(to.since(one.from)));
        format!("{} ({lasted})", self.at(one.from))
    }

    fn json(&self, lacking: &Lacking) -> Value {
        let keys = self.keys();
        let occurrence = |one: &Occurrence| {
            json!({"from": self.civil_ms(one.from), "to": one.to.map(|to| self.civil_ms(to)),
                "returned": one.returned, "value": one.value})
        };
        let rules: Vec<Value> = keys
            .iter()
            .map(|(key, said)| {
                let sets: Vec<Value> = self.sums(key).into_iter().map(Sums::json).collect();
                let told: Vec<Vec<Value>> = self
                    .found
                    .judged
                    .iter()
                    .map(|judged| {
                        let own = judged.get(*key).map_or(&[][..], |said| &said.occurrences);
                        own.iter().map(occurrence).collect()
                    })
                    .collect();
                json!({"rule": key.0, "device": key.1, "title": {"zh": said.title.zh, "en": said.title.en},
                    "sums": sets, "occurrences": told})
            })
            .collect();
        let differences: Vec<Value> = self
            .differing()
            .iter()
            .flat_map(|((rule, device), differs)| {
                differs.iter().map(move |one| match one {
                    Differs::OnlyFirst(old) => json!({"rule": rule, "device": device, "old": occurrence(old)}),
                    Differs::OnlySecond(new) => json!({"rule": rule, "device": device, "new": occurrence(new)}),
                    Differs::Moved(old, new) => {
                        json!({"rule": rule, "device": device, "old": occurrence(old), "new": occurrence(new)})
                    }
                })
            })
            .collect();
        json!({
            "from": self.civil_ms(self.found.window.0), "to": self.civil_ms(self.found.window.1),
            "readings": self.found.readings, "stuck_now": self.found.restuck,
            "stuck_without_number": self.found.numberless, "unknown_readings": self.found.unknown, "holes": self.found.holes,
            "damaged": lacking.damaged, "not_understood": lacking.not_understood,
            "rules": rules, "differences": differences,
        })
    }
}

fn times(n: usize) -> String {
    if n == 1 { "once:".to_owned() } else { format!("{n} times:") }
}

/// `2 d 3 h`, `1 h 5 min`, `40 s`: two units are enough.
fn span(ms: i64) -> String {
    let seconds = ms / 1000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let (unit, word) = units[first];
    let head = format!("{} {word}", seconds / unit);
    match units.get(first + 1) {
        Some((next, word)) if seconds % unit / next > 0 => format!("{head} {} {word}", seconds % unit / next),
        _ => head,
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_short() {
        let shown = [0, 999, 40_000, 3_900_000, 86_400_000, 90_061_000].map(span);
        assert_eq!(shown, ["0 s", "0 s", "40 s", "1 h 5 min", "1 d", "1 d 1 h"]);
    }
}
