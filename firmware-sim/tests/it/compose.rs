//! Scenarios made of scenarios.

use firmware_sim::scenario::{EMBEDDED, Scenario};

const HEAD: &str = "[scenario]\nbase = \"good-hotel\"\nname = \"x\"\ntitle = { zh = \"一\", en = \"x\" }\n";

fn told(text: &str) -> String {
    let problems = Scenario::parse("x.toml", text).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_embedded_scenario_can_be_run_and_says_what_it_is() {
    for (name, _) in EMBEDDED {
        let scenario = Scenario::load(name, None).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(scenario.name, *name);
        assert!(!scenario.title.zh.is_empty() && !scenario.title.en.is_empty(), "{name}");
    }
}

#[test]
fn a_file_goes_on_top_of_its_base_key_by_key() {
    let text = format!(
        "{HEAD}[[cabinet]]\nid = \"cabinet-1\"\nset_c = 90.0\n[[endpoint]]\nname = \"more\"\ntransport = \"tcp\"\n"
    );
    let (plain, changed) =
        (Scenario::load("good-hotel", None).unwrap(), Scenario::parse("x.toml", &text).unwrap());
    assert_eq!(changed.seed, plain.seed, "what is not said stays");
    assert_eq!(
        changed.devices().collect::<Vec<_>>(),
        plain.devices().collect::<Vec<_>>(),
        "changed, not added"
    );
    assert_eq!(changed.endpoints.len(), plain.endpoints.len() + 1, "added");
    assert_eq!(changed.check.sites, plain.check.sites);
    // 90 °C in the middle of the first run, where the base has 130 °C.
    let top = |scenario: &Scenario| {
        let mut world = firmware_sim::world::World::new(scenario, super::MIDNIGHT, None);
        world.step_to(super::at(0, 10, 25));
        super::value(&world, "cabinet-1/temperature")
    };
    assert!((88.0..92.0).contains(&top(&changed)) && (128.0..132.0).contains(&top(&plain)));
}

#[test]
fn faults_add_up_and_expectations_are_the_files_own() {
    let clinic = Scenario::load("clinic", None).unwrap();
    assert!(!clinic.plants.is_empty() && !clinic.check.expects.is_empty());
    let text = "[scenario]\nbase = [\"clinic\", \"heat-gun\"]\nname = \"x\"";
    let both = Scenario::parse("x.toml", text).unwrap();
    assert_eq!(both.plants.len(), clinic.plants.len() + 1);
    assert!(both.check.expects.is_empty() && both.check.not_yet.is_empty());
}

#[test]
fn problems_are_told_where_they_stand() {
    let unknown = told("\n[scenario]\nbase = \"no-such\"\nname = \"x\"");
    assert!(unknown.starts_with("x.toml:3:8: no embedded scenario is called `no-such`"), "{unknown}");
    let line = HEAD.lines().count() + 1;
    let wrong = told(&format!("{HEAD}[[cabinet]]\nid = \"cabinet-1\"\nheat = 1\n"));
    assert!(wrong.starts_with(&format!("x.toml:{}:1: unknown field `heat`", line + 2)), "{wrong}");
    let expect =
        "[[expect]]\ndevice = \"a\"\nrule = \"b\"\nraised = { day = 0, from = \"01:00\", to = \"02:00\" }\n";
    let rule = told(&format!("{HEAD}{expect}"));
    assert!(rule.starts_with(&format!("x.toml:{}:8: `b` is no rule", line + 2)), "{rule}");
    // The target is gone from the overlay's point of view only in the base's file: told with the base's line.
    let dangling = told(&format!(
        "{HEAD}[[endpoint]]\nname = \"modules\"\n[[endpoint.unit]]\nunit = 1\nmap = \"pressure\"\n"
    ));
    assert!(dangling.contains("good-hotel.toml:"), "{dangling}");
}

#[test]
fn a_file_that_is_its_own_base_ends_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("round.toml");
    std::fs::write(&path, "[scenario]\nbase = \"round\"\nname = \"x\"").unwrap();
    let error = format!("{:?}", Scenario::load(path.to_str().unwrap(), None).unwrap_err());
    assert!(error.contains("a base that names itself"), "{error}");
}
