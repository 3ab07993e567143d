//! The example site files, made fit for virtual time.

use gateway::config::{Site, load_str};

use crate::ground::root;

/// What the example files poll by, seconds.
const POLL_S: i64 = 10;
/// How often their meters are read, seconds: not more often than the rest.
const METER_S: i64 = 30;

/// `deploy/example/NAME.toml`, polling every `poll_s`. Records are sealed as rarely as a site file may ask for: how often
/// changes neither inputs nor conclusions, only how many records hold them.
pub(super) fn load(name: &str, poll_s: i64) -> Site {
    let path = root().join(format!("deploy/example/{name}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let every = |seconds: i64| format!("every = \"{seconds}s\"");
    let text = text
        .replace(&every(METER_S), &every(METER_S.max(poll_s)))
        .replace(&every(POLL_S), &every(poll_s))
        .replace("seal_every = \"30s\"", "seal_every = \"300s\"");
    load_str(&path.display().to_string(), &text)
        .unwrap_or_else(|problems| panic!("{}", gateway::config::explain(&problems, false)))
}
