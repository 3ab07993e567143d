//! Reads a rule pack: TOML in, everything checked that can be checked without a site.

use std::collections::BTreeMap;
use std::ops::Range;

use gateway_model::{First, HeatCriteria, HeatProgram, ModuleIx, PointIx, RuleText, Text, Unit, VerifyPlan};
use toml::Spanned;
use toml::de::DeValue;

use crate::document::{At, File, FromToml, Table};
use crate::expression::{Expression, Function, Scope, Symbol, Trouble, compile, parse};
use crate::facts;
use crate::handling::{self, PackHandling};
use crate::hours::read_hours;
use crate::module::{self, PackNamed};
use crate::pack::{
    Pack, PackModule, PackNeighbour, PackParameter, PackPoint, PackProgram, PackRule, PackSubject, Watch,
    with_neighbours,
};
use crate::problem::{Problem, Source};
use crate::quantity::{Millis, Quantity, convert};
use crate::series::{self, Expectation, ExpectedState, PackTest};
use crate::suggest::did_you_mean;

/// Places in texts that are filled in where they are shown.
const PLACEHOLDERS: [&str; 8] = ["value", "limit", "unit", "device", "point", "peak", "hold", "duration"];

/// Reads a pack. Every problem at once.
pub fn parse_pack(source: &Source) -> Result<Pack, Vec<Problem>> {
    let file = File::new(source);
    let pack = file.root().and_then(|root| read(source, root));
    let problems = file.into_problems();
    match pack {
        Some(pack) if problems.is_empty() => Ok(pack),
        _ => Err(problems),
    }
}

fn read(source: &Source, root: Table<'_>) -> Option<Pack> {
    let name = name(&root);
    let version = root.need::<String>("version");
    let title = root.need::<Text>("title");
    let subject = subject(&root);
    let points = points(&root, subject.as_ref());
    let cycle = root.table("cycle", "a heat cycle").and_then(|table| cycle(table, &points));
    let neighbours = neighbours(&root);
    let all = with_neighbours(&points, &neighbours);
    let modules = module::read(&root, &all, cycle.is_some());
    let reader = RuleReader { points: &all, modules: &modules, has_cycle: cycle.is_some() };
    let rules: Vec<_> =
        root.tables("rule", "a rule").into_iter().filter_map(|table| reader.rule(table)).collect();
    let tests: Vec<_> = root
        .tables("test", "a test")
        .into_iter()
        .filter_map(|table| test(table, subject.as_ref(), &all, &rules))
        .collect();
    let file = root.file();
    if !root.has("rule") {
        file.error(0..0, "a pack without rules", Some("write at least one [[rule]]".into()));
    }
    root.finish();
    for (n, (rule, span)) in rules.iter().enumerate() {
        if rules[..n].iter().any(|(other, _)| other.name == rule.name) {
            file.error(span.clone(), format!("a second rule is called `{}`", rule.name), None);
        }
        let Some(joins) = &rule.handling.joins else { continue };
        let target = rules.iter().map(|(other, _)| other).find(|other| other.name == joins.value);
        if target.is_none_or(|target| target.handling.joins.is_some()) {
            let others = rules.iter().map(|(other, _)| other.name.as_str());
            let hint = did_you_mean(&joins.value, others).map(|near| format!("did you mean `{near}`?"));
            let message = format!("`{}` is no rule here that has cases of its own", joins.value);
            file.error(joins.span.clone(), message, hint);
        }
    }
    Some(Pack {
        source: source.clone(),
        name: name?,
        version: version?.value,
        title: title?.value,
        subject: subject?,
        points,
        neighbours,
        cycle,
        modules,
        rules: rules.into_iter().map(|(rule, _)| rule).collect(),
        tests,
    })
}

/// `name`, as it appears in ids: small letters, digits and `-`.
fn name(table: &Table<'_>) -> Option<String> {
    let name = table.need::<String>("name")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.value.is_empty() || !name.value.chars().all(plain) {
        table.file().error(name.span, "a name is made of a-z, 0-9 and -", None);
        return None;
    }
    Some(name.value)
}

/// Names in conditions: small letters, digits and `_`.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !["true", "false"].contains(&name)
        && !Function::ALL.iter().any(|function| function.name() == name)
}

