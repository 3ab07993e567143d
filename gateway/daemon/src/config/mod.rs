//! The site file and the device profiles: text in, a checked [`Site`] or every problem out.
//!
//! [`load`] reads a file, [`load_str`] a text; [`explain`] shows problems with line, caret and hint.
//! Nothing here connects, listens or writes. The site file's keys are described in
//! `deploy/example/` by example; a key that is not known is a problem.

mod blocks;
mod broker;
mod calibration;
mod cards;
mod checks;
mod deadbands;
mod devices;
pub mod difference;
mod head;
mod mapping;
mod maps;
mod moved;
mod own;
mod points;
mod profile;
mod profile_mqtt;
mod sinks;
mod site;
mod stuck;
mod table;
mod weighing;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway_rules::{At, File, Pack, Problem, Severity, Source, Table, embedded_packs, parse_pack, render};

use gateway_wire::Configuration;

pub use broker::*;
pub use cards::{Card, CardField, CardSettings, cards};
pub use mapping::*;
pub use own::{OWN_EVERY_MS, Sense, SensePlan};
pub use sinks::{
    Begin, InfluxApi, InfluxPlan, Login, MqttSinkPlan, SinkPlan, TargetPlan, UrlPlan, WebhookPlan,
};
pub use site::*;

/// A place as a manual prints it: `40101`, `input 0x0001`, `holding 81 (from 1)`. The address is from 0.
pub fn place(text: &str) -> Result<(FunctionCode, u16), String> {
    profile::address(text)
}

/// Bytes of a site file, profile or pack, at most.
const FILE_MAX: u64 = 1 << 20;

/// Reads a site file, and the packs and profiles it names, relative to itself.
pub fn load(path: &Path) -> Result<Site, Vec<Problem>> {
    gather(path).1
}

/// The same, with every file that was read; `None` = not even the site file could be.
pub fn gather(path: &Path) -> (Option<Configuration>, Result<Site, Vec<Problem>>) {
    let name = path.display().to_string();
    let text = match read_file(path) {
        Ok(text) => text,
        Err(message) => return (None, Err(vec![unreadable(&name, &message)])),
    };
    let base = base_of(path);
    let files = RefCell::new(BTreeMap::new());
    let read = |relative: &str| {
        let path = base.join(relative);
        let text = read_file(&path)?;
        files.borrow_mut().insert(relative.to_owned(), text.clone());
        Ok(Source { name: path.display().to_string(), text })
    };
    let site = load_with(&Shipped::read(), &Source { name, text: text.clone() }, &read, Vec::new());
    let configuration = Configuration { site: text, files: files.into_inner().into_iter().collect() };
    (Some(configuration), site.map(|site| rebased(site, &base)))
}

/// Reads a site from its bytes. Secret files that it names lie where they would for the site file at `path`.
pub fn load_configuration(configuration: &Configuration, path: &Path) -> Result<Site, Vec<Problem>> {
    load_configuration_with(&Shipped::read(), configuration, path)
}

/// The same, for whoever reads many.
pub fn load_configuration_with(
    shipped: &Shipped,
    configuration: &Configuration,
    path: &Path,
) -> Result<Site, Vec<Problem>> {
    let source = Source { name: CONFIGURATION_NAME.to_owned(), text: configuration.site.clone() };
    let read = |relative: &str| {
        let text = configuration.file(relative);
        let text = text.ok_or_else(|| "it is not among the files that came with the site file".to_owned())?;
        Ok(Source { name: relative.to_owned(), text: text.to_owned() })
    };
    load_with(shipped, &source, &read, Vec::new()).map(|site| rebased(site, &base_of(path)))
}

