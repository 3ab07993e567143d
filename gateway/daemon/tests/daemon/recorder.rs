//! The recorder in virtual time, on real files that survive kills.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gateway::clock::Wall;
use gateway::config::Site;
use gateway::history::advance;
use gateway::recorder::core::Core;
use gateway::recorder::start::{Found, Setup, start};
use gateway::recorder::{Answers, Event, Urgent};
use gateway::state::DataDir;
use gateway_engine::intake::Answer;
use gateway_journal::{Class, Journal, Limits, Position};
use gateway_model::{
    BadCause, CivilTime, ClockSource, Conclusion, ConclusionBody, Cycle, CycleOutcome, CycleVerdict,
    EngineTime, Epoch, Gap, GapCause, Input, PointIx, Raw, Seq, StartCause, StopCause,
};
use gateway_wire::{Body, Header, Kind, SigningKey, VerifyingKey, hash, open};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::rig::{self, HOTEL, site};

/// 2026-11-22T00:00:00Z
const BEGIN: i64 = 1_795_305_600_000;
const POLL: i64 = 10_000;
const MINUTE: i64 = 60_000;

/// One data directory over several lives.
struct Rig {
    dir: TempDir,
    site: Site,
    civil: Arc<AtomicI64>,
    limits: Limits,
    /// The steered time is the system's clock, not a demo's.
    system: bool,
}

impl Rig {
    fn new() -> Self {
        // 100 °C for 10 minutes: the shortest of the programs.
        let text = HOTEL.replace("accommodation-ir-125/30", "catering-100/10");
        let limits = Limits::default();
        let civil = Arc::new(AtomicI64::new(BEGIN));
        Self { dir: tempfile::tempdir().unwrap(), site: site(&text), civil, limits, system: false }
    }

    fn start(&self) -> (Core, Found, mpsc::Receiver<Urgent>) {
        let data = DataDir::open(self.dir.path()).unwrap();
        let (urgent_in, urgent) = mpsc::channel(1_000);
        let wall = if self.system { Wall::steered_system } else { Wall::steered };
        let setup = rig::setup(&data, &self.site.plan, wall(self.civil.clone()), urgent_in);
        let setup = Setup { limits: self.limits, ..setup };
        let (core, found) = start(setup).unwrap();
        (core, found, urgent)
    }

    fn point(&self, id: &str) -> PointIx {
        rig::point(&self.site.plan, id)
    }

    /// One poll of cabinet 1 at a moment.
    fn poll(&self, core: &mut Core, at: i64, celsius: f64) {
        self.civil.store(at, Ordering::Relaxed);
        advance(core, EngineTime(at)).unwrap();
        let tenths = Answer::Raw(Raw::Int((celsius * 10.0) as i64));
        let closed = Answer::Raw(Raw::Int(0));
        let items =
            vec![(self.point("cabinet-1/temperature"), tenths), (self.point("cabinet-1/door"), closed)];
        let frame = Some(b"frame of the answer".as_slice().into());
        let event = Event::Answers(Answers { at: EngineTime(at), items, frame });
        core.take(event, EngineTime(at)).unwrap();
    }

    fn poll_minutes(&self, core: &mut Core, minutes: std::ops::Range<i64>, curve: impl Fn(f64) -> f64) {
        let (from, to) = (minutes.start * MINUTE, minutes.end * MINUTE);
        for after in (from..to).step_by(POLL as usize) {
            self.poll(core, BEGIN + after, curve(after as f64 / MINUTE as f64));
        }
    }

    fn records(&self) -> Vec<(Position, Class, Header, Body)> {
        let key = self.key();
        let (journal, _) = Journal::open_read_only(&self.dir.path().join("journal")).unwrap();
        let records = journal.scan(Position::default()).map(|stored| {
            let stored = stored.unwrap();
            let opened = open(&key, &stored.bytes).unwrap();
            (stored.position, stored.class, opened.header, opened.body.unwrap())
        });
        records.collect()
    }

    fn key(&self) -> VerifyingKey {
        let text = std::fs::read_to_string(self.dir.path().join("key")).unwrap();
        SigningKey::from_bytes(&gateway_wire::unhex(text.trim()).unwrap()).verifying_key()
    }

