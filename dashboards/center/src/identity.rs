//! The center's statement about itself: its key, and the TLS keys that gateways may see when they connect.
//!
//! The statement is made anew when the list of TLS keys has changed since the last start, with a stamp above every
//! earlier one, and every gateway is told by an order. A gateway that was away re-reads it by itself
//! (docs/decisions/0020). Promises: one list has one stamp, so an older statement that somebody repeats is known as older.
//!
//! `center tls-key` works on the files of a center, running or not; what it changes counts from the next start on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use gateway_model::{CivilTime, CommandBody};
use gateway_wire::{Fingerprint, Identity, Order, SigningKey, hex, unhex_any};
use serde_json::{Value, json};

use crate::config::Config;
use crate::orders::{self, Asked, ORDER_LIFE_MS};
use crate::store::{Store, audit, gateways, set_meta};
use crate::{keys, tls};

/// Under which name the database has the statement, as signed.
const HELD: &str = "identity";

/// The statement that the database holds, if this center made it.
async fn held(store: &Store, key: &SigningKey) -> anyhow::Result<Option<(Identity, Vec<u8>)>> {
    let Some(text) = store.meta(HELD).await?.filter(|text| !text.is_empty()) else { return Ok(None) };
    let bytes = unhex_any(&text).context("the center's identity in the database")?;
    // After a change of the center's own key it is another center's.
    Ok(Identity::open_of(&key.verifying_key(), &bytes).ok().map(|identity| (identity, bytes)))
}

/// The statement as signed. If the keys are others than before it is a new one, and every gateway is told.
pub async fn settle(
    store: &Store,
    key: &SigningKey,
    center_epoch: i64,
    tls_keys: &[Fingerprint],
    now: CivilTime,
) -> anyhow::Result<Vec<u8>> {
    let held = held(store, key).await?;
    if let Some((_, bytes)) = held.as_ref().filter(|(held, _)| held.tls_keys == tls_keys) {
        return Ok(bytes.clone());
    }
    let issued = held.as_ref().map_or(now, |(held, _)| now.max(CivilTime(held.issued.0 + 1)));
    let center_key = key.verifying_key().to_bytes();
    let bytes = Identity { center_key, tls_keys: tls_keys.to_vec(), issued }.seal(key);
    let mut tx = store.write().await?;
    set_meta(&mut tx, HELD, &hex(&bytes)).await?;
    if held.is_some() {
        let body =
            CommandBody::CenterKeys { issued, tls_keys: tls_keys.iter().map(|key| key.0.into()).collect() };
        let all = gateways::ids(&mut tx).await?;
        for gateway in &all {
            let gateway = orders::gateway_of(gateway)?;
            let asked = Asked {
                gateway,
                issued,
                life_ms: ORDER_LIFE_MS,
                author: "center",
                body: body.clone(),
                alert: None,
            };
            orders::give(&mut tx, key, center_epoch, asked).await?;
        }
        let list: Vec<String> = tls_keys.iter().map(|key| hex(&key.0)).collect();
        audit::note(&mut tx, now.0, "center", "tls_keys", &list.join(" ")).await?;
        tracing::info!(gateways = all.len(), keys = ?list, "the TLS keys have changed: every gateway is told");
    }
    tx.commit().await?;
    Ok(bytes)
}

/// Where the next key of the center's own TLS waits.
fn next_path(config: &Config) -> anyhow::Result<PathBuf> {
    let own = config.tls.as_ref().is_some_and(|tls| tls.certificate.is_none());
    ensure!(
        own,
        "this center has no TLS key of its own: name the next certificate of a proxy or of tls.certificate with \
         next_certificate in the settings, start the center anew, and change over when `center tls-key status` shows that the \
         gateways know it"
    );
    Ok(tls::next_key(&config.data))
}

/// Makes the next key of the center's own TLS. It is announced from the next start on.
pub fn make_next(config: &Config) -> anyhow::Result<Fingerprint> {
    let path = next_path(config)?;
    ensure!(!path.exists(), "{} is there already: use it or remove it first", path.display());
    tls::make_key(&path)?;
    tls::fingerprint(&path)
}

