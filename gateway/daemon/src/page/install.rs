//! The hour of installation, on a phone: who answers, what it reads, what a reference shows beside it, photos, and the word that a
//! device is accepted. The only forms of the gateway's own page.
//!
//! Who may: whoever entered the code of `gateway installer` (a cookie of this page, SameSite=Strict; forms of other origins are
//! refused). What is accepted goes the way of `gateway device placed` ([`crate::told`]). No script: the reading beside the form is a
//! frame that loads itself anew. Limits: [`BODY_MAX`] bytes of a form, texts as [`crate::told`] has them.
//!
//! Leaves out: unit ids and speeds. A device is re-addressed with the line to itself, by `gateway commission`.

use std::path::Path as FilePath;

use anyhow::Context as _;
use askama::Template;
use axum::Router;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, Form, Multipart, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use gateway_model::{CivilTime, Text};

use super::install_words::InstallWords;
use super::installation::{Answers, DeviceRow, PointRow, View};
use super::words::{self, Lang, Words};
use super::{Asked, Page};
use crate::clock;
use crate::install::access::Entered;
use crate::install::photos::{self, PHOTO_MAX};
use crate::install::{Accepted, Comparison, Draft, PHOTOS_MAX, Verdict};
use crate::told::{Beside, TEXT_MAX, Told, What};

/// Forms to itself, pictures of its own, its own reading in a frame; nothing else.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; \
                   base-uri 'none'; frame-ancestors 'self'";
const COOKIE: &str = "installer";
/// A form with all its photos.
const BODY_MAX: usize = PHOTOS_MAX * PHOTO_MAX + (64 << 10);
/// Bytes of one field that is no photo.
const FIELD_MAX: usize = 2 * TEXT_MAX;

/// The routes.
pub(super) fn routes() -> Router<Page> {
    Router::new()
        .route("/install", get(front).post(enter))
        .route("/install/leave", post(leave))
        .route("/install/sheet", get(sheet))
        .route("/install/live/{id}", get(live))
        .route("/install/photo/{name}", get(photo))
        .route("/install/device/{id}", get(device).post(told).layer(DefaultBodyLimit::max(BODY_MAX)))
}

#[derive(Template)]
#[template(path = "install_enter.html")]
struct EnterPage {
    words: &'static InstallWords,
    lang: Lang,
    open: bool,
    error: String,
}

#[derive(Template)]
#[template(path = "install_list.html")]
struct ListPage<'a> {
    words: &'static InstallWords,
    lang: Lang,
    name: &'a str,
    simulated: bool,
    by: &'a str,
    view: &'a View,
}

#[derive(Template)]
#[template(path = "install_device.html")]
struct DevicePage<'a> {
    words: &'static InstallWords,
    lang: Lang,
    device: &'a DeviceRow,
    error: String,
    said: &'static str,
}

#[derive(Template)]
#[template(path = "install_live.html")]
struct LivePage<'a> {
    words: &'static InstallWords,
    quality: &'static Words,
    lang: Lang,
    device: &'a DeviceRow,
}

#[derive(Template)]
#[template(path = "install_sheet.html")]
struct SheetPage<'a> {
    words: &'static InstallWords,
    lang: Lang,
    name: &'a str,
    simulated: bool,
    gateway: String,
    view: &'a View,
    utc_offset_min: i16,
}

/// What all pages ask.
trait Shows {
    fn lang(&self) -> Lang;

    fn text<'t>(&self, text: &'t Text) -> &'t str {
        self.lang().pick(text)
    }

    fn found(&self, device: &DeviceRow) -> (&'static str, &'static str) {
        let words = InstallWords::of(self.lang());
        match device.answers {
            Answers::All => ("yes", words.found),
            Answers::Some => ("some", words.partly),
            Answers::None => ("no", words.missing),
            Answers::Waiting => ("some", words.waiting),
        }
    }

    /// How far the acceptance has come.
    fn stage(&self, device: &DeviceRow) -> (&'static str, &'static str) {
        let words = InstallWords::of(self.lang());
        match (&device.known.accepted, device.known.is_done()) {
            (Some(_), true) => ("yes", words.accepted),
            (Some(_), false) => ("some", words.changed),
            (None, _) => ("none", words.open),
        }
    }

    fn verdict(&self, comparison: &Comparison) -> (&'static str, &'static str) {
        let words = InstallWords::of(self.lang());
        match comparison.verdict() {
            Verdict::Within => ("yes", words.within),
            Verdict::Outside => ("no", words.outside),
            Verdict::Unstated => ("none", words.unstated),
        }
    }

    /// Four decimals are more than any of them shows.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what templates call")]
    fn rounded(&self, value: &f64) -> String {
        format!("{}", round(*value))
    }

    fn deviation(&self, comparison: &Comparison) -> String {
        comparison.deviation().map_or_else(|| "—".to_owned(), |off| format!("{:+}", round(off)))
    }
}

