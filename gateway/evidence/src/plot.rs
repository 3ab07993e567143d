//! One point of a journal with the alerts drawn in, as a picture (SVG).

use gateway_model::{EngineTime, Input, Plan, Quality};
use gateway_wire::Body;

use crate::backtest::{Backtested, Judged, Said};
use crate::chart;
use crate::dates::local;
use crate::story::{Curve, share};

/// A picture that is being drawn.
pub struct Plot {
    point: String,
    window: (EngineTime, EngineTime),
    recorded: Option<Plan>,
    curve: Option<Curve>,
    utc_offset_min: i16,
}

impl Plot {
    /// Of a point of this plan, whose rules give the limits that are drawn; `None` = there is no such point.
    pub fn new(plan: &Plan, point: &str, window: (EngineTime, EngineTime)) -> Option<Self> {
        let slot = plan.points.iter().position(|own| own.id == point)?;
        let curve = Curve::new(plan, slot, window);
        let utc_offset_min = plan.utc_offset_min;
        Some(Self { point: point.to_owned(), window, recorded: None, curve, utc_offset_min })
    }

    /// Looks at a record.
    pub fn take(&mut self, body: &Body) {
        match body {
            Body::Config(config) => self.recorded = Some(config.plan.clone()),
            Body::Inputs(inputs) => inputs.items.iter().for_each(|input| self.input(input)),
            Body::Start(_)
            | Body::Conclusions(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => {}
        }
    }

    fn input(&mut self, input: &Input) {
        let Input::Reading(reading) = input else { return };
        let recorded = self.recorded.as_ref().and_then(|plan| plan.points.get(reading.point.slot()));
        let (Some(point), Some(share), Some(curve)) = (
            recorded.filter(|point| point.id == self.point),
            share(self.window, reading.at),
            &mut self.curve,
        ) else {
            return;
        };
        let value = match reading.value {
            Quality::Good(raw) => raw.value(point.gain, point.offset),
            Quality::Uncertain(..) | Quality::Bad(_) => None,
        };
        curve.take(share, value);
    }

    /// The picture, with the alerts of one set of rules at the point's device.
    pub fn draw(self, plan: &Plan, judged: &Judged, found: &Backtested) -> Option<String> {
        let mut curve = self.curve?;
        let point = plan.points.iter().find(|own| own.id == self.point)?;
        let device = &plan.devices.get(point.device.slot())?.id;
        let ends = [self.window.0, self.window.1]
            .map(|at| found.dates.civil(at).map_or_else(String::new, |at| local(at, self.utc_offset_min)));
        for ((rule, _), said) in judged.iter().filter(|((_, subject), _)| subject == device) {
            let (window, rule) = (self.window, rule.as_str());
            curve.stood.extend(said.occurrences.iter().map(|one| {
                let from = share(window, one.from.max(window.0)).unwrap_or(1.0);
                let to = one.to.and_then(|to| share(window, to)).unwrap_or(1.0);
                (from, to, title(rule, said))
            }));
        }
        Some(chart::svg(&curve, (&ends[0], &ends[1])))
    }
}

fn title(rule: &str, said: &Said) -> String {
    format!("{} · {} ({rule})", said.title.zh, said.title.en)
}
