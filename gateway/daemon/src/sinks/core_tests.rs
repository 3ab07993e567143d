//! The core on virtual time: every order of answers, restarts and lost answers, with nothing lost and nothing blocked.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SCHEDULE: &[Millis] = &[5_000, 300_000, 1_800_000, 7_200_000];
const DOUBLING: Policy = Policy::Doubling { first: 1_000, last: 60_000 };

fn parcel(seq: u64, n: u32, size: usize) -> Parcel {
    Parcel { epoch: 1, seq, n, topic: String::new(), retain: false, body: "x".repeat(size) }
}

fn at(seq: u64) -> Position {
    Position { epoch: 1, seq }
}

fn limits(count: usize, bytes: usize) -> Limits {
    Limits { count, bytes, linger: 10_000 }
}

fn sent(step: Step) -> Vec<Parcel> {
    match step {
        Step::Send(parcels) => parcels,
        other @ (Step::Wait(_) | Step::Idle | Step::Stopped) => panic!("expected a batch, got {other:?}"),
    }
}

fn down() -> Trouble {
    Trouble::Down { words: "connection refused".into() }
}

#[test]
fn a_batch_waits_for_company_but_not_for_ever() {
    let mut core = Core::new(limits(3, 1_000), DOUBLING, None, Vec::new());
    assert_eq!(core.step(0), Step::Idle);
    core.feed(at(0), vec![parcel(0, 0, 5), parcel(0, 1, 5)], 100);
    assert_eq!(core.step(100), Step::Wait(10_100));
    core.feed(at(1), vec![parcel(1, 0, 5)], 200);
    assert_eq!(sent(core.step(200)).len(), 3, "a full batch goes at once");
    assert_eq!(core.report(200, 3, None, 0.0), []);
    assert_eq!(core.cursor(), Some(at(1)));
    core.feed(at(2), vec![parcel(2, 0, 5)], 300);
    assert_eq!(core.step(300), Step::Wait(10_300));
    assert_eq!(sent(core.step(10_300)).len(), 1);
}

#[test]
fn records_without_a_parcel_move_the_cursor_and_take_no_room() {
    let mut core = Core::new(limits(1, 1_000), DOUBLING, None, Vec::new());
    core.feed(at(0), Vec::new(), 0);
    assert_eq!(core.cursor(), Some(at(0)));
    core.feed(at(1), vec![parcel(1, 0, 5)], 0);
    for seq in 2..1_000 {
        core.feed(at(seq), Vec::new(), 0);
    }
    assert_eq!((core.cursor(), core.queue.len()), (Some(at(0)), 2));
    assert_eq!(sent(core.step(10_000)).len(), 1);
    core.report(10_000, 1, None, 0.0);
    assert_eq!(core.cursor(), Some(at(999)));
}

#[test]
fn a_pause_doubles_and_is_never_shorter_than_asked() {
    let mut core = Core::new(limits(1, 1_000), DOUBLING, None, Vec::new());
    core.feed(at(0), vec![parcel(0, 0, 5)], 0);
    let mut now = 10_000;
    for pause in [1_000, 2_000, 4_000] {
        sent(core.step(now));
        core.report(now, 0, Some(&down()), 0.0);
        assert_eq!(core.step(now), Step::Wait(now + pause));
        now += pause;
    }
    sent(core.step(now));
    core.report(now, 0, Some(&Trouble::Busy { after: Some(90_000), words: "429".into() }), -1.0);
    assert_eq!(core.step(now), Step::Wait(now + 90_000));
}

#[test]
fn a_schedule_ends_and_the_parcel_is_set_aside_with_the_words() {
    let mut core = Core::new(limits(1, 1_000), Policy::Schedule(SCHEDULE), None, Vec::new());
    core.feed(at(0), vec![parcel(0, 0, 5)], 0);
    let mut now = 10_000;
    let mut attempts = Vec::new();
    let aside = loop {
        match core.step(now) {
            Step::Send(_) => {
                attempts.push(now - 10_000);
                let effects = core.report(now, 0, Some(&down()), 0.0);
                if let Some(Effect::Aside(parcel, words)) = effects.into_iter().next() {
                    break (parcel.id(), words);
                }
            }
            Step::Wait(until) => now = until,
            other @ (Step::Idle | Step::Stopped) => panic!("{other:?}"),
        }
    };
    assert_eq!(attempts, [0, 5_000, 305_000, 2_105_000, 9_305_000]);
    assert_eq!(aside.0, "1-0-0");
    assert!(aside.1.contains("connection refused"));
    assert_eq!((core.cursor(), core.late().len()), (Some(at(0)), 0));
}

