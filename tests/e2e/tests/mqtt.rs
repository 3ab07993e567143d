//! Payloads of other people's devices, as they send them (domain C.6), through other people's tools: `mosquitto_pub` to a
//! `mosquitto` broker that the gateway subscribes to, and to the gateway's own embedded broker.

use std::time::Duration;

use e2e::mqtt::{Mosquitto, publish};
use e2e::{Gateway, Place, eventually};
use serde_json::Value;

use crate::sites::{head, listener};

const WITHIN: Duration = Duration::from_secs(20);

const TASMOTA: &str =
    r#"{"Time":"2024-02-24T22:20:38","DS18B20":{"Temperature":21.5},"Switch1":"ON","TempUnit":"C"}"#;
const SHELLY_FULL: &str = r#"{"src":"shellyplusht-08b61fcb7f3c","method":"NotifyFullStatus","params":{"ts":1680962879.62,"temperature:0":{"id":0,"tC":19.8,"tF":67.6},"humidity:0":{"id":0,"rh":42.2},"devicepower:0":{"id":0,"battery":{"V":5.66,"percent":87}}}}"#;
const SHELLY_DELTA: &str = r#"{"src":"shellyplusht-08b61fcb7f3c","method":"NotifyStatus","params":{"ts":1680963000.11,"temperature:0":{"id":0,"tC":20.3,"tF":68.5}}}"#;
const ZIGBEE: &str = r#"{"battery":97,"humidity":48.31,"last_seen":"2024-02-24T22:20:38+08:00","linkquality":120,"temperature":4.72}"#;
const ZIGBEE_DOOR: &str = r#"{"battery":100,"contact":false,"linkquality":87,"tamper":false,"voltage":3000}"#;
/// EM500-PT100: 100 %, 28.1 °C.
const MILESIGHT_EM500: &[u8] = b"01756403671901";
/// TS302: 24.1 °C, the second magnet switch open.
const MILESIGHT_TS302: &[u8] = b"0175640367F100040001";
/// The same in ChirpStack's envelope.
const CHIRPSTACK: &str = r#"{"deduplicationId":"3ac7e3c4-4401-4b8d-9386-a5c902f9202d","time":"NOW","deviceInfo":{"tenantId":"52f14cd4-c6f1-4fbd-8f87-4025e1d49242","applicationId":"17c82e96-be03-4f38-aef3-f83d48582d97","deviceProfileName":"EM500","deviceName":"em500","devEui":"24e124126a148401","tags":{}},"devAddr":"00189440","adr":true,"dr":5,"fCnt":4,"fPort":85,"confirmed":false,"data":"AXVkA2cZAQ==","object":{"temperature":28.1},"rxInfo":[],"txInfo":{}}"#;

fn site(broker: &str) -> String {
    [
        head("mqtt-1", None, "5s"),
        broker.to_owned(),
        listener(
            "tasmota",
            "sensor",
            "tele/fridge/SENSOR",
            "tasmota",
            r#"map = { temperature = "/DS18B20/Temperature", contact = "/Switch1" }"#,
        ),
        listener(
            "shelly",
            "sensor",
            "shellyplusht-08b61fcb7f3c/events/rpc",
            "shelly",
            r#"map = { temperature = "/params/temperature:0/tC", humidity = "/params/humidity:0/rh", battery = "/params/devicepower:0/battery/percent" }"#,
        ),
        listener(
            "zigbee",
            "sensor",
            "zigbee2mqtt/vaccine fridge",
            "zigbee2mqtt",
            r#"map = { temperature = "temperature", humidity = "humidity", battery = "battery" }"#,
        ),
        listener(
            "door",
            "sensor",
            "zigbee2mqtt/ward/fridge door",
            "zigbee2mqtt",
            r#"map = { contact = "contact", battery = "battery" }"#,
        ),
        listener(
            "em500",
            "sensor",
            "milesight/em500",
            "milesight",
            "options = { carrier = \"hex\" }\nmap = { temperature = \"temperature-1\", battery = \"battery\" }",
        ),
        listener(
            "ts302",
            "sensor",
            "milesight/ts302",
            "milesight",
            "options = { carrier = \"hex\" }\nmap = { temperature = \"temperature-1\", contact = \"magnet-2\" }",
        ),
        listener(
            "lora",
            "sensor",
            "application/17c82e96/device/24e124126a148401/event/up",
            "milesight",
            "options = { carrier = \"chirpstack\" }\nmap = { temperature = \"temperature-1\", battery = \"battery\" }",
        ),
    ]
    .concat()
}

