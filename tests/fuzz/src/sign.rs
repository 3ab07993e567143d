//! Signatures over what a fuzzer changed, so that it gets to what lies behind them.

use coset::{CborSerializable as _, CoseSign1, TaggedCborSerializable as _};
use ed25519_dalek::Signer as _;
use gateway_wire::SigningKey;

/// An envelope of the right content type.
pub(crate) const GOLDEN_ORDER: &[u8] = include_bytes!("../../../gateway/wire/golden/order-v1.cbor");

fn parse(bytes: &[u8]) -> Option<CoseSign1> {
    let (_tag, untagged) = bytes.split_first()?;
    CoseSign1::from_slice(untagged).ok()
}

/// What is inside an envelope.
pub(crate) fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    parse(bytes)?.payload
}

/// The envelope with another payload, where one is given, and a good signature.
pub(crate) fn anew(envelope: &[u8], key: &SigningKey, payload: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut sign1 = parse(envelope)?;
    if let Some(payload) = payload {
        sign1.payload = Some(payload.to_vec());
    }
    sign1.protected.header.key_id = key.kid().to_vec();
    sign1.protected.original_data = None;
    let secret = ed25519_dalek::SigningKey::from_bytes(&key.to_bytes());
    sign1.signature = secret.sign(&sign1.tbs_data(&[])).to_bytes().to_vec();
    sign1.to_tagged_vec().ok()
}
