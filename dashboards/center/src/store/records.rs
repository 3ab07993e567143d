//! Index rows of records: one per record as received, never one per reading.

use gateway_wire::hex;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::Store;

/// Where a record's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the segment.
    pub segment: i64,
    /// First byte of the record in it.
    pub start: i64,
    /// Bytes.
    pub length: i64,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// Gateway id.
    pub gateway: String,
    /// Its epoch.
    pub epoch: i64,
    /// Its seq.
    pub seq: i64,
    /// Where its bytes lie.
    pub place: Place,
    /// SHA-256 of the bytes.
    pub hash: [u8; 32],
    /// SHA-256 of the record before, as it says.
    pub prev: [u8; 32],
    /// `start`, `config`, `inputs`, `conclusions`, `checkpoint`, `gap`, `part`, `unknown`.
    pub kind: String,
    /// Seq of its config record.
    pub config: i64,
    /// Engine time of its first item.
    pub t0: i64,
    /// Engine time of its last item.
    pub t1: i64,
    /// `stored`, `quarantined` (not understood) or `revoked` (signed with a key that had ended).
    pub state: String,
    /// Everything that follows from it is in the derived tables.
    pub projected: bool,
    /// Civil time.
    pub received_at: i64,
}

const COLUMNS: &str = "gateway, epoch, seq, segment, start, length, hash, prev, kind, config, t0, t1, state, projected, received_at";

/// The last record of what an epoch ($1, $3) begins with: start, config and the parts of it.
const OPENING: &str = "(SELECT COALESCE(MIN(seq) - 1, 9223372036854775807) FROM records WHERE gateway = $1 AND epoch = $3 AND kind NOT IN ('start', 'config', 'part'))";

pub(super) fn bytes32(row: &SqliteRow, column: usize) -> sqlx::Result<[u8; 32]> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| sqlx::Error::Decode(format!("hash {} is not 32 bytes", hex(bytes)).into()))
}

fn record(row: &SqliteRow) -> sqlx::Result<RecordRow> {
    Ok(RecordRow {
        gateway: row.try_get(0)?,
        epoch: row.try_get(1)?,
        seq: row.try_get(2)?,
        place: Place { segment: row.try_get(3)?, start: row.try_get(4)?, length: row.try_get(5)? },
        hash: bytes32(row, 6)?,
        prev: bytes32(row, 7)?,
        kind: row.try_get(8)?,
        config: row.try_get(9)?,
        t0: row.try_get(10)?,
        t1: row.try_get(11)?,
        state: row.try_get(12)?,
        projected: row.try_get(13)?,
        received_at: row.try_get(14)?,
    })
}

/// What a gateway said of civil time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockRow {
    /// Record and item that said so.
    pub epoch: i64,
    /// Record and item that said so.
    pub seq: i64,
    /// Record and item that said so.
    pub item: i64,
    /// Engine time from which it holds.
    pub since: i64,
    /// Civil − engine, ms.
    pub offset_ms: i64,
    /// False where the gateway did not know.
    pub known: bool,
}

impl Store {
    /// The index row of one record.
    pub async fn record(&self, gateway: &str, epoch: i64, seq: i64) -> sqlx::Result<Option<RecordRow>> {
        let mut connection = self.read().acquire().await?;
        find(&mut connection, gateway, epoch, seq).await
    }

