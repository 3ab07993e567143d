//! A pack applied to a device of a site: names become slots, defaults give way to the site's settings.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;

use gateway_model::{
    Calibration, DeviceIx, Handling, HeatCyclePlan, HeatProbes, HeatStopPlan, ModuleIx, ModulePlan,
    PatiencePlan, Plan, PointIx, Program, RuleKind, RulePlan, Unit, VerifyPlan, WindowPlan,
};
use toml::Spanned;
use toml::de::DeValue;

use crate::document::{At, File, FromToml};
use crate::expression::{Compiled, Expression, Function, Scope, Symbol, compile};
use crate::handling::{calibrations, compiled};
use crate::module::{Binding, CYCLE, PackNamed};
use crate::pack::{Pack, PackPoint, PackRule, Watch, is_truth};
use crate::quantity::{Millis, Quantity, SelfFix, convert};
use crate::rule::say;
use crate::suggest::did_you_mean;
use crate::windows::{Windows, adopt};

/// Settings of a site file by name, `pack/rule.parameter`.
pub type Settings = BTreeMap<String, Placed>;

/// What is missing where a site does not say when the institution is open.
const HOURS: &str = "[hours]";

/// A setting and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Place of its name.
    pub key: Range<usize>,
    /// Its value.
    pub value: At<Setting>,
}

/// A setting as written, read according to what it sets.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// `"10 °C"`, `"30 min"`.
    Text(String),
    /// `3`.
    Number(f64),
}

impl<'f> FromToml<'f> for Setting {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        if value.get_ref().is_str() {
            return String::from_toml(file, value).map(Self::Text);
        }
        f64::from_toml(file, value).map(Self::Number)
    }
}

/// The device a pack is applied to.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its slot.
    pub device: DeviceIx,
    /// Its kind.
    pub kind: &'a str,
    /// Its points: name without the device → slot and unit.
    pub points: &'a BTreeMap<String, (PointIx, Unit)>,
    /// The heat-cycle program the site chose.
    pub program: Option<&'a At<String>>,
    /// The site file, for problems.
    pub file: &'a File<'a>,
    /// The device's place in it.
    pub span: Range<usize>,
    /// Settings, the nearest first: the device's, then the site's.
    pub settings: [&'a Settings; 2],
    /// Calibrations of its points, by slot.
    pub calibrations: &'a BTreeMap<PointIx, Calibration>,
    /// The devices that stand for the pack's neighbours, by the name before the dot.
    pub neighbours: &'a Neighbours,
    /// The site says when the institution is open. Without that nothing is bound that depends on it.
    pub hours: bool,
}

/// Devices beside the subject, by the name a pack has for them.
pub type Neighbours = BTreeMap<String, Neighbour>;

/// A device beside the subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    /// Its slot.
    pub device: DeviceIx,
    /// Its points: name without the device → slot and unit.
    pub points: BTreeMap<String, (PointIx, Unit)>,
}

impl Subject<'_> {
    /// A point of the device, or of a neighbour (with a dot).
    fn point(&self, name: &str) -> Option<(PointIx, Unit)> {
        match name.split_once('.') {
            None => self.points.get(name).copied(),
            Some((neighbour, point)) => self.neighbours.get(neighbour)?.points.get(point).copied(),
        }
    }
}

/// What a pack makes of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bound {
    /// Its rules.
    pub rules: Vec<RulePlan>,
    /// Its modules; the first has the slot that was given.
    pub modules: Vec<ModulePlan>,
    /// The windows that its rules look through; their slots count in this list.
    pub windows: Vec<WindowPlan>,
    /// Rules left out because the device has no such optional point: (rule id, point).
    pub left_out: Vec<(String, String)>,
}

impl Bound {
    /// Becomes a part of the plan: rules and module at the end, windows merged with those that are there, which `windows` knows.
    pub fn add_to(self, plan: &mut Plan, windows: &mut Windows) {
        let mut rules = self.rules;
        if !self.windows.is_empty() {
            let judging = plan.judging.get_or_insert_default();
            windows.adopt(&mut judging.windows, &self.windows, rules.iter_mut().flat_map(programs));
        }
        plan.rules.extend(rules);
        plan.modules.extend(self.modules);
    }
}

/// The device has the point without which something is for others.
fn told_better(without: Option<&String>, subject: &Subject<'_>) -> bool {
    without.is_some_and(|point| subject.points.contains_key(point))
}

