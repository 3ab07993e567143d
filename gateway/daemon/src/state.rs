//! The data directory: key, enrolment, journal, cursors, and a lock so that one process owns it.
//!
//! ```text
//! DIR/key            secret key, 32 bytes in hex, readable by its owner only
//! DIR/key.next       a new one, until it is certain that it signs from now on
//! DIR/keys           the gateway's first key and how others followed it, where there are others
//! DIR/predecessor    records of the box that this one replaces, until its own journal begins
//! DIR/attachments/   what records name by its hash, until the center has it
//! DIR/installation.json  how far the installation has come
//! DIR/photos/         photos of it, by their hash
//! DIR/door           socket of the running gateway, for its owner
//! DIR/enrolment      the center's signed statement, as received
//! DIR/center         the center's address and public key
//! DIR/pins           the TLS keys that the center shows, with the stamp of its statement
//! DIR/journal/       records
//! DIR/cursors/       hints and cursors: each may be lost without harm
//! DIR/lock           held while a process runs
//! ```
//!
//! Every file is replaced as a whole: temporary file, sync, rename, sync of the directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gateway_journal::Position;
use gateway_model::{CivilTime, Epoch};
use gateway_wire::{KeyHistory, KeyRing, SigningKey, Succession, SuccessionCause, VerifyingKey, hex, unhex};

/// Records of a box that is replaced: a day of sealing every five seconds, several times over.
pub const PREDECESSOR_RECORDS_MAX: usize = 200_000;
/// Bytes of them.
pub const PREDECESSOR_MAX: usize = 64 << 20;

/// Something in the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading, writing or creating failed.
    #[error("{action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file is there, but is not what it should be.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// Another process has it.
    #[error("{path} is in use by another gateway process")]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// No randomness for a key.
    #[error("the system gives no random bytes for a key")]
    Random,
}

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    _lock: File,
}

/// What a gateway knows of its center since it enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// `https://…`, without a slash at the end.
    pub url: String,
    /// Its public key.
    pub center: VerifyingKey,
    /// The signed statement.
    pub statement: Vec<u8>,
}

