//! One input in, conclusions out; and what the engine does by itself when its time has come.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use gateway_model::{
    AggravatedBy, AlertDetail, AlertId, CivilTime, ClockState, Conclusion, EngineTime, Epoch, Handling,
    Input, ModuleIx, Plan, PointIx, Quality, Raw, Reading, Regions, RuleIx, RuleKind, RulePlan,
    UncertainCause, WindowPlan,
};

use crate::alert::{Delays, Desk, Face, Life};
use crate::eval;
use crate::handling::Insight;
use crate::hours::{Hours, HoursNow};
use crate::module::Module;
use crate::points::Points;
use crate::quality::Blind;
use crate::senses::View;
use crate::timers::{Timer, Timers};
use crate::watch::{Rest, Watch};
use crate::window::Window;
use crate::wiring::{Wiring, listed};

/// The machine that decides at the gateway.
///
/// Feed it [`Input::Start`] first: delays and absences begin to run there.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Shared with whoever else works by it: a plan with its texts is most of what a gateway holds in memory.
    pub(crate) plan: Arc<Plan>,
    pub(crate) wiring: Wiring,
    watch: Watch,
    pub(crate) now: EngineTime,
    pub(crate) epoch: Epoch,
    pub(crate) next_alert: u32,
    pub(crate) clock: ClockState,
    pub(crate) points: Points,
    pub(crate) lives: Vec<Life>,
    /// Which of them a look at a condition that does not hold would leave as they are.
    rest: Rest,
    /// Rules with open events, ascending.
    eventful: Vec<usize>,
    pub(crate) modules: Vec<Module>,
    pub(crate) windows: Vec<Window>,
    /// Closures declared since the plan was made.
    pub(crate) closures: Vec<(CivilTime, CivilTime)>,
    /// What the calendar said when it was last looked at.
    pub(crate) hours_now: HoursNow,
    /// Which devices and buses cannot be judged.
    pub(crate) blind: Blind,
    pub(crate) timers: Timers,
}

/// An alert that is on a list: active, clearing, latched, or over but not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenAlert {
    /// Which occurrence.
    pub alert: AlertId,
    /// Its rule.
    pub rule: RuleIx,
    /// Number of its last event: what an acknowledgement has to name.
    pub event: u32,
    /// Its regions.
    pub regions: Regions,
    /// What else is said of it.
    pub detail: AlertDetail,
    /// Since when the condition has held, or the failed cycle ran.
    pub since: EngineTime,
    /// Present value of the rule's shown point, in its unit.
    pub value: Option<f64>,
    /// The limit it is judged against.
    pub limit: Option<f64>,
}

impl Engine {
    /// An engine that has seen nothing yet.
    pub fn new(plan: impl Into<Arc<Plan>>) -> Self {
        let plan = plan.into();
        let wiring = Wiring::new(&plan);
        let modules = plan.modules.iter().map(|module| Module::new(&plan, module)).collect();
        let windows: Vec<Window> = windows(&plan).iter().map(Window::new).collect();
        Self {
            now: EngineTime(0),
            epoch: Epoch(0),
            next_alert: 1,
            clock: ClockState::default(),
            points: Points::new(&plan),
            lives: vec![Life::default(); plan.rules.len()],
            rest: Rest::new(plan.rules.len()),
            eventful: Vec::new(),
            modules,
            blind: Blind::new(&plan, &wiring),
            watch: Watch::new(&plan),
            wiring,
            timers: Timers::new(plan.points.len(), plan.modules.len(), plan.rules.len(), windows.len()),
            windows,
            closures: Vec::new(),
            hours_now: HoursNow::default(),
            plan,
        }
    }

    /// Eats one input; what it led to is appended to `out`, in order.
    ///
    /// Before the input itself, every timer due by its stamp fires, each at its own due time. [`Input::Start`]
    /// is the exception: nobody watched the time before it.
    pub fn step(&mut self, input: &Input, out: &mut Vec<Conclusion>) {
        if let Input::Start(start) = input {
            self.start(start, out);
            return;
        }
        self.elapse(input.at(), out);
        match input {
            Input::Reading(reading) => self.read(reading, out),
            Input::Command(command) => self.command(command, out),
            Input::Clock(clock) => self.learn_clock(clock, out),
            Input::Fact(fact) => self.fact(fact, out),
            Input::Advance(_) | Input::Heartbeat(_) | Input::Stop { .. } | Input::Start(_) => (),
        }
    }

