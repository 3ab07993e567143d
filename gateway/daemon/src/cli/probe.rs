//! `gateway probe`: who is on a line, what it looks like, and the lines to paste.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::commission::parity;
use super::{Ended, GOOD, USAGE, WRONG, say};
use crate::commission::detective::{self, Fit, Samples};
use crate::commission::drive::{dial, is_serial, words};
use crate::commission::line::{Framing, Heard, Line};
use crate::config::{Card, CardField, FunctionCode, LineSettings, Parity, cards, place};

/// Distance between samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Speeds of instruments, bit/s, the commonest first.
const SPEEDS: [u32; 7] = [9_600, 4_800, 2_400, 19_200, 115_200, 38_400, 57_600];
/// Profiles shown of one device.
const FITS_MAX: usize = 4;
/// Exceptions by which a gateway says that nobody is behind it.
const NOBODY: [u8; 2] = [0x0A, 0x0B];

/// What is asked of it.
#[derive(Args)]
pub(super) struct Probe {
    /// `host:port` of a device, Modbus TCP gateway or serial server, or a serial port (`/dev/ttyUSB0`).
    address: String,
    /// Speed of a serial port, bit/s; otherwise the usual ones are tried until somebody answers.
    #[arg(long)]
    speed: Option<u32>,
    /// Parity of a serial port: none, even or odd; without it and a speed, even is tried after none.
    #[arg(long, value_parser = parity)]
    parity: Option<Parity>,
    /// Unit ids to look at: `1-32`, `5`.
    #[arg(long, default_value = "1-32", value_parser = range)]
    units: (u8, u8),
    /// Look at registers of unknown instruments, as a manual prints them: `40101`, `input 0x0000`.
    #[arg(long)]
    at: Option<String>,
    /// How many registers from there.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    count: u16,
    /// Watch registers so long, s.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How long an answer may take, ms.
    #[arg(long, default_value_t = 300)]
    wait: u64,
}

fn range(text: &str) -> Result<(u8, u8), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first @ 1..=247), Ok(last @ 1..=247)) if first <= last => Ok((first, last)),
        _ => Err("expected unit ids from 1 to 247, such as 1-32".to_owned()),
    }
}

pub(super) fn probe(asked: &Probe) -> Ended {
    let at = match asked.at.as_deref().map(place).transpose() {
        Ok(at) => at,
        Err(why) => {
            eprintln!("error: --at: {why}");
            return Ok(USAGE);
        }
    };
    super::runtime()?.block_on(async {
        let Some(Seen { framing, line, live }) = find(asked).await? else {
            eprintln!(
                "nobody answers at {} on unit ids {}-{}{}: check power, A/B and line speed; look at more with --units 1-247",
                asked.address,
                asked.units.0,
                asked.units.1,
                tried(asked)
            );
            return Ok(WRONG);
        };
        let transport = match framing {
            Framing::Tcp => "tcp",
            Framing::Rtu if is_serial(&asked.address) => "rtu",
            Framing::Rtu => "rtu-over-tcp",
        };
        let set = if is_serial(&asked.address) { as_site(line) } else { String::new() };
        say(&format_args!(
            "# {transport}\n[[bus]]\nname = \"bus-1\"\ntransport = \"{transport}\"\naddress = \"{}\"\n{set}",
            asked.address
        ))?;
        let mut line = open(asked, framing, line).await?;
        for unit in live {
            match at {
                Some((function, first)) => {
                    let samples = watch(asked, &mut line, unit, function, first).await?;
                    say(&format_args!("# unit {unit}\n{}", detective::page(&samples)))?;
                }
                None => say(&recognised(unit, &fits(&mut line, unit).await?))?,
            }
        }
        Ok(GOOD)
    })
}

/// The lines of a site file that say how a serial port is set.
fn as_site(line: LineSettings) -> String {
    let parity = match line.parity {
        Parity::None => "",
        Parity::Even => "parity = \"even\"\n",
        Parity::Odd => "parity = \"odd\"\n",
    };
    format!("baud = {}\n{parity}", line.baud)
}

/// How a serial port may be set, the likeliest first.
fn settings(asked: &Probe) -> Vec<LineSettings> {
    if !is_serial(&asked.address) {
        return vec![LineSettings::USUAL];
    }
    let parities = match (asked.parity, asked.speed) {
        (Some(parity), _) => vec![parity],
        (None, Some(_)) => vec![Parity::None],
        (None, None) => vec![Parity::None, Parity::Even],
    };
    let speeds = asked.speed.map_or_else(|| SPEEDS.to_vec(), |speed| vec![speed]);
    let at = |parity| speeds.iter().map(move |baud| LineSettings { baud: *baud, parity, stop_bits: 1 });
    parities.into_iter().flat_map(at).collect()
}

/// What was tried, in words, where it was more than one setting.
fn tried(asked: &Probe) -> String {
    match &settings(asked)[..] {
        [] | [_] => String::new(),
        several => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            format!(" ({})", several.join(", "))
        }
    }
}

async fn open(asked: &Probe, framing: Framing, line: LineSettings) -> anyhow::Result<Line> {
    let stream = dial(&asked.address, line)
        .dial(&asked.address)
        .await
        .with_context(|| format!("connect to {}", asked.address))?;
    Ok(Line::new(stream, framing, Duration::from_millis(asked.wait)))
}

