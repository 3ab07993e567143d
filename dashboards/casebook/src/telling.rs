//! How the alerts of a rule are told (users.md B): each as it comes, as lines of one digest a day, as a lead on Monday, or as a
//! supervisor's item on the next morning.
//!
//! Read off the plan: what a rule compares says what it is. A rule that was bound without a handling (old plans) is told as it
//! comes, as it always was.

use alloc::vec::Vec;

use gateway_model::{
    CivilTime, DutyPlan, First, ModuleIx, ModulePlan, Op, Plan, Priority, RatioPlan, RuleKind, RulePlan,
    WastePlan,
};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// When the day's digest is told and what stood overnight becomes an item: 08:30 at the site (users.md B, A).
pub const MORNING_MS: i64 = (8 * 60 + 30) * MINUTE_MS;

/// How alerts of a rule are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// As they come.
    Alert,
    /// A duty that is overdue: a line of the digest of its site and day. The supervisor's only by the rule's escalation.
    Duty,
    /// A ratio over days does not fit: a lead (线索) on the list of the next Monday, never a live alert and never an item by itself.
    Lead,
    /// Waste that is kept too long: the supervisor's on the next morning, if it is still there.
    Morning,
}

impl Telling {
    /// Every one, in the order of its code.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Duty, Self::Lead, Self::Morning];

    /// As stored and as in the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Duty => "duty",
            Self::Lead => "lead",
            Self::Morning => "morning",
        }
    }
}

/// How alerts of this rule of the plan are told. A pack that wants to hear of a ratio at once says `first = "supervisor"`, or
/// gives it the top priority.
pub fn telling(plan: &Plan, rule: &RulePlan) -> Telling {
    let Some(handling) = &rule.handling else { return Telling::Alert };
    let reads = outputs(rule);
    let module = |index: ModuleIx| plan.modules.get(index.slot());
    let late = |(index, output): &(ModuleIx, u8)| {
        *output == DutyPlan::OVERDUE_MS && matches!(module(*index), Some(ModulePlan::Duty(_)))
    };
    let stored = |(index, output): &(ModuleIx, u8)| {
        *output == WastePlan::OLDEST_MS && matches!(module(*index), Some(ModulePlan::Waste(_)))
    };
    let at_once = rule.first == First::Supervisor || rule.priority == Priority::Red;
    if reads.iter().any(late) {
        Telling::Duty
    } else if !at_once && ratios(plan, rule).next().is_some() {
        Telling::Lead
    } else if !at_once && handling.joins.is_none() && reads.iter().any(stored) {
        Telling::Morning
    } else {
        Telling::Alert
    }
}

/// The duty that a rule watches.
pub fn duty<'p>(plan: &'p Plan, rule: &RulePlan) -> Option<&'p DutyPlan> {
    outputs(rule).into_iter().find_map(|(index, _)| match plan.modules.get(index.slot())? {
        ModulePlan::Duty(duty) => Some(duty),
        ModulePlan::HeatCycle(_)
        | ModulePlan::Dose(_)
        | ModulePlan::Run(_)
        | ModulePlan::Ratio(_)
        | ModulePlan::Waste(_) => None,
    })
}

/// The ratios over several days that a rule compares; none where it looks at anything else too, or at a single day.
pub fn ratios<'p>(plan: &'p Plan, rule: &RulePlan) -> impl Iterator<Item = &'p RatioPlan> {
    let over_days = |(index, _): &(ModuleIx, u8)| match plan.modules.get(index.slot()) {
        Some(ModulePlan::Ratio(ratio)) => Some(ratio).filter(|ratio| ratio.days > 1),
        Some(
            ModulePlan::HeatCycle(_)
            | ModulePlan::Dose(_)
            | ModulePlan::Run(_)
            | ModulePlan::Duty(_)
            | ModulePlan::Waste(_),
        )
        | None => None,
    };
    let points = matches!(&rule.kind, RuleKind::Condition { when, .. } if !when.points().is_empty());
    let found: Option<Vec<&RatioPlan>> = outputs(rule).iter().map(over_days).collect();
    let found = found.filter(|_| !points);
    found.unwrap_or_default().into_iter()
}

/// The first moment after `at` at which it is half past eight there.
pub fn next_morning(at: CivilTime, utc_offset_min: i16) -> CivilTime {
    let offset = i64::from(utc_offset_min) * MINUTE_MS;
    let local = at.0.saturating_add(offset);
    let morning = local.div_euclid(DAY_MS) * DAY_MS + MORNING_MS;
    let next = if local < morning { morning } else { morning.saturating_add(DAY_MS) };
    CivilTime(next.saturating_sub(offset))
}

