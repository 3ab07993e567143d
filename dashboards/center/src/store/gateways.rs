//! Gateways, their points, and the orders that wait for them.

use std::collections::HashMap;

use gateway_model::{EngineTime, Epoch, Plan};
use gateway_wire::KeyRing;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::civil::ClockTable;
use crate::store::keys::{self, KeyRow};

use super::{GatewayRow, PAGE_MAX, PointRow, Scope, Store, Words};

pub use center_casebook::{DELAYED_MS, SILENT_MS};

/// What ingest needs to know of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// 32 hex digits.
    pub id: String,
    /// Its keys, each with its period.
    pub ring: KeyRing,
    /// How they followed each other.
    pub keys: Vec<KeyRow>,
    /// Who speaks showed a key that has ended: the first epoch of the key after it. It may still bring what its key sealed,
    /// and nothing else.
    pub former: Option<Epoch>,
    /// Whose.
    pub institution: String,
    /// Where.
    pub site: String,
    /// No epoch below this is taken.
    pub epoch_floor: u64,
}

/// A gateway of which nothing is heard.
#[derive(Debug)]
pub struct Quiet {
    /// Which.
    pub gateway: Enrolled,
    /// Its last sign of life, real time.
    pub last_seen: i64,
    /// The alert that says so.
    pub told: Option<i64>,
    /// How the watch took its silence when it looked last; see [`set_contact`].
    pub contact: Option<String>,
    /// Township of its institution.
    pub township: Option<String>,
}

/// `contact`: how the watch takes its silence; before the watch has looked, its age alone decides.
fn state(last_seen: Option<i64>, contact: Option<&str>, now: i64) -> &'static str {
    match (last_seen, contact) {
        (None, _) => "never",
        (Some(at), _) if now - at < DELAYED_MS => "live",
        (Some(_), Some("off")) => "off",
        (Some(_), Some("delayed")) => "delayed",
        (Some(at), _) if now - at < SILENT_MS => "delayed",
        (Some(_), _) => "silent",
    }
}

fn point(row: &SqliteRow) -> sqlx::Result<PointRow> {
    Ok(PointRow {
        gateway: row.try_get(0)?,
        id: row.try_get(1)?,
        device: row.try_get(2)?,
        name: Words { zh: row.try_get(3)?, en: row.try_get(4)? },
        unit: row.try_get(5)?,
        truth: row.try_get(6)?,
        at: row.try_get(7)?,
        quality: row.try_get(8)?,
        cause: row.try_get(9)?,
        value: row.try_get(10)?,
    })
}

