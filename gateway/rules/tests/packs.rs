//! Packs: every problem of a wrong one at once, as a person sees it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use gateway_rules::{Pack, REFERENCE, Source, embedded_packs, parse_pack, reference, render};

const WRONG: &str = r#"name = "wrong"
version = "1"
device = "fridge"
title = { zh = "错", en = "Wrong" }

[points]
temperature = { unit = "C", zh = "温度", en = "Temperature" }
pressure = { unit = "kPa", zh = "压力", en = "Pressure" }

[[rule]]
name = "one"
when = "pressure > limit"
for = "thirty minutes"
prioritty = "red"
priority = "rde"
first = "institution"
mark = "?"
title = { zh = "一", en = "One" }
sentence = { zh = "{temprature}", en = "{value}" }
action = { zh = "做" }
norm = "GB"
verify = { window = "2 h", coverage = 90 }
[rule.parameters]
limit = { default = "8 °C", mark = "K", zh = "上限", en = "Limit" }
"#;

#[test]
fn a_wrong_pack_shows_every_problem_with_its_line() {
    let source = Source { name: "wrong.toml".into(), text: WRONG.into() };
    let problems = parse_pack(&source).unwrap_err();
    let mut found: Vec<_> = problems.iter().map(ToString::to_string).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "wrong.toml:12:9: a pressure cannot be compared with a temperature",
            "wrong.toml:13:7: `thirty` does not begin with a number",
            "wrong.toml:14:1: `prioritty` is not known in a rule",
            "wrong.toml:15:12: `rde` is not known here",
            "wrong.toml:17:8: not a mark of confidence",
            "wrong.toml:19:12: `{temprature}` cannot be filled in",
            "wrong.toml:20:10: `en` is missing in a text in two languages",
            "wrong.toml:21:8: expected text in two languages",
            "wrong.toml:22:39: coverage is a share from 0.5 to 1",
            "wrong.toml:7:24: `C` is not a unit that is known here",
        ]
    );
    let page = render(&problems, &[source], false);
    assert!(
        page.contains(
            "error: a pressure cannot be compared with a temperature\n  --> wrong.toml:12:9\n   |\n12 | when = \"pressure > limit\"\n   |         ^^^^^^^^^^^^^^^^\n"
        ),
        "{page}"
    );
    assert!(page.contains("= hint: did you mean `red`?"), "{page}");
    assert!(!page.contains('\u{1b}'), "no color asked for");
}

#[test]
fn the_reference_in_docs_is_what_the_packs_say() {
    let packs: Vec<Pack> = embedded_packs().iter().map(|source| parse_pack(source).unwrap()).collect();
    for (file, language) in REFERENCE {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        let due = reference(&packs, language);
        assert!(there == due, "docs/{file} is not what the packs say: run `cargo xtask reference`");
        for pack in &packs {
            for rule in &pack.rules {
                assert!(due.contains(&format!("### `{}/{}`", pack.name, rule.name)), "{}", rule.name);
            }
        }
    }
}

#[test]
fn alerts_join_the_cases_of_a_rule_of_the_same_pack_that_has_its_own() {
    let embedded = gateway_rules::embedded_packs()
        .into_iter()
        .find(|source| source.name.contains("cold-chain"))
        .unwrap();
    let said = |joins: &str| {
        let text = embedded.text.replace("joins = \"too-warm\"", &format!("joins = \"{joins}\""));
        parse_pack(&Source { name: "p".into(), text })
            .map_or_else(|problems| problems[0].message.clone(), |_| String::new())
    };
    assert_eq!(said("too-warm"), "");
    assert_eq!(said("too-wram"), "`too-wram` is no rule here that has cases of its own");
    assert_eq!(
        said("freezing"),
        "`freezing` is no rule here that has cases of its own",
        "it joins another itself"
    );
}

#[test]
fn patience_comes_after_a_point_that_is_true_or_false() {
    let sources = embedded_packs();
    let embedded = sources.iter().find(|source| source.name.contains("cold-chain")).unwrap();
    let said = |from: &str, to: &str| {
        assert!(embedded.text.contains(from), "{from}");
        let text = embedded.text.replace(from, to);
        parse_pack(&Source { name: "p".into(), text })
            .map_or_else(|problems| problems[0].message.clone(), |_| String::new())
    };
    let list = "after = [\"door\", \"defrost\"]";
    assert_eq!(
        said("during = [\"defrost\"]", "during = [\"limit\"]"),
        "`limit` is no point of this pack that is true or false"
    );
    assert_eq!(said(list, "after = [\"door\"]"), "");
    assert_eq!(said(list, "after = [\"dor\"]"), "`dor` is no point of this pack that is true or false");
    assert_eq!(
        said(list, "after = [\"temperature\"]"),
        "`temperature` is no point of this pack that is true or false"
    );
    assert_eq!(said("within = \"30 min\"", "within = \"5s\""), "a window is 10 s to 62 d long");
    assert_eq!(said("within = \"30 min\", ", ""), "`within` is missing in `patience`");
}

