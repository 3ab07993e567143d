//! What is wrong with a bus or a device on it, in words an installer can act on, and where it can be looked up.
//!
//! Told once when it begins and once when it is over; in between it is a gauge (`nonsite_gateway_bus_trouble`).

use std::collections::BTreeSet;

use gateway_model::Text;

use super::guard::BusError;
use crate::config::{BusPlan, UnitId};
use crate::metrics::Metrics;

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
    open: BTreeSet<(Option<UnitId>, Trouble)>,
}

impl Board {
    /// Nothing is wrong yet.
    pub fn new(bus: BusPlan, metrics: Metrics) -> Self {
        Self { bus, metrics, open: BTreeSet::new() }
    }

    /// It is so now. Said the first time.
    pub fn begin(&mut self, unit: Option<UnitId>, trouble: Trouble) {
        if self.open.insert((unit, trouble)) {
            self.metrics.bus_trouble(&self.bus.name, unit.map(|unit| unit.0), trouble.word(), true);
            tracing::warn!(bus = self.bus.name, "{}", trouble.words(&self.bus, unit).en);
        }
    }

    /// All troubles of a unit, or of the bus as such, are over.
    pub fn end(&mut self, unit: Option<UnitId>) {
        let over: Vec<_> = self.open.iter().filter(|(of, _)| *of == unit).copied().collect();
        for (of, trouble) in over {
            self.open.remove(&(of, trouble));
            self.metrics.bus_trouble(&self.bus.name, of.map(|unit| unit.0), trouble.word(), false);
            let unit = of.map_or(0, |unit| unit.0);
            tracing::info!(bus = self.bus.name, unit, trouble = trouble.word(), "over");
        }
    }

    /// Is this going on?
    pub fn is_open(&self, unit: Option<UnitId>, trouble: Trouble) -> bool {
        self.open.contains(&(unit, trouble))
    }
}