pub(crate) fn check_identifier(file: &File<'_>, name: &At<String>) {
    if !is_identifier(&name.value) {
        file.error(
            name.span.clone(),
            format!("`{}` cannot be used in a condition", name.value),
            Some("names are made of a-z, 0-9 and _".into()),
        );
    }
}

/// `device`: `"*"`, one kind, or a list of kinds.
fn subject(root: &Table<'_>) -> Option<PackSubject> {
    let kinds = root.need::<OneOrMore>("device")?;
    if kinds.value.0.is_empty() {
        root.file().error(kinds.span, "expected at least one kind of device", None);
        return None;
    }
    let everything = kinds.value.0.iter().any(|kind| kind == "*");
    let kinds = kinds.value.0.into_iter().filter(|kind| kind != "*").collect();
    Some(PackSubject { kinds, everything })
}

/// `[neighbour.NAME]`: `device` and its points.
fn neighbours(root: &Table<'_>) -> BTreeMap<String, PackNeighbour> {
    let Some(table) = root.table("neighbour", "the neighbours") else { return BTreeMap::new() };
    let mut neighbours = BTreeMap::new();
    for (name, entry) in table.entries::<Table<'_>>() {
        check_identifier(table.file(), &name);
        let entry = entry.value.called("a neighbour");
        let device = entry.need::<String>("device");
        let points = points(&entry, None);
        entry.finish();
        if let Some(device) = device {
            neighbours.insert(name.value, PackNeighbour { device: device.value, points });
        }
    }
    neighbours
}

struct OneOrMore(Vec<String>);

impl<'f> FromToml<'f> for OneOrMore {
    fn from_toml(file: &'f File<'f>, value: Spanned<DeValue<'f>>) -> Option<Self> {
        if value.get_ref().is_str() {
            return String::from_toml(file, value).map(|one| Self(vec![one]));
        }
        let list = Vec::<At<String>>::from_toml(file, value)?;
        Some(Self(list.into_iter().map(|one| one.value).collect()))
    }
}

fn points(root: &Table<'_>, subject: Option<&PackSubject>) -> BTreeMap<String, PackPoint> {
    let Some(table) = root.table("points", "the points") else { return BTreeMap::new() };
    let mut points = BTreeMap::new();
    for (name, entry) in table.entries::<Table<'_>>() {
        check_identifier(table.file(), &name);
        let entry = entry.value.called("a point");
        let unit = entry.need::<Unit>("unit");
        let kind = entry.get::<String>("device");
        if let (Some(kind), Some(subject)) = (&kind, subject)
            && !subject.kinds.contains(&kind.value)
        {
            entry.file().error(
                kind.span.clone(),
                format!("this pack is not for `{}` devices", kind.value),
                None,
            );
        }
        let optional = entry.get::<bool>("optional").is_some_and(|optional| optional.value);
        let (zh, en) = (entry.need::<String>("zh"), entry.need::<String>("en"));
        entry.finish();
        if let (Some(unit), Some(zh), Some(en)) = (unit, zh, en) {
            let text = Text { zh: zh.value, en: en.value };
            points.insert(
                name.value,
                PackPoint { kind: kind.map(|kind| kind.value), unit: unit.value, optional, name: text },
            );
        }
    }
    points
}

fn mark(table: &Table<'_>) -> Option<String> {
    let mark = table.need::<String>("mark")?;
    if !mark.value.starts_with(['V', 'S', 'C', 'K', 'P', 'A']) {
        let hint = "V read in a source, S second-hand, C computed, K unverified, P our proposal, A assumed"
            .to_owned();
        table.file().error(mark.span, "not a mark of confidence", Some(hint));
        return None;
    }
    Some(mark.value)
}

