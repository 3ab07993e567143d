//! One gateway through the whole run: the real intake and the real engine with the plan that the real `gateway-rules` made of
//! the house's site file, stepped through virtual time.
//!
//! Every probe is asked as often as the site file says; what intake keeps is eaten at once, as the recorder's core does. There is
//! no journal: conclusions are taken from the engine. So nothing is lost at a power cut but what happens during it.

use std::collections::VecDeque;

use gateway::config::Site;
use gateway_engine::Engine;
use gateway_engine::intake::{Answer, Intake};
use gateway_model::{
    AlertChange, BadCause, ClockInput, ClockSource, Conclusion, ConclusionBody, EngineTime, Epoch, Fact,
    Input, Raw, StartCause, StartInput,
};

use super::house::{House, Told};
use super::truth::{DAY, Truth};

/// Seconds between two looks: the fastest pace of the site files.
const STEP_S: i64 = 60;
/// An idle gateway's record is advanced so often.
const ADVANCE_S: i64 = 600;
/// A box without a clock of its own knows the time again so many seconds after its start.
const CLOCK_S: i64 = 60;
/// A known clock is right to this, ms.
const ERROR_MS: i64 = 50;

/// A change of an alert, when it happened.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Civil time, ms since the beginning of the run.
    pub(super) at_ms: i64,
    pub(super) change: AlertChange,
}

/// What a gateway concluded, and when it was there.
pub(super) struct Lived {
    pub(super) site: Site,
    pub(super) changes: Vec<Change>,
    /// Without mains, seconds of the run, joined and in order.
    pub(super) off: Vec<(i64, i64)>,
    pub(super) truth: Vec<Truth>,
    /// Answers offered, and readings kept.
    pub(super) offered: u64,
    pub(super) kept: u64,
    pub(super) cycles: u64,
}

/// A gateway at work.
struct Edge {
    intake: Intake,
    engine: Engine,
    epoch: u64,
    /// Second of the run − engine time in seconds, as far as the box knows; the difference is moved at each start.
    lag_s: i64,
    /// The clock is told then.
    clock_at: Option<i64>,
    /// Civil time of second 0, ms.
    begin_ms: i64,
    out: Vec<Conclusion>,
}

impl Edge {
    fn engine_time(&self, second: i64) -> EngineTime {
        EngineTime((second - self.lag_s) * 1_000 + self.begin_ms)
    }

    fn eat(&mut self, input: &Input) {
        self.engine.step(input, &mut self.out);
    }

    /// The box starts; `down_s`: how long it was off, `rtc`: it knows.
    fn start(&mut self, second: i64, down_s: i64, rtc: bool, site: &Site) {
        self.epoch += 1;
        self.intake = Intake::new(&site.plan);
        if !rtc {
            self.lag_s += down_s;
        }
        let first = self.epoch == 1;
        let at = self.engine_time(second);
        self.eat(&Input::Start(StartInput {
            at,
            epoch: Epoch(self.epoch),
            previous: None,
            previous_hash: None,
            cause: if first { StartCause::First } else { StartCause::Unclean },
            downtime_ms: rtc.then_some(down_s * 1_000),
            simulated: true,
        }));
        if rtc || first {
            self.clock(second, true);
        } else {
            self.clock(second, false);
            self.clock_at = Some(second + CLOCK_S);
        }
    }

    fn clock(&mut self, second: i64, known: bool) {
        let at = self.engine_time(second);
        self.eat(&Input::Clock(ClockInput {
            at,
            offset_ms: self.lag_s * 1_000,
            error_ms: known.then_some(ERROR_MS),
            source: if known { ClockSource::Center } else { ClockSource::Unknown },
            since: None,
        }));
    }

    fn offer(&mut self, point: gateway_model::PointIx, second: i64, answer: Answer) -> bool {
        let at = self.engine_time(second);
        let Some(reading) = self.intake.offer(point, at, answer) else { return false };
        self.eat(&Input::Reading(reading));
        true
    }
}

/// Lives through so many days. `cuts`: when its township has no mains; `begin_ms`: civil time of second 0.
pub(super) fn live(mut house: House, site: Site, days: i64, cuts: &[(i64, i64)], begin_ms: i64) -> Lived {
    let mut edge = Edge {
        intake: Intake::new(&site.plan),
        engine: Engine::new(site.plan.clone()),
        epoch: 0,
        lag_s: 0,
        clock_at: None,
        begin_ms,
        out: Vec::new(),
    };
    let mut lived = Lived {
        site,
        changes: Vec::new(),
        off: Vec::new(),
        truth: Vec::new(),
        offered: 0,
        kept: 0,
        cycles: 0,
    };
    // What the house's systems tell while the gateway is off waits at the sender, as at any broker.
    let mut waiting: VecDeque<Told> = VecDeque::new();
    let mut on = false;
    let mut off_since = 0;
    for day in 0..days {
        let begin = day * DAY;
        let cut = cuts.iter().copied().find(|(from, _)| (begin..begin + DAY).contains(from));
        house.begin(day, cut);
        waiting.extend(std::mem::take(&mut house.told));
        for step in 0..DAY / STEP_S {
            let second = begin + step * STEP_S;
            let powered = !house.off.iter().any(|(from, to)| (*from..*to).contains(&second));
            if powered && !on {
                edge.start(second, second - off_since, house.premises.rtc, &lived.site);
                if off_since < second {
                    lived.off.push((off_since, second));
                }
            } else if !powered && on {
                off_since = second;
            }
            on = powered;
            if !on {
                // Probes go on; nobody asks them.
                continue;
            }
            if edge.clock_at.take_if(|at| *at <= second).is_some() {
                edge.clock(second, true);
            }
            let away = house.away.iter().any(|(from, to)| (*from..*to).contains(&second));
            for probe in &mut house.probes {
                if second % probe.every_s != 0 {
                    continue;
                }
                lived.offered += 1;
                let value = probe.at(second);
                let answer = match value {
                    _ if away && probe.line => Answer::Failed(BadCause::NoCommunication),
                    Some(raw) => Answer::Raw(raw),
                    None => Answer::Failed(BadCause::Sentinel),
                };
                lived.kept += u64::from(edge.offer(probe.point, second, answer));
            }
            while let Some(one) = waiting.pop_front_if(|one| one.at <= second) {
                lived.offered += 1;
                lived.kept += u64::from(edge.offer(one.point, second, Answer::Raw(Raw::Int(one.value))));
                if let Some(body) = one.fact {
                    let at = edge.engine_time(second);
                    edge.eat(&Input::Fact(Fact { device: one.device, at, body }));
                }
            }
            if step % (ADVANCE_S / STEP_S) == 0 || second + STEP_S == days * DAY {
                let at = edge.engine_time(second);
                edge.eat(&Input::Advance(at));
            }
            take(&mut edge, &mut lived);
        }
    }
    if !on {
        lived.off.push((off_since, days * DAY));
    }
    lived.truth = house.truth;
    lived
}

fn take(edge: &mut Edge, lived: &mut Lived) {
    for conclusion in edge.out.drain(..) {
        match conclusion.body {
            ConclusionBody::Alert(change) => {
                let at_ms = conclusion.at.0 + edge.lag_s * 1_000 - edge.begin_ms;
                lived.changes.push(Change { at_ms, change });
            }
            ConclusionBody::Cycle(_) => lived.cycles += 1,
            ConclusionBody::Order { .. }
            | ConclusionBody::Folded(_)
            | ConclusionBody::Storage(_)
            | ConclusionBody::Config(_)
            | ConclusionBody::Suppression(_) => {}
        }
    }
}
