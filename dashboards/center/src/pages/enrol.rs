//! How a gateway joins: an institution, a site, and a code to carry there.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::Deserialize;

use super::asker::{Asker, Stop, page};
use super::texts::{Texts, fill};
use super::view::Shell;
use crate::app::{App, AppState};
use crate::auth::Viewer;
use crate::enrolment::{self, Address, NewInstitution};
use crate::error::ApiError;
use crate::store::InstitutionRow;

const HERE: &str = "/gateways/join";
/// Edge of the drawn code, px.
const QR_EDGE: u32 = 240;

/// The page.
#[derive(Debug, Template)]
#[template(path = "join.html")]
struct JoinPage {
    s: Shell,
    t: &'static Texts,
    institutions: Vec<InstitutionRow>,
    /// Those that were entered, to be chosen again.
    townships: Vec<String>,
    chosen: String,
    site: String,
    refusal: Option<String>,
    code: Option<Code>,
}

#[derive(Debug)]
struct Code {
    typed: String,
    command: String,
    expires: String,
    /// SVG, made here from the code: safe as it is.
    picture: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JoinForm {
    csrf: String,
    institution: String,
    site: String,
    id: String,
    name_zh: String,
    name_en: String,
    kind: String,
    township: String,
}

/// `GET /gateways/join`.
pub(super) async fn show(State(app): State<AppState>, asker: Asker) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    viewer.admin().map_err(|error| asker.stop(error, "/gateways"))?;
    draw(&app, &asker, viewer, StatusCode::OK, &JoinForm::default(), Outcome::default()).await
}

/// `POST /gateways/join/institution`: adds one, then comes back to choose it.
pub(super) async fn add_institution(
    State(app): State<AppState>,
    asker: Asker,
    Form(form): Form<JoinForm>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, HERE))?;
    let (id, kind) = (form.id.trim().to_owned(), form.kind.clone());
    let asked = NewInstitution {
        id,
        name_zh: form.name_zh.clone(),
        name_en: form.name_en.clone(),
        kind,
        township: Some(form.township.clone()),
    };
    match enrolment::put_institution(&app, viewer, asked).await {
        Ok(_) => Ok(Redirect::to(HERE).into_response()),
        Err(error) => refuse(&app, &asker, viewer, &form, error).await,
    }
}

/// `POST /gateways/join`: the code is shown once, here.
pub(super) async fn make(
    State(app): State<AppState>,
    asker: Asker,
    Address(address): Address,
    Form(form): Form<JoinForm>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, HERE))?;
    match enrolment::make_code(&app, viewer, &form.institution, form.site.trim()).await {
        Ok(made) => {
            let address = address.unwrap_or_default();
            let t = asker.ctx.texts();
            let until = asker.ctx.moment(made.expires).short;
            let code = Code {
                picture: picture(&format!("{address}/enrol#{}", made.whole))
                    .map_err(|error| asker.stop(ApiError::Internal(error), HERE))?,
                command: format!("gateway enrol {address} {} --site SITE.toml", made.typed),
                typed: made.typed.to_string(),
                expires: fill(&t.join_expires, &[("until", &until)]),
            };
            draw(&app, &asker, viewer, StatusCode::OK, &form, Outcome { code: Some(code), refusal: None })
                .await
        }
        Err(error) => refuse(&app, &asker, viewer, &form, error).await,
    }
}

#[derive(Default)]
struct Outcome {
    code: Option<Code>,
    refusal: Option<String>,
}

async fn refuse(
    app: &App,
    asker: &Asker,
    viewer: &Viewer,
    form: &JoinForm,
    error: ApiError,
) -> Result<Response, Stop> {
    let (status, _, _) = error.parts();
    draw(app, asker, viewer, status, form, Outcome { refusal: Some(asker.words(&error)), code: None }).await
}

async fn draw(
    app: &App,
    asker: &Asker,
    viewer: &Viewer,
    status: StatusCode,
    form: &JoinForm,
    outcome: Outcome,
) -> Result<Response, Stop> {
    let institutions =
        app.store.institutions(&viewer.scope()).await.map_err(|error| asker.stop(error, "/gateways"))?;
    let mut townships: Vec<String> = institutions.iter().filter_map(|row| row.township.clone()).collect();
    townships.sort();
    townships.dedup();
    let s = asker.shell_at("gateways", HERE.to_owned());
    let drawn = JoinPage {
        t: s.ctx.texts(),
        s,
        townships,
        institutions,
        chosen: form.institution.clone(),
        site: form.site.clone(),
        refusal: outcome.refusal,
        code: outcome.code,
    };
    Ok(page(status, &drawn))
}

fn picture(text: &str) -> anyhow::Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)?;
    let drawn = code.render::<svg::Color<'_>>().min_dimensions(QR_EDGE, QR_EDGE).quiet_zone(true).build();
    // The declaration belongs to a file of its own, not into a page.
    Ok(drawn.split_once("?>").map_or(drawn.clone(), |(_, drawing)| drawing.to_owned()))
}

/// The page with an institution, as an administrator first sees it.
#[cfg(test)]
pub(super) fn sample(s: Shell, t: &'static Texts) -> String {
    let name =
        crate::store::Words { zh: "西湖云栖酒店".to_owned(), en: "West Lake Yunqi Hotel".to_owned() };
    let row = InstitutionRow {
        id: "91330102MA27XY1234".to_owned(),
        name,
        kind: "hotel".to_owned(),
        township: Some("三墩镇".to_owned()),
    };
    let drawn = JoinPage {
        s,
        t,
        institutions: vec![row],
        townships: vec!["三墩镇".to_owned()],
        chosen: String::new(),
        site: String::new(),
        refusal: None,
        code: None,
    };
    drawn.render().unwrap()
}
