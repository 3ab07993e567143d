//! What the box tells of itself: `own = ["disk_free", "clock_error", "broker", "two_answers", "garbled", "foreign_answers"]` of a device of
//! kind `gateway`. Each is a point like any other, so that rules judge it, records hold it and anybody can compute its alerts again.

use gateway_model::{PointIx, PointPlan, Unit};
use gateway_rules::{At, did_you_mean};

use super::devices::{Draft, Reader};
use super::points::{POINTS_MAX, heartbeat_ms};

/// Looked at so often, ms.
pub const OWN_EVERY_MS: i64 = 60_000;
/// As for polled points: three looks missed in a row are silence.
const MAX_AGE_MS: i64 = 3 * OWN_EVERY_MS;

/// Something the box knows without an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// Free share of the file system that holds the data directory, %.
    DiskFree,
    /// How far the system's clock is from the time that is believed, s.
    ClockError,
    /// Is there a connection to the MQTT broker?
    Broker,
    /// Unit id on which two devices answer; 0 = on none.
    TwoAnswers,
    /// Unit id of a device whose answers are garbled; 0 = of none.
    Garbled,
    /// Unit id whose questions bring answers of others; 0 = none.
    ForeignAnswers,
}

impl Sense {
    const NAMED: [(&'static str, Self, Unit, f64); 6] = [
        ("disk_free", Self::DiskFree, Unit::Percent, 0.1),
        ("clock_error", Self::ClockError, Unit::Second, 1.0),
        ("broker", Self::Broker, Unit::Truth, 0.5),
        ("two_answers", Self::TwoAnswers, Unit::One, 0.0),
        ("garbled", Self::Garbled, Unit::One, 0.0),
        ("foreign_answers", Self::ForeignAnswers, Unit::One, 0.0),
    ];
}

/// A sense and its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SensePlan {
    /// Which point.
    pub point: PointIx,
    /// What it tells.
    pub sense: Sense,
}

/// The box is on no bus, and is blind with none of them.
const BUS: &str = "box";

impl Reader<'_, '_> {
    /// Slot of devices that are the box itself: behind the broker's.
    pub(super) fn own_bus(&mut self) -> usize {
        let buses = &mut self.out.plan.buses;
        if buses.last().is_none_or(|last| last != BUS) {
            buses.push(BUS.to_owned());
        }
        buses.len() - 1
    }

    /// `own` of a device.
    pub(super) fn own(&mut self, names: Vec<At<String>>, draft: &mut Draft) {
        for name in names {
            let Some((_, sense, unit, deadband)) =
                Sense::NAMED.iter().find(|(known, ..)| *known == name.value)
            else {
                let known = || Sense::NAMED.iter().map(|(known, ..)| *known);
                let hint = did_you_mean(&name.value, known()).map_or_else(
                    || format!("one of: {}", known().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("the box knows no `{}` of itself", name.value);
                self.file.error(name.span, message, Some(hint));
                continue;
            };
            let wanted = self.packs_of(&draft.kind).into_iter().find_map(|pack| pack.points.get(&name.value));
            let Some(wanted) = wanted.filter(|wanted| wanted.unit == *unit) else {
                let message = format!("no pack of a `{}` has a point `{}`", draft.kind, name.value);
                self.file.error(name.span, message, Some("kind = \"gateway\"".into()));
                continue;
            };
            if draft.points.contains_key(&name.value) || self.out.plan.points.len() >= POINTS_MAX {
                self.file.error(
                    name.span,
                    format!("`{}` is mapped twice, or there are too many points", name.value),
                    None,
                );
                continue;
            }
            let point = PointIx::of(self.out.plan.points.len());
            self.out.plan.points.push(PointPlan {
                id: format!("{}/{}", draft.id, name.value),
                device: draft.ix,
                name: wanted.name.clone(),
                unit: *unit,
                gain: 1.0,
                offset: 0.0,
                source: format!("own {}", name.value),
                every_ms: OWN_EVERY_MS,
                max_age_ms: MAX_AGE_MS,
                deadband: *deadband,
                heartbeat_ms: heartbeat_ms(OWN_EVERY_MS, MAX_AGE_MS),
                span: None,
                sentinels: Vec::new(),
                truth: *unit == Unit::Truth,
                calibration: None,
                stuck: None,
            });
            draft.points.insert(name.value.clone(), (point, *unit));
            self.out.senses.push(SensePlan { point, sense: *sense });
            if *sense == Sense::Broker {
                self.broker_sense = Some(name.span);
            }
        }
    }
}
