//! Bad lines between a gateway and its center, metered ones, and what they carry. F15 of the project's list of failures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::center::Center;
use e2e::clock::real_now;
use e2e::line::{Fault, Line};
use e2e::modbus::{Liar, Lie};
use e2e::records::{at_gateway, same};
use e2e::relay::{Relay, Shown};
use e2e::{Clock, Gateway, Place, eventually};
use gateway::uplink::meter::{BUDGET, on_the_wire};
use gateway_wire::{Kind, peek};
use tokio_rustls::TlsConnector;

use crate::sites::{bus, demo_clinic, fridge, head};

const WITHIN: Duration = Duration::from_mins(1);
/// 4.5 °C.
const COLD: u16 = 45;
/// 20 °C: after ten minutes an alert.
const FAR_TOO_WARM: u16 = 200;
/// Those ten minutes are 10 s.
const SPEED: i64 = 60;

/// Waits until the center shows an alert of the gateway.
async fn shown(center: &Center, within: Duration) {
    let api = center.api();
    eventually("the alert at the center", within, async || {
        let alerts = api.list("/api/v1/alerts?state=all", "alerts").await;
        if alerts.iter().any(|alert| alert["source"] == "gateway") {
            Ok(())
        } else {
            Err(format!("{alerts:?}"))
        }
    })
    .await;
}

/// A gateway whose way to the center is `line`, enrolled over a good one.
async fn behind(
    place: &Place,
    center: &Center,
    line: &Line,
    liar: &Liar,
    more: &str,
    clock: Option<&Clock>,
) -> Gateway {
    let site = [
        head("link-1", Some(&center.url), "5s").replace("[center]\n", &format!("[center]\n{more}")),
        bus("probes", "tcp", liar.address()),
        fridge("fridge-1", "probes", "200ms"),
    ]
    .concat();
    let gateway = Gateway::prepare(place, "link", &site, Some(center), clock).await;
    gateway.with(&["--center", &line.url()])
}

fn address(center: &Center) -> SocketAddr {
    center.url.split_once("://").unwrap().1.parse().unwrap()
}

/// The gateway says that its center is so.
async fn center_is(gateway: &Gateway, state: &str, within: Duration) {
    eventually(&format!("the center is {state}"), within, async || {
        let status = gateway.status().await?;
        if status["center"] == state { Ok(()) } else { Err(status["center"].to_string()) }
    })
    .await;
}

/// Everything sealed when this is asked is receipted.
async fn receipted(gateway: &Gateway, within: Duration) {
    let place = |value: &serde_json::Value| {
        let (epoch, seq) = value.as_str()?.split_once('/')?;
        Some((epoch.parse::<u64>().ok()?, seq.parse::<u64>().ok()?))
    };
    let wanted = place(&gateway.status().await.unwrap()["last"]);
    eventually(&format!("a receipt up to {wanted:?}"), within, async || {
        let status = gateway.status().await?;
        if place(&status["through"]) >= wanted { Ok(()) } else { Err(status["through"].to_string()) }
    })
    .await;
}

