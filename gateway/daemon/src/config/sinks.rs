//! `[[sink]]`: where records go besides the center. What the sinks do stands in `docs/sinks.md`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_rules::{At, File, Millis, Table, did_you_mean};
use serde::{Deserialize, Serialize};

use super::{MqttVersion, Read, broker, checks, head};
use crate::sinks::template::Template;
use crate::sinks::webhook::FIELDS;

/// Sinks of one site: each has a task and a connection.
const SINKS_MAX: usize = 8;
/// An answer may take so long.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Lines of one request, and its bytes before compression.
const LINES_DEFAULT: i64 = 5_000;
const BYTES_DEFAULT: u64 = 1 << 20;
/// A small batch waits so long for company.
const EVERY_DEFAULT: Duration = Duration::from_secs(10);
const MQTT_PORT: u16 = 1883;
const MQTTS_PORT: u16 = 8883;

/// One sink. Secrets are names of files: what is in them is read when it is needed, and kept nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkPlan {
    /// Its name: the folder of its cursor.
    pub name: String,
    /// Where a new sink begins.
    pub begin: Begin,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Certificates (PEM) that are believed besides the public roots of the system.
    pub ca_file: Option<PathBuf>,
    /// To whom, and how.
    pub target: TargetPlan,
}

/// Where a new sink begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begin {
    /// With the oldest record there is.
    Oldest,
    /// With what comes from now on.
    Newest,
}

/// The kinds of sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TargetPlan {
    /// InfluxDB line protocol over HTTP.
    Influx(InfluxPlan),
    /// JSON to an MQTT broker.
    Mqtt(MqttSinkPlan),
    /// A CloudEvent per alert change.
    Webhook(WebhookPlan),
}

impl TargetPlan {
    /// As the site file names it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Influx(_) => "influxdb",
            Self::Mqtt(_) => "mqtt",
            Self::Webhook(_) => "webhook",
        }
    }
}

/// InfluxDB, or whatever understands its line protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InfluxPlan {
    /// `http://127.0.0.1:8086`, without a slash at the end.
    pub url: String,
    /// Which interface.
    pub api: InfluxApi,
    /// Compress bodies.
    pub gzip: bool,
    /// Lines of one request.
    pub lines: usize,
    /// Bytes of one request, before compression.
    pub bytes: usize,
    /// How long a line waits for company.
    pub every: Duration,
}

/// Where lines are posted to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum InfluxApi {
    /// `/api/v2/write`.
    V2 {
        /// Organisation.
        org: String,
        /// Bucket.
        bucket: String,
        /// File with the token.
        token_file: Option<PathBuf>,
    },
    /// `/write` of InfluxDB 1.
    V1 {
        /// Database.
        database: String,
        /// User and the file with the password.
        login: Option<Login>,
    },
}

/// A user, and the file that holds the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// User name.
    pub user: String,
    /// File with the password.
    pub password_file: PathBuf,
}

/// An MQTT broker to publish to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MqttSinkPlan {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Which MQTT is spoken.
    #[serde(default)]
    pub version: MqttVersion,
    /// `mqtts://`.
    pub tls: bool,
    /// First levels of every topic.
    pub prefix: String,
    /// User and password.
    pub login: Option<Login>,
    /// Publish readings too, not only alerts and the gateway's own state.
    pub readings: bool,
    /// What a device said at one moment is one message.
    #[serde(default)]
    pub by_device: bool,
}

/// A web address that is told of alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WebhookPlan {
    /// Where to; or the file that holds it, where the address is a secret itself.
    pub url: UrlPlan,
    /// Files with signing secrets (`whsec_…`, `whsk_…`); with several, each signs: for changing them without a gap.
    pub secret_files: Vec<PathBuf>,
    /// File with a bearer token.
    pub token_file: Option<PathBuf>,
    /// A body of its own instead of a CloudEvent.
    pub body: Option<String>,
}

/// An address, or the file that holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum UrlPlan {
    /// As written.
    Is(String),
    /// In this file.
    In(PathBuf),
}

impl SinkPlan {
    /// Names of files become relative to this folder.
    pub(super) fn based_on(&mut self, base: &Path) {
        let mut files: Vec<&mut PathBuf> = self.ca_file.iter_mut().collect();
        match &mut self.target {
            TargetPlan::Influx(influx) => match &mut influx.api {
                InfluxApi::V2 { token_file, .. } => files.extend(token_file),
                InfluxApi::V1 { login, .. } => {
                    files.extend(login.as_mut().map(|login| &mut login.password_file));
                }
            },
            TargetPlan::Mqtt(mqtt) => files.extend(mqtt.login.as_mut().map(|login| &mut login.password_file)),
            TargetPlan::Webhook(hook) => {
                files.extend(&mut hook.secret_files);
                files.extend(&mut hook.token_file);
                if let UrlPlan::In(file) = &mut hook.url {
                    files.push(file);
                }
            }
        }
        for file in files {
            *file = base.join(&*file);
        }
    }
}