    /// Records of a gateway that touch the span of engine time, in order; at most `limit`.
    pub async fn records_in(
        &self,
        gateway: &str,
        kinds: [&str; 2],
        from: i64,
        to: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<RecordRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND t1 >= $2 AND t0 <= $3 AND kind IN ($4, $5)
               AND state = 'stored' ORDER BY epoch, seq LIMIT $6"
        )))
        .bind(gateway)
        .bind(from)
        .bind(to)
        .bind(kinds[0])
        .bind(kinds[1])
        .bind(limit)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(record)
        .collect()
    }

    /// What evidence about a span needs: everything from the last checkpoint before it (with the first records of its
    /// epoch) to its end, in order; at most [`gateway_evidence::RECORDS_MAX`].
    pub async fn records_for_evidence(
        &self,
        gateway: &str,
        from: i64,
        to: i64,
    ) -> sqlx::Result<Vec<RecordRow>> {
        let checkpoint = sqlx::query(
            "SELECT epoch, seq FROM records WHERE gateway = $1 AND kind = 'checkpoint' AND state = 'stored' AND t1 <= $2
             ORDER BY epoch DESC, seq DESC LIMIT 1",
        )
        .bind(gateway)
        .bind(from)
        .fetch_optional(self.read())
        .await?;
        let (epoch, seq): (i64, i64) = match checkpoint {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => (0, 0),
        };
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND t0 <= $2 AND state <> 'revoked'
               AND (epoch > $3 OR (epoch = $3 AND (seq >= $4 OR seq <= {OPENING}))) ORDER BY epoch, seq LIMIT $5"
        )))
        .bind(gateway)
        .bind(to)
        .bind(epoch)
        .bind(seq)
        .bind(gateway_evidence::RECORDS_MAX as i64)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(record)
        .collect()
    }

    /// Records below `epoch` from the newest checkpoint on, with start and config of its epoch; at most a thousand behind
    /// the first `skip`.
    pub async fn records_to_go_on(
        &self,
        gateway: &str,
        epoch: i64,
        skip: usize,
    ) -> sqlx::Result<Vec<RecordRow>> {
        let checkpoint = sqlx::query(
            "SELECT epoch, seq FROM records WHERE gateway = $1 AND kind = 'checkpoint' AND state = 'stored' AND epoch < $2
             ORDER BY epoch DESC, seq DESC LIMIT 1",
        )
        .bind(gateway)
        .bind(epoch)
        .fetch_optional(self.read())
        .await?;
        let from: (i64, i64) = match checkpoint {
            Some(row) => (row.try_get(0)?, row.try_get(1)?),
            None => (0, 0),
        };
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND epoch < $2 AND state <> 'revoked'
               AND (epoch > $3 OR (epoch = $3 AND (seq >= $4 OR seq <= {OPENING}))) ORDER BY epoch, seq LIMIT 1000 OFFSET $5"
        )))
        .bind(gateway)
        .bind(epoch)
        .bind(from.0)
        .bind(from.1)
        .bind(skip as i64)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(record)
        .collect()
    }

    /// Records that tell of a gateway's instruments, each behind the config it names.
    pub async fn device_records(&self, gateway: &str) -> sqlx::Result<Vec<RecordRow>> {
        let named =
            sqlx::query("SELECT epoch, seq FROM device_records WHERE gateway = $1 ORDER BY epoch, seq")
                .bind(gateway)
                .fetch_all(self.read())
                .await?;
        let mut rows = Vec::with_capacity(named.len() * 2);
        for row in &named {
            let Some(fact) = self.record(gateway, row.try_get(0)?, row.try_get(1)?).await? else { continue };
            if let Some(config) = self.record(gateway, fact.epoch, fact.config).await? {
                rows.extend(self.whole(&config).await?);
            }
            rows.push(fact);
        }
        Ok(rows)
    }

    /// What the sums of a span need: every record in it, and of all others those that say what was due or why it is not
    /// there, in order.
    pub async fn records_for_audit(&self, gateway: &str, from: i64, to: i64) -> sqlx::Result<Vec<RecordRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND state <> 'revoked'
               AND (kind IN ('start', 'config', 'checkpoint', 'part', 'gap') OR (t1 >= $2 AND t0 <= $3)
                 OR (epoch, seq) = (SELECT epoch, seq FROM records WHERE gateway = $1 AND state <> 'revoked'
                      AND kind = 'inputs' AND t1 < $2 ORDER BY epoch DESC, seq DESC LIMIT 1))
             ORDER BY epoch, seq"
        )))
        .bind(gateway)
        .bind(from)
        .bind(to)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(record)
        .collect()
    }

    /// Records of readings that end in this span of engine time, or begin in it; in order.
    pub async fn inputs_between(&self, gateway: &str, from: i64, to: i64) -> sqlx::Result<Vec<RecordRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND state = 'stored' AND kind = 'inputs' AND t1 >= $2 AND t0 <= $3
             ORDER BY epoch, seq"
        )))
        .bind(gateway)
        .bind(from)
        .bind(to)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(record)
        .collect()
    }

    /// (epoch, first, last engine time) of every record that reaches into this span of engine time, in order.
    pub async fn spans_between(
        &self,
        gateway: &str,
        from: i64,
        to: i64,
    ) -> sqlx::Result<Vec<(i64, i64, i64)>> {
        sqlx::query(
            "SELECT epoch, t0, t1 FROM records WHERE gateway = $1 AND state = 'stored' AND t1 >= $2 AND t0 <= $3 ORDER BY epoch, seq",
        )
        .bind(gateway)
        .bind(from)
        .bind(to)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect()
    }

    /// Newest engine time of any record of the gateway.
    pub async fn newest(&self, gateway: &str) -> sqlx::Result<Option<i64>> {
        sqlx::query("SELECT max(t1) FROM records WHERE gateway = $1")
            .bind(gateway)
            .fetch_one(self.read())
            .await?
            .try_get(0)
    }

    /// The newest config record at or before this engine time of which all is here.
    pub async fn config_at(&self, gateway: &str, at: i64) -> sqlx::Result<Option<RecordRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND kind = 'config' AND state = 'stored' AND projected = TRUE AND t0 <= $2
             ORDER BY epoch DESC, seq DESC LIMIT 1"
        )))
        .bind(gateway)
        .bind(at)
        .fetch_optional(self.read())
        .await?
        .as_ref()
        .map(record)
        .transpose()
    }

    /// What a gateway said of civil time, in the order it said it.
    pub async fn clocks(&self, gateway: &str) -> sqlx::Result<Vec<ClockRow>> {
        let mut connection = self.read().acquire().await?;
        clocks(&mut connection, gateway).await
    }

    /// Config records that stored records name and that are not here, or the first of their parts that are not: (epoch, first,
    /// last).
    pub async fn wanted_configs(&self, gateway: &str, limit: i64) -> sqlx::Result<Vec<(i64, i64, i64)>> {
        let named = sqlx::query(
            "SELECT DISTINCT epoch, config FROM records WHERE gateway = $1 AND projected = FALSE AND kind <> 'config'
             ORDER BY epoch, config LIMIT $2",
        )
        .bind(gateway)
        .bind(limit)
        .fetch_all(self.read())
        .await?;
        let mut wanted = Vec::with_capacity(named.len());
        for row in &named {
            let (epoch, seq): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            let held = match self.record(gateway, epoch, seq).await? {
                Some(head) => self.whole(&head).await?,
                None => Vec::new(),
            };
            let missing = held.iter().zip(seq..).find(|(row, seq)| row.seq != *seq);
            let (first, next) = match missing {
                Some((row, seq)) => (seq, row.seq),
                None => (seq + held.len() as i64, seq + held.len() as i64 + 1),
            };
            wanted.push((epoch, first, next - 1));
        }
        Ok(wanted)
    }

    /// The record of this row, and the parts behind it that are here.
    pub async fn whole(&self, head: &RecordRow) -> sqlx::Result<Vec<RecordRow>> {
        let mut connection = self.read().acquire().await?;
        whole(&mut connection, head).await
    }

    /// Newest segment and the end of what is indexed in it: bytes behind that were never receipted.
    pub async fn segment_end(&self) -> sqlx::Result<Option<(i64, i64)>> {
        let row = sqlx::query(
            "SELECT segment, start + length FROM records ORDER BY segment DESC, start DESC LIMIT 1",
        )
        .fetch_optional(self.read())
        .await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    /// (records, bytes, quarantined) over all gateways.
    pub async fn record_totals(&self) -> sqlx::Result<(i64, i64, i64)> {
        let row = sqlx::query(
            "SELECT count(*), coalesce(sum(length), 0), coalesce(sum(CASE WHEN state <> 'stored' THEN 1 ELSE 0 END), 0)
             FROM records",
        )
        .fetch_one(self.read())
        .await?;
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
    }
}

