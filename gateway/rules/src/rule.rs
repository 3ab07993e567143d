//! Reads a `[[rule]]` of a pack: what it watches for, its numbers, its texts, how a rectification is verified.

use std::collections::BTreeMap;
use std::ops::Range;

use gateway_model::{Criterion, First, ModuleEvent, ModuleIx, PointIx, RuleText, Text, VerifyPlan};

use crate::document::{At, File, Table};
use crate::expression::{Expression, Scope, Symbol, Trouble, compile, parse};
use crate::handling::{self, Condition, PackHandling};
use crate::module::{self, PackNamed};
use crate::pack::{PackParameter, PackPoint, PackRule, Watch};
use crate::quantity::{Millis, Quantity, SelfFix};
use crate::read::{check_identifier, in_unit, mark, name};
use crate::suggest::did_you_mean;

/// Places in texts that are filled in where they are shown.
const PLACEHOLDERS: [&str; 9] =
    ["value", "limit", "unit", "device", "point", "peak", "hold", "duration", "labels"];

pub(crate) struct RuleReader<'p> {
    /// The pack's own, and those of neighbours with a dot.
    pub(crate) points: &'p BTreeMap<String, PackPoint>,
    pub(crate) modules: &'p [PackNamed],
    pub(crate) has_cycle: bool,
}