    /// How many readings each record has that has any.
    fn readings(&self) -> Vec<usize> {
        let count = |body: &Body| {
            let Body::Inputs(inputs) = body else { return 0 };
            inputs.items.iter().filter(|input| matches!(input, Input::Reading(_))).count()
        };
        self.records().iter().map(|(_, _, _, body)| count(body)).filter(|readings| *readings > 0).collect()
    }

    fn conclusions(&self) -> Vec<Conclusion> {
        let bodies = self.records().into_iter().map(|(_, _, _, body)| body);
        bodies
            .filter_map(|body| if let Body::Conclusions(c) = body { Some(c.list) } else { None })
            .flatten()
            .collect()
    }

    fn cycles(&self) -> Vec<Cycle> {
        let bodies = self.conclusions().into_iter().map(|conclusion| conclusion.body);
        bodies
            .filter_map(|body| if let ConclusionBody::Cycle(cycle) = body { Some(cycle) } else { None })
            .collect()
    }

    fn gaps(&self) -> Vec<Gap> {
        let bodies = self.records().into_iter().map(|(_, _, _, body)| body);
        bodies.filter_map(|body| if let Body::Gap(gap) = body { Some(gap) } else { None }).collect()
    }

    /// Every record names the hash of the one before it, also across epochs, and every conclusion comes again.
    fn check_evidence(&self) {
        let (journal, _) = Journal::open_read_only(&self.dir.path().join("journal")).unwrap();
        let mut prev = [0; 32];
        for stored in journal.scan(Position::default()) {
            let stored = stored.unwrap();
            let header = open(&self.key(), &stored.bytes).unwrap().header;
            assert_eq!(header.prev, prev, "{}", stored.position);
            prev = hash(&stored.bytes);
        }
        self.rerun(0);
    }

    fn rerun(&self, expected: i32) {
        let rerun =
            Command::new(env!("CARGO_BIN_EXE_gateway")).arg("rerun").arg(self.dir.path()).output().unwrap();
        let said = String::from_utf8_lossy(&rerun.stdout);
        assert_eq!(rerun.status.code(), Some(expected), "{said}{}", String::from_utf8_lossy(&rerun.stderr));
    }
}

/// 5 min cold, 15 min heating, 14 min at 110 °C, 10 min cooling, then cold.
fn passing(minute: f64) -> f64 {
    match minute {
        m if m < 5.0 => 25.0,
        m if m < 20.0 => 25.0 + (m - 5.0) / 15.0 * 85.0,
        m if m < 34.0 => 110.0,
        m if m < 44.0 => 110.0 - (m - 34.0) / 10.0 * 80.0,
        _ => 30.0,
    }
}

/// The same, but only 6 minutes at 110 °C.
fn too_short(minute: f64) -> f64 {
    if minute < 26.0 { passing(minute) } else { passing(minute + 8.0) }
}

/// Civil time of a moment, by every word on record: the last that covers it.
fn dated(rig: &Rig, at: i64) -> Option<i64> {
    let records = rig.records();
    let mut offset = None;
    for (position, _, _, body) in &records {
        let Body::Inputs(inputs) = body else { continue };
        for input in &inputs.items {
            let Input::Clock(clock) = input else { continue };
            let began = |seq: Seq| {
                let found =
                    records.iter().find(|(other, ..)| (other.epoch, other.seq) == (position.epoch, seq.0));
                found.map(|(_, _, header, _)| header.t0.0)
            };
            let since = clock.since.and_then(began).unwrap_or(clock.at.0);
            if clock.error_ms.is_some() && since <= at {
                offset = Some(clock.offset_ms);
            }
        }
    }
    offset.map(|offset| at + offset)
}

