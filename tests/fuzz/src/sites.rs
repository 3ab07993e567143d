//! A site file with everything it names: a plan that can run, or problems that each have a place.

use std::path::Path;
use std::sync::OnceLock;

use gateway::bus::Bus;
use gateway::bus::forecast::forecast;
use gateway::config::difference::Difference;
use gateway::config::{Shipped, Site, explain_configuration, load_configuration_with};
use gateway::metrics::Metrics;
use gateway_engine::Engine;
use gateway_engine::intake::Intake;
use gateway_wire::{Configuration, hash};
use libfuzzer_sys::Corpus;

/// Begins another file in an input: `#:file own.toml`.
const FILE: &str = "#:file ";
const SITE: &str = "site.toml";

/// Read once: of a site's own time it would be nine tenths.
static SHIPPED: OnceLock<Shipped> = OnceLock::new();

/// Reads a site as `gateway check`, `plan` and `run` do; whether other inputs are worth being made of this one.
///
/// Every broken file has a page of its own of what is wrong, which covers something new. Built upon, such files are soon nearly
/// all there is, and none of their offspring is ever a site again: one run of four then never came behind the reader at all.
pub fn site(bytes: &[u8]) -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    let configuration = unfold(text);
    let shipped = SHIPPED.get_or_init(Shipped::read);
    let read = || load_configuration_with(shipped, &configuration, Path::new(SITE));
    let (page, keep) = match read() {
        Ok(site) => {
            assert!(
                site.warnings.iter().all(|problem| placed(problem, &configuration)),
                "{:?}",
                site.warnings
            );
            // No seed has as many devices on a bus, or is asked at any other period.
            super::planted(|| {
                let strange = |every: u64| ![10, 30].contains(&every);
                site.blocks.iter().any(|block| block.unit.0 > 8 || strange(block.every.as_secs()))
            });
            runs(&site);
            // One in eight: it costs as much as all the rest.
            if hash(bytes)[0] < 32 {
                assert_eq!(read().expect("it was read before"), site, "read twice it is the same");
            }
            (explain_configuration(&site.warnings, &configuration), Corpus::Keep)
        }
        Err(problems) => {
            assert!(problems.iter().all(|problem| placed(problem, &configuration)), "{problems:?}");
            assert!(!problems.is_empty(), "refused, and nobody knows why");
            // One mistake away from a site.
            let near = if problems.len() == 1 { Corpus::Keep } else { Corpus::Reject };
            (explain_configuration(&problems, &configuration), near)
        }
    };
    assert!(page.is_empty() || page.contains(SITE) || page.contains("-->"), "{page}");
    keep
}

fn unfold(text: &str) -> Configuration {
    let mut configuration = Configuration { site: String::new(), files: Vec::new() };
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix(FILE) {
            configuration.files.push((name.trim().to_owned(), String::new()));
            continue;
        }
        let file = configuration.files.last_mut().map_or(&mut configuration.site, |(_, text)| text);
        file.push_str(line);
    }
    configuration
}

/// Does a problem say what and where?
fn placed(problem: &gateway_rules::Problem, configuration: &Configuration) -> bool {
    let text = if problem.file == SITE {
        Some(configuration.site.as_str())
    } else {
        configuration.file(&problem.file)
    };
    let Some(text) = text else { return false };
    let Some(before) = text.get(..problem.span.start) else { return false };
    let line = before.matches('\n').count() + 1;
    let within = problem.span.end <= text.len() && problem.span.start <= problem.span.end;
    within && line == problem.line && problem.column >= 1 && !problem.message.trim().is_empty()
}

/// Whatever is accepted can be begun: the plan of each bus, the engine, intake; and is no different from itself.
fn runs(site: &Site) {
    for bus in forecast(site) {
        assert!(bus.load.is_finite() && bus.round_ms.is_finite(), "{bus:?}");
        assert!(bus.requests.iter().all(|request| request.count > 0), "{bus:?}");
    }
    for slot in 0..site.buses.len() {
        drop(Bus::of(site, slot, 1.0, Metrics::default(), None));
    }
    drop((Engine::new(site.plan.clone()), Intake::new(&site.plan)));
    assert_eq!(Difference::between(site, site).to_string(), "changes nothing");
}

/// Numbers that stand at some limit.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "9",
    "127",
    "247",
    "248",
    "2000",
    "65535",
    "65536",
    "1e9",
    "0x7FFF",
    "0.5",
    "99999999999999999999",
];

/// Changes a site file as people do: a word for another, a number, a line too many or too few; one time in four like any
/// other bytes.
pub fn change_site(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed));
    let changed = match std::str::from_utf8(&data[..size]) {
        Ok(text) if seed % 4 > 0 && !text.is_empty() => change(text, &mut dice),
        Ok(_) | Err(_) => return libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    };
    if changed.len() > max_size {
        return size;
    }
    data[..changed.len()].copy_from_slice(changed.as_bytes());
    changed.len()
}

fn change(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = dice.below(lines.len());
    match dice.below(8) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[dice.below(lines.len())].clone()),
        2 => {
            let other = dice.below(lines.len());
            lines.swap(at, other);
        }
        // Numbers are what sites differ in, and what leaves them sites.
        3..6 => {
            let numbered: Vec<usize> =
                (0..lines.len()).filter(|n| lines[*n].contains(|c: char| c.is_ascii_digit())).collect();
            let at = dice.one(&numbered).unwrap_or(at);
            let numbers = places(&lines[at], |c| c.is_ascii_digit());
            if let Some(place) = dice.one(&numbers) {
                lines[at].replace_range(place, NUMBERS[dice.below(NUMBERS.len())]);
            }
        }
        // A word for another word of the file.
        _ => {
            let word = |c: char| c.is_alphanumeric() || "-_./".contains(c);
            let words = places(text, word);
            let here = places(&lines[at], word);
            if let (Some(from), Some(place)) = (dice.one(&words), dice.one(&here)) {
                lines[at].replace_range(place, &text[from]);
            }
        }
    }
    lines.join("\n") + "\n"
}

/// Where there are runs of such characters.
fn places(text: &str, of: impl Fn(char) -> bool) -> Vec<std::ops::Range<usize>> {
    let mut places: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| of(*c)) {
        match places.last_mut() {
            Some(last) if last.end == at => last.end = at + c.len_utf8(),
            Some(_) | None => places.push(at..at + c.len_utf8()),
        }
    }
    places
}

/// Numbers drawn from libFuzzer's seed, so that a run can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) as usize % n.max(1)
    }

    fn one<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        let at = self.below(list.len());
        list.get(at).cloned()
    }
}
