//! What a site listens to, and how payloads are read: resolved subscriptions and mappings.

use gateway_model::{DeviceIx, PointIx};

/// One subscription of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttPlan {
    /// Topic filter.
    pub topic: String,
    /// Which device.
    pub device: DeviceIx,
    /// How to read a payload.
    pub mapping: Mapping,
    /// Where the source, or what stands before it, says whether it is there: its points are `SourceOffline` after the
    /// first "gone", until a value comes.
    pub availability: Vec<Availability>,
}

/// Topic on which a source says whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Topic, exact.
    pub topic: String,
    /// The whole payload, or the text at `/state` of a JSON object, that means "there".
    pub online: String,
    /// The same for "gone". Anything else is malformed: counted, without effect.
    pub offline: String,
}

/// How a payload is read. Fields that are not named here are not kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Mapping {
    /// A JSON object; every field that is there is a reading, one that is not there is none (sources send deltas).
    Json(JsonMapping),
    /// Milesight's channel-type-value bytes.
    Milesight(MilesightMapping),
    /// Our own feeds: a fact of the device, and a reading of the point that absence is judged by.
    Feed(FeedMapping),
}

/// How a JSON payload is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonMapping {
    /// What is kept.
    pub fields: Vec<JsonField>,
    /// Places (JSON pointers) where this text must stand if anything does: a payload in °F is not one in °C.
    pub expect: Vec<(String, String)>,
    /// Where the source says when it was.
    pub time: Option<TimeField>,
}

/// One number or truth of a JSON payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonField {
    /// Which point.
    pub point: PointIx,
    /// JSON pointer (RFC 6901). It may lead into a text that is JSON itself.
    pub pointer: String,
    /// What must stand there.
    pub kind: JsonKind,
    /// The source leaves out what is false: where its object is there and the field is not, that means 0.
    pub omitted_is_zero: bool,
}

/// Where a source says when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeField {
    /// JSON pointer.
    pub pointer: String,
    /// What stands there.
    pub form: TimeForm,
}

/// How a source writes a time. All of them know their zone: a local time without one is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// `2026-11-22T09:30:00+08:00`.
    Rfc3339,
    /// Seconds since 1970, with or without a fraction.
    UnixSeconds,
    /// Milliseconds since 1970.
    UnixMillis,
}

/// What a JSON field must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonKind {
    /// A JSON number: `Raw::Dec` with exactly the digits that were sent.
    Number,
    /// `Raw::Int(1)` for `true`, 1 or the first text, `Raw::Int(0)` for `false`, 0 or the second.
    Truth {
        /// Text for 1 (`ON`).
        one: String,
        /// Text for 0 (`OFF`).
        zero: String,
    },
}

/// Milesight sensors: `channel, type, little-endian value` items, back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MilesightMapping {
    /// How the bytes arrive.
    pub carrier: Carrier,
    /// Which items are points.
    pub fields: Vec<MilesightField>,
    /// How long the value of an item is, per (channel, type); `None` = any channel, used when no exact entry is there.
    /// An item that is in no entry ends the reading of the payload: what stands before it is kept.
    pub lengths: Vec<(Option<u8>, u8, u8)>,
}

/// One item of a Milesight payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MilesightField {
    /// Which point.
    pub point: PointIx,
    /// Channel byte.
    pub channel: u8,
    /// Type byte.
    pub kind: u8,
    /// The value is signed; little-endian, as long as `lengths` says. `Raw::Int`.
    pub signed: bool,
}

/// How the bytes of a LoRaWAN payload arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The MQTT payload is hex digits.
    Hex,
    /// The MQTT payload is base64.
    Base64,
    /// JSON of ChirpStack v3 or v4: base64 at `/data`, time (v4) at `/time`.
    ChirpStack,
    /// JSON of The Things Stack: base64 at `/uplink_message/frm_payload`, time at `/received_at`.
    TheThingsStack,
}

/// One of our own feeds (JSON, `"v": 1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedMapping {
    /// Which.
    pub feed: Feed,
    /// The point whose reading it also is: the count, the weight in kg (bag, stored, hand-over, received), or passed (duty).
    pub point: PointIx,
}

/// Our own feeds (docs/feeds). Those without a fact of their own are readings only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// `{"v":1,"at":…,"count":1}` → `FactBody::Visits`.
    Visits,
    /// `{"v":1,"at":…,"count":6}` → `FactBody::HandpiecesPacked`.
    Packed,
    /// `{"v":1,"at":…,"label":…,"category":…,"department":…,"kg":3.25}` → `FactBody::BagLabelled`.
    Bag,
    /// `{"v":1,"at":…,"labels":[…],"kg":…,"to":…}` → `FactBody::HandOver`.
    HandOver,
    /// `{"v":1,"at":…,"labels":[…],"kg":…,"place":…}` → `FactBody::BagsStored`.
    Stored,
    /// `{"v":1,"at":…,"labels":[…],"kg":…,"by":…}` → `FactBody::WasteReceived`.
    Received,
    /// `{"v":1,"at":…,"duty":"bowie-dick","passed":true}` → `FactBody::DutyDone`.
    Duty,
    /// Occupied rooms this morning: `{"v":1,"at":…,"count":…}`.
    Occupied,
    /// Cups put into a cabinet: the same.
    Cups,
    /// Handpieces used in a treatment: the same.
    Used,
    /// Handpieces released for use: the same.
    Released,
}

impl Feed {
    /// By its name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "visits" => Self::Visits,
            "packed" => Self::Packed,
            "bag" => Self::Bag,
            "handover" => Self::HandOver,
            "stored" => Self::Stored,
            "received" => Self::Received,
            "duty" => Self::Duty,
            "occupied" => Self::Occupied,
            "cups" => Self::Cups,
            "used" => Self::Used,
            "released" => Self::Released,
            _ => return None,
        })
    }
}
