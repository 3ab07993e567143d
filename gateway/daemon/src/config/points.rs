//! Points of a device: how they are scaled and kept, and where sources that send when they like put them.

use gateway_model::{PointIx, PointPlan, Text, Unit};
use gateway_rules::{At, File, Table, convert, did_you_mean};

use super::checks;
use super::deadbands;
use super::devices::{Draft, Part, Reader};
use super::mapping::{
    Feed, FeedMapping, JsonField, JsonKind, JsonMapping, Mapping, MilesightField, MilesightMapping, MqttPlan,
};
use super::profile::{Field, Form};
use super::profile_mqtt::{Item, Words};
use super::stuck::{self, Said};

/// As many as it was shown to read once a second and to record (docs/bench-poll.md), and to have verified (docs/decisions/0025).
pub(super) const POINTS_MAX: usize = 100_000;
/// Every point is kept at least this often, moved or not; more often where its greatest age asks for it.
pub(super) const HEARTBEAT_MS: i64 = 300_000;
/// A source that sends when it likes and whose profile says nothing is stale after an hour.
const SOURCE_MAX_AGE_MS: i64 = 3_600_000;

/// Kept before it is stale: otherwise a value that is read but does not move would look lost.
pub(super) fn heartbeat_ms(every_ms: i64, max_age_ms: i64) -> i64 {
    let before_stale = if every_ms == 0 { max_age_ms / 2 } else { (max_age_ms - every_ms).max(every_ms) };
    HEARTBEAT_MS.min(before_stale)
}

/// How a point is to be scaled and kept.
pub(super) struct Making<'a> {
    pub(super) unit: Unit,
    pub(super) gain: f64,
    pub(super) offset: f64,
    pub(super) invert: bool,
    pub(super) span: Option<(f64, f64)>,
    pub(super) sentinels: &'a [i64],
    pub(super) deadband: Option<f64>,
    pub(super) stuck: Option<Said>,
    /// How far it may be off, in `unit`.
    pub(super) accuracy: Option<f64>,
    /// One of a few codes, or a count of what happened.
    pub(super) discrete: bool,
    /// Without a stated deadband: half a count, or 0 where a count has no fixed size.
    pub(super) counts: bool,
    pub(super) source: String,
    pub(super) every_ms: i64,
    pub(super) max_age_ms: i64,
}

