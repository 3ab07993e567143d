//! Keys of gateways and centers: Ed25519, named by the SHA-256 of the public key.
//!
//! A key speaks for the gateway that it names, or, when it has succeeded another, for the gateway that the first one
//! names ([`crate::KeyRing`]).

use std::fmt;

use ed25519_dalek::Signer as _;
use gateway_model::GatewayId;

use crate::{RecordError, hash};

/// A private key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    gateway: Option<GatewayId>,
}

impl SigningKey {
    /// The key made of these 32 secret bytes: fresh ones from the system's random source, or those that
    /// [`SigningKey::to_bytes`] gave.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        Self { key: ed25519_dalek::SigningKey::from_bytes(secret), gateway: None }
    }

    /// The same key, in the name of a gateway whose first key was another.
    #[must_use]
    pub fn speaking_for(self, gateway: GatewayId) -> Self {
        Self { gateway: Some(gateway), ..self }
    }

    /// The secret bytes, for a file that only its owner may read.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { key: self.key.verifying_key(), gateway: self.gateway }
    }

    /// Id of the gateway it speaks for.
    pub fn gateway_id(&self) -> GatewayId {
        self.verifying_key().gateway_id()
    }

    /// First 8 bytes of the SHA-256 of the public key.
    pub fn kid(&self) -> [u8; 8] {
        self.verifying_key().kid()
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.key.sign(bytes).to_bytes().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.gateway_id())
    }
}

/// A public key. Two are the same when their bytes are, whomever they speak for.
#[derive(Clone, Copy)]
pub struct VerifyingKey {
    key: ed25519_dalek::VerifyingKey,
    gateway: Option<GatewayId>,
}

impl PartialEq for VerifyingKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for VerifyingKey {}

impl VerifyingKey {
    /// The key with these 32 bytes; points of low order are refused.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, RecordError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| RecordError::Key)?;
        if key.is_weak() { Err(RecordError::Key) } else { Ok(Self { key, gateway: None }) }
    }

    /// The same key, in the name of a gateway whose first key was another.
    #[must_use]
    pub fn speaking_for(self, gateway: GatewayId) -> Self {
        Self { gateway: Some(gateway), ..self }
    }

    /// Its 32 bytes.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// SHA-256 of its bytes: what a QR code of a center holds.
    pub fn fingerprint(&self) -> [u8; 32] {
        hash(self.key.as_bytes())
    }

    /// Id of the gateway it speaks for; of a first key, the first 16 bytes of its fingerprint.
    pub fn gateway_id(&self) -> GatewayId {
        self.gateway.unwrap_or_else(|| GatewayId(self.prefix()))
    }

    /// First 8 bytes of its fingerprint: what stands in signed headers.
    pub fn kid(&self) -> [u8; 8] {
        self.prefix()
    }

    fn prefix<const N: usize>(&self) -> [u8; N] {
        let mut prefix = [0; N];
        prefix.copy_from_slice(&self.fingerprint()[..N]);
        prefix
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), RecordError> {
        let signature =
            ed25519_dalek::Signature::from_slice(signature).map_err(|_| RecordError::Signature)?;
        // Strict: keys and points of low order never pass, so one signature fits one message and key only.
        self.key.verify_strict(message, &signature).map_err(|_| RecordError::Signature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey(of {})", self.gateway_id())
    }
}
