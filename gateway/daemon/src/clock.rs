//! The one place that reads a clock.
//!
//! Civil time comes from a [`Wall`]: the system's clock, or the demo clock of a key file. Engine time comes from a
//! [`Clock`]: `base + speed × monotonic time`, so it never steps and never decreases, whatever the system's clock
//! does. Time-outs, back-off and TLS run on real time and do not go through here, except that sleeping until an
//! engine time is asked of [`Clock::instant`].
//!
//! The monotonic clock is tokio's, so that all of it follows a runtime whose time a test has paused.
//!
//! Leaves out: what the offset between the two is (an input of the recorder), and re-dating.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gateway_model::{CivilTime, ClockSource, EngineTime};
use serde::Deserialize;

/// A system clock that shows a time before this has never been set: 2024-01-01T00:00:00Z.
const OLDEST_CREDIBLE_MS: i64 = 1_704_067_200_000;
/// What a system clock kept by the operating system may be off by, as far as we can promise, ms.
const SYSTEM_ERROR_MS: i64 = 2_000;
/// Demo speeds beyond this leave no time for one request per polling period.
const SPEED_MAX: f64 = 10_000.0;
/// A sleep longer than this is cut: the caller looks again.
const SLEEP_MAX: Duration = Duration::from_hours(1);

/// Where civil time comes from.
#[derive(Debug, Clone)]
pub struct Wall(Arc<Source>);

#[derive(Debug)]
enum Source {
    System,
    Demo { read_at: Instant, civil_then: i64, speed: f64 },
    Steered(Arc<AtomicI64>),
    Stepped { read_at: Instant, civil_then: i64, step_ms: Arc<AtomicI64> },
}

/// What `--demo-clock` was given is not a demo clock.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The file cannot be read.
    #[error("read the demo clock's key file {path}")]
    Read {
        /// As given.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not one that `cargo demo` wrote.
    #[error("{path} is not a demo clock's key file: {reason}")]
    NotAKey {
        /// As given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
struct KeyFile {
    demo_clock: u32,
    real: i64,
    civil: i64,
    speed: f64,
    key: String,
}

impl Wall {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Arc::new(Source::System))
    }

    /// The demo clock of a key file made by `cargo demo`. The file is read once; from there on the monotonic clock runs.
    pub fn demo(path: &Path) -> Result<Self, ClockError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ClockError::Read { path: shown.clone(), source })?;
        let bad = |reason: &str| ClockError::NotAKey { path: shown.clone(), reason: reason.to_owned() };
        let file: KeyFile = serde_json::from_str(&text).map_err(|error| bad(&error.to_string()))?;
        if file.demo_clock != 1 {
            return Err(bad("version is not 1"));
        }
        if file.key.len() != 64 || !file.key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad("the key is not 64 hex digits"));
        }
        if !(file.speed > 0.0 && file.speed <= SPEED_MAX) {
            return Err(bad("the speed is outside 0..=10000"));
        }
        let passed = system_ms().saturating_sub(file.real).max(0);
        let civil_then = file.civil.saturating_add((passed as f64 * file.speed) as i64);
        Ok(Self(Arc::new(Source::Demo { read_at: instant(), civil_then, speed: file.speed })))
    }

    /// A demo clock that starts at `civil` now: for tests.
    pub fn demo_from(civil: CivilTime, speed: f64) -> Self {
        Self(Arc::new(Source::Demo { read_at: instant(), civil_then: civil.0, speed }))
    }

    /// Civil time is what the caller last put there: for tests in virtual time.
    pub fn steered(civil_ms: Arc<AtomicI64>) -> Self {
        Self(Arc::new(Source::Steered(civil_ms)))
    }

    /// Civil time runs from `civil` on, off by what the caller last put into `step_ms`: for tests in virtual time.
    pub fn stepped(civil: CivilTime, step_ms: Arc<AtomicI64>) -> Self {
        Self(Arc::new(Source::Stepped { read_at: instant(), civil_then: civil.0, step_ms }))
    }

    /// Civil time now, if anybody here knows it.
    pub fn civil(&self) -> Option<CivilTime> {
        match &*self.0 {
            Source::System => {
                let now = system_ms();
                (now >= OLDEST_CREDIBLE_MS).then_some(CivilTime(now))
            }
            Source::Steered(civil_ms) => Some(CivilTime(civil_ms.load(Ordering::Relaxed))),
            Source::Stepped { read_at, civil_then, step_ms } => Some(CivilTime(
                civil_then
                    .saturating_add(scaled(since(*read_at), 1.0))
                    .saturating_add(step_ms.load(Ordering::Relaxed)),
            )),
            Source::Demo { read_at, civil_then, speed } => Some(CivilTime(
                civil_then.saturating_add(scaled(instant().saturating_duration_since(*read_at), *speed)),
            )),
        }
    }

    /// How civil time is known, and the largest error it admits in ms.
    pub fn source(&self) -> (ClockSource, Option<i64>) {
        match &*self.0 {
            Source::System if self.civil().is_some() => (ClockSource::System, Some(SYSTEM_ERROR_MS)),
            Source::System => (ClockSource::Unknown, None),
            Source::Demo { .. } | Source::Steered(_) | Source::Stepped { .. } => (ClockSource::Demo, Some(0)),
        }
    }

    /// True under the demo clock: records made with it say `simulated` and are never evidence.
    pub fn simulated(&self) -> bool {
        matches!(&*self.0, Source::Demo { .. } | Source::Steered(_) | Source::Stepped { .. })
    }

    /// Seconds of the gateway's time per second of real time.
    pub fn speed(&self) -> f64 {
        match &*self.0 {
            Source::System | Source::Steered(_) | Source::Stepped { .. } => 1.0,
            Source::Demo { speed, .. } => *speed,
        }
    }
}