/// The next of the temperatures that seal a record of their own.
fn another_value(liar: &Liar, n: u16) {
    liar.tell(Lie::Truth(COLD + n % 2 * 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_line_that_swallows_everything_is_noticed_within_15_s_and_nothing_is_lost() {
    let place = Place::new("link-hole");
    let (center, liar) = (Center::start(&place, None).await, Liar::start(COLD));
    let line = Line::start(address(&center)).await;
    let mut gateway = behind(&place, &center, &line, &liar, "", None).await;
    gateway.run().await;
    receipted(&gateway, WITHIN).await;
    let began = Instant::now();
    line.set(Fault { swallow: true, ..Fault::default() });
    center_is(&gateway, "down", Duration::from_secs(17)).await;
    println!("a line that swallows everything was noticed after {:.1} s", began.elapsed().as_secs_f64());
    assert!(began.elapsed() < Duration::from_secs(16), "{:?}", began.elapsed());
    // Accepted, and nothing passed on: no attempt helps until the line is back.
    another_value(&liar, 1);
    line.set(Fault::default());
    center_is(&gateway, "up", WITHIN).await;
    receipted(&gateway, WITHIN).await;

    // A path that carries only small packets, and tells nobody: records do not get through, questions do.
    line.set(Fault { hole: 200, ..Fault::default() });
    another_value(&liar, 2);
    center_is(&gateway, "down", WITHIN).await;
    line.set(Fault::default());
    receipted(&gateway, WITHIN).await;
    gateway.stop();
    gateway.run().await;
    eventually("both ends hold the same records", WITHIN, async || {
        same(gateway.data(), center.data(), 1..=gateway.epoch - 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_line_that_forgets_idle_connections_is_kept_awake() {
    const IDLE: Duration = Duration::from_secs(8);
    let place = Place::new("link-idle");
    let (center, liar) = (Center::start(&place, None).await, Liar::start(COLD));
    let line = Line::start(address(&center)).await;
    let mut gateway = behind(&place, &center, &line, &liar, "", None).await;
    // Forgets after 8 s, four times as soon as the shortest that proxies are known for (30 s: `client.rs` is not built with
    // longer pauses, and `gateway line::` covers the metered line, which has no tests of the connection).
    line.set(Fault { idle: IDLE, ..Fault::default() });
    gateway.run().await;
    receipted(&gateway, WITHIN).await;
    let before = line.connections();
    let since = Instant::now();
    eventually("longer than the line remembers", WITHIN, async || {
        if since.elapsed() > IDLE * 2 { Ok(()) } else { Err("not yet") }
    })
    .await;
    another_value(&liar, 1);
    let began = Instant::now();
    receipted(&gateway, WITHIN).await;
    assert_eq!(line.connections(), before, "the same connection all the time: it is tested every 5 s");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(gateway.status().await.unwrap()["center"], "up");
}

/// An alert while a backlog waits, over 2 kB/s and over a line that loses 30 % of its packets.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_alert_gets_through_a_slow_and_a_lossy_line_ahead_of_the_backlog() {
    const BOUND: Duration = Duration::from_secs(30);
    for (name, fault) in [
        ("2 kB/s", Fault { rate: 2_000, ..Fault::default() }),
        ("30 % loss", Fault { loss: 30, ..Fault::default() }),
    ] {
        let place = Place::new("link-slow");
        let clock = Clock::start(&place, real_now(), SPEED);
        let (center, liar) = (Center::start(&place, Some(&clock)).await, Liar::start(COLD));
        let line = Line::start(address(&center)).await;
        let mut gateway = behind(&place, &center, &line, &liar, "", Some(&clock)).await;
        // A backlog: records of some time without a center.
        line.set(Fault { swallow: true, ..Fault::default() });
        gateway.run().await;
        let mut n = 0;
        eventually("a backlog of 60 kB", Duration::from_mins(3), async || {
            n += 1;
            another_value(&liar, n);
            let bytes: usize = at_gateway(gateway.data()).iter().map(|found| found.bytes.len()).sum();
            if bytes > 60_000 { Ok(()) } else { Err(bytes) }
        })
        .await;
        line.set(fault);
        center_is(&gateway, "up", WITHIN).await;
        liar.tell(Lie::Truth(FAR_TOO_WARM));
        let raised = eventually("the alert at the gateway", Duration::from_mins(3), async || {
            let status = gateway.status().await?;
            let alerts = status["alerts"].as_array().cloned().unwrap_or_default();
            if alerts.is_empty() { Err(status["alerts"].to_string()) } else { Ok(Instant::now()) }
        })
        .await;
        shown(&center, WITHIN).await;
        println!("{name}: from raised to shown {:.1} s", raised.elapsed().as_secs_f64());
        assert!(raised.elapsed() < BOUND, "{name}: {:?}", raised.elapsed());
        line.set(Fault::default());
        receipted(&gateway, WITHIN).await;
        gateway.stop();
    }
}

/// A path with a smaller packet size than its ends believe, where nobody is told: what is large never arrives, however often
/// it is sent.
const HOLE: Fault = Fault { rate: 0, loss: 0, hole: 1_200, idle: Duration::ZERO, swallow: false };

/// One record is larger than what arrives: the configuration, with which every epoch begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_record_that_is_larger_than_a_line_takes_arrives_in_pieces() {
    let place = Place::new("link-piece");
    let (center, liar) = (Center::start(&place, None).await, Liar::start(COLD));
    let line = Line::start(address(&center)).await;
    let mut gateway = behind(&place, &center, &line, &liar, "", None).await;
    line.set(HOLE);
    let began = Instant::now();
    gateway.run().await;
    receipted(&gateway, Duration::from_mins(3)).await;
    let largest = at_gateway(gateway.data()).iter().map(|found| found.bytes.len()).max().unwrap();
    println!(
        "a record of {largest} bytes through a hole of 1,200 after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert!(largest > 2 * HOLE.hole, "{largest}: a test that shows nothing");
    gateway.stop();
}

/// Batches become so small that they arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_line_that_swallows_large_packets_gets_an_alert_and_the_backlog_through() {
    let place = Place::new("link-small");
    let clock = Clock::start(&place, real_now(), SPEED);
    let (center, liar) = (Center::start(&place, Some(&clock)).await, Liar::start(COLD));
    let line = Line::start(address(&center)).await;
    let mut gateway = behind(&place, &center, &line, &liar, "", Some(&clock)).await;
    gateway.run().await;
    receipted(&gateway, WITHIN).await;
    // A backlog that is larger than a batch.
    line.set(Fault { swallow: true, ..Fault::default() });
    let held = || at_gateway(gateway.data()).iter().map(|found| found.bytes.len()).sum::<usize>();
    let (before, mut n) = (held(), 0);
    eventually("a backlog of 15 kB", Duration::from_mins(3), async || {
        n += 1;
        another_value(&liar, n);
        if held() > before + 15_000 { Ok(()) } else { Err(held() - before) }
    })
    .await;
    line.set(HOLE);
    liar.tell(Lie::Truth(FAR_TOO_WARM));
    let began = Instant::now();
    shown(&center, Duration::from_mins(2)).await;
    println!("through a hole of 1,200 bytes: an alert after {:.1} s", began.elapsed().as_secs_f64());
    receipted(&gateway, Duration::from_mins(3)).await;
    println!("and a backlog of 15 kB after {:.1} s", began.elapsed().as_secs_f64());
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn gateways_and_centers_agree_on_http_2_and_one_connection_carries_it_all() {
    let place = Place::new("link-h2");
    let liar = Liar::start(COLD);
    // A center that ends TLS itself agrees with whoever offers it.
    let own = Center::start_with(&Place::new("link-h2-own"), "[tls]\n").await;
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
    config.dangerous().set_certificate_verifier(Arc::new(anyone::Anyone));
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(address(&own)).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(shaken.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));

    // And a gateway with whoever ends TLS in front of one.
    let proxy = Shown::fresh();
    proxy.write(&place.path().join("proxy.pem"));
    let center = Center::start_with(&place, "proxy_certificate = \"proxy.pem\"\n").await;
    let relay = Relay::start(&proxy, SocketAddr::from(([127, 0, 0, 1], 0)), address(&center)).await;
    let site = [
        head("link-1", Some(&relay.url()), "5s"),
        bus("probes", "tcp", liar.address()),
        fridge("fridge-1", "probes", "200ms"),
    ]
    .concat();
    let mut gateway = Gateway::prepare(&place, "link", &site, None, None).await;
    gateway.enrol(&[&relay.url(), &center.enrolment_code("link-1").await]).good();
    let enrolment = relay.agreed().len();
    gateway.run().await;
    receipted(&gateway, WITHIN).await;
    another_value(&liar, 1);
    receipted(&gateway, WITHIN).await;
    let agreed = relay.agreed();
    assert!(agreed.iter().all(|protocol| protocol.as_deref() == Some(b"h2")), "{agreed:?}");
    assert_eq!(agreed.len() - enrolment, 1, "records and orders share one connection");
}

/// Whoever answers: only the protocol matters here.
mod anyone {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct Anyone;

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_metered_line_is_counted_shown_at_both_ends_and_spent_on_alerts_only() {
    let place = Place::new("link-metered");
    let clock = Clock::start(&place, real_now(), SPEED);
    let (center, liar) = (Center::start(&place, Some(&clock)).await, Liar::start(COLD));
    let line = Line::start(address(&center)).await;
    let more = "metered = true\nmonth_bytes = 30000000\n";
    let mut gateway = behind(&place, &center, &line, &liar, more, Some(&clock)).await;
    gateway.run().await;
    receipted(&gateway, WITHIN).await;
    let status = gateway.status().await.unwrap();
    assert_eq!(status["line"]["budget_bytes"], 30_000_000);
    assert_eq!(status["line"]["level"], "enough");
    let used = status["line"]["used_bytes"].as_u64().unwrap();
    let (up, down) = line.passed();
    println!("estimated {used} bytes, of which {up} up and {down} down were seen above TCP");
    assert!(
        used >= up + down,
        "what is said to be used is not less than what went over: {used} < {up} + {down}"
    );
    assert!(used < (up + down) * 3, "nor far from it");
    // The bundle is closed: readings wait, an alert does not.
    another_value(&liar, 1);
    let seq = |status: &serde_json::Value, field: &str| {
        status[field]
            .as_str()
            .and_then(|text| text.split_once('/')?.1.parse::<u64>().ok())
            .unwrap_or_default()
    };
    eventually("records wait for the next bundle", WITHIN, async || {
        let status = gateway.status().await?;
        if seq(&status, "last") >= seq(&status, "through") + 3 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let row = center.api().list("/api/v1/gateways", "gateways").await.remove(0);
    assert_eq!(row["line_budget"], 30_000_000, "{row}");
    gateway.stop();

    // All of it is used: only what led to an alert goes up.
    let path = gateway.data().join("cursors/line");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{}/30000001\n", text.split_once('/').unwrap().0)).unwrap();
    liar.tell(Lie::Truth(FAR_TOO_WARM));
    gateway.run().await;
    assert_eq!(gateway.status().await.unwrap()["line"]["level"], "spent");
    shown(&center, Duration::from_mins(3)).await;
    let status = gateway.status().await.unwrap();
    assert_ne!(status["through"], status["last"], "readings of this month stay here: {status}");
    let page = reqwest::get(format!("{}/?lang=en", gateway.page)).await.unwrap().text().await.unwrap();
    assert!(page.contains("used up") && page.contains("30.0 MB"), "{page}");
    let metrics = gateway.metrics().await;
    assert!(metrics.sum("nonsite_gateway_line", &["of=\"used_bytes\""]) > 30e6, "{}", metrics.text());
}

/// What the demo's clinic costs a month, by the estimate that the meter uses, from what it wrote in two days.
#[tokio::test]
async fn a_month_of_the_demo_clinic_fits_a_metered_line() {
    const DAYS: f64 = 2.0;
    const BUNDLE_MS: i64 = 300_000;
    let place = Place::new("link-month");
    let (clinic, from) = demo_clinic(&place).await;
    let mut bundles = std::collections::BTreeMap::<i64, u64>::new();
    let (mut urgent, mut records, mut bytes) = (0, 0, 0);
    let all = at_gateway(clinic.data());
    for (n, found) in all.iter().enumerate() {
        let (header, kind) = peek(&found.bytes).unwrap();
        let size = found.bytes.len() as u64 + 5;
        (records, bytes) = (records + 1, bytes + size);
        // Conclusions go at once, with the inputs that led to them; those are not sent again with the bundle.
        let leads = all.get(n + 1).is_some_and(|next| peek(&next.bytes).unwrap().1 == Kind::Conclusions);
        if kind == Kind::Conclusions {
            urgent += on_the_wire(size + all[n - 1].bytes.len() as u64, 100);
        } else if !leads {
            *bundles.entry(header.t1.0.saturating_sub(from) / BUNDLE_MS).or_default() += size;
        }
    }
    let bundled: u64 = bundles.values().map(|size| on_the_wire(*size, 100)).sum();
    let life: u64 = 24 * 60 * on_the_wire(0, 1);
    let month = |two_days: u64| two_days as f64 / DAYS * 30.0 / 1e6;
    let total = month(urgent + bundled) + life as f64 * 30.0 / 1e6;
    println!(
        "the demo's clinic over a metered line, MB a month: {:.1} readings in bundles, {:.1} conclusions, {:.1} signs of \
         life, {total:.1} in all ({records} records of {:.1} MB in two days)",
        month(bundled),
        month(urgent),
        life as f64 * 30.0 / 1e6,
        bytes as f64 / 1e6,
    );
    assert!(total < BUDGET as f64 / 1e6, "{total:.1} MB a month is more than the default budget");
}
