//! `cargo metadata`, as far as the tests need it, for the platform we ship: Linux.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::Command;
use std::sync::OnceLock;

use e2e::ground::root;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) source: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// The resolved graph.
pub(super) struct Graph {
    packages: HashMap<String, Package>,
    /// Edges that end up in the program: not dev, not build.
    normal: HashMap<String, Vec<String>>,
    /// All edges, dev and build included.
    every: HashMap<String, Vec<String>>,
}

impl Graph {
    /// Asks cargo, once.
    pub(super) fn get() -> &'static Self {
        static GRAPH: OnceLock<Graph> = OnceLock::new();
        GRAPH.get_or_init(Self::ask)
    }

    fn ask() -> Self {
        let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(root())
            .output()
            .expect("cargo can be run");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let mut answer: Value =
            serde_json::from_slice(&output.stdout).expect("cargo metadata answers in JSON");
        let packages: Vec<Package> =
            serde_json::from_value(answer["packages"].take()).expect("packages as documented");
        let nodes: Vec<Node> =
            serde_json::from_value(answer["resolve"]["nodes"].take()).expect("nodes as documented");
        let edges = |wanted: fn(&Kind) -> bool| {
            nodes
                .iter()
                .map(|node| {
                    let to = node.deps.iter().filter(|dependency| dependency.dep_kinds.iter().any(wanted));
                    (node.id.clone(), to.map(|dependency| dependency.pkg.clone()).collect())
                })
                .collect()
        };
        let there: BTreeSet<&String> = nodes.iter().map(|node| &node.id).collect();
        Self {
            normal: edges(|kind| kind.kind.is_none()),
            every: edges(|_| true),
            packages: packages
                .into_iter()
                .filter(|package| there.contains(&package.id))
                .map(|package| (package.id.clone(), package))
                .collect(),
        }
    }

    /// Crates of this workspace, by name.
    pub(super) fn ours(&self) -> BTreeMap<&str, &Package> {
        let ours = self.packages.values().filter(|package| package.source.is_none());
        ours.map(|package| (package.name.as_str(), package)).collect()
    }

    /// Everybody else's.
    pub(super) fn others(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.source.is_some())
    }

    /// Names of the crates that depend on this one directly, for any purpose.
    pub(super) fn users(&self, package: &Package) -> BTreeSet<&str> {
        let users = self.every.iter().filter(|(_, used)| used.contains(&package.id));
        users.map(|(id, _)| self.packages[id].name.as_str()).collect()
    }

    /// Names of the crates of ours that `name` depends on directly, for any purpose.
    pub(super) fn direct_ours(&self, name: &str) -> BTreeSet<&str> {
        self.every[&self.ours()[name].id]
            .iter()
            .map(|id| &self.packages[id])
            .filter(|package| package.source.is_none())
            .map(|package| package.name.as_str())
            .collect()
    }

    /// Names of all crates that end up in `name`.
    pub(super) fn reaches(&self, name: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut pending = vec![&self.ours()[name].id];
        while let Some(id) = pending.pop() {
            for next in &self.normal[id] {
                if reached.insert(self.packages[next].name.as_str()) {
                    pending.push(next);
                }
            }
        }
        reached
    }
}
