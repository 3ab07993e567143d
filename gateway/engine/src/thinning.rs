//! Recording less without judging differently.
//!
//! While the ring is nearly full of what nobody else has, intake may keep a steady point only when it has moved by more than
//! its deadband. What a rule compares with a limit must not be blurred: a point whose last reading kept lies nearer to
//! one of its limits than the wider deadband is kept as always, so that no crossing is ever within the band; a point
//! that enters a rule in any other way (arithmetic, an absence, a cycle) is never thinned. The heartbeat stays: the engine
//! knows the age of a point by it.

use alloc::vec::Vec;

use gateway_model::{Op, Plan, PointIx, Program, RuleKind};

/// How much wider the deadband is while thinning.
pub(crate) const WIDER: f64 = 4.0;

/// Per point: the numbers that rules compare it with; `None` = it may not be thinned at all.
pub(crate) fn limits(plan: &Plan) -> Vec<Option<Vec<f64>>> {
    // A truth has no band: every change of it is news.
    let mut limits: Vec<Option<Vec<f64>>> =
        plan.points.iter().map(|point| (!point.truth).then(Vec::new)).collect();
    for rule in &plan.rules {
        match &rule.kind {
            RuleKind::Condition { when, returned, .. } => {
                for program in core::iter::once(when).chain(returned) {
                    note(program, &mut limits);
                }
            }
            RuleKind::Absence { .. }
            | RuleKind::CycleFailed { .. }
            | RuleKind::DeviceUnevaluable { .. }
            | RuleKind::BusUnevaluable { .. }
            | RuleKind::ClockUnevaluable { .. }
            | RuleKind::Event { .. } => {}
        }
        let Some(handling) = &rule.handling else { continue };
        let steps = handling.steps.iter().map(|step| &step.when);
        let proof = handling.provable.iter().map(|provable| &provable.when);
        let excuse = handling.patience.iter().map(|patience| &patience.when);
        for program in steps.chain(proof).chain(excuse).chain(&handling.suppressed) {
            note(program, &mut limits);
        }
        // Any number of it makes an event worse, and a computed value is shown as it was.
        let shown = handling.shown.iter().flat_map(|shown| shown.value.points());
        for point in shown.chain(crate::handling::aggravating_point(handling)) {
            keep(point, &mut limits);
        }
    }
    for module in &plan.modules {
        for point in module.points() {
            keep(point, &mut limits);
        }
    }
    limits
}

/// The point may not be thinned.
fn keep(point: PointIx, limits: &mut [Option<Vec<f64>>]) {
    if let Some(slot) = limits.get_mut(point.slot()) {
        *slot = None;
    }
}

fn note(program: &Program, limits: &mut [Option<Vec<f64>>]) {
    let number = |op: &Op| if let Op::Number(number) = op { Some(*number) } else { None };
    let numbers: Vec<f64> = program.0.iter().filter_map(number).collect();
    let comparable = only_compares_with_numbers(program);
    for point in program.points() {
        match limits.get_mut(point.slot()) {
            Some(Some(known)) if comparable => known.extend(&numbers),
            Some(slot) => *slot = None,
            None => {}
        }
    }
}

/// Nothing but comparisons of a point with a number, and logic between them. Whatever else there may be counts as
/// arithmetic.
fn only_compares_with_numbers(program: &Program) -> bool {
    program.0.iter().enumerate().all(|(at, op)| {
        if matches!(
            op,
            Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual | Op::Equal | Op::NotEqual
        ) {
            // In reverse Polish its operands stand before it.
            let operands = at.checked_sub(2).and_then(|from| program.0.get(from..at));
            return matches!(operands, Some([Op::Point(_), Op::Number(_)] | [Op::Number(_), Op::Point(_)]));
        }
        matches!(
            op,
            Op::Number(_) | Op::Truth(_) | Op::Point(_) | Op::TruthPoint(_) | Op::And | Op::Or | Op::Not
        )
    })
}

/// The deadband for a point whose last reading kept had this value.
pub(crate) fn deadband(plain: f64, kept: f64, limits: Option<&[f64]>) -> f64 {
    let wide = plain * WIDER;
    match limits {
        Some(limits) if limits.iter().all(|limit| libm::fabs(limit - kept) > wide) => wide,
        Some(_) | None => plain,
    }
}
