//! `gateway replay SITE RECORDING`: what the rules of a site file say about what was recorded: a field recording
//! (docs/recording-format.md), a polled history (`firmware-sim history`), a gateway's data directory, or a bundle of evidence.
//!
//! Recordings go through the gateway's own recorder, intake and all, in virtual time, into a journal that is thrown away; so
//! what is said is what this gateway would have said. 0 = done, 3 = not everything could be used, 78 = the site file is wrong.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use gateway_journal::{Journal, Limits};
use gateway_model::{CivilTime, EngineTime, Epoch, StopCause};
use gateway_wire::{KeyRing, Record, SigningKey};
use tokio::sync::mpsc;

use super::backtest::{Lacking, Shown, judge, of_journal, tell};
use super::progress::Progress;
use super::{Ended, INCOMPLETE, journal, load};
use crate::clock::Wall;
use crate::config::Site;
use crate::metrics::Metrics;
use crate::recorder::core::Settings;
use crate::recorder::start::{Heritage, Setup, start};
use crate::recorder::{Civil, URGENT_MAX};
use crate::state::DataDir;
use crate::{field, history};

/// What `gateway replay` is asked.
#[derive(Args)]
pub(super) struct Replay {
    /// The site file.
    site: PathBuf,
    /// A recording, the data directory of a gateway, or a bundle.
    recording: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

pub(super) fn replay(asked: &Replay) -> Ended {
    let site = match load(&asked.site) {
        Ok(site) => site,
        Err(status) => return Ok(status),
    };
    if asked.recording.is_dir() {
        let key = journal::key(&asked.recording)?;
        let (journal, _) = journal::opened(&asked.recording)?;
        return of_journal(&journal, &key, &[Arc::unwrap_or_clone(site.plan)], None, &asked.shown);
    }
    if is_bundle(&asked.recording)? {
        return of_bundle(&site, &asked.recording, &asked.shown);
    }
    of_recording(&site, &asked.recording, &asked.shown)
}

/// A tar archive says so in its first block; a recording begins with a brace, or is compressed.
fn is_bundle(path: &Path) -> anyhow::Result<bool> {
    let mut file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut head = [0; 262];
    let mut length = 0;
    while length < head.len() {
        match file.read(&mut head[length..]).with_context(|| format!("read {}", path.display()))? {
            0 => break,
            n => length += n,
        }
    }
    Ok(head[257..].starts_with(b"ustar"))
}

fn of_bundle(site: &Site, path: &Path, shown: &Shown) -> Ended {
    let bytes = gateway_evidence::read_bundle(path)?;
    let (key, records) =
        gateway_evidence::contents(&bytes).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
    eprintln!("nothing is proven by this: `gateway verify {}` checks the bundle", path.display());
    let mut lacking = Lacking::default();
    let mut progress = Progress::of(records.iter().map(|record| record.len() as u64).sum());
    let mut opened: Vec<Record> = Vec::new();
    for record in records {
        progress.add(record.len() as u64);
        opened.extend(lacking.open(&key, record));
    }
    let times = opened.iter().map(|record| (record.header.t0, record.header.t1));
    let window = times.reduce(|(from, to), (t0, t1)| (from.min(t0), to.max(t1)));
    let window = window.with_context(|| format!("{} holds no record that can be read", path.display()))?;
    let plans = [gateway_model::Plan::clone(&site.plan)];
    let found = judge(opened.into_iter(), &plans, window, shown)?;
    drop(progress);
    tell(&plans, &found, &lacking, shown)
}

/// Records a recording anew and judges the journal that comes of it.
fn of_recording(site: &Site, path: &Path, shown: &Shown) -> Ended {
    let folder = Folder::new()?;
    let (key, complete) = record(site, path, &folder.0)?;
    let (journal, _) = Journal::open_read_only(&folder.0.join("journal"))?;
    let status = of_journal(&journal, &key, std::slice::from_ref(&*site.plan), None, shown)?;
    Ok(if complete { status } else { status.max(INCOMPLETE) })
}

/// Fills a journal; true if everything in the recording was used.
fn record(site: &Site, path: &Path, folder: &Path) -> anyhow::Result<(KeyRing, bool)> {
    let version = field::version(path)?;
    let from = match version {
        1 => history::head(path)?.from,
        _ => field::head(path)?.from,
    };
    let data = DataDir::open(folder)?;
    let (civil, metrics) = (Civil::default(), Metrics::default());
    let (urgent, mut told) = mpsc::channel(URGENT_MAX);
    // Nobody is told.
    told.close();
    let key: SigningKey = data.key()?;
    let ring = KeyRing::from(key.verifying_key());
    let setup = Setup {
        journal: data.journal(),
        limits: Limits {
            ring_bytes: site.journal.ring_bytes,
            keep_bytes: site.journal.keep_bytes,
            segment_bytes: site.journal.segment_bytes,
        },
        key,
        plan: Arc::clone(&site.plan),
        epoch_floor: Epoch(0),
        heritage: Heritage::default(),
        from: Some(CivilTime(from)),
        checkpoint: data.position("checkpoint"),
        settings: Settings {
            seal_every_ms: crate::run::HISTORY_SEAL_MS,
            wall: Wall::demo_from(CivilTime(from), 0.0),
            civil: civil.clone(),
            metrics: metrics.clone(),
            urgent,
        },
    };
    let (mut core, _) = start(setup)?;
    let mut complete = true;
    if version == 1 {
        history::feed(&mut core, site, path, &civil, &metrics)?;
    } else {
        let mut progress = Progress::of(std::fs::metadata(path).map_or(0, |data| data.len()));
        let fed = field::feed(&mut core, site, path, &civil, &metrics, |bytes| progress.add(bytes as u64))?;
        drop(progress);
        eprintln!(
            "{} exchanges and messages used, {} are of no point of this site file, {} are missing in the recording",
            fed.used, fed.unasked, fed.lost
        );
        if !site.streams.is_empty() {
            eprintln!("weighing indicators are not replayed: what they say depends on when they stand still");
        }
        complete = fed.lost == 0 && site.streams.is_empty();
    }
    let now: EngineTime = core.now();
    core.stop(now, StopCause::Asked)?;
    Ok((ring, complete))
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).context("ask the system for random bytes")?;
        let path = std::env::temp_dir().join(format!("nonsite-replay-{}", gateway_wire::hex(&name)));
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}