/// All sinks of a site file; a problem with one hides none of another's.
pub(super) fn read(root: &Table<'_>, files: Read<'_>) -> Vec<SinkPlan> {
    let mut sinks: Vec<SinkPlan> = Vec::new();
    let tables = root.tables("sink", "a [[sink]]");
    if let Some(table) = tables.get(SINKS_MAX) {
        root.file().error(table.span(), format!("at most {SINKS_MAX} sinks"), None);
    }
    for table in tables {
        let file = table.file();
        let name = table.need::<String>("name");
        if let Some(name) = name.as_ref().filter(|name| sinks.iter().any(|sink| sink.name == name.value)) {
            file.error(name.span.clone(), format!("there is a sink `{}` already", name.value), None);
        }
        let name = name.and_then(|name| head::plain_id(file, name)).unwrap_or_default();
        sinks.extend(sink(table, name, files));
    }
    sinks
}

/// A sink's table, and what its values need to be checked.
struct Reader<'t, 'f> {
    table: &'t Table<'f>,
    files: Read<'t>,
}

fn sink(table: Table<'_>, name: String, files: Read<'_>) -> Option<SinkPlan> {
    let file = table.file();
    let kind = table.need::<String>("kind");
    let reader = Reader { table: &table, files };
    let target = kind.and_then(|kind| match kind.value.as_str() {
        "influxdb" => Some(reader.influx().map(TargetPlan::Influx)),
        "mqtt" => Some(reader.mqtt().map(TargetPlan::Mqtt)),
        "webhook" => Some(reader.webhook().map(TargetPlan::Webhook)),
        other => {
            let known = ["influxdb", "mqtt", "webhook"];
            let hint = did_you_mean(other, known)
                .map_or_else(|| known.join(", "), |near| format!("did you mean `{near}`?"));
            file.error(kind.span, format!("`{other}` is not a kind of sink"), Some(hint));
            None
        }
    });
    let influx = matches!(target, Some(Some(TargetPlan::Influx(_))));
    let begin = reader.begin(if influx { Begin::Oldest } else { Begin::Newest });
    let timeout = head::duration(&table, "timeout", TIMEOUT_DEFAULT, Millis(1_000), Millis(120_000));
    let ca_file = reader.file("ca_file");
    // What a kind that is not known would have asked for is not known either.
    if target.is_some() {
        table.finish();
    }
    Some(SinkPlan { name, begin, timeout, ca_file, target: target?? })
}

impl Reader<'_, '_> {
    fn begin(&self, default: Begin) -> Begin {
        let Some(word) = self.table.get::<String>("begin") else { return default };
        match word.value.as_str() {
            "oldest" => Begin::Oldest,
            "newest" => Begin::Newest,
            _ => {
                let hint = "oldest (all that the journal holds) or newest (from now on)".to_owned();
                self.table.file().error(word.span, "not a place to begin", Some(hint));
                default
            }
        }
    }

    /// A file that is there; one that is not may be on the machine where this will run.
    fn file(&self, key: &'static str) -> Option<PathBuf> {
        let name = self.table.get::<String>(key)?;
        self.is_there(&name);
        Some(name.value.into())
    }

    fn is_there(&self, name: &At<String>) {
        if let Err(why) = (self.files)(&name.value) {
            let hint = "one line of text, readable by the gateway only; relative to the site file".to_owned();
            let message = format!("`{}` cannot be read: {why}", name.value);
            self.table.file().warn(name.span.clone(), message, Some(hint));
        }
    }

    /// `user` and `password_file`, both or none.
    fn login(&self) -> Option<Login> {
        let (user, password) = (self.table.get::<String>("user"), self.file("password_file"));
        if user.is_some() != password.is_some() {
            let key = if user.is_some() { "user" } else { "password_file" };
            let hint = "`user` and `password_file` belong together".to_owned();
            self.table.file().error(self.table.key_span(key), "half a login", Some(hint));
        }
        Some(Login { user: user?.value, password_file: password? })
    }

    fn plain_allowed(&self, key: &'static str) -> bool {
        self.table.get::<bool>(key).is_some_and(|allowed| allowed.value)
    }

