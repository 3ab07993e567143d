//! Who is asking: accounts, sessions, tokens, and the extractors that routes take.
//!
//! Passwords are Argon2id; secrets of sessions, tokens and codes are stored as hashes. A session's cookie alone
//! changes nothing: every change must bring the session's CSRF token too (header `X-CSRF-Token`, or the form
//! field that [`Viewer::check_csrf`] compares). Bearer tokens need none: no browser sends them by itself.

use std::sync::OnceLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use center_casebook::{Actor, Role};
use gateway_model::InstitutionId;
use tokio::sync::Semaphore;

use crate::app::{App, AppState};
use crate::error::ApiError;
use crate::keys::{hashed, random, same, secret};
use crate::store::{Scope, Session, User, accounts, audit};

/// Name of the session's cookie.
pub const COOKIE: &str = "nonsite_session";
/// Header that brings the CSRF token.
pub const CSRF_HEADER: &str = "x-csrf-token";
/// Wrong passwords in a row before the account is locked for a while.
pub const FAILURES_MAX: i64 = 5;
/// For how long, real ms.
pub const LOCK_MS: i64 = 15 * 60_000;
/// Characters of a password, at least and at most.
pub const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 10..=200;

/// Somebody who may look. Taking it as an argument makes a route ask for a log-in, and for the CSRF header on
/// every method that changes something.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// Who.
    pub user: User,
    /// Through a browser's session; `None` = a bearer token.
    pub session: Option<Session>,
}

/// As [`Viewer`], for forms: the handler itself must compare the form's field with [`Viewer::check_csrf`].
#[derive(Debug, Clone)]
pub struct FormViewer(pub Viewer);

/// As [`Viewer`], where nobody need be logged in.
#[derive(Debug, Clone)]
pub struct MaybeViewer(pub Option<Viewer>);

impl Viewer {
    /// What exists for them.
    pub fn scope(&self) -> Scope {
        match (self.user.role, &self.user.institution) {
            (Role::Institution, Some(institution)) => Scope::Institution(institution.clone()),
            // An account of that role without an institution sees nothing at all.
            (Role::Institution, None) => Scope::Institution(String::new()),
            (
                Role::DutyOfficer
                | Role::Reviewer
                | Role::Admin
                | Role::Inspector
                | Role::Maintainer
                | Role::Collector
                | Role::Auditor,
                _,
            ) => Scope::All,
        }
    }

    /// As the casebook knows them.
    pub fn actor(&self) -> Actor {
        Actor::Person {
            id: self.user.id.clone(),
            role: self.user.role,
            institution: self.user.institution.clone().map(InstitutionId),
        }
    }

    /// What a page puts into its forms and scripts; empty for bearer tokens.
    pub fn csrf(&self) -> &str {
        self.session.as_ref().map_or("", |session| &session.csrf)
    }

    /// Did the change bring the session's token?
    pub fn check_csrf(&self, brought: &str) -> Result<(), ApiError> {
        match &self.session {
            None => Ok(()),
            Some(session) if same(&session.csrf, brought) => Ok(()),
            Some(_) => Err(ApiError::Csrf),
        }
    }

    /// Refuses everybody but administrators.
    pub fn admin(&self) -> Result<(), ApiError> {
        if self.user.role == Role::Admin { Ok(()) } else { Err(ApiError::Forbidden) }
    }
}

async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Viewer>, ApiError> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let Some(token) = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")) else {
            return Ok(None);
        };
        let user = app.store.token(&hashed(token)).await?;
        return Ok(user.map(|user| Viewer { user, session: None }));
    }
    let Some(secret) = cookie(headers, COOKIE) else { return Ok(None) };
    let found = app.store.session(&hashed(secret), app.clock.real()).await?;
    Ok(found.map(|(user, session)| Viewer { user, session: Some(session) }))
}

/// One cookie of the request.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

impl FromRequestParts<AppState> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let viewer = find(app, &parts.headers).await?.ok_or(ApiError::LoginRequired)?;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            let brought = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
            viewer.check_csrf(brought.unwrap_or_default())?;
        }
        Ok(viewer)
    }
}

impl FromRequestParts<AppState> for FormViewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        find(app, &parts.headers).await?.map(Self).ok_or(ApiError::LoginRequired)
    }
}

impl FromRequestParts<AppState> for MaybeViewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        find(app, &parts.headers).await.map(Self)
    }
}

/// A session that has begun: what the browser is told.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// Value of `Set-Cookie`.
    pub cookie: String,
    /// What must come back with every change.
    pub csrf: String,
    /// Who.
    pub user: User,
}

impl App {
    /// Makes the first account, an administrator, with the one-time set-up code.
    pub async fn setup(&self, code: &str, name: &str, password: &str) -> Result<LoggedIn, ApiError> {
        let user = User { id: new_id(), name: checked_name(name)?, role: Role::Admin, institution: None };
        let hash = hash_password(password).await?;
        {
            let mut tx = self.store.write().await?;
            // Compared inside the transaction: the code is good for one account only.
            if !self.use_setup_code(code) {
                return Err(ApiError::WrongCredentials);
            }
            accounts::add_user(&mut tx, &user, &hash, self.clock.civil().0).await?;
            audit::note(&mut tx, self.clock.civil().0, &user.id, "setup", &user.name).await?;
            tx.commit().await?;
        }
        self.begin_session(user).await
    }