/// What answers together is one record, which is sealed in time: no reading waits for company that does not come, and no record grows without end.
#[test]
fn readings_of_one_moment_are_one_record() {
    let rig = Rig::new();
    let (mut core, _, _urgent) = rig.start();
    let point = rig.point("cabinet-1/temperature");
    let mut value = 0;
    // Every answer is another than the one before, so that each is kept.
    let mut answer = |core: &mut Core, at: i64| {
        value += 1;
        let items = vec![(point, Answer::Raw(Raw::Int(200 + value % 500)))];
        core.take(Event::Answers(Answers { at: EngineTime(at), items, frame: None }), EngineTime(at))
            .unwrap();
    };
    let begin = core.now().0;
    (0..2_500).for_each(|n| answer(&mut core, begin + n / 200));
    advance(&mut core, EngineTime(begin + 13)).unwrap();
    assert_eq!(rig.readings(), [0; 0], "nothing is sealed while they come");
    // The thousandth came at 4 ms.
    assert_eq!(core.wake_at(), EngineTime(begin + 4 + 20));
    advance(&mut core, EngineTime(begin + 24)).unwrap();
    assert_eq!(rig.readings(), [2_500]);
    assert!(core.wake_at() > EngineTime(begin + 24 + 1_000), "what is sealed is not sealed again");
    (0..999).for_each(|_| answer(&mut core, begin + 30));
    advance(&mut core, EngineTime(begin + 60)).unwrap();
    assert_eq!(rig.readings(), [2_500], "few readings wait for the period of sealing");
    (0..9_001).for_each(|_| answer(&mut core, begin + 70));
    core.stop(EngineTime(begin + 80), StopCause::Asked).unwrap();
    assert_eq!(rig.readings(), [2_500, 4_000, 4_000, 2_000]);
    rig.check_evidence();
}

/// F13: 1970 at boot. Nobody knows the time, the time away included; then the center tells it, and everything since the
/// start is dated by that, without a record being touched.
#[test]
fn a_box_without_a_clock_is_dated_by_the_center_from_its_start() {
    let rig = Rig { system: true, ..Rig::new() };
    let (mut core, _, _urgent) = rig.start();
    rig.poll_minutes(&mut core, 0..10, |_| 25.0);
    core.stop(EngineTime(BEGIN + 10 * MINUTE), StopCause::Asked).unwrap();
    // The battery of its clock is empty: it comes back in 1970.
    rig.civil.store(0, Ordering::Relaxed);
    let (mut core, found, _urgent) = rig.start();
    assert_eq!(found.at, EngineTime(BEGIN + 10 * MINUTE), "nobody knows how long it was");
    let begun = found.at.0;
    let tick = |core: &mut Core, minute: i64| {
        rig.civil.store(minute * MINUTE, Ordering::Relaxed);
        advance(core, EngineTime(begun + minute * MINUTE)).unwrap();
    };
    (0..5).for_each(|minute| tick(&mut core, minute));
    let before = rig.records();
    let told = BEGIN + 100 * MINUTE;
    let now = EngineTime(begun + 5 * MINUTE);
    core.take(Event::ServerTime { civil: CivilTime(told), error_ms: 40 }, now).unwrap();
    tick(&mut core, 6);
    drop(core);
    let start = before
        .iter()
        .rev()
        .find_map(|(_, _, _, body)| if let Body::Start(start) = body { Some(start.clone()) } else { None });
    assert_eq!(start.unwrap().downtime_ms, None);
    assert_eq!(dated(&rig, begun + MINUTE), Some(told - 4 * MINUTE), "also what was before anybody knew");
    assert_eq!(dated(&rig, BEGIN + MINUTE), Some(BEGIN + MINUTE), "and not the life before");
    assert_eq!(rig.records()[..before.len()], before[..], "no record is touched");
    rig.check_evidence();
}