    fn influx(&self) -> Option<InfluxPlan> {
        let file = self.table.file();
        let url = self.table.need::<String>("url");
        let plain_allowed = self.plain_allowed("allow_plain_http");
        let url = url.filter(|url| http_url(file, url, plain_allowed, "http://127.0.0.1:8086"));
        let api = self.table.get::<String>("api");
        let api = match api.as_ref().map_or("v2", |api| api.value.as_str()) {
            "v2" => {
                let token_file = self.file("token_file");
                let (org, bucket) = (self.table.need::<String>("org"), self.table.need::<String>("bucket"));
                org.zip(bucket).map(|(org, bucket)| InfluxApi::V2 {
                    org: org.value,
                    bucket: bucket.value,
                    token_file,
                })
            }
            "v1" => {
                let login = self.login();
                let database = self.table.need::<String>("database");
                database.map(|database| InfluxApi::V1 { database: database.value, login })
            }
            other => {
                let hint = "v2 (InfluxDB 2, VictoriaMetrics) or v1 (InfluxDB 1)".to_owned();
                let span = api.as_ref().map_or(self.table.span(), |api| api.span.clone());
                file.error(span, format!("`{other}` is not an interface"), Some(hint));
                None
            }
        };
        let gzip = self.table.get::<bool>("gzip").is_none_or(|gzip| gzip.value);
        let lines = self.table.get::<i64>("lines");
        if let Some(lines) = &lines
            && !(1..=50_000).contains(&lines.value)
        {
            file.error(lines.span.clone(), "a request has 1 to 50000 lines", None);
        }
        let bytes = head::bytes(self.table, "bytes", 4 << 10, BYTES_DEFAULT);
        if bytes > 16 << 20 {
            file.error(self.table.key_span("bytes"), "a request has at most 16 MiB", None);
        }
        let every = head::duration(self.table, "every", EVERY_DEFAULT, Millis(100), Millis(600_000));
        let url = url?.value.trim_end_matches('/').to_owned();
        let lines = lines.map_or(LINES_DEFAULT, |lines| lines.value) as usize;
        Some(InfluxPlan { url, api: api?, gzip, lines, bytes: bytes as usize, every })
    }

    fn mqtt(&self) -> Option<MqttSinkPlan> {
        let file = self.table.file();
        let url = self.table.need::<String>("url");
        let plain_allowed = self.plain_allowed("allow_plain_mqtt");
        let prefix = self.table.get::<String>("prefix");
        let readings = self.table.get::<bool>("readings").is_none_or(|readings| readings.value);
        let by_device = self.table.get::<bool>("by_device").is_some_and(|by_device| by_device.value);
        if by_device && !readings {
            let hint = "leave one of `by_device` and `readings = false` out".to_owned();
            file.warn(self.table.key_span("by_device"), "this sink publishes no readings", Some(hint));
        }
        let version = self.table.get::<String>("version").and_then(|word| broker::version(file, &word));
        let login = self.login();
        if let Some(prefix) = &prefix {
            let wild = prefix.value.contains(['+', '#', '\0']) || prefix.value.starts_with('$');
            let empty = prefix.value.split('/').any(str::is_empty);
            if wild || empty || prefix.value.len() > 200 {
                let hint = "such as health/clinic-1: no + or #, no $ in front, no empty level".to_owned();
                file.error(prefix.span.clone(), "not the beginning of a topic", Some(hint));
            }
        }
        let url = url?;
        let parsed = checks::url(&url.value)
            .filter(|url| ["mqtt", "mqtts"].contains(&url.scheme.as_str()) && url.path.len() <= 1);
        let Some(parsed) = parsed else {
            file.error(url.span, "not a URL of a broker", Some("mqtts://broker.example.org:8883".into()));
            return None;
        };
        let tls = parsed.scheme == "mqtts";
        if !tls && !checks::is_loopback_host(&parsed.host) && !plain_allowed {
            head::refuse_plain(file, &url, "readings and alerts", "allow_plain_mqtt");
        }
        let port = parsed.port.unwrap_or(if tls { MQTTS_PORT } else { MQTT_PORT });
        let prefix = prefix.map_or_else(|| "nonsite".to_owned(), |prefix| prefix.value);
        let version = version.unwrap_or(MqttVersion::V5);
        Some(MqttSinkPlan { host: parsed.host, port, tls, version, prefix, login, readings, by_device })
    }

