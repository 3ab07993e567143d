//! Appliances and the people around them, stepped one second at a time.
//!
//! A device writes its signals and, for the feeds, messages. It knows the second of the day and its own mishaps, nothing
//! else; every draw comes from [`crate::noise`].

pub mod air;
pub mod cabinet;
pub mod contact;
pub mod dental;
pub mod fridge;
pub mod hotel;
pub mod meter;
pub mod radio;
pub mod scale;
pub mod sterilizer;
pub mod supply;
pub mod uv;
pub mod waste;
pub mod water;

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
    /// Is the institution closed today? Then nobody comes.
    pub closed: bool,
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

/// What a heat gun does to a probe, K/s: the air in front of it has 180 °C.
pub(crate) fn heat_gun_k_s(probe_c: f64) -> f64 {
    (180.0 - probe_c) / 45.0
}

/// A count as our feeds write it.
pub(crate) fn counted(tick: Tick, topic: &str, count: u32) -> Message {
    let payload = format!(r#"{{"v":1,"at":"{}","count":{count}}}"#, tick.text());
    Message { at: tick.at, topic: topic.to_owned(), payload }
}

/// Days of a world a time can be limited to: the first of them.
pub const NAMED_DAYS_MAX: i64 = 64;

/// A time of day and how far people miss it.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Seconds after midnight.
    pub at: i64,
    /// Missed by up to this many seconds either way.
    pub jitter: i64,
    /// On these days only, one bit a day, closed or not; `None` is every day that is not closed.
    pub days: Option<u64>,
}

impl About {
    pub(crate) fn draw(self, seed: u64, day: i64, index: usize) -> i64 {
        let draw = noise::mix(noise::mix(seed, day as u64), index as u64);
        self.at + (noise::share(draw).mul_add(2.0, -1.0) * self.jitter as f64) as i64
    }

    /// Does it happen on this day?
    pub(crate) fn is_on(self, tick: Tick) -> bool {
        match self.days {
            None => !tick.closed,
            Some(days) => (0..NAMED_DAYS_MAX).contains(&tick.day) && days >> tick.day & 1 == 1,
        }
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
    /// People cleaning rooms.
    HotelDay(hotel::HotelDay),
    /// Mains or a breaker.
    Supply(supply::Supply),
    /// Door contact or presence.
    Contact(contact::Contact),
    /// Air of a room.
    Air(air::Air),
    /// Water of a house.
    Water(water::Water),
    /// A sensor that speaks MQTT.
    Radio(radio::Radio),
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
            Self::Meter(device) => device.step(tick, mishaps, signals),
            Self::Scale(device) => device.step(tick, signals),
            Self::WasteDay(device) => device.step(tick, mishaps, signals, out),
            Self::DentalDay(device) => device.step(tick, mishaps, signals, out),
            Self::HotelDay(device) => device.step(tick, mishaps, signals, out),
            Self::Supply(device) => device.step(tick, mishaps, signals),
            Self::Contact(device) => device.step(tick, mishaps, signals),
            Self::Air(device) => device.step(tick, mishaps, signals),
            Self::Water(device) => device.step(tick, signals),
            Self::Radio(device) => device.step(tick, mishaps, signals, out),
        }
    }

    /// May this mishap befall this kind of device?
    #[must_use]
    pub fn can(&self, mishap: Mishap) -> bool {
        use Mishap as M;
        let list: &[M] = match self {
            Self::Cabinet(_) => {
                &[M::WeakHeater, M::OpenedEarly, M::DoorOpen, M::NoPower, M::Skip, M::HeatGun]
            }
            Self::Sterilizer(_) => &[
                M::Abort,
                M::ShortHold,
                M::ColdSpot,
                M::Leak,
                M::NoPower,
                M::Skip,
                M::WrongProgram,
                M::UseAnyway,
            ],
            Self::UvLamp(_) => &[M::Dim, M::Skip, M::NoPower],
            Self::Fridge(_) => &[M::DoorOpen, M::NoPower, M::GoesWarm, M::CompressorOff, M::HeatGun],
            Self::Meter(_) | Self::Supply(_) => &[M::NoPower],
            Self::Scale(_) | Self::Water(_) => &[],
            Self::WasteDay(_) => &[
                M::FeedSilent,
                M::DuplicateLabel,
                M::WeightLost,
                M::LostInside,
                M::ForgetBag,
                M::NoCollector,
            ],
            Self::DentalDay(_) | Self::HotelDay(_) => &[M::FeedSilent],
            Self::Contact(_) => &[M::DoorOpen],
            Self::Air(_) => &[M::NoPower, M::DoorOpen],
            Self::Radio(_) => &[M::NoPower, M::FeedSilent],
        };
        list.contains(&mishap)
    }
}
