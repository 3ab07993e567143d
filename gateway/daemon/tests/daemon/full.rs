//! The recorder on a disk that fills up, fails and loses power: F1, F2 and F5 of the project's list of failures, with real
//! rules, and the evidence checked after each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gateway::clock::Wall;
use gateway::config::Site;
use gateway::history::advance;
use gateway::recorder::core::Core;
use gateway::recorder::start::{Setup, start_on};
use gateway::recorder::{Answers, Event, Urgent};
use gateway::state::DataDir;
use gateway_engine::intake::Answer;
use gateway_evidence::{Recomputed, recompute};
use gateway_journal::faulty::{Fault, Faulty};
use gateway_journal::{Class, Journal, JournalError, Limits, Position, Stored};
use gateway_model::{
    Change, ConclusionBody, DeviceIx, EngineTime, Epoch, Fact, FactBody, Gap, GapCause, Input, PointIx, Raw,
    RuleIx, StopCause, StorageState,
};
use gateway_wire::{Body, Header, Joiner, Record, open};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::rig::{self, HOTEL, site};

pub(crate) const BEGIN: i64 = 1_795_305_600_000;
pub(crate) const POLL: i64 = 10_000;
pub(crate) const MINUTE: i64 = 60_000;
const JOURNAL: &str = "/j";
const LIMITS: Limits = Limits { ring_bytes: 64 << 10, keep_bytes: 256 << 10, segment_bytes: 8 << 10 };

/// One gateway over several lives on a disk in memory.
pub(crate) struct Rig {
    _dir: TempDir,
    /// Held open: its lock is taken once.
    pub(crate) data: DataDir,
    pub(crate) disk: Faulty,
    pub(crate) site: Site,
    pub(crate) civil: Arc<AtomicI64>,
    pub(crate) limits: Limits,
    pub(crate) now: i64,
}

/// A running one.
pub(crate) struct Life {
    pub(crate) core: Core,
    pub(crate) urgent: mpsc::Receiver<Urgent>,
}

impl Rig {
    fn new() -> Self {
        Self::of(site(&HOTEL.replace("accommodation-ir-125/30", "catering-100/10")), LIMITS)
    }

    pub(crate) fn of(site: Site, limits: Limits) -> Self {
        let civil = Arc::new(AtomicI64::new(BEGIN));
        let (dir, disk) = (tempfile::tempdir().unwrap(), Faulty::new());
        let data = DataDir::open(dir.path()).unwrap();
        Self { _dir: dir, data, disk, site, civil, limits, now: BEGIN }
    }

    pub(crate) fn try_start(&self) -> anyhow::Result<Life> {
        let data = &self.data;
        let (urgent_in, urgent) = mpsc::channel(10_000);
        let setup = Setup {
            journal: JOURNAL.into(),
            limits: self.limits,
            ..rig::setup(data, &self.site.plan, Wall::steered(self.civil.clone()), urgent_in)
        };
        let (core, _) = start_on(Arc::new(self.disk.clone()), setup)?;
        Ok(Life { core, urgent })
    }

    pub(crate) fn start(&self) -> Life {
        self.try_start().unwrap()
    }

    pub(crate) fn point(&self, id: &str) -> PointIx {
        rig::point(&self.site.plan, id)
    }

    /// Polls cabinet 1 every ten seconds for so many minutes.
    pub(crate) fn try_poll(
        &mut self,
        life: &mut Life,
        minutes: i64,
        celsius: impl Fn(i64) -> f64,
    ) -> anyhow::Result<()> {
        let (temperature, door) = (self.point("cabinet-1/temperature"), self.point("cabinet-1/door"));
        for after in (0..minutes * MINUTE).step_by(POLL as usize) {
            let at = EngineTime(self.now);
            self.civil.store(self.now, Ordering::Relaxed);
            advance(&mut life.core, at)?;
            let raw = |value: f64| Answer::Raw(Raw::Int((value * 10.0) as i64));
            let items = vec![(temperature, raw(celsius(after))), (door, raw(0.0))];
            life.core.take(Event::Answers(Answers { at, items, frame: None }), at)?;
            self.now += POLL;
        }
        Ok(())
    }

