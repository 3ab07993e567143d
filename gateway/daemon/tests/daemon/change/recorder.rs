//! The recorder under another plan, in virtual time, and whoever re-computes its records.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use gateway::clock::Wall;
use gateway::config::Site;
use gateway::config::difference::Difference;
use gateway::history::advance;
use gateway::metrics::Metrics;
use gateway::recorder::core::{Core, Settings};
use gateway::recorder::start::{Heritage, Setup, start_on};
use gateway::recorder::{Answers, Begun, Civil, Event, Reconfigure};
use gateway::state::DataDir;
use gateway_engine::intake::Answer;
use gateway_evidence::{Verdict, recompute};
use gateway_journal::faulty::{Fault, Faulty};
use gateway_journal::{Disk, Journal, Limits, Position, Storage};
use gateway_model::{
    AlertChange, BadCause, Change, ClearCause, ConclusionBody, ConfigChange, ConfigStep, EngineTime, Epoch,
    PointIx, Raw, StartCause, StopCause,
};
use gateway_wire::{Body, Record, open};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::{PACK, rooms, write};

const BEGIN: i64 = 1_795_305_600_000;
const SECOND: i64 = 1_000;

struct Rig {
    dir: TempDir,
    civil: Arc<AtomicI64>,
    core: Core,
}

impl Rig {
    fn new(site: &Site, dir: TempDir) -> Self {
        Self::on(Arc::new(Disk), site, dir, 0)
    }

    /// Begins a life on a storage, so many seconds after the beginning.
    fn on(storage: Arc<dyn Storage>, site: &Site, dir: TempDir, at: i64) -> Self {
        let data = DataDir::open(&dir.path().join("data")).unwrap();
        let civil = Arc::new(AtomicI64::new(BEGIN + at * SECOND));
        let (urgent, _) = mpsc::channel(1_000);
        let setup = Setup {
            journal: data.journal(),
            limits: Limits::default(),
            key: data.key().unwrap(),
            plan: site.plan.clone(),
            epoch_floor: Epoch(0),
            heritage: Heritage::default(),
            from: None,
            checkpoint: data.position("checkpoint"),
            settings: Settings {
                seal_every_ms: 30_000,
                wall: Wall::steered(civil.clone()),
                civil: Civil::default(),
                metrics: Metrics::default(),
                urgent,
            },
        };
        let (core, _) = start_on(storage, setup).unwrap();
        Self { dir, civil, core }
    }

    /// Every ten seconds between two moments (s): a room of the plan of `generation` shows a temperature.
    fn live(&mut self, generation: u32, room: PointIx, seconds: std::ops::Range<i64>, celsius: f64) {
        for at in seconds.step_by(10) {
            let now = EngineTime(BEGIN + at * SECOND);
            self.civil.store(now.0, Ordering::Relaxed);
            advance(&mut self.core, now).unwrap();
            let items = vec![(room, Answer::Raw(Raw::Int((celsius * 10.0) as i64)))];
            let event = Event::Answers(Answers { at: now, items, frame: None });
            self.core.hear(generation, event, now).unwrap();
        }
    }

    fn change(&mut self, at: i64, old: &Site, new: &Site, live: &[u32]) -> Begun {
        self.try_change(at, old, new, live).unwrap()
    }

    /// `None` = the disk has failed.
    fn try_change(&mut self, at: i64, old: &Site, new: &Site, live: &[u32]) -> Option<Begun> {
        let said = Difference::between(old, new).to_string();
        let change = ConfigChange { step: ConfigStep::Applied, config: Some([7; 32]), order: None, said };
        let (begun, mut told) = oneshot::channel();
        let live = live.to_vec();
        let asked = Reconfigure { plan: new.plan.clone(), change, ordered: None, live, begun };
        let now = EngineTime(BEGIN + at * SECOND);
        self.core.take(Event::Reconfigure(Box::new(asked)), now).ok()?;
        Some(told.try_recv().unwrap().unwrap())
    }

    fn end(self, at: i64) -> (Vec<Record>, TempDir) {
        self.end_on(Arc::new(Disk), at)
    }

    fn end_on(self, storage: Arc<dyn Storage>, at: i64) -> (Vec<Record>, TempDir) {
        self.core.stop(EngineTime(BEGIN + at * SECOND), StopCause::Asked).unwrap();
        let data = self.dir.path().join("data");
        let key = DataDir::open(&data).unwrap().key().unwrap().verifying_key();
        let (journal, _) = Journal::open_on(storage, &data.join("journal"), Limits::default()).unwrap();
        let records = journal.scan(Position::default()).map(|stored| {
            let opened = open(&key, &stored.unwrap().bytes).unwrap();
            Record { header: opened.header, body: opened.body.unwrap() }
        });
        (records.collect(), self.dir)
    }
}

