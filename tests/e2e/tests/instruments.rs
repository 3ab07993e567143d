//! What happens to an instrument is said to the running gateway, is a signed record, and stands in every later bundle.

use std::path::Path;

use e2e::center::Center;
use e2e::clock::real_now;
use e2e::ground::root;
use e2e::records::key;
use e2e::wait::until;
use e2e::{Gateway, Place, gateway};
use gateway_wire::{hash, hex};
use serde_json::{Value, json};

use crate::evidence::agree;
use crate::sites::{bus, fridge, head};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
const DAY_MS: i64 = 86_400_000;

fn told(data: &Path, what: &str, rest: &[&str]) -> e2e::process::Finished {
    let data = data.to_str().unwrap();
    let mut args = vec!["device", what, "fridge-1", "--data", data];
    args.extend(rest);
    gateway::command(args)
}

fn devices(place: &Place, data: &Path, policy: &Path) -> Value {
    let bundle = place.path().join("bundle.tar");
    gateway::command(["journal", "export", data.to_str().unwrap(), "-o", bundle.to_str().unwrap()]).good();
    let (first, _) = agree(&bundle, policy);
    assert_eq!(first.line("identity")["status"], "ok", "{:#}", first.line("identity"));
    first.line("context").clone()
}

/// Ordered by the center: the running gateway makes itself a new key, goes on with it within seconds, and what it sealed with
/// the old one arrives all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_gateway_changes_its_key_when_the_center_orders_it() {
    let place = Place::new("ordered-key");
    let center = Center::start_with(&place, "").await;
    let site = head("lobby", Some(&center.url), "5s")
        + &bus("b", "tcp", "127.0.0.1:1")
        + &fridge("fridge-1", "b", "1s");
    let mut running = Gateway::start(&place, &site, Some(&center), None).await;
    let before = key(running.data()).verifying_key();
    center.api().post(&format!("/api/v1/gateways/{}/rotate-key", running.id), &json!({})).await;
    let again = running.up().await;
    assert_eq!((again["epoch"].as_u64(), again["gateway"].as_str()), (Some(2), Some(running.id.as_str())));
    assert_ne!(key(running.data()).verifying_key(), before);
    let api = center.api();
    e2e::wait::eventually("records of the new key are receipted", PATIENCE, async || {
        let gateways = api.list("/api/v1/gateways", "gateways").await;
        let row = &gateways[0];
        if row["epoch"] == 2 && row["through"].as_i64() >= Some(2) { Ok(()) } else { Err(row.to_string()) }
    })
    .await;
    running.stop();
    gateway::command(["journal", "fsck", running.data().to_str().unwrap()]).good();
    gateway::command(["rerun", running.data().to_str().unwrap()]).good();
}

/// Rule packs are what records name by a hash: they reach the center by themselves, in pieces, and stay there for whoever
/// verifies a record when no release has them any more. Erasing is an act with a reason.
#[tokio::test(flavor = "multi_thread")]
async fn packs_reach_the_center_and_only_a_logged_act_takes_them_away() {
    let place = Place::new("packs");
    let center = Center::start_with(&place, "").await;
    let own = std::fs::read_to_string(root().join("gateway/packs/cold-chain.toml")).unwrap();
    let site = head("lobby", Some(&center.url), "5s")
        + &bus("b", "tcp", "127.0.0.1:1")
        + &fridge("fridge-1", "b", "1s");
    let mut running = Gateway::start(&place, &site, Some(&center), None).await;
    let name = hex(&hash(own.as_bytes()));
    let there = center.data().join("attachments").join(&name);
    let mark = running.data().join("attachments").join(format!("{name}.sent"));
    let arrived = || if there.exists() && mark.exists() { Ok(()) } else { Err("not there") };
    until("the pack is at the center", PATIENCE, arrived);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), own);
    running.stop();

    let api = center.api();
    let unsaid = api.try_post(&format!("/api/v1/attachments/{name}/erase"), &json!({"reason": " "})).await;
    assert_eq!(unsaid.status, 422, "{}", unsaid.body);
    let duty = center.person("duty").await;
    let other = duty.try_post(&format!("/api/v1/attachments/{name}/erase"), &json!({"reason": "x"})).await;
    assert_eq!(other.status, 403, "{}", other.body);
    api.post(
        &format!("/api/v1/attachments/{name}/erase"),
        &json!({"reason": "a person in the picture asked for it"}),
    )
    .await;
    assert!(!there.exists());
    let gone = api.try_get(&format!("/api/v1/attachments/{name}")).await.unwrap();
    assert_eq!((gone.status.as_u16(), &gone.body["code"]), (410, &Value::from("erased")));
    // Who still has the bytes cannot bring them again.
    std::fs::remove_file(&mark).unwrap();
    running.run().await;
    until("the center wants it no more", PATIENCE, || if mark.exists() { Ok(()) } else { Err("no mark") });
    assert!(!there.exists());
    running.stop();
}

