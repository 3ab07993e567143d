//! Is a rectification real? Decided from signed records alone, over a window.
//!
//! | rule | FAIL | INSUFFICIENT | PASS |
//! |---|---|---|---|
//! | condition | true at any moment at which it could be judged, however short; or its alert was raised | some moment could not be judged, or too few answers | false and judged throughout |
//! | condition with `verify.during` | the same, of the moments at which `during` is true | at those, or put to the test for less than the rule's own `for` | false at all of those |
//! | condition with criterion *lasting* | true for the rule's own on-delay, with the alert raised; or raised since before the window and true at its end | some moment could not be judged, or it is true at the end | never true for as long as that |
//! | absence | its alert was open at any moment | no reading at all before the window, or nobody listened | never silent that long |
//! | failed or aborted cycle | the last judged cycle of the window failed | no judged cycle ended in it | the last judged cycle passed |
//! | cycle not measured | the last cycle of the window was not measured | no cycle but drying ended in it | it was judged |
//! | duty with a bad result | the last result is a bad one | it was never done, or fewer good ones followed than are asked for | the last result, in the window or before, is a good one |
//! | other event | it happened again | nothing was done with which it could have | done, and it did not happen |
//! | device cannot be judged | any of its watched points not believed at any moment | too few answers | believed throughout |
//! | bus cannot be judged | at any moment none of its devices could be | too few answers | always at least one |
//! | civil time not known | at any moment | what was known before is not there | known throughout |
//!
//! FAIL outweighs INSUFFICIENT: a violation that was seen stays one, whatever else was not seen. The delays of
//! a rule do not matter for conditions: "false for the whole window" has no exceptions but where a pack asks for what lasts.
//!
//! **The sweep is the engine.** It is fed what the gateway's was, and looked at whenever something changes, once all that is
//! stamped with a moment is eaten. So windows, opening hours and outputs of modules are at each moment what they were at
//! the gateway, and where the verdict is PASS the gateway's engine raised nothing of the rule in the window (a cycle that failed and was
//! settled by a later one apart).
//!
//! **What was before.** A sweep begins with a state out of a checkpoint, or with a start that took over none: then everything is
//! known. Otherwise it begins with nothing: what is read is known from its first reading, a window once it was watched
//! throughout; counters, ledgers, duties, opening hours and civil time are not, and what asks them is INSUFFICIENT. The same
//! holds from where inputs are missing to the next checkpoint.
//!
//! **What reaches back.** Where a condition is true because of what a window, or a ratio's days, held before the first moment
//! of this window, that convicts nobody; but where it is so to the end, nothing was shown either: INSUFFICIENT.
//!
//! **During.** What is switched off violates nothing and proves nothing. A rule that judges something only while it is in use
//! says so (`verify.during`); moments at which that is false or unknown do not count.
//!
//! Values age as in the engine: a point without a reading for its maximum age is not believed from then on,
//! so silence can never pass. Late readings are skipped, stamps never step back. While the gateway was not running nobody
//! watched: a point that got too old meanwhile could not be judged.
//!
//! **Coverage** is answers ÷ due over the counts whose span touches the window, of the worst point; where the
//! counts of a polled point leave holes longer than three of its periods, what was due in them by plan
//! counts as due, but not in hours in which everything may be switched off. Points that nobody polls have none; for them only age speaks. Absence, cycles and events do not ask
//! for coverage: the first is about receiving at all, the second counts unseen time itself, the last are facts.

mod coverage;
mod question;
mod verdict;

use alloc::vec::Vec;

use gateway_model::{
    Change, Conclusion, ConclusionBody, EngineTime, Epoch, Input, Plan, PointCounts, PointIx, Program,
    RuleIx, RuleKind, RulePlan, StartCause, StartInput, State,
};

use crate::engine::{Engine, received};
use crate::points::Point;
use crate::restore::RestoreError;
use crate::start::DOWNTIME_TOLERANCE_MS;
use coverage::{ALL_PERMILLE, Counted, worst};
use question::{Asked, Moment, Question};
pub use verdict::{METHOD, Reason, Verdict, Verification, Window};

