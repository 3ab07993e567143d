//! Calendar duties (B-D test, chemical and biological monitoring, calibration, lamp cleaning, …): one digest per site and day,
//! told at half past eight there, instead of a message per duty (users.md B).
//!
//! Overdue is what the gateway concluded (an open alert of a rule about a duty, in no case); due is what its records say was
//! last done, and the interval of its plan. Promises: at most one digest per site and local day, also after a restart; none on a
//! day on which the site is closed. Leaves out: when a duty is the supervisor's, which is the rule's escalation and nobody else's
//! word; duties whose interval counts opening hours only, of which only the overdue ones are told.

use std::collections::BTreeMap;

use center_casebook::{MORNING_MS, Telling, duty, telling};
use gateway_engine::contact_due_ms;
use gateway_model::{CivilTime, EngineTime, FactBody, Input, ModuleState, Plan, State};
use gateway_wire::InputsBody;
use sqlx::SqliteConnection;

use crate::app::App;
use crate::civil::ClockTable;
use crate::live::Change;
use crate::store::digests::{self as rows, DutyRow};
use crate::store::{AlertRow, DigestRow, DutyLine, Scope, count_up};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// A site of which something could not be read is tried again so long after, ms of civil time.
const TRY_AGAIN_MS: i64 = 10 * MINUTE_MS;

/// What a checkpoint knows of duties.
pub async fn known(tx: &mut SqliteConnection, gateway: &str, state: &State) -> sqlx::Result<()> {
    for module in &state.modules {
        if let ModuleState::Duty { device, duty, done, since, good_since_bad: _ } = module {
            let row = DutyRow {
                device: device.clone(),
                duty: duty.clone(),
                done_at: done.map(|(at, _)| at.0),
                since: since.map(|at| at.0),
            };
            rows::keep_duty(tx, gateway, &row, state.now).await?;
        }
    }
    Ok(())
}

/// Duties that were done, as they were entered.
pub async fn done(
    tx: &mut SqliteConnection,
    gateway: &str,
    inputs: &InputsBody,
    plan: &Plan,
) -> sqlx::Result<()> {
    for item in &inputs.items {
        let Input::Fact(fact) = item else { continue };
        let FactBody::DutyDone { duty, .. } = &fact.body else { continue };
        let Some(device) = plan.devices.get(fact.device.slot()) else { continue };
        let row =
            DutyRow { device: device.id.clone(), duty: duty.clone(), done_at: Some(fact.at.0), since: None };
        rows::keep_duty(tx, gateway, &row, fact.at).await?;
    }
    Ok(())
}

/// The local day of a moment: its name, its first moment and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Day {
    name: String,
    from: i64,
    to: i64,
}

fn day_of(at: CivilTime, utc_offset_min: i16) -> Day {
    let offset = i64::from(utc_offset_min) * MINUTE_MS;
    let from = at.0.saturating_add(offset).div_euclid(DAY_MS).saturating_mul(DAY_MS).saturating_sub(offset);
    let name = gateway_evidence::local(CivilTime(from), utc_offset_min);
    Day { name: name.chars().take(10).collect(), from, to: from.saturating_add(DAY_MS) }
}

/// Makes the digests whose time has come. `next`: when each site is to be looked at again, civil time; a site that is not in it is
/// looked at now.
pub async fn turn(app: &App, next: &mut BTreeMap<(String, String), i64>) -> anyhow::Result<()> {
    let now = app.clock.civil();
    for (at, gateways) in sites(app, &Scope::All).await? {
        if next.get(&at).is_some_and(|due| now.0 < *due) {
            continue;
        }
        let again = look(app, &at, &gateways, now).await.unwrap_or_else(|error| {
            tracing::error!(
                error = format!("{error:#}"),
                site = at.1,
                "the day's duties of a site could not be told"
            );
            now.0.saturating_add(TRY_AGAIN_MS)
        });
        next.insert(at, again);
    }
    Ok(())
}

