//! What a person says happened to an instrument, and its way into the record: from the command line ([`crate::door`]) and from
//! the installation page ([`crate::page`]) alike.
//!
//! Promises: told "taken" means sealed and on disk; names are found in the plan in force; numbers keep the digits that were
//! written; what an instrument showed beside a reference is what the gateway has of it at that moment.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use gateway_model::{
    Acceptance, CivilTime, Compared, Counters, DeviceFact, DeviceIx, EngineTime, Fact, FactBody, Photo, Plan,
    PointIx, Quality, Raw, Unit,
};
use gateway_wire::unhex;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::config::Site;
use crate::install::{COMPARED_MAX, Comparison, Draft, Installation, PHOTOS_MAX, photos};
use crate::recorder::{Doors, Event, Snapshot};

/// Texts of a fact, bytes each.
pub const TEXT_MAX: usize = 200;
pub(crate) const STOPPING: &str = "the gateway is stopping";
pub(crate) const NO_ROOM: &str = "the gateway has no room for entries: its journal is full";

/// Something that happened to an instrument, as a person says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Told {
    /// Device id of the site file.
    pub device: String,
    /// What.
    pub what: What,
}

/// See [`DeviceFact`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the one of `DeviceFact`")]
pub enum What {
    Placed {
        serial: String,
        place: String,
        by: String,
        review: Option<String>,
        #[serde(default)]
        compared: Vec<Beside>,
        /// SHA-256 of photos that lie in the data directory, hex.
        #[serde(default)]
        photos: Vec<String>,
    },
    Replaced {
        serial: String,
        successor: String,
        by: String,
        reset: bool,
    },
    Calibrated {
        serial: String,
        certificate: String,
        laboratory: String,
        done: i64,
        valid_until: i64,
        /// Point, number as written.
        uncertainty: Vec<(String, String)>,
        k: Option<String>,
        corrections: Vec<(String, String)>,
    },
    Removed {
        serial: String,
        why: String,
        by: String,
    },
}

/// A value beside a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beside {
    /// The point, by its whole id or what stands behind the slash.
    pub point: String,
    /// What it showed, in its unit; `None` = what it shows now.
    pub shown: Option<f64>,
    /// What the reference showed, as it was written.
    pub reference: String,
}

/// The way into the record.
#[derive(Clone)]
pub struct Entries {
    /// The recorder's doors.
    pub doors: Doors,
    clock: Clock,
    site: watch::Receiver<Site>,
    /// How far the installation has come.
    pub installation: Arc<Installation>,
}

impl Entries {
    /// Into the record behind these doors. `site` is the one in force.
    pub fn new(
        doors: Doors,
        clock: Clock,
        site: watch::Receiver<Site>,
        installation: Arc<Installation>,
    ) -> Self {
        Self { doors, clock, site, installation }
    }

    /// The site in force.
    pub fn site(&self) -> Site {
        self.site.borrow().clone()
    }

