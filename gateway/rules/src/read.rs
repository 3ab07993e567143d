//! Reads a rule pack: TOML in, everything checked that can be checked without a site.

use std::collections::BTreeMap;

use gateway_model::{HeatCriteria, HeatProgram, Text, Unit};
use toml::Spanned;
use toml::de::DeValue;

use crate::document::{At, File, FromToml, Table};
use crate::example;
use crate::expression::Function;
use crate::module;
use crate::pack::{
    Pack, PackModule, PackNeighbour, PackPoint, PackProgram, PackStop, PackStuck, PackSubject,
    with_neighbours,
};
use crate::problem::{Problem, Source};
use crate::quantity::{Millis, Quantity, convert};
use crate::rule::RuleReader;
use crate::suggest::did_you_mean;

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
    let mut rules: Vec<_> =
        root.tables("rule", "a rule").into_iter().filter_map(|table| reader.rule(table)).collect();
    // What is collected in the place of tables keeps their room, many times its own.
    rules.shrink_to_fit();
    let mut tests: Vec<_> = root
        .tables("test", "a test")
        .into_iter()
        .filter_map(|table| example::test(table, subject.as_ref(), &all, &rules))
        .collect();
    tests.shrink_to_fit();
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

/// `without = "temperature"`: for devices that do not have this point.
pub(crate) fn without(table: &Table<'_>, points: &BTreeMap<String, PackPoint>) -> Option<String> {
    let without = table.get::<String>("without")?;
    if !points.contains_key(&without.value) {
        let message = format!("there is no point `{}`", without.value);
        table.file().error(without.span.clone(), message, None);
    }
    Some(without.value)
}

/// `name`, as it appears in ids: small letters, digits and `-`.
pub(crate) fn name(table: &Table<'_>) -> Option<String> {
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
    let mut others = Vec::new();
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
        let (instead, beside) = (entry.get::<String>("or"), entry.get::<String>("with"));
        others.extend(instead.clone().map(|other| (other, true)));
        others.extend(beside.clone().map(|other| (other, false)));
        let (zh, en) = (entry.need::<String>("zh"), entry.need::<String>("en"));
        let stuck = entry.table("stuck", "for how long it may stand still");
        let stuck = stuck.zip(unit.as_ref()).and_then(|(table, unit)| stands(table, unit.value));
        entry.finish();
        if let (Some(unit), Some(zh), Some(en)) = (unit, zh, en) {
            let text = Text { zh: zh.value, en: en.value };
            points.insert(
                name.value,
                PackPoint {
                    kind: kind.map(|kind| kind.value),
                    unit: unit.value,
                    optional,
                    instead: instead.map(|instead| instead.value),
                    beside: beside.map(|beside| beside.value),
                    name: text,
                    stuck,
                },
            );
        }
    }
    for (other, optional) in others {
        if points.get(&other.value).is_none_or(|point: &PackPoint| optional && !point.optional) {
            let what = if optional { "optional point" } else { "point" };
            let message = format!("`{}` is no {what} of this pack", other.value);
            root.file().error(other.span, message, None);
        }
    }
    points
}

/// `{ after = "24 h", step = "0.1 °C" }`.
fn stands(table: Table<'_>, unit: Unit) -> Option<PackStuck> {
    let (after, step) = (table.need::<Millis>("after"), table.need::<Quantity>("step"));
    let file = table.file();
    table.finish();
    let (after, step) = after.zip(step)?;
    if unit == Unit::Truth || convert(step.value.value, step.value.unit, unit).is_none_or(|step| step < 0.0) {
        let message = format!("expected a step in {}, 0 or more, of a quantity that moves", unit.symbol());
        file.error(step.span, message, None);
        return None;
    }
    Some(PackStuck { after: after.value, step: step.value })
}

pub(crate) fn mark(table: &Table<'_>) -> Option<String> {
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
    let stop = table.table("stop", "what tells a stopped cycle").and_then(|stop| {
        let power = stop.get::<String>("power").map(|name| known(name, Unit::Kilowatt));
        let heating = if power.is_some() { stop.need::<Quantity>("heating") } else { None };
        stop.finish();
        let heating = heating.filter(|heating| in_unit(file, heating, Unit::Kilowatt).is_some());
        match power {
            None => Some(PackStop { power: None }),
            Some(power) => Some(PackStop { power: Some((power?, heating?.value)) }),
        }
    });
    let programs = table.tables("program", "a program").into_iter().filter_map(program).collect();
    table.finish();
    Some(PackModule { temperature: temperature?, door, probes, pressure, stop, programs })
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
    let dry_ms = table.get::<Millis>("dry_for").map(|span| span.value.0);
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
        dry_ms,
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

pub(crate) fn in_unit(file: &File<'_>, quantity: &At<Quantity>, unit: Unit) -> Option<f64> {
    let value = convert(quantity.value.value, quantity.value.unit, unit);
    if value.is_none() {
        file.error(quantity.span.clone(), format!("expected a value in {}", unit.symbol()), None);
    }
    value
}
