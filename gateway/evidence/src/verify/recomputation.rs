//! The line "recomputation": does every conclusion follow?

use std::fmt::Write as _;

use gateway_model::{Cursor, EngineTime, Input};
use gateway_wire::Body;
use serde_json::{Value, json};

use super::seals::Seals;
use super::walk::Walk;
use crate::recompute::{Difference, Incomplete, Recomputed, What};
use crate::report::Line;

/// Inputs shown on each side of a difference.
const AROUND: usize = 5;

pub(super) fn line(found: &Recomputed, seals: &Seals<'_>, walk: &Walk) -> Line {
    let mut line = Line::new("recomputation");
    for why in &found.incomplete {
        match why {
            Incomplete::Missing(from, to) => {
                line.lack("missing", from, format!("nothing is known from here to {to}"));
            }
            Incomplete::Semantics(epoch, number) => {
                let text = format!("semantics {number} is not known to this release");
                line.lack("semantics", format!("{epoch}"), text);
            }
            Incomplete::NoBeginning(at) => {
                line.lack("no_beginning", at, "no start or checkpoint with its config before");
            }
        }
    }
    if found.unchecked > 0 {
        line.lack("unchecked", "", format!("{} records could not be checked", found.unchecked));
    }
    if !found.pending.is_empty() {
        line.lack(
            "pending",
            "",
            format!("{} conclusions follow from the last inputs, but are not there", found.pending.len()),
        );
    }
    if found.inputs == 0 {
        line.lack("nothing", "", "no input was computed");
    }
    if let Some(difference) = &found.first_difference {
        line.fail(code(&difference.what), difference.at, words(difference, seals));
    }
    let different = found.first_difference.is_some();
    let rules: Vec<Value> = walk
        .rules
        .iter()
        .map(|ruled| json!({"rule": ruled.rule, "subject": ruled.subject, "changes": ruled.changes}))
        .collect();
    line.say = format!(
        "{} conclusions and {} checkpoints compared with what follows from {} inputs{}",
        found.conclusions_checked,
        found.checkpoints_checked,
        found.inputs,
        if different { "; the first difference:" } else { "" }
    );
    line.fact("conclusions", found.conclusions_checked);
    line.fact("checkpoints", found.checkpoints_checked);
    line.fact("inputs", found.inputs);
    line.fact("rules", rules);
    line
}

fn code(what: &What) -> &'static str {
    match what {
        What::Other { .. } => "other",
        What::Invented(_) => "invented",
        What::Concealed(_) => "concealed",
        What::Because { .. } => "because",
        What::State => "state",
    }
}

/// The difference, and the inputs around it.
fn words(Difference { at, what }: &Difference, seals: &Seals<'_>) -> String {
    let (mut text, when) = match what {
        What::Other { recorded, follows } => {
            (format!("recorded is {recorded:?}, but what follows is {follows:?}"), Some(recorded.at))
        }
        What::Invented(recorded) => {
            (format!("recorded, but it does not follow: {recorded:?}"), Some(recorded.at))
        }
        What::Concealed(follows) => {
            (format!("it follows, but is not recorded: {follows:?}"), Some(follows.at))
        }
        What::Because { recorded, follows } => {
            (format!("recorded as following from inputs {recorded}, but it follows from {follows}"), None)
        }
        What::State => {
            ("the state of the checkpoint is not the one that the inputs lead to".to_owned(), None)
        }
    };
    for input in around(*at, when, seals) {
        write!(text, "\n{:<27} input {input:?}", "").unwrap_or_default();
    }
    text
}

/// Of the inputs record before the difference, what stands next to its time.
fn around(at: Cursor, when: Option<EngineTime>, seals: &Seals<'_>) -> Vec<Input> {
    let before = (0..at.seq.0).rev().take(8).map(|seq| Cursor { seq: gateway_model::Seq(seq), ..at });
    let inputs = before.filter_map(|at| seals.find(at)).find_map(|body| match body {
        Body::Inputs(inputs) => Some(inputs.items),
        Body::Start(_)
        | Body::Config(_)
        | Body::Conclusions(_)
        | Body::Checkpoint(_)
        | Body::Gap(_)
        | Body::Parted(_)
        | Body::Part(_) => None,
    });
    let items = inputs.unwrap_or_default();
    let middle = when.map_or(items.len(), |when| items.partition_point(|item| item.at() <= when));
    let (from, to) = (middle.saturating_sub(AROUND), (middle + AROUND).min(items.len()));
    items.get(from..to).unwrap_or_default().to_vec()
}