fn cycle(table: Table<'_>, points: &BTreeMap<String, PackPoint>) -> Option<PackModule> {
    let file = table.file();
    let known = |name: At<String>, unit: Unit| match points.get(&name.value) {
        Some(point) if point.unit.dimension() == unit.dimension() => Some(name.value),
        Some(_) => {
            file.error(name.span, format!("`{}` is not in {}", name.value, unit.symbol()), None);
            None
        }
        None => {
            let hint = did_you_mean(&name.value, points.keys().map(String::as_str));
            file.error(
                name.span,
                format!("there is no point `{}`", name.value),
                hint.map(|near| format!("did you mean `{near}`?")),
            );
            None
        }
    };
    let temperature = table.need::<String>("temperature").and_then(|name| known(name, Unit::Celsius));
    let door = table.get::<String>("door").and_then(|name| known(name, Unit::Truth));
    let pressure = table.get::<String>("pressure").and_then(|name| known(name, Unit::Kilopascal));
    let probes = table.get::<Vec<At<String>>>("probes").map_or_else(Vec::new, |probes| probes.value);
    let probes = probes.into_iter().filter_map(|name| known(name, Unit::Celsius)).collect();
    let programs = table.tables("program", "a program").into_iter().filter_map(program).collect();
    table.finish();
    Some(PackModule { temperature: temperature?, door, probes, pressure, programs })
}

fn program(table: Table<'_>) -> Option<PackProgram> {
    let celsius = |key| {
        table.need::<Quantity>(key).and_then(|quantity| in_unit(table.file(), &quantity, Unit::Celsius))
    };
    let id = table.need::<String>("id");
    let (set_c, start_c, end_c, dry_c) = (celsius("set"), celsius("start"), celsius("end"), celsius("dry"));
    let band_c = table.get::<Quantity>("band").and_then(|band| in_unit(table.file(), &band, Unit::Celsius));
    let millis = |key| table.need::<Millis>(key).map(|millis| millis.value.0);
    let (hold_ms, dip_ms, end_ms, unseen_ms) =
        (millis("hold"), millis("dip"), millis("end_for"), millis("unseen"));
    let norm = table.need::<Text>("norm");
    let criteria = criteria(&table);
    let mark = mark(&table);
    if let (Some(end), Some(start), Some(set)) = (end_c, start_c, set_c)
        && !(end <= start && start < set)
    {
        table.file().error(table.span(), "a program needs end <= start < set", None);
    }
    table.finish();
    let program = HeatProgram {
        id: id?.value,
        set_c: set_c?,
        hold_ms: hold_ms?,
        dip_ms: dip_ms?,
        band_c,
        start_c: start_c?,
        end_c: end_c?,
        end_ms: end_ms?,
        dry_c: dry_c?,
        unseen_ms: unseen_ms?,
        criteria,
    };
    Some(PackProgram { program, norm: norm?.value, mark: mark? })
}

/// `f0`, `a0`, `spread`, `saturation`: what else a cycle must show.
fn criteria(table: &Table<'_>) -> Option<HeatCriteria> {
    let span = |key, unit_ms: f64| table.get::<Millis>(key).map(|span| span.value.0 as f64 / unit_ms);
    let kelvin =
        |key| table.get::<Quantity>(key).and_then(|kelvin| in_unit(table.file(), &kelvin, Unit::Celsius));
    let criteria = HeatCriteria {
        f0_min: span("f0", 60_000.0),
        a0_s: span("a0", 1000.0),
        spread_k: kelvin("spread"),
        saturation_k: kelvin("saturation"),
    };
    (criteria != HeatCriteria::default()).then_some(criteria)
}

fn in_unit(file: &File<'_>, quantity: &At<Quantity>, unit: Unit) -> Option<f64> {
    let value = convert(quantity.value.value, quantity.value.unit, unit);
    if value.is_none() {
        file.error(quantity.span.clone(), format!("expected a value in {}", unit.symbol()), None);
    }
    value
}

struct RuleReader<'p> {
    /// The pack's own, and those of neighbours with a dot.
    points: &'p BTreeMap<String, PackPoint>,
    modules: &'p [PackNamed],
    has_cycle: bool,
}

