//! Modbus servers that are not ours: pymodbus, libmodbus, and one that answers nonsense on purpose.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::ground::{Place, root, target};
use crate::process::Process;

/// A server in another language, told its registers through stdin.
pub struct Peer {
    process: Process,
    address: String,
    units: bool,
}

impl Peer {
    /// pymodbus, from the environment that `cargo xtask ci --only venv` makes. `transport` is `tcp` or
    /// `rtu-over-tcp`.
    pub async fn python(place: &Place, name: &str, transport: &str, units: &[u8]) -> Self {
        Self::pymodbus(place, name, &[transport], units).await
    }

    /// The same on a serial port (pyserial), as every unit at once.
    pub async fn python_serial(place: &Place, name: &str, path: &str, units: &[u8]) -> Self {
        Self::pymodbus(place, name, &["rtu", path], units).await
    }

    async fn pymodbus(place: &Place, name: &str, how: &[&str], units: &[u8]) -> Self {
        let python = target().join("venv/bin/python");
        assert!(python.exists(), "{} is not there: run `cargo xtask ci --only venv`", python.display());
        let script = root().join("tests/e2e/peers/pymodbus_server.py");
        let mut args = vec![script.to_string_lossy().into_owned()];
        args.extend(how.iter().map(ToString::to_string));
        args.extend(units.iter().map(ToString::to_string));
        Self::up(Process::start(name, &python, args, place.path()), true).await
    }

    /// The C program on libmodbus: every unit id answers from the same registers.
    pub async fn libmodbus(place: &Place, name: &str) -> Self {
        Self::up(Process::start(name, &compiled(), [] as [&str; 0], place.path()), false).await
    }

    /// The same, each unit id with registers of its own.
    pub async fn libmodbus_units(place: &Place, name: &str) -> Self {
        Self { units: true, ..Self::libmodbus(place, name).await }
    }

    /// The same on a serial port, one unit at a time: see [`Self::answer_as`].
    pub async fn libmodbus_serial(place: &Place, name: &str, path: &str) -> Self {
        Self::up(Process::start(name, &compiled(), [path], place.path()), true).await
    }

    /// On a serial port: from now on the device with this unit id is there, and no other.
    pub async fn answer_as(&mut self, unit: u8) {
        self.tell(&format!("unit {unit}")).await;
    }

    async fn up(mut process: Process, units: bool) -> Self {
        let line = process.line().await;
        let port = line.strip_prefix("port ").unwrap_or_else(|| panic!("a port, not `{line}`"));
        Self { process, address: format!("127.0.0.1:{port}"), units }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts a value into `input`, `holding`, `discrete` or `coil`.
    pub async fn set(&mut self, unit: u8, table: &str, address: u16, value: i32) {
        let unit = if self.units { format!("{unit} ") } else { String::new() };
        self.tell(&format!("{unit}{table} {address} {value}")).await;
    }

    /// Takes requests and answers none, or answers again.
    pub async fn silent(&mut self, silent: bool) {
        self.tell(if silent { "silent on" } else { "silent off" }).await;
    }

    /// Drops every connection and refuses new ones.
    pub async fn unplug(&mut self) {
        self.tell("unplug").await;
    }

    /// Back on the same port.
    pub async fn plug(&mut self) {
        self.tell("plug").await;
    }

    async fn tell(&mut self, line: &str) {
        let answer = self.process.ask(line).await;
        assert_eq!(answer, "ok", "the peer's answer to `{line}`");
    }
}

/// The C peer, compiled once per test process.
fn compiled() -> PathBuf {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    COMPILED
        .get_or_init(|| {
            let source = root().join("tests/e2e/peers/modbus_server.c");
            let program = target().join(format!("modbus_server-{}", std::process::id()));
            // Where Debian's libmodbus-dev puts its header.
            let output = Command::new("cc")
                .args(["-O1", "-Wall", "-Wextra", "-Werror", "-I/usr/include/modbus", "-o"])
                .arg(&program)
                .arg(&source)
                .arg("-lmodbus")
                .output()
                .expect("a C compiler: run `cargo xtask ci --only packages`");
            assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
            program
        })
        .clone()
}

/// What a [`Liar`] does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// The truth: every input register holds this.
    Truth(u16),
    /// Half of the answer, then nothing.
    Truncated,
    /// A whole answer with another transaction id.
    Foreign,
    /// An answer from another unit.
    OtherUnit,
    /// An answer to another function.
    OtherFunction,
    /// Fewer registers than asked for.
    Short,
    /// Bytes that are no Modbus at all.
    Garbage,
    /// A length field of 65535.
    Endless,
    /// Two answers where one was asked for; the second would be taken for the answer to the next request.
    Twice,
}

