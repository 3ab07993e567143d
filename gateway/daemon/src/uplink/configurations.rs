//! Fetching a configuration that the center ordered: in pieces, going on where it was cut off, and only whole.
//!
//! What has come lies in `DIR/config/HASH.part`. Promises: nothing but the bytes whose hash the signed order names is ever
//! handed on; a part that is damaged is thrown away and fetched once more from its beginning.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use gateway_model::CivilTime;
use gateway_wire::{CONFIGURATION_MAX, Configuration, hash, hex};

use super::client::{CallError, Client};

/// Why a configuration is not here.
#[derive(Debug)]
pub enum Missing {
    /// It may come later: the line, the center, the disk.
    Later(String),
    /// Never: what the center has is not what it ordered.
    Never(String),
}

/// Who brings pieces.
pub trait Bring: Sync {
    /// The bytes from `from` on, as many as it likes; empty = that was all.
    fn piece(&self, name: &str, from: usize) -> impl Future<Output = Result<Vec<u8>, Missing>> + Send;
}

/// A center, at a civil time.
pub struct Center<'a>(pub &'a Client, pub CivilTime);

impl Bring for Center<'_> {
    async fn piece(&self, name: &str, from: usize) -> Result<Vec<u8>, Missing> {
        self.0.configuration(self.1, name, from).await.map_err(|error| {
            if matches!(&error, CallError::Refused { status, .. } if status.as_u16() == 404) {
                Missing::Never("the center does not have it".to_owned())
            } else {
                Missing::Later(crate::chain(&error))
            }
        })
    }
}

/// Fetches the configuration with this hash and size.
pub async fn fetch(
    data: &Path,
    from: &impl Bring,
    config: [u8; 32],
    size: u64,
) -> Result<Configuration, Missing> {
    let size = usize::try_from(size).ok().filter(|size| *size <= CONFIGURATION_MAX);
    let Some(size) = size else {
        return Err(Missing::Never(format!("it is longer than {CONFIGURATION_MAX} bytes")));
    };
    let part = data.join("config").join(format!("{}.part", hex(&config)));
    forget_others(&part).map_err(|error| disk(&error))?;
    let resumed = fs::metadata(&part).is_ok_and(|part| part.len() > 0);
    let mut bytes = complete(&part, from, &hex(&config), size).await?;
    if hash(&bytes) != config && resumed {
        // Half of it was written when the power failed.
        remove(&part)?;
        bytes = complete(&part, from, &hex(&config), size).await?;
    }
    remove(&part)?;
    if hash(&bytes) != config {
        return Err(Missing::Never("its bytes are not those that were ordered: another SHA-256".to_owned()));
    }
    Configuration::decode(&bytes).map_err(|error| Missing::Never(format!("it is no configuration: {error}")))
}

/// Everything, as far as it is not here yet.
async fn complete(part: &PathBuf, from: &impl Bring, name: &str, size: usize) -> Result<Vec<u8>, Missing> {
    let mut bytes = match fs::read(part) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(disk(&error)),
    };
    while bytes.len() < size {
        let piece = from.piece(name, bytes.len()).await?;
        if piece.is_empty() {
            return Err(Missing::Never(format!("it ends after {} of {size} bytes", bytes.len())));
        }
        append(part, &piece).map_err(|error| disk(&error))?;
        bytes.extend(piece);
    }
    bytes.truncate(CONFIGURATION_MAX);
    Ok(bytes)
}

fn append(part: &Path, piece: &[u8]) -> io::Result<()> {
    if let Some(folder) = part.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(part)?;
    file.write_all(piece)?;
    file.sync_data()
}

/// Parts of orders that were overtaken or came too late.
fn forget_others(part: &Path) -> io::Result<()> {
    let Some(folder) = part.parent().filter(|folder| folder.is_dir()) else { return Ok(()) };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path != part && path.extension().is_some_and(|extension| extension == "part") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn remove(part: &Path) -> Result<(), Missing> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(&error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn disk(error: &io::Error) -> Missing {
    Missing::Later(format!("keep what has come of it: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Brings seven bytes at a time; breaks after so many bytes in all.
    struct Cut<'a> {
        bytes: &'a [u8],
        until: usize,
        asked_from: AtomicUsize,
    }

    impl Bring for Cut<'_> {
        async fn piece(&self, _: &str, from: usize) -> Result<Vec<u8>, Missing> {
            self.asked_from.fetch_min(from, Ordering::Relaxed);
            if from >= self.until && from < self.bytes.len() {
                return Err(Missing::Later("the line broke".to_owned()));
            }
            let end = self.bytes.len().min(from + 7).min(self.until.max(from));
            Ok(self.bytes[from.min(end)..end].to_vec())
        }
    }

    fn cut(bytes: &[u8], until: usize) -> Cut<'_> {
        Cut { bytes, until, asked_from: AtomicUsize::new(usize::MAX) }
    }

    fn configuration() -> Configuration {
        Configuration { site: "[site]".into(), files: vec![("own.toml".into(), "rules".into())] }
    }

    #[tokio::test]
    async fn cut_at_each_byte_it_goes_on_there_and_is_whole() {
        let bytes = configuration().encode();
        for at in 0..bytes.len() {
            let dir = tempfile::tempdir().unwrap();
            let (id, size) = (configuration().id(), bytes.len() as u64);
            let broken = fetch(dir.path(), &cut(&bytes, at), id, size).await;
            assert!(matches!(broken, Err(Missing::Later(_))), "byte {at}: {broken:?}");
            let rest = cut(&bytes, usize::MAX);
            let whole = fetch(dir.path(), &rest, id, size).await.unwrap();
            assert_eq!(whole, configuration(), "byte {at}");
            assert_eq!(rest.asked_from.load(Ordering::Relaxed), at, "it goes on where it was cut");
        }
    }

    #[tokio::test]
    async fn a_part_that_a_power_cut_damaged_is_fetched_anew() {
        let bytes = configuration().encode();
        let (id, size) = (configuration().id(), bytes.len() as u64);
        for at in 1..bytes.len() {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("config")).unwrap();
            fs::write(dir.path().join("config").join(format!("{}.part", hex(&id))), vec![0; at]).unwrap();
            let whole = fetch(dir.path(), &cut(&bytes, usize::MAX), id, size).await.unwrap();
            assert_eq!(whole, configuration());
        }
    }

    #[tokio::test]
    async fn a_byte_that_is_another_anywhere_is_noticed() {
        let bytes = configuration().encode();
        let (id, size) = (configuration().id(), bytes.len() as u64);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x20;
            let dir = tempfile::tempdir().unwrap();
            let refused = fetch(dir.path(), &cut(&other, usize::MAX), id, size).await;
            assert!(matches!(&refused, Err(Missing::Never(why)) if why.contains("SHA-256")), "{refused:?}");
            assert_eq!(fs::read_dir(dir.path().join("config")).unwrap().count(), 0, "nothing is kept of it");
        }
        let dir = tempfile::tempdir().unwrap();
        let short = &bytes[..bytes.len() - 1];
        let refused = fetch(dir.path(), &cut(short, usize::MAX), id, size).await;
        assert!(matches!(&refused, Err(Missing::Never(why)) if why.contains("ends after")), "{refused:?}");
        let refused = fetch(dir.path(), &cut(&bytes, usize::MAX), id, u64::MAX).await;
        assert!(matches!(&refused, Err(Missing::Never(why)) if why.contains("longer than")), "{refused:?}");
    }
}
