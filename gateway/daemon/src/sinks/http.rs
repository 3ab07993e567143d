//! One POST and what came of it: for the sinks that speak HTTP.
//!
//! Promises: a limit on every wait and every answer; redirects are never followed (what is sent is for the address that a
//! person wrote down, and for nobody it points to); secrets are read from their files for each request, so that a new one
//! takes effect at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

use super::core::{Millis, Trouble};

/// Opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are looked at.
const ANSWER_MAX: usize = 16 * 1024;
/// Of them, characters that are kept.
const WORDS_MAX: usize = 300;
/// Bytes of a file with a secret.
const SECRET_MAX: u64 = 16 * 1024;

/// Sends requests; opens nothing before the first.
pub struct Http {
    client: Option<reqwest::Client>,
    ca_file: Option<PathBuf>,
    timeout: Duration,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// How long it asks to wait.
    pub after: Option<Millis>,
    /// Status and the beginning of its text, for a person.
    pub words: String,
}

impl Http {
    /// With these limits and roots.
    pub fn new(ca_file: Option<PathBuf>, timeout: Duration) -> Self {
        Self { client: None, ca_file, timeout }
    }

    /// Posts; no answer at all is trouble of the kind "down", a file that cannot be read of the kind "refused".
    pub async fn post(&mut self, url: &str, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, Trouble> {
        let refused = |error: anyhow::Error| Trouble::Refused { words: format!("{error:#}") };
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(client(self.ca_file.as_deref()).map_err(refused)?),
        };
        let request = client.post(url).headers(headers).timeout(self.timeout).body(body);
        // Neither address nor headers are told: both may hold a secret.
        let down = |error: reqwest::Error| Trouble::Down { words: crate::chain(&error.without_url()) };
        let mut response = request.send().await.map_err(down)?;
        let status = response.status();
        let after = retry_after(response.headers());
        let mut text = Vec::new();
        while text.len() < ANSWER_MAX {
            let Some(chunk) = response.chunk().await.map_err(down)? else { break };
            text.extend_from_slice(&chunk);
        }
        Ok(Answer { status, after, words: words(status, &text) })
    }
}

fn client(ca_file: Option<&Path>) -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls(ca_file)?)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("nonsite-gateway/", env!("CARGO_PKG_VERSION")))
        .build()?)
}

/// Public roots of the system, and those of a file.
pub fn tls(ca_file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let extra: Vec<CertificateDer<'static>> = match ca_file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| anyhow::anyhow!("{error:?}"))
            .with_context(|| format!("read certificates in {}", path.display()))?,
        None => Vec::new(),
    };
    let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider)).context("roots for TLS")?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// The one line in a file with a secret.
pub fn secret(path: &Path) -> anyhow::Result<String> {
    let read = || -> anyhow::Result<String> {
        anyhow::ensure!(std::fs::metadata(path)?.len() <= SECRET_MAX, "longer than {SECRET_MAX} bytes");
        let text = std::fs::read_to_string(path)?;
        let secret = text.trim();
        anyhow::ensure!(!secret.is_empty(), "there is nothing in it");
        anyhow::ensure!(!secret.contains(char::is_control), "more than one line");
        Ok(secret.to_owned())
    };
    read().with_context(|| format!("read the secret in {}", path.display()))
}

/// Seconds, or a date: counted from the answer's own, since our clock may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<Millis> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let after = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = after.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp().as_millisecond());
    let wait = date(after)?.saturating_sub(date(text(DATE)?)?);
    Some(u64::try_from(wait).unwrap_or(0))
}

fn words(status: StatusCode, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect();
    if text.is_empty() { status.to_string() } else { format!("{status}: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(reqwest::header::HeaderName, &str)]) -> Option<Millis> {
        retry_after(&pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_as_a_date() {
        assert_eq!(asked(&[(RETRY_AFTER, "120")]), Some(120_000));
        assert_eq!(asked(&[(RETRY_AFTER, "soon")]), None);
        let date = (DATE, "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(asked(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:29:30 GMT"), date.clone()]), Some(90_000));
        assert_eq!(asked(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:00:00 GMT"), date]), Some(0));
        assert_eq!(
            asked(&[(RETRY_AFTER, "Wed, 21 Oct 2015 07:29:30 GMT")]),
            None,
            "no clock to compare with"
        );
    }

    #[test]
    fn a_secret_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(format!("{:#}", secret(&path).unwrap_err()).contains("token"));
        std::fs::write(&path, "  abc \n").unwrap();
        assert_eq!(secret(&path).unwrap(), "abc");
        for bad in ["", "\n", "a\nb"] {
            std::fs::write(&path, bad).unwrap();
            assert!(secret(&path).is_err(), "{bad:?}");
        }
    }
}
