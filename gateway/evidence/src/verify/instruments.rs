//! What the records say of instruments: which one measured where, and until when its calibration counted.
//!
//! Device facts are inputs like any other, signed and in the chain of their time; a bundle of a later time brings the
//! records that hold them along (`device-records`), each with the config record that says which device is meant.

use std::collections::BTreeMap;

use gateway_model::{CivilTime, Cursor, DeviceFact, FactBody, Input, Plan};
use gateway_wire::{Body, Joiner, Parted, PartedKind, unpack};

use super::{DEVICE_RECORDS, Parts};
use crate::report::Line;

/// Records in that file, at most.
pub(crate) const DEVICE_RECORDS_MAX: usize = 10_000;

/// One device, as the records tell of it.
#[derive(Debug, Default)]
pub(super) struct Instrument {
    /// Number of the review that accepted its place, or the place in the site's words.
    pub(super) placement: Option<String>,
    /// Serial number of what measures there now.
    serial: Option<String>,
    calibrations: Vec<Calibration>,
}

/// One comparison with a standard.
#[derive(Debug, Clone)]
pub(super) struct Calibration {
    serial: String,
    pub(super) certificate: String,
    pub(super) done: CivilTime,
    pub(super) valid_until: CivilTime,
}

impl Instrument {
    fn take(&mut self, fact: &DeviceFact) {
        match fact {
            DeviceFact::Placed { serial, place, review, by: _, accepted: _ } => {
                self.serial = Some(serial.clone());
                self.placement = review.clone().or_else(|| Some(place.clone()));
            }
            DeviceFact::Replaced { successor, .. } => self.serial = Some(successor.clone()),
            DeviceFact::Calibrated { serial, certificate, done, valid_until, .. } => {
                self.calibrations.push(Calibration {
                    serial: serial.clone(),
                    certificate: certificate.clone(),
                    done: *done,
                    valid_until: *valid_until,
                });
            }
            DeviceFact::Removed { .. } => (self.serial, self.placement) = (None, None),
        }
    }

    /// The calibration of what measures there that covers the span, else the last one, and whether it covers.
    pub(super) fn calibration(&self, span: Option<(i64, i64)>) -> Option<(&Calibration, bool)> {
        let own = |one: &&Calibration| self.serial.as_ref().is_none_or(|serial| *serial == one.serial);
        let covers =
            |one: &Calibration| span.is_none_or(|(from, to)| one.done.0 <= from && to <= one.valid_until.0);
        let found = self.calibrations.iter().filter(own).rfind(|one| covers(one));
        found.map(|one| (one, true)).or_else(|| self.calibrations.iter().rfind(own).map(|one| (one, false)))
    }
}

/// Every device of which there are facts, by id.
pub(super) fn instruments(parts: &Parts<'_>, line: &mut Line) -> BTreeMap<String, Instrument> {
    let mut found = BTreeMap::new();
    let Some(bytes) = parts.file(DEVICE_RECORDS) else { return found };
    let (Ok(records), Ok(Some(ring))) = (unpack(bytes, DEVICE_RECORDS_MAX), parts.ring()) else {
        line.fail("device_records", DEVICE_RECORDS, "cannot be read");
        return found;
    };
    let mut plans: BTreeMap<Cursor, Plan> = BTreeMap::new();
    let mut joiner = Joiner::default();
    for (place, bytes) in records.into_iter().enumerate() {
        let opened = match ring.open(bytes) {
            Ok(opened) => opened,
            Err(error) => {
                line.fail("device_records", format!("#{place}"), error.to_string());
                continue;
            }
        };
        let named = Cursor { epoch: opened.header.epoch, seq: opened.header.config };
        let opened = joiner.opened(opened);
        match opened.body {
            // Where it came in parts, it has the number of its head, which its parts name.
            Ok(Body::Config(config)) => {
                let at = if named.seq.0 == 0 { opened.header.cursor() } else { named };
                plans.insert(at, config.plan);
            }
            Ok(Body::Parted(Parted { of: PartedKind::Config, .. }) | Body::Part(_)) => {}
            Ok(Body::Inputs(inputs)) => {
                let Some(plan) = plans.get(&named) else {
                    line.fail("device_records", opened.header.cursor(), "the config it names is not there");
                    continue;
                };
                for item in &inputs.items {
                    let Input::Fact(fact) = item else { continue };
                    let (Some(device), FactBody::Device(body)) =
                        (plan.devices.get(fact.device.slot()), &fact.body)
                    else {
                        continue;
                    };
                    found.entry(device.id.clone()).or_insert_with(Instrument::default).take(body);
                }
            }
            Ok(
                Body::Start(_) | Body::Conclusions(_) | Body::Checkpoint(_) | Body::Gap(_) | Body::Parted(_),
            )
            | Err(_) => {
                line.fail("device_records", opened.header.cursor(), "neither a config nor facts");
            }
        }
    }
    found
}

/// Does this record hold facts about instruments?
pub fn tells_of_instruments(body: &Body) -> bool {
    let Body::Inputs(inputs) = body else { return false };
    let tells = |item: &Input| matches!(item, Input::Fact(fact) if matches!(fact.body, FactBody::Device(_)));
    inputs.items.iter().any(tells)
}
