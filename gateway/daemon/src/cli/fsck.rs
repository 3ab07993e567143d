//! `gateway journal fsck`: reads every byte of a journal, changes none, and says what is wrong and what was lost.
//!
//! Checked: every segment from end to end; every record's signature; that hashes and numbers close, or that gap records
//! name what is not there. 0 = sound, 1 = something is wrong, 3 = signatures were not checked (no key here).

use std::path::Path;

use gateway_evidence::chain::{Chain, Fault, Link, check};
use gateway_journal::{Class, Position};
use gateway_wire::{KeyRing, peek};
use serde_json::json;

use super::journal::{key, opened};
use super::{Ended, GOOD, INCOMPLETE, WRONG, say};

/// Problems of a kind shown one by one; the rest is counted.
const SHOWN_MAX: usize = 20;

#[derive(Default)]
struct Report {
    segments: u64,
    damage: Vec<String>,
    unsigned: Vec<String>,
    records: u64,
}

/// Reads everything.
pub(super) fn fsck(dir: &Path, as_json: bool) -> Ended {
    let (mut journal, found) = opened(dir)?;
    let key = key(dir).ok();
    let mut report = Report::default();
    let mut places = found.quarantined;
    while let Some(checked) = journal.check_next()? {
        report.segments += 1;
        places.extend(checked.quarantined);
    }
    report.segments += Class::ALL.len() as u64;
    for place in &places {
        let missing: Vec<_> =
            place.missing.iter().map(|(epoch, first, last)| format!("{epoch}/{first} to {last}")).collect();
        let missing = if missing.is_empty() { "no record".into() } else { missing.join(", ") };
        let (bytes, class, segment, offset) = (place.bytes, place.class, place.segment, place.offset);
        let text =
            format!("{bytes} damaged bytes in {class:?} segment {segment} at {offset}: {missing} lost");
        report.damage.push(text.replace("Ring", "ring").replace("Keep", "keep"));
    }
    let mut links = Vec::new();
    for stored in journal.scan(Position::default()).filter_map(Result::ok) {
        report.records += 1;
        match link(&stored.bytes, key.as_ref()) {
            Ok(link) => links.push(link),
            Err(why) => report.unsigned.push(format!("{}: {why}", stored.position)),
        }
    }
    let chain = check(links);
    let lost = chain.holes.iter().filter(|hole| !hole.told).count();
    let sound =
        report.damage.is_empty() && report.unsigned.is_empty() && chain.faults_total == 0 && lost == 0;
    if as_json {
        say(&format_args!("{:#}", report.json(&chain, found.torn_bytes, sound, key.is_some())))?;
    } else {
        report.print(&chain, found.torn_bytes, sound, key.is_some())?;
    }
    Ok(match (sound, key.is_some()) {
        (false, _) => WRONG,
        (true, false) => INCOMPLETE,
        (true, true) => GOOD,
    })
}

fn link(bytes: &[u8], key: Option<&KeyRing>) -> Result<Link, String> {
    let Some(key) = key else {
        let (header, _) = peek(bytes).map_err(|error| error.to_string())?;
        return Ok(Link::new(header, bytes, None));
    };
    let opened = key.open(bytes).map_err(|error| error.to_string())?;
    Ok(Link::new(opened.header, bytes, opened.body.as_ref().ok()))
}

impl Report {
    fn print(&self, chain: &Chain, torn: u64, sound: bool, signed: bool) -> anyhow::Result<()> {
        let signatures = if signed { "signatures checked" } else { "signatures not checked: no key here" };
        say(&format_args!("{} segments, {} records, {signatures}", self.segments, self.records))?;
        if torn > 0 {
            say(&format_args!("{torn} bytes at the end were cut short: nothing in them was ever told"))?;
        }
        show("damage", &self.damage)?;
        show("not signed by this gateway", &self.unsigned)?;
        show("chain", &chain.faults.iter().map(fault).collect::<Vec<_>>())?;
        let holes = |told: bool| chain.holes.iter().filter(move |hole| hole.told == told);
        let text = |hole: &gateway_evidence::chain::Hole| {
            format!("{}/{} to {}", hole.epoch.0, hole.first.0, hole.last.0)
        };
        show("missing, and no gap record says so", &holes(false).map(text).collect::<Vec<_>>())?;
        let told: u64 = holes(true).map(|hole| hole.last.0 - hole.first.0 + 1).sum();
        say(&format_args!("{told} records gave way or are lost, and gap records say so"))?;
        say(&if sound { "the journal is sound" } else { "the journal is not sound" })?;
        if !sound {
            eprintln!(
                "hint: a gateway uses the rest and writes gap records for damage at its next start; check the storage"
            );
        }
        Ok(())
    }

    fn json(&self, chain: &Chain, torn: u64, sound: bool, signed: bool) -> serde_json::Value {
        let hole = |hole: &gateway_evidence::chain::Hole| json!({"epoch": hole.epoch.0, "first": hole.first.0, "last": hole.last.0, "told": hole.told});
        json!({
            "sound": sound, "signatures_checked": signed, "segments": self.segments, "records": self.records,
            "torn_bytes": torn, "damage": self.damage, "not_signed": self.unsigned,
            "chain_faults": chain.faults.iter().map(fault).collect::<Vec<_>>(),
            "missing": chain.holes.iter().map(hole).collect::<Vec<_>>(),
        })
    }
}

fn show(what: &str, lines: &[String]) -> anyhow::Result<()> {
    for line in lines.iter().take(SHOWN_MAX) {
        say(&format_args!("{what}: {line}"))?;
    }
    if lines.len() > SHOWN_MAX {
        say(&format_args!("{what}: {} more", lines.len() - SHOWN_MAX))?;
    }
    Ok(())
}

/// In words.
fn fault(fault: &Fault) -> String {
    let place = |at: &gateway_model::Cursor| format!("{}/{}", at.epoch.0, at.seq.0);
    match fault {
        Fault::Gateway(at, id) => format!("{} is a record of gateway {id}", place(at)),
        Fault::Order(at) => format!("{} stands out of order", place(at)),
        Fault::Twice(at) => format!("{} is there twice", place(at)),
        Fault::Exchanged(at) => format!("{} is there twice with other bytes", place(at)),
        Fault::Broken(at) => format!("{} does not hold the hash of the record before it", place(at)),
        Fault::NoStart(at) => format!("{} begins its epoch and is no start", place(at)),
        Fault::Start(at) => format!("{} names the wrong epochs", place(at)),
        Fault::TailLost { at, said, seen } => {
            format!("{} says that {} was the last record; {} is there", place(at), place(said), place(seen))
        }
    }
}