impl Shows for ListPage<'_> {
    fn lang(&self) -> Lang {
        self.lang
    }
}

impl Shows for DevicePage<'_> {
    fn lang(&self) -> Lang {
        self.lang
    }
}

impl Shows for LivePage<'_> {
    fn lang(&self) -> Lang {
        self.lang
    }
}

impl Shows for SheetPage<'_> {
    fn lang(&self) -> Lang {
        self.lang
    }
}

impl DevicePage<'_> {
    /// What was compared of a point so far.
    fn compared(&self, point: &PointRow) -> Option<&Comparison> {
        self.device.known.draft.compared.iter().find(|one| one.point == point.id)
    }

    fn outside(&self) -> bool {
        self.device.known.draft.compared.iter().any(|one| one.verdict() == Verdict::Outside)
    }
}

impl LivePage<'_> {
    #[expect(clippy::trivially_copy_pass_by_ref, clippy::unused_self, reason = "what templates call")]
    fn seconds(&self, age_ms: &i64) -> i64 {
        (age_ms / 1000).max(0)
    }
}

impl SheetPage<'_> {
    fn time(&self, at: Option<i64>) -> String {
        at.map_or_else(|| "—".to_owned(), |at| words::day_and_time(CivilTime(at), self.utc_offset_min))
    }

    /// What stands behind the slash: the device is the heading.
    #[expect(clippy::unused_self, reason = "what templates call")]
    fn field<'c>(&self, one: &'c Comparison) -> &'c str {
        one.point.rsplit('/').next().unwrap_or_default()
    }

    fn accepted(&self) -> Vec<(&DeviceRow, &Accepted)> {
        let one = |device| {
            let device: &DeviceRow = device;
            Some((device, device.known.accepted.as_ref()?))
        };
        self.view.devices.iter().filter_map(one).collect()
    }

    fn open(&self) -> Vec<&DeviceRow> {
        self.view.devices.iter().filter(|device| device.known.accepted.is_none()).collect()
    }
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Why a page is not shown.
enum Stop {
    /// Nobody has entered from there: to the door.
    Outside(Lang),
    /// A form of another origin.
    Foreign,
    Gone,
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Outside(lang) => Redirect::to(&format!("/install?lang={}", lang.asked())).into_response(),
            Self::Foreign => {
                (StatusCode::FORBIDDEN, "this form does not come from this page").into_response()
            }
            Self::Gone => StatusCode::NOT_FOUND.into_response(),
            Self::Failed(error) => {
                tracing::warn!(error = format!("{error:#}"), "the installation page");
                (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}")).into_response()
            }
        }
    }
}

type Shown = Result<Response, Stop>;

/// A page with the policy of this part.
fn html(status: StatusCode, page: &impl Template) -> Shown {
    let mut response = (status, Html(page.render().context("the page cannot be drawn")?)).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    Ok(response)
}

fn lang_of(asked: &Asked, headers: &HeaderMap) -> Lang {
    let accepts = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Lang::choose(asked.lang.as_deref(), accepts)
}

fn token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, token)| token)
}

/// A browser says where a form comes from; another site's is refused, whatever cookies came with it.
fn own_form(headers: &HeaderMap) -> Result<(), Stop> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map(|(_, host)| host);
    if host.is_some() && host == text(header::HOST) { Ok(()) } else { Err(Stop::Foreign) }
}

impl Page {
    /// Who works here, or to the door.
    fn installer(&self, headers: &HeaderMap, lang: Lang) -> Result<String, Stop> {
        let access = &self.0.entries.installation.access;
        let who = token(headers).and_then(|token| access.who(token, clock::instant()));
        who.ok_or(Stop::Outside(lang))
    }

    async fn view(&self) -> anyhow::Result<View> {
        let entries = &self.0.entries;
        let (now, site) = (entries.snapshot().await?, entries.site());
        Ok(View::of(&now, &site, &self.0.metrics.boards().told(), &entries.installation))
    }
}

async fn front(State(page): State<Page>, Query(asked): Query<Asked>, headers: HeaderMap) -> Shown {
    let lang = lang_of(&asked, &headers);
    let words = InstallWords::of(lang);
    let Ok(by) = page.installer(&headers, lang) else {
        let open = page.0.entries.installation.access.is_open(clock::instant());
        return html(StatusCode::OK, &EnterPage { words, lang, open, error: String::new() });
    };
    let view = page.view().await?;
    let (name, simulated) = (lang.pick(&page.0.name), page.0.simulated);
    html(StatusCode::OK, &ListPage { words, lang, name, simulated, by: &by, view: &view })
}

