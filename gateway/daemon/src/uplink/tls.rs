//! Whom the gateway's TLS believes: public roots, or the keys its center has signed.
//!
//! Promises: a connection that carries anything of the gateway's ends at a key that the center named in a statement
//! signed with its own key, or at a certificate that the system's public roots vouch for. A pinned key needs neither
//! a name nor a date that fits: what the center signed is the authority, and a gateway without a clock must get home.
//! Who shows another key is noted ([`Pins::doubt`]): the center may have a new one.
//!
//! Leaves out: revocation lists (a key that leaked is replaced: [`super::pins`]), client certificates.

use std::sync::Arc;

use gateway_wire::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::pins::Pins;

/// Whom to believe.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Public roots, or one of these keys, as the list stands at each hand-shake.
    Keys(Pins),
    /// Whoever answers. Only for asking a center who it is: its answer is signed, and nothing is sent.
    Anyone,
}

/// The settings of a client that trusts so.
pub fn client(trust: Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let public = match Verifier::new(Arc::clone(&provider)) {
        Ok(public) => Some(public),
        Err(error) => {
            tracing::warn!(%error, "no public roots on this system: only pinned keys are believed");
            None
        }
    };
    let check = Arc::new(Check { trust, public, provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(check)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Check {
    trust: Trust,
    public: Option<Verifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Check {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Keys(keys) = &self.trust else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let shown = Fingerprint(gateway_wire::hash(&parsed.subject_public_key_info()));
        if keys.contains(shown) {
            return Ok(ServerCertVerified::assertion());
        }
        let vouched = match &self.public {
            Some(public) => {
                public.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        vouched.inspect_err(|_| keys.doubt())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
