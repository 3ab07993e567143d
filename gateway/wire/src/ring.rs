//! The keys of one gateway, each with the records it may sign.
//!
//! A gateway is named by its first key (docs/decisions/0014). Another key speaks for it from an epoch on by a
//! [`Succession`]: signed with the key before it (rotated), or by the center (the box was replaced). A key signs whole
//! epochs, so that what was sealed before and is delivered later is still checked against the key that sealed it.

use gateway_model::{CivilTime, Cursor, Epoch, GatewayId, Seq};
use minicbor::{Decode, Encode};

use crate::{
    Opened, RecordError, SigningKey, VerifyingKey,
    envelope::{self, Envelope},
    record,
};

const SUCCESSION_TYPE: &str = "application/nonsite-succession";
/// Bytes of a succession, at most.
const SUCCESSION_MAX: usize = 4 << 10;
/// Keys of one gateway, at most: one a year for longer than any box lives.
pub const KEYS_MAX: usize = 64;

/// Why another key speaks for a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum SuccessionCause {
    /// The gateway made itself a new one; said with the key before.
    #[n(0)]
    Rotated,
    /// The box was replaced; said by the center.
    #[n(1)]
    Replaced,
}

/// That another key speaks for a gateway from now on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Succession {
    /// For whom: named by its first key.
    #[n(0)]
    pub gateway: GatewayId,
    /// The new public key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub key: [u8; 32],
    /// First epoch that it signs.
    #[n(2)]
    pub from: Epoch,
    /// Last record of the key before; `None` = whatever lies below `from`.
    #[n(3)]
    pub last: Option<(Epoch, Seq)>,
    /// Why.
    #[n(4)]
    pub cause: SuccessionCause,
    /// When.
    #[n(5)]
    pub issued: CivilTime,
}

impl Succession {
    /// Signs it, with the key before or the center's.
    pub fn seal(&self, by: &SigningKey) -> Vec<u8> {
        envelope::sign(by, SUCCESSION_TYPE, envelope::encode(self))
    }

    /// What it says; nothing is checked against a key yet.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::taken_apart(bytes).map(|(said, _)| said)
    }

    fn taken_apart(bytes: &[u8]) -> Result<(Self, Envelope), RecordError> {
        let envelope = envelope::read(bytes, SUCCESSION_TYPE, SUCCESSION_MAX)?;
        let said = envelope::decode("succession", envelope.payload())?;
        Ok((said, envelope))
    }
}

/// One key of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPeriod {
    /// The key.
    pub key: VerifyingKey,
    /// First epoch it may sign.
    pub from: Epoch,
    /// Last record it may have signed; `None` = still in use.
    pub last: Option<Cursor>,
    /// Why it came; `None` = the first.
    pub cause: Option<SuccessionCause>,
}

impl KeyPeriod {
    /// May this key have signed this record?
    pub fn covers(&self, at: Cursor) -> bool {
        self.from <= at.epoch && self.last.is_none_or(|last| at <= last)
    }
}

/// What became of a signature that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Of a key that may sign this record.
    Valid,
    /// Of a key that ended before this record (or had not begun).
    Outside(Option<SuccessionCause>),
}

/// All keys of one gateway, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRing {
    gateway: GatewayId,
    periods: Vec<KeyPeriod>,
}

impl From<VerifyingKey> for KeyRing {
    fn from(first: VerifyingKey) -> Self {
        let gateway = first.gateway_id();
        Self { gateway, periods: vec![KeyPeriod { key: first, from: Epoch(0), last: None, cause: None }] }
    }
}

impl KeyRing {
    /// The first key and what came after it, each checked: said with the key before, or by this center.
    pub fn new(
        first: VerifyingKey,
        successions: &[impl AsRef<[u8]>],
        center: Option<&VerifyingKey>,
    ) -> Result<Self, RecordError> {
        let mut ring = Self::from(first);
        for bytes in successions {
            ring.succeed(bytes.as_ref(), center)?;
        }
        Ok(ring)
    }

