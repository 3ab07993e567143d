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
    pub(super) hotel_day: Vec<HotelDay>,
    #[serde(default)]
    pub(super) supply: Vec<Supply>,
    #[serde(default)]
    pub(super) contact: Vec<Contact>,
    #[serde(default)]
    pub(super) air: Vec<Air>,
    #[serde(default)]
    pub(super) water: Vec<Water>,
    #[serde(default)]
    pub(super) radio: Vec<Radio>,
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
    /// Days on which the institution is closed, first and last.
    #[serde(default)]
    pub(super) closed: Vec<[i64; 2]>,
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
    pub(super) days: Option<Spanned<Vec<i64>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cabinet {
    pub(super) id: Spanned<String>,
    pub(super) set_c: f64,
    pub(super) hold: Span,
    #[serde(default = "heater_w")]
    pub(super) heater_w: f64,
    #[serde(default = "load_kg")]
    pub(super) load_kg: Spanned<f64>,
    pub(super) supply: Option<Spanned<String>>,
    pub(super) runs: Vec<Run>,
}

const fn heater_w() -> f64 {
    1800.0
}

fn load_kg() -> Spanned<f64> {
    Spanned::new(0..0, 8.0)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    pub(super) at: TimeOfDay,
    #[serde(default)]
    pub(super) jitter: Span,
    pub(super) days: Option<Spanned<Vec<i64>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sterilizer {
    pub(super) id: Spanned<String>,
    #[serde(default = "set_c")]
    pub(super) set_c: Spanned<f64>,
    pub(super) supply: Option<Spanned<String>>,
    pub(super) hold: Span,
    pub(super) runs: Vec<Load>,
}

fn set_c() -> Spanned<f64> {
    Spanned::new(0..0, 134.0)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) at: TimeOfDay,
    #[serde(default)]
    pub(super) jitter: Span,
    #[serde(rename = "for")]
    pub(super) duration: Span,
    pub(super) days: Option<Spanned<Vec<i64>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UvLamp {
    pub(super) id: Spanned<String>,
    pub(super) new_uw_cm2: f64,
    pub(super) hours: f64,
    pub(super) supply: Option<Spanned<String>>,
    pub(super) sessions: Vec<Session>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fridge {
    pub(super) id: Spanned<String>,
    pub(super) supply: Option<Spanned<String>>,
    pub(super) defrost: Option<Spanned<Span>>,
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
    pub(super) supply: Option<Spanned<String>>,
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
    pub(super) ward_topic: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scale {
    pub(super) id: Spanned<String>,
    pub(super) max_kg: u32,
    pub(super) load: Spanned<String>,
    #[serde(default)]
    pub(super) drift_kg_day: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DentalDay {
    pub(super) id: Spanned<String>,
    pub(super) sterilizer: Spanned<String>,
    pub(super) visits: u32,
    pub(super) hours: Spanned<Vec<[TimeOfDay; 2]>>,
    #[serde(default = "plenty")]
    pub(super) chairs: u32,
    #[serde(default = "plenty")]
    pub(super) handpieces: u32,
    #[serde(default = "plenty")]
    pub(super) capacity: u32,
    pub(super) visits_topic: String,
    pub(super) packed_topic: String,
    pub(super) used_topic: Option<String>,
    pub(super) released_topic: Option<String>,
}

/// More than a day needs: no limit.
const fn plenty() -> u32 {
    1000
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HotelDay {
    pub(super) id: Spanned<String>,
    pub(super) cabinets: Vec<Spanned<String>>,
    pub(super) rooms: u32,
    pub(super) occupancy: Spanned<f64>,
    pub(super) between: [TimeOfDay; 2],
    #[serde(default = "plenty")]
    pub(super) capacity: u32,
    pub(super) occupied_topic: Option<String>,
    pub(super) cups_topic: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Supply {
    pub(super) id: Spanned<String>,
    #[serde(default)]
    pub(super) off: Vec<[TimeOfDay; 2]>,
    #[serde(default)]
    pub(super) jitter: Span,
    #[serde(default)]
    pub(super) off_when_closed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contact {
    pub(super) id: Spanned<String>,
    pub(super) openings: u32,
    pub(super) between: [TimeOfDay; 2],
    #[serde(default = "stay")]
    pub(super) stay: [Span; 2],
}

const fn stay() -> [Span; 2] {
    [Span(10_000), Span(40_000)]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Air {
    pub(super) id: Spanned<String>,
    #[serde(default = "room_set_c")]
    pub(super) set_c: f64,
    #[serde(default = "room_humidity")]
    pub(super) humidity: f64,
    #[serde(default)]
    pub(super) difference_pa: f64,
    #[serde(default)]
    pub(super) fan: Vec<[TimeOfDay; 2]>,
    pub(super) door: Option<Spanned<String>>,
    pub(super) lamp: Option<Spanned<String>>,
    pub(super) supply: Option<Spanned<String>>,
}

const fn room_set_c() -> f64 {
    23.0
}

const fn room_humidity() -> f64 {
    50.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Water {
    pub(super) id: Spanned<String>,
    #[serde(default = "chlorine")]
    pub(super) chlorine: f64,
    #[serde(default = "tds")]
    pub(super) tds: f64,
    #[serde(default = "turbidity")]
    pub(super) turbidity: f64,
    #[serde(default = "ph")]
    pub(super) ph: f64,
    #[serde(default)]
    pub(super) drawn: Vec<[TimeOfDay; 2]>,
}

const fn chlorine() -> f64 {
    0.35
}

const fn tds() -> f64 {
    180.0
}

const fn turbidity() -> f64 {
    0.2
}

const fn ph() -> f64 {
    7.4
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Radio {
    pub(super) id: Spanned<String>,
    pub(super) system: crate::device::radio::System,
    pub(super) name: Spanned<String>,
    pub(super) every: Spanned<Span>,
    pub(super) fields: BTreeMap<String, Spanned<String>>,
    pub(super) supply: Option<Spanned<String>>,
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
    /// Of a serial line.
    #[serde(default)]
    pub(super) line: LineSettings,
    /// Of a weighing indicator.
    pub(super) indicator: Option<Indicator>,
    pub(super) supply: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) unit: Vec<Unit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LineSettings {
    pub(super) baud: Spanned<u32>,
    pub(super) parity: crate::line::Parity,
    pub(super) stop: Spanned<u8>,
}

impl Default for LineSettings {
    fn default() -> Self {
        Self {
            baud: Spanned::new(0..0, 9600),
            parity: crate::line::Parity::None,
            stop: Spanned::new(0..0, 1),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Indicator {
    pub(super) format: crate::face::weigh::Format,
    pub(super) scale: Spanned<String>,
    #[serde(default = "decimals")]
    pub(super) decimals: Spanned<u8>,
    #[serde(default = "frame_every")]
    pub(super) every: Spanned<Span>,
}

fn decimals() -> Spanned<u8> {
    Spanned::new(0..0, 2)
}

fn frame_every() -> Spanned<Span> {
    Spanned::new(0..0, Span(100))
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
    #[serde(default)]
    pub(super) terminals: BTreeMap<String, Spanned<String>>,
    pub(super) turnaround: Option<Span>,
    pub(super) supply: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) quirks: Quirks,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Quirks {
    pub(super) base: u16,
    pub(super) whole_blocks: bool,
    pub(super) zero_holes: bool,
    pub(super) most: Option<u16>,
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
