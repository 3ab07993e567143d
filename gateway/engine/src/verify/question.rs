//! What is asked about a rule: what it watches, what it must remember, and how a moment is looked at.

use alloc::vec::Vec;

use gateway_model::{
    Counted, Criterion, CycleOutcome, CycleVerdict, EngineTime, FactBody, ModuleEvent, ModuleIx, ModulePlan,
    Op, Plan, PointIx, ProcessRegion, Program, RuleKind, RulePlan, WindowFunction,
};

use crate::engine::{Engine, windows};
use crate::eval;
use crate::module::Module;
use crate::quality::BUS_DEVICES_MIN;
use crate::tally::Duty;
use crate::verify::verdict::Window;
use crate::wiring::{Wiring, listed};

/// What one moment of the window shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// Not violated.
    Fine,
    /// Violated.
    Violated,
    /// True, but what makes it true may lie before the window.
    Inherited,
    /// True, where only what lasts is a violation.
    Brief,
    /// It could not be judged.
    Unknown,
    /// Nothing was put to the test.
    Idle,
}

/// The question, by kind of rule.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// Does it hold? Only while `during` does, where there is one; for so long at least, ms, where that is said.
    Condition { when: Program, during: Option<Program>, lasting_ms: Option<i64> },
    /// Is the point silent?
    Absence(PointIx),
    /// Can all of these points be believed?
    Device(Vec<PointIx>),
    /// Can any of these devices be judged?
    Bus(Vec<Vec<PointIx>>),
    /// Is civil time known?
    Clock,
    /// How did the last cycle of the module end? True: it need only have been measured.
    Cycle(ModuleIx, bool),
    /// What did the module notice?
    Event(ModuleIx, ModuleEvent),
}

/// A question with what belongs to it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) question: Question,
    /// Points it rests on, in ascending order: they have to be covered.
    pub(super) watched: Vec<PointIx>,
    /// Those, and what else has to be fed: a scale may be switched off while the ledger is judged.
    pub(super) fed: Vec<PointIx>,
    /// It rests on what was remembered before the first reading: counters, the ledger, civil time, closures.
    pub(super) remembers: bool,
    /// Of that time in which it was put to the test there must be so much, ms.
    pub(super) tested_ms: i64,
    /// Good results of a duty since the last bad one, at least.
    good_results: u16,
}

impl Asked {
    /// `None` = the rule reads nothing.
    pub(super) fn of(plan: &Plan, rule: &RulePlan) -> Option<Self> {
        let (question, programs) = question(plan, rule);
        let mut watched: Vec<PointIx> = match &question {
            Question::Absence(point) => Vec::from([*point]),
            Question::Device(points) => points.clone(),
            Question::Bus(devices) => devices.concat(),
            Question::Condition { .. } | Question::Clock | Question::Cycle(..) | Question::Event(..) => {
                Vec::new()
            }
        };
        let mut modules = match &question {
            Question::Cycle(module, _) | Question::Event(module, _) => Vec::from([*module]),
            Question::Condition { .. }
            | Question::Absence(_)
            | Question::Device(_)
            | Question::Bus(_)
            | Question::Clock => Vec::new(),
        };
        let mut remembers = match &question {
            Question::Absence(_) => rule.handling.as_ref().is_some_and(|handling| handling.sleeps),
            Question::Clock | Question::Event(..) => true,
            // A delay that runs is remembered.
            Question::Condition { lasting_ms, .. } => lasting_ms.is_some(),
            Question::Device(_) | Question::Bus(_) | Question::Cycle(..) => false,
        };
        for program in &programs {
            watched.extend(program.points());
            for op in &program.0 {
                if let Op::Output { module, .. } = op {
                    modules.push(*module);
                }
                remembers |= matches!(op, Op::Output { .. } | Op::Hours(_));
            }
        }
        let mut fed = Vec::new();
        for module in modules {
            let ledger = matches!(plan.modules.get(module.slot()), Some(ModulePlan::Waste(_)));
            let points = points_of(plan, module);
            if ledger { &mut fed } else { &mut watched }.extend(points);
        }
        fed.extend_from_slice(&watched);
        for points in [&mut watched, &mut fed] {
            points.sort_unstable();
            points.dedup();
        }
        let tested_ms = match (&question, &rule.kind) {
            (Question::Condition { during: Some(_), .. }, RuleKind::Condition { on_delay_ms, .. }) => {
                (*on_delay_ms).max(1)
            }
            _ => 0,
        };
        let good_results = match rule.verify.criterion {
            Some(Criterion::GoodResults(n)) => n,
            Some(Criterion::Lasting) | None => 0,
        };
        let asks = remembers || !watched.is_empty();
        asks.then_some(Self { question, watched, fed, remembers, tested_ms, good_results })
    }