    pub(crate) fn poll(&mut self, life: &mut Life, minutes: i64, celsius: impl Fn(i64) -> f64) {
        self.try_poll(life, minutes, celsius).unwrap();
    }

    pub(crate) fn records(&self) -> Vec<(Position, Header, Body)> {
        self.stored().into_iter().map(|(position, _, header, body)| (position, header, body)).collect()
    }

    pub(crate) fn stored(&self) -> Vec<(Position, Class, Header, Body)> {
        let key = self.data.key().unwrap().verifying_key();
        let (journal, _) =
            Journal::open_on(Arc::new(self.disk.clone()), Path::new(JOURNAL), self.limits).unwrap();
        let whole = |stored: Result<Stored, JournalError>| match stored {
            // Told by a gap record, and by every reading of a journal that has not been checked since it was opened.
            Err(JournalError::Damaged { .. }) => None,
            stored => Some(stored.unwrap()),
        };
        let mut joiner = Joiner::default();
        let records = journal.scan(Position::default()).filter_map(whole).map(|stored| {
            let opened = joiner.opened(open(&key, &stored.bytes).unwrap());
            (stored.position, stored.class, opened.header, opened.body.unwrap())
        });
        records.collect()
    }

    pub(crate) fn gaps(&self, cause: GapCause) -> Vec<Gap> {
        let gap = |body| if let Body::Gap(gap) = body { Some(gap) } else { None };
        self.records()
            .into_iter()
            .filter_map(|(_, _, body)| gap(body))
            .filter(|gap| gap.cause == cause)
            .collect()
    }

    pub(crate) fn said(&self) -> Vec<ConclusionBody> {
        let list = |body| if let Body::Conclusions(c) = body { c.list } else { Vec::new() };
        self.records().into_iter().flat_map(|(_, _, body)| list(body)).map(|one| one.body).collect()
    }

    pub(crate) fn storage_states(&self) -> Vec<StorageState> {
        let state =
            |body| if let ConclusionBody::Storage(storage) = body { Some(storage.state) } else { None };
        self.said().into_iter().filter_map(state).collect()
    }

    /// Nothing that is recorded contradicts the inputs; what is missing may be.
    #[track_caller]
    pub(crate) fn evidence(&self) -> Recomputed {
        let records = self.records().into_iter().map(|(_, header, body)| Record { header, body });
        let found = recompute(records);
        if let Some(difference) = &found.first_difference {
            for (position, class, header, body) in self.stored() {
                let text = format!("{body:?}");
                eprintln!("{position} {class:?} {} {:.200}", header.t1.0 - BEGIN, text);
            }
            panic!("{difference:#?}");
        }
        found
    }

    /// From the oldest record of the keep set on every number is there or named by a gap record.
    #[track_caller]
    pub(crate) fn nothing_is_missing_unsaid(&self) {
        let mut records = self.stored();
        let oldest = records.iter().position(|(_, class, ..)| *class == Class::Keep).unwrap();
        records.drain(..oldest);
        let named: Vec<_> = records
            .iter()
            .filter_map(|(.., body)| if let Body::Gap(gap) = body { gap.records } else { None })
            .collect();
        for pair in records.windows(2) {
            let (a, b) = (pair[0].0, pair[1].0);
            let missing = if a.epoch == b.epoch { a.seq + 1..b.seq } else { 0..b.seq };
            for seq in missing {
                let known = named
                    .iter()
                    .any(|(epoch, from, to)| epoch.0 == b.epoch && (from.0..=to.0).contains(&seq));
                assert!(known, "{}/{seq} is missing, and nothing says so", b.epoch);
            }
        }
    }
}

/// Noise that no deadband holds back.
fn noise(after: i64) -> f64 {
    25.0 + (after as f64 / 7_000.0).sin() * 9.0
}

/// Far above the limit of 160 °C for five minutes, below it for five.
fn chatter(after: i64) -> f64 {
    if after / (5 * MINUTE) % 2 == 0 { 200.0 } else { 30.0 + noise(after) / 10.0 }
}

