//! Alerts and cycles as the records tell them: derived, rebuildable.

use gateway_model::{AlertId, Epoch};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{AlertRow, CycleRow, PAGE_MAX, Scope, Store, from_json, json};

/// Which alerts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Only those that are not over at the gateway, and no leads: what people watch.
    pub open_only: bool,
    /// Only those the center learned of after this one ([`AlertRow::n`]); `None` = the newest page.
    pub after: Option<i64>,
}

const SELECT: &str = "SELECT a.body, a.n, a.case_id, i.name_zh, i.name_en,
        CASE WHEN a.source = 'center' OR (e.through >= a.record_seq AND (e.broken IS NULL OR e.broken > a.record_seq))
             THEN 'closed' ELSE 'open' END AS chain
    FROM alerts a JOIN institutions i ON i.id = a.institution
    LEFT JOIN epochs e ON e.gateway = a.gateway AND e.epoch = a.record_epoch";

fn row(row: &SqliteRow) -> sqlx::Result<AlertRow> {
    let mut alert: AlertRow = from_json(row.try_get(0)?)?;
    alert.n = row.try_get(1)?;
    alert.case = row.try_get(2)?;
    alert.institution_name.zh = row.try_get(3)?;
    alert.institution_name.en = row.try_get(4)?;
    alert.chain = row.try_get(5)?;
    Ok(alert)
}

impl Store {
    /// Alerts, newest first (oldest first after `after`); at most [`PAGE_MAX`]. Leads are the center's, and never live.
    pub async fn alert_list(&self, scope: &Scope, filter: AlertFilter) -> sqlx::Result<Vec<AlertRow>> {
        let order = if filter.after.is_some() { "ASC" } else { "DESC" };
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE ($1 IS NULL OR a.institution = $1) AND ($2 = FALSE OR a.state = 'open') AND a.n > $3
               AND (a.told <> 'lead' OR ($1 IS NULL AND $2 = FALSE))
             ORDER BY a.n {order} LIMIT $4"
        )))
        .bind(scope.institution())
        .bind(filter.open_only)
        .bind(filter.after.unwrap_or(0))
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(row).collect()
    }

    /// Alerts of a case, oldest first; at most [`PAGE_MAX`].
    pub async fn case_alerts(&self, case: i64) -> sqlx::Result<Vec<AlertRow>> {
        let rows =
            sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE a.case_id = $1 ORDER BY a.n LIMIT $2")))
                .bind(case)
                .bind(PAGE_MAX)
                .fetch_all(self.read())
                .await?;
        rows.iter().map(row).collect()
    }

    /// Alerts by number, as the live stream shows them.
    pub async fn alert(&self, n: i64) -> sqlx::Result<Option<AlertRow>> {
        let found = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE a.n = $1")))
            .bind(n)
            .fetch_optional(self.read())
            .await?;
        found.as_ref().map(row).transpose()
    }

    /// Alerts not yet shown as having a closed chain, up to this seq of an epoch: those that just became so.
    pub async fn alerts_between(
        &self,
        gateway: &str,
        epoch: i64,
        first: i64,
        last: i64,
    ) -> sqlx::Result<Vec<i64>> {
        sqlx::query(
            "SELECT n FROM alerts WHERE gateway = $1 AND source = 'gateway' AND record_epoch = $2
               AND record_seq BETWEEN $3 AND $4 ORDER BY n LIMIT $5",
        )
        .bind(gateway)
        .bind(epoch)
        .bind(first)
        .bind(last)
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| row.try_get(0))
        .collect()
    }

    /// Alerts that are not over, for counters.
    pub async fn open_alert_count(&self, scope: &Scope) -> sqlx::Result<i64> {
        sqlx::query("SELECT count(*) FROM alerts WHERE state = 'open' AND ($1 IS NULL OR institution = $1)")
            .bind(scope.institution())
            .fetch_one(self.read())
            .await?
            .try_get(0)
    }

    /// Cycles of a gateway, newest first; at most [`PAGE_MAX`].
    pub async fn cycles(&self, scope: &Scope, gateway: &str) -> sqlx::Result<Vec<CycleRow>> {
        sqlx::query(
            "SELECT c.body FROM cycles c JOIN gateways g ON g.id = c.gateway
             WHERE c.gateway = $1 AND ($2 IS NULL OR g.institution = $2) ORDER BY c.ended DESC LIMIT $3",
        )
        .bind(gateway)
        .bind(scope.institution())
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| from_json(row.try_get(0)?))
        .collect()
    }
}