    /// When the engine next has something to do without an input. The shell steps `Advance` at that time.
    pub fn deadline(&self) -> Option<EngineTime> {
        self.timers.next()
    }

    /// The plan it works by.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The same, to be kept.
    pub fn shared_plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan)
    }

    /// Engine time: the latest of all stamps eaten.
    pub fn now(&self) -> EngineTime {
        self.now
    }

    /// What it was last told of civil time.
    pub fn clock(&self) -> ClockState {
        self.clock
    }

    /// The point's last reading that was not late.
    pub fn last(&self, point: PointIx) -> Option<(EngineTime, Quality<Raw>)> {
        self.points.get(point).and_then(|point| point.last)
    }

    /// True if rules may judge by the point's value now: there is one, good enough and not too old.
    pub fn believes(&self, point: PointIx) -> bool {
        self.points.is_good(point)
    }

    /// True while a cycle of the module runs: its points are then recorded in full.
    pub fn cycle_running(&self, module: ModuleIx) -> bool {
        match self.modules.get(module.slot()) {
            Some(Module::Heat(heat)) => heat.cycle.running.is_some(),
            Some(Module::Lamp(meter) | Module::Machine(meter)) => meter.state.since.is_some(),
            Some(Module::Ratio(_) | Module::Duty(_) | Module::Waste(_)) | None => false,
        }
    }

    /// Every alert that is on a list, by rule and then by age.
    pub fn alerts(&self) -> Vec<OpenAlert> {
        let mut open = Vec::new();
        for (slot, (rule, life)) in self.plan.rules.iter().zip(&self.lives).enumerate() {
            if life.unacked.is_empty() && life.events.is_empty() && life.state.occurrence.is_none() {
                continue;
            }
            let face = face(slot, rule, &self.view(), self.trial());
            let branches = life.unacked.iter().map(|occurrence| {
                (*occurrence, life.branch_regions(), life.detail_of(occurrence.alert, &face))
            });
            let events = life.events.iter().map(|event| {
                (event.occurrence, event.regions, life.detail_of(event.occurrence.alert, &face))
            });
            let trunk = life.state.occurrence.map(|occurrence| {
                let (regions, detail) = life.now_shown(&face);
                (occurrence, regions, detail)
            });
            open.extend(branches.chain(events).chain(trunk).map(|(occurrence, regions, detail)| OpenAlert {
                alert: occurrence.alert,
                rule: RuleIx::of(slot),
                event: occurrence.event,
                regions,
                detail,
                since: occurrence.since,
                value: face.value,
                limit: life.step_limit(&face),
            }));
        }
        open
    }

    /// True while the site is in its trial run: its alerts open no cases.
    pub fn trial(&self) -> bool {
        self.plan.judging.as_ref().is_some_and(|judging| judging.trial)
    }

    /// Lets every timer due by `until` fire, in order, each at its own time.
    fn elapse(&mut self, until: EngineTime, out: &mut Vec<Conclusion>) {
        while let Some((due, timer)) = self.timers.pop(until) {
            self.now = self.now.max(due);
            match timer {
                Timer::Stale(point) => {
                    let mut points = vec![point];
                    // Values of one request age together: a rule that reads two of them sees one change.
                    points.extend(core::iter::from_fn(|| self.timers.pop_stale(due)));
                    self.age(&points, out);
                }
                Timer::Module(module) => self.module_due(module, out),
                Timer::Rule(slot) => self.delay_elapsed(slot, out),
                Timer::Handling(slot) => {
                    self.with_life(slot, out, |life, face, desk| life.handle_due(face, desk));
                }
                Timer::Lapse(slot) => self.lapse(slot, out),
                Timer::Window(window) => self.window_due(window, out),
                Timer::Calendar => self.hours_changed(out),
            }
        }
        self.now = self.now.max(until);
    }

    fn delay_elapsed(&mut self, slot: usize, out: &mut Vec<Conclusion>) {
        match self.kind(slot) {
            Some(RuleKind::Condition { .. }) => {
                self.with_life(slot, out, |life, face, desk| life.elapsed(face, desk));
            }
            Some(RuleKind::Absence { .. }) => self.unheard(slot, out),
            Some(
                RuleKind::DeviceUnevaluable { .. }
                | RuleKind::BusUnevaluable { .. }
                | RuleKind::ClockUnevaluable { .. },
            ) => {
                self.blind_long_enough(slot, out);
            }
            Some(RuleKind::CycleFailed { .. } | RuleKind::Event { .. }) | None => (),
        }
    }

    fn read(&mut self, reading: &Reading, out: &mut Vec<Conclusion>) {
        let slot = reading.point.slot();
        let Some(point) = self.points.0.get_mut(slot) else { return };
        let previous = point.good_at;
        let Some(eaten) = point.eat(reading, self.now) else { return };
        let stale_at = point.stale_at();
        self.timers.set(Timer::Stale(slot), stale_at, self.now);

        self.feed_windows(slot, true);
        for place in self.wiring.modules.span(slot) {
            let Some(module) = self.wiring.modules.entry(place) else { break };
            self.feed_module(module, reading.point, Some(reading.at), previous);
            self.outputs_changed(module, out);
        }
        if received(reading.value) {
            for place in self.wiring.absences.span(slot) {
                let Some(rule) = self.wiring.absences.entry(place) else { break };
                self.heard(rule, out);
            }
        }
        if !self.wiring.aggravating.is_empty(slot)
            && self.points.believed(reading.point).is_some_and(|value| value > 0.0)
        {
            self.aggravate(AggravatedBy::Point(reading.point), out);
        }
        let counted = !self.wiring.windows.is_empty(slot);
        if eaten.anything || counted {
            for place in self.wiring.conditions.span(slot) {
                let Some(rule) = self.wiring.conditions.entry(place) else { break };
                self.judge(rule, out);
            }
        }
        if eaten.class {
            self.settle_blind(&[slot], out);
        }
    }

    /// The points have reached their maximum age.
    fn age(&mut self, points: &[usize], out: &mut Vec<Conclusion>) {
        let aged: Vec<usize> = points.iter().copied().filter(|&point| self.refresh(point)).collect();
        let mut rules = Vec::new();
        for &point in &aged {
            self.feed_windows(point, false);
            for place in self.wiring.modules.span(point) {
                let Some(module) = self.wiring.modules.entry(place) else { break };
                self.feed_module(module, PointIx::of(point), None, None);
                rules.extend_from_slice(listed(&self.wiring.outputs, module));
            }
            rules.extend(self.wiring.conditions.of(point));
        }
        rules.sort_unstable();
        rules.dedup();
        for rule in rules {
            self.judge(rule, out);
        }
        self.settle_blind(&aged, out);
    }

    /// Points changed between believed and not: so may their devices and buses.
    fn settle_blind(&mut self, points: &[usize], out: &mut Vec<Conclusion>) {
        let mut devices = Vec::new();
        for &point in points {
            self.count_blind(point);
            devices.extend(self.wiring.devices.of(point));
        }
        devices.sort_unstable();
        devices.dedup();
        let mut buses: Vec<usize> = devices.iter().filter_map(|&device| self.bus_of(device)).collect();
        buses.sort_unstable();
        buses.dedup();
        for device in devices {
            self.settle_device(device, out);
        }
        for bus in buses {
            self.resettle_bus(bus, out);
        }
    }

    /// Looks at the point's age again; true if it is believed no longer, or again.
    pub(crate) fn refresh(&mut self, slot: usize) -> bool {
        let Some(point) = self.points.0.get_mut(slot) else { return false };
        let changed = point.refresh(self.now);
        let stale_at = point.stale_at();
        self.timers.set(Timer::Stale(slot), stale_at, self.now);
        changed
    }

    /// Looks at a condition.
    pub(crate) fn judge(&mut self, slot: usize, out: &mut Vec<Conclusion>) {
        // Most looks end here: what a rule shows, and what its handling asks, is worked out when something is to be said.
        if self.rest.get(slot) && self.watch.is_false(slot, &self.view()) {
            return;
        }
        let (
            Some(RuleKind::Condition { when, returned, on_delay_ms, off_delay_ms, shown: _, limit: _ }),
            Some(life),
        ) = (self.kind(slot), self.lives.get(slot))
        else {
            // What is no condition of its own may still be suppressed by one.
            if self.plan.rules.get(slot).is_some_and(is_suppressible) {
                self.with_life(slot, out, |_, _, _| ());
            }
            return;
        };
        let process = life.state.regions.process;
        let sight = eval::sight(when, returned.as_ref(), process, &self.points, &self.view());
        let delays = Delays { on_ms: *on_delay_ms, off_ms: *off_delay_ms };
        self.with_life(slot, out, |life, face, desk| life.see(sight, delays, face, desk));
    }

    /// What the rule watches for; a rule that is switched off watches for nothing (T24).
    pub(crate) fn kind(&self, slot: usize) -> Option<&RuleKind> {
        self.plan.rules.get(slot).filter(|rule| !is_disabled(rule)).map(|rule| &rule.kind)
    }

    /// Lets `act` change the rule's life and write down what happened; then sets its timer anew.
    pub(crate) fn with_life(
        &mut self,
        slot: usize,
        out: &mut Vec<Conclusion>,
        act: impl FnOnce(&mut Life, &mut Face<'_>, &mut Desk<'_>),
    ) {
        let Some((rule, life)) = self.plan.rules.get(slot).zip(self.lives.get_mut(slot)) else { return };
        let view = View {
            points: &self.points,
            windows: &self.windows,
            window_plans: windows(&self.plan),
            modules: &self.modules,
            hours: hours(&self.plan, &self.closures, self.clock),
            hours_now: self.hours_now,
            now: self.now,
        };
        let trial = self.plan.judging.as_ref().is_some_and(|judging| judging.trial);
        let mut face = face(slot, rule, &view, trial);
        let mut desk =
            Desk { now: self.now, epoch: self.epoch, next_alert: &mut self.next_alert, out, about: None };
        act(life, &mut face, &mut desk);
        if let Some(handling) = &rule.handling {
            life.attend(&face, &mut desk);
            if handling.sleeps && stands_still_asleep(&rule.kind) {
                life.stand_still(desk.now, asleep_or_unknown(&view));
            }
            self.timers.set(Timer::Handling(slot), life.handling_due(), self.now);
        }
        self.timers.set(Timer::Rule(slot), life.state.due, self.now);
        self.remember(slot);
    }

    /// What is known of a rule without a look at its life. After every change of a life.
    pub(crate) fn remember(&mut self, slot: usize) {
        let Some((rule, life)) = self.plan.rules.get(slot).zip(self.lives.get(slot)) else { return };
        self.rest.set(slot, life.is_at_rest(rule.handling.as_ref()));
        match (self.eventful.binary_search(&slot), life.events.is_empty()) {
            (Ok(place), true) => {
                self.eventful.remove(place);
            }
            (Err(place), false) => self.eventful.insert(place, slot),
            (Ok(_), false) | (Err(_), true) => (),
        }
    }

    /// Rules with open events, ascending.
    pub(crate) fn eventful(&self) -> &[usize] {
        &self.eventful
    }

    pub(crate) fn hours(&self) -> Hours<'_> {
        hours(&self.plan, &self.closures, self.clock)
    }

    pub(crate) fn view(&self) -> View<'_> {
        View {
            points: &self.points,
            windows: &self.windows,
            window_plans: windows(&self.plan),
            modules: &self.modules,
            hours: self.hours(),
            hours_now: self.hours_now,
            now: self.now,
        }
    }
}

