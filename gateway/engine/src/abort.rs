//! Was a heat cycle stopped before its hold, or did its heater not make it?
//!
//! By temperature alone nobody can say. A cycle counts as stopped where, before the set temperature was ever reached,
//!
//! - the door, known to be shut, was opened, and heating did not go on afterwards (the temperature did not rise by
//!   another 5 K), or
//! - the heater's power went off and did not come back,
//!
//! and the temperature *had still been rising* at that moment: it stood within 2 K of its highest, and its last step of 2 K took
//! no longer than one and a quarter of what such steps took on the average since the cycle began. A heater that is too weak flattens out
//! before somebody gives up. Who switched the power off is not known: a person, the supply, or the timer of a machine that did not make
//! it in time. The packs therefore ask for the door alone.

use gateway_model::{CycleState, EngineTime, HeatStart, HeatStop};

/// Temperature rises in steps of this, K.
const STEP_K: f64 = 2.0;
/// A step may take so many times the average.
const SLOWER: f64 = 1.25;
/// It went on after the door was opened, where it rose so much more, K.
const GOES_ON_K: f64 = 5.0;

/// A cycle begins. `shut`: the door contact says so; `heating`: the heater's power.
pub(crate) fn begun(at: EngineTime, celsius: f64, shut: bool, heating: bool) -> HeatStart {
    HeatStart {
        first: (at, celsius),
        step: (at, celsius),
        rate: None,
        last: (at, celsius),
        shut,
        heating,
        stop: None,
    }
}

/// A believed temperature.
pub(crate) fn temperature(start: &mut HeatStart, at: EngineTime, celsius: f64) {
    start.last = (at, celsius);
    let (before, step_c) = start.step;
    if celsius >= step_c + STEP_K {
        start.rate = rate(celsius - step_c, at.since(before)).or(start.rate);
        start.step = (at, celsius);
    }
    start.stop = start.stop.filter(|stop| stop.power || celsius < stop.celsius + GOES_ON_K);
}

/// The door contact is believed.
pub(crate) fn door(cycle: &mut CycleState, at: EngineTime, open: bool) {
    let heats = heats(cycle);
    let Some(start) = &mut cycle.start else { return };
    if open && start.shut && heats && start.stop.is_none() {
        start.stop = rises(start).then_some(HeatStop { at, celsius: start.last.1, power: false });
    }
    start.shut = !open;
}

/// The heater's power is believed to be on or off; `None` = it cannot be believed.
pub(crate) fn power(cycle: &mut CycleState, at: EngineTime, on: Option<bool>) {
    let heats = heats(cycle);
    let Some(start) = &mut cycle.start else { return };
    match on {
        Some(true) => start.stop = None,
        Some(false) if start.heating && heats && start.stop.is_none_or(|stop| !stop.power) => {
            let stop = HeatStop { at, celsius: start.last.1, power: true };
            start.stop = rises(start).then_some(stop).or(start.stop);
        }
        Some(false) | None => (),
    }
    start.heating = on == Some(true);
}

/// True if the cycle was stopped before its hold.
pub(crate) fn stopped(cycle: &CycleState) -> bool {
    heats(cycle) && cycle.start.is_some_and(|start| start.stop.is_some())
}

/// The set temperature was never reached with the door shut.
fn heats(cycle: &CycleState) -> bool {
    cycle.best.is_none() && cycle.hold_from.is_none()
}

fn rises(start: &HeatStart) -> bool {
    let (began, first_c) = start.first;
    let (stepped, step_c) = start.step;
    let (seen, last_c) = start.last;
    // The step that is not done yet takes longer than this.
    let next = rate(STEP_K, seen.since(stepped));
    let last = start.rate.map(|last| next.map_or(last, |next| if next < last { next } else { last }));
    let mean = rate(step_c - first_c, stepped.since(began));
    last.zip(mean).is_some_and(|(last, mean)| last * SLOWER >= mean) && last_c > step_c - STEP_K
}

/// K per ms.
fn rate(kelvin: f64, ms: i64) -> Option<f64> {
    (ms > 0).then_some(kelvin / ms as f64)
}
