//! What units asked of the center, or declared, and what became of it.

use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{PAGE_MAX, Scope, Store, Words, from_json};
use crate::store::AlertRow;

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestRow {
    /// From 1.
    pub id: i64,
    /// Whose.
    pub institution: String,
    /// Its name.
    pub institution_name: Words,
    /// The gateway it is about.
    pub gateway: String,
    /// `pause` or `closure`.
    pub kind: String,
    /// The alert whose reminders are to pause ([`AlertRow::n`]).
    pub alert: Option<i64>,
    /// Its title.
    pub alert_title: Words,
    /// Its device.
    pub device_name: Words,
    /// How long reminders are to pause, ms.
    pub for_ms: Option<i64>,
    /// First moment of a closure, civil ms.
    pub from: Option<i64>,
    /// Its end, civil ms.
    pub to: Option<i64>,
    /// Why, as asked.
    pub reason: String,
    /// Opaque id of the person.
    pub asked_by: String,
    /// Civil ms.
    pub asked_at: i64,
    /// `asked`, `granted`, `refused`, `declared`.
    pub state: String,
    /// Opaque id of who answered.
    pub answered_by: Option<String>,
    /// Civil ms.
    pub answered_at: Option<i64>,
    /// What they said to it.
    pub answer: Option<String>,
    /// What the gateway made of the order: `done`, `expired`, `refused: CODE`; absent until it says so.
    pub outcome: Option<String>,
}

/// What is asked, before it has a number.
#[derive(Debug, Clone)]
pub struct NewRequest<'a> {
    /// Whose.
    pub institution: &'a str,
    /// About which gateway.
    pub gateway: &'a str,
    /// `pause` or `closure`.
    pub kind: &'static str,
    /// [`AlertRow::n`].
    pub alert: Option<i64>,
    /// Ms.
    pub for_ms: Option<i64>,
    /// Civil ms.
    pub span: Option<(i64, i64)>,
    /// Why.
    pub reason: &'a str,
    /// Who.
    pub by: &'a str,
    /// Civil ms.
    pub at: i64,
    /// `asked`, `granted` or `declared`.
    pub state: &'static str,
    /// The order that carries it out, once there is one.
    pub order: Option<(i64, i64)>,
}

/// A request is shown for so long after it was asked, ms.
const SHOWN_MS: i64 = 14 * 86_400_000;

const SELECT: &str = "SELECT q.id, q.institution, i.name_zh, i.name_en, q.gateway, q.kind, q.alert, a.body, q.for_ms, q.from_at,
        q.to_at, q.reason, q.asked_by, q.asked_at, q.state, q.answered_by, q.answered_at, q.answer, o.outcome
    FROM requests q JOIN institutions i ON i.id = q.institution
    LEFT JOIN alerts a ON a.n = q.alert
    LEFT JOIN orders o ON o.seq = q.order_seq AND o.epoch = q.order_epoch";

fn row(row: &SqliteRow) -> sqlx::Result<RequestRow> {
    let about: Option<AlertRow> = row.try_get::<Option<&str>, _>(7)?.map(from_json).transpose()?;
    let (alert_title, device_name) = about.map(|alert| (alert.title, alert.device_name)).unwrap_or_default();
    Ok(RequestRow {
        id: row.try_get(0)?,
        institution: row.try_get(1)?,
        institution_name: Words { zh: row.try_get(2)?, en: row.try_get(3)? },
        gateway: row.try_get(4)?,
        kind: row.try_get(5)?,
        alert: row.try_get(6)?,
        alert_title,
        device_name,
        for_ms: row.try_get(8)?,
        from: row.try_get(9)?,
        to: row.try_get(10)?,
        reason: row.try_get(11)?,
        asked_by: row.try_get(12)?,
        asked_at: row.try_get(13)?,
        state: row.try_get(14)?,
        answered_by: row.try_get(15)?,
        answered_at: row.try_get(16)?,
        answer: row.try_get(17)?,
        outcome: row.try_get(18)?,
    })
}

impl Store {
    /// Those that wait for an answer, those of the last fortnight, and closures that are not over; newest first, at most
    /// [`PAGE_MAX`].
    pub async fn requests(&self, scope: &Scope, now: i64) -> sqlx::Result<Vec<RequestRow>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE ($1 IS NULL OR q.institution = $1) AND (q.state = 'asked' OR q.asked_at >= $2 OR q.to_at >= $3)
             ORDER BY q.id DESC LIMIT $4"
        )))
        .bind(scope.institution())
        .bind(now.saturating_sub(SHOWN_MS))
        .bind(now)
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(row)
        .collect()
    }

    /// One, if it exists for the asker.
    pub async fn request(&self, scope: &Scope, id: i64) -> sqlx::Result<Option<RequestRow>> {
        let found = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE q.id = $1 AND ($2 IS NULL OR q.institution = $2)"
        )))
        .bind(id)
        .bind(scope.institution())
        .fetch_optional(self.read())
        .await?;
        found.as_ref().map(row).transpose()
    }
}

/// Does a pause of this alert wait for an answer?
pub async fn is_asked(connection: &mut SqliteConnection, alert: i64) -> sqlx::Result<bool> {
    let found = sqlx::query("SELECT 1 FROM requests WHERE alert = $1 AND state = 'asked'")
        .bind(alert)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

/// Keeps a new one under this number.
pub async fn add(connection: &mut SqliteConnection, id: i64, request: &NewRequest<'_>) -> sqlx::Result<()> {
    let answered = request.state == "granted";
    sqlx::query(
        "INSERT INTO requests (id, institution, gateway, kind, alert, for_ms, from_at, to_at, reason, asked_by, asked_at, state,
             answered_by, answered_at, order_epoch, order_seq)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(id)
    .bind(request.institution)
    .bind(request.gateway)
    .bind(request.kind)
    .bind(request.alert)
    .bind(request.for_ms)
    .bind(request.span.map(|(from, _)| from))
    .bind(request.span.map(|(_, to)| to))
    .bind(request.reason)
    .bind(request.by)
    .bind(request.at)
    .bind(request.state)
    .bind(answered.then_some(request.by))
    .bind(answered.then_some(request.at))
    .bind(request.order.map(|(epoch, _)| epoch))
    .bind(request.order.map(|(_, seq)| seq))
    .execute(connection)
    .await?;
    Ok(())
}

/// Answers one that waits; `false` = it does not wait any more.
pub async fn answer(
    connection: &mut SqliteConnection,
    id: i64,
    state: &'static str,
    (by, at): (&str, i64),
    words: &str,
    order: Option<(i64, i64)>,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE requests SET state = $2, answered_by = $3, answered_at = $4, answer = $5, order_epoch = $6, order_seq = $7
         WHERE id = $1 AND state = 'asked'",
    )
    .bind(id)
    .bind(state)
    .bind(by)
    .bind(at)
    .bind(words)
    .bind(order.map(|(epoch, _)| epoch))
    .bind(order.map(|(_, seq)| seq))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
