//! `gateway journal export`: a bundle of evidence for a span of time, also while the gateway runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use gateway_evidence::{Contents, Dates, Entry, Selection, bundle, select, tells_of_instruments};
use gateway_journal::{Class, Journal, Position};
use gateway_model::{CivilTime, ClockInput, EngineTime, Epoch, Input, Seq};
use gateway_wire::{Body, Joiner, KeyRing, Maker, Parted, PartedKind, peek};

use super::{Ended, GOOD, INCOMPLETE, journal, say};
use crate::recorder::start::software;
use crate::state::{enrolled_at, keys_at};

/// What `gateway journal export` is asked.
#[derive(Args)]
pub(super) struct Export {
    /// The data directory (with the key) of a gateway.
    dir: PathBuf,
    /// From when: `2026-11-20T08:00:00+08:00`, a day or time at the site, or ms since 1970. Default: the beginning.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// To when. Default: the end.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Placement and calibration of devices (docs/records.md §9); default: `devices.toml` in the data directory.
    #[arg(long, value_name = "FILE")]
    devices: Option<PathBuf>,
    /// Where packs of other releases lie; may be given more than once.
    #[arg(long, value_name = "DIR")]
    packs: Vec<PathBuf>,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Positions and what is needed to choose among them.
pub(super) struct Index {
    positions: Vec<Position>,
    entries: Vec<Entry>,
    /// What was said of civil time, in the order in which it holds.
    clocks: Dates,
    pub(super) utc_offset_min: i16,
    /// Records that tell of instruments, each behind the config it names.
    instruments: Vec<Position>,
}

pub(super) fn export(asked: &Export) -> Ended {
    let key = journal::signing_key(&asked.dir)?;
    let ring = journal::key(&asked.dir)?;
    let (journal, _) = Journal::open_read_only(&journal::place(&asked.dir))?;
    let index = index(&journal, &ring)?;
    let engine = |text: &Option<String>, default: EngineTime| {
        text.as_ref().map_or(Ok(default), |text| index.engine(civil(text, index.utc_offset_min)?))
    };
    let window = (engine(&asked.from, EngineTime(i64::MIN))?, engine(&asked.to, EngineTime(i64::MAX))?);
    let Selection { places, spans, window } = select(&index.entries, window);
    let mut records = Vec::with_capacity(places.len());
    for place in &places {
        let position = index.positions[*place];
        let bytes = journal.read(position)?;
        records.push(bytes.with_context(|| format!("record {position} went away meanwhile; try again"))?);
    }
    let history = keys_at(&journal::root(&asked.dir)?)?.map(|(_, history)| history);
    let instruments = index.instruments.iter().map(|at| {
        let bytes = journal.read(*at)?;
        bytes.with_context(|| {
            format!("record {at}, which tells of an instrument, went away meanwhile; try again")
        })
    });
    let instruments: Vec<Vec<u8>> = instruments.collect::<anyhow::Result<_>>()?;
    let packs = gateway_evidence::packs(&asked.packs).context("read the packs")?;
    let devices = devices(asked)?;
    let enrolled = enrolled_at(&asked.dir)?;
    let made = bundle(
        &Contents {
            ring,
            history: history.as_ref(),
            records: records.iter().map(Vec::as_slice).collect(),
            spans,
            window,
            packs: packs.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice())).collect(),
            enrolment: enrolled.as_ref().map(|enrolled| (enrolled.center, enrolled.statement.as_slice())),
            attachments: Vec::new(),
            erased_attachments: Vec::new(),
            device_records: instruments.iter().map(Vec::as_slice).collect(),
            devices: devices.as_deref(),
            received: Vec::new(),
            erased: Vec::new(),
            case: None,
            maker: Maker::Gateway,
            made_at: crate::clock::Wall::system().civil(),
            software: &software(),
        },
        &key,
    )?;
    std::fs::write(&asked.output, &made.bytes)
        .with_context(|| format!("write {}", asked.output.display()))?;
    say(&serde_json::json!({
        "file": asked.output, "bytes": made.bytes.len(), "records": records.len(), "missing_packs": made.missing_packs,
        "devices": devices.is_some() || !instruments.is_empty(), "enrolled": enrolled.is_some(),
    }))?;
    let mut hints = String::new();
    for pack in &made.missing_packs {
        writeln!(hints, "pack {pack} is not in this release: name its folder with --packs")?;
    }
    if devices.is_none() && instruments.is_empty() {
        writeln!(
            hints,
            "placement and calibration are missing: `gateway device` records them, or name a file with --devices"
        )?;
    }
    eprint!("{hints}");
    Ok(if hints.is_empty() { GOOD } else { INCOMPLETE })
}

