//! Small durable files: a receiver's cursor, and whatever else must be either the old or the new whole.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Disk, JournalError, Position, Storage};

/// Replaces a file by these bytes: write a temporary one, sync it, rename, sync the folder. After a crash the file
/// holds the old bytes or the new ones.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    replace_on(&Disk, path, bytes)
}

pub(crate) fn replace_on(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let write = || {
        match storage.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let handle = storage.create(&new)?;
        handle.write_at(0, bytes)?;
        handle.sync()?;
        storage.rename(&new, path)?;
        storage.sync_dir(path.parent().unwrap_or(Path::new(".")))
    };
    write().map_err(JournalError::io("replace", path))
}

/// All bytes of a small file; `None` = there is none.
pub(crate) fn read_small(storage: &dyn Storage, path: &Path) -> Result<Option<Vec<u8>>, JournalError> {
    /// Ours have some fifty bytes; a longer file is none of ours.
    const SMALL: usize = 256;
    let handle = match storage.open(path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(JournalError::io("open", path))?,
    };
    let mut bytes = vec![0; SMALL];
    let n = handle.read_at(0, &mut bytes).map_err(JournalError::io("read", path))?;
    bytes.truncate(n);
    Ok(Some(bytes))
}

/// How far a receiver has come: a file of one line, `<epoch> <seq> <crc32c>`.
///
/// A damaged or missing file reads as `None`: the receiver begins again and takes what it already has as a
/// duplicate. So a cursor may be lost, but never runs ahead of what was saved.
pub struct CursorFile {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    position: Option<Position>,
}

impl CursorFile {
    /// Reads the cursor in this file, if there is one.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(Disk), path)
    }

    /// The same on another storage.
    pub fn open_on(storage: Arc<dyn Storage>, path: &Path) -> Result<Self, JournalError> {
        let position = read_small(&*storage, path)?.and_then(|bytes| parse(&bytes));
        Ok(Self { storage, path: path.to_owned(), position })
    }

    /// The last one saved.
    pub fn get(&self) -> Option<Position> {
        self.position
    }

    /// Saves a position, durably. Nothing is written where it is the same as before.
    pub fn save(&mut self, position: Position) -> Result<(), JournalError> {
        if self.position != Some(position) {
            replace_on(&*self.storage, &self.path, line(position).as_bytes())?;
            self.position = Some(position);
        }
        Ok(())
    }
}

pub(crate) fn line(position: Position) -> String {
    let text = format!("{} {}", position.epoch, position.seq);
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text} {crc:08x}\n")
}

pub(crate) fn parse(bytes: &[u8]) -> Option<Position> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.split_ascii_whitespace();
    let epoch = words.next()?.parse().ok()?;
    let seq = words.next()?.parse().ok()?;
    let position = Position { epoch, seq };
    (line(position) == text).then_some(position)
}
