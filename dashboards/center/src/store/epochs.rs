//! How far each epoch of a gateway is here: without a hole, at all, and what is said to be gone.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::Store;
use super::records::bytes32;

/// Records looked at in one go while moving `through`; the next batch goes on from there.
const ADVANCE_MAX: i64 = 4_096;

/// How far an epoch is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochRow {
    /// Which.
    pub epoch: i64,
    /// Everything up to this seq; −1 = nothing.
    pub through: i64,
    /// The highest seq that is here.
    pub last: i64,
    /// First seq whose link to the record before does not hold.
    pub broken: Option<i64>,
}

impl Store {
    /// How far each epoch of the gateway is here, oldest first.
    pub async fn epochs(&self, gateway: &str) -> sqlx::Result<Vec<EpochRow>> {
        self.epochs_between(gateway, 0, i64::MAX, i64::MAX).await
    }

    /// The same, of the epochs in this span; at most `limit`.
    pub async fn epochs_between(
        &self,
        gateway: &str,
        from: i64,
        to: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<EpochRow>> {
        let mut connection = self.read().acquire().await?;
        between(&mut connection, gateway, from, to, limit).await
    }

    /// The same, of one epoch.
    pub async fn epoch(&self, gateway: &str, epoch: i64) -> sqlx::Result<Option<EpochRow>> {
        let mut connection = self.read().acquire().await?;
        one(&mut connection, gateway, epoch).await
    }

    /// The newest epoch below `end` of which anything is known.
    pub async fn newest_epoch(&self, gateway: &str, end: i64) -> sqlx::Result<Option<i64>> {
        sqlx::query("SELECT max(epoch) FROM epochs WHERE gateway = $1 AND epoch < $2")
            .bind(gateway)
            .bind(end)
            .fetch_one(self.read())
            .await?
            .try_get(0)
    }

    /// How many numbers below the highest of each epoch are neither here nor said to be gone.
    pub async fn missing(&self, gateway: &str) -> sqlx::Result<u64> {
        let mut missing = 0;
        for epoch in self.epochs(gateway).await?.iter().filter(|epoch| epoch.through < epoch.last) {
            let row =
                sqlx::query("SELECT count(*) FROM records WHERE gateway = $1 AND epoch = $2 AND seq > $3")
                    .bind(gateway)
                    .bind(epoch.epoch)
                    .bind(epoch.through)
                    .fetch_one(self.read())
                    .await?;
            let here: i64 = row.try_get(0)?;
            missing += (epoch.last - epoch.through - here).max(0) as u64;
        }
        Ok(missing)
    }

    /// Engine time up to which everything of the gateway's newest epoch is here, without a hole.
    pub async fn covered_until(&self, gateway: &str) -> sqlx::Result<Option<i64>> {
        sqlx::query(
            "SELECT max(r.t1) FROM records r JOIN epochs e ON e.gateway = r.gateway AND e.epoch = r.epoch
             WHERE r.gateway = $1 AND r.epoch = (SELECT max(epoch) FROM epochs WHERE gateway = $1) AND r.seq <= e.through",
        )
        .bind(gateway)
        .fetch_one(self.read())
        .await?
        .try_get(0)
    }

    /// The last record of the epoch up to `seq` and its hash.
    pub async fn hash_up_to(
        &self,
        gateway: &str,
        epoch: i64,
        seq: i64,
    ) -> sqlx::Result<Option<(i64, [u8; 32])>> {
        let row = sqlx::query(
            "SELECT seq, hash FROM records WHERE gateway = $1 AND epoch = $2 AND seq <= $3 ORDER BY seq DESC LIMIT 1",
        )
        .bind(gateway)
        .bind(epoch)
        .bind(seq)
        .fetch_optional(self.read())
        .await?;
        row.map(|row| Ok((row.try_get(0)?, bytes32(&row, 1)?))).transpose()
    }

    /// Runs of seqs above `above` that are here, at most `limit`.
    pub async fn runs_above(
        &self,
        gateway: &str,
        epoch: i64,
        above: i64,
        limit: usize,
    ) -> sqlx::Result<Vec<(i64, i64)>> {
        // A run keeps `seq − its rank` constant.
        sqlx::query(
            "SELECT min(seq), max(seq) FROM (
                 SELECT seq, seq - row_number() OVER (ORDER BY seq) AS run FROM records
                 WHERE gateway = $1 AND epoch = $2 AND seq > $3) AS numbered
             GROUP BY run ORDER BY min(seq) LIMIT $4",
        )
        .bind(gateway)
        .bind(epoch)
        .bind(above)
        .bind(limit as i64)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
    }
}

/// How far each epoch is here, oldest first.
pub async fn all(connection: &mut SqliteConnection, gateway: &str) -> sqlx::Result<Vec<EpochRow>> {
    between(connection, gateway, 0, i64::MAX, i64::MAX).await
}

