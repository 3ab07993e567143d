//! Devices of a site file: their points, where these are read, and the rules that watch them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::{
    Calibration, DeviceIx, DevicePlan, InstitutionId, ModuleIx, Op, PackRef, Plan, PointIx, Program,
    RuleKind, RulePlan, SiteId, Text, Unit,
};
use gateway_rules::{
    At, File, Millis, Neighbour, Neighbours, Pack, Settings, Source, Subject, Table, Windows, bind,
    bind_unevaluable, did_you_mean, known_settings,
};
use sha2::{Digest, Sha256};

use super::Library;
use super::blocks::{Claim, coalesce};
use super::deadbands;
use super::head::{self, Common, Head};
use super::mapping::{Carrier, MqttPlan};
use super::own::SensePlan;
use super::points::{HEARTBEAT_MS, Making, find};
use super::profile::{self, DECIMALS_MAX, Form, Profile};
use super::profile_mqtt;
use super::site::{BlockPlan, Reach, StreamPlan, UnitId, Urgency};
use super::stuck;

/// What the devices amount to.
#[derive(Debug, Default)]
pub(super) struct Devices {
    pub(super) plan: Plan,
    pub(super) blocks: Vec<BlockPlan>,
    pub(super) streams: Vec<StreamPlan>,
    pub(super) mqtt: Vec<MqttPlan>,
    pub(super) senses: Vec<SensePlan>,
    pub(super) accuracy: BTreeMap<PointIx, f64>,
    pub(super) packs: Vec<Source>,
    pub(super) left_out: Vec<(String, String, String)>,
}

/// A gateway with more is the wrong size.
const DEVICES_MAX: usize = 5_000;
/// Pace of a reading.
const EVERY_DEFAULT: Duration = Duration::from_secs(10);
const EVERY_MIN: Millis = Millis(100);
const EVERY_MAX: Millis = Millis(86_400_000);
/// A kind that no pack watches: measured and charted, not judged.
const KIND_WITHOUT_PACK: &str = "sensor";

/// Reads all devices, those of tables behind those of the site file; `None` without a head to put them in.
pub(super) fn read<'f>(
    root: &Table<'f>,
    sheets: Vec<Table<'f>>,
    library: &Library,
    common: &Common,
    head: Option<&Head>,
) -> Option<Devices> {
    let file = root.file();
    let settings = &common.settings;
    let mut bus_names = common.buses.clone();
    bus_names.push(head::MQTT.to_owned());
    let mut reader = Reader {
        file,
        library,
        settings,
        claims: Vec::new(),
        weighing: &common.weighing,
        used: Vec::new(),
        windows: Windows::default(),
        watched: Vec::new(),
        deadbands: Vec::new(),
        drafts: Vec::new(),
        hours: head.is_some_and(|head| head.calendar.is_some()),
        utc_offset_min: head.map_or(480, |head| head.utc_offset_min),
        broker: common.buses.len(),
        broker_sense: None,
        out: Devices::default(),
    };
    reader.out.plan.buses = bus_names;
    let tables = root.tables("device", "a [[device]]");
    if tables.len() > DEVICES_MAX {
        file.error(root.key_span("device"), format!("a gateway has at most {DEVICES_MAX} devices"), None);
    }
    for table in tables.into_iter().take(DEVICES_MAX) {
        reader.device(table);
    }
    for sheet in sheets {
        reader.sheet(&sheet);
        sheet.finish();
    }
    reader.file = file;
    reader.finish();
    let head = head?;
    let mut devices = reader.out;
    devices.plan.site = SiteId(head.id.clone());
    devices.plan.institution = InstitutionId(head.institution.clone());
    devices.plan.utc_offset_min = head.utc_offset_min;
    if head.calendar.is_some() || head.trial {
        let judging = devices.plan.judging.get_or_insert_default();
        judging.calendar.clone_from(&head.calendar);
        judging.trial = head.trial;
    }
    Some(devices)
}

