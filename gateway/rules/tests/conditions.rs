//! Conditions: what parses to what, what is refused where, what compiles to what.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use gateway_model::{HoursQuestion, Op, PointIx, Unit, WindowFunction, WindowPlan};
use gateway_rules::{Quantity, Scope, Symbol, Trouble, compile, parse_expression};
use proptest::prelude::*;

fn scope() -> Scope {
    let point = |slot, unit| Symbol::Point { point: PointIx(slot), unit };
    let constant = |value, unit| Symbol::Constant(Quantity { value, unit });
    [
        ("temperature", point(0, Unit::Celsius)),
        ("pressure", point(1, Unit::Pascal)),
        ("door", point(2, Unit::Truth)),
        ("power", point(3, Unit::Watt)),
        ("count", point(4, Unit::One)),
        ("limit", constant(8.0, Unit::Celsius)),
        ("high", constant(240.0, Unit::Kilopascal)),
        ("load", constant(1.5, Unit::Kilowatt)),
        ("factor", constant(2.0, Unit::One)),
        ("energy", point(5, Unit::KilowattHour)),
        ("feed.visits", point(6, Unit::One)),
        ("window", constant(15.0, Unit::Minute)),
        ("blink", constant(3.0, Unit::Second)),
    ]
    .into_iter()
    .map(|(name, symbol)| (name.to_owned(), symbol))
    .collect()
}

/// The condition with a caret line under it and the message, as a person would see it.
fn shown(text: &str, trouble: &Trouble) -> String {
    let before = text[..trouble.span.start].chars().count();
    let under = text[trouble.span.clone()].chars().count().max(1);
    format!("{}{} {}", " ".repeat(before), "^".repeat(under), trouble.message)
}

fn refused(text: &str, wanted: &str) {
    let troubles = match parse_expression(text) {
        Err(trouble) => vec![trouble],
        Ok(expression) => compile(&expression, &scope(), None, &BTreeMap::new()).expect_err(text),
    };
    assert_eq!(shown(text, &troubles[0]), wanted, "{text}");
}

#[test]
fn what_a_condition_cannot_be_is_said_at_its_place() {
    refused("temperature > high", "^^^^^^^^^^^^^^^^^^ a temperature cannot be compared with a pressure");
    refused("temperature > 8", "^^^^^^^^^^^^^^^ a temperature cannot be compared with a plain number");
    refused("door && temperature", "        ^^^^^^^^^^^ expected true or false, this is a temperature");
    refused("temperature + limit", "^^^^^^^^^^^^^^^^^^^ a condition must be true or false, this is a number");
    refused("temprature > limit", "^^^^^^^^^^ `temprature` is neither a point nor a parameter of this rule");
    refused("door > limit", "^^^^ expected a number, this is true or false");
    refused(
        "temperature * pressure > limit",
        "^^^^^^^^^^^^^^^^^^^^^^ a temperature times a pressure has no unit that is known here",
    );
    refused("door == count", "^^^^^^^^^^^^^ true or false cannot be compared with a plain number");
    refused("temperature = limit", "            ^ `=` is not part of a condition");
    refused("temperature > limit ? door", "                          ^ `:` is missing at the end");
    refused("door ? limit : high", "^^^^^^^^^^^^^^^^^^^ a temperature cannot be compared with a pressure");
    refused("limit ? door : door", "^^^^^ expected true or false, this is a temperature");
    refused("avg(door, window) > limit", "    ^^^^ a window is over a point that is a number");
    refused(
        "avg(temperature, limit) > limit",
        "                 ^^^^^ a window's length is a parameter that is a duration",
    );
    refused("avg(temperature, blink) > limit", "                 ^^^^^ a window is 10 s to 62 d long");
    refused(
        "age(temperature) > limit",
        "^^^^^^^^^^^^^^^^^^^^^^^^ a duration cannot be compared with a temperature",
    );
    refused(
        "count(temperature, window) > limit",
        "^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ a plain number cannot be compared with a temperature",
    );
    refused(
        "rate(energy, window) > limit",
        "^^^^^^^^^^^^^^^^^^^^^^^^^^^^ a power cannot be compared with a temperature",
    );
    refused("open(door)", "     ^^^^ expected `)`, found `door`");
    refused("feed.visit > factor", "^^^^^^^^^^ `feed.visit` is neither a point nor a parameter of this rule");
    refused("temperature >", "             ^ the condition ends too early");
    refused("(door", "     ^ `)` is missing at the end");
    refused("door)", "    ^ `)` does not fit here");
    refused("temperature > 8°C", "               ^ `°` is not part of a condition");
    refused("temperature > 8C", "              ^^ `8C` is not a number");
    refused("avg(temperature) > limit", "^^^^^^^^^^^^^^^^ `avg` takes 2 argument(s), not 1");
    refused("mean(temperature) > limit", "^^^^ there is no function `mean`");
    refused("abs(count, count) > factor", "^^^^^^^^^^^^^^^^^ `abs` takes 1 argument(s), not 2");
    refused("temperature \u{ff1e} limit", "            ^ `\u{ff1e}` is not part of a condition");
    refused("1 < 2 < 3", "^^^^^ expected a number, this is true or false");
    refused("", "^ the condition ends too early");
}

