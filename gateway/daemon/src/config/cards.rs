//! What commissioning needs to know of an instrument: where it keeps its values, its unit id and its line speed.

use gateway_model::{Text, Unit};
use gateway_rules::{At, Table};

use super::profile::{self, Form};
use super::site::{FunctionCode, LineSettings, Parity};

/// An instrument as its profile describes it, for people who install it.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Name of the profile.
    pub profile: String,
    /// What it is called.
    pub title: Text,
    /// What it ships with: `9600 8N1, unit 1`.
    pub serial: String,
    /// The unit id it ships with.
    pub unit: u8,
    /// How its line is set when it ships.
    pub line: LineSettings,
    /// What can be read of it.
    pub fields: Vec<CardField>,
    /// Options that a site file must state with it; its values are unscaled without them.
    pub options: Vec<String>,
    /// Where its settings are, if they can be written over the line.
    pub settings: Option<CardSettings>,
}

/// One value of an instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct CardField {
    /// Name in the profile.
    pub name: String,
    /// Table.
    pub function: FunctionCode,
    /// From 0.
    pub address: u16,
    /// `i16`, `f32`, `bit 5`…
    pub kind: String,
    /// `ABCD`, `CDAB`, `BADC`, `DCBA`.
    pub order: &'static str,
    /// `raw × gain + offset`.
    pub gain: f64,
    /// See `gain`.
    pub offset: f64,
    /// After scaling.
    pub unit: Unit,
    /// What it can measure.
    pub span: Option<(f64, f64)>,
    /// Raw values that mean "no probe".
    pub sentinels: Vec<i64>,
}

/// Where an instrument keeps its settings: holding registers, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardSettings {
    /// Its unit id.
    pub id: u16,
    /// Its line speed.
    pub baud: Option<u16>,
    /// Speeds in bit/s, and what is written for each.
    pub bauds: Vec<(u32, u16)>,
    /// Written before the others, where the instrument wants it.
    pub unlock: Option<(u16, u16)>,
}

/// Cards of every Modbus instrument of the program, by name.
pub fn cards() -> Vec<Card> {
    let profiles = profile::embedded().into_iter().filter_map(|source| profile::parse(&source).ok());
    profiles.filter_map(card).collect()
}

fn card(profile: profile::Profile) -> Option<Card> {
    let Form::Modbus(fields) = &profile.form else { return None };
    let fields = fields
        .iter()
        .map(|field| CardField {
            name: field.name.clone(),
            function: field.place.function,
            address: field.place.address,
            kind: field.place.encoding.kind.to_string(),
            order: field.place.encoding.order.name(),
            gain: field.gain,
            offset: field.offset,
            unit: field.unit,
            span: field.span,
            sentinels: field.sentinels.clone(),
        })
        .collect();
    let unit = profile.serial.rsplit("unit ").next().and_then(|unit| unit.trim().parse().ok());
    let line = line(&profile.serial).unwrap_or(LineSettings::USUAL);
    Some(Card {
        profile: profile.name,
        title: profile.title,
        serial: profile.serial,
        unit: unit.unwrap_or(1),
        line,
        fields,
        options: profile.options,
        settings: profile.settings,
    })
}

/// Of `2400 8E1, unit 1`.
fn line(serial: &str) -> Option<LineSettings> {
    let mut words = serial.split([' ', ',']);
    let baud = words.next()?.parse().ok()?;
    let (parity, stop_bits) = match words.next()?.strip_prefix('8')?.split_at_checked(1)? {
        ("N", stop) => (Parity::None, stop),
        ("E", stop) => (Parity::Even, stop),
        ("O", stop) => (Parity::Odd, stop),
        _ => return None,
    };
    Some(LineSettings { baud, parity, stop_bits: stop_bits.parse().ok()? })
}

/// `[commission]` of a profile.
pub(super) fn settings(table: Table<'_>) -> Option<CardSettings> {
    let file = table.file();
    let place = |at: At<String>| {
        if let Ok((FunctionCode::HoldingRegisters, address)) = profile::address(&at.value) {
            return Some(address);
        }
        file.error(at.span, "settings are in holding registers", Some("id = \"holding 0x0101\"".into()));
        None
    };
    let id = table.need::<String>("id").and_then(place);
    let baud = table.get::<String>("baud").and_then(place);
    let rows = table.get::<Vec<At<Vec<At<i64>>>>>("bauds").map_or_else(Vec::new, |rows| rows.value);
    let unlock = table.get::<Vec<At<String>>>("unlock").map(|unlock| unlock.value);
    table.finish();
    let mut bauds = Vec::new();
    for row in rows {
        let numbers: Vec<i64> = row.value.iter().map(|number| number.value).collect();
        match numbers[..] {
            [speed, code] if (300..=1_000_000).contains(&speed) && (0..=65_535).contains(&code) => {
                bauds.push((speed as u32, code as u16));
            }
            _ => file.error(row.span, "expected [bit/s, what is written]", None),
        }
    }
    let unlock = match unlock.as_deref() {
        None => None,
        Some([at, value]) => {
            let number = value.value.strip_prefix("0x").and_then(|hex| u16::from_str_radix(hex, 16).ok());
            let at = At { value: at.value.clone(), span: at.span.clone() };
            if number.is_none() {
                file.error(value.span.clone(), "expected a number such as \"0x5AA5\"", None);
            }
            place(at).zip(number)
        }
        Some(_) => {
            file.error(table_span(unlock.as_deref()), "expected [register, what is written]", None);
            None
        }
    };
    Some(CardSettings { id: id?, baud, bauds, unlock })
}

fn table_span(list: Option<&[At<String>]>) -> std::ops::Range<usize> {
    list.and_then(<[_]>::first).map_or(0..0, |at| at.span.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_says_how_its_instrument_ships() {
        let all = profile::embedded().into_iter().filter_map(|source| profile::parse(&source).ok());
        for profile in all.filter(|profile| matches!(profile.form, Form::Modbus(_))) {
            assert!(line(&profile.serial).is_some(), "{}: `{}`", profile.name, profile.serial);
        }
        let settings = |baud, parity, stop_bits| Some(LineSettings { baud, parity, stop_bits });
        assert_eq!(line("2400 8E1, unit 1"), settings(2_400, Parity::Even, 1));
        assert_eq!(line("9600 8N2"), settings(9_600, Parity::None, 2));
        assert_eq!(line("9600 7E1"), None);
    }
}
