//! Keys that followed a gateway's first one.

use gateway_model::{CivilTime, Epoch, GatewayId, Seq};
use gateway_wire::{KeyHistory, KeyRing, RecordError, SigningKey, Succession, SuccessionCause, VerifyingKey};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// From 1; the first key stands with the gateway.
    pub n: i64,
    /// Ed25519.
    pub public_key: [u8; 32],
    /// First epoch that it signs.
    pub from_epoch: i64,
    /// Last record of the key before that counts; `None` = whatever lies below `from_epoch`.
    pub before: Option<(i64, i64)>,
    /// The record from which a box that replaces another says it goes on.
    pub took: Option<(i64, i64)>,
    /// Why.
    pub cause: SuccessionCause,
    /// Civil time.
    pub at: i64,
    /// What was signed: by the key before, or by this center.
    pub statement: Vec<u8>,
}

impl KeyRow {
    /// Is this a record of the box before, which the one that took its place did not know of?
    pub fn is_tail(&self, epoch: i64, seq: i64) -> bool {
        let known = self.took.or(self.before);
        self.cause == SuccessionCause::Replaced
            && epoch < self.from_epoch
            && known.is_none_or(|known| (epoch, seq) > known)
    }
}

fn key(row: &SqliteRow) -> sqlx::Result<KeyRow> {
    let public_key: Vec<u8> = row.try_get(1)?;
    let wrong = |what: &str| sqlx::Error::Decode(format!("a gateway's key: {what}").into());
    let pair = |a: usize| -> sqlx::Result<Option<(i64, i64)>> {
        Ok(row.try_get::<Option<i64>, _>(a)?.zip(row.try_get(a + 1)?))
    };
    Ok(KeyRow {
        n: row.try_get(0)?,
        public_key: public_key.try_into().map_err(|_| wrong("not 32 bytes"))?,
        from_epoch: row.try_get(2)?,
        before: pair(3)?,
        took: pair(5)?,
        cause: match row.try_get::<&str, _>(7)? {
            "rotated" => SuccessionCause::Rotated,
            "replaced" => SuccessionCause::Replaced,
            other => return Err(wrong(other)),
        },
        at: row.try_get(8)?,
        statement: row.try_get(9)?,
    })
}

/// The keys that followed the first, oldest first.
pub async fn of(connection: &mut SqliteConnection, gateway: &str) -> sqlx::Result<Vec<KeyRow>> {
    sqlx::query(
        "SELECT n, public_key, from_epoch, before_epoch, before_seq, took_epoch, took_seq, cause, at, statement
         FROM gateway_keys WHERE gateway = $1 ORDER BY n",
    )
    .bind(gateway)
    .fetch_all(connection)
    .await?
    .iter()
    .map(key)
    .collect()
}

/// Adds the next one.
pub async fn add(connection: &mut SqliteConnection, gateway: &str, row: &KeyRow) -> sqlx::Result<()> {
    let cause = match row.cause {
        SuccessionCause::Rotated => "rotated",
        SuccessionCause::Replaced => "replaced",
    };
    sqlx::query(
        "INSERT INTO gateway_keys (gateway, n, public_key, from_epoch, before_epoch, before_seq, took_epoch, took_seq, cause, at, statement)
         VALUES ($1, $2, $3, $4, $5, $6, NULL, NULL, $7, $8, $9)",
    )
    .bind(gateway)
    .bind(row.n)
    .bind(row.public_key.as_slice())
    .bind(row.from_epoch)
    .bind(row.before.map(|at| at.0))
    .bind(row.before.map(|at| at.1))
    .bind(cause)
    .bind(row.at)
    .bind(&row.statement)
    .execute(connection)
    .await?;
    Ok(())
}

/// How far the key before number `n` counts, and from where the box with key `n` says it goes on: learned later.
pub async fn set_bounds(connection: &mut SqliteConnection, gateway: &str, row: &KeyRow) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE gateway_keys SET before_epoch = $3, before_seq = $4, took_epoch = $5, took_seq = $6
         WHERE gateway = $1 AND n = $2",
    )
    .bind(gateway)
    .bind(row.n)
    .bind(row.before.map(|at| at.0))
    .bind(row.before.map(|at| at.1))
    .bind(row.took.map(|at| at.0))
    .bind(row.took.map(|at| at.1))
    .execute(connection)
    .await?;
    Ok(())
}

/// A gateway's keys with their periods as they count now; everything here was checked when it came in.
pub fn ring(first: [u8; 32], rows: &[KeyRow]) -> Result<KeyRing, RecordError> {
    let mut ring = KeyRing::from(VerifyingKey::from_bytes(&first)?);
    let gateway = ring.gateway();
    rows.iter().try_for_each(|row| ring.follow(&succession(gateway, row)))?;
    Ok(ring)
}

/// The same, signed, for others; `None` where there was never a second key.
pub fn history(
    gateway: GatewayId,
    first: [u8; 32],
    rows: &[KeyRow],
    center: &SigningKey,
) -> Option<KeyHistory> {
    let successions = rows.iter().map(|row| said(gateway, row, center).into()).collect();
    (!rows.is_empty()).then_some(KeyHistory { first, successions })
}

/// What a gateway said of its own key stays as it was signed; what this center said of a box that was replaced it says
/// anew, with the last record that counts by now.
fn said(gateway: GatewayId, row: &KeyRow, center: &SigningKey) -> Vec<u8> {
    match row.cause {
        SuccessionCause::Rotated => row.statement.clone(),
        SuccessionCause::Replaced => succession(gateway, row).seal(center),
    }
}

fn succession(gateway: GatewayId, row: &KeyRow) -> Succession {
    Succession {
        gateway,
        key: row.public_key,
        from: Epoch(row.from_epoch as u64),
        last: row.before.map(|(epoch, seq)| (Epoch(epoch as u64), Seq(seq as u64))),
        cause: row.cause,
        issued: CivilTime(row.at),
    }
}
