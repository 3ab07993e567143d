//! Tests of the simulator from outside, in one binary: linking is what takes time.
#![allow(clippy::unwrap_used, reason = "tests")]

mod appliances;
mod compose;
mod faults;
mod feeds;
mod gallery;
mod history;
mod instruments;
mod maps;
mod physics;
mod program;
mod recordings;
mod same_seed;
mod tools;

use firmware_sim::civil::{Civil, DAY_S};
use firmware_sim::scenario::Scenario;
use firmware_sim::world::World;

/// 2026-11-18T00:00:00+08:00.
const MIDNIGHT: Civil = Civil(1_794_931_200_000);

/// A second of a day of the world.
const fn at(day: i64, hour: i64, minute: i64) -> Civil {
    MIDNIGHT.plus_s(day * DAY_S + hour * 3600 + minute * 60)
}

fn scenario(name: &str) -> Scenario {
    Scenario::load(name, None).unwrap()
}

fn world(name: &str) -> World {
    World::new(&scenario(name), MIDNIGHT, None)
}

fn value(world: &World, name: &str) -> f64 {
    world.signals().value(world.signals().find(name).unwrap())
}

fn hex(text: &str) -> Vec<u8> {
    text.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}
