//! A bus and its devices: dead ones, refused registers, a whole dead line, and who goes first. In virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gateway::bus::dial::{Dial, Stream};
use gateway::pause::Jitter;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, duplex};

use gateway::bus::Bus;
use gateway::clock::{Clock, Wall};
use gateway::config::{
    BlockPlan, BlockPoint, BusPlan, Encoding, EncodingKind, FunctionCode, LineSettings, Parity, Reach,
    Transport, UnitId, Urgency, WordOrder,
};
use gateway::metrics::Metrics;
use gateway::recorder::{self, Answers, Civil, Event};
use gateway_engine::intake::Answer;
use gateway_model::{BadCause, EngineTime, PointIx, Raw};
use tokio_util::sync::CancellationToken;

use crate::guard::rtu;
use crate::rig::Peer;

fn block(unit: u8, point: u32) -> BlockPlan {
    let encoding = Encoding { kind: EncodingKind::I16, order: WordOrder::Abcd };
    BlockPlan {
        bus: 0,
        unit: UnitId(unit),
        function: FunctionCode::InputRegisters,
        first: 0,
        count: 1,
        every: Duration::from_millis(20),
        priority: Urgency::Normal,
        reach: Reach::PROTOCOL,
        points: vec![BlockPoint {
            point: PointIx(point),
            offset: 0,
            encoding,
            scale: None,
            codes: Vec::new(),
        }],
    }
}

#[tokio::test]
async fn a_dead_unit_is_probed_now_and_then_and_its_readings_are_reported_all_the_same() {
    let (peer, address) = Peer::start().await;
    peer.set(1, 4, 0, 235);
    peer.silence(2);
    let plan = BusPlan {
        name: "modules".into(),
        transport: Transport::Tcp,
        address: address.to_string(),
        timeout: Duration::from_millis(50),
        gap: Duration::ZERO,
        line: None,
    };
    let (doors, mut rooms) = recorder::doors(Civil::default());
    let clock = Clock::start(Wall::system(), EngineTime(0));
    let stop = CancellationToken::new();
    let bus = Bus::new(plan, vec![block(1, 0), block(2, 1)], 1.0, Metrics::default());
    let polling = tokio::spawn(bus.run(clock, doors.inputs.clone(), stop.clone()));

    let (mut good, mut bad) = (0, 0);
    while good < 40 {
        match rooms.next_event().await.unwrap() {
            Event::Answers(Answers { items, .. }) => match items[..] {
                [(PointIx(0), Answer::Raw(Raw::Int(235)))] => good += 1,
                [(PointIx(1), Answer::Failed(BadCause::NoCommunication))] => bad += 1,
                ref other => panic!("{other:?}"),
            },
            // Both units are missed while the first two time-outs pass.
            Event::Missed { .. } => {}
            other @ (Event::Fact(_)
            | Event::Entry { .. }
            | Event::Asked { .. }
            | Event::Overrun { .. }
            | Event::ServerTime { .. }
            | Event::Receipted(_)
            | Event::Order { .. }
            | Event::Reconfigure(_)
            | Event::Config { .. }
            | Event::Lost(_)
            | Event::Gone(_)) => panic!("{other:?}"),
        }
    }
    stop.cancel();
    polling.await.unwrap().unwrap();
    assert!(bad >= 20, "{bad} readings of the dead unit were reported");
    assert!(peer.asked(2) <= 4, "it was asked {} times in {bad} periods", peer.asked(2));
}

/// A serial line in memory: bytes take as long as its speed says, and every device on it can be switched off.
#[derive(Clone)]
pub(crate) struct Line {
    settings: LineSettings,
    dead: Arc<Mutex<BTreeSet<u8>>>,
    /// Registers that no device has: answered with exception 2.
    missing: Vec<u16>,
    asked: Arc<Mutex<Vec<(u8, u16, u16)>>>,
    /// When each unit's requests were complete.
    times: Arc<Mutex<Vec<(u8, tokio::time::Instant)>>>,
    dials: Arc<AtomicUsize>,
}

impl Line {
    pub(crate) fn new(baud: u32) -> Self {
        let settings = LineSettings { baud, parity: Parity::None, stop_bits: 1 };
        Self {
            settings,
            dead: Arc::default(),
            missing: Vec::new(),
            asked: Arc::default(),
            times: Arc::default(),
            dials: Arc::default(),
        }
    }

    /// When a unit was asked.
    pub(crate) fn asked_at(&self, unit: u8) -> Vec<tokio::time::Instant> {
        self.times.lock().unwrap().iter().filter(|(of, _)| *of == unit).map(|(_, at)| *at).collect()
    }