    /// The state of the recorder.
    pub async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        self.doors.asks.snapshot().await.ok().context(STOPPING)
    }

    /// Puts it on record; once that is on disk, notes how far the installation has come.
    pub async fn take(&self, told: &Told) -> anyhow::Result<()> {
        // Slots of the plan in force, and whose slots they are: another may come into force before this is eaten.
        let now = self.snapshot().await?;
        let device = device_of(&now.plan, &told.device)?;
        let compared = match &told.what {
            What::Placed { compared, .. } => self.compared(&now, device, compared)?,
            What::Replaced { .. } | What::Calibrated { .. } | What::Removed { .. } => Vec::new(),
        };
        let body = self.fact(told, &now.plan, device, &compared)?;
        let (taken, on_disk) = oneshot::channel();
        let at = self.clock.now();
        let fact = Fact { device, at, body: FactBody::Device(body) };
        let inputs = self.doors.inputs.of(now.generation);
        inputs.send(Event::Entry { fact, taken }).await.ok().context(STOPPING)?;
        on_disk.await.context(NO_ROOM)?;
        self.note(told, compared, at).context("it is on record, but")
    }

    /// What an instrument shows beside what a reference shows.
    pub fn beside(&self, now: &Snapshot, device: &str, beside: &Beside) -> anyhow::Result<Comparison> {
        let device = device_of(&now.plan, device)?;
        let slot = point_of(&now.plan, device, &beside.point)?;
        let point = now.plan.points.get(slot.slot()).context("the plan has no such point")?;
        ensure!(!point.truth, "{} is open or closed, on or off: there is nothing to compare", point.id);
        decimal(&beside.reference)?;
        let now_shown = || {
            let last = now.points.get(slot.slot()).copied().flatten();
            let good = last.and_then(|(_, quality)| match quality {
                Quality::Good(raw) => raw.value(point.gain, point.offset),
                Quality::Uncertain(..) | Quality::Bad(_) => None,
            });
            good.with_context(|| {
                format!(
                    "{} 没有可信的读数 has no reading that could be compared: look at its line first",
                    point.id
                )
            })
        };
        let shown = beside.shown.map_or_else(now_shown, Ok)?;
        let site = self.site.borrow();
        // Another plan may come into force in between: by the id.
        let known = site.plan.points.iter().position(|known| known.id == point.id).map(PointIx::of);
        Ok(Comparison {
            point: point.id.clone(),
            shown,
            reference: beside.reference.clone(),
            unit: if point.unit == Unit::One { String::new() } else { point.unit.symbol().to_owned() },
            accuracy: known.and_then(|known| site.accuracy.get(&known).copied()),
        })
    }

    fn compared(
        &self,
        now: &Snapshot,
        device: DeviceIx,
        compared: &[Beside],
    ) -> anyhow::Result<Vec<Comparison>> {
        ensure!(compared.len() <= COMPARED_MAX, "at most {COMPARED_MAX} values are compared");
        let id = now.plan.devices.get(device.slot()).map_or("", |device| &device.id);
        compared.iter().map(|beside| self.beside(now, id, beside)).collect()
    }

    /// How far the installation has come.
    fn note(&self, told: &Told, compared: Vec<Comparison>, at: EngineTime) -> anyhow::Result<()> {
        match &told.what {
            What::Placed { serial, place, by, review, photos, compared: _ } => {
                let review = review.clone().unwrap_or_default();
                let (place, serial, photos) = (place.clone(), serial.clone(), photos.clone());
                let draft = Draft { place, serial, review, compared, photos };
                self.installation.accepted(&told.device, draft, by, self.doors.civil.civil(at))
            }
            What::Replaced { successor, .. } => self.installation.over(&told.device, Some(successor)),
            What::Removed { .. } => self.installation.over(&told.device, None),
            What::Calibrated { .. } => Ok(()),
        }
    }

    /// What was seen, if anything.
    fn acceptance(
        &self,
        plan: &Plan,
        device: DeviceIx,
        compared: &[Comparison],
        names: &[String],
    ) -> anyhow::Result<Option<Acceptance>> {
        ensure!(names.len() <= PHOTOS_MAX, "at most {PHOTOS_MAX} photos of one device");
        let number = |value: f64| Raw::F64(value.to_bits());
        let compared = compared.iter().map(|one| {
            Ok(Compared {
                point: point_of(plan, device, &one.point)?,
                shown: number(one.shown),
                reference: decimal(&one.reference)?,
                accuracy: one.accuracy.map(number),
            })
        });
        let photos = names.iter().map(|name| {
            // A record names what is there.
            let here = photos::has(self.installation.data(), name);
            let sha256 = unhex::<32>(name).filter(|_| here);
            Ok(Photo { sha256: sha256.with_context(|| format!("there is no photo {name} here"))? })
        });
        let accepted = Acceptance {
            compared: compared.collect::<anyhow::Result<_>>()?,
            photos: photos.collect::<anyhow::Result<_>>()?,
        };
        Ok(Some(accepted).filter(|accepted| *accepted != Acceptance::default()))
    }

    /// The fact, with ids found in the plan and numbers as they were written.
    fn fact(
        &self,
        told: &Told,
        plan: &Plan,
        device: DeviceIx,
        seen: &[Comparison],
    ) -> anyhow::Result<DeviceFact> {
        let per_point = |list: &[(String, String)]| -> anyhow::Result<Vec<(PointIx, Raw)>> {
            list.iter()
                .map(|(point, number)| Ok((point_of(plan, device, point)?, decimal(number)?)))
                .collect()
        };
        Ok(match &told.what {
            What::Placed { serial, place, by, review, compared: _, photos } => DeviceFact::Placed {
                serial: text("serial", serial)?,
                place: text("place", place)?,
                by: text("by", by)?,
                review: review.as_deref().map(|review| text("review", review)).transpose()?,
                accepted: self.acceptance(plan, device, seen, photos)?,
            },
            What::Replaced { serial, successor, by, reset } => DeviceFact::Replaced {
                serial: text("serial", serial)?,
                successor: text("successor", successor)?,
                by: text("by", by)?,
                counters: Some(if *reset { Counters::Reset } else { Counters::Kept }),
            },
            What::Calibrated {
                serial,
                certificate,
                laboratory,
                done,
                valid_until,
                uncertainty,
                k,
                corrections,
            } => {
                ensure!(done < valid_until, "the calibration is over before it was done");
                DeviceFact::Calibrated {
                    serial: text("serial", serial)?,
                    certificate: text("certificate", certificate)?,
                    laboratory: text("laboratory", laboratory)?,
                    done: CivilTime(*done),
                    valid_until: CivilTime(*valid_until),
                    uncertainty: per_point(uncertainty)?,
                    coverage_factor: k.as_deref().map(decimal).transpose()?,
                    corrections: Some(per_point(corrections)?).filter(|list| !list.is_empty()),
                }
            }
            What::Removed { serial, why, by } => DeviceFact::Removed {
                serial: text("serial", serial)?,
                why: text("why", why)?,
                by: text("by", by)?,
            },
        })
    }
}

