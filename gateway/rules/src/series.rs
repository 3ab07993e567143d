//! Tests that a pack carries, as data: input series in promtool's short notation, and what is expected when.
//!
//! `5x3` is 5 four times (a value and three more), `5+0.5x3` is 5 5.5 6 6.5, `5-1x2` is 5 4 3, `_` is a sample that did
//! not come, `_x3` three of them, `bad` an answer without a number, `stale` a mark that the last one is too old, `true` and `false` are 1 and 0. Samples are separated
//! by spaces. Running them needs the engine, which this crate must not know.

use std::ops::Range;

use gateway_model::{CalendarPlan, CivilTime, FactBody};

use crate::quantity::Millis;

/// One test of a pack.
#[derive(Debug, Clone, PartialEq)]
pub struct PackTest {
    /// A sentence.
    pub name: String,
    /// Time between samples.
    pub every: Millis,
    /// Parameters that differ from their defaults: (`too-warm.limit`, `8 °C`).
    pub parameters: Vec<(String, String)>,
    /// Program of the device's heat cycle, if it has one.
    pub program: Option<String>,
    /// Points that the device does not have.
    pub lacks: Vec<String>,
    /// Samples per point name.
    pub points: Vec<(String, Vec<Sample>)>,
    /// Facts, and when.
    pub facts: Vec<(Millis, FactBody)>,
    /// Local time (UTC+8) of the first sample; without it civil time is not known.
    pub start: Option<CivilTime>,
    /// When the institution is open; without it nobody has said.
    pub hours: Option<CalendarPlan>,
    /// What is expected.
    pub expect: Vec<Expectation>,
    /// Exactly these rules are raised then, and no other of the pack.
    pub exactly: Vec<(Millis, Vec<String>)>,
    /// Place in the pack.
    pub span: Range<usize>,
}

/// One sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// A number, in the unit the pack names for the point.
    Value(f64),
    /// Nothing came.
    Missing,
    /// An answer without a number.
    Bad,
    /// A mark that the last one has become too old.
    Stale,
}

/// What is expected at a moment, after everything due by then has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Since the first sample.
    pub at: Millis,
    /// Which rule.
    pub rule: String,
    /// How it stands.
    pub state: ExpectedState,
}

/// How a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedState {
    /// Not violated.
    Normal,
    /// Violated, on-delay running.
    Pending,
    /// Raised (or over, but within the off-delay).
    Raised,
    /// Cannot be judged.
    Unknown,
}

impl PackTest {
    /// Does it say anything about the rule?
    pub fn is_about(&self, rule: &str) -> bool {
        self.expect.iter().any(|expected| expected.rule == rule)
            || self.exactly.iter().any(|(_, raised)| raised.iter().any(|raised| raised == rule))
    }
}

impl ExpectedState {
    pub(crate) const ALL: [(&'static str, Self); 4] = [
        ("normal", Self::Normal),
        ("pending", Self::Pending),
        ("raised", Self::Raised),
        ("unknown", Self::Unknown),
    ];
}

/// Samples of one series, at most: a day at one a second.
const SAMPLES_MAX: usize = 86_400;

/// Reads a series. What is wrong comes back as a sentence.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample>, String> {
    let mut samples = Vec::new();
    for word in text.split_whitespace() {
        expand(word, &mut samples)?;
        if samples.len() > SAMPLES_MAX {
            return Err(format!("a series has at most {SAMPLES_MAX} samples"));
        }
    }
    Ok(samples)
}

fn expand(word: &str, samples: &mut Vec<Sample>) -> Result<(), String> {
    let wrong =
        || format!("`{word}` is not a sample; write 5, 5x3, 5+0.5x3, _, _x3, bad, stale, true or false");
    let (head, times) = match word.split_once('x') {
        Some((head, times)) => {
            (head, Some(times.parse::<usize>().map_err(|_| wrong())?.min(SAMPLES_MAX + 1)))
        }
        None => (word, None),
    };
    let fixed = match head {
        "_" => {
            samples.extend(std::iter::repeat_n(Sample::Missing, times.unwrap_or(1)));
            return Ok(());
        }
        "bad" => Some(Sample::Bad),
        "stale" => Some(Sample::Stale),
        "true" => Some(Sample::Value(1.0)),
        "false" => Some(Sample::Value(0.0)),
        _ => None,
    };
    let times = times.unwrap_or(0);
    if let Some(sample) = fixed {
        samples.extend(std::iter::repeat_n(sample, times + 1));
        return Ok(());
    }
    let sign = head.char_indices().skip(1).find(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at);
    let (start, step) = sign.map_or((head, "0"), |at| head.split_at(at));
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(wrong);
    let (start, step) = (number(start)?, number(step)?);
    samples.extend((0..=times).map(|n| Sample::Value(start + step * n as f64)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_notation_is_promtools() {
        let value = Sample::Value;
        assert_eq!(
            parse("5x2 _ bad"),
            Ok(vec![value(5.0), value(5.0), value(5.0), Sample::Missing, Sample::Bad])
        );
        assert_eq!(parse("1 stale"), Ok(vec![value(1.0), Sample::Stale]));
        assert_eq!(parse("5+0.5x2"), Ok(vec![value(5.0), value(5.5), value(6.0)]));
        assert_eq!(parse("-1-1x1 _x2"), Ok(vec![value(-1.0), value(-2.0), Sample::Missing, Sample::Missing]));
        assert_eq!(parse("true falsex1"), Ok(vec![value(1.0), value(0.0), value(0.0)]));
    }

    #[test]
    fn nonsense_and_endless_series_are_refused() {
        for text in ["five", "5x", "5xmany", "5x999999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