fn alerts(records: &[Record]) -> Vec<(i64, AlertChange)> {
    let bodies = records.iter().filter_map(|record| match &record.body {
        Body::Conclusions(conclusions) => Some(&conclusions.list),
        Body::Start(_)
        | Body::Config(_)
        | Body::Inputs(_)
        | Body::Checkpoint(_)
        | Body::Gap(_)
        | Body::Parted(_)
        | Body::Part(_) => None,
    });
    bodies
        .flatten()
        .filter_map(|conclusion| match &conclusion.body {
            ConclusionBody::Alert(change) => Some(((conclusion.at.0 - BEGIN) / SECOND, change.clone())),
            ConclusionBody::Cycle(_)
            | ConclusionBody::Order { .. }
            | ConclusionBody::Storage(_)
            | ConclusionBody::Folded(_)
            | ConclusionBody::Suppression(_)
            | ConclusionBody::Config(_) => None,
        })
        .collect()
}

fn valid(records: &[Record]) {
    let found = recompute(records.iter().cloned());
    assert_eq!(found.verdict(), Verdict::Valid, "{found:?}");
    assert!(found.conclusions_checked > 0 && found.checkpoints_checked > 1, "{found:?}");
}

fn point(site: &Site, id: &str) -> PointIx {
    PointIx::of(site.plan.points.iter().position(|point| point.id == id).unwrap())
}

const LINE: &[(&str, &str)] = &[("b", "127.0.0.1:1")];

#[test]
fn delays_of_unchanged_rules_go_on_and_slots_that_move_are_translated() {
    let dir = tempfile::tempdir().unwrap();
    let old = write(dir.path(), &rooms(LINE, &[("room-b", "b", 1)]), PACK);
    // Before the other one in the file: its slots move.
    let new = write(dir.path(), &rooms(LINE, &[("room-a", "b", 2), ("room-b", "b", 1)]), PACK);
    let (there, here) = (point(&old, "room-b/temperature"), point(&new, "room-b/temperature"));
    assert_ne!(there, here);
    let mut rig = Rig::new(&old, dir);
    rig.live(0, there, 0..40, 35.0);
    let begun = rig.change(40, &old, &new, &[0]);
    assert_eq!((begun.epoch, begun.generation), (2, 1));
    // The line to room-b was not touched: it speaks in the slots it knows.
    rig.live(0, there, 40..80, 35.0);
    rig.live(1, here, 80..100, 35.0);
    rig.live(0, there, 100..200, 20.0);
    // A plan that nobody is said to speak of any more has no place for what is said in its slots.
    let begun = rig.change(200, &new, &old, &[1]);
    assert_eq!(begun.epoch, 3);
    rig.live(0, there, 200..300, 35.0);
    let (records, _dir) = rig.end(400);
    valid(&records);
    let told: Vec<_> = alerts(&records)
        .into_iter()
        .filter(|(_, change)| change.change == Change::Raised || matches!(change.change, Change::Cleared(_)))
        .map(|(at, change)| (at, change.alert.epoch.0, change.change))
        .collect();
    assert_eq!(
        told,
        [(60, 2, Change::Raised), (110, 2, Change::Cleared(ClearCause::Returned)),],
        "raised a minute after it became hot, not a minute after the change; once"
    );
    let starts: Vec<_> = records
        .iter()
        .filter_map(|record| if let Body::Start(start) = &record.body { Some(start) } else { None })
        .map(|start| (start.epoch.0, start.cause, start.downtime_ms))
        .collect();
    assert_eq!(
        starts,
        [(1, StartCause::First, None), (2, StartCause::Clean, Some(0)), (3, StartCause::Clean, Some(0))]
    );
}

#[test]
fn an_alert_whose_rule_is_removed_is_over_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let both = rooms(LINE, &[("room-a", "b", 1), ("room-b", "b", 2)]);
    let old = write(dir.path(), &both, PACK);
    let new = write(dir.path(), &rooms(LINE, &[("room-b", "b", 2)]), PACK);
    let mut rig = Rig::new(&old, dir);
    for at in (0..100).step_by(10) {
        rig.live(0, point(&old, "room-a/temperature"), at..at + 1, 35.0);
        rig.live(0, point(&old, "room-b/temperature"), at..at + 1, 36.0);
    }
    rig.change(100, &old, &new, &[0]);
    rig.live(0, point(&old, "room-b/temperature"), 100..200, 36.0);
    // Of a point that is gone nothing has a place any more.
    rig.live(0, point(&old, "room-a/temperature"), 200..210, 35.0);
    let (records, _dir) = rig.end(210);
    valid(&records);
    let all = alerts(&records);
    let raised = all.iter().filter(|(_, change)| change.change == Change::Raised).count();
    assert_eq!(raised, 2, "each once: {all:?}");
    let over: Vec<_> = all.iter().filter(|(_, change)| matches!(change.change, Change::Cleared(_))).collect();
    let [(at, change)] = &over[..] else { panic!("only the one whose rule is gone: {over:?}") };
    assert_eq!((*at, change.rule, change.change), (100, None, Change::Cleared(ClearCause::Superseded)));
}

