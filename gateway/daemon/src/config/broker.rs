//! `[broker]`: where MQTT comes from, and who may come in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use gateway_rules::{At, File, Table, did_you_mean};
use serde::{Deserialize, Serialize};

use super::checks;
use super::head::{allowed, bytes_between, refuse_plain, socket};

/// Where MQTT comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broker {
    /// Our own, inside the process.
    Embedded(Embedded),
    /// Somebody else's.
    External(External),
}

/// Our own broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// Port 0 = any free one.
    pub listen: SocketAddr,
    /// With TLS.
    pub tls: Option<ServerTls>,
    /// Who may come in. Nobody is named: anybody on this machine, and nobody else.
    pub clients: Vec<BrokerClient>,
    /// Connections at a time.
    pub connections: usize,
    /// Bytes of a payload; a larger packet ends its connection.
    pub payload_max: usize,
}

/// What the embedded broker shows, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Certificate chain.
    pub cert_file: PathBuf,
    /// Its private key, readable by its owner only.
    pub key_file: PathBuf,
    /// Who signs the certificates that clients must show; without it a password is enough.
    pub client_ca_file: Option<PathBuf>,
}

/// One device or program at the embedded broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerClient {
    /// User name.
    pub user: String,
    /// Its password: the file's first line.
    pub password_file: PathBuf,
    /// Topic filters it may publish to.
    pub publish: Vec<String>,
    /// Topic filters it may subscribe within.
    pub subscribe: Vec<String>,
}

/// Somebody else's broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `mqtts://`.
    pub tls: Option<ClientTls>,
    /// Which MQTT is spoken.
    pub version: MqttVersion,
    /// User, and the file whose first line is the password.
    pub login: Option<(String, PathBuf)>,
    /// Instead of `nonsite-` and the beginning of the gateway's id.
    pub client_id: Option<String>,
}

/// Whom to believe and what to show, PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Instead of the system's public roots.
    pub ca_file: Option<PathBuf>,
    /// Certificate chain and private key of this gateway.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MqttVersion {
    /// 3.1.1.
    V3,
    /// 5.0.
    #[default]
    V5,
}

/// Where an embedded broker listens if the file does not say.
const MQTT_PORT: u16 = 1883;
const MQTTS_PORT: u16 = 8883;
/// Connections at a time, where the file does not say.
const CONNECTIONS_DEFAULT: usize = 256;
/// At most: beyond that a site is the wrong size for an embedded broker.
const CONNECTIONS_MAX: i64 = 10_000;
/// Named clients at most.
const CLIENTS_MAX: usize = 1_000;
/// Bytes of a payload: the same that mappings read.
const PAYLOAD_MAX: u64 = 64 << 10;

impl Default for Broker {
    /// Our own, on this machine only.
    fn default() -> Self {
        Self::Embedded(Embedded::on(SocketAddr::from((Ipv4Addr::LOCALHOST, MQTT_PORT))))
    }
}

impl Embedded {
    /// One that lets in whoever is on this machine.
    pub fn on(listen: SocketAddr) -> Self {
        Self {
            listen,
            tls: None,
            clients: Vec::new(),
            connections: CONNECTIONS_DEFAULT,
            payload_max: PAYLOAD_MAX as usize,
        }
    }
}

impl Broker {
    /// Our own one at this address: tests, demonstrations, `--mqtt-listen`.
    pub fn move_to(&mut self, listen: SocketAddr) {
        match self {
            Self::Embedded(own) => own.listen = listen,
            Self::External(_) => *self = Self::Embedded(Embedded::on(listen)),
        }
    }

