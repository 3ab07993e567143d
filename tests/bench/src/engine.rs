//! Sites for measuring the engine alone: plans made by the packs themselves, and a month of what a clinic's instruments say.
//!
//! Nothing here is random: the same site says the same on each run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gateway_model::{
    CalendarPlan, CivilTime, ClockInput, ClockSource, DeviceIx, DevicePlan, EngineTime, Epoch, Input,
    ModuleIx, Plan, PointIx, PointPlan, Quality, Raw, Reading, StartCause, StartInput, Text, Unit,
};
use gateway_rules::{
    At, File, Pack, Settings, Source, Subject, Windows, bind, bind_unevaluable, embedded_packs, parse_pack,
    render,
};

/// Distance of two readings of a point, ms.
pub const EVERY_MS: i64 = 10_000;
/// Readings of a point on a day.
pub const DAY: usize = 8_640;
/// 2026-11-02T00:00:00+08:00, a Monday.
const MONDAY: CivilTime = CivilTime(1_793_548_800_000);
const DAY_MIN: u16 = 1_440;

/// A device of a site: kind, program, and its points in the order in which they are numbered.
type Kind = (&'static str, Option<&'static str>, &'static [&'static str]);

/// What a clinic's site is made of, again and again.
const KINDS: [Kind; 3] = [
    ("fridge", None, &["temperature", "door", "mains"]),
    ("sterilizer", Some("134/4"), &["temperature", "pressure", "door"]),
    ("uv-lamp", None, &["irradiance", "person"]),
];

/// A clinic with so many points, judged by the packs that come with the gateway.
pub fn clinic(points: usize) -> anyhow::Result<Plan> {
    let packs = embedded_packs().iter().map(read).collect::<anyhow::Result<Vec<Pack>>>()?;
    let week = (0..6).map(|day| (day * DAY_MIN + 480, day * DAY_MIN + 1_200)).collect();
    let calendar = CalendarPlan { offsets: vec![(CivilTime(0), 480)], open: week, ..CalendarPlan::default() };
    let mut plan = empty();
    plan.judging.get_or_insert_default().calendar = Some(calendar);
    for n in 0.. {
        let (kind, program, names) = KINDS[n % KINDS.len()];
        if plan.points.len() + names.len() > points {
            break;
        }
        for (slot, pack) in
            (0..).zip(&packs).filter(|(_, pack)| pack.subject.kinds.iter().any(|own| own == kind))
        {
            add(&mut plan, (slot, pack), kind, program, names)?;
        }
    }
    watch_all(&mut plan, &packs);
    Ok(plan)
}

/// So many points with so many limits each. A reading that moves has every limit of its point looked at, once.
pub fn limits(points: usize, each: usize) -> anyhow::Result<Plan> {
    let mut text = String::from(
        "name = \"limits\"\nversion = \"1\"\ndevice = \"probe\"\ntitle = { zh = \"界限\", en = \"Limits\" }\n\
         [points]\nvalue = { unit = \"°C\", zh = \"温度\", en = \"Temperature\" }\n",
    );
    for n in 0..each {
        write!(
            text,
            "[[rule]]\nname = \"limit-{n}\"\nwhen = \"value > limit\"\nfor = \"5 min\"\nclear_for = \"5 min\"\n\
             deadband = \"0.5 °C\"\npriority = \"blue\"\nfirst = \"institution\"\nself_fix = \"1 h\"\nmark = \"P\"\n\
             title = {{ zh = \"温度过高\", en = \"Too warm\" }}\n\
             sentence = {{ zh = \"{{device}}现在是{{value}}{{unit}}。\", en = \"{{device}} is at {{value}} {{unit}} now.\" }}\n\
             action = {{ zh = \"请检查。\", en = \"Look at it.\" }}\nnorm = {{ zh = \"无\", en = \"None\" }}\n\
             verify = {{ window = \"1 h\", coverage = 0.9 }}\n[rule.parameters]\n\
             limit = {{ default = \"{} °C\", mark = \"P\", zh = \"上限\", en = \"Limit\" }}\n",
            60 + n
        )?;
    }
    let pack = read(&Source { name: "limits.toml".into(), text })?;
    let mut plan = empty();
    for _ in 0..points {
        add(&mut plan, (0, &pack), "probe", None, &["value"])?;
    }
    Ok(plan)
}

/// So many devices on one bus, each with a point, a limit, and somebody told when it cannot be judged.
pub fn probes(devices: usize) -> anyhow::Result<Plan> {
    let mut plan = limits(devices, 1)?;
    let packs = embedded_packs().iter().map(read).collect::<anyhow::Result<Vec<Pack>>>()?;
    watch_all(&mut plan, &packs);
    Ok(plan)
}

/// "Cannot be judged" for every device and the bus.
fn watch_all(plan: &mut Plan, packs: &[Pack]) {
    let everything = packs.iter().zip(0..).find(|(pack, _)| pack.subject.everything);
    if let Some((pack, slot)) = everything {
        let watched: Vec<(DeviceIx, u16)> = (0..plan.devices.len()).map(|ix| (DeviceIx::of(ix), 0)).collect();
        let source = Source { name: "site".into(), text: String::new() };
        let file = File::new(&source);
        plan.rules.extend(bind_unevaluable(pack, slot, &watched, true, &file, &Settings::new()));
    }
}

