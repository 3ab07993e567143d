//! The TLS keys of the center that this gateway believes, and how it hears of others.
//!
//! The list is the center's own, signed and stamped: it comes at enrolment, by an order, or, when whoever answers shows
//! none of these keys, by asking that one for the center's statement about itself. Promises: only what the center's key
//! signed is taken, only if it is newer than what is held, and the list is on disk before it counts. So the center may
//! change its TLS key while a gateway is away, and who repeats an older statement brings no old key back.
//!
//! Leaves out: connections that stand. They were made with a key that was believed; the next one is checked anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use gateway_model::CivilTime;
use gateway_wire::{Enrolment, Fingerprint, hex, unhex};

use crate::clock;
use crate::state::{StateError, read, replace};

/// Under which name the list lies in the data directory.
const FILE: &str = "pins";
/// The center is not asked again sooner than this who it is, real time.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// One list of keys with its stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// When the center made it.
    pub issued: CivilTime,
    /// The keys, besides what public roots vouch for.
    pub keys: Vec<Fingerprint>,
}

impl Held {
    /// As in the data directory: the stamp, then one key a line.
    fn text(&self) -> String {
        let mut text = format!("{}\n", self.issued.0);
        for key in &self.keys {
            writeln!(text, "{}", hex(&key.0)).expect("writing into memory cannot fail");
        }
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let issued = CivilTime(lines.next()?.parse().ok()?);
        let keys = lines.map(|line| unhex(line).map(Fingerprint)).collect::<Option<_>>()?;
        Some(Self { issued, keys })
    }

    /// Keeps it in a data directory, in the place of what is there.
    pub fn store(&self, data: &Path) -> Result<(), StateError> {
        replace(&data.join(FILE), self.text().as_bytes())
    }
}

/// What became of a list that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// It counts from now on.
    Taken,
    /// It is the one that is held.
    Known,
    /// The one that is held is newer, or has the same stamp and says something else.
    Older,
}

/// The list of a running gateway, shared by all who connect.
#[derive(Debug, Clone)]
pub struct Pins(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    held: RwLock<Held>,
    /// Where it is kept, if anywhere.
    data: OnceLock<PathBuf>,
    /// Somebody showed a key that is not in it.
    doubted: AtomicBool,
    asked: Mutex<Option<Instant>>,
}

impl Pins {
    /// Believes this list, in memory.
    pub fn new(held: Held) -> Self {
        Self(Arc::new(Shared {
            held: RwLock::new(held),
            data: OnceLock::new(),
            doubted: AtomicBool::new(false),
            asked: Mutex::default(),
        }))
    }

    /// What the center stated at enrolment.
    pub fn enrolled(enrolment: &Enrolment) -> Self {
        Self::new(Held { issued: enrolment.issued, keys: enrolment.tls_keys.clone() })
    }

    /// Goes on with what this data directory holds, if it holds a list, and keeps there what is learnt.
    pub fn keep_in(&self, data: &Path) -> Result<(), StateError> {
        let path = data.join(FILE);
        if let Some(bytes) = read(&path)? {
            if let Some(held) = std::str::from_utf8(&bytes).ok().and_then(Held::parse) {
                *self.write() = held;
            } else {
                // A gateway must get home: it asks the center again where these keys are not the ones shown.
                tracing::warn!(
                    path = %path.display(),
                    "damaged, and not used: the TLS keys of the enrolment are believed"
                );
            }
        }
        self.0.data.get_or_init(|| data.to_owned());
        Ok(())
    }

    /// The list now.
    pub fn held(&self) -> Held {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Held> {
        self.0.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is this key believed?
    pub fn contains(&self, key: Fingerprint) -> bool {
        self.0.held.read().unwrap_or_else(PoisonError::into_inner).keys.contains(&key)
    }

    /// Takes a list that the center has signed, if it is newer.
    pub fn offer(&self, offered: Held) -> Result<Offered, StateError> {
        let mut held = self.write();
        if *held == offered {
            return Ok(Offered::Known);
        }
        if offered.issued <= held.issued {
            return Ok(Offered::Older);
        }
        if let Some(data) = self.0.data.get() {
            offered.store(data)?;
        }
        *held = offered;
        Ok(Offered::Taken)
    }

    /// Whoever answered showed a key that is not believed.
    pub fn doubt(&self) {
        self.0.doubted.store(true, Ordering::Relaxed);
    }

    /// Is it time to ask who answers there? At most once in [`ASK_EVERY`], and only after a doubt.
    pub fn ask(&self) -> bool {
        if !self.0.doubted.load(Ordering::Relaxed) {
            return false;
        }
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_some_and(|asked| clock::since(asked) < ASK_EVERY) {
            return false;
        }
        *asked = Some(clock::instant());
        self.0.doubted.store(false, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(issued: i64, keys: &[u8]) -> Held {
        Held { issued: CivilTime(issued), keys: keys.iter().map(|byte| Fingerprint([*byte; 32])).collect() }
    }

    #[test]
    fn only_a_newer_list_is_taken_and_it_outlives_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let pins = Pins::new(held(5, &[1]));
        pins.keep_in(data.path()).unwrap();
        assert_eq!(pins.offer(held(5, &[1])).unwrap(), Offered::Known);
        assert_eq!(
            pins.offer(held(5, &[9])).unwrap(),
            Offered::Older,
            "two lists of one stamp: the first stands"
        );
        assert_eq!(pins.offer(held(6, &[1, 2])).unwrap(), Offered::Taken);
        assert_eq!(pins.offer(held(5, &[1])).unwrap(), Offered::Older, "an older one is repeated");
        assert!(pins.contains(Fingerprint([2; 32])));
        // The next start knows its enrolment, and the file.
        let again = Pins::new(held(5, &[1]));
        again.keep_in(data.path()).unwrap();
        assert_eq!(again.held(), held(6, &[1, 2]));
        assert_eq!(again.offer(held(7, &[])).unwrap(), Offered::Taken, "none: public roots only");
        assert!(!again.contains(Fingerprint([2; 32])));
    }

    #[test]
    fn of_a_damaged_list_nothing_is_believed() {
        let data = tempfile::tempdir().unwrap();
        held(6, &[1, 2]).store(data.path()).unwrap();
        let path = data.path().join(FILE);
        let whole = std::fs::read_to_string(&path).unwrap();
        for text in ["", "six\n", &whole[..whole.len() - 3]] {
            std::fs::write(&path, text).unwrap();
            let pins = Pins::new(held(5, &[1]));
            pins.keep_in(data.path()).unwrap();
            assert_eq!(pins.held(), held(5, &[1]), "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_is_asked_after_a_doubt_and_not_all_the_time() {
        let pins = Pins::new(held(5, &[1]));
        assert!(!pins.ask(), "nobody doubts");
        pins.doubt();
        assert!(pins.ask());
        pins.doubt();
        assert!(!pins.ask(), "just asked");
        tokio::time::advance(ASK_EVERY).await;
        assert!(pins.ask());
        assert!(!pins.ask(), "answered: nobody doubts any more");
    }
}
