//! What a sink remembers, in a folder of its own:
//!
//! ```text
//! DATA/sinks/NAME/plan.json     how it was configured last (secrets are names of files): what draining needs
//! DATA/sinks/NAME/state.json    cursor, and what was known of the clock there
//! DATA/sinks/NAME/gaps.json     spans it will never get
//! DATA/sinks/NAME/late.json     messages that made room for others, with their attempts
//! DATA/sinks/NAME/aside.jsonl   what the target would not take, with its words; the one before it as aside.1.jsonl
//! DATA/sinks/NAME/stopped.json  the target wants nothing more; gone once a person resumes it
//! DATA/sinks/NAME/lock          held by whoever sends
//! ```
//!
//! A damaged file counts as none and is said: a sink without a cursor begins as a new one would. The folder of a sink that
//! is no longer configured stays: it is parked.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gateway_journal::{Position, replace_file};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::core::{Late, Parcel};
use super::gaps::Gaps;
use crate::config::SinkPlan;

/// Bytes of one file of parcels set aside; with the one before it twice as much is kept.
const ASIDE_MAX: u64 = 4 << 20;

/// The folder of one sink, for whoever holds its lock.
pub struct Store {
    dir: PathBuf,
    saved: Saved,
    _lock: File,
}

/// The cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// Epoch and seq of the last record that is done.
    pub cursor: Option<(u64, u64)>,
    /// Civil − engine time there, ms.
    pub offset_ms: Option<i64>,
}

/// A parcel that the target would not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// When, ms since 1970, by the system's clock.
    pub at: i64,
    /// What it said.
    pub words: String,
    /// What it was.
    pub parcel: Parcel,
}

/// The target wants nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// When, ms since 1970, by the system's clock.
    pub at: i64,
    /// What it said.
    pub words: String,
}

/// Where sinks remember: under the data directory.
pub fn root(data: &Path) -> PathBuf {
    data.join("sinks")
}

/// The names of all sinks that ever were, sorted.
pub fn names(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(root(data)).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("plan.json").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}

impl Store {
    /// Opens the folder of a sink, making it where it is new; fails where another process has it.
    pub fn open(data: &Path, plan: &SinkPlan) -> anyhow::Result<Self> {
        let dir = root(data).join(&plan.name);
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let path = dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.with_context(|| format!("open {}", path.display()))?;
        lock.try_lock()
            .map_err(|_| anyhow::anyhow!("the sink `{}` is in use by another process", plan.name))?;
        let saved = read(&dir.join("state.json")).unwrap_or_default();
        let store = Self { dir, saved, _lock: lock };
        if store.plan().as_ref() != Some(plan) {
            store.write("plan.json", plan)?;
        }
        Ok(store)
    }

    /// The cursor as saved.
    pub fn saved(&self) -> Saved {
        self.saved
    }

    /// Durable when it returns; nothing is written where nothing has changed.
    pub fn save(&mut self, cursor: Option<Position>, offset_ms: Option<i64>) -> anyhow::Result<()> {
        let saved = Saved { cursor: cursor.map(|cursor| (cursor.epoch, cursor.seq)), offset_ms };
        if saved != self.saved {
            self.write("state.json", &saved)?;
            self.saved = saved;
        }
        Ok(())
    }

    /// How it was configured last.
    pub fn plan(&self) -> Option<SinkPlan> {
        read(&self.dir.join("plan.json"))
    }

    /// Messages that made room for others.
    pub fn late(&self) -> Vec<Late> {
        read(&self.dir.join("late.json")).unwrap_or_default()
    }

    /// Durable when it returns.
    pub fn save_late(&self, late: &[Late]) -> anyhow::Result<()> {
        self.write("late.json", &late)
    }

    /// Spans it will never get.
    pub fn gaps(&self) -> Gaps {
        gaps(&self.dir)
    }

    /// Durable when it returns.
    pub fn save_gaps(&self, gaps: &Gaps) -> anyhow::Result<()> {
        self.write("gaps.json", gaps)
    }

