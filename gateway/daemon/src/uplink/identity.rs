//! What goes between gateway and center when keys or boxes change.
//!
//! - A gateway that signs with another key than its first tells the center who said so, until the center has heard it.
//! - A box that replaces another fetches what the center has of it: [`predecessor`].
//! - The disk of a box that was replaced is delivered by whoever has it in hand: [`deliver`].
//!
//! Everything here is checked again by whoever receives it; nothing is in the way of records.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use gateway_journal::{Journal, Position};
use gateway_model::CivilTime;
use gateway_wire::{EpochReceipt, KeyHistory, Survey, SurveyRequest, unpack};
use tokio_util::sync::CancellationToken;

use super::client::{CallError, Client};
use super::ledger::{self, Ledger, Own};
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

/// Tells the center how the keys followed each other, until it has heard it, does not believe it, or `stop`. What it does not
/// believe now it will not believe in a minute either: then records are tried all the same, and whoever looks sees why they
/// stay here.
pub async fn announce(client: &Client, history: &KeyHistory, stop: &CancellationToken) {
    let mut pause = Backoff::new(RETRY_FIRST, RETRY_LAST);
    let mut said = false;
    loop {
        let told = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            told = client.keys(history) => told,
        };
        let Err(error) = told else { return };
        if matches!(&error, CallError::Refused { status, .. } if status.is_client_error()) {
            tracing::error!(
                error = crate::chain(&error),
                "the center does not take this gateway's keys: its records stay here. Give the box a data directory of its \
                 own and enrol it with `gateway enrol --replaces`, then deliver this one with `gateway journal deliver`"
            );
            return;
        }
        if !std::mem::replace(&mut said, true) {
            tracing::warn!(
                error = crate::chain(&error),
                "the center has not heard of the gateway's new key yet; trying again, said once"
            );
        }
        tokio::select! {
            biased;
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

    /// After a failed attempt at `what`: waits for the next one, or gives up.
    async fn again(&mut self, error: &CallError, attempts: &mut usize, what: &str) -> anyhow::Result<()> {
        *attempts += 1;
        anyhow::ensure!(*attempts < ATTEMPTS, "{what}: {}", crate::chain(error));
        if !self.learn(error) {
            tokio::time::sleep(RETRY_FIRST).await;
        }
        Ok(())
    }
}

/// Everything the center has of the box that this one replaces, from its newest checkpoint on, as it was signed.
pub async fn predecessor(client: &Client) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut told = Told::new();
    let mut records: Vec<Vec<u8>> = Vec::new();
    let (mut bytes, mut attempts) = (0, 0);
    loop {
        let page = match client.predecessor(told.now(), records.len()).await {
            Ok(page) => page,
            Err(error) => {
                told.again(&error, &mut attempts, "fetch what the center has of the old box").await?;
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

/// Sends every record of a journal that the center does not have, in sessions of its own. Records of an epoch in which the
/// center has others go beside the chain.
pub async fn deliver(client: &Client, journal: &Journal) -> anyhow::Result<Delivered> {
    let mut delivery = Delivery {
        client: client.clone().delivering(),
        journal,
        told: Told::new(),
        ledger: Ledger::default(),
        session: 0,
    };
    let mut delivered = Delivered::default();
    delivery.compare().await?;
    for (epoch, first, last) in journal.epochs() {
        delivered.records += last - first + 1;
        let mut from = Position { epoch, seq: first };
        loop {
            let (positions, batch) = delivery.batch(epoch, &mut from)?;
            if batch.is_empty() {
                break;
            }
            delivered.sent += batch.len() as u64;
            delivered.refused += delivery.send(&positions, &batch).await?;
        }
    }
    Ok(delivered)
}

/// One delivery under way.
struct Delivery<'a> {
    client: Client,
    journal: &'a Journal,
    told: Told,
    ledger: Ledger,
    session: u64,
}

impl Delivery<'_> {
    /// A session begins with what both ends hold.
    async fn compare(&mut self) -> anyhow::Result<()> {
        self.ledger.forget();
        let epochs = self.journal.epochs();
        let mut asked = ledger::question(&epochs, None, None);
        loop {
            let survey = self.survey(&asked).await?;
            self.learn(&survey.epochs)?;
            self.session = survey.session;
            let Some(next) = ledger::next_page(&asked, &survey) else { return Ok(()) };
            asked = ledger::question(&epochs, Some(survey.session), Some(next));
        }
    }

    async fn survey(&mut self, asked: &SurveyRequest) -> anyhow::Result<Survey> {
        let mut attempts = 0;
        loop {
            match self.client.survey(self.told.now(), asked).await {
                Ok(survey) => return Ok(survey),
                Err(error) => self.told.again(&error, &mut attempts, "compare with the center").await?,
            }
        }
    }

    /// Nothing is being written: what the center has beyond the end of this disk was lost here.
    fn learn(&mut self, receipts: &[EpochReceipt]) -> anyhow::Result<()> {
        let epochs = self.journal.epochs();
        for receipt in receipts {
            let mut hashes = BTreeMap::new();
            for (seq, _) in receipt.ends.iter().flatten() {
                let position = Position { epoch: receipt.epoch.0, seq: seq.0 };
                let own = self.journal.read(position)?;
                hashes.extend(own.map(|bytes| (position, gateway_wire::hash(&bytes))));
            }
            self.ledger.learn(receipt, Own { epochs: &epochs, hashes: &hashes, writing: false });
        }
        Ok(())
    }

    /// The next records of an epoch that the center lacks; `from` moves behind them.
    fn batch(&self, epoch: u64, from: &mut Position) -> anyhow::Result<(Vec<Position>, Vec<Vec<u8>>)> {
        let (mut positions, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
        for stored in self.journal.scan(*from) {
            let stored = stored?;
            if stored.position.epoch != epoch || batch.len() >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                break;
            }
            *from = Position { seq: stored.position.seq + 1, ..stored.position };
            if !self.ledger.has(stored.position) {
                bytes += stored.bytes.len();
                positions.push(stored.position);
                batch.push(stored.bytes);
            }
        }
        Ok((positions, batch))
    }

    /// How many of them were refused.
    async fn send(&mut self, positions: &[Position], batch: &[Vec<u8>]) -> anyhow::Result<u64> {
        let what = format!("deliver {} records", batch.len());
        let mut attempts = 0;
        loop {
            let aside = positions.first().is_some_and(|first| self.ledger.is_branch(first.epoch));
            match self.client.records(self.told.now(), self.session, aside, batch).await {
                Ok(receipt) => {
                    self.learn(&receipt.epochs)?;
                    if let Some(last) = positions.last().filter(|_| aside) {
                        self.ledger.kept_aside(*last);
                    }
                    return Ok(receipt.refused.len() as u64);
                }
                Err(error) => {
                    self.told.again(&error, &mut attempts, &what).await?;
                    if matches!(error, CallError::Ended) {
                        self.compare().await?;
                    }
                }
            }
        }
    }
}
