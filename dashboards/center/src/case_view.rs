//! A case as one page shows it: row, alerts, timeline, verdicts, next commands, deadlines.

use std::collections::HashMap;

use center_casebook::{Actor, Case, CaseEvent, CaseEventBody, CaseState, Verdict, VerdictKind, Window, next};
use gateway_model::{AlertId, Plan};
use gateway_wire::hex;

use crate::app::App;
use crate::auth::Viewer;
use crate::civil::ClockTable;
use crate::error::ApiError;
use crate::store::{CaseDetail, CaseRow, DeadlineRow, TimelineEntry, VerificationRow};

/// What names and times are told with.
struct Teller<'t> {
    names: &'t HashMap<String, String>,
    clocks: &'t ClockTable,
    plan: Option<&'t Plan>,
    gateway: &'t str,
}

/// One case with everything its page shows. Outside the asker's scope it does not exist.
pub async fn detail(app: &App, viewer: &Viewer, id: i64) -> Result<CaseDetail, ApiError> {
    let row = app.store.case_row(&viewer.scope(), id).await?.ok_or(ApiError::NotFound)?;
    let events = app.store.case_events(id).await?;
    let case = Case::replay(&events).ok_or_else(|| anyhow::anyhow!("case {id} has no opening event"))?;
    let alerts = app.store.case_alerts(id).await?;
    let names = app.store.user_names().await?;
    let clocks = ClockTable::new(app.store.clocks(&row.gateway).await?);
    let plan = app.plans.newest(&app.store, &row.gateway).await?;
    let teller = Teller { names: &names, clocks: &clocks, plan: plan.as_deref(), gateway: &row.gateway };
    let mut extensions = 0;
    let mut timeline = Vec::with_capacity(events.len());
    let mut verifications = Vec::new();
    for event in &events {
        match &event.body {
            CaseEventBody::Submitted { .. } | CaseEventBody::Reverified { .. } => extensions = 0,
            CaseEventBody::Extended { .. } => extensions += 1,
            CaseEventBody::Judged { verdict } => verifications.push(teller.verdict(verdict, extensions)),
            CaseEventBody::Opened { .. }
            | CaseEventBody::Joined { .. }
            | CaseEventBody::Worsened { .. }
            | CaseEventBody::SelfCleared { .. }
            | CaseEventBody::Acknowledged
            | CaseEventBody::Dispatched { .. }
            | CaseEventBody::Accepted
            | CaseEventBody::OnSiteNeeded
            | CaseEventBody::Reviewed { .. }
            | CaseEventBody::Disposed { .. }
            | CaseEventBody::Noted { .. }
            | CaseEventBody::Recalled { .. } => {}
        }
        timeline.push(teller.entry(event, extensions));
    }
    let pending = match (case.state, case.window) {
        (CaseState::Verifying, Some(window)) => Some(teller.pending(window, case.attempt.extensions)),
        (
            CaseState::Open
            | CaseState::Acknowledged
            | CaseState::Dispatched
            | CaseState::Rectifying
            | CaseState::Verifying
            | CaseState::OnSite
            | CaseState::Verified
            | CaseState::Closed,
            _,
        ) => None,
    };
    let deadlines = deadlines(&row, &case, pending.as_ref(), app.clock.civil().0);
    Ok(CaseDetail {
        next: next(&case, &viewer.actor()).into_iter().map(|kind| kind.code().to_owned()).collect(),
        verification: pending.or_else(|| verifications.last().cloned()),
        row,
        alerts,
        timeline,
        verifications,
        deadlines,
    })
}

fn deadlines(row: &CaseRow, case: &Case, pending: Option<&VerificationRow>, now: i64) -> Vec<DeadlineRow> {
    let mut deadlines = Vec::new();
    let runs = matches!(case.state, CaseState::Dispatched | CaseState::Rectifying | CaseState::OnSite);
    if let Some(at) = row.deadline.filter(|_| runs) {
        deadlines.push(DeadlineRow { kind: "rectify".to_owned(), at, overdue: now > at });
    }
    if let Some(pending) = pending {
        deadlines.push(DeadlineRow { kind: "verify".to_owned(), at: pending.to, overdue: now > pending.to });
    }
    deadlines
}

