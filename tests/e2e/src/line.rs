//! A bad line between a gateway and its center: slow, lossy, forgetful, or swallowing everything. Passes TCP on as it is.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Bytes that travel at once: what fits into one packet.
const PACKET: usize = 1_400;
/// What TCP waits before it sends a lost packet again, doubling.
const AGAIN: Duration = Duration::from_millis(200);

/// What is wrong with it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fault {
    /// Bytes per second in each direction; 0 = as fast as it goes.
    pub rate: u64,
    /// Of 100 packets so many are lost: TCP sends them again, which costs time.
    pub loss: u64,
    /// Connections through which more than so many bytes were sent at once carry nothing any more; 0 = none. A path with a
    /// smaller packet size than its ends believe, where nobody is told.
    pub hole: usize,
    /// A connection on which nothing moved for so long is forgotten: what comes then is swallowed. Zero = never.
    pub idle: Duration,
    /// Everything is swallowed; connections are accepted all the same.
    pub swallow: bool,
}

/// The line, until it is dropped.
pub struct Line {
    /// Where it begins.
    pub address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct State {
    fault: Mutex<Fault>,
    connections: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

impl State {
    fn fault(&self) -> Fault {
        *self.fault.lock().expect("nothing panics here")
    }
}

impl Line {
    /// Leads to `to`; good at first.
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut passing = tokio::task::JoinSet::new();
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                shared.connections.fetch_add(1, Ordering::Relaxed);
                passing.spawn(pass(near, to, Arc::clone(&shared)));
            }
        });
        Self { address, state, task }
    }

    /// `http://…`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on. Connections that were swallowed stay so.
    pub fn set(&self, fault: Fault) {
        *self.state.fault.lock().expect("nothing panics here") = fault;
    }

    /// How many were made.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Bytes passed on: to the center, and back.
    pub fn passed(&self) -> (u64, u64) {
        (self.state.up.load(Ordering::Relaxed), self.state.down.load(Ordering::Relaxed))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(near: TcpStream, to: SocketAddr, state: Arc<State>) {
    let Ok(far) = TcpStream::connect(to).await else { return };
    let dead = Arc::new(AtomicBool::new(false));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    // Whichever side ends first ends the connection; how is its peers' business.
    tokio::select! {
        () = carry(near_in, far_out, Way { state: &state, dead: &dead, up: true }) => {}
        () = carry(far_in, near_out, Way { state: &state, dead: &dead, up: false }) => {}
    }
}

#[derive(Clone, Copy)]
struct Way<'a> {
    state: &'a State,
    dead: &'a AtomicBool,
    up: bool,
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way<'_>) {
    let mut buffer = vec![0; 64 * 1024];
    // A generator that is the same in every run: which packets are lost does not matter, how many does.
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    loop {
        let moved = tokio::time::Instant::now();
        let Ok(n @ 1..) = from.read(&mut buffer).await else { return };
        let fault = way.state.fault();
        let forgotten = !fault.idle.is_zero() && moved.elapsed() > fault.idle;
        let too_large = fault.hole > 0 && n > fault.hole;
        if fault.swallow || forgotten || too_large {
            way.dead.store(true, Ordering::Relaxed);
        }
        if way.dead.load(Ordering::Relaxed) {
            continue;
        }
        for packet in buffer[..n].chunks(PACKET) {
            let mut wait = AGAIN;
            loop {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if (random >> 33) % 100 >= way.state.fault().loss {
                    break;
                }
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            if let Some(pause) = (packet.len() as u64 * 1_000).checked_div(fault.rate) {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            let count = if way.up { &way.state.up } else { &way.state.down };
            count.fetch_add(packet.len() as u64, Ordering::Relaxed);
            if to.write_all(packet).await.is_err() {
                return;
            }
        }
    }
}
