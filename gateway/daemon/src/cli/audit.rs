//! `gateway audit`: what became of every reading that was due on a day, point by point.
//!
//! 0 = the sums close, 1 = they do not, 3 = some records of the journal cannot be read.

use std::path::PathBuf;

use clap::Args;
use gateway_evidence::{Account, Audit as Sums};
use gateway_journal::{Journal, Position};
use gateway_wire::{Joiner, Opened};

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
    let (mut unread, mut joiner) = (0_u64, Joiner::default());
    for stored in journal.scan(Position::default()) {
        match stored.ok().and_then(|stored| key.open(&stored.bytes).ok()) {
            Some(opened) => match &joiner.opened(opened) {
                Opened { header, body: Ok(body) } => sums.take(header, body),
                Opened { body: Err(_), .. } => unread += 1,
            },
            None => unread += 1,
        }
    }
    let audited = sums.finish();
    if !asked.json {
        say(&Account::head())?;
    }
    for (point, account) in &audited.points {
        if asked.json { say(&account.json(point))? } else { say(&account.row(point))? }
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
