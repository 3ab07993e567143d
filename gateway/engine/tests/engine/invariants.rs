//! What must be so of any list of conclusions (`alerts.md` §1.1), said where it is not. Each check is shown to notice a list in which
//! it is not so.

use std::collections::BTreeMap;

use gateway_model::{
    AckRegion, AlertChange, AlertId, Change, ClearCause, Conclusion, ConclusionBody, EngineTime,
    EscalationCause, ProcessRegion, QualityRegion,
};

use gateway_engine::Engine;

use crate::rig::{T, high, play, site};

type Lives<'o> = BTreeMap<AlertId, Vec<&'o AlertChange>>;

fn lives(out: &[Conclusion]) -> Lives<'_> {
    let mut lives = Lives::new();
    for conclusion in out {
        if let ConclusionBody::Alert(change) = &conclusion.body {
            lives.entry(change.alert).or_default().push(change);
        }
    }
    lives
}

/// (i), and (vi) as far as it is told: raised once and first, over at most once, numbered without holes, acknowledged once for each
/// time it asked, escalated once. What is not over is among the `listed`.
pub(crate) fn one_end(out: &[Conclusion], listed: &[AlertId]) -> Result<(), String> {
    for (id, life) in lives(out) {
        let said = |what: &str| Err(format!("{id} {what}: {life:?}"));
        if life.iter().zip(1..).any(|(change, n)| change.event != n) {
            return said("has a hole in its numbers");
        }
        if life.iter().enumerate().any(|(index, change)| (change.change == Change::Raised) != (index == 0)) {
            return said("is not raised once and first");
        }
        let ends = life.iter().filter(|change| matches!(change.change, Change::Cleared(_))).count();
        if ends > 1 {
            return said("ends more than once");
        }
        let escalated = life.iter().filter(|change| matches!(change.change, Change::Escalated(_))).count();
        if escalated > 1 {
            return said("is escalated more than once");
        }
        let mut acked = false;
        for change in &life {
            if change.change == Change::Acknowledged && acked {
                return said("is acknowledged although nothing asked for it");
            }
            acked = change.regions.ack == AckRegion::Acked;
        }
        let open = life.last().is_some_and(|last| {
            ends == 0 && last.change != Change::Reset || last.regions.ack == AckRegion::Unacked
        });
        if open && !listed.contains(&id) {
            return said("is not over, and on no list");
        }
    }
    Ok(())
}

/// (ii): what is raised or returns is so by a value that can be believed.
pub(crate) fn judged(out: &[Conclusion]) -> Result<(), String> {
    for change in lives(out).into_values().flatten() {
        let by_value = matches!(
            change.change,
            Change::Cleared(ClearCause::Returned) | Change::Raised | Change::Recurred
        );
        if by_value && change.regions.quality != QualityRegion::Good {
            return Err(format!("said of what cannot be judged: {change:?}"));
        }
        if matches!(change.change, Change::Cleared(_)) && change.regions.process != ProcessRegion::Normal {
            return Err(format!("over and not normal: {change:?}"));
        }
    }
    Ok(())
}

/// Conclusions come in the order of their times, and none from the future.
pub(crate) fn in_order(out: &[Conclusion], now: EngineTime) -> Result<(), String> {
    if let Some(pair) = out.windows(2).find(|pair| pair[0].at > pair[1].at) {
        return Err(format!("out of order: {pair:?}"));
    }
    match out.last() {
        Some(last) if last.at > now => Err(format!("from the future: {last:?}")),
        _ => Ok(()),
    }
}

/// Raised, acknowledged, recurred, over; and an event after it.
fn story() -> (Engine, Vec<Conclusion>) {
    let mut engine = Engine::new(site(vec![high(T, 8.0, 0.0, 0, 5)]));
    let mut out = Vec::new();
    for line in ["0s start 1", "1s t 9", "2s ack 1-1 #1", "3s t 7", "4s t 9", "5s t 7", "10s .", "11s t 9"] {
        engine.step(&play(line), &mut out);
    }
    (engine, out)
}

fn planted(plant: impl FnOnce(&mut Vec<AlertChange>)) -> Vec<Conclusion> {
    let (_, out) = story();
    let (mut places, mut changes) = (Vec::new(), Vec::new());
    for one in &out {
        if let ConclusionBody::Alert(change) = &one.body {
            places.push(one.at);
            changes.push(change.clone());
        }
    }
    plant(&mut changes);
    let last = places.last().copied().unwrap();
    let at = places.into_iter().chain(std::iter::repeat(last));
    changes
        .into_iter()
        .zip(at)
        .map(|(change, at)| Conclusion { at, body: ConclusionBody::Alert(change) })
        .collect()
}

#[test]
fn each_invariant_notices_a_list_that_breaks_it() {
    let (engine, out) = story();
    let listed: Vec<AlertId> = engine.alerts().iter().map(|alert| alert.alert).collect();
    assert_eq!(one_end(&out, &listed), Ok(()));
    assert_eq!(judged(&out), Ok(()));
    assert_eq!(in_order(&out, engine.now()), Ok(()));

    let notices = |what: &str, plant: fn(&mut Vec<AlertChange>)| {
        let said = one_end(&planted(plant), &listed).unwrap_err();
        assert!(said.contains(what), "{what}: {said}");
    };
    notices("a hole", |changes| changes.retain(|change| change.event != 2));
    notices("once and first", |changes| changes[0].change = Change::Recurred);
    notices("ends more than once", |changes| {
        // raise, ack, recur, clear
        let again = AlertChange { event: 5, ..changes[3].clone() };
        changes.push(again);
    });
    notices("escalated more than once", |changes| {
        changes[1].change = Change::Escalated(EscalationCause::Repeated);
        changes[2].change = Change::Escalated(EscalationCause::Unsolved);
    });
    notices("nothing asked", |changes| {
        changes[2].change = Change::Acknowledged;
        changes[2].regions.ack = AckRegion::Acked;
    });
    assert!(one_end(&out, &[]).unwrap_err().contains("on no list"));

    let bad = planted(|changes| changes[3].regions.quality = QualityRegion::Stale);
    assert!(judged(&bad).unwrap_err().contains("cannot be judged"));
    let pending = planted(|changes| changes[3].regions.process = ProcessRegion::Clearing);
    assert!(judged(&pending).unwrap_err().contains("not normal"));

    let mut turned = out.clone();
    turned.swap(0, 1);
    assert!(in_order(&turned, engine.now()).unwrap_err().contains("out of order"));
    assert!(in_order(&out, EngineTime(0)).unwrap_err().contains("from the future"));
}