/// The same as [`load`] under other rules: these pack files are taken instead of those of their names, or beside them.
pub fn load_under(path: &Path, rules: &[PathBuf]) -> Result<Site, Vec<Problem>> {
    let mut packs = Vec::new();
    let mut unread = Vec::new();
    for file in rules {
        let name = file.display().to_string();
        match read_file(file) {
            Ok(text) => packs.push(Source { name, text }),
            Err(message) => unread.push(unreadable(&name, &message)),
        }
    }
    if !unread.is_empty() {
        return Err(unread);
    }
    let name = path.display().to_string();
    let text = read_file(path).map_err(|message| vec![unreadable(&name, &message)])?;
    let base = base_of(path);
    let read = |relative: &str| {
        let path = base.join(relative);
        read_file(&path).map(|text| Source { name: path.display().to_string(), text })
    };
    load_with(&Shipped::read(), &Source { name, text }, &read, packs).map(|site| rebased(site, &base))
}

/// What problems call the site file of a configuration that is no file of its own.
const CONFIGURATION_NAME: &str = "site.toml";

fn base_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn rebased(mut site: Site, base: &Path) -> Site {
    if let Some(dir) = &mut site.journal.dir {
        *dir = base.join(&dir);
    }
    site.broker.rebase(base);
    site.sinks.iter_mut().for_each(|sink| sink.based_on(base));
    site
}

/// Reads a site from a text that stands alone.
pub fn load_str(name: &str, text: &str) -> Result<Site, Vec<Problem>> {
    let source = Source { name: name.to_owned(), text: text.to_owned() };
    let read = |_: &str| Err("a site without a file cannot name other files".to_owned());
    load_with(&Shipped::read(), &source, &read, Vec::new())
}

/// Problems of a configuration as a page of text.
pub fn explain_configuration(problems: &[Problem], configuration: &Configuration) -> String {
    let mut sources = embedded_packs();
    sources.extend(profile::embedded());
    let site = (CONFIGURATION_NAME.to_owned(), configuration.site.clone());
    let own = std::iter::once(site).chain(configuration.files.iter().cloned());
    sources.extend(own.map(|(name, text)| Source { name, text }));
    render(problems, &sources, false)
}

/// Problems as a page of text, each with its line, a caret and a hint. Reads the files they are about once more.
pub fn explain(problems: &[Problem], color: bool) -> String {
    let mut sources = embedded_packs();
    sources.extend(profile::embedded());
    for problem in problems {
        if !sources.iter().any(|source| source.name == problem.file)
            && let Ok(text) = read_file(Path::new(&problem.file))
        {
            sources.push(Source { name: problem.file.clone(), text });
        }
    }
    render(problems, &sources, color)
}

