//! Eclipse mosquitto and its command-line publisher: an MQTT side that is not ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ground::{Place, free_port};
use crate::process::Process;
use crate::wait::eventually;

/// A mosquitto broker on 127.0.0.1.
pub struct Mosquitto {
    process: Process,
    port: u16,
    config: PathBuf,
    folder: PathBuf,
}

impl Mosquitto {
    /// Starts one that lets anybody in, and waits until it takes connections.
    pub async fn start(place: &Place) -> Self {
        Self::start_with(place, "allow_anonymous true\n").await
    }

    /// One that keeps what it has acknowledged, for sessions that last, also over a stop.
    pub async fn start_keeping(place: &Place) -> Self {
        let folder = place.folder("mosquitto-data");
        let location = format!("persistence true\npersistence_location {}/\n", folder.display());
        Self::start_with(place, &format!("allow_anonymous true\nmax_queued_messages 0\n{location}")).await
    }

    /// Starts one with these lines in its settings. Without a line that says so it keeps nothing.
    pub async fn start_with(place: &Place, lines: &str) -> Self {
        // mosquitto cannot be told "any port" and say which.
        let port = free_port();
        let config = place.write(
            "mosquitto.conf",
            // As root it would leave root behind, and with it the right to read the test's files and to write its own.
            &format!("user root\nlistener {port} 127.0.0.1\nlog_dest stderr\n{lines}"),
        );
        let process = Self::launch_in(place.path(), &config);
        let broker = Self { process, port, config, folder: place.path().to_owned() };
        broker.up().await;
        broker
    }

    /// Stops it (SIGTERM), and starts it again on the same port.
    pub async fn restart(mut self) -> Self {
        assert!(self.process.stop().success(), "mosquitto stops when asked:\n{}", self.process.log());
        self.process = Self::launch_in(&self.folder, &self.config);
        self.up().await;
        self
    }

    fn launch_in(folder: &Path, config: &Path) -> Process {
        let program = Path::new("/usr/sbin/mosquitto");
        assert!(program.exists(), "mosquitto is not there: run `cargo xtask ci --only packages`");
        Process::start("mosquitto", program, ["-c".as_ref(), config.as_os_str()], folder)
    }

    async fn up(&self) {
        let port = self.port;
        eventually("mosquitto takes connections", Duration::from_secs(10), async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop)
        })
        .await;
    }

    /// `kill -9`, and up again on the same port.
    pub async fn again(&mut self) {
        self.process.kill();
        self.process = Self::launch_in(&self.folder, &self.config);
        self.up().await;
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it logged: who connected and subscribed.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// `mosquitto_pub` to any broker: one message, QoS 1; panics if the broker does not take it.
pub fn publish(port: u16, topic: &str, payload: &[u8], retain: bool) {
    send(port, topic, payload, retain).unwrap_or_else(|error| panic!("mosquitto_pub to {topic}: {error}"));
}

/// The same for a message that the broker may refuse.
pub fn try_publish(port: u16, topic: &str, payload: &[u8]) -> Result<(), String> {
    send(port, topic, payload, false)
}

fn send(port: u16, topic: &str, payload: &[u8], retain: bool) -> Result<(), String> {
    let extra: &[&str] = if retain { &["-r"] } else { &[] };
    publish_with(port, extra, topic, payload)
}

/// `mosquitto_pub` with further arguments: a user, a certificate, a version. What it said, if the broker did not take it.
pub fn publish_with(port: u16, extra: &[&str], topic: &str, payload: &[u8]) -> Result<(), String> {
    use std::io::Write as _;
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", topic]).args(extra);
    // Nothing on stdin is an error to it; an empty message has a word of its own.
    command.arg(if payload.is_empty() { "-n" } else { "-s" });
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("mosquitto_pub: run `cargo xtask ci --only packages`");
    // With `-n` it reads nothing; otherwise an early end shows in its status.
    child.stdin.take().expect("stdin is piped").write_all(payload).ok();
    let output = child.wait_with_output().expect("a child can be waited for");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // A refused message is a warning to it, and status 0.
    if output.status.success() && said.is_empty() { Ok(()) } else { Err(said) }
}

/// Certificates of a test's own authority, PEM files.
pub struct Papers {
    /// The authority's certificate.
    pub ca: String,
    /// Certificate and key for `127.0.0.1`.
    pub server: (String, String),
    /// Certificate and key of a client.
    pub client: (String, String),
}

impl Papers {
    /// Makes an authority and what it signs.
    pub fn new(place: &Place) -> Self {
        let write = |name: &str, text: &str| secret(place, name, text);
        let authority = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Authority of a test");
        let ca = write("ca.pem", &params.self_signed(&authority).expect("a certificate").pem());
        let issuer = rcgen::Issuer::new(params, authority);
        let pair = |name: &str, of: &str| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let mut params = rcgen::CertificateParams::new(vec![of.to_owned()]).expect("a name");
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
            (write(&format!("{name}.pem"), &certificate), write(&format!("{name}.key"), &key.serialize_pem()))
        };
        Self { ca, server: pair("server", "127.0.0.1"), client: pair("client", "client.test") }
    }
}

/// A file that only its owner may read; its path.
pub fn secret(place: &Place, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = place.write(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode can be set");
    path.to_string_lossy().into_owned()
}
