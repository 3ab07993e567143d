//! Numbers with units as people write them: `8 °C`, `30 min`, `1h 30min`.

use std::fmt;

use gateway_model::{Dimension, Unit, WindowEnd};

/// A number with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity {
    /// How many.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
}

/// A duration in milliseconds, never negative, below 100 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i64);

/// How long whoever is first has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelfFix {
    /// So long.
    Within(Millis),
    /// Until a day of the institution ends.
    Until(WindowEnd),
}

/// Working days, at most: a year of them.
const DAYS_MAX: u16 = 250;
/// A working day where a site has no opening hours, and nobody can say what day it is: a day.
const DAY: Millis = Millis(86_400_000);
/// The end of the day where a site has no opening hours: half a day.
const REST_OF_DAY: Millis = Millis(43_200_000);

impl SelfFix {
    /// Reads `2 h`, `5 working days`, `end of day`. What is wrong comes back as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "end of day" {
            return Ok(Self::Until(WindowEnd::Day));
        }
        let days = text.strip_suffix("working days").or_else(|| text.strip_suffix("working day"));
        match days.map(|days| days.trim().parse()) {
            None => Millis::parse(text).map(Self::Within),
            Some(Ok(days @ 1..=DAYS_MAX)) => Ok(Self::Until(WindowEnd::WorkingDays(days))),
            Some(_) => Err(format!("`{text}` is not 1 to {DAYS_MAX} working days")),
        }
    }

    /// What counts where a site has no opening hours, or its clock is not known.
    pub fn without_calendar(self) -> Millis {
        match self {
            Self::Within(time) => time,
            Self::Until(WindowEnd::Day) => REST_OF_DAY,
            Self::Until(WindowEnd::WorkingDays(days)) => Millis(DAY.0 * i64::from(days)),
        }
    }

    /// The day it ends with.
    pub fn ends(self) -> Option<WindowEnd> {
        match self {
            Self::Within(_) => None,
            Self::Until(ends) => Some(ends),
        }
    }
}

impl fmt::Display for SelfFix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(time) => time.fmt(f),
            Self::Until(WindowEnd::Day) => f.write_str("end of day"),
            Self::Until(WindowEnd::WorkingDays(1)) => f.write_str("1 working day"),
            Self::Until(WindowEnd::WorkingDays(days)) => write!(f, "{days} working days"),
        }
    }
}

/// 100 years: what is longer is a slip.
const DURATION_MAX_MS: f64 = 100.0 * 366.0 * 86_400_000.0;

/// `value` of `from` in `to`; `None` if they do not measure the same.
pub fn convert(value: f64, from: Unit, to: Unit) -> Option<f64> {
    if from.dimension() != to.dimension() {
        return None;
    }
    Some(if from == to { value } else { value * from.factor() / to.factor() })
}

impl Quantity {
    /// Reads `8 °C`, `-0.5 kg`, `30min`, `90 %`, `3` (a plain number). What is wrong comes back as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, symbol) = split_number(text);
        let value: f64 = number.parse().map_err(|_| format!("`{text}` does not begin with a number"))?;
        if !value.is_finite() {
            return Err(format!("`{number}` is not a usable number"));
        }
        let symbol = symbol.trim();
        if symbol == "d" {
            return Ok(Self { value: value * 24.0, unit: Unit::Hour });
        }
        match parse_unit(symbol) {
            Some(unit) => Ok(Self { value, unit }),
            None => Err(format!("`{symbol}` is not a unit that is known here")),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unit == Unit::One {
            write!(f, "{}", self.value)
        } else {
            write!(f, "{} {}", self.value, self.unit.symbol())
        }
    }
}

/// The unit with this symbol. The two code points that look like µ are the same; no symbol is a plain number.
pub(crate) fn parse_unit(symbol: &str) -> Option<Unit> {
    if symbol.is_empty() {
        return Some(Unit::One);
    }
    Unit::parse(&symbol.replace('\u{3bc}', "\u{b5}"))
}

