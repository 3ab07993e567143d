//! The center: what the gateways conclude, as it is heard there, through the casebook; silence, through the same rules as the
//! center's own watch; and a duty officer who signs and closes.
//!
//! A *supervisor's item* is a case that is opened, or an alert of the center that is the supervisor's from the start. What joins an open
//! case is counted as an announcement, but is no new item.

use std::collections::BTreeMap;

use center_casebook::{
    Actor, Case, Command, CommandBody, Contact, Disposition, Key, Role, Silence, Telling, decide, incident,
    is_item, next_morning, priority, telling,
};
use gateway_engine::contact_due_ms;
use gateway_model::{
    AlertChange, AlertId, Change as Kind, CivilTime, GatewayId, InstitutionId, Priority, RulePlan,
};

use super::edge::Lived;
use super::fleet::Premises;
use super::truth::{DAY, HOUR, MINUTE};

/// How often silence is looked for, s.
const LOOK_S: i64 = 60;
/// A case is closed so many working days after it was opened, if what it is about is over (users.md B).
const CLOSED_AFTER: i64 = 3;

/// An alert as the center knows it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) site: u64,
    pub(super) device: String,
    pub(super) rule: String,
    /// Raised at the gateway, second of the run.
    pub(super) raised: i64,
    pub(super) cleared: Option<i64>,
    /// The center has heard that it is a supervisor's.
    pub(super) item: Option<i64>,
    /// It opened a case; it joined one.
    pub(super) opened: bool,
    pub(super) priority: Priority,
    pub(super) chatter: u32,
}

/// What the center has at the end.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) alerts: Vec<Seen>,
    /// When an item came up, second of the run, and whether it is red.
    pub(super) items: Vec<(i64, bool)>,
    /// When anything was announced to the supervisor: items, and what joined one.
    pub(super) announced: Vec<i64>,
    /// Cases not closed at the end.
    pub(super) open: usize,
}

/// The days on which nobody but the stand-by works, and where each line was dead.
pub(super) struct World<'w> {
    pub(super) begin_ms: i64,
    pub(super) days: i64,
    pub(super) dead: &'w dyn Fn(&Premises) -> Vec<(i64, i64)>,
    pub(super) works: &'w dyn Fn(i64) -> bool,
    /// Alerts of one cause join one case; off, to see that it matters.
    pub(super) grouped: bool,
}

struct Turn {
    heard: i64,
    site: usize,
    change: usize,
}

/// Lets the center hear all of it.
pub(super) fn sit(premises: &[Premises], lived: &[Lived], world: &World<'_>) -> Desk {
    let dead: Vec<Vec<(i64, i64)>> = premises.iter().map(|one| (world.dead)(one)).collect();
    let mut turns = Vec::new();
    for (site, one) in lived.iter().enumerate() {
        for (change, told) in one.changes.iter().enumerate() {
            let second = told.at_ms.div_euclid(1_000);
            let line = dead[site].iter().find(|(from, to)| (*from..*to).contains(&second));
            // Also what was concluded just before the mains went: it goes up at the next start.
            let heard = line.map_or(second, |(_, to)| *to + 30);
            turns.push(Turn { heard, site, change });
        }
    }
    turns.sort_by_key(|turn| (turn.heard, turn.site, turn.change));
    let mut center = Center {
        world,
        premises,
        lived,
        desk: Desk::default(),
        known: BTreeMap::new(),
        open: BTreeMap::new(),
        cases: Vec::new(),
        mornings: Vec::new(),
        townships: townships(premises),
        watch: Watch::new(lived, &dead),
    };
    let mut next = turns.iter().peekable();
    let mut second = 0;
    while second < world.days * DAY {
        while let Some(turn) = next.next_if(|turn| turn.heard <= second) {
            center.hear(turn);
        }
        center.look(second);
        center.morning(second);
        if second % HOUR == 0 {
            center.work(second);
        }
        second += LOOK_S;
    }
    center.desk.open = center.open.len();
    center.desk
}