pub(crate) fn text(what: &str, text: &str) -> anyhow::Result<String> {
    ensure!(!text.trim().is_empty() && text.len() <= TEXT_MAX, "{what}: 1 to {TEXT_MAX} bytes belong there");
    Ok(text.to_owned())
}

pub(crate) fn device_of(plan: &Plan, id: &str) -> anyhow::Result<DeviceIx> {
    let ids = || plan.devices.iter().map(|device| device.id.as_str()).collect::<Vec<_>>().join(", ");
    let slot = plan.devices.iter().position(|device| device.id == id);
    let slot = slot.with_context(|| format!("there is no device {id:?} here; there are {}", ids()))?;
    Ok(DeviceIx::of(slot))
}

/// A point of the device, by its whole id or what stands behind the slash.
fn point_of(plan: &Plan, device: DeviceIx, name: &str) -> anyhow::Result<PointIx> {
    let own = plan.points.iter().enumerate().filter(|(_, point)| point.device == device);
    let mut found = own.filter(|(_, point)| point.id == name || point.id.rsplit('/').next() == Some(name));
    let (slot, _) = found.next().with_context(|| format!("the device has no point {name:?}"))?;
    Ok(PointIx::of(slot))
}

/// As many digits as were written: `0.30` says more than `0.3`.
pub(crate) fn decimal(text: &str) -> anyhow::Result<Raw> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction}");
    let mantissa = digits.parse().ok().filter(|_| fraction.bytes().all(|byte| byte.is_ascii_digit()));
    let mantissa: i64 = mantissa.with_context(|| format!("{text:?} is no number, such as 0.30"))?;
    Ok(Raw::Dec { mantissa, exponent: -i8::try_from(fraction.len())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_digits() {
        assert_eq!(decimal("0.30").unwrap(), Raw::Dec { mantissa: 30, exponent: -2 });
        assert_eq!(decimal("-1.5").unwrap(), Raw::Dec { mantissa: -15, exponent: -1 });
        assert_eq!(decimal("2").unwrap(), Raw::Dec { mantissa: 2, exponent: 0 });
        for wrong in ["", "0,3", "1.-5", "1e3", "0.3 °C"] {
            assert!(decimal(wrong).is_err(), "{wrong}");
        }
    }
}
