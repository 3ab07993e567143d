//! The signed envelope that everything ours travels in: a tagged COSE_Sign1 (RFC 9052) whose protected header
//! holds algorithm, content type and key id, and nothing else; the unprotected header is empty, the payload is
//! inside.
//!
//! The content type is signed too, so that a token can never be shown as a record or an order as an enrolment.

use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _, iana,
};

use crate::{RecordError, SigningKey, VerifyingKey, strict};

/// Tag 18: COSE_Sign1.
const TAG: u8 = 0xd2;

/// Signs `payload`.
pub(crate) fn sign(key: &SigningKey, content_type: &'static str, payload: Vec<u8>) -> Vec<u8> {
    let protected = HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .content_type(content_type.to_owned())
        .key_id(key.kid().to_vec())
        .build();
    CoseSign1Builder::new()
        .protected(protected)
        .payload(payload)
        .create_signature(&[], |message| key.sign(message))
        .build()
        .to_tagged_vec()
        .expect("an envelope of byte strings and three header parameters is always encodable")
}

/// A signed thing whose structure is in order; its signature has not been looked at.
pub(crate) struct Envelope {
    sign1: CoseSign1,
}

/// Takes an envelope apart, strictly.
pub(crate) fn read(bytes: &[u8], content_type: &'static str, limit: usize) -> Result<Envelope, RecordError> {
    if bytes.len() > limit {
        return Err(RecordError::TooLarge { what: content_type, size: bytes.len(), limit });
    }
    let what = "envelope";
    let Some((&TAG, untagged)) = bytes.split_first() else {
        return Err(RecordError::Structure { what, at: 0, fault: "not a tagged COSE_Sign1" });
    };
    strict::whole(untagged).map_err(|fault| fault.within(what))?;
    let sign1 = CoseSign1::from_slice(untagged)
        .map_err(|error| RecordError::Content { what, why: error.to_string() })?;
    if let Some(protected) = &sign1.protected.original_data {
        strict::whole(protected).map_err(|fault| fault.within("protected header"))?;
    }
    check_header(&sign1, content_type)?;
    match sign1.payload {
        Some(_) => Ok(Envelope { sign1 }),
        None => Err(RecordError::Structure { what, at: 0, fault: "no payload inside" }),
    }
}

fn check_header(sign1: &CoseSign1, content_type: &'static str) -> Result<(), RecordError> {
    let header = &sign1.protected.header;
    if !header.crit.is_empty() || !sign1.unprotected.crit.is_empty() {
        return Err(RecordError::CriticalHeader);
    }
    match &header.alg {
        Some(coset::RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA)) => {}
        other => return Err(RecordError::Algorithm(format!("{other:?}"))),
    }
    match &header.content_type {
        Some(coset::RegisteredLabel::Text(found)) if found == content_type => {}
        other => {
            return Err(RecordError::ContentType { expected: content_type, found: format!("{other:?}") });
        }
    }
    let others = !header.iv.is_empty()
        || !header.partial_iv.is_empty()
        || !header.counter_signatures.is_empty()
        || !header.rest.is_empty();
    if others || !sign1.unprotected.is_empty() {
        return Err(RecordError::UnexpectedHeader(content_type));
    }
    Ok(())
}

impl Envelope {
    /// The signed content. Not to be believed before [`Envelope::verify`].
    pub(crate) fn payload(&self) -> &[u8] {
        self.sign1.payload.as_deref().expect("`read` lets no envelope through without a payload")
    }

    /// Key id in the header.
    pub(crate) fn kid(&self) -> &[u8] {
        &self.sign1.protected.header.key_id
    }

    /// Checks key and signature.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<(), RecordError> {
        if self.kid() != key.kid() {
            return Err(RecordError::KeyId { expected: key.kid(), found: self.kid().to_vec() });
        }
        self.sign1.verify_signature(&[], |signature, message| key.verify(message, signature))
    }
}

/// Decodes one strict CBOR item that is nothing but a `T`; `what` names it in errors.
pub fn decode<'b, T: minicbor::Decode<'b, ()>>(
    what: &'static str,
    bytes: &'b [u8],
) -> Result<T, RecordError> {
    strict::whole(bytes).map_err(|fault| fault.within(what))?;
    minicbor::decode(bytes).map_err(|error| RecordError::Content { what, why: error.to_string() })
}

/// Encodes into memory, where nothing can fail.
pub(crate) fn encode(value: impl minicbor::Encode<()>) -> Vec<u8> {
    minicbor::to_vec(value).expect("encoding into memory cannot fail")
}