struct Center<'w> {
    world: &'w World<'w>,
    premises: &'w [Premises],
    lived: &'w [Lived],
    desk: Desk,
    /// (site, alert) → place in the list of alerts, and its case.
    known: BTreeMap<(usize, AlertId), (usize, Option<usize>)>,
    open: BTreeMap<Key, usize>,
    /// Second at which it was opened.
    cases: Vec<(Case, i64)>,
    /// Waste that is kept too long: turns in which it was raised.
    mornings: Vec<(usize, usize)>,
    /// Gateways in each township.
    townships: Vec<usize>,
    watch: Watch,
}

fn townships(premises: &[Premises]) -> Vec<usize> {
    let mut sizes = Vec::new();
    for one in premises {
        let township = one.township as usize;
        sizes.resize(sizes.len().max(township + 1), 0);
        sizes[township] += 1;
    }
    sizes
}

impl Center<'_> {
    fn civil(&self, second: i64) -> CivilTime {
        CivilTime(self.world.begin_ms + second * 1_000)
    }

    /// As `center::alerts::changed`: rows apart.
    fn hear(&mut self, turn: &Turn) {
        let told = &self.lived[turn.site].changes[turn.change];
        let plan = &self.lived[turn.site].site.plan;
        let change = &told.change;
        let second = told.at_ms.div_euclid(1_000);
        let Some(rule) = change.rule.and_then(|rule| plan.rules.get(rule.slot())) else { return };
        let device =
            plan.devices.get(rule.subject.slot()).map(|device| device.id.clone()).unwrap_or_default();
        let urgent = priority(rule, change.detail);
        let id = (turn.site, change.alert);
        if change.change == Kind::Raised {
            let alerts = &mut self.desk.alerts;
            self.known.insert(id, (alerts.len(), None));
            alerts.push(Seen {
                site: self.premises[turn.site].n,
                device: device.clone(),
                rule: rule.id.clone(),
                raised: second,
                cleared: None,
                item: None,
                opened: false,
                priority: urgent,
                chatter: 0,
            });
        }
        let Some(&(slot, case)) = self.known.get(&id) else { return };
        let seen = &mut self.desk.alerts[slot];
        seen.priority = urgent;
        if matches!(change.change, Kind::Cleared(_)) {
            seen.cleared = Some(second);
        }
        seen.chatter += u32::from(change.change == Kind::Chattering);
        let is_over = seen.cleared.is_some();
        if change.change == Kind::Raised && telling(plan, rule) == Telling::Morning {
            self.mornings.push((turn.site, turn.change));
        }
        if !is_over && case.is_none() && is_item(plan, rule, change.detail) {
            self.raise(turn.site, change, rule, slot, turn.heard);
        } else if is_over && let Some(case) = case {
            let key = self.cases[case].0.key.clone();
            // A case that was closed meanwhile is not touched by it (invariant 8).
            if self.open.get(&key) == Some(&case) {
                let body = CommandBody::Clear { alert: change.alert };
                self.command(Some(case), &key, gateway_id(turn.site), body, turn.heard);
            }
        }
    }

    /// An alert becomes a supervisor's item: a case, or part of the one that is open.
    fn raise(&mut self, site: usize, change: &AlertChange, rule: &RulePlan, slot: usize, second: i64) {
        let plan = &self.lived[site].site.plan;
        let device = &self.desk.alerts[slot].device;
        let urgent = priority(rule, change.detail);
        let gateway = gateway_id(site);
        let institution = InstitutionId(plan.institution.0.clone());
        let key = if self.world.grouped {
            Key::of(institution, gateway, device, rule)
        } else {
            Key { institution, gateway, device: format!("{device}/{}", change.alert), rule: rule.id.clone() }
        };
        let body = CommandBody::Raise {
            key: key.clone(),
            alert: change.alert,
            priority: urgent,
            recurrence_of: None,
        };
        let case = self.open.get(&key).copied();
        let (case, opened) = self.command(case, &key, gateway, body, second);
        self.desk.alerts[slot].item = Some(second);
        self.desk.alerts[slot].opened = opened;
        self.known.insert((site, change.alert), (slot, Some(case)));
        self.desk.announced.push(second);
        if opened {
            self.desk.items.push((second, urgent == Priority::Red));
        }
    }

    /// As `center::desk::mornings`.
    fn morning(&mut self, second: i64) {
        let now = self.civil(second);
        let lived = self.lived;
        let begin_ms = self.world.begin_ms;
        let (due, later): (Vec<_>, Vec<_>) = self.mornings.drain(..).partition(|(site, change)| {
            let raised = lived[*site].changes[*change].at_ms;
            now >= next_morning(CivilTime(begin_ms + raised), lived[*site].site.plan.utc_offset_min)
        });
        self.mornings = later;
        for (site, change) in due {
            let change = &lived[site].changes[change].change;
            let Some(&(slot, case)) = self.known.get(&(site, change.alert)) else { continue };
            let trial = change.detail.is_some_and(|detail| detail.trial);
            let rule = change.rule.and_then(|rule| lived[site].site.plan.rules.get(rule.slot()));
            let over = self.desk.alerts[slot].cleared.is_some() || case.is_some();
            if let Some(rule) = rule.filter(|_| !over && !trial) {
                self.raise(site, change, rule, slot, second);
            }
        }
    }

    fn command(
        &mut self,
        case: Option<usize>,
        key: &Key,
        gateway: GatewayId,
        body: CommandBody,
        second: i64,
    ) -> (usize, bool) {
        let known = case.map(|case| &self.cases[case].0);
        let command =
            Command { actor: Actor::Gateway(gateway), seen: known.map_or(0, |case| case.event), body };
        let events = decide(known, &command, self.civil(second))
            .unwrap_or_else(|refusal| panic!("the casebook refuses {command:?}: {refusal:?}"));
        let mut place = case;
        for event in &events {
            if let Some(place) = place {
                self.cases[place].0.apply(event);
            } else {
                let case = Case::open(event).expect("the first event of a case opens it");
                self.open.insert(key.clone(), self.cases.len());
                place = Some(self.cases.len());
                self.cases.push((case, second));
            }
        }
        (place.expect("an event was decided"), case.is_none())
    }

    /// In office hours: what is new is signed, what is old and over is closed.
    fn work(&mut self, second: i64) {
        let (day, hour) = (second.div_euclid(DAY), second.rem_euclid(DAY) / HOUR);
        if !(9..17).contains(&hour) || !(self.world.works)(day) {
            return;
        }
        let closable: Vec<(Key, usize)> = self.open.iter().map(|(key, case)| (key.clone(), *case)).collect();
        for (key, place) in closable {
            let opened = self.cases[place].1.div_euclid(DAY);
            let worked = (opened + 1..=day).filter(|day| (self.world.works)(*day)).count() as i64;
            if self.cases[place].0.acknowledged_by.is_none() {
                self.person(place, "1", CommandBody::Acknowledge, second);
            }
            if worked >= CLOSED_AFTER && self.cases[place].0.self_cleared() {
                let body = CommandBody::Close {
                    disposition: Disposition::TestOrMaintenance,
                    reason: "put right".to_owned(),
                };
                self.person(place, "2", body, second);
                self.open.remove(&key);
            }
        }
    }

    fn person(&mut self, place: usize, id: &str, body: CommandBody, second: i64) {
        let actor = Actor::Person { id: id.to_owned(), role: Role::DutyOfficer, institution: None };
        let now = self.civil(second);
        let case = &mut self.cases[place].0;
        let command = Command { actor, seen: case.event, body };
        let events = decide(Some(case), &command, now)
            .unwrap_or_else(|refusal| panic!("the casebook refuses {command:?}: {refusal:?}"));
        for event in &events {
            case.apply(event);
        }
    }

    /// As `center::watch::turn`.
    fn look(&mut self, second: i64) {
        let now = self.civil(second);
        let begin_ms = self.world.begin_ms;
        let mut silent = Vec::new();
        let mut silences = Vec::new();
        for site in 0..self.lived.len() {
            let Some(since) = self.watch.silent_since(site, second) else {
                self.back(site, second);
                continue;
            };
            let judging = self.lived[site].site.plan.judging.as_ref();
            let calendar = judging.and_then(|judging| judging.calendar.as_ref());
            let last = CivilTime(begin_ms + since * 1_000);
            // Looked at closely while it is young, and each quarter of an hour then.
            let known = self.watch.known[site].filter(|known| known.last == last);
            let silence = match known {
                Some(known) if second - since > HOUR && second % (15 * MINUTE) != 0 => known,
                Some(_) | None => {
                    let before = CivilTime(last.0 - 60_000);
                    let in_service = contact_due_ms(calendar, before, last) > 0;
                    let due_ms = contact_due_ms(calendar, last, now);
                    let township = Some(self.premises[site].township as usize);
                    Silence { last, due_ms, in_service, township }
                }
            };
            self.watch.known[site] = Some(silence);
            silences.push(silence);
            silent.push(site);
        }
        let together = incident(&silences, &self.townships, now);
        if together.is_empty() {
            if let Some(slot) = self.watch.incident.take() {
                self.desk.alerts[slot].cleared = Some(second);
            }
        } else if self.watch.incident.is_none() {
            let first = silent[together[0]];
            let slot = self.center_alert(first, "center/many-silent", second, Priority::Orange, true);
            self.watch.incident = Some(slot);
        }
        for (place, (site, silence)) in silent.iter().zip(&silences).enumerate() {
            let contact = silence.contact(now);
            let told = self.watch.told[*site];
            if contact >= Contact::Silent && told < Contact::Silent && !together.contains(&place) {
                let slot = self.center_alert(*site, "center/gateway-silent", second, Priority::Yellow, false);
                self.watch.alerts[*site].push(slot);
                self.watch.told[*site] = Contact::Silent;
            }
            if contact == Contact::Lost && told < Contact::Lost {
                let slot = self.center_alert(*site, "center/gateway-lost", second, Priority::Orange, true);
                self.watch.alerts[*site].push(slot);
                self.watch.told[*site] = Contact::Lost;
            }
        }
    }

    fn back(&mut self, site: usize, second: i64) {
        self.watch.told[site] = Contact::Fine;
        for slot in self.watch.alerts[site].drain(..) {
            self.desk.alerts[slot].cleared = Some(second);
        }
    }

    fn center_alert(
        &mut self,
        site: usize,
        rule: &str,
        second: i64,
        priority: Priority,
        item: bool,
    ) -> usize {
        self.desk.alerts.push(Seen {
            site: self.premises[site].n,
            device: String::new(),
            rule: rule.to_owned(),
            raised: second,
            cleared: None,
            item: item.then_some(second),
            opened: item,
            priority,
            chatter: 0,
        });
        if item {
            self.desk.items.push((second, priority == Priority::Red));
            self.desk.announced.push(second);
        }
        self.desk.alerts.len() - 1
    }
}

