//! First contact: how a gateway comes to know its center and a center its gateway.
//!
//! A person carries the code from one screen to the other. Its first half is a secret of the center, used once;
//! its second half is the SHA-256 of the center's key, or the beginning of it, so that the gateway knows whom it talks
//! to before it sends anything. The center first says who it is and which TLS keys it shows, signed; then, over a line
//! that ends at one of those keys, it answers with a signed statement of what it has enrolled.

use std::fmt;

use gateway_model::{CivilTime, Epoch, GatewayId, InstitutionId, SiteId};
use minicbor::{Decode, Encode};

use crate::{KeyRing, RecordError, SigningKey, VerifyingKey, envelope, hex, unhex};

const REQUEST_TYPE: &str = "application/nonsite-enrol-request";
const IDENTITY_TYPE: &str = "application/nonsite-identity";
const STATEMENT_TYPE: &str = "application/nonsite-enrolment";
/// Bytes of a request or an answer, at most.
const ENROL_MAX: usize = 16 << 10;
/// Bytes of all keys of a gateway, at most.
const HISTORY_MAX: usize = 64 << 10;
/// TLS keys that a center may show at a time: its own or a proxy's, and the next of each.
pub const TLS_KEYS_MAX: usize = 8;
/// Letters and digits that cannot be taken for each other; 32 of them, 5 bits each.
const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
/// Characters of the secret half: 40 bits, used once within 15 minutes.
const SECRET: usize = 8;
/// Bytes of the hash of the center's key in a code that is typed.
const TYPED: usize = 8;

/// `XXXXXXXX-<16 hex digits>` as typed, `XXXXXXXX-<64 hex digits>` as a QR code holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolCode {
    /// Known to the center only, used once.
    pub secret: String,
    /// The SHA-256 of the center's key: its first 8 bytes, or all 32.
    center: Vec<u8>,
}

impl EnrolCode {
    /// A code of the center with this key, from five random bytes.
    pub fn new(random: [u8; 5], center: &VerifyingKey) -> Self {
        let bits = random.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
        let character = |i| char::from(ALPHABET[(bits >> (5 * i)) as usize & 31]);
        Self { secret: (0..SECRET).map(character).collect(), center: center.kid().to_vec() }
    }

    /// The same code with the whole hash: for a QR code, where length costs nobody anything.
    #[must_use]
    pub fn whole(&self, center: &VerifyingKey) -> Self {
        Self { secret: self.secret.clone(), center: center.fingerprint().to_vec() }
    }

    /// Reads a code as a person types it: case and surrounding space do not matter.
    pub fn parse(text: &str) -> Option<Self> {
        let (secret, center) = text.trim().split_once('-')?;
        let secret = secret.to_ascii_uppercase();
        let known = secret.len() == SECRET && secret.bytes().all(|c| ALPHABET.contains(&c));
        known.then_some(())?;
        let center = center.to_ascii_lowercase();
        let typed = || unhex::<TYPED>(&center).map(|hash| hash.to_vec());
        let center = typed().or_else(|| unhex::<32>(&center).map(|hash| hash.to_vec()))?;
        Some(Self { secret, center })
    }

    /// Is this the key of the center that made the code?
    pub fn check_against(&self, center: &VerifyingKey) -> bool {
        center.fingerprint().starts_with(&self.center)
    }

    fn expect(&self, center: &VerifyingKey) -> Result<(), RecordError> {
        if self.check_against(center) {
            return Ok(());
        }
        let mut expected = [0; TYPED];
        expected.copy_from_slice(&self.center[..TYPED]);
        Err(RecordError::KeyId { expected, found: center.kid().to_vec() })
    }
}

impl fmt::Display for EnrolCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.secret, hex(&self.center))
    }
}

/// A public key or the SHA-256 of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Fingerprint(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

