//! The lines "sequence" and "chain": is anything missing, told twice, exchanged or cut off?

use std::collections::{BTreeMap, BTreeSet};

use gateway_model::{Cursor, Epoch, Gap, Seq};
use gateway_wire::{Body, hash};
use minicbor::{Decode, Encode};
use serde_json::json;

use super::seals::Seals;
use super::{ERASED, Parts, range};
use crate::chain::{Chain, Fault};
use crate::report::Line;

/// Spans of one claim that are looked at; records of further ones are beyond the claim.
const SPANS_MAX: usize = 1_000;

/// What is left of a record that was erased by a logged act.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Erased {
    /// In which epoch.
    #[n(0)]
    pub epoch: Epoch,
    /// At which position.
    #[n(1)]
    pub seq: Seq,
    /// Hash of its bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hash: [u8; 32],
    /// Why.
    #[n(3)]
    pub reason: String,
}

/// The stubs; `None` = there is a list, but it cannot be read.
pub(super) fn erased(parts: &Parts<'_>) -> Option<Vec<Erased>> {
    parts.file(ERASED).map_or(Some(Vec::new()), |bytes| gateway_wire::decode("erased", bytes).ok())
}

/// Numbers that gap records say are gone.
#[derive(Default)]
pub(super) struct Told(BTreeSet<(Epoch, Seq, Seq)>);

impl Told {
    pub(super) fn take(&mut self, body: &Body) {
        if let Body::Gap(Gap { records: Some((epoch, first, last)), .. }) = body {
            self.0.insert((*epoch, *first, *last));
        }
    }

    fn covers(&self, at: Cursor) -> bool {
        self.0.iter().any(|(epoch, first, last)| *epoch == at.epoch && (*first..=*last).contains(&at.seq))
    }
}

/// Why a number is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Missing,
    Truncated,
    Gone,
    Erased,
}

pub(super) fn sequence(
    parts: &Parts<'_>,
    seals: &Seals<'_>,
    chain: &Chain,
    told: &Told,
    erased: Option<&[Erased]>,
) -> Line {
    let mut line = Line::new("sequence");
    if erased.is_none() {
        line.fail("erased", ERASED, "the list of erased records cannot be read");
    }
    let erased: BTreeSet<Cursor> =
        erased.unwrap_or_default().iter().map(|stub| Cursor { epoch: stub.epoch, seq: stub.seq }).collect();
    let found: BTreeSet<Cursor> =
        seals.list.iter().filter_map(|sealed| Some(sealed.valid()?.cursor())).collect();
    let spans = parts.manifest.as_ref().map_or(&[][..], |manifest| &manifest.spans);
    let spans = spans.get(..spans.len().min(SPANS_MAX)).unwrap_or_default();
    let claimed = |at: &Cursor| {
        spans.iter().any(|(epoch, first, last)| *epoch == at.epoch && (*first..=*last).contains(&at.seq))
    };
    let mut counts = [0_u64; 4];
    let mut expected = 0_u64;
    for (place, (epoch, first, last)) in spans.iter().enumerate() {
        expected = expected.saturating_add(last.0.saturating_sub(first.0).saturating_add(1));
        for (from, to) in absent(&found, *epoch, *first, *last) {
            let at = |seq| Cursor { epoch: *epoch, seq: Seq(seq) };
            let why = |seq| {
                if erased.contains(&at(seq)) {
                    Absent::Erased
                } else if told.covers(at(seq)) {
                    Absent::Gone
                } else if place + 1 == spans.len() && to == *last {
                    Absent::Truncated
                } else {
                    Absent::Missing
                }
            };
            if erased.is_empty() && told.0.is_empty() {
                note(&mut line, &mut counts, why(from.0), *epoch, from, to);
                continue;
            }
            // A claim is only a number: nobody counts through more of it than a bundle may hold.
            let to = Seq(to.0.min(from.0.saturating_add(super::RECORDS_MAX as u64)));
            let mut begin = from.0;
            for seq in from.0..=to.0 {
                if seq == to.0 || why(seq + 1) != why(begin) {
                    note(&mut line, &mut counts, why(begin), *epoch, Seq(begin), Seq(seq));
                    begin = seq + 1;
                }
            }
        }
    }
    for at in found.iter().filter(|at| !claimed(at)) {
        line.fail("beyond", at, "there, but the manifest does not claim it");
    }
    if spans.is_empty() {
        line.fail("no_claim", "", "the manifest does not say from where to where the records go");
    }
    let (mut duplicates, mut equivocations) = (0_u64, 0_u64);
    for fault in &chain.faults {
        match fault {
            Fault::Twice(at) => {
                duplicates += 1;
                line.fail("duplicate", at, "the same record a second time");
            }
            Fault::Exchanged(at) => {
                equivocations += 1;
                line.fail("equivocation", at, "the gateway signed two different records of this number");
            }
            Fault::Order(at) => line.fail("order", at, "behind a record with a higher number"),
            Fault::Gateway(..)
            | Fault::Broken(_)
            | Fault::NoStart(_)
            | Fault::Start(_)
            | Fault::TailLost { .. } => {}
        }
    }
    let [missing, truncated, gone, erased] = counts;
    line.say = format!(
        "{expected} numbers claimed, {} there; {missing} missing, {truncated} cut off, {gone} given up and told, {erased} erased, \
         {duplicates} twice, {equivocations} equivocated",
        found.len()
    );
    for (name, count) in [
        ("expected", expected),
        ("found", found.len() as u64),
        ("missing", missing),
        ("truncated", truncated),
    ]
    .into_iter()
    .chain([
        ("gone", gone),
        ("erased", erased),
        ("duplicates", duplicates),
        ("equivocations", equivocations),
    ]) {
        line.fact(name, count);
    }
    line
}

