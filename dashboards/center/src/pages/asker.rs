//! Who asks for a page, in which language, and what they get when it cannot be shown.

use askama::Template;
use std::fmt::Write as _;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use center_casebook::Role;

use super::account::ProblemPage;
use super::format::Zone;
use super::texts::Lang;
use super::view::{Ctx, Person, Shell};
use crate::app::AppState;
use crate::auth::{MaybeViewer, Viewer, cookie};
use crate::error::ApiError;

const LANG_COOKIE: &str = "nonsite_lang";
/// As the rest of the center, and previews of photos that a person has just chosen (`blob:`).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Whoever asks.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) ctx: Ctx,
    pub(super) viewer: Option<Viewer>,
    path: String,
    query: String,
}

/// What is answered instead of the page that was asked for.
#[derive(Debug)]
pub(super) enum Stop {
    /// Log in first, then come back here.
    Login(String),
    /// There is another page for you.
    Away(&'static str),
    /// It failed or is refused.
    Problem {
        /// As whom and in which language it is said.
        shell: Box<Shell>,
        /// What.
        error: ApiError,
        /// Where to go from there.
        back: String,
    },
}

impl FromRequestParts<AppState> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, ApiError> {
        let MaybeViewer(viewer) = MaybeViewer::from_request_parts(parts, app).await?;
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self {
            ctx: Ctx {
                lang: language(query, &parts.headers),
                zone: Zone::BEIJING,
                now: app.clock.civil().0,
                simulated: app.clock.simulated(),
            },
            viewer,
            path: parts.uri.path().to_owned(),
            query: without_lang(query),
        })
    }
}

impl Asker {
    /// The frame of a page at the address asked for.
    pub(super) fn shell(&self, here: &'static str) -> Shell {
        let question = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        self.shell_at(here, format!("{}{question}", self.path))
    }

    /// The frame of the page at another address: what a refused form is answered with.
    pub(super) fn shell_at(&self, here: &'static str, self_path: String) -> Shell {
        let join = if self_path.contains('?') { '&' } else { '?' };
        Shell {
            ctx: self.ctx,
            here,
            user: self.viewer.as_ref().map(|viewer| Person::new(&viewer.user, self.ctx.texts())),
            csrf: self.viewer.as_ref().map_or_else(String::new, |viewer| viewer.csrf().to_owned()),
            self_link: format!("{self_path}{join}"),
            self_path,
        }
    }

    /// Somebody of the center; the unit's people have pages of their own.
    pub(super) fn of_center(&self) -> Result<&Viewer, Stop> {
        let viewer = self.known()?;
        if viewer.user.role == Role::Institution { Err(Stop::Away("/unit")) } else { Ok(viewer) }
    }

    /// Somebody of a unit.
    pub(super) fn of_unit(&self) -> Result<&Viewer, Stop> {
        let viewer = self.known()?;
        if viewer.user.role == Role::Institution { Ok(viewer) } else { Err(Stop::Away("/")) }
    }

    /// Anybody with an account.
    pub(super) fn known(&self) -> Result<&Viewer, Stop> {
        let back =
            if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) };
        self.viewer.as_ref().ok_or(Stop::Login(back))
    }

    /// Says why not, on a page of its own.
    pub(super) fn stop(&self, error: impl Into<ApiError>, back: &str) -> Stop {
        let shell = Box::new(self.shell_at("", back.to_owned()));
        Stop::Problem { shell, error: error.into(), back: back.to_owned() }
    }

    /// What a refusal says, in the asker's language. Our own failures are logged here; their cause is not shown.
    pub(super) fn words(&self, error: &ApiError) -> String {
        if let ApiError::Internal(cause) = error {
            tracing::error!(error = format!("{cause:#}"), "a page failed");
        }
        error.parts().2.pick(self.ctx.lang.is_english()).to_owned()
    }
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Login(back) if back == "/" => Redirect::to("/login").into_response(),
            Self::Login(back) => Redirect::to(&format!("/login?next={}", encode(&back))).into_response(),
            Self::Away(to) => Redirect::to(to).into_response(),
            Self::Problem { shell, error, back } => {
                if let ApiError::Internal(cause) = &error {
                    tracing::error!(error = format!("{cause:#}"), "a page failed");
                }
                let (status, code, words) = error.parts();
                let t = shell.ctx.texts();
                let title = if status.is_server_error() || status == StatusCode::NOT_FOUND {
                    t.error_title.clone()
                } else {
                    t.refused_title.clone()
                };
                let text = words.pick(shell.ctx.lang.is_english()).to_owned();
                page(status, &ProblemPage { s: *shell, t, title, text, code: code.to_owned(), back })
            }
        }
    }
}

/// A drawn page.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a template failed");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// On every page: the policy, and the language chosen by `?lang=` kept for the next page.
pub(super) async fn frame(request: axum::extract::Request, next: Next) -> Response {
    let chosen = request.uri().query().and_then(asked_lang);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    if let Some(lang) = chosen {
        let value =
            format!("{LANG_COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly", lang.code());
        headers.append(
            header::SET_COOKIE,
            HeaderValue::try_from(value).expect("a language code is plain ASCII"),
        );
    }
    response
}

/// `?lang=`, then the cookie, then what the browser prefers, then Chinese.
fn language(query: &str, headers: &HeaderMap) -> Lang {
    let prefers = || {
        headers
            .get(header::ACCEPT_LANGUAGE)?
            .to_str()
            .ok()?
            .split(',')
            .find_map(|entry| Lang::parse(entry.split(';').next()?))
    };
    asked_lang(query)
        .or_else(|| Lang::parse(cookie(headers, LANG_COOKIE)?))
        .or_else(prefers)
        .unwrap_or(Lang::Zh)
}

fn asked_lang(query: &str) -> Option<Lang> {
    query.split('&').find_map(|pair| Lang::parse(pair.strip_prefix("lang=")?))
}

fn without_lang(query: &str) -> String {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("lang="))
        .collect::<Vec<_>>()
        .join("&")
}

/// A path of this center to go back to; anything that could lead elsewhere becomes the first page.
pub(super) fn own_path(path: &str) -> String {
    let plain = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains(['\\', '\r', '\n'])
        && path.bytes().all(|c| c.is_ascii_graphic());
    if plain { path.to_owned() } else { "/".to_owned() }
}

/// For a value in a query.
fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_language_is_asked_for_then_remembered_then_preferred_then_chinese() {
        let both = headers(&[(header::COOKIE, "a=b; nonsite_lang=en"), (header::ACCEPT_LANGUAGE, "zh-CN")]);
        assert_eq!(language("step=open&lang=zh", &both), Lang::Zh);
        assert_eq!(language("step=open", &both), Lang::En);
        assert_eq!(
            language("", &headers(&[(header::ACCEPT_LANGUAGE, "de;q=1, en-GB;q=0.8, zh;q=0.5")])),
            Lang::En
        );
        assert_eq!(language("lang=de", &headers(&[(header::ACCEPT_LANGUAGE, "de")])), Lang::Zh);
        assert_eq!(without_lang("step=open&lang=en"), "step=open");
    }

    #[test]
    fn going_back_never_leads_elsewhere() {
        for (path, to) in [
            ("/alerts?state=all", "/alerts?state=all"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil", "/"),
            ("", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
        ] {
            assert_eq!(own_path(path), to, "{path:?}");
        }
        assert_eq!(encode("/cases/7?step=open"), "/cases/7%3Fstep%3Dopen");
    }
}
