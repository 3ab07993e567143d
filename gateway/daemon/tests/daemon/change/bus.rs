//! A bus that runs and is asked for other things, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use gateway::bus::{Bus, Replan};
use gateway::clock::{Clock, Wall};
use gateway::metrics::Metrics;
use gateway::pause::Jitter;
use gateway::recorder::slots::Slots;
use gateway::recorder::{self, Civil, Event};
use gateway_model::EngineTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{PACK, rooms, write};
use crate::bus::Line;

#[tokio::test(start_paused = true)]
async fn requests_that_stay_keep_their_turn_and_new_ones_begin_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let line = Line::new(9600);
    let of = |list: &[(&str, &str, u8)]| {
        let mut site = write(dir.path(), &rooms(&[("b", "127.0.0.1:1")], list), PACK);
        site.buses[0] = line.plan();
        site
    };
    let old = of(&[("room-a", "b", 1), ("room-b", "b", 2)]);
    let new = of(&[("room-x", "b", 3), ("room-a", "b", 1)]);
    let (doors, mut rooms) = recorder::doors(Civil::default());
    let (stop, metrics) = (CancellationToken::new(), Metrics::default());
    let bus =
        Bus::of(&old, 0, 1.0, metrics.clone(), None).dialing(Arc::new(line.clone())).jittered(Jitter::None);
    let (replans, changed) = mpsc::channel(1);
    let clock = Clock::start(Wall::system(), EngineTime(0));
    let polling = tokio::spawn(bus.run_changing(clock, doors.inputs.clone(), changed, stop.clone()));
    let start = tokio::time::Instant::now();
    let mut seen = Vec::new();
    let listen = async |rooms: &mut recorder::Rooms, until: u64, seen: &mut Vec<(i64, u32)>| {
        let end = start + Duration::from_secs(until);
        while let Ok(Some(event)) = tokio::time::timeout_at(end, rooms.next_event()).await {
            let Event::Answers(answers) = event else { panic!("nothing is missed: {event:?}") };
            // To the second: a request takes some milliseconds.
            seen.extend(answers.items.iter().map(|(point, _)| (answers.at.0 / 1_000, point.0)));
        }
    };
    listen(&mut rooms, 25, &mut seen).await;
    let slots = Slots::between(&old.plan, &new.plan);
    let inputs = doors.inputs.of(1);
    replans.send(Replan { blocks: new.blocks_of(0), slots, inputs }).await.unwrap();
    listen(&mut rooms, 48, &mut seen).await;
    assert_eq!(
        seen,
        [
            // room-a and room-b, as 0 and 1
            (0, 0),
            (0, 1),
            (10, 0),
            (10, 1),
            (20, 0),
            (20, 1),
            // room-x at once, as 0; room-a when it is its turn, as 1; room-b no more
            (25, 0),
            (30, 1),
            (35, 0),
            (40, 1),
            (45, 0),
        ]
    );
    assert_eq!(metrics.bus_count("line", "missed"), 0);
    stop.cancel();
    polling.await.unwrap().unwrap();
}
