//! Device profiles: what real instruments keep where, as data.
//!
//! Addresses are written as the manual prints them, with their base in the text, and converted once, here.

use gateway_model::{Text, Unit};
use gateway_rules::{At, File, Millis, Problem, Source, Table, did_you_mean};

use super::cards::{self, CardSettings};
use super::profile_mqtt::{self, Item, JsonRules, Words};
use super::site::{
    Encoding, EncodingKind, FunctionCode, Half, Reach, WeighingField, WeighingFormat, WordOrder,
};
use super::stuck::Said;

/// A profile, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile {
    /// `mb8art`.
    pub(super) name: String,
    /// What it is called.
    pub(super) title: Text,
    /// What it ships with.
    pub(super) serial: String,
    /// Where its settings are.
    pub(super) settings: Option<CardSettings>,
    /// Over what it speaks, and its fields.
    pub(super) form: Form,
    /// What a site must or may state: `decimals`, `unit`, `carrier`.
    pub(super) options: Vec<String>,
    /// How old a value may be, for sources that send when they like.
    pub(super) max_age: Option<Millis>,
    /// What the device allows in one request.
    pub(super) reach: Reach,
}

/// Over what it speaks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// Modbus.
    Modbus(Vec<Field<Register>>),
    /// JSON over MQTT; a map names the place in the payload, the field is its last part.
    Json(Vec<Field<Words>>, JsonRules),
    /// Milesight bytes over MQTT, and lengths per (channel, type).
    Milesight(Vec<Field<Item>>, Vec<(Option<u8>, u8, u8)>),
    /// One of our own feeds; the field's name says which.
    Feed(Vec<Field<()>>),
    /// A weighing indicator that sends by itself.
    Weighing(WeighingFormat, Vec<Field<WeighingField>>),
}

/// One quantity of an instrument.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field<P> {
    /// `channel-1`.
    pub(super) name: String,
    /// Unit after scaling.
    pub(super) unit: Unit,
    /// `raw × gain + offset`.
    pub(super) gain: f64,
    /// `raw × gain + offset`, in `unit`.
    pub(super) offset: f64,
    /// True and false change places.
    pub(super) invert: bool,
    /// What the instrument can measure, in `unit`.
    pub(super) span: Option<(f64, f64)>,
    /// Raw values that mean "no probe".
    pub(super) sentinels: Vec<i64>,
    /// In `unit`, where the profile states one.
    pub(super) deadband: Option<f64>,
    /// For how long it may stand still.
    pub(super) stuck: Option<Said>,
    /// How far it may be off, in `unit`, where the maker says so.
    pub(super) accuracy: Option<f64>,
    /// Where it is.
    pub(super) place: P,
}

/// Where a Modbus field is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Register {
    /// Table.
    pub(super) function: FunctionCode,
    /// From 0, as on the wire.
    pub(super) address: u16,
    /// How it is kept.
    pub(super) encoding: Encoding,
    /// The register that says where the decimal point stands: address, encoding, and whether it holds a divisor.
    pub(super) scale: Option<(u16, Encoding, bool)>,
    /// The only integers it can hold; empty = any.
    pub(super) codes: Vec<i64>,
}

impl Register {
    /// First register or bit that must be read for it, and behind the last.
    pub(super) fn span(&self) -> (u32, u32) {
        let own = (u32::from(self.address), u32::from(self.encoding.kind.words()));
        let own = (own.0, own.0 + own.1);
        self.scale.map_or(own, |(at, encoding, _)| {
            let end = u32::from(at) + u32::from(encoding.kind.words());
            (own.0.min(u32::from(at)), own.1.max(end))
        })
    }
}

/// Digits after the decimal point that an instrument may have.
pub(super) const DECIMALS_MAX: i64 = 6;

macro_rules! profiles {
    ($($name:literal),* $(,)?) => {
        /// Every profile that comes with the program.
        pub(super) fn embedded() -> Vec<Source> {
            vec![$(Source {
                name: concat!("profiles/", $name, ".toml").to_owned(),
                text: include_str!(concat!("../../../profiles/", $name, ".toml")).to_owned(),
            }),*]
        }
    };
}

