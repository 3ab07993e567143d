//! `[hours]` of a site file: when the institution is open, and when everything may be switched off.
//!
//! ```toml
//! [hours]
//! open = ["mon-fri 08:30-12:00 13:30-17:30", "sat 09:00-12:00"]
//! off = ["mon-sun 21:00-07:00"]              # the breaker may be off; over midnight is one span
//! holidays = ["2026-10-01..2026-10-07"]      # closed all day
//! workdays = ["2026-10-10 like thu"]         # make-up days
//! known_until = "2026-12-31"                 # the last day of which the above is true
//! ```
//! Times are local, by the site's offset from UTC.

use gateway_model::{CalendarPlan, CivilTime, SpecialDays};

use crate::document::{At, Table};

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MIN: u16 = 1440;
const WEEK_MIN: u16 = 7 * DAY_MIN;
const DAY_MS: i64 = 86_400_000;
/// Lines of each list, at most.
const LINES_MAX: usize = 400;

/// Reads the table; every problem is said.
pub fn read_hours(table: Table<'_>, utc_offset_min: i16) -> CalendarPlan {
    let open = list(&table, "open", week);
    let off = list(&table, "off", week);
    let holidays = list(&table, "holidays", |line| days(line).map(|(first, last)| vec![(first, last, None)]));
    let workdays = list(&table, "workdays", |line| workday(line).map(|day| vec![day]));
    let known_until = table.get::<String>("known_until").and_then(|text| {
        let last = day(&text.value);
        if last.is_none() {
            table.file().error(text.span, "a day is written 2026-12-31", None);
        }
        last
    });
    table.finish();
    let offset_ms = i64::from(utc_offset_min) * 60_000;
    // A make-up day inside a holiday is worked: the first that fits counts.
    let special = workdays.into_iter().chain(holidays);
    CalendarPlan {
        offsets: vec![(CivilTime(0), utc_offset_min)],
        open: merged(open),
        off: merged(off),
        days: special.map(|(first, last, like)| SpecialDays { first, last, like }).collect(),
        closures: Vec::new(),
        known_until: known_until.map(|day| CivilTime((i64::from(day) + 1) * DAY_MS - offset_ms)),
    }
}

fn list<T>(table: &Table<'_>, key: &'static str, read: impl Fn(&str) -> Result<Vec<T>, String>) -> Vec<T> {
    let lines = table.get::<Vec<At<String>>>(key).map_or_else(Vec::new, |lines| lines.value);
    if lines.len() > LINES_MAX {
        table.file().error(table.key_span(key), format!("at most {LINES_MAX} lines"), None);
        return Vec::new();
    }
    let mut all = Vec::new();
    for line in lines {
        match read(&line.value) {
            Ok(entries) => all.extend(entries),
            Err(message) => table.file().error(line.span, message, None),
        }
    }
    all
}

/// `mon-fri 08:30-12:00 13:30-17:30` as minutes of the week.
fn week(line: &str) -> Result<Vec<(u16, u16)>, String> {
    let mut words = line.split_whitespace();
    let named = words.next().unwrap_or_default();
    let (first, last) = named.split_once('-').unwrap_or((named, named));
    let (Some(first), Some(last)) = (weekday(first), weekday(last)) else {
        return Err(format!("`{named}` is not a day or a span of days such as mon-fri"));
    };
    let times: Vec<(u16, u16)> = words.map(span).collect::<Result<_, _>>()?;
    if times.is_empty() || last < first {
        return Err("write it as \"mon-fri 08:30-12:00\"".to_owned());
    }
    let mut spans = Vec::new();
    for day in first..=last {
        for &(from, to) in &times {
            let start = u16::from(day) * DAY_MIN;
            if from < to {
                spans.push((start + from, start + to));
            } else {
                // Over midnight; Sunday night goes on on Monday morning.
                spans.push((start + from, start + DAY_MIN));
                let next = (start + DAY_MIN) % WEEK_MIN;
                spans.push((next, next + to));
            }
        }
    }
    Ok(spans.into_iter().filter(|(from, to)| from < to).collect())
}

