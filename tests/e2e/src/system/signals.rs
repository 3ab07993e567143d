//! What the instruments of a simulated site show: twenty points, the same for the same seed.
//!
//! Twelve fridges (three in a hundred days warm up, freeze or lose their probe) and four disinfection cabinets with a few
//! loads a day, some of them too cool or opened too early.

use gateway::config::{Site, explain, load_str};
use gateway_engine::intake::Answer;
use gateway_model::{BadCause, PointIx, Raw};

use crate::dice::Dice;

const FRIDGES: usize = 12;
const CABINETS: usize = 4;
/// Channels of one module.
const CHANNELS: usize = 8;
/// Minutes of a day.
const DAY: i64 = 1440;

/// The site file: 12 + 2 × 4 points, polled every `poll_s`, sealed as rarely as a site file may ask for.
pub(super) fn site(name: &str, poll_s: i64) -> Site {
    let mut text = format!(
        r#"[site]
id = "{name}"
institution = "{name}"
name = {{ zh = "模拟场所", en = "Simulated site" }}
utc_offset_min = 480
[journal]
seal_every = "300s"
[page]
listen = "127.0.0.1:0"
[[bus]]
name = "probes"
transport = "tcp"
address = "127.0.0.1:1"
"#
    );
    let read = |unit: usize, profile: &str, map: &str| {
        format!(
            "[[device.read]]\nbus = \"probes\"\nunit = {unit}\nprofile = \"{profile}\"\nmap = {map}\nevery = \"{poll_s}s\"\n"
        )
    };
    let device = |id: &str, kind: &str, program: &str| {
        format!(
            "[[device]]\nid = \"{id}\"\nkind = \"{kind}\"\n{program}name = {{ zh = \"{id}\", en = \"{id}\" }}\n"
        )
    };
    for n in 0..FRIDGES {
        text.push_str(&device(&format!("fridge-{n}"), "fridge", ""));
        let channel = format!("{{ temperature = \"channel-{}\" }}", n % CHANNELS + 1);
        text.push_str(&read(1 + n / CHANNELS, "mb8art", &channel));
    }
    for n in 0..CABINETS {
        let program = "program = \"catering-100/10\"\n";
        text.push_str(&device(&format!("cabinet-{n}"), "disinfection-cabinet", program));
        text.push_str(&read(3, "mb8art", &format!("{{ temperature = \"channel-{}\" }}", n + 1)));
        text.push_str(&read(4, "waveshare-8di", &format!("{{ door = \"di-{}\" }}", n + 1)));
    }
    load_str(name, &text).unwrap_or_else(|problems| panic!("{}", explain(&problems, false)))
}

/// The instruments of a site.
pub(super) struct Signals {
    seed: u64,
    day: i64,
    fridges: Vec<Fridge>,
    cabinets: Vec<Cabinet>,
    /// Points of each request, with the instrument behind each.
    requests: Vec<Vec<(PointIx, Instrument)>>,
}

#[derive(Clone, Copy)]
enum Instrument {
    Fridge(usize),
    Chamber(usize),
    Door(usize),
}

/// A fridge's day.
#[derive(Clone, Copy)]
struct Fridge {
    base: i64,
    incident: Option<(Incident, i64, i64)>,
}

#[derive(Clone, Copy)]
enum Incident {
    /// Tenths of a degree at its height.
    Warm(i64),
    Frozen,
    Probe,
}

/// A cabinet's day: loads (begin in minutes, highest temperature in tenths, opened hot).
struct Cabinet {
    loads: Vec<(i64, i64, bool)>,
}

impl Signals {
    pub(super) fn new(site: &Site, seed: u64) -> Self {
        let point = |id: String| {
            let ix = site.plan.points.iter().position(|point| point.id == id);
            PointIx::of(ix.unwrap_or_else(|| panic!("no point `{id}`")))
        };
        let fridge = |n| (point(format!("fridge-{n}/temperature")), Instrument::Fridge(n));
        let requests = vec![
            (0..CHANNELS).map(fridge).collect(),
            (CHANNELS..FRIDGES).map(fridge).collect(),
            (0..CABINETS)
                .map(|n| (point(format!("cabinet-{n}/temperature")), Instrument::Chamber(n)))
                .collect(),
            (0..CABINETS).map(|n| (point(format!("cabinet-{n}/door")), Instrument::Door(n))).collect(),
        ];
        Self { seed, day: -1, fridges: Vec::new(), cabinets: Vec::new(), requests }
    }

