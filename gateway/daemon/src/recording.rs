//! A recording of what goes over the lines, in the format of `docs/recording-format.md`: for the bench, where
//! `firmware-sim replay` answers again as the devices did. Nobody can put a proxy into an RS-485 line.
//!
//! Promises: bytes pass through unchanged, and nothing waits for the file: what it is too slow for is counted in a gap line.
//! The file stops growing at its limit, with a note and an end; the gateway goes on.
//!
//! Leaves out: what readings were made of it (that is in the journal). Payloads stand in it whole: who records, records
//! everything, and handles the file so.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use gateway_wire::hex;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bus::dial::{Dial, Stream};
use crate::clock::{self, Wall};
use crate::config::{BusPlan, Transport};

/// Lines waiting for the file; further ones become a gap.
const LINES_MAX: usize = 4_096;
/// Bytes of one exchange that are kept; the format has a mark for more.
const EXCHANGE_MAX: usize = 64 * 1024;
/// What is said unasked has no request that would end it: it is written in lines of at most so many bytes, …
const STREAM_MAX: usize = 4 * 1024;
/// … and about so long, ms of civil time. A kill loses no more.
const STREAM_MS: i64 = 1_000;
/// An exchange waits so long for the next request, ms of civil time, where anything else is written meanwhile: readers put
/// lines into order that are not further apart.
const OPEN_MS: i64 = 60_000;
/// How often what waits is looked at, ms of civil time.
const LOOK_MS: i64 = 1_000;
/// Room for the last lines, so that a full file ends in order.
const TAIL: u64 = 1_024;

/// Where lines go. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Recording(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lines: mpsc::Sender<String>,
    lost: AtomicU64,
    wall: Wall,
    /// By name, as far as the file says them.
    buses: Mutex<HashMap<String, Known>>,
    /// Of each connection there is.
    logs: Mutex<Vec<Weak<Mutex<Log>>>>,
    /// When they were last looked at, civil ms.
    looked_at: AtomicI64,
}

/// What the file says of a bus.
#[derive(Debug, Default)]
struct Known {
    transport: &'static str,
    /// Connections so far.
    connections: u64,
}

/// A bus, as its lines are written.
#[derive(Debug)]
struct Place {
    name: String,
    transport: &'static str,
}

/// Who writes them, on a thread of its own.
pub struct Writer {
    lines: mpsc::Receiver<String>,
    out: BufWriter<File>,
    room: u64,
}

/// Begins a recording in a new file of at most `bytes_max`.
pub fn begin(
    path: &Path,
    buses: &[BusPlan],
    wall: &Wall,
    bytes_max: u64,
) -> anyhow::Result<(Recording, Writer)> {
    let attempt = || format!("record into {}", path.display());
    let from = wall.civil().with_context(|| {
        format!(
            "{}: the clock of this machine was never set: set it first, times are half of a recording",
            attempt()
        )
    })?;
    let file = File::options().write(true).create_new(true).open(path).with_context(attempt)?;
    let bus = |bus: &BusPlan| json!({ "name": bus.name, "transport": transport(bus) });
    let known = |bus: &BusPlan| (bus.name.clone(), Known { transport: transport(bus), connections: 0 });
    let head = json!({
        "recording": 3,
        "from": from.0,
        "by": concat!("gateway ", env!("CARGO_PKG_VERSION")),
        "buses": buses.iter().map(bus).collect::<Vec<_>>(),
    });
    let (sender, lines) = mpsc::channel(LINES_MAX);
    let mut writer = Writer { lines, out: BufWriter::new(file), room: bytes_max.saturating_sub(TAIL) };
    writer.line(&head.to_string()).with_context(attempt)?;
    let buses = Mutex::new(buses.iter().map(known).collect());
    let inner = Inner {
        lines: sender,
        lost: AtomicU64::new(0),
        wall: wall.clone(),
        buses,
        logs: Mutex::default(),
        looked_at: AtomicI64::new(from.0),
    };
    Ok((Recording(Arc::new(inner)), writer))
}

/// How a recording calls it.
fn transport(bus: &BusPlan) -> &'static str {
    match bus.transport {
        Transport::Tcp => "tcp",
        // On a serial line the bytes are the same.
        Transport::RtuOverTcp | Transport::Rtu => "rtu-over-tcp",
        Transport::WeighingOverTcp | Transport::Weighing => "weighing-over-tcp",
    }
}

