//! What is wrong with a bus or a device on it, in words an installer can act on, and where it can be looked up.
//!
//! Told once when it begins and once when it is over; in between it is a gauge (`nonsite_gateway_bus_trouble`), a sentence on the
//! gateway's page, and a value of the box's own senses ([`Boards`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_model::Text;

use super::guard::BusError;
use crate::clock;
use crate::config::{BusPlan, UnitId};
use crate::metrics::Metrics;

/// What shows itself now and then is over when it was not seen for so long, real time.
const FADES_AFTER: Duration = Duration::from_mins(5);

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// No device of the bus answers.
    BusSilent,
    /// The port or server cannot be reached.
    NoConnection,
    /// One device does not answer, others do.
    Silent,
    /// What comes from it is no frame.
    Garbled,
    /// Two answers to one request.
    TwoAnswers,
    /// Answers of units that were not asked.
    ForeignAnswers,
    /// The adapter plays back what is sent.
    Echo,
    /// It refuses something it is asked for.
    Refused,
}

impl Trouble {
    /// A word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::BusSilent => "bus_silent",
            Self::NoConnection => "no_connection",
            Self::Silent => "silent",
            Self::Garbled => "garbled",
            Self::TwoAnswers => "two_answers",
            Self::ForeignAnswers => "foreign_answers",
            Self::Echo => "echo",
            Self::Refused => "refused",
        }
    }

    /// Does it show itself only now and then? What stops a device or a bus ends with the first good answer instead.
    fn fades(self) -> bool {
        match self {
            Self::TwoAnswers | Self::Echo => true,
            Self::BusSilent
            | Self::NoConnection
            | Self::Silent
            | Self::Garbled
            | Self::ForeignAnswers
            | Self::Refused => false,
        }
    }

    /// What a failed request says about its unit; `None`: nothing.
    pub fn of(error: &BusError) -> Option<Self> {
        match error {
            BusError::Timeout { .. } | BusError::Broken(_) => Some(Self::Silent),
            BusError::Malformed(_) | BusError::WrongLength { .. } | BusError::Unasked => Some(Self::Garbled),
            BusError::Foreign => Some(Self::ForeignAnswers),
            BusError::TwoAnswers { .. } => Some(Self::TwoAnswers),
            BusError::Exception { .. }
            | BusError::Connect { .. }
            | BusError::NotConnected
            | BusError::Impossible { .. } => None,
        }
    }

    /// What to do about it. `unit` is that of the device, where it is one device's.
    pub fn words(self, bus: &BusPlan, unit: Option<UnitId>) -> Text {
        let name = &bus.name;
        let unit = unit.map_or(0, |unit| unit.0);
        let line = bus.line.map_or_else(String::new, |line| format!(" ({line})"));
        let (zh, en) = match self {
            Self::BusSilent => (
                format!("总线 {name} 上没有设备应答：检查总线供电、A/B 接线、终端电阻和波特率{line}"),
                format!(
                    "no device on bus {name} answers: check the power of the line, A/B, the terminator and the speed{line}"
                ),
            ),
            Self::NoConnection => (
                format!("总线 {name} 无法连接 {}：检查网线、电源和地址", bus.address),
                format!("bus {name}: cannot connect to {}: check cable, power and address", bus.address),
            ),
            Self::Silent => (
                format!("总线 {name} 的 {unit} 号设备无应答，其他设备正常：检查该设备的电源、接线和地址"),
                format!(
                    "unit {unit} on bus {name} does not answer, others do: check its power, its wires and its unit id"
                ),
            ),
            Self::Garbled => (
                format!(
                    "总线 {name} 的 {unit} 号设备应答乱码：可能有两台设备同为 {unit} 号；检查 A/B、终端电阻、波特率和校验位{line}"
                ),
                format!(
                    "garbled answers from unit {unit} on bus {name}: two devices with unit id {unit}, or A/B, terminator, speed or parity{line}"
                ),
            ),
            Self::TwoAnswers => (
                format!("总线 {name} 的 {unit} 号有两台设备应答：检查 A/B 和终端电阻，并逐台改地址"),
                format!(
                    "answers from two devices on unit id {unit} of bus {name}: check A/B and terminator, and give one another id"
                ),
            ),
            Self::ForeignAnswers => (
                format!(
                    "向总线 {name} 的 {unit} 号设备提问，却收到别的应答：线上可能还有另一个主站，或串口服务器应答过迟"
                ),
                format!(
                    "asking unit {unit} on bus {name} brings answers of others: another master on the line, or a serial server that is late"
                ),
            ),
            Self::Echo => (
                format!("总线 {name} 的适配器回传发出的内容（已忽略）：关闭适配器的回显"),
                format!("the adapter of bus {name} plays back what is sent (ignored): switch its echo off"),
            ),
            Self::Refused => (
                format!("总线 {name} 的 {unit} 号设备拒绝读取某个寄存器：检查设备型号与配置文件"),
                format!("unit {unit} on bus {name} refuses a register: check its model against the profile"),
            ),
        };
        Text { zh, en }
    }
}

