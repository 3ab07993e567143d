//! Plans of config records, decoded once and shared; and the bytes of records from segments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use gateway_model::Plan;
use gateway_wire::{Body, KeyRing};

use crate::segments;
use crate::store::records::RecordRow;

/// Plans kept decoded; when full, all are forgotten and read again as needed.
const PLANS_MAX: usize = 1_024;

type PlanKey = (String, i64, i64);

/// The cache.
#[derive(Debug)]
pub struct Plans {
    segments: PathBuf,
    known: Mutex<BTreeMap<PlanKey, Arc<Plan>>>,
}

impl Plans {
    /// Reads from these segments.
    pub fn new(segments: PathBuf) -> Self {
        Self { segments, known: Mutex::default() }
    }

    /// The plan in this config record, if it has been seen since the start.
    pub fn known(&self, gateway: &str, epoch: i64, seq: i64) -> Option<Arc<Plan>> {
        self.lock().get(&(gateway.to_owned(), epoch, seq)).cloned()
    }

    /// Remembers a plan.
    pub fn keep(&self, gateway: &str, epoch: i64, seq: i64, plan: Arc<Plan>) {
        let mut known = self.lock();
        if known.len() >= PLANS_MAX {
            known.clear();
        }
        known.insert((gateway.to_owned(), epoch, seq), plan);
    }

    /// The plan in this config record.
    pub async fn of(&self, row: &RecordRow, ring: &KeyRing) -> anyhow::Result<Arc<Plan>> {
        if let Some(plan) = self.known(&row.gateway, row.epoch, row.seq) {
            return Ok(plan);
        }
        let Body::Config(config) = self.body(row, ring).await? else {
            bail!("record {}/{} of {} holds no config", row.epoch, row.seq, row.gateway);
        };
        let plan = Arc::new(config.plan);
        self.keep(&row.gateway, row.epoch, row.seq, Arc::clone(&plan));
        Ok(plan)
    }

    /// What a stored record says. Its signature is checked again: the segment is a file, and files rot.
    pub async fn body(&self, row: &RecordRow, ring: &KeyRing) -> anyhow::Result<Body> {
        let mut bodies = self.bodies(vec![row.clone()], ring).await?;
        bodies.pop().context("one record was asked for")
    }

    /// What stored records say, in the order asked for.
    pub async fn bodies(&self, rows: Vec<RecordRow>, ring: &KeyRing) -> anyhow::Result<Vec<Body>> {
        let directory = self.segments.clone();
        let ring = ring.clone();
        let read = move || {
            rows.iter()
                .map(|row| {
                    let place = || format!("record {}/{} of {}", row.epoch, row.seq, row.gateway);
                    let bytes = segments::read(&directory, row.place).with_context(place)?;
                    ensure!(
                        gateway_wire::hash(&bytes) == row.hash,
                        "{}: bytes differ from the index",
                        place()
                    );
                    let opened = ring.open(&bytes).with_context(place)?;
                    opened.body.map_err(|not| anyhow::anyhow!("{}: not understood: {not:?}", place()))
                })
                .collect()
        };
        tokio::task::spawn_blocking(read).await.context("reading of segments ended early")?
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PlanKey, Arc<Plan>>> {
        // Nothing panics while it is held; if it did, the map would still be consistent.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