#[test]
fn on_a_full_disk_the_ring_gives_way_and_everything_is_still_recorded() {
    let mut rig = Rig::new();
    let mut life = rig.start();
    rig.poll(&mut life, 600, noise);
    // Another program took the rest of the disk.
    rig.disk.room(rig.disk.used(), usize::MAX);
    let before = life.core.last().unwrap();
    rig.poll(&mut life, 120, noise);
    assert!(!life.core.snapshot().refusing, "there was something to give up");
    assert!(life.core.last().unwrap().seq > before.seq + 200);
    drop(life);
    let gone = rig.gaps(GapCause::Evicted);
    assert!(!gone.is_empty());
    assert_eq!(rig.gaps(GapCause::Full), vec![]);
    rig.nothing_is_missing_unsaid();
    rig.evidence();
}

#[test]
fn without_any_room_alerts_are_still_raised_recorded_and_derivable() {
    let mut rig = Rig::new();
    let mut life = rig.start();
    rig.poll(&mut life, 5, noise);
    rig.disk.room(rig.disk.used(), usize::MAX);
    rig.poll(&mut life, 30, noise);
    assert!(life.core.snapshot().refusing);
    // A weighing cannot be kept and is not judged: refused, and counted.
    let at = EngineTime(rig.now);
    let weighing = FactBody::Weighing { gross_g: 1, tare_g: 0, net_g: 1 };
    let fact = Fact { device: DeviceIx(0), at, body: weighing };
    life.core.take(Event::Fact(fact), at).unwrap();
    let quiet = rig.disk.used();
    rig.poll(&mut life, 10, |_| 200.0);
    assert!(life.core.snapshot().alerts.iter().any(|alert| alert.value == Some(200.0)));
    assert!(rig.disk.used() <= quiet, "not a byte more than there was");
    let raised = |rig: &Rig| {
        let changes = rig.said().into_iter();
        changes
            .filter(|body| matches!(body, ConclusionBody::Alert(change) if change.rule == Some(RuleIx(1)) && change.change == Change::Raised && change.value == Some(200.0)))
            .count()
    };
    // Killed on the full disk, and started on it again.
    drop(life);
    assert_eq!(raised(&rig), 1, "{:?}", rig.said());
    let mut life = rig.start();
    assert!(life.core.snapshot().alerts.iter().any(|alert| alert.value.is_some()), "the alert is remembered");
    rig.poll(&mut life, 10, |_| 200.0);
    rig.disk.unlimited();
    rig.poll(&mut life, 10, noise);
    assert!(!life.core.snapshot().refusing, "it goes on unattended");
    let at = EngineTime(rig.now);
    life.core.stop(at, StopCause::Asked).unwrap();
    assert_eq!(raised(&rig), 1, "not raised twice");
    assert_eq!(rig.storage_states().first(), Some(&StorageState::Full));
    assert_eq!(rig.storage_states().last(), Some(&StorageState::Enough));
    let gaps = rig.gaps(GapCause::Full);
    assert!(gaps.iter().any(|gap| gap.count > 100), "{gaps:?}");
    let weighings = rig.records().into_iter().any(
        |(_, _, body)| matches!(body, Body::Inputs(inputs) if inputs.items.iter().any(|item| matches!(item, Input::Fact(_)))),
    );
    assert!(!weighings);
    rig.nothing_is_missing_unsaid();
    let found = rig.evidence();
    assert!(found.conclusions_checked > 0, "{found:?}");
}

#[test]
fn chatter_without_room_is_one_record_per_rule_and_period() {
    let mut rig = Rig::new();
    let mut life = rig.start();
    rig.poll(&mut life, 5, noise);
    rig.disk.room(rig.disk.used(), usize::MAX);
    // Two days of an alert that comes and goes every ten minutes: 576 changes.
    rig.poll(&mut life, 2 * 24 * 60, chatter);
    rig.disk.unlimited();
    rig.poll(&mut life, 5, noise);
    assert!(!life.core.snapshot().refusing);
    drop(life);
    let said = rig.said();
    let folds: Vec<_> = said
        .iter()
        .filter_map(|body| if let ConclusionBody::Folded(folded) = body { Some(folded) } else { None })
        .collect();
    let one_by_one = said.iter().filter(|body| matches!(body, ConclusionBody::Alert(_))).count() as u32;
    let folded: u32 = folds.iter().map(|folded| folded.changes).sum();
    assert!(folded + one_by_one >= 570, "{folded} folded, {one_by_one} one by one");
    assert!(folds.len() < 20 && one_by_one < 40, "{} folds, {one_by_one} one by one", folds.len());
    // What began and ended within a period is only counted.
    assert!(folds.iter().all(|folded| folded.last.len() <= 16 && folded.from <= folded.to), "{folds:#?}");
    rig.evidence();
}

