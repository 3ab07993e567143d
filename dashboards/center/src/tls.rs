//! The center's own TLS: a certificate from files, or one of its own whose key gateways learn at enrolment.
//!
//! Promises: one silent or slow peer keeps nobody else waiting: every hand-shake runs by itself, for at most
//! [`HANDSHAKE`], and at most [`HANDSHAKES_MAX`] at a time. The hash of the key that is shown is what the center signs
//! into identities and enrolments.
//!
//! Leaves out: fetching certificates from an authority (a proxy in front does that), client certificates (gateways
//! show tokens of their own key instead).

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::serve::Listener;
use gateway_wire::Fingerprint;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::keys;

/// Longest hand-shake, real time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Hand-shakes at a time; further connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 256;
/// Connections that have shaken hands and wait to be served.
const READY_MAX: usize = 64;

/// `[tls]` of the settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Certificate chain, PEM. Together with `key`; without both the center makes a key of its own.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM, readable by its owner only.
    pub key: Option<PathBuf>,
    /// Names and addresses in a certificate of the center's own.
    pub names: Vec<String>,
}

impl TlsConfig {
    /// Refuses half a pair, and names nobody would use.
    pub fn check(&self) -> anyhow::Result<()> {
        match (&self.certificate, &self.key) {
            (Some(_), Some(_)) if !self.names.is_empty() => {
                bail!(
                    "tls.names are for a certificate of the center's own; this one comes from tls.certificate"
                )
            }
            (Some(_), None) => bail!("tls.certificate needs tls.key, the private key that belongs to it"),
            (None, Some(_)) => bail!("tls.key needs tls.certificate, the certificate that belongs to it"),
            _ => Ok(()),
        }
    }
}

/// Ready to serve.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    /// Hash of the key that is shown.
    pub key: Fingerprint,
    /// Hash of the center's own next key, where one was made.
    pub next: Option<Fingerprint>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads certificate and key, or makes a key at the first start. A certificate of the center's own is made anew at
    /// every start, so that it never expires and always has the names of the settings; its key stays.
    pub fn open(config: &TlsConfig, data: &Path) -> anyhow::Result<Self> {
        let (chain, key) = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => (chain(certificate)?, private_key(key)?),
            _ => own(&config.names, &own_key(data))?,
        };
        let next = Some(next_key(data)).filter(|path| config.certificate.is_none() && path.exists());
        let next = next.map(|path| fingerprint(&path)).transpose()?;
        let leaf = chain.first().context("a certificate file holds at least one certificate")?;
        let shown = key_of(leaf)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS versions")?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("certificate and private key do not belong together")?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { server: Arc::new(server), key: shown, next })
    }

    /// Serves on a listener that is bound already.
    pub fn listen(&self, listener: TcpListener) -> io::Result<TlsListener> {
        let local = listener.local_addr()?;
        let (ready, accepted) = mpsc::channel(READY_MAX);
        tokio::spawn(shake(listener, TlsAcceptor::from(Arc::clone(&self.server)), ready));
        Ok(TlsListener { accepted, local })
    }
}

/// The key of the center's own TLS.
pub fn own_key(data: &Path) -> PathBuf {
    data.join("tls.key")
}

/// The one that will take its place.
pub fn next_key(data: &Path) -> PathBuf {
    data.join("tls.key.next")
}

/// Makes a TLS key; one that is there already is never replaced.
pub fn make_key(path: &Path) -> anyhow::Result<()> {
    let fresh = rcgen::KeyPair::generate().context("make a TLS key")?;
    keys::write_secret(path, fresh.serialize_pem().as_bytes())
}

/// Hash of the public half of a private key.
pub fn fingerprint(path: &Path) -> anyhow::Result<Fingerprint> {
    use rcgen::PublicKeyData as _;

    let pair = pair(path, &private_key(path)?)?;
    Ok(Fingerprint(gateway_wire::hash(&pair.subject_public_key_info())))
}

fn pair(path: &Path, key: &PrivateKeyDer<'static>) -> anyhow::Result<rcgen::KeyPair> {
    rcgen::KeyPair::try_from(key).with_context(|| format!("use the key {}", path.display()))
}

/// Hash of the key of a certificate: the one that a proxy in front of the center shows, or the next one.
pub fn certificate_key(certificate: &Path) -> anyhow::Result<Fingerprint> {
    key_of(chain(certificate)?.first().context("a certificate file holds at least one certificate")?)
}

fn key_of(certificate: &CertificateDer<'_>) -> anyhow::Result<Fingerprint> {
    let parsed = ParsedCertificate::try_from(certificate).context("read the certificate's public key")?;
    Ok(Fingerprint(gateway_wire::hash(&parsed.subject_public_key_info())))
}

