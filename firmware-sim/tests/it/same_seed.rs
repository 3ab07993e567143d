//! One seed, one world: however time is cut, wherever the first midnight lies.

use std::time::Duration;

use firmware_sim::civil::{Civil, DAY_S};
use firmware_sim::clock::Clock;
use firmware_sim::host::host;
use firmware_sim::mqtt::Publication;
use firmware_sim::scenario::Scenario;
use firmware_sim::world::World;
use proptest::prelude::*;

use super::{MIDNIGHT, at, scenario, world};

/// Every signal as bits, and all messages, of a world that was stepped in these pieces (seconds).
fn lived(scenario: &Scenario, from: Civil, pieces: &[i64]) -> (Vec<u64>, Vec<(i64, String)>) {
    let mut world = World::new(scenario, from, None);
    let mut messages = Vec::new();
    let mut t = from;
    for piece in pieces {
        t = t.plus_s(*piece);
        world.step_to(t);
        messages.extend(world.take_messages().map(|m| (m.at.0 - from.0, m.topic)));
    }
    let signals = world.signals();
    let bits = snapshot(signals);
    (bits, messages)
}

fn snapshot(signals: &firmware_sim::signal::Signals) -> Vec<u64> {
    (0..).map_while(|i| signals.at(i)).map(|ix| signals.shown(ix).to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_time(
        name in prop::sample::select(vec!["hotel", "clinic", "hospital"]),
        pieces in prop::collection::vec(0_i64..20_000, 1..20),
    ) {
        let scenario = scenario(name);
        let whole = lived(&scenario, MIDNIGHT, &[pieces.iter().sum()]);
        prop_assert_eq!(lived(&scenario, MIDNIGHT, &pieces), whole);
    }
}

#[test]
fn another_date_is_the_same_day_and_another_seed_is_not() {
    let pieces = [3 * DAY_S + 40_000];
    let one = lived(&scenario("clinic"), MIDNIGHT, &pieces);
    let other_date = lived(&scenario("clinic"), MIDNIGHT.plus_s(100 * DAY_S), &pieces);
    assert_eq!(one, other_date);
    let other_seed = lived(&Scenario::load("clinic", Some(7)).unwrap(), MIDNIGHT, &pieces);
    assert_ne!(one, other_seed);
}

/// What a world in the hands of its host shows at `end`, and what it published on the way.
async fn lived_with_a_clock(clock: Clock, end: Civil, pieces: &[u64]) -> (Vec<u64>, Vec<Publication>) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(100_000);
    let (host, task) = host(world("hospital"), clock.clone(), Some(sender));
    tokio::spawn(task);
    host.with(|_| ()).await.unwrap();
    if clock.speed().is_none() {
        for piece in pieces {
            host.step(Duration::from_millis(*piece)).await.unwrap();
        }
        let left = end.0 - clock.now().0;
        host.step(Duration::from_millis(left as u64)).await.unwrap();
    }
    // Half a second beyond: no rounding of a clock that runs brings it to another second.
    clock.until(end).await;
    let bits = host
        .with(move |world| {
            assert_eq!(world.now().0, end.0 - 500);
            snapshot(world.signals())
        })
        .await
        .unwrap();
    // The message of this second was sent before we were answered.
    let mut messages = Vec::new();
    while let Ok(message) = receiver.try_recv() {
        messages.push(message);
    }
    (bits, messages)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Real, fast or stepped in any pieces: the same values and the same messages.
    #[test]
    fn any_speed(
        speed in prop::sample::select(vec![1.0, 7.3, 60.0, 200.0]),
        pieces in prop::collection::vec(1_u64..100_000, 0..20),
    ) {
        let (begin, end) = (at(0, 9, 30), Civil(at(0, 10, 10).0 + 500));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (running, stepped) = runtime.block_on(async {
            let running = lived_with_a_clock(Clock::starting(begin, speed), end, &[]).await;
            (running, lived_with_a_clock(Clock::held(begin), end, &pieces).await)
        });
        prop_assert!(!running.1.is_empty(), "a morning of waste bags");
        prop_assert_eq!(&running, &stepped);
        let mut alone = world("hospital");
        alone.step_to(end);
        prop_assert_eq!(running.0, snapshot(alone.signals()));
    }
}
