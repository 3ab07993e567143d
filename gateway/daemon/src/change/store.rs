//! What configuration a gateway runs by, kept so that a restart knows it: `DIR/config`.
//!
//! Two steps, each whole or not at all: the bytes of a configuration go into a file named by their hash, then one small
//! file says which is confirmed and which is being tried. Promises: after an end at any moment, however it came, the next
//! start finds a confirmed configuration whole, or the one that was tried and found good, never half of one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway_journal::{Disk, Storage};
use gateway_wire::{CONFIGURATION_MAX, Configuration, hex, unhex};

/// Which configuration: SHA-256 of its bytes.
pub type Id = [u8; 32];

/// Why not the site file.
const TAKEN_BACK: &str = "the site file was tried and taken back";
/// See [`TAKEN_BACK`]: nobody judged it, but it may be why.
const CRASHED: &str = "the gateway crashed or lost power while the site file was being tried";

/// What is known of configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// Was in force, and healthy.
    pub confirmed: Option<Id>,
    /// The site file when that was taken. Another one since is a person's newer word.
    pub local: Option<Id>,
    /// In force, and watched.
    pub trial: Option<Id>,
    /// Was tried, and taken back.
    pub refused: Option<Id>,
    /// The process ended in good order while one was tried.
    pub stopped: bool,
}

/// What a start begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The site file as it is.
    SiteFile,
    /// A configuration that is kept, and why not the site file.
    Kept(Id, &'static str),
}

impl State {
    /// What an end in the middle of a trial means: a trial that did not end in good order may be why.
    #[must_use]
    pub fn settled(self) -> Self {
        match self.trial {
            Some(trial) if self.stopped => {
                Self { confirmed: Some(trial), trial: None, stopped: false, ..self }
            }
            Some(trial) => Self { refused: Some(trial), trial: None, stopped: false, ..self },
            None => Self { stopped: false, ..self },
        }
    }

    /// What to begin with. `local` = the site file as it is now and whether it is without problems.
    pub fn choose(self, local: Option<Id>, good: bool) -> Choice {
        let state = self.settled();
        let Some(confirmed) = state.confirmed else { return Choice::SiteFile };
        if !good {
            return Choice::Kept(confirmed, "the site file has problems");
        }
        if local == Some(confirmed) {
            return Choice::SiteFile;
        }
        if local.is_some() && local == state.refused {
            return Choice::Kept(confirmed, if self.trial == local { CRASHED } else { TAKEN_BACK });
        }
        if local.is_some() && local == state.local {
            return Choice::Kept(confirmed, "the center's configuration is newer than the site file");
        }
        Choice::SiteFile
    }
}

/// The folder.
#[derive(Clone)]
pub struct Store {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
}

impl Store {
    /// Of a data directory.
    pub fn of(data: &Path) -> Self {
        Self::on(Arc::new(Disk), data)
    }

    /// The same on another storage.
    pub fn on(storage: Arc<dyn Storage>, data: &Path) -> Self {
        Self { storage, dir: data.join("config") }
    }

