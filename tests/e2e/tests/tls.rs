//! First contact over TLS: a center that ends TLS itself, a proxy in front of one, and somebody in between.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::center::{Center, PASSWORD};
use e2e::modbus::{Liar, Lie};
use e2e::process::{Finished, run};
use e2e::relay::{Parrot, Relay, Shown};
use e2e::{Api, Gateway, Place, eventually, ground};
use gateway_model::CivilTime;
use gateway_wire::{Identity, SigningKey};
use serde_json::Value;

use crate::sites::{bus, fridge, head};

const WITHIN: Duration = Duration::from_secs(30);

fn site(id: &str, center: &str, liar: &Liar) -> String {
    [
        head(id, Some(center), "5s"),
        bus("modules", "tcp", liar.address()),
        fridge("fridge-1", "modules", "200ms"),
    ]
    .concat()
}

/// The newest seq that the center has of the gateway without a hole, once it is at least `least`.
async fn through(center: &Center, id: &str, least: (u64, u64)) -> (u64, u64) {
    eventually(&format!("records of {id} up to {least:?}"), WITHIN, async || {
        let rows = center.api().list("/api/v1/gateways", "gateways").await;
        let row = rows.into_iter().find(|row| row["id"] == id).ok_or("not there")?;
        match (row["epoch"].as_u64(), row["through"].as_u64()) {
            (Some(epoch), Some(through)) if (epoch, through) >= least => Ok((epoch, through)),
            _ => Err(row.to_string()),
        }
    })
    .await
}

#[tokio::test]
async fn a_center_with_its_own_tls_is_joined_by_the_text_of_its_qr_code() {
    let place = Place::new("tls-own");
    let liar = Liar::start(45);
    let mut center = Center::start_with(&place, "[tls]\n").await;
    assert!(center.url.starts_with("https://127.0.0.1:"), "{}", center.url);
    let cookie = Api::new(&center.url).cookie("duty", PASSWORD).await;
    assert!(cookie.contains("; Secure") && cookie.contains("; HttpOnly"), "{cookie}");

    let mut gateway =
        Gateway::prepare(&place, "gateway", &site("tls-1", &center.url, &liar), None, None).await;
    let link = center.enrolment_link("tls-1").await;
    assert!(link.starts_with(&format!("{}/enrol#", center.url)) && link.len() > 64, "{link}");
    gateway.enrol(&[&link]).good();
    gateway.run().await;
    through(&center, &gateway.id, (1, 2)).await;
    gateway.stop();

    // The same center, whose TLS key was lost: it says so with its own key, and nobody goes to the gateway.
    center.process.stop();
    std::fs::remove_file(center.data().join("tls.key")).unwrap();
    center.again().await;
    gateway.run().await;
    through(&center, &gateway.id, (2, 2)).await;
    let log = gateway.program().log();
    assert!(log.contains("new TLS keys, by its own signed word"), "{log}");
    gateway.stop();
}

/// `center tls-key …` on the files of a center.
fn tls_key(place: &Place, center: &Center, act: &[&str]) -> Finished {
    let (settings, data) = (place.path().join("center.toml"), center.data().to_owned());
    let act = act.iter().map(std::path::PathBuf::from);
    let args = std::iter::once("tls-key".into()).chain(act);
    run(&ground::program("center"), args.chain(["--config".into(), settings, "--data".into(), data]))
}

fn key_status(place: &Place, center: &Center) -> Value {
    serde_json::from_str(&tls_key(place, center, &["status"]).good()).unwrap()
}

/// The statement that a center shows, as signed.
async fn statement(url: &str) -> Vec<u8> {
    let identity = format!("{url}/gateway/v1/identity");
    let client = ::gateway::uplink::client::http(url, ::gateway::uplink::tls::Trust::Anyone).unwrap();
    client.get(identity).send().await.unwrap().bytes().await.unwrap().to_vec()
}

