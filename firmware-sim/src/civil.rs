//! Civil time, times of day and spans, as people write them in a scenario.

use serde::Deserialize;

/// Seconds of a day.
pub const DAY_S: i64 = 86_400;

/// A moment of civil time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Civil(pub i64);

impl Civil {
    /// The last local midnight at or before this moment.
    #[must_use]
    pub const fn midnight(self, utc_offset_min: i32) -> Self {
        let shift = utc_offset_min as i64 * 60_000;
        let day = (self.0 + shift).div_euclid(DAY_S * 1000);
        Self(day * DAY_S * 1000 - shift)
    }

    /// This moment and so many seconds.
    #[must_use]
    pub const fn plus_s(self, seconds: i64) -> Self {
        Self(self.0 + seconds * 1000)
    }

    /// Year, month, day at this offset from UTC.
    #[must_use]
    pub const fn date(self, utc_offset_min: i32) -> (i64, i64, i64) {
        // Days to civil date, after Howard Hinnant: the year starts in March, so the leap day is its last.
        let days = (self.0 + utc_offset_min as i64 * 60_000).div_euclid(DAY_S * 1000) + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        (year, month, day)
    }

    /// RFC 3339 text with the offset, whole seconds: `2026-11-22T09:30:00+08:00`.
    #[must_use]
    pub fn rfc3339(self, utc_offset_min: i32) -> String {
        let (year, month, day) = self.date(utc_offset_min);
        let second = (self.0 + i64::from(utc_offset_min) * 60_000).div_euclid(1000).rem_euclid(DAY_S);
        let sign = if utc_offset_min < 0 { '-' } else { '+' };
        let off = utc_offset_min.abs();
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60,
            off / 60,
            off % 60
        )
    }
}

/// A time of day, in seconds after local midnight; written `"09:40"` or `"09:40:30"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TimeOfDay(pub i64);

impl TryFrom<String> for TimeOfDay {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time of day: write \"09:40\" or \"09:40:30\"");
        let parts =
            text.split(':').map(str::parse::<i64>).collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
        let (h, m, s) = match parts[..] {
            [h, m] => (h, m, 0),
            [h, m, s] => (h, m, s),
            _ => return Err(wrong()),
        };
        let in_range = (0..24).contains(&h) && (0..60).contains(&m) && (0..60).contains(&s);
        if in_range { Ok(Self(h * 3600 + m * 60 + s)) } else { Err(wrong()) }
    }
}

/// A span of time in milliseconds; written `"20m"`, `"1h30m"`, `"45s"`, `"500ms"`, with a leading `-` for before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub i64);

impl Span {
    /// So many minutes.
    #[must_use]
    pub const fn minutes(n: i64) -> Self {
        Self(n * 60_000)
    }

    /// Whole seconds of this span.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0 / 1000
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no span of time: write \"20m\", \"1h30m\", \"45s\" or \"500ms\"");
        let (sign, mut rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let mut total: i64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let scale = match &rest[..letters] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => DAY_S * 1000,
                _ => return Err(wrong()),
            };
            total = number.checked_mul(scale).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
            rest = &rest[letters..];
        }
        if text.trim_start_matches('-').is_empty() { Err(wrong()) } else { Ok(Self(sign * total)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_what_people_write() {
        let moment = Civil(1_795_311_000_000);
        assert_eq!(moment.rfc3339(0), "2026-11-22T01:30:00+00:00");
        assert_eq!(moment.rfc3339(480), "2026-11-22T09:30:00+08:00");
        assert_eq!(moment.midnight(480).rfc3339(480), "2026-11-22T00:00:00+08:00");
        assert_eq!(Civil(1_709_164_800_000).date(0), (2024, 2, 29));
        assert_eq!("1h30m".parse::<Span>().unwrap().seconds(), 5400);
        assert_eq!("-20m".parse::<Span>().unwrap().seconds(), -1200);
        assert_eq!("1500ms".parse::<Span>().unwrap().0, 1500);
        for wrong in ["", "-", "5", "m", "5x", "5 m"] {
            assert!(wrong.parse::<Span>().is_err(), "{wrong:?} was taken");
        }
        assert_eq!(TimeOfDay::try_from("09:40".to_owned()).unwrap().0, 34_800);
        assert!(TimeOfDay::try_from("24:00".to_owned()).is_err());
    }
}
