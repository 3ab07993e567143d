//! The parts of a site file that are not devices: site, center, journal, page, broker, buses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gateway_model::{CalendarPlan, Text};
use gateway_rules::{At, File, Millis, Placed, Setting, Settings, Table, did_you_mean, read_hours};

use super::broker::{self, Broker};
use super::checks;
use super::devices::Devices;
use super::site::{BusPlan, CenterPlan, JournalPlan, LineSettings, PagePlan, Parity, Site, Transport};
use crate::uplink::meter::BUDGET;

/// Everything but the devices.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) institution: String,
    pub(super) name: Text,
    pub(super) utc_offset_min: i16,
    /// When the institution is open; `None` = the file does not say.
    pub(super) calendar: Option<CalendarPlan>,
    /// Trial run: alerts open no cases.
    pub(super) trial: bool,
    buses: Vec<BusPlan>,
    broker: Broker,
    center: Option<CenterPlan>,
    journal: JournalPlan,
    page: Option<PagePlan>,
}

/// What the devices need to know, also where the rest is wrong, so that all of their problems are said.
pub(super) struct Common {
    /// Names of the buses as written, in order; a bus that was refused has its name here all the same.
    pub(super) buses: Vec<String>,
    /// Slots of those on which a weighing indicator sends by itself.
    pub(super) weighing: Vec<usize>,
    /// Settings for the whole site.
    pub(super) settings: Settings,
}

/// What a crash may lose: at least this is worth a signature…
const SEAL_MIN: Millis = Millis(5_000);
/// …and no more than this is bearable.
const SEAL_MAX: Millis = Millis(300_000);
/// An answer takes at most this long on any bus.
const TIMEOUT_MAX: Millis = Millis(30_000);
/// A month of a metered line, at least: signs of life alone are estimated at 30 MB.
const MONTH_MIN: u64 = 30_000_000;
/// Sizes of the journal: a ring below this holds less than an hour of a small site.
const RING_MIN: u64 = 1 << 20;
const RING_DEFAULT: u64 = 1 << 30;
const KEEP_DEFAULT: u64 = 256 << 20;
const SEGMENT_DEFAULT: u64 = 8 << 20;
const SEGMENT_MIN: u64 = 64 << 10;
/// What nearly every instrument ships with.
const BAUD_DEFAULT: u32 = 9_600;

/// Reads it; no head after something essential was said to be missing.
pub(super) fn read(root: &Table<'_>) -> (Common, Option<Head>) {
    let (names, buses) = buses(root);
    let is_weighing =
        |name: &String| buses.iter().any(|bus: &BusPlan| bus.name == *name && bus.transport.is_weighing());
    let weighing = (0..names.len()).filter(|&slot| is_weighing(&names[slot])).collect();
    let common = Common { buses: names, weighing, settings: settings(root) };
    (common, head(root, buses))
}

fn head(root: &Table<'_>, buses: Vec<BusPlan>) -> Option<Head> {
    let site = root.need::<Table<'_>>("site").map(|table| site(table.value.called("[site]")));
    let center = root.table("center", "[center]").and_then(center);
    let journal = journal(root.table("journal", "[journal]"));
    let page = root.table("page", "[page]").and_then(page);
    let broker = root.table("broker", "[broker]").map_or_else(|| Some(Broker::default()), broker::read);
    let hours = root.table("hours", "[hours]");
    let (id, institution, name, utc_offset_min, trial) = site??;
    let calendar = hours.map(|hours| read_hours(hours, utc_offset_min));
    Some(Head {
        id,
        institution,
        name,
        utc_offset_min,
        calendar,
        trial,
        buses,
        broker: broker?,
        center,
        journal,
        page,
    })
}

impl Head {
    pub(super) fn into_site(self, mut devices: Devices) -> Site {
        // Kept as long as the gateway runs.
        devices.plan.points.shrink_to_fit();
        devices.plan.rules.shrink_to_fit();
        Site {
            plan: devices.plan.into(),
            name: self.name,
            buses: self.buses,
            blocks: devices.blocks.into(),
            streams: devices.streams,
            mqtt: devices.mqtt,
            senses: devices.senses,
            accuracy: devices.accuracy,
            broker: self.broker,
            center: self.center,
            journal: self.journal,
            page: self.page,
            sinks: Vec::new(),
            packs: devices.packs,
            left_out: devices.left_out,
            warnings: Vec::new(),
        }
    }
}

