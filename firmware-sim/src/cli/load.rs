//! `firmware-sim load`.

use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use firmware_sim::civil::Span;
use firmware_sim::face::frame::Transport;
use firmware_sim::load::{Farm, Plan};

use super::{print, stopped};

/// Arguments of `load`.
#[derive(Args)]
pub(crate) struct Load {
    /// How many devices.
    #[arg(long)]
    devices: u32,
    /// Registers of each (input and holding alike), from address 0.
    #[arg(long, default_value_t = 10)]
    points: u16,
    /// How often registers change.
    #[arg(long, default_value = "1s")]
    every: Span,
    /// Unit ids on each port, from 1: 1 is a port for each device.
    #[arg(long, default_value_t = 1, conflicts_with = "ports")]
    units: u32,
    /// Spread the devices over so many ports instead.
    #[arg(long)]
    ports: Option<u32>,
    /// First of consecutive ports; 0 takes a free one for each.
    #[arg(long, default_value_t = 0)]
    first_port: u16,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
    /// RTU frames in the stream instead of Modbus TCP.
    #[arg(long)]
    rtu: bool,
    /// Print the line as JSON: what `bench-modbus` reads.
    #[arg(long)]
    json: bool,
}

pub(crate) fn load(args: &Load) -> anyhow::Result<()> {
    anyhow::ensure!(args.ports != Some(0), "--ports is 1 at least");
    let plan = Plan {
        devices: args.devices,
        points: args.points,
        units: args.ports.map_or(args.units, |ports| args.devices.div_ceil(ports)),
        every: Duration::from_millis(args.every.0.max(0) as u64),
        transport: if args.rtu { Transport::RtuOverTcp } else { Transport::Tcp },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let farm = Farm::listen(plan, args.listen, args.first_port).await?;
        let addresses = farm.addresses()?;
        if args.json {
            let line = serde_json::json!({
                "devices": plan.devices, "units": plan.units, "points": plan.points,
                "every_ms": args.every.0, "addresses": addresses,
            });
            print(&line.to_string())?;
        } else {
            let (first, last) = (addresses.first(), addresses.last());
            if let (Some(first), Some(last)) = (first, last) {
                print(&format!(
                    "{} devices, {} registers each, {} unit id(s) a port, {} port(s): {first} … {last}",
                    plan.devices,
                    plan.points,
                    plan.units,
                    addresses.len()
                ))?;
            }
        }
        tokio::select! {
            () = stopped() => Ok(()),
            () = farm.serve() => anyhow::bail!("a task of the simulator ended by itself"),
        }
    })
}