/// Who a center is and whom its TLS may look like: the first thing a gateway hears, before it sends anything.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Identity {
    /// The center's public key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub center_key: [u8; 32],
    /// SHA-256 of the public keys (SubjectPublicKeyInfo, DER) its TLS shows, besides what public roots vouch for: the
    /// one in use and, where it is about to change, the next.
    #[n(1)]
    pub tls_keys: Vec<Fingerprint>,
    /// When the list became so, by the center's clock and above every earlier stamp: of two statements of one center the
    /// newer one counts.
    #[n(2)]
    pub issued: CivilTime,
}

impl Identity {
    /// Signs it with the center's key.
    pub fn seal(&self, center: &SigningKey) -> Vec<u8> {
        envelope::sign(center, IDENTITY_TYPE, envelope::encode(self))
    }

    /// Reads an identity and checks that the key it names signed it and is the one of the code.
    pub fn open(code: &EnrolCode, bytes: &[u8]) -> Result<Self, RecordError> {
        Self::checked(bytes, |center| code.expect(center))
    }

    /// Reads an identity and checks that it is the one of the center with this key, and signed by it.
    pub fn open_of(center: &VerifyingKey, bytes: &[u8]) -> Result<Self, RecordError> {
        Self::checked(bytes, |named| {
            let other = || RecordError::KeyId { expected: center.kid(), found: named.kid().to_vec() };
            if named == center { Ok(()) } else { Err(other()) }
        })
    }

    fn checked(
        bytes: &[u8],
        expect: impl FnOnce(&VerifyingKey) -> Result<(), RecordError>,
    ) -> Result<Self, RecordError> {
        let envelope = envelope::read(bytes, IDENTITY_TYPE, ENROL_MAX)?;
        let identity: Self = envelope::decode("identity", envelope.payload())?;
        let center = VerifyingKey::from_bytes(&identity.center_key)?;
        expect(&center)?;
        envelope.verify(&center)?;
        if identity.tls_keys.len() > TLS_KEYS_MAX {
            let found = identity.tls_keys.len();
            return Err(RecordError::TooMany { what: "TLS keys", found, limit: TLS_KEYS_MAX });
        }
        Ok(identity)
    }
}

/// What a gateway asks, signed with the key it wants enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EnrolRequest {
    /// [`EnrolCode::secret`].
    #[n(0)]
    pub secret: String,
    /// Its public key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub gateway_key: [u8; 32],
    /// Version of its software.
    #[n(2)]
    pub software: String,
    /// Epoch of its journal, where it has one already.
    #[n(3)]
    pub epoch: Option<Epoch>,
    /// The gateway whose box this one replaces.
    #[n(4)]
    pub replaces: Option<GatewayId>,
}

impl EnrolRequest {
    /// Signs it, which shows that the asker holds the key.
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        envelope::sign(key, REQUEST_TYPE, envelope::encode(self))
    }

    /// Reads a request and checks it against the key it names.
    pub fn open(bytes: &[u8]) -> Result<Self, RecordError> {
        let envelope = envelope::read(bytes, REQUEST_TYPE, ENROL_MAX)?;
        let request: Self = envelope::decode("enrolment request", envelope.payload())?;
        envelope.verify(&VerifyingKey::from_bytes(&request.gateway_key)?)?;
        Ok(request)
    }
}

/// What the center states about a gateway, signed with its key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Enrolment {
    /// The gateway's public key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub gateway_key: [u8; 32],
    /// Whose premises.
    #[n(1)]
    pub institution: InstitutionId,
    /// Which premises.
    #[n(2)]
    pub site: SiteId,
    /// Epochs of this gateway are above this: what the center has seen of an older life of it.
    #[n(3)]
    pub epoch_floor: Epoch,
    /// SHA-256 of the public keys the center's TLS may show, besides public roots.
    #[n(4)]
    pub tls_keys: Vec<Fingerprint>,
    /// When.
    #[n(5)]
    pub issued: CivilTime,
    /// For which gateway the key speaks; `None` = the one that it names itself.
    #[n(6)]
    pub gateway: Option<GatewayId>,
}