    /// What is known; nothing, where nothing readable is there.
    pub fn state(&self) -> State {
        let Some(bytes) = self.read(&self.dir.join("state")) else { return State::default() };
        let text = String::from_utf8_lossy(&bytes);
        let mut state = State::default();
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "confirmed" => state.confirmed = unhex(value),
                "local" => state.local = unhex(value),
                "trial" => state.trial = unhex(value),
                "refused" => state.refused = unhex(value),
                "stopped" => state.stopped = true,
                _ => {}
            }
        }
        state
    }

    /// From now on this is known. Configurations that it does not name are forgotten.
    pub fn put(&self, state: State) -> io::Result<()> {
        let ids = [
            ("confirmed", state.confirmed),
            ("local", state.local),
            ("trial", state.trial),
            ("refused", state.refused),
        ];
        let line = |(key, id): (&str, Option<Id>)| id.map(|id| format!("{key} {}\n", hex(&id)));
        let mut text: String = ids.into_iter().filter_map(line).collect();
        if state.stopped {
            text.push_str("stopped\n");
        }
        self.replace("state", text.as_bytes())?;
        let wanted: Vec<String> = ids.iter().filter_map(|(_, id)| Some(hex(&(*id)?))).collect();
        for name in self.storage.list(&self.dir)? {
            if unhex::<32>(&name).is_some() && !wanted.contains(&name) {
                self.storage.remove(&self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    /// Keeps the bytes; durable when it returns.
    pub fn keep(&self, configuration: &Configuration) -> io::Result<Id> {
        let id = configuration.id();
        if self.configuration(id).is_none() {
            self.replace(&hex(&id), &configuration.encode())?;
        }
        Ok(id)
    }

    /// One that is kept, whole; `None` = it is not there, or not what its name says.
    pub fn configuration(&self, id: Id) -> Option<Configuration> {
        let configuration = Configuration::decode(&self.read(&self.dir.join(hex(&id)))?).ok()?;
        (configuration.id() == id).then_some(configuration)
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.storage.open(path, false).ok()?;
        let length =
            usize::try_from(file.length().ok()?).ok().filter(|length| *length <= CONFIGURATION_MAX)?;
        let mut bytes = vec![0; length];
        (file.read_at(0, &mut bytes).ok()? == length).then_some(bytes)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.storage.create_dir_all(&self.dir)?;
        let (path, temporary) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        match self.storage.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = self.storage.create(&temporary)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        self.storage.rename(&temporary, &path)?;
        self.storage.sync_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_journal::faulty::{Fault, Faulty};

    fn configuration(site: &str) -> Configuration {
        Configuration { site: site.to_owned(), files: vec![("own.toml".into(), "x".repeat(5_000))] }
    }

    /// As the gateway does it: keep, try, confirm.
    fn change(store: &Store, next: &Configuration) -> io::Result<()> {
        let id = store.keep(next)?;
        let state = State { trial: Some(id), ..store.state() };
        store.put(state)?;
        store.put(State { confirmed: Some(id), local: Some(id), trial: None, ..state })
    }

    #[test]
    fn power_fails_at_each_write_and_a_start_finds_the_old_or_the_new_one_whole() {
        let (old, new) = (configuration("old"), configuration("new"));
        let data = Path::new("/data");
        let count = {
            let disk = Faulty::new();
            let store = Store::on(Arc::new(disk.clone()), data);
            change(&store, &old).unwrap();
            let before = disk.changes();
            change(&store, &new).unwrap();
            (before, disk.changes())
        };
        assert!(count.1 - count.0 > 8, "the change writes: {count:?}");
        let mut found = Vec::new();
        for n in 0..=count.1 - count.0 {
            // Of what was not synced nothing, half or all is there afterwards.
            for part in [0, 1, 2] {
                let disk = Faulty::new();
                let store = Store::on(Arc::new(disk.clone()), data);
                change(&store, &old).unwrap();
                disk.fail(n, Fault::Dead);
                let ended = change(&store, &new);
                disk.mend();
                disk.power_cut(part == 2, |_, synced, written| match part {
                    _ if synced == written => written.to_vec(),
                    0 => synced.to_vec(),
                    1 => written[..synced.len().midpoint(written.len()).min(written.len())].to_vec(),
                    _ => written.to_vec(),
                });
                let state = store.state();
                // The site file is the new one: only the confirmed one is asked for here.
                let confirmed = state.settled().confirmed.unwrap();
                let whole = store.configuration(confirmed).unwrap();
                assert!(whole == old || whole == new, "write {n}, part {part}");
                assert!(ended.is_err() || whole == new, "write {n}: confirmed, and not there");
                if whole == new {
                    found.push(n);
                }
            }
        }
        assert!(!found.is_empty() && found.len() < 3 * (count.1 - count.0 + 1), "both ends were seen");
    }

    #[test]
    fn the_latest_word_wins_and_a_refused_one_never_comes_back_by_itself() {
        let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
        let state = State { confirmed: Some(a), local: Some(a), ..State::default() };
        assert_eq!(State::default().choose(Some(a), true), Choice::SiteFile, "the first start");
        assert_eq!(state.choose(Some(a), true), Choice::SiteFile);
        assert_eq!(state.choose(Some(b), true), Choice::SiteFile, "edited while it was off");
        assert!(matches!(state.choose(Some(b), false), Choice::Kept(kept, _) if kept == a), "edited badly");
        assert!(matches!(state.choose(None, false), Choice::Kept(kept, _) if kept == a), "unreadable");
        let pushed = State { confirmed: Some(c), ..state };
        assert!(matches!(pushed.choose(Some(a), true), Choice::Kept(kept, _) if kept == c));
        assert_eq!(pushed.choose(Some(b), true), Choice::SiteFile, "edited after the push");
        let crashed = State { trial: Some(b), ..state };
        assert_eq!(crashed.choose(Some(b), true), Choice::Kept(a, CRASHED));
        assert_eq!(crashed.settled().choose(Some(b), true), Choice::Kept(a, TAKEN_BACK));
        let stopped = State { stopped: true, ..crashed };
        assert_eq!(stopped.choose(Some(b), true), Choice::SiteFile);
    }
}