#[test]
fn one_parcel_that_fails_does_not_hold_up_the_rest() {
    let mut core = Core::new(limits(1, 1_000), Policy::Schedule(SCHEDULE), None, Vec::new());
    core.feed(at(0), vec![parcel(0, 0, 5)], 0);
    core.feed(at(1), vec![parcel(1, 0, 5)], 0);
    let mut now = 10_000;
    let mut taken = Vec::new();
    while taken.is_empty() {
        match core.step(now) {
            Step::Send(batch) if batch[0].seq == 0 => drop(core.report(now, 0, Some(&down()), 0.0)),
            Step::Send(batch) => {
                taken.push((batch[0].seq, now - 10_000));
                core.report(now, 1, None, 0.0);
            }
            Step::Wait(until) => now = until,
            other @ (Step::Idle | Step::Stopped) => panic!("{other:?}"),
        }
    }
    assert_eq!(taken, [(1, 305_000)], "after the third failure of the one before it");
    assert_eq!((core.cursor(), core.late().len()), (Some(at(1)), 1));
    // A restart tries the late one at once, with the attempts it had.
    let late = core.late().to_vec();
    let mut again = Core::new(limits(1, 1_000), Policy::Schedule(SCHEDULE), core.cursor(), late);
    let mut restarted = again.late().to_vec();
    restarted[0].due = 0;
    again.late = restarted;
    assert_eq!(sent(again.step(0))[0].seq, 0);
    assert_eq!(again.report(0, 1, None, 0.0), [Effect::Late]);
    assert_eq!(again.late().len(), 0);
}

#[test]
fn what_came_late_goes_out_as_soon_as_the_target_is_back() {
    let mut core = Core::new(limits(1, 1_000), Policy::Schedule(SCHEDULE), None, Vec::new());
    for seq in 0..3 {
        core.feed(at(seq), vec![parcel(seq, 0, 5)], 0);
    }
    let mut now = 10_000;
    while core.late().len() < 2 {
        match core.step(now) {
            Step::Send(_) => drop(core.report(now, 0, Some(&down()), 0.0)),
            Step::Wait(until) => now = until,
            other @ (Step::Idle | Step::Stopped) => panic!("{other:?}"),
        }
    }
    // Back: the first success wakes all of them.
    while !matches!(core.step(now), Step::Send(batch) if batch[0].seq == 2) {
        now += 1_000;
        if matches!(core.sent, Sent::Late(_)) {
            core.report(now, 0, Some(&down()), 0.0);
        }
    }
    assert_eq!(core.report(now, 1, None, 0.0), [Effect::Late]);
    for seq in [0, 1] {
        assert_eq!(sent(core.step(now))[0].seq, seq);
        core.report(now, 1, None, 0.0);
    }
    assert_eq!((core.step(now), core.late().len()), (Step::Idle, 0));
}

#[test]
fn a_target_that_has_gone_is_left_alone() {
    let mut core = Core::new(limits(1, 1_000), Policy::Schedule(SCHEDULE), None, Vec::new());
    core.feed(at(0), vec![parcel(0, 0, 5)], 0);
    sent(core.step(10_000));
    let effects = core.report(10_000, 0, Some(&Trouble::Gone { words: "410".into() }), 0.0);
    assert_eq!(effects, [Effect::Stopped("410".into())]);
    assert_eq!((core.step(u64::MAX), core.wants(), core.cursor()), (Step::Stopped, false, None));
}

/// A target that refuses some parcels for ever, takes batches up to a size, and has bad moments.
struct Target {
    poison: Vec<(u64, u32)>,
    count_max: usize,
    moods: Vec<u8>,
    requests: usize,
    got: Vec<(u64, u32)>,
}