/// Every program of a rule.
fn programs(rule: &mut RulePlan) -> Vec<&mut Program> {
    let mut programs = Vec::new();
    if let RuleKind::Condition { when, returned, .. } = &mut rule.kind {
        programs.push(when);
        programs.extend(returned);
    }
    if let Some(handling) = &mut rule.handling {
        programs.extend(handling.steps.iter_mut().map(|step| &mut step.when));
        programs.extend(handling.provable.as_mut().map(|provable| &mut provable.when));
        programs.extend(&mut handling.suppressed);
        programs.extend(handling.shown.as_mut().map(|shown| &mut shown.value));
        programs.extend(handling.patience.as_mut().map(|patience| &mut patience.when));
    }
    programs.extend(&mut rule.verify.during);
    programs
}

/// Applies `pack`, slot `pack_slot` of the plan, to a device. The first module it makes will have slot `module`.
/// Problems go to the subject's file; then what comes back is incomplete.
pub fn bind(pack: &Pack, pack_slot: u16, subject: &Subject<'_>, module: ModuleIx) -> Bound {
    let mut bound = Bound::default();
    check_points(pack, subject);
    let made = Made::new(pack, subject, module);
    if pack.cycle.is_none()
        && let Some(program) = subject.program
    {
        subject.file.error(
            program.span.clone(),
            format!("`{}` devices have no programs", subject.kind),
            None,
        );
    }
    for rule in &pack.rules {
        let id = format!("{}/{}", pack.name, rule.name);
        let names = rule.watch.names(pack, rule);
        if told_better(rule.without.as_ref(), subject)
            || names.iter().any(|name| !pack.is_of(name, subject.kind))
        {
            continue;
        }
        let asks = |expression: &Expression| expression.functions().any(Function::asks_hours);
        if !subject.hours && matches!(&rule.watch, Watch::Condition { expression, .. } if asks(expression)) {
            bound.left_out.push((id, HOURS.to_owned()));
            continue;
        }
        let missing = names.into_iter().find(|name| !made.has(pack, name, subject));
        if let Some(name) = missing {
            // A point that must be there was said to be missing.
            let days = pack.module_of(name).is_some_and(|module| module.what.counts_days());
            if days && !subject.hours {
                bound.left_out.push((id, HOURS.to_owned()));
            } else if pack.points.get(name).is_none_or(|point| point.may_lack(subject)) {
                bound.left_out.push((id, name.to_owned()));
            }
            continue;
        }
        let mut condition = None;
        if let Some(kind) = rule_kind(pack, rule, subject, &made, &mut condition) {
            let (kind, main) = (kind, condition.as_ref());
            let mut plan = plan(id.clone(), pack_slot, subject, rule, kind);
            let used = main.map_or_else(Vec::new, |(compiled, _): &(Compiled, _)| compiled.when.points());
            let (_, until) = calibrations(subject.calibrations, &used);
            let scope = scope(pack, rule, subject, &made, &id);
            let main = main.map(|(compiled, windows): &(Compiled, Vec<WindowPlan>)| {
                let mut compiled = compiled.clone();
                let value = compiled.value.as_mut().map(|(value, _)| value);
                let programs = compiled.provable.as_mut().into_iter().chain(value);
                adopt(&mut bound.windows, windows, programs);
                compiled
            });
            let own = main.as_ref().map(|compiled| (compiled, until));
            let handling = rule.handling.bind(&scope, self_fix(&id, rule, subject), own, &mut bound.windows);
            let joins = rule.handling.joins.as_ref().map(|joins| format!("{}/{}", pack.name, joins.value));
            let patience = handling.patience.map(|patience| PatiencePlan {
                on_delay_ms: duration(&id, "patience", Millis(patience.on_delay_ms), subject).0,
                ..patience
            });
            plan.verify.during = rule
                .during
                .as_ref()
                .and_then(|during| compiled(during, &scope, &mut bound.windows))
                .map(|during| during.when);
            let disabled = is_off(&id, rule.opt_in, subject);
            plan.handling = Some(Handling { disabled, joins, patience, ..handling });
            if let (RuleKind::Condition { when, returned, .. }, Some(main)) = (&mut plan.kind, &main) {
                adopt(&mut bound.windows, &main.windows, core::iter::once(when).chain(returned));
            }
            bound.rules.push(plan);
        }
    }
    bound.modules = made.plans;
    bound
}