/// Comes to a verdict while inputs pass by, in the order in which the gateway ate them. Those before the window make up
/// what is known at its first moment; those behind it are not looked at.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says another thing about what is known, in any combination"
)]
pub struct Verifier {
    window: Window,
    coverage_permille: u16,
    /// `None` = there is no question.
    asked: Option<Asked>,
    engine: Engine,
    /// The engine runs.
    started: bool,
    /// What was before its start is known.
    remembers: bool,
    /// Inputs are missing since the present moment.
    lost: bool,
    /// What follows was eaten behind the window.
    over: bool,
    /// A number of the point was received by the window's first moment.
    heard: bool,
    counts: Vec<Counted>,
    found: Found,
}

/// What was seen so far.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is another thing that was seen, in any combination")]
struct Found {
    first_violation: Option<EngineTime>,
    unknown: bool,
    /// It rests on what is not known, or inputs of the window are missing.
    no_history: bool,
    raised_by_the_past: bool,
    /// The last moment: when, and what it showed.
    last: Option<(EngineTime, Moment)>,
    /// True since then, where only what lasts is a violation.
    true_since: Option<EngineTime>,
    /// Put to the test for so long, ms.
    tested_ms: i64,
    occasion: bool,
    /// When the last cycle that is asked about ended, and whether well.
    cycle: Option<(EngineTime, bool)>,
    unseen: Vec<PointIx>,
}

impl Verifier {
    /// About a rule of the plan that is in force at the end of the window.
    pub fn new(plan: &Plan, rule: RuleIx, window: Window) -> Self {
        let found = plan.rules.get(rule.slot()).filter(|_| window.to > window.from);
        let asked = found.and_then(|rule| Asked::of(plan, rule));
        Self {
            window,
            coverage_permille: found.map_or(ALL_PERMILLE, |rule| rule.verify.coverage_permille),
            asked,
            engine: Engine::new(alone(plan, found)),
            started: false,
            remembers: false,
            lost: false,
            over: false,
            heard: false,
            counts: Vec::new(),
            found: Found::default(),
        }
    }

