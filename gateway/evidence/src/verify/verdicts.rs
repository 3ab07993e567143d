//! Verdicts of the center's case, come to again from the records of the bundle.
//!
//! A verdict that says by which method it came from records must follow from them once more: the same outcome, for the same reason.
//! What the bundle does not hold (records that were erased, or gone), what another release decided in another way, and what
//! was said without looking at records (a gateway that stayed silent) is told as not checked, or not at all.

use gateway_engine::verify::{METHOD, Reason, Window};
use gateway_model::{EngineTime, Plan, RuleIx};
use gateway_wire::Body;

use super::case::{CaseFile, CaseStep};
use super::seals::Seals;
use super::{CASE, Parts};
use crate::report::Line;
use crate::sweep::Sweep;

/// Verdicts come to again, at most: each reads the records once more.
const VERDICTS_MAX: usize = 32;

/// Adds what is to be said of verdicts to the line "recomputation".
pub(super) fn check(parts: &Parts<'_>, seals: &Seals<'_>, line: &mut Line) {
    let Some(bytes) = parts.file(CASE) else { return };
    // One that cannot be read is told by the line "case".
    let Ok(case) = gateway_wire::decode::<CaseFile>(CASE, bytes) else { return };
    let judged = case.events.iter().filter(|step| step.code == "judged" && step.method.is_some());
    let mut followed = 0_u64;
    for (count, step) in judged.enumerate() {
        if count >= VERDICTS_MAX {
            line.lack("verdict_unchecked", step.n, format!("more than {VERDICTS_MAX} verdicts"));
            break;
        }
        match again(&case, step, seals) {
            Ok(()) => followed += 1,
            Err(Not::Unchecked(code, why)) => line.lack(code, step.n, why),
            Err(Not::Follows(why)) => line.fail("verdict", step.n, why),
        }
    }
    line.fact("verdicts", followed);
}

enum Not {
    /// What else follows.
    Follows(String),
    /// Why nobody can say.
    Unchecked(&'static str, String),
}

fn again(case: &CaseFile, step: &CaseStep, seals: &Seals<'_>) -> Result<(), Not> {
    let unchecked = |why: &str| Not::Unchecked("verdict_unchecked", why.to_owned());
    if let Some(method) = step.method.filter(|method| *method != METHOD) {
        return Err(Not::Unchecked(
            "verdict_method",
            format!("method {method} is not known to this release"),
        ));
    }
    let Some((from, to)) = step.window else { return Err(unchecked("it names no window")) };
    let window = Window { from: EngineTime(from), to: EngineTime(to) };
    let Some(plan) = plan_at(seals, window.to) else {
        return Err(unchecked("the configuration at the end of its window is not there"));
    };
    let Some(rule) = rule_of(&plan, case) else {
        return Err(unchecked("the configuration at the end of its window does not have the rule"));
    };
    let mut sweep = Sweep::new(&plan, rule, window);
    for (header, body) in seals.records().take_while(|(header, _)| header.t0 <= window.to) {
        sweep.take(&header, &body);
    }
    let found = sweep.finish();
    let follows = (found.verdict.code(), found.reason.code());
    let recorded = (step.outcome.as_deref().unwrap_or(""), step.text.as_deref().unwrap_or(""));
    if follows == recorded {
        return Ok(());
    }
    let why = format!(
        "recorded is {} ({}), but what follows from the records is {} ({})",
        recorded.0, recorded.1, follows.0, follows.1
    );
    // The records do not reach far enough back, or some of them are gone.
    if found.reason == Reason::NoHistory {
        return Err(Not::Unchecked("verdict_unchecked", why));
    }
    Err(Not::Follows(why))
}

/// The plan in force at a moment: of the last config record that began by then.
fn plan_at(seals: &Seals<'_>, at: EngineTime) -> Option<Plan> {
    let configs = seals.records().filter(|(header, _)| header.t0 <= at).filter_map(|(_, body)| match body {
        Body::Config(config) => Some(config.plan),
        Body::Start(_)
        | Body::Inputs(_)
        | Body::Conclusions(_)
        | Body::Checkpoint(_)
        | Body::Gap(_)
        | Body::Parted(_)
        | Body::Part(_) => None,
    });
    configs.last()
}

fn rule_of(plan: &Plan, case: &CaseFile) -> Option<RuleIx> {
    let of_device = |subject: usize| plan.devices.get(subject).is_some_and(|device| device.id == case.device);
    let found = |rule: &gateway_model::RulePlan| rule.id == case.rule && of_device(rule.subject.slot());
    plan.rules.iter().position(found).map(RuleIx::of)
}
