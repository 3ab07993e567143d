//! Whom to believe: brought by whoever checks, never by the bundle.

use gateway_model::{Cursor, Epoch, Seq};
use gateway_wire::{VerifyingKey, unhex};
use serde::Deserialize;

/// A policy to fill in.
pub const TEMPLATE: &str = include_str!("policy.toml");

/// Keys that may be believed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustPolicy {
    /// SHA-256 of the keys of centers: they vouch for their gateways and for bundles they make.
    pub centers: Vec<[u8; 32]>,
    /// Keys of gateways that need no center, each with its period.
    pub gateways: Vec<GatewayTrust>,
    /// Records made under a demo clock count.
    pub accept_simulated: bool,
}

/// A gateway's key and the records it may have signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayTrust {
    /// The public key.
    pub key: VerifyingKey,
    /// First record.
    pub from: Cursor,
    /// Last record; `None` = still in use.
    pub to: Option<Cursor>,
}

/// A policy that says nothing clear.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not TOML, or with keys that do not belong there.
    #[error("{0}")]
    Toml(String),
    /// A value that is not what belongs there.
    #[error("{what} {value:?}: {wanted}")]
    Value {
        /// Of which key.
        what: &'static str,
        /// As written.
        value: String,
        /// What belongs there.
        wanted: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    center: Vec<CenterEntry>,
    #[serde(default)]
    gateway: Vec<GatewayEntry>,
    #[serde(default)]
    accept_simulated: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CenterEntry {
    key_sha256: String,
    #[serde(default, rename = "name")]
    _name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayEntry {
    key: String,
    #[serde(default, rename = "name")]
    _name: String,
    from: Option<String>,
    to: Option<String>,
}

impl TrustPolicy {
    /// Reads a policy file.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let document: Document =
            toml::from_str(text).map_err(|error| PolicyError::Toml(error.to_string()))?;
        let centers = document.center.into_iter().map(|center| fingerprint(center.key_sha256));
        Ok(Self {
            centers: centers.collect::<Result<_, _>>()?,
            gateways: document.gateway.into_iter().map(gateway).collect::<Result<_, _>>()?,
            accept_simulated: document.accept_simulated,
        })
    }
}

fn fingerprint(value: String) -> Result<[u8; 32], PolicyError> {
    let wanted = "64 hex digits, the SHA-256 of the center's public key";
    unhex(&value).ok_or(PolicyError::Value { what: "key_sha256", value, wanted })
}

fn gateway(entry: GatewayEntry) -> Result<GatewayTrust, PolicyError> {
    let key = unhex(&entry.key).and_then(|key| VerifyingKey::from_bytes(&key).ok());
    let wanted = "64 hex digits, the gateway's Ed25519 public key";
    let key = key.ok_or(PolicyError::Value { what: "key", value: entry.key, wanted })?;
    Ok(GatewayTrust {
        key,
        from: entry.from.map_or(Ok(Cursor::default()), |from| cursor("from", from))?,
        to: entry.to.map(|to| cursor("to", to)).transpose()?,
    })
}

fn cursor(what: &'static str, value: String) -> Result<Cursor, PolicyError> {
    let parsed = value.split_once('/').and_then(|(epoch, seq)| {
        Some(Cursor { epoch: Epoch(epoch.parse().ok()?), seq: Seq(seq.parse().ok()?) })
    });
    parsed.ok_or(PolicyError::Value { what, value, wanted: "EPOCH/SEQ of a record, as in \"3/120\"" })
}

impl GatewayTrust {
    /// May the key have signed a record at this place?
    pub fn covers(&self, at: Cursor) -> bool {
        at >= self.from && self.to.is_none_or(|to| at <= to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_policy() {
        let policy = TrustPolicy::parse(TEMPLATE).unwrap();
        assert_eq!((policy.centers.len(), policy.gateways.len(), policy.accept_simulated), (0, 0, false));
        let filled = TEMPLATE.replace("# ", "#").replace("\n#[[", "\n[[").replace("\n#key", "\nkey");
        let policy = TrustPolicy::parse(&filled).unwrap();
        assert_eq!((policy.centers.len(), policy.gateways.len()), (1, 1));
    }

    #[test]
    fn what_is_not_clear_is_refused_in_words() {
        for (text, expected) in [
            (
                "[[center]]\nkey_sha256 = \"12\"",
                "key_sha256 \"12\": 64 hex digits, the SHA-256 of the center's public key",
            ),
            ("[[gateway]]\nkey = \"\"", "key \"\": 64 hex digits, the gateway's Ed25519 public key"),
        ] {
            assert_eq!(TrustPolicy::parse(text).unwrap_err().to_string(), expected);
        }
        assert!(matches!(TrustPolicy::parse("centre = 1"), Err(PolicyError::Toml(_))));
    }
}
