//! `cargo demo`: the whole product on loopback, with nothing to install.
//!
//! Builds and starts a center, three gateways and their simulated institutions, gives them three days of history through
//! the same gateway code, and goes on live under the demo clock. Promises: one JSON line on stdout with `--json`; a scripted
//! alert within 15 s of it; no process survives it; a second start of the same folder picks up where it was.
//! Leaves out: anything but 127.0.0.1.

pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod http;
pub(crate) mod setup;
pub(crate) mod site;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::ground::{Ground, cargo};
use child::Child;
use clock::DemoClock;
use http::Client;
use setup::Kept;
use site::Site;

/// How to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// End by itself after this time, counted from the printed line: `60s`, `5m`.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasting: Option<Duration>,
    /// Port of the console; a free one if not given.
    #[arg(long)]
    port: Option<u16>,
    /// How many times faster than the wall the demo's world runs.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=600))]
    speed: u32,
    /// One line of JSON on stdout when it is up.
    #[arg(long)]
    json: bool,
    /// Where it keeps everything; `.demo` in the repository if not given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

const DAY_MS: i64 = 24 * 3_600_000;
/// Days of history at the first start.
const HISTORY_DAYS: u32 = 3;
/// How long the gateways may take to eat and upload it.
const HISTORY_WITHIN: Duration = Duration::from_mins(3);
/// Where the scripted incident happens.
const INCIDENT_SITE: &str = "hotel";
/// On one of these.
const INCIDENT_DEVICES: [&str; 2] = ["cabinet-2", "cabinet-1"];
/// The rule that notices.
const INCIDENT_RULE: &str = "too-hot";
/// The fault stays on for so long, in real seconds, …
const INCIDENT_SEEN_S: u32 = 20;
/// … but at least so long in the demo's world: the rule waits a minute.
const INCIDENT_MIN_S: u32 = 180;
/// From the incident to its alert at the earliest, in seconds of the demo's world: the rule's delay of a minute, less a
/// moment. What comes on top (a poll, a seal, the way to the center) is under 15 s at any speed.
const INCIDENT_WORLD_S: f64 = 58.0;
/// The scenarios' own scripted moment (a fridge goes warm, a meter falls silent …), in real seconds after the first start.
const SCENARIO_INCIDENT_S: i64 = 45;

/// Runs it to its end.
pub(crate) fn run(options: &Options) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("listen for Ctrl-C")?;
    }
    let ground = Ground::find()?;
    build(&ground)?;
    let folder = options.data.clone().unwrap_or_else(|| ground.root.join(".demo"));
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let folder = folder.canonicalize()?;
    child::end_leftovers(&folder)?;

    let mut world = World::start(&ground, &folder, options)?;
    let outcome = world.live(options, &stop);
    let summary = world.summary();
    world.stop();
    outcome?;
    eprintln!("{}", summary?);
    Ok(())
}

fn build(ground: &Ground) -> Result<()> {
    eprintln!("building gateway, center and firmware-sim …");
    let status = Command::new(cargo())
        .args(["build", "--bins", "-p", "gateway", "-p", "center", "-p", "firmware-sim"])
        .current_dir(&ground.root)
        .stdout(Stdio::null())
        .status()
        .context("run cargo build")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(())
}

