//! Whose turn it is: which alerts are a supervisor's item, and so open a case.

use gateway_model::{AlertDetail, First, Plan, Priority, RulePlan};

use crate::telling::{Telling, telling};

/// How urgent an alert is now: its rule's own priority, that of the step it has reached, or that of an event that got worse.
pub fn priority(rule: &RulePlan, detail: Option<AlertDetail>) -> Priority {
    let (Some(handling), Some(detail)) = (&rule.handling, detail) else { return rule.priority };
    let Some(slot) = usize::from(detail.step).checked_sub(1) else { return rule.priority };
    match handling.steps.get(slot) {
        Some(step) => step.priority,
        None => handling.aggravate.map_or(rule.priority, |worse| worse.priority),
    }
}

/// Is the alert a supervisor's item? Whoever is first has the rule's window to solve it; what is solved below opens no
/// case. At once: what the rule says is the supervisor's, the top priority, and what was escalated. Never: a trial run, and
/// what is a lead for Monday, however long it stands.
///
/// Without a `detail` (plans that know of no windows) every alert is an item.
pub fn is_item(plan: &Plan, rule: &RulePlan, detail: Option<AlertDetail>) -> bool {
    let Some(detail) = detail else { return true };
    if detail.trial || telling(plan, rule) == Telling::Lead {
        return false;
    }
    detail.escalated
        || rule.first == First::Supervisor
        || rule.self_fix_ms.is_none()
        || priority(rule, Some(detail)) == Priority::Red
}

#[cfg(test)]
mod tests {
    use gateway_model::{
        AggravatePlan, AggravatedBy, DeviceIx, Handling, ModuleIx, RuleKind, RuleText, VerifyPlan,
    };

    use super::*;

    fn rule(first: First, self_fix_ms: Option<i64>) -> RulePlan {
        let worse = AggravatePlan { by: AggravatedBy::Visit, priority: Priority::Red, after_ms: None };
        RulePlan {
            id: "sterilizer/cycle-failed".into(),
            pack: 0,
            subject: DeviceIx(0),
            kind: RuleKind::CycleFailed { module: ModuleIx(0), settle_within_ms: 1 },
            priority: Priority::Orange,
            first,
            self_fix_ms,
            latching: false,
            text: RuleText::default(),
            verify: VerifyPlan { window_ms: 1, coverage_permille: 900, during: None, criterion: None },
            handling: Some(Handling { aggravate: Some(worse), ..Handling::default() }),
        }
    }

    #[test]
    fn what_is_handled_below_is_no_item_until_its_window_ends() {
        let institution = rule(First::Institution, Some(1));
        let detail = AlertDetail::default();
        assert!(!is_item(&Plan::default(), &institution, Some(detail)));
        assert!(is_item(&Plan::default(), &institution, Some(AlertDetail { escalated: true, ..detail })));
        assert!(is_item(&Plan::default(), &institution, None), "an old plan knows no windows");
        assert!(is_item(&Plan::default(), &rule(First::Supervisor, Some(1)), Some(detail)));
        assert!(is_item(&Plan::default(), &rule(First::Institution, None), Some(detail)));
    }

    #[test]
    fn what_was_used_although_it_failed_is_top_priority_and_an_item() {
        let detail = AlertDetail { step: 1, ..AlertDetail::default() };
        let rule = rule(First::Institution, Some(1));
        assert_eq!(priority(&rule, Some(detail)), Priority::Red);
        assert!(is_item(&Plan::default(), &rule, Some(detail)));
    }

    #[test]
    fn a_trial_run_opens_no_cases() {
        let detail = AlertDetail { trial: true, escalated: true, ..AlertDetail::default() };
        assert!(!is_item(&Plan::default(), &rule(First::Supervisor, None), Some(detail)));
    }
}
