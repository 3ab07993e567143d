//! The whole system in one thread, in virtual time, with everything going wrong that can: gateways with the daemon's own
//! recorder, journal and uplink on disks in memory, the center's own doors, ingest and database.
//!
//! ```text
//! signals ── recorder, engine, journal on a disk that tears and fills ── uplink ── line ── router, ingest, SQLite
//!     killed, stopped, clock stepped, hints lost                  lost, doubled, late      killed, torn
//! then: I1–I6 (`check`), and a hash of everything that must be the same again
//! ```
//!
//! Promises: the same seed gives the same records, byte for byte. A run that finds something says which seed repeats it.
//! Leaves out: devices and buses (`crate::sim`), orders, TLS and sockets (the tests over real processes), people.

mod check;
mod edge;
mod house;
mod incident;
mod keeper;
mod line;
mod signals;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::CivilTime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::ground::Place;
use edge::{Edge, Happened, Outcome};
use house::House;

/// The first moment: 2026-11-18T00:00:00+08:00.
const BEGIN: CivilTime = CivilTime(1_794_931_200_000);
/// Seconds between two incidents of one gateway, about: in short runs, and in long ones.
const GAP_S: i64 = 90 * 60;
const GAP_LONG_S: i64 = 5 * 3600;
/// Up to so many days a run is short.
const SHORT_DAYS: u64 = 3;

/// A bug put in on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// The center's receipt names records that it has not stored.
    EarlyReceipt,
    /// The gateway's disk says that it has synced, and has not.
    LyingDisk,
}

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Chooses everything.
    pub seed: u64,
    /// Of virtual time.
    pub days: u64,
    /// Gateways at one center, 20 points each.
    pub sites: u64,
    /// The center is now and then restored from an older backup.
    pub restores: bool,
    /// A bug, for a test of the simulation itself.
    pub plant: Option<Plant>,
}

/// What a run saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// SHA-256 over every record at the center and every alert: equal for equal seeds.
    pub hash: String,
    /// Records at the center.
    pub records: u64,
    /// Numbers that a gap record names as gone.
    pub gone: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Conclusions that were computed again from the inputs at the center.
    pub recomputed: u64,
    /// What went wrong on purpose.
    happened: Vec<Happened>,
    center_kills: u64,
    center_restored: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |what: fn(&Happened) -> u64| self.happened.iter().map(what).sum::<u64>();
        write!(
            f,
            "{} records, {} gone and named, {} times named again, {} alerts, {} conclusions computed again; {} kills, {} restarts, {} ended by \
             the disk, {} full disks, {} clock steps, {} kills and {} restores of the center; {} requests, {} lost, {} \
             receipts lost, {} doubled, {} late; {}",
            self.records,
            self.gone,
            sum(|one| one.named_again),
            self.alerts,
            self.recomputed,
            sum(|one| one.kills),
            sum(|one| one.restarts),
            sum(|one| one.failures),
            sum(|one| one.full),
            sum(|one| one.steps),
            self.center_kills,
            self.center_restored,
            sum(|one| one.fates.sent),
            sum(|one| one.fates.lost),
            sum(|one| one.fates.receipts_lost),
            sum(|one| one.fates.doubled),
            sum(|one| one.fates.late),
            &self.hash[..16],
        )
    }
}

/// A gateway with little room gives up what the center has receipted, and later also what said so. Then the center is set
/// back to a backup from before all of that. How many times numbers were named again, and the report.
pub fn given_up_and_set_back() -> anyhow::Result<(u64, Report)> {
    let place = Place::new("given-up");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(Box::pin(give_up(place.path())))
}

async fn give_up(folder: &Path) -> anyhow::Result<(u64, Report)> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let house = Arc::new(House::new(folder.join("center"), BEGIN));
    house.start()?;
    let edge = Edge::new(0, 1, folder, &house, Instant::now(), (None, true))?;
    let mut edge = edge.small(edge::KEEP_SMALL);
    edge.lives(2, 0..180).await?;
    let backup = folder.join("backup");
    house.kill(None)?;
    house.copy_to(&backup)?;
    house.start()?;
    edge.lives(24, 180..360).await?;
    house.kill(None)?;
    house.restore(&backup)?;
    house.start()?;
    let outcome = edge.drain(None).await?;
    let named_again = outcome.happened.named_again;
    let report = judged(&house, &[outcome], (2, 1))?;
    Ok((named_again, report))
}

/// Checks what came of it; `center`: how often it was killed and set back.
fn judged(house: &House, outcomes: &[Outcome], center: (u64, u64)) -> anyhow::Result<Report> {
    let alerts = house.alerts()?;
    house.kill(None)?;
    let mut report = Report {
        hash: String::new(),
        records: 0,
        gone: 0,
        alerts: 0,
        recomputed: 0,
        happened: outcomes.iter().map(|outcome| outcome.happened).collect(),
        center_kills: center.0,
        center_restored: center.1,
    };
    check::all(house.data(), outcomes, &alerts, &mut report)?;
    Ok(report)
}

impl Run {
    /// Simulates it and checks everything at the end. An error says what does not hold.
    pub fn go(self) -> anyhow::Result<Report> {
        let place = Place::new(&format!("system-{}", self.seed));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        // Its futures are large; they are made once.
        runtime.block_on(Box::pin(self.simulate(place.path())))
    }

    async fn simulate(self, folder: &Path) -> anyhow::Result<Report> {
        // There may be one already; it is the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        let begin = Instant::now();
        let end = begin + Duration::from_hours(24 * self.days);
        let gap_s = if self.days <= SHORT_DAYS { GAP_S } else { GAP_LONG_S };
        let house = Arc::new(House::new(folder.join("center"), BEGIN));
        house.start()?;
        let mut edges = JoinSet::new();
        for n in 0..self.sites {
            let edge = Edge::new(n, self.seed, folder, &house, begin, (self.plant, self.restores))?;
            edges.spawn(async move { (n, edge.live(begin, end, gap_s).await) });
        }
        let backups = self.restores.then(|| folder.to_owned());
        let keeping = keeper::keep(Arc::clone(&house), Dice::new(self.seed, 999), end, gap_s * 2, backups);
        let keeping = tokio::spawn(keeping);
        let mut outcomes = Vec::new();
        while let Some(ended) = edges.join_next().await {
            let (n, outcome) = ended?;
            outcomes.push((n, outcome?));
        }
        let (center_kills, center_restored) = keeping.await??;
        outcomes.sort_by_key(|(n, _)| *n);
        let passed = begin.elapsed().as_millis() as i64;
        house.set_clock(CivilTime(BEGIN.0 + passed));
        let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        judged(&house, &outcomes, (center_kills, center_restored))
    }
}