/// The windows of a plan.
pub(crate) fn windows(plan: &Plan) -> &[WindowPlan] {
    plan.judging.as_ref().map_or(&[], |judging| &judging.windows)
}

pub(crate) fn hours<'a>(
    plan: &'a Plan,
    declared: &'a [(CivilTime, CivilTime)],
    clock: ClockState,
) -> Hours<'a> {
    Hours { plan: plan.judging.as_ref().and_then(|judging| judging.calendar.as_ref()), declared, clock }
}

/// T17: a condition says when it is not reminded of.
fn is_suppressible(rule: &RulePlan) -> bool {
    rule.handling.as_ref().is_some_and(|handling| handling.suppressed.is_some() && !handling.disabled)
}

/// T24.
pub(crate) fn is_disabled(rule: &RulePlan) -> bool {
    rule.handling.as_ref().is_some_and(|handling| handling.disabled)
}

/// Silence is expected while everything sleeps: these delays stand still then.
fn stands_still_asleep(kind: &RuleKind) -> bool {
    match kind {
        RuleKind::Absence { .. } | RuleKind::DeviceUnevaluable { .. } | RuleKind::BusUnevaluable { .. } => {
            true
        }
        RuleKind::Condition { .. }
        | RuleKind::CycleFailed { .. }
        | RuleKind::ClockUnevaluable { .. }
        | RuleKind::Event { .. } => false,
    }
}

