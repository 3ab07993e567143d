//! What is drawn as a line: one quantity of a device over the days of a check.

use std::fmt::Write as _;

use crate::civil::Civil;
use crate::scenario::Scenario;
use crate::signal::{SignalIx, Signals};
use crate::world::World;

/// Columns of a picture; each shows the least and the greatest value of its time.
pub(super) const COLUMNS: usize = 720;
/// Where the world of a picture begins: a local midnight. Values do not depend on the date.
const MIDNIGHT: Civil = Civil(1_794_931_200_000);

/// What is worth drawing, by kind of device. Kinds that are not named here show their first quantity.
const DRAWN: &[(&str, &[&str])] = &[
    ("uv-lamp", &["irradiance", "hours"]),
    ("waste-day", &["stored-weight"]),
    ("scale", &["gross"]),
    ("dental-day", &["visits", "packed"]),
    ("meter", &[]),
    ("supply", &["on"]),
];

/// Least and greatest of a column, if anything could be measured.
pub(super) type Column = Option<(f64, f64)>;

/// One quantity.
pub(super) struct Series {
    pub(super) device: String,
    quantity: String,
    unit: &'static str,
    pub(super) shown: Vec<Column>,
    /// Where the instrument does not show it.
    pub(super) truth: Option<Vec<Column>>,
    door: Vec<bool>,
    range: (f64, f64),
}

struct Watched {
    device: String,
    quantity: String,
    ix: SignalIx,
    door: Option<SignalIx>,
}

/// Steps the world through the scenario and keeps what is drawn.
pub(super) fn all(scenario: &Scenario, span: i64) -> Vec<Series> {
    let mut world = World::new(scenario, MIDNIGHT, None);
    let watched = watched(&world);
    let mut shown = vec![vec![None; COLUMNS]; watched.len()];
    let mut truth = shown.clone();
    let mut door = vec![vec![false; COLUMNS]; watched.len()];
    for second in 0..span {
        world.step_to(MIDNIGHT.plus_s(second));
        world.take_messages().for_each(drop);
        let column = (second as usize * COLUMNS) / span as usize;
        let signals = world.signals();
        for (i, watched) in watched.iter().enumerate() {
            widen(&mut shown[i][column], signals.shown(watched.ix));
            widen(&mut truth[i][column], signals.value(watched.ix));
            door[i][column] |= watched.door.is_some_and(|door| signals.shown(door) > 0.5);
        }
    }
    let signals = world.signals();
    let parts = watched.into_iter().zip(shown).zip(truth.into_iter().zip(door));
    parts.map(|((watched, shown), (truth, door))| series(signals, watched, shown, truth, door)).collect()
}

fn series(
    signals: &Signals,
    watched: Watched,
    shown: Vec<Column>,
    truth: Vec<Column>,
    door: Vec<bool>,
) -> Series {
    let truth = (shown != truth).then_some(truth);
    let all = shown.iter().chain(truth.iter().flatten()).flatten();
    let (low, high) =
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (a, b)| (low.min(*a), high.max(*b)));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    // A quantity that stands still is drawn in the middle.
    let room = ((high - low) * 0.08).max(0.5);
    let range = (if low >= 0.0 && low < room * 3.0 { 0.0 } else { low - room }, high + room);
    let (_, unit) = signals.label(watched.ix);
    Series { device: watched.device, quantity: watched.quantity, unit, shown, truth, door, range }
}

fn watched(world: &World) -> Vec<Watched> {
    let signals = world.signals();
    let mut watched = Vec::new();
    for (id, kind) in world.devices() {
        let mine = |quantity: &str| signals.find(&format!("{id}/{quantity}"));
        let named = DRAWN.iter().find(|(known, _)| *known == kind).map(|(_, quantities)| *quantities);
        let first = signals.all().find_map(|ix| signals.label(ix).0.strip_prefix(id)?.strip_prefix('/'));
        let quantities = named.map_or_else(|| first.into_iter().collect(), <[&str]>::to_vec);
        for (i, quantity) in quantities.into_iter().enumerate() {
            let Some(ix) = mine(quantity) else { continue };
            let door = mine("door").filter(|_| i == 0);
            watched.push(Watched { device: id.to_owned(), quantity: quantity.to_owned(), ix, door });
        }
    }
    watched
}

fn widen(column: &mut Column, value: f64) {
    if value.is_finite() {
        let (low, high) = column.get_or_insert((value, value));
        (*low, *high) = (low.min(value), high.max(value));
    }
}

impl Series {
    pub(super) fn about(&self) -> String {
        if self.unit.is_empty() { self.quantity.clone() } else { format!("{} {}", self.quantity, self.unit) }
    }

    pub(super) fn high(&self) -> String {
        number(self.range.1)
    }

    pub(super) fn low(&self) -> String {
        number(self.range.0)
    }

    /// Path data, in whole units of a strip so high; breaks where nothing could be measured.
    pub(super) fn path(&self, columns: &[Column], height: i64) -> String {
        let (low, high) = self.range;
        let y = |value: f64| libm::round((high - value) / (high - low) * height as f64) as i64;
        let mut points: Vec<Option<(i64, i64)>> = Vec::new();
        for (x, column) in (0_i64..).zip(columns) {
            let Some((least, greatest)) = column else {
                points.push(None);
                continue;
            };
            let before = points.last().copied().flatten().map_or(0, |(_, y)| y);
            let (top, bottom) = (y(*greatest), y(*least));
            // From where the line comes to the far end, and no second point where they are the same.
            let (near, far) =
                if (before - top).abs() <= (before - bottom).abs() { (top, bottom) } else { (bottom, top) };
            points.push(Some((x, near)));
            if far != near {
                points.push(Some((x, far)));
            }
        }
        data(&points)
    }

    /// Columns in which the door stood open, as spans.
    pub(super) fn doors(&self) -> Vec<(i64, i64)> {
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for (x, _) in (0_i64..).zip(&self.door).filter(|(_, open)| **open) {
            match spans.last_mut() {
                Some((_, to)) if *to == x => *to = x + 1,
                Some(_) | None => spans.push((x, x + 1)),
            }
        }
        spans
    }
}

/// Relative commands, straight runs in one: a day of a thermostat stays small.
fn data(points: &[Option<(i64, i64)>]) -> String {
    let mut text = String::new();
    let mut pen: Option<(i64, i64)> = None;
    // A run along one line is drawn when it ends.
    let mut run = 0;
    let put = |text: &mut String, part: std::fmt::Arguments<'_>| {
        text.write_fmt(part).expect("a text can be written to");
    };
    for point in points {
        match (pen, point) {
            (Some((px, py)), Some((x, y))) if *y == py => {
                run += x - px;
            }
            (Some((px, py)), Some((x, y))) => {
                if run > 0 {
                    put(&mut text, format_args!("h{run}"));
                    run = 0;
                }
                if *x == px {
                    put(&mut text, format_args!("v{}", y - py));
                } else {
                    put(&mut text, format_args!("l{} {}", x - px, y - py));
                }
            }
            (None, Some((x, y))) => put(&mut text, format_args!("M{x} {y}h0")),
            (_, None) => {
                if run > 0 {
                    put(&mut text, format_args!("h{run}"));
                    run = 0;
                }
            }
        }
        pen = *point;
    }
    if run > 0 {
        put(&mut text, format_args!("h{run}"));
    }
    text
}

fn number(value: f64) -> String {
    if value.abs() >= 10.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
