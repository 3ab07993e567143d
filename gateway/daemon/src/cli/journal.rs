//! `gateway journal stat` and `dump`: look into a journal without touching it, also while a gateway runs. `fsck.rs`
//! reads all of it and judges it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gateway_journal::{Class, Journal, Position, Stored};
use gateway_model::{ClockInput, Conclusion, ConclusionBody, EngineTime, Input};
use gateway_wire::{Body, Header, Joiner, KeyRing, Kind, SigningKey, hash, hex, peek};
use serde_json::{Value, json};

use super::{Ended, GOOD, WRONG, say};
use crate::state::{key_at, keys_at};

/// The journal of a data directory, or the directory itself.
pub(super) fn place(dir: &Path) -> PathBuf {
    let inner = dir.join("journal");
    if inner.is_dir() { inner } else { dir.to_owned() }
}

/// The public keys of the gateway whose data directory this is.
pub(super) fn key(dir: &Path) -> anyhow::Result<KeyRing> {
    let root = root(dir)?;
    Ok(match keys_at(&root)? {
        Some((ring, _)) => ring,
        None => KeyRing::from(key_at(&root)?.verifying_key()),
    })
}

/// The secret key that signs now.
pub(super) fn signing_key(dir: &Path) -> anyhow::Result<SigningKey> {
    Ok(key_at(&root(dir)?)?)
}

/// The data directory: what was named, or what the named journal lies in.
pub(super) fn root(dir: &Path) -> anyhow::Result<PathBuf> {
    let found = [dir.to_owned(), dir.join("..")].into_iter().find(|root| root.join("key").exists());
    found.with_context(|| format!("{} holds no key: name the data directory of a gateway", dir.display()))
}

/// Opened for reading; says so where there is none.
pub(super) fn opened(dir: &Path) -> anyhow::Result<(Journal, gateway_journal::Opened)> {
    let place = place(dir);
    anyhow::ensure!(
        place.join("ring").is_dir() && place.join("keep").is_dir(),
        "{} holds no journal: name the data directory of a gateway",
        dir.display()
    );
    Ok(Journal::open_read_only(&place)?)
}

/// What stands in a set.
#[derive(Default)]
struct Set {
    records: u64,
    bytes: u64,
    times: Option<(EngineTime, EngineTime)>,
}

impl Set {
    fn take(&mut self, stored: &Stored, header: Option<&Header>) {
        self.records += 1;
        self.bytes += stored.bytes.len() as u64;
        if let Some(header) = header {
            let (from, to) = self.times.unwrap_or((header.t0, header.t1));
            self.times = Some((from.min(header.t0), to.max(header.t1)));
        }
    }
}