#[derive(serde::Deserialize)]
struct Code {
    code: String,
}

async fn enter(
    State(page): State<Page>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    Form(Code { code }): Form<Code>,
) -> Shown {
    own_form(&headers)?;
    let lang = lang_of(&asked, &headers);
    let words = InstallWords::of(lang);
    let error = match page.0.entries.installation.access.enter(&code, clock::instant())? {
        Entered::In(token, left) => {
            let cookie = format!(
                "{COOKIE}={token}; Path=/install; HttpOnly; SameSite=Strict; Max-Age={}",
                left.as_secs()
            );
            let to = Redirect::to(&format!("/install?lang={}", lang.asked()));
            return Ok(([(header::SET_COOKIE, cookie)], to).into_response());
        }
        Entered::Wrong(left) => format!("{}: {left}", words.wrong),
        Entered::Closed => String::new(),
    };
    let open = !error.is_empty();
    html(StatusCode::FORBIDDEN, &EnterPage { words, lang, open, error })
}

async fn leave(State(page): State<Page>, Query(asked): Query<Asked>, headers: HeaderMap) -> Shown {
    own_form(&headers)?;
    let lang = lang_of(&asked, &headers);
    page.installer(&headers, lang)?;
    page.0.entries.installation.access.close();
    Err(Stop::Outside(lang))
}

#[derive(serde::Deserialize)]
struct OfDevice {
    lang: Option<String>,
    said: Option<String>,
}

async fn device(
    State(page): State<Page>,
    Path(id): Path<String>,
    Query(asked): Query<OfDevice>,
    headers: HeaderMap,
) -> Shown {
    let lang = lang_of(&Asked { lang: asked.lang }, &headers);
    page.installer(&headers, lang)?;
    let words = InstallWords::of(lang);
    let said = match asked.said.as_deref() {
        Some("saved") => words.saved,
        Some("confirmed") => words.confirmed,
        Some(_) | None => "",
    };
    drawn(&page, &id, lang, String::new(), said).await
}

async fn drawn(page: &Page, id: &str, lang: Lang, error: String, said: &'static str) -> Shown {
    let view = page.view().await?;
    let device = view.device(id).ok_or(Stop::Gone)?;
    let status = if error.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    html(status, &DevicePage { words: InstallWords::of(lang), lang, device, error, said })
}