/// Ranges of a claimed span that are not there.
fn absent(found: &BTreeSet<Cursor>, epoch: Epoch, first: Seq, last: Seq) -> Vec<(Seq, Seq)> {
    let at = |seq| Cursor { epoch, seq };
    let mut ranges = Vec::new();
    let mut next = first.0;
    if first > last {
        return ranges;
    }
    for cursor in found.range(at(first)..=at(last)) {
        if cursor.seq.0 > next {
            ranges.push((Seq(next), Seq(cursor.seq.0 - 1)));
        }
        next = cursor.seq.0.saturating_add(1);
    }
    if next <= last.0 {
        ranges.push((Seq(next), last));
    }
    ranges
}

fn note(line: &mut Line, counts: &mut [u64; 4], why: Absent, epoch: Epoch, first: Seq, last: Seq) {
    let at = range(epoch, first, last);
    counts[why as usize] = counts[why as usize].saturating_add((last.0 - first.0).saturating_add(1));
    match why {
        Absent::Missing => line.fail("missing", at, "claimed, but not there"),
        Absent::Truncated => line.fail("truncated", at, "the end of what is claimed is not there"),
        Absent::Gone => line.lack("gone", at, "given up by the gateway, and told so in a gap record"),
        Absent::Erased => line.lack("erased", at, "erased by a logged act; number and hash remain"),
    }
}

pub(super) fn chain(
    parts: &Parts<'_>,
    seals: &Seals<'_>,
    chain: &Chain,
    erased: &[Erased],
    starts: &[String],
) -> Line {
    let mut line = Line::new("chain");
    for fault in &chain.faults {
        match fault {
            Fault::Broken(at) => line.fail("broken", at, "does not hold the hash of the record before it"),
            Fault::NoStart(at) => line.fail("no_start", at, "the first of its epoch, but not a start"),
            Fault::Start(at) => line.fail("start", at, "a start that contradicts its place"),
            Fault::TailLost { at, said, seen } => {
                line.fail(
                    "tail_lost",
                    at,
                    format!("says that {said} was the last before it, but {seen} is there"),
                );
            }
            Fault::Gateway(..) | Fault::Order(_) | Fault::Twice(_) | Fault::Exchanged(_) => {}
        }
    }
    let hashes: BTreeMap<Cursor, [u8; 32]> =
        erased.iter().map(|stub| (Cursor { epoch: stub.epoch, seq: stub.seq }, stub.hash)).collect();
    let spans = parts.manifest.as_ref().map_or(&[][..], |manifest| &manifest.spans);
    let mut links = 0_u64;
    let mut last: Option<(Cursor, [u8; 32])> = None;
    for sealed in &seals.list {
        let Some(header) = sealed.valid() else { continue };
        let at = header.cursor();
        if last.is_some_and(|(last, _)| at <= last) {
            continue;
        }
        let before = at.seq.0.checked_sub(1).map(|seq| Cursor { seq: Seq(seq), ..at });
        let within = spans.iter().any(|(epoch, first, end)| {
            *epoch == at.epoch && before.is_some_and(|before| (*first..=*end).contains(&before.seq))
        });
        match (before, last) {
            (Some(before), Some((last, _))) if last == before => links += 1,
            (None, Some(_)) => links += 1,
            (Some(before), _) if hashes.contains_key(&before) => {
                links += 1;
                if hashes.get(&before) != Some(&header.prev) {
                    line.fail("broken", at, "does not hold the hash of the erased record before it");
                }
            }
            (Some(before), _) if within => {
                line.lack("across", at, format!("{before} is not there to be compared with"));
            }
            (Some(_) | None, _) => {}
        }
        last = Some((at, hash(sealed.bytes)));
    }
    let epochs: Vec<_> = chain
        .epochs
        .iter()
        .map(|(epoch, first, last, records)| json!({"epoch": epoch.0, "first": first.0, "last": last.0, "records": records}))
        .collect();
    line.say = format!("{links} links closed in {} epochs; starts: {}", epochs.len(), starts.join(", "));
    line.fact("links", links);
    line.fact("epochs", epochs);
    line
}