/// Makes the digest of a site if its time has come; answers with when to look again.
async fn look(app: &App, at: &(String, String), gateways: &[String], now: CivilTime) -> anyhow::Result<i64> {
    // Nothing is known of it yet.
    let Some(offset) = offset_of(app, gateways).await? else { return Ok(now.0) };
    let day = day_of(now, offset);
    let morning = day.from.saturating_add(MORNING_MS);
    if now.0 < morning {
        return Ok(morning);
    }
    make(app, at, gateways, &day).await?;
    Ok(day.to.saturating_add(MORNING_MS))
}

async fn make(
    app: &App,
    (institution, site): &(String, String),
    gateways: &[String],
    day: &Day,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for gateway in gateways {
        lines.extend(told(app, gateway, day, true).await?);
    }
    let now = app.clock.civil().0;
    let mut tx = app.store.write().await?;
    if rows::is_made(&mut tx, institution, site, &day.name).await? {
        return Ok(());
    }
    let id = count_up(&mut tx, "digests").await?;
    rows::add(&mut tx, id, (institution, site, &day.name), now, &lines).await?;
    tx.commit().await?;
    if lines.is_empty() {
        return Ok(());
    }
    // Read afresh, with the institution's name, as every change is told.
    let made = app.store.digests(&Scope::Institution(institution.clone()), now).await?;
    for digest in made.into_iter().filter(|digest| digest.id == id) {
        app.hub.publish(Change::Digest(Box::new(digest)));
    }
    Ok(())
}

/// Today's duties of each site in the asker's scope as they stand now: what was told, whether it was done since, and what has
/// become overdue meanwhile. Sites without any are left out.
pub async fn today(app: &App, scope: &Scope) -> anyhow::Result<Vec<DigestRow>> {
    let now = app.clock.civil();
    let digests = app.store.digests(scope, now.0.saturating_sub(DAY_MS)).await?;
    let mut today = Vec::new();
    for ((institution, site), gateways) in sites(app, scope).await? {
        let Some(offset) = offset_of(app, &gateways).await? else { continue };
        let day = day_of(now, offset);
        let same =
            |row: &&DigestRow| row.institution == institution && row.site == site && row.day == day.name;
        let held = digests.iter().find(same);
        let mut lines = Vec::new();
        for gateway in &gateways {
            lines.extend(told(app, gateway, &day, held.is_some()).await?);
        }
        for line in held.iter().flat_map(|held| &held.lines) {
            let stands = |other: &DutyLine| {
                (&other.gateway, &other.device, &other.rule) == (&line.gateway, &line.device, &line.rule)
            };
            if !lines.iter().any(stands) && is_done(app, line, held.map_or(0, |held| held.at)).await? {
                lines.push(DutyLine { state: "done".to_owned(), alert: None, ..line.clone() });
            }
        }
        if !lines.is_empty() {
            let empty = DigestRow {
                id: 0,
                institution,
                institution_name: crate::store::Words::default(),
                site,
                day: day.name,
                at: now.0,
                lines: Vec::new(),
            };
            today.push(DigestRow { lines, ..held.cloned().unwrap_or(empty) });
        }
    }
    Ok(today)
}

/// Was a duty that is no longer due done, or is it somebody else's by now (a case, a pause, a rule that is gone)?
async fn is_done(app: &App, line: &DutyLine, told_at: i64) -> anyhow::Result<bool> {
    if let Some(n) = line.alert {
        return Ok(app.store.alert(n).await?.is_some_and(|alert| alert.state == "cleared"));
    }
    let clocks = ClockTable::new(app.store.clocks(&line.gateway).await?);
    let duties = app.store.duties(&line.gateway).await?;
    let row = duties.iter().find(|row| row.device == line.device && row.duty == line.duty);
    let at = row.and_then(|row| row.done_at).map(|at| clocks.civil(EngineTime(at), 0).0);
    Ok(at.is_some_and(|at| at >= told_at))
}

