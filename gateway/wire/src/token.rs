//! The short-lived token a gateway shows with each request: signed with its key, good for one audience and a few
//! minutes, so that a copy of it is soon worth nothing. Text form: base64url of a COSE_Sign1.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway_model::{CivilTime, GatewayId};
use minicbor::{Decode, Encode};

use crate::{RecordError, SigningKey, VerifyingKey, envelope};

/// How long a token is good before and after its stamp: it lives five minutes, and clocks may differ by as much.
pub const TOKEN_LIFE_MS: i64 = 5 * 60 * 1000;
const TOKEN_TYPE: &str = "application/nonsite-token";
/// Bytes of a token, at most: signature, header, and an audience of a URL's length.
const TOKEN_MAX: usize = 1024;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Token {
    /// Who shows it.
    #[n(0)]
    pub gateway: GatewayId,
    /// When it was made.
    #[n(1)]
    pub issued: CivilTime,
    /// For whom: hex of the center key's fingerprint, or its URL.
    #[n(2)]
    pub audience: String,
}

/// Why a token was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token, or not of this key.
    #[error("not a token of this gateway")]
    Record(#[from] RecordError),
    /// Not base64url without padding.
    #[error("not base64url text")]
    Text,
    /// Meant for somebody else.
    #[error("made for {0}")]
    Audience(String),
    /// Made too long ago, or in the future. The gateway sets its clock by the answer and makes another.
    #[error("made at {issued}, now it is {now} (ms): at most {TOKEN_LIFE_MS} apart")]
    Stale {
        /// When it says it was made.
        issued: i64,
        /// When it was shown.
        now: i64,
    },
}

impl Token {
    /// Makes a token for `audience`.
    pub fn make(key: &SigningKey, issued: CivilTime, audience: &str) -> String {
        let token = Self { gateway: key.gateway_id(), issued, audience: audience.to_owned() };
        URL_SAFE_NO_PAD.encode(envelope::sign(key, TOKEN_TYPE, envelope::encode(token)))
    }

    /// Who says they show it, before any key is known. To be believed only after [`Token::check`].
    pub fn claimed(text: &str) -> Result<GatewayId, TokenError> {
        Ok(Self::read(text)?.1.gateway)
    }

    /// Checks a token shown at `now` against the key of the gateway that it claims to be of.
    pub fn check(key: &VerifyingKey, text: &str, now: CivilTime, audience: &str) -> Result<Self, TokenError> {
        let (envelope, token) = Self::read(text)?;
        envelope.verify(key)?;
        if token.gateway != key.gateway_id() {
            return Err(RecordError::Gateway { key: key.gateway_id(), claimed: token.gateway }.into());
        }
        if token.audience != audience {
            return Err(TokenError::Audience(token.audience));
        }
        if now.0.abs_diff(token.issued.0) > TOKEN_LIFE_MS as u64 {
            return Err(TokenError::Stale { issued: token.issued.0, now: now.0 });
        }
        Ok(token)
    }

    fn read(text: &str) -> Result<(envelope::Envelope, Self), TokenError> {
        if text.len() > TOKEN_MAX * 4 / 3 {
            return Err(
                RecordError::TooLarge { what: "token", size: text.len(), limit: TOKEN_MAX * 4 / 3 }.into()
            );
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Text)?;
        let envelope = envelope::read(&bytes, TOKEN_TYPE, TOKEN_MAX)?;
        let token = envelope::decode("token", envelope.payload())?;
        Ok((envelope, token))
    }
}
