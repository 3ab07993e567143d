//! The county (`e2e::county`): a week of four hundred sites here, the month by `cargo xtask long county`.

use e2e::county::{Control, County, Report};

const SMALL: u64 = 48;

fn county(sites: u64, days: u64, control: Control) -> Report {
    County { seed: 1, sites, days, jobs: 2, packs: Vec::new(), control }.go().unwrap()
}

#[test]
fn a_week_of_a_county_is_bearable_and_every_violation_reaches_a_supervisor() {
    let report = county(400, 7, Control::default());
    println!("{report}");
    assert_eq!(report.faults(), Vec::<String>::new());
    assert!(report.truths.len() >= 12, "every kind of violation took place: {:?}", report.truths);
    let (_, kept, cycles) = report.work;
    assert!(kept > 5_000_000 && cycles > 5_000, "{kept} readings, {cycles} cycles");
    let below = |rule: &str| report.rules.get(rule).map_or(0, |count| count.below);
    assert!(below("disinfection-cabinet/cycle-failed") > 50, "what is put right below stays below");
    // Two power cuts and a dead network are three things; now and then some people go home early together.
    assert!((3..=5).contains(&report.rules["center/many-silent"].items), "{report}");
}

#[test]
fn the_same_seed_gives_the_same_county_on_any_number_of_threads() {
    let run = |seed, jobs| {
        County { seed, sites: 12, days: 2, jobs, packs: Vec::new(), control: Control::default() }
            .go()
            .unwrap()
            .hash
    };
    assert_eq!(run(5, 1), run(5, 2));
    assert_ne!(run(5, 2), run(6, 2), "the hash says something");
}

#[test]
fn without_anybody_before_the_supervisor_the_limits_are_exceeded() {
    let report = county(200, 2, Control { nobody_first: true, ..Control::default() });
    assert!(report.faults().iter().any(|fault| fault.contains("new items")), "{report}");
}

#[test]
fn a_rule_that_is_switched_off_leaves_a_violation_unseen() {
    let switched_off = Some("gateway-self/lid-open");
    let seen = county(SMALL, 2, Control::default());
    assert!(seen.truths.contains_key("somebody opened the box"), "{:?}", seen.truths);
    assert!(seen.missed.is_empty(), "{:?}", seen.missed);
    let report = county(SMALL, 2, Control { switched_off, ..Control::default() });
    assert!(
        report.missed.iter().all(|missed| missed.contains("somebody opened the box")),
        "{:?}",
        report.missed
    );
    assert!(!report.missed.is_empty());
}

#[test]
fn one_case_for_one_cause_makes_fewer_items() {
    let sum = |report: &Report| report.daily.iter().sum::<u64>();
    let grouped = county(SMALL, 4, Control::default());
    let apart = county(SMALL, 4, Control { ungrouped: true, ..Control::default() });
    assert!(sum(&apart) > sum(&grouped), "{} and {}", sum(&apart), sum(&grouped));
    let cases = |report: &Report| report.rules.values().map(|count| count.items).sum::<u64>();
    assert_eq!(cases(&apart), sum(&apart), "each alert that is an item is an item of its own");
}