/// Epochs, sets, kinds, and the room that is set aside.
pub(super) fn stat(dir: &Path, as_json: bool) -> Ended {
    let (journal, opened) = opened(dir)?;
    let mut sets = [Set::default(), Set::default()];
    let mut kinds = std::collections::BTreeMap::<&'static str, u64>::new();
    let mut clock = None;
    let mut damaged = opened.quarantined.len();
    for stored in journal.scan(Position::default()) {
        let Ok(stored) = stored else {
            damaged += 1;
            continue;
        };
        let peeked = peek(&stored.bytes).ok();
        sets[usize::from(stored.class == Class::Keep)]
            .take(&stored, peeked.as_ref().map(|(header, _)| header));
        *kinds.entry(peeked.as_ref().map_or("not readable", |(_, kind)| kind_name(*kind))).or_default() += 1;
        // The first record of an epoch's inputs tells the clock.
        if matches!(peeked, Some((_, Kind::Inputs)))
            && let Ok(Ok(body)) = key(dir).map(|key| key.open(&stored.bytes).map(|opened| opened.body))
            && let Ok(Body::Inputs(inputs)) = body
        {
            clock = inputs.items.iter().filter_map(clock_of).next_back().or(clock);
        }
    }
    let disk = journal.bytes();
    let status = if damaged == 0 { GOOD } else { WRONG };
    if as_json {
        let set = |set: &Set, disk: u64| {
            json!({"disk_bytes": disk, "records": set.records, "record_bytes": set.bytes,
                "from": set.times.map(|(from, _)| from.0), "to": set.times.map(|(_, to)| to.0)})
        };
        let epochs = journal.epochs().into_iter();
        let epochs: Vec<_> = epochs
            .map(|(epoch, first, last)| json!({"epoch": epoch, "first": first, "last": last}))
            .collect();
        let line = json!({
            "epochs": epochs, "ring": set(&sets[0], disk.0), "keep": set(&sets[1], disk.1), "kinds": kinds,
            "reserve_bytes": journal.reserved(), "damaged_places": damaged, "torn_bytes": opened.torn_bytes,
        });
        say(&format_args!("{line:#}"))?;
        return Ok(status);
    }
    for (epoch, first, last) in journal.epochs() {
        say(&format_args!("epoch {epoch}: records {first} to {last}"))?;
    }
    for (name, set, disk) in [("ring", &sets[0], disk.0), ("keep", &sets[1], disk.1)] {
        let times = set.times.map(|(from, to)| format!(", {} to {}", civil(from, clock), civil(to, clock)));
        let times = times.unwrap_or_default();
        let (records, bytes) = (set.records, set.bytes);
        say(&format_args!("{name}: {records} records of {bytes} bytes on {disk} bytes of disk{times}"))?;
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
    say(&format_args!("kinds: {}", if kinds.is_empty() { "none".into() } else { kinds.join(", ") }))?;
    say(&format_args!("set aside for a full disk: {} bytes", journal.reserved()))?;
    say(&format_args!("cut short at the end: {} bytes; damaged places: {damaged}", opened.torn_bytes))?;
    if damaged > 0 {
        eprintln!("hint: `gateway journal fsck` says which records are missing; check the storage");
    }
    Ok(status)
}

/// Every record from a position on.
pub(super) fn dump(dir: &Path, from: Option<Position>, as_json: bool) -> Ended {
    let (journal, _) = opened(dir)?;
    let key = key(dir).ok();
    if key.is_none() {
        eprintln!("no key here: signatures are not checked, contents not shown");
    }
    let mut status = GOOD;
    let (mut clock, mut joiner) = (None, Joiner::default());
    for stored in journal.scan(from.unwrap_or_default()) {
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                eprintln!("{}", crate::chain(&error));
                status = WRONG;
                continue;
            }
        };
        let shown = Shown::of(&stored, key.as_ref(), &mut joiner);
        if shown.bad.is_some() {
            status = WRONG;
        }
        if let Some(Body::Inputs(inputs)) = &shown.body {
            clock = inputs.items.iter().filter_map(clock_of).next_back().or(clock);
        }
        if as_json { say(&shown.json(&stored))? } else { say(&shown.text(&stored, clock))? }
    }
    Ok(status)
}

/// What is known of one record.
struct Shown {
    header: Option<Header>,
    kind: &'static str,
    body: Option<Body>,
    /// What it is the last part of.
    whole: Option<Body>,
    /// Why it is not to be believed.
    bad: Option<String>,
    /// Signed, but of a later release.
    not_understood: Option<String>,
}

impl Shown {
    /// Without a key nothing is believed; the header is shown as it claims to be.
    fn of(stored: &Stored, key: Option<&KeyRing>, joiner: &mut Joiner) -> Self {
        let nothing =
            Self { header: None, kind: "?", body: None, whole: None, bad: None, not_understood: None };
        let (header, kind) = match peek(&stored.bytes) {
            Ok((header, kind)) => (Some(header), kind_name(kind)),
            Err(error) => return Self { bad: Some(error.to_string()), ..nothing },
        };
        let known = Self { header, kind, ..nothing };
        match key.map(|key| key.open(&stored.bytes)) {
            None => known,
            Some(Err(error)) => Self { bad: Some(error.to_string()), ..known },
            Some(Ok(opened)) => match opened.body {
                Ok(body @ Body::Part(_)) => match joiner.take(&opened.header, body.clone()) {
                    Ok(Body::Part(_)) => Self { body: Some(body), ..known },
                    Ok(whole) => Self { body: Some(body), whole: Some(whole), ..known },
                    Err(not) => Self { not_understood: Some(not.to_string()), ..known },
                },
                Ok(body @ Body::Parted(_)) => Self { body: joiner.take(&opened.header, body).ok(), ..known },
                Ok(body) => Self { body: Some(body), ..known },
                Err(not) => Self { not_understood: Some(not.to_string()), ..known },
            },
        }
    }

