//! A mosquitto of one's own on a free loopback port, for measurements.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child as Process, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::programs::program;
use crate::demo::child::Child;
use crate::demo::site::free_port;
use crate::ground::Ground;

const PROGRAM: &str = "/usr/sbin/mosquitto";
/// How long it may take to listen.
const UP_WITHIN: Duration = Duration::from_secs(10);

/// A broker that lets anybody in and keeps nothing.
pub(super) struct Mosquitto {
    child: Child,
    pub(super) address: String,
}

impl Mosquitto {
    /// Starts it and waits until it listens. Its window of twenty messages is Debian's; the length of its queues is not: what it
    /// has acknowledged it does not drop.
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let program = Path::new(PROGRAM);
        ensure!(program.exists(), "mosquitto is not there: run `cargo xtask ci --only packages`");
        let port = free_port()?;
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let config = folder.join("mosquitto.conf");
        let text = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nlog_dest stderr\n"
        );
        std::fs::write(&config, text).with_context(|| format!("write {}", config.display()))?;
        let arguments = ["-c".to_owned(), config.to_string_lossy().into_owned()];
        let mut child = Child::start("mosquitto", program, &arguments, folder)?;
        let address = format!("127.0.0.1:{port}");
        let deadline = Instant::now() + UP_WITHIN;
        while TcpStream::connect(&address).is_err() {
            child.check()?;
            if Instant::now() > deadline {
                bail!("mosquitto does not listen on {address} after {UP_WITHIN:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { child, address })
    }

    /// An error if it is no longer there.
    pub(super) fn check(&mut self) -> Result<()> {
        self.child.check()
    }
}

/// `bench-listen`: counts what a broker hands out, until it is asked.
pub(super) struct Listener {
    process: Process,
    lines: BufReader<ChildStdout>,
}

impl Listener {
    /// Starts it, and waits until it has subscribed.
    pub(super) fn start(ground: &Ground, broker: &str, filter: &str) -> Result<Self> {
        let mut process = Command::new(program(ground, "bench-listen"))
            .args([broker, "--filter", filter])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run bench-listen")?;
        let mut lines = BufReader::new(process.stdout.take().context("stdout is piped")?);
        let mut first = String::new();
        lines.read_line(&mut first).context("wait for bench-listen")?;
        ensure!(first.contains("listening"), "bench-listen said `{}`", first.trim());
        Ok(Self { process, lines })
    }

    /// Ends it; what it counted.
    pub(super) fn told(mut self) -> Result<Value> {
        // The end of its input is what it waits for.
        drop(self.process.stdin.take());
        let mut last = String::new();
        self.lines.read_line(&mut last).context("read what bench-listen counted")?;
        let status = self.process.wait()?;
        ensure!(status.success(), "bench-listen: {status}");
        serde_json::from_str(&last).context("understand what bench-listen counted")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, and need not be.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
