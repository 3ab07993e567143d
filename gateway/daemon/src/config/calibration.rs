//! `[[device.calibration]]`: what a laboratory says of an instrument.
//!
//! ```toml
//! [[device.calibration]]
//! point = "temperature"
//! certificate = "JL-0815"
//! laboratory = "…"
//! done = "2026-03-01"
//! due = "2027-02-28"          # the last day on which it counts
//! correction = "-0.3 °C"      # added to every value; 0 if left out
//! uncertainty = "0.4 °C"      # expanded, U
//! k = 2                       # its coverage factor; 2 if left out
//! ```
//! The correction becomes part of the point's offset, so that rules, charts and records show corrected values; the raw values stay
//! as received. A violation is provable only beyond the limit by U and while the certificate counts.

use gateway_model::{Calibration, CivilTime, PointIx, Unit};
use gateway_rules::{At, Quantity, Table, convert, day, did_you_mean};

use super::devices::{Draft, Reader};

const DAY_MS: i64 = 86_400_000;
/// Coverage factors that laboratories state.
const K_SPAN: std::ops::RangeInclusive<f64> = 1.0..=4.0;

impl<'f> Reader<'f, '_> {
    /// The point and its calibration; the correction is in the plan then.
    pub(super) fn calibration(&mut self, table: Table<'f>, draft: &Draft) -> Option<(PointIx, Calibration)> {
        let file = self.file;
        let point = table.need::<String>("point");
        let (certificate, laboratory) =
            (table.need::<String>("certificate"), table.need::<String>("laboratory"));
        let (done, due) = (table.need::<String>("done"), table.need::<String>("due"));
        let (uncertainty, correction) =
            (table.need::<Quantity>("uncertainty"), table.get::<Quantity>("correction"));
        let k = table.get::<f64>("k");
        let place = table.span();
        table.finish();
        let (point, unit) = point.and_then(|name| {
            let found = draft.points.get(&name.value).copied().filter(|(_, unit)| *unit != Unit::Truth);
            if found.is_none() {
                let near = did_you_mean(&name.value, draft.points.keys().map(String::as_str));
                let hint = near.map(|near| format!("did you mean `{near}`?"));
                file.error(
                    name.span,
                    format!("`{}` has no number `{}` to calibrate", draft.id, name.value),
                    hint,
                );
            }
            found
        })?;
        let offset_ms = i64::from(self.utc_offset_min) * 60_000;
        let midnight = |text: At<String>| {
            let day = day(&text.value);
            if day.is_none() {
                file.error(text.span, "a day is written 2026-12-31", None);
            }
            day.map(|day| i64::from(day) * DAY_MS - offset_ms)
        };
        let (done, due) = (done.and_then(midnight), due.and_then(midnight));
        if let (Some(done), Some(due)) = (done, due)
            && due < done
        {
            file.error(place, "a certificate ends before it was made", None);
            return None;
        }
        let in_unit = |quantity: At<Quantity>| {
            let value = convert(quantity.value.value, quantity.value.unit, unit);
            if value.is_none() {
                file.error(quantity.span, format!("expected a value in {}", unit.symbol()), None);
            }
            value
        };
        let uncertainty_span = uncertainty.as_ref().map(|uncertainty| uncertainty.span.clone());
        let uncertainty = uncertainty.and_then(in_unit)?;
        if uncertainty <= 0.0 {
            file.error(uncertainty_span.unwrap_or_default(), "an uncertainty is larger than 0", None);
            return None;
        }
        if let Some(k) = k.as_ref().filter(|k| !K_SPAN.contains(&k.value)) {
            file.error(
                k.span.clone(),
                "a coverage factor is 1 to 4",
                Some("as on the certificate; usually 2".into()),
            );
        }
        let correction = correction.and_then(in_unit);
        if let (Some(correction), Some(plan)) = (correction, self.out.plan.points.get_mut(point.slot())) {
            plan.offset += correction;
        }
        let calibration = Calibration {
            certificate: certificate?.value,
            uncertainty,
            until: CivilTime(due? + DAY_MS),
            laboratory: Some(laboratory?.value),
            done: done.map(CivilTime),
            correction,
            k: k.map(|k| k.value),
        };
        if let Some(plan) = self.out.plan.points.get_mut(point.slot()) {
            if plan.calibration.is_some() {
                file.error(place, format!("`{}` is calibrated twice", plan.id), None);
            }
            plan.calibration = Some(calibration.clone());
        }
        Some((point, calibration))
    }
}
