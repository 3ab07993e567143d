//! The case table: every (state, command, role), no dead ends, closed stays closed, live equals replayed.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use center_casebook::{
    Actor, Case, CaseEvent, CaseState, Command, CommandBody, CommandKind, Decision, Disposition, Key,
    Refusal, Role, Verdict, VerdictKind, Window, decide, next, permits,
};
use gateway_model::{AlertId, CivilTime, EngineTime, Epoch, GatewayId, InstitutionId, Priority};
use proptest::prelude::*;

const NOW: CivilTime = CivilTime(1_800_000_000_000);

fn key() -> Key {
    Key {
        institution: InstitutionId("91".into()),
        gateway: GatewayId([1; 16]),
        device: "cabinet-1".into(),
        rule: "disinfection-cabinet/too-hot".into(),
    }
}

fn alert(n: u32) -> AlertId {
    AlertId { epoch: Epoch(1), n }
}

fn person(id: &str, role: Role) -> Actor {
    let institution = (role == Role::Institution).then(|| InstitutionId("91".into()));
    Actor::Person { id: id.into(), role, institution }
}

fn window(n: i64) -> Window {
    Window { from: EngineTime(n * 1000), to: EngineTime(n * 1000 + 1000) }
}

fn verdict(kind: VerdictKind, window: Window) -> Verdict {
    Verdict {
        kind,
        window,
        coverage_permille: 1000,
        unseen: vec![],
        first_violation: None,
        reason: "held".into(),
        data_hash: [0; 32],
        config_hash: [0; 32],
        method: Some(1),
    }
}

fn body(kind: CommandKind, case: Option<&Case>) -> CommandBody {
    let current = case.and_then(|case| case.window).unwrap_or_default();
    match kind {
        CommandKind::Raise => CommandBody::Raise {
            key: key(),
            alert: alert(case.map_or(1, |case| case.alerts.len() as u32 + 1)),
            priority: Priority::Orange,
            recurrence_of: None,
        },
        CommandKind::Clear => CommandBody::Clear { alert: alert(1) },
        CommandKind::Acknowledge => CommandBody::Acknowledge,
        CommandKind::Dispatch => CommandBody::Dispatch {
            recipient: "unit".into(),
            deadline: CivilTime(NOW.0 + 1),
            requirement: "fix it".into(),
        },
        CommandKind::Accept => CommandBody::Accept,
        CommandKind::Submit => CommandBody::Submit {
            text: "done".into(),
            attachments: vec![],
            uploaded: true,
            window: window(1),
        },
        CommandKind::Judge => {
            CommandBody::Judge { verdict: verdict(VerdictKind::Pass, current), next: window(2) }
        }
        CommandKind::Review => CommandBody::Review { decision: Decision::Approve, reason: String::new() },
        CommandKind::Close => {
            CommandBody::Close { disposition: Disposition::FalseAlarm, reason: "probe on the table".into() }
        }
        CommandKind::Note => CommandBody::Note { text: "called".into() },
        CommandKind::Recall => CommandBody::Recall { reason: "wrong unit".into() },
        CommandKind::Reverify => CommandBody::Reverify { window: window(3) },
        CommandKind::Merge => CommandBody::Merge,
        CommandKind::Object => CommandBody::Object,
        CommandKind::DecideObjection => CommandBody::DecideObjection,
        CommandKind::Transfer => CommandBody::Transfer,
        CommandKind::Extend => CommandBody::Extend,
        CommandKind::Withdraw => CommandBody::Withdraw,
        CommandKind::OnSiteResult => CommandBody::OnSiteResult,
    }
}

/// Drives a case live and keeps its events.
struct Life {
    case: Option<Case>,
    events: Vec<CaseEvent>,
}

impl Life {
    fn new(priority: Priority) -> Self {
        let mut life = Self { case: None, events: vec![] };
        let raise = CommandBody::Raise { key: key(), alert: alert(1), priority, recurrence_of: None };
        life.give(Actor::Gateway(GatewayId([1; 16])), raise).unwrap();
        life
    }

    fn give(&mut self, actor: Actor, body: CommandBody) -> Result<(), Refusal> {
        let seen = self.case.as_ref().map_or(0, |case| case.event);
        let events = decide(self.case.as_ref(), &Command { actor, seen, body }, NOW)?;
        for event in &events {
            match &mut self.case {
                Some(case) => case.apply(event),
                None => self.case = Case::open(event),
            }
        }
        self.events.extend(events);
        Ok(())
    }

