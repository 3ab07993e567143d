//! What a pack says about an open alert: steps of priority, suppression, sleep, reminders, whose turn it is.
//!
//! Every rule of a pack gets a handling: chatter is coalesced, reminders can be paused for a day, and an alert becomes
//! a supervisor's item when `self_fix` ends with it unsolved. The rest is asked for by name.

use std::collections::BTreeMap;

use gateway_model::{
    AggravatePlan, AggravatedBy, ChatterPlan, CivilTime, EscalatePlan, Handling, Op, PatiencePlan, PointIx,
    Priority, Program, ProvablePlan, ShownPlan, StepPlan, Unit, WindowFunction, WindowPlan,
};

use crate::document::{At, File, Table};
use crate::expression::{Compiled, Expression, SPAN_MAX_MS, SPAN_MIN_MS, Scope, Symbol, compile, parse};
use crate::quantity::{Millis, SelfFix};
use crate::rule::{one_of, say};
use crate::windows::adopt;

/// Three activations in a minute are chatter (T26).
const CHATTER: ChatterPlan = ChatterPlan { activations: 3, within_ms: 60_000 };
/// Reminders can be paused for a day unless the rule says otherwise.
const PAUSE_MAX: Millis = Millis(86_400_000);
/// Steps above a rule's own priority: there are four priorities.
const STEPS_MAX: usize = 3;

/// A condition beside the rule's own: as written, and as read.
pub(crate) type Condition = (At<String>, Expression);

/// What a rule asks for besides being raised and cleared.
#[derive(Debug, Clone, PartialEq)]
pub struct PackHandling {
    /// `steps`, mildest first.
    pub steps: Vec<PackStep>,
    /// `suppress`: a condition under which nobody is reminded.
    pub suppress: Option<(At<String>, Expression)>,
    /// `sleeps`: outside opening hours silence is not counted and nobody is reminded.
    pub sleeps: bool,
    /// `re_alarm`.
    pub re_alarm: Option<Millis>,
    /// `repeated = { n = 3, within = "7 d" }`.
    pub repeated: Option<(u32, Millis)>,
    /// `self_fix_open`: only open time counts for `self_fix`.
    pub open_time: bool,
    /// `pause_max`.
    pub pause_max: Millis,
    /// `aggravated = { by = "visit", priority = "red" }`.
    pub aggravated: Option<AggravatePlan>,
    /// `joins = "too-warm"`: the rule of the pack whose case its alerts belong to.
    pub joins: Option<At<String>>,
    /// `patience = { after = ["door"], within = "30 min", during = ["defrost"], for = "60 min" }`.
    pub patience: Option<PackPatience>,
}

/// A longer `for` where any of some truths held not long ago and is over (a door that was opened: one that is still open is no
/// excuse), or holds (a defrost). It is counted from where the condition began, so that a contact that is stuck delays an
/// alert by no more than that.
#[derive(Debug, Clone, PartialEq)]
pub struct PackPatience {
    /// Names of points; those that a device does not have are no excuse.
    pub after: Vec<At<String>>,
    /// How long ago, at most.
    pub within: Millis,
    /// Names of points that are an excuse while they hold.
    pub during: Vec<At<String>>,
    /// The `for` then.
    pub hold: Millis,
}

/// A step of priority.
#[derive(Debug, Clone, PartialEq)]
pub struct PackStep {
    /// As written, and as read.
    pub when: (At<String>, Expression),
    /// How urgent then.
    pub priority: Priority,
    /// How long it must hold.
    pub hold: Millis,
}

const PRIORITIES: [(&str, Priority); 4] = [
    ("red", Priority::Red),
    ("orange", Priority::Orange),
    ("yellow", Priority::Yellow),
    ("blue", Priority::Blue),
];

/// `priority`.
pub(crate) fn priority(table: &Table<'_>) -> Option<Priority> {
    one_of(table, "priority", &PRIORITIES)
}