/// The recording of a process: begun once, it outlives the lives of a gateway that leaves its epoch.
pub struct Taping {
    asked: Option<(PathBuf, u64)>,
    begun: Option<(Recording, JoinHandle<()>)>,
}

impl Taping {
    /// Where to, and how many bytes of it; `None` = nothing is recorded.
    pub fn new(asked: Option<(PathBuf, u64)>) -> Self {
        Self { asked, begun: None }
    }

    /// The recording, begun at the first call.
    pub fn tape(&mut self, buses: &[BusPlan], wall: &Wall) -> anyhow::Result<Option<Recording>> {
        if let Some((path, bytes_max)) = self.asked.take() {
            let (recording, writer) = begin(&path, buses, wall, bytes_max)?;
            self.begun = Some((recording, tokio::task::spawn_blocking(|| writer.run())));
        }
        Ok(self.begun.as_ref().map(|(recording, _)| recording.clone()))
    }

    /// Waits until everything is written, at most so long; false if it is not. Everybody else has dropped the recording before.
    pub async fn end(self, within: Duration) -> bool {
        let Some((recording, written)) = self.begun else { return true };
        drop(recording);
        matches!(tokio::time::timeout(within, written).await, Ok(Ok(())))
    }
}

impl Writer {
    /// Writes until every [`Recording`] is gone or the file is full. A full or broken disk ends the recording only.
    pub fn run(mut self) {
        if let Err(error) = self.write() {
            tracing::warn!(%error, "the recording ended: its file cannot be written");
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let mut last = 0;
        while let Some(line) = self.lines.blocking_recv() {
            last = stamp(&line).unwrap_or(last);
            if line.len() as u64 + 1 > self.room {
                self.room = TAIL;
                self.line(&json!({ "t": last, "note": "the recording has reached its size" }).to_string())?;
                tracing::warn!("the recording has reached its size and ended");
                break;
            }
            self.line(&line)?;
            // What a person wants to see now is in the file now.
            if self.lines.is_empty() {
                self.out.flush()?;
            }
        }
        self.room = TAIL;
        self.line(&json!({ "t": last, "end": true }).to_string())?;
        self.out.flush()?;
        self.out.get_ref().sync_all()
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        self.room = self.room.saturating_sub(line.len() as u64 + 1);
        writeln!(self.out, "{line}")
    }
}

/// Every line begins with its time.
fn stamp(line: &str) -> Option<i64> {
    line.strip_prefix("{\"t\":")?.split([',', '}']).next()?.parse().ok()
}

impl Recording {
    /// Connections of a bus pass through here. One that the first line does not name has a line of its own before its others.
    pub fn dial(&self, bus: &BusPlan, inner: Arc<dyn Dial>) -> Arc<dyn Dial> {
        let place = Arc::new(Place { name: bus.name.clone(), transport: transport(bus) });
        Arc::new(Tapped { recording: self.clone(), place, inner })
    }

    /// A message came.
    pub fn message(&self, topic: &str, payload: &[u8], retain: bool) {
        let (key, text) = match std::str::from_utf8(payload) {
            Ok(text) => ("payload", text.to_owned()),
            Err(_) => ("payload_hex", hex(payload)),
        };
        let quoted = |text: &str| serde_json::Value::from(text);
        let retain = if retain { ",\"retain\":true" } else { "" };
        let members = format!("\"topic\":{},\"{key}\":{},\"qos\":1{retain}", quoted(topic), quoted(&text));
        self.settle_due();
        self.push_at(self.now(), &members);
    }

    fn now(&self) -> i64 {
        self.0.wall.civil().map_or(0, |now| now.0)
    }

    /// For what goes by on another connection.
    fn log(&self, place: Arc<Place>) -> Arc<Mutex<Log>> {
        let conn = self.known(&place.name, |known| {
            known.connections += 1;
            known.connections
        });
        let log = Log { recording: self.clone(), place, conn, exchange: None, written: false };
        let log = Arc::new(Mutex::new(log));
        let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|log| log.strong_count() > 0);
        logs.push(Arc::downgrade(&log));
        log
    }

