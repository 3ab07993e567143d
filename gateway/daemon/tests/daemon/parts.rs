//! A recorder whose config and state are too large for a record: restarts, power cuts, a full keep set, eviction.

use gateway::history::advance;
use gateway::recorder::Event;
use gateway_evidence::Verdict;
use gateway_journal::faulty::Fault;
use gateway_journal::{Limits, Position};
use gateway_model::{Change, ConclusionBody, EngineTime, GapCause, PointPlan, RuleIx, StartCause, StopCause};
use gateway_wire::{Body, Kind};

use crate::full::{BEGIN, Life, MINUTE, Rig};
use crate::rig::{HOTEL, site};

/// Room for several configs and states.
const LIMITS: Limits = Limits { ring_bytes: 1 << 20, keep_bytes: 64 << 20, segment_bytes: 64 << 10 };
/// Both cabinets' chambers too hot from the start: raised after its delay.
const HOT: f64 = 200.0;

/// Text that a compressor does little to, another each time.
fn noise(bytes: usize, seed: u64) -> String {
    let mut dice = seed;
    let mut roll = || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + ((dice >> 33) % 94) as u8)
    };
    (0..bytes).map(|_| roll()).collect()
}

/// A hotel that also has a few points of very long ids: its config takes two records, and so does its state.
fn rig(limits: Limits) -> Rig {
    let mut site = site(&HOTEL.replace("accommodation-ir-125/30", "catering-100/10"));
    let like = site.plan.points[0].clone();
    let more = (0..16).map(|n| PointPlan { id: noise(96 << 10, n), every_ms: 0, ..like.clone() });
    std::sync::Arc::make_mut(&mut site.plan).points.extend(more);
    Rig::of(site, limits)
}

fn live(rig: &mut Rig, life: &mut Life, minutes: i64) {
    rig.poll(life, minutes, |_| HOT);
}

/// When the alert of the first chamber was raised: engine minutes since the beginning.
fn raised(rig: &Rig) -> Vec<i64> {
    let list = |body| if let Body::Conclusions(said) = body { said.list } else { Vec::new() };
    let said = rig.records().into_iter().flat_map(|(.., body)| list(body));
    let hot = |body: &ConclusionBody| matches!(body, ConclusionBody::Alert(change) if change.rule == Some(RuleIx(1)) && change.change == Change::Raised);
    said.filter(|one| hot(&one.body)).map(|one| (one.at.0 - BEGIN) / MINUTE).collect()
}

fn starts(rig: &Rig) -> Vec<StartCause> {
    let start = |body| if let Body::Start(start) = body { Some(start.cause) } else { None };
    rig.records().into_iter().filter_map(|(.., body)| start(body)).collect()
}

fn kinds(rig: &Rig, epoch: u64) -> Vec<Kind> {
    let of = |(position, _, body): (Position, _, Body)| (position.epoch == epoch).then(|| body.kind());
    rig.records().into_iter().filter_map(of).collect()
}

#[test]
fn a_restart_goes_on_from_a_config_and_a_state_in_parts() {
    let mut rig = rig(LIMITS);
    let mut life = rig.start();
    live(&mut rig, &mut life, 20);
    life.core.stop(EngineTime(rig.now), StopCause::Asked).unwrap();
    let mut life = rig.start();
    live(&mut rig, &mut life, 5);
    drop(life);
    let mut life = rig.start();
    live(&mut rig, &mut life, 5);
    life.core.stop(EngineTime(rig.now), StopCause::Asked).unwrap();
    assert_eq!(starts(&rig), [StartCause::First, StartCause::Clean, StartCause::Unclean]);
    // In the place of the last part the whole is shown.
    assert_eq!(kinds(&rig, 1)[..4], [Kind::Start, Kind::Config, Kind::Part, Kind::Config]);
    assert_eq!(
        kinds(&rig, 2)[..7],
        [Kind::Start, Kind::Config, Kind::Part, Kind::Config, Kind::Checkpoint, Kind::Part, Kind::Checkpoint]
    );
    assert_eq!(raised(&rig).len(), 1, "what was raised is not raised again");
    let found = rig.evidence();
    assert_eq!(found.verdict(), Verdict::Valid, "{found:?}");
    assert_eq!(found.checkpoints_checked, 4);
}

