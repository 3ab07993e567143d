//! The hour of installation at a gateway that runs: which devices were accepted at their place, what they showed beside a
//! reference, and photos of them. The page (`page/install`) and `gateway device placed` both end here, and both say what
//! happened through [`crate::told`]: one way into the record.
//!
//! Promises: what was said survives a restart (`DIR/installation.json`); a device counts as done when its placement is sealed and
//! on disk, and no longer when it was replaced or removed; nobody works on the page without the code that its owner asked for.
//! Leaves out: unit ids and speeds, which [`crate::commission`] writes while the line is its own.

pub mod access;
pub mod photos;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use gateway_model::CivilTime;
use serde::{Deserialize, Serialize};

use crate::state;
use access::Access;

/// Comparisons of one device: the points of a big one.
pub const COMPARED_MAX: usize = 64;
/// Photos of one device.
pub const PHOTOS_MAX: usize = 6;

/// One value beside a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Whole id of the point.
    pub point: String,
    /// What it showed, in its unit.
    pub shown: f64,
    /// What the reference showed, as it was typed.
    pub reference: String,
    /// Its unit's symbol.
    pub unit: String,
    /// How far it may be off, where that is stated.
    pub accuracy: Option<f64>,
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Off by no more than its accuracy.
    Within,
    /// Off by more.
    Outside,
    /// Nobody has stated how far it may be off.
    Unstated,
}

impl Comparison {
    /// Shown minus reference; `None` = the reference is no number.
    pub fn deviation(&self) -> Option<f64> {
        self.reference.parse::<f64>().ok().map(|reference| self.shown - reference)
    }

    /// Is it accurate enough? On the limit it is, whatever binary fractions make of 4.6 − 4.3.
    pub fn verdict(&self) -> Verdict {
        let Some((accuracy, deviation)) = self.accuracy.zip(self.deviation()) else {
            return Verdict::Unstated;
        };
        let rounding = 1e-9 * self.shown.abs().max(1.0);
        if deviation.abs() <= accuracy + rounding { Verdict::Within } else { Verdict::Outside }
    }
}

/// What is known of a device's installation, before anybody vouches for it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Draft {
    /// The measuring place.
    pub place: String,
    /// Serial number as printed.
    pub serial: String,
    /// Number of the technical review that accepted the place; empty = none.
    pub review: String,
    /// Values beside a reference, one per point.
    pub compared: Vec<Comparison>,
    /// SHA-256 of photos, hex.
    pub photos: Vec<String>,
}

/// A placement that is on record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// What was said.
    pub draft: Draft,
    /// Who said it: an id of the site's.
    pub by: String,
    /// When, where the box knew.
    pub at: Option<CivilMs>,
}

/// Milliseconds of civil time.
pub type CivilMs = i64;

/// One device.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Device {
    /// As it stands on the page.
    pub draft: Draft,
    /// As it stands in the record.
    pub accepted: Option<Accepted>,
}

impl Device {
    /// Accepted, and nothing was changed since.
    pub fn is_done(&self) -> bool {
        self.accepted.as_ref().is_some_and(|accepted| accepted.draft == self.draft)
    }
}

type Devices = BTreeMap<String, Device>;

/// The state of an installation. Bounded by the devices of a site.
#[derive(Debug)]
pub struct Installation {
    data: PathBuf,
    /// Who may work on the page.
    pub access: Access,
    devices: Mutex<Devices>,
}

impl Installation {
    /// What an earlier process left in the data directory goes on.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        let path = place(data);
        let devices = match state::read(&path)? {
            None => Devices::new(),
            Some(bytes) => match serde_json::from_slice(&bytes) {
                Ok(devices) => devices,
                Err(error) => set_aside(&path, &error)?,
            },
        };
        Ok(Self { data: data.to_owned(), access: Access::default(), devices: Mutex::new(devices) })
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What is known of a device.
    pub fn device(&self, id: &str) -> Device {
        self.lock().get(id).cloned().unwrap_or_default()
    }

    /// Another draft for a device.
    pub fn draft(&self, id: &str, draft: Draft) -> anyhow::Result<()> {
        self.change(id, |device| device.draft = draft)
    }