/// Puts the next key in the place of the one that is shown, which is gone then. Unless `at_once`, only when the center has
/// announced it.
pub async fn use_next(config: &Config, at_once: bool) -> anyhow::Result<Fingerprint> {
    let path = next_path(config)?;
    ensure!(path.exists(), "{} is not there: make the next key with `center tls-key next`", path.display());
    let next = tls::fingerprint(&path)?;
    let (store, key) = opened(config).await?;
    let announced = held(&store, &key).await?.is_some_and(|(held, _)| held.tls_keys.contains(&next));
    store.close().await;
    ensure!(
        announced || at_once,
        "no gateway has been told of this key: start the center anew first, or say --at-once if the old key must go now \
         (gateways then ask the center itself, one after the other)"
    );
    let current = tls::own_key(&config.data);
    std::fs::rename(&path, &current).with_context(|| format!("rename {}", path.display()))?;
    sync(&config.data)?;
    Ok(next)
}

/// The next start makes the statement anew, with a stamp of then: for a center that was set back to an older disk, whose
/// statement the gateways take for an older one.
pub async fn restate(config: &Config) -> anyhow::Result<()> {
    let (store, _) = opened(config).await?;
    store.set_meta(HELD, "").await?;
    store.close().await;
    Ok(())
}

/// What is announced, and which gateways have not said yet that they know it.
pub async fn status(config: &Config) -> anyhow::Result<Value> {
    let (store, key) = opened(config).await?;
    let held = held(&store, &key).await?.map(|(held, _)| held);
    let (mut told, mut waiting) = (0, Vec::new());
    if let Some(held) = &held {
        for (gateway, outcome, bytes) in store.orders_issued(held.issued.0).await? {
            let order = Order::open(&key.verifying_key(), orders::gateway_of(&gateway)?, &bytes)
                .with_context(|| format!("an order for gateway {gateway} in the database"))?;
            if !matches!(order.body, CommandBody::CenterKeys { .. }) {
                continue;
            }
            // One that was away too long has let the order expire: it asks by itself.
            if outcome.as_deref() == Some("done") {
                told += 1;
            } else {
                waiting.push(gateway);
            }
        }
    }
    store.close().await;
    let keys = held.as_ref().map(|held| held.tls_keys.iter().map(|key| hex(&key.0)).collect::<Vec<_>>());
    let next = tls::next_key(&config.data);
    let next = if next.exists() { Some(hex(&tls::fingerprint(&next)?.0)) } else { None };
    Ok(json!({
        "announced": keys, "since": held.map(|held| held.issued.0), "next": next, "gateways_told": told,
        "gateways_waiting": waiting,
    }))
}

async fn opened(config: &Config) -> anyhow::Result<(Store, SigningKey)> {
    let database = config.data.join("center.db");
    ensure!(database.exists(), "{} is not there: name the center's data with --data", database.display());
    Ok((Store::open(&database).await?, keys::load_or_make(&config.data.join("center.key"))?))
}

fn sync(folder: &Path) -> anyhow::Result<()> {
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("sync {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(byte: u8) -> Fingerprint {
        Fingerprint([byte; 32])
    }

    #[tokio::test]
    async fn one_list_has_one_stamp_and_a_new_list_a_later_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("center.db")).await.unwrap();
        let key = SigningKey::from_bytes(&[9; 32]);
        let said = async |keys: &[Fingerprint], now: i64| {
            let bytes = settle(&store, &key, 1, keys, CivilTime(now)).await.unwrap();
            Identity::open_of(&key.verifying_key(), &bytes).unwrap()
        };
        let first = said(&[print(1)], 100).await;
        assert_eq!((first.issued, &first.tls_keys[..]), (CivilTime(100), &[print(1)][..]));
        assert_eq!(said(&[print(1)], 200).await, first, "the next start says the same");
        let both = said(&[print(1), print(2)], 300).await;
        assert_eq!(both.issued, CivilTime(300));
        // A clock that was set back: a later statement is later all the same.
        assert_eq!(said(&[print(2)], 50).await.issued, CivilTime(301));
        // Another key of the center: another center, which begins anew.
        let other = SigningKey::from_bytes(&[8; 32]);
        let bytes = settle(&store, &other, 1, &[print(2)], CivilTime(60)).await.unwrap();
        assert_eq!(Identity::open_of(&other.verifying_key(), &bytes).unwrap().issued, CivilTime(60));
    }
}