impl RuleReader<'_> {
    pub(crate) fn rule(&self, table: Table<'_>) -> Option<(PackRule, Range<usize>)> {
        let name = name(&table);
        let parameters = self.parameters(&table);
        let watch = self.watch(&table, &parameters);
        let priority = handling::priority(&table);
        let handling = handling::read(&table, priority);
        handling.check(table.file(), &self.scope(&parameters));
        for (text, expression) in handling.conditions() {
            self.one_kind(table.file(), text, expression);
        }
        let first = one_of(
            &table,
            "first",
            &[
                ("institution", First::Institution),
                ("maintainer", First::Maintainer),
                ("collector", First::Collector),
                ("supervisor", First::Supervisor),
            ],
        );
        let self_fix = table.get::<SelfFix>("self_fix").map(|self_fix| self_fix.value);
        if handling.open_time && !matches!(self_fix, Some(SelfFix::Within(_))) {
            let message = "`self_fix_open` goes with a duration in `self_fix`";
            table.file().error(table.key_span("self_fix_open"), message, None);
        }
        let without = crate::read::without(&table, self.points);
        let opt_in = table.get::<bool>("opt_in").is_some_and(|opt_in| opt_in.value);
        let latching = table.get::<bool>("latching").is_some_and(|latching| latching.value);
        let text = |key| table.need::<Text>(key).map(|text| checked_text(table.file(), text));
        let (title, sentence, action, norm) = (text("title"), text("sentence"), text("action"), text("norm"));
        let mark = mark(&table);
        let (verify, during) = verify(&table, watch.as_ref()).unzip();
        let during = during.flatten();
        if let Some((text, expression)) = &during {
            handling::check(table.file(), (text, expression), &self.scope(&parameters));
            self.one_kind(table.file(), text, expression);
            if !matches!(watch, Some(Watch::Condition { .. }) | None) {
                let message = "only a condition has a time in which it is judged";
                table.file().error(text.span.clone(), message, None);
            }
        }
        let span = table.key_span("name");
        if let Some(watch) = &watch {
            Self::all_used(table.file(), &parameters, watch, &handling, during.as_ref());
        }
        table.finish();
        let rule = PackRule {
            name: name?,
            watch: watch?,
            priority: priority?,
            first: first?,
            self_fix,
            without,
            opt_in,
            latching,
            text: RuleText { title: title?, sentence: sentence?, action: action?, norm: norm?, mark: mark? },
            verify: verify?,
            during,
            parameters,
            handling,
        };
        Some((rule, span))
    }

    fn parameters(&self, table: &Table<'_>) -> BTreeMap<String, PackParameter> {
        let Some(table) = table.table("parameters", "the parameters") else { return BTreeMap::new() };
        let mut parameters = BTreeMap::new();
        for (name, entry) in table.entries::<Table<'_>>() {
            check_identifier(table.file(), &name);
            if self.points.contains_key(&name.value) {
                table.file().error(name.span.clone(), format!("`{}` is a point already", name.value), None);
            }
            if let Some(parameter) = parameter(entry.value.called("a parameter")) {
                parameters.insert(name.value, parameter);
            }
        }
        parameters
    }

    fn watch(&self, table: &Table<'_>, parameters: &BTreeMap<String, PackParameter>) -> Option<Watch> {
        let when = table.get::<String>("when");
        let absent = table.get::<String>("absent");
        let event = table.get::<String>("event");
        let unevaluable = table.get::<String>("unevaluable");
        let hold = table.get::<Millis>("for").map(|millis| millis.value);
        let clear_for = table.get::<Millis>("clear_for").map(|millis| millis.value);
        let deadband = table.get::<Quantity>("deadband");
        let settle_within = table.get::<Millis>("settle_within").map(|millis| millis.value);
        let lapses = table.get::<Millis>("lapses").map(|millis| millis.value);
        let file = table.file();
        let kinds = ["when", "absent", "event", "unevaluable"];
        let given: Vec<_> = kinds.into_iter().filter(|key| table.has(key)).collect();
        let [kind] = given[..] else {
            let hint = "a rule has exactly one of `when`, `absent`, `event`, `unevaluable`".to_owned();
            file.error(
                table.key_span("name"),
                format!("a rule with {} things to watch for", given.len()),
                Some(hint),
            );
            return None;
        };
        for key in ["clear_for", "deadband"] {
            if kind != "when" && table.has(key) {
                file.error(table.key_span(key), format!("`{key}` goes with `when` only"), None);
            }
        }
        let after = || {
            if hold.is_none() {
                file.error(table.key_span(kind), "`for` is missing in this rule", None);
            }
            hold
        };
        match kind {
            "when" => self.condition(file, when?, parameters, hold, clear_for, deadband),
            "absent" => {
                let point = absent?;
                if !self.points.contains_key(&point.value) {
                    file.error(point.span, format!("there is no point `{}`", point.value), None);
                    return None;
                }
                Some(Watch::Absence { point: point.value, after: after()? })
            }
            "event" => {
                let event = event?;
                if event.value != "cycle-failed" || !self.has_cycle {
                    let of_cycle = match event.value.as_str() {
                        "cycle-unmeasured" => Some(ModuleEvent::CycleUnmeasured),
                        "cycle-aborted" => Some(ModuleEvent::CycleAborted),
                        _ => None,
                    };
                    if let Some(of_cycle) = of_cycle.filter(|_| self.has_cycle) {
                        if lapses.is_none() {
                            file.error(table.key_span(kind), "`lapses` is missing in this rule", None);
                        }
                        return Some(Watch::Event {
                            module: module::CYCLE.to_owned(),
                            event: of_cycle,
                            lapses: lapses?,
                        });
                    }
                    let (module, event) =
                        module::event(file, self.modules, &event.value, event.span.clone())?;
                    if lapses.is_none() {
                        file.error(table.key_span(kind), "`lapses` is missing in this rule", None);
                    }
                    return Some(Watch::Event { module, event, lapses: lapses? });
                }
                if settle_within.is_none() {
                    file.error(table.key_span(kind), "`settle_within` is missing in this rule", None);
                }
                Some(Watch::CycleFailed { settle_within: settle_within? })
            }
            _ => {
                let what = unevaluable?;
                match what.value.as_str() {
                    "device" => Some(Watch::DeviceUnevaluable { after: after()? }),
                    "bus" => Some(Watch::BusUnevaluable { after: after()? }),
                    "clock" => Some(Watch::ClockUnevaluable { after: after()? }),
                    _ => {
                        file.error(what.span, "expected `device`, `bus` or `clock`", None);
                        None
                    }
                }
            }
        }
    }

    fn condition(
        &self,
        file: &File<'_>,
        when: At<String>,
        parameters: &BTreeMap<String, PackParameter>,
        hold: Option<Millis>,
        clear_for: Option<Millis>,
        deadband: Option<At<Quantity>>,
    ) -> Option<Watch> {
        let expression = match parse(&when.value) {
            Ok(expression) => expression,
            Err(trouble) => {
                say(file, &when, vec![trouble]);
                return None;
            }
        };
        let scope = self.scope(parameters);
        self.one_kind(file, &when, &expression);
        let deadband = deadband.map(|deadband| deadband.value);
        if let Err(troubles) = compile(&expression, &scope, deadband, &BTreeMap::new()) {
            say(file, &when, troubles);
            return None;
        }
        let zero = Millis(0);
        Some(Watch::Condition {
            when,
            expression,
            hold: hold.unwrap_or(zero),
            clear_for: clear_for.unwrap_or(zero),
            deadband,
        })
    }
}

