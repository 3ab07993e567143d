//! People, sessions, tokens, institutions, enrolment codes and attachments. Secrets are kept as hashes only.

use center_casebook::Role;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{AttachmentRow, InstitutionRow, PAGE_MAX, Scope, Session, Store, User, Words};

fn user(row: &SqliteRow) -> sqlx::Result<User> {
    let code: &str = row.try_get(2)?;
    let role = Role::parse(code).ok_or_else(|| sqlx::Error::Decode(format!("role {code:?}").into()))?;
    Ok(User { id: row.try_get(0)?, name: row.try_get(1)?, role, institution: row.try_get(3)? })
}

/// What a log-in needs to know of an account.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Whose.
    pub user: User,
    /// Argon2id, PHC string.
    pub password: String,
    /// Wrong passwords since the last right one.
    pub failures: i64,
    /// No log-in before this civil time.
    pub locked_until: i64,
}

impl Store {
    /// Accounts, by name; at most [`PAGE_MAX`].
    pub async fn users(&self) -> sqlx::Result<Vec<User>> {
        sqlx::query("SELECT id, name, role, institution FROM users ORDER BY name LIMIT $1")
            .bind(PAGE_MAX)
            .fetch_all(self.read())
            .await?
            .iter()
            .map(user)
            .collect()
    }

    /// Is there any account yet?
    pub async fn has_users(&self) -> sqlx::Result<bool> {
        Ok(sqlx::query("SELECT 1 FROM users LIMIT 1").fetch_optional(self.read()).await?.is_some())
    }

    /// An account with what a log-in needs.
    pub async fn credentials(&self, name: &str) -> sqlx::Result<Option<Credentials>> {
        let found = sqlx::query(
            "SELECT id, name, role, institution, password, failures, locked_until FROM users WHERE name = $1",
        )
        .bind(name)
        .fetch_optional(self.read())
        .await?;
        found
            .map(|row| {
                Ok(Credentials {
                    user: user(&row)?,
                    password: row.try_get(4)?,
                    failures: row.try_get(5)?,
                    locked_until: row.try_get(6)?,
                })
            })
            .transpose()
    }

    /// The session with this hashed secret, if it has not ended.
    pub async fn session(&self, id: &[u8; 32], now: i64) -> sqlx::Result<Option<(User, Session)>> {
        let found = sqlx::query(
            "SELECT u.id, u.name, u.role, u.institution, s.csrf, s.expires FROM sessions s
             JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.expires > $2",
        )
        .bind(id.as_slice())
        .bind(now)
        .fetch_optional(self.read())
        .await?;
        found
            .map(|row| {
                Ok((user(&row)?, Session { id: *id, csrf: row.try_get(4)?, expires: row.try_get(5)? }))
            })
            .transpose()
    }

    /// Whose token this is.
    pub async fn token(&self, id: &[u8; 32]) -> sqlx::Result<Option<User>> {
        let found = sqlx::query(
            "SELECT u.id, u.name, u.role, u.institution FROM tokens t JOIN users u ON u.id = t.user_id WHERE t.id = $1",
        )
        .bind(id.as_slice())
        .fetch_optional(self.read())
        .await?;
        found.as_ref().map(user).transpose()
    }

    /// Name of an account by its id: what timelines show.
    pub async fn user_names(&self) -> sqlx::Result<std::collections::HashMap<String, String>> {
        sqlx::query("SELECT id, name FROM users")
            .fetch_all(self.read())
            .await?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    }

    /// Institutions, by id; at most [`PAGE_MAX`].
    pub async fn institutions(&self, scope: &Scope) -> sqlx::Result<Vec<InstitutionRow>> {
        sqlx::query(
            "SELECT id, name_zh, name_en, kind, NULLIF(township, '') FROM institutions WHERE ($1 IS NULL OR id = $1) ORDER BY id LIMIT $2",
        )
        .bind(scope.institution())
        .bind(PAGE_MAX)
        .fetch_all(self.read())
        .await?
        .iter()
        .map(|row| {
            Ok(InstitutionRow {
                id: row.try_get(0)?,
                name: Words { zh: row.try_get(1)?, en: row.try_get(2)? },
                kind: row.try_get(3)?,
                township: row.try_get(4)?,
            })
        })
        .collect()
    }

    /// An attachment, if the asker may see it: their own institution's, or any at the center.
    pub async fn attachment(&self, scope: &Scope, sha256: &str) -> sqlx::Result<Option<AttachmentRow>> {
        let found = sqlx::query(
            "SELECT sha256, media_type, bytes, erased_at, erased_reason FROM attachments
             WHERE sha256 = $1 AND ($2 IS NULL OR institution = $2)",
        )
        .bind(sha256)
        .bind(scope.institution())
        .fetch_optional(self.read())
        .await?;
        found
            .map(|row| {
                Ok(AttachmentRow {
                    sha256: row.try_get(0)?,
                    media_type: row.try_get(1)?,
                    bytes: row.try_get(2)?,
                    erased: row.try_get::<Option<i64>, _>(3)?.zip(row.try_get(4)?),
                })
            })
            .transpose()
    }

    /// Hashes of all rule packs that gateways have brought.
    pub async fn packs(&self) -> sqlx::Result<Vec<String>> {
        sqlx::query("SELECT sha256 FROM attachments WHERE media_type = 'application/toml' ORDER BY sha256")
            .fetch_all(self.read())
            .await?
            .iter()
            .map(|row| row.try_get(0))
            .collect()
    }