    /// Answers of every request at a minute since the beginning.
    pub(super) fn at(&mut self, minute: i64) -> Vec<Vec<(PointIx, Answer)>> {
        self.begin_day(minute.div_euclid(DAY));
        let minute = minute.rem_euclid(DAY);
        let answer = |(point, instrument): &(PointIx, Instrument)| {
            let answer = match instrument {
                Instrument::Fridge(n) => fridge(self.fridges[*n], *n as i64, minute),
                Instrument::Chamber(n) => Answer::Raw(Raw::Int(chamber(&self.cabinets[*n], minute).0)),
                Instrument::Door(n) => {
                    Answer::Raw(Raw::Int(i64::from(chamber(&self.cabinets[*n], minute).1)))
                }
            };
            (*point, answer)
        };
        self.requests.iter().map(|request| request.iter().map(answer).collect()).collect()
    }

    fn begin_day(&mut self, day: i64) {
        if day == self.day {
            return;
        }
        self.day = day;
        let mut dice = Dice::new(self.seed, 1_000 + day as u64);
        self.fridges = (0..FRIDGES).map(|_| Fridge::day(&mut dice)).collect();
        self.cabinets = (0..CABINETS).map(|_| Cabinet::day(&mut dice)).collect();
    }
}

impl Fridge {
    fn day(dice: &mut Dice) -> Self {
        let incident = dice.percent(25).then(|| {
            let what = match dice.below(4) {
                0 | 1 => Incident::Warm(dice.between(85, 160)),
                2 => Incident::Frozen,
                _ => Incident::Probe,
            };
            let begin = dice.between(0, DAY - 10);
            (what, begin, begin + dice.spread(10, 400))
        });
        Self { base: dice.between(35, 60), incident }
    }
}

/// Tenths of a degree: the compressor's swing, and the day's incident.
fn fridge(day: Fridge, n: i64, minute: i64) -> Answer {
    let swing = ((minute + n * 7) % 40 - 20).abs() / 2;
    let tenths = match day.incident.filter(|(_, begin, end)| (begin..end).contains(&&minute)) {
        Some((Incident::Warm(peak), begin, _)) => (day.base + (minute - begin) * 3).min(peak),
        Some((Incident::Frozen, begin, _)) => (day.base - (minute - begin) * 2).max(-25),
        Some((Incident::Probe, ..)) => return Answer::Failed(BadCause::NoCommunication),
        None => day.base,
    };
    Answer::Raw(Raw::Int(tenths + swing))
}

impl Cabinet {
    fn day(dice: &mut Dice) -> Self {
        let mut begin = dice.between(300, 600);
        let mut loads = Vec::new();
        while begin < DAY - 120 {
            let peak = if dice.percent(20) { dice.between(850, 990) } else { dice.between(1_050, 1_150) };
            loads.push((begin, peak, dice.percent(15)));
            begin += dice.between(90, 500);
        }
        Self { loads }
    }
}

/// Tenths of a degree and whether the door is open: 15 min up, 12 min held, 40 min down.
fn chamber(day: &Cabinet, minute: i64) -> (i64, bool) {
    const ROOM: i64 = 220;
    let load = day.loads.iter().find(|(begin, ..)| (*begin..begin + 70).contains(&minute));
    let Some((begin, peak, hot)) = load else { return (ROOM + minute % 3, minute % 240 == 0) };
    let into = minute - begin;
    let tenths = match into {
        0..15 => ROOM + (peak - ROOM) * into / 15,
        15..27 => peak - into % 2,
        _ => (peak - (into - 27) * 22).max(ROOM),
    };
    (tenths, if *hot { (20..24).contains(&into) } else { into >= 66 })
}