impl RuleReader<'_> {
    /// The names a rule's conditions may use, as far as a pack alone can say.
    fn scope(&self, parameters: &BTreeMap<String, PackParameter>) -> Scope {
        let points = self.points.iter().zip(0..).map(|((name, point), slot)| {
            (name.clone(), Symbol::Point { point: PointIx(slot), unit: point.unit })
        });
        let unit_of = |name: &str| self.points.get(name).map(|point| point.unit);
        let outputs = self.modules.iter().zip(0..).flat_map(|(module, slot)| {
            module.what.outputs(unit_of).into_iter().map(move |(name, output, unit)| {
                let symbol = Symbol::Output { module: ModuleIx(slot), output, unit };
                (format!("{}.{name}", module.name), symbol)
            })
        });
        let constants =
            parameters.iter().map(|(name, parameter)| (name.clone(), Symbol::Constant(parameter.default)));
        points.chain(outputs).chain(constants).collect()
    }

    fn one_kind(&self, file: &File<'_>, text: &At<String>, expression: &Expression) {
        let used = expression.names();
        let module = |name: &str| {
            let head = name.split('.').next().unwrap_or(name);
            self.modules.iter().find(|module| module.name == head)
        };
        let kind = |name: &str| match self.points.get(name) {
            Some(point) => point.kind.as_deref(),
            None => module(name)?.device.as_deref(),
        };
        let mut kinds: Vec<_> = used.iter().filter_map(|(name, _)| kind(name)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.len() > 1 {
            file.error(
                text.span.clone(),
                format!("these points belong to different devices: {}", kinds.join(", ")),
                None,
            );
        }
    }

    /// A parameter that no condition of the rule uses is a slip.
    fn all_used(
        file: &File<'_>,
        parameters: &BTreeMap<String, PackParameter>,
        watch: &Watch,
        handling: &PackHandling,
        during: Option<&Condition>,
    ) {
        let Watch::Condition { when, expression, .. } = watch else { return };
        let conditions = handling.conditions().chain(during).map(|(_, expression)| expression);
        let used: Vec<&str> = core::iter::once(expression)
            .chain(conditions)
            .flat_map(|expression| expression.names())
            .map(|(name, _)| name)
            .collect();
        for name in parameters.keys().filter(|name| !used.contains(&name.as_str())) {
            file.error(when.span.clone(), format!("the parameter `{name}` is not used"), None);
        }
    }
}

/// Says what is wrong with a condition at its place in the file.
pub(crate) fn say(file: &File<'_>, when: &At<String>, troubles: Vec<Trouble>) {
    for trouble in troubles {
        let span = match file.inside(when) {
            Some(start) => start + trouble.span.start..start + trouble.span.end,
            None => when.span.clone(),
        };
        file.error(span, trouble.message, trouble.hint);
    }
}

