//! What came of a run: counts, floods, truths, and the table per rule.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use super::desk::{Desk, Seen};
use super::edge::Lived;
use super::fleet::Premises;
use super::truth::{DAY, MINUTE, Truth};
use super::{County, FLOOD, Report, RuleCount};

const WINDOW_S: i64 = 10 * MINUTE;

pub(super) fn report(
    county: &County,
    premises: &[Premises],
    lived: &[Lived],
    desk: &Desk,
    dead: &dyn Fn(&Premises) -> Vec<(i64, i64)>,
) -> Report {
    let days = county.days as i64;
    let mut rules: BTreeMap<String, RuleCount> = BTreeMap::new();
    let (mut hash, mut alerts) = (Sha256::new(), Vec::new());
    for seen in &desk.alerts {
        let count = rules.entry(seen.rule.clone()).or_default();
        count.raised += 1;
        count.below += u64::from(seen.item.is_none());
        count.items += u64::from(seen.opened);
        count.joined += u64::from(seen.item.is_some() && !seen.opened);
        count.chatter += u64::from(seen.chatter > 0);
        count.open += u64::from(seen.cleared.is_none());
        let line = line(seen);
        hash.update(&line);
        alerts.push(line);
    }
    let mut daily = vec![0; county.days as usize];
    for (at, _) in &desk.items {
        if let Some(day) = daily.get_mut((at / DAY) as usize) {
            *day += 1;
        }
    }
    let mut windows = vec![0_usize; (days * DAY / WINDOW_S) as usize];
    for at in &desk.announced {
        if let Some(window) = windows.get_mut((at / WINDOW_S) as usize) {
            *window += 1;
        }
    }
    let night = |at: i64| !(510..1_050).contains(&(at.rem_euclid(DAY) / MINUTE));
    let mut truths: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    let mut missed = Vec::new();
    for (one, lived) in premises.iter().zip(lived) {
        let silent: Vec<(i64, i64)> = lived.off.iter().copied().chain(dead(one)).collect();
        for truth in &lived.truth {
            let by = due(truth, &silent);
            if by > days * DAY {
                continue;
            }
            let told = desk.alerts.iter().any(|seen| tells(seen, truth, by));
            let count = truths.entry(truth.what).or_default();
            count.0 += 1;
            count.1 += u64::from(told);
            if !told {
                missed.push(format!(
                    "{} at {} of site {} on day {} {}: nobody was told by day {} {}",
                    truth.what,
                    if truth.device.is_empty() { "the gateway" } else { &truth.device },
                    truth.site,
                    truth.at / DAY,
                    clock(truth.at),
                    by / DAY,
                    clock(by)
                ));
            }
        }
    }
    Report {
        rules,
        daily,
        hourly: desk.announced.len() as f64 / (county.days * 24) as f64,
        floods: (windows.iter().filter(|count| **count > FLOOD).count() as u64, windows.len() as u64),
        night_calls: desk.items.iter().filter(|(at, red)| *red && night(*at)).count() as u64,
        truths,
        missed,
        alerts,
        open: desk.open,
        work: lived
            .iter()
            .fold((0, 0, 0), |sum, one| (sum.0 + one.offered, sum.1 + one.kept, sum.2 + one.cycles)),
        hash: gateway_wire::hex(&hash.finalize()),
        site_days: county.sites * county.days,
    }
}

/// By when a supervisor must know: nobody can be told while the gateway is off or its line is dead.
fn due(truth: &Truth, silent: &[(i64, i64)]) -> i64 {
    let mut by = truth.by;
    if truth.device.is_empty() {
        return by;
    }
    for (from, to) in silent {
        if *to > truth.at && *from < by {
            by += to - (*from).max(truth.at);
        }
    }
    by
}

fn tells(seen: &Seen, truth: &Truth, by: i64) -> bool {
    seen.site == truth.site
        && seen.device == truth.device
        && truth.rules.contains(&seen.rule.as_str())
        && seen.cleared.is_none_or(|cleared| cleared >= truth.at)
        && seen.item.is_some_and(|item| item <= by)
}

fn line(seen: &Seen) -> String {
    let moment = |second: i64| format!("{}d {}", second / DAY, clock(second));
    let over = seen.cleared.map_or("open".to_owned(), moment);
    let item = match (seen.item, seen.opened) {
        (None, _) => "below".to_owned(),
        (Some(at), true) => format!("item {}", moment(at)),
        (Some(at), false) => format!("joined {}", moment(at)),
    };
    let Seen { site, device, rule, raised, priority, .. } = seen;
    format!("site {site} {device} {rule} {priority:?}: {} to {over}, {item}", moment(*raised))
}

fn clock(second: i64) -> String {
    let minute = second.rem_euclid(DAY) / MINUTE;
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

pub(super) fn print(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let days = report.daily.len().max(1) as f64;
    writeln!(
        f,
        "{:<42} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "rule", "raised", "below", "items", "joined", "chatter", "open"
    )?;
    let mut sum = RuleCount::default();
    for (rule, count) in &report.rules {
        row(f, rule, count)?;
        sum.raised += count.raised;
        sum.below += count.below;
        sum.items += count.items;
        sum.joined += count.joined;
        sum.chatter += count.chatter;
        sum.open += count.open;
    }
    row(f, "all", &sum)?;
    writeln!(f, "\nitems a day: {:?}", report.daily)?;
    writeln!(
        f,
        "mean {:.1} a day; {:.2} announcements an hour; {} of {} windows of 10 min with more than {FLOOD}; {} red at night ({:.1} a \
         week); {} cases open at the end",
        sum.items as f64 / days,
        report.hourly,
        report.floods.0,
        report.floods.1,
        report.night_calls,
        report.night_calls as f64 * 7.0 / days,
        report.open
    )?;
    for (what, (all, told)) in &report.truths {
        writeln!(f, "{what}: {told} of {all} reached a supervisor in time")?;
    }
    let (offered, kept, cycles) = report.work;
    write!(
        f,
        "{} site-days, {offered} answers, {kept} readings kept, {cycles} cycles; {}",
        report.site_days,
        &report.hash[..16]
    )
}

fn row(f: &mut fmt::Formatter<'_>, rule: &str, count: &RuleCount) -> fmt::Result {
    let RuleCount { raised, below, items, joined, chatter, open } = count;
    writeln!(f, "{rule:<42} {raised:>8} {below:>8} {items:>8} {joined:>8} {chatter:>8} {open:>8}")
}