/// The modules of a pack on a device.
struct Made<'p> {
    plans: Vec<ModulePlan>,
    cycle: Option<ModuleIx>,
    slots: BTreeMap<String, ModuleIx>,
    named: Vec<(&'p PackNamed, ModuleIx)>,
}

impl<'p> Made<'p> {
    fn new(pack: &'p Pack, subject: &Subject<'_>, first: ModuleIx) -> Self {
        let mut made = Self { plans: Vec::new(), cycle: None, slots: BTreeMap::new(), named: Vec::new() };
        if let Some(cycle) = heat_cycle(pack, subject) {
            made.cycle = Some(first);
            made.slots.insert(CYCLE.to_owned(), first);
            made.plans.push(ModulePlan::HeatCycle(cycle));
        }
        for module in &pack.modules {
            let own = module.device.as_deref().is_none_or(|own| own == subject.kind);
            let there = |point: &&str| subject.point(point).is_some();
            let days = module.what.counts_days() && !subject.hours;
            if !own
                || days
                || told_better(module.without.as_ref(), subject)
                || !module.what.points().iter().all(there)
            {
                continue;
            }
            let id = format!("{}/{}", pack.name, module.name);
            let point = |name: &str| subject.point(name);
            let binding = Binding { subject, id, point: &point, cycle: made.cycle, above: &made.slots };
            if let Some(plan) = binding.bind(&module.what) {
                let slot = ModuleIx::of(first.slot() + made.plans.len());
                made.plans.push(plan);
                made.slots.insert(module.name.clone(), slot);
                made.named.push((module, slot));
            }
        }
        made
    }

    /// Is there what the name stands for?
    fn has(&self, pack: &Pack, name: &str, subject: &Subject<'_>) -> bool {
        match pack.module_of(name) {
            Some(module) => self.slots.contains_key(&module.name),
            None if name == CYCLE => self.cycle.is_some(),
            None => subject.point(name).is_some(),
        }
    }

    /// Its outputs, as conditions write them.
    fn symbols(&self, subject: &Subject<'_>) -> impl Iterator<Item = (String, Symbol)> {
        self.named.iter().flat_map(|(module, slot)| {
            let outputs = module.what.outputs(|name| subject.point(name).map(|(_, unit)| unit));
            outputs.into_iter().map(|(name, output, unit)| {
                (format!("{}.{name}", module.name), Symbol::Output { module: *slot, output, unit })
            })
        })
    }
}

/// The rules that say "cannot be judged": one per device in `watched` (those with rules), one per bus with two
/// or more of them, one for the clock where any rule asks for opening `hours`. `settings` are the site's.
pub fn bind_unevaluable(
    pack: &Pack,
    pack_slot: u16,
    watched: &[(DeviceIx, u16)],
    hours: bool,
    file: &File<'_>,
    settings: &Settings,
) -> Vec<RulePlan> {
    let none = Settings::new();
    let no_points = BTreeMap::new();
    let uncalibrated = BTreeMap::new();
    let nobody = Neighbours::new();
    let mut rules = Vec::new();
    for rule in &pack.rules {
        let id = format!("{}/{}", pack.name, rule.name);
        let subject = |device| Subject {
            device,
            kind: "",
            points: &no_points,
            program: None,
            file,
            span: 0..0,
            settings: [&none, settings],
            calibrations: &uncalibrated,
            neighbours: &nobody,
            hours,
        };
        match rule.watch {
            Watch::DeviceUnevaluable { after } => {
                for (device, _) in watched {
                    let subject = subject(*device);
                    let kind =
                        RuleKind::DeviceUnevaluable { after_ms: duration(&id, "for", after, &subject).0 };
                    rules.push(handled(plan(id.clone(), pack_slot, &subject, rule, kind), rule, &subject));
                }
            }
            Watch::BusUnevaluable { after } => {
                let mut buses: BTreeMap<u16, Vec<DeviceIx>> = BTreeMap::new();
                for (device, bus) in watched {
                    buses.entry(*bus).or_default().push(*device);
                }
                for (bus, devices) in buses.into_iter().filter(|(_, devices)| devices.len() >= 2) {
                    let subject = subject(devices[0]);
                    let after_ms = duration(&id, "for", after, &subject).0;
                    let kind = RuleKind::BusUnevaluable { bus, after_ms };
                    rules.push(handled(plan(id.clone(), pack_slot, &subject, rule, kind), rule, &subject));
                }
            }
            // One per site, and only where a rule depends on opening hours.
            Watch::ClockUnevaluable { after } => {
                if let (Some((device, _)), true) = (watched.first(), hours) {
                    let subject = subject(*device);
                    let after_ms = duration(&id, "for", after, &subject).0;
                    let kind = RuleKind::ClockUnevaluable { after_ms };
                    rules.push(handled(plan(id.clone(), pack_slot, &subject, rule, kind), rule, &subject));
                }
            }
            Watch::Condition { .. }
            | Watch::Absence { .. }
            | Watch::CycleFailed { .. }
            | Watch::Event { .. } => (),
        }
    }
    rules
}

