//! Plans of config records, decoded once and shared; and the bytes of records from segments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use gateway_model::Plan;
use gateway_wire::{Body, Joiner, KeyRing, Opened};

use crate::segments;
use crate::store::Store;
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

    /// The plan in this config record, which may go on in parts.
    pub async fn of(&self, store: &Store, row: &RecordRow, ring: &KeyRing) -> anyhow::Result<Arc<Plan>> {
        match self.known(&row.gateway, row.epoch, row.seq) {
            Some(plan) => Ok(plan),
            None => self.of_rows(store.whole(row).await?, ring).await,
        }
    }

    /// The plan that a gateway showed last; `None` = it is not enrolled here, or none is here yet.
    pub async fn newest(&self, store: &Store, gateway: &str) -> anyhow::Result<Option<Arc<Plan>>> {
        let Some(config) = store.config_at(gateway, i64::MAX).await? else { return Ok(None) };
        // Its keys are only needed to read it.
        if let Some(plan) = self.known(&config.gateway, config.epoch, config.seq) {
            return Ok(Some(plan));
        }
        let Some(enrolled) = store.enrolled(gateway).await? else { return Ok(None) };
        self.of(store, &config, &enrolled.ring).await.map(Some)
    }

    /// The same, of the rows of a config record and its parts.
    pub async fn of_rows(&self, rows: Vec<RecordRow>, ring: &KeyRing) -> anyhow::Result<Arc<Plan>> {
        let first = rows.first().context("no config record")?.clone();
        if let Some(plan) = self.known(&first.gateway, first.epoch, first.seq) {
            return Ok(plan);
        }
        let Some(Body::Config(config)) = self.whole(rows, ring).await? else {
            bail!("record {}/{} of {} holds no config", first.epoch, first.seq, first.gateway);
        };
        let plan = Arc::new(config.plan);
        self.keep(&first.gateway, first.epoch, first.seq, Arc::clone(&plan));
        Ok(plan)
    }

    /// What a record and those directly behind it say, put together; `None` = parts are missing.
    pub async fn whole(&self, rows: Vec<RecordRow>, ring: &KeyRing) -> anyhow::Result<Option<Body>> {
        let first = rows.first().context("no record")?.clone();
        let body = self.body(&first, ring).await?;
        let Body::Parted(parted) = &body else { return Ok(Some(body)) };
        let parts = u64::from(parted.head.parts);
        let next = |(row, n): &(&RecordRow, i64)| row.seq == first.seq + n;
        let rows: Vec<_> = rows
            .iter()
            .zip(0..)
            .take_while(next)
            .map(|(row, _)| row.clone())
            .take(parts as usize + 1)
            .collect();
        if (rows.len() as u64) <= parts {
            return Ok(None);
        }
        let read = self.opened(rows, ring).await?;
        let join = move || {
            let mut joiner = Joiner::default();
            let mut last = None;
            for opened in read {
                last = Some(joiner.opened(opened).body);
            }
            last.transpose()
        };
        let body = tokio::task::spawn_blocking(join).await.context("reading of segments ended early")?;
        body.with_context(|| {
            format!("record {}/{} of {} and its parts", first.epoch, first.seq, first.gateway)
        })
    }

    /// What a stored record says. Its signature is checked again: the segment is a file, and files rot.
    pub async fn body(&self, row: &RecordRow, ring: &KeyRing) -> anyhow::Result<Body> {
        let mut bodies = self.bodies(vec![row.clone()], ring).await?;
        bodies.pop().context("one record was asked for")
    }

    /// What stored records say, in the order asked for.
    pub async fn bodies(&self, rows: Vec<RecordRow>, ring: &KeyRing) -> anyhow::Result<Vec<Body>> {
        let opened = self.opened(rows, ring).await?;
        let said = |opened: Opened| {
            let at = opened.header.cursor();
            opened.body.with_context(|| format!("record {at} of {}", opened.header.gateway))
        };
        opened.into_iter().map(said).collect()
    }

    /// Stored records, in the order asked for; what goes on in parts is not put together.
    pub async fn opened(&self, rows: Vec<RecordRow>, ring: &KeyRing) -> anyhow::Result<Vec<Opened>> {
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
                    ring.open(&bytes).with_context(place)
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
