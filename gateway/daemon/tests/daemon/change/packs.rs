//! What is wrong with a pack is said with place and hint, by `gateway check` and by a gateway that runs; and what two sites
//! differ in, in words.

use gateway::config::difference::Difference;
use gateway::config::{self, explain};

use super::{PACK, rooms, snapshot, write};

const LINE: &[(&str, &str)] = &[("bus-1", "127.0.0.1:1"), ("bus-2", "127.0.0.1:2")];

/// Name, pack.
pub(super) fn wrong() -> Vec<(&'static str, String)> {
    let when = |condition: &str| PACK.replace("temperature > limit", condition);
    let deep = format!("{}temperature > limit{}", "(".repeat(70), ")".repeat(70));
    let huge = vec!["temperature > limit"; 220].join(" || ");
    assert!(huge.len() > 4096);
    vec![
        ("typing-mistake", PACK.replace("clear_for", "claer_for")),
        ("unknown-point", when("temprature > limit")),
        ("unit-clash", PACK.replace("default = \"30 °C\"", "default = \"30 kPa\"")),
        ("too-deep", when(&deep)),
        ("too-long", when(&huge)),
        ("no-end", when("temperature > ")),
    ]
}

#[test]
fn a_pack_with_a_problem_is_refused_with_place_and_hint() {
    for (name, pack) in wrong() {
        let dir = tempfile::tempdir().unwrap();
        let site = rooms(LINE, &[("room-a", "bus-1", 1)]);
        std::fs::write(dir.path().join("site.toml"), site).unwrap();
        std::fs::write(dir.path().join("own.toml"), pack).unwrap();
        let problems = config::load(&dir.path().join("site.toml")).unwrap_err();
        let said = explain(&problems, false).replace(&format!("{}/", dir.path().display()), "");
        assert!(said.contains("own.toml:") && said.contains('^'), "{name}: {said}");
        snapshot(&format!("{name}.txt"), &said);
    }
}

#[test]
fn the_difference_of_two_sites_is_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let of = |site: &str| write(dir.path(), site, PACK);
    let rooms_of = |rooms_: &[(&str, &str, u8)]| rooms(LINE, rooms_);
    let one = rooms_of(&[("room-a", "bus-1", 1), ("room-b", "bus-2", 1)]);
    let base = of(&one);
    let more = rooms_of(&[
        ("room-a", "bus-1", 1),
        ("room-c", "bus-1", 2),
        ("room-d", "bus-1", 3),
        ("room-e", "bus-1", 4),
        ("room-b", "bus-2", 1),
    ]);
    let cases = [
        ("the same", one.clone()),
        ("another order of devices", rooms_of(&[("room-b", "bus-2", 1), ("room-a", "bus-1", 1)])),
        ("three rooms on bus 1", more),
        ("one less", rooms_of(&[("room-b", "bus-2", 1)])),
        ("another period", one.replacen("every = \"10s\"", "every = \"20s\"", 1)),
        ("another address", one.replace("127.0.0.1:2", "127.0.0.1:3")),
        ("another time-out", one.replacen("500ms", "700ms", 1)),
        ("a bus less", rooms(&LINE[..1], &[("room-a", "bus-1", 1)])),
        ("another name", one.replacen("en = \"room-a\"", "en = \"Kitchen\"", 1)),
        ("another site name", one.replace("en = \"House\"", "en = \"Home\"")),
        ("seals and page", one.replace("\"5s\"", "\"6s\"").replace("127.0.0.1:0", "127.0.0.1:9")),
        (
            "a sink",
            format!(
                "{one}\n[[sink]]\nname = \"building\"\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\nprefix = \"a/b\"\n"
            ),
        ),
    ];
    let line =
        |(what, site): &(&str, String)| format!("{what}:\n  {}\n", Difference::between(&base, &of(site)));
    let text: String = cases.iter().map(line).collect();
    snapshot("differences.txt", &text);
}