    fn json(&self, stored: &Stored) -> Value {
        let mut line = json!({
            "record": stored.position.to_string(),
            "set": set_name(stored.class),
            "bytes": stored.bytes.len(),
            "hash": hex(&hash(&stored.bytes)),
            "kind": self.kind,
        });
        if let Some(header) = &self.header {
            line["t0"] = header.t0.0.into();
            line["t1"] = header.t1.0.into();
            line["prev"] = hex(&header.prev).into();
        }
        match (&self.body, &self.bad, &self.not_understood) {
            (Some(body), _, _) => {
                line["content"] = content(body);
                if let Some(whole) = &self.whole {
                    line["whole"] = content(whole);
                }
            }
            (None, Some(bad), _) => line["bad"] = bad.clone().into(),
            (None, None, Some(not)) => line["not_understood"] = not.clone().into(),
            (None, None, None) => line["signature"] = "not checked".into(),
        }
        line
    }

    fn text(&self, stored: &Stored, clock: Option<ClockInput>) -> String {
        let at = self.header.map_or_else(|| "-".to_owned(), |header| civil(header.t1, clock));
        let said = match (&self.body, &self.bad, &self.not_understood) {
            (Some(body), _, _) => match &self.whole {
                Some(whole) => format!("{}, the last: {}", summary(body), summary(whole)),
                None => summary(body),
            },
            (None, Some(bad), _) => format!("BAD: {bad}"),
            (None, None, Some(not)) => not.clone(),
            (None, None, None) => "signature not checked".to_owned(),
        };
        let (position, set, bytes) =
            (stored.position.to_string(), set_name(stored.class), stored.bytes.len());
        format!("{position:>8} {set} {bytes:>6} B  {at}  {:<11} {said}", self.kind)
    }
}

fn set_name(class: Class) -> &'static str {
    match class {
        Class::Ring => "ring",
        Class::Keep => "keep",
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Start => "start",
        Kind::Config => "config",
        Kind::Inputs => "inputs",
        Kind::Conclusions => "conclusions",
        Kind::Checkpoint => "checkpoint",
        Kind::Gap => "gap",
        Kind::Part => "part",
        Kind::Other(_) => "later kind",
    }
}

fn clock_of(input: &Input) -> Option<ClockInput> {
    if let Input::Clock(clock) = input { Some(*clock) } else { None }
}

/// As UTC where the clock was known, else engine time in ms.
pub(super) fn civil(at: EngineTime, clock: Option<ClockInput>) -> String {
    let known = clock.filter(|clock| clock.error_ms.is_some());
    let stamp = known.and_then(|clock| jiff::Timestamp::from_millisecond(at.civil(clock.offset_ms).0).ok());
    stamp.map_or_else(|| format!("engine {} ms", at.0), |stamp| format!("{stamp:.0}"))
}

/// One line for a person.
fn summary(body: &Body) -> String {
    match body {
        Body::Start(start) => {
            let before =
                start.previous.map_or("nothing".to_owned(), |(epoch, seq)| format!("{}/{}", epoch.0, seq.0));
            let downtime = start.downtime_ms.map_or("an unknown time".to_owned(), |ms| format!("{ms} ms"));
            let simulated = if start.simulated { ", simulated" } else { "" };
            format!("{:?} start after {before}, away for {downtime}{simulated}", start.cause).to_lowercase()
        }
        Body::Config(config) => format!(
            "{}, semantics {}, {} points, {} rules",
            config.software,
            config.semantics,
            config.plan.points.len(),
            config.plan.rules.len()
        ),
        Body::Inputs(inputs) => {
            let readings = inputs.items.iter().filter(|item| matches!(item, Input::Reading(_))).count();
            let due: u64 = inputs.counts.iter().map(|counts| u64::from(counts.due)).sum();
            let others: Vec<_> = inputs.items.iter().filter_map(other_input).collect();
            let others = if others.is_empty() { String::new() } else { format!(", {}", others.join(", ")) };
            format!("{readings} readings kept of {due} due{others}")
        }
        Body::Conclusions(conclusions) => {
            let list: Vec<_> = conclusions.list.iter().map(concluded).collect();
            format!("from {}: {}", conclusions.because.0, list.join("; "))
        }
        Body::Checkpoint(state) => {
            format!("state of {} points, {} rules", state.points.len(), state.rules.len())
        }
        Body::Parted(parted) => {
            format!("follows in {} parts, {} bytes in all", parted.head.parts, parted.head.length)
        }
        Body::Part(part) => format!("part {} of what began before: {} bytes", part.n, part.bytes.len()),
        Body::Gap(gap) => {
            let cause = format!("{:?}", gap.cause).to_lowercase();
            let span = gap.to.since(gap.from);
            let records = gap.records.map_or(String::new(), |(epoch, first, last)| {
                format!(", records {}/{} to {}", epoch.0, first.0, last.0)
            });
            format!("{cause}: {} readings in {span} ms{records}", gap.count)
        }
    }
}