const EXPECTED: [(&str, f64); 15] = [
    ("tasmota/temperature", 21.5),
    ("tasmota/contact", 1.0),
    // The delta came last; what it does not name stands.
    ("shelly/temperature", 20.3),
    ("shelly/humidity", 42.2),
    ("shelly/battery", 87.0),
    ("zigbee/temperature", 4.72),
    ("zigbee/humidity", 48.31),
    ("zigbee/battery", 97.0),
    // contact:false is an open door there; here a contact is true when open.
    ("door/contact", 1.0),
    ("em500/temperature", 28.1),
    ("em500/battery", 100.0),
    ("ts302/temperature", 24.1),
    ("ts302/contact", 1.0),
    ("lora/temperature", 28.1),
    ("lora/battery", 100.0),
];

async fn becomes_readings(gateway: &Gateway, port: u16) {
    publish(port, "tele/fridge/SENSOR", TASMOTA.as_bytes(), false);
    publish(port, "shellyplusht-08b61fcb7f3c/events/rpc", SHELLY_FULL.as_bytes(), false);
    publish(port, "zigbee2mqtt/vaccine fridge", ZIGBEE.as_bytes(), false);
    publish(port, "zigbee2mqtt/ward/fridge door", ZIGBEE_DOOR.as_bytes(), false);
    publish(port, "milesight/em500", MILESIGHT_EM500, false);
    publish(port, "milesight/ts302", MILESIGHT_TS302, false);
    // A network server says when it was: a payload of some other day would be an old value.
    let chirpstack = CHIRPSTACK.replace("NOW", &jiff::Timestamp::now().to_string());
    publish(port, "application/17c82e96/device/24e124126a148401/event/up", chirpstack.as_bytes(), false);
    publish(port, "shellyplusht-08b61fcb7f3c/events/rpc", SHELLY_DELTA.as_bytes(), false);
    eventually("every payload is the right reading", WITHIN, async || {
        let status = gateway.status().await?;
        let points: Vec<&Value> = status["points"].as_array().into_iter().flatten().collect();
        let wrong: Vec<String> = EXPECTED
            .iter()
            .filter_map(|(id, value)| {
                let Some(point) = points.iter().find(|point| point["id"] == *id) else {
                    return Some(format!("there is no {id}"));
                };
                let near = point["value"].as_f64().is_some_and(|found| (found - value).abs() < 1e-9);
                (!near || point["quality"] != "good").then(|| format!("{id} should be {value}: {point}"))
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    })
    .await;
}

#[tokio::test]
async fn payloads_through_mosquitto_become_the_right_readings() {
    let place = Place::new("mqtt-external");
    let broker = Mosquitto::start(&place).await;
    let site = site(&format!("\n[broker]\nurl = \"mqtt://{}\"\n", broker.address()));
    let mut gateway = Gateway::start(&place, &site, None, None).await;
    eventually("the gateway has subscribed", WITHIN, async || {
        let log = broker.log();
        if log.contains("nonsite-") { Ok(()) } else { Err(log) }
    })
    .await;
    becomes_readings_when_subscribed(&gateway, broker.port()).await;
    gateway.stop();
    gateway.program().assert_log(&[]);
}

#[tokio::test]
async fn payloads_through_the_embedded_broker_become_the_right_readings() {
    let place = Place::new("mqtt-embedded");
    let mut gateway =
        Gateway::start(&place, &site("\n[broker]\nlisten = \"127.0.0.1:0\"\n"), None, None).await;
    let port = gateway.mqtt_port.expect("the embedded broker says where it listens");
    becomes_readings_when_subscribed(&gateway, port).await;
    // A last will takes the points away; nobody is told an old value for a new one.
    publish(port, "tele/fridge/LWT", b"Offline", true);
    eventually("an offline source has no good reading", WITHIN, async || {
        let status = gateway.status().await?;
        let point = status["points"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|point| point["id"] == "tasmota/temperature");
        match point {
            Some(point) if point["quality"] == "bad" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    gateway.stop();
    gateway.program().assert_log(&[]);
}

/// The subscription is made while we look: a first message tells that it is there.
async fn becomes_readings_when_subscribed(gateway: &Gateway, port: u16) {
    eventually("the gateway hears its topics", WITHIN, async || {
        publish(port, "tele/fridge/SENSOR", TASMOTA.as_bytes(), false);
        let status = gateway.status().await?;
        let heard = status["points"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|point| point["id"] == "tasmota/temperature" && point["quality"] == "good");
        if heard { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    becomes_readings(gateway, port).await;
}
