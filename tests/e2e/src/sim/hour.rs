//! An hour that is recorded while a gateway lives through it, and given to other gateways again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use firmware_sim::civil::Civil;
use firmware_sim::clock::Clock;
use firmware_sim::host;
use firmware_sim::mqtt::Publication;
use firmware_sim::record::{self, Recorder, relay};
use firmware_sim::recording::file::Writer;
use firmware_sim::recording::{Bus, Head, Line, Published, VERSION};
use firmware_sim::replay::serve::Desk;
use firmware_sim::replay::{Options, Player, Tape};
use firmware_sim::scenario::Scenario;
use firmware_sim::world::World;
use futures_util::future::BoxFuture;
use gateway::bus::dial::{Dial, Stream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Dials, MESSAGES_MAX, MIDNIGHT, Stage, TICK, devices, gateway as edge, site};

/// Bytes of a recording of an hour at most.
const RECORDING_MAX: u64 = 64 << 20;

/// A gateway lives through a part of a scenario's first day, from second `from_s` on, and everything that goes by is written
/// to `recording`. Needs a runtime of one thread whose time is paused.
pub async fn record(scenario: &Scenario, from_s: i64, for_s: i64, data: &Path, recording: &Path) {
    let from = MIDNIGHT.plus_s(from_s);
    let clock = Clock::starting(from, 1.0);
    let buses = scenario.endpoints.iter().map(|endpoint| {
        let (name, transport) = (endpoint.name.clone(), endpoint.transport);
        Bus { name, transport }
    });
    let head = Head { recording: VERSION, from: from.0, by: "tests".into(), buses: buses.collect() };
    let writer = Writer::create(recording, &head).expect("a recording can be begun");
    let (recorder, lines) = Recorder::new(clock.clone());
    let writing = tokio::spawn(record::write(lines, writer, RECORDING_MAX));

    let world = World::new(scenario, MIDNIGHT, None);
    let (publish, mut published) = mpsc::channel(MESSAGES_MAX);
    let begin = Instant::now();
    let (host, hosting) = host::ticking(world, clock, Some(publish), TICK);
    let hosting = tokio::spawn(hosting);
    let direct = devices::endpoints(scenario, host);
    let dials: Dials = {
        let (recorder, buses) = (recorder.clone(), head.buses.clone());
        Arc::new(move |name| {
            let bus = buses.iter().find(|bus| bus.name == name).expect("a bus of the scenario").clone();
            let (device, recorder) = (direct(name), recorder.clone());
            Arc::new(Tapped { device, bus, recorder, conn: AtomicU64::new(0) })
        })
    };
    let (door, messages) = mpsc::channel(MESSAGES_MAX);
    let spreading = tokio::spawn(async move {
        while let Some(message) = published.recv().await {
            let (topic, payload) = (message.topic.clone(), message.payload.clone());
            let at = recorder.now();
            recorder.put(Line::Published(Published { at, topic, payload, qos: 1, retain: false }));
            door.try_send(message).expect("fewer messages than there is room for");
        }
    });
    let stage = Stage { dials, outages: Vec::new(), from, for_s, begin };
    let name = &scenario.check.sites[0];
    edge::live(site::load(name, scenario.check.poll_s), data.to_owned(), stage, messages).await;
    hosting.abort();
    spreading.abort();
    let written = writing.await.expect("the writer does not panic").expect("the recording can be written");
    assert_eq!(written.beyond, 0, "the recording is whole");
    assert!(written.exchanges > 0, "something was recorded");
}

/// Another gateway of the same site lives through the recording.
pub async fn replay(scenario: &Scenario, for_s: i64, data: &Path, recording: &Path) {
    let player = Arc::new(Player::new(Tape::open(recording).expect("a recording"), Options::default()));
    let from = player.tape().from();
    let clock = Clock::starting(from, 1.0);
    let begin = Instant::now();
    let dials: Dials = {
        let (player, clock) = (player.clone(), clock.clone());
        Arc::new(move |name| {
            let bus = player.tape().bus(name).expect("a bus of the recording");
            Arc::new(Played(Desk::new(player.clone(), bus, clock.clone())))
        })
    };
    let (door, messages) = mpsc::channel(MESSAGES_MAX);
    let spreading = {
        let player = player.clone();
        tokio::spawn(async move {
            for message in player.messages_between(from, Civil(i64::MAX)) {
                clock.until(message.at).await;
                let (topic, payload) = (message.topic.clone(), message.payload.clone());
                let message = Publication { topic, payload, retain: message.retain };
                door.send(message).await.expect("the gateway is there");
            }
            // The door stays open: no message is not the end of the world.
            std::future::pending::<()>().await;
        })
    };
    let stage = Stage { dials, outages: Vec::new(), from, for_s, begin };
    let name = &scenario.check.sites[0];
    edge::live(site::load(name, scenario.check.poll_s), data.to_owned(), stage, messages).await;
    spreading.abort();
    let counts = player.counts();
    assert!(counts.strangers == 0, "asked and never recorded: {:?}", counts.by_request);
}

/// A way to a device with a recorder in it.
struct Tapped {
    device: Arc<dyn Dial>,
    bus: Bus,
    recorder: Recorder,
    conn: AtomicU64,
}

impl Dial for Tapped {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let device = self.device.dial(address).await?;
            let (ours, theirs) = devices::pipe();
            let (bus, recorder) = (self.bus.clone(), self.recorder.clone());
            let conn = self.conn.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::spawn(async move {
                // However it ends, both sides see a connection that ended.
                relay::relay(theirs, device, &bus, conn, &recorder).await.ok();
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

/// A bus of a recording.
struct Played(Desk);

impl Dial for Played {
    fn dial<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let (ours, theirs) = devices::pipe();
        let desk = self.0.clone();
        tokio::spawn(async move {
            desk.stream(theirs).await.ok();
        });
        Box::pin(std::future::ready(Ok(Box::new(ours) as Box<dyn Stream>)))
    }
}