/// What is wrong on one bus now.
pub struct Board {
    bus: BusPlan,
    metrics: Metrics,
    /// And when it was seen last.
    open: BTreeMap<(Option<UnitId>, Trouble), Instant>,
}

impl Board {
    /// Nothing is wrong yet.
    pub fn new(bus: BusPlan, metrics: Metrics) -> Self {
        Self { bus, metrics, open: BTreeMap::new() }
    }

    /// It is so now. Said the first time.
    pub fn begin(&mut self, unit: Option<UnitId>, trouble: Trouble) {
        if self.open.insert((unit, trouble), clock::instant()).is_none() {
            let words = trouble.words(&self.bus, unit);
            tracing::warn!(bus = self.bus.name, "{}", words.en);
            self.tell(unit, trouble, Some(words));
        }
    }

    /// All troubles of a unit, or of the bus as such, are over.
    pub fn end(&mut self, unit: Option<UnitId>) {
        self.end_where(|of, _, _| of == unit);
    }

    /// What shows itself now and then and was not seen for long is over.
    pub fn fade(&mut self, now: Instant) {
        if !self.open.is_empty() {
            self.end_where(|_, trouble, seen| {
                trouble.fades() && now.saturating_duration_since(seen) >= FADES_AFTER
            });
        }
    }

    fn end_where(&mut self, over: impl Fn(Option<UnitId>, Trouble, Instant) -> bool) {
        let over: Vec<_> = self
            .open
            .iter()
            .filter(|((unit, trouble), seen)| over(*unit, *trouble, **seen))
            .map(|(place, _)| *place)
            .collect();
        for (unit, trouble) in over {
            self.open.remove(&(unit, trouble));
            self.tell(unit, trouble, None);
            let unit = unit.map_or(0, |unit| unit.0);
            tracing::info!(bus = self.bus.name, unit, trouble = trouble.word(), "over");
        }
    }

    fn tell(&self, unit: Option<UnitId>, trouble: Trouble, words: Option<Text>) {
        let number = unit.map(|unit| unit.0);
        self.metrics.bus_trouble(&self.bus.name, number, trouble.word(), words.is_some());
        self.metrics.boards().set(&self.bus.name, number, trouble, words);
    }
}

/// A bus that is no longer asked is in no trouble.
impl Drop for Board {
    fn drop(&mut self) {
        for (unit, trouble) in std::mem::take(&mut self.open).into_keys() {
            self.tell(unit, trouble, None);
        }
    }
}

/// What is wrong on all buses now: each board writes it here, the page and the box's own senses read it. Bounded by the buses and
/// units of a site.
#[derive(Debug, Clone, Default)]
pub struct Boards(Arc<Mutex<Open>>);

/// By bus, unit id where it is one device's, and what it is: what to do about it.
type Open = BTreeMap<(String, Option<u8>, Trouble), Text>;