/// Gateways by (institution, site), each list in the order of their ids.
async fn sites(app: &App, scope: &Scope) -> sqlx::Result<BTreeMap<(String, String), Vec<String>>> {
    let mut sites: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (institution, site, gateway) in app.store.sites().await? {
        if scope.sees(&institution) {
            sites.entry((institution, site)).or_default().push(gateway);
        }
    }
    Ok(sites)
}

/// The offset from UTC of a site, by the first of its gateways that has shown a plan.
async fn offset_of(app: &App, gateways: &[String]) -> anyhow::Result<Option<i16>> {
    for gateway in gateways {
        if let Some(plan) = app.plans.newest(&app.store, gateway).await? {
            return Ok(Some(plan.utc_offset_min));
        }
    }
    Ok(None)
}

/// What is to be told of a gateway on a day. `due`: also what is only due in its course; on a day on which the site is closed, nothing
/// is.
async fn told(app: &App, gateway: &str, day: &Day, due: bool) -> anyhow::Result<Vec<DutyLine>> {
    let Some(plan) = app.plans.newest(&app.store, gateway).await? else { return Ok(Vec::new()) };
    if !plan.rules.iter().any(|rule| telling(&plan, rule) == Telling::Duty) {
        return Ok(Vec::new());
    }
    let calendar = plan.judging.as_ref().and_then(|judging| judging.calendar.as_ref());
    let closed = contact_due_ms(calendar, CivilTime(day.from), CivilTime(day.to)) == 0
        || app.store.is_declared_closed(gateway, day.from.saturating_add(MORNING_MS)).await?;
    if closed {
        return Ok(Vec::new());
    }
    let alerts = app.store.alerts_told(Telling::Duty.code(), Some(gateway)).await?;
    let duties = app.store.duties(gateway).await?;
    let clocks = ClockTable::new(app.store.clocks(gateway).await?);
    let mut lines = Vec::new();
    for rule in plan.rules.iter().filter(|rule| telling(&plan, rule) == Telling::Duty) {
        let Some(duty) = duty(&plan, rule) else { continue };
        let Some(device) = plan.devices.get(duty.device.slot()) else { continue };
        let alert = alerts.iter().find(|alert| alert.rule == rule.id && alert.device == device.id);
        if alert.is_some_and(is_silenced) {
            continue;
        }
        let row = duties.iter().find(|row| row.device == device.id && row.duty == duty.duty);
        let from = row.and_then(|row| row.done_at.or(row.since)).filter(|_| !duty.open_time);
        let due_at = from
            .and_then(|at| Some(at + clocks.offset_at(EngineTime(at))?))
            .map(|at| at.saturating_add(duty.every_ms));
        let in_its_course = due && due_at.is_some_and(|at| at < day.to);
        if alert.is_none() && !in_its_course {
            continue;
        }
        lines.push(DutyLine {
            gateway: gateway.to_owned(),
            device: device.id.clone(),
            device_name: device.name.clone().into(),
            rule: rule.id.clone(),
            duty: duty.duty.clone(),
            title: rule.text.title.clone().into(),
            action: rule.text.action.clone().into(),
            due_at,
            alert: alert.map(|alert| alert.n),
            state: if alert.is_some() { "overdue" } else { "due" }.to_owned(),
        });
    }
    Ok(lines)
}

/// Its reminders pause, or it is suppressed or out of service: nobody is reminded.
pub(crate) fn is_silenced(alert: &AlertRow) -> bool {
    matches!(alert.shown.as_str(), "shelved" | "suppressed_by_design" | "out_of_service")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_sites_own() {
        // 2026-11-22T16:10Z is ten past midnight in Beijing.
        let at = CivilTime(1_795_363_800_000);
        let day = day_of(at, 480);
        assert_eq!((day.name.as_str(), at.0 - day.from, day.to - day.from), ("2026-11-23", 600_000, DAY_MS));
        assert_eq!(day_of(at, 0).name, "2026-11-22");
    }
}
