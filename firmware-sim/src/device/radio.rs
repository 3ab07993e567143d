//! Sensors that speak MQTT: Tasmota, Shelly, Zigbee2MQTT, ChirpStack, The Things Stack, as domain.md C.6 has their payloads.
//!
//! A radio reads signals of other devices and publishes them every so often, and at once when a contact changes. LoRaWAN
//! payloads carry Milesight's bytes, and their decoded form where the network server gives one. Leaves out: commands to the
//! device, and the retain flag (availability is published again every hour instead).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Message, Quantity, Seat, Tick};
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// Signals, in order: what it has sent, and what is left of its battery.
pub const QUANTITIES: &[Quantity] = &[("sent", ""), ("battery", "%")];

/// Without power a broker says so after this, s: one and a half keep-alives of a minute.
const WILL_S: i64 = 90;
/// Availability is said again this often, s.
const AGAIN_S: i64 = 3600;

/// Whose payload it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// `tele/<name>/SENSOR`, and `/LWT`.
    Tasmota,
    /// `<name>/events/rpc`: everything every hour, changes in between; and `/online`.
    Shelly,
    /// `zigbee2mqtt/<name>`, and `/availability`.
    Zigbee2mqtt,
    /// `application/<app>/device/<devEui>/event/up`, version 4.
    Chirpstack,
    /// `v3/<app>@ttn/devices/<name>/up`: 0, false and empty are left out.
    TheThingsStack,
}

/// What one value is. The words are those of Zigbee2MQTT and Milesight; others are made of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// °C.
    Temperature,
    /// %.
    Humidity,
    /// 1 = open.
    Contact,
    /// W.
    Power,
    /// kWh.
    Energy,
    /// Anything else by its own name; not in LoRaWAN bytes.
    Other,
}

impl Kind {
    /// The kind of a field by its name: `temperature`, or `temperature-2` for a second probe.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name.split('-').next().unwrap_or_default() {
            "temperature" => Self::Temperature,
            "humidity" => Self::Humidity,
            "contact" => Self::Contact,
            "power" => Self::Power,
            "energy" => Self::Energy,
            _ => Self::Other,
        }
    }
}

/// What a scenario says of a radio.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose payload.
    pub system: System,
    /// Its name in the topic.
    pub name: String,
    /// Seconds between two reports.
    pub every_s: i64,
    /// Name, kind and signal of each field.
    pub fields: Vec<(String, Kind, SignalIx)>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Radio {
    settings: Settings,
    seat: Seat,
    /// What its contacts were, for the report at a change.
    contacts: Vec<bool>,
    /// What was last told of each field: a Shelly tells changes.
    told: Vec<f64>,
    /// Since when it has no power, and whether that has been told.
    dark: Option<(i64, bool)>,
    started: bool,
    counter: u32,
}

impl Radio {
    pub(crate) fn new(settings: Settings, seat: Seat) -> Self {
        let fields = settings.fields.len();
        Self {
            settings,
            seat,
            contacts: vec![false; fields],
            told: vec![f64::NAN; fields],
            dark: None,
            started: false,
            counter: 0,
        }
    }

    pub(crate) fn step(
        &mut self,
        tick: Tick,
        mishaps: Mishaps,
        signals: &mut Signals,
        out: &mut dyn FnMut(Message),
    ) {
        let battery = (100.0 - tick.n as f64 / 8_640_000.0 * 10.0).max(1.0);
        signals.put(self.seat.signal(1), battery);
        if mishaps.has(Mishap::NoPower) {
            let (since, told) = self.dark.unwrap_or((tick.n, false));
            let tell = !told && tick.n - since >= WILL_S;
            if tell {
                self.available(tick, false, out);
            }
            self.dark = Some((since, told || tell));
            return;
        }
        if mishaps.has(Mishap::FeedSilent) {
            return;
        }
        let back = self.dark.take().is_some() || !self.started;
        self.started = true;
        if back || tick.n % AGAIN_S == 0 {
            self.available(tick, true, out);
        }
        let values: Vec<f64> = self.settings.fields.iter().map(|(_, _, ix)| signals.shown(*ix)).collect();
        let contacts: Vec<bool> = values.iter().map(|value| *value > 0.5).collect();
        let kinds = self.settings.fields.iter().map(|(_, kind, _)| *kind);
        let turned = kinds
            .zip(contacts.iter().zip(&self.contacts))
            .any(|(kind, (now, before))| kind == Kind::Contact && now != before);
        self.contacts = contacts;
        let phase = (self.seat.seed % self.settings.every_s.unsigned_abs().max(1)) as i64;
        let due = (tick.n + phase) % self.settings.every_s == 0;
        if due || turned || back {
            self.report(tick, &values, battery, back || tick.n % AGAIN_S < self.settings.every_s, out);
            self.counter += 1;
        }
        signals.put(self.seat.signal(0), f64::from(self.counter));
    }

