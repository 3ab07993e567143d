//! Reads a `[[test]]` of a pack.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::document::{At, File, Table};
use crate::facts;
use crate::hours::read_hours;
use crate::pack::{PackPoint, PackRule, PackSubject};
use crate::quantity::Millis;
use crate::rule::one_of;
use crate::series::{self, Expectation, ExpectedState, PackTest};

pub(crate) fn test(
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
    let lacks = table.get::<Vec<At<String>>>("lacks").map_or_else(Vec::new, |lacks| lacks.value);
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
    for point in &lacks {
        if !points.contains_key(&point.value) || samples.iter().any(|(read, _)| *read == point.value) {
            let message = format!("`{}` is no point that a device can lack here", point.value);
            file.error(point.span.clone(), message, None);
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
        lacks: lacks.into_iter().map(|point| point.value).collect(),
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