#[test]
fn a_full_keep_set_gives_up_what_the_center_has_and_else_only_folds() {
    for receipted in [true, false] {
        let mut rig = Rig::new();
        rig.limits.keep_bytes = 48 << 10;
        let mut refusing = 0;
        for _ in 0..40 {
            let mut life = rig.start();
            if receipted {
                let last = life.core.last().unwrap();
                life.core.take(Event::Receipted(last), EngineTime(rig.now)).unwrap();
            }
            rig.poll(&mut life, 10, chatter);
            refusing += u32::from(life.core.snapshot().refusing);
            let (_, keep) = life.core.snapshot().bytes;
            assert!(keep <= rig.limits.keep_bytes, "{keep}");
        }
        assert_eq!(refusing == 0, receipted, "{refusing} of 40 lives without room");
        rig.nothing_is_missing_unsaid();
        rig.evidence();
    }
}

#[test]
fn a_box_without_room_even_to_begin_an_epoch_goes_on_once_the_center_has_the_rest() {
    let mut rig = Rig::new();
    rig.limits.keep_bytes = 48 << 10;
    // Lives that nobody hears of, until one cannot begin.
    let mut life = (0..60)
        .find_map(|_| {
            let mut life = rig.start();
            rig.poll(&mut life, 5, chatter);
            (life.core.last().unwrap().epoch < life.core.epoch().0).then_some(life)
        })
        .expect("48 KiB are used up");
    rig.poll(&mut life, 30, chatter);
    assert!(life.core.snapshot().refusing);

    let last = life.core.last().unwrap();
    life.core.take(Event::Receipted(last), EngineTime(rig.now)).unwrap();
    rig.poll(&mut life, 5, noise);
    assert!(!life.core.snapshot().refusing, "{:?}", life.core.snapshot().bytes);
    assert_eq!(life.core.last().unwrap().epoch, life.core.epoch().0);
    assert!(life.core.snapshot().bytes.1 <= rig.limits.keep_bytes);
    drop(life);
    rig.nothing_is_missing_unsaid();
    rig.evidence();
}

#[test]
fn killed_or_powered_off_at_any_write_it_comes_back_and_nothing_told_is_lost() {
    // Two lives on a disk that gets full and has room again, ended at the n-th change.
    let day = |fault: Option<(usize, Fault)>| {
        let mut rig = Rig::new();
        rig.limits.ring_bytes = 16 << 10;
        let mut told: Vec<Position> = Vec::new();
        if let Some((n, fault)) = fault {
            rig.disk.fail(n, fault);
        }
        for life in 0..2 {
            let Ok(mut life_) = rig.try_start() else { break };
            let mut go = |rig: &mut Rig, told: &mut Vec<Position>, minutes, curve: fn(i64) -> f64| {
                let done = rig.try_poll(&mut life_, minutes, curve);
                told.extend(life_.core.last());
                done
            };
            if go(&mut rig, &mut told, 5, noise).is_err() {
                break;
            }
            rig.disk.room(rig.disk.used() + life * 1_000, usize::MAX);
            if go(&mut rig, &mut told, 12, chatter).is_err() {
                break;
            }
            rig.disk.unlimited();
            if go(&mut rig, &mut told, 3, noise).is_err() {
                break;
            }
        }
        (rig, told)
    };
    let total = day(None).0.disk.changes();
    assert!(total > 150, "{total}");
    for (fault, step) in [(Fault::Dead, 1), (Fault::Partly(100), 3), (Fault::Dropped, 4)] {
        for n in (0..total).step_by(step) {
            let (mut rig, told) = day(Some((n, fault)));
            rig.disk.power_cut(n % 2 == 0, |_, durable, seen| {
                // Of what was not synced every other block of 512 bytes is there.
                let mut left = seen.to_vec();
                for (i, block) in left.chunks_mut(512).enumerate().filter(|(i, _)| (i + n) % 2 == 0) {
                    let old = durable.get(i * 512..).unwrap_or_default();
                    let kept = old.len().min(block.len());
                    block.fill(0);
                    block[..kept].copy_from_slice(&old[..kept]);
                }
                left
            });
            let mut life = rig.start();
            let there: Vec<Position> = rig_positions(&rig);
            rig.poll(&mut life, 2, noise);
            drop(life);
            if let Some(last) = told.last() {
                assert!(there.contains(last), "{fault:?} at {n}: {last} was told and is lost");
            }
            rig.nothing_is_missing_unsaid();
            rig.evidence();
        }
    }
}