/// (module, output) that its condition reads.
fn outputs(rule: &RulePlan) -> Vec<(ModuleIx, u8)> {
    let RuleKind::Condition { when, .. } = &rule.kind else { return Vec::new() };
    let mut read = Vec::new();
    for op in &when.0 {
        if let Op::Output { module, output } = op {
            read.push((*module, *output));
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use gateway_model::{Counted, DeviceIx, Handling, PointIx, Program, RuleText, VerifyPlan};

    use super::*;

    fn rule(reads: &[(u16, u8)]) -> RulePlan {
        let outputs = reads
            .iter()
            .map(|(module, output)| Op::Output { module: ModuleIx((*module).into()), output: *output });
        RulePlan {
            id: "a/b".into(),
            pack: 0,
            subject: DeviceIx(0),
            kind: RuleKind::Condition {
                when: Program(outputs.chain([Op::Number(1.0), Op::Less]).collect()),
                returned: None,
                on_delay_ms: 0,
                off_delay_ms: 0,
                shown: None,
                limit: None,
            },
            priority: Priority::Blue,
            first: First::Institution,
            self_fix_ms: Some(1),
            latching: false,
            text: RuleText::default(),
            verify: VerifyPlan { window_ms: 1, coverage_permille: 900, during: None, criterion: None },
            handling: Some(Handling::default()),
        }
    }

    fn plan() -> Plan {
        let ratio = |days| {
            ModulePlan::Ratio(RatioPlan {
                device: DeviceIx(0),
                of: Counted::HandpiecesPacked,
                to: Counted::Visits,
                days,
                at_least: 20.0,
            })
        };
        let duty =
            DutyPlan { device: DeviceIx(0), duty: "bowie-dick".into(), every_ms: DAY_MS, open_time: false };
        let modules = vec![
            ModulePlan::Duty(duty),
            ratio(7),
            ratio(1),
            ModulePlan::Waste(WastePlan { feed: DeviceIx(0), ..WastePlan::default() }),
        ];
        Plan { modules, ..Plan::default() }
    }

    #[test]
    fn what_a_rule_compares_says_how_it_is_told() {
        let plan = plan();
        let (late, week, day, oldest) = (
            (0, DutyPlan::OVERDUE_MS),
            (1, RatioPlan::RATIO),
            (2, RatioPlan::RATIO),
            (3, WastePlan::OLDEST_MS),
        );
        for (reads, told) in [
            (vec![], Telling::Alert),
            (vec![late], Telling::Duty),
            (vec![(0, DutyPlan::PASSED)], Telling::Alert),
            (vec![week], Telling::Lead),
            (vec![week, week], Telling::Lead),
            (vec![day], Telling::Alert),
            (vec![week, day], Telling::Alert),
            (vec![oldest], Telling::Morning),
            (vec![(3, WastePlan::BAGS)], Telling::Alert),
        ] {
            assert_eq!(telling(&plan, &rule(&reads)), told, "{reads:?}");
        }
        assert_eq!(duty(&plan, &rule(&[late])).map(|duty| duty.duty.as_str()), Some("bowie-dick"));
    }

    #[test]
    fn a_ratio_beside_a_point_the_supervisors_and_a_reminder_are_told_as_they_come() {
        let plan = plan();
        let week = [(1, RatioPlan::RATIO)];
        let mut mixed = rule(&week);
        if let RuleKind::Condition { when, .. } = &mut mixed.kind {
            when.0.push(Op::Point(PointIx(0)));
        }
        let supervisors = RulePlan { first: First::Supervisor, ..rule(&week) };
        let urgent = RulePlan { priority: Priority::Red, ..rule(&week) };
        let old = RulePlan { handling: None, ..rule(&week) };
        let joins = Some(Handling { joins: Some("c".into()), ..Handling::default() });
        let reminder = RulePlan { handling: joins, ..rule(&[(3, WastePlan::OLDEST_MS)]) };
        for rule in [mixed, supervisors, urgent, old, reminder] {
            assert_eq!(telling(&plan, &rule), Telling::Alert, "{rule:?}");
        }
    }

    #[test]
    fn the_next_morning_is_half_past_eight_there() {
        let hour = 3_600_000;
        let at = |hours: i64, minutes: i64| CivilTime(hours * hour + minutes * MINUTE_MS);
        assert_eq!(next_morning(at(0, 0), 480), at(0, 30), "it is eight o'clock in Beijing");
        assert_eq!(next_morning(at(0, 30), 480), at(24, 30), "later than itself");
        assert_eq!(next_morning(at(12, 0), 0), at(32, 30));
    }
}
