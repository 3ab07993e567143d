//! The one place that reads a clock: civil time = base + speed × monotonic time passed, or a time held by whoever steps it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::civil::Civil;

/// How often a held clock is looked at by those who wait for it, real time.
const HELD_LOOK: Duration = Duration::from_millis(20);
/// The longest a running clock is waited for in one piece, real time: a century off is no overflow.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Civil time that runs at a speed, or stands until it is stepped. Clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Running { base: Civil, speed: f64, since: Instant },
    Held(Arc<AtomicI64>),
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
        Self::starting(Civil(system_ms()), speed)
    }

    /// From a given moment, running at `speed`.
    #[must_use]
    pub fn starting(base: Civil, speed: f64) -> Self {
        Self(Kind::Running { base, speed, since: Instant::now() })
    }

    /// Standing at a given moment until [`Clock::step`].
    #[must_use]
    pub fn held(at: Civil) -> Self {
        Self(Kind::Held(Arc::new(AtomicI64::new(at.0))))
    }

    /// Moves a held clock on; `None` for one that runs by itself, or a step that is not positive.
    pub fn step(&self, by: Duration) -> Option<Civil> {
        let by = i64::try_from(by.as_millis()).ok().filter(|by| *by > 0)?;
        match &self.0 {
            Kind::Held(at) => {
                let moved = |at: i64| at.checked_add(by);
                let before = at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved).ok()?;
                Some(Civil(before + by))
            }
            Kind::Running { .. } => None,
        }
    }

    /// Times real time; `None` for a held clock.
    #[must_use]
    pub const fn speed(&self) -> Option<f64> {
        match &self.0 {
            Kind::Running { speed, .. } => Some(*speed),
            Kind::Held(_) => None,
        }
    }

    /// Returns when it is this late.
    pub async fn until(&self, at: Civil) {
        loop {
            let missing = at.0.saturating_sub(self.now().0);
            if missing <= 0 {
                return;
            }
            let pause = match &self.0 {
                // At least a millisecond: rounding must not make it turn on the spot.
                Kind::Running { speed, .. } => Duration::from_secs_f64(
                    (missing as f64 / 1000.0 / speed).clamp(0.001, WAIT_MAX.as_secs_f64()),
                ),
                Kind::Held(_) => HELD_LOOK,
            };
            tokio::time::sleep(pause).await;
        }
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
        match &self.0 {
            Kind::Running { base, speed, since } => {
                let passed = since.elapsed().as_secs_f64() * speed * 1000.0;
                Civil(base.0 + passed as i64)
            }
            Kind::Held(at) => Civil(at.load(Ordering::Relaxed)),
        }
    }
}

/// Highest speed: above it a second of a world costs more than it lasts.
pub const SPEED_MAX: f64 = 10_000.0;

fn system_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as i64)
}
