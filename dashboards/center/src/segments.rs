//! Evidence segments: records of all gateways exactly as received, appended, made durable before any row.
//!
//! A segment is `NSSEG001`, then per record: length (u32, big-endian), gateway (16), epoch and seq (u64 each,
//! big-endian), bytes. The index can be rebuilt from segments alone. What lies behind the last indexed record at
//! start was never receipted and is cut off; the gateway sends it again.
//! Blocking: callers run it where blocking is allowed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gateway_model::{Cursor, GatewayId};

use crate::store::records::Place;

/// A segment is not added to beyond this many bytes.
pub const SEGMENT_MAX: u64 = 64 << 20;
const MAGIC: &[u8; 8] = b"NSSEG001";
const FRAME: usize = 4 + 16 + 8 + 8;

/// The segment being written.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    number: i64,
    file: File,
    end: u64,
}

/// One record to append.
#[derive(Debug, Clone, Copy)]
pub struct Append<'b> {
    /// Whose.
    pub gateway: GatewayId,
    /// Its place.
    pub cursor: Cursor,
    /// As received.
    pub bytes: &'b [u8],
}

fn path(directory: &Path, number: i64) -> PathBuf {
    directory.join(format!("{number:010}.seg"))
}

impl Writer {
    /// Opens the directory; `indexed` is the newest segment and the end of what is indexed in it.
    pub fn open(directory: &Path, indexed: Option<(i64, i64)>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let (number, end) = indexed.unwrap_or((1, MAGIC.len() as i64));
        remove_after(directory, number)?;
        let name = path(directory, number);
        let file = open_file(&name)?;
        let length = file.metadata().with_context(|| format!("look at {}", name.display()))?.len();
        if length < end as u64 && indexed.is_some() {
            // The disk lost what was receipted. What is left stays readable; nothing is written over it.
            tracing::error!(
                segment = number,
                length,
                indexed = end,
                "an evidence segment is shorter than its index"
            );
            let mut writer = Self { directory: directory.to_owned(), number, file, end: length };
            writer.roll()?;
            return Ok(writer);
        }
        let mut writer = Self { directory: directory.to_owned(), number, file, end: end as u64 };
        if indexed.is_none() {
            writer.begin()?;
        } else {
            if length > end as u64 {
                tracing::info!(
                    segment = number,
                    bytes = length - end as u64,
                    "bytes that were never receipted are cut off"
                );
            }
            writer.file.set_len(end as u64).with_context(|| format!("cut {}", name.display()))?;
            writer.file.sync_all().with_context(|| format!("sync {}", name.display()))?;
        }
        Ok(writer)
    }

    /// Appends records; durable when it returns. On an error nothing of it counts, and the next append begins a
    /// new segment.
    pub fn append(&mut self, records: &[Append<'_>]) -> io::Result<Vec<Place>> {
        match self.try_append(records) {
            Ok(places) => Ok(places),
            Err(error) => {
                self.end = SEGMENT_MAX;
                Err(error)
            }
        }
    }

    fn try_append(&mut self, records: &[Append<'_>]) -> io::Result<Vec<Place>> {
        let mut places = Vec::with_capacity(records.len());
        let mut pending = Vec::new();
        for record in records {
            let size = (FRAME + record.bytes.len()) as u64;
            if self.end + pending.len() as u64 + size > SEGMENT_MAX {
                self.write(&pending)?;
                pending.clear();
                self.roll()?;
            }
            pending.extend_from_slice(&(record.bytes.len() as u32).to_be_bytes());
            pending.extend_from_slice(&record.gateway.0);
            pending.extend_from_slice(&record.cursor.epoch.0.to_be_bytes());
            pending.extend_from_slice(&record.cursor.seq.0.to_be_bytes());
            places.push(Place {
                segment: self.number,
                start: (self.end + pending.len() as u64) as i64,
                length: record.bytes.len() as i64,
            });
            pending.extend_from_slice(record.bytes);
        }
        self.write(&pending)?;
        Ok(places)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    fn roll(&mut self) -> io::Result<()> {
        self.number += 1;
        self.file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path(&self.directory, self.number))?;
        self.begin()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(MAGIC, 0)?;
        self.file.sync_all()?;
        File::open(&self.directory)?.sync_all()?;
        self.end = MAGIC.len() as u64;
        Ok(())
    }
}

fn open_file(name: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(name)
        .with_context(|| format!("open {}", name.display()))
}

/// Segments newer than the newest indexed one hold nothing that was receipted.
fn remove_after(directory: &Path, number: i64) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let name = entry.with_context(|| format!("list {}", directory.display()))?.path();
        let found = name.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<i64>().ok());
        if found.is_some_and(|found| found > number) {
            std::fs::remove_file(&name).with_context(|| format!("remove {}", name.display()))?;
        }
    }
    Ok(())
}

/// Reads one record's bytes.
pub fn read(directory: &Path, place: Place) -> io::Result<Vec<u8>> {
    let file = File::open(path(directory, place.segment))?;
    let mut bytes = vec![0; place.length as usize];
    file.read_exact_at(&mut bytes, place.start as u64)?;
    Ok(bytes)
}

/// Writes a small file so that after a crash it is either whole or not there.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::{Epoch, Seq};

    use super::*;

    fn append(writer: &mut Writer, seq: u64, bytes: &[u8]) -> Place {
        let cursor = Cursor { epoch: Epoch(1), seq: Seq(seq) };
        writer.append(&[Append { gateway: GatewayId([7; 16]), cursor, bytes }]).unwrap()[0]
    }

    #[test]
    fn what_was_never_indexed_is_cut_off_at_start() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), None).unwrap();
        let first = append(&mut writer, 0, b"first");
        append(&mut writer, 1, b"never receipted");
        drop(writer);
        let mut writer =
            Writer::open(directory.path(), Some((first.segment, first.start + first.length))).unwrap();
        let again = append(&mut writer, 1, b"second");
        assert_eq!(read(directory.path(), first).unwrap(), b"first");
        assert_eq!(read(directory.path(), again).unwrap(), b"second");
        assert_eq!(again.start, first.start + first.length + FRAME as i64);
    }

    #[test]
    fn a_full_segment_is_followed_by_another() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), None).unwrap();
        let first = append(&mut writer, 0, b"first");
        writer.end = SEGMENT_MAX - 10;
        let second = append(&mut writer, 1, b"second");
        assert_eq!((first.segment, second.segment), (1, 2));
        assert_eq!(read(directory.path(), second).unwrap(), b"second");
    }

    #[test]
    fn a_segment_shorter_than_its_index_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(directory.path(), None).unwrap();
        let first = append(&mut writer, 0, b"first");
        drop(writer);
        let mut writer = Writer::open(directory.path(), Some((1, 9_999))).unwrap();
        let next = append(&mut writer, 1, b"next");
        assert_eq!(next.segment, 2);
        assert_eq!(read(directory.path(), first).unwrap(), b"first");
    }
}
