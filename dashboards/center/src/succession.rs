//! When another key speaks for a gateway: it rotated its own, or its box was replaced.
//!
//! A gateway keeps its id, its alerts and its history for life; what changes is the key (docs/decisions/0014). The key of
//! a box that was replaced ends with the last record that is here. What that box had sealed by then and is delivered later is
//! still taken, by its own civil time; whatever it seals afterwards is kept, counted for nothing, and an alert. Promises:
//! a record is checked against the key that may have signed it, however late it comes.

use gateway_model::{CommandBody, EngineTime};
use gateway_wire::{EnrolRequest, KeyHistory, Standing, SuccessionCause, VerifyingKey};
use sqlx::SqliteConnection;

use crate::app::App;
use crate::auth::Viewer;
use crate::civil::ClockTable;
use crate::error::{ApiError, words};
use crate::orders::{self, Asked, ORDER_LIFE_MS};
use crate::store::audit;
use crate::store::epochs::{self, EpochRow};
use crate::store::gateways::{self, Enrolled};
use crate::store::keys::{self, KeyRow};
use crate::store::records::{self, RecordRow};

/// The box that replaces another begins so many epochs above all that is known of it: the other one may have started that
/// often since the center heard of it last.
const EPOCHS_APART: i64 = 1 << 20;

/// Does this record count, though its key may have ended before it? Moves the end of a key whose box was replaced over
/// what that box had sealed by then.
pub async fn counts(
    tx: &mut SqliteConnection,
    gateway: &Enrolled,
    row: &RecordRow,
    standing: Standing,
) -> sqlx::Result<bool> {
    let Standing::Outside(cause) = standing else { return Ok(true) };
    if cause != Some(SuccessionCause::Replaced) {
        return Ok(false);
    }
    // As it stands now: records of the same group may have moved it.
    let keys = keys::of(tx, &gateway.id).await?;
    let Some(next) = keys.into_iter().find(|key| key.from_epoch > row.epoch) else { return Ok(false) };
    let at = (row.epoch, row.seq);
    if next.before.is_some_and(|before| at <= before) {
        return Ok(true);
    }
    let clocks = ClockTable::new(records::clocks(tx, &gateway.id).await?);
    let sealed = clocks.offset_at(EngineTime(row.t1)).map(|offset| row.t1.saturating_add(offset));
    // Without a clock nobody can say that it was before.
    if sealed.is_none_or(|sealed| sealed > next.at) {
        return Ok(false);
    }
    keys::set_bounds(tx, &gateway.id, &KeyRow { before: Some(at), ..next }).await?;
    Ok(true)
}

/// Puts a new box in the place of a gateway's old one. The code that was shown is for that gateway's premises.
pub async fn replace(
    tx: &mut SqliteConnection,
    app: &App,
    request: &EnrolRequest,
    old: &Enrolled,
) -> Result<KeyRow, ApiError> {
    let now = app.clock.civil().0;
    if let Some(row) = old.keys.iter().find(|row| row.public_key == request.gateway_key) {
        // The answer was lost, and the same box asks again.
        return Ok(row.clone());
    }
    let known = |key: &VerifyingKey| key.to_bytes() == request.gateway_key;
    if known(old.ring.first()) {
        return Err(ApiError::invalid(
            "replaces",
            "新旧网关密钥相同。",
            "This is the key of the gateway itself.",
        ));
    }
    let held = epochs::all(tx, &old.id).await?;
    let newest = held.iter().map(|row| row.epoch).max().unwrap_or(0);
    let newest = old.keys.iter().map(|row| row.from_epoch).fold(newest, i64::max);
    let row = KeyRow {
        n: old.keys.len() as i64 + 1,
        public_key: request.gateway_key,
        from_epoch: newest + EPOCHS_APART,
        before: held.iter().rfind(|row| row.last >= 0).map(last),
        took: None,
        cause: SuccessionCause::Replaced,
        at: now,
        statement: Vec::new(),
    };
    keys::add(tx, &old.id, &row).await?;
    audit::note(tx, now, &old.id, "replace_gateway", &gateway_wire::hex(&request.gateway_key)).await?;
    tracing::info!(gateway = old.id, "another box takes the gateway's place");
    Ok(row)
}

fn last(row: &EpochRow) -> (i64, i64) {
    (row.epoch, row.last)
}

