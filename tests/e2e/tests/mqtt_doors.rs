//! Who may talk to whom over MQTT: the gateway at somebody else's locked broker, and other people's clients at ours.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::mqtt::{Mosquitto, Papers, publish_with, secret};
use e2e::{Gateway, Place, eventually};

use crate::sites::{head, listener};

const WITHIN: Duration = Duration::from_secs(30);
const TOPIC: &str = "tele/fridge/SENSOR";

fn site(id: &str, broker: &str) -> String {
    let map = r#"map = { temperature = "/DS18B20/Temperature" }"#;
    [head(id, None, "5s"), broker.to_owned(), listener("fridge", "sensor", TOPIC, "tasmota", map)].concat()
}

fn payload(celsius: f64) -> Vec<u8> {
    format!(r#"{{"Time":"2024-02-24T22:20:38","DS18B20":{{"Temperature":{celsius}}},"TempUnit":"C"}}"#).into()
}

/// Publishes until the gateway shows it: the subscription may still be on its way.
async fn arrives(gateway: &Gateway, celsius: f64, publish: impl Fn(&[u8]) -> Result<(), String>) {
    eventually("the gateway shows what was published", WITHIN, async || {
        publish(&payload(celsius))?;
        let status = gateway.status().await?;
        let points = status["points"].as_array().cloned().unwrap_or_default();
        let shown = points.iter().any(|point| point["value"].as_f64() == Some(celsius));
        if shown { Ok(()) } else { Err(format!("{points:?}")) }
    })
    .await;
}

async fn counted(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metrics().await.sum("nonsite_gateway_mqtt_payloads", &[&format!("outcome=\"{outcome}\"")])
}

async fn counts(gateway: &Gateway, outcome: &str) {
    eventually(&format!("`{outcome}` is counted"), WITHIN, async || {
        if counted(gateway, outcome).await > 0.0 {
            Ok(())
        } else {
            Err(gateway.metrics().await.text().to_owned())
        }
    })
    .await;
}

/// mosquitto's list of users with one in it.
fn passwords_of(file: &Path, password: &str) {
    let made =
        Command::new("mosquitto_passwd").args(["-c", "-b"]).arg(file).args(["gateway", password]).status();
    assert!(made.unwrap().success());
}

/// mosquitto behind TLS, with passwords and certificates, killed in between: both versions of MQTT.
#[tokio::test]
async fn a_locked_broker_is_opened_with_certificate_and_password_and_found_again_after_it_died() {
    for version in ["5", "3.1.1"] {
        let place = Place::new("mqtt-locked");
        let papers = Papers::new(&place);
        let passwords = place.path().join("passwords");
        passwords_of(&passwords, "correct horse");
        let mut broker = Mosquitto::start_with(
            &place,
            &format!(
                "allow_anonymous false\npassword_file {}\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n",
                passwords.display(),
                papers.ca,
                papers.server.0,
                papers.server.1
            ),
        )
        .await;
        secret(&place, "mqtt.password", "correct horse\n");
        let lines = format!(
            "\n[broker]\nurl = \"mqtts://{}\"\nversion = \"{version}\"\nuser = \"gateway\"\npassword_file = \"mqtt.password\"\n\
             ca_file = \"ca.pem\"\ncert_file = \"client.pem\"\nkey_file = \"client.key\"\n",
            broker.address()
        );
        let mut gateway = Gateway::start(&place, &site("locked", &lines), None, None).await;
        let port = broker.port();
        let extra = ["--cafile", &papers.ca, "--cert", &papers.client.0, "--key", &papers.client.1]
            .into_iter()
            .chain(["-u", "gateway", "-P", "correct horse"])
            .collect::<Vec<_>>();
        let publish = |payload: &[u8]| publish_with(port, &extra, TOPIC, payload);
        arrives(&gateway, 4.5, publish).await;
        broker.again().await;
        arrives(&gateway, 5.25, publish).await;
        let log = broker.log();
        let spoken = if version == "5" { "p5" } else { "p2" };
        assert!(
            log.lines().any(|line| line.contains("nonsite-") && line.contains(spoken)),
            "{version} was spoken: {log}"
        );
        gateway.stop();
        gateway.program().assert_log(&["no connection to the broker"]);
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_foreign_certificate_are_told_apart() {
    let place = Place::new("mqtt-wrong");
    let papers = Papers::new(&place);
    let passwords = place.path().join("passwords");
    passwords_of(&passwords, "right");
    let tls = format!(
        "allow_anonymous false\npassword_file {}\ncafile {}\ncertfile {}\nkeyfile {}\n",
        passwords.display(),
        papers.ca,
        papers.server.0,
        papers.server.1
    );
    let broker = Mosquitto::start_with(&place, &tls).await;
    secret(&place, "mqtt.password", "wrong\n");
    let with = |ca: &str| {
        let url = broker.address();
        format!(
            "\n[broker]\nurl = \"mqtts://{url}\"\nuser = \"gateway\"\npassword_file = \"mqtt.password\"\n{ca}"
        )
    };
    let mut gateway =
        Gateway::start(&place, &site("wrong", &with("ca_file = \"ca.pem\"\n")), None, None).await;
    counts(&gateway, "connection_refused").await;
    gateway.stop();
    gateway.program().assert_log(&["the broker refuses us: check `user` and `password_file`"]);
    // Public roots do not know the authority of a test.
    let mut gateway = Gateway::start(&place, &site("wrong", &with("")), None, None).await;
    counts(&gateway, "connection_lost").await;
    gateway.stop();
    let log = gateway.program().log();
    assert!(log.contains("certificate"), "{log}");
}

/// The embedded broker as another machine would see it: TLS, named clients, limits.
#[tokio::test]
async fn the_embedded_broker_refuses_who_is_not_named_what_is_not_theirs_and_what_is_too_much() {
    let place = Place::new("mqtt-doors");
    let papers = Papers::new(&place);
    secret(&place, "fridge.password", "cold\n");
    secret(&place, "lamp.password", "bright\n");
    let lines = r#"
[broker]
listen = "127.0.0.1:0"
connections = 3
payload_max = "4 KiB"
[broker.tls]
cert_file = "server.pem"
key_file = "server.key"
[[broker.client]]
user = "fridge"
password_file = "fridge.password"
publish = ["tele/fridge/#"]
[[broker.client]]
user = "lamp"
password_file = "lamp.password"
publish = ["tele/lamp/#"]
"#;
    let mut gateway = Gateway::start(&place, &site("doors", lines), None, None).await;
    let port = gateway.mqtt_port.unwrap();
    let publish = |user: &[&str], version: &str, topic: &str, payload: &[u8]| {
        let mut extra = vec!["--cafile", papers.ca.as_str(), "-V", version];
        extra.extend(user);
        publish_with(port, &extra, topic, payload)
    };
    let fridge = ["-u", "fridge", "-P", "cold"];
    for version in ["5", "311"] {
        arrives(&gateway, if version == "5" { 4.5 } else { 5.5 }, |payload| {
            publish(&fridge, version, TOPIC, payload)
        })
        .await;
        let wrong = ["-u", "fridge", "-P", "warm"];
        assert!(publish(&wrong, version, TOPIC, &payload(99.0)).is_err());
        assert!(publish(&[], version, TOPIC, &payload(99.0)).is_err(), "nobody in particular");
        // More than a packet may hold. Not every publisher says so; what counts is that it is never shown.
        let mut large = payload(99.0);
        large.resize(20_000, b' ');
        let told = publish(&fridge, version, TOPIC, &large);
        assert!(told.is_err() || version == "5", "{told:?}");
        // MQTT 3.1.1 has no word for it: there the message is gone without one.
        let lamp = ["-u", "lamp", "-P", "bright"];
        let refused = publish(&lamp, version, TOPIC, &payload(99.0));
        assert_eq!(refused.is_err(), version == "5", "{refused:?}");
    }
    for outcome in ["wrong_password", "no_user", "foreign_topic"] {
        counts(&gateway, outcome).await;
    }

    // Silent callers take their places and no more than these; they do not keep others from shaking hands.
    let silent: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    arrives(&gateway, 6.5, |payload| publish(&fridge, "5", TOPIC, payload)).await;
    let third = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(publish(&fridge, "5", TOPIC, &payload(99.0)).is_err(), "three places, three callers");
    counts(&gateway, "too_many_connections").await;
    drop((silent, third));
    arrives(&gateway, 7.5, |payload| publish(&fridge, "5", TOPIC, payload)).await;

    let status = gateway.status().await.unwrap();
    let points = status["points"].as_array().unwrap();
    assert!(!points.is_empty() && points.iter().all(|point| point["value"] != 99.0), "{status}");
    gateway.stop();
    gateway.program().assert_log(&["refused at the embedded broker", "no room for another MQTT connection"]);
}

/// A sink at mosquitto behind TLS with passwords: both versions of MQTT, and a wrong password.
#[tokio::test]
async fn a_sink_speaks_to_a_locked_broker_in_both_versions() {
    for (version, spoken) in [("5", "p5"), ("3.1.1", "p2")] {
        let place = Place::new("mqtt-sink");
        let papers = Papers::new(&place);
        let passwords = place.path().join("passwords");
        passwords_of(&passwords, "correct horse");
        let broker = Mosquitto::start_with(
            &place,
            &format!(
                "allow_anonymous false\npassword_file {}\ncafile {}\ncertfile {}\nkeyfile {}\n",
                passwords.display(),
                papers.ca,
                papers.server.0,
                papers.server.1
            ),
        )
        .await;
        secret(&place, "sink.password", "wrong\n");
        let lines = format!(
            "\n[[sink]]\nname = \"district\"\nkind = \"mqtt\"\nurl = \"mqtts://{}\"\nversion = \"{version}\"\nprefix = \"health\"\n\
             begin = \"oldest\"\nuser = \"gateway\"\npassword_file = \"sink.password\"\nca_file = \"ca.pem\"\n",
            broker.address()
        );
        let mut gateway = Gateway::start(&place, &site("sink", &lines), None, None).await;
        let stands = async |gateway: &Gateway, state: &str| {
            eventually(&format!("{version}: the sink {state}"), WITHIN, async || {
                let shown = gateway.status().await?["sinks"][0].clone();
                if shown["state"] == state { Ok(()) } else { Err(shown.to_string()) }
            })
            .await;
        };
        // Something to send.
        let own = gateway.mqtt_port.unwrap();
        arrives(&gateway, 3.5, |payload| publish_with(own, &[], TOPIC, payload)).await;
        stands(&gateway, "refused").await;
        gateway.stop();
        secret(&place, "sink.password", "correct horse\n");

        // Everything that comes, until the reading; retained is only what stands.
        let topic = "health/sink/#";
        let sub = |more: &[&str]| {
            let port = broker.port().to_string();
            let mut command = Command::new("mosquitto_sub");
            command.args(["-h", "127.0.0.1", "-p", &port, "--cafile", &papers.ca, "-u", "gateway"]);
            command
                .args(["-i", "listener", "-P", "correct horse", "-t", topic, "-q", "1", "-F", "%t %p"])
                .args(more);
            command.stdout(std::process::Stdio::piped()).spawn().unwrap()
        };
        gateway.run().await;
        stands(&gateway, "works").await;
        eventually(&format!("{version}: the gateway is known to the broker"), WITHIN, async || {
            let log = broker.log();
            if log.lines().any(|line| line.contains("-district") && line.contains(spoken)) {
                Ok(())
            } else {
                Err(log)
            }
        })
        .await;
        let hears = sub(&["-C", "2", "-W", "30"]);
        // It subscribes right behind that; a reading is sealed only seconds later.
        eventually("the listener is there", WITHIN, async || {
            let log = broker.log();
            if log.contains("as listener") { Ok(()) } else { Err(log) }
        })
        .await;
        let own = gateway.mqtt_port.unwrap();
        arrives(&gateway, 4.5, |payload| publish_with(own, &[], TOPIC, payload)).await;
        let heard = String::from_utf8(hears.wait_with_output().unwrap().stdout).unwrap();
        assert!(heard.contains("health/sink/gateway") && heard.contains("\"online\""), "{version}: {heard}");
        assert!(heard.contains("health/sink/reading/fridge/") && heard.contains("4.5"), "{version}: {heard}");
        gateway.stop();
        let kept = sub(&["-C", "1", "-W", "10", "--retained-only"]).wait_with_output().unwrap();
        let kept = String::from_utf8(kept.stdout).unwrap();
        assert!(kept.contains("\"offline\""), "{version}: it said good-bye: {kept}");
    }
}