    /// Takes one more key in, after checking who says so.
    pub fn succeed(
        &mut self,
        bytes: &[u8],
        center: Option<&VerifyingKey>,
    ) -> Result<Succession, RecordError> {
        const WHAT: &str = "succession";
        let refuse = |why: &str| Err(RecordError::Content { what: WHAT, why: why.to_owned() });
        let (said, envelope) = Succession::taken_apart(bytes)?;
        if said.gateway != self.gateway {
            return Err(RecordError::Gateway { key: self.gateway, claimed: said.gateway });
        }
        match (said.cause, center) {
            (SuccessionCause::Rotated, _) => envelope.verify(self.current())?,
            (SuccessionCause::Replaced, Some(center)) => envelope.verify(center)?,
            (SuccessionCause::Replaced, None) => {
                return refuse("the key of the center that said it is not there");
            }
        }
        if self.periods.len() >= KEYS_MAX {
            return Err(RecordError::TooMany {
                what: "keys",
                found: self.periods.len() + 1,
                limit: KEYS_MAX,
            });
        }
        if self.periods.iter().any(|period| period.key.to_bytes() == said.key) {
            return refuse("a key that was used before");
        }
        if said.from.0 == 0 || said.last.is_some_and(|(epoch, _)| epoch >= said.from) {
            return refuse("the key before it ends behind its beginning");
        }
        self.follow(&said)?;
        Ok(said)
    }

    /// The same for a succession that was checked when it came in: what a center keeps of it.
    pub fn follow(&mut self, said: &Succession) -> Result<(), RecordError> {
        let before = Cursor { epoch: Epoch(said.from.0.saturating_sub(1)), seq: Seq(u64::MAX) };
        let last = said.last.map_or(before, |(epoch, seq)| Cursor { epoch, seq });
        let key = VerifyingKey::from_bytes(&said.key)?.speaking_for(self.gateway);
        if let Some(ended) = self.periods.last_mut() {
            ended.last = Some(last);
        }
        self.periods.push(KeyPeriod { key, from: said.from, last: None, cause: Some(said.cause) });
        Ok(())
    }

    /// Whose keys.
    pub fn gateway(&self) -> GatewayId {
        self.gateway
    }

    /// The key in use.
    pub fn current(&self) -> &VerifyingKey {
        &self.periods[self.periods.len() - 1].key
    }

    /// The first key, which names the gateway.
    pub fn first(&self) -> &VerifyingKey {
        &self.periods[0].key
    }

    /// All of them, oldest first; never empty.
    pub fn periods(&self) -> &[KeyPeriod] {
        &self.periods
    }

    /// The key to which an epoch belongs, whether it signed there or not: the last that had begun by then.
    pub fn owner(&self, epoch: Epoch) -> usize {
        self.periods.iter().rposition(|period| period.from <= epoch).unwrap_or(0)
    }

    /// Which key a record says it is signed with.
    pub fn signer(&self, bytes: &[u8]) -> Option<usize> {
        let kid = record::signed_by(bytes).ok()?;
        self.periods.iter().position(|period| period.key.kid()[..] == kid[..])
    }

    /// Checks a record against the key that signed it, and that this key may.
    pub fn open(&self, bytes: &[u8]) -> Result<Opened, RecordError> {
        match self.open_any(bytes)? {
            (opened, Standing::Valid) => Ok(opened),
            (opened, Standing::Outside(_)) => Err(RecordError::Period { at: opened.header.cursor() }),
        }
    }

    /// The same for somebody who has to tell a key that has ended from a signature that is wrong.
    pub fn open_any(&self, bytes: &[u8]) -> Result<(Opened, Standing), RecordError> {
        let kid = record::signed_by(bytes)?;
        let place = self.periods.iter().position(|period| period.key.kid()[..] == kid[..]);
        let period = &self.periods[place.unwrap_or(self.periods.len() - 1)];
        let opened = record::open(&period.key, bytes)?;
        if period.covers(opened.header.cursor()) {
            return Ok((opened, Standing::Valid));
        }
        let ended_by = place.and_then(|place| self.periods.get(place + 1)).and_then(|next| next.cause);
        Ok((opened, Standing::Outside(ended_by)))
    }
}