    /// Files are named relative to the site file.
    pub(super) fn rebase(&mut self, base: &Path) {
        let files: Vec<&mut PathBuf> = match self {
            Self::Embedded(own) => {
                let tls = own.tls.iter_mut().flat_map(|tls| {
                    [&mut tls.cert_file, &mut tls.key_file].into_iter().chain(&mut tls.client_ca_file)
                });
                tls.chain(own.clients.iter_mut().map(|client| &mut client.password_file)).collect()
            }
            Self::External(other) => {
                let tls = other.tls.iter_mut().flat_map(|tls| {
                    tls.own.iter_mut().flat_map(|(cert, key)| [cert, key]).chain(&mut tls.ca_file)
                });
                tls.chain(other.login.iter_mut().map(|(_, file)| file)).collect()
            }
        };
        for file in files {
            *file = base.join(&file);
        }
    }
}

/// Reads `[broker]`.
pub(super) fn read(table: Table<'_>) -> Option<Broker> {
    let file = table.file();
    let (listen, url) = (table.get::<String>("listen"), table.get::<String>("url"));
    if table.has("listen") && table.has("url") {
        let place = table.key_span("url");
        table.finish();
        file.error(place, "a broker is either embedded (`listen`) or somebody else's (`url`)", None);
        return None;
    }
    match (listen, url) {
        (Some(listen), _) => embedded(table, &listen).map(Broker::Embedded),
        (None, Some(url)) => external(table, &url).map(Broker::External),
        (None, None) => {
            let span = table.span();
            table.finish();
            file.error(span, "[broker] needs `listen` or `url`", None);
            None
        }
    }
}

fn embedded(table: Table<'_>, listen: &At<String>) -> Option<Embedded> {
    let file = table.file();
    let plain_allowed = allowed(&table, "allow_plain_mqtt");
    let tls = table.table("tls", "[broker.tls]").map(server_tls);
    let clients: Vec<BrokerClient> =
        table.tables("client", "a [[broker.client]]").into_iter().filter_map(client).collect();
    let connections = table.get::<i64>("connections");
    let payload_max = bytes_between(&table, "payload_max", 256, PAYLOAD_MAX, PAYLOAD_MAX);
    let clients_place = table.key_span("client");
    table.finish();
    if clients.len() > CLIENTS_MAX {
        file.error(clients_place.clone(), format!("at most {CLIENTS_MAX} clients"), None);
    }
    for (n, client) in clients.iter().enumerate() {
        if clients[..n].iter().any(|other| other.user == client.user) {
            file.error(
                clients_place.clone(),
                format!("there is a client `{}` already", client.user),
                Some("a user name of its own for each device: only then can one be locked out".into()),
            );
        }
    }
    if let Some(connections) = &connections
        && !(1..=CONNECTIONS_MAX).contains(&connections.value)
    {
        file.error(
            connections.span.clone(),
            format!("a broker takes 1 to {CONNECTIONS_MAX} connections"),
            None,
        );
    }
    let address = socket(file, listen)?;
    if !checks::is_loopback(&address) {
        if tls.is_none() && !plain_allowed {
            refuse_plain(file, listen, "MQTT", "allow_plain_mqtt");
        }
        if clients.is_empty() {
            let hint = "name who may come in: [[broker.client]] with user, password_file and publish";
            file.error(
                listen.span.clone(),
                "anybody on the network could publish to this broker",
                Some(hint.into()),
            );
        }
    }
    let tls = match tls {
        Some(None) => return None,
        Some(Some(tls)) => Some(tls),
        None => None,
    };
    Some(Embedded {
        listen: address,
        tls,
        clients,
        connections: connections.map_or(CONNECTIONS_DEFAULT, |n| n.value.clamp(1, CONNECTIONS_MAX) as usize),
        payload_max: payload_max as usize,
    })
}

fn path(table: &Table<'_>, key: &'static str) -> Option<PathBuf> {
    table.get::<String>(key).map(|path| PathBuf::from(path.value))
}

fn server_tls(table: Table<'_>) -> Option<ServerTls> {
    let (cert, key) = (table.need::<String>("cert_file"), table.need::<String>("key_file"));
    let client_ca_file = path(&table, "client_ca_file");
    table.finish();
    Some(ServerTls { cert_file: cert?.value.into(), key_file: key?.value.into(), client_ca_file })
}