profiles!(
    "chirpstack",
    "chirpstack-v3",
    "cwt",
    "dds238",
    "ddsu666",
    "ddsu666-h",
    "jxbs-o3",
    "jxct-air",
    "jxct-uv",
    "laumas-w100",
    "mb8art",
    "md02",
    "mettler-cell",
    "milesight",
    "nonsite",
    "pressure-transmitter",
    "pzem-016",
    "rs-ws-n01",
    "scale-transmitter",
    "sdm120",
    "shelly",
    "shelly-status",
    "shtc3",
    "tasmota",
    "the-things-stack",
    "uvc-254",
    "waveshare-8di",
    "waveshare-relay",
    "waveshare-relay-d",
    "xy-md02",
    "yaohua-ascii",
    "yaohua-equals",
    "yaohua-tf0",
    "zigbee2mqtt",
);

/// Reads a profile. Every problem at once.
pub(super) fn parse(source: &Source) -> Result<Profile, Vec<Problem>> {
    let file = File::new(source);
    let profile = file.root().and_then(read);
    let problems = file.into_problems();
    match profile {
        Some(profile) if problems.is_empty() => Ok(profile),
        _ => Err(problems),
    }
}

fn read(root: Table<'_>) -> Option<Profile> {
    let name = root.need::<String>("name");
    let title = root.need::<Text>("title");
    // How sure the map is: for people.
    let _mark = root.need::<String>("mark");
    let serial = root.get::<String>("serial").map_or_else(String::new, |serial| serial.value);
    let settings = root.table("commission", "[commission]").and_then(cards::settings);
    let transport = root.need::<String>("transport");
    let form_name = root.get::<String>("form");
    let options = root.get::<Vec<At<String>>>("options").map_or_else(Vec::new, |options| options.value);
    let max_age = root.get::<Millis>("max_age").map(|age| age.value);
    let rules = profile_mqtt::rules(&root);
    let lengths = profile_mqtt::lengths(&root);
    let reach = reach(&root, Reach::PROTOCOL);
    let format = root.get::<String>("format");
    let tables = root.tables("field", "a field");
    let file = root.file();
    let words = (transport.as_ref()?.value.as_str(), form_name.as_ref().map(|form| form.value.as_str()));
    let form = match words {
        ("modbus", None) => Form::Modbus(fields(tables, register)),
        ("mqtt", Some("json")) => Form::Json(fields(tables, profile_mqtt::words), rules),
        ("mqtt", Some("milesight")) => Form::Milesight(fields(tables, profile_mqtt::item), lengths),
        ("mqtt", Some("feed")) => Form::Feed(fields(tables, |_, _| Some(()))),
        ("weighing", None) => {
            let known = format.as_ref().and_then(|format| weighing_format(&format.value));
            let Some(format) = known else {
                let span = format.or(transport).map_or(0..0, |at| at.span);
                let hint = "format = \"yaohua-tf0\", \"equals\" or \"yaohua-ascii\"";
                file.error(span, "a weighing profile says how the indicator writes", Some(hint.into()));
                return None;
            };
            Form::Weighing(format, fields(tables, weighing_field))
        }
        _ => {
            let span = form_name.or(transport).map_or(0..0, |at| at.span);
            let hint = "transport = \"modbus\", \"weighing\", or \"mqtt\" with form = \"json\", \"milesight\" or \"feed\"";
            file.error(span, "this form is not known", Some(hint.into()));
            return None;
        }
    };
    root.finish();
    Some(Profile {
        name: name?.value,
        title: title?.value,
        serial,
        settings,
        form,
        options: options.into_iter().map(|at| at.value).collect(),
        max_age,
        reach,
    })
}

/// `max_registers` and `holes`, where a profile or a site file states them.
pub(super) fn reach(table: &Table<'_>, default: Reach) -> Reach {
    let registers = table.get::<i64>("max_registers");
    let holes = table.get::<bool>("holes").map_or(default.holes, |holes| holes.value);
    let most = i64::from(Reach::PROTOCOL.registers);
    if let Some(registers) = &registers
        && !(1..=most).contains(&registers.value)
    {
        table.file().error(
            registers.span.clone(),
            format!("one request asks for 1 to {most} registers"),
            None,
        );
    }
    let registers = registers.map_or(default.registers, |at| at.value.clamp(1, most) as u16);
    Reach { registers, holes }
}

