//! The center's public API, as any client would use it.

use std::sync::Once;

use reqwest::{Method, StatusCode};
use serde_json::Value;

/// One person or program talking to the center.
#[derive(Clone)]
pub struct Api {
    base: String,
    client: reqwest::Client,
    token: Option<String>,
    csrf: Option<String>,
}

/// An answer: its status, and its body as JSON (or as a JSON string where it is not).
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

impl Answer {
    /// The body, or a panic that shows it.
    pub fn good(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.body);
        self.body
    }
}

/// An HTTP client. Installs the one TLS provider of the workspace, without which reqwest makes none.
pub fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Another part of the test process may have been first with the same provider.
        rustls::crypto::ring::default_provider().install_default().ok();
    });
    builder().build().expect("an HTTP client can be made")
}

/// No proxy; and whatever certificate a center of a test shows: whom to believe is what the gateway is tested for.
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true)
}

impl Api {
    /// Nobody in particular.
    pub fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), client: client(), token: None, csrf: None }
    }

    /// Shows a bearer token.
    pub fn bearer(base: &str, token: &str) -> Self {
        Self { token: Some(format!("Bearer {token}")), ..Self::new(base) }
    }

    /// Logs in as a person: session cookie and CSRF token from here on.
    pub async fn log_in(base: &str, user: &str, password: &str) -> Self {
        let mut api = Self::new(base);
        let response = api.login(user, password).await;
        let cookies: Vec<String> = response
            .headers()
            .get_all("set-cookie")
            .iter()
            .filter_map(|value| Some(value.to_str().ok()?.split(';').next()?.to_owned()))
            .collect();
        let status = response.status();
        let body: Value = response.json().await.expect("a JSON answer");
        assert!(status.is_success(), "log in as {user}: {status} {body}");
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("cookie", cookies.join("; ").parse().expect("a cookie fits a header"));
        api.client = builder().default_headers(headers).build().expect("an HTTP client can be made");
        api.csrf = body["csrf"].as_str().map(ToOwned::to_owned);
        api
    }

    async fn login(&self, user: &str, password: &str) -> reqwest::Response {
        let body = serde_json::json!({"user": user, "password": password});
        let request = self.client.post(format!("{}/api/v1/login", self.base)).json(&body);
        request.send().await.expect("the center answers")
    }

    /// The cookie that a log-in sets, with what it says to the browser.
    pub async fn cookie(&self, user: &str, password: &str) -> String {
        let response = self.login(user, password).await;
        let value = response.headers().get("set-cookie").expect("a log-in sets a cookie");
        value.to_str().expect("a cookie is text").to_owned()
    }

    /// Where it talks to.
    pub fn base(&self) -> &str {
        &self.base
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", token);
        }
        if let Some(csrf) = &self.csrf {
            request = request.header("x-csrf-token", csrf);
        }
        request
    }

    /// A request whose failure to connect is an answer too: the center may be down.
    pub async fn try_get(&self, path: &str) -> Result<Answer, String> {
        answer(self.request(Method::GET, path)).await
    }

    /// `GET`; panics unless the status is good.
    pub async fn get(&self, path: &str) -> Value {
        self.try_get(path).await.unwrap_or_else(|error| panic!("GET {path}: {error}")).good()
    }

    /// `POST` of JSON, whatever comes back.
    pub async fn try_post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body))
            .await
            .unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// `POST` of JSON; panics unless the status is good.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.try_post(path, body).await;
        assert!(answer.status.is_success(), "POST {path} {body}: {} {}", answer.status, answer.body);
        answer.body
    }

    /// `POST` of bytes with the headers given, whatever comes back.
    pub async fn post_bytes(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        bytes: Vec<u8>,
    ) -> (StatusCode, Vec<u8>) {
        let mut request = self.request(Method::POST, path).body(bytes);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("POST {path}: {error}"));
        (response.status(), response.bytes().await.expect("a body").to_vec())
    }

    /// `PUT` of bytes; panics unless the status is good.
    pub async fn put(&self, path: &str, kind: &str, bytes: Vec<u8>) -> Value {
        answer(self.request(Method::PUT, path).header("content-type", kind).body(bytes))
            .await
            .unwrap_or_else(|error| panic!("PUT {path}: {error}"))
            .good()
    }

    /// An open stream.
    pub(crate) async fn stream(&self, path: &str, last: Option<&str>) -> reqwest::Response {
        let mut request = self.request(Method::GET, path).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        assert!(response.status().is_success(), "GET {path}: {}", response.status());
        response
    }

    /// A list of the API: bare or under its name.
    pub async fn list(&self, path: &str, key: &str) -> Vec<Value> {
        rows(&self.get(path).await, key)
    }
}

/// The rows of a list answer: bare or under its name.
pub fn rows(answer: &Value, key: &str) -> Vec<Value> {
    answer
        .as_array()
        .or_else(|| answer[key].as_array())
        .unwrap_or_else(|| panic!("no list `{key}` in {answer}"))
        .clone()
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    let body = serde_json::from_str(&text).unwrap_or(if text.is_empty() {
        Value::Null
    } else {
        Value::String(text)
    });
    Ok(Answer { status, body })
}
