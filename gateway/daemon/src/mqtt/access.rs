//! What the connection to a broker needs from files: passwords, certificates, whom to believe.
//!
//! Promises: TLS is rustls with ring; a secret that others on this machine could read is refused, with what to do.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_platform_verifier::Verifier;

use crate::config::{Broker, ClientTls, ServerTls};

/// Bytes of a password file: it holds one line.
const PASSWORD_MAX: u64 = 1_024;

/// Reads everything a broker needs, and keeps nothing: what `gateway check` asks.
pub fn check(broker: &Broker) -> anyhow::Result<()> {
    match broker {
        Broker::Embedded(own) => {
            own.tls.as_ref().map(server).transpose()?;
            own.clients.iter().try_for_each(|client| password(&client.password_file).map(drop))
        }
        Broker::External(other) => {
            other.tls.as_ref().map(client).transpose()?;
            other.login.as_ref().map(|(_, file)| password(file)).transpose().map(drop)
        }
    }
}

/// The first line of a file.
pub(super) fn password(path: &Path) -> anyhow::Result<String> {
    let attempt = || format!("read the password in {}", path.display());
    owner_only(path)?;
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(attempt)?;
    file.take(PASSWORD_MAX).read_to_string(&mut text).with_context(attempt)?;
    let line = text.lines().next().unwrap_or_default();
    ensure!(!line.is_empty(), "{} holds no password: its first line is empty", path.display());
    Ok(line.to_owned())
}

/// How to call a broker.
pub(super) fn client(tls: &ClientTls) -> anyhow::Result<ClientConfig> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS versions")?;
    let builder = match &tls.ca_file {
        Some(file) => builder.with_root_certificates(roots(file)?),
        None => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::new(provider).context(
                "no public roots on this system: install ca-certificates or name the broker's `ca_file`",
            )?))
        }
    };
    match &tls.own {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => builder
            .with_client_auth_cert(chain(certificate)?, private_key(key)?)
            .with_context(|| pair_of(certificate, key)),
    }
}

/// How to be called.
pub(super) fn server(tls: &ServerTls) -> anyhow::Result<ServerConfig> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS versions")?;
    let builder = match &tls.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(file)?), provider)
                .build()
                .with_context(|| format!("believe clients by {}", file.display()))?,
        ),
    };
    builder
        .with_single_cert(chain(&tls.cert_file)?, private_key(&tls.key_file)?)
        .with_context(|| pair_of(&tls.cert_file, &tls.key_file))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn pair_of(certificate: &Path, key: &Path) -> String {
    format!("use the certificate {} with the key {}", certificate.display(), key.display())
}

fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots.add(certificate).with_context(|| format!("believe the certificate {}", path.display()))?;
    }
    Ok(roots)
}

fn chain(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let attempt = || format!("read the certificate {}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).with_context(attempt)?.collect();
    let chain = chain.with_context(attempt)?;
    ensure!(
        !chain.is_empty(),
        "{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)",
        path.display()
    );
    Ok(chain)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    owner_only(path)?;
    PrivateKeyDer::from_pem_file(path)
        .with_context(|| format!("read the private key {} (PEM, not encrypted)", path.display()))
}

fn owner_only(path: &Path) -> anyhow::Result<()> {
    let meta = std::fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
    if meta.permissions().mode() & 0o077 != 0 {
        bail!("{0} can be read by others on this machine: chmod 600 {0}", path.display());
    }
    Ok(())
}
