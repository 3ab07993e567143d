//! One seed, one world: however time is cut, wherever the first midnight lies.

use firmware_sim::civil::{Civil, DAY_S};
use firmware_sim::scenario::Scenario;
use firmware_sim::world::World;
use proptest::prelude::*;

use super::{MIDNIGHT, scenario};

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