    fn webhook(&self) -> Option<WebhookPlan> {
        let file = self.table.file();
        let plain_allowed = self.plain_allowed("allow_plain_http");
        let (url, url_file) = (self.table.get::<String>("url"), self.file("url_file"));
        let secrets = self.table.get::<Vec<At<String>>>("secret_files").map_or_else(Vec::new, |at| at.value);
        for name in &secrets {
            self.is_there(name);
        }
        let token_file = self.file("token_file");
        let body = self.table.get::<String>("body");
        if let Some(body) = &body {
            template(file, body);
        }
        let url = match (url, url_file) {
            (Some(url), None) => {
                http_url(file, &url, plain_allowed, "https://platform.example.org/hooks/alerts")
                    .then_some(UrlPlan::Is(url.value))
            }
            (None, Some(path)) => Some(UrlPlan::In(path)),
            (Some(_), Some(_)) => {
                file.error(
                    self.table.key_span("url_file"),
                    "an address, or a file that holds it: not both",
                    None,
                );
                None
            }
            (None, None) => {
                let hint = "`url`, or `url_file` where the address itself is a secret".to_owned();
                file.error(self.table.span(), "a webhook needs an address", Some(hint));
                None
            }
        };
        let secret_files = secrets.into_iter().map(|name| name.value.into()).collect();
        Some(WebhookPlan { url: url?, secret_files, token_file, body: body.map(|body| body.value) })
    }
}

/// Is it an address that may be posted to? A query is allowed: some platforms have their key there.
fn http_url(file: &File<'_>, url: &At<String>, plain_allowed: bool, example: &str) -> bool {
    let bare = url.value.split('?').next().unwrap_or_default();
    let parsed = checks::url(bare).filter(|parsed| ["http", "https"].contains(&parsed.scheme.as_str()));
    let Some(parsed) = parsed.filter(|_| !url.value.contains(['#', ' '])) else {
        file.error(url.span.clone(), "not a web address", Some(example.to_owned()));
        return false;
    };
    if parsed.scheme == "http" && !checks::is_loopback_host(&parsed.host) && !plain_allowed {
        head::refuse_plain(file, url, "what this sink sends", "allow_plain_http");
    }
    true
}

/// Says what is wrong with a template, at its place.
fn template(file: &File<'_>, body: &At<String>) {
    let Err(error) = Template::parse(&body.value, FIELDS) else { return };
    let span = match file.inside(body) {
        Some(start) => {
            let at = (start + error.at).min(body.span.end);
            at..(at + error.length).min(body.span.end)
        }
        None => body.span.clone(),
    };
    let hint = error.unknown.map(|name| {
        did_you_mean(&name, FIELDS.iter().copied())
            .map_or_else(|| format!("known: {}", FIELDS.join(", ")), |near| format!("did you mean `{near}`?"))
    });
    file.error(span, error.message, hint);
}

#[cfg(test)]
mod tests {
    use super::TargetPlan;
    use crate::config::load_str;

    /// An MQTT sink with these lines: what it publishes (readings, by device), and the warnings. The first problem otherwise.
    fn publishes(lines: &str) -> Result<((bool, bool), Vec<String>), String> {
        let hotel = include_str!("../../../../deploy/example/hotel.toml");
        let sink = "[[sink]]\nname = \"b\"\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1883\"";
        let site = load_str("hotel.toml", &format!("{hotel}\n{sink}\n{lines}\n"))
            .map_err(|problems| problems[0].message.clone())?;
        let warnings = site.warnings.into_iter().map(|warning| warning.message).collect();
        match &site.sinks[..] {
            [sink] => match &sink.target {
                TargetPlan::Mqtt(plan) => Ok(((plan.readings, plan.by_device), warnings)),
                other @ (TargetPlan::Influx(_) | TargetPlan::Webhook(_)) => Err(format!("{other:?}")),
            },
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn an_mqtt_sink_publishes_point_by_point_unless_it_is_told_otherwise() {
        assert_eq!(publishes(""), Ok(((true, false), vec![])));
        assert_eq!(publishes("by_device = true"), Ok(((true, true), vec![])));
        assert_eq!(publishes("by_device = false"), Ok(((true, false), vec![])));
        assert_eq!(publishes("readings = false"), Ok(((false, false), vec![])));
        assert_eq!(
            publishes("readings = false\nby_device = true"),
            Ok(((false, true), vec!["this sink publishes no readings".to_owned()]))
        );
        assert!(publishes("by_device = \"yes\"").unwrap_err().contains("true or false"));
        assert!(publishes("by_devices = true").unwrap_err().contains("by_devices"));
    }
}
