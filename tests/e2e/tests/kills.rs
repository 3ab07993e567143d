//! Gateways that are killed at any moment, on a disk of 8 MB that is full half of the time, against the real center.
//!
//! Eight at a time, `NONSITE_KILLS` times in all (200 where it is not set; `cargo xtask long kills --count N`). Each has a
//! file system of its own in a mount namespace that ends with the test: ext4 on a loop device for root, else a tmpfs.
//! At the end: every record that was told (shown as newest, or receipted) is at the center or named by a gap record, none
//! is there twice, numbers and hashes close, and every start came up by itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::clock::real_now;
use e2e::modbus::Peer;
use e2e::records::{at_center, at_gateway, key};
use e2e::{Center, Clock, Gateway, Place, eventually};
use futures_util::future::join_all;
use gateway_evidence::chain::{Link, check};

use crate::sites::{bus, fridge, head};

const KILLS: &str = "NONSITE_KILLS";
const KILLS_IN_CI: usize = 200;
const GATEWAYS: usize = 8;
/// A record every quarter of a second, a reading every twentieth.
const SPEED: i64 = 20;
const DISK_KIB: usize = 8 << 10;
/// A machine with other things to do.
const DRAINED_WITHIN: Duration = Duration::from_mins(3);

/// The test: the same binary in a mount namespace of its own.
#[test]
fn nothing_that_was_told_is_lost_or_doubled_by_kills_on_a_full_disk() {
    // Built here, where `cargo` may be asked.
    for name in ["gateway", "center"] {
        e2e::ground::program(name);
    }
    let own = std::env::current_exe().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]);
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let count = std::env::var(KILLS).unwrap_or_else(|_| KILLS_IN_CI.to_string());
    let output = unshare
        .args(["setpriv", "--pdeathsig", "KILL"])
        .arg(own)
        .args(["--exact", "kills::in_a_world_of_its_own", "--nocapture"])
        .env(KILLS, &count)
        .env("NONSITE_PREBUILT", "1")
        .env("NONSITE_KILLS_INSIDE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux has unshare and setpriv")
        .wait_with_output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}:\n{said}", output.status);
    let summary = said.lines().find(|line| line.contains("kills,")).expect("it says what it did");
    eprintln!("{summary}");
}