#[test]
fn all_type_errors_of_a_condition_are_said_at_once() {
    let expression = parse_expression("temperature > high || door > limit || nosuch").unwrap();
    assert_eq!(compile(&expression, &scope(), None, &BTreeMap::new()).unwrap_err().len(), 3);
}

#[test]
fn depth_and_length_are_limited() {
    let deep = format!("{}door{}", "(".repeat(100), ")".repeat(100));
    assert!(parse_expression(&deep).unwrap_err().message.contains("deep"));
    let chain = vec!["door"; 500].join(" || ");
    assert!(parse_expression(&chain).unwrap_err().message.contains("deep"));
    let signs = format!("{}door", "!".repeat(3000));
    assert!(parse_expression(&signs).unwrap_err().message.contains("deep"));
    assert!(parse_expression(&"x".repeat(5000)).unwrap_err().message.contains("4096 bytes"));
    let fair = vec!["door"; 60].join(" && ");
    assert!(parse_expression(&fair).is_ok());
    let brackets = format!("{}door{}", "(".repeat(60), ")".repeat(60));
    assert!(parse_expression(&brackets).is_ok());
}

fn compiled(text: &str, deadband: Option<&str>) -> (Vec<Op>, Option<Vec<Op>>) {
    let deadband = deadband.map(|text| Quantity::parse(text).unwrap());
    let compiled = compile(&parse_expression(text).unwrap(), &scope(), deadband, &BTreeMap::new()).unwrap();
    (compiled.when.0, compiled.returned.map(|program| program.0))
}

#[test]
fn constants_take_the_unit_of_the_point_they_meet() {
    let point = |slot| Op::Point(PointIx(slot));
    assert_eq!(compiled("temperature > limit", None).0, [point(0), Op::Number(8.0), Op::Greater]);
    assert_eq!(compiled("pressure > high", None).0, [point(1), Op::Number(240_000.0), Op::Greater]);
    assert_eq!(compiled("high < pressure", None).0, [Op::Number(240_000.0), point(1), Op::Less]);
    assert_eq!(compiled("power >= load * 2", None).0, [point(3), Op::Number(3000.0), Op::GreaterOrEqual]);
    assert_eq!(
        compiled("power / load > factor", None).0,
        [point(3), Op::Number(1500.0), Op::Divide, Op::Number(2.0), Op::Greater]
    );
    assert_eq!(
        compiled("abs(temperature - limit) > limit", None).0,
        [point(0), Op::Number(8.0), Op::Subtract, Op::Absolute, Op::Number(8.0), Op::Greater]
    );
    assert_eq!(
        compiled("!door == true", None).0,
        [Op::TruthPoint(PointIx(2)), Op::Not, Op::Truth(true), Op::Equal]
    );
}

#[test]
fn a_deadband_moves_every_limit_towards_normal() {
    let point = Op::Point(PointIx(0));
    let returned = |text| compiled(text, Some("0.5 °C")).1.unwrap();
    assert_eq!(returned("temperature > limit"), [point, Op::Number(7.5), Op::Greater, Op::Not]);
    assert_eq!(returned("temperature < limit"), [point, Op::Number(8.5), Op::Less, Op::Not]);
    assert_eq!(returned("limit < temperature"), [Op::Number(7.5), point, Op::Less, Op::Not]);
    assert_eq!(
        returned("!(temperature <= limit)"),
        [point, Op::Number(7.5), Op::LessOrEqual, Op::Not, Op::Not]
    );
    let trouble = compile(
        &parse_expression("door").unwrap(),
        &scope(),
        Some(Quantity { value: 0.5, unit: Unit::Celsius }),
        &BTreeMap::new(),
    );
    assert_eq!(
        trouble.unwrap_err()[0].message,
        "the deadband is a temperature, but no limit in this condition is"
    );
}