/// A Modbus TCP server that lies as told.
pub struct Liar {
    address: String,
    lie: Arc<Mutex<Lie>>,
    told: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
}

impl Liar {
    /// Starts with the truth.
    pub fn start(value: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address").to_string();
        let liar = Self {
            address,
            lie: Arc::new(Mutex::new(Lie::Truth(value))),
            told: Arc::default(),
            end: Arc::default(),
        };
        let (lie, told, end) = (Arc::clone(&liar.lie), Arc::clone(&liar.told), Arc::clone(&liar.end));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (lie, told) = (Arc::clone(&lie), Arc::clone(&told));
                std::thread::spawn(move || answer(stream, &lie, &told));
            }
        });
        liar
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From the next request on.
    pub fn tell(&self, lie: Lie) {
        *self.lie.lock().expect("no thread of the liar panics") = lie;
        self.told.store(0, Ordering::SeqCst);
    }

    /// Requests answered since the last [`Liar::tell`].
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        // Wakes the listener.
        drop(TcpStream::connect(&self.address));
    }
}

fn answer(mut stream: TcpStream, lie: &Mutex<Lie>, told: &AtomicU64) {
    let mut request = [0; 12];
    while stream.read_exact(&mut request).is_ok() {
        let lie = *lie.lock().expect("no thread of the liar panics");
        let count = u16::from_be_bytes([request[10], request[11]]);
        let (unit, function) = (request[6], request[7]);
        let bits = matches!(function, 1 | 2);
        let data: Vec<u8> = if bits {
            vec![0; usize::from(count.div_ceil(8))]
        } else {
            let value = if let Lie::Truth(value) = lie { value } else { 0x7E7E };
            (0..count).flat_map(|_| value.to_be_bytes()).collect()
        };
        let frame = |transaction: [u8; 2], unit: u8, function: u8, data: &[u8]| {
            let mut frame = transaction.to_vec();
            frame.extend([0, 0]);
            frame.extend((data.len() as u16 + 3).to_be_bytes());
            frame.extend([unit, function, data.len() as u8]);
            frame.extend(data);
            frame
        };
        let id = [request[0], request[1]];
        let truth = frame(id, unit, function, &data);
        let bytes = match lie {
            Lie::Truth(_) => truth,
            Lie::Truncated => truth[..truth.len() / 2].to_vec(),
            Lie::Foreign => frame([id[0] ^ 0x55, id[1] ^ 0xAA], unit, function, &data),
            Lie::OtherUnit => frame(id, unit ^ 0x10, function, &data),
            Lie::OtherFunction => frame(id, unit, function ^ 0x07, &data),
            Lie::Short => frame(id, unit, function, &data[..data.len() - 1]),
            Lie::Garbage => b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            Lie::Endless => {
                let mut frame = truth;
                frame[4..6].copy_from_slice(&[0xFF, 0xFF]);
                frame
            }
            Lie::Twice => [truth.clone(), truth].concat(),
        };
        if stream.write_all(&bytes).is_err() {
            return;
        }
        told.fetch_add(1, Ordering::SeqCst);
        if lie == Lie::Truncated {
            // Closing is what makes it truncated rather than slow.
            stream.shutdown(Shutdown::Both).ok();
            return;
        }
    }
}