    /// How often it was opened.
    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }

    pub(crate) fn plan(&self) -> BusPlan {
        BusPlan {
            name: "line".into(),
            transport: Transport::Rtu,
            address: "/dev/line".into(),
            timeout: Duration::from_millis(500),
            gap: Duration::ZERO,
            line: Some(self.settings),
        }
    }

    /// Register `at` of a unit holds its own number.
    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let (unit, function) = (request[0], request[1]);
        let first = u16::from_be_bytes([request[2], request[3]]);
        let count = u16::from_be_bytes([request[4], request[5]]);
        self.asked.lock().unwrap().push((unit, first, count));
        self.times.lock().unwrap().push((unit, tokio::time::Instant::now()));
        if self.dead.lock().unwrap().contains(&unit) {
            return None;
        }
        let mut body = vec![unit, function, (count * 2) as u8];
        if (first..first + count).any(|at| self.missing.contains(&at)) {
            body = vec![unit, function | 0x80, 2];
        } else {
            body.extend((first..first + count).flat_map(u16::to_be_bytes));
        }
        Some(rtu(&body))
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut request = [0; 8];
        while stream.read_exact(&mut request).await.is_ok() {
            tokio::time::sleep(self.settings.character() * 8 + self.settings.silence()).await;
            let Some(answer) = self.answer(&request) else { continue };
            tokio::time::sleep(self.settings.character() * answer.len() as u32).await;
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

impl Dial for Line {
    fn dial<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = duplex(4096);
        tokio::spawn(self.clone().serve(theirs));
        Box::pin(std::future::ready(Ok(Box::new(ours) as Box<dyn Stream>)))
    }
}

/// Twenty registers, each a point; the first is called after the unit.
fn twenty(unit: u8, every: Duration) -> BlockPlan {
    let mut plan = block(unit, u32::from(unit));
    let more = (1..20).map(|n| BlockPoint {
        offset: n,
        point: PointIx(100 + u32::from(n)),
        ..plan.points[0].clone()
    });
    plan.points.extend(more.collect::<Vec<_>>());
    (plan.count, plan.every) = (20, every);
    plan
}

/// How often each point was answered, and how often not, in a span of virtual time.
async fn lived(
    line: &Line,
    blocks: Vec<BlockPlan>,
    span: Duration,
    learned: Option<&Path>,
    mut meanwhile: impl FnMut(Duration),
) -> (BTreeMap<u32, (usize, usize)>, Metrics) {
    let (doors, mut rooms) = recorder::doors(Civil::default());
    let clock = Clock::start(Wall::system(), EngineTime(0));
    let (stop, metrics) = (CancellationToken::new(), Metrics::default());
    let mut bus = Bus::new(line.plan(), blocks, 1.0, metrics.clone())
        .dialing(Arc::new(line.clone()))
        .jittered(Jitter::None);
    if let Some(path) = learned {
        bus = bus.remembering(path);
    }
    let polling = tokio::spawn(bus.run(clock, doors.inputs.clone(), stop.clone()));
    let start = tokio::time::Instant::now();
    let mut seen: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    while let Ok(Some(event)) = tokio::time::timeout_at(start + span, rooms.next_event()).await {
        meanwhile(start.elapsed());
        match event {
            Event::Answers(Answers { items, .. }) => {
                for (point, answer) in items {
                    let (good, bad) = seen.entry(point.0).or_default();
                    match answer {
                        Answer::Raw(_) => *good += 1,
                        Answer::Failed(_) | Answer::Held(_) => *bad += 1,
                    }
                }
            }
            Event::Missed { points, times, .. } => {
                for point in points {
                    seen.entry(point.0).or_default().1 += times as usize;
                }
            }
            Event::Fact(_)
            | Event::Entry { .. }
            | Event::Asked { .. }
            | Event::Overrun { .. }
            | Event::ServerTime { .. }
            | Event::Receipted(_)
            | Event::Order { .. }
            | Event::Reconfigure(_)
            | Event::Config { .. }
            | Event::Lost(_)
            | Event::Gone(_) => panic!("a bus says no such thing"),
        }
    }
    stop.cancel();
    polling.await.unwrap().unwrap();
    (seen, metrics)
}

/// Ten devices at 9600 baud, at a pace that fills the line and at one that does not; one dies after a minute.
#[tokio::test(start_paused = true)]
async fn a_dead_device_of_ten_costs_the_others_at_most_two_percent_of_ten_minutes() {
    let span = Duration::from_mins(10);
    for every in [Duration::from_millis(300), Duration::from_secs(1)] {
        let blocks = || (1..=10).map(|unit| twenty(unit, every)).collect::<Vec<_>>();
        let others =
            |seen: &BTreeMap<u32, (usize, usize)>| -> usize { (1..=9).map(|unit| seen[&unit].0).sum() };
        let whole = Line::new(9_600);
        let (all_well, _) = lived(&whole, blocks(), span, None, |_| {}).await;
        let hurt = Line::new(9_600);
        let dead = hurt.dead.clone();
        let (one_dead, metrics) = lived(&hurt, blocks(), span, None, move |now| {
            if now >= Duration::from_mins(1) {
                dead.lock().unwrap().insert(10);
            }
        })
        .await;
        let kept = others(&one_dead) as f64 / others(&all_well) as f64;
        println!(
            "every {every:?}: the other nine keep {:.2} % of {} readings",
            kept * 100.0,
            others(&all_well)
        );
        assert!(kept >= 0.98, "every {every:?}: {kept}");
        println!("{} requests met silence", metrics.bus_count("line", "timeout"));
        assert!(one_dead[&10].1 > 500, "its readings are reported all the same: {:?}", one_dead[&10]);
    }
}