    fn kind(&mut self, actor: Actor, kind: CommandKind) -> Result<(), Refusal> {
        let body = body(kind, self.case.as_ref());
        self.give(actor, body)
    }

    fn judge(&mut self, kind: VerdictKind) {
        let window = self.case().window.unwrap();
        let next = Window { from: window.to, to: window.to.plus(1000) };
        self.give(Actor::Center, CommandBody::Judge { verdict: verdict(kind, window), next }).unwrap();
    }

    fn case(&self) -> &Case {
        self.case.as_ref().unwrap()
    }

    /// A case in this state, the usual way.
    fn at(state: CaseState, priority: Priority) -> Self {
        let mut life = Self::new(priority);
        let steps: &[CommandKind] = match state {
            CaseState::Open => &[],
            CaseState::Acknowledged => &[CommandKind::Acknowledge],
            CaseState::Dispatched => &[CommandKind::Acknowledge, CommandKind::Dispatch],
            CaseState::Rectifying => &[CommandKind::Acknowledge, CommandKind::Dispatch, CommandKind::Accept],
            CaseState::Verifying | CaseState::OnSite | CaseState::Verified | CaseState::Closed => {
                &[CommandKind::Acknowledge, CommandKind::Dispatch, CommandKind::Accept, CommandKind::Submit]
            }
        };
        for kind in steps {
            let by_unit = [CommandKind::Accept, CommandKind::Submit].contains(kind);
            let role = if by_unit { Role::Institution } else { Role::DutyOfficer };
            life.kind(person("a", role), *kind).unwrap();
        }
        if state == CaseState::OnSite {
            (0..3).for_each(|_| life.judge(VerdictKind::Insufficient));
        }
        if matches!(state, CaseState::Verified | CaseState::Closed) {
            life.judge(VerdictKind::Pass);
        }
        if state == CaseState::Closed {
            life.kind(person("b", Role::Reviewer), CommandKind::Review).unwrap();
        }
        assert_eq!(life.case().state, state);
        life
    }
}

#[test]
fn table_of_every_state_command_and_role() {
    let mut seen = Vec::new();
    for state in CaseState::ALL {
        let life = Life::at(state, Priority::Orange);
        for kind in CommandKind::ALL {
            let may: Vec<_> = Role::ALL
                .into_iter()
                .filter(|role| permits(life.case(), &person("x", *role), *kind).is_ok())
                .map(Role::code)
                .collect();
            let machine = permits(life.case(), &Actor::Center, *kind).is_ok();
            if !may.is_empty() || machine {
                let who = if machine { "machine".into() } else { may.join(" ") };
                seen.push(format!("{} {}: {who}", state.code(), kind.code()));
            }
        }
    }
    let center = "duty_officer reviewer admin";
    let notes = "duty_officer reviewer institution admin inspector maintainer collector";
    let mut expected = Vec::new();
    let mut row = |state: &str, kind: &str, who: &str| expected.push(format!("{state} {kind}: {who}"));
    let table: &[(&str, &[(&str, &str)])] = &[
        ("open", &[("acknowledge", center)]),
        ("acknowledged", &[("dispatch", center), ("close", center)]),
        ("dispatched", &[("accept", "institution"), ("recall", center)]),
        ("rectifying", &[("submit", "institution"), ("recall", center)]),
        ("verifying", &[("judge", "machine")]),
        ("on_site", &[("submit", "institution"), ("recall", center), ("reverify", center)]),
        ("verified", &[("review", "reviewer admin")]),
        ("closed", &[]),
    ];
    for (state, cells) in table {
        if *state != "closed" {
            row(state, "raise", "machine");
        }
        row(state, "clear", "machine");
        let (before, after): (Vec<_>, Vec<_>) =
            cells.iter().partition(|(kind, _)| !matches!(*kind, "recall" | "reverify"));
        for (kind, who) in before {
            row(state, kind, who);
        }
        row(state, "note", notes);
        for (kind, who) in after {
            row(state, kind, who);
        }
    }
    assert_eq!(seen, expected);
}

