//! What a unit asks for and declares, through a real gateway: reminders pause when the center grants it and begin again when the
//! condition is over; a closure reaches the box. Who asked and why stands in the gateway's own signed records.

use std::time::Duration;

use e2e::center::Center;
use e2e::clock::real_now;
use e2e::modbus::Peer;
use e2e::{Clock, Gateway, Place, eventually};
use serde_json::{Value, json};

use crate::cases::{DAY_MS, alert};
use crate::sites::{bus, fridge, head};

const SPEED: i64 = 400;
const RULE: &str = "cold-chain/far-too-warm";
const WITHIN: Duration = Duration::from_secs(30);
const HOUR_MS: i64 = 3_600_000;

#[tokio::test]
async fn a_pause_is_asked_for_granted_carried_out_and_over_with_the_condition() {
    let place = Place::new("requests");
    let clock = Clock::start(&place, real_now(), SPEED);
    let mut peer = Peer::python(&place, "python", "tcp", &[1]).await;
    peer.set(1, "input", 0, 135).await;
    let center = Center::start(&place, Some(&clock)).await;
    let site = [
        head("requests-1", Some(&center.url), "60s"),
        bus("python", "tcp", peer.address()),
        fridge("fridge-1", "python", "60s"),
    ]
    .concat();
    let mut gateway = Gateway::start(&place, &site, Some(&center), Some(&clock)).await;
    let (api, duty, unit) = (center.api(), center.person("duty").await, center.person("unit").await);
    let warm = alert(&api, RULE, "fridge-1", WITHIN).await;
    assert_eq!(warm["shown"], "unacknowledged");

    let path = format!("/api/v1/alerts/{}/pause", warm["n"]);
    let asked = unit.try_post(&path, &json!({"for_ms": 20 * HOUR_MS, "reason": "等压缩机配件"})).await;
    assert_eq!(asked.status, 201, "{}", asked.body);
    let id = asked.body["request"].clone();
    let answer = format!("/api/v1/requests/{id}/answer");
    let own = unit.try_post(&answer, &json!({"grant": true})).await;
    assert_eq!(own.status, 403, "nobody grants what they asked for: {}", own.body);
    let granted = duty.try_post(&answer, &json!({"grant": true})).await;
    assert_eq!(granted.status, 204, "{}", granted.body);

    eventually("the gateway says that its reminders pause", WITHIN, async || {
        let now = alert(&api, RULE, "fridge-1", WITHIN).await;
        let list = api.get("/api/v1/requests").await;
        let done = list["requests"][0]["outcome"] == "done";
        if now["shown"] == "shelved" && done { Ok(()) } else { Err(format!("{now} {list}")) }
    })
    .await;
    let closure = json!({"from": clock.now(), "to": clock.now() + 3 * DAY_MS, "reason": "盘点停业"});
    let declared = unit.try_post("/api/v1/closures", &closure).await;
    assert_eq!(declared.status, 201, "{}", declared.body);
    eventually("the gateway knows of the closure", WITHIN, async || {
        let list = api.get("/api/v1/requests").await;
        if list["requests"][0]["outcome"] == "done" { Ok(()) } else { Err(list.to_string()) }
    })
    .await;

    // Repaired: over, and nothing is paused any more when it happens again.
    peer.set(1, "input", 0, 50).await;
    eventually("it is over", WITHIN, async || {
        let all = api.get("/api/v1/alerts?state=all").await;
        let over = |one: &Value| one["n"] == warm["n"] && one["state"] == "cleared";
        if all["alerts"].as_array().is_some_and(|list| list.iter().any(over)) {
            Ok(())
        } else {
            Err(all.to_string())
        }
    })
    .await;
    peer.set(1, "input", 0, 135).await;
    let again = eventually("another alert", WITHIN, async || {
        let newest = alert(&api, RULE, "fridge-1", WITHIN).await;
        if newest["n"].as_i64() > warm["n"].as_i64() { Ok(newest) } else { Err(newest.to_string()) }
    })
    .await;
    assert_eq!(again["shown"], "unacknowledged", "a pause ends with the occurrence");
    gateway.stop();
}
