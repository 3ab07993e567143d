//! What conditions can ask of the engine as it stands.

use gateway_model::{EngineTime, HoursQuestion, ModuleIx, PointIx, WindowFunction, WindowPlan};

use crate::eval::Senses;
use crate::hours::{Hours, HoursNow};
use crate::module::Module;
use crate::points::Points;
use crate::window::Window;

/// The engine's parts that programs read.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) points: &'a Points,
    pub(crate) windows: &'a [Window],
    pub(crate) window_plans: &'a [WindowPlan],
    pub(crate) modules: &'a [Module],
    pub(crate) hours: Hours<'a>,
    pub(crate) hours_now: HoursNow,
    pub(crate) now: EngineTime,
}

impl Senses for View<'_> {
    fn point(&self, point: PointIx) -> Option<f64> {
        self.points.believed(point)
    }

    fn window(&self, window: u32, function: WindowFunction) -> Option<f64> {
        let slot = window as usize;
        let (window, plan) = self.windows.get(slot).zip(self.window_plans.get(slot))?;
        match function {
            WindowFunction::Last => {
                let good_at = self.points.get(plan.point)?.good_at?;
                window.last().filter(|_| self.now.since(good_at) <= window.span_ms())
            }
            WindowFunction::Age => {
                let good_at = self.points.get(plan.point)?.good_at?;
                Some(self.now.since(good_at).max(0) as f64)
            }
            WindowFunction::Average
            | WindowFunction::Minimum
            | WindowFunction::Maximum
            | WindowFunction::Median
            | WindowFunction::Sum
            | WindowFunction::Count
            | WindowFunction::Rate => window.ask(self.now, function),
        }
    }

    fn bounds(&self, window: u32) -> Option<(f64, f64)> {
        self.windows.get(window as usize)?.bounds(self.now)
    }

    fn hours(&self, question: HoursQuestion) -> Option<bool> {
        self.hours_now.ask(question)
    }

    fn output(&self, module: ModuleIx, output: u8) -> Option<f64> {
        self.modules.get(module.slot())?.output(self.now, &self.hours, output)
    }
}
