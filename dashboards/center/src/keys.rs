//! Random secrets and the center's own signing key.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway_wire::SigningKey;

/// Random bytes of the operating system; without them nothing secret can be made.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A fresh secret as text: 256 bits.
pub fn secret() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

/// What is stored of a secret.
pub fn hashed(secret: &str) -> [u8; 32] {
    gateway_wire::hash(secret.as_bytes())
}

/// Compares without telling by time how much was right.
pub fn same(left: &str, right: &str) -> bool {
    left.len() == right.len() && left.bytes().zip(right.bytes()).fold(0, |odd, (a, b)| odd | (a ^ b)) == 0
}

/// Reads the center's key, making it at the first start. Only its owner may read the file.
pub fn load_or_make(path: &Path) -> anyhow::Result<SigningKey> {
    match std::fs::read(path) {
        Ok(bytes) => {
            refuse_readable_by_others(path)?;
            let secret: [u8; 32] = bytes
                .try_into()
                .map_err(|_| anyhow::anyhow!("{} is not a key of 32 bytes", path.display()))?;
            Ok(SigningKey::from_bytes(&secret))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = random::<32>();
            write_secret(path, &secret)?;
            Ok(SigningKey::from_bytes(&secret))
        }
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// A secret that others can read is none.
pub fn refuse_readable_by_others(path: &Path) -> anyhow::Result<()> {
    let metadata = std::fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
    let others = metadata.permissions().mode() & 0o077;
    ensure!(others == 0, "{} can be read by others: chmod 600", path.display());
    Ok(())
}

/// Writes a new file that only its owner may read; one that is there already is never replaced.
pub fn write_secret(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("create {}", path.display()))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).with_context(|| format!("write {}", path.display()))
}
