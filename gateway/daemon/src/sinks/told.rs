//! Readings as JSON: one a message, or all that one device said at one moment in one.
//!
//! Written field by field: readings are most of what a broker gets, and each is written once.

use gateway_model::{DeviceIx, EngineTime, PointIx, Reading};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::scene::Scene;

/// Points of one message, at most: a device with more is told in several.
const POINTS_MAX: usize = 200;

/// One reading.
#[derive(Serialize)]
struct One<'a> {
    time: Option<&'a str>,
    gateway: &'a str,
    point: &'a str,
    value: Option<f64>,
    unit: &'a str,
    quality: &'a str,
    cause: Option<&'a str>,
    simulated: bool,
}

/// What a device said at a moment.
#[derive(Serialize)]
struct Many<'a> {
    time: Option<&'a str>,
    gateway: &'a str,
    device: &'a str,
    values: AsMap<'a, Option<f64>>,
    #[serde(skip_serializing_if = "AsMap::is_empty")]
    not_good: AsMap<'a, NotGood>,
    simulated: bool,
}

#[derive(Serialize)]
struct NotGood {
    quality: &'static str,
    cause: Option<String>,
}

/// An object of points, in the order in which they came.
struct AsMap<'a, T>(&'a [(&'a str, T)]);

impl<T> AsMap<'_, T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for AsMap<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A reading and the id of its point; `None` where the plan has no such point.
pub(super) fn one<'s>(scene: &'s Scene, reading: &Reading) -> Option<(&'s str, String)> {
    let point = scene.plan.points.get(reading.point.slot())?;
    let (value, quality, cause) = scene.quality(reading)?;
    let time = scene.stamp(reading.at);
    let told = One {
        time: time.as_deref(),
        gateway: scene.gateway_text(),
        point: &point.id,
        value: value.filter(|value| value.is_finite()),
        unit: point.unit.symbol(),
        quality,
        cause: cause.as_deref(),
        simulated: scene.simulated,
    };
    Some((&point.id, text(&told)))
}

/// Never an empty message: one that cannot be written is a mistake of this program.
fn text(told: &impl Serialize) -> String {
    serde_json::to_string(told).expect("writing names that are texts into memory cannot fail")
}

/// Readings of one device at one moment, until something else comes.
#[derive(Debug)]
pub(super) struct Gathered {
    device: DeviceIx,
    at: EngineTime,
    readings: Vec<Reading>,
}

impl Gathered {
    /// Begins with this one; `None` where the plan has no such point.
    pub(super) fn begin(scene: &Scene, reading: &Reading) -> Option<Self> {
        let device = scene.plan.points.get(reading.point.slot())?.device;
        Some(Self { device, at: reading.at, readings: vec![*reading] })
    }

    /// Takes one more, if it belongs to the same message: a point is in it once.
    pub(super) fn takes(&mut self, scene: &Scene, reading: &Reading) -> bool {
        let device = scene.plan.points.get(reading.point.slot()).map(|point| point.device);
        let is = |point: PointIx| self.readings.iter().any(|known| known.point == point);
        let belongs = device == Some(self.device)
            && reading.at == self.at
            && self.readings.len() < POINTS_MAX
            && !is(reading.point);
        if belongs {
            self.readings.push(*reading);
        }
        belongs
    }

    /// The device's id, and the message.
    pub(super) fn told(self, scene: &Scene) -> Option<(&str, String)> {
        let device = scene.plan.devices.get(self.device.slot())?.id.as_str();
        let (mut values, mut not_good) = (Vec::with_capacity(self.readings.len()), Vec::new());
        for reading in &self.readings {
            let point = scene.plan.points.get(reading.point.slot())?;
            // Ids of points begin with that of their device.
            let name = point.id.strip_prefix(device).and_then(|rest| rest.strip_prefix('/'));
            let name = name.unwrap_or(&point.id);
            let (value, quality, cause) = scene.quality(reading)?;
            values.push((name, value.filter(|value| value.is_finite())));
            if quality != "good" {
                not_good.push((name, NotGood { quality, cause }));
            }
        }
        let time = scene.stamp(self.at);
        let told = Many {
            time: time.as_deref(),
            gateway: scene.gateway_text(),
            device,
            values: AsMap(&values),
            not_good: AsMap(&not_good),
            simulated: scene.simulated,
        };
        Some((device, text(&told)))
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::{BadCause, GatewayId, PointIx, Quality, Raw};

    use super::*;

    fn scene() -> Scene {
        let text = "[site]\nid = \"s\"\ninstitution = \"923301000000000193\"\nname = { zh = \"点\", en = \"S\" }\n\
                    [[bus]]\nname = \"b\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:502\"\n\
                    [[device]]\nid = \"d\"\nkind = \"sensor\"\nname = { zh = \"点\", en = \"D\" }\n\
                    [[device.read]]\nbus = \"b\"\nunit = 1\nprofile = \"mb8art\"\nmap = { one = \"channel-1\", two = \"channel-2\" }\n";
        let site = crate::config::load_str("site.toml", text).unwrap();
        let mut scene = Scene::new(GatewayId([0xab; 16]), site.plan, false);
        scene.offset_ms = Some(1_767_225_600_000);
        scene
    }

    fn reading(point: u32, at: i64, value: Quality<Raw>) -> Reading {
        Reading { point: PointIx(point), at: EngineTime(at), value }
    }

    #[test]
    fn one_reading_says_everything() {
        let scene = scene();
        let (point, told) = one(&scene, &reading(1, 1_500, Quality::Good(Raw::Int(45)))).unwrap();
        let gateway = "ab".repeat(16);
        let expected = format!(
            r#"{{"time":"2026-01-01T00:00:01.500Z","gateway":"{gateway}","point":"d/two","value":4.5,"unit":"°C","quality":"good","cause":null,"simulated":false}}"#
        );
        assert_eq!((point, told), ("d/two", expected));
        assert!(one(&scene, &reading(2, 0, Quality::Good(Raw::Int(0)))).is_none(), "no such point");
    }

    #[test]
    fn what_a_device_says_at_a_moment_is_one_message() {
        let scene = scene();
        let good = |point, at| reading(point, at, Quality::Good(Raw::Int(45)));
        let mut gathered = Gathered::begin(&scene, &good(0, 0)).unwrap();
        assert!(!gathered.takes(&scene, &good(1, 1)), "another moment");
        assert!(!gathered.takes(&scene, &good(0, 0)), "a point twice");
        assert!(gathered.takes(&scene, &reading(1, 0, Quality::Bad(BadCause::NoCommunication))));
        let (device, told) = gathered.told(&scene).unwrap();
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!((device, &told["time"]), ("d", &"2026-01-01T00:00:00.000Z".into()));
        assert_eq!(told["values"], serde_json::json!({"one": 4.5, "two": null}));
        let bad = serde_json::json!({"two": {"quality": "bad", "cause": "no_communication"}});
        assert_eq!(told["not_good"], bad);
    }
}
