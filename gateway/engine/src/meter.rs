//! Time in which something was on: lamp hours, run hours, sessions, dose.
//!
//! A stretch between two readings is on if its first reading was. Stretches longer than the gap, and those
//! across which the value could not be believed, are unseen: they count for nothing and end a session. So hours
//! are rather too few than too many, and a session never spans what nobody saw.

use gateway_model::{DosePlan, EngineTime, MeterState, RunPlan};

const HOUR_MS: f64 = 3_600_000.0;

/// One counter at work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Meter {
    on_from: f64,
    warm_up_ms: i64,
    gap_ms: i64,
    pub(crate) state: MeterState,
}

impl Meter {
    pub(crate) fn of_lamp(plan: &DosePlan) -> Self {
        Self {
            on_from: plan.lit,
            warm_up_ms: plan.warm_up_ms,
            gap_ms: plan.gap_ms,
            state: MeterState::default(),
        }
    }

    pub(crate) fn of_machine(plan: &RunPlan) -> Self {
        Self { on_from: plan.running, warm_up_ms: 0, gap_ms: plan.gap_ms, state: MeterState::default() }
    }

    /// A believed value.
    pub(crate) fn read(&mut self, at: EngineTime, value: f64) {
        let state = &mut self.state;
        if let Some((before, last)) = state.last {
            let passed = at.since(before).max(0);
            if passed > self.gap_ms {
                state.since = None;
            } else if last >= self.on_from {
                state.on_ms = state.on_ms.saturating_add(passed);
                state.session_ms = state.session_ms.saturating_add(passed);
                let lower = if value < last { value } else { last };
                // A lamp that goes out within the stretch gives nothing at its end: the dose is rather too small.
                state.dose += if lower > 0.0 { lower * passed as f64 / 1000.0 } else { 0.0 };
            }
        }
        let on = value >= self.on_from;
        if on && state.since.is_none() {
            state.starts = state.starts.saturating_add(1);
            state.since = Some(at);
            (state.session_ms, state.dose, state.lowest) = (0, 0.0, None);
        } else if !on {
            state.since = None;
        }
        if on && state.session_ms >= self.warm_up_ms {
            state.lowest =
                Some(state.lowest.map_or(value, |lowest| if value < lowest { value } else { lowest }));
        }
        state.last = Some((at, value));
    }

    /// What is counted was replaced: the stretch in which that happened counts for neither.
    pub(crate) fn begin_anew(&mut self) {
        self.state = MeterState::default();
    }

    /// The value can no longer be believed.
    pub(crate) fn lose(&mut self) {
        self.state.last = None;
        self.state.since = None;
    }

    /// By the output numbers of [`DosePlan`].
    pub(crate) fn lamp_output(&self, output: u8) -> Option<f64> {
        match output {
            DosePlan::HOURS => Some(self.state.on_ms as f64 / HOUR_MS),
            DosePlan::SESSION_MS => Some(self.state.session_ms as f64),
            DosePlan::DOSE => Some(self.state.dose),
            DosePlan::LOWEST => self.state.lowest,
            DosePlan::WARM => {
                self.state.last?;
                let warm = self.state.since.is_some() && self.state.session_ms >= self.warm_up_ms;
                Some(f64::from(u8::from(warm)))
            }
            _ => None,
        }
    }

    /// By the output numbers of [`RunPlan`].
    pub(crate) fn run_output(&self, output: u8) -> Option<f64> {
        match output {
            RunPlan::HOURS => Some(self.state.on_ms as f64 / HOUR_MS),
            RunPlan::STARTS => Some(f64::from(self.state.starts)),
            RunPlan::RUNNING_MS => {
                self.state.last?;
                Some(if self.state.since.is_some() { self.state.session_ms as f64 } else { 0.0 })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use gateway_model::{DeviceIx, PointIx};

    use super::*;

    fn lamp(series: &[(i64, f64)]) -> Meter {
        let mut meter = Meter::of_lamp(&DosePlan {
            device: DeviceIx(0),
            irradiance: PointIx(0),
            lit: 15.0,
            warm_up_ms: 300_000,
            gap_ms: 60_000,
        });
        for (s, value) in series {
            meter.read(EngineTime(s * 1000), *value);
        }
        meter
    }

    #[test]
    fn hours_session_and_dose_of_a_lamp() {
        let mut series: std::vec::Vec<_> = (0..=60).map(|n| (n * 30, 80.0)).collect();
        series.push((1830, 0.0));
        let meter = lamp(&series);
        assert_eq!(meter.lamp_output(DosePlan::SESSION_MS), Some(1_830_000.0));
        assert_eq!(meter.lamp_output(DosePlan::HOURS), Some(1830.0 / 3600.0));
        assert_eq!(
            meter.lamp_output(DosePlan::DOSE),
            Some(80.0 * 1800.0),
            "nothing for the stretch it went out in"
        );
        assert_eq!(meter.lamp_output(DosePlan::WARM), Some(0.0));
    }

    #[test]
    fn the_lowest_counts_only_once_it_is_warm() {
        let meter =
            lamp(&(0..30).map(|n| (n * 30, if n < 10 { 40.0 } else { 75.0 })).collect::<std::vec::Vec<_>>());
        assert_eq!(meter.lamp_output(DosePlan::LOWEST), Some(75.0));
        assert_eq!(meter.lamp_output(DosePlan::WARM), Some(1.0));
    }

    #[test]
    fn what_nobody_saw_counts_for_nothing_and_ends_the_session() {
        let mut meter = lamp(&[(0, 80.0), (30, 80.0), (600, 80.0), (630, 80.0)]);
        assert_eq!(meter.state.on_ms, 60_000);
        assert_eq!((meter.state.starts, meter.state.session_ms), (2, 30_000));
        meter.lose();
        assert_eq!(meter.lamp_output(DosePlan::WARM), None);
        meter.read(EngineTime(640_000), 80.0);
        assert_eq!(meter.state.on_ms, 60_000);
    }
}