/// Positions on the disk while a gateway runs on it.
fn rig_positions(rig: &Rig) -> Vec<Position> {
    // A second journal over the same bytes: the lock is the first one's.
    let copy = rig.disk.copy();
    let (journal, _) = Journal::open_on(Arc::new(copy), Path::new(JOURNAL), rig.limits).unwrap();
    journal.scan(Position::default()).map(|stored| stored.unwrap().position).collect()
}

#[test]
fn a_ring_full_of_what_nobody_else_has_is_thinned_and_judged_the_same() {
    let mut rig = Rig::new();
    rig.limits = Limits { ring_bytes: 256 << 10, keep_bytes: 4 << 20, segment_bytes: 16 << 10 };
    let mut life = rig.start();
    // Cabinet power is compared with nothing; it wanders.
    let mut hours = 0;
    while rig_thinning(&life) == StorageState::Enough {
        rig.poll(&mut life, 60, noise);
        hours += 1;
        assert!(hours < 400, "{:?}", life.core.snapshot().bytes);
    }
    let (ring, _) = life.core.snapshot().bytes;
    assert!((204 << 10..=236 << 10).contains(&ring), "at four fifths: {ring}");
    // The center catches up: nothing is ours alone any more.
    let last = life.core.last().unwrap();
    life.core.take(Event::Receipted(last), EngineTime(rig.now)).unwrap();
    rig.poll(&mut life, 3, noise);
    assert_eq!(rig_thinning(&life), StorageState::Enough);
    drop(life);
    assert_eq!(rig.storage_states(), [StorageState::Thinning, StorageState::Enough]);
    rig.evidence();
}

fn rig_thinning(life: &Life) -> StorageState {
    life.core.storage()
}

#[test]
fn a_clean_stop_is_not_called_a_crash() {
    let mut rig = Rig::new();
    let mut life = rig.start();
    rig.poll(&mut life, 5, noise);
    life.core.stop(EngineTime(rig.now), StopCause::Asked).unwrap();
    rig.now += 60 * MINUTE;
    rig.civil.store(rig.now, Ordering::Relaxed);
    drop(rig.start());
    assert_eq!(rig.gaps(GapCause::Crash), vec![]);
    let [gap] = &rig.gaps(GapCause::Stopped)[..] else { panic!("{:?}", rig.gaps(GapCause::Stopped)) };
    assert_eq!((gap.to.since(gap.from), gap.count > 300), (60 * MINUTE, true), "{gap:?}");
}

#[test]
fn damage_in_an_old_segment_is_found_while_running_and_said() {
    let mut rig = Rig::new();
    rig.limits.ring_bytes = 1 << 20;
    let mut life = rig.start();
    rig.poll(&mut life, 300, noise);
    let oldest = rig.disk.paths(&Path::new(JOURNAL).join("ring")).remove(0);
    rig.disk.damage(&oldest, |bytes| bytes[500] ^= 1);
    // Everything is read through within a day.
    rig.poll(&mut life, 26 * 60, |_| 25.0);
    drop(life);
    let said = rig.gaps(GapCause::Corrupt);
    assert_eq!(said.len(), 1, "{said:?}");
    rig.nothing_is_missing_unsaid();
    rig.evidence();
}

