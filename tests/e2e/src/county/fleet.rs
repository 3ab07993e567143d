//! Which sites a county has, and the site file of each: the mix of `users.md` B (half hotels, three eighths dental clinics, the
//! rest small hospitals), with the habits that differ from house to house.

use std::fmt::Write as _;

use std::path::{Path, PathBuf};

use gateway::config::{Site, explain, load, load_str};

use crate::dice::Dice;

/// What a house is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hotel,
    Clinic,
    Hospital,
}

/// One site.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "what a house has or has not, each by itself")]
pub(super) struct Premises {
    pub(super) n: u64,
    pub(super) kind: Kind,
    /// Sites of one township lose their mains together.
    pub(super) township: u64,
    /// Sites of one mobile network lose their line together.
    pub(super) carrier: u64,
    /// The main breaker is off at night, and the gateway with it.
    pub(super) breaker: bool,
    /// The gateway knows how long it was off.
    pub(super) rtc: bool,
    /// The house's own system tells of visits, or of occupied rooms.
    pub(super) feed: bool,
    /// Minutes of the day.
    pub(super) opens: i64,
    pub(super) closes: i64,
    /// Closed on Sundays.
    pub(super) rests: bool,
    /// Days of the run on which it is closed for the festival, from and to before.
    pub(super) festival: Option<(i64, i64)>,
    pub(super) machines: usize,
    pub(super) lamps: usize,
    pub(super) fridges: usize,
    /// Days between two removals of waste; 0 = none arises.
    pub(super) removal: i64,
    /// Contacts for the lid and the mains are wired.
    pub(super) wired: bool,
}

/// Sites whose townships are counted so.
pub(super) const TOWNSHIPS: u64 = 12;
/// Mobile networks.
pub(super) const CARRIERS: u64 = 3;
/// The eve of the festival, days since the first.
pub(super) const FESTIVAL: i64 = 5;
/// Its official days.
const FESTIVAL_DAYS: i64 = 7;

impl Premises {
    /// The `n`th site of a county.
    pub(super) fn new(seed: u64, n: u64) -> Self {
        let mut dice = Dice::new(seed, 1_000_000 + n);
        let kind = match n % 8 {
            0..4 => Kind::Hotel,
            4..7 => Kind::Clinic,
            _ => Kind::Hospital,
        };
        let breaker = match kind {
            Kind::Hotel => dice.percent(10),
            Kind::Clinic => dice.percent(85),
            Kind::Hospital => dice.percent(25),
        };
        let festival = match kind {
            // Doctors go home for 8 to 15 days; a hotel without breakfast guests shuts for the official days.
            Kind::Clinic => dice.percent(80).then(|| (FESTIVAL, FESTIVAL + dice.between(8, 16))),
            Kind::Hotel => (breaker || dice.percent(5)).then_some((FESTIVAL, FESTIVAL + FESTIVAL_DAYS)),
            Kind::Hospital => None,
        };
        let (opens, closes) = match kind {
            Kind::Hotel if breaker => (600, 1_320),
            Kind::Hotel => (0, 1_440),
            Kind::Clinic => (510 + dice.between(0, 3) * 15, 1_050 + dice.between(0, 4) * 15),
            Kind::Hospital => (480, 1_080),
        };
        Self {
            n,
            kind,
            township: dice.below(TOWNSHIPS),
            carrier: dice.below(CARRIERS),
            breaker,
            rtc: dice.percent(50),
            feed: dice.percent(80),
            opens,
            closes,
            rests: kind == Kind::Clinic && dice.percent(60),
            festival,
            machines: match kind {
                Kind::Hotel | Kind::Hospital => 2,
                Kind::Clinic => {
                    if dice.percent(30) {
                        2
                    } else {
                        1
                    }
                }
            },
            lamps: match kind {
                Kind::Hotel => 0,
                Kind::Clinic => 2,
                Kind::Hospital => 6,
            },
            fridges: match kind {
                Kind::Hotel => 0,
                Kind::Clinic => usize::from(dice.percent(83)),
                Kind::Hospital => 2,
            },
            removal: match kind {
                Kind::Hotel => 0,
                Kind::Clinic => {
                    if dice.percent(60) {
                        2
                    } else {
                        1
                    }
                }
                Kind::Hospital => 1,
            },
            wired: dice.percent(30),
        }
    }