fn read_file(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_MAX {
        return Err(format!("longer than {FILE_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn unreadable(name: &str, message: &str) -> Problem {
    let source = Source { name: name.to_owned(), text: String::new() };
    Problem::at(&source, 0..0, Severity::Error, format!("cannot be read: {message}"))
}

/// How other files are read.
type Read<'r> = &'r dyn Fn(&str) -> Result<Source, String>;

fn load_with(
    shipped: &Shipped,
    source: &Source,
    read: Read<'_>,
    rules: Vec<Source>,
) -> Result<Site, Vec<Problem>> {
    let file = File::new(source);
    let mut foreign = Vec::new();
    let root = file.root();
    let sheets = root.as_ref().map_or_else(Vec::new, |root| sheets(root, read, &mut foreign));
    let tables: Vec<File<'_>> = sheets.iter().map(|sheet| File::new(&sheet.site)).collect();
    let site = root.and_then(|root| {
        let library = Library::new(shipped, &root, read, rules, &mut foreign);
        let (common, head) = head::read(&root);
        let rows = tables.iter().filter_map(File::root).collect();
        let devices = devices::read(&root, rows, &library, &common, head.as_ref());
        let sinks = sinks::read(&root, read);
        root.finish();
        Some(Site { sinks, ..head?.into_site(devices?) })
    });
    if let Some(Err(error)) = site.as_ref().map(|site| gateway_wire::check_plan(&site.plan)) {
        let hint = "fewer devices with rules, or two gateways".to_owned();
        file.error(0..0, format!("more than a config record can say: {error}"), Some(hint));
    }
    let mut problems = foreign;
    problems.extend(file.into_problems());
    for (sheet, table) in sheets.iter().zip(tables) {
        problems.extend(sheet.translate(table.into_problems()));
    }
    match site {
        Some(mut site) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
            site.warnings = problems;
            Ok(site)
        }
        _ => Err(problems),
    }
}

/// The packs and profiles that come with the program, read. That is most of what reading a small site costs.
#[derive(Debug, Clone)]
pub struct Shipped {
    packs: Vec<Result<Arc<Pack>, Vec<Problem>>>,
    profiles: Vec<Result<Arc<profile::Profile>, Vec<Problem>>>,
}

impl Shipped {
    /// Reads them.
    pub fn read() -> Self {
        Self {
            packs: embedded_packs().iter().map(pack).collect(),
            profiles: profile::embedded().iter().map(profile).collect(),
        }
    }
}

/// A pack as a site needs it: without its tests, whose series are most of it.
fn pack(source: &Source) -> Result<Arc<Pack>, Vec<Problem>> {
    parse_pack(source).map(|pack| Arc::new(Pack { tests: Vec::new(), ..pack }))
}

fn profile(source: &Source) -> Result<Arc<profile::Profile>, Vec<Problem>> {
    profile::parse(source).map(Arc::new)
}

/// Packs and profiles at hand: those of the program, replaced or extended by files of the site.
struct Library {
    packs: Vec<Arc<Pack>>,
    /// Some packs have problems of their own: nobody knows what they would have watched.
    broken: bool,
    profiles: BTreeMap<String, Arc<profile::Profile>>,
}

impl Library {
    fn new(
        shipped: &Shipped,
        root: &Table<'_>,
        read: Read<'_>,
        rules: Vec<Source>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut library = Self { packs: Vec::new(), broken: false, profiles: BTreeMap::new() };
        // The last of a name holds.
        let own = files(root, "packs", read).into_iter().chain(rules).map(|source| pack(&source));
        for pack in shipped.packs.iter().cloned().chain(own) {
            match pack {
                Ok(pack) => {
                    library.packs.retain(|known| known.name != pack.name);
                    library.packs.push(pack);
                }
                Err(found) => {
                    library.broken = true;
                    problems.extend(found);
                }
            }
        }
        let own = files(root, "profiles", read).into_iter().map(|source| profile(&source));
        for profile in shipped.profiles.iter().cloned().chain(own) {
            match profile {
                Ok(profile) => drop(library.profiles.insert(profile.name.clone(), profile)),
                Err(found) => problems.extend(found),
            }
        }
        library
    }
}

/// `[devices] files = ["devices.csv"]`
fn sheets(root: &Table<'_>, read: Read<'_>, problems: &mut Vec<Problem>) -> Vec<table::Sheet> {
    let mut sheets = Vec::new();
    for source in files(root, "devices", read) {
        match table::Sheet::read(source) {
            Ok(sheet) => sheets.push(sheet),
            Err(found) => problems.extend(found),
        }
    }
    sheets
}

/// `[packs] files = ["own.toml"]`
fn files(root: &Table<'_>, key: &'static str, read: Read<'_>) -> Vec<Source> {
    let Some(table) = root.table(key, "this table") else { return Vec::new() };
    let names = table.need::<Vec<At<String>>>("files").map_or_else(Vec::new, |names| names.value);
    table.finish();
    let mut sources = Vec::new();
    for name in names {
        match read(&name.value) {
            Ok(source) => sources.push(source),
            Err(message) => {
                root.file().error(name.span, format!("`{}` cannot be read: {message}", name.value), None);
            }
        }
    }
    sources
}

#[cfg(test)]
mod profile_vectors;
#[cfg(test)]
mod tests;
