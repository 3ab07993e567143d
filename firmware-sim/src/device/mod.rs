//! Appliances and the people around them, stepped one second at a time.
//!
//! A device writes its signals and, for the feeds, messages. It knows the second of the day and its own mishaps, nothing
//! else; every draw comes from [`crate::noise`].

pub mod cabinet;
pub mod dental;
pub mod fridge;
pub mod meter;
pub mod scale;
pub mod sterilizer;
pub mod uv;
pub mod waste;

use crate::civil::Civil;
use crate::fault::{Mishap, Mishaps};
use crate::noise;
use crate::signal::{SignalIx, Signals};

/// One second of the world.
#[derive(Debug, Clone, Copy)]
pub struct Tick {
    /// Seconds since the world's first midnight.
    pub n: i64,
    /// Days since then.
    pub day: i64,
    /// Second of the local day.
    pub second: i64,
    /// Civil time at the beginning of this second.
    pub at: Civil,
    /// Offset of local time from UTC.
    pub utc_offset_min: i32,
}

impl Tick {
    /// RFC 3339 text of this second.
    #[must_use]
    pub fn text(&self) -> String {
        self.at.rfc3339(self.utc_offset_min)
    }
}

/// Something published on MQTT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When.
    pub at: Civil,
    /// Where.
    pub topic: String,
    /// What.
    pub payload: String,
}

/// A quantity of a device kind: name and unit.
pub type Quantity = (&'static str, &'static str);

/// Temperature of the rooms, °C, over the day: coolest at five, warmest at fifteen o'clock.
pub(crate) fn room_c(second: i64) -> f64 {
    let hours = (second as f64 / 3600.0 - 15.0).abs();
    let away = if hours > 12.0 { 24.0 - hours } else { hours };
    24.5 - 0.3 * away
}

/// The happenings of one day for one device, drawn anew each midnight.
#[derive(Debug, Clone)]
pub(crate) struct Agenda<T> {
    day: Option<i64>,
    items: Vec<(i64, T)>,
}

impl<T: Copy> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self { day: None, items: Vec::new() }
    }

    /// What is due in this second, at most one; `draw` gives the day's happenings when a day begins.
    pub(crate) fn due(&mut self, tick: Tick, draw: impl FnOnce(i64) -> Vec<(i64, T)>) -> Option<T> {
        if self.day != Some(tick.day) {
            self.day = Some(tick.day);
            self.items = draw(tick.day);
            // Latest first, so that the next is popped off the end.
            self.items.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        }
        let (at, _) = self.items.last()?;
        if *at > tick.second { None } else { self.items.pop().map(|(_, item)| item) }
    }
}

/// A time of day and how far people miss it.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Seconds after midnight.
    pub at: i64,
    /// Missed by up to this many seconds either way.
    pub jitter: i64,
}

impl About {
    pub(crate) fn draw(self, seed: u64, day: i64, index: usize) -> i64 {
        let draw = noise::mix(noise::mix(seed, day as u64), index as u64);
        self.at + (noise::share(draw).mul_add(2.0, -1.0) * self.jitter as f64) as i64
    }
}

/// Any device.
#[derive(Debug, Clone)]
pub enum Device {
    /// Disinfection cabinet.
    Cabinet(cabinet::Cabinet),
    /// Steam sterilizer.
    Sterilizer(sterilizer::Sterilizer),
    /// Germicidal lamp.
    UvLamp(uv::UvLamp),
    /// Medicine fridge.
    Fridge(fridge::Fridge),
    /// Energy meter.
    Meter(meter::Meter),
    /// Platform scale.
    Scale(scale::Scale),
    /// People bringing waste bags.
    WasteDay(waste::WasteDay),
    /// People treating patients.
    DentalDay(dental::DentalDay),
}

/// Where a device's signals lie, and its seed.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    pub(crate) base: usize,
    pub(crate) seed: u64,
}

impl Seat {
    /// The device's `index`th quantity.
    pub(crate) const fn signal(self, index: usize) -> SignalIx {
        SignalIx(self.base + index)
    }
}

impl Device {
    pub(crate) fn step(
        &mut self,
        tick: Tick,
        mishaps: Mishaps,
        signals: &mut Signals,
        out: &mut dyn FnMut(Message),
    ) {
        match self {
            Self::Cabinet(device) => device.step(tick, mishaps, signals),
            Self::Sterilizer(device) => device.step(tick, mishaps, signals),
            Self::UvLamp(device) => device.step(tick, mishaps, signals),
            Self::Fridge(device) => device.step(tick, mishaps, signals),
            Self::Meter(device) => device.step(tick, signals),
            Self::Scale(device) => device.step(tick, signals),
            Self::WasteDay(device) => device.step(tick, mishaps, signals, out),
            Self::DentalDay(device) => device.step(tick, mishaps, signals, out),
        }
    }

    /// May this mishap befall this kind of device?
    #[must_use]
    pub fn can(&self, mishap: Mishap) -> bool {
        use Mishap as M;
        let list: &[M] = match self {
            Self::Cabinet(_) => &[M::WeakHeater, M::OpenedEarly, M::DoorOpen, M::NoPower, M::Skip],
            Self::Sterilizer(_) => &[M::Abort, M::ShortHold, M::ColdSpot, M::Leak, M::NoPower, M::Skip],
            Self::UvLamp(_) => &[M::Dim, M::Skip],
            Self::Fridge(_) => &[M::DoorOpen, M::NoPower, M::GoesWarm, M::CompressorOff],
            Self::Meter(_) | Self::Scale(_) => &[],
            Self::WasteDay(_) => {
                &[M::FeedSilent, M::DuplicateLabel, M::WeightLost, M::ForgetBag, M::NoCollector]
            }
            Self::DentalDay(_) => &[M::FeedSilent],
        };
        list.contains(&mishap)
    }
}