/// All symbols, for hints.
pub(crate) fn unit_symbols() -> String {
    Unit::ALL.iter().map(|unit| unit.symbol()).collect::<Vec<_>>().join(" ")
}

impl Millis {
    /// Reads `30 min`, `10s`, `2h`, `5 d`, `1h 30min`. What is wrong comes back as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err("a duration is empty".into());
        }
        let mut sum = 0.0;
        while !rest.is_empty() {
            let (number, tail) = split_number(rest);
            let tail = tail.trim_start();
            let end = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
            let quantity = Quantity::parse(&format!("{number} {}", &tail[..end]))?;
            if quantity.unit.dimension() != Dimension::Duration {
                return Err(format!("`{text}` is not a duration"));
            }
            if quantity.value < 0.0 {
                return Err(format!("`{text}` is negative"));
            }
            sum += quantity.value * quantity.unit.factor();
            rest = tail[end..].trim_start();
        }
        if sum > DURATION_MAX_MS {
            return Err(format!("`{text}` is longer than 100 years"));
        }
        Ok(Self(sum.round() as i64))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, symbol) = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")]
            .into_iter()
            .find(|(step, _)| self.0 != 0 && self.0 % step == 0)
            .unwrap_or((1, "ms"));
        write!(f, "{} {symbol}", self.0 / step)
    }
}

/// The longest start of `text` that looks like a number, and what follows it.
fn split_number(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let sign_allowed = end == 0;
        match bytes[end] {
            b'0'..=b'9' | b'.' => end += 1,
            b'+' | b'-' if sign_allowed => end += 1,
            _ => break,
        }
    }
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_written() {
        let cases = [
            ("30 min", 1_800_000),
            ("10s", 10_000),
            ("2h", 7_200_000),
            ("1h 30min", 5_400_000),
            ("500ms", 500),
            ("5 d", 432_000_000),
            ("0s", 0),
        ];
        for (text, ms) in cases {
            assert_eq!(Millis::parse(text), Ok(Millis(ms)), "{text}");
        }
        for text in ["", "5", "min", "-1 s", "8 °C", "3 fortnights", "1e9 h", "99999999 d"] {
            assert!(Millis::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_to_put_right_is_a_duration_or_ends_with_a_day() {
        let days = |n| SelfFix::Until(WindowEnd::WorkingDays(n));
        for (text, fix, ms) in [
            ("2 h", SelfFix::Within(Millis(7_200_000)), 7_200_000),
            ("end of day", SelfFix::Until(WindowEnd::Day), 43_200_000),
            ("1 working day", days(1), 86_400_000),
            ("5 working days", days(5), 432_000_000),
        ] {
            assert_eq!(SelfFix::parse(text), Ok(fix));
            assert_eq!((fix.to_string(), fix.without_calendar()), (text.to_owned(), Millis(ms)));
        }
        for text in ["0 working days", "251 working days", "two working days", "working days", "end of week"]
        {
            assert!(SelfFix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_print_as_they_are_read() {
        for text in ["30 min", "10 s", "2 h", "500 ms", "5 d", "90 s"] {
            assert_eq!(Millis::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn both_signs_that_look_like_mu_are_micro() {
        for text in ["70 \u{b5}W/cm²", "70 \u{3bc}W/cm²"] {
            assert_eq!(Quantity::parse(text), Ok(Quantity { value: 70.0, unit: Unit::MicrowattPerCm2 }));
        }
        assert_eq!(Quantity::parse("-0.5°C"), Ok(Quantity { value: -0.5, unit: Unit::Celsius }));
        assert!(Quantity::parse("8 C").is_err());
        assert!(Quantity::parse("hot").is_err());
    }

    #[test]
    fn conversion_stays_within_a_dimension() {
        assert_eq!(convert(500.0, Unit::Gram, Unit::Kilogram), Some(0.5));
        assert_eq!(convert(0.7, Unit::WattPerM2, Unit::MicrowattPerCm2), Some(70.0));
        assert_eq!(convert(1.0, Unit::Celsius, Unit::Kilopascal), None);
    }
}
