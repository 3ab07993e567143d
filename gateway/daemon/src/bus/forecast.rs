//! What a site asks of its buses, before anything is asked: requests, bytes, milliseconds, load, also with dead devices.
//!
//! Estimates: bytes at the stated line speed, silences and gap as they are kept, and 20 ms for each device to think. What a
//! device turns out to refuse is not known here.
//!
//! Leaves out: weighing indicators, which send by themselves, and MQTT.

use std::collections::BTreeMap;

use serde::Serialize;

use super::breaker::steady_share;
use super::frame::Framing;
use super::planner::{self, Cuts, THINKING_MS};
use crate::config::{BlockPlan, BusPlan, LineSettings, Site, UnitId};

/// Above this share of its time a bus has no room for a repeated request.
const TIGHT: f64 = 0.8;
/// Numbers of dead devices shown.
const DEAD_MAX: usize = 3;
/// Speeds that instruments know, bit/s.
const SPEEDS: [u32; 6] = [9_600, 19_200, 38_400, 57_600, 115_200, 230_400];

/// One bus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BusForecast {
    /// As the site file names it.
    pub name: String,
    /// As the site file names it.
    pub transport: &'static str,
    /// Where it is.
    pub address: String,
    /// Speed, parity and stop bits, if they are known.
    pub line: Option<String>,
    /// How long an answer may take, ms.
    pub timeout_ms: u64,
    /// Silence kept after an answer, ms; with 3.5 characters where the speed is known.
    pub gap_ms: f64,
    /// What is asked.
    pub requests: Vec<RequestForecast>,
    /// ms of the bus for all requests once.
    pub round_ms: f64,
    /// Share of its time that is used: 1 = all.
    pub load: f64,
    /// The same with the devices dead that leave the others most to do.
    pub dead: Vec<DeadForecast>,
    /// Does it fit?
    pub fits: bool,
    /// What would make it fit, or easier.
    pub advice: Vec<String>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestForecast {
    /// Whom.
    pub unit: u8,
    /// `input`, `holding`, `coil`, `discrete`.
    pub table: &'static str,
    /// First register or bit, from 0.
    pub first: u16,
    /// How many.
    pub count: u16,
    /// Of these read and not used: holes, and what makes its length different.
    pub unused: u16,
    /// Points in it.
    pub points: usize,
    /// How often, ms.
    pub every_ms: u64,
    /// Bytes of the request, framing included.
    pub asked_bytes: usize,
    /// Bytes of the answer.
    pub answered_bytes: usize,
    /// How long it keeps the bus.
    pub ms: f64,
    /// `normal` or `low`.
    pub priority: &'static str,
}

/// A bus with some devices dead.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadForecast {
    /// How many.
    pub units: usize,
    /// Extra time when they die all at once, until they are only probed, ms.
    pub onset_ms: u64,
    /// Load from then on.
    pub load: f64,
}

/// Every bus that is asked.
pub fn forecast(site: &Site) -> Vec<BusForecast> {
    let asked = site.buses.iter().enumerate().filter(|(_, bus)| !bus.transport.is_weighing());
    asked.map(|(slot, bus)| of_bus(bus, &site.blocks_of(slot))).collect()
}

/// One bus.
pub fn of_bus(bus: &BusPlan, blocks: &[BlockPlan]) -> BusForecast {
    let requests = planner::requests(bus, blocks, &Cuts::default());
    let load = load(bus, &requests);
    let gap = bus.gap.max(bus.silence());
    BusForecast {
        name: bus.name.clone(),
        transport: bus.transport.name(),
        address: bus.address.clone(),
        line: bus.line.map(|line| line.to_string()),
        timeout_ms: bus.timeout.as_millis() as u64,
        gap_ms: rounded(gap.as_secs_f64() * 1e3),
        round_ms: rounded(requests.iter().map(|block| ms(bus, block)).sum()),
        load: rounded(load),
        dead: dead(bus, &requests),
        fits: load <= 1.0,
        advice: advice(bus, blocks, &requests, load),
        requests: requests.iter().map(|block| of_request(bus, block)).collect(),
    }
}

