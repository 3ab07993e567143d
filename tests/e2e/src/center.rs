//! The center under test: started, set up through its public API, killed, started again.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::api::Api;
use crate::clock::Clock;
use crate::ground::{Place, program};
use crate::process::Process;

/// Everybody's password in a test.
pub const PASSWORD: &str = "correct horse battery staple";
/// The institution of most tests.
pub const INSTITUTION: &str = "913300000000000191";

/// A running center.
pub struct Center {
    /// The program.
    pub process: Process,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    data: PathBuf,
    folder: PathBuf,
    clock: Option<PathBuf>,
    config: Option<PathBuf>,
    token: String,
}

impl Center {
    /// Starts an empty center and sets it up: an administrator with a token, a duty officer `duty`, a reviewer
    /// `reviewer`, one institution and its person `unit`.
    pub async fn start(place: &Place, clock: Option<&Clock>) -> Self {
        Self::set_up(place, clock, None).await
    }

    /// The same with settings from a file.
    pub async fn start_with(place: &Place, settings: &str) -> Self {
        let config = place.write("center.toml", settings);
        Self::set_up(place, None, Some(config)).await
    }

    async fn set_up(place: &Place, clock: Option<&Clock>, config: Option<PathBuf>) -> Self {
        let data = place.path().join("center");
        let clock = clock.map(|clock| clock.path().to_owned());
        let (process, up) =
            launch(&data, place.path(), clock.as_deref(), config.as_deref(), "127.0.0.1:0").await;
        let url =
            up["console"].as_str().expect("the center says where it is").trim_end_matches('/').to_owned();
        let code = up["setup_code"].as_str().expect("an empty center has a set-up code");
        Api::new(&url)
            .post("/api/v1/setup", &json!({"code": code, "user": "admin", "password": PASSWORD}))
            .await;
        let admin = Api::log_in(&url, "admin", PASSWORD).await;
        let token = admin.post("/api/v1/tokens", &json!({"name": "e2e"})).await;
        let token = token["token"].as_str().expect("a token").to_owned();
        admin
            .post(
                "/api/v1/institutions",
                &json!({"id": INSTITUTION, "name_zh": "西湖旅馆", "name_en": "West Lake Inn", "kind": "hotel"}),
            )
            .await;
        for (user, role) in [("duty", "duty_officer"), ("reviewer", "reviewer"), ("unit", "institution")] {
            let mut body = json!({"user": user, "password": PASSWORD, "role": role});
            if role == "institution" {
                body["institution"] = INSTITUTION.into();
            }
            admin.post("/api/v1/users", &body).await;
        }
        Self { process, url, data, folder: place.path().to_owned(), clock, config, token }
    }

    /// One that nobody has set up yet, and its address.
    pub async fn unset(place: &Place, name: &str) -> (Process, String) {
        let (process, up) = launch(&place.path().join(name), place.path(), None, None, "127.0.0.1:0").await;
        let url = up["console"].as_str().expect("the center says where it is").to_owned();
        (process, url)
    }

    /// A client with the administrator's token.
    pub fn api(&self) -> Api {
        Api::bearer(&self.url, &self.token)
    }

    /// A session of one of the people.
    pub async fn person(&self, user: &str) -> Api {
        Api::log_in(&self.url, user, PASSWORD).await
    }

    /// Its folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A code with which the gateway of `site` may join.
    pub async fn enrolment_code(&self, site: &str) -> String {
        self.enrolment(site).await["code"].as_str().expect("a code").to_owned()
    }

    /// The same as its QR code has it: address and code in one.
    pub async fn enrolment_link(&self, site: &str) -> String {
        self.enrolment(site).await["link"].as_str().expect("a link").to_owned()
    }

    async fn enrolment(&self, site: &str) -> Value {
        self.api().post("/api/v1/enrolment-codes", &json!({"institution": INSTITUTION, "site": site})).await
    }

    /// Starts it again on its port after it was killed or stopped.
    pub async fn again(&mut self) {
        let (_, address) = self.url.split_once("://").expect("an address has a scheme");
        let (clock, config) = (self.clock.as_deref(), self.config.as_deref());
        let (process, up) = launch(&self.data, &self.folder, clock, config, address).await;
        assert!(up["setup_code"].is_null(), "a center that is set up gives no code: {up}");
        self.process = process;
    }
}

async fn launch(
    data: &Path,
    folder: &Path,
    clock: Option<&Path>,
    config: Option<&Path>,
    listen: &str,
) -> (Process, Value) {
    let mut args: Vec<String> =
        ["run", "--data", &data.to_string_lossy(), "--listen", listen, "--json"].map(String::from).to_vec();
    if let Some(clock) = clock {
        args.extend(["--demo-clock".to_owned(), clock.to_string_lossy().into_owned()]);
    }
    args.extend(config.map(|config| config.to_string_lossy().into_owned()));
    let mut process = Process::start("center", &program("center"), args, folder);
    let up = process.json().await;
    (process, up)
}
