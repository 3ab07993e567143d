//! `gateway device placed|replaced|calibrated|removed`: what happened to an instrument, said to the running gateway.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Ended, GOOD, export, journal, runtime, say};
use crate::door::{self, Told, What};
use crate::install::photos;
use crate::told::Beside;

#[derive(Subcommand)]
pub(super) enum Device {
    /// Put to use at its measuring place.
    Placed {
        #[command(flatten)]
        of: Of,
        /// The measuring place, in the site's words.
        #[arg(long)]
        place: String,
        /// Who placed it: an id of the site's, not a name.
        #[arg(long)]
        by: String,
        /// Number of the technical review that accepted the place.
        #[arg(long)]
        review: Option<String>,
        /// What a reference shows beside a point at this moment: `temperature=4.1`; may be given more than once.
        #[arg(long = "reference", value_name = "POINT=NUMBER", value_parser = pair)]
        references: Vec<(String, String)>,
        /// A photo of instrument, sign or place, JPEG or PNG of at most 8 MB; up to 6 of them.
        #[arg(long = "photo", value_name = "FILE")]
        photos: Vec<PathBuf>,
    },
    /// Another one measures at the same place from now on.
    Replaced {
        #[command(flatten)]
        of: Of,
        /// Serial number of its successor.
        #[arg(long)]
        successor: String,
        /// Who replaced it: an id of the site's, not a name.
        #[arg(long)]
        by: String,
        /// Its lamp and run hours and its starts begin at nothing (a new lamp); otherwise they go on (a new probe).
        #[arg(long)]
        reset: bool,
    },
    /// Compared with a standard.
    Calibrated(Box<Calibrated>),
    /// Taken out of use; nothing measures at its place.
    Removed {
        #[command(flatten)]
        of: Of,
        /// Why.
        #[arg(long)]
        why: String,
        /// Who removed it: an id of the site's, not a name.
        #[arg(long)]
        by: String,
    },
}

#[derive(Args)]
pub(super) struct Calibrated {
    #[command(flatten)]
    of: Of,
    /// Number of the certificate.
    #[arg(long)]
    certificate: String,
    /// The body that issued it.
    #[arg(long)]
    laboratory: String,
    /// When it was done: a day at the site, `2026-03-01`, or a time.
    #[arg(long)]
    done: String,
    /// The last day on which it counts.
    #[arg(long)]
    due: String,
    /// Expanded uncertainty of a point in its unit: `temperature=0.30`; may be given more than once.
    #[arg(long = "uncertainty", value_name = "POINT=NUMBER", value_parser = pair)]
    uncertainty: Vec<(String, String)>,
    /// Coverage factor k of the uncertainties; 2 where it is not given.
    #[arg(long)]
    k: Option<String>,
    /// Correction of a point, to be added to what it shows: `temperature=-0.2`; may be given more than once.
    #[arg(long = "correction", value_name = "POINT=NUMBER", value_parser = pair)]
    corrections: Vec<(String, String)>,
}

/// Which instrument of which gateway.
#[derive(Args)]
pub(super) struct Of {
    /// Device id of the site file.
    device: String,
    /// Its serial number, as printed.
    #[arg(long)]
    serial: String,
    /// The data directory of the running gateway.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(point, number)| (point.to_owned(), number.to_owned()));
    pair.ok_or_else(|| "expected POINT=NUMBER, such as temperature=0.30".to_owned())
}

pub(super) fn device(asked: Device) -> Ended {
    let (of, what) = match asked {
        Device::Placed { of, place, by, review, references, photos } => {
            let serial = of.serial.clone();
            let beside = |(point, reference)| Beside { point, shown: None, reference };
            let compared = references.into_iter().map(beside).collect();
            let photos = photos.iter().map(|file| photo(&of.data, file)).collect::<anyhow::Result<_>>()?;
            (of, What::Placed { serial, place, by, review, compared, photos })
        }
        Device::Replaced { of, successor, by, reset } => {
            let serial = of.serial.clone();
            (of, What::Replaced { serial, successor, by, reset })
        }
        Device::Removed { of, why, by } => {
            let serial = of.serial.clone();
            (of, What::Removed { serial, why, by })
        }
        Device::Calibrated(asked) => calibrated(*asked)?,
    };
    runtime()?.block_on(door::say(&of.data, &Told { device: of.device.clone(), what }))?;
    say(&serde_json::json!({ "device": of.device, "recorded": true }))?;
    Ok(GOOD)
}

/// Keeps a photo beside the records; its SHA-256.
fn photo(data: &Path, file: &Path) -> anyhow::Result<String> {
    photos::put(data, &photo_bytes(file)?).with_context(|| file.display().to_string())
}

/// A photo, if it is one and not too large.
pub(super) fn photo_bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(file).with_context(|| file.display().to_string())?.len();
    anyhow::ensure!(
        size <= photos::PHOTO_MAX as u64,
        "{}: {} MB; a photo has at most {} MB",
        file.display(),
        size >> 20,
        photos::PHOTO_MAX >> 20
    );
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    anyhow::ensure!(photos::kind(&bytes).is_some(), "{}: no photo: JPEG or PNG", file.display());
    Ok(bytes)
}

fn calibrated(asked: Calibrated) -> anyhow::Result<(Of, What)> {
    const DAY_MS: i64 = 86_400_000;
    let key = journal::key(&asked.of.data)?;
    let (records, _) = journal::opened(&asked.of.data)?;
    let offset = export::index(&records, &key)?.utc_offset_min;
    let done = export::civil(&asked.done, offset).context("--done")?.0;
    let due = export::civil(&asked.due, offset).context("--due")?.0;
    // A day counts to its end.
    let valid_until = if asked.due.len() == 10 { due + DAY_MS - 1 } else { due };
    let what = What::Calibrated {
        serial: asked.of.serial.clone(),
        certificate: asked.certificate,
        laboratory: asked.laboratory,
        done,
        valid_until,
        uncertainty: asked.uncertainty,
        k: asked.k,
        corrections: asked.corrections,
    };
    Ok((asked.of, what))
}
