//! The center is gone for 20 s under load, and the gateway is killed meanwhile. Nothing that was sealed is lost or doubled,
//! what was not is said to be lost, and a half-done disinfection ends with the verdict it would have had.

use std::time::{Duration, Instant};

use e2e::center::Center;
use e2e::clock::real_now;
use e2e::modbus::Peer;
use e2e::records::{at_gateway, key, same};
use e2e::{Api, Clock, Gateway, Place, eventually};
use gateway_model::{GapCause, StartCause};
use gateway_wire::Body;
use serde_json::Value;

use crate::sites::{bus, cabinet, head};

/// Ten minutes of hold pass in 30 s; a restart of two seconds is 40 s of that world, below the 60 s of a cycle that may
/// go unmeasured.
const SPEED: i64 = 20;
const CENTER_AWAY: Duration = Duration::from_secs(20);
const WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn nothing_is_lost_or_doubled_when_both_ends_are_killed() {
    let place = Place::new("outage");
    let clock = Clock::start(&place, real_now(), SPEED);
    let mut peer = Peer::python(&place, "cabinet", "tcp", &[1, 2]).await;
    peer.set(1, "input", 0, 250).await;
    let mut center = Center::start(&place, Some(&clock)).await;
    let site = |id: &str| {
        [
            head(id, Some(&center.url), "5s"),
            bus("modules", "tcp", peer.address()),
            cabinet("cabinet-1", "modules", "1s"),
        ]
        .concat()
    };
    // The same cabinet, read by a gateway that will be killed and by one that will not.
    let (killed, spared) = (site("outage-1"), site("outage-2"));
    let mut killed = Gateway::prepare(&place, "killed", &killed, Some(&center), Some(&clock)).await;
    let mut spared = Gateway::prepare(&place, "spared", &spared, Some(&center), Some(&clock)).await;
    killed.run().await;
    spared.run().await;
    let api = center.api();
    for gateway in [&killed, &spared] {
        receipted(&api, gateway).await;
    }

    // Heating, then the hold.
    for tenths in [600, 800, 950, 1010] {
        peer.set(1, "input", 0, tenths).await;
        for gateway in [&killed, &spared] {
            sees(gateway, f64::from(tenths) / 10.0).await;
        }
    }
    let hold_began = clock.now();
    let held = |ms: i64| clock.now() - hold_began >= ms;

    // Both ends die in the middle of it: the center for 20 s, the gateway for as long as it takes to come back.
    center.process.kill();
    let away = Instant::now();
    wait_until("a third of the hold", || held(200_000)).await;
    killed.kill();
    let unclean = killed.run().await;
    assert_eq!(unclean["epoch"], 2);
    wait_until("the center was away for 20 s", || away.elapsed() >= CENTER_AWAY).await;
    assert_ne!(
        killed.status().await.unwrap()["through"],
        killed.status().await.unwrap()["last"],
        "nothing to catch up"
    );
    center.again().await;

    // The rest of the hold, and cooling down until the cycle is over.
    wait_until("eleven minutes of hold", || held(11 * 60_000)).await;
    peer.set(1, "input", 0, 400).await;
    let mut cycles = Vec::new();
    for gateway in [&killed, &spared] {
        let cycle = eventually("the cycle at the center", WITHIN, async || {
            let list = api.list(&format!("/api/v1/cycles?gateway={}", gateway.id), "cycles").await;
            list.first().cloned().ok_or_else(|| "no cycle".to_owned())
        })
        .await;
        cycles.push(cycle);
    }
    assert_eq!(
        cycles[0]["outcome"], cycles[1]["outcome"],
        "killed: {:#}\nspared: {:#}",
        cycles[0], cycles[1]
    );
    assert_eq!(cycles[0]["outcome"], "passed", "{:#}", cycles[0]);
    assert_eq!(cycles[0]["n"], cycles[1]["n"]);
    assert_eq!(cycles[0]["peak_c"], cycles[1]["peak_c"]);

    // Every sealed record of the lives that are over is at the center, once, in a chain that closes. A stop seals a last
    // record that only the next life sends.
    for gateway in [&mut killed, &mut spared] {
        gateway.stop();
        gateway.run().await;
    }
    for gateway in [&killed, &spared] {
        eventually("both ends hold the same records", WITHIN, async || {
            same(gateway.data(), center.data(), 1..=gateway.epoch - 1)
        })
        .await;
        receipted(&api, gateway).await;
    }
    let rows = api.list("/api/v1/gateways", "gateways").await;
    assert!(rows.iter().all(|row| row["refused"] == 0 && row["quarantined"] == 0), "{rows:#?}");

    // The lost span is a gap record of the second life, caused by the crash.
    let verifying = key(killed.data()).verifying_key();
    let second: Vec<Body> = at_gateway(killed.data())
        .iter()
        .filter(|found| found.epoch == 2)
        .map(|found| found.open(&verifying).1)
        .collect();
    assert!(
        matches!(&second[0], Body::Start(start) if start.cause == StartCause::Unclean),
        "{:?}",
        second[0]
    );
    let gap = second.iter().find_map(|body| if let Body::Gap(gap) = body { Some(gap) } else { None });
    let gap = gap.expect("the lost span is a gap record");
    assert_eq!(gap.cause, GapCause::Crash);
    assert!(gap.from < gap.to && gap.count > 0, "{gap:?}");
    let gaps = at_gateway(spared.data())
        .iter()
        .filter(|found| found.epoch == 1)
        .any(|found| matches!(found.open(&key(spared.data()).verifying_key()).1, Body::Gap(_)));
    assert!(!gaps, "a gateway that was not killed has lost nothing");
    center.process.assert_log(&["first start"]);
}

/// The center's receipt covers everything that the gateway had sealed when this was asked.
async fn receipted(api: &Api, gateway: &Gateway) {
    let wanted = eventually("a sealed record", WITHIN, async || {
        let status = gateway.status().await?;
        status["last"].as_str().map(place_of).ok_or_else(|| status.to_string())
    })
    .await;
    eventually(&format!("a receipt up to {wanted:?}"), WITHIN, async || {
        let status = gateway.status().await?;
        let through = status["through"].as_str().map(place_of);
        let rows = api.list("/api/v1/gateways", "gateways").await;
        let row = rows.iter().find(|row| row["id"] == gateway.id.as_str()).cloned().unwrap_or_default();
        if through >= Some(wanted) { Ok(()) } else { Err(format!("{through:?}; the center says {row}")) }
    })
    .await;
}

/// `epoch/seq`
fn place_of(text: &str) -> (u64, u64) {
    let (epoch, seq) = text.split_once('/').expect("epoch/seq");
    (epoch.parse().expect("a number"), seq.parse().expect("a number"))
}

async fn sees(gateway: &Gateway, celsius: f64) {
    eventually(&format!("{celsius} °C at the gateway"), WITHIN, async || {
        let status = gateway.status().await?;
        let point: Option<&Value> = status["points"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|point| point["id"] == "cabinet-1/temperature");
        match point {
            Some(point) if point["value"] == celsius => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

async fn wait_until(what: &str, mut held: impl FnMut() -> bool) {
    eventually(what, Duration::from_mins(2), async || if held() { Ok(()) } else { Err("not yet") }).await;
}
