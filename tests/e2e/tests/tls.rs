//! First contact over TLS: a center that ends TLS itself, a proxy in front of one, and somebody in between.

use std::net::SocketAddr;
use std::time::Duration;

use e2e::center::{Center, PASSWORD};
use e2e::modbus::{Liar, Lie};
use e2e::process::run;
use e2e::relay::{Relay, Shown};
use e2e::{Api, Gateway, Place, eventually, ground};

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

    // The same center on a machine whose TLS key was replaced: the gateway talks to nobody.
    center.process.stop();
    std::fs::remove_file(center.data().join("tls.key")).unwrap();
    center.again().await;
    gateway.run().await;
    eventually("the refusal is in the log", WITHIN, async || {
        let log = gateway.program().log();
        if log.contains("certificate") { Ok(()) } else { Err(log) }
    })
    .await;
    let rows = center.api().list("/api/v1/gateways", "gateways").await;
    assert!(rows.iter().all(|row| row["epoch"] == 1), "nothing of the second life arrived: {rows:?}");
    gateway.stop();
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

#[test]
fn settings_that_would_not_hold_are_refused_by_name() {
    let place = Place::new("tls-settings");
    for (text, words) in [
        ("listen = \"0.0.0.0:0\"\n", "plain HTTP"),
        ("[tls]\ncertificate = \"a.pem\"\n", "tls.key"),
        ("[tls]\ncertificate = \"a.pem\"\nkey = \"b.pem\"\n", "a.pem"),
        ("proxy_certificate = \"c.pem\"\n", "c.pem"),
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
