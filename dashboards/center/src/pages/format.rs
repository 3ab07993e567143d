//! Moments, spans and numbers as people read them. The time zone is always said.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::{Timestamp, tz::Offset};

use super::texts::{Lang, fill};

/// Offset of civil time from UTC at the center.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone {
    minutes: i32,
}

/// End of the working day: a deadline of so many working days ends then.
const DAY_END: (i8, i8) = (17, 30);
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

impl Zone {
    /// UTC+8, all of China.
    pub(crate) const BEIJING: Self = Self { minutes: 480 };

    pub(crate) fn offset_ms(self) -> i64 {
        i64::from(self.minutes) * MINUTE
    }

    fn offset(self) -> Offset {
        Offset::from_seconds(self.minutes * 60).unwrap_or(Offset::UTC)
    }

    fn local(self, at: i64) -> DateTime {
        self.offset().to_datetime(Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// `14:32`.
    pub(crate) fn clock(self, at: i64) -> String {
        let local = self.local(at);
        format!("{:02}:{:02}", local.hour(), local.minute())
    }

    /// `14:32:07`.
    pub(crate) fn clock_seconds(self, at: i64) -> String {
        format!("{}:{:02}", self.clock(at), self.local(at).second())
    }

    /// `11月22日`, `22 Nov`.
    pub(crate) fn day(self, at: i64, lang: Lang) -> String {
        let local = self.local(at);
        match lang {
            Lang::Zh => format!("{}月{}日", local.month(), local.day()),
            Lang::En => format!("{} {}", local.day(), month(local)),
        }
    }

    /// `北京时间`, `Beijing time`, or `UTC+7`.
    pub(crate) fn name(self, lang: Lang) -> String {
        if self == Self::BEIJING {
            return lang.texts().beijing_time.clone();
        }
        let (sign, minutes) = if self.minutes < 0 { ('-', -self.minutes) } else { ('+', self.minutes) };
        match minutes % 60 {
            0 => format!("UTC{sign}{}", minutes / 60),
            rest => format!("UTC{sign}{}:{rest:02}", minutes / 60),
        }
    }

    /// `2026-11-25T17:30`, for a form field.
    pub(crate) fn field(self, at: i64) -> String {
        let local = self.local(at);
        format!("{}T{:02}:{:02}", local.date(), local.hour(), local.minute())
    }

    /// The moment a form field says; `None` when it is not one.
    pub(crate) fn parse_field(self, text: &str) -> Option<i64> {
        let local: DateTime = text.trim().parse().ok()?;
        Some(self.offset().to_timestamp(local).ok()?.as_millisecond())
    }

    /// End of the working day `days` working days after `at`. Saturdays and Sundays are skipped; public holidays are not
    /// known here, which the form says.
    pub(crate) fn working_days_after(self, at: i64, days: u32) -> i64 {
        let mut date: Date = self.local(at).date();
        let mut left = days;
        while left > 0 {
            date = date.tomorrow().unwrap_or(date);
            if !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday) {
                left -= 1;
            }
        }
        let end = date.at(DAY_END.0, DAY_END.1, 0, 0);
        self.offset().to_timestamp(end).map_or(at + i64::from(days) * DAY, Timestamp::as_millisecond)
    }
}

fn month(local: DateTime) -> &'static str {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES[usize::from(local.month().clamp(1, 12).unsigned_abs()) - 1]
}

/// `2026年11月22日 14:32（北京时间）`, `22 Nov 2026, 14:32 (Beijing time)`.
pub(crate) fn long_time(at: i64, zone: Zone, lang: Lang) -> String {
    let local = zone.local(at);
    let (clock, name) = (zone.clock(at), zone.name(lang));
    match lang {
        Lang::Zh => format!("{}年{}月{}日 {clock}（{name}）", local.year(), local.month(), local.day()),
        Lang::En => format!("{} {} {}, {clock} ({name})", local.day(), month(local), local.year()),
    }
}

/// `11月22日 14:32`, `22 Nov 14:32`: where the zone is said elsewhere on the page.
pub(crate) fn short_time(at: i64, zone: Zone, lang: Lang) -> String {
    format!("{} {}", zone.day(at, lang), zone.clock(at))
}

/// `11月25日17:30前（还剩2天3小时）`, `by 25 Nov 17:30 (2 d 3 h left)`.
pub(crate) fn deadline(at: i64, now: i64, zone: Zone, lang: Lang) -> String {
    let texts = lang.texts();
    fill(
        &texts.deadline_by,
        &[("day", &zone.day(at, lang)), ("clock", &zone.clock(at)), ("left", &remaining(at, now, lang))],
    )
}

/// `还剩2天3小时`, `已超期3小时`.
pub(crate) fn remaining(at: i64, now: i64, lang: Lang) -> String {
    let texts = lang.texts();
    let text = if at >= now { &texts.time_left } else { &texts.time_overdue };
    fill(text, &[("span", &duration_short((at - now).abs(), lang))])
}