    /// How many attachments somebody has brought.
    pub async fn attachments_of(&self, by: &str) -> sqlx::Result<i64> {
        let row = sqlx::query("SELECT count(*) FROM attachments WHERE uploaded_by = $1")
            .bind(by)
            .fetch_one(self.read())
            .await?;
        row.try_get(0)
    }
}

/// Says that an attachment was erased, and why; false = there is none that is still here.
pub async fn erase_attachment(
    connection: &mut SqliteConnection,
    sha256: &str,
    at: i64,
    reason: &str,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE attachments SET erased_at = $2, erased_reason = $3 WHERE sha256 = $1 AND erased_at IS NULL",
    )
    .bind(sha256)
    .bind(at)
    .bind(reason)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Adds an account; false where the name is taken.
pub async fn add_user(
    connection: &mut SqliteConnection,
    user: &User,
    password: &str,
    at: i64,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "INSERT INTO users (id, name, role, institution, password, failures, locked_until, created_at)
         VALUES ($1, $2, $3, $4, $5, 0, 0, $6) ON CONFLICT (name) DO NOTHING",
    )
    .bind(&user.id)
    .bind(&user.name)
    .bind(user.role.code())
    .bind(&user.institution)
    .bind(password)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Counts a wrong password, or forgets them after a right one.
pub async fn set_failures(
    connection: &mut SqliteConnection,
    user: &str,
    failures: i64,
    locked_until: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE users SET failures = $2, locked_until = $3 WHERE id = $1")
        .bind(user)
        .bind(failures)
        .bind(locked_until)
        .execute(connection)
        .await?;
    Ok(())
}

/// Begins a session and sweeps those that have ended.
pub async fn add_session(
    connection: &mut SqliteConnection,
    user: &str,
    session: &Session,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM sessions WHERE expires <= $1").bind(now).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO sessions (id, user_id, csrf, expires) VALUES ($1, $2, $3, $4)")
        .bind(session.id.as_slice())
        .bind(user)
        .bind(&session.csrf)
        .bind(session.expires)
        .execute(connection)
        .await?;
    Ok(())
}

/// Ends a session.
pub async fn end_session(connection: &mut SqliteConnection, id: &[u8; 32]) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id.as_slice()).execute(connection).await?;
    Ok(())
}

/// Adds a bearer token.
pub async fn add_token(
    connection: &mut SqliteConnection,
    id: &[u8; 32],
    user: &str,
    name: &str,
    at: i64,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO tokens (id, user_id, name, created_at) VALUES ($1, $2, $3, $4)")
        .bind(id.as_slice())
        .bind(user)
        .bind(name)
        .bind(at)
        .execute(connection)
        .await?;
    Ok(())
}

/// Adds an institution or renames it. Without a township it keeps the one that it has; an empty one takes it away.
pub async fn put_institution(
    connection: &mut SqliteConnection,
    row: &InstitutionRow,
    at: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO institutions (id, name_zh, name_en, kind, created_at, township) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en, kind = excluded.kind,
             township = COALESCE(excluded.township, institutions.township)",
    )
    .bind(&row.id)
    .bind(&row.name.zh)
    .bind(&row.name.en)
    .bind(&row.kind)
    .bind(at)
    .bind(&row.township)
    .execute(connection)
    .await?;
    Ok(())
}

/// Does the institution exist?
pub async fn has_institution(connection: &mut SqliteConnection, id: &str) -> sqlx::Result<bool> {
    Ok(sqlx::query("SELECT 1 FROM institutions WHERE id = $1")
        .bind(id)
        .fetch_optional(connection)
        .await?
        .is_some())
}

/// Adds an enrolment code.
pub async fn add_code(
    connection: &mut SqliteConnection,
    id: &[u8; 32],
    institution: &str,
    site: &str,
    expires: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO enrolment_codes (id, institution, site, expires, used_by) VALUES ($1, $2, $3, $4, NULL)",
    )
    .bind(id.as_slice())
    .bind(institution)
    .bind(site)
    .bind(expires)
    .execute(connection)
    .await?;
    Ok(())
}

/// Uses a code up: (institution, site), once and in time.
pub async fn use_code(
    connection: &mut SqliteConnection,
    id: &[u8; 32],
    gateway: &str,
    now: i64,
) -> sqlx::Result<Option<(String, String)>> {
    let used = sqlx::query(
        "UPDATE enrolment_codes SET used_by = $2
         WHERE id = $1 AND expires > $3 AND (used_by IS NULL OR used_by = $2) RETURNING institution, site",
    )
    .bind(id.as_slice())
    .bind(gateway)
    .bind(now)
    .fetch_optional(connection)
    .await?;
    used.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

/// Adds an attachment whose bytes are on disk; one that is known stays as it is.
pub async fn add_attachment(
    connection: &mut SqliteConnection,
    row: &AttachmentRow,
    by: &str,
    institution: Option<&str>,
    at: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO attachments (sha256, media_type, bytes, uploaded_by, institution, uploaded_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (sha256) DO NOTHING",
    )
    .bind(&row.sha256)
    .bind(&row.media_type)
    .bind(row.bytes)
    .bind(by)
    .bind(institution)
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}
