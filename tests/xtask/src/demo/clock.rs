//! The demo clock of design §5: one key file, read by every process of the demo, so that all agree on a civil time
//! that runs faster than the wall.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// The key file. `civil now = civil + speed × (real now − real)`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DemoClock {
    #[serde(rename = "demo_clock")]
    version: u8,
    real: i64,
    civil: i64,
    speed: u32,
    key: String,
}

/// A demo begins in the middle of a working morning in China, whatever time it is here, so that cabinets run,
/// patients come and waste is weighed.
const BEGIN_HOUR_UTC: i64 = 1;
const BEGIN_MINUTE: i64 = 30;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

impl DemoClock {
    /// A clock for a first start: the latest 09:30 Beijing time that lies behind us.
    pub(crate) fn first(speed: u32) -> Result<Self> {
        let now = real_now()?;
        let of_day = (BEGIN_HOUR_UTC * 60 + BEGIN_MINUTE) * MINUTE_MS;
        let civil = (now - of_day).div_euclid(DAY_MS) * DAY_MS + of_day;
        Ok(Self { version: 1, real: now, civil, speed, key: random_hex(32)? })
    }

    /// The same clock going on from `civil`: downtime of the demo is no downtime of its world, as far as that was
    /// known (see [`DemoClock::remember`]).
    pub(crate) fn resumed(folder: &Path, speed: u32) -> Result<Option<Self>> {
        let path = key_path(folder);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut clock: Self =
            serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        let seen =
            std::fs::read_to_string(seen_path(folder)).ok().and_then(|text| text.trim().parse::<i64>().ok());
        // The note is up to a second old: two seconds of the old speed more, and time cannot run back.
        let margin = 2000 * i64::from(clock.speed);
        clock.civil = seen.map_or_else(|| clock.civil_now(), |seen| Ok(seen + margin))?;
        clock.real = real_now()?;
        clock.speed = speed;
        Ok(Some(clock))
    }

    /// Writes the key file, for the owner only.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = key_path(folder);
        write_private(&path, &serde_json::to_vec(self)?)?;
        Ok(path)
    }

    /// Civil time now, ms.
    pub(crate) fn civil_now(&self) -> Result<i64> {
        Ok(self.civil + (real_now()? - self.real) * i64::from(self.speed))
    }

    /// Notes how far it has come, for a later start after `kill -9`.
    pub(crate) fn remember(&self, folder: &Path) -> Result<()> {
        let path = seen_path(folder);
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, self.civil_now()?.to_string())
            .with_context(|| format!("write {}", fresh.display()))?;
        std::fs::rename(&fresh, &path).with_context(|| format!("replace {}", path.display()))
    }
}

/// Where the key file lies.
pub(crate) fn key_path(folder: &Path) -> PathBuf {
    folder.join("demo-clock.json")
}

fn seen_path(folder: &Path) -> PathBuf {
    folder.join("demo-clock.seen")
}

fn real_now() -> Result<i64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_millis() as i64)
}

/// Random bytes as hex digits, from the kernel.
pub(crate) fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("read /dev/urandom")?;
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    Ok(random.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}

/// Writes a file that only its owner can read, all or nothing.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .with_context(|| format!("open {}", fresh.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("write {}", fresh.display()))?;
    std::fs::rename(&fresh, path).with_context(|| format!("replace {}", path.display()))
}