    /// Works on this day of the run (0 is a Monday).
    pub(super) fn works(&self, day: i64) -> bool {
        let festive = self.festival.is_some_and(|(from, to)| (from..to).contains(&day));
        !(festive || self.rests && day.rem_euclid(7) == 6)
    }

    /// The rule packs that its devices need.
    pub(super) fn packs(&self) -> Vec<&'static str> {
        let own: &[&str] = match self.kind {
            Kind::Hotel => &["disinfection-cabinet"],
            Kind::Clinic | Kind::Hospital => &["sterilizer", "uv-lamp", "medical-waste"],
        };
        let fridge = (self.fridges > 0).then_some("cold-chain");
        let feed = (self.kind == Kind::Clinic && self.feed).then_some("dental-clinic");
        own.iter().copied().chain(["gateway-self"]).chain(fridge).chain(feed).collect()
    }

    /// Its name at the center.
    pub(super) fn institution(&self) -> String {
        format!("site-{}", self.n)
    }

    /// The site file, read as the gateway reads it. `dates`: the local date of a day of the run. `packs`: rule packs in place
    /// of those in the program; the file is written to `folder` then, since it names them.
    pub(super) fn site(
        &self,
        settings: &str,
        dates: impl Fn(i64) -> String,
        packs: &[PathBuf],
        folder: &Path,
    ) -> anyhow::Result<Site> {
        let text = self.text(settings, dates);
        let said = |problems: Vec<_>| anyhow::anyhow!("{}", explain(&problems, false));
        if packs.is_empty() {
            return load_str(&self.institution(), &text).map_err(said);
        }
        let named: Vec<String> = packs.iter().map(|pack| format!("\"{}\"", pack.display())).collect();
        let path = folder.join(format!("{}.toml", self.institution()));
        std::fs::write(&path, format!("{text}[packs]\nfiles = [{}]\n", named.join(", ")))?;
        load(&path).map_err(said)
    }

    fn text(&self, settings: &str, dates: impl Fn(i64) -> String) -> String {
        let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
        let name = self.institution();
        let mut text = format!(
            "[site]\nid = \"{name}\"\ninstitution = \"{name}\"\nname = {{ zh = \"模拟场所\", en = \"Simulated site\" }}\n\
             utc_offset_min = 480\n[page]\nlisten = \"127.0.0.1:0\"\n[broker]\nlisten = \"127.0.0.1:0\"\n[hours]\n"
        );
        let days = if self.rests { "mon-sat" } else { "mon-sun" };
        let mut line = |key: &str, values: &[String]| {
            let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
            writeln!(text, "{key} = [{}]", quoted.join(", ")).expect("a text can be written to");
        };
        line("open", &[format!("{days} {}-{}", clock(self.opens), clock(self.closes))]);
        if self.breaker {
            let mut off = vec![format!("mon-sun {}-{}", clock(self.closes - 30), clock(self.opens + 30))];
            off.extend(self.rests.then(|| "sun 00:00-24:00".to_owned()));
            line("off", &off);
        }
        if let Some((from, to)) = self.festival {
            line("holidays", &[format!("{}..{}", dates(from), dates(to - 1))]);
        }
        write!(text, "[parameters]\n{settings}").expect("a text can be written to");
        if self.kind == Kind::Hospital {
            text.push_str("\"sterilizer/bowie-dick-overdue.off\" = \"no\"\n\"sterilizer/biological_duty.every\" = \"7 d\"\n");
        }
        text.push_str("[[bus]]\nname = \"line\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:1\"\n");
        text.push_str("[[bus]]\nname = \"other\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:2\"\n");
        self.devices(&mut text);
        text
    }

    fn devices(&self, text: &mut String) {
        let mut units = 0;
        match self.kind {
            Kind::Hotel => {
                for n in 1..=self.machines {
                    device(
                        text,
                        &format!("cabinet-{n}"),
                        "disinfection-cabinet",
                        "program = \"accommodation-ir-125/30\"\n",
                    );
                    read(text, &mut units, "mb8art", "temperature", "channel-1", "60s");
                    read(text, &mut units, "waveshare-8di", "door", "di-1", "60s");
                }
                if self.feed {
                    device(text, "desk-1", "hotel-feed", "");
                    feed(text, "occupied", "occupied");
                }
            }
            Kind::Clinic | Kind::Hospital => {
                for n in 1..=self.machines {
                    device(text, &format!("sterilizer-{n}"), "sterilizer", "program = \"134/4\"\n");
                    read(text, &mut units, "mb8art", "temperature", "channel-1", "60s");
                    read(text, &mut units, "pressure-transmitter", "pressure", "pressure", "60s");
                    read(text, &mut units, "waveshare-8di", "door", "di-1", "60s");
                    feed(text, "bowie_dick", "duty");
                }
                for n in 1..=self.lamps {
                    device(text, &format!("lamp-{n}"), "uv-lamp", "");
                    read(text, &mut units, "uvc-254", "irradiance", "irradiance", "60s");
                    if n % 3 == 1 {
                        read(text, &mut units, "waveshare-8di", "person", "di-1", "60s");
                    }
                }
                for n in 1..=self.fridges {
                    device(text, &format!("fridge-{n}"), "fridge", "");
                    read(text, &mut units, "mb8art", "temperature", "channel-1", "60s");
                    read(text, &mut units, "waveshare-8di", "door", "di-1", "60s");
                }
                if self.kind == Kind::Clinic && self.feed {
                    device(text, "feed-1", "dental-feed", "");
                    feed(text, "visits", "visits");
                    feed(text, "packed", "packed");
                }
                device(text, "scale-1", "waste-scale", "");
                scale(text, &mut units);
                device(text, "waste-1", "waste-feed", "");
                feed(text, "bag", "bag");
                feed(text, "handover", "handover");
            }
        }
        if self.wired {
            device(text, "box-1", "gateway", "");
            read(text, &mut units, "waveshare-8di", "lid", "di-1", "60s");
        }
    }
}