/// All that runs.
struct World {
    folder: PathBuf,
    clock: DemoClock,
    kept: Kept,
    console: String,
    api: Client,
    children: Vec<Child>,
    gateways: Vec<Value>,
    /// Last record of each when it was up.
    wanted: Vec<Option<(u64, u64)>>,
    controls: Vec<(&'static str, String)>,
    started: Instant,
}

impl World {
    fn start(ground: &Ground, folder: &Path, options: &Options) -> Result<Self> {
        let started = Instant::now();
        let sites = Site::all(&ground.root)?;
        let mut kept = Kept::load(folder)?;
        let clock = match DemoClock::resumed(folder, options.speed)? {
            Some(clock) => clock,
            None => DemoClock::first(options.speed)?,
        };
        let key = text(&clock.write(folder)?);
        if kept.began == 0 {
            kept.began = clock.civil_now()?;
            kept.incident = kept.began + SCENARIO_INCIDENT_S * 1000 * i64::from(options.speed);
            kept.save(folder)?;
        }
        let mut children = Vec::new();

        let port = console_port(options, &kept);
        eprintln!("starting the center …");
        let mut center = Child::start(
            "center",
            &ground.program("center"),
            &args(
                &["run", "--data", &text(&folder.join("center")), "--listen", &format!("127.0.0.1:{port}")],
                &key,
            ),
            folder,
        )?;
        let up = center.up()?;
        children.push(center);
        let console = up["console"].as_str().context("the center says where its console is")?.to_owned();
        kept.port = console.rsplit(':').next().and_then(|port| port.trim_end_matches('/').parse().ok());
        kept.save(folder)?;
        let admin = setup::center(&mut kept, folder, &up, &sites)?;

        let mut controls = Vec::new();
        for site in &sites {
            if !kept.gateways.contains_key(site.name) {
                enrol(ground, &admin, site, &console, folder)?;
                kept.gateways.insert(site.name.to_owned(), String::new());
                kept.save(folder)?;
            }
            let (simulator, control, gateway) =
                Self::institution(ground, folder, site, &clock, &kept, &console)?;
            controls.push((site.name, control));
            children.extend([simulator, gateway]);
        }
        // Three gateways eat their history side by side.
        let mut gateways = Vec::new();
        for (site, child) in
            sites.iter().zip(children.iter_mut().filter(|child| child.name().ends_with("-gateway")))
        {
            let up = child.up()?;
            let id = up["gateway"].as_str().context("the gateway says its id")?.to_owned();
            gateways.push(json!({
                "gateway": id, "site": site.id()?, "institution": site.institution()?, "name": site.name,
                "page": up["page"], "mqtt": up["mqtt"],
            }));
            kept.gateways.insert(site.name.to_owned(), id);
            kept.save(folder)?;
        }
        let wanted =
            gateways.iter().map(|gateway| Ok(place(&status(gateway)?["last"]))).collect::<Result<_>>()?;
        let token = kept.token.clone().context("an API token was made")?;
        let api = Client::bearer(&console, &token);
        Ok(Self {
            folder: folder.to_owned(),
            clock,
            kept,
            console,
            api,
            children,
            gateways,
            wanted,
            controls,
            started,
        })
    }

    /// One institution: its simulator, the address of its control port, its gateway.
    fn institution(
        ground: &Ground,
        folder: &Path,
        site: &Site,
        clock: &DemoClock,
        kept: &Kept,
        console: &str,
    ) -> Result<(Child, String, Child)> {
        let place = folder.join(site.name);
        let key = text(&clock::key_path(folder));
        let recording = place.join("history.jsonl");
        let fresh = !place.join("data/journal").exists();

        // The simulator's world began before its history, at the first start.
        let began = kept.began - i64::from(HISTORY_DAYS) * DAY_MS;
        let world =
            ["--from".to_owned(), began.to_string(), "--incident-at".into(), kept.incident.to_string()];
        if fresh {
            eprintln!("{}: recording {HISTORY_DAYS} days of history …", site.name);
            record(ground, site, &world, clock.civil_now()?, &recording)?;
        }
        let mqtt_port = site::free_port()?;
        let mut run = args(&["run", site.name, "--mqtt", &format!("127.0.0.1:{mqtt_port}")], &key);
        run.extend(world);
        let mut simulator =
            Child::start(&format!("{}-sim", site.name), &ground.program("firmware-sim"), &run, folder)?;
        let up = simulator.up()?;
        let control =
            up["control"].as_str().context("the simulator says where its control port is")?.to_owned();

        let data = text(&place.join("data"));
        let mut run =
            vec!["run".to_owned(), text(&site.file), "--data".into(), data, "--demo-clock".into(), key];
        run.extend(site.overrides(&up["endpoints"], console, mqtt_port)?);
        if fresh {
            run.extend(["--history".to_owned(), text(&recording)]);
        }
        let gateway =
            Child::start(&format!("{}-gateway", site.name), &ground.program("gateway"), &run, folder)?;
        Ok((simulator, control, gateway))
    }

    /// Waits until there is something to see, says how to see it, and stays until told to stop.
    fn live(&mut self, options: &Options, stop: &AtomicBool) -> Result<()> {
        let deadline = Instant::now() + HISTORY_WITHIN;
        while !self.history_is_up()? {
            self.tick()?;
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the history is not at the center after {HISTORY_WITHIN:?}");
        }
        self.incident(options, stop)?;
        self.say(options);
        let end = options.lasting.map(|lasting| Instant::now() + lasting);
        while !stop.load(Ordering::Relaxed) && end.is_none_or(|end| Instant::now() < end) {
            self.tick()?;
        }
        Ok(())
    }

    /// A moment passes: nobody has fallen over, and the clock is remembered.
    fn tick(&mut self) -> Result<()> {
        for child in &mut self.children {
            child.check()?;
        }
        self.clock.remember(&self.folder)?;
        std::thread::sleep(Duration::from_millis(250));
        Ok(())
    }