#[test]
fn every_state_that_waits_for_somebody_lets_them_out() {
    // Whoever's item it is must find a command in `next` that changes the state. While data are being verified
    // nobody is waited for: the verifier always answers, and after the last extension the case waits for people.
    let waits: &[(CaseState, &[Role])] = &[
        (CaseState::Open, &[Role::DutyOfficer, Role::Reviewer, Role::Admin]),
        (CaseState::Acknowledged, &[Role::DutyOfficer, Role::Reviewer, Role::Admin]),
        (CaseState::Dispatched, &[Role::Institution, Role::DutyOfficer, Role::Reviewer, Role::Admin]),
        (CaseState::Rectifying, &[Role::Institution, Role::DutyOfficer, Role::Reviewer, Role::Admin]),
        (CaseState::OnSite, &[Role::Institution, Role::DutyOfficer, Role::Reviewer, Role::Admin]),
        (CaseState::Verified, &[Role::Reviewer, Role::Admin]),
    ];
    for (state, roles) in waits {
        for role in *roles {
            for priority in [Priority::Red, Priority::Blue] {
                let life = Life::at(*state, priority);
                let actor = person("somebody else", *role);
                let exits = next(life.case(), &actor).into_iter().any(|kind| {
                    let mut life = Life::at(*state, priority);
                    life.kind(actor.clone(), kind).is_ok() && life.case().state != *state
                });
                assert!(exits, "{} has no way out of {}", role.code(), state.code());
            }
        }
    }
    let mut life = Life::at(CaseState::Verifying, Priority::Red);
    life.judge(VerdictKind::Insufficient);
    assert_eq!(life.case().state, CaseState::Verifying);
    life.judge(VerdictKind::Insufficient);
    assert_eq!(life.case().state, CaseState::Verifying);
    life.judge(VerdictKind::Insufficient);
    assert_eq!(life.case().state, CaseState::OnSite);
}

#[test]
fn red_needs_four_eyes_and_others_do_not() {
    let mut life = Life::at(CaseState::Verified, Priority::Red);
    assert_eq!(life.kind(person("a", Role::Admin), CommandKind::Review), Err(Refusal::SamePerson));
    assert_eq!(life.kind(person("b", Role::Admin), CommandKind::Review), Ok(()));
    let mut life = Life::at(CaseState::Acknowledged, Priority::Red);
    assert_eq!(life.kind(person("a", Role::Admin), CommandKind::Close), Err(Refusal::SamePerson));
    let mut life = Life::at(CaseState::Verified, Priority::Orange);
    assert_eq!(life.kind(person("a", Role::Admin), CommandKind::Review), Ok(()));
}

#[test]
fn a_stale_command_is_refused() {
    let life = Life::at(CaseState::Open, Priority::Orange);
    let command = Command { actor: person("a", Role::DutyOfficer), seen: 0, body: CommandBody::Acknowledge };
    assert_eq!(decide(life.case.as_ref(), &command, NOW), Err(Refusal::Stale));
}

#[test]
fn another_institution_is_refused() {
    let mut life = Life::at(CaseState::Dispatched, Priority::Orange);
    let other = Actor::Person {
        id: "x".into(),
        role: Role::Institution,
        institution: Some(InstitutionId("other".into())),
    };
    assert_eq!(life.kind(other, CommandKind::Accept), Err(Refusal::OtherInstitution));
}

#[test]
fn what_is_not_built_is_refused_in_words() {
    for kind in [
        CommandKind::Merge,
        CommandKind::Object,
        CommandKind::DecideObjection,
        CommandKind::Transfer,
        CommandKind::Extend,
        CommandKind::Withdraw,
        CommandKind::OnSiteResult,
    ] {
        let mut life = Life::at(CaseState::Rectifying, Priority::Orange);
        assert_eq!(life.kind(person("a", Role::Admin), kind), Err(Refusal::NotYet));
    }
    for refusal in Refusal::ALL {
        let text = refusal.text();
        assert!(!text.zh.is_empty() && !text.en.is_empty());
    }
}