/// Who answers, and in which way.
struct Seen {
    framing: Framing,
    line: LineSettings,
    live: Vec<u8>,
}

async fn find(asked: &Probe) -> anyhow::Result<Option<Seen>> {
    // On a serial port there is one framing, and several speeds.
    let framings = [Framing::Tcp, Framing::Rtu].into_iter().skip(usize::from(is_serial(&asked.address)));
    let settings = settings(asked);
    let several = settings.len() > 1;
    for (framing, settings) in framings.flat_map(|framing| settings.iter().map(move |set| (framing, *set))) {
        if several {
            eprintln!("{settings} …");
        }
        let mut line = open(asked, framing, settings).await?;
        let mut live = Vec::new();
        let mut heard_of = false;
        for unit in asked.units.0..=asked.units.1 {
            // What is no frame to it, a server may end the connection over.
            let Ok(heard) = line.ask(unit, &[3, 0, 0, 0, 1]).await else { break };
            match heard {
                Heard::Answer(_) => live.push(unit),
                Heard::Exception(code) => {
                    heard_of = true;
                    if !NOBODY.contains(&code) {
                        live.push(unit);
                    }
                }
                Heard::Several | Heard::Garbled if framing == Framing::Rtu => {
                    eprintln!("unit {unit}: answers of two devices, or noise: check ids, A/B and terminator");
                }
                Heard::Several | Heard::Garbled | Heard::Silence => {}
            }
        }
        if !live.is_empty() || heard_of {
            return Ok(Some(Seen { framing, line: settings, live }));
        }
    }
    Ok(None)
}

/// Whether the unit id stands where the profile has it, the instrument, and how well it fits.
type Fitting = (bool, Card, Fit);

/// How well each profile fits, the best first.
async fn fits(line: &mut Line, unit: u8) -> anyhow::Result<Vec<Fitting>> {
    let mut answers: BTreeMap<(FunctionCode, u16, u16), Option<Vec<u16>>> = BTreeMap::new();
    let key = |field: &CardField| (field.function, field.address, words(&field.kind));
    let cards = cards();
    for (function, address, count) in cards.iter().flat_map(|card| card.fields.iter().map(key)) {
        if let Entry::Vacant(vacant) = answers.entry((function, address, count)) {
            vacant.insert(line.read(unit, function, address, count).await?.ok());
        }
    }
    let mut fits = Vec::new();
    for card in cards {
        let fit = detective::fit(&card, |field| answers.get(&key(field)).cloned().flatten());
        if fit.plausible == 0 {
            continue;
        }
        // Where the profile has the unit id, this unit id: then it is hardly another one.
        let id = match &card.settings {
            Some(settings) => line.read(unit, FunctionCode::HoldingRegisters, settings.id, 1).await?,
            None => Err(Heard::Silence),
        };
        fits.push((id == Ok(vec![u16::from(unit)]), card, fit));
    }
    // All of it, and as much of it as there is.
    fits.sort_by_key(|(id, _, fit)| {
        std::cmp::Reverse((fit.plausible == fit.of, *id, fit.plausible * 100 / fit.of, fit.plausible))
    });
    Ok(fits)
}

fn recognised(unit: u8, fits: &[Fitting]) -> String {
    let mut lines = vec![format!("# unit {unit}")];
    for (id, card, fit) in fits.iter().take(FITS_MAX) {
        let values: Vec<String> =
            fit.values.iter().map(|(name, value, symbol)| format!("{name} {value} {symbol}")).collect();
        let belongs = if *id { ", unit id where it belongs" } else { "" };
        let (name, title, values) = (&card.profile, &card.title.en, values.join(", "));
        lines.push(format!(
            "#   {name} ({title}): {} of {} values plausible{belongs}: {values}",
            fit.plausible, fit.of
        ));
    }
    match fits.first() {
        None => lines.push("#   no profile fits: look at its registers with --at".to_owned()),
        Some((_, card, _)) => {
            let options = if card.options.is_empty() { "" } else { ", options = { … }" };
            lines.push(format!(
                "[[device]]\nid = \"{0}-{unit}\"\nkind = \"sensor\"\nname = {{ zh = \"{1}\", en = \"{2}\" }}\n\
                 read = [{{ bus = \"bus-1\", unit = {unit}, profile = \"{0}\"{options} }}]",
                card.profile, card.title.zh, card.title.en
            ));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The same registers every second, from one before the stated one: manuals count from 0 or from 1.
async fn watch(
    asked: &Probe,
    line: &mut Line,
    unit: u8,
    function: FunctionCode,
    first: u16,
) -> anyhow::Result<Samples> {
    let first = first.saturating_sub(1);
    let mut samples = Samples { function, first, words: Vec::new() };
    let mut every = tokio::time::interval(SAMPLE_EVERY);
    for _ in 0..asked.seconds {
        every.tick().await;
        let mut words = Vec::new();
        for n in 0..=asked.count {
            // One by one: a hole in the map must not hide what is behind it.
            let Some(address) = first.checked_add(n) else { break };
            let read = line.read(unit, function, address, 1).await?;
            words.push(read.ok().and_then(|words| words.first().copied()));
        }
        samples.words.push(words);
    }
    Ok(samples)
}
