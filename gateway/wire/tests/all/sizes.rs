//! How many bytes a reading takes. Printed (`cargo test -p gateway-wire sizes -- --nocapture`); asserted only far from
//! the goals of the design: 2 at 1,000 a record, 6 at 100, 200 for the record itself.

use gateway_model::{EngineTime, Input, PointCounts, PointIx, Quality, Raw, Reading};
use gateway_wire::{Body, InputsBody, seal};

use crate::{header, key};

/// Its own small generator, so that sizes do not change with a library.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % sides) as i64
    }
}

const START: i64 = 1_790_000_000_000;

/// One site: how its points are read and what they say.
struct Shape {
    name: &'static str,
    /// Points that share one request and so one stamp.
    per_request: usize,
    points: usize,
    /// Milliseconds between two requests of one point, and how much their moments vary.
    every: i64,
    jitter: u64,
    /// Of a hundred answers so many move far enough to be kept.
    kept: i64,
    value: fn(i64) -> Raw,
}

fn tenths(n: i64) -> Raw {
    Raw::Int(n)
}

fn single(n: i64) -> Raw {
    Raw::F32((n as f32 / 10.0).to_bits())
}

fn noisy(n: i64) -> Raw {
    Raw::F32(((n as f32 / 10.0).sin() * 3.0 + 230.0).to_bits())
}

fn double(n: i64) -> Raw {
    Raw::F64((n as f64 / 10.0).to_bits())
}

fn text(n: i64) -> Raw {
    Raw::Dec { mantissa: n, exponent: -1 }
}

const SHAPES: [Shape; 8] = [
    Shape {
        name: "as in dependencies.md §8",
        per_request: 1,
        points: 50,
        every: 1000,
        jitter: 41,
        kept: 100,
        value: double,
    },
    Shape {
        name: "registers, 8 a request",
        per_request: 8,
        points: 48,
        every: 10_000,
        jitter: 41,
        kept: 100,
        value: tenths,
    },
    Shape {
        name: "registers, deadband",
        per_request: 8,
        points: 48,
        every: 10_000,
        jitter: 41,
        kept: 30,
        value: tenths,
    },
    Shape {
        name: "single points, 10 s",
        per_request: 1,
        points: 12,
        every: 10_000,
        jitter: 41,
        kept: 100,
        value: tenths,
    },
    Shape {
        name: "floats of one decimal",
        per_request: 4,
        points: 40,
        every: 5_000,
        jitter: 21,
        kept: 100,
        value: single,
    },
    Shape {
        name: "floats without pattern",
        per_request: 4,
        points: 40,
        every: 5_000,
        jitter: 21,
        kept: 100,
        value: noisy,
    },
    Shape {
        name: "text numbers (MQTT)",
        per_request: 2,
        points: 20,
        every: 10_000,
        jitter: 900,
        kept: 100,
        value: text,
    },
    Shape {
        name: "two points, fast",
        per_request: 1,
        points: 2,
        every: 200,
        jitter: 5,
        kept: 100,
        value: tenths,
    },
];

fn readings(shape: &Shape, n: usize) -> Vec<Input> {
    let dice = &mut Dice(42);
    let mut values: Vec<i64> = (0..shape.points).map(|_| 200 + dice.roll(800)).collect();
    let mut items = Vec::new();
    for cycle in 0.. {
        for request in 0..shape.points.div_ceil(shape.per_request) {
            let offset = request as i64 * shape.every / (shape.points.div_ceil(shape.per_request) as i64 + 1);
            let at = EngineTime(START + cycle * shape.every + offset + dice.roll(shape.jitter));
            let points = request * shape.per_request..((request + 1) * shape.per_request).min(shape.points);
            for point in points {
                values[point] += [0, 0, 1, -1, 0, 2, 0, -1, 1, 0][dice.roll(10) as usize];
                if dice.roll(100) >= shape.kept {
                    continue;
                }
                let value = Quality::Good((shape.value)(values[point]));
                items.push(Input::Reading(Reading { point: PointIx::of(point), at, value }));
                if items.len() == n {
                    return items;
                }
            }
        }
    }
    unreachable!("a record is always filled")
}

fn size(shape: &Shape, n: usize) -> usize {
    let mut items = readings(shape, n);
    let kept = |point: usize| {
        let of_point = |item: &&Input| matches!(item, Input::Reading(r) if r.point.slot() == point);
        items.iter().filter(of_point).count() as u32
    };
    // Every point was asked equally often; the last ones once less, since the record was full.
    let most = (0..shape.points).map(kept).max().unwrap_or(0);
    let cycles =
        |point| if shape.kept == 100 { kept(point) } else { most * 2 - u32::from(point > shape.points / 2) };
    let counts = (0..shape.points).map(|point| {
        let due = cycles(point);
        let within_deadband = due - kept(point);
        PointCounts {
            point: PointIx::of(point),
            due,
            answered: due,
            within_deadband,
            late: 0,
            failed: vec![],
        }
    });
    let counts = counts.collect();
    let last = items.last().map_or(START, |item| item.at().0);
    items.push(Input::Advance(EngineTime(last)));
    seal(&key(), &header(START, last), &Body::Inputs(InputsBody { items, counts })).len()
}

#[test]
fn sizes() {
    let items = vec![Input::Advance(EngineTime(START + 30_000))];
    let fixed =
        seal(&key(), &header(START, START + 30_000), &Body::Inputs(InputsBody { items, counts: vec![] }));
    println!("a record without readings: {} bytes", fixed.len());
    println!("{:28} {:>12} {:>12} {:>12}", "bytes per reading, all in", "1,000", "100", "without fixed");
    for shape in &SHAPES {
        let (thousand, hundred) = (size(shape, 1000), size(shape, 100));
        let apart = (hundred - fixed.len()) as f64 / 100.0;
        println!(
            "{:28} {:>12.2} {:>12.2} {apart:>12.2}",
            shape.name,
            thousand as f64 / 1000.0,
            hundred as f64 / 100.0
        );
        assert!(thousand < 5_000 && hundred < 1_000, "{}", shape.name);
    }
    assert!(fixed.len() < 250);
}