/// One trouble, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Name of the bus.
    pub bus: String,
    /// Unit id, where it is one device's.
    pub unit: Option<u8>,
    /// What.
    pub trouble: Trouble,
    /// What to do about it.
    pub words: Text,
}

impl Boards {
    fn set(&self, bus: &str, unit: Option<u8>, trouble: Trouble, words: Option<Text>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match words {
            Some(words) => drop(open.insert((bus.to_owned(), unit, trouble), words)),
            None => drop(open.remove(&(bus.to_owned(), unit, trouble))),
        }
    }

    /// Everything, by bus and unit; of a bus on which nobody answers only that: its devices are folded in.
    pub fn told(&self) -> Vec<Told> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = |bus: &str| {
            let whole = [Trouble::BusSilent, Trouble::NoConnection];
            whole.into_iter().any(|trouble| open.contains_key(&(bus.to_owned(), None, trouble)))
        };
        let row = |((bus, unit, trouble), words): (&(String, Option<u8>, Trouble), &Text)| Told {
            bus: bus.clone(),
            unit: *unit,
            trouble: *trouble,
            words: words.clone(),
        };
        open.iter().filter(|((bus, unit, _), _)| unit.is_none() || !dead(bus)).map(row).collect()
    }

    /// The first unit id that is in this trouble on some bus, 0 = none.
    pub fn unit_in(&self, trouble: Trouble) -> u8 {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut units = open.keys().filter(|(_, _, of)| *of == trouble).filter_map(|(_, unit, _)| *unit);
        units.next().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Transport;

    fn board(bus: &str, metrics: &Metrics) -> Board {
        let plan = BusPlan {
            name: bus.into(),
            transport: Transport::Rtu,
            address: "/dev/ttyUSB0".into(),
            timeout: Duration::from_millis(500),
            gap: Duration::ZERO,
            line: None,
        };
        Board::new(plan, metrics.clone())
    }

    fn told(metrics: &Metrics) -> Vec<(String, Option<u8>, Trouble)> {
        metrics.boards().told().into_iter().map(|told| (told.bus, told.unit, told.trouble)).collect()
    }

    #[test]
    fn a_dead_bus_is_one_line_with_its_devices_folded_in() {
        let metrics = Metrics::default();
        let (mut line, mut other) = (board("line", &metrics), board("other", &metrics));
        for unit in 1..=3 {
            line.begin(Some(UnitId(unit)), Trouble::Silent);
        }
        other.begin(Some(UnitId(7)), Trouble::TwoAnswers);
        assert_eq!(told(&metrics).len(), 4);
        line.begin(None, Trouble::BusSilent);
        let (whole, twins) =
            (("line".into(), None, Trouble::BusSilent), ("other".into(), Some(7), Trouble::TwoAnswers));
        assert_eq!(told(&metrics), [whole, twins.clone()]);
        assert_eq!(metrics.boards().unit_in(Trouble::TwoAnswers), 7);
        // Taken out of the site file, it is no trouble any more.
        drop(line);
        assert_eq!(told(&metrics), [twins]);
        assert!(
            !metrics.text().contains("bus=\"line\",unit=\"1\",trouble=\"silent\"} 1"),
            "{}",
            metrics.text()
        );
    }

    #[test]
    fn two_answers_are_over_when_they_were_not_seen_for_long() {
        let metrics = Metrics::default();
        let mut line = board("line", &metrics);
        line.begin(Some(UnitId(1)), Trouble::TwoAnswers);
        line.begin(Some(UnitId(2)), Trouble::Silent);
        line.fade(clock::instant() + FADES_AFTER / 2);
        assert_eq!(told(&metrics).len(), 2);
        let words = &metrics.boards().told()[0].words;
        assert!(words.zh.contains("1 号有两台设备应答：检查 A/B 和终端电阻"), "{}", words.zh);
        assert!(words.en.starts_with("answers from two devices on unit id 1"), "{}", words.en);
        line.fade(clock::instant() + FADES_AFTER);
        assert_eq!(told(&metrics), [("line".into(), Some(2), Trouble::Silent)]);
    }
}
