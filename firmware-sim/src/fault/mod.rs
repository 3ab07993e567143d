//! What can go wrong, where, and the timeline on which it does.
//!
//! Four kinds by where they bite: a *link* fault spoils the answers of a unit ([`link`]), a *probe* fault what an
//! instrument sees of one quantity ([`probe`]), a *feed* fault the messages of a device ([`feed`]), a *mishap* what the
//! appliance or its people do. A new fault is a new variant here plus the one place that acts on it. [`timeline`] says
//! when they are on.

pub mod feed;
pub mod link;
pub mod probe;
mod timeline;

pub use timeline::{Effect, OCCURRENCES_MAX, Occurrence, Timeline};

/// Spoils the answers of one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkFault {
    /// No answer.
    Silent,
    /// The device says no, with this exception code.
    Exception(u8),
    /// The answer stops in the middle.
    Truncated,
    /// RTU: last checksum byte flipped. TCP has no checksum: the length field lies by one.
    WrongCrc,
    /// Answer of another unit.
    ForeignUnit,
    /// TCP: answer to another transaction. RTU: answer with another function code.
    ForeignTransaction,
    /// The answer before this one, once more.
    PreviousAnswer,
    /// A slow device: a right answer after so many milliseconds (of real time); what is asked meanwhile waits.
    Delay(u32),
    /// A right answer so many milliseconds (of real time) late; what is asked meanwhile is answered before it.
    Late(u32),
    /// The right answer, and at once the same again.
    DoubleAnswer,
    /// The connection is closed instead of an answer.
    HangUp,
    /// The connection is neither answered nor closed from here on, also when the fault is over; a new one is, until asked.
    HalfOpen,
    /// Noise bytes before the right answer.
    Noise,
    /// The two words of each register pair change places, as with a wrong word order; an odd last word stays.
    SwappedWords,
    /// Two devices answer to this unit id: in turn both one after the other, the other one alone, both at once (each bit low
    /// that either sends low). The other one shows 37 more in each word, or each bit inverted.
    SameUnitId,
    /// No power for the first half of the span (TCP: connections are closed; RTU: silence), then zeros until it has started.
    PowerCycle {
        /// Second half?
        starting: bool,
    },
}

/// Spoils what an instrument sees of one signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ProbeFault {
    /// The value of the moment it began.
    Stuck,
    /// Wire broken.
    Open,
    /// Wires shorted.
    Short,
    /// So much too high.
    Offset(f64),
    /// Higher by so much more each hour since it began.
    Drift(f64),
    /// So much too high for single seconds, one in ten, drawn by signal and second.
    Spike(f64),
    /// So many times too high.
    WrongScale(f64),
}

/// Spoils the messages of one device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FeedFault {
    /// Each message twice.
    Duplicate,
    /// Each second message before the one before it.
    Reordered,
    /// Published retained: whoever subscribes later gets an old one.
    Retained,
    /// Times in the payload are so many seconds wrong.
    ClockWrong(i32),
    /// The last message so many times each second.
    Flood(u16),
}

/// Something the appliance or its people do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mishap {
    /// Cabinet: most of the heating element is gone.
    WeakHeater,
    /// Cabinet: somebody takes a cup out three minutes into the hold.
    OpenedEarly,
    /// Cabinet, fridge: the door stands open (a fridge's: ajar).
    DoorOpen,
    /// Anything on the mains, or the mains themselves: no power.
    NoPower,
    /// Cabinet, sterilizer, lamp: runs that would begin now do not.
    Skip,
    /// Sterilizer: stops at 128 °C; people run it again afterwards.
    Abort,
    /// Sterilizer: holds 100 s only.
    ShortHold,
    /// Sterilizer: air left in the load, the probe stays 3.5 K below the steam.
    ColdSpot,
    /// Sterilizer: the door seal leaks, the vacuum is poor and the temperature is not reached.
    Leak,
    /// Fridge: warms so that it crosses 12 °C 20 minutes after the beginning.
    GoesWarm,
    /// Fridge: compressor dead.
    CompressorOff,
    /// Lamp: 30 % of its light is gone.
    Dim,
    /// Feeds: nothing is published.
    FeedSilent,
    /// Waste: the next bag bears the label of the one before.
    DuplicateLabel,
    /// Waste: the hand-over weighs 2.4 kg less than its bags.
    WeightLost,
    /// Waste: the collector does not come.
    NoCollector,
    /// Waste: the first bag of the span stays in the store until the span ends.
    ForgetBag,
    /// Waste: bags lose a third of their weight between ward and store.
    LostInside,
    /// Cabinet, fridge: somebody shines a heat gun at the probe.
    HeatGun,
    /// Sterilizer: somebody picks the quick program, 121 °C without pre-vacuum or drying.
    WrongProgram,
    /// Sterilizer: a load that failed is not run again but used.
    UseAnyway,
}

