//! Sets the center up as a person would: through its public API, beginning with the one-time code it prints.
//!
//! What a second start needs (names, passwords, the API token) is kept in one file for the owner only, written
//! *before* the step it belongs to, so that a demo killed half-way finds its way back in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::clock::{random_hex, write_private};
use super::http::Client;
use super::site::Site;

/// What is kept between two starts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Passwords by user.
    pub(crate) users: BTreeMap<String, String>,
    /// Bearer token for `/api/v1`.
    pub(crate) token: Option<String>,
    /// Port of the console, taken again if it is free.
    pub(crate) port: Option<u16>,
    /// Civil time (ms) of the first start: the simulators' world began [`super::HISTORY_DAYS`] before it.
    #[serde(default)]
    pub(crate) began: i64,
    /// Civil time (ms) of the scenarios' scripted moment.
    #[serde(default)]
    pub(crate) incident: i64,
    /// Gateway id by site, once enrolled.
    pub(crate) gateways: BTreeMap<String, String>,
}

/// Sets up users, institutions and tokens; handles the first person's login.
pub(crate) const ADMIN: &str = "admin";
/// Works the console: receives, dispatches, closes.
pub(crate) const DUTY: &str = "duty";
/// Reviews what others dispatched.
pub(crate) const REVIEWER: &str = "reviewer";

impl Kept {
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = path(folder);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        write_private(&path(folder), &serde_json::to_vec_pretty(self)?)
    }

    /// A user's password, made and kept when there is none yet.
    fn password(&mut self, user: &str, folder: &Path) -> Result<String> {
        if let Some(password) = self.users.get(user) {
            return Ok(password.clone());
        }
        let password = random_hex(12)?;
        self.users.insert(user.to_owned(), password.clone());
        self.save(folder)?;
        Ok(password)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("demo.json")
}

/// The name under which an institution's people log in.
pub(crate) fn unit_user(site: &Site) -> String {
    format!("{}-unit", site.name)
}

/// Makes everything that is not there yet. Answers with a client of the administrator.
pub(crate) fn center(kept: &mut Kept, folder: &Path, up: &Value, sites: &[Site]) -> Result<Client> {
    let console = up["console"].as_str().context("the center says where its console is")?;
    let password = kept.password(ADMIN, folder)?;
    if let Some(code) = up["setup_code"].as_str() {
        Client::new(console)
            .post("/api/v1/setup", &json!({"code": code, "user": ADMIN, "password": password}))?
            .json()
            .context("set the center up with its one-time code")?;
    }
    let admin = log_in(console, ADMIN, &password)?;
    for (user, role) in [(DUTY, "duty_officer"), (REVIEWER, "reviewer")] {
        let password = kept.password(user, folder)?;
        make(&admin, "/api/v1/users", &json!({"user": user, "password": password, "role": role}))?;
    }
    for site in sites {
        let institution = site.institution()?;
        make(
            &admin,
            "/api/v1/institutions",
            &json!({"id": institution, "name_zh": site.title("zh"), "name_en": site.title("en"), "kind": site.kind}),
        )?;
        let user = unit_user(site);
        let password = kept.password(&user, folder)?;
        make(
            &admin,
            "/api/v1/users",
            &json!({"user": user, "password": password, "role": "institution", "institution": institution}),
        )?;
    }
    if kept.token.is_none() {
        let answer =
            admin.post("/api/v1/tokens", &json!({"name": "demo"}))?.json().context("make an API token")?;
        kept.token = Some(answer["token"].as_str().context("the answer holds a token")?.to_owned());
        kept.save(folder)?;
    }
    Ok(admin)
}

/// Opens a session. The client carries its cookie and CSRF token.
fn log_in(console: &str, user: &str, password: &str) -> Result<Client> {
    let mut client = Client::new(console);
    let answer = client.post("/api/v1/login", &json!({"user": user, "password": password}))?;
    let body = answer.json().with_context(|| format!("log in as {user}"))?;
    client.headers.push(("Cookie".to_owned(), answer.cookies()));
    if let Some(csrf) = body["csrf"].as_str() {
        client.headers.push(("X-CSRF-Token".to_owned(), csrf.to_owned()));
    }
    Ok(client)
}

/// Makes something; that it is there already is as good.
fn make(client: &Client, path: &str, body: &Value) -> Result<()> {
    let answer = client.post(path, body)?;
    match answer.status {
        200..=299 | 409 => Ok(()),
        status => bail!("POST {path}: {status} {}", answer.text()),
    }
}

/// A one-time code with which one gateway may join.
pub(crate) fn enrolment_code(admin: &Client, site: &Site) -> Result<String> {
    let body = json!({"institution": site.institution()?, "site": site.id()?});
    let answer = admin.post("/api/v1/enrolment-codes", &body)?.json().context("make an enrolment code")?;
    Ok(answer["code"].as_str().context("the answer holds a code")?.to_owned())
}
