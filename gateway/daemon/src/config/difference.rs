//! What is different between two checked sites, and what a running gateway has to touch for it.
//!
//! Points, devices and rules are the same if their ids are; where they stand in a file and which slot they have does not
//! matter. A bus whose requests differ is planned anew and keeps its line; one whose line differs is opened anew; every
//! other goes on without noticing.

use std::collections::BTreeMap;
use std::fmt;

use gateway_engine::fingerprint;
use gateway_model::{Plan, PointPlan, RuleKind, RulePlan};

use super::site::Site;
use crate::recorder::slots::Slots;

/// Names listed one by one in a sentence, at most.
const NAMED_MAX: usize = 5;

/// What happens to something that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// It was not there before.
    Added,
    /// It is no more.
    Removed,
    /// The same line, other requests.
    Replanned,
    /// Closed and opened with other settings.
    Restarted,
}

/// Names that came, went, or mean something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Came.
    pub added: Vec<String>,
    /// Went.
    pub removed: Vec<String>,
    /// Mean something else.
    pub changed: Vec<String>,
}

/// What is different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Devices.
    pub devices: Names,
    /// Points.
    pub points: Names,
    /// Rules on their subjects.
    pub rules: Names,
    /// Rules of which only the words, the priority or the like are different: nothing open is touched.
    pub reworded: usize,
    /// Buses that are touched, by name.
    pub buses: Vec<(String, Act)>,
    /// What is listened to over MQTT is different.
    pub mqtt: bool,
    /// Sinks that are touched, by name.
    pub sinks: Vec<(String, Act)>,
    /// Packs with other bytes, by name.
    pub packs: Vec<String>,
    /// What else is different, in words.
    pub others: Vec<&'static str>,
    /// Settings that only a restart of the process takes over.
    pub restart: Vec<&'static str>,
}

impl Difference {
    /// Between the site in force and another.
    pub fn between(old: &Site, new: &Site) -> Self {
        let slots = Slots::between(&old.plan, &new.plan);
        let mut difference = Self {
            devices: names(&devices(&old.plan), &devices(&new.plan)),
            points: names(&points(&old.plan), &points(&new.plan)),
            buses: buses(old, new, &slots),
            mqtt: heard(old, &slots) != Some(new.mqtt.clone()),
            sinks: sinks(old, new),
            restart: fixed(old, new),
            ..Self::default()
        };
        let (before, after) = (rules(&old.plan), rules(&new.plan));
        let says = |rules: &BTreeMap<String, (u64, RulePlan)>| {
            rules.iter().map(|(name, (says, _))| (name.clone(), *says)).collect::<BTreeMap<_, _>>()
        };
        difference.rules = names(&says(&before), &says(&after));
        let worded = |plan: &Plan, rule: &RulePlan| {
            let verify = (rule.verify.window_ms, rule.verify.coverage_permille, during(plan, rule));
            (rule.text.clone(), rule.priority, rule.first, verify)
        };
        difference.reworded = after
            .iter()
            .filter(|(name, (says, rule))| {
                before.get(*name).is_some_and(|(was, before)| {
                    was == says && worded(&old.plan, before) != worded(&new.plan, rule)
                })
            })
            .count();
        difference.others.extend((old.name != new.name).then_some("the site's name"));
        let hours = hours(&old.plan) != hours(&new.plan);
        difference.others.extend(hours.then_some("opening hours or the trial run"));
        let changed = new.plan.packs.iter().filter(|pack| {
            old.plan.packs.iter().any(|before| before.name == pack.name && before.sha256 != pack.sha256)
        });
        difference.packs = changed.map(|pack| pack.name.clone()).collect();
        let rest = difference.is_empty() && old.plan != new.plan;
        difference.others.extend(rest.then_some("the order of devices or details of modules"));
        difference
    }

    /// Nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What happens to a bus.
    pub fn bus(&self, name: &str) -> Option<Act> {
        self.buses.iter().find(|(known, _)| known == name).map(|(_, act)| *act)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("changes nothing");
        }
        let mut said = Vec::new();
        for (names, one, many) in [
            (&self.devices, "device", "devices"),
            (&self.points, "point", "points"),
            (&self.rules, "rule", "rules"),
        ] {
            for (verb, list) in
                [("adds", &names.added), ("removes", &names.removed), ("changes", &names.changed)]
            {
                if !list.is_empty() {
                    let noun = if list.len() == 1 { one } else { many };
                    said.push(format!("{verb} {} {noun} ({})", list.len(), listed(list)));
                }
            }
        }
        if self.reworded > 0 {
            said.push(format!("changes words or priority of {}", counted(self.reworded, "rule")));
        }
        said.extend(self.packs.iter().map(|name| format!("takes other bytes of pack `{name}`")));
        said.extend(self.others.iter().map(|what| format!("changes {what}")));
        for (what, list) in [("bus", &self.buses), ("sink", &self.sinks)] {
            for (act, verb) in [
                (Act::Added, "adds"),
                (Act::Removed, "removes"),
                (Act::Replanned, "re-plans"),
                (Act::Restarted, "restarts"),
            ] {
                let names: Vec<&str> =
                    list.iter().filter(|(_, done)| *done == act).map(|(name, _)| name.as_str()).collect();
                said.extend(names.iter().map(|name| format!("{verb} {what} `{name}`")));
            }
        }
        if self.mqtt {
            said.push("listens to other MQTT topics or fields".to_owned());
        }
        if self.restart.is_empty() {
            let touched = !self.buses.is_empty() || !self.sinks.is_empty() || self.mqtt;
            said.push(if touched { "restarts nothing else" } else { "restarts nothing" }.to_owned());
        } else {
            said.push(format!("needs a restart of the gateway for {}", self.restart.join(", ")));
        }
        f.write_str(&said.join(", "))
    }
}

fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn names<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Names {
    let only = |these: &BTreeMap<String, T>, those: &BTreeMap<String, T>| {
        these.keys().filter(|name| !those.contains_key(*name)).cloned().collect()
    };
    let changed = new.iter().filter(|(name, now)| old.get(*name).is_some_and(|before| before != *now));
    Names {
        added: only(new, old),
        removed: only(old, new),
        changed: changed.map(|(name, _)| name.clone()).collect(),
    }
}

fn devices(plan: &Plan) -> BTreeMap<String, (String, gateway_model::Text, String)> {
    plan.devices
        .iter()
        .map(|device| {
            let bus = plan.buses.get(usize::from(device.bus)).cloned().unwrap_or_default();
            (device.id.clone(), (device.kind.clone(), device.name.clone(), bus))
        })
        .collect()
}

fn points(plan: &Plan) -> BTreeMap<String, (String, PointPlan)> {
    plan.points
        .iter()
        .map(|point| {
            let device = device_id(plan, point.device);
            let bare = PointPlan { device: gateway_model::DeviceIx(0), ..point.clone() };
            (point.id.clone(), (device, bare))
        })
        .collect()
}

/// `rule on device`, with what it says as a number and the rule itself.
fn rules(plan: &Plan) -> BTreeMap<String, (u64, RulePlan)> {
    plan.rules
        .iter()
        .map(|rule| {
            let name = format!("{} on {}", rule.id, device_id(plan, rule.subject));
            (name, (fingerprint(plan, rule), rule.clone()))
        })
        .collect()
}

/// While what a rule is verified, as a number: its points and modules by their ids, not by their places.
fn during(plan: &Plan, rule: &RulePlan) -> Option<u64> {
    let when = rule.verify.during.clone()?;
    let (returned, shown, limit) = (None, None, None);
    let kind = RuleKind::Condition { when, returned, on_delay_ms: 0, off_delay_ms: 0, shown, limit };
    Some(fingerprint(plan, &RulePlan { kind, handling: None, ..rule.clone() }))
}

fn hours(plan: &Plan) -> (Option<&gateway_model::CalendarPlan>, bool, i16) {
    let judging = plan.judging.as_ref();
    let calendar = judging.and_then(|judging| judging.calendar.as_ref());
    (calendar, judging.is_some_and(|judging| judging.trial), plan.utc_offset_min)
}

fn device_id(plan: &Plan, device: gateway_model::DeviceIx) -> String {
    plan.devices.get(device.slot()).map_or_else(String::new, |device| device.id.clone())
}

fn buses(old: &Site, new: &Site, slots: &Slots) -> Vec<(String, Act)> {
    let mut acts = Vec::new();
    for (slot, plan) in new.buses.iter().enumerate() {
        let Some(before) = old.buses.iter().position(|bus| bus.name == plan.name) else {
            acts.push((plan.name.clone(), Act::Added));
            continue;
        };
        let asked =
            |site: &Site| site.blocks_of(before).iter().map(|block| block.moved(slot, slots)).collect();
        let heard = |site: &Site| site.streams_of(before).iter().map(|one| one.moved(slot, slots)).collect();
        let asked: Option<Vec<_>> = asked(old);
        let heard: Option<Vec<_>> = heard(old);
        if old.buses[before] != *plan {
            acts.push((plan.name.clone(), Act::Restarted));
        } else if heard != Some(new.streams_of(slot)) {
            // An indicator's line is heard by one of them: it has nothing to plan.
            acts.push((plan.name.clone(), Act::Restarted));
        } else if asked != Some(new.blocks_of(slot)) {
            acts.push((plan.name.clone(), Act::Replanned));
        }
    }
    let gone = old.buses.iter().filter(|bus| !new.buses.iter().any(|other| other.name == bus.name));
    acts.extend(gone.map(|bus| (bus.name.clone(), Act::Removed)));
    acts
}

fn heard(old: &Site, slots: &Slots) -> Option<Vec<super::MqttPlan>> {
    old.mqtt.iter().map(|plan| plan.moved(slots)).collect()
}

fn sinks(old: &Site, new: &Site) -> Vec<(String, Act)> {
    let mut acts = Vec::new();
    for sink in &new.sinks {
        match old.sinks.iter().find(|known| known.name == sink.name) {
            None => acts.push((sink.name.clone(), Act::Added)),
            Some(known) if known != sink => acts.push((sink.name.clone(), Act::Restarted)),
            Some(_) => {}
        }
    }
    let gone = old.sinks.iter().filter(|sink| !new.sinks.iter().any(|other| other.name == sink.name));
    acts.extend(gone.map(|sink| (sink.name.clone(), Act::Removed)));
    acts
}

/// What stands in the site file and is read at the start of the process only.
fn fixed(old: &Site, new: &Site) -> Vec<&'static str> {
    let identity = (&old.plan.site, &old.plan.institution) != (&new.plan.site, &new.plan.institution);
    // A broker that nobody is heard through has not been started.
    let broker = old.broker != new.broker || (old.mqtt.is_empty() && !new.mqtt.is_empty());
    [
        (identity, "site or institution id"),
        (old.center != new.center, "[center]"),
        (old.journal != new.journal, "[journal]"),
        (old.page != new.page, "[page]"),
        (broker, "[broker]"),
    ]
    .into_iter()
    .filter_map(|(differs, what)| differs.then_some(what))
    .collect()
}
