//! A gateway under test: site file written, enrolled, run, killed, run again.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::center::Center;
use crate::clock::Clock;
use crate::ground::{Place, program};
use crate::process::{Finished, Process, run};

/// A gateway, running or not.
pub struct Gateway {
    /// The program, while it runs.
    pub process: Option<Process>,
    /// Its id.
    pub id: String,
    /// Its epoch.
    pub epoch: u64,
    /// `http://127.0.0.1:PORT` of its status page.
    pub page: String,
    /// Port of its embedded broker, if it has one.
    pub mqtt_port: Option<u16>,
    name: String,
    site: PathBuf,
    data: PathBuf,
    folder: PathBuf,
    clock: Option<PathBuf>,
    extra: Vec<String>,
}

impl Gateway {
    /// Writes the site file, joins the center if there is one, and runs.
    pub async fn start(place: &Place, site: &str, center: Option<&Center>, clock: Option<&Clock>) -> Self {
        let mut gateway = Self::prepare(place, "gateway", site, center, clock).await;
        gateway.run().await;
        gateway
    }

    /// The same without running it yet.
    pub async fn prepare(
        place: &Place,
        name: &str,
        site: &str,
        center: Option<&Center>,
        clock: Option<&Clock>,
    ) -> Self {
        let gateway = Self {
            process: None,
            id: String::new(),
            epoch: 0,
            page: String::new(),
            mqtt_port: None,
            name: name.to_owned(),
            site: place.write(&format!("{name}.toml"), site),
            data: place.path().join(name),
            folder: place.path().to_owned(),
            clock: clock.map(|clock| clock.path().to_owned()),
            extra: Vec::new(),
        };
        if let Some(center) = center {
            let table: toml::Table = site.parse().expect("a site file is TOML");
            let id = table["site"]["id"].as_str().expect("a site has an id");
            let code = center.enrolment_code(id).await;
            gateway.enrol(&[&center.url, &code]).good();
        }
        gateway
    }

    /// `gateway enrol` with these arguments before its site and data.
    pub fn enrol(&self, how: &[&str]) -> Finished {
        let mut args: Vec<String> = std::iter::once(&"enrol").chain(how).map(ToString::to_string).collect();
        args.extend(["--site".to_owned(), text(&self.site), "--data".to_owned(), text(&self.data)]);
        run(&program("gateway"), args)
    }

    /// More arguments for `gateway run`.
    #[must_use]
    pub fn with(mut self, extra: &[&str]) -> Self {
        self.extra = extra.iter().map(ToString::to_string).collect();
        self
    }

    /// Runs it, and waits until it says that it is up.
    pub async fn run(&mut self) -> Value {
        self.launch();
        self.up().await
    }

    /// Starts it, and does not wait.
    pub fn launch(&mut self) {
        let mut args = vec!["run".to_owned(), text(&self.site), "--data".into(), text(&self.data)];
        args.extend(self.clock_args());
        args.extend(self.extra.iter().cloned());
        self.process = Some(Process::start(&self.name, &program("gateway"), args, &self.folder));
    }

    /// Waits until a launched one says that it is up.
    pub async fn up(&mut self) -> Value {
        let up = self.program().json().await;
        up["gateway"].as_str().expect("the gateway says its id").clone_into(&mut self.id);
        up["page"].as_str().unwrap_or_default().trim_end_matches('/').clone_into(&mut self.page);
        self.epoch = up["epoch"].as_u64().expect("the gateway says its epoch");
        self.mqtt_port = up["mqtt"].as_str().and_then(|address| address.rsplit(':').next()?.parse().ok());
        up
    }

    /// The running program.
    pub fn program(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway was started")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.program().kill();
        self.process = None;
    }

    /// Asks it to stop, and insists on exit code 0.
    pub fn stop(&mut self) {
        let status = self.program().stop();
        assert!(status.success(), "the gateway ended with {status}; its log:\n{}", self.program().log());
    }

    /// Its folder of state.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its site file.
    pub fn site(&self) -> &Path {
        &self.site
    }

    /// `/api/status` of its page.
    pub async fn status(&self) -> Result<Value, String> {
        let answer = crate::Api::new(&self.page).try_get("/api/status").await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(answer.status.to_string()) }
    }

    /// `/metrics` of its page.
    pub async fn metrics(&self) -> Metrics {
        Metrics::of(&self.page, "/metrics").await
    }

    fn clock_args(&self) -> Vec<String> {
        self.clock.iter().flat_map(|clock| ["--demo-clock".to_owned(), text(clock)]).collect()
    }
}

/// `gateway` as a command line.
pub fn command<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Finished {
    run(&program("gateway"), args)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Metrics in Prometheus text form.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Reads them.
    pub async fn of(base: &str, path: &str) -> Self {
        let answer =
            crate::Api::new(base).try_get(path).await.unwrap_or_else(|error| panic!("{base}{path}: {error}"));
        let text =
            answer.body.as_str().unwrap_or_else(|| panic!("{base}{path} is not text: {}", answer.body));
        Self(text.to_owned())
    }

    /// Sum of all series whose name begins with `name` and whose labels hold all of `labels`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.0
            .lines()
            .filter(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.0
    }
}
