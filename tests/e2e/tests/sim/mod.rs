//! Every scenario, and exactly the alerts it says.

mod sockets;

use std::path::Path;

use e2e::sim::{MIDNIGHT, Seen, compare, contents, hour, live};
use e2e::{Place, records};
use firmware_sim::scenario::{EMBEDDED, Scenario};
use gateway_model::{EngineTime, GapCause};
use gateway_wire::Body;

/// Runs the scenario in virtual time and compares; gives the folder with what every site's gateway left.
async fn check(name: &str) -> Place {
    let scenario = Scenario::load(name, None).unwrap_or_else(|error| panic!("{error:?}"));
    let place = Place::new(&format!("sim-{name}"));
    let began = std::time::Instant::now();
    let lived = live(&scenario, place.path()).await;
    for not_yet in &scenario.check.not_yet {
        eprintln!("{name}: not seen yet: {} {} — {}", not_yet.device, not_yet.rule, not_yet.note.en);
    }
    eprintln!("{name}: {} day(s) in {:.1?}", scenario.check.days, began.elapsed());
    if let Err(differences) = compare(&scenario.check, &lived.alerts) {
        panic!("{name}: other alerts than expected\n{differences}");
    }
    let opened = lived.alerts.iter().filter(|seen| seen.item.is_some() && !seen.joined).count();
    assert_eq!(lived.cases.len(), opened);
    match name {
        // Settled at the institution: the supervisor never hears of it as an item.
        "load-repeated" => assert!(items(&lived.alerts, "sterilizer/cycle-failed").is_empty()),
        // Its instruments were used: top priority, an item at once.
        "load-used-anyway" => {
            let [seen] = items(&lived.alerts, "sterilizer/cycle-failed")[..] else {
                panic!("one load failed")
            };
            assert!(seen.item.is_some_and(|item| item < seen.raised + 7200), "{seen:?}");
        }
        _ => (),
    }
    place
}

/// The alerts of a rule that became a supervisor's item.
fn items<'s>(alerts: &'s [Seen], rule: &str) -> Vec<&'s Seen> {
    alerts.iter().filter(|seen| seen.rule == rule && seen.item.is_some()).collect()
}

macro_rules! scenarios {
    ($($test:ident $name:literal,)*) => {
        const CHECKED: &[&str] = &[$($name,)*];

        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                drop(check($name).await);
            }
        )*
    };
}

scenarios! {
    three_days_of_the_demo_hotel "hotel",
    three_days_of_the_demo_clinic "clinic",
    three_days_of_the_demo_hospital "hospital",
    a_good_day_of_a_hotel "good-hotel",
    a_good_day_of_a_clinic "good-clinic",
    a_good_day_of_a_hospital "good-hospital",
    cabinet_too_cool "cabinet-too-cool",
    cabinet_overheats "cabinet-overheats",
    door_under_pressure "door-under-pressure",
    load_used_anyway "load-used-anyway",
    load_repeated "load-repeated",
    one_load_twenty_visits "one-load-twenty-visits",
    lamp_worn_out "lamp-worn-out",
    waste_50_hours "waste-50-hours",
    collector_absent "collector-absent",
    weight_lost "weight-lost",
    label_twice "label-twice",
    fridge_door "fridge-door",
    bus_cut "bus-cut",
    power_cut "power-cut",
    breaker_nightly "breaker-nightly",
    district_offline "district-offline",
    heat_gun "heat-gun",
    probe_replaced "probe-replaced",
    holiday_declared "holiday-declared",
    holiday_undeclared "holiday-undeclared",
    used_while_closed "used-while-closed",
    fridge_frozen "fridge-frozen",
}

#[test]
fn every_embedded_scenario_is_checked() {
    let embedded: Vec<_> = EMBEDDED.iter().map(|(name, _)| *name).collect();
    assert_eq!(embedded, CHECKED);
}

#[tokio::test(start_paused = true)]
async fn the_records_say_what_a_power_cut_took() {
    let place = check("power-cut").await;
    let gaps: Vec<_> = contents(&place.path().join("hotel"))
        .into_iter()
        .filter_map(|record| if let Body::Gap(gap) = record.body { Some(gap) } else { None })
        .collect();
    let [gap] = &gaps[..] else { panic!("one gap: {gaps:#?}") };
    let minute = |at: EngineTime| (at.0 - MIDNIGHT.0) / 60_000;
    assert_eq!((gap.cause, gap.point, minute(gap.to)), (GapCause::Crash, None, 12 * 60 + 40), "{gap:?}");
    // What was read and not sealed yet is gone too, and said so: at most one sealing period.
    assert!((11 * 60 + 55..=12 * 60).contains(&minute(gap.from)) && gap.count > 0, "{gap:?}");
}

/// Seconds of the recorded hour: a load that aborts, a door left open, answers that stop in the middle.
const HOUR: (i64, i64) = (14 * 3600, 3600);

/// Three gateways with one key: the one that was recorded, and two that are given the recording.
#[tokio::test(start_paused = true)]
async fn a_recorded_hour_replayed_twice_gives_the_same_journal() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/hour.toml"));
    let scenario = Scenario::parse("hour.toml", &text.unwrap()).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let place = Place::new("sim-hour");
    let recording = place.path().join("hour.jsonl");
    let gateways = ["recorded", "first", "second"].map(|name| {
        let data = place.folder(name);
        std::fs::write(data.join("key"), "5a".repeat(32)).unwrap();
        data
    });
    hour::record(&scenario, HOUR.0, HOUR.1, &gateways[0], &recording).await;
    for data in &gateways[1..] {
        hour::replay(&scenario, HOUR.1, data, &recording).await;
    }
    let journals = gateways.each_ref().map(|data| {
        let said = contents(data);
        assert!(said.iter().any(|record| matches!(record.body, Body::Conclusions(_))), "something happened");
        // Epoch, number and hash of the signed bytes: equal hashes are equal content.
        records::at_gateway(data).iter().map(records::Found::identity).collect::<Vec<_>>()
    });
    assert_eq!(journals[1], journals[2], "replayed twice");
    assert_eq!(journals[0], journals[1], "as it was when it was recorded");
}