/// The index row of one record.
pub async fn find(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    seq: i64,
) -> sqlx::Result<Option<RecordRow>> {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND epoch = $2 AND seq = $3"
    )))
    .bind(gateway)
    .bind(epoch)
    .bind(seq)
    .fetch_optional(connection)
    .await?
    .as_ref()
    .map(record)
    .transpose()
}

/// Adds the index row of a record whose bytes are durable.
pub async fn add(connection: &mut SqliteConnection, row: &RecordRow) -> sqlx::Result<()> {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "INSERT INTO records ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
    )))
    .bind(&row.gateway)
    .bind(row.epoch)
    .bind(row.seq)
    .bind(row.place.segment)
    .bind(row.place.start)
    .bind(row.place.length)
    .bind(row.hash.as_slice())
    .bind(row.prev.as_slice())
    .bind(&row.kind)
    .bind(row.config)
    .bind(row.t0)
    .bind(row.t1)
    .bind(&row.state)
    .bind(row.projected)
    .bind(row.received_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Says that everything that follows from the record is derived.
pub async fn set_projected(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    seq: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE records SET projected = TRUE WHERE gateway = $1 AND epoch = $2 AND seq = $3")
        .bind(gateway)
        .bind(epoch)
        .bind(seq)
        .execute(connection)
        .await?;
    Ok(())
}

/// The record of this row, and the parts behind it that are here: all up to the next record of another kind.
pub async fn whole(connection: &mut SqliteConnection, head: &RecordRow) -> sqlx::Result<Vec<RecordRow>> {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND epoch = $2 AND seq >= $3 AND seq <
           (SELECT COALESCE(MIN(seq), $4) FROM records WHERE gateway = $1 AND epoch = $2 AND seq > $3 AND kind <> 'part')
         ORDER BY seq"
    )))
    .bind(&head.gateway)
    .bind(head.epoch)
    .bind(head.seq)
    .bind(i64::MAX)
    .fetch_all(connection)
    .await?
    .iter()
    .map(record)
    .collect()
}

