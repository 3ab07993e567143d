//! The database: every statement of the center stands in this module and its children.
//!
//! One connection writes, others only read; what writes after reading begins with `BEGIN IMMEDIATE`. Readings
//! are never rows. SQLite today, in the subset of SQL that PostgreSQL reads too (`dependencies.md` §6).
//! Leaves out: deciding anything. Callers decide, these functions keep and find.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction};

pub mod accounts;
pub mod alerts;
pub mod aside;
pub mod audit;
pub mod cases;
pub mod digests;
pub mod epochs;
pub mod gateways;
pub mod keys;
pub mod leads;
pub mod records;
pub mod requests;
pub mod rows;

pub use digests::{DigestRow, DutyLine};
pub use leads::LeadRow;
pub use requests::RequestRow;
pub use rows::*;

/// A transaction on the one writing connection.
pub type Tx = Transaction<'static, Sqlite>;

/// Connections that read at once.
const READERS_MAX: u32 = 4;
/// Rows of one list; more is asked for page by page.
pub const PAGE_MAX: i64 = 500;

/// Embedded in order; an applied one is never edited.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("../../migrations/0001_center.sql")),
    (4, include_str!("../../migrations/0004_aside.sql")),
    (14, include_str!("../../migrations/0014_keys.sql")),
    (26, include_str!("../../migrations/0026_contact.sql")),
    (28, include_str!("../../migrations/0028_requests.sql")),
    (30, include_str!("../../migrations/0030_telling.sql")),
];

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl Store {
    /// Opens the file, making and migrating it as needed.
    pub async fn open(path: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone().create_if_missing(true))
            .await
            .with_context(|| format!("open {}", path.display()))?;
        migrate(&writer).await.with_context(|| format!("migrate {}", path.display()))?;
        let reader = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.read_only(true))
            .await
            .with_context(|| format!("open {} for reading", path.display()))?;
        Ok(Self { writer, reader })
    }

    /// Begins to write; nobody else does until it is committed or dropped.
    pub async fn write(&self) -> sqlx::Result<Tx> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// For reading only.
    pub(crate) fn read(&self) -> &SqlitePool {
        &self.reader
    }

    /// Ends all connections; the log is folded into the file.
    pub async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }

    /// A value of the center itself.
    pub async fn meta(&self, key: &str) -> sqlx::Result<Option<String>> {
        let row = sqlx::query("SELECT value FROM meta WHERE key = $1")
            .bind(key)
            .fetch_optional(self.read())
            .await?;
        row.map(|row| row.try_get(0)).transpose()
    }

    /// Sets a value of the center itself.
    pub async fn set_meta(&self, key: &str, value: &str) -> sqlx::Result<()> {
        let mut tx = self.write().await?;
        set_meta(&mut tx, key, value).await?;
        tx.commit().await
    }

    /// Counts one more of something the center itself numbers, from 1.
    pub async fn count_up(&self, key: &str) -> sqlx::Result<i64> {
        let mut tx = self.write().await?;
        let n = count_up(&mut tx, key).await?;
        tx.commit().await?;
        Ok(n)
    }
}

/// Sets a value of the center itself.
pub async fn set_meta(tx: &mut SqliteConnection, key: &str, value: &str) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(key)
    .bind(value)
    .execute(tx)
    .await?;
    Ok(())
}

/// The next number of `key`, from 1.
pub async fn count_up(tx: &mut SqliteConnection, key: &str) -> sqlx::Result<i64> {
    let row = sqlx::query(
        "INSERT INTO meta (key, value) VALUES ($1, '1')
         ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)
         RETURNING CAST(value AS BIGINT)",
    )
    .bind(key)
    .fetch_one(tx)
    .await?;
    row.try_get(0)
}

async fn migrate(writer: &SqlitePool) -> anyhow::Result<()> {
    sqlx::query("CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY)")
        .execute(writer)
        .await?;
    for (version, sql) in MIGRATIONS {
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        let known = sqlx::query("SELECT 1 FROM schema_versions WHERE version = $1")
            .bind(version)
            .fetch_optional(&mut *tx)
            .await?;
        if known.is_none() {
            sqlx::raw_sql(*sql).execute(&mut *tx).await.with_context(|| format!("migration {version}"))?;
            sqlx::query("INSERT INTO schema_versions (version) VALUES ($1)")
                .bind(version)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// JSON of a derived row. Its types hold nothing that JSON cannot: numbers are checked to be finite before.
pub(crate) fn json<T: serde::Serialize>(row: &T) -> String {
    serde_json::to_string(row).expect("rows are plain structs with string keys")
}

/// A derived row back from JSON; an error is one of the database's content.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
