//! A verdict about a rectification, from signed records: the same at the center, and years later from a bundle.
//!
//! Records go in as they were numbered, from the last checkpoint before the window (with the start and config of its epoch) to
//! its end, each opened with the gateway's key and put together where it came in parts. What is missing is noticed by the
//! numbers; [`gateway_engine::verify`] says what that means. Points and devices of earlier configurations are found again by
//! their ids, and a reading counts as the number it was when it was taken.

use std::collections::BTreeMap;

use gateway_engine::verify::{Verification, Verifier, Window};
use gateway_model::{
    BadCause, Cursor, DeviceIx, EngineTime, Epoch, Fact, Gap, GapCause, Input, Plan, PointCounts, PointIx,
    PointPlan, Quality, Raw, Reading, RuleIx, SEMANTICS, StartCause, StartInput, State,
};
use gateway_rules::convert;
use gateway_wire::{Body, Header};

/// Comes to a verdict while records pass by.
#[derive(Debug)]
pub struct Sweep {
    verifier: Verifier,
    points: Vec<PointPlan>,
    devices: Vec<String>,
    /// How the points and devices of the present configuration are called in the plan; `None` = as there.
    names: Option<Names>,
    last: Option<Cursor>,
    opening: Option<(StartInput, Option<Box<State>>)>,
    /// The record before this one was the config, or the last of its parts.
    configured: bool,
    /// This release knows how the engine of the present epoch decided.
    known: bool,
    /// Up to where the counts of an epoch go.
    counted: Option<(Epoch, EngineTime)>,
}

#[derive(Debug)]
struct Names {
    points: Vec<Option<(PointIx, Scale)>>,
    devices: Vec<Option<DeviceIx>>,
}

/// A number of one configuration in another.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Same,
    Other { from: (f64, f64, gateway_model::Unit), to: (f64, f64, gateway_model::Unit) },
}

impl Sweep {
    /// About a rule of the plan that was in force at the end of the window.
    pub fn new(plan: &Plan, rule: RuleIx, window: Window) -> Self {
        Self {
            verifier: Verifier::new(plan, rule, window),
            points: plan.points.clone(),
            devices: plan.devices.iter().map(|device| device.id.clone()).collect(),
            names: None,
            last: None,
            opening: None,
            configured: false,
            known: true,
            counted: None,
        }
    }

    /// Eats a record. They come in the order of their cursors.
    pub fn take(&mut self, header: &Header, body: &Body) {
        let at = header.cursor();
        self.notice_hole(at, body);
        self.last = Some(at);
        let behind_config = self.configured;
        self.configured = match body {
            Body::Config(_) => true,
            Body::Parted(_) | Body::Part(_) => behind_config,
            Body::Start(_) | Body::Inputs(_) | Body::Conclusions(_) | Body::Checkpoint(_) | Body::Gap(_) => {
                false
            }
        };
        match body {
            Body::Start(start) => {
                self.open();
                self.opening = Some((start.clone(), None));
            }
            Body::Config(config) => {
                self.known = config.semantics == SEMANTICS;
                self.learn(&config.plan);
            }
            Body::Checkpoint(state) => self.checkpoint(state, behind_config),
            Body::Inputs(inputs) => {
                self.open();
                for input in &inputs.items {
                    if let Some(input) = self.translated(input) {
                        self.verifier.eat(&input);
                    }
                }
                // Counts cover everything since the inputs record before, in the same epoch.
                let before = self.counted.filter(|(epoch, _)| *epoch == at.epoch);
                let from = before.map_or(header.t0, |(_, t1)| t1);
                for counts in &inputs.counts {
                    self.count(from, header.t1, counts);
                }
                self.counted = Some((at.epoch, header.t1));
            }
            Body::Gap(gap) => {
                self.missing(gap);
                // Inputs were eaten that are in no record.
                if gap.cause == GapCause::Full {
                    self.opening = None;
                    self.verifier.lose();
                }
            }
            Body::Conclusions(_) => self.open(),
            Body::Parted(_) | Body::Part(_) => {}
        }
    }

    /// The verdict.
    pub fn finish(mut self) -> Verification {
        self.open();
        self.verifier.finish()
    }

    /// Numbers that are not there may have been inputs.
    fn notice_hole(&mut self, at: Cursor, body: &Body) {
        let Some(last) = self.last else { return };
        let follows = if let Body::Start(start) = body {
            // Another box goes on from an earlier state than its predecessor's disk tells of.
            let replaced = start.cause == StartCause::Replaced;
            let earlier = |before| replaced && before < (last.epoch, last.seq);
            start.previous.is_none_or(|before| before == (last.epoch, last.seq) || earlier(before))
        } else {
            last.epoch == at.epoch && last.seq.0 + 1 == at.seq.0
        };
        if !follows {
            self.opening = None;
            self.configured = false;
            self.verifier.lose();
        }
    }

    fn checkpoint(&mut self, state: &State, first: bool) {
        if let (Some((_, opening)), true) = (&mut self.opening, first) {
            *opening = Some(Box::new(state.clone()));
            return;
        }
        self.open();
        // While everything is remembered it says nothing new.
        if !self.verifier.remembers() {
            self.begin(Some(state));
        }
    }

