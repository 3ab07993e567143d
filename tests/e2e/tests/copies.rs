//! Old copies that come back: a center restored from a backup, a gateway's disk restored from an image or copied to a
//! second device. F8, F11 and F12 of the project's list of failures.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ::gateway::state::DataDir;
use e2e::clock::real_now;
use e2e::modbus::Peer;
use e2e::records::{Found, aside_at_center, at_center, at_gateway, same};
use e2e::{Center, Gateway, Place, eventually};
use gateway_model::{CivilTime, Epoch};

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
async fn a_center_restored_from_an_old_backup_gets_everything_again() {
    let place = Place::new("restored");
    let mut center = Center::start(&place, None).await;
    let (mut gateway, mut peer) = fridge_gateway(&place, &center, "restored-1").await;
    live(&mut gateway, &mut peer, 51).await;
    let backup = place.path().join("backup");
    center.process.stop();
    copy(center.data(), &backup);
    center.again().await;
    live(&mut gateway, &mut peer, 52).await;
    live(&mut gateway, &mut peer, 53).await;

    // Two lives of records are gone from the center, and the gateway's cursor stands behind them.
    center.process.stop();
    std::fs::remove_dir_all(center.data()).unwrap();
    copy(&backup, center.data());
    center.again().await;
    gateway.run().await;
    eventually("both hold the same records again", WITHIN, async || {
        same(gateway.data(), center.data(), 1..=gateway.epoch - 1)
    })
    .await;

    // Once more, while the gateway runs and believes that it is done.
    center.process.stop();
    std::fs::remove_dir_all(center.data()).unwrap();
    copy(&backup, center.data());
    center.again().await;
    eventually("a running gateway finds out too", WITHIN, async || {
        same(gateway.data(), center.data(), 1..=gateway.epoch - 1)
    })
    .await;
}

/// What a list of records is known by.
fn identities(records: &[Found]) -> Vec<(u64, u64, [u8; 32])> {
    records.iter().map(Found::identity).collect()
}

/// Every record of the journal is at the center: in the chain or, where its number was taken, beside it; once.
fn all_there(gateway: &Gateway, center: &Center) -> Result<(), String> {
    let (chain, beside) = (at_center(center.data()), aside_at_center(center.data()));
    let mut there = [identities(&chain), identities(&beside)].concat();
    let missing: Vec<_> = at_gateway(gateway.data())
        .iter()
        .filter(|found| !there.contains(&found.identity()))
        .map(|found| format!("{}/{}", found.epoch, found.seq))
        .collect();
    let all = there.len();
    there.sort_unstable();
    there.dedup();
    if missing.is_empty() && there.len() == all {
        Ok(())
    } else {
        Err(format!("{missing:?} of {all} missing"))
    }
}

/// The epoch that the gateway writes, and that the center's receipts reach into.
async fn receipted_epoch(gateway: &Gateway) -> Result<u64, String> {
    let status = gateway.status().await?;
    let epoch = |field: &str| status[field].as_str()?.split_once('/')?.0.parse::<u64>().ok();
    match (epoch("through"), epoch("last")) {
        (Some(through), Some(last)) if through == last => Ok(last),
        _ => Err(status.to_string()),
    }
}

