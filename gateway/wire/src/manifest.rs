//! What a bundle of evidence claims to hold, signed by whoever made it.
//!
//! Every record in a bundle is signed by itself; the manifest adds what no record can say: from where to where the
//! bundle goes, so that a missing end shows, and what the files beside the records are.

use gateway_model::{CivilTime, EngineTime, Epoch, GatewayId, Seq};
use minicbor::{Decode, Encode};

use crate::{RecordError, SigningKey, VerifyingKey, envelope};

const MANIFEST_TYPE: &str = "application/nonsite-bundle";
/// Bytes of a manifest, at most: a thousand files and as many spans.
const MANIFEST_MAX: usize = 256 << 10;
/// The only version there has been.
const VERSION: u8 = 1;

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// 1.
    #[n(0)]
    pub version: u8,
    /// Whose records.
    #[n(1)]
    pub gateway: GatewayId,
    /// Who made it.
    #[n(2)]
    pub maker: Maker,
    /// Public key of the maker.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub maker_key: [u8; 32],
    /// The span that was asked for, engine time.
    #[n(4)]
    pub window: (EngineTime, EngineTime),
    /// Numbers that the bundle claims to hold, each range without a hole: (epoch, first, last), in their order.
    #[n(5)]
    pub spans: Vec<(Epoch, Seq, Seq)>,
    /// When it was made.
    #[n(6)]
    pub made_at: Option<CivilTime>,
    /// By which program.
    #[n(7)]
    pub software: String,
    /// Every other file, in its order.
    #[n(8)]
    pub files: Vec<FileRef>,
}

/// Who made a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Maker {
    /// The gateway itself, with the key of its records.
    #[n(0)]
    Gateway,
    /// Its center.
    #[n(1)]
    Center,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FileRef {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Its bytes.
    #[n(1)]
    pub size: u64,
    /// SHA-256 of them.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

impl Manifest {
    /// The version that is written here.
    pub const VERSION: u8 = VERSION;

    /// Signs it; [`Manifest::maker_key`] has to be this key's.
    pub fn seal(&self, maker: &SigningKey) -> Vec<u8> {
        envelope::sign(maker, MANIFEST_TYPE, envelope::encode(self))
    }

    /// Reads what a manifest says; its signature is for [`Manifest::check`].
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let envelope = envelope::read(bytes, MANIFEST_TYPE, MANIFEST_MAX)?;
        let manifest: Self = envelope::decode("manifest", envelope.payload())?;
        if manifest.version == VERSION {
            Ok(manifest)
        } else {
            let why = format!("version {}: only {VERSION} is known here", manifest.version);
            Err(RecordError::Content { what: "manifest", why })
        }
    }

    /// Checks the signature against the key that the manifest itself names. Whether that key may be believed is
    /// another question.
    pub fn check(&self, bytes: &[u8]) -> Result<VerifyingKey, RecordError> {
        let key = VerifyingKey::from_bytes(&self.maker_key)?;
        envelope::read(bytes, MANIFEST_TYPE, MANIFEST_MAX)?.verify(&key)?;
        Ok(key)
    }
}