impl<'f> Reader<'f, '_> {
    pub(super) fn mqtt_part(&mut self, table: Table<'f>, draft: &mut Draft) {
        let file = self.file;
        let topic = table.need::<String>("topic");
        let part = self.part(&table, &draft.kind);
        table.finish();
        if let Some(topic) = &topic
            && let Some(trouble) = checks::topic_trouble(&topic.value)
        {
            file.error(topic.span.clone(), trouble, None);
        }
        let Some(part) = part else { return };
        let name = topic.as_ref().map_or("", |topic| topic.value.as_str());
        let (mapping, availability) = match &part.profile.form {
            Form::Modbus(_) | Form::Weighing(..) => {
                file.error(
                    part.span,
                    format!("`{}` does not speak MQTT", part.profile.name),
                    Some("write it as [[device.read]]".into()),
                );
                return;
            }
            Form::Json(fields, rules) => {
                let fields = self.json(draft, &part, fields, name);
                let availability = rules.availability.iter().filter_map(|rule| rule.of(name)).collect();
                let (expect, time) = (rules.expect.clone(), rules.time.clone());
                (Some(Mapping::Json(JsonMapping { fields, expect, time })), availability)
            }
            Form::Milesight(fields, lengths) => {
                (self.milesight(draft, &part, fields, lengths, name), Vec::new())
            }
            Form::Feed(fields) => (self.feed(draft, &part, fields, name).map(Mapping::Feed), Vec::new()),
        };
        if let (Some(topic), Some(mapping)) = (topic, mapping) {
            self.out.mqtt.push(MqttPlan { topic: topic.value, device: draft.ix, mapping, availability });
        }
    }

    /// A point of a source that sends when it likes.
    fn sent<P>(
        &mut self,
        draft: &mut Draft,
        part: &Part<'_>,
        point: &At<String>,
        field: &Field<P>,
        source: String,
        counts: bool,
    ) -> Option<PointIx> {
        let max_age_ms = part.max_age.or(part.profile.max_age).map_or(SOURCE_MAX_AGE_MS, |age| age.0);
        let making = Making {
            unit: field.unit,
            gain: field.gain,
            offset: field.offset,
            invert: field.invert,
            span: field.span,
            sentinels: &field.sentinels,
            deadband: field.deadband,
            stuck: field.stuck,
            accuracy: field.accuracy,
            discrete: matches!(part.profile.form, Form::Feed(_)),
            counts,
            source,
            every_ms: 0,
            max_age_ms,
        };
        self.point(draft, point, making, part)
    }

    fn json(
        &mut self,
        draft: &mut Draft,
        part: &Part<'_>,
        fields: &[Field<Words>],
        topic: &str,
    ) -> Vec<JsonField> {
        let mut mapped = Vec::new();
        for (point, target) in &part.map {
            // As RFC 6901 has it; the first slash may be left out.
            let pointer = format!("/{}", target.value.trim_start_matches('/'));
            let last = pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
            let last = At { value: last, span: target.span.clone() };
            let Some(field) = find(self.file, fields, &last) else { continue };
            let kind = match &field.place.words {
                None => JsonKind::Number,
                Some((one, zero)) => JsonKind::Truth { one: one.clone(), zero: zero.clone() },
            };
            let omitted_is_zero = field.place.omitted_is_zero;
            let source = format!("{topic} {pointer}");
            if let Some(point) = self.sent(draft, part, point, field, source, false) {
                mapped.push(JsonField { point, pointer, kind, omitted_is_zero });
            }
        }
        mapped
    }

    fn milesight(
        &mut self,
        draft: &mut Draft,
        part: &Part<'_>,
        fields: &[Field<Item>],
        lengths: &[(Option<u8>, u8, u8)],
        topic: &str,
    ) -> Option<Mapping> {
        let mut mapped = Vec::new();
        for (point, target) in &part.map {
            let Some(field) = find(self.file, fields, target) else { continue };
            let Item { channel, kind, signed } = field.place;
            let source = format!("{topic} channel 0x{channel:02X} type 0x{kind:02X}");
            if let Some(point) = self.sent(draft, part, point, field, source, true) {
                mapped.push(MilesightField { point, channel, kind, signed });
            }
        }
        Some(Mapping::Milesight(MilesightMapping {
            carrier: part.carrier?,
            fields: mapped,
            lengths: lengths.to_vec(),
        }))
    }

    fn feed(
        &mut self,
        draft: &mut Draft,
        part: &Part<'_>,
        fields: &[Field<()>],
        topic: &str,
    ) -> Option<FeedMapping> {
        let [(point, target)] = &part.map[..] else {
            self.file.error(
                part.span.clone(),
                "one feed a topic: the map has exactly one entry",
                Some("map = { visits = \"visits\" }".into()),
            );
            return None;
        };
        let field = find(self.file, fields, target)?;
        let Some(feed) = Feed::named(&field.name) else {
            self.file.error(
                target.span.clone(),
                format!("there is no feed `{}`", field.name),
                Some(
                    "visits, packed, used, released, bag, stored, handover, received, occupied, cups or duty"
                        .into(),
                ),
            );
            return None;
        };
        let point = self.sent(draft, part, point, field, format!("{topic} {}", field.name), false)?;
        Some(FeedMapping { feed, point })
    }

    pub(super) fn point(
        &mut self,
        draft: &mut Draft,
        name: &At<String>,
        making: Making<'_>,
        part: &Part<'_>,
    ) -> Option<PointIx> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.value.is_empty() || !name.value.chars().all(plain) {
            self.file.error(name.span.clone(), "a point is named with a-z, 0-9 and _", None);
            return None;
        }
        if draft.points.contains_key(&name.value) {
            self.file.error(name.span.clone(), format!("`{}` is mapped twice", name.value), None);
            return None;
        }
        if self.out.plan.points.len() >= POINTS_MAX {
            self.file.error(name.span.clone(), format!("a gateway has at most {POINTS_MAX} points"), None);
            return None;
        }
        let wanted = self
            .packs_of(&draft.kind)
            .into_iter()
            .find_map(|pack| pack.points.get(&name.value).filter(|point| point.is_of(&draft.kind)));
        let unit = wanted
            .map(|wanted| wanted.unit)
            .filter(|unit| unit.dimension() == making.unit.dimension())
            .unwrap_or(making.unit);
        let scaled = |value: f64| convert(value, making.unit, unit).unwrap_or(value);
        let truth = unit == Unit::Truth;
        let inverted = truth && (making.invert != part.invert.contains(&name.value));
        if part.invert.contains(&name.value) && !truth {
            self.file.error(
                name.span.clone(),
                format!("`{}` is a number: it has no opposite", name.value),
                None,
            );
        }
        let gain = if inverted { -1.0 } else { scaled(making.gain) };
        let deadband = match making.deadband {
            _ if truth => 0.5,
            Some(stated) => scaled(stated),
            None if making.counts => gain.abs() / 2.0,
            None => 0.0,
        };
        let point = PointIx::of(self.out.plan.points.len());
        let span = making.span.map(|(low, high)| (scaled(low), scaled(high)));
        let deadband = match deadbands::stated(&part.deadbands, point, &name.value, (unit, span), self.file) {
            Some((stated, placed)) => {
                self.deadbands.push(placed);
                stated
            }
            None => deadband,
        };
        let about = stuck::About {
            name,
            unit,
            span,
            step: making.counts.then_some(gain.abs()),
            deadband,
            every_ms: making.every_ms,
            discrete: making.discrete,
        };
        let pack = wanted.and_then(|wanted| wanted.stuck);
        let stuck = stuck::decide(&about, &part.stuck, making.stuck, pack, self.file);
        // A difference, as a gain is: an offset does not move it.
        let accuracy = making.accuracy.map(|off| (scaled(off) - scaled(0.0)).abs());
        let accuracy = deadbands::accuracy(&part.accuracy, accuracy, &name.value, (unit, span), self.file);
        self.out.accuracy.extend(accuracy.map(|accuracy| (point, accuracy)));
        self.out.plan.points.push(PointPlan {
            id: format!("{}/{}", draft.id, name.value),
            device: draft.ix,
            name: wanted.map_or_else(
                || Text { zh: name.value.clone(), en: name.value.clone() },
                |wanted| wanted.name.clone(),
            ),
            unit,
            gain,
            offset: if inverted { 1.0 } else { scaled(making.offset) },
            source: making.source,
            every_ms: making.every_ms,
            max_age_ms: making.max_age_ms,
            deadband,
            heartbeat_ms: heartbeat_ms(making.every_ms, making.max_age_ms),
            span,
            sentinels: making.sentinels.to_vec(),
            truth,
            calibration: None,
            stuck,
        });
        draft.points.insert(name.value.clone(), (point, unit));
        Some(point)
    }
}

/// The field a map names, or what is wrong with the name.
pub(super) fn find<'a, P>(
    file: &File<'_>,
    fields: &'a [Field<P>],
    target: &At<String>,
) -> Option<&'a Field<P>> {
    let found = fields.iter().find(|field| field.name == target.value);
    if found.is_none() {
        let known = || fields.iter().map(|field| field.name.as_str());
        let hint = did_you_mean(&target.value, known()).map_or_else(
            || format!("fields: {}", known().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        file.error(target.span.clone(), format!("the profile has no field `{}`", target.value), Some(hint));
    }
    found
}