    /// The start of an epoch, once it is known whether a state was taken over.
    fn open(&mut self) {
        if let Some((start, state)) = self.opening.take() {
            self.begin(state.as_deref());
            self.verifier.eat(&Input::Start(start));
            if !self.known {
                self.verifier.lose();
            }
        }
    }

    fn begin(&mut self, state: Option<&State>) {
        if !self.known || self.verifier.begin(state).is_err() {
            self.verifier.lose();
        }
    }

    fn learn(&mut self, own: &Plan) {
        let same = own.points == self.points
            && own.devices.len() == self.devices.len()
            && own.devices.iter().zip(&self.devices).all(|(own, id)| own.id == *id);
        self.names = (!same).then(|| {
            let ids: BTreeMap<&str, usize> =
                self.points.iter().enumerate().map(|(slot, point)| (point.id.as_str(), slot)).collect();
            let point = |own: &PointPlan| {
                let slot = *ids.get(own.id.as_str())?;
                let (from, to) = (scale(own), scale(self.points.get(slot)?));
                convert(0.0, from.2, to.2)?;
                let scale = if from == to { Scale::Same } else { Scale::Other { from, to } };
                Some((PointIx::of(slot), scale))
            };
            let device = |id: &str| self.devices.iter().position(|own| own == id).map(DeviceIx::of);
            Names {
                points: own.points.iter().map(point).collect(),
                devices: own.devices.iter().map(|own| device(&own.id)).collect(),
            }
        });
    }

    fn point(&self, own: PointIx) -> Option<(PointIx, Scale)> {
        match &self.names {
            None => Some((own, Scale::Same)),
            Some(names) => names.points.get(own.slot()).copied().flatten(),
        }
    }

    /// In the plan's own slots. What the plan does not have moves the time and nothing else.
    fn translated(&self, input: &Input) -> Option<Input> {
        Some(match input {
            Input::Reading(reading) => match self.point(reading.point) {
                None => Input::Advance(reading.at),
                Some((point, Scale::Same)) => Input::Reading(Reading { point, ..*reading }),
                Some((point, Scale::Other { from, to })) => {
                    let value = match reading.value {
                        Quality::Good(raw) => Quality::Good(rescaled(raw, from, to)),
                        Quality::Uncertain(raw, cause) => Quality::Uncertain(rescaled(raw, from, to), cause),
                        Quality::Bad(cause) => Quality::Bad(cause),
                    };
                    Input::Reading(Reading { point, value, ..*reading })
                }
            },
            Input::Fact(fact) => {
                let device = match &self.names {
                    None => Some(fact.device),
                    Some(names) => names.devices.get(fact.device.slot()).copied().flatten(),
                };
                // Visits and the like count whoever reports them.
                let device = device.unwrap_or(DeviceIx(u32::MAX));
                Input::Fact(Fact { device, ..fact.clone() })
            }
            // An epoch has one start, and that is a record of its own.
            Input::Start(_) => return None,
            Input::Advance(_)
            | Input::Clock(_)
            | Input::Command(_)
            | Input::Stop { .. }
            | Input::Heartbeat(_) => input.clone(),
        })
    }

    fn count(&mut self, from: EngineTime, to: EngineTime, counts: &PointCounts) {
        if let Some((point, _)) = self.point(counts.point).filter(|(point, _)| self.verifier.wants(*point)) {
            self.verifier.count(from, to, &PointCounts { point, ..counts.clone() });
        }
    }

    /// Readings that were due and are not there.
    fn missing(&mut self, gap: &Gap) {
        let mut add = |point: PointIx, due: i64| {
            if due > 0 {
                let due = u32::try_from(due).unwrap_or(u32::MAX);
                let mut failed = vec![0; BadCause::ALL.len()];
                failed[BadCause::GatewayDown.code()] = due;
                let lost = PointCounts { point, due, failed, ..PointCounts::default() };
                self.verifier.count(gap.from, gap.to, &lost);
            }
        };
        match gap.point {
            Some(own) => {
                let point = match &self.names {
                    None => Some(own),
                    Some(names) => names.points.get(own.slot()).copied().flatten().map(|(point, _)| point),
                };
                if let Some(point) = point {
                    add(point, i64::try_from(gap.count).unwrap_or(i64::MAX));
                }
            }
            // The count is over all points: each lost what was due of it by plan.
            None => {
                for (slot, point) in self.points.iter().enumerate().filter(|(_, point)| point.every_ms > 0) {
                    add(PointIx::of(slot), gap.to.since(gap.from) / point.every_ms);
                }
            }
        }
    }
}

fn scale(point: &PointPlan) -> (f64, f64, gateway_model::Unit) {
    (point.gain, point.offset, point.unit)
}

/// What the plan's gain and offset make the same number of.
fn rescaled(
    raw: Raw,
    (gain, offset, from): (f64, f64, gateway_model::Unit),
    (to_gain, to_offset, to): (f64, f64, gateway_model::Unit),
) -> Raw {
    let value = raw.value(gain, offset).and_then(|value| convert(value, from, to));
    // No number stays none.
    value.map_or(raw, |value| Raw::F64(((value - to_offset) / to_gain).to_bits()))
}
