//! What goes between gateway and center when keys or boxes change.
//!
//! - A gateway that signs with another key than its first tells the center who said so, until the center has heard it.
//! - A box that replaces another fetches what the center has of it: [`predecessor`].
//! - The disk of a box that was replaced is delivered by whoever has it in hand: [`deliver`].
//!
//! Everything here is checked again by whoever receives it; nothing is in the way of records.

use std::time::Duration;

use anyhow::Context as _;
use gateway_journal::{Journal, Position};
use gateway_model::CivilTime;
use gateway_wire::{KeyHistory, Receipt, pack, unpack};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use tokio_util::sync::CancellationToken;

use super::client::{CallError, Client, POST_TIMEOUT, answer};
use super::ledger::Ledger;
use crate::clock::Wall;
use crate::pause::Backoff;
use crate::state::{PREDECESSOR_MAX, PREDECESSOR_RECORDS_MAX};

/// Distance between attempts, real time.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// See [`RETRY_FIRST`].
const RETRY_LAST: Duration = Duration::from_mins(1);
/// Attempts of a command that somebody waits for.
const ATTEMPTS: usize = 5;
/// Bytes of one batch of a delivery.
const BATCH_BYTES: usize = 1 << 20;
/// Records of one batch of a delivery.
const BATCH_RECORDS: usize = 256;

/// Tells the center how the keys followed each other, until it has heard it or `stop`.
pub async fn announce(client: &Client, history: &KeyHistory, stop: &CancellationToken) {
    let mut pause = Backoff::new(RETRY_FIRST, RETRY_LAST);
    let mut said = false;
    loop {
        let request = client
            .http
            .post(format!("{}/gateway/v1/keys", client.enrolled.url))
            .header(CONTENT_TYPE, "application/cbor")
            .timeout(POST_TIMEOUT)
            .body(history.encode());
        let told = async { answer(request.send().await.map_err(CallError::Unreachable)?).await };
        let told = tokio::select! {
            () = stop.cancelled() => return,
            told = told => told,
        };
        let Err(error) = told else { return };
        if !std::mem::replace(&mut said, true) {
            tracing::warn!(
                error = crate::chain(&error),
                "the center has not heard of the gateway's new key yet; trying again, said once"
            );
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause.pause()) => {}
        }
    }
}

/// The time for tokens of a command: the system's, corrected by what the center says of it.
struct Told {
    wall: Wall,
    correction_ms: i64,
}

impl Told {
    fn new() -> Self {
        Self { wall: Wall::system(), correction_ms: 0 }
    }

    fn now(&self) -> CivilTime {
        CivilTime(self.wall.civil().map_or(0, |civil| civil.0).saturating_add(self.correction_ms))
    }

    /// True: worth another attempt at once.
    fn learn(&mut self, error: &CallError) -> bool {
        let CallError::Unauthorized { server_time: Some(server), .. } = error else { return false };
        self.correction_ms += server.0.saturating_sub(self.now().0);
        true
    }
}

/// Everything the center has of the box that this one replaces, from its newest checkpoint on, as it was signed.
pub async fn predecessor(client: &Client) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut told = Told::new();
    let mut records: Vec<Vec<u8>> = Vec::new();
    let (mut bytes, mut attempts) = (0, 0);
    loop {
        let request = client
            .http
            .get(format!("{}/gateway/v1/predecessor?skip={}", client.enrolled.url, records.len()))
            .header(AUTHORIZATION, client.token(told.now()))
            .timeout(POST_TIMEOUT);
        let page = async { answer(request.send().await.map_err(CallError::Unreachable)?).await };
        let page = match page.await {
            Ok(page) => page,
            Err(error) => {
                attempts += 1;
                anyhow::ensure!(
                    attempts < ATTEMPTS,
                    "fetch what the center has of the old box: {}",
                    crate::chain(&error)
                );
                if !told.learn(&error) {
                    tokio::time::sleep(RETRY_FIRST).await;
                }
                continue;
            }
        };
        let page = unpack(&page, PREDECESSOR_RECORDS_MAX).context("the center's records of the old box")?;
        if page.is_empty() {
            return Ok(records);
        }
        bytes += page.iter().map(|record| record.len()).sum::<usize>();
        anyhow::ensure!(
            bytes <= PREDECESSOR_MAX && records.len() + page.len() <= PREDECESSOR_RECORDS_MAX,
            "the center has more than {PREDECESSOR_MAX} bytes of the old box since its last checkpoint"
        );
        records.extend(page.into_iter().map(<[u8]>::to_vec));
    }
}

/// What a delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Records on the disk.
    pub records: u64,
    /// Of those, sent now.
    pub sent: u64,
    /// Of those, not taken.
    pub refused: u64,
}

/// Sends every record of a journal that the center does not have.
pub async fn deliver(client: &Client, journal: &Journal) -> anyhow::Result<Delivered> {
    let mut told = Told::new();
    let mut ledger = Ledger::default();
    let mut delivered = Delivered::default();
    let epochs = journal.epochs();
    // Receipts name the newest epoch, unfinished ones and those just sent: each of ours is asked for with its first record.
    for (epoch, first, last) in epochs {
        delivered.records += last - first + 1;
        let mut from = Position { epoch, seq: first };
        let opening = journal.read(from)?.into_iter().collect();
        let receipt = post(client, &mut told, opening).await?;
        delivered.refused += receipt.refused.len() as u64;
        learn(&mut ledger, &receipt);
        loop {
            let batch = batch(journal, &ledger, epoch, &mut from)?;
            if batch.is_empty() {
                break;
            }
            delivered.sent += batch.len() as u64;
            let receipt = post(client, &mut told, batch).await?;
            delivered.refused += receipt.refused.len() as u64;
            learn(&mut ledger, &receipt);
        }
    }
    Ok(delivered)
}

fn learn(ledger: &mut Ledger, receipt: &Receipt) {
    receipt.epochs.iter().for_each(|epoch| ledger.learn(epoch));
}

/// The next records of an epoch that the center lacks; `from` moves behind them.
fn batch(
    journal: &Journal,
    ledger: &Ledger,
    epoch: u64,
    from: &mut Position,
) -> anyhow::Result<Vec<Vec<u8>>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for stored in journal.scan(*from) {
        let stored = stored?;
        if stored.position.epoch != epoch || batch.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
            break;
        }
        *from = Position { seq: stored.position.seq + 1, ..stored.position };
        if !ledger.has(stored.position) {
            bytes += stored.bytes.len();
            batch.push(stored.bytes);
        }
    }
    Ok(batch)
}

async fn post(client: &Client, told: &mut Told, records: Vec<Vec<u8>>) -> anyhow::Result<Receipt> {
    let mut attempts = 0;
    loop {
        match client.records(told.now(), &records).await {
            Ok(receipt) => return Ok(receipt),
            Err(error) => {
                attempts += 1;
                anyhow::ensure!(
                    attempts < ATTEMPTS,
                    "deliver {} bytes: {}",
                    pack(&records).len(),
                    crate::chain(&error)
                );
                if !told.learn(&error) {
                    tokio::time::sleep(RETRY_FIRST).await;
                }
            }
        }
    }
}
