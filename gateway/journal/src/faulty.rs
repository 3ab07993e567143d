//! A storage in memory that fails and loses power when a test says so.
//!
//! It keeps for every file what a program sees and what would survive a power cut, the same for names in folders, and
//! counts every operation that changes anything, so that a test can fail the n-th one for every n.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Handle, Storage};

/// How the operation that fails leaves things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done.
    Refused,
    /// A write got so many bytes to the file; a sync did nothing. Both are reported as failed.
    Partly(usize),
    /// A sync fails, and what it should have written is never written: a later sync of the same file reports success all the
    /// same, as Linux does. Anything but a sync is refused.
    Dropped,
    /// The same, and every operation after it fails too: the process sees a dead disk.
    Dead,
}

/// A storage in memory. Clones are the same storage.
#[derive(Clone, Default)]
pub struct Faulty {
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
struct World {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    changes: usize,
    fail: Option<(usize, Fault)>,
    room: Option<Room>,
    read_only: bool,
    forget_syncs: bool,
}

/// How much the disk holds.
#[derive(Clone, Copy)]
struct Room {
    bytes: usize,
    files: usize,
}

#[derive(Default, Clone)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Bytes that a failed sync dropped: they get to the disk only when they are written again.
    dropped: Vec<bool>,
}

impl Content {
    /// A sync failed for good.
    fn drop_unsynced(&mut self) {
        let durable = &self.durable;
        self.dropped = self.seen.iter().enumerate().map(|(i, byte)| durable.get(i) != Some(byte)).collect();
    }

    fn sync(&mut self) {
        let mut durable = self.seen.clone();
        for (i, byte) in durable.iter_mut().enumerate().filter(|(i, _)| self.dropped.get(*i) == Some(&true)) {
            *byte = self.durable.get(i).copied().unwrap_or(0);
        }
        self.durable = durable;
    }

    fn cut(&mut self, length: usize) {
        self.seen.resize(length, 0);
        self.dropped.truncate(length);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.seen.resize(self.seen.len().max(end), 0);
        self.seen[offset..end].copy_from_slice(bytes);
        self.dropped.iter_mut().take(end).skip(offset).for_each(|dropped| *dropped = false);
    }
}

impl Faulty {
    /// An empty storage that works.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the `n`-th change from now on (from 0) fail.
    pub fn fail(&self, n: usize, fault: Fault) {
        let mut world = self.world();
        world.fail = Some((world.changes + n, fault));
    }

    /// Everything works again.
    pub fn mend(&self) {
        self.world().fail = None;
    }

    /// From now on the disk holds so many bytes and files; what is there already stays. A write that does not fit gets
    /// as far as there is room, as on a real disk. Writing over what is there takes none.
    pub fn room(&self, bytes: usize, files: usize) {
        self.world().room = Some(Room { bytes, files });
    }

    /// The disk is as large as one likes again.
    pub fn unlimited(&self) {
        self.world().room = None;
    }

    /// Bytes of all files.
    pub fn used(&self) -> usize {
        self.world().used()
    }

    /// Mounted read-only, as Linux does after an error of the disk.
    pub fn read_only(&self, read_only: bool) {
        self.world().read_only = read_only;
    }

    /// From now on a sync says that it is done and does nothing: a disk that lies. What no journal survives; for controls.
    pub fn forget_syncs(&self, forget: bool) {
        self.world().forget_syncs = forget;
    }

    /// Changes so far: creations, writes, cuts, syncs, renames, removals.
    pub fn changes(&self) -> usize {
        self.world().changes
    }

    /// Power cut: what was not synced is as `survives` says, given path, durable bytes and bytes last seen; names not
    /// synced are lost unless `names` is true. Locks are gone.
    pub fn power_cut(&self, names: bool, mut survives: impl FnMut(&Path, &[u8], &[u8]) -> Vec<u8>) {
        let mut world = self.world();
        let world = &mut *world;
        if !names {
            world.names = world.durable_names.clone();
        }
        for (path, file) in &world.names {
            let content = &mut world.files[*file];
            content.seen = survives(path, &content.durable, &content.seen);
            content.durable = content.seen.clone();
            content.dropped.clear();
        }
        world.durable_names = world.names.clone();
        world.locks.clear();
        world.fail = None;
    }

    /// The same bytes on a disk of their own, with no lock held and nothing failing.
    #[must_use]
    pub fn copy(&self) -> Self {
        let world = self.world();
        let copy = World {
            files: world.files.clone(),
            names: world.names.clone(),
            durable_names: world.durable_names.clone(),
            folders: world.folders.clone(),
            ..World::default()
        };
        Self { world: Arc::new(Mutex::new(copy)) }
    }

