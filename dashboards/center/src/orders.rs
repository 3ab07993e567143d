//! Orders to gateways: numbered, signed and kept in one step.

use gateway_model::{CivilTime, CommandBody};
use gateway_wire::{Order, SigningKey};
use sqlx::SqliteConnection;

use crate::store::count_up;
use crate::store::gateways::{self, Enrolled, StoredOrder};

/// An order is carried out within this time or not at all, ms.
const ORDER_LIFE_MS: i64 = 7 * 86_400_000;

/// Who gives an order, and when.
pub struct Giver<'a> {
    /// The center's key.
    pub key: &'a SigningKey,
    /// Life of its order book.
    pub epoch: i64,
    /// Now.
    pub now: CivilTime,
    /// Opaque id of the person.
    pub author: &'a str,
}

impl Giver<'_> {
    /// Gives an order that is about no alert; its number.
    pub async fn give(
        &self,
        tx: &mut SqliteConnection,
        gateway: &Enrolled,
        body: CommandBody,
    ) -> sqlx::Result<(i64, i64)> {
        let seq = count_up(tx, "order_seq").await?;
        let order = Order {
            center_epoch: self.epoch as u64,
            seq: seq as u64,
            gateway: gateway.ring.gateway(),
            issued: self.now,
            expires: CivilTime(self.now.0 + ORDER_LIFE_MS),
            author: self.author.to_owned(),
            body,
        };
        let stored = StoredOrder {
            order: (self.epoch, seq),
            gateway: gateway.id.clone(),
            issued: self.now.0,
            expires: order.expires.0,
            alert: (0, 0),
            bytes: order.seal(self.key),
        };
        gateways::add_order(tx, &stored).await?;
        Ok(stored.order)
    }
}
