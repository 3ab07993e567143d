//! What others may ask of the recorder: records from the journal, and the state.

use std::sync::Arc;

use gateway_journal::Position;
use gateway_model::{ModuleIx, PointIx};
use gateway_wire::Body;

use super::core::Core;
use super::{Ask, Snapshot};

impl Core {
    /// Answers a question. Whoever asked may have gone away.
    pub fn answer(&self, ask: Ask) {
        match ask {
            Ask::Read { from, bytes_max, reply } => {
                let mut size = 0;
                let mut records = Vec::new();
                for stored in self.journal.scan(from).filter_map(Result::ok) {
                    if !records.is_empty() && size + stored.bytes.len() > bytes_max {
                        break;
                    }
                    size += stored.bytes.len();
                    records.push((stored.position, stored.bytes));
                    if size >= bytes_max {
                        break;
                    }
                }
                let _sent = reply.send(records);
            }
            Ask::Get { position, reply } => {
                let _sent = reply.send(self.journal.read(position).ok().flatten());
            }
            Ask::Epochs(reply) => {
                let _sent = reply.send(self.journal.epochs());
            }
            Ask::Before(reply) => {
                let _sent = reply.send(self.before_oldest());
            }
            Ask::Snapshot(reply) => {
                let _sent = reply.send(self.snapshot());
            }
        }
    }

    fn before_oldest(&self) -> Option<Position> {
        let (epoch, ..) = *self.journal.epochs().first()?;
        let bytes = self.journal.read(Position { epoch, seq: 0 }).ok().flatten()?;
        match self.ring.open(&bytes).ok()?.body.ok()? {
            Body::Start(start) => start.previous.map(|(epoch, seq)| Position { epoch: epoch.0, seq: seq.0 }),
            Body::Config(_)
            | Body::Inputs(_)
            | Body::Conclusions(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => None,
        }
    }

    /// The state for pages and metrics.
    pub fn snapshot(&self) -> Snapshot {
        let plan = Arc::clone(&self.plan);
        Snapshot {
            epoch: self.epoch.0,
            generation: self.generation,
            last: self.journal.last(),
            now: self.engine.now(),
            alerts: self.engine.alerts(),
            points: (0..plan.points.len()).map(|ix| self.engine.last(PointIx::of(ix))).collect(),
            answering: (0..plan.points.len()).map(|ix| self.intake.answering(PointIx::of(ix))).collect(),
            cycles: (0..plan.modules.len()).map(|ix| self.engine.cycle_running(ModuleIx::of(ix))).collect(),
            bytes: self.journal.bytes(),
            refusing: self.full.is_some(),
            plan,
        }
    }
}