/// F13: ten years ahead at boot, and an hour back. The center contradicts it; the clock is believed again when it is set right.
#[test]
fn a_clock_that_the_center_contradicts_is_not_believed_until_it_is_right() {
    for wrong in [10 * 365 * 24 * 60 * MINUTE, -60 * MINUTE] {
        let rig = Rig { system: true, ..Rig::new() };
        let (mut core, _, _urgent) = rig.start();
        rig.poll_minutes(&mut core, 0..10, |_| 25.0);
        core.stop(EngineTime(BEGIN + 10 * MINUTE), StopCause::Asked).unwrap();
        rig.civil.store(BEGIN + 10 * MINUTE + wrong, Ordering::Relaxed);
        let (mut core, found, _urgent) = rig.start();
        assert_eq!(found.at, EngineTime(BEGIN + 10 * MINUTE), "engine time does not leap {wrong} ms");
        let begun = found.at.0;
        let at = |minute: i64| EngineTime(begun + minute * MINUTE);
        let right = |minute: i64| BEGIN + (20 + minute) * MINUTE;
        let live = |core: &mut Core, minutes: std::ops::Range<i64>, clock: &dyn Fn(i64) -> i64| {
            for minute in minutes {
                rig.civil.store(clock(minute), Ordering::Relaxed);
                advance(core, at(minute)).unwrap();
            }
        };
        live(&mut core, 0..5, &|minute| right(minute) + wrong);
        core.take(Event::ServerTime { civil: CivilTime(right(5)), error_ms: 40 }, at(5)).unwrap();
        live(&mut core, 6..10, &|minute| right(minute) + wrong);
        let clocks = |rig: &Rig| {
            let inputs = rig
                .records()
                .into_iter()
                .filter_map(|(.., body)| if let Body::Inputs(i) = body { Some(i.items) } else { None });
            inputs.flatten().filter(|input| matches!(input, Input::Clock(_))).count()
        };
        let said = clocks(&rig);
        live(&mut core, 10..20, &|minute| right(minute) + wrong);
        assert_eq!(clocks(&rig), said, "and it is said once");
        assert_eq!(dated(&rig, at(1).0), Some(right(1)), "also what it had dated itself");
        // Somebody sets it right.
        live(&mut core, 20..30, &right);
        core.stop(at(30), StopCause::Asked).unwrap();
        assert_eq!(dated(&rig, at(25).0), Some(right(25)));
        let last = rig
            .records()
            .into_iter()
            .filter_map(|(.., body)| if let Body::Inputs(i) = body { Some(i.items) } else { None })
            .flatten()
            .filter_map(|input| if let Input::Clock(clock) = input { Some(clock.source) } else { None })
            .next_back();
        assert_eq!(last, Some(ClockSource::System));
        rig.check_evidence();
    }
}

#[test]
fn a_half_done_cycle_ends_with_the_same_verdict_after_a_kill() {
    for (curve, verdict) in
        [(passing as fn(f64) -> f64, CycleVerdict::Passed), (too_short, CycleVerdict::TooShort)]
    {
        let whole = Rig::new();
        let (mut core, _, _urgent) = whole.start();
        whole.poll_minutes(&mut core, 0..60, curve);
        core.stop(EngineTime(BEGIN + 60 * MINUTE), StopCause::Asked).unwrap();
        let [expected] = &whole.cycles()[..] else { panic!("{:?}", whole.cycles()) };
        assert_eq!(expected.outcome, CycleOutcome::Judged(verdict));

        let killed = Rig::new();
        let (mut core, found, _urgent) = killed.start();
        assert_eq!(found.cause, StartCause::First);
        killed.poll_minutes(&mut core, 0..24, curve);
        // Killed: what was not sealed is gone.
        drop(core);
        killed.civil.store(BEGIN + 24 * MINUTE, Ordering::Relaxed);
        let (mut core, found, _urgent) = killed.start();
        assert_eq!((found.cause, found.at), (StartCause::Unclean, EngineTime(BEGIN + 24 * MINUTE)));
        killed.poll_minutes(&mut core, 24..60, curve);
        core.stop(EngineTime(BEGIN + 60 * MINUTE), StopCause::Asked).unwrap();
        let [cycle] = &killed.cycles()[..] else { panic!("{:?}", killed.cycles()) };
        assert_eq!(cycle.outcome, expected.outcome);
        assert_eq!((cycle.started, cycle.n), (expected.started, expected.n));
        assert!((cycle.hold_ms - expected.hold_ms).abs() <= 30_000, "{cycle:?} {expected:?}");

        let [gap] = &killed.gaps()[..] else { panic!("{:?}", killed.gaps()) };
        assert_eq!((gap.cause, gap.point, gap.to), (GapCause::Crash, None, EngineTime(BEGIN + 24 * MINUTE)));
        assert!(gap.to.since(gap.from) <= 30_000 + POLL && gap.count > 0, "{gap:?}");
        whole.check_evidence();
        killed.check_evidence();
    }
}

