//! `gateway replay` and `gateway backtest`: what rules say of the past, with the real program over real journals.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use e2e::ground::root;
use e2e::process::Finished;
use e2e::records::{at_gateway, key};
use e2e::{Place, gateway};
use gateway_model::{Change, ConclusionBody};
use gateway_wire::Body;
use serde_json::Value;

use crate::sites::{bus, demo_clinic, fridge, head};

const MINUTE_MS: i64 = 60_000;
/// 2026-11-18T08:00:00+08:00.
const FROM: i64 = 1_794_960_000_000;

fn gateway(args: &[&str]) -> Finished {
    gateway::command(args)
}

fn answer(args: &[&str]) -> Value {
    serde_json::from_str(&gateway(args).good()).unwrap()
}

/// How often each rule raised at each device, as `--json` tells it of one set of rules.
fn raised(told: &Value, set: usize) -> BTreeMap<(String, String), u64> {
    let rules = told["rules"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = rules.map(|rule| {
        ((text(&rule["rule"]), text(&rule["device"])), rule["sums"][set]["raised"].as_u64().unwrap())
    });
    all.filter(|(_, raised)| *raised > 0).collect()
}

/// The same of what was raised before a moment: a gateway that goes on living may have more to say.
fn raised_before(told: &Value, end: i64) -> BTreeMap<String, usize> {
    let rules = told["rules"].as_array().unwrap().iter();
    let early = |rule: &Value| {
        let occurrences = rule["occurrences"][0].as_array().unwrap().iter();
        occurrences.filter(|one| one["from"].as_i64().unwrap() < end).count()
    };
    rules.map(|rule| (format!("{} {}", rule["rule"], rule["device"]), early(rule))).collect()
}

/// The same, as it stands in the journal: what people were told.
fn recorded(data: &Path) -> BTreeMap<(String, String), u64> {
    let key = key(data).verifying_key();
    let (mut plan, mut raised) = (None, BTreeMap::new());
    for found in at_gateway(data) {
        let body = found.open(&key).1;
        if let Body::Config(config) = body {
            plan = Some(config.plan);
        } else if let Body::Conclusions(conclusions) = body {
            for one in conclusions.list {
                let ConclusionBody::Alert(change) = one.body else { continue };
                if change.change == Change::Raised {
                    let plan = plan.as_ref().unwrap();
                    let rule = &plan.rules[change.rule.unwrap().slot()];
                    let device = plan.devices[rule.subject.slot()].id.clone();
                    *raised.entry((rule.id.clone(), device)).or_default() += 1;
                }
            }
        }
    }
    raised
}

/// The clinic's two days, from its journal, a bundle of it, and the recording they were made from.
#[tokio::test]
async fn the_past_under_the_same_rules_is_the_same_and_under_others_the_difference_is_told() {
    let place = Place::new("backtest");
    let (clinic, began) = demo_clinic(&place).await;
    let (site, data) = (place.path().join("clinic.toml"), clinic.data().to_string_lossy().into_owned());
    let site = site.to_string_lossy().into_owned();
    let told = recorded(clinic.data());
    assert!(told.values().sum::<u64>() >= 2, "{told:?}");

    let past = answer(&["backtest", &site, "--data", &data, "--json"]);
    assert_eq!(raised(&past, 0), told);
    assert!(past["readings"].as_u64().unwrap() > 10_000, "{}", past["readings"]);
    assert_eq!((&past["holes"], &past["unknown_readings"]), (&Value::from(0), &Value::from(0)));

    // Of the data directory, of a bundle, and of the recording itself.
    let bundle = place.path().join("clinic.tar").to_string_lossy().into_owned();
    let exported = gateway(&["journal", "export", &data, "--output", &bundle]);
    assert!([Some(0), Some(3)].contains(&exported.code), "{exported:?}");
    let recording = place.path().join("day.jsonl").to_string_lossy().into_owned();
    for from in [&data, &bundle] {
        assert_eq!(raised(&answer(&["replay", &site, from, "--json"]), 0), told, "{from}");
    }
    let end = began + 2 * 24 * 60 * MINUTE_MS;
    let anew = raised_before(&answer(&["replay", &site, &recording, "--json"]), end);
    assert_eq!(anew, raised_before(&past, end));
    assert!(anew.values().sum::<usize>() >= 2, "{anew:?}");

    // The same pack under another file name: no difference.
    let pack = std::fs::read_to_string(root().join("gateway/packs/cold-chain.toml")).unwrap();
    let same = place.write("same.toml", &pack).to_string_lossy().into_owned();
    let both = answer(&["backtest", &site, "--data", &data, "--rules", &same, "--json"]);
    assert_eq!(both["differences"], Value::Array(vec![]));
    assert_eq!((raised(&both, 0), raised(&both, 1)), (told.clone(), told.clone()));
    let words = gateway(&["backtest", &site, "--data", &data, "--rules", &same]).good();
    assert!(words.contains("no difference"), "{words}");

    // One step of the sensor lower, and half a minute longer at the door: nothing else differs.
    let (limit, door) = ("limit = { default = \"8 °C\"", "when = \"door\"\nfor = \"5 min\"");
    assert!(pack.contains(limit) && pack.contains(door));
    let stricter = pack.replacen(limit, "limit = { default = \"7.9 °C\"", 1);
    let stricter = stricter.replace(door, "when = \"door\"\nfor = \"5 min 30 s\"");
    let stricter = place.write("stricter.toml", &stricter).to_string_lossy().into_owned();
    let both = answer(&["backtest", &site, "--data", &data, "--rules", &stricter, "--json"]);
    let differences = both["differences"].as_array().unwrap();
    assert!(!differences.is_empty(), "an alert of a fridge left ajar moves with its limit: {told:?}");
    for one in differences {
        let rule = one["rule"].as_str().unwrap();
        assert!(["cold-chain/too-warm", "cold-chain/door-open"].contains(&rule), "{one}");
        assert_ne!(one["old"], one["new"], "{one}");
    }
}

/// A fridge at its limit, then a tenth above it, as its module answered, byte for byte.
fn recording(celsius: impl Fn(i64) -> i64, minutes: i64) -> String {
    let mut text = format!(
        "{{\"recording\":2,\"from\":{FROM},\"buses\":[{{\"name\":\"modules\",\"transport\":\"tcp\"}}]}}\n"
    );
    for n in 0..minutes * 6 {
        let (t, tenths) = (FROM + n * 10_000, celsius(n / 6));
        writeln!(
            text,
            "{{\"t\":{t},\"bus\":\"modules\",\"conn\":1,\"ask\":\"{n:04x}00000006010400000008\",\"got\":[[900,\"{n:04x}0000001301\"],[1200,\"0410{tenths:04x}{}\"]]}}",
            "0000".repeat(7)
        )
        .unwrap();
    }
    writeln!(text, "{{\"t\":{},\"end\":true}}", FROM + minutes * MINUTE_MS).unwrap();
    text
}

#[test]
fn a_field_recording_is_judged_to_the_second_and_a_tenth_of_a_degree_matters() {
    let place = Place::new("replay");
    let text = head("ward", None, "30s")
        + &bus("modules", "tcp", "127.0.0.1:1")
        + &fridge("fridge-1", "modules", "10s");
    let site = place.write("ward.toml", &text).to_string_lossy().into_owned();
    // An hour at 8.0 °C, an hour at 8.1 °C, then cold.
    let celsius = |minute: i64| match minute {
        0..60 => 80,
        60..120 => 81,
        _ => 50,
    };
    let file = place.write("ward.jsonl", &recording(celsius, 180)).to_string_lossy().into_owned();
    let picture = place.path().join("fridge.svg");
    let drawn = picture.to_string_lossy().into_owned();
    let told = answer(&["replay", &site, &file, "--json", "--plot", "fridge-1/temperature", "--out", &drawn]);
    let warm =
        told["rules"].as_array().unwrap().iter().find(|rule| rule["rule"] == "cold-chain/too-warm").unwrap();
    let occurrences = warm["occurrences"][0].as_array().unwrap();
    assert_eq!(occurrences.len(), 1, "{warm}");
    // The mean of 15 min, in steps of 15 s, is above the limit from the first step on, for 30 min; three minutes of cold bring it
    // back, for 10.
    assert_eq!(occurrences[0]["from"], FROM + 90 * MINUTE_MS + 15_000);
    assert_eq!(occurrences[0]["to"], FROM + 133 * MINUTE_MS);
    assert_eq!(raised(&told, 0).len(), 1, "{told}");

    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.ends_with("</svg>") && svg.contains("cold-chain/too-warm"),
        "{svg}"
    );
    // Of 720 wide, 90.25 to 133 of 180 min.
    let shaded = svg.split("fill-opacity").next().unwrap().rsplit("<rect ").next().unwrap().to_owned();
    let number = |key: &str| -> f64 {
        shaded
            .split(&format!(" {key}=\""))
            .nth(1)
            .or(shaded.strip_prefix(&format!("{key}=\"")))
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!((number("x") - (64.0 + 361.0)).abs() < 2.0 && (number("width") - 171.0).abs() < 2.0, "{shaded}");
}

#[test]
fn what_cannot_be_replayed_is_said_with_its_place_and_a_way_out() {
    let place = Place::new("replay-wrong");
    let text = head("ward", None, "30s")
        + &bus("modules", "tcp", "127.0.0.1:1")
        + &fridge("fridge-1", "modules", "10s");
    let site = place.write("ward.toml", &text).to_string_lossy().into_owned();
    let refused = |args: &[&str], code: i32, words: &[&str]| {
        let found = gateway(args);
        assert_eq!(found.code, Some(code), "{args:?}: {found:?}");
        for word in words {
            assert!(found.stderr.contains(word), "{args:?}: no {word:?} in {}", found.stderr);
        }
    };
    refused(&["replay", &site, "nowhere.jsonl"], 1, &["nowhere.jsonl"]);
    let prose = place.write("prose.txt", "Dear diary\n").to_string_lossy().into_owned();
    refused(&["replay", &site, &prose], 1, &["prose.txt", "first line", "docs/recording-format.md"]);
    let later = place.write("later.jsonl", "{\"recording\":9,\"from\":1}\n").to_string_lossy().into_owned();
    refused(&["replay", &site, &later], 1, &["version 9"]);
    let torn = recording(|_| 50, 1).replacen("\"bus\":", "\"bsu\":", 1);
    let torn = place.write("torn.jsonl", &torn).to_string_lossy().into_owned();
    refused(&["replay", &site, &torn], 1, &["line 2"]);
    let good = place.write("good.jsonl", &recording(|_| 50, 1)).to_string_lossy().into_owned();
    let out = place.path().join("x.svg").to_string_lossy().into_owned();
    refused(
        &["replay", &site, &good, "--plot", "fridge-9/temperature", "--out", &out],
        1,
        &["no such point", "fridge-1/temperature"],
    );
    refused(&["replay", &site, &good, "--plot", "fridge-1/temperature"], 2, &["--out"]);
    let empty = place.folder("empty").to_string_lossy().into_owned();
    refused(&["backtest", &site, "--data", &empty], 1, &["empty", "--data"]);
    refused(&["backtest", &site, "--since", "soon"], 2, &["soon"]);
    let pack = std::fs::read_to_string(root().join("gateway/packs/cold-chain.toml")).unwrap();
    let wrong = place.write("wrong.toml", &pack.replacen("temperature > limit", "temprature > limit", 1));
    refused(
        &["backtest", &site, "--rules", &wrong.to_string_lossy()],
        78,
        &["temprature", "wrong.toml", "^^^^"],
    );
}
