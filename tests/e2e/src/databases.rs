//! Databases that are not ours, on free ports and in the test's own folder: VictoriaMetrics and InfluxDB 1.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::ground::{Place, free_port};
use crate::process::Process;
use crate::wait::eventually;

/// How long one may take to answer, on a busy machine.
const UP_WITHIN: Duration = Duration::from_secs(30);

/// A database that runs.
pub struct Database {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    http: reqwest::Client,
    _process: Process,
}

impl Database {
    /// VictoriaMetrics: takes what InfluxDB 2 takes, and gives back every sample.
    pub async fn victoria_metrics(place: &Place) -> Self {
        let (port, data) = (free_port(), place.folder("victoria-metrics-data"));
        let args = [
            format!("-httpListenAddr=127.0.0.1:{port}"),
            format!("-storageDataPath={}", data.display()),
            "-retentionPeriod=1".to_owned(),
        ];
        Self::start(place, "victoria-metrics", "/usr/bin/victoria-metrics", &args, port, "/health").await
    }

    /// InfluxDB 1 with one database.
    pub async fn influxdb_1(place: &Place, database: &str) -> Self {
        let (port, rpc) = (free_port(), free_port());
        let folder = |name: &str| place.folder(&format!("influxdb-{name}")).display().to_string();
        let config = place.write(
            "influxdb.conf",
            &format!(
                "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n[meta]\ndir = \"{}\"\n[data]\ndir = \"{}\"\n\
                 wal-dir = \"{}\"\n[monitor]\nstore-enabled = false\n[http]\nbind-address = \"127.0.0.1:{port}\"\n",
                folder("meta"),
                folder("data"),
                folder("wal"),
            ),
        );
        let args = ["-config".to_owned(), config.display().to_string()];
        let this = Self::start(place, "influxdb", "/usr/bin/influxd", &args, port, "/ping").await;
        let made = this.post("/query", &[("q", &format!("CREATE DATABASE {database}"))]).await;
        assert!(made.get("error").is_none(), "{made}");
        this
    }

    async fn start(
        place: &Place,
        name: &str,
        program: &str,
        args: &[String],
        port: u16,
        health: &str,
    ) -> Self {
        let program = Path::new(program);
        assert!(program.exists(), "{name} is not there: run `cargo xtask ci --only packages`");
        let process = Process::start(name, program, args, place.path());
        // The provider may have been installed by another test of this process.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().expect("a client without roots of its own");
        let url = format!("http://127.0.0.1:{port}");
        eventually(&format!("{name} answers"), UP_WITHIN, async || {
            let answer = http.get(format!("{url}{health}")).send().await;
            answer.and_then(reqwest::Response::error_for_status).map(drop)
        })
        .await;
        Self { url, http, _process: process }
    }

    async fn post(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.url), query).expect("a URL");
        let answer = self.http.post(url).send().await.expect("the database answers");
        answer.json().await.expect("JSON")
    }

    /// VictoriaMetrics: every series of a metric with all its samples, one JSON object each.
    pub async fn exported(&self, metric: &str) -> Vec<Value> {
        let url = reqwest::Url::parse_with_params(
            &format!("{}/api/v1/export", self.url),
            [("match[]", metric), ("start", "0")],
        );
        let answer = self.http.get(url.expect("a URL")).send().await.expect("the database answers");
        let text = answer.text().await.expect("text");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// InfluxDB 1: the one number that a query gives; 0 where there is none.
    pub async fn number(&self, database: &str, query: &str) -> u64 {
        let answer = self.post("/query", &[("db", database), ("q", query)]).await;
        answer["results"][0]["series"][0]["values"][0][1].as_u64().unwrap_or(0)
    }
}
