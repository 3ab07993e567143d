//! What was expected against what was raised: the exact set, with times.

use std::fmt::Write as _;

use firmware_sim::civil::DAY_S;
use firmware_sim::scenario::expect::{CaseOf, Check, Expect, Within};

use super::gateway::Seen;

/// `Err`: every difference in a line, and what was raised as it would be written in a scenario.
pub fn compare(check: &Check, alerts: &[Seen]) -> Result<(), String> {
    let mut left: Vec<&Seen> = alerts.iter().collect();
    let mut said = String::new();
    for expect in &check.expects {
        let same = |seen: &&Seen| seen.device == expect.device && seen.rule == expect.rule;
        match left.iter().position(|seen| same(seen) && within(expect.raised, seen.raised)) {
            Some(slot) => details(expect, left.remove(slot), &mut said),
            None => line(&mut said, format_args!("missing       {}", wanted(expect))),
        }
    }
    for seen in left {
        let not_yet =
            check.not_yet.iter().any(|not_yet| not_yet.device == seen.device && not_yet.rule == seen.rule);
        let hint = if not_yet { "   <- no longer `not_yet`: make it an [[expect]]" } else { "" };
        line(&mut said, format_args!("not expected  {}{hint}", shown(seen)));
    }
    if said.is_empty() {
        return Ok(());
    }
    said.push_str("\nraised, as a scenario would say it (times to be widened by a person who knows why):\n");
    for seen in alerts {
        said.push_str(&written(seen));
    }
    Err(said)
}

fn details(expect: &Expect, seen: &Seen, said: &mut String) {
    match (expect.cleared, seen.cleared) {
        (None, None) => {}
        (Some(wanted), Some(over)) if within(wanted, over) => {}
        (Some(wanted), _) => {
            line(
                said,
                format_args!("not over in   {} … {}: {}", clock(wanted.from), clock(wanted.to), shown(seen)),
            );
        }
        (None, Some(_)) => line(said, format_args!("over, but active expected: {}", shown(seen))),
    }
    let heard = expect.heard.unwrap_or(expect.raised);
    if !within(heard, seen.heard) {
        let (from, to, at) = (clock(heard.from), clock(heard.to), clock(seen.heard));
        line(said, format_args!("heard of at {at}, not in {from} … {to}: {}", shown(seen)));
    }
    let joins = expect.case == CaseOf::Joins;
    if joins != seen.joined {
        let expected = if joins { "join an open case" } else { "open a case" };
        line(said, format_args!("should {expected}: {}", shown(seen)));
    }
}

fn within(span: Within, second: i64) -> bool {
    (span.from..=span.to).contains(&second)
}

fn line(said: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(said, "{text}").expect("a text can be written to");
}

fn wanted(expect: &Expect) -> String {
    let cleared = expect.cleared.map_or("active at the end".to_owned(), |over| {
        format!("over {} … {}", clock(over.from), clock(over.to))
    });
    let (from, to) = (clock(expect.raised.from), clock(expect.raised.to));
    format!("{} {} raised {from} … {to}, {cleared}", expect.device, expect.rule)
}

fn shown(seen: &Seen) -> String {
    let cleared = seen.cleared.map_or("active".to_owned(), |over| format!("over {}", clock(over)));
    let case = if seen.joined { "joined a case" } else { "opened a case" };
    format!("{} {} raised {}, {cleared}, {case}", seen.device, seen.rule, clock(seen.raised))
}

fn clock(second: i64) -> String {
    let (day, rest) = (second.div_euclid(DAY_S), second.rem_euclid(DAY_S));
    format!("day {day} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

fn written(seen: &Seen) -> String {
    let moment = |second: i64| {
        let (day, rest) = (second.div_euclid(DAY_S), second.rem_euclid(DAY_S));
        let minute = |add: i64| {
            let minutes = (rest / 60 + add).clamp(0, 24 * 60 - 1);
            format!("{:02}:{:02}", minutes / 60, minutes % 60)
        };
        format!("{{ day = {day}, from = \"{}\", to = \"{}\" }}", minute(0), minute(1))
    };
    let mut text = format!(
        "[[expect]]\ndevice = \"{}\"\nrule = \"{}\"\nraised = {}\n",
        seen.device,
        seen.rule,
        moment(seen.raised)
    );
    if let Some(over) = seen.cleared {
        writeln!(text, "cleared = {}", moment(over)).expect("a text can be written to");
    }
    if seen.joined {
        text.push_str("case = \"joins\"\n");
    }
    text.push('\n');
    text
}