#[test]
fn a_rule_that_says_something_else_ends_its_alert_and_judges_anew() {
    let dir = tempfile::tempdir().unwrap();
    let text = rooms(LINE, &[("room-a", "b", 1)]);
    let old = write(dir.path(), &text, PACK);
    let new = write(dir.path(), &text, &PACK.replace("default = \"30 °C\"", "default = \"32 °C\""));
    let other = write(dir.path(), &text, &PACK.replace("Cool it.", "Cool it down."));
    assert_eq!(
        Difference::between(&old, &new).to_string(),
        "changes 1 rule (own/hot on room-a), takes other bytes of pack `own`, restarts nothing"
    );
    assert_eq!(
        Difference::between(&old, &other).to_string(),
        "changes words or priority of 1 rule, takes other bytes of pack `own`, restarts nothing"
    );
    let room = point(&old, "room-a/temperature");
    let mut rig = Rig::new(&old, dir);
    rig.live(0, room, 0..100, 35.0);
    rig.change(100, &old, &new, &[0]);
    rig.live(0, room, 100..200, 35.0);
    // Only other words: the alert goes on.
    rig.change(200, &new, &new, &[0, 1]);
    rig.live(0, room, 200..300, 35.0);
    let (records, _dir) = rig.end(300);
    valid(&records);
    let told: Vec<_> = alerts(&records)
        .into_iter()
        .filter(|(_, change)| change.change == Change::Raised || matches!(change.change, Change::Cleared(_)))
        .map(|(at, change)| (at, change.change))
        .collect();
    assert_eq!(
        told,
        [(60, Change::Raised), (100, Change::Cleared(ClearCause::Superseded)), (160, Change::Raised)]
    );
}

#[test]
fn what_a_bus_says_of_points_that_are_gone_is_passed_over_and_the_rest_counts() {
    let dir = tempfile::tempdir().unwrap();
    let old = write(dir.path(), &rooms(LINE, &[("room-a", "b", 1), ("room-b", "b", 2)]), PACK);
    let new = write(dir.path(), &rooms(LINE, &[("room-b", "b", 2)]), PACK);
    let both = vec![point(&old, "room-a/temperature"), point(&old, "room-b/temperature")];
    let mut rig = Rig::new(&old, dir);
    rig.change(10, &old, &new, &[0]);
    let cause = BadCause::NoCommunication;
    let missed = Event::Missed { points: both, times: 3, cause };
    rig.core.hear(0, missed, EngineTime(BEGIN + 20 * SECOND)).unwrap();
    let (records, _dir) = rig.end(30);
    let counts: Vec<_> = records
        .iter()
        .filter_map(
            |record| if let Body::Inputs(inputs) = &record.body { Some(&inputs.counts) } else { None },
        )
        .flatten()
        .map(|counts| (counts.point, counts.due))
        .collect();
    assert_eq!(counts, [(point(&new, "room-b/temperature"), 3)]);
}

#[test]
fn power_fails_at_any_write_of_a_change_and_no_alert_is_lost_or_told_twice() {
    let old_text = rooms(LINE, &[("room-b", "b", 1)]);
    let new_text = rooms(LINE, &[("room-a", "b", 2), ("room-b", "b", 1)]);
    let life = |disk: &Faulty| {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (write(dir.path(), &old_text, PACK), write(dir.path(), &new_text, PACK));
        let mut rig = Rig::on(Arc::new(disk.clone()), &old, dir, 0);
        rig.live(0, point(&old, "room-b/temperature"), 0..40, 35.0);
        (rig, old, new)
    };
    let writes = {
        let disk = Faulty::new();
        let (mut rig, old, new) = life(&disk);
        let before = disk.changes();
        rig.change(40, &old, &new, &[0]);
        disk.changes() - before
    };
    assert!(writes > 5, "{writes}");
    for n in 0..writes {
        for part in 0..3 {
            let disk = Faulty::new();
            let (mut rig, old, new) = life(&disk);
            disk.fail(n, Fault::Dead);
            let changed = rig.try_change(40, &old, &new, &[0]);
            assert_eq!(changed, None, "write {n} failed");
            let Rig { mut dir, core, .. } = rig;
            drop(core);
            disk.mend();
            disk.power_cut(part == 2, |_, synced, seen| match part {
                _ if synced == seen => seen.to_vec(),
                0 => synced.to_vec(),
                1 => seen[..synced.len().midpoint(seen.len()).min(seen.len())].to_vec(),
                _ => seen.to_vec(),
            });
            // The start goes by the confirmed configuration, or by the new one.
            for site in [&old, &new] {
                let disk = disk.copy();
                // A hint of the other run.
                std::fs::remove_file(dir.path().join("data/cursors/checkpoint")).ok();
                let storage: Arc<dyn Storage> = Arc::new(disk.clone());
                let mut rig = Rig::on(Arc::clone(&storage), site, dir, 45);
                rig.live(0, point(site, "room-b/temperature"), 50..200, 35.0);
                let (records, again) = rig.end_on(storage, 200);
                dir = again;
                valid(&records);
                let raised: Vec<_> =
                    alerts(&records).into_iter().filter(|(_, one)| one.change == Change::Raised).collect();
                assert_eq!(raised.len(), 1, "write {n}, part {part}: {raised:?}");
                assert_eq!(raised[0].0, 60, "write {n}, part {part}");
            }
        }
    }
}
