//! Windows of freshly compiled programs get their slots, each window once.

use std::collections::BTreeMap;

use gateway_model::{Plan, PointIx, Program, WindowPlan};

/// The windows of a plan by what they are, so that finding one costs the same however many there are.
#[derive(Debug, Clone, Default)]
pub struct Windows(BTreeMap<(PointIx, i64), u32>);

impl Windows {
    /// Those that a plan has already.
    pub fn of(plan: &Plan) -> Self {
        let there = plan.judging.iter().flat_map(|judging| &judging.windows);
        Self(there.map(|window| (window.point, window.span_ms)).zip(0..).collect())
    }

    /// Gives the windows of `programs` (their own list is `own`) their slots in `into`, which this index is of.
    pub(crate) fn adopt<'p>(
        &mut self,
        into: &mut Vec<WindowPlan>,
        own: &[WindowPlan],
        programs: impl IntoIterator<Item = &'p mut Program>,
    ) {
        let slots: Vec<u32> = own
            .iter()
            .map(|window| {
                *self.0.entry((window.point, window.span_ms)).or_insert_with(|| {
                    into.push(*window);
                    (into.len() - 1) as u32
                })
            })
            .collect();
        for program in programs {
            program.move_windows(&slots);
        }
    }
}

/// As [`Windows::adopt`], of the few windows of one device, which need no index.
pub(crate) fn adopt<'p>(
    into: &mut Vec<WindowPlan>,
    own: &[WindowPlan],
    programs: impl IntoIterator<Item = &'p mut Program>,
) {
    let mut windows = Windows(into.iter().map(|window| (window.point, window.span_ms)).zip(0..).collect());
    windows.adopt(into, own, programs);
}

#[cfg(test)]
mod tests {
    use gateway_model::{Op, WindowFunction};

    use super::*;

    fn asks(window: u32, point: u32) -> Program {
        Program(vec![Op::Window { window, point: PointIx(point), function: WindowFunction::Average }])
    }

    #[test]
    fn a_window_is_there_once_and_every_program_finds_its_own() {
        let window = |point, span_ms| WindowPlan { point: PointIx(point), span_ms };
        let mut plan = Plan::default();
        let judging = plan.judging.get_or_insert_default();
        judging.windows = vec![window(0, 1), window(0, 2)];
        let mut index = Windows::of(&plan);
        let into = &mut plan.judging.get_or_insert_default().windows;
        let mut programs = [asks(0, 1), asks(1, 0), asks(2, 1)];
        index.adopt(into, &[window(1, 1), window(0, 2), window(1, 2)], &mut programs);
        assert_eq!(*into, [window(0, 1), window(0, 2), window(1, 1), window(1, 2)]);
        assert_eq!(programs, [asks(2, 1), asks(1, 0), asks(3, 1)]);
        let mut again = [asks(0, 1)];
        index.adopt(into, &[window(1, 2)], &mut again);
        assert_eq!((into.len(), &again), (4, &[asks(3, 1)]));
        let mut alone = [asks(0, 0)];
        adopt(into, &[window(0, 2)], &mut alone);
        assert_eq!((into.len(), &alone), (4, &[asks(1, 0)]));
    }
}
