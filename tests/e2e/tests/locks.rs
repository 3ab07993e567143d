//! Invariant 1, locked by the compiler: the machines that decide cannot link std. `tests/locks/README.md` says how.
//! Each lock has a twin with a std dependency that must fail, so that a lock that holds nothing would be noticed.

use std::process::{Command, Output};

use e2e::ground::{root, target};

fn build(lock: &str) -> Output {
    Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
        .args(["build", "--locked", "--offline"])
        .arg("--manifest-path")
        .arg(root().join("tests/locks").join(lock).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target().join("locks"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap()
}

fn holds(lock: &str) {
    let output = build(lock);
    assert!(output.status.success(), "{lock} must build:\n{}", String::from_utf8_lossy(&output.stderr));
}

fn fails(twin: &str) {
    let output = build(twin);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{twin} must not build");
    assert!(said.contains("E0152"), "{twin} must fail with E0152, because std is there:\n{said}");
}

#[test]
fn the_engine_links_without_std() {
    holds("engine");
}

#[test]
fn the_casebook_links_without_std() {
    holds("casebook");
}

#[test]
fn the_engine_with_std_beneath_it_is_refused() {
    fails("engine-std");
}

#[test]
fn the_casebook_with_std_beneath_it_is_refused() {
    fails("casebook-std");
}