/// Reads what a rule's table says of its handling. `own`: the rule's own priority; steps rise above it.
pub(crate) fn read(table: &Table<'_>, own: Option<Priority>) -> PackHandling {
    let steps: Vec<PackStep> = table.tables("steps", "a step").into_iter().filter_map(step).collect();
    let file = table.file();
    if steps.len() > STEPS_MAX {
        file.error(table.key_span("steps"), format!("a rule has at most {STEPS_MAX} steps"), None);
    }
    let mut before = own;
    for step in &steps {
        if before.is_some_and(|before| step.priority >= before) {
            file.error(step.when.0.span.clone(), "a step is more urgent than what comes before it", None);
        }
        before = Some(step.priority);
    }
    let suppress = table.get::<String>("suppress").and_then(|text| condition(file, text));
    let flag = |key| table.get::<bool>(key).is_some_and(|flag| flag.value);
    let repeated = table.table("repeated", "`repeated`").and_then(repeated);
    let aggravated = table.table("aggravated", "`aggravated`").and_then(aggravated);
    PackHandling {
        steps,
        suppress,
        sleeps: flag("sleeps"),
        re_alarm: table.get::<Millis>("re_alarm").map(|every| every.value).filter(|every| every.0 > 0),
        repeated,
        open_time: flag("self_fix_open"),
        pause_max: table.get::<Millis>("pause_max").map_or(PAUSE_MAX, |max| max.value),
        aggravated,
        joins: table.get::<String>("joins"),
        patience: table.table("patience", "`patience`").and_then(patience),
    }
}

fn patience(table: Table<'_>) -> Option<PackPatience> {
    let after = table.need::<Vec<At<String>>>("after");
    let within = table.need::<Millis>("within");
    let during = table.get::<Vec<At<String>>>("during").map_or_else(Vec::new, |during| during.value);
    let hold = table.need::<Millis>("for");
    if let Some(within) = &within
        && !(SPAN_MIN_MS..=SPAN_MAX_MS).contains(&within.value.0)
    {
        table.file().error(within.span.clone(), "a window is 10 s to 62 d long", None);
        return None;
    }
    table.finish();
    Some(PackPatience { after: after?.value, within: within?.value, during, hold: hold?.value })
}

/// Reads a condition beside the rule's own.
pub(crate) fn condition(file: &File<'_>, text: At<String>) -> Option<Condition> {
    match parse(&text.value) {
        Ok(expression) => Some((text, expression)),
        Err(trouble) => {
            say(file, &text, vec![trouble]);
            None
        }
    }
}

/// A condition beside the rule's own must compile with the rule's own names.
pub(crate) fn check(file: &File<'_>, (text, expression): (&At<String>, &Expression), scope: &Scope) {
    if let Err(troubles) = compile(expression, scope, None, &BTreeMap::new()) {
        say(file, text, troubles);
    }
}

fn step(table: Table<'_>) -> Option<PackStep> {
    let when = table.need::<String>("when").and_then(|text| condition(table.file(), text));
    let priority = priority(&table);
    let hold = table.get::<Millis>("for").map_or(Millis(0), |hold| hold.value);
    table.finish();
    Some(PackStep { when: when?, priority: priority?, hold })
}

fn repeated(table: Table<'_>) -> Option<(u32, Millis)> {
    let n = table.need::<i64>("n");
    let within = table.need::<Millis>("within");
    if let Some(n) = &n
        && !(2..=64).contains(&n.value)
    {
        table.file().error(n.span.clone(), "a repetition is 2 to 64 times", None);
        return None;
    }
    table.finish();
    Some((u32::try_from(n?.value).ok()?, within?.value))
}

fn aggravated(table: Table<'_>) -> Option<AggravatePlan> {
    let by = one_of(&table, "by", &[("visit", AggravatedBy::Visit)]);
    let priority = priority(&table);
    let after_ms = table.get::<Millis>("after").map(|after| after.value.0);
    table.finish();
    Some(AggravatePlan { by: by?, priority: priority?, after_ms })
}