impl Enrolment {
    /// Signs it with the center's key.
    pub fn seal(&self, center: &SigningKey) -> Vec<u8> {
        envelope::sign(center, STATEMENT_TYPE, envelope::encode(self))
    }

    /// Checks a statement against the center's key.
    pub fn open(center: &VerifyingKey, bytes: &[u8]) -> Result<Self, RecordError> {
        let envelope = envelope::read(bytes, STATEMENT_TYPE, ENROL_MAX)?;
        envelope.verify(center)?;
        envelope::decode("enrolment", envelope.payload())
    }
}

/// The center's answer to an [`EnrolRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EnrolAnswer {
    /// The center's public key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub center_key: [u8; 32],
    /// The signed [`Enrolment`], to be kept as it is.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub statement: Vec<u8>,
    /// Of a box that replaces another: the gateway's first key, and every [`crate::Succession`] since.
    #[n(2)]
    pub history: Option<KeyHistory>,
}

/// How a gateway's keys followed each other.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyHistory {
    /// Names the gateway.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub first: [u8; 32],
    /// Signed [`crate::Succession`]s, oldest first.
    #[n(1)]
    pub successions: Vec<minicbor::bytes::ByteVec>,
}

impl KeyHistory {
    /// As CBOR.
    pub fn encode(&self) -> Vec<u8> {
        envelope::encode(self)
    }

    /// From CBOR, strictly; nothing is checked against a key yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const WHAT: &str = "keys";
        if bytes.len() > HISTORY_MAX {
            return Err(RecordError::TooLarge { what: WHAT, size: bytes.len(), limit: HISTORY_MAX });
        }
        envelope::decode(WHAT, bytes)
    }

    /// The keys, after checking who said so.
    pub fn ring(&self, center: Option<&VerifyingKey>) -> Result<KeyRing, RecordError> {
        let successions: Vec<&[u8]> = self.successions.iter().map(|bytes| &bytes[..]).collect();
        KeyRing::new(VerifyingKey::from_bytes(&self.first)?, &successions, center)
    }
}

impl EnrolAnswer {
    /// As CBOR.
    pub fn encode(&self) -> Vec<u8> {
        envelope::encode(self)
    }

    /// From CBOR, strictly; nothing is checked against a key yet.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const WHAT: &str = "enrolment answer";
        let limit = ENROL_MAX + HISTORY_MAX;
        if bytes.len() > limit {
            return Err(RecordError::TooLarge { what: WHAT, size: bytes.len(), limit });
        }
        envelope::decode(WHAT, bytes)
    }

    /// What a gateway must check before it believes an answer: that the key is the code's, the statement the
    /// key's, and the gateway itself.
    pub fn check(
        &self,
        code: &EnrolCode,
        own: &VerifyingKey,
    ) -> Result<(VerifyingKey, Enrolment), RecordError> {
        let center = VerifyingKey::from_bytes(&self.center_key)?;
        code.expect(&center)?;
        let enrolment = Enrolment::open(&center, &self.statement)?;
        if enrolment.gateway_key != own.to_bytes() {
            let claimed = VerifyingKey::from_bytes(&enrolment.gateway_key)?.gateway_id();
            return Err(RecordError::Gateway { key: own.gateway_id(), claimed });
        }
        let gateway = enrolment.gateway.unwrap_or_else(|| own.gateway_id());
        match &self.history {
            None if gateway == own.gateway_id() => Ok((center, enrolment)),
            None => Err(RecordError::Gateway { key: own.gateway_id(), claimed: gateway }),
            Some(history) => {
                let ring = history.ring(Some(&center))?;
                if ring.current() != own || ring.gateway() != gateway {
                    return Err(RecordError::Gateway { key: own.gateway_id(), claimed: ring.gateway() });
                }
                Ok((center, enrolment))
            }
        }
    }
}