#[test]
fn a_condition_may_say_while_what_it_is_verified() {
    let sources = embedded_packs();
    let embedded = sources.iter().find(|source| source.name.contains("uv-lamp")).unwrap();
    let said = |from: &str, to: &str| {
        assert!(embedded.text.contains(from), "{from}");
        let text = embedded.text.replacen(from, to, 1);
        parse_pack(&Source { name: "p".into(), text })
            .map_or_else(|problems| problems[0].message.clone(), |_| String::new())
    };
    let during = "during = \"lamp.warm && lamp.session >= settled\"";
    assert_eq!(said(during, "during = \"lamp.warm && lamp.session > settled\""), "");
    assert_eq!(said(during, "during = \"lamp.warm\""), "the parameter `settled` is not used");
    assert!(said(during, "during = \"lamp.warn && lamp.session >= settled\"").contains("lamp.warn"));
    assert!(!said(during, "during = \"lamp.session\"").is_empty(), "a truth is asked for");
    let ledger = sources.iter().find(|source| source.name.contains("medical-waste")).unwrap();
    let event = ledger.text.find("event = \"ledger.duplicate-label\"").unwrap();
    let (head, tail) = ledger.text.split_at(event);
    let tail = tail.replacen("coverage = 0.9 }", "coverage = 0.9, during = \"stable\" }", 1);
    let problems = parse_pack(&Source { name: "p".into(), text: format!("{head}{tail}") }).unwrap_err();
    assert_eq!(problems[0].message, "only a condition has a time in which it is judged");
}

/// What is said first of an embedded pack in which `from`, behind `rule`, is replaced by `to`; nothing if all is well.
fn said(pack: &str, rule: &str, from: &str, to: &str) -> String {
    let sources = embedded_packs();
    let embedded = sources.iter().find(|source| source.name.contains(pack)).unwrap();
    let rule = embedded.text.find(&format!("name = \"{rule}\"\n")).unwrap();
    let (head, tail) = embedded.text.split_at(rule);
    assert!(tail.contains(from), "{from}");
    let text = format!("{head}{}", tail.replacen(from, to, 1));
    parse_pack(&Source { name: "p".into(), text })
        .map_or_else(|problems| problems[0].message.clone(), |_| String::new())
}

#[test]
fn a_time_to_put_right_ends_with_a_day_or_lasts() {
    let fix = |to| said("sterilizer", "biological-overdue", "self_fix = \"3 working days\"", to);
    assert_eq!(fix("self_fix = \"end of day\""), "");
    assert_eq!(fix("self_fix = \"2 h\"\nself_fix_open = true"), "");
    assert_eq!(fix("self_fix = \"999 working days\""), "`999 working days` is not 1 to 250 working days");
    assert_eq!(
        fix("self_fix = \"end of day\"\nself_fix_open = true"),
        "`self_fix_open` goes with a duration in `self_fix`"
    );
}

#[test]
fn what_makes_a_pass_must_fit_the_rule() {
    let lasting = "`lasting` goes with a condition that has `for`, and without `during`";
    let passes = "`passes` is 2 to 10, of a duty that failed";
    let with = |pack, rule, to| said(pack, rule, "coverage = 0.9", &format!("coverage = 0.9, {to}"));
    assert_eq!(with("uv-lamp", "person-exposed", "lasting = true"), "");
    assert_eq!(with("uv-lamp", "weak", "lasting = true"), lasting);
    assert_eq!(with("uv-lamp", "worn-out-counted", "lasting = true"), lasting);
    assert_eq!(with("sterilizer", "cycle-failed", "lasting = true"), lasting);
    assert_eq!(with("sterilizer", "bowie-dick-failed", "passes = 2"), "");
    assert_eq!(with("sterilizer", "bowie-dick-failed", "passes = 1"), passes);
    assert_eq!(with("sterilizer", "bowie-dick-overdue", "passes = 2"), passes);
}
