//! A bus that a change does not touch, through the change, in virtual time: the daemon's own buses and recorder in one thread.

use std::sync::Arc;
use std::time::Duration;

use gateway::bus::{Bus, Replan};
use gateway::clock::{Clock, Wall};
use gateway::config::BusPlan;
use gateway::config::difference::{Act, Difference};
use gateway::metrics::Metrics;
use gateway::pause::Jitter;
use gateway::recorder::slots::Slots;
use gateway::recorder::start::start;
use gateway::recorder::{self, Civil, Event, Reconfigure};
use gateway::state::DataDir;
use gateway_evidence::{Verdict, recompute};
use gateway_journal::{Journal, Limits, Position};
use gateway_model::{CivilTime, ConfigChange, ConfigStep, EngineTime, Plan};
use gateway_wire::{Body, Record, open};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{PACK, rooms, write};
use crate::bus::Line;
use crate::rig::{point, setup};

const BEGIN: i64 = 1_795_305_600_000;

/// What was due, answered and failed for a point in records of its plan.
fn counts(records: &[Record], epoch: u64, plan: &Plan, id: &str) -> (u32, u32, u32) {
    let point = point(plan, id);
    let mut sum = (0, 0, 0);
    for record in records.iter().filter(|record| record.header.epoch.0 == epoch) {
        let Body::Inputs(inputs) = &record.body else { continue };
        for counts in inputs.counts.iter().filter(|counts| counts.point == point) {
            sum.0 += counts.due;
            sum.1 += counts.answered;
            sum.2 += counts.failed.iter().sum::<u32>();
        }
    }
    sum
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_a_change_does_not_touch_keeps_its_grid_and_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [Line::new(9_600), Line::new(9_600)];
    let of = |list: &[(&str, &str, u8)]| {
        let mut site = write(dir.path(), &rooms(&[("a", "127.0.0.1:1"), ("b", "127.0.0.1:2")], list), PACK);
        for (bus, line) in site.buses.iter_mut().zip(&lines) {
            *bus = BusPlan { name: bus.name.clone(), address: format!("/dev/{}", bus.name), ..line.plan() };
        }
        site
    };
    let old = of(&[("room-a", "a", 1), ("room-b", "b", 1)]);
    // The new room comes first: what stays has another slot in the new plan.
    let new = of(&[("room-c", "b", 2), ("room-a", "a", 1), ("room-b", "b", 1)]);
    let difference = Difference::between(&old, &new);
    assert_eq!((difference.bus("a"), difference.bus("b")), (None, Some(Act::Replanned)));

    let data = DataDir::open(&dir.path().join("data")).unwrap();
    let (urgent, _urgent) = mpsc::channel(1_000);
    let wall = Wall::demo_from(CivilTime(BEGIN), 1.0);
    let (core, _) = start(setup(&data, &old.plan, wall.clone(), urgent)).unwrap();
    let (doors, recorded) = recorder::doors(Civil::default());
    let (stop, seal, metrics) = (CancellationToken::new(), CancellationToken::new(), Metrics::default());
    let clock = Clock::start(wall, EngineTime(BEGIN));
    let begin = Instant::now();
    let recording = {
        let (clock, seal) = (clock.clone(), seal.clone());
        tokio::spawn(async move { recorder::record(core, &clock, recorded, &seal).await })
    };
    let mut replans = Vec::new();
    let buses: Vec<_> = (0..2)
        .map(|slot| {
            let (replan, changed) = mpsc::channel(1);
            replans.push(replan);
            let bus = Bus::of(&old, slot, 1.0, metrics.clone(), None);
            let bus = bus.dialing(Arc::new(lines[slot].clone())).jittered(Jitter::None);
            tokio::spawn(bus.run_changing(clock.clone(), doors.inputs.clone(), changed, stop.clone()))
        })
        .collect();

    // In the middle of a request of each bus: it is asked at each tenth second, and 12 bytes at 9600 baud take longer.
    sleep_until(begin + Duration::from_millis(60_010)).await;
    let change = ConfigChange {
        step: ConfigStep::Applied,
        config: Some([7; 32]),
        order: None,
        said: difference.to_string(),
    };
    let (begun, told) = oneshot::channel();
    let asked = Reconfigure { plan: new.plan.clone(), change, ordered: None, live: vec![0, 1], begun };
    doors.inputs.send(Event::Reconfigure(Box::new(asked))).await.unwrap();
    let begun = told.await.unwrap().unwrap();
    assert_eq!(begun.epoch, 2);
    let slots = Slots::between(&old.plan, &new.plan);
    let inputs = doors.inputs.of(begun.generation);
    replans[1].send(Replan { blocks: new.blocks_of(1), slots, inputs }).await.unwrap();
    sleep_until(begin + Duration::from_secs(125)).await;
    stop.cancel();
    for bus in buses {
        bus.await.unwrap().unwrap();
    }
    seal.cancel();
    recording.await.unwrap().unwrap();

    // Every tenth second, as exact as a timer is, on one connection; nothing was missed on either bus.
    let asked = |line: &Line, unit: u8| -> Vec<u128> {
        line.asked_at(unit).iter().map(|at| at.duration_since(begin).as_millis()).collect()
    };
    let first = asked(&lines[0], 1)[0];
    assert!(first < 50, "{first}");
    let whole = asked(&lines[0], 1);
    let grid = whole.iter().zip(0..).all(|(at, n)| at.abs_diff(first + n * 10_000) <= 1);
    assert!(grid && whole.len() == 13, "the bus that was not touched: {whole:?}");
    let others = asked(&lines[1], 1);
    assert_eq!(others.len(), 13, "{others:?}");
    assert!(others.windows(2).all(|pair| (9_900..10_100).contains(&(pair[1] - pair[0]))), "{others:?}");
    assert_eq!([lines[0].dials(), lines[1].dials()], [1, 1], "no line was opened again");
    for bus in ["a", "b"] {
        assert_eq!(metrics.bus_count(bus, "missed"), 0, "{bus}");
    }

    // The same by the signed records: counts close over the change, and the numbers of each epoch have no hole.
    let key = data.key().unwrap().verifying_key();
    let (journal, _) = Journal::open(&data.journal(), Limits::default()).unwrap();
    let records: Vec<Record> = journal
        .scan(Position::default())
        .map(|stored| {
            let opened = open(&key, &stored.unwrap().bytes).unwrap();
            Record { header: opened.header, body: opened.body.unwrap() }
        })
        .collect();
    for id in ["room-a/temperature", "room-b/temperature"] {
        let (before, after) = (counts(&records, 1, &old.plan, id), counts(&records, 2, &new.plan, id));
        assert_eq!((before.0 + after.0, before.1 + after.1, before.2 + after.2), (13, 13, 0), "{id}");
        assert!(before.1 >= 6 && after.1 >= 6, "{id}: {before:?}, {after:?}");
    }
    let mut expected = (1, 0);
    for record in &records {
        let at = (record.header.epoch.0, record.header.seq.0);
        if at == (2, 0) {
            expected = at;
        }
        assert_eq!(at, expected, "records are numbered without a hole");
        expected.1 += 1;
        assert!(!matches!(record.body, Body::Gap(_)), "{record:?}");
    }
    assert_eq!(expected.0, 2);
    let found = recompute(records.iter().cloned());
    assert_eq!(found.verdict(), Verdict::Valid, "{found:?}");
}
