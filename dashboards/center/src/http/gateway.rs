//! The gateways' doors: identity, enrolment, records, orders, attachments.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gateway_model::{CivilTime, Epoch, GatewayId, InstitutionId, SiteId};
use gateway_wire::{
    EnrolAnswer, EnrolRequest, Enrolment, KeyHistory, SurveyRequest, Token, TokenError, VerifyingKey, hex,
    pack_orders,
};
use serde::Deserialize;
use serde_json::json;

use crate::app::{App, AppState};
use crate::attachments;
use crate::configuration;
use crate::enrolment;
use crate::error::{ApiError, words};
use crate::ingest::{self, Manner};
use crate::keys::hashed;
use crate::metrics::Metrics;
use crate::project::{Changes, sign_of_life};
use crate::receipt;
use crate::store::gateways::{self, Enrolled};
use crate::store::{Tx, accounts, audit, keys};
use crate::succession;

/// How long a poll for orders waits for one, real time, …
const POLL: Duration = Duration::from_secs(30);
/// … and at most where a gateway on a metered line asks for longer: well below what counts as delayed.
const POLL_MAX: Duration = Duration::from_mins(1);
/// Orders of one answer.
const ORDERS_MAX: i64 = 64;
const NO_ORDERS: &[Vec<u8>] = &[];
const CBOR: &str = "application/cbor";
const COSE: &str = "application/cose; cose-type=\"cose-sign1\"";
const CBOR_SEQ: &str = "application/cbor-seq";

/// A gateway that showed a token of its key.
pub(super) struct Known(Enrolled);

/// Why a token was not accepted. The center's time is told, so that a gateway without a clock can set its own.
fn refuse(app: &App, code: &'static str) -> Response {
    Metrics::count(&app.metrics.tokens_refused);
    let body = json!({ "code": code, "server_time": app.clock.civil().0 });
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Nonsite")], Json(body)).into_response()
}

impl FromRequestParts<AppState> for Known {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Response> {
        let text = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.strip_prefix("Nonsite "))
            .ok_or_else(|| refuse(app, "token_missing"))?;
        let claimed = Token::claimed(text).map_err(|_| refuse(app, "token_malformed"))?;
        let mut enrolled = app
            .store
            .enrolled(&claimed.to_string())
            .await
            .map_err(|error| ApiError::from(error).into_response())?
            .ok_or_else(|| refuse(app, "gateway_unknown"))?;
        // The key in use, or one that has ended: then only what it sealed may still come.
        let mut shown = Err("token_signature");
        for (place, period) in enrolled.ring.periods().iter().enumerate().rev() {
            shown = check(app, &period.key, text, parts);
            if shown != Err("token_signature") {
                enrolled.former = enrolled.ring.periods().get(place + 1).map(|next| next.from);
                break;
            }
        }
        shown.map_err(|code| refuse(app, code))?;
        Ok(Self(enrolled))
    }
}

/// A token is good for this center's key or for the address it was sent to.
fn check(app: &App, key: &VerifyingKey, text: &str, parts: &Parts) -> Result<(), &'static str> {
    let own = hex(&app.key.verifying_key().fingerprint());
    let audiences = [Some(own), enrolment::address(app, parts)];
    let mut refusal = "token_audience";
    for audience in audiences.into_iter().flatten() {
        // Civil time, or real time for a gateway whose own clock is the system's.
        for now in [app.clock.civil(), CivilTime(app.clock.real())] {
            match Token::check(key, text, now, &audience) {
                Ok(_) => return Ok(()),
                // Virtual time runs ahead or behind while history is played in. Nothing there is evidence.
                Err(TokenError::Stale { .. }) if app.clock.simulated() => return Ok(()),
                Err(TokenError::Stale { .. }) => refusal = "token_stale",
                Err(TokenError::Audience(_)) => {}
                Err(TokenError::Record(_) | TokenError::Text) => return Err("token_signature"),
            }
        }
    }
    Err(refusal)
}

fn cbor(media_type: &'static str, bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, media_type)], bytes).into_response()
}

/// Who this center is and which TLS keys it shows, signed.
pub(super) async fn identity(State(app): State<AppState>) -> Response {
    cbor(COSE, app.identity.clone())
}