    /// Writes what has waited for long, before whatever is written next.
    fn settle_due(&self) {
        let now = self.now();
        if now.abs_diff(self.0.looked_at.load(Ordering::Relaxed)) < LOOK_MS.unsigned_abs() {
            return;
        }
        self.0.looked_at.store(now, Ordering::Relaxed);
        let logs: Vec<_> = {
            let logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
            logs.iter().filter_map(Weak::upgrade).collect()
        };
        for log in logs {
            // One that is held is being written to: it is looked at again.
            if let Ok(mut log) = log.try_lock() {
                log.settle_due();
            }
        }
    }

    /// A line of a bus. What the file says of the bus is never missing before it: rather, the line is.
    fn push_of(&self, place: &Place, t: i64, members: &str) {
        let name = serde_json::Value::from(place.name.as_str());
        if self.known(&place.name, |known| known.transport) != place.transport {
            let met = format!("{{\"t\":{t},\"bus\":{name},\"transport\":\"{}\"}}", place.transport);
            match self.0.lines.try_send(met) {
                Ok(()) => self.known(&place.name, |known| known.transport = place.transport),
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.0.lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
        self.push_at(t, &format!("\"bus\":{name},{members}"));
    }

    fn known<T>(&self, bus: &str, look: impl FnOnce(&mut Known) -> T) -> T {
        let mut buses = self.0.buses.lock().unwrap_or_else(PoisonError::into_inner);
        look(buses.entry(bus.to_owned()).or_default())
    }

    fn push_at(&self, t: i64, members: &str) {
        let lost = self.0.lost.load(Ordering::Relaxed);
        if lost > 0 {
            let gap = format!("{{\"t\":{t},\"gap\":{lost},\"why\":\"the file was too slow\"}}");
            if self.0.lines.try_send(gap).is_ok() {
                self.0.lost.fetch_sub(lost, Ordering::Relaxed);
            }
        }
        match self.0.lines.try_send(format!("{{\"t\":{t},{members}}}")) {
            // The file has ended: so has the recording.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.0.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A way to get connections that are listened to.
struct Tapped {
    recording: Recording,
    place: Arc<Place>,
    inner: Arc<dyn Dial>,
}

impl Dial for Tapped {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let (recording, place) = (self.recording.clone(), Arc::clone(&self.place));
            match self.inner.dial(address).await {
                Ok(stream) => {
                    let log = recording.log(place);
                    Ok(Box::new(Tap { stream, recording, log }) as _)
                }
                Err(error) => {
                    recording.settle_due();
                    let why = serde_json::Value::from(error.to_string());
                    recording.push_of(&place, recording.now(), &format!("\"refused\":{why}"));
                    Err(error)
                }
            }
        })
    }
}

/// A connection that is listened to.
#[derive(Debug)]
struct Tap {
    stream: Box<dyn Stream>,
    recording: Recording,
    log: Arc<Mutex<Log>>,
}

/// What went by on it and is not written yet.
#[derive(Debug)]
struct Log {
    recording: Recording,
    place: Arc<Place>,
    /// Number of the connection.
    conn: u64,
    exchange: Option<Exchange>,
    /// What went by so far is written, but for the end of the connection.
    written: bool,
}

/// A request and what came back so far.
#[derive(Debug)]
struct Exchange {
    t: i64,
    since: Instant,
    ask: Vec<u8>,
    got: String,
    bytes: usize,
    cut: bool,
}

impl Exchange {
    fn begun(t: i64, ask: &[u8]) -> Self {
        Self { t, since: clock::instant(), ask: ask.to_vec(), got: String::new(), bytes: 0, cut: false }
    }

    /// Has it waited for long enough at `t`? What was begun by no request is ended by none.
    fn is_due(&self, t: i64) -> bool {
        let open_ms = if self.ask.is_empty() { STREAM_MS } else { OPEN_MS };
        t - self.t >= open_ms || (self.ask.is_empty() && self.bytes >= STREAM_MAX)
    }
}

impl Log {
    fn asked(&mut self, bytes: &[u8]) {
        let t = self.recording.now();
        match &mut self.exchange {
            // Still the same request: it was written in pieces.
            Some(exchange)
                if exchange.got.is_empty() && !exchange.ask.is_empty() && !whole(&exchange.ask) =>
            {
                exchange.ask.extend(bytes);
                (exchange.t, exchange.since) = (t, clock::instant());
            }
            Some(_) | None => {
                self.settle(None);
                self.exchange = Some(Exchange::begun(t, bytes));
            }
        }
    }

    fn got(&mut self, bytes: &[u8]) {
        self.settle_due();
        let (t, now) = (self.recording.now(), clock::instant());
        // It spoke unasked.
        let exchange = self.exchange.get_or_insert_with(|| Exchange::begun(t, &[]));
        exchange.bytes += bytes.len();
        if exchange.bytes > EXCHANGE_MAX {
            exchange.cut = true;
            return;
        }
        let separator = if exchange.got.is_empty() { "" } else { "," };
        let after = now.saturating_duration_since(exchange.since).as_micros();
        // Writing into a String cannot fail.
        let _piece = write!(exchange.got, "{separator}[{after},\"{}\"]", hex(bytes));
    }

    /// Writes what has waited for long enough.
    fn settle_due(&mut self) {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.is_due(self.recording.now())) {
            self.settle(None);
        }
    }

    /// The exchange is over.
    fn settle(&mut self, closed_by: Option<&str>) {
        let rest = (closed_by.is_some() && self.written).then(|| Exchange::begun(self.recording.now(), &[]));
        let Some(exchange) = self.exchange.take().or(rest) else { return };
        self.written = closed_by.is_none();
        let closed = closed_by.map_or_else(String::new, |who| {
            let after = clock::instant().saturating_duration_since(exchange.since).as_micros();
            format!(",\"closed\":[{after},\"{who}\"]")
        });
        let cut = if exchange.cut { ",\"cut\":true" } else { "" };
        let members = format!(
            "\"conn\":{},\"ask\":\"{}\",\"got\":[{}]{closed}{cut}",
            self.conn,
            hex(&exchange.ask),
            exchange.got
        );
        self.recording.push_of(&self.place, exchange.t, &members);
    }
}

/// Is it a whole request of Modbus TCP or RTU? The gateway asks with functions 1 to 4 only, which have one length.
fn whole(ask: &[u8]) -> bool {
    ask.len() >= 12 || (ask.len() == 8 && ask[2..6] != [0, 0, 0, 6])
}

impl Tap {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.log().settle(Some("client"));
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if polled.is_pending() {
            this.log().settle_due();
        }
        if let Poll::Ready(read) = &polled {
            let bytes = buf.filled()[before..].to_vec();
            if read.is_err() || (bytes.is_empty() && buf.remaining() > 0) {
                this.log().settle(Some("device"));
            } else if !bytes.is_empty() {
                this.log().got(&bytes);
            }
        }
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            this.recording.settle_due();
            this.log().asked(&bytes[..*written]);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[derive(Debug)]
    struct Held(std::sync::Mutex<Option<tokio::io::DuplexStream>>);