impl Store {
    /// Gateways, by institution and site; at most [`PAGE_MAX`]. `now` is real time: signs of life are.
    pub async fn gateways(&self, scope: &Scope, now: i64) -> sqlx::Result<Vec<GatewayRow>> {
        sqlx::query(
            "SELECT g.id, g.institution, i.name_zh, i.name_en, g.site, g.enrolled_at, g.last_seen, e.epoch, e.through,
                 (SELECT count(*) FROM records r WHERE r.gateway = g.id),
                 (SELECT count(*) FROM records r WHERE r.gateway = g.id AND r.state <> 'stored'),
                 g.refused, (SELECT max(r.t1) FROM records r WHERE r.gateway = g.id), g.software,
                 (SELECT count(*) FROM alerts a WHERE a.gateway = g.id AND a.state = 'open'), g.simulated,
                 (SELECT c.offset_ms FROM clocks c WHERE c.gateway = g.id AND c.known = TRUE
                  ORDER BY c.epoch DESC, c.seq DESC, c.item DESC LIMIT 1), g.seen_civil, g.line_used, g.line_budget,
                 g.contact
             FROM gateways g JOIN institutions i ON i.id = g.institution
             LEFT JOIN epochs e ON e.gateway = g.id
                 AND e.epoch = (SELECT max(e2.epoch) FROM epochs e2 WHERE e2.gateway = g.id)
             WHERE ($1 IS NULL OR g.institution = $1) ORDER BY g.institution, g.site, g.id LIMIT $2",
        )
        .bind(scope.institution())
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| {
            let last_seen: Option<i64> = row.try_get(6)?;
            let through: Option<i64> = row.try_get(8)?;
            let until: Option<i64> = row.try_get(12)?;
            let offset: Option<i64> = row.try_get(16)?;
            Ok(GatewayRow {
                id: row.try_get(0)?,
                institution: row.try_get(1)?,
                institution_name: Words { zh: row.try_get(2)?, en: row.try_get(3)? },
                site: row.try_get(4)?,
                enrolled_at: row.try_get(5)?,
                last_seen: row.try_get(17)?,
                state: state(last_seen, row.try_get(20)?, now).to_owned(),
                epoch: row.try_get(7)?,
                through: through.filter(|seq| *seq >= 0),
                records: row.try_get(9)?,
                quarantined: row.try_get(10)?,
                refused: row.try_get(11)?,
                data_until: until.zip(offset).map(|(at, offset)| at + offset),
                software: row.try_get(13)?,
                open_alerts: row.try_get(14)?,
                simulated: row.try_get(15)?,
                line_used: row.try_get(18)?,
                line_budget: row.try_get(19)?,
            })
        })
        .collect()
    }

    /// What ingest needs to know of a gateway.
    pub async fn enrolled(&self, id: &str) -> sqlx::Result<Option<Enrolled>> {
        let mut connection = self.read().acquire().await?;
        enrolled(&mut connection, id).await
    }

    /// When a gateway joined, civil time.
    pub async fn enrolled_at(&self, id: &str) -> sqlx::Result<Option<i64>> {
        let found = sqlx::query("SELECT enrolled_at FROM gateways WHERE id = $1")
            .bind(id)
            .fetch_optional(self.read())
            .await?;
        found.map(|row| row.try_get(0)).transpose()
    }

    /// Orders given at this moment that are about no alert: (gateway, outcome, bytes as signed), by number.
    pub async fn orders_issued(&self, at: i64) -> sqlx::Result<Vec<(String, Option<String>, Vec<u8>)>> {
        sqlx::query(
            "SELECT gateway, outcome, bytes FROM orders WHERE issued = $1 AND alert_epoch = 0 AND alert_number = 0
             ORDER BY seq",
        )
        .bind(at)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .collect()
    }

    /// Points of a gateway with their last values, by id.
    pub async fn points(&self, scope: &Scope, gateway: &str) -> sqlx::Result<Vec<PointRow>> {
        let clocks = ClockTable::new(self.clocks(gateway).await?);
        let rows = sqlx::query(
            "SELECT p.gateway, p.id, p.device, p.name_zh, p.name_en, p.unit, p.truth, p.at, p.quality, p.cause, p.value
             FROM points p JOIN gateways g ON g.id = p.gateway
             WHERE p.gateway = $1 AND ($2 IS NULL OR g.institution = $2) ORDER BY p.slot",
        )
        .bind(gateway)
        .bind(scope.institution())
        .fetch_all(self.read())
        .await?;
        rows.iter()
            .map(|row| {
                let mut row = point(row)?;
                // Stored in engine time; without any known clock there is no civil time to tell.
                row.at = row.at.and_then(|at| Some(at + clocks.offset_at(EngineTime(at))?));
                Ok(row)
            })
            .collect()
    }

    /// Gateways whose last sign of life is older than `before`.
    pub async fn quiet(&self, before: i64) -> sqlx::Result<Vec<Quiet>> {
        sqlx::query(
            "SELECT g.id, g.public_key, g.institution, g.site, g.epoch_floor, g.last_seen, g.silent_alert, g.contact, NULLIF(i.township, '')
             FROM gateways g JOIN institutions i ON i.id = g.institution WHERE g.last_seen <= $1 ORDER BY g.id",
        )
        .bind(before)
        .fetch_all(self.read())
        .await?
        .iter()
        // What the center says of a silent gateway needs none of its later keys.
        .map(|row| {
            Ok(Quiet {
                gateway: gateway(row, Vec::new())?,
                last_seen: row.try_get(5)?,
                told: row.try_get(6)?,
                contact: row.try_get(7)?,
                township: row.try_get(8)?,
            })
        })
        .collect()
    }

    /// How many gateways that were ever heard there are in each township; those without one are in none.
    pub async fn townships(&self) -> sqlx::Result<Vec<(String, usize)>> {
        sqlx::query(
            "SELECT i.township, count(*) FROM gateways g JOIN institutions i ON i.id = g.institution
             WHERE i.township <> '' AND g.last_seen IS NOT NULL GROUP BY i.township ORDER BY i.township",
        )
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| Ok((row.try_get(0)?, usize::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0))))
        .collect()
    }

    /// Signed orders of a gateway after (epoch, seq) whose end is not known, in order; at most `limit`. Also those whose
    /// time is over: the gateway records that they expired.
    pub async fn orders_after(
        &self,
        gateway: &str,
        epoch: i64,
        seq: i64,
        limit: i64,
    ) -> sqlx::Result<Vec<Vec<u8>>> {
        sqlx::query(
            "SELECT bytes FROM orders WHERE gateway = $1 AND (epoch > $2 OR (epoch = $2 AND seq > $3))
                 AND outcome IS NULL
             ORDER BY epoch, seq LIMIT $4",
        )
        .bind(gateway)
        .bind(epoch)
        .bind(seq)
        .bind(limit)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| row.try_get(0))
        .collect()
    }
}