#[test]
fn empty_words_are_refused() {
    let mut life = Life::at(CaseState::Acknowledged, Priority::Orange);
    let close = CommandBody::Close { disposition: Disposition::FalseAlarm, reason: "  ".into() };
    assert_eq!(life.give(person("a", Role::Admin), close), Err(Refusal::ReasonRequired));
    let dispatch =
        CommandBody::Dispatch { recipient: "unit".into(), deadline: NOW, requirement: "fix".into() };
    assert_eq!(life.give(person("a", Role::Admin), dispatch), Err(Refusal::DeadlinePast));
    let mut life = Life::at(CaseState::Rectifying, Priority::Orange);
    let submit = CommandBody::Submit {
        text: "done".into(),
        attachments: vec![[1; 32].into()],
        uploaded: false,
        window: window(1),
    };
    assert_eq!(life.give(person("a", Role::Institution), submit), Err(Refusal::AttachmentMissing));
}

#[test]
fn a_verdict_about_another_window_is_refused() {
    let mut life = Life::at(CaseState::Verifying, Priority::Orange);
    let judge = CommandBody::Judge { verdict: verdict(VerdictKind::Pass, window(9)), next: window(10) };
    assert_eq!(life.give(Actor::Center, judge), Err(Refusal::OtherWindow));
}

proptest! {
    #[test]
    fn closed_stays_closed_and_live_equals_replayed(
        steps in proptest::collection::vec((0..CommandKind::ALL.len(), 0..Role::ALL.len() + 1, 0..3_u8, 0..3_u8), 0..60),
        red in any::<bool>(),
    ) {
        let mut life = Life::new(if red { Priority::Red } else { Priority::Yellow });
        let mut closed = false;
        let mut passed = false;
        for (kind, role, who, way) in steps {
            let kind = CommandKind::ALL[kind];
            let actor = Role::ALL.get(role).map_or(Actor::Center, |role| person(&who.to_string(), *role));
            let before = life.events.len();
            let mut body = body(kind, life.case.as_ref());
            if let CommandBody::Judge { verdict, .. } = &mut body {
                verdict.kind = [VerdictKind::Pass, VerdictKind::Fail, VerdictKind::Insufficient][usize::from(way)];
            }
            if let CommandBody::Review { decision, reason } = &mut body && way == 1 {
                *decision = Decision::Reject;
                *reason = "not so".into();
            }
            let outcome = life.give(actor, body);
            if outcome.is_err() {
                prop_assert_eq!(life.events.len(), before);
            }
            passed |= life.case().verdict == Some(VerdictKind::Pass);
            if closed {
                prop_assert_eq!(life.case().state, CaseState::Closed);
            }
            closed = life.case().state == CaseState::Closed;
        }
        // No way to close without a pass but a disposition.
        if closed {
            prop_assert!(passed || life.case().disposition.is_some());
        }
        // Through bytes, as the store keeps them.
        let stored: Vec<CaseEvent> = life
            .events
            .iter()
            .map(|event| minicbor::decode(&minicbor::to_vec(event).unwrap()).unwrap())
            .collect();
        prop_assert_eq!(Case::replay(&stored), life.case);
        prop_assert!(stored.iter().zip(1..).all(|(event, n)| event.n == n));
    }
}

#[test]
fn a_case_becomes_as_urgent_as_an_alert_of_it_and_is_told_so_once() {
    let raise = |priority| CommandBody::Raise { key: key(), alert: alert(1), priority, recurrence_of: None };
    let gateway = Actor::Gateway(GatewayId([1; 16]));
    let told = |case: Option<&Case>, body| {
        let command = Command { actor: gateway.clone(), seen: case.map_or(0, |case| case.event), body };
        decide(case, &command, NOW)
    };
    let opened = told(None, raise(Priority::Orange)).unwrap();
    let mut case = Case::open(&opened[0]).unwrap();
    assert_eq!(
        told(Some(&case), raise(Priority::Yellow)),
        Err(Refusal::AlertKnown),
        "less urgent is no news"
    );
    let worse = told(Some(&case), raise(Priority::Red)).unwrap();
    assert_eq!(worse[0].body.code(), "worsened");
    case.apply(&worse[0]);
    assert_eq!((case.priority, case.alerts.len()), (Priority::Red, 1));
    assert_eq!(told(Some(&case), raise(Priority::Red)), Err(Refusal::AlertKnown));
    let over = told(Some(&case), CommandBody::Clear { alert: alert(1) }).unwrap();
    case.apply(&over[0]);
    case.priority = Priority::Orange;
    assert_eq!(
        told(Some(&case), raise(Priority::Red)),
        Err(Refusal::AlertKnown),
        "what is over gets no worse"
    );
}
