//! What must hold at the end of every run: I1–I6 of the project's list of failures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use center::store::AlertRow;
use gateway_evidence::chain::{self, Hole, Link};
use gateway_evidence::{Verdict, recompute};
use gateway_model::{Change, ConclusionBody, Cursor, GapCause};
use gateway_wire::{Body, Record, hash, hex};

use super::edge::Outcome;
use super::{BEGIN, Report};
use crate::records::{Found, at_center};

/// Records shown before one that does not follow, and letters of each.
const SHOWN: usize = 8;
const SAYS_MAX: usize = 240;

/// Checks every gateway and fills the report.
pub(super) fn all(
    center: &Path,
    outcomes: &[Outcome],
    alerts: &[AlertRow],
    report: &mut Report,
) -> anyhow::Result<()> {
    let stored = at_center(center);
    let mut said = Vec::new();
    for outcome in outcomes {
        let id = outcome.key.gateway_id().to_string();
        let mut there: Vec<_> = stored.iter().filter(|found| found.gateway == id).cloned().collect();
        there.sort_by_key(|found| (found.epoch, found.seq));
        one(outcome, &there, report).with_context(|| format!("gateway {id}"))?;
        raised(outcome, &there, alerts, &id, report).with_context(|| format!("alerts of {id}"))?;
        for found in &there {
            said.extend(found.epoch.to_be_bytes());
            said.extend(found.seq.to_be_bytes());
            said.extend(found.hash);
        }
    }
    let mut shown: Vec<_> = alerts.iter().map(|alert| format!("{} {}\n", alert.id, alert.state)).collect();
    shown.sort();
    said.extend(shown.concat().into_bytes());
    report.hash = hex(&hash(&said));
    Ok(())
}

/// Records of one gateway.
fn one(outcome: &Outcome, there: &[Found], report: &mut Report) -> anyhow::Result<()> {
    let key = outcome.key.verifying_key();
    // I3, I6: no number twice or exchanged, in order, each with the hash of the one before it, every hole told.
    let opened: Vec<Record> = there
        .iter()
        .map(|found| {
            let (header, body) = found.open(&key);
            Record { header, body }
        })
        .collect();
    let links = there
        .iter()
        .zip(&opened)
        .map(|(found, record)| Link::new(record.header, &found.bytes, Some(&record.body)));
    let chain = chain::check(links);
    ensure!(chain.faults_total == 0, "the chain of records: {:?}", chain.faults);
    let untold: Vec<_> = chain.holes.iter().filter(|hole| !hole.told).collect();
    ensure!(untold.is_empty(), "lost without a word: {untold:?}");
    // I1, I2: what the gateway was told is durable is here, or a stored gap record names it.
    let here: BTreeMap<_, _> = there.iter().map(|found| ((found.epoch, found.seq), found.hash)).collect();
    for (epoch, last) in &outcome.told {
        for seq in 0..=*last {
            let known = here.contains_key(&(*epoch, seq))
                || named(&chain.holes, *epoch, seq)
                || (report.center_restored > 0 && before_named(&chain.holes, &here, *epoch));
            ensure!(known, "{epoch}/{seq} was durable at the gateway, and is neither here nor named as gone");
        }
    }
    for (at @ (epoch, seq), kept) in &outcome.kept {
        match here.get(at) {
            Some(hash) => ensure!(*hash == kept.hash, "{epoch}/{seq} is here with other bytes"),
            // It gave way once the center had it, and then the center was set back.
            None if report.center_restored > 0 => {}
            None if kept.conclusions => bail!("{epoch}/{seq} holds conclusions and is not here"),
            None => bail!("{epoch}/{seq} is of the keep set and not here"),
        }
    }
    for (epoch, seq, hash) in &outcome.journal {
        ensure!(here.get(&(*epoch, *seq)) == Some(hash), "{epoch}/{seq} is in the journal and not here");
    }
    // I6: every conclusion follows from the inputs.
    let again = recompute(opened.iter().cloned());
    if let Some(difference) = &again.first_difference {
        bail!("does not follow: {difference:?}, after\n{}", before(&opened, difference.at));
    }
    let full = |record: &Record| matches!(&record.body, Body::Gap(gap) if gap.cause == GapCause::Full);
    let whole = chain.holes.is_empty() && !opened.iter().any(full);
    ensure!(!whole || again.verdict() == Verdict::Valid, "nothing is missing, but: {:?}", again.incomplete);
    ensure!(again.pending.is_empty(), "concluded and not recorded: {:#?}", again.pending);
    report.records += there.len() as u64;
    report.gone += chain.holes.iter().map(|hole| hole.last.0 - hole.first.0 + 1).sum::<u64>();
    report.recomputed += again.conclusions_checked;
    Ok(())
}

