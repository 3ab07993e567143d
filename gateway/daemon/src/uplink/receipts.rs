//! What the sending half makes of receipts: what the center has, what it wants again, what it will not take.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_journal::Position;
use gateway_model::{Epoch, Gap, GapCause, Seq};
use gateway_wire::{EpochReceipt, Receipt, hash};

use super::ledger::Own;
use super::sender::{Sender, Sent};
use crate::clock;
use crate::recorder::{Event, Refused};

/// Records that the center asks for again, per receipt.
const WANTS_MAX: usize = 256;
/// A record refused so often is not sent again.
const REFUSED_MAX: u32 = 2;
/// Refusals that mean the bytes themselves are damaged.
const CORRUPT_CODES: [&str; 3] = ["bad_signature", "malformed", "structure"];
/// The center keeps no more of a branch: the rest stays here.
const ASIDE_FULL: &str = "aside_full";

impl Sender {
    /// Conclusions that the center has wait no longer.
    pub(super) fn forget_receipted(&mut self) {
        let (ledger, heard, metrics) = (&self.ledger, &mut self.heard, &self.metrics);
        self.waiting.retain(|urgent| {
            let place = urgent.conclusions;
            let done = ledger.has(place) || ledger.is_branch(place.epoch);
            if let Some(since) = done.then(|| heard.remove(&place)).flatten() {
                metrics.receipt_after(clock::since(since));
            }
            !done
        });
    }

    /// A full recorder can do without it: the next answer tells the time again.
    pub(super) fn tell_time(&self, civil: gateway_model::CivilTime, took: Duration) -> Result<(), Refused> {
        let error_ms = i64::try_from(took.as_millis() / 2).unwrap_or(i64::MAX);
        self.tell(Event::ServerTime { civil, error_ms })
    }

    fn tell(&self, event: Event) -> Result<(), Refused> {
        match self.doors.inputs.try_send(event) {
            Err(Refused::Stopped) => Err(Refused::Stopped),
            Ok(()) | Err(Refused::Full) => Ok(()),
        }
    }

    /// Takes what the center says of epochs to heart, after comparing it with what the journal has.
    pub(super) async fn learn(
        &mut self,
        receipts: &[EpochReceipt],
        sent: &BTreeMap<Position, &Vec<u8>>,
        epochs: &[(u64, u64, u64)],
    ) -> Result<(), Refused> {
        for receipt in receipts {
            let epoch = receipt.epoch.0;
            let mut hashes = BTreeMap::new();
            for (seq, _) in receipt.ends.iter().flatten() {
                let position = Position { epoch, seq: seq.0 };
                let own = match sent.get(&position) {
                    Some(bytes) => Some(hash(bytes)),
                    None => self.doors.asks.get(position).await?.as_deref().map(hash),
                };
                hashes.extend(own.map(|own| (position, own)));
            }
            if self.ledger.learn(receipt, Own { epochs, hashes: &hashes, writing: true }) {
                tracing::error!(epoch, "the center has other records of this epoch than the journal");
                self.metrics.uplink("branch");
                // Where it was left, if this is not the first session that finds it.
                if let Some(position) = self.aside.load().filter(|position| position.epoch >= epoch) {
                    let seq = if position.epoch == epoch { position.seq } else { u64::MAX - 1 };
                    self.ledger.kept_aside(Position { epoch, seq });
                }
            }
        }
        Ok(())
    }

    /// Takes a receipt to heart. True: the center took nothing of what was sent; sending more of it is no use now.
    pub(super) async fn receipted(&mut self, receipt: &Receipt, sent: &Sent) -> Result<bool, Refused> {
        self.metrics.uplink("ok");
        self.answered();
        self.asked_at = Some(clock::instant());
        self.tell_time(receipt.server_time, sent.took)?;
        self.compared = false;
        let positions = &sent.positions;
        let epochs = self.doors.asks.epochs().await?;
        let bytes = positions.iter().copied().zip(&sent.records).collect();
        self.learn(&receipt.epochs, &bytes, &epochs).await?;
        self.forget_receipted();
        let wants = receipt
            .wants
            .iter()
            .flat_map(|(epoch, from, to)| (from.0..=to.0).map(|seq| Position { epoch: epoch.0, seq }))
            .take(WANTS_MAX);
        // Asked for again right after it was sent: sending it a third time at once would not help.
        self.wants = wants.filter(|wanted| !positions.contains(wanted)).collect();
        let mut full = false;
        for refused in &receipt.refused {
            // No epoch is 0: a record whose header could not be read is named by its place in the batch.
            let position = match refused.epoch.0 {
                0 => positions.get(refused.seq.0 as usize).copied(),
                epoch => Some(Position { epoch, seq: refused.seq.0 }),
            };
            full |= refused.code == ASIDE_FULL;
            let Some(position) = position else { continue };
            self.refuse(position, &refused.code).await?;
        }
        if let Some(last) = positions.last().filter(|_| sent.aside) {
            self.kept(*last, full);
        }
        self.tell_through().await?;
        let taken = positions.iter().any(|position| self.ledger.has(*position));
        Ok(!positions.is_empty() && !taken)
    }

    /// The center keeps records of a branch, beside the chain.
    fn kept(&mut self, last: Position, full: bool) {
        let position = if full {
            tracing::error!(
                epoch = last.epoch,
                "the center keeps no more records beside the chain: the rest stays in the journal here"
            );
            Position { seq: u64::MAX - 1, ..last }
        } else {
            last
        };
        self.ledger.kept_aside(position);
        if let Err(error) = self.aside.store(position) {
            tracing::warn!(error = crate::chain(&error), "cannot note how far a branch was sent");
        }
    }

    /// How far everything is receipted: for the page, the recorder and the next life.
    pub(super) async fn tell_through(&mut self) -> Result<(), Refused> {
        let epochs = self.doors.asks.epochs().await?;
        let through = self.ledger.through(&epochs);
        self.status.set_receipted(through);
        // What the center has may give way here. A full recorder is told with the next receipt.
        if let Some(through) = through {
            self.tell(Event::Receipted(through))?;
        }
        if let Some(position) = through.filter(|position| Some(*position) != self.stored) {
            match self.cursor.store(position) {
                Ok(()) => self.stored = Some(position),
                Err(error) => tracing::warn!(
                    error = crate::chain(&error),
                    "cannot note how far the center has receipted"
                ),
            }
        }
        Ok(())
    }

    async fn refuse(&mut self, position: Position, code: &str) -> Result<(), Refused> {
        self.metrics.uplink("record_refused");
        let times = self.refused.entry(position).or_insert(0);
        *times += 1;
        if *times == 1 {
            tracing::error!(%position, code, "the center refuses a record; it is read from disk and sent once more");
        }
        if *times < REFUSED_MAX || self.ledger.has(position) {
            return Ok(());
        }
        if CORRUPT_CODES.contains(&code) && self.ledger.set_aside(position) {
            self.refused.remove(&position);
            let at = self.time.clock.now();
            let records = Some((Epoch(position.epoch), Seq(position.seq), Seq(position.seq)));
            let gap = Gap { point: None, from: at, to: at, count: 0, cause: GapCause::Corrupt, records };
            self.doors.inputs.send(Event::Lost(gap)).await?;
        }
        Ok(())
    }
}