fn client(table: Table<'_>) -> Option<BrokerClient> {
    let file = table.file();
    let (user, password) = (table.need::<String>("user"), table.need::<String>("password_file"));
    let filters = |key| {
        let filters = table.get::<Vec<At<String>>>(key).map_or_else(Vec::new, |list| list.value);
        for filter in &filters {
            if let Some(trouble) = checks::topic_trouble(&filter.value) {
                file.error(filter.span.clone(), trouble, None);
            }
        }
        filters.into_iter().map(|filter| filter.value).collect::<Vec<_>>()
    };
    let (publish, subscribe) = (filters("publish"), filters("subscribe"));
    let place = table.span();
    table.finish();
    let user = user?;
    // The gateway's own name at its broker begins so.
    if user.value.is_empty() || user.value.len() > 64 || user.value.starts_with("nonsite-") {
        file.error(user.span, "a user has 1 to 64 characters and does not begin with `nonsite-`", None);
        return None;
    }
    if publish.is_empty() && subscribe.is_empty() {
        file.error(
            place,
            format!("`{}` may do nothing", user.value),
            Some("publish = [\"tele/fridge/#\"]".into()),
        );
    }
    Some(BrokerClient { user: user.value, password_file: password?.value.into(), publish, subscribe })
}

fn external(table: Table<'_>, url: &At<String>) -> Option<External> {
    let file = table.file();
    let plain_allowed = allowed(&table, "allow_plain_mqtt");
    let version = table.get::<String>("version").and_then(|word| version(file, &word));
    let (user, password) = (table.get::<String>("user"), path(&table, "password_file"));
    let ca_file = path(&table, "ca_file");
    let (cert, key) = (path(&table, "cert_file"), path(&table, "key_file"));
    let client_id = table.get::<String>("client_id").map(|id| id.value);
    let places = ["password_file", "cert_file", "ca_file"].map(|key| table.key_span(key));
    table.finish();
    let [password_place, cert_place, ca_place] = places;
    let parsed = checks::url(&url.value)
        .filter(|url| ["mqtt", "mqtts"].contains(&url.scheme.as_str()) && url.path.len() <= 1);
    let Some(parsed) = parsed else {
        file.error(
            url.span.clone(),
            "not a URL of a broker",
            Some("mqtts://broker.example.org:8883; the user stands in `user`".into()),
        );
        return None;
    };
    let tls = parsed.scheme == "mqtts";
    if !tls && !checks::is_loopback_host(&parsed.host) && !plain_allowed {
        refuse_plain(file, url, "MQTT", "allow_plain_mqtt");
    }
    if !tls && (ca_file.is_some() || cert.is_some() || key.is_some()) {
        file.error(ca_place, "certificates are for mqtts:// only", None);
    }
    if cert.is_some() != key.is_some() {
        file.error(cert_place, "`cert_file` and `key_file` belong together", None);
    }
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user.value, password)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            file.error(password_place, "`user` and `password_file` belong together", None);
            None
        }
    };
    Some(External {
        host: parsed.host,
        port: parsed.port.unwrap_or(if tls { MQTTS_PORT } else { MQTT_PORT }),
        tls: tls.then(|| ClientTls { ca_file, own: cert.zip(key) }),
        version: version.unwrap_or(MqttVersion::V5),
        login,
        client_id,
    })
}

pub(super) fn version(file: &File<'_>, word: &At<String>) -> Option<MqttVersion> {
    match word.value.as_str() {
        "5" => Some(MqttVersion::V5),
        "3.1.1" => Some(MqttVersion::V3),
        other => {
            let hint = did_you_mean(other, ["3.1.1"])
                .map_or_else(|| "\"5\" or \"3.1.1\"".to_owned(), |near| format!("did you mean `{near}`?"));
            file.error(word.span.clone(), format!("`{other}` is not a version of MQTT"), Some(hint));
            None
        }
    }
}