    /// Every gateway has a receipt for what it had sealed when it was up: its history is at the center.
    fn history_is_up(&self) -> Result<bool> {
        for (gateway, wanted) in self.gateways.iter().zip(&self.wanted) {
            let through = place(&status(gateway)?["through"]);
            if through < *wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The scripted incident, so that a person sees an alert arrive: the thermostat of a cabinet sticks. The rule
    /// waits a minute of the demo's world; most of it is waited for here, so that the promise holds at any speed.
    fn incident(&mut self, options: &Options, stop: &AtomicBool) -> Result<()> {
        let (_, control) = self
            .controls
            .iter()
            .find(|(site, _)| *site == INCIDENT_SITE)
            .context("the hotel has a control port")?;
        let control = Client::new(control);
        // A fault that happens to be on would hide it.
        control.post("/clear", &json!({}))?.json().context("end what is on")?;
        let Some(device) = self.calm_device(stop)? else { return Ok(()) };
        let lasting = INCIDENT_SEEN_S * options.speed;
        let fault = json!({
            "target": format!("{device}/temperature"), "fault": "offset", "value": 150,
            "for": format!("{}s", lasting.max(INCIDENT_MIN_S)),
        });
        control.post("/fault", &fault)?.json().context("start the scripted incident")?;
        let end = Instant::now() + Duration::from_secs_f64(INCIDENT_WORLD_S / f64::from(options.speed));
        while Instant::now() < end && !stop.load(Ordering::Relaxed) {
            self.tick()?;
        }
        Ok(())
    }

    /// A device whose alert is not active, so that a new one can be raised: after a second start the last one may still
    /// be. Waits for one to clear if need be; `None` when told to stop.
    fn calm_device(&mut self, stop: &AtomicBool) -> Result<Option<&'static str>> {
        let gateway = self.gateways.iter().find(|gateway| gateway["name"] == INCIDENT_SITE);
        let gateway = gateway.context("the hotel has a gateway")?.clone();
        let mut told = false;
        while !stop.load(Ordering::Relaxed) {
            let status = status(&gateway)?;
            let alerts = status["alerts"].as_array().map_or(&[][..], Vec::as_slice);
            let busy = |device: &&str| {
                alerts.iter().any(|alert| {
                    alert["device"] == *device
                        && alert["rule"].as_str().is_some_and(|rule| rule.ends_with(INCIDENT_RULE))
                })
            };
            if let Some(device) = INCIDENT_DEVICES.into_iter().find(|device| !busy(device)) {
                return Ok(Some(device));
            }
            if !told {
                eprintln!("waiting until an alert of the run before has cleared …");
                told = true;
            }
            self.tick()?;
        }
        Ok(None)
    }

    fn say(&self, options: &Options) {
        let password = |user: &str| self.kept.users.get(user).map_or("", String::as_str);
        if options.json {
            let line = json!({
                "console": self.console, "user": setup::DUTY, "password": password(setup::DUTY),
                "token": self.kept.token, "gateways": self.gateways,
                "users": self.kept.users, "ready_after_s": self.started.elapsed().as_secs_f64(),
            });
            print_line(&line.to_string());
            return;
        }
        let speed = options.speed;
        let units: Vec<String> = (self.kept.users.iter())
            .filter(|(user, _)| user.ends_with("-unit"))
            .map(|(user, password)| format!("\n    {user:14} {password}"))
            .collect();
        let units = units.concat();
        print_line(&format!(
            "\n  控制台 Console      {console}\n  用户 User           {duty}\n  密码 Password       {duty_password}\n\n  \
             其他用户 Other users\n    {reviewer:14} {reviewer_password}\n    {admin:14} {admin_password}{units}\n\n  \
             {speed} 倍速,15 秒内出现一条预警;按 Ctrl-C 停止。\n  \
             {speed}x real time; an alert appears within 15 s; Ctrl-C stops everything.",
            console = self.console,
            duty = setup::DUTY,
            duty_password = password(setup::DUTY),
            reviewer = setup::REVIEWER,
            reviewer_password = password(setup::REVIEWER),
            admin = setup::ADMIN,
            admin_password = password(setup::ADMIN),
        ));
    }

    /// What has been going on, from the public API and the kernel.
    fn summary(&self) -> Result<String> {
        let count =
            |path: &str, key: &str| -> Result<usize> { Ok(rows(&self.api.get(path)?.json()?, key).len()) };
        let (mut readings, mut cycles) = (0, 0);
        for gateway in &self.gateways {
            let id = gateway["gateway"].as_str().unwrap_or_default();
            cycles += count(&format!("/api/v1/cycles?gateway={id}"), "cycles")?;
            let page = gateway["page"].as_str().context("the gateway has a page")?;
            readings += counted(page, "nonsite_gateway_readings_total")?;
        }
        let memory: Vec<String> = self
            .children
            .iter()
            .filter_map(|child| {
                Some(format!("{} {:.1} MiB", child.name(), child.resident_kib()? as f64 / 1024.0))
            })
            .collect();
        Ok(format!(
            "demo: {} readings in {} records of {} gateways, {} alerts, {} cases, {} cycles; memory: {}",
            readings,
            counted(&self.console, "center_records")?,
            self.gateways.len(),
            count("/api/v1/alerts?state=all", "alerts")?,
            count("/api/v1/cases", "cases")?,
            cycles,
            memory.join(", "),
        ))
    }

    /// Gateways first, so that what they still have to say reaches the center; the center last.
    fn stop(self) {
        let (gateways, others): (Vec<_>, Vec<_>) =
            self.children.into_iter().partition(|child| child.name().ends_with("-gateway"));
        let (center, simulators): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|child| child.name() == "center");
        child::stop(gateways);
        child::stop(simulators);
        child::stop(center);
        // Nothing is left, so the next start need not look.
        drop(child::end_leftovers(&self.folder));
    }
}

/// Lists come bare or under a name.
fn rows<'v>(answer: &'v Value, key: &str) -> &'v [Value] {
    answer.as_array().or_else(|| answer[key].as_array()).map_or(&[], Vec::as_slice)
}

