//! Who may join: institutions, and the codes with which their gateways come in.
//!
//! Promises: a code works once, for 15 minutes of real time, and names its institution and site; making one is an entry
//! of the audit log. Leaves out: the gateway's side of first contact (`http::gateway`).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use gateway_wire::EnrolCode;
use serde::Deserialize;

use crate::app::{App, AppState};
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::keys::{hashed, random};
use crate::store::{InstitutionRow, Words, accounts, audit};

/// An enrolment code is good for this long, real ms.
const CODE_LIFE_MS: i64 = 15 * 60_000;
/// Longest text of one field, bytes.
const FIELD_MAX: usize = 200;

/// An institution as somebody enters it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewInstitution {
    /// Its id: where there is one, the unified social credit code.
    pub id: String,
    /// Its Chinese name.
    pub name_zh: String,
    /// Its English name.
    pub name_en: String,
    /// `hotel`, `clinic`, `hospital`, …
    pub kind: String,
    /// Township or street: sites that fall silent together are looked for in each. Left out, it stays as it is; empty, it is
    /// taken away.
    #[serde(default)]
    pub township: Option<String>,
}

/// A code that was just made. The secret in it is stored nowhere else.
#[derive(Debug, Clone)]
pub struct NewCode {
    /// As typed.
    pub typed: EnrolCode,
    /// With the whole hash of the center's key: for the QR code.
    pub whole: EnrolCode,
    /// Until when it works, real ms.
    pub expires: i64,
}

/// Adds an institution or renames one.
pub async fn put_institution(
    app: &App,
    viewer: &Viewer,
    asked: NewInstitution,
) -> Result<InstitutionRow, ApiError> {
    viewer.admin()?;
    for text in [&asked.id, &asked.name_zh, &asked.name_en, &asked.kind] {
        if text.trim().is_empty() || text.len() > FIELD_MAX {
            return Err(ApiError::invalid(
                "institution",
                "各项须为1至200字节。",
                "Each field has 1 to 200 bytes.",
            ));
        }
    }
    let township = asked.township.map(|text| text.trim().to_owned());
    if township.as_ref().is_some_and(|text| text.len() > FIELD_MAX) {
        return Err(ApiError::invalid(
            "township",
            "乡镇（街道）不能超过200字节。",
            "A township has at most 200 bytes.",
        ));
    }
    let row = InstitutionRow {
        township,
        id: asked.id,
        name: Words { zh: asked.name_zh, en: asked.name_en },
        kind: asked.kind,
    };
    let now = app.clock.civil().0;
    let mut tx = app.store.write().await?;
    accounts::put_institution(&mut tx, &row, now).await?;
    audit::note(&mut tx, now, &viewer.user.id, "put_institution", &row.id).await?;
    tx.commit().await?;
    Ok(InstitutionRow { township: row.township.filter(|text| !text.is_empty()), ..row })
}

/// Makes a code for a gateway of that site.
pub async fn make_code(
    app: &App,
    viewer: &Viewer,
    institution: &str,
    site: &str,
) -> Result<NewCode, ApiError> {
    viewer.admin()?;
    if site.trim().is_empty() || site.len() > FIELD_MAX {
        return Err(ApiError::invalid("site", "请填写场所编号。", "Name the site."));
    }
    let center = app.key.verifying_key();
    let typed = EnrolCode::new(random(), &center);
    let expires = app.clock.real() + CODE_LIFE_MS;
    let mut tx = app.store.write().await?;
    if !accounts::has_institution(&mut tx, institution).await? {
        return Err(ApiError::invalid("institution", "没有该单位。", "There is no such institution."));
    }
    accounts::add_code(&mut tx, &hashed(&typed.secret), institution, site, expires).await?;
    let about = format!("{institution} {site}");
    audit::note(&mut tx, app.clock.civil().0, &viewer.user.id, "enrolment_code", &about).await?;
    tx.commit().await?;
    Ok(NewCode { whole: typed.whole(&center), typed, expires })
}

/// The address by which whoever asks reaches this center, without a slash at the end; `None` where nothing tells it.
#[derive(Debug, Clone)]
pub struct Address(pub Option<String>);

impl FromRequestParts<AppState> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Infallible> {
        Ok(Self(address(app, parts)))
    }
}

/// See [`Address`]. HTTP/2 carries the host in the address of the request, HTTP/1 in a header.
pub fn address(app: &App, parts: &Parts) -> Option<String> {
    if let Some(url) = &app.config.public_url {
        return Some(url.trim_end_matches('/').to_owned());
    }
    let header = || parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(Authority::as_str).or_else(header)?;
    Some(format!("{}://{host}", if app.config.over_tls() { "https" } else { "http" }))
}
