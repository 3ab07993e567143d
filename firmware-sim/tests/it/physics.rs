//! The devices behave as devices do, and the days hold what the scenarios say.

use firmware_sim::civil::Civil;
use firmware_sim::steam;
use firmware_sim::world::World;

use super::{MIDNIGHT, at, scenario, value, world};

/// Seconds at or above `limit`, longest without a break, between two moments; and the highest value.
fn longest(world: &mut World, name: &str, limit: f64, from: Civil, to: Civil) -> (i64, f64) {
    let (mut run, mut best, mut peak, mut t) = (0, 0, f64::MIN, from);
    while t < to {
        world.step_to(t);
        let now = value(world, name);
        run = if now >= limit { run + 1 } else { 0 };
        best = best.max(run);
        peak = peak.max(now);
        t = t.plus_s(1);
    }
    (best, peak)
}

#[test]
fn good_cabinet_run_holds_by_every_norm() {
    for (limit, minutes) in [(125.0, 30), (120.0, 15), (100.0, 20)] {
        let mut world = world("hotel");
        let (best, peak) = longest(&mut world, "cabinet-1/temperature", limit, at(0, 9, 30), at(0, 12, 0));
        assert!(best >= minutes * 60, "{limit} °C only for {best} s");
        assert!(peak < 135.0, "overshoot to {peak}");
    }
    let mut world = world("hotel");
    let (_, dry) = longest(&mut world, "cabinet-1/temperature", 60.0, at(0, 16, 0), at(0, 17, 30));
    assert!((50.0..60.0).contains(&dry), "drying reached {dry} °C");
}

#[test]
fn planted_cabinet_failures() {
    let mut world = world("hotel");
    let (_, peak) = longest(&mut world, "cabinet-2/temperature", 100.0, at(1, 10, 0), at(1, 12, 30));
    assert!((60.0..90.0).contains(&peak), "weak element reached {peak} °C");
    let (again, _) = longest(&mut world, "cabinet-2/temperature", 100.0, at(1, 14, 0), at(1, 16, 0));
    assert!(again > 1800, "good again: {again} s");
    let mut doors = 0;
    let mut t = at(2, 13, 0);
    while t < at(2, 14, 30) {
        world.step_to(t);
        let hot = value(&world, "cabinet-1/temperature") > 90.0;
        doors += i32::from(hot && value(&world, "cabinet-1/door") > 0.5);
        t = t.plus_s(1);
    }
    assert!((30..90).contains(&doors), "door open for {doors} s in the hold");
}

#[test]
fn steam_follows_the_table_while_there_is_only_steam() {
    let mut world = world("clinic");
    let (mut hold, mut lowest, mut vacuum, mut off) = (0, f64::MAX, 0.0_f64, 0.0_f64);
    let mut t = at(0, 9, 15);
    while t < at(0, 10, 30) {
        world.step_to(t);
        let celsius = value(&world, "sterilizer-1/temperature");
        let gauge = value(&world, "sterilizer-1/pressure");
        let phase = value(&world, "sterilizer-1/phase");
        if (3.5..5.5).contains(&phase) {
            let table = steam::pressure_kpa(celsius);
            off = off.max((gauge + steam::AMBIENT_KPA - table).abs() / table);
        }
        if phase > 4.5 && phase < 5.5 {
            hold += 1;
            lowest = lowest.min(celsius);
        }
        vacuum = vacuum.min(gauge);
        t = t.plus_s(1);
    }
    assert!(off < 0.02, "{off} away from the table");
    assert!(hold >= 300, "hold of {hold} s");
    assert!((134.0..138.0).contains(&lowest), "lowest in the hold {lowest}");
    assert!(vacuum < -75.0, "vacuum only {vacuum} kPa");
}

#[test]
fn an_aborted_load_is_run_again_and_a_cold_one_is_seen() {
    let mut world = world("clinic");
    let (_, peak) = longest(&mut world, "sterilizer-1/temperature", 134.0, at(1, 10, 30), at(1, 11, 15));
    assert!((127.5..129.0).contains(&peak), "aborted at {peak}");
    let (hold, _) = longest(&mut world, "sterilizer-1/temperature", 134.0, at(1, 11, 15), at(1, 12, 5));
    assert!(hold > 240, "repeated with {hold} s");
    let (_, cold) = longest(&mut world, "sterilizer-1/temperature", 134.0, at(2, 15, 25), at(2, 16, 35));
    assert!((130.0..134.0).contains(&cold), "cold spot at {cold}");
}

#[test]
fn the_fridge_on_its_days() {
    let mut world = world("clinic");
    let (_, normal) = longest(&mut world, "fridge-1/temperature", 8.0, at(0, 1, 0), at(1, 17, 0));
    assert!(normal < 7.5, "a good day reached {normal}");
    let (warm, peak) = longest(&mut world, "fridge-1/temperature", 8.0, at(1, 17, 40), at(1, 20, 0));
    assert!(warm > 1800, "above 8 °C for {warm} s");
    assert!(peak < 12.0, "door ajar reached {peak}");
}

#[test]
fn the_incident_crosses_at_its_second() {
    let incident = at(3, 9, 47);
    let mut world = World::new(&scenario("clinic"), MIDNIGHT, Some(incident));
    let tenths = |world: &World| (value(world, "fridge-1/temperature") * 10.0).round();
    world.step_to(incident.plus_s(-10));
    assert!(tenths(&world) <= 120.0, "ten seconds early: {}", tenths(&world));
    let (over, peak) = longest(&mut world, "fridge-1/temperature", 12.05, incident, incident.plus_s(3600));
    assert!(over > 30 * 60, "above for {over} s");
    assert!(peak < 16.0, "peak {peak}");
    world.step_to(incident.plus_s(3 * 3600));
    assert!(value(&world, "fridge-1/temperature") < 8.0, "three hours later");
}

#[test]
fn the_lamp_ages_and_passes_a_thousand_hours() {
    let mut world = world("clinic");
    world.step_to(at(1, 12, 0));
    assert!(value(&world, "lamp-1/hours") < 1000.0);
    world.step_to(at(1, 14, 0));
    assert!(value(&world, "lamp-1/hours") > 1000.0);
    let (_, weak) = longest(&mut world, "lamp-1/irradiance", 70.0, at(2, 17, 55), at(2, 19, 0));
    assert!((55.0..70.0).contains(&weak), "dim lamp at {weak}");
}

#[test]
fn the_meter_counts_what_the_cabinet_takes() {
    let mut world = world("hotel");
    world.step_to(at(0, 9, 30));
    let before = value(&world, "meter-1/import");
    world.step_to(at(0, 12, 0));
    let run = value(&world, "meter-1/import") - before;
    assert!((0.6..1.8).contains(&run), "a run took {run} kWh");
}
