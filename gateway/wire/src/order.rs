//! Orders: what a person at the center asks of a gateway, numbered and signed by the center.
//!
//! Carried out in the order of (center epoch, seq), once; each ends in a conclusion: done, refused or expired.

use gateway_model::{CivilTime, CommandBody, GatewayId};
use minicbor::{Decode, Encode, Encoder};

use crate::{RecordError, SigningKey, VerifyingKey, envelope};

const ORDER_TYPE: &str = "application/nonsite-order";
/// Bytes of an order, at most.
const ORDER_MAX: usize = 64 << 10;
/// Orders in one answer, at most; the rest comes with the next.
const ORDERS_MAX: usize = 64;

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// Life of the center's order book: grows when it is restored from a backup.
    #[n(0)]
    pub center_epoch: u64,
    /// Number in it, per gateway, from 1.
    #[n(1)]
    pub seq: u64,
    /// For whom.
    #[n(2)]
    pub gateway: GatewayId,
    /// When it was given.
    #[n(3)]
    pub issued: CivilTime,
    /// After this it is not carried out.
    #[n(4)]
    pub expires: CivilTime,
    /// Opaque id of the person who gave it.
    #[n(5)]
    pub author: String,
    /// What to do.
    #[n(6)]
    pub body: CommandBody,
}

impl Order {
    /// Signs it with the center's key.
    pub fn seal(&self, center: &SigningKey) -> Vec<u8> {
        envelope::sign(center, ORDER_TYPE, envelope::encode(self))
    }

    /// Checks it against the center's key and that it is meant for `gateway`.
    pub fn open(center: &VerifyingKey, gateway: GatewayId, bytes: &[u8]) -> Result<Self, RecordError> {
        let envelope = envelope::read(bytes, ORDER_TYPE, ORDER_MAX)?;
        envelope.verify(center)?;
        let order: Self = envelope::decode("order", envelope.payload())?;
        if order.gateway != gateway {
            return Err(RecordError::Gateway { key: gateway, claimed: order.gateway });
        }
        Ok(order)
    }

    /// What an order says it asks for, by nobody's word: for telling what was refused.
    pub fn claimed(bytes: &[u8]) -> Option<CommandBody> {
        let envelope = envelope::read(bytes, ORDER_TYPE, ORDER_MAX).ok()?;
        envelope::decode::<Self>("order", envelope.payload()).ok().map(|order| order.body)
    }
}

/// Signed orders as one answer: a CBOR array of byte strings, at most 64.
pub fn pack_orders(orders: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let orders = &orders[..orders.len().min(ORDERS_MAX)];
    let mut encoder = Encoder::new(Vec::new());
    encoder
        .array(orders.len() as u64)
        .and_then(|encoder| orders.iter().try_fold(encoder, |encoder, order| encoder.bytes(order.as_ref())))
        .expect("encoding into memory cannot fail");
    encoder.into_writer()
}

/// Takes such an answer apart.
pub fn unpack_orders(bytes: &[u8]) -> Result<Vec<Vec<u8>>, RecordError> {
    const WHAT: &str = "orders";
    let limit = ORDERS_MAX * ORDER_MAX;
    if bytes.len() > limit {
        return Err(RecordError::TooLarge { what: WHAT, size: bytes.len(), limit });
    }
    let orders: Vec<minicbor::bytes::ByteVec> = envelope::decode(WHAT, bytes)?;
    if orders.len() > ORDERS_MAX {
        return Err(RecordError::TooMany { what: WHAT, found: orders.len(), limit: ORDERS_MAX });
    }
    Ok(orders.into_iter().map(Into::into).collect())
}