/// Orders a gateway to make itself a new key; the next epoch signs with it.
pub async fn order_rotation(app: &App, viewer: &Viewer, id: &str) -> Result<(), ApiError> {
    viewer.admin()?;
    let now = app.clock.civil();
    let mut tx = app.store.write().await?;
    let held = gateways::enrolled(&mut tx, id).await?.ok_or(ApiError::NotFound)?;
    let asked = Asked {
        gateway: held.ring.gateway(),
        issued: now,
        life_ms: ORDER_LIFE_MS,
        author: &viewer.user.id,
        body: CommandBody::RotateKey,
        alert: None,
    };
    orders::give(&mut tx, &app.key, app.order_epoch(), asked).await?;
    audit::note(&mut tx, now.0, &viewer.user.id, "order_key_rotation", &held.id).await?;
    tx.commit().await?;
    app.ordered.notify_waiters();
    Ok(())
}

/// What a gateway says of its own keys: those that are not known yet are taken in, each signed with the key before.
pub async fn rotated(app: &App, history: &KeyHistory) -> Result<(), ApiError> {
    let refuse = |error: &dyn std::fmt::Display| {
        ApiError::Malformed(
            "keys",
            words("网关密钥记录无效。", &format!("The gateway's keys cannot be believed: {error}.")),
        )
    };
    let said = history.ring(Some(&app.key.verifying_key())).map_err(|error| refuse(&error))?;
    let id = said.gateway().to_string();
    let now = app.clock.civil().0;
    let mut tx = app.store.write().await?;
    let held = gateways::enrolled(&mut tx, &id).await?.ok_or(ApiError::NotFound)?;
    let known = held.ring.periods().len();
    let same = said.periods().iter().zip(held.ring.periods()).all(|(said, held)| said.key == held.key);
    if !same {
        return Err(refuse(&"another key is known in the place of one of them"));
    }
    for (place, period) in said.periods().iter().enumerate().skip(known) {
        let Some(statement) = history.successions.get(place - 1) else { break };
        if period.cause != Some(SuccessionCause::Rotated) {
            return Err(refuse(&"this center did not say that the box was replaced"));
        }
        let mut row = KeyRow {
            n: place as i64,
            public_key: period.key.to_bytes(),
            from_epoch: period.from.0 as i64,
            before: None,
            took: None,
            cause: SuccessionCause::Rotated,
            at: now,
            statement: statement.to_vec(),
        };
        let taken = epochs::all(&mut tx, &id).await?.into_iter().rfind(|held| held.last >= 0);
        if let Some(taken) = taken.filter(|held| held.epoch >= row.from_epoch) {
            // The key changed on a disk that had been set back: what the key before signed meanwhile stays its own, and
            // the new one begins above it. The gateway finds its numbers taken and goes on there.
            row = KeyRow {
                from_epoch: taken.epoch + 1,
                before: Some(last(&taken)),
                cause: SuccessionCause::Replaced,
                statement: Vec::new(),
                ..row
            };
            tracing::warn!(
                gateway = id,
                from = row.from_epoch,
                "a gateway's key changed on a disk that was set back"
            );
        }
        keys::add(&mut tx, &id, &row).await?;
        audit::note(&mut tx, now, &id, "rotate_key", &gateway_wire::hex(&row.public_key)).await?;
        tracing::info!(gateway = id, "the gateway signs with a new key");
    }
    tx.commit().await?;
    Ok(())
}

/// What a box needs to go on in the place of another: the first records of the epoch of the newest checkpoint that is
/// here, that checkpoint, and everything behind it, in order. `skip` = how many of them it has.
pub async fn predecessor(app: &App, gateway: &Enrolled, skip: usize) -> Result<Vec<Vec<u8>>, ApiError> {
    const BATCH_BYTES: usize = 2 << 20;
    let Some(own) = gateway.keys.last().filter(|key| key.cause == SuccessionCause::Replaced) else {
        return Err(ApiError::NotFound);
    };
    let rows = app.store.records_to_go_on(&gateway.id, own.from_epoch, skip).await?;
    let folder = app.segments();
    let read = move || -> anyhow::Result<Vec<Vec<u8>>> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        for row in rows {
            if bytes >= BATCH_BYTES {
                break;
            }
            let record = crate::segments::read(&folder, row.place)?;
            bytes += record.len();
            records.push(record);
        }
        Ok(records)
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| ApiError::Internal(error.into()))?
        .map_err(ApiError::Internal)
}
