//! JSON of other people's devices: places by pointer, everything else left alone.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use gateway_model::{CivilTime, Raw};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Refusal, Said, decimal};
use crate::config::{JsonField, JsonKind, JsonMapping, TimeForm};

/// Levels of objects and lists, texts that are JSON themselves included. Real payloads have up to 6.
const DEPTH_MAX: usize = 16;
/// Values in one payload.
const PARTS_MAX: usize = 4_096;
/// Places named as unmapped.
const UNMAPPED_MAX: usize = 16;
/// Characters of such a place: a name may be as long as the payload.
const PLACE_MAX: usize = 64;

pub(super) fn read(mapping: &JsonMapping, payload: &[u8]) -> Result<Said, Refusal> {
    Reading::of(mapping, payload)?.finish()
}

/// The text at one place, which must be there, and what else is mapped.
pub(super) fn text_at(
    mapping: &JsonMapping,
    payload: &[u8],
    pointer: &str,
) -> Result<(String, Said), Refusal> {
    let mapping = JsonMapping { expect: vec![(pointer.to_owned(), String::new())], ..mapping.clone() };
    let mut reading = Reading::of(&mapping, payload)?;
    let text = reading.texts.remove(pointer).ok_or(Refusal::Json)?;
    Ok((serde_json::from_str(&text).map_err(|_| Refusal::Json)?, reading.said))
}

struct Reading<'m> {
    mapping: &'m JsonMapping,
    said: Said,
    /// What stands at the mapped places, as sent.
    texts: BTreeMap<String, String>,
    objects: HashSet<String>,
    parts: usize,
}

impl<'m> Reading<'m> {
    fn of(mapping: &'m JsonMapping, payload: &[u8]) -> Result<Self, Refusal> {
        let root: &RawValue = serde_json::from_slice(payload).map_err(|_| Refusal::Json)?;
        if !root.get().starts_with('{') {
            return Err(Refusal::Json);
        }
        let mut reading = Self {
            mapping,
            said: Said::default(),
            texts: BTreeMap::new(),
            objects: HashSet::new(),
            parts: 0,
        };
        reading.value(&mut String::new(), root.get(), 0)?;
        Ok(reading)
    }