pub(super) struct Reader<'f, 'l> {
    pub(super) file: &'f File<'f>,
    library: &'l Library,
    settings: &'l Settings,
    claims: Vec<Claim>,
    /// Buses on which an indicator sends.
    pub(super) weighing: &'l [usize],
    /// Packs in use; their place is their slot.
    used: Vec<&'l Pack>,
    /// Windows of the plan so far.
    windows: Windows,
    /// Devices with rules, and their bus.
    watched: Vec<(DeviceIx, u16)>,
    /// Deadbands that the site file states.
    pub(super) deadbands: Vec<deadbands::Placed<'f>>,
    /// Devices whose rules are still to be made.
    drafts: Vec<Drafted<'f>>,
    /// Offset of local time from UTC, minutes.
    pub(super) utc_offset_min: i16,
    /// The site says when the institution is open.
    hours: bool,
    /// Slot of the broker.
    broker: usize,
    /// Where a box is asked for its connection to the broker.
    pub(super) broker_sense: Option<Range<usize>>,
    pub(super) out: Devices,
}

/// A device whose points are known.
struct Drafted<'f> {
    /// The site file or a table of it.
    file: &'f File<'f>,
    draft: Draft,
    bus: u16,
    program: Option<At<String>>,
    own: Settings,
    /// Which devices stand for neighbours: name and id.
    chosen: Vec<(At<String>, At<String>)>,
    calibrations: BTreeMap<PointIx, Calibration>,
    span: Range<usize>,
}

/// A device while its points are being collected.
pub(super) struct Draft {
    pub(super) ix: DeviceIx,
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) points: BTreeMap<String, (PointIx, Unit)>,
}

/// One `[[device.read]]` or `[[device.mqtt]]`, as far as they are alike.
pub(super) struct Part<'l> {
    pub(super) profile: &'l Profile,
    /// Point name and what it is mapped to.
    pub(super) map: Vec<(At<String>, At<String>)>,
    /// Points whose truth is turned around.
    pub(super) invert: Vec<String>,
    pub(super) max_age: Option<Millis>,
    pub(super) decimals: i32,
    pub(super) unit: Option<Unit>,
    pub(super) carrier: Option<Carrier>,
    pub(super) deadbands: deadbands::Stated,
    pub(super) stuck: stuck::Stated,
    pub(super) accuracy: deadbands::Stated,
    pub(super) span: Range<usize>,
}

impl<'f, 'l> Reader<'f, 'l> {
    /// Devices of a table; what is wrong with them is said of its file.
    fn sheet(&mut self, sheet: &Table<'f>) {
        self.file = sheet.file();
        for table in sheet.tables("device", "a row") {
            if self.out.plan.devices.len() >= DEVICES_MAX {
                self.file.error(table.span(), format!("a gateway has at most {DEVICES_MAX} devices"), None);
                return;
            }
            self.device(table);
        }
    }

    fn device(&mut self, table: Table<'f>) {
        let file = self.file;
        let place = table.key_span("id");
        let id = table.need::<String>("id").and_then(|id| head::plain_id(file, id));
        let kind = table.need::<String>("kind");
        let name = table.need::<Text>("name");
        let program = table.get::<String>("program");
        let own = head::settings(&table);
        let chosen =
            table.table("neighbours", "the neighbours").map_or_else(Vec::new, |table| table.entries());
        let certificates = table.tables("calibration", "a [[device.calibration]]");
        let reads = table.tables("read", "a [[device.read]]");
        let feeds = table.tables("mqtt", "a [[device.mqtt]]");
        let senses = table.get::<Vec<At<String>>>("own").map_or_else(Vec::new, |own| own.value);
        if reads.is_empty() && feeds.is_empty() && senses.is_empty() {
            file.error(
                place.clone(),
                "nothing is read of this device",
                Some("add a [[device.read]] or a [[device.mqtt]]".into()),
            );
        }
        table.finish();
        // A device without an id is still read, so that all of its problems are said.
        let id = id.unwrap_or_default();
        if self.out.plan.devices.iter().any(|device| device.id == id) && !id.is_empty() {
            file.error(place.clone(), format!("there is a device `{id}` already"), None);
        }
        if let Some(kind) = &kind {
            self.check_kind(kind);
        }
        let ix = DeviceIx::of(self.out.plan.devices.len());
        let mut draft =
            Draft { ix, id, kind: kind.map_or_else(String::new, |kind| kind.value), points: BTreeMap::new() };
        let mut buses = Vec::new();
        for read in reads {
            buses.extend(self.read_part(read, &mut draft));
        }
        let broker = self.broker;
        let on_broker = !feeds.is_empty();
        for feed in feeds {
            self.mqtt_part(feed, &mut draft);
        }
        self.own(senses, &mut draft);
        let own_only = buses.is_empty() && !on_broker;
        let bus = if own_only { self.own_bus() } else { buses.first().copied().unwrap_or(broker) } as u16;
        let name = name.map_or_else(Text::default, |name| name.value);
        self.out.plan.devices.push(DevicePlan { id: draft.id.clone(), kind: draft.kind.clone(), name, bus });
        let calibrations =
            certificates.into_iter().filter_map(|table| self.calibration(table, &draft)).collect();
        self.drafts.push(Drafted { file, draft, bus, program, own, chosen, calibrations, span: place });
    }

