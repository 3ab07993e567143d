//! `gateway plan SITE`: what will be asked of each bus, what it costs, and what does not fit.

use std::fmt::Write as _;
use std::path::Path;

use super::{Ended, GOOD, WRONG, load, say};
use crate::bus::forecast::{BusForecast, forecast};
use crate::config::{Broker, Mapping, MqttVersion, Site};

/// Exit status 1 when a bus cannot do what is asked of it.
pub(super) fn plan(path: &Path, json: bool) -> Ended {
    let site = match load(path) {
        Ok(site) => site,
        Err(status) => return Ok(status),
    };
    let buses = forecast(&site);
    if json {
        say(&serde_json::json!({ "site": site.plan.site.0, "buses": buses }))?;
    } else {
        say(&text(&site, &buses).trim_end())?;
    }
    Ok(if buses.iter().all(|bus| bus.fits) { GOOD } else { WRONG })
}

/// The plan as a page of text.
pub fn text(site: &Site, buses: &[BusForecast]) -> String {
    let mut page = String::new();
    // Writing into a String cannot fail.
    let _never = write(&mut page, site, buses);
    page
}

fn write(out: &mut String, site: &Site, buses: &[BusForecast]) -> std::fmt::Result {
    let plan = &site.plan;
    writeln!(out, "site {} · {} · {}", plan.site, site.name.zh, site.name.en)?;
    let packs: Vec<_> = plan.packs.iter().map(|pack| format!("{} {}", pack.name, pack.version)).collect();
    writeln!(
        out,
        "{} devices, {} points, {} rules, {} heat cycles, packs: {}",
        plan.devices.len(),
        plan.points.len(),
        plan.rules.len(),
        plan.modules.len(),
        packs.join(", ")
    )?;
    for bus in buses {
        writeln!(out)?;
        write_bus(out, bus)?;
    }
    for stream in &site.streams {
        let bus = &site.buses[stream.bus];
        writeln!(
            out,
            "\nbus {} {} {}: the indicator sends by itself; {} point(s) every {} ms",
            bus.name,
            bus.transport.name(),
            bus.address,
            stream.points.len(),
            stream.every.as_millis()
        )?;
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
        let device = &plan.devices[mqtt.device.slot()].id;
        writeln!(out, "  {}  {points} point(s) of {device}", mqtt.topic)?;
    }
    for (device, rule, point) in &site.left_out {
        writeln!(out, "left out: {rule} for {device}, which has no `{point}`")?;
    }
    Ok(())
}

fn write_bus(out: &mut String, bus: &BusForecast) -> std::fmt::Result {
    let line = bus.line.as_deref().unwrap_or("line speed not stated");
    writeln!(
        out,
        "bus {} {} {} ({line}, time-out {} ms, gap {:.1} ms)",
        bus.name, bus.transport, bus.address, bus.timeout_ms, bus.gap_ms
    )?;
    for request in &bus.requests {
        let unused =
            if request.unused > 0 { format!(", {} not used", request.unused) } else { String::new() };
        let low = if request.priority == "low" { ", low priority" } else { "" };
        writeln!(
            out,
            "  unit {:>3}  {} 0x{:04X} ×{:<4} every {:>6} ms  {} + {} bytes  {:>6.1} ms  {} point(s){unused}{low}",
            request.unit,
            request.table,
            request.first,
            request.count,
            request.every_ms,
            request.asked_bytes,
            request.answered_bytes,
            request.ms,
            request.points
        )?;
    }
    writeln!(
        out,
        "  {} requests, {:.1} ms a round, load {:.1} %{}",
        bus.requests.len(),
        bus.round_ms,
        bus.load * 100.0,
        if bus.fits { "" } else { "  DOES NOT FIT" }
    )?;
    for dead in &bus.dead {
        writeln!(
            out,
            "  {} dead device(s): {} ms once, then load {:.1} %{}",
            dead.units,
            dead.onset_ms,
            dead.load * 100.0,
            if dead.load > 1.0 { "  DOES NOT FIT" } else { "" }
        )?;
    }
    for advice in &bus.advice {
        writeln!(out, "  -> {advice}")?;
    }
    Ok(())
}
