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
        Self::start_with(place, "persistence false\n").await
    }

    /// One that keeps what it has acknowledged, for sessions that last, also over a stop.
    pub async fn start_keeping(place: &Place) -> Self {
        let folder = place.folder("mosquitto-data");
        let location = format!("persistence true\npersistence_location {}/\n", folder.display());
        // As root it would become another user, who may not write there.
        Self::start_with(place, &format!("user root\nmax_queued_messages 0\n{location}")).await
    }

    async fn start_with(place: &Place, more: &str) -> Self {
        // mosquitto cannot be told "any port" and say which.
        let port = free_port();
        let config = place.write(
            "mosquitto.conf",
            &format!("{more}listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest stderr\n"),
        );
        Self::launch(port, config, place.path().to_owned()).await
    }

    /// Stops it (SIGTERM), and starts it again on the same port.
    pub async fn restart(mut self) -> Self {
        assert!(self.process.stop().success(), "mosquitto stops when asked:\n{}", self.process.log());
        Self::launch(self.port, self.config.clone(), self.folder.clone()).await
    }

    async fn launch(port: u16, config: PathBuf, folder: PathBuf) -> Self {
        let program = Path::new("/usr/sbin/mosquitto");
        assert!(program.exists(), "mosquitto is not there: run `cargo xtask ci --only packages`");
        let process = Process::start("mosquitto", program, ["-c".as_ref(), config.as_os_str()], &folder);
        eventually("mosquitto takes connections", Duration::from_secs(10), async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop)
        })
        .await;
        Self { process, port, config, folder }
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
    use std::io::Write as _;
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-q", "1", "-t", topic]);
    // Nothing on stdin is an error to it; an empty message has a word of its own.
    command.arg(if payload.is_empty() { "-n" } else { "-s" });
    if retain {
        command.arg("-r");
    }
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("mosquitto_pub: run `cargo xtask ci --only packages`");
    // With `-n` it reads nothing; otherwise an early end shows in its status.
    child.stdin.take().expect("stdin is piped").write_all(payload).ok();
    let output = child.wait_with_output().expect("a child can be waited for");
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
