//! A scenario file as written. Unknown words are refused, so that a typing error is no silent default.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::Text;
use crate::civil::{Span, TimeOfDay};
use crate::face::frame::Transport;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) scenario: Head,
    #[serde(default)]
    pub(super) cabinet: Vec<Cabinet>,
    #[serde(default)]
    pub(super) sterilizer: Vec<Sterilizer>,
    #[serde(default)]
    pub(super) uv_lamp: Vec<UvLamp>,
    #[serde(default)]
    pub(super) fridge: Vec<Fridge>,
    #[serde(default)]
    pub(super) meter: Vec<Meter>,
    #[serde(default)]
    pub(super) waste_day: Vec<WasteDay>,
    #[serde(default)]
    pub(super) scale: Vec<Scale>,
    #[serde(default)]
    pub(super) dental_day: Vec<DentalDay>,
    #[serde(default)]
    pub(super) endpoint: Vec<Endpoint>,
    #[serde(default)]
    pub(super) plant: Vec<Plant>,
    #[serde(default)]
    pub(super) incident: Vec<Incident>,
    #[serde(default)]
    pub(super) random: Vec<Random>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) title: Text,
    pub(super) seed: u64,
    #[serde(default = "china")]
    pub(super) utc_offset_min: i32,
}

const fn china() -> i32 {
    480
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    pub(super) at: TimeOfDay,
    #[serde(default)]
    pub(super) jitter: Span,
    #[serde(default)]
    pub(super) dry: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cabinet {
    pub(super) id: Spanned<String>,
    pub(super) set_c: f64,
    pub(super) hold: Span,
    #[serde(default = "heater_w")]
    pub(super) heater_w: f64,
    pub(super) runs: Vec<Run>,
}

const fn heater_w() -> f64 {
    1800.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    pub(super) at: TimeOfDay,
    #[serde(default)]
    pub(super) jitter: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sterilizer {
    pub(super) id: Spanned<String>,
    pub(super) hold: Span,
    pub(super) runs: Vec<Load>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) at: TimeOfDay,
    #[serde(default)]
    pub(super) jitter: Span,
    #[serde(rename = "for")]
    pub(super) duration: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UvLamp {
    pub(super) id: Spanned<String>,
    pub(super) new_uw_cm2: f64,
    pub(super) hours: f64,
    pub(super) sessions: Vec<Session>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fridge {
    pub(super) id: Spanned<String>,
    pub(super) set_c: f64,
    #[serde(default)]
    pub(super) openings: u32,
    pub(super) between: [TimeOfDay; 2],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Meter {
    pub(super) id: Spanned<String>,
    pub(super) of: Spanned<String>,
    #[serde(default)]
    pub(super) kwh: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WasteDay {
    pub(super) id: Spanned<String>,
    pub(super) scale: Spanned<String>,
    pub(super) bags: u32,
    pub(super) rounds: Spanned<Vec<[TimeOfDay; 2]>>,
    pub(super) handover: Load,
    pub(super) to: String,
    pub(super) bag_topic: String,
    pub(super) handover_topic: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scale {
    pub(super) id: Spanned<String>,
    pub(super) max_kg: u32,
    pub(super) load: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DentalDay {
    pub(super) id: Spanned<String>,
    pub(super) sterilizer: Spanned<String>,
    pub(super) visits: u32,
    pub(super) hours: Spanned<Vec<[TimeOfDay; 2]>>,
    pub(super) visits_topic: String,
    pub(super) packed_topic: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) name: Spanned<String>,
    pub(super) transport: Transport,
    #[serde(default = "connections")]
    pub(super) connections: usize,
    #[serde(default)]
    pub(super) turnaround: Span,
    #[serde(default)]
    pub(super) unit: Vec<Unit>,
}

const fn connections() -> usize {
    32
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unit {
    #[serde(rename = "unit")]
    pub(super) id: Spanned<u8>,
    pub(super) map: Spanned<String>,
    pub(super) terminals: BTreeMap<String, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plant {
    pub(super) day: i64,
    pub(super) at: TimeOfDay,
    #[serde(rename = "for")]
    pub(super) duration: Span,
    pub(super) target: Spanned<String>,
    pub(super) fault: Spanned<String>,
    pub(super) value: Option<f64>,
    pub(super) note: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Incident {
    pub(super) after: Span,
    #[serde(rename = "for")]
    pub(super) duration: Span,
    pub(super) target: Spanned<String>,
    pub(super) fault: Spanned<String>,
    pub(super) value: Option<f64>,
    pub(super) note: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Random {
    #[serde(default)]
    pub(super) from_day: i64,
    pub(super) between: Option<[TimeOfDay; 2]>,
    pub(super) every: Spanned<Span>,
    pub(super) chance: Spanned<f64>,
    #[serde(rename = "for")]
    pub(super) duration: Span,
    pub(super) target: Spanned<String>,
    pub(super) fault: Spanned<String>,
    pub(super) value: Option<f64>,
}