impl RuleReader<'_> {
    fn rule(&self, table: Table<'_>) -> Option<(PackRule, Range<usize>)> {
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
        let self_fix = table.get::<Millis>("self_fix").map(|millis| millis.value);
        let opt_in = table.get::<bool>("opt_in").is_some_and(|opt_in| opt_in.value);
        let latching = table.get::<bool>("latching").is_some_and(|latching| latching.value);
        let text = |key| table.need::<Text>(key).map(|text| checked_text(table.file(), text));
        let (title, sentence, action, norm) = (text("title"), text("sentence"), text("action"), text("norm"));
        let mark = mark(&table);
        let verify = verify(&table);
        let span = table.key_span("name");
        if let Some(watch) = &watch {
            Self::all_used(table.file(), &parameters, watch, &handling);
        }
        table.finish();
        let rule = PackRule {
            name: name?,
            watch: watch?,
            priority: priority?,
            first: first?,
            self_fix,
            opt_in,
            latching,
            text: RuleText { title: title?, sentence: sentence?, action: action?, norm: norm?, mark: mark? },
            verify: verify?,
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
                    if event.value == "cycle-unmeasured" && self.has_cycle {
                        if lapses.is_none() {
                            file.error(table.key_span(kind), "`lapses` is missing in this rule", None);
                        }
                        let event = gateway_model::ModuleEvent::CycleUnmeasured;
                        return Some(Watch::Event {
                            module: module::CYCLE.to_owned(),
                            event,
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
    ) {
        let Watch::Condition { when, expression, .. } = watch else { return };
        let conditions = handling.conditions().map(|(_, expression)| expression);
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

fn verify(table: &Table<'_>) -> Option<VerifyPlan> {
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
    verify.finish();
    let coverage_permille = (coverage?.value * 1000.0).round() as u16;
    Some(VerifyPlan { window_ms: window?.value.0, coverage_permille })
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

fn test(
    table: Table<'_>,
    subject: Option<&PackSubject>,
    points: &BTreeMap<String, PackPoint>,
    rules: &[(PackRule, Range<usize>)],
) -> Option<PackTest> {
    let file = table.file();
    let name = table.need::<String>("name");
    let every = table.need::<Millis>("every");
    let program = table.get::<String>("program").map(|program| program.value);
    let mut parameters = Vec::new();
    for (key, value) in
        table.table("parameters", "parameters").map_or_else(Vec::new, |table| table.entries::<String>())
    {
        parameters.push((key.value, value.value));
    }
    let mut samples = Vec::new();
    for (point, text) in
        table.table("points", "points").map_or_else(Vec::new, |table| table.entries::<String>())
    {
        // A pack for everything is tested on devices that the test makes up.
        if !points.contains_key(&point.value) && !subject.is_some_and(|subject| subject.everything) {
            file.error(point.span.clone(), format!("there is no point `{}`", point.value), None);
        }
        match series::parse(&text.value) {
            Ok(series) => samples.push((point.value, series)),
            Err(message) => file.error(text.span, message, None),
        }
    }
    let expect = table
        .tables("expect", "an expectation")
        .into_iter()
        .filter_map(|table| expectation(table, rules))
        .collect();
    let exactly = table
        .tables("exactly", "an exact set")
        .into_iter()
        .filter_map(|table| exactly(table, rules))
        .collect();
    let facts = facts::read(&table);
    let start = facts::start(&table);
    let hours = table.table("hours", "the hours").map(|hours| read_hours(hours, facts::TEST_OFFSET_MIN));
    let span = table.span();
    table.finish();
    Some(PackTest {
        name: name?.value,
        every: every?.value,
        parameters,
        program,
        points: samples,
        facts,
        start,
        hours,
        expect,
        exactly,
        span,
    })
}

/// `{ at = "5 min", raised = ["too-warm"] }`: these rules are raised then, and no other.
fn exactly(table: Table<'_>, rules: &[(PackRule, Range<usize>)]) -> Option<(Millis, Vec<String>)> {
    let at = table.need::<Millis>("at");
    let raised = table.need::<Vec<At<String>>>("raised");
    for name in raised.iter().flat_map(|raised| &raised.value) {
        check_rule(table.file(), name, rules);
    }
    table.finish();
    Some((at?.value, raised?.value.into_iter().map(|name| name.value).collect()))
}

fn check_rule(file: &File<'_>, name: &At<String>, rules: &[(PackRule, Range<usize>)]) {
    if !rules.iter().any(|(known, _)| known.name == name.value) {
        file.error(name.span.clone(), format!("there is no rule `{}` in this pack", name.value), None);
    }
}

fn expectation(table: Table<'_>, rules: &[(PackRule, Range<usize>)]) -> Option<Expectation> {
    let at = table.need::<Millis>("at");
    let rule = table.need::<String>("rule");
    let state = one_of(&table, "state", &ExpectedState::ALL);
    if let Some(rule) = &rule {
        check_rule(table.file(), rule, rules);
    }
    table.finish();
    Some(Expectation { at: at?.value, rule: rule?.value, state: state? })
}
