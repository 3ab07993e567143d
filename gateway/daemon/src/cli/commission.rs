//! `gateway commission`: devices get their unit ids, names and places, one at a time.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use gateway_rules::did_you_mean;
use gateway_wire::{hash, hex};

use super::{Ended, GOOD, USAGE, say};
use crate::clock::Wall;
use crate::commission::dialogue::Dialogue;
use crate::commission::drive::{Bench, is_serial};
use crate::commission::line::Framing;
use crate::commission::sheet::{self, Picture};
use crate::config::{Card, CardSettings, LineSettings, Parity, cards};

/// What is asked of it.
#[derive(Args)]
pub(super) struct Commission {
    /// Where the line is: `host:port` of a Modbus TCP gateway or serial server, or a serial port (`/dev/ttyUSB0`).
    address: String,
    /// Profile of the instruments.
    #[arg(long)]
    profile: String,
    /// The line carries RTU frames (a serial server); without it Modbus TCP.
    #[arg(long)]
    rtu: bool,
    /// Speed of a serial port as it is now, bit/s; what the instruments ship with otherwise.
    #[arg(long)]
    speed: Option<u32>,
    /// Parity of a serial port, with one stop bit; what the instruments ship with otherwise.
    #[arg(long, value_parser = parity)]
    parity: Option<Parity>,
    /// Name of the bus in the site file.
    #[arg(long, default_value = "bus-1")]
    bus: String,
    /// First unit id to give. Devices ship with 1: leave that to the next one out of its box.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=247))]
    first_id: u8,
    /// Also set this line speed, bit/s.
    #[arg(long)]
    baud: Option<u32>,
    /// How long an answer may take, ms.
    #[arg(long, default_value_t = 300)]
    wait: u64,
    /// Look at all 247 unit ids for each device, not only at the usual ones.
    #[arg(long)]
    all_ids: bool,
    /// A photo of a device for the sheet, JPEG or PNG of at most 8 MB: `xy-md02-2=plate.jpg`; may be given more than once.
    #[arg(long = "photo", value_name = "DEVICE=FILE", value_parser = photo)]
    photos: Vec<(String, PathBuf)>,
    /// Where the acceptance sheet goes.
    #[arg(long, default_value = "acceptance.md")]
    sheet: PathBuf,
}

/// As site files name it.
pub(super) fn parity(text: &str) -> Result<Parity, String> {
    match text {
        "none" => Ok(Parity::None),
        "even" => Ok(Parity::Even),
        "odd" => Ok(Parity::Odd),
        _ => Err("expected none, even or odd".to_owned()),
    }
}

fn photo(text: &str) -> Result<(String, PathBuf), String> {
    let pair = text.split_once('=').map(|(device, file)| (device.to_owned(), PathBuf::from(file)));
    pair.ok_or_else(|| "expected DEVICE=FILE, such as xy-md02-2=plate.jpg".to_owned())
}

/// What the sheet says of them; before anybody is asked anything, so that a wrong name costs no installation.
fn pictures(photos: &[(String, PathBuf)]) -> anyhow::Result<Vec<Picture>> {
    let picture = |(device, file): &(String, PathBuf)| {
        let bytes = super::device::photo_bytes(file)?;
        let file = file.display().to_string();
        Ok(Picture { device: device.clone(), file, sha256: hex(&hash(&bytes)) })
    };
    photos.iter().map(picture).collect()
}

pub(super) fn commission(asked: Commission) -> Ended {
    let pictures = match pictures(&asked.photos) {
        Ok(pictures) => pictures,
        Err(why) => {
            eprintln!("error: {why:#}");
            return Ok(USAGE);
        }
    };
    let (card, settings) = match card(&asked) {
        Ok(found) => found,
        Err(why) => {
            eprintln!("error: {why}");
            return Ok(USAGE);
        }
    };
    let bench = Bench {
        line: LineSettings {
            baud: asked.speed.unwrap_or(card.line.baud),
            parity: asked.parity.unwrap_or(card.line.parity),
            ..card.line
        },
        baud: asked.baud,
        framing: if asked.rtu || is_serial(&asked.address) { Framing::Rtu } else { Framing::Tcp },
        address: asked.address,
        wait: Duration::from_millis(asked.wait),
        all_ids: asked.all_ids,
        card: card.clone(),
        settings,
    };
    let mut dialogue = Dialogue::new(card.clone(), asked.first_id, asked.baud);
    let ended = super::runtime()?.block_on(async {
        let answers = tokio::io::BufReader::new(tokio::io::stdin());
        bench.run(&mut dialogue, answers, std::io::stderr()).await
    });
    // What was done is said also where the line broke in the middle.
    if !dialogue.installed.is_empty() {
        let when = Wall::system().civil().and_then(|now| jiff::Timestamp::from_millisecond(now.0).ok());
        let when =
            when.map_or_else(|| "____________".to_owned(), |when| when.strftime("%Y-%m-%d").to_string());
        let known = |picture: &&Picture| !dialogue.installed.iter().any(|one| one.id == picture.device);
        for picture in pictures.iter().filter(known) {
            eprintln!("没有这台设备 no such device was installed: {} ({})", picture.device, picture.file);
        }
        let page = sheet::sheet(&card, &asked.bus, &when, &dialogue.installed, &pictures);
        std::fs::write(&asked.sheet, page)
            .with_context(|| format!("write the acceptance sheet {}", asked.sheet.display()))?;
        eprintln!("验收单 acceptance sheet: {}", asked.sheet.display());
        say(&sheet::lines(&card, &asked.bus, &dialogue.installed).trim_end())?;
    }
    ended.map(|()| GOOD)
}

fn card(asked: &Commission) -> Result<(Card, CardSettings), String> {
    let cards = cards();
    let names = || cards.iter().map(|card| card.profile.as_str());
    let Some(card) = cards.iter().find(|card| card.profile == asked.profile) else {
        let hint = did_you_mean(&asked.profile, names())
            .map_or_else(|| names().collect::<Vec<_>>().join(", "), |near| format!("did you mean `{near}`?"));
        return Err(format!("there is no profile `{}`: {hint}", asked.profile));
    };
    let Some(settings) = &card.settings else {
        return Err(format!(
            "{} ({}) has no settings that can be written over the line: use the vendor's tool, then `gateway probe`",
            card.profile, card.title.en
        ));
    };
    if let Some(baud) = asked.baud
        && !settings.bauds.iter().any(|(known, _)| *known == baud)
    {
        let known: Vec<String> = settings.bauds.iter().map(|(known, _)| known.to_string()).collect();
        return Err(format!("{} cannot be set to {baud} bit/s; known: {}", card.profile, known.join(", ")));
    }
    Ok((card.clone(), settings.clone()))
}
