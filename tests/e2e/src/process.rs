//! One program under test: started, spoken to, killed.
//!
//! `setpriv --pdeathsig` has the kernel kill it when the thread of its test ends, so that not even a killed test
//! leaves one behind. Start programs from the test's own thread only (`#[tokio::test]` as it is does).

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::{eventually, until};

/// How long a program may take to say that it is up, on a busy machine.
pub const UP_WITHIN: Duration = Duration::from_secs(30);
/// How long a program may take to stop when asked.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; its stderr goes to `folder/NAME.log`, each line of its stdout can be read with
    /// [`Process::line`].
    pub fn start<A: AsRef<std::ffi::OsStr>>(
        name: &str,
        program: &Path,
        args: impl IntoIterator<Item = A>,
        folder: &Path,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("a log file can be opened");
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", program.display()));
        let stdout = child.stdout.take().expect("stdout is piped");
        // Bounded: a program that talks more than a test reads waits, as with any pipe.
        let (tell, lines) = mpsc::sync_channel(1024);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { name: name.to_owned(), child, stdin, lines, log }
    }

    /// Its next line on stdout; panics with its log when it ends or stays silent.
    pub async fn line(&mut self) -> String {
        let name = self.name.clone();
        eventually(&format!("a line from {name}"), UP_WITHIN, async || match self.lines.try_recv() {
            Ok(line) => Ok(line),
            Err(mpsc::TryRecvError::Empty) => Err(format!("silence; its log:\n{}", self.tail())),
            Err(mpsc::TryRecvError::Disconnected) => {
                panic!("{name} ended: {:?}; its log:\n{}", self.child.wait(), self.tail())
            }
        })
        .await
    }

    /// Its next line on stdout, which is JSON: how our programs say that they are up.
    pub async fn json(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{} said `{line}`: {error}", self.name))
    }

    /// Tells it a line and waits for its answering line.
    pub async fn ask(&mut self, line: &str) -> String {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        // In one piece: a peer takes what it reads at once for a whole line.
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .unwrap_or_else(|error| panic!("tell {}: {error}", self.name));
        self.line().await
    }

    /// Still there?
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Panics with the log if it is not.
    pub fn assert_running(&mut self) {
        assert!(self.is_running(), "{} is gone; its log:\n{}", self.name, self.tail());
    }

    /// `kill -9`, and waits until it is dead.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a child can be waited for");
    }

    /// Asks it to stop (SIGTERM) and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(STOP_WITHIN)
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        until(&what, within, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("still running; its log:\n{}", self.tail())),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Stops it for a moment in the sense of `kill -STOP`, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        self.signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// Asks a gateway to read its site file anew: `kill -HUP`.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has a pid");
        kill_process(pid, signal).ok();
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged, without colors.
    pub fn log(&self) -> String {
        plain(&std::fs::read_to_string(&self.log).unwrap_or_default())
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// The log gate: panics on a warning or error that holds none of the announced texts.
    pub fn assert_log(&self, announced: &[&str]) {
        let log = self.log();
        let surprises: Vec<&str> = log
            .lines()
            .filter(|line| {
                let level = |word: &str| line.split_whitespace().take(3).any(|part| part == word);
                level("WARN") || level("ERROR") || line.contains("panicked at")
            })
            .filter(|line| !announced.iter().any(|text| line.contains(text)))
            .collect();
        assert!(
            surprises.is_empty(),
            "{} logged what no test announced:\n{}",
            self.name,
            surprises.join("\n")
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("--- end of the log of {}:\n{}", self.name, self.tail());
        }
    }
}

/// A log line without terminal colors.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\x1b[") {
        plain.push_str(&rest[..start]);
        rest = &rest[start + 2..];
        rest = rest.find('m').map_or("", |end| &rest[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

/// Runs a program to its end and gives everything it said.
pub fn run<A: AsRef<std::ffi::OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Finished {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("run {}: {error}", program.display()));
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: plain(&String::from_utf8_lossy(&output.stderr)),
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it put out.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Finished {
    /// Panics with what it said unless it ended well; gives what it put out.
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout
    }
}