    /// Its placement is on record.
    pub fn accepted(&self, id: &str, draft: Draft, by: &str, at: Option<CivilTime>) -> anyhow::Result<()> {
        let at = at.map(|at| at.0);
        self.change(id, |device| {
            device.draft = draft.clone();
            device.accepted = Some(Accepted { draft, by: by.to_owned(), at });
        })
    }

    /// Another device is there now, or none: what was accepted is over.
    pub fn over(&self, id: &str, successor: Option<&str>) -> anyhow::Result<()> {
        self.change(id, |device| {
            let place = std::mem::take(&mut device.draft.place);
            let serial = successor.unwrap_or_default().to_owned();
            *device = Device { draft: Draft { place, serial, ..Draft::default() }, accepted: None };
        })
    }

    /// Throws a photo away, unless a device or a record still names it.
    pub fn discard(&self, name: &str) -> anyhow::Result<()> {
        let named = self.lock().values().any(|device| {
            let accepted = device.accepted.as_ref().map(|accepted| &accepted.draft);
            std::iter::once(&device.draft)
                .chain(accepted)
                .any(|draft| draft.photos.iter().any(|one| one == name))
        });
        if named { Ok(()) } else { photos::discard(&self.data, name) }
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut Device)) -> anyhow::Result<()> {
        let mut devices = self.lock();
        let mut next = devices.clone();
        change(next.entry(id.to_owned()).or_default());
        let path = place(&self.data);
        state::replace(&path, &serde_json::to_vec_pretty(&next)?)
            .context("the state of the installation cannot be kept")?;
        *devices = next;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is damaged is no reason to watch nothing: it is put aside, and the installation begins anew. What was accepted stays in
/// the record.
fn set_aside(path: &Path, error: &serde_json::Error) -> anyhow::Result<Devices> {
    let aside = path.with_extension("damaged");
    std::fs::rename(path, &aside).with_context(|| format!("put {} aside", path.display()))?;
    tracing::error!(
        %error,
        "{} is damaged and was moved to {}: every device is to be accepted again",
        path.display(),
        aside.display()
    );
    Ok(Devices::new())
}

fn place(data: &Path) -> PathBuf {
    data.join("installation.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(shown: f64, reference: &str, accuracy: Option<f64>) -> Comparison {
        Comparison { point: "f/t".into(), shown, reference: reference.into(), unit: "°C".into(), accuracy }
    }

    #[test]
    fn on_the_limit_is_within_and_without_a_limit_nothing_is_judged() {
        for (shown, reference, accuracy, verdict) in [
            (4.6, "4.3", Some(0.3), Verdict::Within),
            (4.0, "4.3", Some(0.3), Verdict::Within),
            (4.7, "4.3", Some(0.3), Verdict::Outside),
            (3.9, "4.3", Some(0.3), Verdict::Outside),
            (4.7, "4.3", None, Verdict::Unstated),
        ] {
            assert_eq!(comparison(shown, reference, accuracy).verdict(), verdict, "{shown} {reference}");
        }
        assert!((comparison(4.5, "4.3", None).deviation().unwrap() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn what_was_accepted_survives_a_restart_and_ends_with_the_device() {
        let dir = tempfile::tempdir().unwrap();
        let draft = Draft { place: "一楼".into(), serial: "S-1".into(), ..Draft::default() };
        let first = Installation::open(dir.path()).unwrap();
        first.accepted("f", draft.clone(), "p-1", Some(CivilTime(5))).unwrap();
        let again = Installation::open(dir.path()).unwrap();
        assert!(again.device("f").is_done());
        assert!(!again.device("g").is_done());
        // Something else is typed: it has to be said again.
        again.draft("f", Draft { place: "二楼".into(), ..draft.clone() }).unwrap();
        assert!(!again.device("f").is_done());
        assert_eq!(again.device("f").accepted.unwrap().draft, draft);
        again.over("f", Some("S-2")).unwrap();
        let device = again.device("f");
        assert_eq!((device.accepted, &*device.draft.serial, &*device.draft.place), (None, "S-2", "二楼"));
        std::fs::write(place(dir.path()), "{").unwrap();
        let anew = Installation::open(dir.path()).unwrap();
        assert_eq!(anew.device("f"), Device::default());
        assert_eq!(std::fs::read(dir.path().join("installation.damaged")).unwrap(), b"{");
    }
}
