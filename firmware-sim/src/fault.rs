//! What can go wrong, where, and the timeline on which it does.
//!
//! Three kinds by where they bite: a *link* fault spoils the answers of a unit, a *probe* fault what an instrument sees of
//! one quantity, a *mishap* what the appliance or its people do. A new fault is a new variant here plus the one place
//! that acts on it.

use crate::signal::SignalIx;

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
    /// A right answer, so many milliseconds (of real time) late.
    Late(u32),
    /// The connection is closed instead of an answer.
    HangUp,
    /// Noise bytes before the right answer.
    Noise,
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
    /// Of an appliance or its people.
    Mishap(Mishap),
}

/// Exception code used when a scenario names none: 4, server device failure.
const EXCEPTION_DEFAULT: u8 = 4;
/// A late answer when a scenario names no delay: three usual time-outs.
const LATE_DEFAULT_MS: u32 = 1500;

/// Every word and the plain fault it stands for, in the order they are told to people.
const WORDS: [(&str, Fault); 35] = [
    ("silent", Fault::Link(LinkFault::Silent)),
    ("exception", Fault::Link(LinkFault::Exception(EXCEPTION_DEFAULT))),
    ("truncated", Fault::Link(LinkFault::Truncated)),
    ("wrong-crc", Fault::Link(LinkFault::WrongCrc)),
    ("foreign-unit", Fault::Link(LinkFault::ForeignUnit)),
    ("foreign-transaction", Fault::Link(LinkFault::ForeignTransaction)),
    ("previous-answer", Fault::Link(LinkFault::PreviousAnswer)),
    ("late", Fault::Link(LinkFault::Late(LATE_DEFAULT_MS))),
    ("hang-up", Fault::Link(LinkFault::HangUp)),
    ("noise", Fault::Link(LinkFault::Noise)),
    ("stuck", Fault::Probe(ProbeFault::Stuck)),
    ("open", Fault::Probe(ProbeFault::Open)),
    ("short", Fault::Probe(ProbeFault::Short)),
    ("offset", Fault::Probe(ProbeFault::Offset(0.0))),
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
    /// The fault of this word; `value` is an exception code, a delay in ms, or an offset, where the word takes one.
    pub fn parse(word: &str, value: Option<f64>) -> Result<Self, String> {
        let Some((_, plain)) = WORDS.iter().find(|(w, _)| *w == word) else {
            return Err(format!(
                "no fault is called `{word}`; there are: {}",
                words().collect::<Vec<_>>().join(", ")
            ));
        };
        let Some(value) = value else {
            return match plain {
                Fault::Probe(ProbeFault::Offset(_)) => Err("`offset` needs a `value`".to_owned()),
                Fault::Link(_) | Fault::Probe(_) | Fault::Mishap(_) => Ok(*plain),
            };
        };
        match plain {
            Fault::Link(LinkFault::Exception(_)) if (1.0..=255.0).contains(&value) => {
                Ok(Fault::Link(LinkFault::Exception(value as u8)))
            }
            Fault::Link(LinkFault::Late(_)) if (0.0..=600_000.0).contains(&value) => {
                Ok(Fault::Link(LinkFault::Late(value as u32)))
            }
            Fault::Probe(ProbeFault::Offset(_)) if value.is_finite() => {
                Ok(Fault::Probe(ProbeFault::Offset(value)))
            }
            Fault::Link(_) | Fault::Probe(_) | Fault::Mishap(_) => {
                Err(format!("`{word}` does not take the value {value}"))
            }
        }
    }

    /// The word of this fault.
    #[must_use]
    pub fn word(self) -> &'static str {
        let same = |other: &Fault| match (self, *other) {
            (Fault::Link(a), Fault::Link(b)) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
            (Fault::Probe(a), Fault::Probe(b)) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
            (Fault::Mishap(a), Fault::Mishap(b)) => a == b,
            (Fault::Link(_) | Fault::Probe(_) | Fault::Mishap(_), _) => false,
        };
        WORDS.iter().find(|(_, fault)| same(fault)).map_or("?", |(word, _)| word)
    }
}

/// Where a fault bites.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// A unit of an endpoint, or all of them.
    Link {
        /// Position of the endpoint.
        endpoint: usize,
        /// Unit id; `None` is every unit of the endpoint.
        unit: Option<u8>,
        /// What happens.
        fault: LinkFault,
    },
    /// A signal.
    Probe {
        /// Which.
        signal: SignalIx,
        /// What happens.
        fault: ProbeFault,
    },
    /// A device.
    Mishap {
        /// Position of the device.
        device: usize,
        /// What happens.
        mishap: Mishap,
    },
}

/// One fault from one second to another (seconds since the world's first midnight; `to` is the first second without it).
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// First second.
    pub from: i64,
    /// First second without it.
    pub to: i64,
    /// What and where.
    pub effect: Effect,
    /// The target as it was named.
    pub target: String,
}

/// Occurrences at most, planted, drawn and injected together: more are refused.
pub const OCCURRENCES_MAX: usize = 10_000;

/// The occurrences that are on or will be, and when to look again.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    list: Vec<Occurrence>,
    next: i64,
}

impl Timeline {
    /// Adds one; `false`, and nothing is added, when [`OCCURRENCES_MAX`] are there already.
    pub fn add(&mut self, occurrence: Occurrence) -> bool {
        if self.list.len() >= OCCURRENCES_MAX {
            return false;
        }
        self.list.push(occurrence);
        self.next = i64::MIN;
        true
    }

    /// Ends those on `target` (all of them for `None`) that are on at second `now`; says how many.
    pub fn clear(&mut self, target: Option<&str>, now: i64) -> usize {
        let before = self.list.len();
        self.list.retain(|o| o.from > now || target.is_some_and(|target| o.target != target));
        self.next = i64::MIN;
        before - self.list.len()
    }

    /// Has anything begun or ended at second `now`? If so forgets what is over; ask [`Timeline::on`] then.
    pub(crate) fn turned(&mut self, now: i64) -> bool {
        if now < self.next {
            return false;
        }
        self.list.retain(|o| o.to > now);
        self.next =
            self.list.iter().map(|o| if o.from > now { o.from } else { o.to }).min().unwrap_or(i64::MAX);
        true
    }

    /// Those that are on at second `now`.
    pub fn on(&self, now: i64) -> impl Iterator<Item = &Occurrence> {
        self.list.iter().filter(move |o| o.from <= now && now < o.to)
    }
}
