//! `deny.toml` over `cargo metadata`: licences, sources, bans and doubled crates.

use std::collections::{BTreeMap, BTreeSet};

use e2e::ground::root;
use toml::Table;

use super::crates::{Graph, Package};

fn deny() -> Table {
    std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

fn texts(list: &toml::Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Every entry of a list of `{ crate, reason }`, the reason not empty.
fn reasoned(list: &toml::Value) -> Vec<String> {
    let entry = |entry: &toml::Value| {
        let name = entry["crate"].as_str().unwrap().to_owned();
        assert!(entry["reason"].as_str().is_some_and(|reason| reason.len() > 8), "{name} needs a reason");
        name
    };
    list.as_array().unwrap().iter().map(entry).collect()
}

/// Crates that may bring a banned one along, as cargo-deny reads it.
fn wrappers(list: &toml::Value, name: &str) -> BTreeSet<String> {
    let entry = list.as_array().unwrap().iter().find(|entry| entry["crate"].as_str() == Some(name));
    entry.and_then(|entry| entry.get("wrappers")).map(texts).unwrap_or_default()
}

#[test]
fn every_licence_is_allowed() {
    let allowed = texts(&deny()["licenses"]["allow"]);
    let bad: Vec<String> = Graph::get()
        .others()
        .filter(|package| !package.license.as_deref().is_some_and(|licence| satisfied(licence, &allowed)))
        .map(|package| format!("{} {}: {:?}", package.name, package.version, package.license))
        .collect();
    assert!(bad.is_empty(), "licences that deny.toml does not allow:\n{}", bad.join("\n"));
}

#[test]
fn an_expression_is_satisfied_by_one_side_of_or_and_both_sides_of_and() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
    for good in
        ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR GPL-3.0) AND ISC", "Apache-2.0 WITH LLVM-exception"]
    {
        assert!(satisfied(good, &allowed), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "(GPL-3.0 OR LGPL-3.0) AND MIT", ""] {
        assert!(!satisfied(bad, &allowed), "{bad}");
    }
}

#[test]
fn everything_comes_from_crates_io() {
    let allowed = texts(&deny()["sources"]["allow-registry"]);
    let bad: Vec<_> = Graph::get()
        .others()
        .filter(|package| {
            !package
                .source
                .as_deref()
                .and_then(|source| source.strip_prefix("registry+"))
                .is_some_and(|registry| allowed.contains(registry))
        })
        .map(|package| format!("{}: {:?}", package.name, package.source))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn banned_crates_are_not_there() {
    let deny = deny();
    let banned = reasoned(&deny["bans"]["deny"]);
    let there: Vec<_> = Graph::get()
        .others()
        .filter(|package| banned.contains(&package.name))
        .flat_map(|package| Graph::get().users(package).into_iter().map(move |user| (&package.name, user)))
        .filter(|(name, user)| !wrappers(&deny["bans"]["deny"], name).contains(*user))
        .collect();
    assert!(there.is_empty(), "banned crates and who brings them: {there:?}");
}

#[test]
fn doubled_crates_are_listed_with_their_reason_and_nothing_else_is() {
    let mut versions: BTreeMap<&str, BTreeSet<Vec<u64>>> = BTreeMap::new();
    for package in Graph::get().others() {
        versions.entry(&package.name).or_default().insert(numbers(package));
    }
    // The newest of each is the one we want; every older one must be excused.
    let doubled: BTreeSet<String> = versions
        .iter()
        .flat_map(|(name, versions)| {
            versions.iter().rev().skip(1).map(move |version| {
                let shown = if version[0] > 0 { version[0].to_string() } else { format!("0.{}", version[1]) };
                format!("{name}@{shown}")
            })
        })
        .collect();
    let excused: BTreeSet<String> = reasoned(&deny()["bans"]["skip"]).into_iter().collect();
    let missing: Vec<_> = doubled.difference(&excused).collect();
    let stale: Vec<_> = excused.difference(&doubled).collect();
    assert!(
        missing.is_empty(),
        "doubled and not excused in deny.toml: {missing:?} (cargo tree -d says by whom)"
    );
    assert!(stale.is_empty(), "excused in deny.toml and no longer doubled: {stale:?}");
}

fn numbers(package: &Package) -> Vec<u64> {
    let plain = package.version.split(['-', '+']).next().unwrap();
    plain.split('.').map(|number| number.parse().unwrap()).collect()
}

/// SPDX, as far as crates use it: AND binds tighter than OR, `/` is an old OR.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let good = either(&words, &mut at, allowed);
    good && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut good = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        good |= both(words, at, allowed);
    }
    good
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut good = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        good &= one(words, at, allowed);
    }
    good
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let good = either(words, at, allowed);
        *at += 1;
        return good;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed.contains(&format!("{word} WITH {exception}"));
    }
    allowed.contains(*word)
}