fn gateway(row: &SqliteRow, keys: Vec<KeyRow>) -> sqlx::Result<Enrolled> {
    let key: Vec<u8> = row.try_get(1)?;
    let public_key =
        key.try_into().map_err(|_| sqlx::Error::Decode("public key of a gateway is not 32 bytes".into()))?;
    let ring = keys::ring(public_key, &keys).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Enrolled {
        id: row.try_get(0)?,
        ring,
        keys,
        former: None,
        institution: row.try_get(2)?,
        site: row.try_get(3)?,
        epoch_floor: row.try_get::<i64, _>(4)? as u64,
    })
}

/// What ingest needs to know of a gateway.
pub async fn enrolled(connection: &mut SqliteConnection, id: &str) -> sqlx::Result<Option<Enrolled>> {
    let row =
        sqlx::query("SELECT id, public_key, institution, site, epoch_floor FROM gateways WHERE id = $1")
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(row) = row else { return Ok(None) };
    gateway(&row, keys::of(connection, id).await?).map(Some)
}

/// Every gateway that has joined, by id.
pub async fn ids(connection: &mut SqliteConnection) -> sqlx::Result<Vec<String>> {
    let rows = sqlx::query("SELECT id FROM gateways ORDER BY id").fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Adds a gateway; one that is known keeps what it has.
pub async fn add(connection: &mut SqliteConnection, gateway: &Enrolled, at: i64) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO gateways (id, public_key, institution, site, enrolled_at, epoch_floor, last_seen, software,
             simulated, refused, silent_alert)
         VALUES ($1, $2, $3, $4, $5, $6, NULL, NULL, FALSE, 0, NULL) ON CONFLICT (id) DO NOTHING",
    )
    .bind(&gateway.id)
    .bind(gateway.ring.first().to_bytes().as_slice())
    .bind(&gateway.institution)
    .bind(&gateway.site)
    .bind(at)
    .bind(gateway.epoch_floor as i64)
    .execute(connection)
    .await?;
    Ok(())
}

/// A sign of life, in real and in civil time. Answers with the number of the silence alert that it ends.
pub async fn seen(
    connection: &mut SqliteConnection,
    id: &str,
    at: i64,
    civil: i64,
) -> sqlx::Result<Option<i64>> {
    let row = sqlx::query("SELECT silent_alert FROM gateways WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    sqlx::query(
        "UPDATE gateways SET last_seen = $2, seen_civil = $3, silent_alert = NULL, contact = NULL WHERE id = $1",
    )
        .bind(id)
        .bind(at)
        .bind(civil)
        .execute(connection)
        .await?;
    row.map_or(Ok(None), |row| row.try_get(0))
}

/// What went over a metered line this month, and what may.
pub async fn set_line(
    connection: &mut SqliteConnection,
    id: &str,
    line: Option<(i64, i64)>,
) -> sqlx::Result<()> {
    let (used, budget) = line.unzip();
    sqlx::query("UPDATE gateways SET line_used = $2, line_budget = $3 WHERE id = $1")
        .bind(id)
        .bind(used)
        .bind(budget)
        .execute(connection)
        .await?;
    Ok(())
}

/// Remembers which alert says that the gateway is silent.
pub async fn set_silent(connection: &mut SqliteConnection, id: &str, alert: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE gateways SET silent_alert = $2 WHERE id = $1")
        .bind(id)
        .bind(alert)
        .execute(connection)
        .await?;
    Ok(())
}