fn weighing_format(text: &str) -> Option<WeighingFormat> {
    Some(match text {
        "yaohua-tf0" => WeighingFormat::YaohuaTf0,
        "equals" => WeighingFormat::Equals,
        "yaohua-ascii" => WeighingFormat::YaohuaAscii,
        _ => return None,
    })
}

fn weighing_field(table: &Table<'_>, _: u16) -> Option<WeighingField> {
    let says = table.need::<String>("says")?;
    Some(match says.value.as_str() {
        "weight" => WeighingField::Weight,
        "gross" => WeighingField::Gross,
        "net" => WeighingField::Net,
        "tare" => WeighingField::Tare,
        "stable" => WeighingField::Stable,
        other => {
            let hint = "weight (what the display shows), gross, net, tare or stable";
            table.file().error(says.span, format!("an indicator says no `{other}`"), Some(hint.into()));
            return None;
        }
    })
}

/// Reads fields; `place` is given the table and how far the repetition has come.
fn fields<P>(tables: Vec<Table<'_>>, place: impl Fn(&Table<'_>, u16) -> Option<P>) -> Vec<Field<P>> {
    tables.into_iter().flat_map(|table| field(table, &place)).collect()
}

fn field<P>(table: Table<'_>, place: &impl Fn(&Table<'_>, u16) -> Option<P>) -> Vec<Field<P>> {
    let name = table.need::<String>("name");
    let unit = table.need::<Unit>("unit");
    let repeat = table.get::<i64>("repeat");
    let step = table.get::<i64>("step").map_or(1, |step| step.value);
    let gain = table.get::<f64>("gain").map_or(1.0, |gain| gain.value);
    let offset = table.get::<f64>("offset").map_or(0.0, |offset| offset.value);
    let invert = table.get::<bool>("invert").is_some_and(|invert| invert.value);
    let span = table.get::<Vec<At<f64>>>("span");
    let sentinels = table.get::<Vec<At<i64>>>("sentinels").map_or_else(Vec::new, |list| list.value);
    let deadband = table.get::<f64>("deadband").map(|deadband| deadband.value);
    let stuck = table.get::<Said>("stuck").map(|said| said.value);
    let accuracy = table.get::<f64>("accuracy").map(|accuracy| accuracy.value);
    let file = table.file();
    if accuracy.is_some_and(|accuracy| accuracy <= 0.0 || !accuracy.is_finite()) {
        file.error(table.key_span("accuracy"), "expected how far it may be off, above 0", None);
    }
    let range = match span.as_ref().map(|span| span.value.iter().map(|at| at.value).collect::<Vec<_>>()) {
        None => None,
        Some(ends) if ends.len() == 2 && ends[0] < ends[1] => Some((ends[0], ends[1])),
        Some(_) => {
            file.error(span.map_or(0..0, |span| span.span), "expected [smallest, largest]", None);
            None
        }
    };
    let times = repeat.as_ref().map_or(1, |repeat| repeat.value.clamp(1, 256));
    if let (Some(name), Some(repeat)) = (&name, &repeat)
        && !name.value.contains("{n}")
    {
        file.error(repeat.span.clone(), "a repeated field needs {n} in its name", None);
    }
    let places: Vec<_> = (0..times).filter_map(|n| place(&table, (n * step) as u16)).collect();
    table.finish();
    let (Some(name), Some(unit)) = (name, unit) else { return Vec::new() };
    let field = |(n, place)| Field {
        name: name.value.replace("{n}", &format!("{n}")),
        unit: unit.value,
        gain,
        offset,
        invert,
        span: range,
        sentinels: sentinels.iter().map(|at| at.value).collect(),
        deadband,
        stuck,
        accuracy,
        place,
    };
    (1..).zip(places).map(field).collect()
}