/// `"pack/rule.parameter" = "value"`; checked when the packs in use are known.
pub(super) fn settings(table: &Table<'_>) -> Settings {
    let Some(parameters) = table.table("parameters", "parameters") else { return Settings::new() };
    let entries = parameters.entries::<Setting>().into_iter();
    entries.map(|(key, value)| (key.value, Placed { key: key.span, value })).collect()
}

fn site(table: Table<'_>) -> Option<(String, String, Text, i16, bool)> {
    let file = table.file();
    let id = table.need::<String>("id").and_then(|id| plain_id(file, id));
    let institution = table.need::<String>("institution");
    let name = table.need::<Text>("name");
    let offset = table.get::<i64>("utc_offset_min");
    let trial = table.get::<bool>("trial_run").is_some_and(|trial| trial.value);
    table.finish();
    if let Some(institution) = &institution
        && !checks::is_credit_code(&institution.value)
    {
        file.warn(
            institution.span.clone(),
            "the check digit of this Unified Social Credit Code is wrong",
            Some("18 characters as on the licence; a few published codes do fail".into()),
        );
    }
    let offset_min = offset.as_ref().map_or(480, |offset| offset.value);
    if let Some(offset) = &offset
        && !(-840..=840).contains(&offset.value)
    {
        file.error(
            offset.span.clone(),
            "an offset from UTC is between -840 and 840 minutes",
            Some("China: 480".into()),
        );
    }
    Some((id?, institution?.value, name?.value, offset_min as i16, trial))
}

/// Ids travel in records and URLs: small letters, digits, `-`, at most 64.
pub(super) fn plain_id(file: &File<'_>, id: At<String>) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.value.is_empty() || id.value.len() > 64 || !id.value.chars().all(plain) {
        file.error(id.span, "an id is 1 to 64 of a-z, 0-9 and -", None);
        return None;
    }
    Some(id.value)
}

/// Is plain text on the network allowed in as many words?
pub(super) fn allowed(table: &Table<'_>, key: &'static str) -> bool {
    table.get::<bool>(key).is_some_and(|allowed| allowed.value)
}

pub(super) fn refuse_plain(file: &File<'_>, at: &At<String>, what: &str, key: &str) {
    let hint = format!("use TLS, stay on 127.0.0.1, or write {key} = true");
    file.error(at.span.clone(), format!("{what} would leave this machine unencrypted"), Some(hint));
}

fn center(table: Table<'_>) -> Option<CenterPlan> {
    let file = table.file();
    let url = table.need::<String>("url");
    let plain_allowed = allowed(&table, "allow_plain_http");
    let metered = allowed(&table, "metered");
    let month_bytes = bytes(&table, "month_bytes", MONTH_MIN, BUDGET);
    if table.has("month_bytes") && !metered {
        let hint = "write metered = true, or leave month_bytes out".to_owned();
        file.error(table.key_span("month_bytes"), "a budget is for a metered line", Some(hint));
    }
    table.finish();
    let url = url?;
    let Some(parsed) =
        checks::url(&url.value).filter(|parsed| ["http", "https"].contains(&parsed.scheme.as_str()))
    else {
        file.error(url.span, "not a URL of a center", Some("https://center.example.org".into()));
        return None;
    };
    if parsed.scheme == "http" && !checks::is_loopback_host(&parsed.host) && !plain_allowed {
        refuse_plain(file, &url, "records and tokens", "allow_plain_http");
    }
    let url = url.value.trim_end_matches('/').to_owned();
    Some(CenterPlan { url, month_bytes: metered.then_some(month_bytes) })
}

fn page(table: Table<'_>) -> Option<PagePlan> {
    let file = table.file();
    let listen = table.need::<String>("listen");
    let plain_allowed = allowed(&table, "allow_plain_http");
    table.finish();
    let listen = listen?;
    let address = socket(file, &listen)?;
    if !checks::is_loopback(&address) && !plain_allowed {
        refuse_plain(file, &listen, "the status page", "allow_plain_http");
    }
    Some(PagePlan { listen: address })
}

