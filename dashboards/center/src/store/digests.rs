//! Duties of units, and the digests in which they were told.

use gateway_model::EngineTime;
use serde::{Deserialize, Serialize};
use sqlx::{Row as _, SqliteConnection};

use super::{AlertRow, PAGE_MAX, Scope, Store, Words, from_json, json};

/// A digest is kept for so long, ms.
pub const KEPT_MS: i64 = 92 * 86_400_000;

/// One duty in a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyLine {
    /// Gateway id.
    pub gateway: String,
    /// Device id.
    pub device: String,
    /// Its name.
    pub device_name: Words,
    /// Rule id, `pack/rule`.
    pub rule: String,
    /// `bowie-dick`, `biological`, `chemical`, `calibration`, …
    pub duty: String,
    /// A few words: of the alert that it is overdue.
    pub title: Words,
    /// What to do.
    pub action: Words,
    /// When it is, or was, due, civil time; `None` = not known here.
    pub due_at: Option<i64>,
    /// The alert that it is overdue.
    pub alert: Option<i64>,
    /// `overdue`, `due` in the course of the day, `done` since.
    pub state: String,
}

/// The duties of a site on a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DigestRow {
    /// From 1.
    pub id: i64,
    /// Whose.
    pub institution: String,
    /// Its name.
    pub institution_name: Words,
    /// Site id.
    pub site: String,
    /// Local day at the site, `2026-11-23`.
    pub day: String,
    /// When it was told, civil time.
    pub at: i64,
    /// What it told.
    pub lines: Vec<DutyLine>,
}

/// What the records say of a duty; engine time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyRow {
    /// Device id.
    pub device: String,
    /// Which.
    pub duty: String,
    /// When it was last done.
    pub done_at: Option<i64>,
    /// As long as it never was, it counts from here.
    pub since: Option<i64>,
}

impl Store {
    /// Digests that told something, from this moment on, newest first; at most [`PAGE_MAX`].
    pub async fn digests(&self, scope: &Scope, from: i64) -> sqlx::Result<Vec<DigestRow>> {
        sqlx::query(
            "SELECT d.id, d.institution, i.name_zh, i.name_en, d.site, d.day, d.at, d.body
             FROM digests d JOIN institutions i ON i.id = d.institution
             WHERE ($1 IS NULL OR d.institution = $1) AND d.at >= $2 AND d.body <> '[]' ORDER BY d.id DESC LIMIT $3",
        )
        .bind(scope.institution())
        .bind(from)
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| {
            Ok(DigestRow {
                id: row.try_get(0)?,
                institution: row.try_get(1)?,
                institution_name: Words { zh: row.try_get(2)?, en: row.try_get(3)? },
                site: row.try_get(4)?,
                day: row.try_get(5)?,
                at: row.try_get(6)?,
                lines: from_json(row.try_get(7)?)?,
            })
        })
        .collect()
    }

    /// What the records of a gateway say of its duties.
    pub async fn duties(&self, gateway: &str) -> sqlx::Result<Vec<DutyRow>> {
        sqlx::query("SELECT device, duty, done_at, since FROM duties WHERE gateway = $1")
            .bind(gateway)
            .fetch_all(self.read())
            .await?
            .iter()
            .map(|row| {
                Ok(DutyRow {
                    device: row.try_get(0)?,
                    duty: row.try_get(1)?,
                    done_at: row.try_get(2)?,
                    since: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// Alerts of gateways that are open, in no case, and told in this way; oldest first, at most [`PAGE_MAX`].
    pub async fn alerts_told(&self, told: &str, gateway: Option<&str>) -> sqlx::Result<Vec<AlertRow>> {
        sqlx::query(
            "SELECT body, n FROM alerts WHERE told = $1 AND state = 'open' AND case_id IS NULL AND ($2 IS NULL OR gateway = $2)
             ORDER BY n LIMIT $3",
        )
        .bind(told)
        .bind(gateway)
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| {
            let alert: AlertRow = from_json(row.try_get(0)?)?;
            Ok(AlertRow { n: row.try_get(1)?, ..alert })
        })
        .collect()
    }

    /// Every site: (institution, site, gateway), in this order.
    pub async fn sites(&self) -> sqlx::Result<Vec<(String, String, String)>> {
        sqlx::query("SELECT institution, site, id FROM gateways ORDER BY institution, site, id")
            .fetch_all(self.read())
            .await?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
            .collect()
    }

    /// Has the unit declared that this gateway's site is closed at this moment?
    pub async fn is_declared_closed(&self, gateway: &str, at: i64) -> sqlx::Result<bool> {
        let found = sqlx::query(
            "SELECT 1 FROM requests WHERE gateway = $1 AND kind = 'closure' AND from_at <= $2 AND to_at > $2
               AND (order_seq IS NULL OR NOT EXISTS (SELECT 1 FROM orders o
                    WHERE o.epoch = order_epoch AND o.seq = order_seq AND o.outcome IS NOT NULL AND o.outcome <> 'done'))",
        )
        .bind(gateway)
        .bind(at)
        .fetch_optional(self.read())
        .await?;
        Ok(found.is_some())
    }
}

/// Keeps the digest of a site and day; `false` = there is one. `at` is civil time.
pub async fn add(
    connection: &mut SqliteConnection,
    id: i64,
    (institution, site, day): (&str, &str, &str),
    at: i64,
    lines: &[DutyLine],
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO digests (id, institution, site, day, at, body) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (institution, site, day) DO NOTHING",
    )
    .bind(id)
    .bind(institution)
    .bind(site)
    .bind(day)
    .bind(at)
    .bind(json(&lines))
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM digests WHERE at < $1")
        .bind(at.saturating_sub(KEPT_MS))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Is the digest of this site and day made?
pub async fn is_made(
    connection: &mut SqliteConnection,
    institution: &str,
    site: &str,
    day: &str,
) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM digests WHERE institution = $1 AND site = $2 AND day = $3")
        .bind(institution)
        .bind(site)
        .bind(day)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// What a record says of a duty at `known_at`; an older record changes nothing. Engine time.
pub async fn keep_duty(
    connection: &mut SqliteConnection,
    gateway: &str,
    duty: &DutyRow,
    known_at: EngineTime,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO duties (gateway, device, duty, done_at, since, known_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (gateway, device, duty) DO UPDATE SET done_at = excluded.done_at,
             since = COALESCE(excluded.since, duties.since), known_at = excluded.known_at
         WHERE excluded.known_at >= duties.known_at",
    )
    .bind(gateway)
    .bind(&duty.device)
    .bind(&duty.duty)
    .bind(duty.done_at)
    .bind(duty.since)
    .bind(known_at.0)
    .execute(connection)
    .await?;
    Ok(())
}
