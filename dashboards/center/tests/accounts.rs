//! Who may come in: set-up code, passwords, sessions, CSRF, headers.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod rig;

use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::http::{Request, StatusCode, header};
use center::app::App;
use center::auth::FAILURES_MAX;
use center::clock::Clock;
use rig::{PASSWORD, Rig, get, post, send};
use serde_json::json;

#[tokio::test]
async fn the_first_account_needs_the_one_time_code() {
    let directory = tempfile::tempdir().unwrap();
    let app = App::start(rig::config(directory.path()), Clock::system()).await.unwrap();
    let router = center::http::router(Arc::clone(&app));
    let body = |code: &str| json!({ "code": code, "user": "admin", "password": PASSWORD });
    let answer = send(&router, post("/api/v1/setup", None, &body("WRONG"))).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNAUTHORIZED, "wrong_credentials"));
    let code = app.setup_code().unwrap();
    let short = json!({ "code": code, "user": "admin", "password": "short" });
    assert_eq!(send(&router, post("/api/v1/setup", None, &short)).await.code(), "password");
    assert_eq!(send(&router, post("/api/v1/setup", None, &body(&code))).await.status, StatusCode::CREATED);
    assert_eq!(app.setup_code(), None);
    assert_eq!(
        send(&router, post("/api/v1/setup", None, &body(&code))).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let rig = Rig::new().await;
    let login = json!({ "user": "admin", "password": PASSWORD });
    let answer = send(&rig.router, post("/api/v1/login", None, &login)).await;
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
    let logout = |csrf: Option<&str>| {
        let mut request = Request::post("/api/v1/logout").header(header::COOKIE, &cookie);
        if let Some(csrf) = csrf {
            request = request.header("x-csrf-token", csrf);
        }
        request.body(HttpBody::empty()).unwrap()
    };
    assert_eq!(send(&rig.router, logout(None)).await.code(), "csrf");
    assert_eq!(send(&rig.router, logout(Some("guessed"))).await.code(), "csrf");
    let me = Request::get("/api/v1/me").header(header::COOKIE, &cookie).body(HttpBody::empty()).unwrap();
    assert_eq!(send(&rig.router, me).await.json()["user"]["role"], "admin");
    assert_eq!(send(&rig.router, logout(Some(&csrf))).await.status, StatusCode::NO_CONTENT);
    assert_eq!(send(&rig.router, logout(Some(&csrf))).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn wrong_passwords_lock_the_account_for_a_while() {
    let rig = Rig::new().await;
    let login =
        |password: &str| post("/api/v1/login", None, &json!({ "user": "admin", "password": password }));
    for _ in 0..FAILURES_MAX {
        assert_eq!(send(&rig.router, login("not the password")).await.code(), "wrong_credentials");
    }
    let answer = send(&rig.router, login(PASSWORD)).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::TOO_MANY_REQUESTS, "locked"));
    let unknown = post("/api/v1/login", None, &json!({ "user": "nobody", "password": PASSWORD }));
    assert_eq!(send(&rig.router, unknown).await.code(), "wrong_credentials");
}

#[tokio::test]
async fn doors_are_closed_without_a_login_and_answers_carry_the_policy() {
    let rig = Rig::new().await;
    for path in ["/api/v1/alerts", "/api/v1/cases", "/api/v1/gateways", "/api/v1/events", "/api/v1/users"] {
        let answer = send(&rig.router, get(path, None)).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::UNAUTHORIZED, "login_required"),
            "{path}"
        );
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"));
    }
    let answer = send(&rig.router, get("/gateway/v1/orders", None)).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNAUTHORIZED, "token_missing"));
    assert_eq!(send(&rig.router, get("/healthz", None)).await.status, StatusCode::OK);
    let metrics = send(&rig.router, get("/metrics", None)).await;
    assert!(String::from_utf8(metrics.bytes).unwrap().contains("center_alerts_open 0"));
    let large = json!({ "user": "x".repeat(70_000), "password": "y" });
    assert_eq!(
        send(&rig.router, post("/api/v1/login", None, &large)).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn only_administrators_make_accounts_and_codes() {
    let rig = Rig::new().await;
    let officer = rig.user("officer", "duty_officer").await;
    for (path, body) in [
        ("/api/v1/users", json!({ "user": "x", "password": PASSWORD, "role": "admin" })),
        ("/api/v1/institutions", json!({ "id": "x", "name_zh": "x", "name_en": "x", "kind": "x" })),
        ("/api/v1/enrolment-codes", json!({ "institution": "x", "site": "x" })),
    ] {
        let answer = send(&rig.router, post(path, Some(&officer), &body)).await;
        assert_eq!((answer.status, answer.code().as_str()), (StatusCode::FORBIDDEN, "forbidden"), "{path}");
    }
    let body = json!({ "user": "unit", "password": PASSWORD, "role": "institution" });
    assert_eq!(rig.post("/api/v1/users", body).await.code(), "institution");
    let body = json!({ "user": "officer", "password": PASSWORD, "role": "auditor" });
    assert_eq!(rig.post("/api/v1/users", body).await.code(), "name_taken");
}

#[test]
fn plain_http_beyond_loopback_must_be_chosen_in_words() {
    let mut config = center::config::Config { listen: "0.0.0.0:0".parse().unwrap(), ..Default::default() };
    assert!(config.check().unwrap_err().to_string().contains("plain_http_beyond_loopback"));
    config.plain_http_beyond_loopback = true;
    config.check().unwrap();
}
