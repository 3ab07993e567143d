//! Leads (线索): ratios that did not fit, by week, and what became of them.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{AlertRow, PAGE_MAX, Scope, Store, Words, from_json, json};

/// Alerts of one look, at most: more than all sites of a county raise in a week.
const LOOKED_AT_MAX: i64 = 4 * PAGE_MAX;

/// What was found, as kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Found {
    /// Site id.
    pub site: String,
    /// Name of the device.
    pub device_name: Words,
    /// A few words.
    pub title: Words,
    /// One sentence.
    pub sentence: Words,
    /// What to look at.
    pub action: Words,
    /// Standard and clause.
    pub norm: Words,
    /// The ratio as it was when it was first out of line.
    pub value: Option<f64>,
    /// The ratio that was expected, at least or at most.
    pub limit: Option<f64>,
    /// Unit of both.
    pub unit: Option<String>,
    /// Whole days that the ratio is over.
    pub days: i64,
    /// What the feed was looked at over: civil time, from and to.
    pub span: (i64, i64),
    /// Of a simulated gateway.
    pub simulated: bool,
}

/// One lead, or one ratio that cannot be judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeadRow {
    /// From 1.
    pub id: i64,
    /// First moment of its week, civil time.
    pub week: i64,
    /// Whose.
    pub institution: String,
    /// Its name.
    pub institution_name: Words,
    /// Gateway id.
    pub gateway: String,
    /// Rule id, `pack/rule`.
    pub rule: String,
    /// Device id.
    pub device: String,
    /// [`AlertRow::n`] of what the gateway concluded; `None` = it concluded nothing, and could not have.
    pub alert: Option<i64>,
    /// Completeness of the feed, ‰; `None` = nothing was due.
    pub feed: Option<u16>,
    /// `listed`, `unjudged`, `dismissed`, `case`.
    pub state: String,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
    /// User id of who dismissed it or opened a case.
    pub answered_by: Option<String>,
    /// Civil time.
    pub answered_at: Option<i64>,
    /// Why it was dismissed.
    pub reason: Option<String>,
    /// The case that was opened of it.
    pub case: Option<i64>,
}

const SELECT: &str = "SELECT l.id, l.week, l.institution, i.name_zh, i.name_en, l.gateway, l.rule, l.device, l.alert, l.feed, l.state,
        l.body, l.answered_by, l.answered_at, l.reason, l.case_id
    FROM leads l JOIN institutions i ON i.id = l.institution";

fn row(row: &SqliteRow) -> sqlx::Result<LeadRow> {
    Ok(LeadRow {
        id: row.try_get(0)?,
        week: row.try_get(1)?,
        institution: row.try_get(2)?,
        institution_name: Words { zh: row.try_get(3)?, en: row.try_get(4)? },
        gateway: row.try_get(5)?,
        rule: row.try_get(6)?,
        device: row.try_get(7)?,
        alert: row.try_get(8)?,
        feed: row.try_get::<Option<i64>, _>(9)?.map(|permille| permille.clamp(0, 1_000) as u16),
        state: row.try_get(10)?,
        found: from_json(row.try_get(11)?)?,
        answered_by: row.try_get(12)?,
        answered_at: row.try_get(13)?,
        reason: row.try_get(14)?,
        case: row.try_get(15)?,
    })
}

impl Store {
    /// Leads of the week that begins there, by institution; at most [`PAGE_MAX`].
    pub async fn leads(&self, scope: &Scope, week: i64) -> sqlx::Result<Vec<LeadRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE l.week = $1 AND ($2 IS NULL OR l.institution = $2) ORDER BY l.institution, l.id LIMIT $3"
        )))
        .bind(week)
        .bind(scope.institution())
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(row)
        .collect()
    }

    /// One, if it exists for the asker.
    pub async fn lead(&self, scope: &Scope, id: i64) -> sqlx::Result<Option<LeadRow>> {
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE l.id = $1 AND ($2 IS NULL OR l.institution = $2)"
        )))
        .bind(id)
        .bind(scope.institution())
        .fetch_optional(self.read())
        .await?;
        found.as_ref().map(row).transpose()
    }

    /// The lead of a week about this rule and device, if there is one.
    pub async fn lead_of(
        &self,
        week: i64,
        gateway: &str,
        rule: &str,
        device: &str,
    ) -> sqlx::Result<Option<LeadRow>> {
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE l.week = $1 AND l.gateway = $2 AND l.rule = $3 AND l.device = $4"
        )))
        .bind(week)
        .bind(gateway)
        .bind(rule)
        .bind(device)
        .fetch_optional(self.read())
        .await?;
        found.as_ref().map(row).transpose()
    }

    /// Alerts that are leads and not yet on the list of the week that begins there, newest first; at most [`LOOKED_AT_MAX`].
    pub async fn leads_to_list(&self, week: i64) -> sqlx::Result<Vec<AlertRow>> {
        sqlx::query(
            "SELECT a.body, a.n FROM alerts a WHERE a.told = 'lead' AND a.source = 'gateway' AND a.case_id IS NULL
               AND NOT EXISTS (SELECT 1 FROM leads l WHERE l.week = $1 AND l.alert = a.n)
             ORDER BY a.n DESC LIMIT $2",
        )
        .bind(week)
        .bind(LOOKED_AT_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| {
            let alert: AlertRow = from_json(row.try_get(0)?)?;
            Ok(AlertRow { n: row.try_get(1)?, ..alert })
        })
        .collect()
    }

    /// The weeks of which there are leads, newest first; at most `limit`.
    pub async fn lead_weeks(&self, scope: &Scope, limit: i64) -> sqlx::Result<Vec<i64>> {
        sqlx::query("SELECT DISTINCT week FROM leads WHERE ($1 IS NULL OR institution = $1) ORDER BY week DESC LIMIT $2")
            .bind(scope.institution())
            .bind(limit)
            .fetch_all(self.read())
            .await?
            .iter()
            .map(|row| row.try_get(0))
            .collect()
    }
}

/// Keeps what is known of a lead that nobody has answered: `id` is its number if it is new. One that was answered stays.
pub async fn keep(connection: &mut SqliteConnection, id: i64, lead: &LeadRow) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO leads (id, week, institution, gateway, rule, device, alert, feed, state, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (week, gateway, rule, device) DO UPDATE SET alert = COALESCE(excluded.alert, leads.alert),
             feed = excluded.feed, state = excluded.state, body = excluded.body
         WHERE leads.state IN ('listed', 'unjudged')",
    )
    .bind(id)
    .bind(lead.week)
    .bind(&lead.institution)
    .bind(&lead.gateway)
    .bind(&lead.rule)
    .bind(&lead.device)
    .bind(lead.alert)
    .bind(lead.feed.map(i64::from))
    .bind(&lead.state)
    .bind(json(&lead.found))
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes one off the list that could not be judged and now can: it is in line.
pub async fn forget(connection: &mut SqliteConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM leads WHERE id = $1 AND state = 'unjudged' AND alert IS NULL")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Answers one that is listed; `false` = it is not, any more.
pub async fn answer(
    connection: &mut SqliteConnection,
    id: i64,
    state: &'static str,
    (by, at): (&str, i64),
    reason: Option<&str>,
    case: Option<i64>,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE leads SET state = $2, answered_by = $3, answered_at = $4, reason = $5, case_id = $6
         WHERE id = $1 AND state = 'listed'",
    )
    .bind(id)
    .bind(state)
    .bind(by)
    .bind(at)
    .bind(reason)
    .bind(case)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
