//! Configurations for gateways: a site file and the files it names, kept by hash, ordered, and fetched in pieces.
//!
//! `center order config` works beside a running center. Promises: what a gateway fetches is what was ordered, byte for byte;
//! no file that the site file names as a secret goes into it. Whether a gateway can run by it is checked there, not here:
//! the same check as `gateway check`, by the software that will run it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, ensure};
use gateway_model::CommandBody;
use gateway_wire::{CONFIGURATION_MAX, Configuration, hex, unhex};
use toml::{Table, Value};

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::ApiError;
use crate::keys;
use crate::orders::Giver;
use crate::segments::write_durably;
use crate::store::{Store, audit};

/// Bytes of one piece: some seconds of a slow mobile line.
const PIECE: usize = 64 << 10;
/// Who gives orders from the command line.
const AUTHOR: &str = "center-cli";
/// Tables of a site file that name files beside it.
const NAMING: [&str; 3] = ["packs", "profiles", "devices"];

/// What was ordered.
#[derive(Debug)]
pub struct Ordered {
    /// (center epoch, order seq).
    pub order: (i64, i64),
    /// SHA-256 of the configuration, hex.
    pub sha256: String,
    /// How many bytes it has.
    pub bytes: usize,
    /// The files in it, beside the site file.
    pub files: Vec<String>,
}

/// Orders a gateway to take a site file with its packs, profiles and tables.
pub async fn order(
    config: &Config,
    clock: &Clock,
    gateway: &str,
    site: &Path,
    more: &[PathBuf],
) -> anyhow::Result<Ordered> {
    let configuration = gather(site, more)?;
    let database = config.data.join("center.db");
    ensure!(database.exists(), "{} is not there: name the center's data with --data", database.display());
    let key = keys::load_or_make(&config.data.join("center.key"))?;
    let store = Store::open(&database).await?;
    let held = store.enrolled(gateway).await?;
    let held = held.with_context(|| format!("gateway {gateway} is not enrolled here"))?;
    let epoch = store.meta("order_epoch").await?.context("this center has never run")?;
    let epoch = epoch.parse().context("order epoch in the database")?;
    let (id, bytes) = (configuration.id(), configuration.encode());
    // First the bytes: an order for something that is not there could not be carried out.
    let folder = folder(config);
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(hex(&id));
    write_durably(&path, &bytes).with_context(|| format!("write {}", path.display()))?;
    let now = clock.civil();
    let mut tx = store.write().await?;
    let body = CommandBody::Configure { config: id, size: bytes.len() as u64 };
    let giver = Giver { key: &key, epoch, now, author: AUTHOR };
    let order = giver.give(&mut tx, &held, body).await?;
    audit::note(&mut tx, now.0, AUTHOR, "order_config", &format!("{gateway} {}", hex(&id))).await?;
    tx.commit().await?;
    store.close().await;
    let files = configuration.files.into_iter().map(|(name, _)| name).collect();
    Ok(Ordered { order, sha256: hex(&id), bytes: bytes.len(), files })
}

/// A piece of a configuration from byte `from` on; empty = that was all.
pub async fn piece(app: &App, sha256: &str, from: usize) -> Result<Vec<u8>, ApiError> {
    // Nothing but hashes ever becomes part of a path.
    let name = hex(&unhex::<32>(sha256).ok_or(ApiError::NotFound)?);
    let bytes = match tokio::fs::read(folder(&app.config).join(name)).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(ApiError::NotFound),
        read => read?,
    };
    let from = from.min(bytes.len());
    Ok(bytes[from..bytes.len().min(from + PIECE)].to_vec())
}

fn folder(config: &Config) -> PathBuf {
    config.data.join("configurations")
}

/// The site file, what it names in `[packs]`, `[profiles]` and `[devices]`, and `more`, all by their names in the site file.
fn gather(site: &Path, more: &[PathBuf]) -> anyhow::Result<Configuration> {
    let read =
        |path: &Path| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let base = site.parent().unwrap_or(Path::new(""));
    let text = read(site)?;
    let table: Table = text.parse().with_context(|| format!("{} is no TOML", site.display()))?;
    let mut secrets = Vec::new();
    secret_files(&Value::Table(table.clone()), &mut secrets);
    let mut names: Vec<String> = NAMING
        .iter()
        .filter_map(|key| table.get(*key)?.get("files")?.as_array())
        .flatten()
        .filter_map(|name| Some(name.as_str()?.to_owned()))
        .collect();
    for path in more {
        let name = path.strip_prefix(base).with_context(|| {
            format!(
                "{}: has to lie beside or below {}, by the name it has there",
                path.display(),
                site.display()
            )
        })?;
        names.push(name.to_string_lossy().into_owned());
    }
    let mut files = BTreeMap::new();
    for name in names {
        ensure!(
            !secrets.contains(&name),
            "{name} is named as a secret in {}: secrets stay at the gateway",
            site.display()
        );
        let inside = Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(inside, "{name}: only files beside or below the site file can go with it");
        let path = base.join(&name);
        files.insert(name, read(&path)?);
    }
    let configuration = Configuration { site: text, files: files.into_iter().collect() };
    let size = configuration.encode().len();
    ensure!(size <= CONFIGURATION_MAX, "{size} bytes: at most {CONFIGURATION_MAX}");
    Ok(configuration)
}

/// Values of keys that name files with secrets: `password_file`, `key_file`, `secret_files` …
fn secret_files(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                if key.ends_with("_file") || key.ends_with("_files") {
                    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                    found.extend(list.iter().filter_map(|name| Some(name.as_str()?.to_owned())));
                }
                secret_files(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| secret_files(value, found)),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_holds_what_the_site_file_names_and_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::create_dir(dir.path().join("packs")).unwrap();
        let text =
            "[packs]\nfiles = [\"packs/own.toml\"]\n[[sink]]\nname = \"x\"\ntoken_file = \"x.token\"\n";
        write("site.toml", text);
        write("packs/own.toml", "a pack");
        write("x.token", "a secret");
        write("more.txt", "more");
        let site = dir.path().join("site.toml");
        let made = gather(&site, &[dir.path().join("more.txt")]).unwrap();
        assert_eq!(made.site, text);
        assert_eq!(
            made.files,
            [("more.txt".to_owned(), "more".to_owned()), ("packs/own.toml".to_owned(), "a pack".to_owned())]
        );
        assert_eq!(Configuration::decode(&made.encode()).unwrap(), made);
        let refused = gather(&site, &[dir.path().join("x.token")]).unwrap_err();
        assert!(refused.to_string().contains("secrets stay at the gateway"), "{refused}");
        write("site.toml", "[packs]\nfiles = [\"../elsewhere.toml\"]\n");
        assert!(gather(&site, &[]).is_err());
        write("site.toml", "[packs\n");
        assert!(gather(&site, &[]).is_err());
    }
}