    /// One moment, as the engine stands.
    pub(super) fn look(&self, engine: &Engine, from: EngineTime) -> Moment {
        let violated = |violated| if violated { Moment::Violated } else { Moment::Fine };
        let blind = |point: &PointIx| !engine.points.is_good(*point);
        match &self.question {
            Question::Condition { when, during, lasting_ms } => {
                let asked = during.as_ref().map_or(Some(true), |during| eval::truth(during, &engine.view()));
                match (asked, eval::truth(when, &engine.view())) {
                    (Some(false) | None, _) => Moment::Idle,
                    (Some(true), None) => Moment::Unknown,
                    (Some(true), Some(false)) => Moment::Fine,
                    (Some(true), Some(true)) if lasting_ms.is_some() => Moment::Brief,
                    (Some(true), Some(true)) if self.reaches_back(engine, from) => Moment::Inherited,
                    (Some(true), Some(true)) => Moment::Violated,
                }
            }
            Question::Absence(_) => violated(engine.lives.first().is_some_and(crate::alert::Life::is_open)),
            Question::Device(points) => violated(points.iter().any(blind)),
            Question::Bus(devices) => violated(
                devices.len() >= BUS_DEVICES_MIN && devices.iter().all(|points| points.iter().any(blind)),
            ),
            Question::Clock => violated(engine.clock().error_ms.is_none()),
            Question::Cycle(..) | Question::Event(..) => Moment::Fine,
        }
    }

    /// What holds since `since` in the window is a violation once it has lasted, and the alert was raised; and also where the alert
    /// stands to the end of the window since before it.
    pub(super) fn lasted(&self, engine: &Engine, since: EngineTime, window: Window) -> Moment {
        let now = engine.now();
        let raised = engine.lives.first().filter(|life| life.state.regions.process == ProcessRegion::Active);
        let throughout = now >= window.to && raised.is_some_and(|life| life.state.since <= window.from);
        if raised.is_none() || !throughout && !self.is_long(since, now) {
            Moment::Brief
        } else if self.reaches_back(engine, window.from) {
            Moment::Inherited
        } else {
            Moment::Violated
        }
    }

    /// True if that is long enough for a violation.
    pub(super) fn is_long(&self, since: EngineTime, now: EngineTime) -> bool {
        let Question::Condition { lasting_ms: Some(lasting_ms), .. } = self.question else { return true };
        now.since(since) >= lasting_ms
    }

    /// True if as many good results as are asked for followed the last bad one.
    pub(super) fn is_good_again(&self, duty: &Duty) -> bool {
        self.good_results == 0 || duty.good_since_bad.is_some_and(|good| good >= self.good_results)
    }

    /// True if the answer at this moment rests on something before the window.
    pub(super) fn reaches_back(&self, engine: &Engine, from: EngineTime) -> bool {
        let Question::Condition { when, .. } = &self.question else { return false };
        let (plan, now) = (engine.plan(), engine.now());
        let of_window = |window: u32| {
            windows(plan).get(window as usize).is_some_and(|window| now.since(from) < window.span_ms)
        };
        let of_module = |module: ModuleIx| {
            let Some(ModulePlan::Ratio(ratio)) = plan.modules.get(module.slot()) else { return false };
            let days = engine.hours().day(now).zip(engine.hours().day(from));
            days.is_none_or(|(today, first)| today - i64::from(ratio.days) <= first)
        };
        when.0.iter().any(|op| {
            if let Op::Window { window, function, .. } = op {
                // An age is a silence, and a silence that reaches into the window is one of the window.
                *function != WindowFunction::Age && of_window(*window)
            } else if let Op::Output { module, .. } = op {
                of_module(*module)
            } else {
                false
            }
        })
    }

