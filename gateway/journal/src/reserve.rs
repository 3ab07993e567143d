//! Room set aside on disk, so that a gap record, an alert or the first records of an epoch can be written where there is
//! no more.
//!
//! `keep/reserve` is a file of zeros whose blocks the file system has given out already. When an append of
//! [`Journal::append_reserved`] meets a full disk, the file becomes the next segment of the keep set (head written in
//! place, then renamed) and entries are written over its zeros, which takes no room. Zeros behind the entries of a
//! segment are therefore no damage unless a number is missing there. When there is room again, the next ordinary append
//! begins a segment of its own and [`Journal::mend_reserve`] sets the room aside anew.
//!
//! On a file system that writes everything to a new place (btrfs, zfs) the reserve helps against the limit of the keep
//! set, not against a full disk.

use std::path::Path;

use crate::{
    Class, Journal, JournalError, Limits, Position,
    format::{self, Contents, SEGMENT_HEAD},
    open::Places,
    segment::Segment,
    storage::Handle,
};

/// Zeros written at once.
const CHUNK: usize = 64 << 10;
/// A reserve below this holds no checkpoint: rather none.
const RESERVE_MIN: u64 = 8 << 10;

impl Limits {
    /// Bytes of the keep set that only [`Journal::append_reserved`] may use: an eighth, between 16 KiB and 2 MiB, and
    /// at most half.
    pub fn reserve_bytes(self) -> u64 {
        (self.keep_bytes / 8).clamp(16 << 10, 2 << 20).min(self.keep_bytes / 2)
    }
}

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// To go on with.
    Enough,
    /// The keep set is at its limit.
    NoKeep,
    /// The disk is full.
    NoDisk,
}

impl Places {
    fn probe(&self) -> std::path::PathBuf {
        self.set(Class::Keep).join("probe")
    }

    fn reserve(&self) -> std::path::PathBuf {
        self.set(Class::Keep).join("reserve")
    }
}

impl Journal {
    /// Sets the reserve aside again where it is missing or was used, as far as there is room: the whole, or a half, or
    /// a quarter …; returns how many bytes are set aside now. A full disk is no error here.
    pub fn mend_reserve(&mut self) -> Result<u64, JournalError> {
        let wanted = self.limits().reserve_bytes() + SEGMENT_HEAD;
        let path = self.places.reserve();
        if self.lock.is_none() {
            return Ok(self.reserved());
        }
        let there = match self.storage.open(&path, false) {
            Ok(handle) => handle.length().map_err(JournalError::io("measure", &path))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(JournalError::io("open", &path)(error)),
        };
        if there == wanted {
            return Ok(there);
        }
        let mut size = wanted;
        while size >= RESERVE_MIN {
            if size <= there {
                return Ok(there);
            }
            match self.make_reserve(size) {
                Ok(()) => return Ok(size),
                Err(error) if error.is_full() => size /= 2,
                Err(error) => return Err(error),
            }
        }
        Ok(there)
    }

    /// Is there room to go on with, of the limit and of the disk? The latter is tried: as much as the reserve, beside it.
    pub fn room(&mut self) -> Result<Room, JournalError> {
        let (limits, reserve) = (self.limits(), self.limits().reserve_bytes());
        if self.bytes_of(Class::Keep) + reserve / 2 > limits.keep_bytes - reserve {
            return Ok(Room::NoKeep);
        }
        let whole = self.mend_reserve()? > reserve;
        let probe = self.places.probe();
        let tried = self.zeros(&probe, reserve);
        match self.storage.remove(&probe) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(JournalError::io("remove", &probe)(error));
            }
            Ok(()) | Err(_) => {}
        }
        match tried {
            Ok(()) if whole => Ok(Room::Enough),
            Ok(()) => Ok(Room::NoDisk),
            Err(error) if crate::journal::is_full(&error) => Ok(Room::NoDisk),
            Err(error) => Err(JournalError::io("try", &probe)(error)),
        }
    }

    /// Bytes that [`Journal::append_reserved`] finds on a full disk.
    pub fn reserved(&self) -> u64 {
        let handle = self.storage.open(&self.places.reserve(), false);
        let beside = handle.and_then(|handle| handle.length()).unwrap_or(0);
        beside + self.allocated_last().unwrap_or(0)
    }

    fn make_reserve(&self, size: u64) -> Result<(), JournalError> {
        let path = self.places.reserve();
        let make = || {
            self.zeros(&path, size)?;
            self.storage.sync_dir(&self.places.set(Class::Keep))
        };
        make().map_err(|error| {
            // Half a reserve would only take room; if it stays, the next attempt removes it.
            self.storage.remove(&path).ok();
            JournalError::io("set aside", &path)(error)
        })
    }

    /// A file of zeros in place of whatever is there, durable.
    fn zeros(&self, path: &Path, size: u64) -> std::io::Result<()> {
        match self.storage.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let handle = self.storage.create(path)?;
        let zeros = vec![0; CHUNK];
        let mut at = 0;
        while at < size {
            let n = CHUNK.min((size - at) as usize);
            handle.write_at(at, &zeros[..n])?;
            at += n as u64;
        }
        handle.sync()
    }

    /// Room left in the last segment of the keep set, if that was the reserve.
    fn allocated_last(&self) -> Option<u64> {
        let last = self.set(Class::Keep).segments.back()?;
        (!last.full && last.allocated > last.end).then(|| last.allocated - last.end)
    }

    /// Makes the reserve the last segment of the keep set, if `size` bytes of entries fit into it.
    pub(crate) fn open_reserve(&mut self, size: u64, first: Position) -> Result<(), JournalError> {
        let path = self.places.reserve();
        let handle = self.storage.open(&path, true).map_err(|error| {
            let none = error.kind() == std::io::ErrorKind::NotFound;
            if none { JournalError::KeepFull } else { JournalError::io("open", &path)(error) }
        })?;
        let allocated = handle.length().map_err(JournalError::io("measure", &path))?;
        if SEGMENT_HEAD + size > allocated {
            return Err(JournalError::KeepFull);
        }
        let (number, folder) = (self.next_number, self.places.set(Class::Keep));
        self.next_number += 1;
        let name = folder.join(format::segment_name(number, first));
        let become_segment = || {
            handle.write_at(0, &format::segment_head(Class::Keep, number, first))?;
            handle.sync()?;
            self.storage.rename(&path, &name)?;
            self.storage.sync_dir(&folder)
        };
        become_segment().map_err(JournalError::io("use the reserve as", &name))?;
        let segment = Segment {
            class: Class::Keep,
            number,
            path: name,
            contents: Contents::default(),
            end: SEGMENT_HEAD,
            bytes: SEGMENT_HEAD,
            allocated,
            full: false,
            footer: false,
        };
        self.push_segment(segment, handle);
        Ok(())
    }

    pub(crate) fn push_segment(&mut self, segment: Segment, handle: Box<dyn Handle>) {
        let set = self.set_mut(segment.class);
        if let Some(last) = set.segments.back_mut() {
            last.full = true;
        }
        set.segments.push_back(segment);
        set.writer = Some(handle);
    }
}
