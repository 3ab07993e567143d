//! The recording: its format, and that live goes on where it ended.

use std::collections::HashMap;

use firmware_sim::civil::{Civil, DAY_S};
use firmware_sim::history::{self, HOLD_MS};
use firmware_sim::world::World;
use serde_json::Value;

use super::{MIDNIGHT, at, scenario};

fn record(name: &str, from: Civil, to: Civil) -> (Vec<Value>, World) {
    let scenario = scenario(name);
    let mut world = World::new(&scenario, MIDNIGHT, None);
    let mut out = Vec::new();
    let written = history::write(&scenario, &mut world, from, to, 10_000, &mut out).unwrap();
    assert_eq!(written.bytes, out.len() as u64);
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(written.lines, lines.len() as u64);
    (lines, world)
}

#[test]
fn in_time_order_with_head_blocks_and_silence() {
    let (from, to) = (at(2, 10, 0), at(2, 13, 0));
    let (lines, _) = record("hospital", from, to);
    assert_eq!(lines[0]["recording"], 1);
    assert_eq!(lines[0]["from"], from.0);
    assert_eq!(lines[0]["to"], to.0);
    let times: Vec<i64> = lines[1..].iter().map(|l| l["t"].as_i64().unwrap()).collect();
    assert!(times.is_sorted(), "not in time order");
    assert!(times.iter().all(|t| (from.0..to.0).contains(t)));

    // The scale is silent from 11:40 for 25 min: lines say so every minute, and no block comes.
    let silent: Vec<i64> =
        lines.iter().filter(|l| l["silent"] == true).map(|l| l["t"].as_i64().unwrap()).collect();
    assert_eq!(silent.first(), Some(&at(2, 11, 40).0));
    assert_eq!(silent.len(), 25);
    let within = |t: i64| (at(2, 11, 40).0..at(2, 12, 5).0).contains(&t);
    assert!(!lines.iter().any(|l| l["words"].is_array() && within(l["t"].as_i64().unwrap())));
    // After it all three blocks come at once.
    let back = lines.iter().filter(|l| l["words"].is_array() && l["t"] == at(2, 12, 5).0).count();
    assert_eq!(back, 3);
    assert!(lines.iter().any(|l| l["topic"] == "hospital/waste/bag"));
}

#[test]
fn a_reader_that_holds_sees_every_poll() {
    let (from, to) = (at(0, 9, 0), at(0, 11, 0));
    let (lines, _) = record("hotel", from, to);
    let scenario = scenario("hotel");
    let mut world = World::new(&scenario, from, None);
    let mut held: HashMap<(String, u64, u64), (i64, Vec<u16>)> = HashMap::new();
    let mut rest = lines[1..].iter().peekable();
    let mut t = from.0;
    while t < to.0 {
        world.step_to(Civil(t));
        while let Some(line) = rest.next_if(|l| l["t"].as_i64().unwrap() <= t) {
            let words = serde_json::from_value(line["words"].clone()).unwrap();
            let key = (
                line["bus"].as_str().unwrap().to_owned(),
                line["unit"].as_u64().unwrap(),
                line["first"].as_u64().unwrap(),
            );
            held.insert(key, (t, words));
        }
        for (e, endpoint) in scenario.endpoints.iter().enumerate() {
            for (u, unit) in endpoint.units.iter().enumerate() {
                for block in unit.map.blocks() {
                    let key = (endpoint.name.clone(), u64::from(unit.unit), u64::from(block.first));
                    let (since, words) = &held[&key];
                    assert_eq!(*words, world.block(e, u, *block), "{key:?} at {t}");
                    assert!(t - since <= HOLD_MS);
                }
            }
        }
        t += 10_000;
    }
}

#[test]
fn live_goes_on_where_history_ended() {
    let (from, to) = (MIDNIGHT.plus_s(34_000), MIDNIGHT.plus_s(34_000 + 3 * DAY_S));
    for name in ["hotel", "clinic", "hospital"] {
        let (_, mut after) = record(name, from, to);
        let mut live = World::new(&scenario(name), from, None);
        for world in [&mut after, &mut live] {
            world.step_to(to.plus_s(1000));
        }
        let (a, b) = (after.signals(), live.signals());
        for ix in (0..).map_while(|i| a.at(i)) {
            assert_eq!(a.shown(ix).to_bits(), b.shown(ix).to_bits(), "{:?}", a.label(ix));
        }
    }
}