/// Engine time from a known moment on.
#[derive(Debug, Clone)]
pub struct Clock {
    wall: Wall,
    started: Instant,
    base: EngineTime,
    speed: f64,
}

impl Clock {
    /// Engine time is `base` now.
    pub fn start(wall: Wall, base: EngineTime) -> Self {
        let speed = wall.speed();
        Self { wall, started: instant(), base, speed }
    }

    /// Engine time now.
    pub fn now(&self) -> EngineTime {
        self.at(instant())
    }

    /// Engine time at a moment; `base` for all moments before the start.
    pub fn at(&self, moment: Instant) -> EngineTime {
        self.base.plus(scaled(moment.saturating_duration_since(self.started), self.speed))
    }

    /// When, in real time, engine time reaches `at`. At most an hour ahead: look again then.
    pub fn instant(&self, at: EngineTime) -> Instant {
        let now = instant();
        let ahead_ms = at.since(self.at(now)).max(0) as f64 / self.speed;
        // Rounded up, so that the moment has really come when the sleeper wakes.
        now + Duration::from_secs_f64((ahead_ms / 1000.0).min(SLEEP_MAX.as_secs_f64()))
            + Duration::from_micros(500)
    }

    /// A span of the gateway's time in real time.
    pub fn real(&self, span: Duration) -> Duration {
        span.div_f64(self.speed)
    }

    /// Where civil time comes from.
    pub fn wall(&self) -> &Wall {
        &self.wall
    }
}

/// The moment, for stamping a request: virtual where a test has paused tokio's time.
pub fn instant() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How much time has passed since a moment.
pub fn since(moment: Instant) -> Duration {
    instant().saturating_duration_since(moment)
}

fn scaled(passed: Duration, speed: f64) -> i64 {
    // Exact at speed 1, where a float would lose milliseconds after years.
    if speed.to_bits() == 1.0_f64.to_bits() {
        i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)
    } else {
        (passed.as_secs_f64() * 1000.0 * speed) as i64
    }
}

fn system_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_time_starts_at_its_base_and_runs_at_speed() {
        let clock = Clock::start(Wall::demo_from(CivilTime(1_000), 60.0), EngineTime(5_000));
        let later = clock.started + Duration::from_secs(2);
        assert_eq!(clock.at(later), EngineTime(125_000));
        assert_eq!(clock.at(clock.started), EngineTime(5_000));
        assert_eq!(clock.real(Duration::from_mins(1)), Duration::from_secs(1));
    }

    #[test]
    fn a_sleeper_wakes_when_its_moment_has_come() {
        let clock = Clock::start(Wall::system(), EngineTime(0));
        for ms in [0, 1, 17, 1_000, 59_999] {
            assert!(clock.at(clock.instant(EngineTime(ms))) >= EngineTime(ms), "{ms}");
        }
    }

    #[test]
    fn only_a_key_file_makes_a_demo_clock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = "ab".repeat(32);
        let good = format!(
            "{{\"demo_clock\":1,\"real\":{},\"civil\":1000,\"speed\":60,\"key\":\"{key}\"}}",
            system_ms()
        );
        for (text, ok) in [
            (good.as_str(), true),
            ("{}", false),
            (&good.replace("\"demo_clock\":1", "\"demo_clock\":2"), false),
            (&good.replace(":60,", ":0,"), false),
            (&good.replace(&key, "short"), false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Wall::demo(&path).is_ok(), ok, "{text}");
        }
        assert!(Wall::demo(&dir.path().join("nothing")).is_err());
    }
}