fn device(text: &mut String, id: &str, kind: &str, more: &str) {
    write!(
        text,
        "[[device]]\nid = \"{id}\"\nkind = \"{kind}\"\nname = {{ zh = \"{id}\", en = \"{id}\" }}\n{more}"
    )
    .expect("a text can be written to");
}

/// One unit for each point: nothing is said here of how requests are made.
fn read(text: &mut String, units: &mut u32, profile: &str, point: &str, field: &str, every: &str) {
    *units += 1;
    let options =
        if profile == "pressure-transmitter" { "options = { decimals = 1, unit = \"kPa\" }\n" } else { "" };
    let bus = if point == "door" || point == "person" || point == "lid" { "other" } else { "line" };
    write!(
        text,
        "[[device.read]]\nbus = \"{bus}\"\nunit = {units}\nprofile = \"{profile}\"\n{options}map = {{ {point} = \"{field}\" }}\n\
         every = \"{every}\"\n"
    )
    .expect("a text can be written to");
}

fn scale(text: &mut String, units: &mut u32) {
    *units += 1;
    write!(
        text,
        "[[device.read]]\nbus = \"line\"\nunit = {units}\nprofile = \"scale-transmitter\"\n\
         options = {{ decimals = 2, unit = \"kg\" }}\n\
         map = {{ gross = \"gross\", net = \"net\", tare = \"tare\", stable = \"stable\" }}\nevery = \"300s\"\n"
    )
    .expect("a text can be written to");
}

fn feed(text: &mut String, point: &str, field: &str) {
    write!(
        text,
        "[[device.mqtt]]\ntopic = \"house/{point}/{}\"\nprofile = \"nonsite\"\nmap = {{ {point} = \"{field}\" }}\n",
        text.len()
    )
    .expect("a text can be written to");
}