    /// A cycle ended: did it end well? `None` = it is not asked about, or says nothing.
    pub(super) fn cycle(&self, module: ModuleIx, outcome: CycleOutcome) -> Option<bool> {
        let Question::Cycle(asked, measured) = self.question else { return None };
        match outcome {
            _ if module != asked => None,
            CycleOutcome::Drying => None,
            CycleOutcome::Aborted => measured.then_some(true),
            CycleOutcome::NotMeasured => measured.then_some(false),
            CycleOutcome::Judged(verdict) => Some(measured || verdict == CycleVerdict::Passed),
        }
    }

    /// True if what is asked about could have happened with this fact.
    pub(super) fn is_occasion(&self, fact: &FactBody) -> bool {
        let Question::Event(_, event) = &self.question else { return false };
        let labelled = matches!(fact, FactBody::BagLabelled { .. });
        let moved = matches!(
            fact,
            FactBody::BagsStored { .. } | FactBody::HandOver { .. } | FactBody::WasteReceived { .. }
        );
        match event {
            ModuleEvent::DuplicateLabel | ModuleEvent::UnknownCategory => labelled,
            ModuleEvent::UnknownLabel | ModuleEvent::WeightDiffers | ModuleEvent::WeightLost => moved,
            ModuleEvent::Vanished => matches!(fact, FactBody::HandOver { .. }),
            ModuleEvent::DutyFailed | ModuleEvent::CycleUnmeasured | ModuleEvent::CycleAborted => false,
        }
    }

    /// The duty whose results are asked about.
    pub(super) fn duty<'e>(&self, engine: &'e Engine) -> Option<&'e Duty> {
        let Question::Event(module, ModuleEvent::DutyFailed) = &self.question else { return None };
        let Some(Module::Duty(duty)) = engine.modules.get(module.slot()) else { return None };
        Some(duty)
    }

    pub(super) fn wants(&self, point: PointIx) -> bool {
        self.fed.binary_search(&point).is_ok()
    }
}

fn question<'p>(plan: &Plan, rule: &'p RulePlan) -> (Question, Vec<&'p Program>) {
    let subject = rule.subject.slot();
    match &rule.kind {
        RuleKind::Condition { when, returned, on_delay_ms, .. } => {
            let lasting = rule.verify.criterion == Some(Criterion::Lasting);
            let lasting_ms = lasting.then_some(*on_delay_ms);
            let during = rule.verify.during.as_ref();
            let handling = rule.handling.as_ref();
            let patience = handling.and_then(|handling| handling.patience.as_ref()).map(|plan| &plan.when);
            let question = Question::Condition { when: when.clone(), during: during.cloned(), lasting_ms };
            (question, [Some(when), returned.as_ref(), during, patience].into_iter().flatten().collect())
        }
        RuleKind::Absence { point, .. } => (Question::Absence(*point), Vec::new()),
        RuleKind::DeviceUnevaluable { .. } => {
            (Question::Device(listed(&Wiring::new(plan).watched, subject).to_vec()), Vec::new())
        }
        RuleKind::BusUnevaluable { bus, .. } => {
            let wiring = Wiring::new(plan);
            let devices = listed(&wiring.bus_devices, usize::from(*bus)).iter();
            let watched = devices.map(|&device| listed(&wiring.watched, device).to_vec());
            (Question::Bus(watched.collect()), Vec::new())
        }
        RuleKind::ClockUnevaluable { .. } => (Question::Clock, Vec::new()),
        RuleKind::CycleFailed { module, .. }
        | RuleKind::Event { module, event: ModuleEvent::CycleAborted, .. } => {
            (Question::Cycle(*module, false), Vec::new())
        }
        RuleKind::Event { module, event: ModuleEvent::CycleUnmeasured, .. } => {
            (Question::Cycle(*module, true), Vec::new())
        }
        RuleKind::Event { module, event, .. } => (Question::Event(*module, *event), Vec::new()),
    }
}

/// The points of a module and of the modules it counts.
fn points_of(plan: &Plan, module: ModuleIx) -> Vec<PointIx> {
    let Some(found) = plan.modules.get(module.slot()) else { return Vec::new() };
    let mut points = found.points();
    if let ModulePlan::Ratio(ratio) = found {
        for counted in [ratio.of, ratio.to] {
            if let Counted::OnMinutes(module) | Counted::CyclesPassed(module) = counted {
                // A ratio counts what is no ratio.
                points.extend(plan.modules.get(module.slot()).map(ModulePlan::points).unwrap_or_default());
            }
        }
    }
    points
}