#[test]
fn every_sealed_record_survives_and_an_epoch_follows_the_other() {
    let rig = Rig::new();
    let (mut core, _, _urgent) = rig.start();
    rig.poll_minutes(&mut core, 0..30, passing);
    let sealed = core.last().unwrap();
    drop(core);
    rig.civil.fetch_add(5 * MINUTE, Ordering::Relaxed);
    let before = rig.records();
    assert_eq!(before.last().unwrap().0, sealed);
    let (core, found, _urgent) = rig.start();
    assert_eq!(found.cause, StartCause::Unclean);
    core.stop(found.at, StopCause::Asked).unwrap();
    let after = rig.records();
    assert_eq!(after[..before.len()], before);
    let kinds: Vec<_> =
        after[before.len()..].iter().map(|(at, _, _, body)| (at.epoch, at.seq, body.kind())).collect();
    assert_eq!(
        kinds[..4],
        [(2, 0, Kind::Start), (2, 1, Kind::Config), (2, 2, Kind::Checkpoint), (2, 3, Kind::Gap)]
    );
    assert_eq!(kinds[kinds.len() - 2].2, Kind::Inputs);
    assert_eq!(kinds[kinds.len() - 1].2, Kind::Checkpoint);
    let Body::Start(start) = &after[before.len()].3 else { panic!("{kinds:?}") };
    assert_eq!(start.previous, Some((Epoch(1), Seq(sealed.seq))));
    assert!(start.simulated && start.downtime_ms.is_some());

    let (core, found, _urgent) = rig.start();
    assert_eq!(found.cause, StartCause::Clean);
    drop(core);
    rig.check_evidence();
}

#[test]
fn silence_is_written_down_and_counts_close() {
    let rig = Rig::new();
    let (mut core, _, _urgent) = rig.start();
    let point = rig.point("cabinet-1/temperature");
    for poll in 0..60 {
        let at = EngineTime(BEGIN + poll * POLL);
        advance(&mut core, at).unwrap();
        let items = vec![(point, Answer::Failed(BadCause::NoCommunication))];
        core.take(Event::Answers(Answers { at, items, frame: None }), at).unwrap();
    }
    advance(&mut core, EngineTime(BEGIN + 40 * MINUTE)).unwrap();
    core.stop(EngineTime(BEGIN + 40 * MINUTE), StopCause::Asked).unwrap();
    let inputs = rig.records().into_iter().filter_map(|(_, _, header, body)| match body {
        Body::Inputs(inputs) => Some((header, inputs)),
        Body::Start(_)
        | Body::Config(_)
        | Body::Conclusions(_)
        | Body::Checkpoint(_)
        | Body::Gap(_)
        | Body::Parted(_)
        | Body::Part(_) => None,
    });
    let (mut due, mut failed, mut end) = (0, 0, EngineTime(BEGIN));
    for (header, inputs) in inputs {
        assert_eq!(header.t0, end, "counts cover all of the time");
        assert!(header.t1.since(header.t0) <= 300_000 + 30_000, "no silence longer than a heartbeat");
        end = header.t1;
        for counts in inputs.counts {
            due += counts.due;
            failed += counts.failed.iter().sum::<u32>();
        }
    }
    assert_eq!((due, failed), (60, 60));
    rig.check_evidence();
}

/// A reading shortly before a heartbeat would be due makes the heartbeat needless: what is sealed in time is no silence.
#[test]
fn a_recorder_sleeps_until_what_it_holds_is_sealed() {
    let rig = Rig::new();
    let (mut core, found, _urgent) = rig.start();
    let begin = found.at;
    // What the start left open is sealed; from here on nothing comes.
    advance(&mut core, begin.plus(30_000)).unwrap();
    let heartbeat = begin.plus(30_000 + 300_000);
    let late = heartbeat.plus(-5_000);
    advance(&mut core, late).unwrap();
    rig.poll(&mut core, late.0, 25.0);
    let mut now = late;
    let mut wakes = 0;
    while now < late.plus(30_000) {
        now = core.wake_at().max(now.plus(1));
        rig.civil.store(now.0, Ordering::Relaxed);
        core.advance(now).unwrap();
        wakes += 1;
        assert!(wakes < 50, "woke {wakes} times until {now}");
    }
}

