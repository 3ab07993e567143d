//! Between a Modbus client and a Modbus server: bytes go through unchanged, exchanges are written down.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Recorder;
use crate::face::frame::{FRAME_MAX, Found, find};
use crate::recording::{Bus, Exchange, GOT_MAX, Got, Line, Refusal, Side};

/// Connecting to the device takes so long at most, real time.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// An exchange without an answer is written after so long at the latest.
const OPEN_FOR: Duration = Duration::from_mins(1);
/// Exchanges waiting for an answer at most on one connection; beyond it the oldest is written as silence.
const OPEN_MAX: usize = 16;
/// Wait after an accept that failed: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Passes on connections for ever: one to the device for each that comes. When it is dropped they end.
pub async fn listen(listener: TcpListener, device: SocketAddr, bus: Bus, recorder: Recorder) {
    let bus = Arc::new(bus);
    let mut conn = 0;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Ok((client, peer)) => {
                conn += 1;
                let (bus, recorder) = (Arc::clone(&bus), recorder.clone());
                connections.spawn(async move {
                    if let Err(error) = connect_and_relay(client, device, &bus, conn, &recorder).await {
                        tracing::info!(%peer, bus = bus.name, %error, "connection ended");
                    }
                });
            }
        }
    }
}

async fn connect_and_relay(
    client: TcpStream,
    device: SocketAddr,
    bus: &Bus,
    conn: u64,
    recorder: &Recorder,
) -> std::io::Result<()> {
    let connected = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(device)).await;
    let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let server = connected.inspect_err(|error| {
        let (at, bus, why) = (recorder.now(), bus.name.clone(), error.to_string());
        recorder.put(Line::Refusal(Refusal { at, bus, why }));
    })?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    relay(client, server, bus, conn, recorder).await
}

/// Passes bytes on between two streams until one of them ends, and writes the exchanges down.
pub async fn relay(
    client: impl AsyncRead + AsyncWrite + Unpin,
    device: impl AsyncRead + AsyncWrite + Unpin,
    bus: &Bus,
    conn: u64,
    recorder: &Recorder,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_device, mut to_device) = tokio::io::split(device);
    let (mut asked, mut told) = ([0; FRAME_MAX], [0; FRAME_MAX]);
    let mut log = Log::new(bus, conn, recorder);
    let (side, ended) = loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let bytes = match read {
                    Ok(0) => break (Side::Client, Ok(())),
                    Ok(bytes) => &asked[..bytes],
                    Err(error) => break (Side::Client, Err(error)),
                };
                log.asked(bytes);
                if let Err(error) = to_device.write_all(bytes).await {
                    break (Side::Device, Err(error));
                }
            }
            read = from_device.read(&mut told) => {
                let bytes = match read {
                    Ok(0) => break (Side::Device, Ok(())),
                    Ok(bytes) => &told[..bytes],
                    Err(error) => break (Side::Device, Err(error)),
                };
                log.got(bytes);
                if let Err(error) = to_client.write_all(bytes).await {
                    break (Side::Client, Err(error));
                }
            }
            () = tokio::time::sleep_until(log.due()) => log.expire(),
        }
    };
    log.closed(side);
    ended
}

struct Open {
    exchange: Exchange,
    transaction: Option<u16>,
    since: Instant,
    bytes: usize,
}

/// The exchanges of one connection, as they come about.
struct Log<'a> {
    bus: &'a Bus,
    conn: u64,
    recorder: &'a Recorder,
    /// Bytes of the client that are no whole request yet.
    held: Vec<u8>,
    /// Bytes of the client that are no request at all.
    junk: Vec<u8>,
    open: VecDeque<Open>,
}

impl<'a> Log<'a> {
    fn new(bus: &'a Bus, conn: u64, recorder: &'a Recorder) -> Self {
        Self { bus, conn, recorder, held: Vec::new(), junk: Vec::new(), open: VecDeque::new() }
    }

    fn begin(&mut self, ask: Vec<u8>, transaction: Option<u16>) {
        // With transaction ids an answer may still come for an older request; without, it will be taken for the newest.
        let may_come = |open: &Open| open.transaction.is_some() && open.exchange.got.is_empty();
        let (keep, done): (VecDeque<_>, VecDeque<_>) = self.open.drain(..).partition(may_come);
        self.open = keep;
        for open in done {
            self.write(open);
        }
        if self.open.len() >= OPEN_MAX
            && let Some(oldest) = self.open.pop_front()
        {
            self.write(oldest);
        }
        self.open.push_back(Open {
            exchange: Exchange {
                at: self.recorder.now(),
                bus: self.bus.name.clone(),
                conn: self.conn,
                ask,
                got: Vec::new(),
                closed: None,
                cut: false,
            },
            transaction,
            since: Instant::now(),
            bytes: 0,
        });
    }

    fn asked(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        loop {
            match find(self.bus.transport, &self.held) {
                Found::Request(request, length) => {
                    self.write_junk();
                    let frame = self.held.drain(..length).collect();
                    self.begin(frame, request.transaction);
                }
                Found::Skip(length) => self.junk.extend(self.held.drain(..length)),
                // Nobody can say any more where a request begins: what comes is kept as it comes.
                Found::Lost => {
                    self.junk.append(&mut self.held);
                    self.write_junk();
                    return;
                }
                Found::More => return,
            }
        }
    }

    fn write_junk(&mut self) {
        if !self.junk.is_empty() {
            let junk = std::mem::take(&mut self.junk);
            self.begin(junk, None);
        }
    }

    fn got(&mut self, bytes: &[u8]) {
        if self.open.is_empty() {
            self.begin(Vec::new(), None);
        }
        let id = bytes.first_chunk::<2>().map(|id| u16::from_be_bytes(*id));
        let by_id = self.open.iter().position(|open| open.transaction.is_some() && open.transaction == id);
        let place = by_id.unwrap_or(self.open.len() - 1);
        let open = &mut self.open[place];
        if open.bytes + bytes.len() > GOT_MAX {
            open.exchange.cut = true;
            return;
        }
        open.bytes += bytes.len();
        let after_us = open.since.elapsed().as_micros() as u64;
        open.exchange.got.push(Got { after_us, bytes: bytes.to_vec() });
    }

    /// When the oldest exchange is written whatever comes.
    fn due(&self) -> Instant {
        self.open.front().map_or_else(Instant::now, |open| open.since) + OPEN_FOR
    }

    fn expire(&mut self) {
        while self.open.front().is_some_and(|open| open.since.elapsed() >= OPEN_FOR) {
            let Some(oldest) = self.open.pop_front() else { return };
            self.write(oldest);
        }
    }

    fn closed(&mut self, side: Side) {
        self.junk.append(&mut self.held);
        self.write_junk();
        if let Some(last) = self.open.back_mut() {
            last.exchange.closed = Some((last.since.elapsed().as_micros() as u64, side));
        }
    }

    fn write(&self, open: Open) {
        self.recorder.put(Line::Exchange(open.exchange));
    }
}

impl Drop for Log<'_> {
    /// The connection is over, or recording is: what is open is written as far as it came.
    fn drop(&mut self) {
        while let Some(open) = self.open.pop_front() {
            self.write(open);
        }
    }
}