// The relay runs beside the test, which waits for programs to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_center_changes_its_tls_key_and_nobody_goes_to_the_gateways() {
    let place = Place::new("tls-rotated");
    let liar = Liar::start(45);
    let mut center = Center::start_with(&place, "[tls]\n").await;
    let mut gateways = Vec::new();
    for name in ["here", "away"] {
        let text = site(&format!("tls-{name}"), &center.url, &liar);
        let mut gateway = Gateway::prepare(&place, name, &text, Some(&center), None).await;
        gateway.run().await;
        through(&center, &gateway.id, (1, 2)).await;
        gateways.push(gateway);
    }
    let [mut here, mut away] = <[Gateway; 2]>::try_from(gateways).ok().unwrap();
    away.stop();
    let old = (Shown::read(&center.data().join("tls.key")), statement(&center.url).await);

    // The next key is made and announced before it is shown.
    let early = tls_key(&place, &center, &["use"]);
    assert!(early.code == Some(1) && early.stderr.contains("tls-key next"), "{}", early.stderr);
    let next: Value = serde_json::from_str(&tls_key(&place, &center, &["next"]).good()).unwrap();
    let early = tls_key(&place, &center, &["use"]);
    assert!(early.code == Some(1) && early.stderr.contains("no gateway has been told"), "{}", early.stderr);
    center.process.stop();
    center.again().await;
    eventually("the gateway that is here knows the next key", WITHIN, async || {
        let status = key_status(&place, &center);
        let both = status["announced"].as_array().is_some_and(|keys| keys.len() == 2);
        let waits = status["gateways_waiting"] == serde_json::json!([away.id]);
        if both && waits && status["gateways_told"] == 1 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;

    // It takes the place of the old one.
    tls_key(&place, &center, &["use"]).good();
    center.process.stop();
    center.again().await;
    assert_eq!(key_status(&place, &center)["announced"], serde_json::json!([next["next"]]));
    liar.tell(Lie::Truth(52));
    eventually("the gateway that is here knows that the old key is over", WITHIN, async || {
        let status = key_status(&place, &center);
        if status["gateways_told"] == 1 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let log = here.program().log();
    assert!(!log.contains("shows a TLS key"), "it knew the key before it saw it: {log}");
    assert!(!log.contains("by its own signed word"), "{log}");
    here.stop();

    // Who comes back later asks the center itself, once.
    away.run().await;
    through(&center, &away.id, (2, 2)).await;
    let log = away.program().log();
    assert!(log.contains("by its own signed word"), "{log}");
    away.stop();

    // Whoever has the old key and the old statement gets nothing from either of them.
    center.process.stop();
    let address: SocketAddr = center.url.strip_prefix("https://").unwrap().parse().unwrap();
    let newest = parroted(&old.0, old.1, address, &mut [&mut here, &mut away]).await;
    for log in newest {
        assert!(log.contains("newest statement does not name"), "{log}");
    }
    // Nor does another center, whatever it says of itself.
    let other = SigningKey::from_bytes(&[77; 32]);
    let (center_key, issued) = (other.verifying_key().to_bytes(), CivilTime(i64::MAX));
    let shown = Shown::fresh();
    let said = Identity { center_key, tls_keys: vec![shown.key()], issued }.seal(&other);
    for log in parroted(&shown, said, address, &mut [&mut away]).await {
        assert!(log.contains("cannot show that it is the center"), "{log}");
    }
    // The true one is still believed.
    center.again().await;
    away.run().await;
    through(&center, &away.id, (away.epoch, 2)).await;
    away.stop();
}

/// Somebody at the center's address shows this key and this statement: each gateway asks who it is, and nothing else.
/// Gives their logs.
async fn parroted(
    shown: &Shown,
    statement: Vec<u8>,
    address: SocketAddr,
    gateways: &mut [&mut Gateway],
) -> Vec<String> {
    let parrot = Parrot::start(statement).await;
    let relay = Relay::start(shown, address, parrot.address).await;
    let mut logs = Vec::new();
    for gateway in gateways {
        let before = (parrot.asked().0, relay.refused());
        gateway.run().await;
        eventually("it asks, and breaks off again afterwards", WITHIN, async || {
            let now = (parrot.asked().0, relay.refused());
            if now.0 > before.0 && now.1 >= before.1 + 2 { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
        logs.push(gateway.program().log());
        gateway.stop();
    }
    assert_eq!(parrot.asked().1, 0, "nothing was sent there but the question");
    relay.stop().await;
    logs
}

// The relay runs beside the test, which waits for programs to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn somebody_in_between_learns_nothing_and_loses_nothing() {
    let place = Place::new("tls-between");
    let liar = Liar::start(45);
    let (proxy, thief) = (Shown::fresh(), Shown::fresh());
    proxy.write(&place.path().join("proxy.pem"));
    let center = Center::start_with(&place, "proxy_certificate = \"proxy.pem\"\n").await;
    let behind: SocketAddr = center.url.strip_prefix("http://").unwrap().parse().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let code = center.enrolment_code("tls-2").await;

    // Whoever passes the center's true identity on, but shows a key the center did not sign.
    let between = Relay::start(&thief, any, behind).await;
    let gateway =
        Gateway::prepare(&place, "gateway", &site("tls-2", &between.url(), &liar), None, None).await;
    let refused = gateway.enrol(&[&between.url(), &code]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("in its place") && !refused.stderr.contains(&code[..8]),
        "{}",
        refused.stderr
    );
    assert!(between.refused() >= 1, "the connection that would have carried the code was never made");
    // A center of its own does not help either: the code names another key.
    let false_place = Place::new("tls-false");
    let false_center = Center::start_with(&false_place, "[tls]\n").await;
    let refused = gateway.enrol(&[&false_center.url, &code]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("is not the one that made this code"), "{}", refused.stderr);
    between.stop().await;

    // The code was not used up: through the true proxy it works.
    let relay = Relay::start(&proxy, any, behind).await;
    gateway.enrol(&[&relay.url(), &code]).good();
    let mut gateway = gateway.with(&["--center", &relay.url()]);
    gateway.run().await;
    let before = through(&center, &gateway.id, (1, 2)).await;

    // The thief takes the proxy's address: the uplink stands still, and says why.
    let address = relay.stop().await;
    let between = Relay::start(&thief, address, behind).await;
    // Something to tell: a value beyond the deadband.
    liar.tell(Lie::Truth(52));
    eventually("the gateway breaks off", WITHIN, async || {
        if between.refused() >= 1 { Ok(()) } else { Err("no hand-shake was broken off") }
    })
    .await;
    between.stop().await;
    let _relay = Relay::start(&proxy, address, behind).await;
    let after = through(&center, &gateway.id, (before.0, before.1 + 1)).await;
    assert!(after > before);
    gateway.program().assert_running();
    gateway.stop();
}

// The relay runs beside the test, which waits for programs to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_proxys_next_certificate_is_announced_before_it_is_shown() {
    let place = Place::new("tls-proxy-next");
    let liar = Liar::start(45);
    let (proxy, next) = (Shown::fresh(), Shown::fresh());
    proxy.write(&place.path().join("proxy.pem"));
    next.write(&place.path().join("next.pem"));
    let settings = "proxy_certificate = \"proxy.pem\"\n";
    let mut center = Center::start_with(&place, settings).await;
    let behind: SocketAddr = center.url.strip_prefix("http://").unwrap().parse().unwrap();
    let relay = Relay::start(&proxy, SocketAddr::from(([127, 0, 0, 1], 0)), behind).await;
    let text = site("tls-3", &relay.url(), &liar);
    let mut gateway = Gateway::prepare(&place, "gateway", &text, None, None).await;
    gateway.enrol(&[&relay.url(), &center.enrolment_code("tls-3").await]).good();
    gateway.run().await;
    through(&center, &gateway.id, (1, 2)).await;

    let refused = tls_key(&place, &center, &["next"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("next_certificate"), "{}", refused.stderr);
    place.write("center.toml", &format!("{settings}next_certificate = \"next.pem\"\n"));
    center.process.stop();
    center.again().await;
    eventually("the gateway knows the next certificate", WITHIN, async || {
        let status = key_status(&place, &center);
        if status["gateways_told"] == 1 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let before = through(&center, &gateway.id, (1, 2)).await;
    let address = relay.stop().await;
    let _relay = Relay::start(&next, address, behind).await;
    liar.tell(Lie::Truth(52));
    through(&center, &gateway.id, (before.0, before.1 + 1)).await;
    let log = gateway.program().log();
    assert!(!log.contains("shows a TLS key") && !log.contains("by its own signed word"), "{log}");
    gateway.stop();
}

#[test]
fn settings_that_would_not_hold_are_refused_by_name() {
    let place = Place::new("tls-settings");
    for (text, words) in [
        ("listen = \"0.0.0.0:0\"\n", "plain HTTP"),
        ("[tls]\ncertificate = \"a.pem\"\n", "tls.key"),
        ("[tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"\n", "a.pem"),
        ("proxy_certificate = \"c.pem\"\n", "c.pem"),
        ("next_certificate = \"c.pem\"\n", "next_certificate follows"),
        ("proxy_certificate = \"c.pem\"\n[tls]\n", "either the center ends TLS or a proxy does"),
    ] {
        let path = place.write("center.toml", text);
        let data = place.path().join("data");
        let args = ["run".as_ref(), path.as_os_str(), "--data".as_ref(), data.as_os_str()];
        let finished = run(&ground::program("center"), args);
        assert!(
            !finished.stderr.is_empty() && finished.stderr.contains(words),
            "{text}: {}",
            finished.stderr
        );
        assert_ne!(finished.code, Some(0));
    }
}