#[test]
fn a_clock_that_jumps_moves_no_delay_and_is_written_down() {
    // Back an hour, ten years ahead, 1970: each while an alert waits for its minute above the limit (F13).
    let mut raised_at = Vec::new();
    for jump in [0, -60 * MINUTE, 10 * 365 * 24 * 60 * MINUTE, -BEGIN] {
        let mut rig = Rig::new();
        let mut life = rig.start();
        rig.poll(&mut life, 5, noise);
        let (temperature, door) = (rig.point("cabinet-1/temperature"), rig.point("cabinet-1/door"));
        for poll in 0..12 {
            let at = EngineTime(rig.now);
            rig.civil.store(rig.now + if poll >= 3 { jump } else { 0 }, Ordering::Relaxed);
            advance(&mut life.core, at).unwrap();
            let items = vec![(temperature, Answer::Raw(Raw::Int(2_000))), (door, Answer::Raw(Raw::Int(0)))];
            life.core.take(Event::Answers(Answers { at, items, frame: None }), at).unwrap();
            rig.now += POLL;
        }
        drop(life);
        let records = rig.records().into_iter();
        let lists = records
            .filter_map(|(.., body)| if let Body::Conclusions(c) = body { Some(c.list) } else { None });
        let raised = lists.flatten().find(
            |one| matches!(&one.body, ConclusionBody::Alert(change) if change.change == Change::Raised),
        );
        raised_at.push(raised.unwrap().at.since(EngineTime(BEGIN)));
        let said = rig.records().into_iter().any(|(.., body)| {
            matches!(body, Body::Inputs(inputs) if inputs.items.iter().any(
                |input| matches!(input, Input::Clock(clock) if (clock.offset_ms - jump).abs() < 1_000)))
        });
        assert!(said, "a jump of {jump} ms is in no record");
        rig.evidence();
    }
    assert!(raised_at.windows(2).all(|pair| pair[0] == pair[1]), "{raised_at:?}");
}

#[test]
fn a_lost_hint_after_an_eviction_costs_nothing() {
    // Found by the simulation of the whole system, seed 102: without the hint the replay began before what was evicted.
    let mut rig = Rig::new();
    rig.limits = Limits { ring_bytes: 32 << 10, keep_bytes: 4 << 20, segment_bytes: 8 << 10 };
    let mut life = rig.start();
    // A load every half hour, until the readings of the first ones have been evicted.
    rig.poll(
        &mut life,
        1_500,
        |after| if after / (15 * MINUTE) % 2 == 0 { 30.0 + noise(after) } else { 110.0 },
    );
    let alerts = life.core.snapshot().alerts;
    drop(life);
    assert!(!rig.gaps(GapCause::Evicted).is_empty());
    for entry in std::fs::read_dir(rig.data.root().join("cursors")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let life = rig.start();
    assert_eq!(life.core.snapshot().alerts, alerts);
    drop(life);
    rig.nothing_is_missing_unsaid();
    rig.evidence();
}

#[test]
fn emptied_or_garbled_hints_cost_nothing() {
    // F3: everything beside the segments may be lost.
    for garbage in ["", "nonsense\n", "99 99 00000000\n"] {
        let mut rig = Rig::new();
        let mut life = rig.start();
        rig.poll(&mut life, 20, |_| 200.0);
        let alerts = life.core.snapshot().alerts;
        assert!(!alerts.is_empty());
        drop(life);
        let before = rig.records().len();
        rig.disk.damage(Path::new("/j/epoch"), |bytes| *bytes = garbage.as_bytes().to_vec());
        let cursors = rig.data.root().join("cursors");
        for entry in std::fs::read_dir(cursors).unwrap() {
            std::fs::write(entry.unwrap().path(), garbage).unwrap();
        }
        let life = rig.start();
        assert_eq!(life.core.epoch(), Epoch(2));
        assert_eq!(life.core.snapshot().alerts, alerts);
        drop(life);
        assert!(rig.records().len() > before);
        rig.nothing_is_missing_unsaid();
        rig.evidence();
    }
}