pub(super) fn socket(file: &File<'_>, listen: &At<String>) -> Option<SocketAddr> {
    let address = listen.value.parse().ok();
    if address.is_none() {
        file.error(
            listen.span.clone(),
            "not an address to listen on",
            Some("127.0.0.1:8080, or port 0 for any free one".into()),
        );
    }
    address
}

fn journal(table: Option<Table<'_>>) -> JournalPlan {
    let default = JournalPlan {
        dir: None,
        ring_bytes: RING_DEFAULT,
        keep_bytes: KEEP_DEFAULT,
        segment_bytes: SEGMENT_DEFAULT,
        seal_every: Duration::from_secs(30),
    };
    let Some(table) = table else { return default };
    let dir = table.get::<String>("dir").map(|dir| PathBuf::from(dir.value));
    let ring_bytes = bytes(&table, "ring_bytes", RING_MIN, default.ring_bytes);
    let keep_bytes = bytes(&table, "keep_bytes", RING_MIN, default.keep_bytes);
    let segment_bytes =
        bytes(&table, "segment_bytes", SEGMENT_MIN, default.segment_bytes.min(ring_bytes / 4));
    let seal_every = duration(&table, "seal_every", default.seal_every, SEAL_MIN, SEAL_MAX);
    if segment_bytes > ring_bytes / 4 {
        let hint = "a ring needs at least four segments to forget one".to_owned();
        table.file().error(
            table.key_span("segment_bytes"),
            "segments are too large for this ring",
            Some(hint),
        );
    }
    table.finish();
    JournalPlan { dir, ring_bytes, keep_bytes, segment_bytes, seal_every }
}

/// A size of at least so many bytes.
pub(super) fn bytes(table: &Table<'_>, key: &'static str, least: u64, default: u64) -> u64 {
    bytes_between(table, key, least, u64::MAX, default)
}

/// A size within limits; outside them is a problem.
pub(super) fn bytes_between(
    table: &Table<'_>,
    key: &'static str,
    least: u64,
    most: u64,
    default: u64,
) -> u64 {
    let Some(setting) = table.get::<Setting>(key) else { return default };
    let size = match &setting.value {
        Setting::Text(text) => checks::size(text),
        Setting::Number(number) => (*number >= 0.0 && number.fract() == 0.0).then_some(*number as u64),
    };
    match size {
        Some(size) if (least..=most).contains(&size) => size,
        Some(size) => {
            let limit = if size < least { ("at least", least) } else { ("at most", most) };
            let shown =
                if limit.1 < 1024 { format!("{} bytes", limit.1) } else { format!("{} KiB", limit.1 >> 10) };
            table.file().error(setting.span, format!("{} {shown}", limit.0), None);
            default
        }
        None => {
            table.file().error(
                setting.span,
                "not a size",
                Some("\"1 GiB\", \"64 MiB\", \"512 KiB\" or bytes".into()),
            );
            default
        }
    }
}

/// A duration within limits; outside them is a problem.
pub(super) fn duration(
    table: &Table<'_>,
    key: &'static str,
    default: Duration,
    least: Millis,
    most: Millis,
) -> Duration {
    let Some(millis) = table.get::<Millis>(key) else { return default };
    if millis.value < least || millis.value > most {
        table.file().error(millis.span, format!("`{key}` is between {least} and {most}"), None);
        return default;
    }
    Duration::from_millis(millis.value.0 as u64)
}

/// Names of all buses, and those that are sound.
fn buses(root: &Table<'_>) -> (Vec<String>, Vec<BusPlan>) {
    let (mut names, mut buses) = (Vec::new(), Vec::new());
    for table in root.tables("bus", "a [[bus]]") {
        let file = table.file();
        let Some(name) = table.need::<String>("name") else {
            bus(table, String::new());
            continue;
        };
        if names.contains(&name.value) || name.value == MQTT {
            file.error(name.span.clone(), format!("there is a bus `{}` already", name.value), None);
        }
        names.push(name.value.clone());
        let plain = plain_id(file, name).unwrap_or_default();
        let place = table.key_span("address");
        let Some(plan) = bus(table, plain) else { continue };
        if let Some(owner) = buses.iter().find(|known: &&BusPlan| same_endpoint(known, &plan)) {
            let (what, hint) = (
                format!("bus `{}` has this endpoint already: one line has one owner", owner.name),
                format!("let the devices of both name bus = \"{}\"", owner.name),
            );
            file.error(place, what, Some(hint));
        }
        buses.push(plan);
    }
    (names, buses)
}