    /// Names of all files under `dir`.
    pub fn paths(&self, dir: &Path) -> Vec<PathBuf> {
        self.world().names.keys().filter(|path| path.starts_with(dir)).cloned().collect()
    }

    /// Bytes of a file, to look at.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world();
        world.names.get(path).map(|file| world.files[*file].seen.clone())
    }

    /// Changes bytes of a file behind everybody's back.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        if let Some(file) = world.names.get(path).copied() {
            let content = &mut world.files[file];
            change(&mut content.seen);
            content.durable = content.seen.clone();
        }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Counts a change; an error where it is the one that fails.
    fn change(&mut self) -> Result<(), (Fault, io::Error)> {
        let n = self.changes;
        self.changes += 1;
        if self.read_only {
            return Err((Fault::Refused, io::Error::from(io::ErrorKind::ReadOnlyFilesystem)));
        }
        match self.fail {
            Some((at, fault)) if n == at || (fault == Fault::Dead && n > at) => {
                Err((fault, io::Error::other("injected fault")))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn used(&self) -> usize {
        self.names.values().map(|file| self.files[*file].seen.len()).sum()
    }

    /// How many of `wanted` more bytes there is room for.
    fn fits(&self, wanted: usize) -> usize {
        self.room.map_or(wanted, |room| wanted.min(room.bytes.saturating_sub(self.used())))
    }

    fn plainly(&mut self) -> io::Result<()> {
        self.change().map_err(|(_, error)| error)
    }
}

struct Open {
    storage: Faulty,
    file: usize,
}

struct Lock {
    storage: Faulty,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.storage.world().locks.remove(&self.path);
    }
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Storage for Faulty {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // Folders are made durable by whoever installs the gateway: not part of the model.
        self.world().folders.insert(dir.to_owned());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        let names = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Handle>> {
        let mut world = self.world();
        world.plainly()?;
        if world.names.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        if world.room.is_some_and(|room| world.names.len() >= room.files) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let file = world.files.len();
        world.files.push(Content::default());
        world.names.insert(path.to_owned(), file);
        Ok(Box::new(Open { storage: self.clone(), file }))
    }

    fn open(&self, path: &Path, _write: bool) -> io::Result<Box<dyn Handle>> {
        let file = self.world().names.get(path).copied().ok_or_else(not_found)?;
        Ok(Box::new(Open { storage: self.clone(), file }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        if !world.names.contains_key(path) {
            return Err(not_found());
        }
        world.plainly()?;
        world.names.remove(path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.plainly()?;
        let file = world.names.remove(from).ok_or_else(not_found)?;
        world.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.plainly()?;
        let world = &mut *world;
        world.durable_names.retain(|path, _| path.parent() != Some(dir));
        let names = world.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        world.durable_names.extend(names.map(|(path, file)| (path.clone(), *file)));
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let free = self.world().locks.insert(path.to_owned());
        Ok(free
            .then(|| Box::new(Lock { storage: self.clone(), path: path.to_owned() }) as Box<dyn Send + Sync>))
    }
}

impl Handle for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.storage.world().files[self.file].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let world = self.storage.world();
        let bytes = world.files[self.file].seen.get(offset as usize..).unwrap_or_default();
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.storage.world();
        let result = world.change();
        let written = match &result {
            Ok(()) => bytes,
            Err((Fault::Partly(n), _)) => &bytes[..bytes.len().min(*n)],
            Err((Fault::Refused | Fault::Dropped | Fault::Dead, _)) => &[],
        };
        let length = world.files[self.file].seen.len();
        let grown = (offset as usize + written.len()).saturating_sub(length);
        let lacking = grown - world.fits(grown);
        let written = &written[..written.len().saturating_sub(lacking)];
        if !written.is_empty() {
            world.files[self.file].write(offset as usize, written);
        }
        result.map_err(|(_, error)| error)?;
        if lacking > 0 { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut world = self.storage.world();
        world.plainly()?;
        world.files[self.file].cut(length as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.storage.world();
        let result = world.change();
        let forget = world.forget_syncs;
        let content = &mut world.files[self.file];
        match &result {
            Ok(()) if !forget => content.sync(),
            Err((Fault::Dropped, _)) => content.drop_unsynced(),
            Ok(()) | Err((Fault::Refused | Fault::Partly(_) | Fault::Dead, _)) => {}
        }
        result.map_err(|(_, error)| error)
    }
}
