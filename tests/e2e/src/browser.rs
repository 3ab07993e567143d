//! Headless Chromium, steered through chromedriver in plain WebDriver (W3C): a person with a keyboard.
//!
//! Fails on what a page must never do: log an error to the console, or ask for something that does not come.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::api::client;
use crate::ground::{Place, target};
use crate::process::Process;
use crate::wait::eventually;

/// How long a page may take to show something, on a busy machine.
pub const SHOWN_WITHIN: Duration = Duration::from_secs(20);
/// Name under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A running chromedriver.
pub struct Driver {
    // Held for its life only; its browsers die with it.
    _process: Process,
    url: String,
    place: PathBuf,
}

impl Driver {
    /// Starts chromedriver on a port it chooses.
    pub async fn start(place: &Place) -> Self {
        let program = Path::new("/usr/bin/chromedriver");
        assert!(program.exists(), "chromedriver is not there: run `cargo xtask ci --only packages`");
        let mut process = Process::start("chromedriver", program, ["--port=0"], place.path());
        loop {
            let line = process.line().await;
            if let Some(port) = line.split("started successfully on port ").nth(1) {
                let url = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
                return Self { _process: process, url, place: place.path().to_owned() };
            }
        }
    }

    /// Opens a window of `width` × `height` CSS pixels, with a profile of its own.
    pub async fn window(&self, name: &str, width: u32, height: u32) -> Window {
        let profile = self.place.join(format!("profile-{name}"));
        let arguments = [
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--disable-dev-shm-usage".into(),
            "--no-first-run".into(),
            "--no-default-browser-check".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--disable-default-apps".into(),
            "--hide-scrollbars".into(),
            "--force-color-profile=srgb".into(),
            "--lang=zh-CN".into(),
            format!("--user-data-dir={}", profile.display()),
            format!("--window-size={width},{height}"),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": arguments},
        }}});
        let client = client();
        let answer =
            call(&client, reqwest::Method::POST, &format!("{}/session", self.url), Some(&wanted)).await;
        let answer = answer.unwrap_or_else(|error| panic!("open a browser: {error}"));
        let session = answer["sessionId"].as_str().expect("a session has an id").to_owned();
        let window = Window { client, url: format!("{}/session/{session}", self.url), name: name.to_owned() };
        window.size(width, height).await;
        window
    }
}

/// One browser window.
pub struct Window {
    client: reqwest::Client,
    url: String,
    name: String,
}

