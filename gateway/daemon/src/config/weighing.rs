//! Weighing indicators in a site file: an indicator that sends by itself has a bus of its own.

use std::time::Duration;

use gateway_model::Unit;

use super::devices::{Draft, Part, Reader};
use super::points::{HEARTBEAT_MS, Making, find};
use super::profile::Field;
use super::site::{StreamPlan, WeighingField, WeighingFormat};

impl Reader<'_, '_> {
    /// A `[[device.read]]` whose profile is an indicator's.
    pub(super) fn weighing_part(
        &mut self,
        draft: &mut Draft,
        part: &Part<'_>,
        bus: Option<usize>,
        every: Duration,
        (format, fields): (WeighingFormat, &[Field<WeighingField>]),
    ) {
        let Some(bus) = bus else { return };
        if !self.weighing.contains(&bus) {
            self.file.error(
                part.span.clone(),
                format!("`{}` sends by itself: its bus is none that is asked", part.profile.name),
                Some("transport = \"weighing\" or \"weighing-over-tcp\"".into()),
            );
            return;
        }
        if self.out.streams.iter().any(|stream| stream.bus == bus) {
            self.file.error(
                part.span.clone(),
                "one indicator, one line: another device reads this bus already",
                Some("map all points of the indicator in one [[device.read]]".into()),
            );
            return;
        }
        let every_ms = every.as_millis() as i64;
        let mut points = Vec::new();
        for (point, target) in &part.map {
            let Some(field) = find(self.file, fields, target) else { continue };
            let own = part.unit.filter(|unit| unit.dimension() == field.unit.dimension());
            let making = Making {
                unit: if field.unit == Unit::Truth { Unit::Truth } else { own.unwrap_or(field.unit) },
                gain: field.gain,
                offset: field.offset,
                invert: field.invert,
                span: field.span,
                sentinels: &field.sentinels,
                deadband: field.deadband,
                stuck: field.stuck,
                accuracy: field.accuracy,
                discrete: false,
                counts: false,
                source: format!("{} {}", self.out.plan.buses[bus], field.name),
                every_ms,
                max_age_ms: part.max_age.map_or(HEARTBEAT_MS + every_ms * 3, |age| age.0),
            };
            if let Some(slot) = self.point(draft, point, making, part) {
                points.push((slot, field.place));
            }
        }
        self.out.streams.push(StreamPlan { bus, format, every, division: DIVISION, points });
    }
}

/// Last digits by which a weight that stands still may flicker (domain C.5: "3 equal readings within 1 division").
const DIVISION: u32 = 1;
