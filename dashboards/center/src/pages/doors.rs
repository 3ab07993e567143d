//! Log-in, log-out and first set-up, as plain forms.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use center_casebook::Role;
use serde::Deserialize;

use super::account::{LoginPage, SetupPage};
use super::asker::{Asker, Stop, own_path, page};
use crate::app::AppState;
use crate::auth::LoggedIn;
use crate::error::ApiError;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    next: String,
    set_up: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Credentials {
    user: String,
    password: String,
    next: String,
    code: String,
}

/// `GET /login`.
pub(super) async fn login(State(app): State<AppState>, asker: Asker, Query(asked): Query<Asked>) -> Response {
    if let Some(viewer) = &asker.viewer {
        return Redirect::to(home(viewer.user.role, &asked.next).as_str()).into_response();
    }
    // Until somebody has an account there is nobody to log in.
    if app.setup_code().is_some() {
        return Redirect::to("/setup").into_response();
    }
    login_page(&asker, StatusCode::OK, &asked.next, "", None, asked.set_up)
}

/// `POST /login`.
pub(super) async fn log_in(
    State(app): State<AppState>,
    asker: Asker,
    headers: HeaderMap,
    Form(asked): Form<Credentials>,
) -> Result<Response, Stop> {
    refuse_elsewhere(&headers, &asker, "/login")?;
    match app.login(asked.user.trim(), &asked.password).await {
        Ok(session) => Ok(welcome(&session, &asked.next)),
        Err(error) => {
            let (status, _, _) = error.parts();
            let wrong = matches!(error, ApiError::WrongCredentials);
            let words = if wrong { asker.ctx.texts().login_failed.clone() } else { asker.words(&error) };
            Ok(login_page(&asker, status, &asked.next, &asked.user, Some(words), false))
        }
    }
}

/// `POST /logout`.
pub(super) async fn log_out(
    State(app): State<AppState>,
    asker: Asker,
    Form(form): Form<super::console::ActForm>,
) -> Result<Response, Stop> {
    let viewer = asker.known()?;
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, "/"))?;
    let cookie = app.logout(viewer).await.map_err(|error| asker.stop(error, "/"))?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response())
}

/// `GET /setup`.
pub(super) async fn setup(State(app): State<AppState>, asker: Asker) -> Response {
    let open = app.setup_code().is_some();
    let s = asker.shell("");
    page(StatusCode::OK, &SetupPage { t: s.ctx.texts(), s, user: String::new(), refusal: None, open })
}

/// `POST /setup`.
pub(super) async fn set_up(
    State(app): State<AppState>,
    asker: Asker,
    headers: HeaderMap,
    Form(asked): Form<Credentials>,
) -> Result<Response, Stop> {
    refuse_elsewhere(&headers, &asker, "/setup")?;
    match app.setup(&asked.code, &asked.user, &asked.password).await {
        Ok(session) => Ok(welcome(&session, "/")),
        Err(error) => {
            let (status, _, _) = error.parts();
            let wrong = matches!(error, ApiError::WrongCredentials);
            let words = if wrong { asker.ctx.texts().setup_refused.clone() } else { asker.words(&error) };
            let s = asker.shell("");
            let open = app.setup_code().is_some();
            Ok(page(status, &SetupPage { t: s.ctx.texts(), s, user: asked.user, refusal: Some(words), open }))
        }
    }
}

/// Before a session there is no CSRF token; a browser says by itself when a form comes from another site.
fn refuse_elsewhere(headers: &HeaderMap, asker: &Asker, back: &str) -> Result<(), Stop> {
    let from = headers.get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes);
    match from {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(asker.stop(ApiError::Csrf, back)),
    }
}

fn login_page(
    asker: &Asker,
    status: StatusCode,
    next: &str,
    user: &str,
    refusal: Option<String>,
    set_up: bool,
) -> Response {
    let s = asker.shell("");
    let t = s.ctx.texts();
    page(status, &LoginPage { s, t, next: next.to_owned(), user: user.to_owned(), refusal, set_up })
}

fn welcome(session: &LoggedIn, next: &str) -> Response {
    let to = home(session.user.role, next);
    ([(header::SET_COOKIE, session.cookie.clone())], Redirect::to(&to)).into_response()
}

/// Where somebody goes after logging in: back to what they asked for, if it is one of their pages.
fn home(role: Role, next: &str) -> String {
    let next = own_path(next);
    let unit_page = next == "/unit" || next.starts_with("/unit/") || next.starts_with("/unit?");
    match (role == Role::Institution, unit_page) {
        (true, true) | (false, false) => next,
        (true, false) => "/unit".to_owned(),
        (false, true) => "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_comes_to_pages_of_their_own() {
        assert_eq!(home(Role::DutyOfficer, "/alerts"), "/alerts");
        assert_eq!(home(Role::DutyOfficer, "/unit/cases/3"), "/");
        assert_eq!(home(Role::Institution, "/unit/cases/3"), "/unit/cases/3");
        assert_eq!(home(Role::Institution, "/cases/3"), "/unit");
        assert_eq!(home(Role::Institution, ""), "/unit");
    }
}