impl DataDir {
    /// Opens, creating what is missing.
    pub fn open(root: &Path) -> Result<Self, StateError> {
        for dir in [root.to_owned(), root.join("cursors")] {
            fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
        }
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io_error("open", &path))?;
        // Released by the system when the process ends, however it ends.
        lock.try_lock().map_err(|_| StateError::InUse { path: root.to_owned() })?;
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    /// Where everything lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where records lie.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The gateway's key, made at the first call.
    pub fn key(&self) -> Result<SigningKey, StateError> {
        let path = self.root.join("key");
        if read(&path)?.is_none() {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).map_err(|_| StateError::Random)?;
            replace(&path, hex(&secret).as_bytes())?;
        }
        let (key, next) = current_key(&self.root)?;
        if next {
            // The change was certain before the process ended.
            let next = self.root.join("key.next");
            fs::rename(&next, &path).map_err(io_error("rename", &next))?;
        }
        Ok(key)
    }

    /// Signs with a new key from the epoch after `epoch` on. It stands once the list of keys is on disk; the caller
    /// begins that epoch.
    pub fn rotate(&self, epoch: Epoch, now: CivilTime) -> Result<(), StateError> {
        let old = self.key()?;
        let mut history = key_history(&self.root)?.unwrap_or_else(|| KeysFile {
            history: KeyHistory { first: old.verifying_key().to_bytes(), successions: Vec::new() },
            center: None,
        });
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| StateError::Random)?;
        replace(&self.root.join("key.next"), hex(&secret).as_bytes())?;
        let said = Succession {
            gateway: old.gateway_id(),
            key: SigningKey::from_bytes(&secret).verifying_key().to_bytes(),
            from: Epoch(epoch.0 + 1),
            last: None,
            cause: SuccessionCause::Rotated,
            issued: now,
        };
        history.history.successions.push(said.seal(&old).into());
        self.keep_history(&history.history, history.center.as_ref())?;
        self.key()?;
        Ok(())
    }

    /// Remembers how the keys followed each other; `center` said those that replaced a box.
    pub fn keep_history(
        &self,
        history: &KeyHistory,
        center: Option<&VerifyingKey>,
    ) -> Result<(), StateError> {
        let center = center.map_or_else(|| "-".to_owned(), |center| hex(&center.to_bytes()));
        let mut text = format!("{}\n{center}\n", hex(&history.first));
        for said in &history.successions {
            text.push_str(&hex(said));
            text.push('\n');
        }
        replace(&self.root.join("keys"), text.as_bytes())
    }

    /// Records of the box that this one replaces; empty = there are none (any more).
    pub fn predecessor(&self) -> Result<Vec<Vec<u8>>, StateError> {
        let path = self.root.join("predecessor");
        let Some(bytes) = read(&path)? else { return Ok(Vec::new()) };
        let records = gateway_wire::unpack(&bytes, PREDECESSOR_RECORDS_MAX);
        let records = records.map_err(|_| StateError::Damaged { path, what: "not a batch of records" })?;
        Ok(records.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// Keeps them until the journal begins.
    pub fn keep_predecessor(&self, records: &[Vec<u8>]) -> Result<(), StateError> {
        replace(&self.root.join("predecessor"), &gateway_wire::pack(records))
    }

    /// The journal has begun: they are in it, as its first checkpoint.
    pub fn forget_predecessor(&self) -> Result<(), StateError> {
        let path = self.root.join("predecessor");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What the gateway knows of its center; `None` = not enrolled.
    pub fn enrolled(&self) -> Result<Option<Enrolled>, StateError> {
        enrolled_at(&self.root)
    }

    /// Remembers the center. The statement goes first: `center` alone would be half an enrolment.
    pub fn enrol(&self, enrolled: &Enrolled) -> Result<(), StateError> {
        replace(&self.root.join("enrolment"), &enrolled.statement)?;
        let text = format!("{}\n{}\n", enrolled.url, hex(&enrolled.center.to_bytes()));
        replace(&self.root.join("center"), text.as_bytes())
    }

    /// A cursor by name.
    pub fn position(&self, name: &str) -> PositionFile {
        PositionFile(self.root.join("cursors").join(name))
    }
}

/// How the keys of the gateway of this directory followed each other.
struct KeysFile {
    history: KeyHistory,
    /// Who said it of those that replaced a box.
    center: Option<VerifyingKey>,
}

fn key_history(root: &Path) -> Result<Option<KeysFile>, StateError> {
    let path = root.join("keys");
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let parsed = || {
        let first = unhex(lines.next()?)?;
        let center = match lines.next()? {
            "-" => None,
            key => Some(VerifyingKey::from_bytes(&unhex(key)?).ok()?),
        };
        let successions =
            lines.map(|line| Some(gateway_wire::unhex_any(line)?.into())).collect::<Option<_>>()?;
        Some(KeysFile { history: KeyHistory { first, successions }, center })
    };
    parsed().map(Some).ok_or(StateError::Damaged { path, what: "not a list of keys" })
}

/// The gateway's keys, and how they followed each other, where there was ever more than one; also while it runs.
pub fn keys_at(root: &Path) -> Result<Option<(KeyRing, KeyHistory)>, StateError> {
    let Some(KeysFile { history, center }) = key_history(root)? else { return Ok(None) };
    let damaged = |_| StateError::Damaged { path: root.join("keys"), what: "a key that nobody vouches for" };
    let ring = history.ring(center.as_ref()).map_err(damaged)?;
    Ok(Some((ring, history)))
}

/// The key that signs, in the name of its gateway, also while it runs.
pub fn key_at(root: &Path) -> Result<SigningKey, StateError> {
    current_key(root).map(|(key, _)| key)
}

/// The key that signs, and whether it still stands beside the one before.
fn current_key(root: &Path) -> Result<(SigningKey, bool), StateError> {
    let load = |name: &str| -> Result<Option<SigningKey>, StateError> {
        let path = root.join(name);
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let damaged = StateError::Damaged { path, what: "not 64 hex digits" };
        let text = String::from_utf8(bytes).ok();
        let secret = text.and_then(|text| unhex(text.trim())).ok_or(damaged)?;
        Ok(Some(SigningKey::from_bytes(&secret)))
    };
    let missing = StateError::Damaged { path: root.join("key"), what: "not there" };
    let key = load("key")?.ok_or(missing)?;
    let Some((ring, _)) = keys_at(root)? else { return Ok((key, false)) };
    let current = |key: &SigningKey| key.verifying_key() == *ring.current();
    if current(&key) {
        return Ok((key.speaking_for(ring.gateway()), false));
    }
    let next = load("key.next")?.filter(current);
    let lost =
        StateError::Damaged { path: root.join("keys"), what: "the secret of its newest key is not there" };
    next.map(|key| (key.speaking_for(ring.gateway()), true)).ok_or(lost)
}

/// What the gateway of this directory knows of its center, also while it runs; `None` = not enrolled.
pub fn enrolled_at(root: &Path) -> Result<Option<Enrolled>, StateError> {
    let path = root.join("center");
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let Some(statement) = read(&root.join("enrolment"))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let url = lines.next().map(str::to_owned);
    let center = lines.next().and_then(unhex).and_then(|key| VerifyingKey::from_bytes(&key).ok());
    match (url, center) {
        (Some(url), Some(center)) => Ok(Some(Enrolled { url, center, statement })),
        _ => Err(StateError::Damaged { path, what: "not an address and a key" }),
    }
}

/// Two numbers that survive a restart: where the newest checkpoint lies, how far the center has receipted, which order
/// was the last. Losing it costs time, never data.
#[derive(Debug, Clone)]
pub struct PositionFile(PathBuf);

impl PositionFile {
    /// `None` = nothing there, or nothing readable.
    pub fn load(&self) -> Option<Position> {
        let text = fs::read_to_string(&self.0).ok()?;
        let (epoch, seq) = text.trim().split_once('/')?;
        Some(Position { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
    }

    /// Durable when it returns.
    pub fn store(&self, position: Position) -> Result<(), StateError> {
        replace(&self.0, format!("{}/{}\n", position.epoch, position.seq).as_bytes())
    }
}

pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    write().map_err(io_error("write", path))
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let key = data.key().unwrap();
        assert_eq!(data.key().unwrap().gateway_id(), key.gateway_id());
        let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join("key"), "what is this").unwrap();
        assert!(matches!(data.key(), Err(StateError::Damaged { .. })), "a damaged key is never replaced");
    }

    #[test]
    fn one_process_owns_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path()).unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(StateError::InUse { .. })));
        drop(first);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn positions_and_enrolment_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let file = data.position("uplink");
        assert_eq!(file.load(), None);
        file.store(Position { epoch: 3, seq: 7 }).unwrap();
        assert_eq!(file.load(), Some(Position { epoch: 3, seq: 7 }));
        assert_eq!(data.enrolled().unwrap(), None);
        let center = SigningKey::from_bytes(&[7; 32]).verifying_key();
        let enrolled = Enrolled { url: "http://127.0.0.1:1".into(), center, statement: vec![1, 2] };
        data.enrol(&enrolled).unwrap();
        assert_eq!(data.enrolled().unwrap(), Some(enrolled));
    }
}
