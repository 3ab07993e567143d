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

    /// Civil time at an engine time; `None` = nobody ever knew.
    pub fn civil(&self, at: EngineTime) -> Option<CivilTime> {
        let last = self.0.iter().rev().find(|(from, _)| *from <= at);
        last.or(self.0.first()).map(|(_, offset)| at.civil(*offset))
    }
}

/// A moment at a site, `2026-11-20 08:00:00`.
pub fn local(at: CivilTime, utc_offset_min: i16) -> String {
    let zone = jiff::tz::Offset::from_seconds(i32::from(utc_offset_min) * 60).map(jiff::tz::TimeZone::fixed);
    let zoned = jiff::Timestamp::from_millisecond(at.0).ok().zip(zone.ok());
    zoned.map_or_else(
        || at.0.to_string(),
        |(at, zone)| at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
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
