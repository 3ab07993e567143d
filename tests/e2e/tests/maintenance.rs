//! `gateway maintenance`: a device out of service under a permit, said to the running gateway; for the record, and for the center.

use std::collections::BTreeSet;
use std::path::Path;

use e2e::process::Finished;
use e2e::records::{at_gateway, key};
use e2e::{Gateway, Place, gateway};
use gateway_model::{ConclusionBody, SuppressionEvent};
use gateway_wire::Body;

use crate::sites::{bus, fridge, head};

fn asked(data: &Path, rest: &[&str]) -> Finished {
    let mut args = vec!["maintenance", "--data", data.to_str().unwrap(), "--by", "p-7"];
    args.extend(rest);
    gateway::command(args)
}

/// What became of suppressions, in order, each once: event, who, why, for how long (ms).
fn recorded(data: &Path) -> Vec<(SuppressionEvent, String, String, Option<i64>)> {
    let key = key(data).verifying_key();
    let mut told: Vec<_> = Vec::new();
    for found in at_gateway(data) {
        let Body::Conclusions(conclusions) = found.open(&key).1 else { continue };
        for one in conclusions.list {
            let ConclusionBody::Suppression(change) = one.body else { continue };
            let (by, why) = change.by.unwrap_or_default();
            let entry = (change.change, by, why, change.until.map(|until| until.since(one.at)));
            if told.last() != Some(&entry) {
                told.push(entry);
            }
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_taken_out_of_service_under_a_permit_and_put_back() {
    let place = Place::new("maintenance");
    let site = head("lobby", None, "5s")
        + &bus("b", "tcp", "127.0.0.1:1")
        + &fridge("fridge-1", "b", "1s")
        + &fridge("fridge-2", "b", "1s");
    let mut running = Gateway::start(&place, &site, None, None).await;
    let data = running.data().to_owned();
    let out = ["fridge-1", "--for", "2h", "--permit", "W-17", "--reason", "new door seal"];
    let said = asked(&data, &out).good();
    assert!(said.contains("2 h"), "{said}");
    asked(&data, &["fridge-1", "--end"]).good();

    // What cannot be is said, and nothing is recorded.
    let refused = |rest: &[&str], code: i32, expected: &str| {
        let found = asked(&data, rest);
        assert_eq!(found.code, Some(code), "{rest:?}: {found:?}");
        assert!(found.stderr.contains(expected), "{rest:?}: {}", found.stderr);
    };
    refused(&["fridge-1", "--end"], 1, "\"fridge-1\" is not out of service");
    refused(&["fridge-9", "--end"], 1, "there is no device \"fridge-9\" here; there are fridge-1, fridge-2");
    let long = ["fridge-1", "--for", "31 d", "--permit", "W-18", "--reason", "x"];
    refused(&long, 1, "out of service for at most 30 d");
    refused(&["fridge-1", "--for", "2h", "--permit", " ", "--reason", "x"], 1, "permit: 1 to 200 bytes");
    refused(&["fridge-1", "--for", "2h", "--reason", "x"], 2, "--permit");
    refused(&["fridge-1"], 2, "--for");
    refused(&["fridge-1", "--for", "soon", "--permit", "W-18", "--reason", "x"], 2, "soon");

    // The other one stays out, and a restart changes nothing about it.
    asked(&data, &["fridge-2", "--for", "3 d", "--permit", "W-19", "--reason", "defrosting"]).good();
    running.stop();
    let away = asked(&data, &["fridge-2", "--end"]);
    assert!(away.code == Some(1) && away.stderr.contains("has to be running"), "{}", away.stderr);
    running.run().await;
    asked(&data, &["fridge-2", "--end"]).good();
    running.stop();
    let (person, nothing) = ("p-7".to_owned(), String::new());
    let took = |why: &str, hours: i64| {
        (SuppressionEvent::OutOfService, person.clone(), why.to_owned(), Some(hours * 3_600_000))
    };
    let back = (SuppressionEvent::BackInService, person.clone(), nothing, None);
    assert_eq!(
        recorded(&data),
        [took("new door seal", 2), back.clone(), took("defrosting", 72), back],
        "who, why, until when"
    );
    // Commands are inputs: what followed from them follows again.
    gateway::command(["rerun", data.to_str().unwrap()]).good();
    let words = gateway::command(["journal", "dump", data.to_str().unwrap()]).good();
    let lines: BTreeSet<&str> = words.lines().filter(|line| line.contains("command of p-7")).collect();
    assert!(!lines.is_empty(), "{words}");
}