#[test]
fn after_a_crash_it_goes_on_from_the_last_state_in_the_middle_of_the_epoch() {
    let mut rig = rig(LIMITS);
    let mut life = rig.start();
    live(&mut rig, &mut life, 20);
    // A day in which nothing is asked: a checkpoint is due.
    rig.now += 86_400_000;
    advance(&mut life.core, EngineTime(rig.now)).unwrap();
    live(&mut rig, &mut life, 5);
    drop(life);
    let middle = rig.data.position("checkpoint").load().unwrap();
    assert!((middle.epoch, middle.seq > 20) == (1, true), "{middle}");
    let mut life = rig.start();
    live(&mut rig, &mut life, 5);
    life.core.stop(EngineTime(rig.now), StopCause::Asked).unwrap();
    let found = rig.evidence();
    assert_eq!(found.verdict(), Verdict::Valid, "{found:?}");
}

/// After a life and a clean stop.
fn lived() -> Rig {
    let mut rig = rig(LIMITS);
    let mut life = rig.start();
    live(&mut rig, &mut life, 20);
    life.core.stop(EngineTime(rig.now), StopCause::Asked).unwrap();
    rig
}

#[test]
fn power_fails_at_any_write_of_a_start_or_stop_and_the_next_start_is_whole() {
    let again = |rig: &Rig| {
        let at = EngineTime(rig.now);
        rig.try_start().and_then(|life| life.core.stop(at, StopCause::Asked))
    };
    let writes = {
        let rig = lived();
        let before = rig.disk.changes();
        again(&rig).unwrap();
        rig.disk.changes() - before
    };
    assert!(writes > 5, "{writes}");
    let mut rig = lived();
    let (disk, now) = (rig.disk.copy(), rig.now);
    for n in 0..writes {
        // Of what was written and not synced: nothing, half of it, all of it.
        for share in 0..3 {
            (rig.disk, rig.now) = (disk.copy(), now);
            // A hint of the other run.
            std::fs::remove_file(rig.data.root().join("cursors/checkpoint")).ok();
            rig.disk.fail(n, Fault::Dead);
            assert!(again(&rig).is_err(), "write {n} failed");
            rig.disk.mend();
            rig.disk.power_cut(share == 2, |_, synced, seen| {
                let more = seen.len().saturating_sub(synced.len());
                match share {
                    _ if synced == seen => seen.to_vec(),
                    0 => synced.to_vec(),
                    2 => seen.to_vec(),
                    share => seen[..(synced.len() + more * share / 2).min(seen.len())].to_vec(),
                }
            });
            let mut life = rig.start();
            live(&mut rig, &mut life, 5);
            life.core.stop(EngineTime(rig.now), StopCause::Asked).unwrap();
            let found = rig.evidence();
            assert_eq!(found.verdict(), Verdict::Valid, "write {n}, share {share}: {found:?}");
            assert_eq!(raised(&rig).len(), 1, "write {n}, share {share}");
            rig.nothing_is_missing_unsaid();
        }
    }
}

#[test]
fn a_keep_set_without_room_for_another_epoch_begins_it_in_the_place_of_an_old_one() {
    // A config and a state are about 2.6 MB, an epoch with a stop 4 MB.
    let limits = Limits { keep_bytes: 10 << 20, ..LIMITS };
    let mut rig = rig(limits);
    for _ in 0..4 {
        let mut life = rig.start();
        // The center has everything of the epochs before.
        let last = life.core.last().unwrap();
        let had = Position { epoch: last.epoch.saturating_sub(1), seq: u64::MAX };
        life.core.take(Event::Receipted(had), EngineTime(rig.now)).unwrap();
        live(&mut rig, &mut life, 20);
        life.core.stop(EngineTime(rig.now), StopCause::Asked).unwrap();
    }
    assert!(!rig.gaps(GapCause::Evicted).is_empty(), "something gave way");
    // What is left of an epoch begins with a whole config, or is none of its beginning.
    let stored = rig.records();
    let heads: Vec<_> = stored.iter().filter(|(.., body)| matches!(body, Body::Parted(_))).collect();
    assert!(heads.len() >= 4, "{}", heads.len());
    for (at, ..) in heads {
        let behind = Position { seq: at.seq + 2, ..*at };
        let whole = stored.iter().find(|(position, ..)| *position == behind);
        let body = whole.map(|(.., body)| body);
        assert!(
            matches!(body, Some(Body::Config(_) | Body::Checkpoint(_))),
            "the parts of {at} stay with it"
        );
    }
    rig.nothing_is_missing_unsaid();
    rig.evidence();
}

#[test]
fn conclusions_know_how_far_their_config_reaches() {
    let mut rig = rig(LIMITS);
    let mut life = rig.start();
    live(&mut rig, &mut life, 20);
    let urgent = std::iter::from_fn(|| life.urgent.try_recv().ok()).last().unwrap();
    assert_eq!(urgent.config, (1, 3));
    drop(life);
    let records = rig.records();
    assert!(matches!((&records[1].2, &records[3].2), (Body::Parted(_), Body::Config(_))));
}
