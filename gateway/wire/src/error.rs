//! What can be wrong with bytes that claim to be ours, each with what and where.

/// Why bytes were refused. Nothing here means "understood in part": see [`crate::NotUnderstood`] for that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// More bytes than anybody may send.
    #[error("{what} of {size} bytes: at most {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// As found.
        size: usize,
        /// Allowed.
        limit: usize,
    },
    /// More things than anybody may send.
    #[error("{found} {what}: at most {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// As found.
        found: usize,
        /// Allowed.
        limit: usize,
    },
    /// Not the CBOR that is written here.
    #[error("{what}, byte {at}: {fault}")]
    Structure {
        /// In which part.
        what: &'static str,
        /// Offset in that part.
        at: usize,
        /// What is wrong there.
        fault: &'static str,
    },
    /// Well-formed, but not the fields that belong there.
    #[error("{what}: {why}")]
    Content {
        /// In which part.
        what: &'static str,
        /// The decoder's words.
        why: String,
    },
    /// Another signature algorithm than Ed25519.
    #[error("signature algorithm {0}: only EdDSA (-8) is known here")]
    Algorithm(String),
    /// A header that must be understood, and is not.
    #[error("a critical header that is not known here")]
    CriticalHeader,
    /// A header parameter that has no business here.
    #[error("a header parameter that does not belong in {0}")]
    UnexpectedHeader(&'static str),
    /// A signed thing of another kind.
    #[error("content type {found:?} where {expected:?} belongs")]
    ContentType {
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Signed with another key than the one it is checked against.
    #[error("signed with key {}, checked against {}", hex(.found), hex(.expected))]
    KeyId {
        /// Of the key at hand.
        expected: [u8; 8],
        /// In the header.
        found: Vec<u8>,
    },
    /// The signature is not one of this key over these bytes.
    #[error("the signature does not belong to these bytes and this key")]
    Signature,
    /// The header names another gateway than the key.
    #[error("signed by the key of gateway {key}, but says it is of {claimed}")]
    Gateway {
        /// Whose key.
        key: gateway_model::GatewayId,
        /// Who it claims to be.
        claimed: gateway_model::GatewayId,
    },
    /// A good signature of a key that may not sign this record: it ended before, or begins later.
    #[error("record {at} is signed with a key outside its period")]
    Period {
        /// Which record.
        at: gateway_model::Cursor,
    },
    /// 32 bytes that are no usable Ed25519 public key.
    #[error("not a usable Ed25519 public key")]
    Key,
}

/// Lower-case hex of some bytes, as ids and hashes are shown.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// Reads the form that [`hex`] writes, as many bytes as there are.
pub fn unhex_any(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

/// Reads the form that [`hex`] writes, exactly `N` bytes.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}