fn register(table: &Table<'_>, shift: u16) -> Option<Register> {
    let place = place(table, shift);
    let codes = table.get::<Vec<At<i64>>>("codes");
    let scale = table.table("scale", "scale").map(|scale| {
        let divisor = match scale.get::<String>("means").as_ref().map(|means| means.value.as_str()) {
            None | Some("decimals") => Some(false),
            Some("divisor") => Some(true),
            Some(_) => {
                let hint = "decimals (0, 1, 2, …) or divisor (1, 10, 100, …)";
                scale.file().error(scale.key_span("means"), "not a meaning", Some(hint.into()));
                None
            }
        };
        // The same register for every channel, unless it says that it moves along.
        let moves = scale.get::<bool>("repeats").is_some_and(|moves| moves.value);
        let found = self::place(&scale, if moves { shift } else { 0 });
        scale.finish();
        Some((found?, divisor?))
    });
    let (function, address, encoding) = place?;
    let file = table.file();
    let integer = encoding.kind.is_integer() && encoding.kind != EncodingKind::Bit;
    let scale = match scale {
        None => None,
        Some(scale) => {
            let ((other, at, by), divisor) = scale?;
            if other != function || !integer || !by.kind.is_integer() {
                let what =
                    "the register that scales is an integer of the same table, and so is what it scales";
                file.error(table.key_span("scale"), what, None);
                return None;
            }
            Some((at, by, divisor))
        }
    };
    let codes = codes.map_or_else(Vec::new, |codes| codes.value.into_iter().map(|at| at.value).collect());
    let register = Register { function, address, encoding, scale, codes };
    let (from, to) = register.span();
    if to - from > u32::from(Reach::PROTOCOL.registers) && !function.of_bits() {
        file.error(table.key_span("scale"), "too far away to be read with one request", None);
        return None;
    }
    if !register.codes.is_empty() && (!encoding.kind.is_integer() || register.scale.is_some()) {
        file.error(table.key_span("codes"), "codes are plain integers", None);
        return None;
    }
    Some(register)
}

/// `at`, `type` and `order`.
fn place(table: &Table<'_>, shift: u16) -> Option<(FunctionCode, u16, Encoding)> {
    let at = table.need::<String>("at");
    let kind = table.need::<String>("type");
    let order = table.get::<String>("order");
    let file = table.file();
    let order = match order.as_ref().map_or("ABCD", |order| order.value.as_str()) {
        "ABCD" => WordOrder::Abcd,
        "CDAB" => WordOrder::Cdab,
        "BADC" => WordOrder::Badc,
        "DCBA" => WordOrder::Dcba,
        other => {
            let span = order.as_ref().map_or(0..0, |order| order.span.clone());
            file.error(
                span,
                format!("`{other}` is not an order"),
                Some("ABCD, CDAB (low word first), BADC or DCBA".into()),
            );
            return None;
        }
    };
    let (at, kind) = (at?, kind?);
    let (function, first) = match address(&at.value) {
        Ok(found) => found,
        Err(message) => {
            let hint = "write \"input 0x0001\" or \"holding 80\" (from 0, as on the wire), \"holding 81 (from 1)\", or 30001, 40081";
            file.error(at.span, message, Some(hint.into()));
            return None;
        }
    };
    let Some(encoding_kind) = encoding_kind(&kind.value) else {
        let known = ["u16", "i16", "u24", "i24", "u32", "i32", "u64", "i64", "f32", "f64", "bit"];
        let hint = did_you_mean(&kind.value, known).map_or_else(
            || {
                "u16, i16, u24, i24, u32, i32, u64, i64, f32, f64, \"u8 high\", \"i8 low\", \"bcd 4\", \"ascii 8\", bit (of a bit \
                 table), \"bit 5\" or \"bits 0-2\" (of a register)"
                    .to_owned()
            },
            |near| format!("did you mean `{near}`?"),
        );
        file.error(kind.span, format!("`{}` is not a type", kind.value), Some(hint));
        return None;
    };
    if function.of_bits() != (encoding_kind == EncodingKind::Bit) {
        file.error(
            kind.span,
            "coils and discrete inputs are of type `bit`, registers are not",
            Some("a bit of a register is written \"bit 5\"".into()),
        );
        return None;
    }
    let Some(address) =
        first.checked_add(shift).filter(|first| first.checked_add(encoding_kind.words() - 1).is_some())
    else {
        file.error(at.span, "beyond the last address", None);
        return None;
    };
    Some((function, address, Encoding { kind: encoding_kind, order }))
}

/// Digits in one BCD value, at most: what 64 bits hold.
const BCD_DIGITS_MAX: u8 = 16;

