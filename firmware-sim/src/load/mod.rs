//! Very many cheap Modbus devices, to load whoever reads them.
//!
//! A device is a unit id on a port with a number of registers (input and holding alike, from address 0). A register is a
//! function of device, register and time: it climbs and falls within a hundred steps, one a period, each device from another
//! place; so every period every answer is another one, and anybody can compute what it must have been ([`word`]).
//!
//! One task per connection and no state: ten thousand of them cost what their sockets cost. Leaves out: faults, physics,
//! MQTT; those are scenarios.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::face::answer::{
    ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ILLEGAL_VALUE, REGISTERS_MAX, TARGET_SILENT, exception, framed,
};
use crate::face::frame::{FRAME_MAX, Found, Request, Transport, find};
use crate::noise;

/// Devices at most.
pub const DEVICES_MAX: u32 = 1_000_000;
/// Registers of a device at most.
pub const POINTS_MAX: u16 = 10_000;
/// Unit ids of a port at most.
pub const UNITS_MAX: u32 = 247;
/// Wait after an accept that failed: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A register climbs so many steps and falls as many.
const STEPS: u64 = 50;

/// What to serve.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Devices.
    pub devices: u32,
    /// Registers of each.
    pub points: u16,
    /// Unit ids on each port, from 1; the last port may have fewer.
    pub units: u32,
    /// How often registers change.
    pub every: Duration,
    /// How they talk.
    pub transport: Transport,
}

impl Plan {
    /// Ports needed.
    #[must_use]
    pub const fn ports(&self) -> u32 {
        self.devices.div_ceil(self.units)
    }

    /// Unit ids on a port.
    #[must_use]
    pub fn units_on(&self, port: u32) -> u32 {
        self.devices.saturating_sub(port.saturating_mul(self.units)).min(self.units)
    }
}

/// What a register shows: 0 to 65535 around a place of its own, `turn` being the number of periods since the start.
#[must_use]
pub fn word(device: u32, register: u16, turn: u64) -> u16 {
    let own = noise::mix(u64::from(device), u64::from(register));
    let place = own % 1000 + 200;
    let step = (own >> 32).wrapping_add(turn) % (2 * STEPS);
    (place + if step < STEPS { step } else { 2 * STEPS - step }) as u16
}

/// Everything that listens, ready to be served.
pub struct Farm {
    plan: Plan,
    listeners: Vec<TcpListener>,
}

impl Farm {
    /// Listens on every port: from `first_port` on, or each on a free one for 0.
    pub async fn listen(plan: Plan, ip: IpAddr, first_port: u16) -> anyhow::Result<Self> {
        use anyhow::Context as _;
        anyhow::ensure!((1..=DEVICES_MAX).contains(&plan.devices), "--devices is 1 to {DEVICES_MAX}");
        anyhow::ensure!((1..=POINTS_MAX).contains(&plan.points), "--points is 1 to {POINTS_MAX}");
        anyhow::ensure!((1..=UNITS_MAX).contains(&plan.units), "--units is 1 to {UNITS_MAX}");
        anyhow::ensure!(plan.every >= Duration::from_millis(1), "--every is 1 ms at least");
        let last = u32::from(first_port) + plan.ports() - 1;
        anyhow::ensure!(last <= 65_535, "{} ports do not fit: more --units a port", plan.ports());
        let mut listeners = Vec::with_capacity(plan.ports() as usize);
        for n in 0..plan.ports() {
            let port = if first_port == 0 { 0 } else { first_port + n as u16 };
            let address = SocketAddr::new(ip, port);
            let listener = TcpListener::bind(address).await.with_context(|| {
                let all = plan.ports();
                format!("cannot listen on {address}, {n} of {all} ports listen (too few descriptors: `ulimit -n`, or more --units a port)")
            })?;
            listeners.push(listener);
        }
        Ok(Self { plan, listeners })
    }

    /// Where they listen, in the order of their devices.
    pub fn addresses(&self) -> std::io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves for ever. Ends only by a panic.
    pub async fn serve(self) {
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for (n, listener) in self.listeners.into_iter().enumerate() {
            tasks.spawn(serve(listener, self.plan, n as u32, begin));
        }
        while tasks.join_next().await.is_some() {}
    }
}

async fn serve(listener: TcpListener, plan: Plan, port: u32, begin: Instant) {
    loop {
        match listener.accept().await {
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Ok((stream, peer)) => {
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, plan, port, begin).await {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                });
            }
        }
    }
}

async fn converse(mut stream: TcpStream, plan: Plan, port: u32, begin: Instant) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut held = [0; 2 * FRAME_MAX];
    let mut length = 0;
    let mut answers = Vec::new();
    loop {
        let mut used = 0;
        loop {
            match find(plan.transport, &held[used..length]) {
                Found::Lost => return Ok(()),
                Found::More => break,
                Found::Skip(bytes) => used += bytes,
                Found::Request(request, bytes) => {
                    used += bytes;
                    answer(&plan, port, begin, &request, &mut answers);
                }
            }
        }
        held.copy_within(used..length, 0);
        length -= used;
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            answers.clear();
        }
        // No frame is longer than half of `held`: there is always room.
        match stream.read(&mut held[length..]).await? {
            0 => return Ok(()),
            bytes => length += bytes,
        }
    }
}

fn answer(plan: &Plan, port: u32, begin: Instant, request: &Request, answers: &mut Vec<u8>) {
    let unit = u32::from(request.unit);
    if unit == 0 || unit > plan.units_on(port) {
        if request.transaction.is_some() {
            let pdu = exception(request.pdu.first().copied().unwrap_or(0), TARGET_SILENT);
            answers.extend(framed(request, request.unit, &pdu));
        }
        return;
    }
    let device = port * plan.units + unit - 1;
    let turn = (begin.elapsed().as_micros() / plan.every.as_micros()) as u64;
    answers.extend(framed(request, request.unit, &read(plan, device, turn, &request.pdu)));
}

fn read(plan: &Plan, device: u32, turn: u64, pdu: &[u8]) -> Vec<u8> {
    let [function @ (3 | 4), a, b, c, d] = *pdu else {
        return exception(pdu.first().copied().unwrap_or(0), ILLEGAL_FUNCTION);
    };
    let (first, count) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    if count == 0 || count > REGISTERS_MAX {
        return exception(function, ILLEGAL_VALUE);
    }
    match first.checked_add(count) {
        Some(end) if end <= plan.points => {
            let mut answer = Vec::with_capacity(2 + 2 * usize::from(count));
            answer.extend([function, (count * 2) as u8]);
            answer.extend((first..end).flat_map(|register| word(device, register, turn).to_be_bytes()));
            answer
        }
        Some(_) | None => exception(function, ILLEGAL_ADDRESS),
    }
}