#[test]
fn windows_have_slots_and_the_unit_of_their_point() {
    let compile =
        |text: &str| compile(&parse_expression(text).unwrap(), &scope(), None, &BTreeMap::new()).unwrap();
    let ask = |window, point, function| Op::Window { window, point: PointIx(point), function };
    let both = compile("max(temperature, window) - min(temperature, window) > limit");
    assert_eq!(
        both.when.0,
        [
            ask(0, 0, WindowFunction::Maximum),
            ask(0, 0, WindowFunction::Minimum),
            Op::Subtract,
            Op::Number(8.0),
            Op::Greater
        ]
    );
    assert_eq!(both.windows, [WindowPlan { point: PointIx(0), span_ms: 900_000 }]);
    // Two of a kind are compared, not looked back upon.
    assert_eq!(compile("max(temperature, limit) > limit").windows, []);
    let power = compile("rate(energy, window) > load");
    assert_eq!(power.when.0, [ask(0, 5, WindowFunction::Rate), Op::Number(1.5), Op::Greater]);
    assert_eq!(power.value.map(|(_, unit)| unit), Some(Unit::Kilowatt));
    let age = compile("age(temperature) > window");
    assert_eq!(age.when.0, [ask(0, 0, WindowFunction::Age), Op::Number(900_000.0), Op::Greater]);
    assert_eq!((age.shown, age.limit), (Some(PointIx(0)), Some(15.0)));
}

#[test]
fn a_choice_the_calendar_and_another_device() {
    let (when, returned) = compiled("temperature > (open() ? limit : limit * factor)", Some("1 °C"));
    assert_eq!(
        when,
        [
            Op::Point(PointIx(0)),
            Op::Hours(HoursQuestion::Open),
            Op::Number(8.0),
            Op::Number(16.0),
            Op::Select,
            Op::Greater
        ]
    );
    assert_eq!(returned.unwrap()[5..], [Op::Number(1.0), Op::Subtract, Op::Greater, Op::Not]);
    assert_eq!(
        compiled("feed.visits > factor && !declared_closed()", None).0[..3],
        [Op::Point(PointIx(6)), Op::Number(2.0), Op::Greater]
    );
}

#[test]
fn provable_is_beyond_the_limit_by_the_uncertainty_of_the_point() {
    let known: BTreeMap<_, _> = [(PointIx(0), 0.5), (PointIx(1), 2000.0)].into();
    let provable = |text: &str| {
        let expression = parse_expression(text).unwrap();
        compile(&expression, &scope(), None, &known).unwrap().provable.map(|program| program.0)
    };
    let t = Op::Point(PointIx(0));
    assert_eq!(provable("temperature > limit").unwrap(), [t, Op::Number(8.5), Op::Greater]);
    assert_eq!(provable("temperature < limit").unwrap(), [t, Op::Number(7.5), Op::Less]);
    assert_eq!(provable("!(temperature <= limit)").unwrap()[1], Op::Number(8.5));
    assert_eq!(provable("high < pressure").unwrap()[0], Op::Number(242_000.0));
    // Whatever is not calibrated proves nothing.
    assert_eq!(provable("temperature > limit && power > load"), None);
    assert_eq!(provable("door"), None);
}

#[test]
fn the_first_point_with_a_limit_is_shown() {
    let shown = |text: &str| {
        let compiled = compile(&parse_expression(text).unwrap(), &scope(), None, &BTreeMap::new()).unwrap();
        (compiled.shown, compiled.limit)
    };
    assert_eq!(shown("door && temperature > limit"), (Some(PointIx(0)), Some(8.0)));
    assert_eq!(shown("high < pressure"), (Some(PointIx(1)), Some(240_000.0)));
    assert_eq!(shown("temperature - limit > limit"), (Some(PointIx(0)), None));
    assert_eq!(shown("door"), (None, None));
}

/// A condition as text, with more brackets and spaces than needed.
fn text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-z][a-z0-9_]{0,4}".prop_filter("a function needs its brackets", |name| {
            !["abs", "min", "max", "avg", "sum", "count", "rate", "last", "age", "open"]
                .contains(&name.as_str())
        }),
        (0u32..10_000, 0u32..100).prop_map(|(whole, part)| format!("{whole}.{part}")),
        Just("true".to_owned()),
    ];
    leaf.prop_recursive(6, 40, 3, |inner| {
        let operators =
            prop::sample::select(vec!["||", "&&", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/"]);
        prop_oneof![
            (inner.clone(), operators, inner.clone()).prop_map(|(a, op, b)| format!("({a}){op} {b}")),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("abs( {a} )")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("max({a} ,{b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("avg({a},{b}) > ( open() )")),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : ({c}))")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(text in text()) {
        if let Ok(expression) = parse_expression(&text) {
            let printed = expression.to_string();
            prop_assert_eq!(parse_expression(&printed).unwrap(), expression, "{}", printed);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9!()<>=&|+*/.,?: °-]{0,60}") {
        if let Ok(expression) = parse_expression(&text) {
            let _compiled_or_not = compile(&expression, &scope(), None, &BTreeMap::new()).is_ok();
        }
    }
}
