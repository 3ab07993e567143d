//! Signatures of webhooks as Standard Webhooks asks: over `id.timestamp.body`, one per secret, so that a receiver that
//! knows any of them can check: `v1,` HMAC-SHA256 for a secret of the form `whsec_BASE64`, `v1a,` Ed25519 for a private key
//! of the form `whsk_BASE64`.

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of a symmetric secret, as the standard has them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What signs.
pub enum Secret {
    /// `whsec_…`
    Shared(Vec<u8>),
    /// `whsk_…`
    Private(Box<ed25519_dalek::SigningKey>),
}

impl Secret {
    /// Reads either form.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if let Some(key) = text.strip_prefix("whsk_") {
            let bytes = STANDARD.decode(key).context("a private key is whsk_ and base64")?;
            // Some tools write the public half behind the secret one.
            ensure!(matches!(bytes.len(), 32 | 64), "a private key has 32 bytes, or 64 with its public half");
            let mut secret = [0; 32];
            secret.copy_from_slice(&bytes[..32]);
            return Ok(Self::Private(Box::new(ed25519_dalek::SigningKey::from_bytes(&secret))));
        }
        let Some(secret) = text.strip_prefix("whsec_") else {
            bail!("a signing secret begins with whsec_ (shared) or whsk_ (private key)")
        };
        let bytes = STANDARD.decode(secret).context("a shared secret is whsec_ and base64")?;
        ensure!(SECRET_BYTES.contains(&bytes.len()), "a shared secret has 24 to 64 bytes");
        Ok(Self::Shared(bytes))
    }

    /// `v1,…` or `v1a,…`.
    fn sign(&self, signed: &[u8]) -> anyhow::Result<String> {
        Ok(match self {
            Self::Shared(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
                mac.update(signed);
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            }
            Self::Private(key) => format!("v1a,{}", STANDARD.encode(key.sign(signed).to_bytes())),
        })
    }
}

/// The value of `webhook-signature`.
pub fn signatures(secrets: &[Secret], id: &str, timestamp: i64, body: &str) -> anyhow::Result<String> {
    let signed = format!("{id}.{timestamp}.{body}");
    let all: anyhow::Result<Vec<_>> = secrets.iter().map(|secret| secret.sign(signed.as_bytes())).collect();
    Ok(all?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_signed_as_it_says() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn several_secrets_sign_and_a_private_key_does_too() {
        let private = format!("whsk_{}", STANDARD.encode([7; 32]));
        let shared = format!("whsec_{}", STANDARD.encode([9; 32]));
        let secrets = [Secret::parse(&private).unwrap(), Secret::parse(&shared).unwrap()];
        let signed = signatures(&secrets, "1-2-3", 5, "{}").unwrap();
        let (asymmetric, symmetric) = signed.split_once(' ').unwrap();
        assert!(symmetric.starts_with("v1,"));
        let signature = STANDARD.decode(asymmetric.strip_prefix("v1a,").unwrap()).unwrap();
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        key.verify_strict(b"1-2-3.5.{}", &ed25519_dalek::Signature::from_slice(&signature).unwrap()).unwrap();
    }

    #[test]
    fn what_is_no_secret_is_refused_in_words() {
        for (text, words) in [
            ("abc", "begins with whsec_"),
            ("whsec_!", "base64"),
            ("whsec_AAAA", "24 to 64"),
            ("whsk_AAAA", "32 bytes"),
        ] {
            let error = Secret::parse(text).err().unwrap();
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
    }
}
