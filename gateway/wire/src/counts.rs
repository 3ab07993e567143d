//! Counts per point as columns: what nearly always holds (points in a row, as many due as for the first, all
//! answered, none late) takes no bytes of its own.

use gateway_model::{BadCause, PointCounts, PointIx};

use crate::varint::{self, Reader};

/// Points that one record counts, at most: bounds what is built from a few bytes, where nothing happened to any of them.
const POINTS_MAX: usize = 1 << 17;

/// One column of what differs from the expected; a column of zeros is not written.
type Column = fn(&PointCounts, &Expected) -> i64;

/// What a point's counts probably are.
struct Expected {
    point: i64,
    due: u32,
    /// Kept readings of the point in this record.
    kept: u32,
}

/// In the order of their bits in the flags.
const COLUMNS: [Column; 5] = [
    |counts, expected| i64::from(counts.point.0) - expected.point,
    |counts, expected| i64::from(counts.due) - i64::from(expected.due),
    |counts, _| i64::from(counts.answered) - i64::from(counts.due),
    |counts, expected| {
        i64::from(counts.within_deadband) - i64::from(counts.answered) + i64::from(expected.kept)
    },
    |counts, _| i64::from(counts.late),
];
/// Flag of the column of failures, which holds lists.
const FAILED: u64 = 1 << COLUMNS.len();

/// Packs counts; `kept` says how many readings of a point the record holds.
pub(crate) fn pack(counts: &[PointCounts], kept: impl Fn(PointIx) -> u32) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(first) = counts.first() else { return out };
    varint::put(&mut out, counts.len() as u64);
    varint::put(&mut out, u64::from(first.due));
    let mut point = 0;
    let expected: Vec<_> = counts
        .iter()
        .map(|counts| {
            let before = std::mem::replace(&mut point, i64::from(counts.point.0) + 1);
            Expected { point: before, due: first.due, kept: kept(counts.point) }
        })
        .collect();
    let columns = COLUMNS.map(|column| -> Vec<_> {
        counts.iter().zip(&expected).map(|(counts, expected)| column(counts, expected)).collect()
    });
    let present = |column: &[i64]| column.iter().any(|number| *number != 0);
    let failed = counts.iter().any(|counts| !counts.failed.is_empty());
    let flags =
        columns.iter().enumerate().map(|(bit, column)| u64::from(present(column)) << bit).sum::<u64>();
    varint::put(&mut out, flags | if failed { FAILED } else { 0 });
    for column in columns.iter().filter(|column| present(column)) {
        for number in column {
            varint::put_signed(&mut out, *number);
        }
    }
    if failed {
        for counts in counts {
            varint::put(&mut out, counts.failed.len() as u64);
            for n in &counts.failed {
                varint::put(&mut out, u64::from(*n));
            }
        }
    }
    out
}

/// Reads what [`pack`] wrote.
pub(crate) fn unpack(bytes: &[u8], kept: impl Fn(PointIx) -> u32) -> Result<Vec<PointCounts>, &'static str> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let columns = &mut Reader::new(bytes);
    let n: usize = columns.narrow()?;
    if n == 0 || n > POINTS_MAX {
        return Err("a number of points that cannot be");
    }
    let due = columns.narrow::<u32>()?;
    let flags = columns.number()?;
    if flags >= FAILED << 1 {
        return Err("a column that is not known");
    }
    let mut rows = vec![[0i64; COLUMNS.len()]; n];
    for bit in (0..COLUMNS.len()).filter(|bit| flags >> bit & 1 == 1) {
        for row in &mut rows {
            row[bit] = columns.signed()?;
        }
    }
    let mut point = 0i64;
    let mut counts = Vec::with_capacity(n);
    for [step, more_due, more_answered, more_within, late] in rows {
        let this = PointIx(narrow(point.checked_add(step))?);
        point = i64::from(this.0) + 1;
        let due = narrow(i64::from(due).checked_add(more_due))?;
        let answered = narrow(i64::from(due).checked_add(more_answered))?;
        let within = i64::from(answered) - i64::from(kept(this));
        let within_deadband = narrow(within.checked_add(more_within))?;
        let late = narrow(Some(late))?;
        counts.push(PointCounts { point: this, due, answered, within_deadband, late, failed: Vec::new() });
    }
    if flags & FAILED != 0 {
        for counts in &mut counts {
            let causes = columns.count()?;
            if causes > BadCause::ALL.len() {
                return Err("more causes than there are");
            }
            counts.failed = (0..causes).map(|_| columns.narrow()).collect::<Result<_, _>>()?;
        }
    }
    columns.end()?;
    Ok(counts)
}

const OUT: &str = "a number out of range";

fn narrow(number: Option<i64>) -> Result<u32, &'static str> {
    number.and_then(|number| u32::try_from(number).ok()).ok_or(OUT)
}