impl Teller<'_> {
    fn civil(&self, at: gateway_model::EngineTime) -> i64 {
        // Without any word on civil time there is nothing better to show than the gateway's own.
        self.clocks.civil(at, 0).0
    }

    fn window(&self, window: Window) -> (i64, i64) {
        (self.civil(window.from), self.civil(window.to))
    }

    fn alert(&self, alert: AlertId) -> String {
        format!("{}/{alert}", self.gateway)
    }

    fn pending(&self, window: Window, extensions: u32) -> VerificationRow {
        let (from, to) = self.window(window);
        VerificationRow {
            verdict: "pending".to_owned(),
            coverage: None,
            from,
            to,
            reason: None,
            first_violation: None,
            unseen: Vec::new(),
            data_hash: None,
            extensions,
        }
    }

    fn verdict(&self, verdict: &Verdict, extensions: u32) -> VerificationRow {
        let (from, to) = self.window(verdict.window);
        let point = |point: &gateway_model::PointIx| {
            let known = self.plan.and_then(|plan| plan.points.get(point.slot()));
            known.map_or_else(|| point.to_string(), |point| point.id.clone())
        };
        VerificationRow {
            verdict: match verdict.kind {
                VerdictKind::Pass => "pass",
                VerdictKind::Fail => "fail",
                VerdictKind::Insufficient => "insufficient",
            }
            .to_owned(),
            coverage: Some(verdict.coverage_permille),
            from,
            to,
            reason: Some(verdict.reason.clone()),
            first_violation: verdict.first_violation.map(|at| self.civil(at)),
            unseen: verdict.unseen.iter().map(point).collect(),
            data_hash: Some(hex(&verdict.data_hash)),
            extensions,
        }
    }

    fn entry(&self, event: &CaseEvent, extensions: u32) -> TimelineEntry {
        let (actor, actor_kind, role) = match &event.actor {
            Actor::Person { id, role, .. } => {
                (self.names.get(id).unwrap_or(id).clone(), "person", Some(role.code().to_owned()))
            }
            Actor::Gateway(id) => (id.to_string(), "gateway", None),
            Actor::Center => ("center".to_owned(), "center", None),
        };
        let mut entry = TimelineEntry {
            event: event.n,
            at: event.at.0,
            actor,
            actor_kind: actor_kind.to_owned(),
            role,
            kind: event.body.code().to_owned(),
            alert: None,
            text: None,
            recipient: None,
            deadline: None,
            attachments: Vec::new(),
            window: None,
            decision: None,
            verdict: None,
        };
        match &event.body {
            CaseEventBody::Opened { alert, .. }
            | CaseEventBody::Joined { alert, .. }
            | CaseEventBody::Worsened { alert, .. }
            | CaseEventBody::SelfCleared { alert } => entry.alert = Some(self.alert(*alert)),
            CaseEventBody::Acknowledged | CaseEventBody::Accepted | CaseEventBody::OnSiteNeeded => {}
            CaseEventBody::Dispatched { recipient, deadline, requirement } => {
                entry.recipient = Some(recipient.clone());
                entry.deadline = Some(deadline.0);
                entry.text = Some(requirement.clone());
            }
            CaseEventBody::Submitted { text, attachments, window } => {
                entry.text = Some(text.clone());
                entry.attachments = attachments.iter().map(|hash| hex(&hash[..])).collect();
                entry.window = Some(self.window(*window));
            }
            CaseEventBody::Judged { verdict } => entry.verdict = Some(self.verdict(verdict, extensions)),
            CaseEventBody::Extended { window } | CaseEventBody::Reverified { window } => {
                entry.window = Some(self.window(*window));
            }
            CaseEventBody::Reviewed { decision, reason } => {
                entry.decision = Some(decision.code().to_owned());
                entry.text = Some(reason.clone());
            }
            CaseEventBody::Disposed { disposition, reason } => {
                entry.decision = Some(disposition.code().to_owned());
                entry.text = Some(reason.clone());
            }
            CaseEventBody::Noted { text } => entry.text = Some(text.clone()),
            CaseEventBody::Recalled { reason } => entry.text = Some(reason.clone()),
        }
        entry
    }
}