/// Do both end at the same port or server? Ports that are there are compared by what they lead to, so that a name under
/// `/dev/serial/by-id` and the port itself are one.
fn same_endpoint(a: &BusPlan, b: &BusPlan) -> bool {
    let resolved = |bus: &BusPlan| std::fs::canonicalize(&bus.address).ok();
    a.address.eq_ignore_ascii_case(&b.address)
        || (a.transport.is_serial()
            && b.transport.is_serial()
            && resolved(a).is_some()
            && resolved(a) == resolved(b))
}

/// Name of the broker among the buses.
pub(super) const MQTT: &str = "mqtt";

fn bus(table: Table<'_>, name: String) -> Option<BusPlan> {
    let file = table.file();
    let transport = table.need::<String>("transport").and_then(|word| transport(file, &word));
    let address = table.need::<String>("address");
    if let (Some(address), Some(transport)) = (&address, transport)
        && !checks::is_endpoint(transport, &address.value)
    {
        let hint = if transport.is_serial() {
            transport.endpoint_hint().to_owned()
        } else {
            "host:port, such as 192.168.1.20:502".to_owned()
        };
        file.error(address.span.clone(), "not an address", Some(hint));
    }
    let timeout = duration(&table, "timeout", Duration::from_millis(500), Millis(10), TIMEOUT_MAX);
    // Half-duplex converters behind a network need a moment to turn the line around; Modbus TCP servers do not, and on a
    // port of our own the 3.5 characters are kept anyway.
    let default_gap = if transport == Some(Transport::RtuOverTcp) { 20 } else { 0 };
    let gap = duration(&table, "gap", Duration::from_millis(default_gap), Millis(0), Millis(5_000));
    let line = line(&table, transport.is_some_and(Transport::is_serial));
    table.finish();
    Some(BusPlan { name, transport: transport?, address: address?.value, timeout, gap, line })
}

/// Baud, parity and stop bits; a serial port has 9600 8N1 if the file does not say.
fn line(table: &Table<'_>, serial: bool) -> Option<LineSettings> {
    let file = table.file();
    let baud = table.get::<i64>("baud");
    if let Some(baud) = &baud
        && !(300..=1_000_000).contains(&baud.value)
    {
        file.error(baud.span.clone(), "a serial line has 300 to 1000000 baud", None);
    }
    let parity = table.get::<String>("parity");
    let known = parity.as_ref().map_or(Some(Parity::None), |parity| match parity.value.as_str() {
        "none" => Some(Parity::None),
        "even" => Some(Parity::Even),
        "odd" => Some(Parity::Odd),
        _ => None,
    });
    if let (Some(parity), None) = (&parity, known) {
        file.error(parity.span.clone(), "not a parity", Some("none, even or odd".into()));
    }
    let stop_bits = table.get::<i64>("stop_bits");
    if let Some(stop) = &stop_bits
        && !(1..=2).contains(&stop.value)
    {
        file.error(stop.span.clone(), "a serial line has 1 or 2 stop bits", None);
    }
    let baud = baud.map_or(serial.then_some(BAUD_DEFAULT), |baud| u32::try_from(baud.value).ok())?;
    let stop_bits = stop_bits.map_or(1, |stop| stop.value.clamp(1, 2) as u8);
    Some(LineSettings { baud, parity: known.unwrap_or(Parity::None), stop_bits })
}

fn transport(file: &File<'_>, word: &At<String>) -> Option<Transport> {
    let known = Transport::NAMED.iter().find(|(name, _)| *name == word.value);
    if known.is_none() {
        let hint = did_you_mean(&word.value, Transport::NAMED.map(|(name, _)| name)).map_or_else(
            || {
                "tcp (Modbus TCP), rtu (serial port), rtu-over-tcp (serial server), weighing or weighing-over-tcp"
                    .to_owned()
            },
            |near| format!("did you mean `{near}`?"),
        );
        file.error(word.span.clone(), format!("`{}` is not a transport", word.value), Some(hint));
    }
    known.map(|(_, transport)| *transport)
}