/// While nobody can say whether it sleeps, a rule that may cannot be judged either.
fn asleep_or_unknown(view: &View<'_>) -> bool {
    view.hours.plan.is_some() && view.hours_now.asleep() != Some(false)
}

/// Something came in that has a number. A stale mark did not come in: it says that nothing did.
pub(crate) fn received(value: Quality<Raw>) -> bool {
    match value {
        Quality::Good(_) | Quality::Uncertain(_, UncertainCause::Clock | UncertainCause::Held) => true,
        Quality::Uncertain(_, UncertainCause::Stale) | Quality::Bad(_) => false,
    }
}

fn face<'a>(slot: usize, rule: &'a RulePlan, view: &View<'a>, trial: bool) -> Face<'a> {
    let points = view.points;
    let handling = rule.handling.as_ref();
    let (value, limit) = match &rule.kind {
        RuleKind::Condition { shown, limit, .. } => (shown.and_then(|point| points.number(point)), *limit),
        RuleKind::Absence { point, .. } => (points.number(*point), None),
        RuleKind::CycleFailed { .. }
        | RuleKind::DeviceUnevaluable { .. }
        | RuleKind::BusUnevaluable { .. }
        | RuleKind::ClockUnevaluable { .. }
        | RuleKind::Event { .. } => (None, None),
    };
    let computed = handling.and_then(|handling| handling.shown.as_ref());
    let value = computed.map_or(value, |shown| eval::number_of(&shown.value, view));
    Face {
        rule: Some(RuleIx::of(slot)),
        latching: rule.latching,
        value,
        limit,
        handling,
        insight: handling.map_or_else(Insight::default, |handling| insight(handling, view)),
        trial,
        hours: view.hours,
    }
}

/// What the programs of a handling say now.
fn insight(handling: &Handling, view: &View<'_>) -> Insight {
    let mut step = Some(0);
    for (n, plan) in (1..).zip(&handling.steps) {
        step = match eval::truth(&plan.when, view) {
            Some(true) => Some(n),
            Some(false) => step,
            None => None,
        };
    }
    let calibrated = |until| view.hours.civil(view.now).is_some_and(|civil| civil < until);
    Insight {
        step: step.filter(|_| !handling.steps.is_empty()),
        provable: handling
            .provable
            .as_ref()
            .is_some_and(|plan| calibrated(plan.until) && eval::truth(&plan.when, view) == Some(true)),
        suppressed: handling.suppressed.as_ref().and_then(|program| eval::truth(program, view)),
        excused_ms: handling
            .patience
            .as_ref()
            .filter(|patience| eval::truth(&patience.when, view) == Some(true))
            .map(|patience| patience.on_delay_ms),
    }
}