/// What a gateway's own page says.
fn status(gateway: &Value) -> Result<Value> {
    let page = gateway["page"].as_str().context("the gateway has a page")?;
    Client::new(page).get("/api/status")?.json()
}

/// `epoch/seq`
fn place(text: &Value) -> Option<(u64, u64)> {
    let (epoch, seq) = text.as_str()?.split_once('/')?;
    Some((epoch.parse().ok()?, seq.parse().ok()?))
}

/// Sum of a counter in Prometheus text.
fn counted(base: &str, name: &str) -> Result<u64> {
    let text = Client::new(base).get("/metrics")?.text();
    let lines = text.lines().filter(|line| line.split([' ', '{']).next() == Some(name));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// Writes what the gateway of `site` would have seen from the beginning of the simulator's world until `to`.
fn record(ground: &Ground, site: &Site, world: &[String], to: i64, file: &Path) -> Result<()> {
    let status = Command::new(ground.program("firmware-sim"))
        .args(["history", site.name])
        .args(world)
        .args(["--to", &to.to_string(), "--every", "10s", "--out"])
        .arg(file)
        .stdout(Stdio::null())
        .status()
        .context("run firmware-sim history")?;
    ensure!(status.success(), "firmware-sim history: {status}");
    Ok(())
}

/// Lets the gateway of `site` join the center.
fn enrol(ground: &Ground, admin: &Client, site: &Site, console: &str, folder: &Path) -> Result<()> {
    let code = setup::enrolment_code(admin, site)?;
    let output = Command::new(ground.program("gateway"))
        .args(["enrol", console, &code, "--site"])
        .arg(&site.file)
        .arg("--data")
        .arg(folder.join(site.name).join("data"))
        .output()
        .context("run gateway enrol")?;
    if !output.status.success() {
        bail!("gateway enrol for {}: {}", site.name, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The port asked for, else that of the last start if it is still free, else any.
fn console_port(options: &Options, kept: &Kept) -> u16 {
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    options.port.or_else(|| kept.port.filter(free)).unwrap_or(0)
}

/// Arguments, and those that every process of the demo takes.
fn args(own: &[&str], key: &str) -> Vec<String> {
    own.iter().copied().chain(["--demo-clock", key, "--json"]).map(ToOwned::to_owned).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[expect(clippy::print_stdout, reason = "the one place where the demo's data leaves")]
fn print_line(line: &str) {
    println!("{line}");
}

/// `60s`, `5m`, `2h`, or plain seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a time such as 60s or 5m"))?;
    match unit {
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" | "min" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err(format!("`{unit}` is not one of s, m, h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(duration("60s"), Ok(Duration::from_mins(1)));
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        for wrong in ["", "s", "5d", "-3s", "1.5m"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn places_are_ordered_by_epoch_then_by_seq() {
        assert_eq!(place(&json!("2/17")), Some((2, 17)));
        assert!(place(&json!("2/1")) > place(&json!("1/900")));
        assert!(place(&Value::Null) < place(&json!("1/0")));
    }
}