/// A rule without points of its own: its handling has no conditions.
fn handled(mut plan: RulePlan, rule: &PackRule, subject: &Subject<'_>) -> RulePlan {
    let mut handling =
        rule.handling.bind(&Scope::new(), self_fix(&plan.id, rule, subject), None, &mut Vec::new());
    handling.disabled = is_off(&plan.id, rule.opt_in, subject);
    plan.handling = Some(handling);
    plan
}

/// T24: `"pack/rule.off" = "yes"`; `"no"` for one that is judged only where the site says so.
fn is_off(id: &str, opt_in: bool, subject: &Subject<'_>) -> bool {
    let Some((key, setting)) = setting(id, "off", subject) else { return opt_in };
    match &setting.value {
        Setting::Text(text) if text == "yes" => true,
        Setting::Text(text) if text == "no" => false,
        Setting::Text(_) | Setting::Number(_) => {
            subject.file.error(setting.span.clone(), format!("`{key}` is \"yes\" or \"no\""), None);
            false
        }
    }
}

/// Every setting a site may make for these packs, for hints.
pub fn known_settings(packs: &[&Pack]) -> Vec<String> {
    let mut known = Vec::new();
    for pack in packs {
        for rule in &pack.rules {
            let mut names: Vec<_> = rule.parameters.keys().map(String::as_str).collect();
            names.extend(rule.watch.durations().into_iter().map(|(name, _)| name));
            names.extend(["self_fix", "verify_window", "off"]);
            names.extend(rule.handling.patience.as_ref().map(|_| "patience"));
            known.extend(names.into_iter().map(|name| format!("{}/{}.{name}", pack.name, rule.name)));
        }
        for module in &pack.modules {
            let names = module.what.settings().iter();
            known.extend(names.map(|name| format!("{}/{}.{name}", pack.name, module.name)));
        }
    }
    known
}

fn check_points(pack: &Pack, subject: &Subject<'_>) {
    for (name, wanted) in pack.points.iter().filter(|(_, point)| point.is_of(subject.kind)) {
        match subject.points.get(name) {
            None if wanted.may_lack(subject) => (),
            None => {
                let message =
                    format!("a {} needs the point `{name}` in {}", subject.kind, wanted.unit.symbol());
                let hint = did_you_mean(name, subject.points.keys().map(String::as_str)).map_or_else(
                    || format!("map it: map = {{ {name} = \"…\" }}"),
                    |near| format!("is `{near}` meant to be `{name}`?"),
                );
                subject.file.error(subject.span.clone(), message, Some(hint));
            }
            Some((_, unit)) if unit.dimension() == wanted.unit.dimension() => (),
            Some((_, unit)) => {
                let message = format!(
                    "`{name}` of a {} is in {}, here it comes in {}",
                    subject.kind,
                    wanted.unit.symbol(),
                    unit.symbol()
                );
                subject.file.error(subject.span.clone(), message, None);
            }
        }
    }
}

impl PackPoint {
    /// The device can do without it.
    fn may_lack(&self, subject: &Subject<'_>) -> bool {
        let there = |other: &String| subject.points.contains_key(other);
        let other_way = self.instead.as_ref().is_some_and(there);
        self.optional || other_way || self.beside.as_ref().is_some_and(|other| !there(other))
    }
}