fn of_request(bus: &BusPlan, block: &BlockPlan) -> RequestForecast {
    let question = planner::question(block);
    let framing = bus.transport.framing();
    RequestForecast {
        unit: block.unit.0,
        table: block.function.table(),
        first: block.first,
        count: block.count,
        unused: planner::unused(block),
        points: block.points.len(),
        every_ms: block.every.as_millis() as u64,
        asked_bytes: question.request_bytes(framing),
        answered_bytes: question.answer_bytes(framing),
        ms: rounded(ms(bus, block)),
        priority: match block.priority {
            crate::config::Urgency::Normal => "normal",
            crate::config::Urgency::Low => "low",
        },
    }
}

/// Four digits are more than such an estimate knows.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

fn ms(bus: &BusPlan, block: &BlockPlan) -> f64 {
    planner::request_ms(bus, planner::question(block))
}

fn load(bus: &BusPlan, requests: &[BlockPlan]) -> f64 {
    requests.iter().map(|block| ms(bus, block) / (block.every.as_secs_f64() * 1e3)).sum()
}

/// The k units that are asked least are dead: the others leave the least room.
fn dead(bus: &BusPlan, requests: &[BlockPlan]) -> Vec<DeadForecast> {
    let mut by_unit: BTreeMap<UnitId, f64> = BTreeMap::new();
    for block in requests {
        *by_unit.entry(block.unit).or_default() += ms(bus, block) / (block.every.as_secs_f64() * 1e3);
    }
    let mut shares: Vec<f64> = by_unit.into_values().collect();
    shares.sort_by(f64::total_cmp);
    let probing = steady_share(bus.timeout);
    let dead = |k: usize| DeadForecast {
        units: k,
        onset_ms: 2 * k as u64 * bus.timeout.as_millis() as u64,
        load: rounded(shares[k..].iter().sum::<f64>() + k as f64 * probing),
    };
    (1..=shares.len().min(DEAD_MAX)).map(dead).collect()
}

fn advice(bus: &BusPlan, blocks: &[BlockPlan], requests: &[BlockPlan], load: f64) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(slow) = requests.iter().find(|block| ms(bus, block) > block.every.as_secs_f64() * 1e3) {
        advice.push(format!(
            "unit {} {} {}: one request takes {:.0} ms, longer than its period of {} ms",
            slow.unit.0,
            slow.function.table(),
            slow.first,
            ms(bus, slow),
            slow.every.as_millis()
        ));
    }
    if load > TIGHT {
        advice.push(format!("read everything {:.1} times less often", load / TIGHT));
        advice.extend(faster(bus, blocks));
        let parts = (load / TIGHT).ceil() as usize;
        let units = requests.iter().map(|block| block.unit).collect::<std::collections::BTreeSet<_>>().len();
        if parts > 1 && units >= parts {
            advice.push(format!("or spread the {units} devices over {parts} buses"));
        }
        let gaps = bus.gap.saturating_sub(bus.silence()).as_secs_f64() * 1e3;
        let thinking = requests.iter().map(|block| gaps / (block.every.as_secs_f64() * 1e3)).sum::<f64>();
        if thinking > 0.1 {
            advice.push(format!("the gap alone takes {:.0} %: try gap = \"0 ms\"", thinking * 100.0));
        }
    }
    if bus.line.is_none() && bus.transport.framing() == Framing::Rtu {
        advice.push(format!(
            "the line speed is not stated: add baud = 9600 or what it is; until then only the gap and {THINKING_MS:.0} ms a \
             request are counted"
        ));
    }
    advice
}

/// The first speed at which it would fit with room.
fn faster(bus: &BusPlan, blocks: &[BlockPlan]) -> Option<String> {
    let line = bus.line?;
    let at = |baud| {
        let bus = BusPlan { line: Some(LineSettings { baud, ..line }), ..bus.clone() };
        (baud, self::load(&bus, &planner::requests(&bus, blocks, &Cuts::default())))
    };
    let (baud, load) =
        SPEEDS.into_iter().filter(|baud| *baud > line.baud).map(at).find(|(_, load)| *load <= TIGHT)?;
    Some(format!("or run the line at {baud} baud: load {:.0} %", load * 100.0))
}
