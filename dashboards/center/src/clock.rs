//! The one place of the center that reads a clock.
//!
//! Civil time is `base + speed × monotonic`; without a demo key the base is the system's clock and the speed 1.
//! Signs of life, sessions, time-outs and back-off are matters of real time and never run on the demo clock.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use gateway_model::CivilTime;
use serde::Deserialize;

/// Civil and real time.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    real_base: i64,
    civil_base: i64,
    speed: f64,
    simulated: bool,
    /// Instead of everything above.
    steered: Option<Arc<AtomicI64>>,
}

/// What `cargo demo` writes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoKey {
    demo_clock: u32,
    real: i64,
    civil: i64,
    speed: f64,
    key: String,
}

fn system_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl Clock {
    /// The system's clock, read once; from there on the monotonic clock.
    pub fn system() -> Self {
        let now = system_ms();
        Self {
            started: Instant::now(),
            real_base: now,
            civil_base: now,
            speed: 1.0,
            simulated: false,
            steered: None,
        }
    }

    /// Civil and real time are what the caller last put there, under the demo clock: for tests in virtual time.
    pub fn steered(ms: Arc<AtomicI64>) -> Self {
        Self { simulated: true, steered: Some(ms), ..Self::system() }
    }

    /// The demo clock of a key file made by `cargo demo`.
    pub fn demo(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let key: DemoKey = serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        ensure!(key.demo_clock == 1, "{}: demo clock of version {}", path.display(), key.demo_clock);
        ensure!(key.speed > 0.0 && key.speed <= 100_000.0, "{}: speed {}", path.display(), key.speed);
        let hex = key.key.len() == 64 && key.key.bytes().all(|c| c.is_ascii_hexdigit());
        ensure!(hex, "{}: the key is not 64 hex digits", path.display());
        let now = system_ms();
        let civil = key.civil + (key.speed * (now - key.real) as f64) as i64;
        Ok(Self {
            started: Instant::now(),
            real_base: now,
            civil_base: civil,
            speed: key.speed,
            simulated: true,
            steered: None,
        })
    }

    /// Wall time as people at this center see it.
    pub fn civil(&self) -> CivilTime {
        if let Some(ms) = &self.steered {
            return CivilTime(ms.load(Ordering::Relaxed));
        }
        CivilTime(self.civil_base + (self.started.elapsed().as_millis() as f64 * self.speed) as i64)
    }

    /// Real time, ms since 1970.
    pub fn real(&self) -> i64 {
        if let Some(ms) = &self.steered {
            return ms.load(Ordering::Relaxed);
        }
        self.real_base + self.started.elapsed().as_millis() as i64
    }

    /// Civil milliseconds per real millisecond.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Runs under the demo clock: every page shows a banner, nothing is evidence.
    pub fn simulated(&self) -> bool {
        self.simulated
    }
}