fn heat_cycle(pack: &Pack, subject: &Subject<'_>) -> Option<HeatCyclePlan> {
    let cycle = pack.cycle.as_ref()?;
    let temperature = subject.points.get(&cycle.temperature).map(|(point, _)| *point);
    if temperature.is_none() && pack.points.get(&cycle.temperature).is_some_and(|it| it.may_lack(subject)) {
        if let Some(chosen) = subject.program {
            let message = format!("without `{}` no program is judged", cycle.temperature);
            subject.file.warn(chosen.span.clone(), message, None);
        }
        return None;
    }
    let known = || cycle.programs.iter().map(|program| program.program.id.as_str());
    let list = || format!("programs: {}", known().collect::<Vec<_>>().join(", "));
    let Some(chosen) = subject.program else {
        let message = format!("a {} needs `program`: norms differ, none is implied", subject.kind);
        subject.file.error(subject.span.clone(), message, Some(list()));
        return None;
    };
    let Some(program) = cycle.programs.iter().find(|program| program.program.id == chosen.value) else {
        let hint =
            did_you_mean(&chosen.value, known()).map_or_else(list, |near| format!("did you mean `{near}`?"));
        subject.file.error(
            chosen.span.clone(),
            format!("there is no program `{}`", chosen.value),
            Some(hint),
        );
        return None;
    };
    let point = |name: &String| subject.points.get(name).map(|(point, _)| *point);
    let others: Vec<PointIx> = cycle.probes.iter().filter_map(point).collect();
    let pressure = cycle.pressure.as_ref().and_then(point);
    let stop = cycle.stop.as_ref().map(|stop| {
        let power = stop.power.as_ref().and_then(|(name, from)| subject.points.get(name).zip(Some(from)));
        power.map_or_else(HeatStopPlan::default, |((point, unit), from)| HeatStopPlan {
            power: Some(*point),
            heating: convert(from.value, from.unit, *unit).unwrap_or(from.value),
        })
    });
    // Measured only where the program asks for it.
    let asked = program.program.criteria.is_some() && !(others.is_empty() && pressure.is_none());
    Some(HeatCyclePlan {
        device: subject.device,
        temperature: temperature?,
        door: cycle.door.as_ref().and_then(point),
        program: program.program.clone(),
        probes: asked.then_some(HeatProbes { others, pressure }),
        stop,
    })
}

/// What the rule watches for on this device. What its condition compiled to is left in `compiled`.
fn rule_kind(
    pack: &Pack,
    rule: &PackRule,
    subject: &Subject<'_>,
    made: &Made<'_>,
    condition: &mut Option<(Compiled, Vec<WindowPlan>)>,
) -> Option<RuleKind> {
    let id = format!("{}/{}", pack.name, rule.name);
    match &rule.watch {
        Watch::Condition { when, expression, hold, clear_for, deadband } => {
            let on_delay_ms = duration(&id, "for", *hold, subject).0;
            let off_delay_ms = duration(&id, "clear_for", *clear_for, subject).0;
            let scope = scope(pack, rule, subject, made, &id);
            let slots: Vec<PointIx> = subject.points.values().map(|(point, _)| *point).collect();
            let (uncertainty, _) = calibrations(subject.calibrations, &slots);
            let compiled = match compile(expression, &scope, *deadband, &uncertainty) {
                Ok(compiled) => compiled,
                Err(troubles) => {
                    // The pack was checked with its own units: only a point in the wrong unit comes here, and that was said.
                    let pack_file = File::new(&pack.source);
                    say(&pack_file, when, troubles);
                    return None;
                }
            };
            *condition = Some((compiled.clone(), compiled.windows.clone()));
            Some(RuleKind::Condition {
                when: compiled.when,
                returned: compiled.returned,
                on_delay_ms,
                off_delay_ms,
                shown: compiled.shown,
                limit: compiled.limit,
            })
        }
        Watch::Absence { point, after } => {
            let (point, _) = subject.point(point)?;
            Some(RuleKind::Absence { point, after_ms: duration(&id, "for", *after, subject).0 })
        }
        Watch::CycleFailed { settle_within } => {
            let settle_within_ms = duration(&id, "settle_within", *settle_within, subject).0;
            Some(RuleKind::CycleFailed { module: made.cycle?, settle_within_ms })
        }
        Watch::Event { module, event, lapses } => {
            let lapses_ms = duration(&id, "lapses", *lapses, subject).0;
            Some(RuleKind::Event { module: *made.slots.get(module)?, event: *event, lapses_ms })
        }
        Watch::DeviceUnevaluable { .. } | Watch::BusUnevaluable { .. } | Watch::ClockUnevaluable { .. } => {
            None
        }
    }
}