/// The mishaps of one device that are on now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mishaps(u32);

impl Mishaps {
    /// Is it on?
    #[must_use]
    pub const fn has(self, mishap: Mishap) -> bool {
        self.0 & (1 << mishap as u8) != 0
    }

    pub(crate) fn add(&mut self, mishap: Mishap) {
        self.0 |= 1 << mishap as u8;
    }
}

/// Any fault, by the word a scenario uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Of a unit's answers.
    Link(LinkFault),
    /// Of a probe.
    Probe(ProbeFault),
    /// Of a device's messages.
    Feed(FeedFault),
    /// Of an appliance or its people.
    Mishap(Mishap),
}

/// Exception code used when a scenario names none: 4, server device failure.
const EXCEPTION_DEFAULT: u8 = 4;
/// A late answer when a scenario names no delay: three usual time-outs.
const LATE_DEFAULT_MS: u32 = 1500;
/// A slow device when a scenario names no delay: within a usual time-out.
const DELAY_DEFAULT_MS: u32 = 300;
/// Longest delay.
const DELAY_MAX_MS: f64 = 600_000.0;
/// Messages a second of a flood when a scenario names none.
const FLOOD_DEFAULT: u16 = 100;
/// Messages a second of a flood at most.
const FLOOD_MAX: u16 = 10_000;

/// Every word and the plain fault it stands for, in the order they are told to people.
const WORDS: &[(&str, Fault)] = &[
    ("silent", Fault::Link(LinkFault::Silent)),
    ("exception", Fault::Link(LinkFault::Exception(EXCEPTION_DEFAULT))),
    ("truncated", Fault::Link(LinkFault::Truncated)),
    ("wrong-crc", Fault::Link(LinkFault::WrongCrc)),
    ("foreign-unit", Fault::Link(LinkFault::ForeignUnit)),
    ("foreign-transaction", Fault::Link(LinkFault::ForeignTransaction)),
    ("previous-answer", Fault::Link(LinkFault::PreviousAnswer)),
    ("delay", Fault::Link(LinkFault::Delay(DELAY_DEFAULT_MS))),
    ("late", Fault::Link(LinkFault::Late(LATE_DEFAULT_MS))),
    ("double-answer", Fault::Link(LinkFault::DoubleAnswer)),
    ("hang-up", Fault::Link(LinkFault::HangUp)),
    ("half-open", Fault::Link(LinkFault::HalfOpen)),
    ("noise", Fault::Link(LinkFault::Noise)),
    ("swapped-words", Fault::Link(LinkFault::SwappedWords)),
    ("same-unit-id", Fault::Link(LinkFault::SameUnitId)),
    ("power-cycle", Fault::Link(LinkFault::PowerCycle { starting: false })),
    ("stuck", Fault::Probe(ProbeFault::Stuck)),
    ("open", Fault::Probe(ProbeFault::Open)),
    ("short", Fault::Probe(ProbeFault::Short)),
    ("offset", Fault::Probe(ProbeFault::Offset(0.0))),
    ("drift", Fault::Probe(ProbeFault::Drift(0.0))),
    ("spike", Fault::Probe(ProbeFault::Spike(0.0))),
    ("wrong-scale", Fault::Probe(ProbeFault::WrongScale(0.0))),
    ("duplicate", Fault::Feed(FeedFault::Duplicate)),
    ("reordered", Fault::Feed(FeedFault::Reordered)),
    ("retained", Fault::Feed(FeedFault::Retained)),
    ("clock-wrong", Fault::Feed(FeedFault::ClockWrong(0))),
    ("flood", Fault::Feed(FeedFault::Flood(FLOOD_DEFAULT))),
    ("weak-heater", Fault::Mishap(Mishap::WeakHeater)),
    ("opened-early", Fault::Mishap(Mishap::OpenedEarly)),
    ("door-open", Fault::Mishap(Mishap::DoorOpen)),
    ("no-power", Fault::Mishap(Mishap::NoPower)),
    ("skip", Fault::Mishap(Mishap::Skip)),
    ("abort", Fault::Mishap(Mishap::Abort)),
    ("short-hold", Fault::Mishap(Mishap::ShortHold)),
    ("cold-spot", Fault::Mishap(Mishap::ColdSpot)),
    ("leak", Fault::Mishap(Mishap::Leak)),
    ("goes-warm", Fault::Mishap(Mishap::GoesWarm)),
    ("compressor-off", Fault::Mishap(Mishap::CompressorOff)),
    ("dim", Fault::Mishap(Mishap::Dim)),
    ("feed-silent", Fault::Mishap(Mishap::FeedSilent)),
    ("duplicate-label", Fault::Mishap(Mishap::DuplicateLabel)),
    ("weight-lost", Fault::Mishap(Mishap::WeightLost)),
    ("no-collector", Fault::Mishap(Mishap::NoCollector)),
    ("forget-bag", Fault::Mishap(Mishap::ForgetBag)),
    ("lost-inside", Fault::Mishap(Mishap::LostInside)),
    ("heat-gun", Fault::Mishap(Mishap::HeatGun)),
    ("wrong-program", Fault::Mishap(Mishap::WrongProgram)),
    ("use-anyway", Fault::Mishap(Mishap::UseAnyway)),
];

