//! The parts of a device profile that are about MQTT: words, items, availability, time, what must stand where.

use gateway_rules::{At, Table, did_you_mean};

use super::checks;
use super::mapping::{Availability, Carrier, TimeField, TimeForm};

/// What a JSON field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// The two words of a truth, if it is one.
    pub(super) words: Option<(String, String)>,
    /// See [`super::JsonField::omitted_is_zero`].
    pub(super) omitted_is_zero: bool,
}

/// A Milesight item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    /// Channel byte.
    pub(super) channel: u8,
    /// Type byte.
    pub(super) kind: u8,
    /// The value has a sign.
    pub(super) signed: bool,
}

/// What a profile says of its JSON payloads as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct JsonRules {
    pub(super) availability: Vec<AvailabilityRule>,
    pub(super) expect: Vec<(String, String)>,
    pub(super) time: Option<TimeField>,
}

/// How the availability topic follows from the data topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AvailabilityRule {
    stem: Stem,
    /// Put behind the stem.
    add: String,
    online: String,
    offline: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stem {
    /// What stands before the last occurrence of this text; without one the rule does not apply.
    Before(String),
    /// The whole topic.
    Whole,
    /// The first level of the topic: what stands before all devices of one bridge.
    Root,
}

impl AvailabilityRule {
    /// The availability topic of a data topic without wildcards.
    pub(super) fn of(&self, topic: &str) -> Option<Availability> {
        if topic.contains(['+', '#']) {
            return None;
        }
        let stem = match &self.stem {
            Stem::Before(marker) => &topic[..topic.rfind(marker.as_str())?],
            Stem::Whole => topic,
            Stem::Root => topic.split('/').next()?,
        };
        Some(Availability {
            topic: format!("{stem}{}", self.add),
            online: self.online.clone(),
            offline: self.offline.clone(),
        })
    }
}

/// `availability`, `expect` and `time` of a profile.
pub(super) fn rules(root: &Table<'_>) -> JsonRules {
    let availability =
        root.tables("availability", "an availability").into_iter().filter_map(availability).collect();
    let expect = root.table("expect", "expect").map_or_else(Vec::new, |table| {
        table.entries::<String>().into_iter().map(|(place, text)| (place.value, text.value)).collect()
    });
    let time = root.table("time", "time").and_then(time);
    JsonRules { availability, expect, time }
}

fn availability(table: Table<'_>) -> Option<AvailabilityRule> {
    let before = table.get::<String>("before");
    let root = table.get::<bool>("root").is_some_and(|root| root.value);
    let mut texts = ["add", "online", "offline"].map(|key| table.need::<String>(key)).into_iter();
    let file = table.file();
    table.finish();
    let mut next = || texts.next().flatten();
    let stem = match (before, root) {
        (Some(before), true) => {
            file.error(before.span, "either `before` or `root`", None);
            return None;
        }
        (Some(before), false) => Stem::Before(before.value),
        (None, true) => Stem::Root,
        (None, false) => Stem::Whole,
    };
    let (add, online, offline) = (next()?, next()?, next()?);
    if let Some(trouble) = checks::topic_trouble(&format!("a{}", add.value)) {
        file.error(add.span, trouble, None);
        return None;
    }
    Some(AvailabilityRule { stem, add: add.value, online: online.value, offline: offline.value })
}

fn time(table: Table<'_>) -> Option<TimeField> {
    let (at, form) = (table.need::<String>("at"), table.need::<String>("form"));
    let file = table.file();
    table.finish();
    let form = form?;
    let known = match form.value.as_str() {
        "rfc3339" => Some(TimeForm::Rfc3339),
        "unix-s" => Some(TimeForm::UnixSeconds),
        "unix-ms" => Some(TimeForm::UnixMillis),
        _ => None,
    };
    if known.is_none() {
        let hint = did_you_mean(&form.value, ["rfc3339", "unix-s", "unix-ms"]).map_or_else(
            || "rfc3339, unix-s or unix-ms; a local time without a zone is no time".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        file.error(form.span, format!("`{}` is not a form of time", form.value), Some(hint));
    }
    Some(TimeField { pointer: at?.value, form: known? })
}

/// `lengths` of a profile.
pub(super) fn lengths(root: &Table<'_>) -> Vec<(Option<u8>, u8, u8)> {
    let rows = root.get::<Vec<At<Vec<At<i64>>>>>("lengths").map_or_else(Vec::new, |rows| rows.value);
    let mut lengths = Vec::new();
    for row in rows {
        let numbers: Vec<i64> = row.value.iter().map(|number| number.value).collect();
        let byte = |number: i64| u8::try_from(number).ok();
        match numbers[..] {
            [channel, kind, length]
                if (-1..=255).contains(&channel) && byte(kind).is_some() && (1..=16).contains(&length) =>
            {
                lengths.push((byte(channel), byte(kind).unwrap_or_default(), length as u8));
            }
            _ => root.file().error(row.span, "expected [channel or -1, type, bytes]", None),
        }
    }
    lengths
}

/// What a JSON field holds.
pub(super) fn words(table: &Table<'_>, _: u16) -> Option<Words> {
    let words = table.get::<Vec<At<String>>>("words");
    let omitted = table.get::<bool>("omitted_is_zero");
    let omitted_is_zero = omitted.as_ref().is_some_and(|omitted| omitted.value);
    let Some(words) = words else {
        if let Some(omitted) = omitted.filter(|_| omitted_is_zero) {
            let hint = "a number that is not there is no news: it would be made up";
            table.file().error(omitted.span, "only a truth may be left out", Some(hint.into()));
        }
        return Some(Words { words: None, omitted_is_zero: false });
    };
    if let [one, zero] = &words.value[..] {
        return Some(Words { words: Some((one.value.clone(), zero.value.clone())), omitted_is_zero });
    }
    table.file().error(words.span, "expected [word for true, word for false]", None);
    None
}

/// Where a Milesight field is.
pub(super) fn item(table: &Table<'_>, shift: u16) -> Option<Item> {
    let byte = |key| {
        let number = table.need::<i64>(key)?;
        let byte = u8::try_from(number.value).ok();
        if byte.is_none() {
            table.file().error(number.span, "expected 0 to 255", None);
        }
        byte
    };
    let (channel, kind) = (byte("channel"), byte("kind"));
    let signed = table.get::<bool>("signed").is_some_and(|signed| signed.value);
    Some(Item { channel: channel?.checked_add(u8::try_from(shift).ok()?)?, kind: kind?, signed })
}

/// The carrier an option names.
pub(super) fn carrier(text: &str) -> Option<Carrier> {
    Some(match text {
        "hex" => Carrier::Hex,
        "base64" => Carrier::Base64,
        "chirpstack" => Carrier::ChirpStack,
        "the-things-stack" => Carrier::TheThingsStack,
        _ => return None,
    })
}