fn scope(pack: &Pack, rule: &PackRule, subject: &Subject<'_>, made: &Made<'_>, id: &str) -> Scope {
    let points = pack.all_points().into_keys().filter_map(|name| {
        let (point, unit) = subject.point(&name)?;
        let unit = if is_truth(unit) { Unit::Truth } else { unit };
        Some((name, Symbol::Point { point, unit }))
    });
    let parameters = rule.parameters.iter().map(|(name, parameter)| {
        let quantity = setting(id, name, subject).map_or(parameter.default, |(key, setting)| {
            let unit = parameter.default.unit;
            let value = number(subject.file, key, setting, parameter.default);
            match value {
                Some(value)
                    if parameter.min.is_some_and(|min| value < min)
                        || parameter.max.is_some_and(|max| value > max) =>
                {
                    let bound = |bound: Option<f64>| {
                        bound.map_or("…".to_owned(), |value| Quantity { value, unit }.to_string())
                    };
                    let hint = format!("allowed: {} to {}", bound(parameter.min), bound(parameter.max));
                    subject.file.error(setting.span.clone(), format!("`{key}` is out of range"), Some(hint));
                    parameter.default
                }
                Some(value) => Quantity { value, unit },
                None => parameter.default,
            }
        });
        (name.clone(), Symbol::Constant(quantity))
    });
    points.chain(made.symbols(subject)).chain(parameters).collect()
}

fn setting<'a>(id: &str, name: &str, subject: &Subject<'a>) -> Option<(&'a str, &'a At<Setting>)> {
    let key = format!("{id}.{name}");
    subject
        .settings
        .iter()
        .find_map(|settings| settings.get_key_value(&key))
        .map(|(key, placed)| (key.as_str(), &placed.value))
}

/// A setting of a module, in `unit`; of the same dimension as its default, which was checked with the pack.
pub(crate) fn module_number(
    id: &str,
    name: &str,
    default: Quantity,
    unit: Unit,
    subject: &Subject<'_>,
) -> f64 {
    let chosen = setting(id, name, subject).and_then(|(key, at)| number(subject.file, key, at, default));
    convert(chosen.unwrap_or(default.value), default.unit, unit).unwrap_or(default.value)
}

/// The same of a duration.
pub(crate) fn module_duration(id: &str, name: &str, default: Millis, subject: &Subject<'_>) -> Millis {
    duration(id, name, default, subject)
}

fn number(file: &File<'_>, key: &str, setting: &At<Setting>, default: Quantity) -> Option<f64> {
    let wrong = |message: String| {
        file.error(setting.span.clone(), message, Some(format!("write it as \"{default}\"")));
        None
    };
    match &setting.value {
        Setting::Number(number) if default.unit == Unit::One => Some(*number),
        Setting::Number(_) => wrong(format!("`{key}` needs a unit")),
        Setting::Text(text) => match Quantity::parse(text) {
            Ok(quantity) => match convert(quantity.value, quantity.unit, default.unit) {
                Some(value) => Some(value),
                None => wrong(format!(
                    "`{key}` is in {}, not in {}",
                    default.unit.symbol(),
                    quantity.unit.symbol()
                )),
            },
            Err(message) => wrong(message),
        },
    }
}

fn duration(id: &str, name: &str, default: Millis, subject: &Subject<'_>) -> Millis {
    written(id, name, default, subject, Millis::parse)
}

/// The pack's time to put it right, or the site's.
fn self_fix(id: &str, rule: &PackRule, subject: &Subject<'_>) -> Option<SelfFix> {
    rule.self_fix.map(|default| written(id, "self_fix", default, subject, SelfFix::parse))
}

/// What the site wrote for a setting, as `parse` reads it.
fn written<T: Display>(
    id: &str,
    name: &str,
    default: T,
    subject: &Subject<'_>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> T {
    let Some((key, setting)) = setting(id, name, subject) else { return default };
    let parsed = match &setting.value {
        Setting::Text(text) => parse(text),
        Setting::Number(_) => Err(format!("`{key}` needs a unit")),
    };
    parsed.unwrap_or_else(|message| {
        subject.file.error(setting.span.clone(), message, Some(format!("write it as \"{default}\"")));
        default
    })
}

fn plan(id: String, pack: u16, subject: &Subject<'_>, rule: &PackRule, kind: RuleKind) -> RulePlan {
    let self_fix = self_fix(&id, rule, subject).map(|self_fix| self_fix.without_calendar().0);
    let verify_window = duration(&id, "verify_window", Millis(rule.verify.window_ms), subject);
    RulePlan {
        id,
        pack,
        subject: subject.device,
        kind,
        priority: rule.priority,
        first: rule.first,
        self_fix_ms: self_fix,
        latching: rule.latching,
        text: rule.text.clone(),
        verify: VerifyPlan { window_ms: verify_window.0, ..rule.verify.clone() },
        handling: None,
    }
}