/// The first inputs of any run: the start, and civil time.
pub fn beginning() -> [Input; 2] {
    let start = StartInput {
        at: EngineTime(0),
        epoch: Epoch(1),
        previous: None,
        previous_hash: None,
        cause: StartCause::First,
        downtime_ms: None,
        simulated: true,
    };
    let clock = ClockInput {
        at: EngineTime(0),
        offset_ms: MONDAY.0,
        error_ms: Some(50),
        source: ClockSource::System,
        since: None,
    };
    [Input::Start(start), Input::Clock(clock)]
}

/// A good reading.
pub fn reading(point: usize, at_ms: i64, raw: i64) -> Input {
    Input::Reading(Reading {
        point: PointIx::of(point),
        at: EngineTime(at_ms),
        value: Quality::Good(Raw::Int(raw)),
    })
}

/// What the instruments of a clinic say on a working day and on a day off: per step, one number per point.
pub fn days(plan: &Plan) -> [Vec<i32>; 2] {
    [true, false].map(|open| {
        let mut day = Vec::with_capacity(DAY * plan.points.len());
        for step in 0..DAY {
            for point in &plan.points {
                day.push(said(point, step, open));
            }
        }
        day
    })
}

/// An hour of a working day, from nine on: per step, one number per point.
pub fn hour(plan: &Plan) -> Vec<i32> {
    let steps = DAY * 9 / 24..DAY * 10 / 24;
    steps.flat_map(|step| plan.points.iter().map(move |point| said(point, step, true))).collect()
}

/// One point at one step of a day, in tenths of its unit.
fn said(point: &PointPlan, step: usize, open: bool) -> i32 {
    let device = point.device.slot();
    // Devices are not in step with each other.
    let minute = ((step / 6 + device * 7) % usize::from(DAY_MIN)) as i32;
    let second = (step % 6 * 10) as i32;
    let noise = (step.wrapping_mul(2_654_435_761).wrapping_add(device * 97) >> 7) as i32 % 3 - 1;
    let working = open && (480..1_200).contains(&minute);
    // A load every two hours of open time: up in 20 min, held for 6, down in 30.
    let load = if working { (minute * 60 + second) % 7_200 } else { 7_199 };
    let heat = match load {
        0..1_200 => 250 + load * 1_100 / 1_200,
        1_200..1_560 => 1_352,
        1_560..3_360 => 1_352 - (load - 1_560) * 1_100 / 1_800,
        _ => 250,
    };
    match point.id.split('/').nth(1).unwrap_or_default() {
        "temperature" if point.id.starts_with("fridge") => 45 + (minute % 40 - 20).abs() / 2 + noise,
        "temperature" => heat + noise,
        "pressure" => {
            if heat > 1_000 {
                (heat - 1_000) * 6
            } else {
                noise.max(0)
            }
        }
        "door" if point.id.starts_with("fridge") => i32::from(working && minute % 60 == 7),
        "door" => i32::from(working && load > 3_600 && load < 4_200),
        "mains" => 1,
        "irradiance" if working && minute % 240 < 60 => 950 + noise * 5,
        _ => 0,
    }
}

fn empty() -> Plan {
    Plan { buses: vec!["bus".into()], utc_offset_min: 480, ..Plan::default() }
}

fn read(source: &Source) -> anyhow::Result<Pack> {
    parse_pack(source)
        .map_err(|problems| anyhow::anyhow!(render(&problems, std::slice::from_ref(source), false)))
}

/// One more device with these points, and what the pack says of it.
fn add(
    plan: &mut Plan,
    (slot, pack): (u16, &Pack),
    kind: &str,
    program: Option<&str>,
    names: &[&str],
) -> anyhow::Result<()> {
    let device = DeviceIx::of(plan.devices.len());
    let id = format!("{kind}-{}", device.0);
    plan.devices.push(DevicePlan { id: id.clone(), kind: kind.into(), name: Text::default(), bus: 0 });
    let mut points = BTreeMap::new();
    for name in names {
        let unit = pack.points.get(*name).map_or(Unit::One, |point| point.unit);
        points.insert((*name).to_owned(), (PointIx::of(plan.points.len()), unit));
        plan.points.push(point_plan(&format!("{id}/{name}"), device, unit));
    }
    let source = Source { name: "site".into(), text: String::new() };
    let file = File::new(&source);
    let program = program.map(|program| At { value: program.to_owned(), span: 0..0 });
    let none = Settings::new();
    let subject = Subject {
        device,
        kind,
        points: &points,
        program: program.as_ref(),
        file: &file,
        span: 0..0,
        settings: [&none, &none],
        calibrations: &BTreeMap::new(),
        neighbours: &BTreeMap::new(),
        hours: plan.judging.is_some(),
    };
    let mut windows = Windows::of(plan);
    bind(pack, slot, &subject, ModuleIx::of(plan.modules.len())).add_to(plan, &mut windows);
    match file.into_problems().first() {
        Some(problem) => Err(anyhow::anyhow!("{id}: {}", problem.message)),
        None => Ok(()),
    }
}

fn point_plan(id: &str, device: DeviceIx, unit: Unit) -> PointPlan {
    PointPlan {
        id: id.to_owned(),
        device,
        name: Text::default(),
        unit,
        gain: if unit == Unit::Truth { 1.0 } else { 0.1 },
        offset: 0.0,
        source: String::new(),
        every_ms: EVERY_MS,
        max_age_ms: 3 * EVERY_MS,
        deadband: 0.0,
        heartbeat_ms: 300_000,
        span: None,
        sentinels: Vec::new(),
        truth: unit == Unit::Truth,
        calibration: None,
        stuck: None,
    }
}