    /// Keeps a parcel that the target would not take; durable when it returns.
    pub fn aside(&self, parcel: &Parcel, words: &str) -> anyhow::Result<()> {
        let path = self.dir.join("aside.jsonl");
        let write = || -> anyhow::Result<()> {
            if fs::metadata(&path).is_ok_and(|meta| meta.len() >= ASIDE_MAX) {
                fs::rename(&path, self.dir.join("aside.1.jsonl"))?;
            }
            let aside = Aside { at: now_ms(), words: words.to_owned(), parcel: parcel.clone() };
            let mut line = serde_json::to_vec(&aside)?;
            line.push(b'\n');
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(&line)?;
            file.sync_all()?;
            Ok(File::open(&self.dir)?.sync_all()?)
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    /// The target wants nothing more; durable when it returns.
    pub fn stop(&self, words: &str) -> anyhow::Result<()> {
        self.write("stopped.json", &Stopped { at: now_ms(), words: words.to_owned() })
    }

    /// Did it say so, and has nobody resumed it since?
    pub fn stopped(&self) -> Option<Stopped> {
        stopped(&self.dir)
    }

    fn write(&self, name: &str, what: &impl Serialize) -> anyhow::Result<()> {
        Ok(replace_file(&self.dir.join(name), &serde_json::to_vec_pretty(what)?)?)
    }
}

/// What a folder holds, without its lock: for showing.
#[derive(Debug, Clone, Serialize)]
pub struct Held {
    /// The sink's name.
    pub name: String,
    /// How it was configured last.
    #[serde(skip)]
    pub plan: Option<SinkPlan>,
    /// The cursor.
    pub saved: Saved,
    /// Spans it will never get.
    pub gaps: Gaps,
    /// Messages that made room for others.
    pub late: Vec<Late>,
    /// Parcels set aside.
    pub aside: u64,
    /// The target wants nothing more.
    pub stopped: Option<Stopped>,
}

/// Looks into a folder; `None` = there is no such sink.
pub fn look(data: &Path, name: &str) -> Option<Held> {
    if !names(data).iter().any(|known| known == name) {
        return None;
    }
    let dir = root(data).join(name);
    Some(Held {
        name: name.to_owned(),
        plan: read(&dir.join("plan.json")),
        saved: read(&dir.join("state.json")).unwrap_or_default(),
        gaps: gaps(&dir),
        late: read(&dir.join("late.json")).unwrap_or_default(),
        aside: asides(data, name).len() as u64,
        stopped: stopped(&dir),
    })
}

/// Everything set aside that is still kept, oldest first.
pub fn asides(data: &Path, name: &str) -> Vec<Aside> {
    let dir = root(data).join(name);
    let files = ["aside.1.jsonl", "aside.jsonl"].map(|file| File::open(dir.join(file)));
    let lines = files.into_iter().flatten().flat_map(|file| std::io::BufReader::new(file).lines());
    // The last line may be half written where the power went.
    lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()).collect()
}

/// Lets a stopped sink go on. False where it was not stopped.
pub fn resume(data: &Path, name: &str) -> anyhow::Result<bool> {
    let path = root(data).join(name).join("stopped.json");
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("remove {}", path.display())),
    }
}

/// Forgets a sink: cursor, lists and all. Its lock is held by the caller.
pub fn forget(data: &Path, store: &Store) -> anyhow::Result<()> {
    let dir = store.dir.clone();
    anyhow::ensure!(dir.starts_with(root(data)), "{} is not a sink's folder", dir.display());
    fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))
}

fn gaps(dir: &Path) -> Gaps {
    read(&dir.join("gaps.json")).unwrap_or_default()
}

fn stopped(dir: &Path) -> Option<Stopped> {
    let path = dir.join("stopped.json");
    // One that cannot be read still says that a person is needed.
    let unreadable = || Stopped { at: 0, words: "stopped.json is damaged".to_owned() };
    path.exists().then(|| read(&path).unwrap_or_else(unreadable))
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    match serde_json::from_slice(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "damaged: read as if it were not there");
            None
        }
    }
}

/// The system's clock: only for the notes of a person, never for what is sent.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