fn gateway_id(site: usize) -> GatewayId {
    GatewayId::parse(&format!("{site:032x}")).expect("32 hex digits")
}

/// Signs of life.
struct Watch {
    /// Per site: spans without one, in order.
    away: Vec<Vec<(i64, i64)>>,
    /// The span that is looked at.
    cursor: Vec<usize>,
    told: Vec<Contact>,
    known: Vec<Option<Silence>>,
    alerts: Vec<Vec<usize>>,
    incident: Option<usize>,
}

impl Watch {
    fn new(lived: &[Lived], dead: &[Vec<(i64, i64)>]) -> Self {
        let away = lived.iter().zip(dead).map(|(one, dead)| {
            let mut spans: Vec<(i64, i64)> = one.off.iter().chain(dead).copied().collect();
            spans.sort_unstable();
            let mut joined: Vec<(i64, i64)> = Vec::new();
            for (from, to) in spans {
                match joined.last_mut() {
                    Some(last) if from <= last.1 => last.1 = last.1.max(to),
                    _ => joined.push((from, to)),
                }
            }
            joined
        });
        let away: Vec<_> = away.collect();
        Self {
            cursor: vec![0; away.len()],
            told: vec![Contact::Fine; away.len()],
            known: vec![None; away.len()],
            alerts: vec![Vec::new(); away.len()],
            incident: None,
            away,
        }
    }

    fn silent_since(&mut self, site: usize, second: i64) -> Option<i64> {
        let spans = &self.away[site];
        let cursor = &mut self.cursor[site];
        while spans.get(*cursor).is_some_and(|(_, to)| *to <= second) {
            *cursor += 1;
        }
        spans.get(*cursor).filter(|(from, _)| *from <= second).map(|(from, _)| *from)
    }
}