fn weekday(name: &str) -> Option<u8> {
    DAYS.iter().zip(0..).find(|(day, _)| **day == name).map(|(_, n)| n)
}

fn span(word: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("`{word}` is not a span of time such as 08:30-12:00");
    let (from, to) = word.split_once('-').ok_or_else(wrong)?;
    Ok((minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?))
}

pub(crate) fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (minute < 60 && hour * 60 + minute <= DAY_MIN).then_some(hour * 60 + minute)
}

/// In order and without overlaps.
fn merged(mut spans: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    spans.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (from, to) in spans {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// `2026-10-01..2026-10-07`, or one day.
fn days(line: &str) -> Result<(i32, i32), String> {
    let (first, last) = line.split_once("..").unwrap_or((line, line));
    match (day(first), day(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("`{line}` is not a day or a span such as 2026-10-01..2026-10-07")),
    }
}

/// `2026-10-10 like thu`.
fn workday(line: &str) -> Result<(i32, i32, Option<u8>), String> {
    let wrong = || format!("`{line}` is not a day that works like another: 2026-10-10 like thu");
    let (own, like) = line.split_once(" like ").ok_or_else(wrong)?;
    let (own, like) = (day(own).ok_or_else(wrong)?, weekday(like.trim()).ok_or_else(wrong)?);
    Ok((own, own, Some(like)))
}

/// Days since 1970-01-01 of `2026-10-01`, if there is such a day between 1970 and 2199.
pub fn day(text: &str) -> Option<i32> {
    let mut parts = text.trim().splitn(3, '-').map(|part| part.parse::<i32>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    if !(1970..2200).contains(&year) || !(1..=12).contains(&month) || !(1..=length).contains(&day) {
        return None;
    }
    // Years that begin in March have their odd day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    Some(year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::File;
    use crate::problem::Source;

    fn read(text: &str) -> (CalendarPlan, Vec<String>) {
        let source = Source { name: "t".into(), text: text.into() };
        let file = File::new(&source);
        let plan = file.root().map(|root| read_hours(root, 480)).unwrap_or_default();
        (plan, file.into_problems().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn hours_are_read_as_people_write_them() {
        let (plan, problems) = read(
            "open = [\"mon-tue 08:30-12:00 13:30-17:30\", \"sun 09:00-10:00\"]\n\
             off = [\"sun 21:00-07:00\", \"mon 06:00-08:00\"]\n\
             holidays = [\"2026-10-01..2026-10-07\"]\n\
             workdays = [\"2026-10-10 like thu\"]\n\
             known_until = \"2026-12-31\"\n",
        );
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(plan.open, [(510, 720), (810, 1050), (1950, 2160), (2250, 2490), (9180, 9240)]);
        assert_eq!(plan.off, [(0, 480), (9900, 10080)]);
        assert_eq!(plan.days[0], SpecialDays { first: 20_736, last: 20_736, like: Some(3) });
        assert_eq!(plan.days[1], SpecialDays { first: 20_727, last: 20_733, like: None });
        assert_eq!(plan.known_until, Some(CivilTime((20_819 * 24 - 8) * 3_600_000)));
    }

    #[test]
    fn what_is_no_time_and_no_day_is_said_at_its_place() {
        let (_, problems) = read(
            "open = [\"mo 08:00-09:00\", \"mon 8-9\", \"fri-mon 08:00-09:00\", \"mon 08:00-25:00\"]\n\
             holidays = [\"2026-02-29\", \"2026-10-07..2026-10-01\"]\n\
             workdays = [\"2026-10-10\"]\n\
             close = 1\n",
        );
        assert_eq!(problems.len(), 8, "{problems:?}");
        assert_eq!(problems[0], "t:1:9: `mo` is not a day or a span of days such as mon-fri");
    }

    #[test]
    fn days_are_counted_right() {
        for (text, number) in
            [("1970-01-01", 0), ("2000-02-29", 11_016), ("2026-11-23", 20_780), ("2100-03-01", 47_541)]
        {
            assert_eq!(day(text), Some(number), "{text}");
        }
    }
}
