//! `gateway rerun`: the journal's inputs through the engine again, every conclusion compared in order.
//!
//! 0 = every conclusion came again, and no other; 1 = one did not; 3 = some inputs are gone (evicted, damaged, or not
//! understood by this release), so that not everything could be compared. What is computed is what
//! `gateway_evidence::recompute` computes for a bundle; here it reads straight from the journal.

use std::path::Path;

use gateway_evidence::{Verdict, recompute};
use gateway_journal::{Journal, Position};
use gateway_wire::{Joiner, Record};
use serde_json::json;

use super::{Ended, GOOD, INCOMPLETE, WRONG, journal, say};

pub(super) fn rerun(dir: &Path) -> Ended {
    let key = journal::key(dir)?;
    let (journal, _) = Journal::open_read_only(&journal::place(dir))?;
    let (mut damaged, mut not_understood) = (0_u64, 0_u64);
    let mut forged = Vec::new();
    let mut joiner = Joiner::default();
    let records = journal.scan(Position::default()).filter_map(|stored| {
        let Ok(stored) = stored else {
            damaged += 1;
            return None;
        };
        match key.open(&stored.bytes) {
            Ok(opened) => {
                let opened = joiner.opened(opened);
                let record = opened.body.map(|body| Record { header: opened.header, body });
                not_understood += u64::from(record.is_err());
                record.ok()
            }
            Err(error) => {
                forged.push((stored.position, error));
                None
            }
        }
    });
    let found = recompute(records);
    for (position, error) in &forged {
        say(&json!({"record": position.to_string(), "difference": error.to_string()}))?;
    }
    if let Some(difference) = &found.first_difference {
        let what = format!("{:?}", difference.what);
        say(&json!({"record": difference.at.to_string(), "difference": what}))?;
    }
    let different = forged.len() + usize::from(found.first_difference.is_some());
    let not_comparable = found.unchecked + found.incomplete.len() as u64 + damaged + not_understood;
    say(&json!({
        "inputs": found.inputs, "conclusions": found.conclusions_checked, "checkpoints": found.checkpoints_checked,
        "different": different, "not_comparable": not_comparable, "not_yet_recorded": found.pending.len(),
    }))?;
    Ok(match (different, found.verdict(), not_comparable) {
        (0, Verdict::Valid, 0) => GOOD,
        (0, Verdict::Valid | Verdict::Incomplete, _) => INCOMPLETE,
        (_, Verdict::Valid | Verdict::Incomplete | Verdict::Invalid, _) => WRONG,
    })
}