/// `3分钟前`; under a minute `刚刚`.
pub(crate) fn ago(at: i64, now: i64, lang: Lang) -> String {
    let texts = lang.texts();
    if now - at < MINUTE {
        return texts.just_now.clone();
    }
    // Whole minutes: seconds of the past help nobody.
    fill(&texts.time_ago, &[("span", &duration_short((now - at) / MINUTE * MINUTE, lang))])
}

/// The two largest parts: `2天3小时`, `45分钟`, `30秒`; `2 d 3 h`, `45 min`, `30 s`.
pub(crate) fn duration_short(ms: i64, lang: Lang) -> String {
    let texts = lang.texts();
    let parts = [
        (ms / DAY, &texts.unit_day),
        (ms % DAY / HOUR, &texts.unit_hour),
        (ms % HOUR / MINUTE, &texts.unit_minute),
        (ms % MINUTE / 1000, &texts.unit_second),
    ];
    let first = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let join = match lang {
        Lang::Zh => "",
        Lang::En => " ",
    };
    parts[first..]
        .iter()
        .take(2)
        .enumerate()
        // Seconds beside minutes are noise beyond ten minutes.
        .filter(|(i, (n, _))| *i == 0 || (*n > 0 && (first + i < 3 || ms < 10 * MINUTE)))
        .map(|(_, (n, unit))| format!("{n}{join}{unit}"))
        .collect::<Vec<_>>()
        .join(join)
}

/// At most two decimals, none that say nothing: `8`, `8.5`, `8.25`.
pub(crate) fn decimal(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A number with its unit: `8.5 °C`, `3 kg`.
pub(crate) fn measure(value: f64, unit: &str) -> String {
    match unit {
        "" | "1" | "bool" => decimal(value),
        unit => format!("{} {unit}", decimal(value)),
    }
}

/// Up to one decimal of a percentage: `974` ‰ is `97.4 %`.
pub(crate) fn permille(value: u16) -> String {
    format!("{} %", decimal(f64::from(value) / 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T14:32:00+08:00, a Sunday.
    const AT: i64 = 1_795_329_120_000;

    #[test]
    fn dates_say_their_zone_in_both_languages() {
        assert_eq!(long_time(AT, Zone::BEIJING, Lang::Zh), "2026年11月22日 14:32（北京时间）");
        assert_eq!(long_time(AT, Zone::BEIJING, Lang::En), "22 Nov 2026, 14:32 (Beijing time)");
        assert_eq!(long_time(AT, Zone { minutes: 345 }, Lang::En), "22 Nov 2026, 12:17 (UTC+5:45)");
    }

    #[test]
    fn a_deadline_is_a_date_and_what_is_left() {
        let due = AT + 2 * DAY + 3 * HOUR;
        assert_eq!(deadline(due, AT, Zone::BEIJING, Lang::Zh), "11月24日17:32前（还剩2天3小时）");
        assert_eq!(deadline(due, AT, Zone::BEIJING, Lang::En), "by 24 Nov 17:32 (2 d 3 h left)");
        assert_eq!(remaining(AT - 3 * HOUR, AT, Lang::Zh), "已超期3小时");
    }

    #[test]
    fn working_days_skip_the_weekend_and_end_in_the_afternoon() {
        assert_eq!(Zone::BEIJING.field(Zone::BEIJING.working_days_after(AT, 1)), "2026-11-23T17:30");
        assert_eq!(Zone::BEIJING.field(Zone::BEIJING.working_days_after(AT, 6)), "2026-11-30T17:30");
    }

    #[test]
    fn a_form_field_comes_back_as_the_same_moment() {
        assert_eq!(Zone::BEIJING.parse_field(&Zone::BEIJING.field(AT)), Some(AT));
        assert_eq!(Zone::BEIJING.parse_field("tomorrow"), None);
    }

    #[test]
    fn spans_and_numbers_are_short() {
        for (ms, zh, en) in [
            (0, "0秒", "0 s"),
            (90_000, "1分钟30秒", "1 min 30 s"),
            (45 * MINUTE + 7_000, "45分钟", "45 min"),
            (DAY + 5 * MINUTE, "1天", "1 d"),
            (26 * HOUR, "1天2小时", "1 d 2 h"),
        ] {
            assert_eq!(duration_short(ms, Lang::Zh), zh);
            assert_eq!(duration_short(ms, Lang::En), en);
        }
        for (value, text) in [(8.0, "8"), (8.5, "8.5"), (8.256, "8.26"), (-0.001, "0"), (100.0, "100")] {
            assert_eq!(decimal(value), text);
        }
        assert_eq!(measure(8.5, "°C"), "8.5 °C");
    }
}
