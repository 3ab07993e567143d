//! `gateway rerun`: the journal's inputs through the engine again, every conclusion compared in order.
//!
//! 0 = every conclusion came again, and no other; 1 = at least one did not; 3 = some inputs are gone (evicted, damaged,
//! or not understood by this release), so that not everything could be compared.

use std::collections::VecDeque;
use std::path::Path;

use gateway_journal::{Journal, Position};
use gateway_model::{Conclusion, GapCause, Plan, Seq};
use gateway_wire::{Body, open};
use serde_json::json;

use super::{Ended, GOOD, INCOMPLETE, WRONG, journal, say};
use crate::recorder::replay::Replayer;

/// Differences shown one by one; the rest is counted.
const SHOWN_MAX: usize = 20;

#[derive(Default)]
struct Comparison {
    replayer: Replayer,
    plan: Option<Plan>,
    /// Of the last record fed.
    epoch: u64,
    /// Concluded again, not yet met in the journal: epoch, cause, what.
    derived: VecDeque<(u64, Seq, Conclusion)>,
    compared: u64,
    different: usize,
    incomplete: u64,
}

pub(super) fn rerun(dir: &Path) -> Ended {
    let key = journal::key(dir)?;
    let (journal, _) = Journal::open_read_only(&journal::place(dir))?;
    let mut comparison = Comparison::default();
    let mut expected: Option<Position> = None;
    let mut inputs = 0_u64;
    for stored in journal.scan(Position::default()) {
        let Ok(stored) = stored else {
            comparison.incomplete += 1;
            continue;
        };
        let here = stored.position;
        let follows = here.seq == 0 || expected == Some(here);
        expected = Some(Position { seq: here.seq + 1, ..here });
        let Ok(opened) = open(&key, &stored.bytes) else {
            say(&json!({"record": here.to_string(), "difference": "the signature is not this gateway's"}))?;
            comparison.different += 1;
            continue;
        };
        let Ok(body) = opened.body else {
            comparison.lose();
            continue;
        };
        if !follows {
            comparison.lose();
        }
        inputs += u64::from(matches!(body, Body::Inputs(_)));
        comparison.take(here, &opened.header, body)?;
    }
    let open_end = comparison.derived.len();
    let line = json!({
        "inputs_records": inputs, "conclusions": comparison.compared, "different": comparison.different,
        "not_comparable": comparison.incomplete, "not_yet_recorded": open_end,
    });
    say(&line)?;
    Ok(match (comparison.different, comparison.incomplete) {
        (0, 0) => GOOD,
        (0, _) => INCOMPLETE,
        _ => WRONG,
    })
}

impl Comparison {
    /// Inputs are missing: the engine knows nothing until the next checkpoint.
    fn lose(&mut self) {
        self.incomplete += 1;
        self.replayer = Replayer::default();
        self.derived.clear();
    }

    fn take(&mut self, here: Position, header: &gateway_wire::Header, body: Body) -> anyhow::Result<()> {
        match body {
            Body::Conclusions(conclusions) => {
                self.gather()?;
                for found in conclusions.list.iter().filter(|one| !one.body.said_by_recorder()) {
                    self.compare(here, conclusions.because, found)?;
                }
                return Ok(());
            }
            Body::Config(ref config) => self.plan = Some(config.plan.clone()),
            Body::Checkpoint(ref state) if !self.replayer.is_running() && header.seq.0 > 2 => {
                if let Some(plan) = self.plan.clone() {
                    self.replayer = Replayer::at_checkpoint(plan, (**state).clone())?;
                }
            }
            // What was judged without being recorded cannot be compared.
            Body::Gap(ref gap) if gap.cause == GapCause::Full => self.lose(),
            Body::Start(_) | Body::Inputs(_) | Body::Checkpoint(_) | Body::Gap(_) => {}
        }
        // While an epoch opens it is not yet known what its engine is made of.
        if !matches!(body, Body::Config(_) | Body::Checkpoint(_)) {
            self.gather()?;
        }
        self.epoch = here.epoch;
        Ok(self.replayer.feed(header, body)?)
    }

    fn gather(&mut self) -> anyhow::Result<()> {
        let epoch = self.epoch;
        let derived = self.replayer.take()?;
        self.derived.extend(derived.into_iter().map(|(because, one)| (epoch, because, one)));
        Ok(())
    }

    fn compare(&mut self, here: Position, because: Seq, found: &Conclusion) -> anyhow::Result<()> {
        if !self.replayer.is_running() {
            self.incomplete += 1;
            return Ok(());
        }
        self.compared += 1;
        let Some((epoch, cause, again)) = self.derived.pop_front() else {
            return self.differ(here, &json!({"recorded": format!("{found:?}"), "again": null}));
        };
        // What a crash cut off behind its inputs is recorded at the start of the next epoch.
        let belongs = (epoch == here.epoch && cause == because) || (epoch < here.epoch && because == Seq(0));
        if again != *found || !belongs {
            self.differ(here, &json!({"recorded": format!("{found:?}"), "again": format!("{again:?}")}))?;
        }
        Ok(())
    }

    fn differ(&mut self, here: Position, what: &serde_json::Value) -> anyhow::Result<()> {
        self.different += 1;
        if self.different <= SHOWN_MAX {
            say(&json!({"record": here.to_string(), "difference": what}))?;
        }
        Ok(())
    }
}