/// The records before a place, in short: what a person wants to see first.
fn before(records: &[Record], at: Cursor) -> String {
    let end = records.partition_point(|record| record.header.cursor() <= at);
    let shown = records[..end].iter().rev().take(SHOWN).rev().map(|record| {
        let says = format!("{:?}", record.body);
        let tail: String =
            says.chars().rev().take(SAYS_MAX / 2).collect::<Vec<_>>().into_iter().rev().collect();
        let head: String = says.chars().take(SAYS_MAX).collect();
        format!("{} t {} {head} … {tail}\n", record.header.cursor(), record.header.t1.0 - BEGIN.0)
    });
    shown.collect()
}

fn named(holes: &[Hole], epoch: u64, seq: u64) -> bool {
    let covers = |hole: &Hole| hole.epoch.0 == epoch && (hole.first.0..=hole.last.0).contains(&seq);
    holes.iter().any(|hole| hole.told && covers(hole))
}

/// Is it of an epoch of which the center knows nothing more, because all up to the start of a later one is named as gone? That
/// start is what would have named it.
fn before_named(holes: &[Hole], here: &BTreeMap<(u64, u64), [u8; 32]>, epoch: u64) -> bool {
    let up_to = |hole: &&Hole| hole.told && hole.first.0 == 0 && hole.epoch.0 > epoch;
    let begun = |hole: &Hole| (epoch + 1..=hole.epoch.0).any(|between| here.contains_key(&(between, 0)));
    holes.iter().filter(up_to).any(|hole| !begun(hole))
}

/// I1: every alert that a record raises is an alert of the center, open or over as the records leave it.
fn raised(
    outcome: &Outcome,
    there: &[Found],
    alerts: &[AlertRow],
    id: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let key = outcome.key.verifying_key();
    let mut open: BTreeMap<String, bool> = BTreeMap::new();
    let mut folded = false;
    let here: BTreeSet<_> = there.iter().map(|found| (found.epoch, found.seq)).collect();
    // What nobody can read: the config gave way at the gateway, and then the center was set back to before it had it.
    let mut unread = BTreeSet::new();
    // Alerts of which any change is told: the record that raised one may be what gave way.
    let mut mentioned = BTreeSet::new();
    for found in there {
        let (header, Body::Conclusions(conclusions)) = found.open(&key) else { continue };
        let readable = report.center_restored == 0 || here.contains(&(found.epoch, header.config.0));
        for conclusion in conclusions.list {
            match conclusion.body {
                ConclusionBody::Alert(change) => {
                    let name = format!("{id}/{}-{}", change.alert.epoch.0, change.alert.n);
                    if !readable {
                        unread.insert(name);
                        continue;
                    }
                    mentioned.insert(name.clone());
                    match change.change {
                        Change::Raised => _ = open.insert(name, true),
                        Change::Cleared(_) => _ = open.insert(name, false),
                        Change::Acknowledged
                        | Change::Quality
                        | Change::Gap
                        | Change::Recurred
                        | Change::Step
                        | Change::ReAlarmed
                        | Change::Suppression
                        | Change::Reset
                        | Change::Chattering
                        | Change::Provable
                        | Change::Aggravated
                        | Change::Escalated(_) => {}
                    }
                }
                // What came and went on a full disk is only counted.
                ConclusionBody::Folded(_) => folded = true,
                ConclusionBody::Cycle(_)
                | ConclusionBody::Order { .. }
                | ConclusionBody::Storage(_)
                | ConclusionBody::Config(_)
                | ConclusionBody::Suppression(_) => {}
            }
        }
    }
    let shown: BTreeMap<_, _> = alerts
        .iter()
        .filter(|alert| alert.source == "gateway" && alert.gateway == id)
        .map(|alert| (alert.id.clone(), alert.state == "open"))
        .collect();
    open.retain(|name, _| !unread.contains(name));
    for (name, is_open) in &open {
        let Some(shown) = shown.get(name) else { bail!("{name} is in a record, and no alert of the center") };
        ensure!(folded || shown == is_open, "{name}: open at the gateway {is_open}, at the center {shown}");
    }
    let explained =
        |name: &String| open.contains_key(name) || (report.center_restored > 0 && mentioned.contains(name));
    let untold: Vec<_> = shown.keys().filter(|name| !explained(name)).collect();
    ensure!(
        folded || !unread.is_empty() || untold.is_empty(),
        "{} alerts in records, {} at the center, of which no record tells {untold:?}",
        open.len(),
        shown.len()
    );
    report.alerts += open.len() as u64;
    Ok(())
}
