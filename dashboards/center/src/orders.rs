//! One order for one gateway: numbered, signed, kept until its outcome is on record.
//!
//! Promises: numbers grow over all gateways, in one transaction with whatever the order follows from. Leaves out: waking
//! the polls that wait ([`crate::app::App::ordered`], once it is committed).

use gateway_model::{AlertId, CivilTime, CommandBody, GatewayId};
use gateway_wire::{Order, SigningKey};
use sqlx::SqliteConnection;

use crate::store::count_up;
use crate::store::gateways::{self, StoredOrder};

/// An order that is about no alert is carried out within this time or not at all, ms.
pub const ORDER_LIFE_MS: i64 = 7 * 86_400_000;

/// What to order.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Of whom.
    pub gateway: GatewayId,
    /// When.
    pub issued: CivilTime,
    /// So much later it is not carried out any more, ms.
    pub life_ms: i64,
    /// Opaque id of the person, or `center`.
    pub author: &'a str,
    /// What.
    pub body: CommandBody,
    /// About which alert.
    pub alert: Option<AlertId>,
}

/// Gives an order in this life of the order book; its number.
pub async fn give(
    tx: &mut SqliteConnection,
    key: &SigningKey,
    center_epoch: i64,
    asked: Asked<'_>,
) -> sqlx::Result<(i64, i64)> {
    let seq = count_up(tx, "order_seq").await?;
    let order = Order {
        center_epoch: center_epoch as u64,
        seq: seq as u64,
        gateway: asked.gateway,
        issued: asked.issued,
        expires: CivilTime(asked.issued.0.saturating_add(asked.life_ms)),
        author: asked.author.to_owned(),
        body: asked.body,
    };
    let stored = StoredOrder {
        order: (center_epoch, seq),
        gateway: order.gateway.to_string(),
        issued: order.issued.0,
        expires: order.expires.0,
        alert: asked.alert.map_or((0, 0), |alert| (alert.epoch.0 as i64, i64::from(alert.n))),
        bytes: order.seal(key),
    };
    gateways::add_order(tx, &stored).await?;
    Ok(stored.order)
}

/// The id of a gateway as the database has it.
pub fn gateway_of(text: &str) -> sqlx::Result<GatewayId> {
    GatewayId::parse(text).ok_or_else(|| sqlx::Error::Decode(format!("gateway id {text:?}").into()))
}