async fn between(
    connection: &mut SqliteConnection,
    gateway: &str,
    from: i64,
    to: i64,
    limit: i64,
) -> sqlx::Result<Vec<EpochRow>> {
    sqlx::query(
        "SELECT epoch, through, last, broken FROM epochs WHERE gateway = $1 AND epoch >= $2 AND epoch <= $3
         ORDER BY epoch LIMIT $4",
    )
    .bind(gateway)
    .bind(from)
    .bind(to)
    .bind(limit)
    .fetch_all(connection)
    .await?
    .iter()
    .map(epoch_row)
    .collect()
}

async fn one(connection: &mut SqliteConnection, gateway: &str, epoch: i64) -> sqlx::Result<Option<EpochRow>> {
    Ok(between(connection, gateway, epoch, epoch, 1).await?.pop())
}

fn epoch_row(row: &SqliteRow) -> sqlx::Result<EpochRow> {
    Ok(EpochRow {
        epoch: row.try_get(0)?,
        through: row.try_get(1)?,
        last: row.try_get(2)?,
        broken: row.try_get(3)?,
    })
}

/// Adds the seqs that a gap record says are gone.
pub async fn add_gone(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    first: i64,
    last: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO gone (gateway, epoch, first, last) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(gateway)
    .bind(epoch)
    .bind(first)
    .bind(last)
    .execute(connection)
    .await?;
    Ok(())
}

/// Moves `through` of an epoch over everything stored, quarantined or gone, checking each link on the way.
/// Answers with the row before and after.
pub async fn advance(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
) -> sqlx::Result<(EpochRow, EpochRow)> {
    let before = one(&mut *connection, gateway, epoch).await?;
    let before = before.unwrap_or(EpochRow { epoch, through: -1, last: -1, broken: None });
    let mut after = before;
    let gone = sqlx::query("SELECT first, last FROM gone WHERE gateway = $1 AND epoch = $2 ORDER BY first")
        .bind(gateway)
        .bind(epoch)
        .fetch_all(&mut *connection)
        .await?
        .iter()
        .map(|row| Ok((row.try_get::<i64, _>(0)?, row.try_get::<i64, _>(1)?)))
        .collect::<sqlx::Result<Vec<_>>>()?;
    let rows = sqlx::query("SELECT seq, hash, prev FROM records WHERE gateway = $1 AND epoch = $2 AND seq >= $3 ORDER BY seq LIMIT $4")
        .bind(gateway)
        .bind(epoch)
        .bind(before.through)
        .bind(ADVANCE_MAX)
        .fetch_all(&mut *connection)
        .await?;
    let mut hash_before: Option<(i64, [u8; 32])> = None;
    let mut rows = rows.iter();
    loop {
        let next = after.through + 1;
        if let Some((_, last)) = gone.iter().find(|(first, last)| (*first..=*last).contains(&next)) {
            after.through = *last;
            continue;
        }
        let Some(row) = rows.next() else { break };
        let seq: i64 = row.try_get(0)?;
        let (hash, prev) = (bytes32(row, 1)?, bytes32(row, 2)?);
        after.last = after.last.max(seq);
        if seq < next {
            hash_before = Some((seq, hash));
            continue;
        }
        if seq > next {
            break;
        }
        let links = hash_before.is_none_or(|(before, held)| before + 1 != seq || held == prev);
        if !links && after.broken.is_none() {
            after.broken = Some(seq);
        }
        hash_before = Some((seq, hash));
        after.through = seq;
    }
    let last = sqlx::query("SELECT coalesce(max(seq), -1) FROM records WHERE gateway = $1 AND epoch = $2")
        .bind(gateway)
        .bind(epoch)
        .fetch_one(&mut *connection)
        .await?;
    after.last = last.try_get(0)?;
    sqlx::query(
        "INSERT INTO epochs (gateway, epoch, through, last, broken) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (gateway, epoch) DO UPDATE SET through = excluded.through, last = excluded.last, broken = excluded.broken",
    )
    .bind(gateway)
    .bind(epoch)
    .bind(after.through)
    .bind(after.last)
    .bind(after.broken)
    .execute(connection)
    .await?;
    Ok((before, after))
}

/// Remembers that an epoch ran under the demo clock: none of it is taken.
pub async fn add_simulated(connection: &mut SqliteConnection, gateway: &str, epoch: i64) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO simulated_epochs (gateway, epoch) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(gateway)
        .bind(epoch)
        .execute(connection)
        .await?;
    Ok(())
}

/// Did this epoch run under the demo clock?
pub async fn is_simulated(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM simulated_epochs WHERE gateway = $1 AND epoch = $2")
        .bind(gateway)
        .bind(epoch)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}