    /// A value and everything in it. `pointer` is given back as it was.
    fn value(&mut self, pointer: &mut String, text: &str, depth: usize) -> Result<(), Refusal> {
        self.parts += 1;
        if depth > DEPTH_MAX || self.parts > PARTS_MAX {
            return Err(Refusal::TooDeep);
        }
        match text.as_bytes().first() {
            Some(b'{') => {
                let members: Members = serde_json::from_str(text).map_err(|error| members_refusal(&error))?;
                self.mapped(pointer, text);
                self.objects.insert(pointer.clone());
                for (name, value) in members.0 {
                    self.inside(pointer, &name, value.get(), depth)?;
                }
                Ok(())
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Refusal::Json)?;
                self.mapped(pointer, text);
                for (n, value) in items.into_iter().enumerate() {
                    self.inside(pointer, &n.to_string(), value.get(), depth)?;
                }
                Ok(())
            }
            Some(b'"') if self.leads_further(pointer) => {
                let inner: String = serde_json::from_str(text).map_err(|_| Refusal::Json)?;
                let inner: &RawValue = serde_json::from_str(&inner).map_err(|_| Refusal::Json)?;
                // A text in a text in a text: one level each.
                self.value(pointer, inner.get(), depth + 1)
            }
            _ => {
                if !self.mapped(pointer, text) && self.said.unmapped.len() < UNMAPPED_MAX {
                    self.said.unmapped.push(pointer.chars().take(PLACE_MAX).collect());
                }
                Ok(())
            }
        }
    }

    fn inside(&mut self, pointer: &mut String, name: &str, text: &str, depth: usize) -> Result<(), Refusal> {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let inside = self.value(pointer, text, depth + 1);
        pointer.truncate(length);
        inside
    }

    /// Does a mapped place lie inside this one?
    fn leads_further(&self, pointer: &str) -> bool {
        let below = |place: &String| place.strip_prefix(pointer).is_some_and(|rest| rest.starts_with('/'));
        self.places().any(below)
    }

    fn places(&self) -> impl Iterator<Item = &String> {
        let fields = self.mapping.fields.iter().map(|field| &field.pointer);
        let expected = self.mapping.expect.iter().map(|(place, _)| place);
        fields.chain(expected).chain(self.mapping.time.as_ref().map(|time| &time.pointer))
    }

    /// Takes what is mapped to this place; was anything?
    fn mapped(&mut self, pointer: &str, text: &str) -> bool {
        if !self.places().any(|place| place == pointer) {
            return false;
        }
        self.texts.insert(pointer.to_owned(), text.to_owned());
        // null is how some sources say "none": no news.
        if text == "null" {
            return true;
        }
        for field in self.mapping.fields.iter().filter(|field| field.pointer == pointer) {
            match value(&field.kind, text) {
                Some(raw) => self.said.values.push((field.point, raw)),
                None => self.said.malformed.push(field.point),
            }
        }
        if let Some(time) = self.mapping.time.as_ref().filter(|time| time.pointer == pointer) {
            self.said.time = civil(time.form, text);
            self.said.bad_time = self.said.time.is_none();
        }
        true
    }

    fn finish(mut self) -> Result<Said, Refusal> {
        for (place, wanted) in &self.mapping.expect {
            let wanted = serde_json::Value::from(wanted.as_str()).to_string();
            if self.texts.get(place).is_some_and(|stands| *stands != wanted) {
                return Err(Refusal::Unexpected);
            }
        }
        for field in &self.mapping.fields {
            let missing = field.omitted_is_zero && !self.texts.contains_key(&field.pointer);
            if missing && self.objects.contains(parent(field)) {
                self.said.values.push((field.point, Raw::Int(0)));
            }
        }
        let entry =
            |(place, text): (&String, &String)| format!("{}:{text}", serde_json::Value::from(place.as_str()));
        let entries: Vec<String> = self.texts.iter().map(entry).collect();
        self.said.frame = format!("{{{}}}", entries.join(",")).into_bytes();
        Ok(self.said)
    }
}

fn parent(field: &JsonField) -> &str {
    field.pointer.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The members of an object, in order; a name twice is an error.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// What serde's error says of a name that comes twice.
const TWICE: &str = "a name twice";

fn members_refusal(error: &serde_json::Error) -> Refusal {
    if error.to_string().starts_with(TWICE) { Refusal::DuplicateKey } else { Refusal::Json }
}

#[derive(Deserialize, PartialEq, Eq, Hash, Clone)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                let mut names = HashSet::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom(TWICE));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

fn value(kind: &JsonKind, text: &str) -> Option<Raw> {
    match kind {
        JsonKind::Number => decimal(text).map(|(mantissa, exponent)| Raw::Dec { mantissa, exponent }),
        JsonKind::Truth { one, zero } => {
            let word: String = serde_json::from_str(text).unwrap_or_else(|_| text.to_owned());
            match text {
                "true" | "1" => Some(Raw::Int(1)),
                "false" | "0" => Some(Raw::Int(0)),
                _ if word == *one => Some(Raw::Int(1)),
                _ if word == *zero => Some(Raw::Int(0)),
                _ => None,
            }
        }
    }
}

fn civil(form: TimeForm, text: &str) -> Option<CivilTime> {
    let millis = |power: i32| {
        let (mantissa, exponent) = decimal(text)?;
        let power = i32::from(exponent) + power;
        let factor = 10_i64.checked_pow(power.unsigned_abs())?;
        if power >= 0 { mantissa.checked_mul(factor) } else { Some(mantissa / factor) }
    };
    match form {
        TimeForm::UnixSeconds => millis(3),
        TimeForm::UnixMillis => millis(0),
        TimeForm::Rfc3339 => {
            let text: String = serde_json::from_str(text).ok()?;
            Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond())
        }
    }
    .map(CivilTime)
}