impl PackHandling {
    /// Its conditions, for whoever looks for names.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.steps.iter().map(|step| &step.when).chain(&self.suppress)
    }

    /// Every condition must compile with the rule's own names.
    pub(crate) fn check(&self, file: &File<'_>, scope: &Scope) {
        for (text, expression) in self.conditions() {
            check(file, (text, expression), scope);
        }
        for name in self.patience.iter().flat_map(|patience| patience.after.iter().chain(&patience.during)) {
            if truth_point(scope, &name.value).is_none() {
                let hint = "patience comes after a point that is true or false: a door, a defrost".to_owned();
                file.error(
                    name.span.clone(),
                    format!("`{}` is no point of this pack that is true or false", name.value),
                    Some(hint),
                );
            }
        }
    }

    /// The plan of the handling. `main`: the rule's own condition, if it has one; `until`: the first calibration of its
    /// points that ends.
    pub(crate) fn bind(
        &self,
        scope: &Scope,
        self_fix: Option<SelfFix>,
        main: Option<(&Compiled, Option<CivilTime>)>,
        windows: &mut Vec<WindowPlan>,
    ) -> Handling {
        let mut compiled = |condition: &Condition| compiled(condition, scope, windows);
        let steps = self.steps.iter().filter_map(|step| {
            let compiled = compiled(&step.when)?;
            Some(StepPlan {
                when: compiled.when,
                priority: step.priority,
                hold_ms: step.hold.0,
                limit: compiled.limit,
            })
        });
        let steps = steps.collect();
        let suppressed = self.suppress.as_ref().and_then(&mut compiled).map(|compiled| compiled.when);
        let provable = main.and_then(|(main, until)| main.provable.clone().zip(until));
        let shown = main.and_then(|(main, _)| main.value.clone());
        Handling {
            steps,
            provable: provable.map(|(when, until)| ProvablePlan { when, until }),
            suppressed,
            sleeps: self.sleeps,
            re_alarm_ms: self.re_alarm.map(|every| every.0),
            escalate: (self_fix.is_some() || self.repeated.is_some()).then(|| EscalatePlan {
                after_ms: self_fix.map(|self_fix| self_fix.without_calendar().0),
                open_time: self.open_time,
                repeated: self.repeated.map(|(n, within)| (n, within.0)),
                ends: self_fix.and_then(SelfFix::ends),
            }),
            chatter: Some(CHATTER),
            pause_max_ms: self.pause_max.0,
            aggravate: self.aggravated,
            disabled: false,
            joins: None,
            patience: self.patience.as_ref().and_then(|patience| patience.bind(scope, windows)),
            shown: shown.map(|(value, unit)| ShownPlan { value, unit }),
        }
    }
}

/// A condition beside the rule's own, its windows among those that are there. The pack was checked with its own units; a point
/// in the wrong unit was said.
pub(crate) fn compiled(
    (_, expression): &Condition,
    scope: &Scope,
    windows: &mut Vec<WindowPlan>,
) -> Option<Compiled> {
    let mut compiled = compile(expression, scope, None, &BTreeMap::new()).ok()?;
    adopt(windows, &compiled.windows, [&mut compiled.when]);
    Some(compiled)
}

impl PackPatience {
    /// `None` where the device has none of its points.
    fn bind(&self, scope: &Scope, windows: &mut Vec<WindowPlan>) -> Option<PatiencePlan> {
        let points = |names: &[At<String>]| -> Vec<PointIx> {
            names.iter().filter_map(|name| truth_point(scope, &name.value)).collect()
        };
        let own: Vec<WindowPlan> = points(&self.after)
            .into_iter()
            .map(|point| WindowPlan { point, span_ms: self.within.0 })
            .collect();
        let over = (0..).zip(&own).map(|(window, WindowPlan { point, .. })| {
            let was = Op::Window { window, point: *point, function: WindowFunction::Maximum };
            vec![was, Op::TruthPoint(*point), Op::Not, Op::And]
        });
        let excuses = over.chain(points(&self.during).into_iter().map(|point| vec![Op::TruthPoint(point)]));
        let mut when = Program::default();
        for excuse in excuses {
            let first = when.0.is_empty();
            when.0.extend(excuse);
            when.0.extend((!first).then_some(Op::Or));
        }
        adopt(windows, &own, [&mut when]);
        (!when.0.is_empty()).then_some(PatiencePlan { when, on_delay_ms: self.hold.0 })
    }
}

fn truth_point(scope: &Scope, name: &str) -> Option<PointIx> {
    match scope.get(name) {
        Some(Symbol::Point { point, unit: Unit::Truth }) => Some(*point),
        Some(Symbol::Point { .. } | Symbol::Constant(_) | Symbol::Output { .. }) | None => None,
    }
}

/// Expanded uncertainties of points, and when the first of their calibrations ends.
pub(crate) fn calibrations(
    known: &BTreeMap<PointIx, gateway_model::Calibration>,
    used: &[PointIx],
) -> (BTreeMap<PointIx, f64>, Option<CivilTime>) {
    let of = || used.iter().filter_map(|point| known.get(point).map(|calibration| (*point, calibration)));
    let until = of().map(|(_, calibration)| calibration.until).min();
    (of().map(|(point, calibration)| (point, calibration.uncertainty)).collect(), until)
}