fn encoding_kind(text: &str) -> Option<EncodingKind> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let half = || match rest {
        "high" => Some(Half::High),
        "low" => Some(Half::Low),
        _ => None,
    };
    let count = |most: u8, unit: u8| {
        let count = rest.parse::<u8>().ok().filter(|count| (1..=most).contains(count))?;
        (count % unit == 0).then(|| count / unit)
    };
    Some(match (word, rest.is_empty()) {
        ("u16", true) => EncodingKind::U16,
        ("i16", true) => EncodingKind::I16,
        ("u24", true) => EncodingKind::U24,
        ("i24", true) => EncodingKind::I24,
        ("u32", true) => EncodingKind::U32,
        ("i32", true) => EncodingKind::I32,
        ("u64", true) => EncodingKind::U64,
        ("i64", true) => EncodingKind::I64,
        ("f32", true) => EncodingKind::F32,
        ("f64", true) => EncodingKind::F64,
        ("bit", true) => EncodingKind::Bit,
        ("u8", false) => EncodingKind::U8(half()?),
        ("i8", false) => EncodingKind::I8(half()?),
        ("bcd", false) => EncodingKind::Bcd(count(BCD_DIGITS_MAX, 4)?),
        ("ascii", false) => EncodingKind::Ascii(count(EncodingKind::ASCII_WORDS_MAX * 2, 2)?),
        ("bit", false) => EncodingKind::RegisterBit(rest.parse::<u8>().ok().filter(|bit| *bit < 16)?),
        ("bits", false) => {
            let (from, to) = rest.split_once('-')?;
            let (from, to) = (from.parse().ok()?, to.parse().ok()?);
            (from < to && to < 16).then_some(EncodingKind::Bits { from, to })?
        }
        _ => return None,
    })
}

/// `input 0x0001`, `holding 80`, `holding 81 (from 1)`, `30001`, `400081`.
pub(super) fn address(text: &str) -> Result<(FunctionCode, u16), String> {
    let text = text.trim();
    if text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return numbered(text);
    }
    let (body, base) = match text.strip_suffix("(from 1)") {
        Some(body) => (body.trim_end(), 1),
        None => (text.strip_suffix("(from 0)").unwrap_or(text).trim_end(), 0),
    };
    let (table, number) = body.split_once(' ').ok_or_else(|| format!("`{text}` is not an address"))?;
    let function = match table {
        "coil" => FunctionCode::Coils,
        "discrete" => FunctionCode::DiscreteInputs,
        "holding" => FunctionCode::HoldingRegisters,
        "input" => FunctionCode::InputRegisters,
        _ => return Err(format!("`{table}` is not a table; coil, discrete, holding, input are")),
    };
    let number = number.trim();
    let value = match number.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    let value = value.map_err(|_| format!("`{number}` is not a number"))?;
    let address = value.checked_sub(base).and_then(|address| u16::try_from(address).ok());
    address.map(|address| (function, address)).ok_or_else(|| format!("`{text}` is outside 0 to 65535"))
}

/// The five or six digits of old manuals: the first names the table, the rest counts from 1.
fn numbered(text: &str) -> Result<(FunctionCode, u16), String> {
    let function = match text.as_bytes().first() {
        Some(b'0') => FunctionCode::Coils,
        Some(b'1') => FunctionCode::DiscreteInputs,
        Some(b'3') => FunctionCode::InputRegisters,
        Some(b'4') => FunctionCode::HoldingRegisters,
        _ => return Err(format!("`{text}`: numbers like this begin with 0, 1, 3 or 4")),
    };
    let number = text[1..].parse::<u32>().ok().and_then(|number| number.checked_sub(1));
    let address = number.filter(|_| text.len() <= 6).and_then(|address| u16::try_from(address).ok());
    address.map(|address| (function, address)).ok_or_else(|| format!("`{text}` is outside its table"))
}

#[cfg(test)]
mod tests {
    use gateway_rules::render;

    use super::*;

    #[test]
    fn every_embedded_profile_is_sound() {
        let sources = embedded();
        for source in &sources {
            let profile =
                parse(source).unwrap_or_else(|problems| panic!("{}", render(&problems, &sources, false)));
            assert_eq!(source.name, format!("profiles/{}.toml", profile.name));
        }
    }