#[tokio::test]
async fn what_happens_to_an_instrument_is_evidence() {
    let place = Place::new("instruments");
    let site = head("lobby", None, "5s") + &bus("b", "tcp", "127.0.0.1:1") + &fridge("fridge-1", "b", "1s");
    let mut running = Gateway::start(&place, &site, None, None).await;
    let data = running.data().to_owned();
    let public = key(&data).verifying_key().to_bytes();
    let policy = place.write("trust.toml", &format!("[[gateway]]\nkey = \"{}\"\n", hex(&public)));
    let (yesterday, soon) = ((real_now() - DAY_MS).to_string(), (real_now() + 300 * DAY_MS).to_string());

    told(
        &data,
        "placed",
        &["--serial", "PT-1", "--place", "upper shelf", "--by", "p-7", "--review", "R-2026-17"],
    )
    .good();
    let calibrated = |serial: &str, certificate: &str, done: &str| {
        told(
            &data,
            "calibrated",
            &[
                "--serial",
                serial,
                "--certificate",
                certificate,
                "--laboratory",
                "Institute of Metrology",
                "--done",
                done,
                "--due",
                &soon,
                "--uncertainty",
                "temperature=0.30",
                "--k",
                "2",
                "--correction",
                "temperature=-0.10",
            ],
        )
    };
    calibrated("PT-1", "JL-0815", &yesterday).good();
    let context = devices(&place, &data, &policy);
    let fridge = &context["facts"]["devices"][0];
    assert_eq!(
        (&fridge["placement"], &fridge["certificate"]),
        (&Value::from("R-2026-17"), &Value::from("JL-0815"))
    );
    assert_eq!(context["status"], "ok", "{context:#}");

    // A new probe has to be calibrated itself: the certificate of the old one is not its own.
    told(&data, "replaced", &["--serial", "PT-1", "--successor", "PT-2", "--by", "p-7"]).good();
    assert_eq!(devices(&place, &data, &policy)["findings"][0]["code"], "no_calibration");
    calibrated("PT-2", "JL-0999", &yesterday).good();
    assert_eq!(devices(&place, &data, &policy)["facts"]["devices"][0]["certificate"], "JL-0999");

    // What cannot be is said, and nothing is recorded.
    for (what, rest, expected) in [
        ("placed", ["--serial", "", "--place", "x", "--by", "p-7"].as_slice(), "serial: 1 to 200 bytes"),
        ("removed", &["--serial", "PT-2", "--why", "broken", "--by", "  "], "by: 1 to 200 bytes"),
    ] {
        let refused = told(&data, what, rest);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    told(&data, "removed", &["--serial", "PT-2", "--why", "no longer in use", "--by", "p-7"]).good();
    // The facts are inputs: everything concluded follows from them as from the rest; and they outlive a restart.
    running.stop();
    let away = told(&data, "placed", &["--serial", "PT-3", "--place", "x", "--by", "p-7"]);
    assert!(away.code == Some(1) && away.stderr.contains("has to be running"), "{}", away.stderr);
    running.run().await;
    let context = devices(&place, &data, &policy);
    let codes: Vec<&str> =
        context["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"no_placement"), "{context:#}");
    running.stop();
    gateway::command(["rerun", data.to_str().unwrap()]).good();
}
