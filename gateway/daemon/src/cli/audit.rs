//! `gateway audit`: what became of every reading that was due on a day, point by point.
//!
//! 0 = the sums close, 1 = they do not, 3 = some records of the journal cannot be read.

use std::path::PathBuf;

use clap::Args;
use gateway_evidence::{Account, Audit as Sums};
use gateway_journal::{Journal, Position};
use gateway_model::BadCause;
use serde_json::json;

use super::{Ended, GOOD, INCOMPLETE, WRONG, export, journal, say};

/// Days have no daylight saving here: the site's offset from UTC is fixed.
const DAY_MS: i64 = 86_400_000;

/// What `gateway audit` is asked.
#[derive(Args)]
pub(super) struct Audit {
    /// The data directory (with the key) of a gateway.
    dir: PathBuf,
    /// Which day at the site: `2026-11-20`.
    #[arg(long, value_name = "DAY")]
    day: String,
    /// As JSON lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn audit(asked: &Audit) -> Ended {
    let key = journal::key(&asked.dir)?;
    let (journal, _) = Journal::open_read_only(&journal::place(&asked.dir))?;
    let index = export::index(&journal, &key)?;
    let midnight = export::civil(&asked.day, index.utc_offset_min)?;
    let from = index.engine(midnight)?;
    let mut sums = Sums::new(from, from.plus(DAY_MS));
    let mut unread = 0_u64;
    for stored in journal.scan(Position::default()) {
        match stored.ok().and_then(|stored| key.open(&stored.bytes).ok()) {
            Some(opened) => match &opened.body {
                Ok(body) => sums.take(&opened.header, body),
                Err(_) => unread += 1,
            },
            None => unread += 1,
        }
    }
    let audited = sums.finish();
    if !asked.json {
        say(&format_args!(
            "{:<34} {:>8} {:>8} {:>8} {:>8} {:>6} {:>7} {:>8} {:>8} {:>8} {:>8}",
            "point",
            "planned",
            "due",
            "kept",
            "within",
            "late",
            "failed",
            "stopped",
            "crashed",
            "overload",
            "untold"
        ))?;
    }
    for (point, account) in &audited.points {
        if asked.json { say(&line(point, account))? } else { say(&row(point, account))? }
    }
    if audited.unplanned > 0 {
        eprintln!(
            "{} readings are named in gap records before any config says of which points",
            audited.unplanned
        );
    }
    if unread > 0 {
        eprintln!("{unread} records cannot be read: run `gateway journal stat` on this directory");
    }
    Ok(match (audited.closes(), unread) {
        (false, _) => WRONG,
        (true, 0) => GOOD,
        (true, _) => INCOMPLETE,
    })
}

fn line(point: &str, account: &Account) -> serde_json::Value {
    json!({
        "point": point, "planned": account.planned, "due": account.due, "kept": account.kept,
        "within_deadband": account.within_deadband, "late": account.late, "failed": causes(account),
        "stopped": account.stopped, "crashed": account.crashed, "overload": account.overload,
        "untold": account.untold(), "closes": account.closes(),
    })
}

/// Failures by cause, those that happened.
fn causes(account: &Account) -> serde_json::Map<String, serde_json::Value> {
    let causes = BadCause::ALL.iter().zip(account.failed).filter(|(_, n)| *n > 0);
    causes.map(|(cause, n)| (format!("{cause:?}"), n.into())).collect()
}

fn row(point: &str, account: &Account) -> String {
    let failed: u64 = account.failed.iter().sum();
    let by_cause: Vec<String> = causes(account).iter().map(|(cause, n)| format!("{cause} {n}")).collect();
    format!(
        "{point:<34} {:>8} {:>8} {:>8} {:>8} {:>6} {failed:>7} {:>8} {:>8} {:>8} {:>8} {}{}",
        account.planned,
        account.due,
        account.kept,
        account.within_deadband,
        account.late,
        account.stopped,
        account.crashed,
        account.overload,
        account.untold(),
        by_cause.join(", "),
        if account.closes() { "" } else { " THE SUM DOES NOT CLOSE" }
    )
}
