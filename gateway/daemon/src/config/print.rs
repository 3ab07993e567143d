//! What a site asks of its buses: requests, bytes, milliseconds a cycle, load, also with dead devices.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::broker::{Broker, MqttVersion};
use super::mapping::Mapping;
use super::site::{BlockPlan, BusPlan, FunctionCode, Site, Transport, UnitId};

/// Bits on a serial line per byte: start, 8, stop (8N1).
const BITS_PER_BYTE: f64 = 10.0;
/// How long an instrument is assumed to think, ms.
const THINKING_MS: f64 = 20.0;
/// Silence that ends an RTU frame, characters, both ways.
const SILENCE_BYTES: f64 = 7.0;

/// The plan as a page of text. Times are estimates: line time at the stated baud rate, 20 ms for each answer, the gap.
pub fn print_plan(site: &Site) -> String {
    let mut page = String::new();
    let _never = write_plan(&mut page, site);
    page
}

fn write_plan(out: &mut String, site: &Site) -> std::fmt::Result {
    let plan = &site.plan;
    writeln!(out, "site {} · {} · {}", plan.site, site.name.zh, site.name.en)?;
    writeln!(
        out,
        "{} devices, {} points, {} rules, {} heat cycles, packs: {}",
        plan.devices.len(),
        plan.points.len(),
        plan.rules.len(),
        plan.modules.len(),
        plan.packs
            .iter()
            .map(|pack| format!("{} {}", pack.name, pack.version))
            .collect::<Vec<_>>()
            .join(", ")
    )?;
    for (slot, bus) in site.buses.iter().enumerate() {
        let blocks: Vec<_> = site.blocks.iter().filter(|block| block.bus == slot).collect();
        writeln!(out)?;
        write_bus(out, bus, &blocks)?;
    }
    writeln!(out)?;
    match &site.broker {
        Broker::Embedded(own) => writeln!(
            out,
            "mqtt: broker of our own on {}{}, {}",
            own.listen,
            if own.tls.is_some() { " (TLS)" } else { "" },
            match own.clients.len() {
                0 => "open to this machine".to_owned(),
                n => format!("{n} client(s) with passwords"),
            }
        )?,
        Broker::External(other) => writeln!(
            out,
            "mqtt: {}:{}{}, MQTT {}",
            other.host,
            other.port,
            if other.tls.is_some() { " (TLS)" } else { "" },
            match other.version {
                MqttVersion::V3 => "3.1.1",
                MqttVersion::V5 => "5",
            }
        )?,
    }
    for mqtt in &site.mqtt {
        let points = match &mqtt.mapping {
            Mapping::Json(mapping) => mapping.fields.len(),
            Mapping::Milesight(mapping) => mapping.fields.len(),
            Mapping::Feed(_) => 1,
        };
        writeln!(
            out,
            "  {}  {points} point(s) of {}",
            mqtt.topic,
            plan.devices[usize::from(mqtt.device.0)].id
        )?;
    }
    for (device, rule, point) in &site.left_out {
        writeln!(out, "left out: {rule} for {device}, which has no `{point}`")?;
    }
    Ok(())
}

fn write_bus(out: &mut String, bus: &BusPlan, blocks: &[&BlockPlan]) -> std::fmt::Result {
    let transport = match bus.transport {
        Transport::Tcp => "tcp",
        Transport::RtuOverTcp => "rtu-over-tcp",
    };
    let line = bus.baud.map_or_else(|| "line speed not stated".to_owned(), |baud| format!("{baud} baud"));
    writeln!(
        out,
        "bus {} {transport} {} ({line}, time-out {} ms, gap {} ms)",
        bus.name,
        bus.address,
        bus.timeout.as_millis(),
        bus.gap.as_millis()
    )?;
    for block in blocks {
        let (asked, answered) = bytes(bus, block);
        writeln!(
            out,
            "  unit {:>3}  {} 0x{:04X} ×{:<4} every {:>6} ms  {asked} + {answered} bytes  {:>6.1} ms",
            block.unit.0,
            block.function.table(),
            block.first,
            block.count,
            block.every.as_millis(),
            request_ms(bus, block)
        )?;
    }
    let load = load(blocks, |block| request_ms(bus, block));
    writeln!(out, "  {} requests, load {:.1} %{}", blocks.len(), load * 100.0, verdict(load))?;
    write_dead(out, bus, blocks)
}

/// Load with the k units dead that cost most, each request of theirs a time-out.
fn write_dead(out: &mut String, bus: &BusPlan, blocks: &[&BlockPlan]) -> std::fmt::Result {
    let dead_ms = (bus.timeout + bus.gap).as_millis() as f64;
    let mut extra: BTreeMap<UnitId, f64> = BTreeMap::new();
    for block in blocks {
        let more = (dead_ms - request_ms(bus, block)).max(0.0) / block.every.as_millis() as f64;
        *extra.entry(block.unit).or_default() += more;
    }
    let mut costs: Vec<f64> = extra.into_values().collect();
    costs.sort_by(|a, b| b.total_cmp(a));
    let mut load = load(blocks, |block| request_ms(bus, block));
    for (n, cost) in costs.iter().enumerate() {
        load += cost;
        writeln!(out, "  {} dead unit(s): load {:.1} %{}", n + 1, load * 100.0, verdict(load))?;
    }
    Ok(())
}

fn verdict(load: f64) -> String {
    if load > 1.0 { format!("  DOES NOT FIT: read {load:.1}× less often") } else { String::new() }
}

fn load(blocks: &[&BlockPlan], cost_ms: impl Fn(&BlockPlan) -> f64) -> f64 {
    blocks.iter().map(|block| cost_ms(block) / block.every.as_millis() as f64).sum()
}

/// Bytes of request and answer, framing included.
fn bytes(bus: &BusPlan, block: &BlockPlan) -> (u16, u16) {
    let data = match block.function {
        FunctionCode::Coils | FunctionCode::DiscreteInputs => block.count.div_ceil(8),
        FunctionCode::HoldingRegisters | FunctionCode::InputRegisters => block.count * 2,
    };
    match bus.transport {
        Transport::Tcp => (12, 9 + data),
        Transport::RtuOverTcp => (8, 5 + data),
    }
}

fn request_ms(bus: &BusPlan, block: &BlockPlan) -> f64 {
    let (asked, answered) = match bus.transport {
        // Behind a Modbus TCP gateway with a serial side the frames on the line are RTU's.
        Transport::Tcp => bytes(&BusPlan { transport: Transport::RtuOverTcp, ..bus.clone() }, block),
        Transport::RtuOverTcp => bytes(bus, block),
    };
    let line = bus.baud.map_or(0.0, |baud| {
        (f64::from(asked + answered) + SILENCE_BYTES) * BITS_PER_BYTE * 1000.0 / f64::from(baud)
    });
    line + THINKING_MS + bus.gap.as_millis() as f64
}