/// An alert as stored, for changing it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    /// What the API shows.
    pub row: AlertRow,
    /// Its number at the gateway.
    pub alert: AlertId,
    /// (epoch, seq) of the record that raised it.
    pub record: (i64, i64),
    /// Engine times: held since, raised, over.
    pub since: Option<i64>,
    /// Engine time.
    pub raised: i64,
    /// Engine time.
    pub cleared: Option<i64>,
}

fn stored(row: &SqliteRow) -> sqlx::Result<StoredAlert> {
    let mut alert: AlertRow = from_json(row.try_get(0)?)?;
    alert.n = row.try_get(1)?;
    alert.case = row.try_get(2)?;
    Ok(StoredAlert {
        row: alert,
        alert: AlertId {
            epoch: Epoch(row.try_get::<i64, _>(3)? as u64),
            n: row.try_get::<i64, _>(4)? as u32,
        },
        record: (row.try_get(5)?, row.try_get(6)?),
        since: row.try_get(7)?,
        raised: row.try_get(8)?,
        cleared: row.try_get(9)?,
    })
}

const STORED: &str =
    "SELECT body, n, case_id, epoch, number, record_epoch, record_seq, since, raised, cleared FROM alerts";

/// The alert with this number at this gateway.
pub async fn find(
    connection: &mut SqliteConnection,
    gateway: &str,
    source: &str,
    alert: AlertId,
) -> sqlx::Result<Option<StoredAlert>> {
    let found = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{STORED} WHERE gateway = $1 AND source = $2 AND epoch = $3 AND number = $4"
    )))
    .bind(gateway)
    .bind(source)
    .bind(alert.epoch.0 as i64)
    .bind(i64::from(alert.n))
    .fetch_optional(connection)
    .await?;
    found.as_ref().map(stored).transpose()
}

/// Alerts of a gateway raised or ended at or after this engine time: those whose civil times a later clock input
/// may change.
pub async fn since(
    connection: &mut SqliteConnection,
    gateway: &str,
    at: i64,
) -> sqlx::Result<Vec<StoredAlert>> {
    sqlx::query(sqlx::AssertSqlSafe(format!(
        "{STORED} WHERE gateway = $1 AND source = 'gateway' AND (raised >= $2 OR cleared >= $2 OR since >= $2)"
    )))
    .bind(gateway)
    .bind(at)
    .fetch_all(connection)
    .await?
    .iter()
    .map(stored)
    .collect()
}

/// Keeps an alert; `row.n` is its identity here.
pub async fn keep(connection: &mut SqliteConnection, alert: &StoredAlert) -> sqlx::Result<()> {
    let row = &alert.row;
    sqlx::query(
        "INSERT INTO alerts (n, gateway, epoch, number, source, institution, rule, state, event, case_id,
             record_epoch, record_seq, since, raised, cleared, body, told)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (n) DO UPDATE SET state = excluded.state, event = excluded.event, case_id = excluded.case_id,
             record_epoch = excluded.record_epoch, record_seq = excluded.record_seq,
             since = excluded.since, raised = excluded.raised, cleared = excluded.cleared, body = excluded.body,
             told = excluded.told",
    )
    .bind(row.n)
    .bind(&row.gateway)
    .bind(alert.alert.epoch.0 as i64)
    .bind(i64::from(alert.alert.n))
    .bind(&row.source)
    .bind(&row.institution)
    .bind(&row.rule)
    .bind(&row.state)
    .bind(i64::from(row.event))
    .bind(row.case)
    .bind(alert.record.0)
    .bind(alert.record.1)
    .bind(alert.since)
    .bind(alert.raised)
    .bind(alert.cleared)
    .bind(json(row))
    .bind(&row.told)
    .execute(connection)
    .await?;
    Ok(())
}

