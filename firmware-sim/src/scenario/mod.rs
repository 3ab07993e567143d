//! Scenarios: what is at a site, what will go wrong there, and when.
//!
//! [`compose`] puts the files together that a scenario is based on, [`file`] is the TOML as written, [`build`] checks it
//! against itself and makes it ready to run ([`appliances`] the devices, [`terminals`] the endpoints), [`expect`] is what a
//! correct gateway makes of it. Every problem is reported
//! with its line; a scenario that parsed can always be run.

mod appliances;
pub(crate) mod build;
mod compose;
pub mod expect;
mod file;
mod terminals;

use std::fmt;
use std::path::Path;

use crate::device::Device;
use crate::face::answer::Quirks;
use crate::face::frame::Transport;
use crate::face::maps::Map;
use crate::face::weigh::Indicator;
use crate::fault::Effect;
use crate::line;
use crate::signal::{SignalIx, Signals};

/// A sentence in both languages.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// A unit on an endpoint.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Unit id.
    pub unit: u8,
    /// Its registers.
    pub map: Map,
    /// How it departs from its manual.
    pub quirks: Quirks,
    /// Time it takes before it answers, real ms; the endpoint's when `None`.
    pub turnaround_ms: Option<u64>,
    /// What it is plugged into: silent while that is off.
    pub supply: Option<SignalIx>,
}

/// One Modbus server, or one weighing indicator.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its name: that of the bus in a site file.
    pub name: String,
    /// How it talks.
    pub transport: Transport,
    /// Connections at most; more are closed at once, as such boxes do.
    pub connections: usize,
    /// Time a device takes before it answers, real ms.
    pub turnaround_ms: u64,
    /// How its line is set, if it is on one.
    pub line: line::Settings,
    /// The indicator, if it is one.
    pub indicator: Option<Indicator>,
    /// What its box is plugged into: nobody answers while that is off.
    pub supply: Option<SignalIx>,
    /// Its units, by id.
    pub units: Vec<Unit>,
}

/// A fault that is sure to happen.
#[derive(Debug, Clone)]
pub struct Plant {
    /// First second, after the first midnight, or after the incident for [`Scenario::incident`].
    pub from: i64,
    /// How many seconds.
    pub for_s: i64,
    /// What and where.
    pub effect: Effect,
    /// Where, as written.
    pub target: String,
    /// The fault's word.
    pub fault: &'static str,
    /// Why, for people.
    pub note: Option<Text>,
}

/// A fault that may happen, again and again.
#[derive(Debug, Clone)]
pub struct Chance {
    /// From this day on.
    pub from_day: i64,
    /// Between these seconds of the day.
    pub between: (i64, i64),
    /// The time between is cut into pieces this long, s…
    pub every_s: i64,
    /// …in each of which it happens with this probability.
    pub chance: f64,
    /// How many seconds.
    pub for_s: i64,
    /// What and where.
    pub effect: Effect,
    /// Where, as written.
    pub target: String,
    /// Seed of its draws.
    pub seed: u64,
}

/// A scenario, checked.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is.
    pub title: Text,
    /// What happens in it.
    pub about: Option<Text>,
    /// Seed of every draw.
    pub seed: u64,
    /// Local time of the site.
    pub utc_offset_min: i32,
    pub(crate) devices: Vec<(String, &'static str, Device)>,
    /// What each device is plugged into.
    pub(crate) supplies: Vec<Option<SignalIx>>,
    /// Days on which the institution is closed, first and last.
    pub(crate) closed: Vec<(i64, i64)>,
    pub(crate) signals: Signals,
    /// Its Modbus servers and indicators.
    pub endpoints: Vec<Endpoint>,
    /// Sure faults.
    pub plants: Vec<Plant>,
    /// What `--incident-at` adds.
    pub incident: Vec<Plant>,
    /// Likely faults.
    pub chances: Vec<Chance>,
    /// What a correct gateway makes of it.
    pub check: expect::Check,
}

/// One thing wrong with a scenario file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

macro_rules! embedded {
    ($($name:literal)*) => {
        /// The scenarios that come with the program.
        pub const EMBEDDED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml"))),)*];
    };
}

embedded! {
    "hotel" "clinic" "hospital"
    "good-hotel" "good-clinic" "good-hospital"
    "cabinet-too-cool" "cabinet-overheats" "door-under-pressure" "load-used-anyway" "load-repeated" "one-load-twenty-visits" "lamp-worn-out"
    "waste-50-hours" "collector-absent" "weight-lost" "label-twice" "fridge-door" "bus-cut" "power-cut" "breaker-nightly" "district-offline" "heat-gun" "probe-replaced" "holiday-declared"
    "holiday-undeclared" "used-while-closed" "fridge-frozen"
}

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read scenario {file}; `firmware-sim list` names the embedded ones")]
    Read {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It can be read but not run.
    #[error("{} problem(s) in the scenario", .0.len())]
    Problems(Vec<Problem>),
}

impl Scenario {
    /// The embedded scenario of this name, or the file at this path; `seed` instead of its own.
    pub fn load(name_or_path: &str, seed: Option<u64>) -> Result<Self, LoadError> {
        let path = Path::new(name_or_path);
        let loaded = if let Ok((file, text)) = embedded(name_or_path) {
            build::build(&file, &text, seed, &embedded)
        } else {
            let read = |source| LoadError::Read { file: name_or_path.to_owned(), source };
            let text = std::fs::read_to_string(path).map_err(read)?;
            build::build(name_or_path, &text, seed, &|base| beside(path, base))
        };
        loaded.map_err(LoadError::Problems)
    }

    /// Reads a scenario whose bases are embedded ones; all its problems, or the scenario.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        build::build(file, text, None, &embedded)
    }

    /// Ids and kinds of the devices.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.devices.iter().map(|(id, kind, _)| (id.as_str(), *kind))
    }
}

/// Name and text of an embedded scenario.
fn embedded(name: &str) -> Result<(String, String), String> {
    let found = EMBEDDED.iter().find(|(known, _)| *known == name);
    let (name, text) = found.ok_or_else(|| format!("no embedded scenario is called `{name}`"))?;
    Ok((format!("{name}.toml"), (*text).to_owned()))
}

/// Name and text of a base of the file at `path`: an embedded scenario, or a file beside it.
fn beside(path: &Path, base: &str) -> Result<(String, String), String> {
    embedded(base).or_else(|_| {
        let path = path.with_file_name(format!("{base}.toml"));
        let text = std::fs::read_to_string(&path).map_err(|error| {
            format!("`{base}` is neither embedded nor readable as {}: {error}", path.display())
        })?;
        Ok((path.display().to_string(), text))
    })
}
