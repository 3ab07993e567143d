//! The one place that reads a clock: civil time = base + speed × monotonic time passed.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::civil::Civil;

/// Civil time that runs at a speed.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Civil,
    speed: f64,
    since: Instant,
}

/// Why a demo clock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// Not readable.
    #[error("cannot read the demo clock {0}")]
    Read(String, #[source] std::io::Error),
    /// Not what `cargo demo` writes.
    #[error("{0} is no demo clock")]
    Format(String, #[source] serde_json::Error),
    /// Of a version this program does not know, or standing still.
    #[error("{0} is no demo clock this program can follow: version {1}, speed {2}")]
    Version(String, u64, f64),
}

/// The key file written by `cargo demo`. Its key is for those who sign; here it is not read.
#[derive(serde::Deserialize)]
struct KeyFile {
    demo_clock: u64,
    real: i64,
    civil: i64,
    speed: f64,
}

impl Clock {
    /// The system's civil time now, running at `speed` from here.
    #[must_use]
    pub fn system(speed: f64) -> Self {
        Self { base: Civil(system_ms()), speed, since: Instant::now() }
    }

    /// From a given moment, running at `speed`.
    #[must_use]
    pub fn starting(base: Civil, speed: f64) -> Self {
        Self { base, speed, since: Instant::now() }
    }

    /// The clock of a demo; from here on it runs on monotonic time.
    pub fn demo(path: &Path) -> Result<Self, ClockError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ClockError::Read(name.clone(), e))?;
        let file: KeyFile = serde_json::from_str(&text).map_err(|e| ClockError::Format(name.clone(), e))?;
        if file.demo_clock != 1 || !(file.speed > 0.0 && file.speed <= SPEED_MAX) {
            return Err(ClockError::Version(name, file.demo_clock, file.speed));
        }
        let passed = (system_ms() - file.real) as f64 * file.speed;
        Ok(Self::starting(Civil(file.civil + passed as i64), file.speed))
    }

    /// Civil time now.
    #[must_use]
    pub fn now(&self) -> Civil {
        let passed = self.since.elapsed().as_secs_f64() * self.speed * 1000.0;
        Civil(self.base.0 + passed as i64)
    }
}

/// Highest speed: above it a second of a world costs more than it lasts.
pub const SPEED_MAX: f64 = 10_000.0;

fn system_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as i64)
}