fn parameter(table: Table<'_>) -> Option<PackParameter> {
    let default = table.need::<Quantity>("default");
    let unit = default.as_ref().map(|default| default.value.unit);
    let bound = |key| {
        let bound = table.get::<Quantity>(key)?;
        in_unit(table.file(), &bound, unit?)
    };
    let (min, max) = (bound("min"), bound("max"));
    let (zh, en) = (table.need::<String>("zh"), table.need::<String>("en"));
    let mark = mark(&table);
    if let Some(default) = &default
        && (min.is_some_and(|min| default.value.value < min)
            || max.is_some_and(|max| default.value.value > max))
    {
        table.file().error(default.span.clone(), "the default is outside min and max", None);
    }
    table.finish();
    Some(PackParameter {
        default: default?.value,
        min,
        max,
        name: Text { zh: zh?.value, en: en?.value },
        mark: mark?,
    })
}

/// How a rectification is verified, and while what holds.
fn verify(table: &Table<'_>, watch: Option<&Watch>) -> Option<(VerifyPlan, Option<Condition>)> {
    let verify = match table.need::<Table<'_>>("verify") {
        Some(verify) => verify.value.called("`verify`"),
        None => return None,
    };
    let window = verify.need::<Millis>("window");
    let coverage = verify.need::<f64>("coverage");
    if let Some(coverage) = &coverage
        && !(0.5..=1.0).contains(&coverage.value)
    {
        verify.file().error(coverage.span.clone(), "coverage is a share from 0.5 to 1", None);
    }
    let during = verify.get::<String>("during").and_then(|text| handling::condition(verify.file(), text));
    let criterion = criterion(&verify, watch, during.is_some());
    verify.finish();
    let coverage_permille = (coverage?.value * 1000.0).round() as u16;
    Some((VerifyPlan { window_ms: window?.value.0, coverage_permille, during: None, criterion }, during))
}

/// `lasting = true` of a condition with `for`; `passes = 3` of a duty that failed.
fn criterion(verify: &Table<'_>, watch: Option<&Watch>, during: bool) -> Option<Criterion> {
    let lasting = verify.get::<bool>("lasting").is_some_and(|lasting| lasting.value);
    let passes = verify.get::<i64>("passes");
    let wrong = |key, message: &str| verify.file().error(verify.key_span(key), message, None);
    if lasting {
        let lasts = matches!(watch, Some(Watch::Condition { hold, .. }) if hold.0 > 0) && !during;
        if !lasts {
            wrong("lasting", "`lasting` goes with a condition that has `for`, and without `during`");
        }
        return lasts.then_some(Criterion::Lasting);
    }
    let passes = passes?;
    let failed = matches!(watch, Some(Watch::Event { event: ModuleEvent::DutyFailed, .. }));
    let passes = u16::try_from(passes.value).ok().filter(|passes| failed && (2..=10).contains(passes));
    if passes.is_none() {
        wrong("passes", "`passes` is 2 to 10, of a duty that failed");
    }
    passes.map(Criterion::GoodResults)
}

pub(crate) fn one_of<T: Copy>(table: &Table<'_>, key: &'static str, known: &[(&str, T)]) -> Option<T> {
    let word = table.need::<String>(key)?;
    let found = known.iter().find(|(name, _)| *name == word.value);
    if found.is_none() {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let hint = did_you_mean(&word.value, names.iter().copied()).map_or_else(
            || format!("one of: {}", names.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        table.file().error(word.span, format!("`{}` is not known here", word.value), Some(hint));
    }
    found.map(|(_, value)| *value)
}

fn checked_text(file: &File<'_>, text: At<Text>) -> Text {
    for words in [&text.value.zh, &text.value.en] {
        let mut rest = words.as_str();
        while let Some(open) = rest.find('{') {
            rest = &rest[open + 1..];
            let name = rest.split('}').next().unwrap_or_default();
            if !PLACEHOLDERS.contains(&name) {
                let hint = format!(
                    "places to fill in: {}",
                    PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(" ")
                );
                file.error(text.span.clone(), format!("`{{{name}}}` cannot be filled in"), Some(hint));
            }
        }
    }
    text.value
}