    impl Dial for Held {
        fn dial<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
            let stream = self.0.lock().unwrap().take();
            Box::pin(async move {
                stream
                    .map(|stream| Box::new(stream) as Box<dyn Stream>)
                    .ok_or_else(|| io::Error::other("busy"))
            })
        }
    }

    fn bus() -> BusPlan {
        crate::config::load_str("hotel.toml", include_str!("../../../deploy/example/hotel.toml"))
            .unwrap()
            .buses[0]
            .clone()
    }

    /// Two requests in `bytes_max`, and the lines without their times.
    async fn recorded(bytes_max: u64) -> Vec<serde_json::Value> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("day.jsonl");
        let (recording, writer) = begin(&path, &[bus()], &Wall::system(), bytes_max).unwrap();
        assert!(begin(&path, &[], &Wall::system(), 1).is_err(), "a recording is never written over");
        let (ours, mut device) = tokio::io::duplex(64);
        let dial = recording.dial(&bus(), Arc::new(Held(std::sync::Mutex::new(Some(ours)))));
        let mut stream = dial.dial("").await.unwrap();
        for n in 0..2_u8 {
            let ask = [0, n, 0, 0, 0, 6, 1, 4, 0, 0, 0, 1];
            stream.write_all(&ask[..7]).await.unwrap();
            stream.write_all(&ask[7..]).await.unwrap();
            device.read_exact(&mut [0; 12]).await.unwrap();
            device.write_all(&[0, n, 0, 0]).await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
        }
        drop(device);
        assert_eq!(stream.read(&mut [0; 4]).await.unwrap(), 0);
        drop(stream);
        assert!(dial.dial("").await.is_err());
        recording.message("ward/bag", b"\xff", true);
        recording.message("ward/bag", "重".as_bytes(), false);
        drop((dial, recording));
        tokio::task::spawn_blocking(|| writer.run()).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(
                line["t"].as_i64().or(line["from"].as_i64()).is_some_and(|t| t > 1_700_000_000_000),
                "{line}"
            );
            line.as_object_mut().unwrap().remove("t");
            for piece in line.get_mut("got").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
                piece[0] = 0.into();
            }
            if let Some(closed) = line.get_mut("closed") {
                closed[0] = 0.into();
            }
            line
        });
        lines.skip(1).collect()
    }

    #[tokio::test]
    async fn everything_that_went_by_stands_in_the_file() {
        assert_eq!(
            recorded(1 << 20).await,
            [
                json!({"bus": "modules", "conn": 1, "ask": "000000000006010400000001", "got": [[0, "00000000"]]}),
                json!({"bus": "modules", "conn": 1, "ask": "000100000006010400000001", "got": [[0, "00010000"]], "closed": [0, "device"]}),
                json!({"bus": "modules", "refused": "busy"}),
                json!({"topic": "ward/bag", "payload_hex": "ff", "qos": 1, "retain": true}),
                json!({"topic": "ward/bag", "payload": "重", "qos": 1}),
                json!({"end": true}),
            ]
        );
    }

    /// An indicator sends a frame every 100 ms, and then nothing.
    #[tokio::test(start_paused = true)]
    async fn what_is_said_unasked_is_written_while_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let wall = Wall::demo_from(gateway_model::CivilTime(1_800_000_000_000), 1.0);
        let scale = BusPlan { transport: Transport::Weighing, ..bus() };
        let path = dir.path().join("day.jsonl");
        let (recording, mut writer) = begin(&path, std::slice::from_ref(&scale), &wall, 1 << 20).unwrap();
        let (ours, mut device) = tokio::io::duplex(64);
        let dial = recording.dial(&scale, Arc::new(Held(std::sync::Mutex::new(Some(ours)))));
        let mut stream = dial.dial("").await.unwrap();
        let mut lines = Vec::new();
        for n in 0..25_u8 {
            device.write_all(&[b'=', n]).await.unwrap();
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 2);
            tokio::time::advance(Duration::from_millis(100)).await;
            lines.extend(writer.lines.try_recv());
        }
        assert_eq!(lines.len(), 2, "a line a second, at once: {lines:?}");
        tokio::time::advance(Duration::from_secs(1)).await;
        // Whoever listens looks again: nothing came.
        assert!(futures_util::poll!(std::pin::pin!(stream.read(&mut [0; 16]))).is_pending());
        lines.extend(writer.lines.try_recv());
        drop(stream);
        lines.extend(writer.lines.try_recv());
        let lines: Vec<serde_json::Value> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said = lines.iter().flat_map(|line| {
            let t = line["t"].as_i64().unwrap() - 1_800_000_000_000;
            let pieces = line["got"].as_array().unwrap().iter();
            pieces.map(move |piece| (t * 1_000 + piece[0].as_i64().unwrap(), piece[1].as_str().unwrap()))
        });
        let said: Vec<_> = said.map(|(at_us, hex)| (at_us, hex.to_owned())).collect();
        let sent: Vec<_> = (0..25).map(|n| (n * 100_000, format!("3d{n:02x}"))).collect();
        assert_eq!(said, sent);
        assert!(lines.iter().all(|line| line["ask"] == ""), "{lines:?}");
        let end = json!({ "t": 1_800_000_003_500_i64, "bus": "modules", "conn": 1, "ask": "", "got": [], "closed": [0, "client"] });
        assert_eq!(lines.last().unwrap(), &end, "{lines:?}");
        let head: serde_json::Value = {
            writer.out.flush().unwrap();
            serde_json::from_str(std::fs::read_to_string(&path).unwrap().trim()).unwrap()
        };
        assert_eq!(head["buses"][0]["transport"], "weighing-over-tcp");
    }

    /// A fast one is cut into lines by bytes.
    #[tokio::test(start_paused = true)]
    async fn no_line_of_a_stream_is_long() {
        let dir = tempfile::tempdir().unwrap();
        let wall = Wall::demo_from(gateway_model::CivilTime(1_800_000_000_000), 1.0);
        let (recording, mut writer) = begin(&dir.path().join("day.jsonl"), &[bus()], &wall, 1 << 20).unwrap();
        let (ours, mut device) = tokio::io::duplex(1_024);
        let dial = recording.dial(&bus(), Arc::new(Held(std::sync::Mutex::new(Some(ours)))));
        let mut stream = dial.dial("").await.unwrap();
        for _ in 0..20 {
            device.write_all(&[b'='; 1_024]).await.unwrap();
            stream.read_exact(&mut [0; 1_024]).await.unwrap();
        }
        drop(stream);
        let lines: Vec<String> = std::iter::from_fn(|| writer.lines.try_recv().ok()).collect();
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.len() < 9_000 && !line.contains("cut")), "{lines:?}");
    }

    /// A reload adds one bus and lets another talk otherwise; a second life begins at the same time.
    #[tokio::test]
    async fn a_bus_that_comes_later_is_told_before_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("day.jsonl");
        let (recording, writer) = begin(&path, &[bus()], &Wall::system(), 1 << 20).unwrap();
        let named = |name: &str, transport| BusPlan { name: name.to_owned(), transport, ..bus() };
        let turned = BusPlan { transport: Transport::Rtu, ..bus() };
        for plan in [&bus(), &named("uv", Transport::RtuOverTcp), &named("uv", Transport::Rtu), &turned] {
            let (ours, mut device) = tokio::io::duplex(64);
            let dial = recording.dial(plan, Arc::new(Held(std::sync::Mutex::new(Some(ours)))));
            let mut stream = dial.dial("").await.unwrap();
            stream.write_all(&[1, 4, 0, 0, 0, 1, 0x31, 0xca]).await.unwrap();
            device.read_exact(&mut [0; 8]).await.unwrap();
        }
        drop(recording);
        tokio::task::spawn_blocking(|| writer.run()).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().skip(1).map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let told = lines.map(|line| (line["bus"].clone(), line["transport"].clone(), line["conn"].clone()));
        let name = bus().name;
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                (json!(name), json!(null), json!(1)),
                (json!("uv"), json!("rtu-over-tcp"), json!(null)),
                (json!("uv"), json!(null), json!(1)),
                (json!("uv"), json!(null), json!(2)),
                (json!(name), json!("rtu-over-tcp"), json!(null)),
                (json!(name), json!(null), json!(2)),
                (json!(null), json!(null), json!(null)),
            ]
        );
    }

    /// A device is asked every ten minutes, and messages come between.
    #[tokio::test(start_paused = true)]
    async fn no_line_stands_far_behind_a_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let wall = Wall::demo_from(gateway_model::CivilTime(1_800_000_000_000), 1.0);
        let (recording, mut writer) = begin(&dir.path().join("day.jsonl"), &[bus()], &wall, 1 << 20).unwrap();
        let (ours, mut device) = tokio::io::duplex(64);
        let dial = recording.dial(&bus(), Arc::new(Held(std::sync::Mutex::new(Some(ours)))));
        let mut stream = dial.dial("").await.unwrap();
        for n in 0..2_u8 {
            stream.write_all(&[0, n, 0, 0, 0, 6, 1, 4, 0, 0, 0, 1]).await.unwrap();
            device.read_exact(&mut [0; 12]).await.unwrap();
            device.write_all(&[0, n, 0, 0]).await.unwrap();
            stream.read_exact(&mut [0; 4]).await.unwrap();
            for _ in 0..40 {
                tokio::time::advance(Duration::from_secs(15)).await;
                recording.message("ward/bag", b"1", false);
            }
        }
        drop(stream);
        let lines: Vec<serde_json::Value> = std::iter::from_fn(|| writer.lines.try_recv().ok())
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect();
        let asked = lines.iter().filter(|line| line["ask"].as_str().is_some_and(|ask| !ask.is_empty()));
        assert_eq!(asked.count(), 2, "each once");
        let mut newest = 0;
        for line in &lines {
            let t = line["t"].as_i64().unwrap();
            assert!(newest - t <= 60_000, "{} s late: {line}", (newest - t) / 1_000);
            newest = newest.max(t);
        }
        assert_eq!(lines.last().unwrap()["closed"], json!([0, "client"]), "{lines:?}");
    }

    #[tokio::test]
    async fn a_full_file_says_so_and_ends_in_order() {
        let lines = recorded(TAIL + 300).await;
        let end = [json!({"note": "the recording has reached its size"}), json!({"end": true})];
        assert_eq!(lines[lines.len() - 2..], end, "{lines:?}");
        assert!(lines.len() < 5, "{lines:?}");
    }
}
