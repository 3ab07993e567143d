//! What the center has of a gateway, as receipts and at the beginning of a session.
//!
//! Promises: wherever it says that it has records it names the hash of the last of them, so that a gateway whose disk was
//! copied or set back can tell; a comparison names every epoch of the span that was asked for, so that what it does not
//! name is not here. A box whose key has ended is told of the epochs of its own key only.

use std::collections::BTreeSet;

use gateway_model::{Epoch, Seq};
use gateway_wire::{
    EPOCHS_MAX, EpochReceipt, Fingerprint, RANGES_MAX, Receipt, Refused, SURVEY_MAX, Survey, SurveyRequest,
};

use crate::app::App;
use crate::store::epochs::EpochRow;
use crate::store::gateways::Enrolled;

/// The answer to a batch: the epochs it touched, oldest first, and the newest there is. Where that is more than a receipt
/// holds, or where it gets lost, the gateway sends again what was not named, or compares again.
pub async fn receipt(
    app: &App,
    gateway: &Enrolled,
    touched: &BTreeSet<i64>,
    refused: Vec<Refused>,
    window: u32,
) -> sqlx::Result<Receipt> {
    let end = end(gateway);
    let newest = app.store.newest_epoch(&gateway.id, end).await?;
    let named = touched.iter().copied().filter(|epoch| *epoch < end && Some(*epoch) != newest);
    let mut epochs = Vec::new();
    for named in named.take(EPOCHS_MAX - 1).chain(newest) {
        if let Some(row) = app.store.epoch(&gateway.id, named).await? {
            epochs.push(epoch(app, &gateway.id, row, None).await?);
        }
    }
    let wants = app
        .store
        .wanted_configs(&gateway.id, RANGES_MAX as i64)
        .await?
        .into_iter()
        .map(|(epoch, first, last)| (Epoch(epoch as u64), Seq(first as u64), Seq(last as u64)))
        .collect();
    Ok(Receipt { server_time: app.clock.civil(), window, epochs, refused, wants })
}

/// One page of a comparison.
pub async fn survey(
    app: &App,
    gateway: &Enrolled,
    asked: &SurveyRequest,
    session: u64,
) -> sqlx::Result<Survey> {
    let from = i64::try_from(asked.from.0).unwrap_or(i64::MAX);
    let to = asked.to.map_or(i64::MAX, |to| i64::try_from(to.0).unwrap_or(i64::MAX));
    let to = to.min(end(gateway) - 1);
    let mut rows = app.store.epochs_between(&gateway.id, from, to, SURVEY_MAX as i64 + 1).await?;
    let next = rows.get(SURVEY_MAX).map(|row| Epoch(row.epoch as u64));
    rows.truncate(SURVEY_MAX);
    let mut epochs = Vec::with_capacity(rows.len());
    for row in rows {
        let last = asked.last.iter().find(|(epoch, _)| epoch.0 == row.epoch as u64);
        epochs.push(epoch(app, &gateway.id, row, last.map(|(_, seq)| *seq)).await?);
    }
    Ok(Survey { server_time: app.clock.civil(), session, epochs, next })
}

/// The first epoch that the key of who asks may not sign: what another key signed there is none of its records, and
/// would look like a branch.
fn end(gateway: &Enrolled) -> i64 {
    gateway.former.map_or(i64::MAX, |next| i64::try_from(next.0).unwrap_or(i64::MAX))
}

/// What is here of one epoch; `asked`: a record whose hash the gateway wants to see too.
async fn epoch(app: &App, gateway: &str, row: EpochRow, asked: Option<Seq>) -> sqlx::Result<EpochReceipt> {
    let store = &app.store;
    let runs = if row.through < row.last {
        store.runs_above(gateway, row.epoch, row.through, RANGES_MAX).await?
    } else {
        Vec::new()
    };
    let asked = asked.and_then(|seq| i64::try_from(seq.0).ok());
    // What is gone has no bytes: the last record before it stands for the run.
    let mut ends: Vec<_> = store.hash_up_to(gateway, row.epoch, row.through).await?.into_iter().collect();
    for seq in runs.iter().map(|(_, last)| *last).chain(asked) {
        ends.extend(store.hash_up_to(gateway, row.epoch, seq).await?.filter(|(found, _)| *found == seq));
    }
    ends.sort_unstable();
    ends.dedup();
    Ok(EpochReceipt {
        epoch: Epoch(row.epoch as u64),
        through: u64::try_from(row.through).ok().map(Seq),
        have: runs.into_iter().map(|(first, last)| (Seq(first as u64), Seq(last as u64))).collect(),
        ends: Some(ends.into_iter().map(|(seq, hash)| (Seq(seq as u64), Fingerprint(hash))).collect()),
    })
}