/// Remembers how the silence of a gateway is to be taken: `off` on schedule, `delayed`, `silent`.
pub async fn set_contact(connection: &mut SqliteConnection, id: &str, contact: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE gateways SET contact = $2 WHERE id = $1")
        .bind(id)
        .bind(contact)
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts refused records.
pub async fn count_refused(connection: &mut SqliteConnection, id: &str, n: i64) -> sqlx::Result<()> {
    sqlx::query("UPDATE gateways SET refused = refused + $2 WHERE id = $1")
        .bind(id)
        .bind(n)
        .execute(connection)
        .await?;
    Ok(())
}

/// Says that the gateway runs under the demo clock.
pub async fn set_simulated(connection: &mut SqliteConnection, id: &str, simulated: bool) -> sqlx::Result<()> {
    sqlx::query("UPDATE gateways SET simulated = $2 WHERE id = $1")
        .bind(id)
        .bind(simulated)
        .execute(connection)
        .await?;
    Ok(())
}

/// Says what software the newest config names.
pub async fn set_software(connection: &mut SqliteConnection, id: &str, software: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE gateways SET software = $2 WHERE id = $1")
        .bind(id)
        .bind(software)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a plan says of a point.
#[derive(Debug, PartialEq, Eq)]
struct Described {
    slot: i64,
    device: String,
    name: [String; 2],
    unit: String,
    truth: bool,
}

/// Rows of one statement: each binds eight values, and SQLite takes 32,766.
const POINTS_AT_ONCE: usize = 1_000;

/// Keeps what a plan's points are; their last values stay. Every start of a gateway says it all again: only what is new or
/// different is written.
pub async fn put_points(connection: &mut SqliteConnection, gateway: &str, plan: &Plan) -> sqlx::Result<()> {
    let known =
        sqlx::query("SELECT id, slot, device, name_zh, name_en, unit, truth FROM points WHERE gateway = $1")
            .bind(gateway)
            .fetch_all(&mut *connection)
            .await?;
    let known: HashMap<String, Described> = known
        .iter()
        .map(|row| {
            let described = Described {
                slot: row.try_get(1)?,
                device: row.try_get(2)?,
                name: [row.try_get(3)?, row.try_get(4)?],
                unit: row.try_get(5)?,
                truth: row.try_get(6)?,
            };
            Ok((row.try_get(0)?, described))
        })
        .collect::<sqlx::Result<_>>()?;
    let said = plan.points.iter().zip(0_i64..).map(|(point, slot)| {
        let device = plan.devices.get(point.device.slot());
        let described = Described {
            slot,
            device: device.map(|device| device.id.clone()).unwrap_or_default(),
            name: [point.name.zh.clone(), point.name.en.clone()],
            unit: point.unit.symbol().to_owned(),
            truth: point.truth,
        };
        (&point.id, described)
    });
    let changed: Vec<_> = said.filter(|(id, described)| known.get(*id) != Some(described)).collect();
    for some in changed.chunks(POINTS_AT_ONCE) {
        let mut insert = sqlx::QueryBuilder::new(
            "INSERT INTO points (gateway, id, slot, device, name_zh, name_en, unit, truth, quality) ",
        );
        insert.push_values(some, |mut row, (id, point)| {
            row.push_bind(gateway).push_bind(*id).push_bind(point.slot).push_bind(&point.device);
            row.push_bind(&point.name[0]).push_bind(&point.name[1]).push_bind(&point.unit);
            row.push_bind(point.truth).push("'none'");
        });
        insert.push(
            " ON CONFLICT (gateway, id) DO UPDATE SET slot = excluded.slot, device = excluded.device,
             name_zh = excluded.name_zh, name_en = excluded.name_en, unit = excluded.unit, truth = excluded.truth",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Keeps a point's value where it is newer than the one known.
pub async fn put_value(connection: &mut SqliteConnection, row: &PointRow) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE points SET at = $3, quality = $4, cause = $5, value = $6
         WHERE gateway = $1 AND id = $2 AND (at IS NULL OR at <= $3)",
    )
    .bind(&row.gateway)
    .bind(&row.id)
    .bind(row.at)
    .bind(&row.quality)
    .bind(&row.cause)
    .bind(row.value)
    .execute(connection)
    .await?;
    Ok(())
}

/// An order as signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOrder {
    /// (center epoch, seq).
    pub order: (i64, i64),
    /// For whom.
    pub gateway: String,
    /// Civil time.
    pub issued: i64,
    /// Civil time.
    pub expires: i64,
    /// (epoch, n) of the alert it is about.
    pub alert: (i64, i64),
    /// As signed.
    pub bytes: Vec<u8>,
}

/// Keeps an order until its outcome is recorded.
pub async fn add_order(connection: &mut SqliteConnection, order: &StoredOrder) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO orders (seq, epoch, gateway, issued, expires, alert_epoch, alert_number, outcome, bytes)
         VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8)",
    )
    .bind(order.order.1)
    .bind(order.order.0)
    .bind(&order.gateway)
    .bind(order.issued)
    .bind(order.expires)
    .bind(order.alert.0)
    .bind(order.alert.1)
    .bind(&order.bytes)
    .execute(connection)
    .await?;
    Ok(())
}

/// What became of an order.
pub async fn end_order(
    connection: &mut SqliteConnection,
    gateway: &str,
    order: (i64, i64),
    outcome: &str,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE orders SET outcome = $4 WHERE gateway = $1 AND epoch = $2 AND seq = $3")
        .bind(gateway)
        .bind(order.0)
        .bind(order.1)
        .bind(outcome)
        .execute(connection)
        .await?;
    Ok(())
}