impl Window {
    async fn try_call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        call(&self.client, method, &format!("{}/{path}", self.url), body).await
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.try_call(reqwest::Method::POST, path, Some(body)).await;
        answer.unwrap_or_else(|error| panic!("{}: {path} {body}: {error}", self.name))
    }

    /// Sets the size of the page (not of the window around it) exactly, as a device would have it.
    pub async fn size(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.post(
            "goog/cdp/execute",
            &json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}),
        )
        .await;
    }

    /// Goes to an address.
    pub async fn open(&self, url: &str) {
        self.post("url", &json!({"url": url})).await;
    }

    /// Where it is.
    pub async fn address(&self) -> String {
        let answer = self.try_call(reqwest::Method::GET, "url", None).await.unwrap_or_default();
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page; its `return` comes back.
    pub async fn script(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []})).await
    }

    /// The element that a CSS selector finds; waits for it.
    pub async fn find(&self, selector: &str) -> Element<'_> {
        let body = json!({"using": "css selector", "value": selector});
        let what = format!("`{selector}` in window {}", self.name);
        let id = eventually(&what, SHOWN_WITHIN, async || {
            match self.try_call(reqwest::Method::POST, "element", Some(&body)).await {
                Ok(found) => Ok(found[ELEMENT].as_str().expect("an element has an id").to_owned()),
                Err(error) => Err(format!(
                    "{error}\nat {}; the page says:\n{}",
                    self.address().await,
                    self.text().await
                )),
            }
        })
        .await;
        Element { window: self, selector: selector.to_owned(), id }
    }

    /// All the text that a person sees.
    pub async fn text(&self) -> String {
        let body = json!({"script": "return document.body ? document.body.innerText : ''", "args": []});
        let answer =
            self.try_call(reqwest::Method::POST, "execute/sync", Some(&body)).await.unwrap_or_default();
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a person sees this text.
    pub async fn shows(&self, text: &str) {
        let what = format!("`{text}` in window {}", self.name);
        eventually(&what, SHOWN_WITHIN, async || {
            let seen = self.text().await;
            if seen.contains(text) { Ok(()) } else { Err(format!("at {}:\n{seen}", self.address().await)) }
        })
        .await;
    }

    /// Presses keys, wherever the focus is. WebDriver's codes: `\u{E007}` Enter, `\u{E004}` Tab, `\u{E015}` down.
    pub async fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
            })
            .collect();
        self.post("actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}))
            .await;
    }

    /// Tabs until the element that has the focus matches the selector; panics after 80 stops, with all of them.
    pub async fn tab_to(&self, selector: &str) {
        let test = format!(
            "const e = document.activeElement; return [e.matches({0}), e.outerHTML.slice(0, 120)]",
            json!(selector)
        );
        let mut stops = Vec::new();
        for _ in 0..80 {
            self.press("\u{E004}").await;
            let answer = self.script(&test).await;
            if answer[0] == true {
                return;
            }
            stops.push(answer[1].to_string());
        }
        panic!("the keyboard does not get to `{selector}`; it stopped at\n{}", stops.join("\n"));
    }

    /// Writes a picture of the page to `target/screenshots/NAME.png`.
    pub async fn picture(&self, name: &str) {
        let answer = self.try_call(reqwest::Method::GET, "screenshot", None).await;
        let answer = answer.unwrap_or_else(|error| panic!("a picture of {name}: {error}"));
        let encoded = answer.as_str().expect("a picture in base64");
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        let folder = target().join("screenshots");
        std::fs::create_dir_all(&folder).expect("a folder can be made under target");
        std::fs::write(folder.join(format!("{name}.png")), bytes).expect("a picture can be written");
    }

    /// Panics if the page has logged an error or a request of it has failed since the last look.
    pub async fn assert_quiet(&self) {
        let entries = self.post("se/log", &json!({"type": "browser"})).await;
        let bad: Vec<&Value> =
            entries.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE").collect();
        assert!(bad.is_empty(), "window {} at {} logged {bad:#?}", self.name, self.address().await);
    }

    /// Wider than the window? A phone page must not be.
    pub async fn assert_fits(&self) {
        let answer = self
            .script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            .await;
        assert!(
            answer[0].as_i64() <= answer[1].as_i64(),
            "the page at {} is {} pixels wide in a window of {}",
            self.address().await,
            answer[0],
            answer[1]
        );
    }

    /// Closes it.
    pub async fn close(self) {
        self.try_call(reqwest::Method::DELETE, "", None).await.ok();
    }
}

/// One element of a page.
pub struct Element<'w> {
    window: &'w Window,
    selector: String,
    id: String,
}

impl Element<'_> {
    /// A click with the pointer. A page that is live may draw the element anew between finding and clicking: a person clicks what
    /// is there then.
    pub async fn click(&self) {
        let what = format!("a click on `{}` in window {}", self.selector, self.window.name);
        let mut id = self.id.clone();
        eventually(&what, SHOWN_WITHIN, async || {
            let path = format!("element/{id}/click");
            match self.window.try_call(reqwest::Method::POST, &path, Some(&json!({}))).await {
                Ok(_) => Ok(()),
                Err(error) if error.contains("stale element reference") => {
                    id = self.window.find(&self.selector).await.id;
                    Err(error)
                }
                Err(error) => panic!("{what}: {error}"),
            }
        })
        .await;
    }

    /// Types into it (or, for a file field, chooses the file of that path).
    pub async fn type_in(&self, text: &str) {
        self.window.post(&format!("element/{}/value", self.id), &json!({"text": text})).await;
    }

    /// The text that a person sees.
    pub async fn text(&self) -> String {
        let path = format!("element/{}/text", self.id);
        let answer = self.window.try_call(reqwest::Method::GET, &path, None).await.unwrap_or_default();
        answer.as_str().unwrap_or_default().to_owned()
    }

    /// An attribute, if it is there.
    pub async fn attribute(&self, name: &str) -> Option<String> {
        let path = format!("element/{}/attribute/{name}", self.id);
        let answer = self.window.try_call(reqwest::Method::GET, &path, None).await.ok()?;
        answer.as_str().map(ToOwned::to_owned)
    }
}

async fn call(
    client: &reqwest::Client,
    method: reqwest::Method,
    url: &str,
    body: Option<&Value>,
) -> Result<Value, String> {
    let mut request = client.request(method, url.trim_end_matches('/'));
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let answer: Value = response.json().await.map_err(|error| format!("{error:?}"))?;
    if status.is_success() {
        Ok(answer["value"].clone())
    } else {
        Err(format!("{}: {}", answer["value"]["error"], answer["value"]["message"]))
    }
}
