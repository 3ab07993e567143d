//! Facts, opening hours and the day of a pack's test: `facts = [{ at = "2 h", bag = "L1", kg = 3.2 }]`, `start = "2026-11-23 08:00"`.
//!
//! A fact is one of `visits = 3`, `handpieces = 3`, `bag = "L1"` (`kg`, `category`), `stored = ["L1"]` (`kg`), `handover = ["L1"]`
//! (`kg`), `received = ["L1"]` (`kg`), `duty = "bowie-dick"` (`passed`), `replaced = "L-2"` (another instrument or lamp, whose hours
//! begin at nothing). It is told by the device of the last of the pack's kinds.

use gateway_model::{CivilTime, Counters, DeviceFact, FactBody};

use crate::document::{At, Table};
use crate::hours::{day, minute};
use crate::quantity::Millis;

/// Local time of tests is China's.
pub(crate) const TEST_OFFSET_MIN: i16 = 480;
/// A category of the catalogue, for bags whose category does not matter.
const INFECTIOUS: &str = "841-001-01";

/// Reads every fact of a test; in the order of the file.
pub(crate) fn read(table: &Table<'_>) -> Vec<(Millis, FactBody)> {
    table.tables("facts", "a fact").into_iter().filter_map(fact).collect()
}

fn fact(table: Table<'_>) -> Option<(Millis, FactBody)> {
    let at = table.need::<Millis>("at");
    let kinds = ["visits", "handpieces", "bag", "stored", "handover", "received", "duty", "replaced"];
    let kind = kinds.into_iter().find(|kind| table.has(kind));
    let body = match kind {
        Some("visits") => count(&table, "visits").map(|count| FactBody::Visits { count }),
        Some("handpieces") => count(&table, "handpieces").map(|count| FactBody::HandpiecesPacked { count }),
        Some("bag") => {
            let (label, grams) = (table.need::<String>("bag"), grams(&table));
            let category =
                table.get::<String>("category").map_or_else(|| INFECTIOUS.to_owned(), |at| at.value);
            label.zip(grams).map(|(label, grams)| FactBody::BagLabelled {
                label: label.value,
                category,
                department: "test".into(),
                grams,
            })
        }
        Some("stored") => labels(&table, "stored").map(|(labels, grams)| FactBody::BagsStored {
            labels,
            grams,
            place: "test".into(),
        }),
        Some("handover") => labels(&table, "handover").map(|(labels, grams)| FactBody::HandOver {
            labels,
            grams,
            to: "test".into(),
        }),
        Some("received") => labels(&table, "received").map(|(labels, grams)| FactBody::WasteReceived {
            labels,
            grams,
            by: "test".into(),
        }),
        Some("replaced") => table.need::<String>("replaced").map(|successor| {
            FactBody::Device(DeviceFact::Replaced {
                serial: "test".into(),
                successor: successor.value,
                by: "test".into(),
                counters: Some(Counters::Reset),
            })
        }),
        Some(_) => {
            let duty = table.need::<String>("duty");
            let passed = table.get::<bool>("passed").is_none_or(|passed| passed.value);
            duty.map(|duty| FactBody::DutyDone { duty: duty.value, passed })
        }
        None => {
            table.file().error(
                table.span(),
                "a fact of no kind",
                Some(format!("one of: {}", kinds.join(", "))),
            );
            None
        }
    };
    table.finish();
    Some((at?.value, body?))
}

fn count(table: &Table<'_>, key: &'static str) -> Option<u32> {
    let count = table.need::<i64>(key)?;
    let known = u32::try_from(count.value).ok();
    if known.is_none() {
        table.file().error(count.span, "a count is a whole number from 0", None);
    }
    known
}

fn grams(table: &Table<'_>) -> Option<i64> {
    table.need::<f64>("kg").map(|kg| (kg.value * 1000.0).round() as i64)
}

fn labels(table: &Table<'_>, key: &'static str) -> Option<(Vec<String>, i64)> {
    let (labels, grams) = (table.need::<Vec<At<String>>>(key), grams(table));
    Some((labels?.value.into_iter().map(|label| label.value).collect(), grams?))
}

/// `start`: the local time of the first sample.
pub(crate) fn start(table: &Table<'_>) -> Option<CivilTime> {
    let text = table.get::<String>("start")?;
    let read = || {
        let (date, time) = text.value.split_once(' ')?;
        let minutes = i64::from(day(date)?) * 1440 + i64::from(minute(time)?);
        Some(CivilTime((minutes - i64::from(TEST_OFFSET_MIN)) * 60_000))
    };
    let start = read();
    if start.is_none() {
        table.file().error(text.span.clone(), "a local time is written \"2026-11-23 08:00\"", None);
    }
    start
}
