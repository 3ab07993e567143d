//! What tests do with alerts and cases through the public API.

use std::time::Duration;

use e2e::{Api, eventually};
use serde_json::{Value, json};

/// A day of civil time, ms.
pub(crate) const DAY_MS: i64 = 24 * 3_600_000;

/// The open alert of a rule at a device.
pub(crate) async fn alert(api: &Api, rule: &str, device: &str, within: Duration) -> Value {
    eventually(&format!("an alert of {rule} at {device}"), within, async || {
        let alerts = api.list("/api/v1/alerts?state=all", "alerts").await;
        let found = alerts.iter().find(|alert| alert["rule"] == rule && alert["device"] == device);
        found.cloned().ok_or_else(|| format!("{alerts:#?}"))
    })
    .await
}

/// A case as it is now.
pub(crate) async fn case(api: &Api, id: &Value) -> Value {
    api.get(&format!("/api/v1/cases/{id}")).await
}

/// Gives a command with what the author sees now; panics if it is refused.
pub(crate) async fn command(api: &Api, id: &Value, command: &str, more: Value) -> Value {
    let mut body = more;
    body["command"] = command.into();
    body["seen"] = case(api, id).await["event"].clone();
    api.post(&format!("/api/v1/cases/{id}/commands"), &body).await
}

/// Waits for a state of a case.
pub(crate) async fn reaches(api: &Api, id: &Value, state: &str, within: Duration) -> Value {
    eventually(&format!("case {id} is {state}"), within, async || {
        let case = case(api, id).await;
        if case["state"] == state { Ok(case) } else { Err(format!("{case:#}")) }
    })
    .await
}

/// From an alert to a case that is being rectified: received, dispatched, accepted.
pub(crate) async fn to_rectifying(duty: &Api, unit: &Api, case: &Value, deadline: i64) {
    command(duty, case, "acknowledge", json!({})).await;
    command(
        duty,
        case,
        "dispatch",
        json!({"recipient": e2e::center::INSTITUTION, "deadline": deadline, "requirement": "请检查并恢复温度"}),
    )
    .await;
    command(unit, case, "accept", json!({})).await;
}

/// A small photo: one red pixel as PNG.
pub(crate) const PHOTO: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 0x0D, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0,
    0, 1, 8, 2, 0, 0, 0, 0x90, 0x77, 0x53, 0xDE, 0, 0, 0, 0x0C, b'I', b'D', b'A', b'T', 8, 0xD7, 0x63, 0xF8,
    0xCF, 0xC0, 0, 0, 3, 1, 1, 0, 0x18, 0xDD, 0x8D, 0xB0, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xAE, 0x42,
    0x60, 0x82,
];

/// Uploads the photo; its hash in hex.
pub(crate) async fn upload(api: &Api) -> String {
    use sha2::Digest as _;
    let hash = gateway_wire::hex(&sha2::Sha256::digest(PHOTO));
    api.put(&format!("/api/v1/attachments/{hash}"), "image/png", PHOTO.to_vec()).await;
    hash
}
