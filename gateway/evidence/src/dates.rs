//! Engine time of a civil time, by what a gateway said of its clock.

use gateway_model::{CivilTime, EngineTime};

/// What was said, in the order in which it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dates(Vec<(EngineTime, i64)>);

impl Dates {
    /// From this engine time on civil time is so many ms ahead, whatever was said of it before.
    pub fn learn(&mut self, from: EngineTime, offset_ms: i64) {
        self.0.retain(|(at, _)| *at < from);
        self.0.push((from, offset_ms));
    }

    /// The engine time at which it was so late; `None` = nobody ever knew.
    pub fn engine(&self, civil: CivilTime) -> Option<EngineTime> {
        let at = |offset: i64| EngineTime(civil.0.saturating_sub(offset));
        let last = self.0.iter().rev().find(|(from, offset)| at(*offset) >= *from);
        Some(at(last.or(self.0.first())?.1))
    }
}

/// Civil time as a person writes it: ms since 1970, a moment with a zone, or a day or time at the site.
pub fn civil(text: &str, utc_offset_min: i16) -> Result<CivilTime, String> {
    if let Ok(ms) = text.parse() {
        return Ok(CivilTime(ms));
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(CivilTime(moment.as_millisecond()));
    }
    let local: jiff::civil::DateTime = text.parse().map_err(|_| {
        format!("{text:?} is no time: 2026-11-20, 2026-11-20T08:00 or 2026-11-20T08:00:00+08:00")
    })?;
    let offset =
        jiff::tz::Offset::from_seconds(i32::from(utc_offset_min) * 60).map_err(|error| error.to_string())?;
    let zoned = local.to_zoned(jiff::tz::TimeZone::fixed(offset)).map_err(|error| error.to_string())?;
    Ok(CivilTime(zoned.timestamp().as_millisecond()))
}
