//! The epoch on disk: two slots, written in turn and in place, so that a full disk does not keep a process from
//! beginning an epoch and a torn write leaves the one before.
//!
//! A slot is one line `<epoch> <seq> <crc32c>`, padded with spaces, at the beginning of a block of its own. The larger
//! good one counts. An older file, of one line only, is read as its first slot.

use std::path::Path;

use crate::{
    JournalError, Position, Storage,
    cursor::{line, parse, replace_on},
};

/// Slots lie in blocks of their own: what tears a write does not reach from one into the other.
const BLOCK: u64 = 4 << 10;
const SLOTS: u64 = 2;
/// Two numbers of 20 digits, a checksum, three separators.
const SLOT: usize = 64;

/// The last epoch begun, if a slot says so.
pub(crate) fn load(storage: &dyn Storage, path: &Path) -> Result<Option<u64>, JournalError> {
    let handle = match storage.open(path, false) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(JournalError::io("open", path))?,
    };
    let mut newest = None;
    for slot in 0..SLOTS {
        let mut bytes = [0; SLOT];
        let n = handle.read_at(slot * BLOCK, &mut bytes).map_err(JournalError::io("read", path))?;
        let text = bytes[..n].split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        newest = newest.max(parse(text).map(|position| position.epoch));
    }
    Ok(newest)
}

/// Makes an epoch durable. Once the file is there this takes no room.
pub(crate) fn store(storage: &dyn Storage, path: &Path, epoch: u64) -> Result<(), JournalError> {
    let mut slot = line(Position { epoch, seq: 0 }).into_bytes();
    slot.resize(SLOT, b' ');
    let at = epoch % SLOTS * BLOCK;
    let in_place = |handle: Box<dyn crate::Handle>| {
        handle.write_at(at, &slot)?;
        handle.sync()
    };
    match storage.open(path, true) {
        Ok(handle) if handle.length().map_err(JournalError::io("measure", path))? == SLOTS * BLOCK => {
            in_place(handle).map_err(JournalError::io("write", path))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(JournalError::io("open", path)(error))
        }
        Ok(_) | Err(_) => {
            let mut file = vec![b' '; (SLOTS * BLOCK) as usize];
            file[at as usize..at as usize + SLOT].copy_from_slice(&slot);
            replace_on(storage, path, &file)
        }
    }
}
