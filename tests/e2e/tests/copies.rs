//! Old copies that come back: a gateway's disk restored from an image, or copied to a second device. F11 and F12 of the
//! project's list of failures.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::modbus::Peer;
use e2e::records::{Found, at_center};
use e2e::{Center, Gateway, Place, eventually};

use crate::sites::{bus, fridge, head};

const WITHIN: Duration = Duration::from_mins(1);

async fn fridge_gateway(place: &Place, center: &Center, id: &str) -> (Gateway, Peer) {
    let mut peer = Peer::libmodbus(place, "probe").await;
    peer.set(1, "input", 0, 50).await;
    let site = [
        head(id, Some(&center.url), "5s"),
        bus("probes", "tcp", peer.address()),
        fridge("fridge-1", "probes", "1s"),
    ]
    .concat();
    (Gateway::prepare(place, id, &site, Some(center), None).await, peer)
}

/// One life of the gateway, with something to say, all of it at the center but for what its end seals.
async fn live(gateway: &mut Gateway, peer: &mut Peer, tenths: i32) {
    peer.set(1, "input", 0, tenths).await;
    gateway.run().await;
    let epoch = gateway.epoch;
    eventually("its inputs are receipted", WITHIN, async || {
        let status = gateway.status().await?;
        let through = status["through"].as_str().and_then(|text| text.split_once('/'));
        let place = through.and_then(|(of, seq)| Some((of.parse::<u64>().ok()?, seq.parse::<u64>().ok()?)));
        if place >= Some((epoch, 2)) { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    gateway.stop();
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp can be run");
    assert!(status.success(), "cp -a {} {}", from.display(), to.display());
}

#[tokio::test]
async fn a_gateway_restored_from_an_old_image_is_flagged_and_overwrites_nothing() {
    let place = Place::new("image");
    let center = Center::start(&place, None).await;
    let (mut gateway, mut peer) = fridge_gateway(&place, &center, "image-1").await;
    live(&mut gateway, &mut peer, 51).await;
    let (image, now) = (place.path().join("image"), place.path().join("now"));
    copy(gateway.data(), &image);
    live(&mut gateway, &mut peer, 52).await;
    let before: Vec<_> = at_center(center.data()).iter().map(Found::identity).collect();
    let api = center.api();
    let told = async |rules: &[&str]| {
        let alerts = api.list("/api/v1/alerts?state=all", "alerts").await;
        let found = alerts.iter().any(|alert| rules.iter().any(|rule| alert["rule"] == *rule));
        if found { Ok(()) } else { Err(format!("{alerts:#?}")) }
    };
    told(&["center/equivocation", "center/chain-broken"]).await.expect_err("nothing is wrong yet");

    // The image, or the same key in a second device: epoch 2 once more. What the center has under its numbers is taken
    // for sent; the next record does not hold the hash of the one before it.
    std::fs::rename(gateway.data(), &now).unwrap();
    std::fs::rename(&image, gateway.data()).unwrap();
    gateway.run().await;
    assert_eq!(gateway.epoch, 2);
    eventually("the chain does not close", WITHIN, async || {
        told(&["center/equivocation", "center/chain-broken"]).await
    })
    .await;
    gateway.kill();

    // The true one comes back and goes on in an epoch of its own; nothing that was receipted is overwritten.
    std::fs::remove_dir_all(gateway.data()).unwrap();
    std::fs::rename(&now, gateway.data()).unwrap();
    live(&mut gateway, &mut peer, 53).await;
    assert_eq!(gateway.epoch, 3);
    let after: Vec<_> = at_center(center.data()).iter().map(Found::identity).collect();
    assert!(before.iter().all(|record| after.contains(record)), "what was receipted is what stays");
}
