//! The dependency table of design §2.

use std::collections::BTreeSet;

use super::crates::Graph;

struct Row {
    name: &'static str,
    /// Crates of ours that it may name.
    may_use: &'static [&'static str],
    /// Crates that must not end up in it, by whatever way.
    must_never_reach: &'static [&'static str],
}

/// Crates that open sockets or files for a living, or need a runtime.
const SHELL: &[&str] =
    &["tokio", "mio", "socket2", "hyper", "axum", "reqwest", "rumqttc-v5-next", "mqtt5", "sqlx"];

/// All that may end up in a crate which must never reach std: derive macros run in the compiler only.
const PURE: &[&str] = &["gateway-model", "libm", "minicbor", "minicbor-derive"];

const TABLE: &[Row] = &[
    Row { name: "gateway-model", may_use: &[], must_never_reach: &["serde", "tokio"] },
    Row { name: "gateway-rules", may_use: &["gateway-model"], must_never_reach: SHELL },
    Row {
        name: "gateway-engine",
        may_use: &["gateway-model"],
        must_never_reach: &["tokio", "serde", "tracing", "gateway-wire"],
    },
    Row { name: "gateway-wire", may_use: &["gateway-model"], must_never_reach: &["tokio", "gateway-engine"] },
    Row { name: "gateway-journal", may_use: &[], must_never_reach: &["tokio", "gateway-model"] },
    Row {
        name: "gateway-evidence",
        may_use: &["gateway-model", "gateway-rules", "gateway-engine", "gateway-wire"],
        must_never_reach: SHELL,
    },
    Row {
        name: "gateway",
        may_use: &[
            "gateway-model",
            "gateway-rules",
            "gateway-engine",
            "gateway-wire",
            "gateway-journal",
            "gateway-evidence",
        ],
        must_never_reach: &["center", "center-casebook", "firmware-sim"],
    },
    Row {
        name: "center-casebook",
        may_use: &["gateway-model"],
        must_never_reach: &["tokio", "serde", "gateway-engine"],
    },
    Row {
        name: "center",
        may_use: &[
            "gateway-model",
            "gateway-wire",
            "gateway-engine",
            "gateway-rules",
            "gateway-evidence",
            "center-casebook",
        ],
        must_never_reach: &["gateway", "gateway-journal", "firmware-sim"],
    },
    Row {
        name: "firmware-sim",
        may_use: &[],
        must_never_reach: &["gateway-model", "gateway-wire", "gateway-rules", "gateway"],
    },
];

/// They may use everything and nobody may use them.
const TOOLS: &[&str] = &["e2e", "xtask", "bench"];

#[test]
fn every_crate_is_in_the_table() {
    let ours: BTreeSet<&str> = Graph::get().ours().into_keys().collect();
    let tabled: BTreeSet<&str> = TABLE.iter().map(|row| row.name).chain(TOOLS.iter().copied()).collect();
    assert_eq!(ours, tabled);
}

#[test]
fn crates_name_only_what_the_table_lets_them() {
    for row in TABLE {
        let may: BTreeSet<&str> = row.may_use.iter().copied().collect();
        let does = Graph::get().direct_ours(row.name);
        let beyond: Vec<_> = does.difference(&may).collect();
        assert!(beyond.is_empty(), "{} uses {beyond:?}, which design §2 does not let it", row.name);
    }
}

#[test]
fn crates_never_reach_what_the_table_forbids() {
    for row in TABLE {
        let reached = Graph::get().reaches(row.name);
        let forbidden: Vec<_> = row.must_never_reach.iter().filter(|name| reached.contains(*name)).collect();
        assert!(forbidden.is_empty(), "{} reaches {forbidden:?}", row.name);
    }
}

/// The other half of invariant 1 is in `locks`: the compiler itself refuses std.
#[test]
fn the_machines_that_decide_reach_nothing_that_could_bring_std() {
    for name in ["gateway-model", "gateway-engine", "center-casebook"] {
        // What a derive macro is made of never ends up in the program.
        let reached = Graph::get().reaches(name);
        let compiler_only = ["minicbor-derive", "proc-macro2", "quote", "syn", "unicode-ident"];
        let beyond: Vec<_> = reached
            .iter()
            .filter(|found| !PURE.contains(*found) && !compiler_only.contains(*found))
            .collect();
        assert!(beyond.is_empty(), "{name} reaches {beyond:?}");
    }
}

#[test]
fn nobody_depends_on_the_tools() {
    let graph = Graph::get();
    for name in graph.ours().keys() {
        let used: Vec<_> = graph.direct_ours(name).into_iter().filter(|used| TOOLS.contains(used)).collect();
        assert!(used.is_empty(), "{name} depends on {used:?}");
    }
}

#[test]
fn results_are_equal_on_every_machine_because_libm_is_pinned() {
    let manifest = std::fs::read_to_string(e2e::ground::root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let libm = manifest["workspace"]["dependencies"]["libm"].as_str().unwrap();
    assert!(libm.starts_with('='), "libm is `{libm}`, not pinned");
}