    /// Logs in.
    pub async fn login(&self, name: &str, password: &str) -> Result<LoggedIn, ApiError> {
        let now = self.clock.real();
        let found = self.store.credentials(name).await?;
        if let Some(found) = &found
            && found.locked_until > now
        {
            return Err(ApiError::Locked { seconds: (found.locked_until - now) / 1_000 });
        }
        // An unknown name costs as much as a wrong password.
        let hash = found.as_ref().map_or_else(|| dummy_hash().to_owned(), |found| found.password.clone());
        let right = check_password(password, hash).await?;
        let (Some(found), true) = (&found, right) else {
            if let Some(found) = found {
                let failures = found.failures + 1;
                let locked = if failures >= FAILURES_MAX { now + LOCK_MS } else { 0 };
                let kept = if locked > 0 { 0 } else { failures };
                let mut tx = self.store.write().await?;
                accounts::set_failures(&mut tx, &found.user.id, kept, locked).await?;
                if locked > 0 {
                    audit::note(&mut tx, self.clock.civil().0, &found.user.id, "locked", "").await?;
                }
                tx.commit().await?;
            }
            return Err(ApiError::WrongCredentials);
        };
        self.begin_session(found.user.clone()).await
    }

    async fn begin_session(&self, user: User) -> Result<LoggedIn, ApiError> {
        let cookie = secret();
        let now = self.clock.real();
        let session = Session { id: hashed(&cookie), csrf: secret(), expires: now + self.config.session_ms };
        let mut tx = self.store.write().await?;
        accounts::set_failures(&mut tx, &user.id, 0, 0).await?;
        accounts::add_session(&mut tx, &user.id, &session, now).await?;
        audit::note(&mut tx, self.clock.civil().0, &user.id, "login", "").await?;
        tx.commit().await?;
        let cookie = format!(
            "{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{}",
            self.config.session_ms / 1_000,
            if self.config.over_tls() { "; Secure" } else { "" }
        );
        Ok(LoggedIn { cookie, csrf: session.csrf, user })
    }

    /// Ends the session. Answers with the `Set-Cookie` that makes the browser forget it.
    pub async fn logout(&self, viewer: &Viewer) -> Result<String, ApiError> {
        if let Some(session) = &viewer.session {
            let mut tx = self.store.write().await?;
            accounts::end_session(&mut tx, &session.id).await?;
            tx.commit().await?;
        }
        Ok(format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"))
    }

    /// Adds an account.
    pub async fn add_user(
        &self,
        by: &Viewer,
        name: &str,
        password: &str,
        role: Role,
        institution: Option<String>,
    ) -> Result<User, ApiError> {
        by.admin()?;
        if (role == Role::Institution) != institution.is_some() {
            return Err(ApiError::invalid(
                "institution",
                "单位账号须指定单位，其他角色不可指定。",
                "An account of an institution names it; no other does.",
            ));
        }
        let user = User { id: new_id(), name: checked_name(name)?, role, institution };
        let hash = hash_password(password).await?;
        let mut tx = self.store.write().await?;
        if let Some(id) = &user.institution
            && !accounts::has_institution(&mut tx, id).await?
        {
            return Err(ApiError::invalid("institution", "没有该单位。", "There is no such institution."));
        }
        if !accounts::add_user(&mut tx, &user, &hash, self.clock.civil().0).await? {
            return Err(ApiError::Conflict(
                "name_taken",
                crate::error::words("该用户名已被使用。", "That user name is taken."),
            ));
        }
        audit::note(
            &mut tx,
            self.clock.civil().0,
            &by.user.id,
            "add_user",
            &format!("{} {}", user.id, role.code()),
        )
        .await?;
        tx.commit().await?;
        Ok(user)
    }

    /// Makes a bearer token of the asker's own account; shown once.
    pub async fn add_token(&self, by: &Viewer, name: &str) -> Result<String, ApiError> {
        let token = secret();
        let now = self.clock.civil().0;
        let mut tx = self.store.write().await?;
        accounts::add_token(&mut tx, &hashed(&token), &by.user.id, &checked_name(name)?, now).await?;
        audit::note(&mut tx, now, &by.user.id, "add_token", name).await?;
        tx.commit().await?;
        Ok(token)
    }
}

/// An opaque id of a person.
fn new_id() -> String {
    format!("u{}", gateway_wire::hex(&random::<8>()))
}

fn checked_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
        return Err(ApiError::invalid("name", "名称须为1至64个字符。", "A name has 1 to 64 characters."));
    }
    Ok(name.to_owned())
}

async fn hash_password(password: &str) -> Result<String, ApiError> {
    if !PASSWORD_LENGTH.contains(&password.chars().count()) {
        return Err(ApiError::invalid(
            "password",
            "密码须为10至200个字符。",
            "A password has 10 to 200 characters.",
        ));
    }
    let password = password.to_owned();
    blocking(move || hash_now(&password)).await
}

fn hash_now(password: &str) -> String {
    let salt = SaltString::encode_b64(&random::<16>()).expect("16 bytes are a salt");
    Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .expect("default parameters are valid")
        .to_string()
}

async fn check_password(password: &str, hash: String) -> Result<bool, ApiError> {
    let password = password.to_owned();
    blocking(move || {
        PasswordHash::new(&hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    })
    .await
}

fn dummy_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| hash_now(&secret()))
}

/// Passwords hashed at once: each takes 19 MiB and a core for a moment. More wait for their turn.
static HASHING: Semaphore = Semaphore::const_new(2);

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let _turn = HASHING.acquire().await.map_err(|error| ApiError::Internal(error.into()))?;
    tokio::task::spawn_blocking(job).await.map_err(|error| ApiError::Internal(error.into()))
}
