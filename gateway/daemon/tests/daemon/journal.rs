//! What `gateway journal stat|dump|fsck` say, as texts. `NONSITE_BLESS=1` writes them anew.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gateway::clock::Wall;
use gateway::history::advance;
use gateway::recorder::start::{Setup, start};
use gateway::recorder::{Answers, Event};
use gateway::state::DataDir;
use gateway_engine::intake::Answer;
use gateway_journal::Limits;
use gateway_model::{EngineTime, Raw, StopCause};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::rig::{self, HOTEL, site};

/// 2026-11-22T00:00:00Z
const BEGIN: i64 = 1_795_305_600_000;

/// A gateway with a known key: ten minutes, one of them too hot; then killed, and a clean end a minute later.
fn data() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), "07".repeat(32)).unwrap();
    let plan = site(HOTEL).plan;
    let civil = Arc::new(AtomicI64::new(BEGIN));
    let mut now = BEGIN;
    for life in 0..2 {
        civil.store(now, Ordering::Relaxed);
        let data = DataDir::open(dir.path()).unwrap();
        let (urgent, _kept) = mpsc::channel(100);
        let limits = Limits { ring_bytes: 1 << 20, keep_bytes: 1 << 20, segment_bytes: 64 << 10 };
        let setup = rig::setup(&data, &plan, Wall::steered(civil.clone()), urgent);
        let mut setup = Setup { limits, ..setup };
        setup.settings.seal_every_ms = 60_000;
        let (mut core, _) = start(setup).unwrap();
        let temperature = rig::point(&plan, "cabinet-1/temperature");
        for poll in 0..(if life == 0 { 60 } else { 6 }) {
            civil.store(now, Ordering::Relaxed);
            let at = EngineTime(now);
            advance(&mut core, at).unwrap();
            let tenths = if life == 0 && (20..30).contains(&poll) { 2_000 } else { 250 + poll % 7 };
            let items = vec![(temperature, Answer::Raw(Raw::Int(tenths)))];
            core.take(Event::Answers(Answers { at, items, frame: None }), at).unwrap();
            now += 10_000;
        }
        if life == 1 {
            core.stop(EngineTime(now), StopCause::Asked).unwrap();
        }
    }
    dir
}

/// Runs it; its output has to be what the file says.
#[track_caller]
fn says(dir: &Path, args: &[&str], status: i32, name: &str) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gateway")).arg("journal").args(args).arg(dir).output().unwrap();
    let said = masked(&String::from_utf8(output.stdout).unwrap());
    let talk = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}{talk}");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/journal").join(name);
    if std::env::var_os("NONSITE_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &said).unwrap();
    }
    assert_eq!(said, std::fs::read_to_string(&file).unwrap_or_default(), "NONSITE_BLESS=1 writes it anew");
}

/// Sizes and hashes change with packs and zstd: long numbers and hex become `#`.
fn masked(text: &str) -> String {
    let long = |word: &str| {
        let digits = word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_digit());
        digits || word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let mut masked = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        masked.push_str(if long(word) { "#" } else { word });
        masked.push_str(&part[word.len()..]);
    }
    // Columns move with what stands in them.
    masked.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

#[test]
fn a_sound_journal_is_shown_and_found_sound() {
    let data = data();
    says(data.path(), &["stat"], 0, "stat.txt");
    says(data.path(), &["stat", "--json"], 0, "stat.json");
    says(data.path(), &["dump"], 0, "dump.txt");
    says(data.path(), &["dump", "--json", "--from", "2/3"], 0, "dump.json");
    says(data.path(), &["fsck"], 0, "fsck.txt");
    says(data.path(), &["fsck", "--json"], 0, "fsck.json");
    says(&data.path().join("journal"), &["fsck"], 0, "fsck.txt");
}

#[test]
fn damage_is_told_with_the_records_that_it_took() {
    let data = data();
    let ring = data.path().join("journal/ring");
    let segment = std::fs::read_dir(&ring).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    says(data.path(), &["fsck"], 1, "fsck-damaged.txt");
    says(data.path(), &["stat"], 1, "stat-damaged.txt");
    std::fs::remove_file(data.path().join("key")).unwrap();
    says(data.path(), &["dump", "--from", "2/3"], 0, "dump-no-key.txt");
}

#[test]
fn what_is_no_journal_is_refused_in_words() {
    let empty = tempfile::tempdir().unwrap();
    for command in ["stat", "dump", "fsck"] {
        let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["journal", command])
            .arg(empty.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let expected = format!(
            "error: {} holds no journal: name the data directory of a gateway\n",
            empty.path().display()
        );
        assert_eq!(said, expected);
    }
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "nothing was made there");
}