pub(super) fn index(journal: &Journal, key: &KeyRing) -> anyhow::Result<Index> {
    let mut index = Index {
        positions: vec![],
        entries: vec![],
        clocks: Dates::default(),
        utc_offset_min: 0,
        instruments: vec![],
    };
    let mut joiner = Joiner::default();
    // The last config in parts: its head, and the seq of its last part.
    let mut config: Option<(Position, u64)> = None;
    for stored in journal.scan(Position::default()) {
        let Ok(stored) = stored else { continue };
        let (header, kind) = peek(&stored.bytes).with_context(|| format!("record {}", stored.position))?;
        // Whatever says something of civil time is kept, so nothing else has to be read here.
        if stored.class == Class::Keep
            && let Ok(opened) = key.open(&stored.bytes)
        {
            let opened = joiner.opened(opened);
            if opened.body.as_ref().is_ok_and(tells_of_instruments) {
                let last = config.filter(|(first, _)| first.epoch == header.epoch.0);
                let last = last.map_or(header.config.0, |(_, last)| last);
                let config = (header.config.0..=last).map(|seq| Position { epoch: header.epoch.0, seq });
                index.instruments.extend(config.chain([stored.position]));
            }
            match opened.body {
                Ok(Body::Parted(Parted { of: PartedKind::Config, head })) => {
                    config = Some((stored.position, stored.position.seq + u64::from(head.parts)));
                }
                Ok(Body::Inputs(inputs)) => {
                    inputs.items.iter().for_each(|input| index.learn(header.epoch, input));
                }
                Ok(Body::Config(config)) => index.utc_offset_min = config.plan.utc_offset_min,
                Ok(
                    Body::Start(_)
                    | Body::Conclusions(_)
                    | Body::Checkpoint(_)
                    | Body::Gap(_)
                    | Body::Parted(_)
                    | Body::Part(_),
                )
                | Err(_) => {}
            }
        }
        index.positions.push(stored.position);
        index.entries.push(Entry { cursor: header.cursor(), kind, t0: header.t0, t1: header.t1 });
    }
    Ok(index)
}

impl Index {
    fn learn(&mut self, epoch: Epoch, input: &Input) {
        let Input::Clock(ClockInput { at, offset_ms, error_ms: Some(_), since, .. }) = input else { return };
        let from = |seq: Seq| {
            let entry =
                self.entries.iter().find(|entry| entry.cursor.epoch == epoch && entry.cursor.seq == seq);
            entry.map_or(*at, |entry| entry.t0)
        };
        let from = since.map_or(*at, from);
        self.clocks.learn(from, *offset_ms);
    }

    /// The engine time at which it was so late.
    pub(super) fn engine(&self, civil: CivilTime) -> anyhow::Result<EngineTime> {
        self.clocks.engine(civil).context("no record says what the civil time was: leave out --from and --to")
    }
}

/// A moment as a person writes it; without a zone it is the site's.
pub(super) fn civil(text: &str, utc_offset_min: i16) -> anyhow::Result<CivilTime> {
    gateway_evidence::civil(text, utc_offset_min).map_err(anyhow::Error::msg)
}

fn devices(asked: &Export) -> anyhow::Result<Option<String>> {
    let path = match &asked.devices {
        Some(path) => path.clone(),
        None => asked.dir.join("devices.toml"),
    };
    if asked.devices.is_none() && !path.exists() {
        return Ok(None);
    }
    let text = String::from_utf8(read(&path)?).with_context(|| format!("read {}", path.display()))?;
    gateway_evidence::check_devices(&text).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
    Ok(Some(text))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}
