//! The doors: log-in, first set-up, and the page that says why something cannot be shown.

use askama::Template;

use super::texts::Texts;
use super::view::Shell;

/// Log-in.
#[derive(Debug, Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage {
    pub(crate) s: Shell,
    pub(crate) t: &'static Texts,
    pub(crate) next: String,
    pub(crate) user: String,
    pub(crate) refusal: Option<String>,
    pub(crate) set_up: bool,
}

/// First set-up, with the one-time code.
#[derive(Debug, Template)]
#[template(path = "setup.html")]
pub(crate) struct SetupPage {
    pub(crate) s: Shell,
    pub(crate) t: &'static Texts,
    pub(crate) user: String,
    pub(crate) refusal: Option<String>,
    pub(crate) open: bool,
}

/// Something cannot be shown or was not done.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub(crate) struct ProblemPage {
    pub(crate) s: Shell,
    pub(crate) t: &'static Texts,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) code: String,
    pub(crate) back: String,
}
