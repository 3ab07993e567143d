//! Scenarios in virtual time: one thread, paused tokio time, every part of the gateway that can be had without a socket.
//!
//! ```text
//! firmware_sim::World ── answers ── tokio::io::duplex ── the gateway's own bus, link and guard ─┐
//!        └────────────── messages ─ the gateway's own mapping of payloads ──────────────────────┤
//!                                        recorder: intake, engine, seal, journal on a real disk ┘
//! then: every record opened, the chain checked, every conclusion derived again, cases decided
//! ```
//!
//! Promises: a scenario gives the same alerts at the same times whenever and wherever it is run; what is compared comes
//! from the signed records, not from the engine's memory. Leaves out: sockets, brokers and the uplink (see the tests over
//! real processes); people.

mod book;
mod compare;
mod devices;
mod gateway;
pub mod hour;
mod site;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::gateway::bus::dial::Dial;
use firmware_sim::civil::{Civil, DAY_S};
use firmware_sim::clock::Clock;
use firmware_sim::host;
use firmware_sim::scenario::Scenario;
use firmware_sim::scenario::expect::{Lost, Outage};
use firmware_sim::world::World;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use book::{Opened, cases};
pub use compare::compare;
pub use gateway::{Seen, alerts, contents};

/// The first midnight: 2026-11-18T00:00:00+08:00, a Wednesday. Scenarios are the same on every date.
pub const MIDNIGHT: Civil = Civil(1_794_931_200_000);

/// How often the world is stepped when nobody asks: messages reach a broker so late at most.
const TICK: Duration = Duration::from_secs(1);

/// Messages waiting for a gateway that has no power: a publisher repeats them until the broker is back.
const MESSAGES_MAX: usize = 100_000;

/// The way to a bus, by its name.
pub(crate) type Dials = Arc<dyn Fn(&str) -> Arc<dyn Dial> + Send + Sync>;

/// What a gateway finds around it, from a moment on.
#[derive(Clone)]
pub(crate) struct Stage {
    /// The way to a bus, by its name.
    pub(crate) dials: Dials,
    /// What fails.
    pub(crate) outages: Vec<Outage>,
    /// When it begins, and how many seconds it lasts.
    pub(crate) from: Civil,
    pub(crate) for_s: i64,
    begin: Instant,
}

impl Stage {
    /// When so many seconds after the beginning have passed.
    pub(crate) fn at(&self, second: i64) -> Instant {
        self.begin + Duration::from_secs(u64::try_from(second).unwrap_or(0))
    }
}

/// What every site's gateway did in a scenario, by the signed records it left under `folder`.
#[derive(Debug)]
pub struct Lived {
    /// Alerts, in the order they were raised.
    pub alerts: Vec<Seen>,
    /// Cases that the center's casebook opened, in order.
    pub cases: Vec<Opened>,
}

/// Runs a scenario. Needs a runtime of one thread whose time is paused.
pub async fn live(scenario: &Scenario, folder: &Path) -> Lived {
    let check = &scenario.check;
    assert!(!check.sites.is_empty(), "`{}` names no site in [run]", scenario.name);
    let world = World::new(scenario, MIDNIGHT, None);
    let (publish, mut published) = mpsc::channel(MESSAGES_MAX);
    let clock = Clock::starting(MIDNIGHT, 1.0);
    let begin = Instant::now();
    let (host, hosting) = host::ticking(world, clock, Some(publish), TICK);
    let hosting = tokio::spawn(hosting);
    let stage = Stage {
        dials: devices::endpoints(scenario, host),
        outages: check.outages.clone(),
        from: MIDNIGHT,
        for_s: i64::from(check.days) * DAY_S,
        begin,
    };

    let mut doors = Vec::new();
    let mut gateways = Vec::new();
    for name in &check.sites {
        let site = site::load(name, check.poll_s);
        let (door, messages) = mpsc::channel(MESSAGES_MAX);
        doors.push(door);
        let lived = gateway::live(site, folder.join(name), stage.clone(), messages);
        gateways.push((name, tokio::spawn(lived)));
    }
    let spreading = tokio::spawn(async move {
        while let Some(message) = published.recv().await {
            for door in &doors {
                door.try_send(message.clone()).expect("fewer messages than there is room for");
            }
        }
    });
    let mut lived = Lived { alerts: Vec::new(), cases: Vec::new() };
    let cut: Vec<_> = check.outages.iter().filter(|outage| outage.lost == Lost::Uplink).collect();
    for (name, gateway) in gateways {
        gateway.await.expect("a gateway does not panic");
        let data = folder.join(name);
        let seen = alerts(&data);
        let (mine, theirs) = cases(&data, &seen, &cut);
        lived.alerts.extend(mine);
        lived.cases.extend(theirs);
    }
    spreading.abort();
    hosting.abort();
    lived.alerts.sort_by_key(|seen| seen.raised);
    lived
}
