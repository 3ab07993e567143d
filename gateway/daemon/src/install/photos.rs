//! Photos of an installation: files in `DIR/photos`, each named by the SHA-256 of its bytes, as they came from the camera.
//!
//! Limits: JPEG or PNG, told by the first bytes; [`PHOTO_MAX`] bytes each; [`TOTAL_MAX`] bytes together: more is refused, nothing
//! is thrown away. They stay at the box and do not go to the center by themselves: two of them are half a month of a
//! metered line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use gateway_wire::{hash, hex, unhex};

use crate::state;

/// Bytes of one.
pub const PHOTO_MAX: usize = 8 << 20;
/// Bytes of all.
pub const TOTAL_MAX: u64 = 256 << 20;

/// What these bytes are; `None` = no photo that is taken.
pub fn kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
        _ => None,
    }
}

/// What to say of one that is.
pub fn too_large() -> String {
    format!(
        "照片太大 the photo is too large: at most {} MB; 请用较低的分辨率重拍 take it with a lower resolution",
        PHOTO_MAX >> 20
    )
}

/// Keeps a photo; its SHA-256, hex. One that is there already is kept once.
pub fn put(data: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    ensure!(bytes.len() <= PHOTO_MAX, "{}", too_large());
    ensure!(kind(bytes).is_some(), "不是照片 this is no photo: JPEG or PNG");
    let name = hex(&hash(bytes));
    let folder = data.join("photos");
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(&name);
    if path.exists() {
        return Ok(name);
    }
    let room = TOTAL_MAX.saturating_sub(used(&folder)?);
    ensure!(
        bytes.len() as u64 <= room,
        "照片已满 there is no room for more photos: {} MB of {} MB are left in {}",
        room >> 20,
        TOTAL_MAX >> 20,
        folder.display()
    );
    state::replace(&path, bytes)?;
    Ok(name)
}

/// A photo by its hash, and what it is.
pub fn get(data: &Path, name: &str) -> anyhow::Result<Option<(Vec<u8>, &'static str)>> {
    let Some(path) = path_of(data, name) else { return Ok(None) };
    let Some(bytes) = state::read(&path)? else { return Ok(None) };
    Ok(kind(&bytes).map(|kind| (bytes, kind)))
}

/// Is it here?
pub fn has(data: &Path, name: &str) -> bool {
    path_of(data, name).is_some_and(|path| path.is_file())
}

/// Throws one away that no record names.
pub fn discard(data: &Path, name: &str) -> anyhow::Result<()> {
    let Some(path) = path_of(data, name) else { return Ok(()) };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Nothing but hashes ever becomes part of a path.
fn path_of(data: &Path, name: &str) -> Option<PathBuf> {
    Some(data.join("photos").join(hex(&unhex::<32>(name)?)))
}

fn used(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        sum += entry?.metadata()?.len();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: [u8; 4] = [0xff, 0xd8, 0xff, 0xe0];

    #[test]
    fn only_photos_are_kept_each_once_and_by_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let name = put(dir.path(), &JPEG).unwrap();
        assert_eq!(put(dir.path(), &JPEG).unwrap(), name);
        assert_eq!(name, hex(&hash(&JPEG)));
        assert_eq!(get(dir.path(), &name).unwrap(), Some((JPEG.to_vec(), "image/jpeg")));
        for other in ["../key", "", &name[1..], &"0".repeat(64)] {
            assert_eq!(get(dir.path(), other).unwrap(), None, "{other}");
        }
        for refused in [&b"<svg onload=x>"[..], b"GIF89a", b"\xff\xd8", b""] {
            let why = put(dir.path(), refused).unwrap_err().to_string();
            assert!(why.contains("JPEG or PNG"), "{why}");
        }
        let mut large = JPEG.to_vec();
        large.resize(PHOTO_MAX + 1, 0);
        assert!(put(dir.path(), &large).unwrap_err().to_string().contains("at most 8 MB"));
        discard(dir.path(), &name).unwrap();
        discard(dir.path(), &name).unwrap();
        assert!(!has(dir.path(), &name));
    }

    #[test]
    fn there_is_a_bound_and_nothing_gives_way() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), &JPEG).unwrap();
        // As if many were there.
        let filler = std::fs::File::create(dir.path().join("photos").join("filler")).unwrap();
        filler.set_len(TOTAL_MAX - 8).unwrap();
        let why = put(dir.path(), &[0xff, 0xd8, 0xff, 0xe1, 0]).unwrap_err().to_string();
        assert!(why.contains("no room for more photos: 0 MB of 256 MB"), "{why}");
        // One that is there costs no room.
        put(dir.path(), &JPEG).unwrap();
    }
}
