//! Maps that need not be written: a device whose instrument calls its fields as its packs call their points.

use gateway_rules::{At, Table};

use super::devices::Reader;
use super::profile::{Form, Profile};

/// Points and the fields they are mapped to, as written.
pub(super) type Map = Vec<(At<String>, At<String>)>;

impl<'f> Reader<'f, '_> {
    /// The map as written, or every field of the profile that is a point of this kind by name (`-` as `_`); of a kind
    /// that no pack watches, every field.
    pub(super) fn map(&self, table: &Table<'f>, kind: &str, profile: Option<&Profile>) -> Option<Map> {
        if table.has("map") {
            return table.need::<Table<'f>>("map").map(|map| map.value.entries::<String>());
        }
        let place = table.key_span("profile");
        let wrong = |message: String| {
            self.file.error(place.clone(), message, Some("map = { temperature = \"channel-1\" }".into()));
        };
        let profile = profile?;
        let Form::Modbus(fields) = &profile.form else {
            wrong(format!("`{}` needs a map: which place of the payload is which point", profile.name));
            return None;
        };
        let packs = self.packs_of(kind);
        let known = |point: &str| {
            packs.is_empty()
                || packs.iter().any(|pack| pack.points.get(point).is_some_and(|point| point.is_of(kind)))
        };
        let at = |value: String| At { value, span: place.clone() };
        let map: Map = fields
            .iter()
            .map(|field| (field.name.replace('-', "_"), field.name.clone()))
            .filter(|(point, _)| known(point))
            .map(|(point, field)| (at(point), at(field)))
            .collect();
        if map.is_empty() {
            wrong(format!(
                "no field of `{}` is called as a point of a `{kind}`: a map is needed",
                profile.name
            ));
            return None;
        }
        Some(map)
    }
}