/// First contact: a code, once and in time, against the center's signed statement.
pub(super) async fn enrol(State(app): State<AppState>, body: Bytes) -> Result<Response, ApiError> {
    let request = EnrolRequest::open(&body).map_err(|error| {
        ApiError::Malformed(
            "malformed",
            words("注册请求无法解析。", &format!("The enrolment request cannot be read: {error}.")),
        )
    })?;
    let key = VerifyingKey::from_bytes(&request.gateway_key)
        .map_err(|_| ApiError::invalid("key", "网关公钥无效。", "The gateway's key is not usable."))?;
    let id = key.gateway_id().to_string();
    let now = app.clock.civil();
    let mut tx = app.store.write().await?;
    // Codes live in real time; a gateway whose answer was lost may ask again with the same code.
    let used =
        accounts::use_code(&mut tx, &hashed(&request.secret.to_ascii_uppercase()), &id, app.clock.real())
            .await?;
    let (institution, site) = used.ok_or_else(|| {
        ApiError::Conflict(
            "code",
            words("注册码无效、已使用或已过期。", "The enrolment code is wrong, used or expired."),
        )
    })?;
    if let Some(old) = request.replaces {
        return replace(app, tx, &request, old, (institution, site)).await;
    }
    let held = gateways::enrolled(&mut tx, &id).await?;
    let enrolled = held.unwrap_or_else(|| Enrolled {
        id: id.clone(),
        ring: key.into(),
        keys: Vec::new(),
        former: None,
        institution: institution.clone(),
        site: site.clone(),
        epoch_floor: 0,
    });
    gateways::add(&mut tx, &enrolled, now.0).await?;
    audit::note(&mut tx, now.0, &id, "enrol", &format!("{} {}", enrolled.institution, enrolled.site)).await?;
    tx.commit().await?;
    let statement = Enrolment {
        gateway_key: request.gateway_key,
        institution: InstitutionId(enrolled.institution),
        site: SiteId(enrolled.site),
        epoch_floor: Epoch(enrolled.epoch_floor),
        tls_keys: app.tls_keys.clone(),
        issued: now,
        gateway: None,
    };
    tracing::info!(gateway = id, "a gateway has joined");
    Ok(answer(&app, &statement, None))
}

fn answer(app: &App, statement: &Enrolment, history: Option<KeyHistory>) -> Response {
    let center_key = app.key.verifying_key().to_bytes();
    cbor(CBOR, EnrolAnswer { center_key, statement: statement.seal(&app.key), history }.encode())
}

/// A new box in the place of an old one, at the premises that the code is for.
async fn replace(
    app: AppState,
    mut tx: Tx,
    request: &EnrolRequest,
    old: GatewayId,
    (institution, site): (String, String),
) -> Result<Response, ApiError> {
    let held = gateways::enrolled(&mut tx, &old.to_string()).await?;
    let held = held.filter(|held| (&held.institution, &held.site) == (&institution, &site)).ok_or_else(|| {
        ApiError::Conflict(
            "replaces",
            words(
                "该场所没有这台网关：请核对网关编号和注册码。",
                "There is no such gateway at the premises of this code: check its id, and for which site the code was made.",
            ),
        )
    })?;
    let row = succession::replace(&mut tx, &app, request, &held).await?;
    let held = gateways::enrolled(&mut tx, &held.id).await?.ok_or(ApiError::NotFound)?;
    tx.commit().await?;
    let statement = Enrolment {
        gateway_key: request.gateway_key,
        institution: InstitutionId(institution),
        site: SiteId(site),
        epoch_floor: Epoch(row.from_epoch as u64 - 1),
        tls_keys: app.tls_keys.clone(),
        issued: app.clock.civil(),
        gateway: Some(old),
    };
    let history = keys::history(old, held.ring.first().to_bytes(), &held.keys, &app.key);
    Ok(answer(&app, &statement, history))
}

/// A piece of a configuration that was ordered, from a byte on.
pub(super) async fn configuration(
    State(app): State<AppState>,
    Known(_): Known,
    Path(sha256): Path<String>,
    Query(from): Query<From>,
) -> Result<Response, ApiError> {
    let piece = configuration::piece(&app, &sha256, from.from).await?;
    Ok(cbor("application/octet-stream", piece))
}

#[derive(Debug, Deserialize)]
pub(super) struct From {
    #[serde(default)]
    from: usize,
}