fn other_input(input: &Input) -> Option<String> {
    match input {
        Input::Reading(_) | Input::Advance(_) => None,
        Input::Start(_) => Some("start".to_owned()),
        Input::Clock(clock) => Some(format!("clock {:?}", clock.source).to_lowercase()),
        Input::Command(command) => Some(format!("command of {}", command.author)),
        Input::Fact(fact) => Some(format!("fact of device {}", fact.device.0)),
        Input::Stop { cause, .. } => Some(format!("stop {cause:?}").to_lowercase()),
        Input::Heartbeat(_) => Some("heartbeat".to_owned()),
    }
}

fn concluded(conclusion: &Conclusion) -> String {
    match &conclusion.body {
        ConclusionBody::Alert(change) => {
            let id = format!("{}-{}", change.alert.epoch.0, change.alert.n);
            let rule = change.rule.map_or_else(|| "that is gone".to_owned(), |rule| rule.0.to_string());
            format!("alert {id} of rule {rule} {:?}", change.change).to_lowercase()
        }
        ConclusionBody::Cycle(cycle) => format!("cycle {} {:?}", cycle.n, cycle.outcome).to_lowercase(),
        ConclusionBody::Order { order: (epoch, seq), outcome } => {
            format!("order {epoch}/{seq} {outcome:?}").to_lowercase()
        }
        ConclusionBody::Storage(storage) => format!(
            "storage {:?}, ring {} ‰, keep {} ‰",
            storage.state, storage.ring_permille, storage.keep_permille
        )
        .to_lowercase(),
        ConclusionBody::Folded(folded) => {
            format!("rule {} changed {} times, folded", folded.rule.0, folded.changes)
        }
        ConclusionBody::Config(change) => {
            format!("configuration {:?}: {}", change.step, change.said.replace('\n', "; "))
        }
        ConclusionBody::Suppression(change) => {
            format!("suppression of rule {} {:?}", change.rule.0, change.change).to_lowercase()
        }
    }
}

/// For programs: everything that the record says.
fn content(body: &Body) -> Value {
    let list = |items: Vec<String>| Value::from(items);
    match body {
        Body::Start(start) => format!("{start:?}").into(),
        Body::Config(config) => {
            json!({"software": config.software, "semantics": config.semantics, "points": config.plan.points.len()})
        }
        Body::Inputs(inputs) => json!({
            "items": list(inputs.items.iter().map(|item| format!("{item:?}")).collect()),
            "counts": list(inputs.counts.iter().map(|counts| format!("{counts:?}")).collect()),
        }),
        Body::Conclusions(conclusions) => json!({
            "because": conclusions.because.0,
            "list": list(conclusions.list.iter().map(|one| format!("{one:?}")).collect()),
            "frames": conclusions.frames.len(),
        }),
        Body::Parted(parted) => json!({
            "parts": parted.head.parts, "length": parted.head.length, "sha256": hex(&parted.head.sha256),
        }),
        Body::Part(part) => json!({"n": part.n, "length": part.bytes.len()}),
        Body::Checkpoint(state) => json!({"now": state.now.0, "rules": state.rules.len()}),
        Body::Gap(gap) => format!("{gap:?}").into(),
    }
}
