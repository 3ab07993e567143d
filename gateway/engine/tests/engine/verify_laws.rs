//! What a sweep knows is what the engine knew, over random histories; and what it lets pass, the engine let pass.

use gateway_engine::Engine;
use gateway_engine::verify::{Verdict, Verifier, Window};
use gateway_model::{
    Change, Conclusion, ConclusionBody, Criterion, EngineTime, Input, ModuleEvent, ModuleState, Op, Plan,
    RuleIx, RuleKind, State, WindowState,
};
use proptest::prelude::*;

use crate::histories::{Act, for_each_input, history, plan};

/// The inputs of a history with what the engine knew before each, and all that it concluded.
struct Past {
    plan: Plan,
    inputs: Vec<(State, Input)>,
    end: Engine,
    concluded: Vec<Conclusion>,
}

fn past(history: &[(i64, Act)]) -> Past {
    let mut plan = plan();
    for rule in &mut plan.rules {
        // Nobody counts here.
        rule.verify.coverage_permille = 0;
    }
    let mut engine = Engine::new(plan.clone());
    let mut concluded = Vec::new();
    let mut inputs = Vec::new();
    for_each_input(history, &mut engine, &mut concluded, |engine, input, _, out| {
        inputs.push((engine.save(), input.clone()));
        engine.step(input, out);
    });
    Past { plan, inputs, end: engine, concluded }
}

/// From where a sweep is fed, and at which input something is missing.
#[derive(Debug, Clone, Copy)]
struct Fed {
    from: prop::sample::Index,
    lost: Option<prop::sample::Index>,
}

fn fed() -> impl Strategy<Value = Fed> {
    let lost = prop::option::weighted(0.3, any::<prop::sample::Index>());
    (any::<prop::sample::Index>(), lost).prop_map(|(from, lost)| Fed { from, lost })
}

impl Past {
    fn sweep(
        &self,
        rule: RuleIx,
        window: Window,
        fed: Fed,
        mut each: impl FnMut(&Verifier, &State),
    ) -> Verifier {
        let mut verifier = Verifier::new(&self.plan, rule, window);
        let from = fed.from.index(self.inputs.len());
        let lost = fed.lost.map(|lost| lost.index(self.inputs.len()));
        for (place, (state, input)) in self.inputs.iter().enumerate().skip(from) {
            if place == from {
                verifier.begin((place > 0).then_some(state)).unwrap();
            }
            if lost == Some(place) {
                verifier.lose();
                continue;
            }
            verifier.eat(input);
            let after =
                self.inputs.get(place + 1).map_or_else(|| self.end.save(), |(state, _)| state.clone());
            each(&verifier, &after);
        }
        verifier
    }

    /// When the engine first raised the rule's alert in the window, which may end behind the last input.
    fn raised(&self, rule: RuleIx, window: Window) -> Option<EngineTime> {
        let mut rest = Vec::new();
        self.end.clone().step(&Input::Advance(window.to), &mut rest);
        let raised = |conclusion: &&Conclusion| {
            let ConclusionBody::Alert(change) = &conclusion.body else { return false };
            let within = (window.from..=window.to).contains(&conclusion.at);
            change.rule == Some(rule) && change.change == Change::Raised && within
        };
        self.concluded.iter().chain(&rest).find(raised).map(|conclusion| conclusion.at)
    }
}

/// Windows and modules that the rule asks, as they stand.
fn asked(plan: &Plan, rule: RuleIx, state: &State) -> (Vec<WindowState>, Vec<ModuleState>) {
    let RuleKind::Condition { when, .. } = &plan.rules[rule.slot()].kind else { return Default::default() };
    let (mut windows, mut modules) = (Vec::new(), Vec::new());
    for op in &when.0 {
        if let Op::Window { window, .. } = op {
            let state = state.judging.as_ref().unwrap().windows[*window as usize].clone();
            // When it is looked at again depends on who looks through it.
            windows.push(WindowState { look: None, ..state });
        } else if let Op::Output { module, .. } = op {
            modules.push(state.modules[module.slot()].clone());
        }
    }
    (windows, modules)
}

proptest! {
    // One in twenty passes: a few hundred would show little.
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn windows_and_outputs_are_what_they_were_in_the_engine(
        history in history(),
        rule in any::<prop::sample::Index>(),
        from in any::<prop::sample::Index>(),
    ) {
        let past = past(&history);
        let rule = RuleIx::of(rule.index(past.plan.rules.len()));
        let window = Window { from: EngineTime(1_050_000), to: EngineTime(i64::MAX / 4) };
        past.sweep(rule, window, Fed { from, lost: None }, |verifier, state| {
            let swept = verifier.state();
            assert_eq!(swept.now, state.now);
            assert_eq!(asked(&past.plan, rule, &swept), asked(&past.plan, rule, state));
        });
    }

    #[test]
    fn where_the_data_pass_the_engine_raised_nothing(
        history in history(),
        rule in any::<prop::sample::Index>(),
        fed in fed(),
        lasting in any::<bool>(),
        from_ms in 0_i64..400_000,
        length_ms in 1_i64..60_000,
    ) {
        let mut past = past(&history);
        for rule in &mut past.plan.rules {
            if lasting && matches!(rule.kind, RuleKind::Condition { on_delay_ms: 1.., .. }) {
                rule.verify.criterion = Some(Criterion::Lasting);
            }
        }
        let rule = RuleIx::of(rule.index(past.plan.rules.len()));
        let from = EngineTime(1_000_000 + from_ms);
        let window = Window { from, to: from.plus(length_ms) };
        let verdict = past.sweep(rule, window, fed, |_, _| ()).finish();
        let settles = matches!(
            past.plan.rules[rule.slot()].kind,
            RuleKind::CycleFailed { .. } | RuleKind::Event { event: ModuleEvent::DutyFailed | ModuleEvent::CycleAborted, .. }
        );
        if verdict.verdict == Verdict::Pass && !settles {
            prop_assert_eq!(past.raised(rule, window), None, "{:?} {:?}", verdict, past.plan.rules[rule.slot()]);
        }
    }
}
