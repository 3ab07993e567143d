//! The audit log: append-only, each entry's hash covers the one before.

use sha2::{Digest as _, Sha256};
use sqlx::{Row as _, SqliteConnection};

use super::Store;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// From 1.
    pub n: i64,
    /// Civil time.
    pub at: i64,
    /// User id, gateway id or `center`.
    pub actor: String,
    /// Code of what was done.
    pub act: String,
    /// With what; never a secret.
    pub detail: String,
    /// Hash of the entry before.
    pub prev: Vec<u8>,
    /// Hash of this one.
    pub hash: Vec<u8>,
}

fn hash(n: i64, at: i64, actor: &str, act: &str, detail: &str, prev: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(prev);
    hasher.update(n.to_be_bytes());
    hasher.update(at.to_be_bytes());
    for text in [actor, act, detail] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().into()
}

/// Appends an entry in the transaction of what it tells.
pub async fn note(
    connection: &mut SqliteConnection,
    at: i64,
    actor: &str,
    act: &str,
    detail: &str,
) -> sqlx::Result<()> {
    let last = sqlx::query("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await?;
    let (n, prev) = match last {
        Some(row) => (row.try_get::<i64, _>(0)? + 1, row.try_get(1)?),
        None => (1, vec![0; 32]),
    };
    let hash = hash(n, at, actor, act, detail, &prev);
    sqlx::query(
        "INSERT INTO audit (n, at, actor, act, detail, prev, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(n)
    .bind(at)
    .bind(actor)
    .bind(act)
    .bind(detail)
    .bind(prev)
    .bind(hash.as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// The first entry whose chain does not hold, if any.
    pub async fn audit_broken_at(&self) -> sqlx::Result<Option<i64>> {
        let mut prev = vec![0; 32];
        let mut expected = 1;
        loop {
            let rows = sqlx::query(
                "SELECT n, at, actor, act, detail, prev, hash FROM audit WHERE n >= $1 ORDER BY n LIMIT 1000",
            )
            .bind(expected)
            .fetch_all(self.read())
            .await?;
            if rows.is_empty() {
                return Ok(None);
            }
            for row in &rows {
                let entry = AuditEntry {
                    n: row.try_get(0)?,
                    at: row.try_get(1)?,
                    actor: row.try_get(2)?,
                    act: row.try_get(3)?,
                    detail: row.try_get(4)?,
                    prev: row.try_get(5)?,
                    hash: row.try_get(6)?,
                };
                let held = hash(entry.n, entry.at, &entry.actor, &entry.act, &entry.detail, &prev);
                if entry.n != expected || entry.prev != prev || entry.hash != held {
                    return Ok(Some(expected));
                }
                prev = entry.hash;
                expected += 1;
            }
        }
    }
}