#[test]
fn an_alert_is_on_disk_before_anybody_is_told_and_carries_its_frame() {
    let rig = Rig::new();
    let (mut core, _, mut urgent) = rig.start();
    rig.poll_minutes(&mut core, 0..60, too_short);
    let mut raised = 0;
    while let Ok(told) = urgent.try_recv() {
        let records = rig.records();
        let found = records.iter().find(|(at, ..)| *at == told.conclusions).unwrap();
        let Body::Conclusions(conclusions) = &found.3 else { panic!("{found:?}") };
        assert_eq!(found.1, Class::Keep);
        assert_eq!(conclusions.because.0, told.because.seq);
        if !conclusions.frames.is_empty() {
            raised += 1;
            assert!(conclusions.frames.iter().all(|frame| frame.bytes == b"frame of the answer"));
        }
    }
    assert!(raised > 0, "the failed cycle is an alert: {:?}", rig.conclusions());
}

#[test]
fn conclusions_that_were_torn_off_behind_their_inputs_are_said_in_the_next_epoch() {
    let rig = Rig::new();
    let (mut core, _, _urgent) = rig.start();
    let mut minute = 0;
    while rig.cycles().is_empty() {
        rig.poll_minutes(&mut core, minute..minute + 1, passing);
        minute += 1;
        assert!(minute < 60);
        // Stop polling at the very record that ends the cycle.
    }
    let expected = rig.cycles();
    drop(core);
    let last_conclusions =
        rig.records().into_iter().rfind(|(_, _, _, body)| matches!(body, Body::Conclusions(_)));
    let (cut, ..) = last_conclusions.unwrap();
    tear_off(&rig.dir.path().join("journal"), cut);
    assert!(rig.cycles().is_empty(), "its conclusions record is gone");
    let (core, found, _urgent) = rig.start();
    assert_eq!(found.cause, StartCause::Unclean);
    drop(core);
    assert_eq!(rig.cycles(), expected);
    rig.check_evidence();
}

/// Cuts the journal off in the middle of a record: both sets lose it and all behind it.
fn tear_off(journal: &Path, cut: Position) {
    for set in ["ring", "keep"] {
        let mut files: Vec<_> =
            std::fs::read_dir(journal.join(set)).unwrap().map(|f| f.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        files.sort();
        let Some(path) = files.pop() else { continue };
        let bytes = std::fs::read(&path).unwrap();
        // The shortest prefix that still holds everything before `cut`, plus half an entry.
        let holds = |length: usize| {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let (journal, _) = Journal::open_read_only(journal).unwrap();
            let class = if set == "ring" { Class::Ring } else { Class::Keep };
            let last =
                journal.scan(Position::default()).filter_map(Result::ok).filter(|s| s.class == class).last();
            last.is_none_or(|last| last.position < cut)
        };
        let (mut good, mut bad) = (0, bytes.len() + 1);
        while bad - good > 1 {
            let middle = usize::midpoint(good, bad);
            if middle <= bytes.len() && holds(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        std::fs::write(&path, &bytes[..good]).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().sync_all().unwrap();
    }
}

#[test]
fn a_full_ring_gives_way_behind_gap_records_and_a_restart_still_finds_its_state() {
    let mut rig = Rig::new();
    rig.limits = Limits { ring_bytes: 64 << 10, keep_bytes: 64 << 20, segment_bytes: 8 << 10 };
    let (mut core, _, _urgent) = rig.start();
    // Noise that no deadband holds back.
    rig.poll_minutes(&mut core, 0..1_500, |minute| 25.0 + (minute * 37.7).sin() * 9.0);
    let (ring, _) = core.snapshot().bytes;
    assert!(ring <= 64 << 10, "{ring}");
    let evicted: Vec<_> = rig.gaps().into_iter().filter(|gap| gap.cause == GapCause::Evicted).collect();
    assert!(!evicted.is_empty());
    let there: Vec<Position> = rig.records().into_iter().map(|(at, ..)| at).collect();
    for gap in &evicted {
        let (epoch, first, last) = gap.records.unwrap();
        for seq in first.0..=last.0 {
            let at = Position { epoch: epoch.0, seq };
            assert!(!there.contains(&at), "{at} is named as gone and is there");
        }
    }
    // Every number is either there or named.
    let named: u64 = evicted.iter().map(|gap| gap.records.unwrap()).map(|(_, a, b)| b.0 - a.0 + 1).sum();
    assert_eq!(there.len() as u64 + named, core.last().unwrap().seq + 1);
    drop(core);
    let (_core, found, _urgent) = rig.start();
    assert_eq!(found.cause, StartCause::Unclean);
    rig.rerun(3);
}