/// Not a test of its own: what the one above runs.
#[tokio::test]
async fn in_a_world_of_its_own() {
    if std::env::var_os("NONSITE_KILLS_INSIDE").is_none() {
        return;
    }
    let count: usize = std::env::var(KILLS).unwrap().parse().expect("NONSITE_KILLS is a number");
    let seed = std::env::var("NONSITE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| real_now().unsigned_abs());
    eprintln!("NONSITE_SEED={seed}");
    let begun = Instant::now();
    let place = Place::new("kills");
    let clock = Clock::start(&place, real_now(), SPEED);
    let center = Center::start(&place, Some(&clock)).await;
    let lives = (0..GATEWAYS).map(|n| {
        let dice = Dice(seed.wrapping_add(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let kills = (count + n) / GATEWAYS;
        one(&place, &center, &clock, n, kills, dice)
    });
    let told = join_all(lives).await;
    let killing = begun.elapsed();

    let at_center = at_center(center.data());
    let (mut kills, mut full, mut gone, mut records) = (0, 0, 0, 0);
    for Outcome { id, data, told, through, kills: killed, kills_full } in &told {
        kills += killed;
        full += kills_full;
        let mut there: Vec<_> = at_center.iter().filter(|found| found.gateway == *id).collect();
        there.retain(|found| (found.epoch, found.seq) <= *through);
        records += there.len();
        there.sort_by_key(|found| (found.epoch, found.seq));
        let verifying = key(data).verifying_key();
        let chain = check(there.iter().map(|found| {
            let (header, body) = found.open(&verifying);
            Link::new(header, &found.bytes, Some(&body))
        }));
        // No record twice or exchanged, in order, each with the hash of the one before it, every hole told.
        assert_eq!((chain.faults_total, &chain.faults[..]), (0, &[][..]), "{id}, seed {seed}");
        let untold: Vec<_> = chain.holes.iter().filter(|hole| !hole.told).collect();
        assert!(untold.is_empty(), "{id}, seed {seed}: lost without a word: {untold:?}");
        gone += chain.holes.len();
        for (epoch, seq) in told.iter().filter(|told| *told <= through) {
            let here = there.iter().any(|found| (found.epoch, found.seq) == (*epoch, *seq));
            let named = chain.holes.iter().any(|hole| {
                hole.epoch.0 == *epoch && hole.told && (hole.first.0..=hole.last.0).contains(seq)
            });
            assert!(here || named, "{id}, seed {seed}: {epoch}/{seq} was told and is lost");
        }
        for kept in at_gateway(data).into_iter().filter(|kept| (kept.epoch, kept.seq) <= *through) {
            let same = there.iter().any(|found| found.identity() == kept.identity());
            assert!(same, "{id}, seed {seed}: {}/{} is not at the center", kept.epoch, kept.seq);
        }
    }
    assert_eq!(kills, count);
    println!(
        "{kills} kills, {full} of them on a full disk, in {:.0} s: {records} records at the center, 0 lost, 0 twice, \
         {gone} ranges evicted and named, seed {seed}",
        killing.as_secs_f64(),
    );
}

struct Outcome {
    id: String,
    data: PathBuf,
    /// Shown as newest or as receipted just before a kill: (epoch, seq).
    told: Vec<(u64, u64)>,
    /// The last receipt: what lies beyond it may be anywhere.
    through: (u64, u64),
    kills: usize,
    kills_full: usize,
}

/// One gateway's lives.
async fn one(
    place: &Place,
    center: &Center,
    clock: &Clock,
    n: usize,
    kills: usize,
    mut dice: Dice,
) -> Outcome {
    let name = format!("gateway-{n}");
    mount(&place.folder(&name), &place.path().join(format!("{name}.img")));
    let mut peer = Peer::libmodbus(place, &format!("fridge-{n}")).await;
    peer.set(1, "input", 0, 50).await;
    let limits = "[journal]\nring_bytes = \"1 MiB\"\nkeep_bytes = \"3 MiB\"\nsegment_bytes = \"64 KiB\"\n";
    let site = [
        head(&format!("kills-{n}"), Some(&center.url), "5s").replace("[journal]\n", limits),
        bus("probes", "tcp", peer.address()),
        fridge("fridge-1", "probes", "1s"),
    ]
    .concat();
    let mut gateway = Gateway::prepare(place, &name, &site, Some(center), Some(clock)).await;
    // Commissioned while there is room: a journal that was never made cannot be made on a full disk.
    gateway.run().await;
    gateway.stop();
    let mut told = Vec::new();
    let mut kills_full = 0;
    for _ in 0..kills {
        let full = dice.below(2) == 0;
        fill(gateway.data(), full);
        gateway.launch();
        // One in four dies while it starts.
        if dice.below(4) == 0 {
            pause(dice.below(600)).await;
        } else {
            gateway.up().await;
            for _ in 0..dice.below(8) {
                peer.set(1, "input", 0, 20 + dice.below(60) as i32).await;
                pause(dice.below(250)).await;
            }
            if let Ok(status) = gateway.status().await {
                told.extend(
                    ["last", "through"].into_iter().filter_map(|key| position(status[key].as_str()?)),
                );
            }
        }
        gateway.kill();
        kills_full += usize::from(full);
    }
    fill(gateway.data(), false);
    gateway.run().await;
    let through = eventually(&format!("{name} has sent everything"), DRAINED_WITHIN, async || {
        let status = gateway.status().await?;
        let through = status["through"].as_str().and_then(position);
        // Its own first records, and everything before them.
        let done = through.filter(|through| *through >= (gateway.epoch, 3) && status["refusing"] == false);
        done.ok_or_else(|| format!("through {through:?}: {}", status["last"]))
    })
    .await;
    gateway.kill();
    Outcome { id: gateway.id.clone(), data: gateway.data().to_owned(), told, through, kills, kills_full }
}

/// `epoch/seq`
fn position(text: &str) -> Option<(u64, u64)> {
    let (epoch, seq) = text.split_once('/')?;
    Some((epoch.parse().ok()?, seq.parse().ok()?))
}

/// A file system of 8 MB, in this namespace only.
fn mount(folder: &Path, image: &Path) {
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        output.is_ok_and(|output| output.status.success())
    };
    let (folder, image_text) = (folder.to_string_lossy(), image.to_string_lossy());
    let size = format!("{DISK_KIB}k");
    let looped = run("truncate", &["-s", &size, &image_text])
        // No blocks kept back for root, no journal: all of it can be filled.
        && run("mkfs.ext4", &["-q", "-m", "0", "-O", "^has_journal", &image_text])
        && run("mount", &["-o", "loop", &image_text, &folder]);
    let mounted = looped || run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "none", &folder]);
    assert!(mounted, "neither a loop device nor a tmpfs could be mounted on {folder}");
}

/// Fills the disk to the last byte, or gives the room back.
fn fill(data: &Path, full: bool) {
    let path = data.join("somebody-else");
    if !full {
        std::fs::remove_file(path).ok();
        return;
    }
    let mut file = std::fs::File::options().create(true).append(true).open(path).expect("one more file");
    // Coarse, then fine: until not even a sector fits.
    for size in [64 << 10, 512] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}
