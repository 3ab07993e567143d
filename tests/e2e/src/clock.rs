//! A demo clock for tests whose world must run faster than the wall: the key file of design §5.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::ground::Place;

/// A key file and what it says.
pub struct Clock {
    path: PathBuf,
    real: i64,
    civil: i64,
    speed: i64,
}

impl Clock {
    /// A clock that begins at `civil` (ms since 1970) now and runs `speed` times as fast.
    pub fn start(place: &Place, civil: i64, speed: i64) -> Self {
        let real = real_now();
        let key = format!("{:064x}", real.unsigned_abs());
        let text = json!({"demo_clock": 1, "real": real, "civil": civil, "speed": speed, "key": key});
        let path = place.write("demo-clock.json", &text.to_string());
        Self { path, real, civil, speed }
    }

    /// The key file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Civil time now, ms.
    pub fn now(&self) -> i64 {
        self.civil + (real_now() - self.real) * self.speed
    }
}

/// The wall's time, ms since 1970.
pub fn real_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_millis() as i64
}