fn chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .with_context(|| format!("read the certificate {}", path.display()))?
        .collect();
    let chain = chain.with_context(|| format!("read the certificate {}", path.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)", path.display());
    }
    Ok(chain)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    keys::refuse_readable_by_others(path)?;
    PrivateKeyDer::from_pem_file(path)
        .with_context(|| format!("read the private key {} (PEM, not encrypted)", path.display()))
}

/// A certificate that the center signs itself.
fn own(
    names: &[String],
    path: &Path,
) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    if !path.exists() {
        make_key(path)?;
    }
    let key = private_key(path)?;
    let pair = pair(path, &key)?;
    let names =
        if names.is_empty() { vec!["localhost".to_owned(), "127.0.0.1".to_owned()] } else { names.to_vec() };
    let mut params =
        rcgen::CertificateParams::new(names).context("tls.names: host names and addresses only")?;
    params.distinguished_name.push(rcgen::DnType::CommonName, "Nonsite center");
    let certificate = params.self_signed(&pair).context("sign the center's own certificate")?;
    Ok((vec![certificate.der().clone()], key))
}

/// A listener whose connections have shaken hands.
#[derive(Debug)]
pub struct TlsListener {
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    local: SocketAddr,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(connection) => connection,
            // The accepting task ends with the runtime only: nobody waits for this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

async fn shake(
    mut listener: TcpListener,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        // Logs and waits by itself where the system is out of connections.
        let (stream, from) = Listener::accept(&mut listener).await;
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    if ready.send((stream, from)).await.is_err() {
                        tracing::debug!(%from, "the center is stopping");
                    }
                }
                Ok(Err(error)) => tracing::debug!(%from, %error, "no TLS hand-shake"),
                Err(_) => tracing::debug!(%from, "the TLS hand-shake took too long"),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_key_stays_and_names_may_change() {
        let data = tempfile::tempdir().unwrap();
        let first = Tls::open(&TlsConfig::default(), data.path()).unwrap();
        let named =
            TlsConfig { names: vec!["center.example".into(), "192.0.2.1".into()], ..TlsConfig::default() };
        assert_eq!(Tls::open(&named, data.path()).unwrap().key, first.key);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Tls::open(&named, other.path()).unwrap().key, first.key);
    }

    #[test]
    fn the_next_key_is_known_before_it_is_shown() {
        let data = tempfile::tempdir().unwrap();
        let before = Tls::open(&TlsConfig::default(), data.path()).unwrap();
        assert_eq!((before.key, before.next), (fingerprint(&own_key(data.path())).unwrap(), None));
        make_key(&next_key(data.path())).unwrap();
        let announced = Tls::open(&TlsConfig::default(), data.path()).unwrap();
        assert_eq!(announced.key, before.key);
        std::fs::rename(next_key(data.path()), own_key(data.path())).unwrap();
        let after = Tls::open(&TlsConfig::default(), data.path()).unwrap();
        assert_eq!((Some(after.key), after.next), (announced.next, None));
        assert_ne!(after.key, before.key);
    }

    #[test]
    fn a_proxys_certificate_gives_the_hash_that_is_pinned() {
        let data = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["a.example".into()]).unwrap().self_signed(&key).unwrap();
        let (path, key_path) = (data.path().join("cert.pem"), data.path().join("key.pem"));
        std::fs::write(&path, certificate.pem()).unwrap();
        keys::write_secret(&key_path, key.serialize_pem().as_bytes()).unwrap();
        let config =
            TlsConfig { certificate: Some(path.clone()), key: Some(key_path.clone()), names: Vec::new() };
        assert_eq!(Tls::open(&config, data.path()).unwrap().key, certificate_key(&path).unwrap());
        let wrong = certificate_key(&key_path).unwrap_err();
        assert!(format!("{wrong:#}").contains("holds no certificate"), "{wrong:#}");
    }

    #[test]
    fn half_a_pair_and_a_key_for_everybody_are_refused() {
        let half = TlsConfig { certificate: Some("a.pem".into()), ..TlsConfig::default() };
        assert!(half.check().unwrap_err().to_string().contains("tls.key"));
        let data = tempfile::tempdir().unwrap();
        Tls::open(&TlsConfig::default(), data.path()).unwrap();
        let path = data.path().join("tls.key");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let refused = Tls::open(&TlsConfig::default(), data.path()).unwrap_err();
        assert!(format!("{refused:#}").contains("chmod 600"), "{refused:#}");
    }
}