impl Target {
    fn answer(&mut self, batch: &[Parcel]) -> (usize, Option<Trouble>) {
        let mood = self.moods.get(self.requests).copied().unwrap_or(9);
        self.requests += 1;
        let words = "no".to_owned();
        match mood {
            0 => return (0, Some(Trouble::Down { words })),
            1 => return (0, Some(Trouble::Busy { after: Some(7_000), words })),
            2 => return (0, Some(Trouble::Refused { words })),
            // An answer that got lost: taken, and nobody knows.
            3 => self.got.extend(batch.iter().map(|parcel| (parcel.seq, parcel.n))),
            _ => {}
        }
        if mood == 3 {
            return (0, Some(Trouble::Down { words }));
        }
        if batch.len() > self.count_max {
            return (0, Some(Trouble::TooLarge { words }));
        }
        if batch.iter().any(|parcel| self.poison.contains(&(parcel.seq, parcel.n))) {
            return (0, Some(Trouble::Poison { words, only: false }));
        }
        self.got.extend(batch.iter().map(|parcel| (parcel.seq, parcel.n)));
        (batch.len(), None)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn everything_arrives_in_order_or_is_set_aside_whatever_happens(
        sizes in prop::collection::vec(prop::collection::vec(1usize..40, 0..12), 1..30),
        bad in prop::collection::vec((0u64..30, 0u32..12), 0..4),
        count in 1usize..20,
        bytes in 20usize..200,
        count_max in 1usize..30,
        moods in prop::collection::vec(0u8..10, 0..60),
        restarts in prop::collection::vec(1usize..40, 0..4),
        gives_up in any::<bool>(),
    ) {
        let policy = if gives_up { Policy::Schedule(SCHEDULE) } else { DOUBLING };
        let records: Vec<Vec<Parcel>> = (0..).zip(&sizes)
            .map(|(seq, sizes)| (0..).zip(sizes).map(|(n, size)| parcel(seq, n, *size)).collect()).collect();
        let all: Vec<(u64, u32)> = records.iter().flatten().map(|parcel| (parcel.seq, parcel.n)).collect();
        let mut target = Target { poison: bad, count_max, moods, requests: 0, got: Vec::new() };
        let mut aside: BTreeMap<(u64, u32), String> = BTreeMap::new();
        let (mut core, mut fed, mut now) = (Core::new(limits(count, bytes), policy, None, Vec::new()), 0, 0);
        let (mut not_before, mut late) = (0, Vec::new());
        for turn in 0..20_000 {
            if restarts.contains(&turn) {
                // A restart knows the cursor and the late list, and nothing else.
                let cursor = core.cursor();
                fed = cursor.map_or(0, |cursor| cursor.seq as usize + 1);
                core = Core::new(limits(count, bytes), policy, cursor, late.clone());
                core.late.iter_mut().for_each(|late| late.due = 0);
                not_before = 0;
            }
            while fed < records.len() && core.wants() {
                core.feed(at(fed as u64), records[fed].clone(), now);
                fed += 1;
            }
            match core.step(now) {
                Step::Send(batch) => {
                    // What is late has times of its own.
                    prop_assert!(gives_up || now >= not_before, "earlier than asked");
                    prop_assert!(!batch.is_empty() && batch.len() <= count);
                    prop_assert!(batch.len() == 1 || batch.iter().map(Parcel::size).sum::<usize>() <= bytes);
                    let (taken, trouble) = target.answer(&batch);
                    if let Some(Trouble::Busy { after: Some(after), .. }) = &trouble {
                        not_before = now + after;
                    }
                    for effect in core.report(now, taken, trouble.as_ref(), 0.3) {
                        match effect {
                            Effect::Aside(parcel, words) => drop(aside.insert((parcel.seq, parcel.n), words)),
                            Effect::Late => late = core.late().to_vec(),
                            Effect::Stopped(words) => panic!("{words}"),
                        }
                    }
                }
                Step::Wait(until) => {
                    prop_assert!(until > now);
                    now = until;
                }
                Step::Idle => break,
                Step::Stopped => prop_assert!(false, "nobody said so"),
            }
            // Nothing at or before the cursor is missing.
            let through = core.cursor().map_or(0, |cursor| cursor.seq + 1);
            for id in all.iter().filter(|(seq, _)| *seq < through) {
                let waits = late.iter().any(|late: &Late| (late.parcel.seq, late.parcel.n) == *id);
                prop_assert!(waits || target.got.contains(id) || aside.contains_key(id), "{id:?} was passed over");
            }
        }
        prop_assert_eq!(core.cursor(), Some(at(records.len() as u64 - 1)));
        prop_assert!(core.late().is_empty() && core.waiting() == 0);
        if gives_up {
            // Not in order, and what failed too often is set aside: but everything is accounted for.
            for id in &all {
                prop_assert!(target.got.contains(id) || aside.contains_key(id), "{id:?} is nowhere");
            }
            return Ok(());
        }
        let mut first_seen = Vec::new();
        for id in &target.got {
            if !first_seen.contains(id) {
                first_seen.push(*id);
            }
        }
        // Answers that got lost may have brought a poisoned batch along; without them the target never has one.
        let wanted: Vec<_> = all.iter().filter(|id| !aside.contains_key(id)).copied().collect();
        let clean: Vec<_> = first_seen.iter().filter(|id| !aside.contains_key(id)).copied().collect();
        prop_assert_eq!(clean, wanted);
        for id in aside.keys() {
            prop_assert!(target.poison.contains(id), "{:?} was good", id);
        }
        for id in all.iter().filter(|id| target.poison.contains(id)) {
            prop_assert!(aside.contains_key(id), "{:?} was never set aside", id);
        }
    }

    #[test]
    fn one_bad_parcel_costs_a_handful_of_requests(size in 1usize..512, at_n in 0usize..512) {
        let poison = (0, (at_n % size) as u32);
        let mut target = Target { poison: vec![poison], count_max: 1_000, moods: Vec::new(), requests: 0, got: Vec::new() };
        let mut core = Core::new(limits(1_000, 1 << 20), DOUBLING, None, Vec::new());
        core.feed(at(0), (0..size as u32).map(|n| parcel(0, n, 1)).collect(), 0);
        let mut now = 10_000;
        loop {
            match core.step(now) {
                Step::Send(batch) => {
                    let (taken, trouble) = target.answer(&batch);
                    core.report(now, taken, trouble.as_ref(), 0.0);
                }
                Step::Wait(until) => now = until,
                Step::Idle | Step::Stopped => break,
            }
        }
        prop_assert_eq!(target.got.len(), size - 1);
        let halvings = usize::BITS - size.leading_zeros();
        prop_assert!(target.requests <= 2 * halvings as usize + 2, "{} requests for {}", target.requests, size);
    }
}
