//! The center's side of a scenario: every alert through the casebook, as the center's shell hands it over.

use std::collections::BTreeMap;
use std::path::Path;

use center_casebook::{Actor, Case, Command, CommandBody, Key, decide};
use firmware_sim::scenario::expect::Outage;
use gateway_model::{CivilTime, GatewayId, InstitutionId};

use super::MIDNIGHT;
use super::gateway::Seen;
use crate::records;

/// Whose gateway it is: the casebook joins by institution, gateway, device and rule.
const INSTITUTION: &str = "913300000000000191";

/// A case as the casebook left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// When the center opened it, seconds after the first midnight.
    pub at: i64,
    /// The case.
    pub case: Case,
}

/// What happens at the center, in the order in which it hears of it: alerts are raised or over, or nothing is heard while the
/// line is cut. Nobody acts, so a case stays open. Gives the alerts, each with when it was heard
/// of and whether it joined a case, and the cases.
pub fn cases(data: &Path, alerts: &[Seen], cut: &[&Outage]) -> (Vec<Seen>, Vec<Opened>) {
    let gateway = records::key(data).gateway_id();
    let heard = |second: i64| {
        let cut = cut.iter().find(|cut| (cut.from..cut.from + cut.for_s).contains(&second));
        cut.map_or(second, |cut| cut.from + cut.for_s)
    };
    let mut turns: Vec<(i64, usize, bool)> = Vec::new();
    for (slot, seen) in alerts.iter().enumerate() {
        // What was handled below never comes to the casebook.
        let Some(item) = seen.item else { continue };
        turns.push((heard(item), slot, false));
        turns.extend(seen.cleared.map(|cleared| (heard(cleared), slot, true)));
    }
    turns.sort_by_key(|(at, slot, over)| (*at, *over, *slot));
    let mut told = alerts.to_vec();
    for seen in &mut told {
        seen.heard = heard(seen.raised);
    }
    let mut open: BTreeMap<Key, usize> = BTreeMap::new();
    let mut cases: Vec<Opened> = Vec::new();
    for (at, slot, over) in turns {
        let seen = &alerts[slot];
        let key = key(gateway, seen);
        let case = open.get(&key).copied();
        if !over {
            told[slot].joined = case.is_some();
        }
        let body = if over {
            CommandBody::Clear { alert: seen.alert }
        } else {
            CommandBody::Raise {
                key: key.clone(),
                alert: seen.alert,
                priority: seen.priority,
                recurrence_of: None,
            }
        };
        let known = case.map(|case| &cases[case].case);
        let command =
            Command { actor: Actor::Gateway(gateway), seen: known.map_or(0, |case| case.event), body };
        let now = CivilTime(MIDNIGHT.0 + at * 1000);
        let events = decide(known, &command, now)
            .unwrap_or_else(|refusal| panic!("the casebook refuses {seen:?}: {refusal:?}"));
        for event in &events {
            if let Some(case) = case {
                cases[case].case.apply(event);
            } else {
                let case = Case::open(event).expect("the first event of a case opens it");
                open.insert(key.clone(), cases.len());
                cases.push(Opened { at, case });
            }
        }
    }
    (told, cases)
}

fn key(gateway: GatewayId, seen: &Seen) -> Key {
    Key {
        institution: InstitutionId(INSTITUTION.into()),
        gateway,
        device: seen.device.clone(),
        rule: seen.rule.clone(),
    }
}
