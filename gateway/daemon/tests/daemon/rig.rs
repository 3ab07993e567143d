//! What several tests share: sites, a Modbus TCP peer, waiting.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::clock::Wall;
use gateway::config::{self, Site};
use gateway::metrics::Metrics;
use gateway::recorder::core::Settings;
use gateway::recorder::start::{Heritage, Setup};
use gateway::recorder::{Civil, Urgent};
use gateway::state::DataDir;
use gateway_journal::Limits;
use gateway_model::{Epoch, Plan, PointIx};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Long enough for a loaded machine; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const HOTEL: &str = include_str!("../../../../deploy/example/hotel.toml");
pub(crate) const HOSPITAL: &str = include_str!("../../../../deploy/example/hospital.toml");

pub(crate) fn site(text: &str) -> Site {
    config::load_str("site.toml", text).unwrap()
}

/// What a recorder begins with in this data directory: a key of its own, no center, records sealed every 30 s.
pub(crate) fn setup(data: &DataDir, plan: &Plan, wall: Wall, urgent: mpsc::Sender<Urgent>) -> Setup {
    Setup {
        journal: data.journal(),
        limits: Limits::default(),
        key: data.key().unwrap(),
        plan: std::sync::Arc::new(plan.clone()),
        epoch_floor: Epoch(0),
        heritage: Heritage::default(),
        from: None,
        checkpoint: data.position("checkpoint"),
        settings: Settings {
            seal_every_ms: 30_000,
            wall,
            civil: Civil::default(),
            metrics: Metrics::default(),
            urgent,
        },
    }
}

/// A point of the plan by its id.
pub(crate) fn point(plan: &Plan, id: &str) -> PointIx {
    PointIx::of(plan.points.iter().position(|point| point.id == id).unwrap())
}

/// Waits until `look` gives something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A Modbus TCP server: registers by (unit, function, address); units in `silent` never answer.
#[derive(Clone, Default)]
pub(crate) struct Peer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    registers: HashMap<(u8, u8, u16), u16>,
    silent: Vec<u8>,
    asked: HashMap<u8, usize>,
    connections: usize,
}

impl Peer {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peer = Self::default();
        let serving = peer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serving.0.lock().unwrap().connections += 1;
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        (peer, address)
    }

    pub(crate) fn set(&self, unit: u8, function: u8, address: u16, word: u16) {
        self.0.lock().unwrap().registers.insert((unit, function, address), word);
    }

    pub(crate) fn silence(&self, unit: u8) {
        self.0.lock().unwrap().silent.push(unit);
    }

    pub(crate) fn asked(&self, unit: u8) -> usize {
        self.0.lock().unwrap().asked.get(&unit).copied().unwrap_or(0)
    }

    pub(crate) fn connections(&self) -> usize {
        self.0.lock().unwrap().connections
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = [0; 12];
        while stream.read_exact(&mut request).await.is_ok() {
            let (unit, function) = (request[6], request[7]);
            let first = u16::from_be_bytes([request[8], request[9]]);
            let count = u16::from_be_bytes([request[10], request[11]]);
            let data = {
                let mut state = self.0.lock().unwrap();
                *state.asked.entry(unit).or_default() += 1;
                if state.silent.contains(&unit) {
                    continue;
                }
                let word = |at: u16| state.registers.get(&(unit, function, at)).copied().unwrap_or(0);
                if function <= 2 {
                    let bit = |i: u16| i < count && word(first + i) != 0;
                    let byte = |from: u16| (0..8).map(|i| u8::from(bit(from + i)) << i).sum();
                    (0..count.div_ceil(8)).map(|byte_ix| byte(byte_ix * 8)).collect::<Vec<u8>>()
                } else {
                    (0..count).flat_map(|i| word(first + i).to_be_bytes()).collect()
                }
            };
            let mut answer = request[..4].to_vec();
            answer.extend(((data.len() + 3) as u16).to_be_bytes());
            answer.extend([unit, function, data.len() as u8]);
            answer.extend(data);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}