    fn available(&self, tick: Tick, online: bool, out: &mut dyn FnMut(Message)) {
        let name = &self.settings.name;
        let (topic, payload) = match self.settings.system {
            System::Tasmota => {
                (format!("tele/{name}/LWT"), if online { "Online" } else { "Offline" }.to_owned())
            }
            System::Shelly => (format!("{name}/online"), online.to_string()),
            System::Zigbee2mqtt => {
                let state = if online { "online" } else { "offline" };
                (format!("zigbee2mqtt/{name}/availability"), format!(r#"{{"state":"{state}"}}"#))
            }
            // A network server does not say that a device is away.
            System::Chirpstack | System::TheThingsStack => return,
        };
        out(Message { at: tick.at, topic, payload });
    }

    fn report(
        &mut self,
        tick: Tick,
        values: &[f64],
        battery: f64,
        whole: bool,
        out: &mut dyn FnMut(Message),
    ) {
        // An open wire or a short has no number: such a field is left out.
        let fields: Vec<(&str, Kind, f64)> = self
            .settings
            .fields
            .iter()
            .zip(values)
            .filter(|(_, value)| value.is_finite())
            .map(|((name, kind, _), value)| (name.as_str(), *kind, *value))
            .collect();
        let name = &self.settings.name;
        let quality = 60 + (noise::share(noise::mix(self.seat.seed, tick.n as u64)) * 120.0) as i64;
        let (topic, payload) = match self.settings.system {
            System::Tasmota => (format!("tele/{name}/SENSOR"), tasmota(tick, &fields)),
            System::Zigbee2mqtt => {
                (format!("zigbee2mqtt/{name}"), zigbee2mqtt(tick, &fields, battery, quality))
            }
            System::Shelly => {
                let changed: Vec<_> = fields
                    .iter()
                    .zip(&self.told)
                    .filter(|((_, _, now), before)| {
                        whole || (now - **before).abs() > 0.049 || before.is_nan()
                    })
                    .map(|(field, _)| *field)
                    .collect();
                if changed.is_empty() {
                    return;
                }
                (format!("{name}/events/rpc"), shelly(tick, name, &changed, battery, whole))
            }
            System::Chirpstack => {
                let eui = format!("{:016x}", self.seat.seed);
                let payload = chirpstack(tick, name, &eui, &fields, battery, self.counter);
                (format!("application/nonsite/device/{eui}/event/up"), payload)
            }
            System::TheThingsStack => {
                let eui = format!("{:016X}", self.seat.seed);
                let payload = the_things_stack(tick, name, &eui, &fields, battery, self.counter);
                (format!("v3/nonsite@ttn/devices/{name}/up"), payload)
            }
        };
        self.told = values.to_vec();
        out(Message { at: tick.at, topic, payload: payload.to_string() });
    }
}

fn rounded(value: f64, steps: f64) -> Value {
    json!(libm::round(value * steps) / steps)
}

/// Local time without a zone, as Tasmota writes it.
fn zoneless(tick: Tick) -> String {
    tick.text().chars().take(19).collect()
}

fn tasmota(tick: Tick, fields: &[(&str, Kind, f64)]) -> Value {
    let mut payload = Map::new();
    payload.insert("Time".to_owned(), zoneless(tick).into());
    let probes = fields.iter().filter(|(_, kind, _)| *kind == Kind::Temperature).count();
    let humid = fields.iter().any(|(_, kind, _)| *kind == Kind::Humidity);
    let (mut probe, mut switch) = (0, 0);
    let group = |payload: &mut Map<String, Value>, group: &str, key: &str, value: Value| {
        let inner = payload.entry(group).or_insert_with(|| json!({}));
        inner[key] = value;
    };
    for (name, kind, value) in fields {
        match kind {
            Kind::Temperature => {
                probe += 1;
                let place = match (humid, probes) {
                    (true, _) => "SI7021".to_owned(),
                    (false, 1) => "DS18B20".to_owned(),
                    (false, _) => format!("DS18B20-{probe}"),
                };
                group(&mut payload, &place, "Temperature", rounded(*value, 10.0));
            }
            Kind::Humidity => group(&mut payload, "SI7021", "Humidity", rounded(*value, 10.0)),
            Kind::Power => group(&mut payload, "ENERGY", "Power", rounded(*value, 1.0)),
            Kind::Energy => group(&mut payload, "ENERGY", "Total", rounded(*value, 1000.0)),
            Kind::Contact => {
                switch += 1;
                let state = if *value > 0.5 { "ON" } else { "OFF" };
                payload.insert(format!("Switch{switch}"), state.into());
            }
            Kind::Other => group(&mut payload, "ANALOG", name, rounded(*value, 100.0)),
        }
    }
    if probes > 0 {
        payload.insert("TempUnit".to_owned(), "C".into());
    }
    payload.into()
}

fn zigbee2mqtt(tick: Tick, fields: &[(&str, Kind, f64)], battery: f64, quality: i64) -> Value {
    let mut payload = Map::new();
    for (name, kind, value) in fields {
        let value = match kind {
            // True is closed.
            Kind::Contact => Value::from(*value < 0.5),
            Kind::Temperature | Kind::Humidity | Kind::Power | Kind::Energy | Kind::Other => {
                rounded(*value, 100.0)
            }
        };
        payload.insert((*name).to_owned(), value);
    }
    payload.insert("battery".to_owned(), rounded(battery, 1.0));
    payload.insert("linkquality".to_owned(), quality.into());
    payload.insert("last_seen".to_owned(), tick.text().into());
    payload.into()
}

fn shelly(tick: Tick, name: &str, fields: &[(&str, Kind, f64)], battery: f64, whole: bool) -> Value {
    let mut params = Map::new();
    params.insert("ts".to_owned(), json!(tick.at.0 as f64 / 1000.0));
    for (number, (_, kind, value)) in fields.iter().enumerate() {
        let id = fields[..number].iter().filter(|(_, other, _)| other == kind).count();
        let (component, state) = match kind {
            Kind::Temperature => (
                format!("temperature:{id}"),
                json!({"id": id, "tC": rounded(*value, 10.0), "tF": rounded(*value * 1.8 + 32.0, 10.0)}),
            ),
            Kind::Humidity => (format!("humidity:{id}"), json!({"id": id, "rh": rounded(*value, 10.0)})),
            Kind::Power => (format!("pm1:{id}"), json!({"id": id, "apower": rounded(*value, 10.0)})),
            Kind::Energy => {
                (format!("pm1:{id}"), json!({"id": id, "aenergy": {"total": rounded(*value * 1000.0, 10.0)}}))
            }
            Kind::Contact => (format!("input:{id}"), json!({"id": id, "state": *value > 0.5})),
            Kind::Other => (format!("voltmeter:{id}"), json!({"id": id, "voltage": rounded(*value, 100.0)})),
        };
        params.insert(component, state);
    }
    if whole {
        params.insert(
            "devicepower:0".to_owned(),
            json!({"id": 0, "battery": {"percent": rounded(battery, 1.0)}}),
        );
    }
    let method = if whole { "NotifyFullStatus" } else { "NotifyStatus" };
    json!({"src": name, "dst": format!("{name}/events"), "method": method, "params": params})
}

/// Milesight's bytes: battery, then each field on its channel; little-endian. What it has no type for is left out.
fn milesight(fields: &[(&str, Kind, f64)], battery: f64) -> Vec<u8> {
    let mut bytes = vec![0x01, 0x75, libm::round(battery).clamp(0.0, 100.0) as u8];
    let (mut probes, mut contacts) = (0, 0);
    for (_, kind, value) in fields {
        match kind {
            Kind::Temperature => {
                let tenths = libm::round(value * 10.0).clamp(-32_768.0, 32_767.0) as i16;
                bytes.extend([0x03 + probes, 0x67]);
                bytes.extend(tenths.to_le_bytes());
                probes += 1;
            }
            Kind::Humidity => {
                bytes.extend([0x04, 0x68, libm::round(value * 2.0).clamp(0.0, 200.0) as u8]);
            }
            Kind::Contact => {
                bytes.extend([0x03 + contacts, 0x00, u8::from(*value > 0.5)]);
                contacts += 1;
            }
            Kind::Power | Kind::Energy | Kind::Other => {}
        }
    }
    bytes
}

/// The decoded form of [`milesight`].
fn decoded(fields: &[(&str, Kind, f64)], battery: f64) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("battery".to_owned(), rounded(battery, 1.0));
    for (name, kind, value) in fields {
        let (key, value) = match kind {
            Kind::Temperature => (name.replace('-', "_"), rounded(*value, 10.0)),
            Kind::Humidity => ("humidity".to_owned(), rounded(*value, 2.0)),
            Kind::Contact => ("magnet_status".to_owned(), u8::from(*value > 0.5).into()),
            Kind::Power | Kind::Energy | Kind::Other => continue,
        };
        object.insert(key, value);
    }
    object
}

fn chirpstack(
    tick: Tick,
    name: &str,
    eui: &str,
    fields: &[(&str, Kind, f64)],
    battery: f64,
    counter: u32,
) -> Value {
    let id = noise::mix(noise::named(0, eui), u64::from(counter));
    let other = noise::mix(id, 1);
    let mut deduplication = String::new();
    write!(
        deduplication,
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        id >> 32,
        id >> 16 & 0xFFFF,
        id & 0xFFF,
        other >> 52,
        other & 0xFFFF_FFFF_FFFF
    )
    .expect("writing to a string cannot fail");
    json!({
        "deduplicationId": deduplication,
        "time": tick.text(),
        "deviceInfo": {
            "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242", "tenantName": "nonsite",
            "applicationId": "17c82e96-be03-4f38-aef3-f83d48582d97", "applicationName": "nonsite",
            "deviceProfileName": "milesight", "deviceName": name, "devEui": eui, "tags": {},
        },
        "devAddr": eui[8..], "adr": true, "dr": 5, "fCnt": counter, "fPort": 85, "confirmed": false,
        "data": STANDARD.encode(milesight(fields, battery)),
        "object": decoded(fields, battery),
        "rxInfo": [{"gatewayId": "0016c001f153a14c", "uplinkId": counter, "rssi": -78, "snr": 9.5}],
        "txInfo": {"frequency": 471_900_000},
    })
}

fn the_things_stack(
    tick: Tick,
    name: &str,
    eui: &str,
    fields: &[(&str, Kind, f64)],
    battery: f64,
    counter: u32,
) -> Value {
    // Protocol buffers do not write what is 0 or false.
    let mut payload = decoded(fields, battery);
    payload.retain(|_, value| value.as_f64() != Some(0.0));
    let mut uplink = json!({
        "f_port": 85,
        "frm_payload": STANDARD.encode(milesight(fields, battery)),
        "decoded_payload": payload,
        "rx_metadata": [{"gateway_ids": {"gateway_id": "gw-1"}, "rssi": -78, "snr": 9.5}],
        "received_at": tick.text(),
    });
    if counter > 0 {
        uplink["f_cnt"] = counter.into();
    }
    json!({
        "end_device_ids": {"device_id": name, "application_ids": {"application_id": "nonsite"}, "dev_eui": eui},
        "received_at": tick.text(),
        "uplink_message": uplink,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milesight_bytes_as_its_decoder_has_them() {
        let hex =
            |bytes: Vec<u8>| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let t = |value| ("temperature", Kind::Temperature, value);
        let open = |value| ("contact", Kind::Contact, value);
        // domain.md C.6: 100 %, 28.1 °C.
        assert_eq!(hex(milesight(&[t(28.1)], 100.0)), "01756403671901");
        // 30.8 °C and 50.5 %.
        let humid = ("humidity", Kind::Humidity, 50.5);
        assert_eq!(hex(milesight(&[t(30.8), humid], 100.0)), "01756403673401046865");
        // TS302: 24.1 °C on the first channel, a magnet on the second that is away.
        assert_eq!(hex(milesight(&[t(24.1), open(0.0), open(1.0)], 100.0)), "0175640367f100030000040001");
        assert_eq!(hex(milesight(&[t(-0.5)], 100.0)), "0175640367fbff");
    }
}