/// All words, for messages and help.
pub fn words() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, _)| *word)
}

impl Fault {
    /// The fault of this word; `value` is what the word takes: exception code, ms, an offset in the signal's unit (a
    /// drift: per hour), a factor, seconds, or messages a second.
    pub fn parse(word: &str, value: Option<f64>) -> Result<Self, String> {
        let Some((_, plain)) = WORDS.iter().find(|(w, _)| *w == word) else {
            return Err(format!(
                "no fault is called `{word}`; there are: {}",
                words().collect::<Vec<_>>().join(", ")
            ));
        };
        match value {
            Some(value) => {
                plain.with(value).ok_or_else(|| format!("`{word}` does not take the value {value}"))
            }
            None if plain.needs_value() => Err(format!("`{word}` needs a `value`")),
            None => Ok(*plain),
        }
    }

    /// Is it nothing without a value?
    fn needs_value(self) -> bool {
        match self {
            Self::Probe(fault) => match fault {
                ProbeFault::Offset(_)
                | ProbeFault::Drift(_)
                | ProbeFault::Spike(_)
                | ProbeFault::WrongScale(_) => true,
                ProbeFault::Stuck | ProbeFault::Open | ProbeFault::Short => false,
            },
            Self::Feed(fault) => match fault {
                FeedFault::ClockWrong(_) => true,
                FeedFault::Duplicate | FeedFault::Reordered | FeedFault::Retained | FeedFault::Flood(_) => {
                    false
                }
            },
            Self::Link(_) | Self::Mishap(_) => false,
        }
    }

    /// This kind of fault with this value, if it takes it.
    fn with(self, value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        match self {
            Self::Link(LinkFault::Exception(_)) if (1.0..=255.0).contains(&value) => {
                Some(Self::Link(LinkFault::Exception(value as u8)))
            }
            Self::Link(LinkFault::Delay(_)) if (0.0..=DELAY_MAX_MS).contains(&value) => {
                Some(Self::Link(LinkFault::Delay(value as u32)))
            }
            Self::Link(LinkFault::Late(_)) if (0.0..=DELAY_MAX_MS).contains(&value) => {
                Some(Self::Link(LinkFault::Late(value as u32)))
            }
            Self::Probe(ProbeFault::Offset(_)) => Some(Self::Probe(ProbeFault::Offset(value))),
            Self::Probe(ProbeFault::Drift(_)) => Some(Self::Probe(ProbeFault::Drift(value))),
            Self::Probe(ProbeFault::Spike(_)) => Some(Self::Probe(ProbeFault::Spike(value))),
            Self::Probe(ProbeFault::WrongScale(_)) => Some(Self::Probe(ProbeFault::WrongScale(value))),
            Self::Feed(FeedFault::ClockWrong(_)) if value.abs() <= f64::from(i32::MAX) => {
                Some(Self::Feed(FeedFault::ClockWrong(value as i32)))
            }
            Self::Feed(FeedFault::Flood(_)) if (1.0..=f64::from(FLOOD_MAX)).contains(&value) => {
                Some(Self::Feed(FeedFault::Flood(value as u16)))
            }
            Self::Link(_) | Self::Probe(_) | Self::Feed(_) | Self::Mishap(_) => None,
        }
    }

    /// The word of this fault.
    #[must_use]
    pub fn word(self) -> &'static str {
        let same = |other: &Fault| match (self, *other) {
            (Fault::Link(a), Fault::Link(b)) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
            (Fault::Probe(a), Fault::Probe(b)) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
            (Fault::Feed(a), Fault::Feed(b)) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
            (Fault::Mishap(a), Fault::Mishap(b)) => a == b,
            (Fault::Link(_) | Fault::Probe(_) | Fault::Feed(_) | Fault::Mishap(_), _) => false,
        };
        WORDS.iter().find(|(_, fault)| same(fault)).map_or("?", |(word, _)| word)
    }
}