#[tokio::test]
async fn a_gateway_restored_from_an_old_image_is_flagged_goes_on_above_and_loses_nothing() {
    let place = Place::new("image");
    let center = Center::start(&place, None).await;
    let (mut gateway, mut peer) = fridge_gateway(&place, &center, "image-1").await;
    live(&mut gateway, &mut peer, 51).await;
    let (image, now) = (place.path().join("image"), place.path().join("now"));
    copy(gateway.data(), &image);
    live(&mut gateway, &mut peer, 52).await;
    live(&mut gateway, &mut peer, 53).await;
    let before = identities(&at_center(center.data()));
    let api = center.api();
    let told = async || {
        let alerts = api.list("/api/v1/alerts?state=all", "alerts").await;
        let found: Vec<_> = alerts.iter().filter(|alert| alert["source"] == "center").collect();
        let told = format!("{found:?}");
        if told.contains("center/equivocation") { Ok(told) } else { Err(told) }
    };
    told().await.expect_err("nothing is wrong yet");

    // The image, or the same key in a second device: epoch 2 once more, with other records.
    std::fs::rename(gateway.data(), &now).unwrap();
    std::fs::rename(&image, gateway.data()).unwrap();
    gateway.run().await;
    assert_eq!(gateway.epoch, 2);
    let alerts = eventually("the equivocation is an alert, by name", WITHIN, told).await;
    assert!(!alerts.contains("center/chain-broken"), "{alerts}");
    let epoch = eventually("it goes on in another epoch", WITHIN, async || {
        receipted_epoch(&gateway).await.and_then(|epoch| if epoch > 2 { Ok(epoch) } else { Err("2".into()) })
    })
    .await;
    assert_eq!(epoch, 4, "above everything the center has");
    eventually("also what it wrote under taken numbers is at the center", WITHIN, async || {
        all_there(&gateway, &center)
    })
    .await;
    assert!(aside_at_center(center.data()).iter().all(|found| found.epoch == 2));
    gateway.stop();

    // The true disk comes back: its next epoch is taken by now, so it goes on above too.
    std::fs::remove_dir_all(gateway.data()).unwrap();
    std::fs::rename(&now, gateway.data()).unwrap();
    gateway.run().await;
    assert_eq!(gateway.epoch, 4);
    let epoch = eventually("it goes on in another epoch", WITHIN, async || {
        receipted_epoch(&gateway).await.and_then(|epoch| if epoch > 4 { Ok(epoch) } else { Err("4".into()) })
    })
    .await;
    assert_eq!(epoch, 5);
    eventually("everything is there", WITHIN, async || all_there(&gateway, &center)).await;
    let after = identities(&at_center(center.data()));
    assert_eq!(after[..before.len()], before, "what was receipted stays where it was");
}

#[tokio::test]
async fn a_key_that_changed_on_a_disk_that_was_set_back_is_taken_in_above_what_is_there() {
    let place = Place::new("image-key");
    let center = Center::start(&place, None).await;
    let (mut gateway, mut peer) = fridge_gateway(&place, &center, "image-key-1").await;
    live(&mut gateway, &mut peer, 51).await;
    let image = place.path().join("image");
    copy(gateway.data(), &image);
    live(&mut gateway, &mut peer, 52).await;
    live(&mut gateway, &mut peer, 53).await;
    let before = identities(&at_center(center.data()));

    // The image, and a new key that says it signs from epoch 2 on, which the center has of the old one.
    std::fs::remove_dir_all(gateway.data()).unwrap();
    std::fs::rename(&image, gateway.data()).unwrap();
    DataDir::open(gateway.data()).unwrap().rotate(Epoch(1), CivilTime(real_now())).unwrap();
    gateway.run().await;
    assert_eq!(gateway.epoch, 2);
    let epoch = eventually("it goes on with the new key above what is there", WITHIN, async || {
        receipted_epoch(&gateway).await.and_then(|epoch| if epoch > 3 { Ok(epoch) } else { Err("2".into()) })
    })
    .await;
    assert_eq!(epoch, 4);
    eventually("also what it wrote under taken numbers is at the center", WITHIN, async || {
        all_there(&gateway, &center)
    })
    .await;
    assert!(aside_at_center(center.data()).iter().all(|found| found.epoch == 2));
    let after = identities(&at_center(center.data()));
    assert_eq!(after[..before.len()], before, "what the old key had signed stays where it was");
    gateway.stop();
}

#[tokio::test]
async fn one_key_in_two_devices_at_the_same_time_is_flagged_and_neither_loses_anything() {
    let place = Place::new("clone");
    let center = Center::start(&place, None).await;
    let (mut gateway, mut peer) = fridge_gateway(&place, &center, "clone-1").await;
    live(&mut gateway, &mut peer, 51).await;
    let site = std::fs::read_to_string(gateway.site()).unwrap();
    let mut twin = Gateway::prepare(&place, "twin", &site, None, None).await;
    copy(gateway.data(), twin.data());
    gateway.run().await;
    twin.run().await;
    assert_eq!((gateway.epoch, twin.epoch), (2, 2));
    let api = center.api();
    eventually("the equivocation is an alert, by name", WITHIN, async || {
        let alerts = api.list("/api/v1/alerts?state=all", "alerts").await;
        let found = alerts.iter().any(|alert| alert["rule"] == "center/equivocation");
        if found { Ok(()) } else { Err(format!("{alerts:?}")) }
    })
    .await;
    for device in [&gateway, &twin] {
        eventually("everything of both devices is at the center", WITHIN, async || {
            all_there(device, &center)
        })
        .await;
    }
    let rows = api.list("/api/v1/gateways", "gateways").await;
    assert_eq!(rows.len(), 1, "for the center they are one gateway: {rows:?}");
    gateway.stop();
    twin.stop();
}