    #[test]
    fn addresses_are_read_as_manuals_print_them() {
        use FunctionCode::{Coils, DiscreteInputs, HoldingRegisters, InputRegisters};
        let cases = [
            ("input 0x0001", InputRegisters, 1),
            ("holding 80", HoldingRegisters, 80),
            ("holding 81 (from 1)", HoldingRegisters, 80),
            ("discrete 0 (from 0)", DiscreteInputs, 0),
            ("coil 0xFFFF", Coils, 0xFFFF),
            ("40101", HoldingRegisters, 100),
            ("30001", InputRegisters, 0),
            ("10008", DiscreteInputs, 7),
            ("00001", Coils, 0),
            ("465536", HoldingRegisters, 65535),
            ("holding 0", HoldingRegisters, 0),
            ("holding 65535", HoldingRegisters, 65535),
            ("input 0x1 (from 1)", InputRegisters, 0),
            ("400001", HoldingRegisters, 0),
            ("100001", DiscreteInputs, 0),
        ];
        for (text, function, address_from_0) in cases {
            assert_eq!(address(text), Ok((function, address_from_0)), "{text}");
        }
        for text in
            ["", "input", "register 1", "holding 0 (from 1)", "holding 65536", "50001", "40000", "holding x"]
        {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn types_are_read_as_they_are_shown() {
        for text in [
            "u16",
            "i16",
            "u32",
            "i32",
            "u24",
            "i24",
            "u64",
            "i64",
            "f32",
            "f64",
            "bit",
            "bit 0",
            "bit 15",
            "bits 0-2",
            "bits 4-15",
            "u8 high",
            "u8 low",
            "i8 high",
            "i8 low",
            "bcd 4",
            "bcd 16",
            "ascii 2",
            "ascii 32",
        ] {
            assert_eq!(encoding_kind(text).map(|kind| kind.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "u8",
            "u16 high",
            "bit 16",
            "bits 2-2",
            "bits 3-1",
            "bits 0-16",
            "bcd 3",
            "bcd 20",
            "ascii 7",
            "ascii 34",
            "bcd 0",
        ] {
            assert_eq!(encoding_kind(text), None, "{text}");
        }
    }

    #[test]
    fn another_register_and_codes_may_be_stated() {
        let text = r#"
name = "odd"
transport = "modbus"
mark = "V"
max_registers = 16
holes = false
title = { zh = "怪", en = "Odd" }
[[field]]
name = "pressure"
at = "holding 0x0004"
type = "i16"
offset = -1.5
unit = "kPa"
scale = { at = "holding 0x0003", type = "u16" }
[[field]]
name = "mode"
at = "holding 9"
type = "u16"
unit = "1"
codes = [0, 3, 7]
"#;
        let profile = parse(&Source { name: "odd.toml".into(), text: text.into() }).unwrap();
        assert_eq!(profile.reach, Reach { registers: 16, holes: false });
        let Form::Modbus(fields) = profile.form else { panic!() };
        let u16 = Encoding { kind: EncodingKind::U16, order: WordOrder::Abcd };
        assert_eq!((fields[0].place.scale, fields[0].offset), (Some((3, u16, false)), -1.5));
        assert_eq!(fields[0].place.span(), (3, 5));
        assert_eq!(fields[1].place.codes, [0, 3, 7]);
    }

    #[test]
    fn a_wrong_profile_says_all_of_it() {
        let text = r#"
name = "odd"
transport = "modbus"
mark = "V"
title = { zh = "怪", en = "Odd" }
[[field]]
name = "a"
at = "register 1"
type = "i16"
unit = "°C"
[[field]]
name = "b"
at = "discrete 1"
type = "u16"
unit = "bool"
[[field]]
name = "c"
at = "holding 1"
type = "u61"
unit = "kPa"
span = [5]
"#;
        let source = Source { name: "odd.toml".into(), text: text.into() };
        let mut found: Vec<_> = parse(&source).unwrap_err().iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(
            found,
            [
                "odd.toml:14:8: coils and discrete inputs are of type `bit`, registers are not",
                "odd.toml:19:8: `u61` is not a type",
                "odd.toml:21:8: expected [smallest, largest]",
                "odd.toml:8:6: `register` is not a table; coil, discrete, holding, input are",
            ]
        );
    }
}
