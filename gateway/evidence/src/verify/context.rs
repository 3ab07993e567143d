//! The line "context": rules, software, calibration and placement.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gateway_model::CivilTime;
use gateway_wire::{hash, hex};
use serde::Deserialize;
use serde_json::{Value, json};

use super::instruments::{Instrument, instruments};
use super::walk::Walk;
use super::{DEVICES, PACKS, Parts};
use crate::report::Line;

/// `devices.toml`: by whom a device was placed and calibrated. Dates are days, `2026-03-01`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Devices {
    #[serde(default)]
    device: Vec<DeviceFacts>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceFacts {
    id: String,
    /// Number of the technical review of the place.
    placement: Option<String>,
    certificate: Option<String>,
    valid_from: Option<String>,
    valid_until: Option<String>,
}

/// Is this a file that bundles may hold? Says what is wrong otherwise.
pub fn check_devices(text: &str) -> Result<(), String> {
    let devices: Devices = toml::from_str(text).map_err(|error| error.to_string())?;
    for device in &devices.device {
        for date in [&device.valid_from, &device.valid_until].into_iter().flatten() {
            day(date)
                .ok_or_else(|| format!("device {}: {date:?} is no day, as in \"2026-03-01\"", device.id))?;
        }
    }
    Ok(())
}

pub(super) fn line(parts: &Parts<'_>, walk: &Walk) -> Line {
    let mut line = Line::new("context");
    packs(parts, walk, &mut line);
    let devices = devices(parts, walk, &mut line);
    if walk.software.is_empty() {
        line.lack("no_config", "", "no config record says by what the records are to be read");
    }
    line.say = format!(
        "software {}; semantics {:?}; {} packs, {} rules; {} devices; {} changes while reminders were suppressed",
        walk.software.join(", "),
        walk.semantics,
        walk.packs.len(),
        walk.rules_in_plan,
        devices.len(),
        walk.suppressed
    );
    for ruled in &walk.rules {
        let limit = ruled.limit.map_or_else(String::new, |limit| format!(" limit {limit}"));
        write!(line.say, "; {} on {}:{limit} {}", ruled.rule, ruled.subject, ruled.norm).unwrap_or_default();
    }
    line.fact("software", walk.software.clone());
    line.fact("semantics", walk.semantics.clone());
    line.fact("rules", walk.rules_in_plan);
    line.fact("devices", devices);
    line.fact("suppressed", walk.suppressed);
    line
}

fn packs(parts: &Parts<'_>, walk: &Walk, line: &mut Line) {
    let files = parts.files.iter().filter(|file| file.name.starts_with(PACKS));
    let there: BTreeMap<[u8; 32], &str> = files.map(|file| (hash(file.bytes), file.name)).collect();
    for (_, name) in there.iter().filter(|(hash, _)| !walk.packs.contains_key(*hash)) {
        line.fail("other_pack", name, "not a pack that any config record names");
    }
    let list: Vec<Value> = walk
        .packs
        .iter()
        .map(|(hash, (name, version))| {
            let found = there.contains_key(hash);
            if !found {
                line.lack("no_pack", name, format!("pack {name} {version} ({}) is not there", hex(hash)));
            }
            json!({"name": name, "version": version, "sha256": hex(hash), "there": found})
        })
        .collect();
    line.fact("packs", list);
}

fn devices(parts: &Parts<'_>, walk: &Walk, line: &mut Line) -> Vec<Value> {
    let text = parts
        .file(DEVICES)
        .map(|bytes| std::str::from_utf8(bytes).ok().and_then(|text| toml::from_str(text).ok()));
    let known: Devices = match text {
        None => Devices::default(),
        Some(Some(known)) => known,
        Some(None) => {
            line.fail("devices", DEVICES, "cannot be read");
            Devices::default()
        }
    };
    let recorded = instruments(parts, line);
    let facts = |id: &str| known.device.iter().find(|device| device.id == id);
    let mut list = Vec::new();
    for (id, span) in walk.devices() {
        if let Some(instrument) = recorded.get(id) {
            list.push(on_record(id, instrument, span, line));
            continue;
        }
        let facts = facts(id);
        let placement = facts.and_then(|facts| facts.placement.as_ref());
        let certificate = facts.and_then(|facts| facts.certificate.as_ref());
        if placement.is_none() {
            line.lack("no_placement", id, "no technical review of its place");
        }
        let valid_from = facts.and_then(|facts| facts.valid_from.as_ref());
        let valid_until = facts.and_then(|facts| facts.valid_until.as_ref());
        let days = valid_from.and_then(|text: &String| day(text)).zip(valid_until.and_then(|text| day(text)));
        match certificate.and(days) {
            None => line.lack("no_calibration", id, "no calibration certificate with its days"),
            Some((begin, end)) if span.is_some_and(|(from, to)| from < begin || to >= end + DAY_MS) => {
                line.lack("calibration_expired", id, "its calibration was not valid all the time");
            }
            Some(_) => {}
        }
        list.push(json!({
            "device": id, "placement": placement, "certificate": certificate,
            "valid_from": valid_from, "valid_until": valid_until,
        }));
    }
    list
}

/// A device that the gateway's own records tell of; a file of somebody's says nothing against them.
fn on_record(id: &str, instrument: &Instrument, span: Option<(i64, i64)>, line: &mut Line) -> Value {
    if instrument.placement.is_none() {
        line.lack("no_placement", id, "no record says where it was placed");
    }
    let calibration = instrument.calibration(span);
    match calibration {
        None => line.lack("no_calibration", id, "no record of a calibration"),
        Some((_, false)) => {
            line.lack("calibration_expired", id, "its calibration was not valid all the time");
        }
        Some((_, true)) => {}
    }
    let date = |at: CivilTime| {
        let moment = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Some(moment.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
    };
    json!({
        "device": id, "placement": instrument.placement,
        "certificate": calibration.map(|(one, _)| one.certificate.clone()),
        "valid_from": calibration.and_then(|(one, _)| date(one.done)),
        "valid_until": calibration.and_then(|(one, _)| date(one.valid_until)),
    })
}

const DAY_MS: i64 = 86_400_000;

/// Civil ms at which a day of the form `2026-03-01` begins, UTC; certificates do not care for hours.
fn day(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let zoned = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    (text.len() == 10).then(|| zoned.timestamp().as_millisecond())
}
