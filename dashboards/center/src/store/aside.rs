//! Records kept apart from the chain: other bytes under numbers that another record of the gateway has, and what
//! followed them on a disk that was copied or set back.

use sqlx::{Row as _, SqliteConnection};

use super::Store;
use super::records::Place;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct AsideRow<'a> {
    /// Gateway id.
    pub gateway: &'a str,
    /// Its epoch.
    pub epoch: i64,
    /// Its seq.
    pub seq: i64,
    /// SHA-256 of its bytes: together with the rest its name.
    pub hash: [u8; 32],
    /// Where its bytes lie.
    pub place: Place,
    /// Civil time.
    pub received_at: i64,
}

impl Store {
    /// Newest segment of theirs and the end of what is indexed in it.
    pub async fn aside_end(&self) -> sqlx::Result<Option<(i64, i64)>> {
        let row = sqlx::query(
            "SELECT segment, start + length FROM aside ORDER BY segment DESC, start DESC LIMIT 1",
        )
        .fetch_optional(self.read())
        .await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    /// (epoch, seq, hash) of all of a gateway's, in order; at most `limit`.
    pub async fn aside_of(&self, gateway: &str, limit: i64) -> sqlx::Result<Vec<(i64, i64, Vec<u8>)>> {
        sqlx::query(
            "SELECT epoch, seq, hash FROM aside WHERE gateway = $1 ORDER BY epoch, seq, hash LIMIT $2",
        )
        .bind(gateway)
        .bind(limit)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect()
    }
}

/// Is this one here?
pub async fn holds(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    seq: i64,
    hash: [u8; 32],
) -> sqlx::Result<bool> {
    let found =
        sqlx::query("SELECT 1 FROM aside WHERE gateway = $1 AND epoch = $2 AND seq = $3 AND hash = $4")
            .bind(gateway)
            .bind(epoch)
            .bind(seq)
            .bind(hash.as_slice())
            .fetch_optional(connection)
            .await?;
    Ok(found.is_some())
}

/// Bytes of all of a gateway's.
pub async fn bytes(connection: &mut SqliteConnection, gateway: &str) -> sqlx::Result<i64> {
    sqlx::query("SELECT coalesce(sum(length), 0) FROM aside WHERE gateway = $1")
        .bind(gateway)
        .fetch_one(connection)
        .await?
        .try_get(0)
}

/// Adds the row of one whose bytes are durable.
pub async fn add(connection: &mut SqliteConnection, row: &AsideRow<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO aside (gateway, epoch, seq, hash, segment, start, length, received_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(row.gateway)
    .bind(row.epoch)
    .bind(row.seq)
    .bind(row.hash.as_slice())
    .bind(row.place.segment)
    .bind(row.place.start)
    .bind(row.place.length)
    .bind(row.received_at)
    .execute(connection)
    .await?;
    Ok(())
}