/// What the gateway's own pauses leave of a line: bytes and 3.5 characters each way are the ceiling. In real time the machine
/// adds its own: `cargo xtask bench line`.
#[tokio::test(start_paused = true)]
async fn a_full_line_is_used_to_nine_tenths() {
    for baud in [9_600, 19_200] {
        let line = Line::new(baud);
        let blocks = (1..=10).map(|unit| twenty(unit, Duration::from_millis(100))).collect();
        let (_, metrics) = lived(&line, blocks, Duration::from_mins(2), None, |_| {}).await;
        let each = line.settings.character() * (8 + 45) + line.settings.silence() * 2;
        let share = metrics.bus_count("line", "ok") as f64 / 120.0 * each.as_secs_f64();
        println!("{baud} baud: {:.1} % of the ceiling", share * 100.0);
        assert!((0.9..=1.0).contains(&share), "{baud}: {share}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_is_refused_is_cut_out_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("line.json");
    let mut line = Line::new(19_200);
    line.missing = (2..6).collect();
    let at = |first: u16| {
        let mut plan = block(1, first.into());
        (plan.first, plan.every) = (first, Duration::from_secs(1));
        plan
    };
    let blocks = vec![at(0), at(1), at(6), at(7), at(12)];
    let (seen, metrics) = lived(&line, blocks.clone(), Duration::from_mins(1), Some(&path), |_| {}).await;
    assert!(seen.values().all(|(good, _)| *good >= 55), "{seen:?}");
    assert!(metrics.bus_count("line", "exception") <= 8, "{}", metrics.text());
    line.asked.lock().unwrap().clear();
    let (_, metrics) = lived(&line, blocks, Duration::from_secs(30), Some(&path), |_| {}).await;
    assert_eq!(metrics.bus_count("line", "exception"), 0, "after a restart it is not asked again");
    let asked: BTreeSet<_> = line.asked.lock().unwrap().iter().copied().collect();
    assert_eq!(asked, BTreeSet::from([(1, 0, 2), (1, 6, 2), (1, 12, 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_register_that_is_not_there_costs_only_itself_and_is_tried_again_later() {
    let mut line = Line::new(19_200);
    line.missing = vec![3];
    let at = |first: u16| {
        let mut plan = block(1, first.into());
        (plan.first, plan.every) = (first, Duration::from_secs(1));
        plan
    };
    let (seen, _) = lived(&line, (0..6).map(at).collect(), Duration::from_mins(30), None, |_| {}).await;
    assert_eq!(seen[&3].0, 0);
    assert!(seen.iter().all(|(point, (good, _))| *point == 3 || *good > 1_700), "{seen:?}");
    let alone =
        line.asked.lock().unwrap().iter().filter(|(_, first, count)| (*first, *count) == (3, 1)).count();
    assert!((3..=10).contains(&alone), "asked alone {alone} times in half an hour");
}

#[tokio::test(start_paused = true)]
async fn a_dead_bus_is_one_trouble_and_all_of_it_is_back_soon() {
    let line = Line::new(9_600);
    line.dead.lock().unwrap().extend(1..=10);
    let dead = line.dead.clone();
    let blocks = (1..=10).map(|unit| twenty(unit, Duration::from_secs(1))).collect();
    let (seen, metrics) = lived(&line, blocks, Duration::from_mins(4), None, move |now| {
        if now >= Duration::from_mins(3) {
            dead.lock().unwrap().clear();
        }
    })
    .await;
    assert!(
        (1..=10).all(|unit| (50..=61).contains(&seen[&unit].0)),
        "back within 10 s of the minute: {seen:?}"
    );
    let text = metrics.text();
    assert!(text.contains("trouble=\"bus_silent\"} 0"), "it began and it is over: {text}");
    assert!(!text.contains("trouble=\"silent\"} 1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_is_of_low_priority_waits_but_not_for_ever() {
    let line = Line::new(9_600);
    let mut blocks: Vec<_> = (1..=9).map(|unit| twenty(unit, Duration::from_millis(300))).collect();
    let mut low = twenty(10, Duration::from_secs(1));
    low.priority = Urgency::Low;
    blocks.push(low);
    let (seen, _) = lived(&line, blocks, Duration::from_mins(2), None, |_| {}).await;
    assert!((150..390).contains(&seen[&1].0), "the line is full: {seen:?}");
    assert!(seen[&10].0 >= 50, "at least every second period: {seen:?}");
}