    fn check_kind(&self, kind: &At<String>) {
        let mut kinds: Vec<&str> = vec![KIND_WITHOUT_PACK];
        for pack in &self.library.packs {
            kinds.extend(pack.subject.kinds.iter().map(String::as_str));
            // What a pack only looks at besides its own devices has no rules, but has to be there.
            kinds.extend(pack.neighbours.values().map(|neighbour| neighbour.device.as_str()));
        }
        if !kinds.contains(&kind.value.as_str()) && !self.library.broken {
            let hint = did_you_mean(&kind.value, kinds.iter().copied()).map_or_else(
                || format!("kinds: {}", kinds.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.file.error(kind.span.clone(), format!("no pack watches a `{}`", kind.value), Some(hint));
        }
    }

    /// Packs for devices of this kind.
    pub(super) fn packs_of(&self, kind: &str) -> Vec<&'l Pack> {
        let packs = self.library.packs.iter().map(Arc::as_ref);
        packs.filter(|pack: &&Pack| pack.subject.kinds.iter().any(|own| own == kind)).collect()
    }

    /// Reads what is alike in `[[device.read]]` and `[[device.mqtt]]`; the table is left to finish.
    pub(super) fn part(&self, table: &Table<'f>, kind: &str) -> Option<Part<'l>> {
        let file = self.file;
        let profile = table.need::<String>("profile");
        let invert = table.get::<Vec<At<String>>>("invert").map_or_else(Vec::new, |list| list.value);
        let max_age = table.get::<Millis>("max_age").map(|age| age.value);
        let options = table.table("options", "the options");
        let profile = profile.and_then(|name| self.profile(&name));
        let map = self.map(table, kind, profile);
        let options = self.options(options, profile, table);
        let (deadbands, stuck) = (deadbands::read(table), stuck::read(table));
        let accuracy = deadbands::accuracies(table);
        let named = deadbands.iter().chain(&accuracy).map(|(point, _)| point);
        let named = named.chain(stuck.iter().map(|(point, _)| point));
        for point in invert.iter().chain(named) {
            let mapped =
                map.as_ref().is_some_and(|map| map.iter().any(|(name, _)| name.value == point.value));
            if !mapped {
                file.error(point.span.clone(), format!("`{}` is not in the map", point.value), None);
            }
        }
        let (decimals, unit, carrier) = options;
        let invert = invert.into_iter().map(|point| point.value).collect();
        Some(Part {
            profile: profile?,
            map: map?,
            invert,
            max_age,
            decimals,
            unit,
            carrier,
            deadbands,
            stuck,
            accuracy,
            span: table.key_span("profile"),
        })
    }

    fn profile(&self, name: &At<String>) -> Option<&'l Profile> {
        let profiles = &self.library.profiles;
        let found = profiles.get(&name.value);
        if found.is_none() {
            let known = || profiles.keys().map(String::as_str);
            let hint = did_you_mean(&name.value, known()).map_or_else(
                || format!("profiles: {}", known().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.file.error(name.span.clone(), format!("there is no profile `{}`", name.value), Some(hint));
        }
        found.map(Arc::as_ref)
    }

    fn options(
        &self,
        options: Option<Table<'f>>,
        profile: Option<&Profile>,
        part: &Table<'f>,
    ) -> (i32, Option<Unit>, Option<Carrier>) {
        let file = self.file;
        let needs =
            |name: &str| profile.is_some_and(|profile| profile.options.iter().any(|option| option == name));
        let Some(options) = options else {
            if let Some(profile) = profile.filter(|profile| !profile.options.is_empty()) {
                let hint = format!(
                    "options = {{ {} }}",
                    profile.options.iter().map(|name| format!("{name} = …")).collect::<Vec<_>>().join(", ")
                );
                file.error(part.key_span("profile"), format!("`{}` needs options", profile.name), Some(hint));
            }
            return (0, None, None);
        };
        let decimals = needs("decimals").then(|| options.need::<i64>("decimals")).flatten();
        let unit = needs("unit").then(|| options.need::<Unit>("unit")).flatten();
        let carrier = needs("carrier").then(|| options.need::<String>("carrier")).flatten();
        options.finish();
        if let Some(decimals) = &decimals
            && !(0..=DECIMALS_MAX).contains(&decimals.value)
        {
            file.error(decimals.span.clone(), format!("decimals are 0 to {DECIMALS_MAX}"), None);
        }
        let carrier = carrier.and_then(|word| {
            let carrier = profile_mqtt::carrier(&word.value);
            if carrier.is_none() {
                file.error(
                    word.span,
                    "not a carrier",
                    Some("hex, base64, chirpstack or the-things-stack".into()),
                );
            }
            carrier
        });
        let decimals = decimals.map_or(0, |decimals| decimals.value.clamp(0, DECIMALS_MAX) as i32);
        (decimals, unit.map(|unit| unit.value), carrier)
    }

    /// The slot of the bus it names.
    fn read_part(&mut self, table: Table<'f>, draft: &mut Draft) -> Option<usize> {
        let file = self.file;
        let bus = table.need::<String>("bus").and_then(|name| self.bus(&name));
        // An indicator that sends by itself has no unit id.
        let weighing = bus.is_some_and(|bus| self.weighing.contains(&bus));
        let unit =
            (!weighing).then(|| table.need::<i64>("unit").and_then(|unit| unit_id(file, &unit))).flatten();
        let every = head::duration(&table, "every", EVERY_DEFAULT, EVERY_MIN, EVERY_MAX);
        let priority = table.get::<String>("priority").and_then(|word| urgency(file, &word));
        let part = self.part(&table, &draft.kind);
        let own = part.as_ref().map_or(Reach::PROTOCOL, |part| part.profile.reach);
        let reach = profile::reach(&table, own);
        table.finish();
        let part = part?;
        let fields = match &part.profile.form {
            Form::Modbus(fields) => fields,
            Form::Weighing(format, fields) => {
                self.weighing_part(draft, &part, bus, every, (*format, fields));
                return bus;
            }
            Form::Json(..) | Form::Milesight(..) | Form::Feed(_) => {
                file.error(
                    part.span,
                    format!("`{}` speaks MQTT", part.profile.name),
                    Some("write it as [[device.mqtt]]".into()),
                );
                return bus;
            }
        };
        for (point, target) in &part.map {
            let Some(field) = find(file, fields, target) else { continue };
            let register = &field.place;
            let bus_name = bus.map_or("", |bus| self.out.plan.buses[bus].as_str());
            let making = Making {
                unit: part
                    .unit
                    .filter(|unit| unit.dimension() == field.unit.dimension())
                    .unwrap_or(field.unit),
                gain: field.gain / 10_f64.powi(if field.unit == Unit::Truth { 0 } else { part.decimals }),
                offset: field.offset,
                invert: field.invert,
                span: field.span,
                sentinels: &field.sentinels,
                deadband: field.deadband,
                stuck: field.stuck,
                accuracy: field.accuracy,
                discrete: !register.codes.is_empty(),
                counts: register.encoding.kind.is_integer() && register.scale.is_none(),
                source: describe(bus_name, unit, register),
                every_ms: every.as_millis() as i64,
                // A poll that fails says so at once; only an unmoved value ages, until its heartbeat and three polls.
                max_age_ms: part.max_age.map_or(HEARTBEAT_MS + every.as_millis() as i64 * 3, |age| age.0),
            };
            let slot = self.point(draft, point, making, &part);
            if let (Some(slot), Some(bus), Some(unit)) = (slot, bus, unit) {
                let priority = priority.unwrap_or(Urgency::Normal);
                let register = register.clone();
                self.claims.push(Claim { bus, unit, every, priority, reach, register, point: slot });
            }
        }
        bus
    }

    fn bus(&self, name: &At<String>) -> Option<usize> {
        let buses = &self.out.plan.buses[..self.broker];
        let found = buses.iter().position(|bus| *bus == name.value);
        if found.is_none() {
            let known = || buses.iter().map(String::as_str);
            let hint = did_you_mean(&name.value, known()).map_or_else(
                || format!("buses: {}", known().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.file.error(name.span.clone(), format!("there is no bus `{}`", name.value), Some(hint));
        }
        found
    }

    /// The rules of a device: made once every device is known, since packs may look at neighbours.
    fn rules(&mut self, drafted: &Drafted<'f>, all: &[Drafted<'f>]) {
        let Drafted { draft, bus, program, own, chosen, calibrations, span, .. } = drafted;
        let packs = self.packs_of(&draft.kind);
        check_settings(self.file, own, &packs);
        for (name, _) in chosen {
            if !packs.iter().any(|pack| pack.neighbours.contains_key(&name.value)) {
                let message = format!("no pack of a {} has a neighbour `{}`", draft.kind, name.value);
                self.file.error(name.span.clone(), message, None);
            }
        }
        if packs.is_empty()
            && let Some(program) = program
        {
            self.file.error(program.span.clone(), format!("`{}` devices have no programs", draft.kind), None);
        }
        let cycles = packs.iter().any(|pack| pack.cycle.is_some());
        let before = self.out.plan.rules.len();
        for pack in packs {
            let slot = self.slot(pack);
            let neighbours = self.neighbours(pack, drafted, all);
            let subject = Subject {
                device: draft.ix,
                kind: &draft.kind,
                points: &draft.points,
                program: program.as_ref().filter(|_| pack.cycle.is_some() || !cycles),
                file: self.file,
                span: span.clone(),
                settings: [own, self.settings],
                calibrations,
                neighbours: &neighbours,
                hours: self.hours,
            };
            let bound = bind(pack, slot, &subject, ModuleIx::of(self.out.plan.modules.len()));
            let left_out = bound.left_out.clone();
            bound.add_to(&mut self.out.plan, &mut self.windows);
            let left_out = left_out.into_iter().map(|(rule, point)| (draft.id.clone(), rule, point));
            self.out.left_out.extend(left_out);
        }
        if self.out.plan.rules.len() > before {
            self.watched.push((draft.ix, *bus));
        }
    }

    /// The devices that stand for a pack's neighbours: the one that is named, else the only one of its kind. Where there is none,
    /// what needs it is left out.
    fn neighbours(&self, pack: &Pack, drafted: &Drafted<'f>, all: &[Drafted<'f>]) -> Neighbours {
        let mut neighbours = Neighbours::new();
        for (name, wanted) in &pack.neighbours {
            let of_kind: Vec<&Draft> =
                all.iter().map(|one| &one.draft).filter(|draft| draft.kind == wanted.device).collect();
            let ids = || of_kind.iter().map(|draft| draft.id.as_str()).collect::<Vec<_>>().join(", ");
            let named = drafted.chosen.iter().find(|(key, _)| key.value == *name).map(|(_, id)| id);
            let found = match (named, &of_kind[..]) {
                (Some(id), _) => {
                    let found = of_kind.iter().find(|draft| draft.id == id.value).copied();
                    if found.is_none() {
                        let message = format!("there is no {} `{}`", wanted.device, id.value);
                        self.file.error(id.span.clone(), message, Some(format!("there are: {}", ids())));
                    }
                    found
                }
                (None, []) => None,
                (None, [one]) => Some(*one),
                (None, _) => {
                    let message = format!("which {} belongs to `{}`?", wanted.device, drafted.draft.id);
                    let hint = format!("neighbours = {{ {name} = \"…\" }}, one of: {}", ids());
                    self.file.error(drafted.span.clone(), message, Some(hint));
                    None
                }
            };
            let Some(draft) = found else { continue };
            let points = draft.points.iter().filter(|(point, (_, unit))| {
                wanted.points.get(*point).is_some_and(|point| point.unit.dimension() == unit.dimension())
            });
            let points = points.map(|(name, point)| (name.clone(), *point)).collect();
            neighbours.insert(name.clone(), Neighbour { device: draft.ix, points });
        }
        neighbours
    }

    /// The slot of a pack, given at its first use.
    fn slot(&mut self, pack: &'l Pack) -> u16 {
        let known = self.used.iter().position(|used| used.name == pack.name);
        known.unwrap_or_else(|| {
            self.used.push(pack);
            self.out.packs.push(pack.source.clone());
            self.out.plan.packs.push(PackRef {
                name: pack.name.clone(),
                version: pack.version.clone(),
                sha256: Sha256::digest(pack.source.text.as_bytes()).into(),
            });
            self.used.len() - 1
        }) as u16
    }

    fn finish(&mut self) {
        let (file, drafts) = (self.file, std::mem::take(&mut self.drafts));
        for drafted in &drafts {
            // Its problems are said where it is written: the site file or a table.
            self.file = drafted.file;
            self.rules(drafted, &drafts);
        }
        self.file = file;
        deadbands::check(&self.out.plan, &self.deadbands);
        deadbands::clear(&mut self.out.plan);
        let everything: Vec<&Pack> = self
            .library
            .packs
            .iter()
            .map(Arc::as_ref)
            .filter(|pack: &&Pack| pack.subject.everything)
            .collect();
        let hours = self.out.plan.rules.iter().any(asks_hours);
        for pack in everything {
            if self.watched.is_empty() {
                continue;
            }
            let slot = self.slot(pack);
            let rules = bind_unevaluable(pack, slot, &self.watched, hours, self.file, self.settings);
            self.out.plan.rules.extend(rules);
        }
        let all: Vec<&Pack> = self.library.packs.iter().map(Arc::as_ref).collect();
        check_settings(self.file, self.settings, &all);
        self.out.blocks = coalesce(std::mem::take(&mut self.claims));
        if let Some(span) = self.broker_sense.take().filter(|_| self.out.mqtt.is_empty()) {
            let hint = "leave `broker` out of `own`".to_owned();
            self.file.error(span, "nothing of this site comes over MQTT", Some(hint));
        }
    }
}

/// Does it depend on opening hours?
fn asks_hours(rule: &RulePlan) -> bool {
    let asks = |program: &Program| program.0.iter().any(|op| matches!(op, Op::Hours(_)));
    let when = matches!(&rule.kind, RuleKind::Condition { when, .. } if asks(when));
    when || rule.handling.as_ref().is_some_and(|handling| {
        handling.sleeps
            || handling.suppressed.iter().chain(handling.steps.iter().map(|step| &step.when)).any(asks)
    })
}

/// Settings that no rule of these packs has.
fn check_settings(file: &File<'_>, settings: &Settings, packs: &[&Pack]) {
    let known = known_settings(packs);
    for (key, placed) in settings.iter().filter(|(key, _)| !known.contains(key)) {
        let hint = did_you_mean(key, known.iter().map(String::as_str)).map_or_else(
            || "settings are written \"pack/rule.parameter\"".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        file.error(placed.key.clone(), format!("no rule has a setting `{key}`"), Some(hint));
    }
}

/// `priority = "low"`: may wait a period when the bus is short of time.
fn urgency(file: &File<'_>, word: &At<String>) -> Option<Urgency> {
    match word.value.as_str() {
        "normal" => Some(Urgency::Normal),
        "low" => Some(Urgency::Low),
        _ => {
            file.error(word.span.clone(), "not a priority", Some("normal or low".into()));
            None
        }
    }
}

fn unit_id(file: &File<'_>, unit: &At<i64>) -> Option<UnitId> {
    let id = u8::try_from(unit.value).ok().filter(|id| (1..=247).contains(id));
    if id.is_none() {
        file.error(unit.span.clone(), format!("unit id {} is outside 1 to 247", unit.value), None);
    }
    id.map(UnitId)
}

/// `modules/1 input 0x0000 i16`
fn describe(bus: &str, unit: Option<UnitId>, register: &profile::Register) -> String {
    let unit = unit.map_or(0, |unit| unit.0);
    format!(
        "{bus}/{unit} {} 0x{:04X} {}",
        register.function.table(),
        register.address,
        register.encoding.kind
    )
}