async fn live(
    State(page): State<Page>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Shown {
    let lang = lang_of(&asked, &headers);
    page.installer(&headers, lang)?;
    let view = page.view().await?;
    let device = view.device(&id).ok_or(Stop::Gone)?;
    html(StatusCode::OK, &LivePage { words: InstallWords::of(lang), quality: lang.words(), lang, device })
}

async fn sheet(State(page): State<Page>, Query(asked): Query<Asked>, headers: HeaderMap) -> Shown {
    let lang = lang_of(&asked, &headers);
    page.installer(&headers, lang)?;
    let view = page.view().await?;
    let utc_offset_min = page.0.entries.site().plan.utc_offset_min;
    let (name, simulated) = (lang.pick(&page.0.name), page.0.simulated);
    let gateway = page.0.gateway.to_string();
    let words = InstallWords::of(lang);
    html(StatusCode::OK, &SheetPage { words, lang, name, simulated, gateway, view: &view, utc_offset_min })
}

async fn photo(State(page): State<Page>, Path(name): Path<String>, headers: HeaderMap) -> Shown {
    page.installer(&headers, Lang::Zh)?;
    let data = page.0.entries.installation.data().to_owned();
    let read = tokio::task::spawn_blocking(move || photos::get(&data, &name)).await?;
    let (bytes, kind) = read?.ok_or(Stop::Gone)?;
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

/// What was typed on a device's page.
#[derive(Debug, Default)]
struct Typed {
    draft: Draft,
    /// Point, and what the reference shows.
    references: Vec<(String, String)>,
    /// Photos to take away.
    drops: Vec<String>,
    outside: bool,
    confirm: bool,
}

async fn told(
    State(page): State<Page>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    form: Multipart,
) -> Shown {
    own_form(&headers)?;
    let lang = lang_of(&asked, &headers);
    let by = page.installer(&headers, lang)?;
    let view = page.view().await?;
    let device = view.device(&id).ok_or(Stop::Gone)?;
    let mut typed = Typed { draft: device.known.draft.clone(), ..Typed::default() };
    let taken = read(&page, form, &mut typed).await;
    let kept = keep(&page, device, &mut typed).await;
    let confirm = typed.confirm;
    let ended = match taken.and(kept) {
        Ok(()) if confirm => confirmed(&page, device, typed, &by, lang).await,
        ended => ended,
    };
    match ended {
        Ok(()) => {
            let said = if confirm { "confirmed" } else { "saved" };
            let to = format!("/install/device/{id}?lang={}&said={said}", lang.asked());
            Ok(Redirect::to(&to).into_response())
        }
        Err(error) => drawn(&page, &id, lang, format!("{error:#}"), "").await,
    }
}

/// Reads a form; each photo is on disk before the next is read. What came before an error stays in `typed`.
async fn read(page: &Page, mut form: Multipart, typed: &mut Typed) -> anyhow::Result<()> {
    let data = page.0.entries.installation.data();
    let mut ended = Ok(());
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "photo" {
            let bytes = limited(field, PHOTO_MAX).await.with_context(photos::too_large)?;
            // Empty: a file field that nobody used. One that is refused leaves the others be.
            if !bytes.is_empty()
                && let Err(error) = picture(data, bytes, typed).await
            {
                ended = Err(error);
            }
            continue;
        }
        let bytes = limited(field, FIELD_MAX).await?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        match &*name {
            "place" => typed.draft.place = text,
            "serial" => typed.draft.serial = text,
            "review" => typed.draft.review = text,
            "drop" if !typed.drops.contains(&text) && typed.draft.photos.contains(&text) => {
                typed.drops.push(text);
            }
            "outside" => typed.outside = true,
            "do" => typed.confirm = text == "confirm",
            _ => match name.strip_prefix("ref:") {
                Some(point) if !text.is_empty() => {
                    // As phones write it.
                    typed.references.push((point.to_owned(), text.replace(['，', ','], ".")));
                }
                Some(_) | None => {}
            },
        }
    }
    ended
}

fn broken(error: &MultipartError) -> anyhow::Error {
    anyhow::anyhow!("{}", error.body_text())
}

/// The bytes of a field, of which there may be so many.
async fn limited(mut field: Field<'_>, max: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        anyhow::ensure!(bytes.len() + chunk.len() <= max, "at most {max} bytes");
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// One more photo of the draft.
async fn picture(data: &FilePath, bytes: Vec<u8>, typed: &mut Typed) -> anyhow::Result<()> {
    anyhow::ensure!(
        typed.draft.photos.len() - typed.drops.len() < PHOTOS_MAX,
        "一台最多 {PHOTOS_MAX} 张照片 at most {PHOTOS_MAX} photos"
    );
    let data = data.to_owned();
    let hash = tokio::task::spawn_blocking(move || photos::put(&data, &bytes)).await??;
    if !typed.draft.photos.contains(&hash) {
        typed.draft.photos.push(hash);
    }
    Ok(())
}

/// Puts what was typed beside what is shown, and keeps it as a draft.
async fn keep(page: &Page, device: &DeviceRow, typed: &mut Typed) -> anyhow::Result<()> {
    let entries = &page.0.entries;
    let now = entries.snapshot().await?;
    let mut ended = Ok(());
    for (point, reference) in std::mem::take(&mut typed.references) {
        match entries.beside(&now, &device.id, &Beside { point, shown: None, reference }) {
            Ok(comparison) => {
                let compared = &mut typed.draft.compared;
                compared.retain(|one| one.point != comparison.point);
                compared.push(comparison);
            }
            Err(error) => ended = Err(error),
        }
    }
    typed.draft.photos.retain(|photo| !typed.drops.contains(photo));
    entries.installation.draft(&device.id, typed.draft.clone())?;
    for photo in &typed.drops {
        entries.installation.discard(photo)?;
    }
    ended
}

async fn confirmed(
    page: &Page,
    device: &DeviceRow,
    typed: Typed,
    by: &str,
    lang: Lang,
) -> anyhow::Result<()> {
    let words = InstallWords::of(lang);
    let draft = typed.draft;
    anyhow::ensure!(matches!(device.answers, Answers::All | Answers::Some), words.unseen_stop);
    anyhow::ensure!(!draft.place.is_empty() && !draft.serial.is_empty(), words.place_stop);
    let outside = draft.compared.iter().any(|one| one.verdict() == Verdict::Outside);
    anyhow::ensure!(!outside || typed.outside, words.outside_stop);
    let beside =
        |one: Comparison| Beside { point: one.point, shown: Some(one.shown), reference: one.reference };
    let what = What::Placed {
        serial: draft.serial,
        place: draft.place,
        by: by.to_owned(),
        review: Some(draft.review).filter(|review| !review.is_empty()),
        compared: draft.compared.into_iter().map(beside).collect(),
        photos: draft.photos,
    };
    page.0.entries.take(&Told { device: device.id.clone(), what }).await
}