/// Says of a record that was taken for understood that it is not, after all.
pub async fn quarantine(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    seq: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE records SET state = 'quarantined' WHERE gateway = $1 AND epoch = $2 AND seq = $3")
        .bind(gateway)
        .bind(epoch)
        .bind(seq)
        .execute(connection)
        .await?;
    Ok(())
}

/// Records that waited for this config record, in order.
pub async fn waiting(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    config: i64,
) -> sqlx::Result<Vec<RecordRow>> {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM records WHERE gateway = $1 AND epoch = $2 AND config = $3 AND projected = FALSE ORDER BY seq"
    )))
    .bind(gateway)
    .bind(epoch)
    .bind(config)
    .fetch_all(connection)
    .await?
    .iter()
    .map(record)
    .collect()
}

/// What a gateway said of civil time, in the order it said it.
pub async fn clocks(connection: &mut SqliteConnection, gateway: &str) -> sqlx::Result<Vec<ClockRow>> {
    sqlx::query(
        "SELECT epoch, seq, item, since, offset_ms, known FROM clocks WHERE gateway = $1 ORDER BY epoch, seq, item",
    )
    .bind(gateway)
    .fetch_all(connection)
    .await?
    .iter()
    .map(|row| {
        Ok(ClockRow {
            epoch: row.try_get(0)?,
            seq: row.try_get(1)?,
            item: row.try_get(2)?,
            since: row.try_get(3)?,
            offset_ms: row.try_get(4)?,
            known: row.try_get(5)?,
        })
    })
    .collect()
}

/// Adds what a gateway said of civil time.
pub async fn add_clock(
    connection: &mut SqliteConnection,
    gateway: &str,
    clock: &ClockRow,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO clocks (gateway, epoch, seq, item, since, offset_ms, known) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (gateway, epoch, seq, item) DO NOTHING",
    )
    .bind(gateway)
    .bind(clock.epoch)
    .bind(clock.seq)
    .bind(clock.item)
    .bind(clock.since)
    .bind(clock.offset_ms)
    .bind(clock.known)
    .execute(connection)
    .await?;
    Ok(())
}

/// Remembers a record that tells of instruments.
pub async fn add_device_record(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    seq: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO device_records (gateway, epoch, seq) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
    )
    .bind(gateway)
    .bind(epoch)
    .bind(seq)
    .execute(connection)
    .await?;
    Ok(())
}

/// Engine time at which a record of the epoch begins.
pub async fn began(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    seq: i64,
) -> sqlx::Result<Option<i64>> {
    let row = sqlx::query("SELECT t0 FROM records WHERE gateway = $1 AND epoch = $2 AND seq = $3")
        .bind(gateway)
        .bind(epoch)
        .bind(seq)
        .fetch_optional(connection)
        .await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// Adds a config record's own facts.
pub async fn add_config(
    connection: &mut SqliteConnection,
    gateway: &str,
    epoch: i64,
    seq: i64,
    software: &str,
    semantics: u16,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO configs (gateway, epoch, seq, software, semantics) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(gateway)
    .bind(epoch)
    .bind(seq)
    .bind(software)
    .bind(i64::from(semantics))
    .execute(connection)
    .await?;
    Ok(())
}
