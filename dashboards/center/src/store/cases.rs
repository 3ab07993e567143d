//! Cases and their events. The events are the truth; the row of a case is derived from them.

use center_casebook::{Case, CaseEvent, CaseState, Key};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{CaseRow, PAGE_MAX, Scope, Store, from_json, json};

/// Which cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseFilter {
    /// In this state.
    State(CaseState),
    /// Not closed.
    Active,
    /// Every case.
    All,
}

impl CaseFilter {
    /// From `state=` of a query: a state's code, `active` (also when absent) or `all`.
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "active") => Some(Self::Active),
            Some("all") => Some(Self::All),
            Some(code) => CaseState::parse(code).map(Self::State),
        }
    }
}

const SELECT: &str =
    "SELECT c.body, i.name_zh, i.name_en FROM cases c JOIN institutions i ON i.id = c.institution";

fn row(row: &SqliteRow) -> sqlx::Result<CaseRow> {
    let mut case: CaseRow = from_json(row.try_get(0)?)?;
    case.institution_name.zh = row.try_get(1)?;
    case.institution_name.en = row.try_get(2)?;
    Ok(case)
}

impl Store {
    /// Cases, most urgent first, then the one waiting longest; at most [`PAGE_MAX`].
    pub async fn case_list(&self, scope: &Scope, filter: CaseFilter) -> sqlx::Result<Vec<CaseRow>> {
        let (state, all) = match filter {
            CaseFilter::State(state) => (state.code(), false),
            CaseFilter::Active => ("", false),
            CaseFilter::All => ("", true),
        };
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE ($1 IS NULL OR c.institution = $1)
               AND ($2 = TRUE OR c.state = $3 OR ($3 = '' AND c.state <> 'closed'))
             ORDER BY CASE WHEN c.state = 'closed' THEN 1 ELSE 0 END, c.priority, c.updated_at LIMIT $4"
        )))
        .bind(scope.institution())
        .bind(all)
        .bind(state)
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?;
        rows.iter().map(row).collect()
    }

    /// One case, if it exists for the asker.
    pub async fn case_row(&self, scope: &Scope, id: i64) -> sqlx::Result<Option<CaseRow>> {
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE c.id = $1 AND ($2 IS NULL OR c.institution = $2)"
        )))
        .bind(id)
        .bind(scope.institution())
        .fetch_optional(self.read())
        .await?;
        found.as_ref().map(row).transpose()
    }

    /// Everything that happened to a case, oldest first.
    pub async fn case_events(&self, id: i64) -> sqlx::Result<Vec<CaseEvent>> {
        let mut connection = self.read().acquire().await?;
        events(&mut connection, id).await
    }

    /// Cases whose verification waits for data: (case, gateway).
    pub async fn cases_verifying(&self) -> sqlx::Result<Vec<(i64, String)>> {
        sqlx::query("SELECT id, gateway FROM cases WHERE state = 'verifying' ORDER BY id")
            .fetch_all(self.read())
            .await?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// Number of cases per state, for counters.
    pub async fn case_counts(&self, scope: &Scope) -> sqlx::Result<Vec<(String, i64)>> {
        sqlx::query("SELECT state, count(*) FROM cases WHERE ($1 IS NULL OR institution = $1) GROUP BY state")
            .bind(scope.institution())
            .fetch_all(self.read())
            .await?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }
}

impl Scope {
    /// What to compare the column `institution` with; `None` = no restriction.
    pub fn institution(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Institution(id) => Some(id),
        }
    }

    /// May rows of this institution be seen?
    pub fn sees(&self, institution: &str) -> bool {
        self.institution().is_none_or(|own| own == institution)
    }
}

/// Everything that happened to a case, oldest first.
pub async fn events(connection: &mut SqliteConnection, id: i64) -> sqlx::Result<Vec<CaseEvent>> {
    sqlx::query("SELECT body FROM case_events WHERE case_id = $1 ORDER BY n")
        .bind(id)
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| {
            let bytes: &[u8] = row.try_get(0)?;
            minicbor::decode(bytes).map_err(|error| sqlx::Error::Decode(Box::new(error)))
        })
        .collect()
}

/// A case as it stands, replayed.
pub async fn load(connection: &mut SqliteConnection, id: i64) -> sqlx::Result<Option<Case>> {
    Ok(Case::replay(&events(connection, id).await?))
}

/// The open case with this key.
pub async fn find_open(connection: &mut SqliteConnection, key: &Key) -> sqlx::Result<Option<i64>> {
    find(connection, key, "SELECT max(id) FROM cases WHERE gateway = $1 AND device = $2 AND rule = $3 AND institution = $4 AND state <> 'closed'").await
}

/// The last closed case with this key.
pub async fn find_closed(connection: &mut SqliteConnection, key: &Key) -> sqlx::Result<Option<i64>> {
    find(connection, key, "SELECT max(id) FROM cases WHERE gateway = $1 AND device = $2 AND rule = $3 AND institution = $4 AND state = 'closed'").await
}

async fn find(connection: &mut SqliteConnection, key: &Key, sql: &'static str) -> sqlx::Result<Option<i64>> {
    sqlx::query(sql)
        .bind(key.gateway.to_string())
        .bind(&key.device)
        .bind(&key.rule)
        .bind(&key.institution.0)
        .fetch_one(connection)
        .await?
        .try_get(0)
}

/// Appends events and keeps the row that follows from them.
pub async fn append(
    connection: &mut SqliteConnection,
    row: &CaseRow,
    priority: u8,
    events: &[CaseEvent],
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO cases (id, institution, gateway, device, rule, state, event, priority, updated_at, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, event = excluded.event, priority = excluded.priority,
             updated_at = excluded.updated_at, body = excluded.body",
    )
    .bind(row.id)
    .bind(&row.institution)
    .bind(&row.gateway)
    .bind(&row.device)
    .bind(&row.rule)
    .bind(&row.state)
    .bind(i64::from(row.event))
    .bind(i64::from(priority))
    .bind(row.updated_at)
    .bind(json(row))
    .execute(&mut *connection)
    .await?;
    for event in events {
        let body = minicbor::to_vec(event).expect("encoding into memory cannot fail");
        sqlx::query("INSERT INTO case_events (case_id, n, at, kind, body) VALUES ($1, $2, $3, $4, $5)")
            .bind(row.id)
            .bind(i64::from(event.n))
            .bind(event.at.0)
            .bind(event.body.code())
            .bind(body)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The stored row of a case, for changing it.
pub async fn stored_row(connection: &mut SqliteConnection, id: i64) -> sqlx::Result<Option<CaseRow>> {
    let found =
        sqlx::query("SELECT body FROM cases WHERE id = $1").bind(id).fetch_optional(connection).await?;
    found.map(|row| from_json(row.try_get(0)?)).transpose()
}
