//! As much HTTP/1.1 as setting up a demo takes: one request, one answer, one connection.
//!
//! Leaves out TLS, redirects and keep-alive: it only ever talks to 127.0.0.1.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// Longest answer read: the lists of a demo are far below it.
const ANSWER_MAX: u64 = 16 << 20;
/// A process on this machine that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who asks, and where.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// `http://127.0.0.1:8080`
    pub(crate) base: String,
    /// Headers of every request.
    pub(crate) headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, if the status is good; otherwise an error that shows what was said.
    pub(crate) fn json(&self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "{}: {}", self.status, self.text());
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The cookies it sets, as a `Cookie` header wants them.
    pub(crate) fn cookies(&self) -> String {
        self.headers
            .iter()
            .filter(|(name, _)| name == "set-cookie")
            .filter_map(|(_, value)| value.split(';').next())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned(), headers: Vec::new() }
    }

    /// The same client showing a bearer token.
    pub(crate) fn bearer(base: &str, token: &str) -> Self {
        let mut client = Self::new(base);
        client.headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        client
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        self.ask("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.ask("POST", path, Some(body))
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        let Some(host) = self.base.strip_prefix("http://") else {
            bail!("{} is not plain HTTP", self.base);
        };
        let stream = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in &self.headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        if !body.is_empty() {
            request += "Content-Type: application/json\r\n";
        }
        request.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n", &body]);
        (&stream).write_all(request.as_bytes()).with_context(|| format!("send {method} {path}"))?;
        read(BufReader::new(&stream)).with_context(|| format!("read the answer to {method} {path}"))
    }
}

fn read(mut from: BufReader<&TcpStream>) -> Result<Answer> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).context("a status line")?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            line.clear();
            from.read_line(&mut line)?;
            let size = u64::from_str_radix(line.trim().split(';').next().unwrap_or(""), 16)
                .with_context(|| format!("chunk size `{}`", line.trim()))?;
            ensure!(body.len() as u64 + size <= ANSWER_MAX, "the answer is longer than {ANSWER_MAX} bytes");
            from.by_ref().take(size).read_to_end(&mut body)?;
            line.clear();
            from.read_line(&mut line)?;
            if size == 0 {
                break;
            }
        }
    } else {
        let length = header("content-length").and_then(|value| value.parse().ok()).unwrap_or(ANSWER_MAX);
        ensure!(length <= ANSWER_MAX, "the answer is longer than {ANSWER_MAX} bytes");
        from.take(length).read_to_end(&mut body)?;
    }
    Ok(Answer { status, headers, body })
}