/// A cycle as stored, with its engine times.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCycle {
    /// What the API shows.
    pub row: CycleRow,
    /// Epoch of the record that says so.
    pub epoch: i64,
    /// Engine time.
    pub started: i64,
    /// Engine time.
    pub hold_started: Option<i64>,
    /// Engine time.
    pub ended: i64,
}

/// Keeps a cycle.
pub async fn keep_cycle(connection: &mut SqliteConnection, cycle: &StoredCycle) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO cycles (gateway, epoch, device, number, started, hold_started, ended, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (gateway, device, epoch, number) DO UPDATE SET body = excluded.body",
    )
    .bind(&cycle.row.gateway)
    .bind(cycle.epoch)
    .bind(&cycle.row.device)
    .bind(cycle.row.n)
    .bind(cycle.started)
    .bind(cycle.hold_started)
    .bind(cycle.ended)
    .bind(json(&cycle.row))
    .execute(connection)
    .await?;
    Ok(())
}

/// Cycles of a gateway that ended at or after this engine time.
pub async fn cycles_since(
    connection: &mut SqliteConnection,
    gateway: &str,
    at: i64,
) -> sqlx::Result<Vec<StoredCycle>> {
    sqlx::query(
        "SELECT body, epoch, started, hold_started, ended FROM cycles WHERE gateway = $1 AND ended >= $2",
    )
    .bind(gateway)
    .bind(at)
    .fetch_all(connection)
    .await?
    .iter()
    .map(|row| {
        Ok(StoredCycle {
            row: from_json(row.try_get(0)?)?,
            epoch: row.try_get(1)?,
            started: row.try_get(2)?,
            hold_started: row.try_get(3)?,
            ended: row.try_get(4)?,
        })
    })
    .collect()
}

/// The open alert of the center itself about this gateway and rule.
pub async fn open_of_center(
    connection: &mut SqliteConnection,
    gateway: &str,
    rule: &str,
) -> sqlx::Result<Option<StoredAlert>> {
    let found = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{STORED} WHERE gateway = $1 AND source = 'center' AND rule = $2 AND state = 'open' ORDER BY n LIMIT 1"
    )))
    .bind(gateway)
    .bind(rule)
    .fetch_optional(connection)
    .await?;
    found.as_ref().map(stored).transpose()
}

/// The open alert of a rule of the center that is about many gateways.
pub async fn open_of_rule(
    connection: &mut SqliteConnection,
    rule: &str,
) -> sqlx::Result<Option<StoredAlert>> {
    let found = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{STORED} WHERE source = 'center' AND rule = $1 AND state = 'open' ORDER BY n LIMIT 1"
    )))
    .bind(rule)
    .fetch_optional(connection)
    .await?;
    found.as_ref().map(stored).transpose()
}

/// The alert with this number here.
pub async fn by_number(connection: &mut SqliteConnection, n: i64) -> sqlx::Result<Option<StoredAlert>> {
    let found = sqlx::query(sqlx::AssertSqlSafe(format!("{STORED} WHERE n = $1")))
        .bind(n)
        .fetch_optional(connection)
        .await?;
    found.as_ref().map(stored).transpose()
}

/// Alerts of a case, oldest first, for changing them or ordering something about them.
pub async fn of_case(connection: &mut SqliteConnection, case: i64) -> sqlx::Result<Vec<StoredAlert>> {
    sqlx::query(sqlx::AssertSqlSafe(format!("{STORED} WHERE case_id = $1 ORDER BY n")))
        .bind(case)
        .fetch_all(connection)
        .await?
        .iter()
        .map(stored)
        .collect()
}

/// Alerts of a gateway that are not over.
pub async fn open_of(connection: &mut SqliteConnection, gateway: &str) -> sqlx::Result<Vec<StoredAlert>> {
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
        "{STORED} WHERE gateway = $1 AND source = 'gateway' AND state = 'open' ORDER BY n"
    )))
    .bind(gateway)
    .fetch_all(connection)
    .await?;
    rows.iter().map(stored).collect()
}