/// How the keys of a gateway followed each other, by its own word.
pub(super) async fn gateway_keys(State(app): State<AppState>, body: Bytes) -> Result<StatusCode, ApiError> {
    let history = KeyHistory::decode(&body).map_err(|error| {
        ApiError::Malformed(
            "malformed",
            words("密钥记录无法解析。", &format!("The keys cannot be read: {error}.")),
        )
    })?;
    succession::rotated(&app, &history).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
pub(super) struct Skip {
    #[serde(default)]
    skip: usize,
}

/// What the box before this one had sent.
pub(super) async fn predecessor(
    State(app): State<AppState>,
    Known(gateway): Known,
    Query(skip): Query<Skip>,
) -> Result<Response, ApiError> {
    if gateway.former.is_some() {
        return Err(ApiError::Forbidden);
    }
    let records = succession::predecessor(&app, &gateway, skip.skip).await?;
    Ok(cbor(CBOR_SEQ, gateway_wire::pack(&records)))
}

/// The beginning of a session: what is here, epoch by epoch, in pages.
pub(super) async fn session(
    State(app): State<AppState>,
    Known(gateway): Known,
    Query(manner): Query<Manner>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let line = manner.line(&gateway);
    let asked = SurveyRequest::decode(&body).map_err(|error| {
        ApiError::Malformed(
            "malformed",
            words("请求无法解析。", &format!("The question cannot be read: {error}.")),
        )
    })?;
    let session = match asked.session {
        None => app.sessions.begin(&line),
        Some(session) if app.sessions.holds(&line, session) => session,
        Some(_) => return Err(ingest::ended(&app)),
    };
    Ok(cbor(CBOR, receipt::survey(&app, &gateway, &asked, session).await?.encode()))
}

/// Records in, receipt out.
pub(super) async fn records(
    State(app): State<AppState>,
    Known(gateway): Known,
    Query(manner): Query<Manner>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type != Some(CBOR_SEQ) {
        return Err(ApiError::invalid(
            "media_type",
            "媒体类型须为 application/cbor-seq。",
            "Send application/cbor-seq.",
        ));
    }
    let receipt = ingest::take(&app, gateway, manner, body).await?;
    Ok(cbor(CBOR, receipt.encode()))
}

/// Where a gateway stands in its orders.
#[derive(Debug, Deserialize)]
pub(super) struct Standing {
    after: Option<String>,
    /// Seconds to wait for an order.
    wait: Option<u64>,
    /// Bytes used and allowed this month on a metered line.
    line: Option<String>,
}

impl Standing {
    /// `E/S`; nothing = from the beginning.
    fn parse(&self) -> Option<(i64, i64)> {
        let Some(text) = self.after.as_deref().filter(|text| !text.is_empty()) else { return Some((0, 0)) };
        pair(text).filter(|(epoch, seq)| *epoch >= 0 && *seq >= 0)
    }
}

/// `A/B`
fn pair(text: &str) -> Option<(i64, i64)> {
    let (a, b) = text.split_once('/')?;
    Some((a.parse().ok()?, b.parse().ok()?))
}

/// Orders after the last one carried out; waits for one. Asking is the sign of life.
pub(super) async fn orders(
    State(app): State<AppState>,
    Known(gateway): Known,
    Query(standing): Query<Standing>,
) -> Result<Response, ApiError> {
    let (epoch, seq) = standing
        .parse()
        .ok_or_else(|| ApiError::invalid("after", "after 格式为 E/S。", "after is written E/S."))?;
    if gateway.former.is_some() {
        return Err(ApiError::Forbidden);
    }
    if !app.carried_out(epoch, seq).await? {
        let text = "after 超出本中心可能下达的指令。";
        return Err(ApiError::invalid("after", text, "after names an order that no center can have given."));
    }
    let line = standing.line.as_deref().and_then(pair);
    alive(&app, &gateway, Said::Line(line)).await?;
    let wait = standing.wait.map_or(POLL, |seconds| Duration::from_secs(seconds).min(POLL_MAX));
    let until = tokio::time::Instant::now() + wait;
    loop {
        let ordered = app.ordered.notified();
        tokio::pin!(ordered);
        // Listens before it looks, so that an order made in between wakes it.
        ordered.as_mut().enable();
        let orders = app.store.orders_after(&gateway.id, epoch, seq, ORDERS_MAX).await?;
        if !orders.is_empty() {
            return Ok(cbor(CBOR, pack_orders(&orders)));
        }
        if tokio::time::timeout_at(until, ordered).await.is_err() {
            alive(&app, &gateway, Said::Nothing).await?;
            return Ok(cbor(CBOR, pack_orders(NO_ORDERS)));
        }
    }
}

/// What a gateway says of its line to the center.
enum Said {
    Nothing,
    /// Bytes used and allowed this month; `None` = it is not metered.
    Line(Option<(i64, i64)>),
}

async fn alive(app: &App, gateway: &Enrolled, said: Said) -> Result<(), ApiError> {
    let mut changes = Changes::default();
    let mut tx = app.store.write().await?;
    if let Said::Line(line) = said {
        gateways::set_line(&mut tx, &gateway.id, line).await?;
    }
    sign_of_life(&mut tx, app, &gateway.id, &mut changes).await?;
    tx.commit().await?;
    changes.publish(app).await;
    Ok(())
}

/// A picture or pack that a record names.
pub(super) async fn attachment(
    State(app): State<AppState>,
    Known(gateway): Known,
    Path(sha256): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    let number = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok())
    };
    let whole = body.len() as u64;
    let (offset, length) = (number("upload-offset").unwrap_or(0), number("upload-length").unwrap_or(whole));
    attachments::part(&app, &gateway, &sha256, (offset, length), body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How much of it is here.
pub(super) async fn attachment_held(
    State(app): State<AppState>,
    Known(gateway): Known,
    Path(sha256): Path<String>,
) -> Result<Json<attachments::Held>, ApiError> {
    Ok(Json(attachments::held(&app, &gateway.id, &sha256).await?))
}
