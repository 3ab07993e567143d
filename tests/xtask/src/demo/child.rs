//! The processes of a demo. None of them outlives it.
//!
//! Each is started through `setpriv --pdeathsig`, so that the kernel ends it when this process dies, `kill -9` included.
//! Each has its own process group, so that Ctrl-C reaches only us and they are stopped in order.
//! A pid file with the start time of each tells the next demo of the same folder whether one is left all the same.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a process may take to be up.
const START_WITHIN: Duration = Duration::from_mins(1);
/// How long a process may take to stop when asked; then it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The kernel tells times of processes in these, whatever its own clock (USER_HZ).
const TICKS_PER_S: f64 = 100.0;

/// The most resident memory a running process ever had, KiB.
pub(crate) fn resident_max_kib(process: u32) -> Option<u64> {
    status_kib(process, "VmHWM:")
}

fn status_kib(process: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// One running process.
pub(crate) struct Child {
    name: String,
    process: Process,
    log: PathBuf,
    first_line: mpsc::Receiver<String>,
}

impl Child {
    /// Starts a program; stderr and all but the first line of stdout go to a log file.
    pub(crate) fn start(name: &str, program: &Path, args: &[String], folder: &Path) -> Result<Self> {
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
        let log = logs.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("open {}", log.display()))?;
        let mut command = if has_setpriv() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "TERM"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let mut process = command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file.try_clone()?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let (tell, first_line) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            if let Some(line) = lines.next() {
                // Nobody listens any more: the demo is over.
                tell.send(line).ok();
            }
            let mut file = file;
            for line in lines {
                if writeln!(file, "{line}").is_err() {
                    break;
                }
            }
        });
        note(folder, name, process.id())?;
        Ok(Self { name: name.to_owned(), process, log, first_line })
    }

    /// The JSON line that says it is up.
    pub(crate) fn up(&mut self) -> Result<Value> {
        self.up_within(START_WITHIN)
    }

    /// The same for one that has much to do first.
    pub(crate) fn up_within(&mut self, within: Duration) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            match self.first_line.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    return serde_json::from_str(&line)
                        .with_context(|| format!("{} said `{line}`, not a line of JSON", self.name));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status = self.process.wait()?;
                    bail!("{} ended at once, {status}\n{}", self.name, self.tail());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if Instant::now() > deadline {
                        bail!("{} is not up after {within:?}\n{}", self.name, self.tail());
                    }
                }
            }
        }
    }

    /// An error if it is no longer there.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.process.try_wait().with_context(|| format!("look after {}", self.name))? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself, {status}\n{}", self.name, self.tail()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Resident memory in KiB, as the kernel counts it.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        status_kib(self.process.id(), "VmRSS:")
    }

    /// The most resident memory it ever had, KiB.
    pub(crate) fn resident_max_kib(&self) -> Option<u64> {
        resident_max_kib(self.process.id())
    }

    /// Seconds of CPU it has used, in user and kernel mode.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        // The name, in parentheses, may hold blanks: count from behind it. State is field 3, the two times 14 and 15.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or(Vec::new(), |(_, fields)| fields.split_whitespace().collect());
        let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok());
        let ticks = ticks(11).zip(ticks(12)).with_context(|| format!("understand {path}"))?;
        Ok((ticks.0 + ticks.1) as f64 / TICKS_PER_S)
    }

    /// The same to the nanosecond, of the threads that live: for seconds so few that a tick of 10 ms would matter.
    pub(crate) fn cpu_of_threads_s(&self) -> Result<f64> {
        let tasks = format!("/proc/{}/task", self.process.id());
        let mut nanoseconds = 0;
        for task in std::fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))? {
            let path = task?.path().join("schedstat");
            // A thread may end between the two looks.
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let first = text.split_whitespace().next().and_then(|word| word.parse::<u64>().ok());
            nanoseconds += first.with_context(|| format!("understand {}", path.display()))?;
        }
        Ok(nanoseconds as f64 / 1e9)
    }

    fn ask_to_stop(&self) {
        if let Some(pid) = Pid::from_raw(self.process.id().cast_signed()) {
            // It may have ended by itself in this instant.
            kill_process(pid, Signal::TERM).ok();
        }
    }

    /// Waits for the end; kills when asking was not enough.
    fn finish(&mut self) {
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{} did not stop within {STOP_WITHIN:?}; killed", self.name);
        self.process.kill().ok();
        self.process.wait().ok();
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("end of {}:\n{}", self.log.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.ask_to_stop();
        self.finish();
    }
}

/// Stops processes together: all are asked, then each is waited for.
pub(crate) fn stop(children: Vec<Child>) {
    for child in &children {
        child.ask_to_stop();
    }
    drop(children);
}

fn has_setpriv() -> bool {
    Command::new("setpriv").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("pids")
}

/// Adds a line `name pid start-time` to the pid file.
fn note(folder: &Path, name: &str, pid: u32) -> Result<()> {
    let path = pid_file(folder);
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    writeln!(file, "{name} {pid} {}", start_time(pid).unwrap_or_default())
        .with_context(|| format!("write {}", path.display()))
}

/// Ends what an earlier demo of the same folder has left running, and only that: a pid that now belongs to a process
/// started at another time is somebody else's.
pub(crate) fn end_leftovers(folder: &Path) -> Result<()> {
    let path = pid_file(folder);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(pid), Some(started)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(pid) = pid.parse::<u32>() else { continue };
        if started.is_empty() || start_time(pid).as_deref() != Some(started) {
            continue;
        }
        if let Some(target) = Pid::from_raw(pid.cast_signed()) {
            eprintln!("{name} of an earlier demo is still running (pid {pid}); ending it");
            kill_process(target, Signal::KILL).ok();
            let deadline = Instant::now() + STOP_WITHIN;
            while start_time(pid).as_deref() == Some(started) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))
}

/// Start time of a running process in clock ticks since boot (field 22 of `/proc/PID/stat`); none for one that is
/// gone or a zombie.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold blanks: count from behind it. State is field 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (*fields.first()? != "Z").then(|| fields.get(19).map(|field| (*field).to_owned()))?
}
