//! What a gateway records of a weighing indicator, read and served again by the simulator: the same bytes at the same moments.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use firmware_sim::civil::Civil;
use firmware_sim::clock::Clock;
use firmware_sim::face::answer::Then;
use firmware_sim::face::weigh::yaohua_tf0;
use firmware_sim::replay::serve::Desk;
use firmware_sim::replay::{Options, Player, Tape};
use futures_util::future::BoxFuture;
use gateway::bus::dial::{Dial, Stream};
use gateway::clock::Wall;
use gateway::config;
use gateway::recording::begin;
use gateway_model::CivilTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

/// 2026-11-18T08:00:00+08:00.
const FROM: i64 = 1_794_960_000_000;
const SCALE: &str = r#"
[site]
id = "house-1"
institution = "913300000000000191"
name = { zh = "房子", en = "House" }
utc_offset_min = 480
[[bus]]
name = "scale"
transport = "weighing-over-tcp"
address = "127.0.0.1:1"
timeout = "500ms"
"#;

/// One connection that is there already.
struct Held(Mutex<Option<DuplexStream>>);

impl Dial for Held {
    fn dial<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Box<dyn Stream>>> {
        let stream = self.0.lock().unwrap().take().expect("asked for once");
        Box::pin(std::future::ready(Ok(Box::new(stream) as Box<dyn Stream>)))
    }
}

/// What came, and when, µs; until nothing came for a second.
async fn hear(stream: &mut (impl tokio::io::AsyncRead + Unpin), begin: Instant) -> Vec<(i64, Vec<u8>)> {
    let (mut heard, mut buffer) = (Vec::new(), [0; 64]);
    while let Ok(read) = timeout(Duration::from_secs(1), stream.read(&mut buffer)).await {
        let after_us = i64::try_from(begin.elapsed().as_micros()).unwrap();
        heard.push((after_us, buffer[..read.unwrap()].to_vec()));
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn a_recorded_indicator_is_heard_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scale.jsonl");
    let buses = config::load_str("site.toml", SCALE).unwrap().buses;
    let (begun, wall) = (Instant::now(), Wall::demo_from(CivilTime(FROM), 1.0));
    let (recording, writer) = begin(&path, &buses, &wall, 1 << 20).unwrap();
    let writer = std::thread::spawn(|| writer.run());
    let (near, mut device) = tokio::io::duplex(64);
    let dial = recording.dial(&buses[0], Arc::new(Held(Mutex::new(Some(near)))));
    let mut line = dial.dial("").await.unwrap();
    let sending = tokio::spawn(async move {
        for n in 0..90_u8 {
            let frame = yaohua_tf0(12.0 + f64::from(n) / 100.0, 2);
            // Cuts and pauses as a serial line makes them.
            for piece in frame.chunks(1 + usize::from(n % 12)) {
                device.write_all(piece).await.unwrap();
                sleep(Duration::from_millis(7)).await;
            }
            sleep(Duration::from_millis(37)).await;
        }
        // Still there, and silent.
        sleep(Duration::from_secs(5)).await;
    });
    let heard = hear(&mut line, begun).await;
    assert!(heard.len() > 90 && heard.last().unwrap().0 > 5_000_000, "{heard:?}");
    drop((line, dial, recording));
    sending.abort();
    writer.join().unwrap();

    let tape = Tape::open(&path).unwrap();
    assert_eq!((tape.said(), tape.unanswerable(), tape.is_torn()), (heard.len(), 0, false));
    let player = Arc::new(Player::new(tape, Options::default()));
    let said: Vec<_> = player
        .said(0, Civil(FROM))
        .map(|(at_us, then)| match then {
            Then::Send(bytes) => (at_us - FROM * 1_000, bytes.clone()),
            Then::HangUp => panic!("the gateway went away, not the indicator"),
        })
        .collect();
    assert_eq!(said, heard);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().all(|line| line.len() < 2_000), "bounded pieces");

    // And again over a stream.
    let again = Instant::now();
    let desk = Desk::new(player, 0, Clock::starting(Civil(FROM), 1.0));
    let (mut near, far) = tokio::io::duplex(1_024);
    let serving = tokio::spawn(async move { desk.stream(far).await });
    let replayed = hear(&mut near, again).await;
    let bytes =
        |heard: &[(i64, Vec<u8>)]| heard.iter().flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
    assert_eq!(bytes(&replayed), bytes(&heard));
    let late = replayed.iter().zip(&heard).map(|((again, _), (first, _))| again - first);
    assert!(late.clone().all(|late| (-1_000..=2_000).contains(&late)), "{:?}", late.collect::<Vec<_>>());
    serving.abort();
}