    /// True if readings and counts of the point matter.
    pub fn wants(&self, point: PointIx) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.wants(point))
    }

    /// True while what was before the present moment is known to the last bit: a checkpoint would say nothing new.
    pub fn remembers(&self) -> bool {
        self.remembers
    }

    /// The gateway's engine stood so: out of a checkpoint, or before the start input of an epoch (`None`: it took over
    /// nothing).
    pub fn begin(&mut self, state: Option<&State>) -> Result<(), RestoreError> {
        let late = state.is_some_and(|state| state.now > self.window.to);
        if late || self.over || state.is_none() && !self.started {
            return Ok(());
        }
        if let Some(state) = state {
            self.run_to(state.now);
            self.found_again(state.now);
        }
        self.engine = match state {
            None => self.anew(),
            Some(state) => Engine::restore(self.engine.plan().clone(), state.clone())?.0,
        };
        self.found.no_history |= !self.started && self.engine.now() > self.window.from;
        (self.started, self.remembers) = (true, true);
        if let Some(asked) = &self.asked
            && let Question::Absence(point) = asked.question
        {
            let good_at = self.engine.points.get(point).and_then(|point| point.good_at);
            self.heard |= good_at.is_some_and(|at| at <= self.window.from);
        }
        Ok(())
    }

    /// Inputs are missing here.
    pub fn lose(&mut self) {
        (self.remembers, self.heard) = (false, false);
        if self.started && !self.over {
            self.lost = true;
            let mut engine = self.anew();
            engine.points.clone_from(&self.engine.points);
            self.engine = engine;
            self.listen(self.engine.now());
        }
    }

    /// There are inputs again: were any of the window missing?
    fn found_again(&mut self, at: EngineTime) {
        self.found.no_history |= self.lost && at >= self.window.from;
        self.lost = false;
    }

    /// An engine at the same time that has seen nothing.
    fn anew(&self) -> Engine {
        let mut engine = Engine::new(self.engine.plan().clone());
        engine.now = self.engine.now();
        engine
    }

    /// The next input.
    pub fn eat(&mut self, input: &Input) {
        if let Input::Start(start) = input {
            return self.start(start);
        }
        let at = input.at();
        if at > self.window.to || self.over {
            self.found_again(self.window.to);
            self.over = true;
            return self.run_to(self.window.to);
        }
        if !self.started {
            self.listen(at.min(self.window.from));
        }
        self.found_again(at);
        self.run_to(at);
        match input {
            // It moves the time, at which another one is eaten that came late.
            Input::Reading(reading) if !self.wants(reading.point) => return,
            Input::Reading(reading) if received(reading.value) && self.engine.now() <= self.window.from => {
                self.heard = true;
            }
            Input::Fact(fact) if self.engine.now() >= self.window.from => {
                let asked = self.asked.as_ref();
                self.found.occasion |= asked.is_some_and(|asked| asked.is_occasion(&fact.body));
            }
            Input::Reading(_)
            | Input::Fact(_)
            | Input::Start(_)
            | Input::Advance(_)
            | Input::Clock(_)
            | Input::Command(_)
            | Input::Stop { .. }
            | Input::Heartbeat(_) => (),
        }
        self.step(input);
    }

    /// Counts of readings, with the span they cover.
    pub fn count(&mut self, from: EngineTime, to: EngineTime, counts: &PointCounts) {
        if self.wants(counts.point) && to >= self.window.from && from <= self.window.to {
            self.counts.push(Counted::new((from, to), counts));
        }
    }

    /// What the engine of the sweep remembers now. Of the points, windows and modules that the rule asks it is what the
    /// gateway's did.
    pub fn state(&self) -> State {
        self.engine.save()
    }

    /// The verdict.
    pub fn finish(mut self) -> Verification {
        if self.asked.is_none() {
            return Verification::insufficient(Reason::NotVerifiable);
        }
        if !self.started {
            self.listen(self.window.from);
        }
        self.found_again(self.window.to);
        self.run_to(self.window.to);
        self.inspect();
        let Some(asked) = &self.asked else { return Verification::insufficient(Reason::NotVerifiable) };
        self.found.unseen.sort_unstable();
        self.found.unseen.dedup();
        let (verdict, reason, first_violation) = self.verdict(asked);
        let covers = match asked.question {
            Question::Condition { .. } | Question::Device(_) | Question::Bus(_) | Question::Clock => true,
            Question::Absence(_) | Question::Cycle(..) | Question::Event(..) => false,
        };
        let coverage_permille = if covers {
            let hours = self.engine.hours();
            worst(self.engine.plan(), self.window, &asked.watched, &self.counts, &hours)
        } else {
            ALL_PERMILLE
        };
        let (verdict, reason) = if verdict == Verdict::Pass && coverage_permille < self.coverage_permille {
            (Verdict::Insufficient, Reason::Coverage)
        } else {
            (verdict, reason)
        };
        Verification { verdict, coverage_permille, unseen: self.found.unseen, first_violation, reason }
    }

    fn verdict(&self, asked: &Asked) -> (Verdict, Reason, Option<EngineTime>) {
        let found = &self.found;
        if let Some(at) = found.first_violation {
            let reason = match asked.question {
                Question::Absence(_) => Reason::Silent,
                Question::Event(..) => Reason::HappenedAgain,
                Question::Condition { .. }
                | Question::Device(_)
                | Question::Bus(_)
                | Question::Clock
                | Question::Cycle(..) => Reason::Violated,
            };
            return (Verdict::Fail, reason, Some(at));
        }
        if found.no_history {
            return (Verdict::Insufficient, Reason::NoHistory, None);
        }
        let lacks = match asked.question {
            Question::Cycle(..) => match found.cycle {
                None => Some(Reason::NoCycle),
                Some((at, false)) => return (Verdict::Fail, Reason::CycleFailed, Some(at)),
                Some((_, true)) => None,
            },
            Question::Event(..) => match asked.duty(&self.engine).map(|duty| duty.done) {
                Some(Some((_, false))) => return (Verdict::Fail, Reason::DutyFailed, None),
                Some(Some((_, true))) => {
                    let again = asked.duty(&self.engine).is_some_and(|duty| asked.is_good_again(duty));
                    Some(Reason::NotTested).filter(|_| !again)
                }
                Some(None) => Some(Reason::NotTested),
                None => Some(Reason::NotTested).filter(|_| !found.occasion),
            },
            Question::Absence(_) if !self.heard => Some(Reason::NeverSeen),
            Question::Condition { .. }
            | Question::Absence(_)
            | Question::Device(_)
            | Question::Bus(_)
            | Question::Clock => self.lacks(asked),
        };
        match lacks {
            Some(reason) => (Verdict::Insufficient, reason, None),
            None => (Verdict::Pass, Reason::Held, None),
        }
    }

    /// What a pass lacks of a question that is asked at every moment.
    fn lacks(&self, asked: &Asked) -> Option<Reason> {
        let found = &self.found;
        let ends = |moment| found.last.is_some_and(|(_, last)| last == moment);
        if found.unknown {
            Some(Reason::NotGood)
        } else if found.raised_by_the_past || ends(Moment::Inherited) {
            Some(Reason::ReachesBack)
        } else {
            Some(Reason::NotTested).filter(|_| ends(Moment::Brief) || found.tested_ms < asked.tested_ms)
        }
    }

    /// Begins with nothing.
    fn listen(&mut self, at: EngineTime) {
        let start = StartInput {
            at,
            epoch: Epoch::default(),
            previous: None,
            previous_hash: None,
            cause: StartCause::Unclean,
            downtime_ms: None,
            simulated: false,
        };
        self.started = true;
        self.step(&Input::Start(start));
    }

    /// The process starts: nobody watched the time before, and no timer fired in it.
    fn start(&mut self, start: &StartInput) {
        if start.at > self.window.to || self.over {
            // It went down before the window was over, and came back behind it: nobody watched the rest.
            if self.started && !self.over {
                self.found_again(self.window.to);
                self.inspect();
                self.unwatched(start);
            }
            self.over = true;
            return;
        }
        self.found_again(start.at);
        if self.started {
            self.inspect();
            self.unwatched(start);
        } else {
            self.started = true;
            self.found.no_history |= start.at > self.window.from;
            // Whoever starts without a state began with nothing, and remembers all there is since.
            self.remembers = true;
        }
        self.step(&Input::Start(start.clone()));
    }

    /// From the present moment to the start: what got too old meanwhile could not be judged, and who does not listen hears no
    /// silence.
    fn unwatched(&mut self, start: &StartInput) {
        let (now, until) = (self.engine.now(), start.at);
        if until < self.window.from || until <= now {
            return;
        }
        let Some(asked) = &self.asked else { return };
        let long = start.downtime_ms.is_none_or(|downtime| downtime > DOWNTIME_TOLERANCE_MS);
        match &asked.question {
            Question::Absence(_) => self.found.unknown |= long,
            Question::Condition { during: Some(_), .. } | Question::Cycle(..) | Question::Event(..) => (),
            Question::Condition { .. } | Question::Device(_) | Question::Bus(_) | Question::Clock => {
                let points = asked.watched.iter().filter_map(|&point| self.engine.points.get(point));
                self.found.unknown |= points.filter_map(Point::stale_at).any(|at| at < until);
            }
        }
    }

    /// Lets time pass, moment by moment. Every moment left behind is looked at once all that is stamped with it is eaten.
    fn run_to(&mut self, until: EngineTime) {
        if !self.started {
            return;
        }
        let until = until.min(self.window.to);
        while self.engine.now() < until {
            let now = self.engine.now();
            if self.engine.deadline().is_some_and(|due| due <= now) {
                // Set by the last input for this very moment.
                self.step(&Input::Advance(now));
            }
            self.inspect();
            let due = self.engine.deadline().filter(|due| *due > now && now >= self.window.from);
            let begins = Some(self.window.from).filter(|from| now < *from);
            let next = due.into_iter().chain(begins).fold(until, EngineTime::min);
            self.step(&Input::Advance(next));
        }
    }

    fn step(&mut self, input: &Input) {
        let mut concluded = Vec::new();
        self.engine.step(input, &mut concluded);
        for conclusion in &concluded {
            self.note(conclusion);
        }
    }

    /// What the engine says by itself: alerts that it raised, cycles that ended.
    fn note(&mut self, Conclusion { at, body }: &Conclusion) {
        let Some(asked) = self.asked.as_ref().filter(|_| (self.window.from..=self.window.to).contains(at))
        else {
            return;
        };
        if let ConclusionBody::Cycle(cycle) = body {
            if let Some(well) = asked.cycle(cycle.module, cycle.outcome) {
                self.found.cycle = Some((*at, well));
            }
            return;
        }
        let ConclusionBody::Alert(change) = body else { return };
        let raised = change.rule == Some(RuleIx(0)) && change.change == Change::Raised;
        let counts = match asked.question {
            Question::Condition { .. } => true,
            // The last result counts.
            Question::Event(..) => asked.duty(&self.engine).is_none(),
            Question::Absence(_)
            | Question::Device(_)
            | Question::Bus(_)
            | Question::Clock
            | Question::Cycle(..) => false,
        };
        if raised && counts && (!asked.remembers || self.remembers) {
            // Raised at the moment at which it became true, or for what was true before the window.
            let long = asked.is_long(self.found.true_since.unwrap_or(*at), *at);
            if !long || asked.reaches_back(&self.engine, self.window.from) {
                self.found.raised_by_the_past = true;
            } else {
                self.found.first_violation.get_or_insert(*at);
            }
        }
    }

    /// Looks at the present moment.
    fn inspect(&mut self) {
        let now = self.engine.now();
        let Some(asked) = self.asked.as_ref().filter(|_| (self.window.from..=self.window.to).contains(&now))
        else {
            return;
        };
        let unseen = asked.watched.iter().copied().filter(|&point| !self.engine.points.is_good(point));
        self.found.unseen.extend(unseen);
        if self.found.unseen.len() > 2 * asked.watched.len() {
            self.found.unseen.sort_unstable();
            self.found.unseen.dedup();
        }
        if asked.remembers && !self.remembers {
            self.found.no_history = true;
            self.found.last = None;
            return;
        }
        let mut moment = asked.look(&self.engine, self.window.from);
        if moment == Moment::Brief {
            let since = *self.found.true_since.get_or_insert(now);
            moment = asked.lasted(&self.engine, since, self.window);
        } else {
            self.found.true_since = None;
        }
        if let Some((before, Moment::Fine)) = self.found.last {
            self.found.tested_ms = self.found.tested_ms.saturating_add(now.since(before));
        }
        match moment {
            Moment::Violated => {
                self.found.first_violation.get_or_insert(now);
            }
            Moment::Unknown => self.found.unknown = true,
            Moment::Fine | Moment::Inherited | Moment::Brief | Moment::Idle => (),
        }
        self.found.last = Some((now, moment));
    }
}

/// The plan with this rule alone, and with what else has to be looked at as time passes.
fn alone(plan: &Plan, rule: Option<&RulePlan>) -> Plan {
    let during = |rule: &RulePlan, during: &Program| RulePlan {
        id: "during".into(),
        kind: RuleKind::Condition {
            when: during.clone(),
            returned: None,
            on_delay_ms: 0,
            off_delay_ms: 0,
            shown: None,
            limit: None,
        },
        handling: None,
        ..rule.clone()
    };
    let beside = rule.and_then(|rule| Some(during(rule, rule.verify.during.as_ref()?)));
    Plan {
        site: plan.site.clone(),
        institution: plan.institution.clone(),
        devices: plan.devices.clone(),
        points: plan.points.clone(),
        rules: rule.cloned().into_iter().chain(beside).collect(),
        modules: plan.modules.clone(),
        packs: Vec::new(),
        buses: plan.buses.clone(),
        utc_offset_min: plan.utc_offset_min,
        judging: plan.judging.clone(),
    }
}
