//! Settings of the center: a small TOML file, flags on top.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::tls::TlsConfig;

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where database, segments, attachments and key lie.
    pub data: PathBuf,
    /// Where to listen; port 0 = any free one.
    pub listen: SocketAddr,
    /// TLS of the center's own; without it plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Certificate (PEM) that a proxy in front shows: gateways pin its key at enrolment.
    pub proxy_certificate: Option<PathBuf>,
    /// Certificate (PEM) that will be shown next, by the proxy or in the place of `tls.certificate`: gateways are told of its
    /// key before it is.
    pub next_certificate: Option<PathBuf>,
    /// Plain HTTP beyond loopback: only where a proxy in front ends TLS.
    pub plain_http_beyond_loopback: bool,
    /// How gateways address this center, where that differs from the `Host` they send: what their tokens are made for.
    pub public_url: Option<String>,
    /// Longest time a gateway may take to seal, ms: verification waits twice that for the end of its window.
    pub seal_every_ms: i64,
    /// And this much longer, ms of real time, before missing data count as insufficient.
    pub verify_grace_ms: i64,
    /// Records of one request, at most.
    pub batch_records_max: usize,
    /// Real time after which a session ends, ms.
    pub session_ms: i64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("center-data"),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420),
            tls: None,
            proxy_certificate: None,
            next_certificate: None,
            plain_http_beyond_loopback: false,
            public_url: None,
            seal_every_ms: 30_000,
            verify_grace_ms: 60_000,
            batch_records_max: 256,
            session_ms: 12 * 3_600_000,
        }
    }
}

impl Config {
    /// Reads a file. Relative paths in it are relative to it.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        // toml's own message has line, column and caret.
        let mut config: Self = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        if let Some(directory) = path.parent() {
            let tls = config.tls.iter_mut().flat_map(|tls| tls.certificate.iter_mut().chain(&mut tls.key));
            let certificates = tls.chain(&mut config.proxy_certificate).chain(&mut config.next_certificate);
            for path in certificates.chain([&mut config.data]) {
                // An absolute path stays what it is.
                *path = directory.join(&*path);
            }
        }
        Ok(config)
    }

    /// Refuses what must not be started.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(tls) = &self.tls {
            tls.check()?;
        }
        if self.tls.is_none() && !self.listen.ip().is_loopback() && !self.plain_http_beyond_loopback {
            bail!(
                "plain HTTP on {} would carry passwords in the open: add a [tls] table, or listen on loopback behind \
                 a proxy that speaks TLS, or set plain_http_beyond_loopback = true",
                self.listen
            );
        }
        if self.tls.is_some() && self.proxy_certificate.is_some() {
            bail!("[tls] and proxy_certificate: either the center ends TLS or a proxy does");
        }
        let shown = self.proxy_certificate.is_some()
            || self.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
        if self.next_certificate.is_some() && !shown {
            bail!(
                "next_certificate follows proxy_certificate or tls.certificate; the next key of the center's own TLS is made \
                 with `center tls-key next`"
            );
        }
        if !(1..=1_024).contains(&self.batch_records_max) {
            bail!("batch_records_max {} is outside 1..=1024", self.batch_records_max);
        }
        Ok(())
    }

    /// Do people and gateways reach this center over TLS, its own or a proxy's?
    pub fn over_tls(&self) -> bool {
        let public = self.public_url.as_ref().is_some_and(|url| url.starts_with("https:"));
        self.tls.is_some() || self.proxy_certificate.is_some() || public
    }

    /// How long to wait, in real time, for the end of a verification window after it has passed.
    pub fn verify_patience(&self) -> Duration {
        Duration::from_millis((2 * self.seal_every_ms + self.verify_grace_ms).max(0) as u64)
    }
}
