//! Sinks against servers that do everything wrong: what is taken, what is set aside, what is told, what is missed.

mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::clock::Wall;
use gateway::config::{Begin, InfluxApi, InfluxPlan, SinkPlan, TargetPlan, UrlPlan, WebhookPlan};
use gateway::history::advance;
use gateway::metrics::Metrics;
use gateway::recorder::start::{Setup, start};
use gateway::recorder::{Answers, Event};
use gateway::sinks::reader::Source;
use gateway::sinks::status::{Shown, State};
use gateway::sinks::{Ended, Home, Sink, store};
use gateway::state::DataDir;
use gateway_engine::intake::Answer;
use gateway_journal::{Journal, Limits};
use gateway_model::{EngineTime, Raw, StopCause};
use tempfile::TempDir;
use tokio::sync::mpsc;

use self::server::{Act, Fake, STORED};
use crate::rig::{self, HOTEL, eventually, site};

/// 2026-11-22T00:00:00Z
const BEGIN: i64 = 1_795_305_600_000;

/// A gateway's data directory, and a recorder that writes into it whenever asked.
struct Ground {
    dir: TempDir,
    now: i64,
    ring_bytes: u64,
}

impl Ground {
    fn new(ring_bytes: u64) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), now: BEGIN, ring_bytes }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// One life of a gateway: so many polls of one cabinet, of which the tenth to the thirtieth are too hot.
    fn live(&mut self, polls: usize) {
        let plan = site(HOTEL).plan;
        let civil = Arc::new(AtomicI64::new(self.now));
        let data = DataDir::open(self.path()).unwrap();
        let (urgent, _kept) = mpsc::channel(1_000);
        let limits = Limits { ring_bytes: self.ring_bytes, keep_bytes: 4 << 20, segment_bytes: 16 << 10 };
        let setup = rig::setup(&data, &plan, Wall::steered(civil.clone()), urgent);
        let setup = Setup { limits, ..setup };
        let (mut core, _) = start(setup).unwrap();
        let temperature = rig::point(&plan, "cabinet-1/temperature");
        for poll in 0..polls {
            civil.store(self.now, Ordering::Relaxed);
            let at = EngineTime(self.now);
            advance(&mut core, at).unwrap();
            let tenths = if (10..30).contains(&poll) { 2_000 } else { 250 + 10 * (poll as i64 % 7) };
            let items = vec![(temperature, Answer::Raw(Raw::Int(tenths)))];
            core.take(Event::Answers(Answers { at, items, frame: None }), at).unwrap();
            self.now += 10_000;
        }
        core.stop(EngineTime(self.now), StopCause::Asked).unwrap();
    }

    fn sink(&self, plan: &SinkPlan) -> Sink {
        let (journal, _) = Journal::open_read_only(&self.path().join("journal")).unwrap();
        let gateway = DataDir::open(self.path()).unwrap().key().unwrap().gateway_id();
        let home = Home { data: self.path().to_owned(), site: "hotel-1".into(), gateway };
        let source = Source::Offline(Arc::new(Mutex::new(journal)));
        Sink::open(plan, &home, source, &Metrics::default()).unwrap()
    }

    /// Delivers everything there is.
    async fn drain(&self, plan: &SinkPlan) -> Ended {
        let mut sink = self.sink(plan);
        let drained = tokio::time::timeout(Duration::from_mins(1), sink.drain(|_| {})).await;
        drained.unwrap_or_else(|_| panic!("not within a minute: {:?}", sink.status().shown())).unwrap()
    }

    /// Runs a sink until it shows what is wanted.
    async fn until(&self, plan: &SinkPlan, wanted: impl Fn(&Shown) -> bool) -> Shown {
        let mut sink = self.sink(plan);
        let status = sink.status();
        tokio::select! {
            ended = sink.drain(|_| {}) => panic!("ended: {ended:?}"),
            shown = eventually("the state", async || Some(status.shown()).filter(&wanted)) => shown,
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn cli(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["sink", args[0], &self.path().to_string_lossy()])
            .args(&args[1..])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

fn influx(ground: &Ground, name: &str, url: &str, lines: usize) -> SinkPlan {
    let token_file = Some(ground.file("token", "secret-token\n"));
    let api = InfluxApi::V2 { org: "health & co".into(), bucket: "clinic".into(), token_file };
    let every = Duration::from_millis(100);
    let target = InfluxPlan { url: url.into(), api, gzip: true, lines, bytes: 1 << 20, every };
    plan(name, TargetPlan::Influx(target))
}

fn webhook(name: &str, url: &str, secret_files: Vec<PathBuf>) -> SinkPlan {
    let url = UrlPlan::Is(format!("{url}/hooks/alerts?key=1"));
    plan(name, TargetPlan::Webhook(WebhookPlan { url, secret_files, token_file: None, body: None }))
}

fn plan(name: &str, target: TargetPlan) -> SinkPlan {
    let timeout = Duration::from_secs(2);
    SinkPlan { name: name.into(), begin: Begin::Oldest, timeout, ca_file: None, target }
}

fn lines_of(requests: &[server::Request]) -> BTreeSet<String> {
    requests.iter().flat_map(server::Request::lines).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_class_of_answer_of_a_database_is_lived_through() {
    let mut ground = Ground::new(8 << 20);
    ground.live(200);
    let calm = Fake::start(|_, _| STORED).await;
    assert_eq!(ground.drain(&influx(&ground, "calm", &calm.url, 1_000)).await, Ended::Drained);
    let all = lines_of(&calm.taken());
    assert_eq!(all.iter().filter(|line| line.starts_with("reading,")).count(), 200, "{all:?}");
    assert!(all.iter().any(|line| line.starts_with("alert,") && line.contains("change=\"raised\"")));
    let first = &calm.seen()[0];
    assert_eq!(first.target, "/api/v2/write?org=health+%26+co&bucket=clinic&precision=ms");
    assert_eq!(first.headers["authorization"], "Token secret-token");
    assert_eq!(first.headers["content-encoding"], "gzip");

    // One value that the database does not want, and every kind of trouble before and between.
    let poison =
        |line: &&str| line.contains("value=27,") || line.starts_with("alert,") && line.contains("raised");
    let stormy = Fake::start(move |n, request| match n {
        0 => Act::Say(500, "", "internal error"),
        1 => Act::Close,
        2 => Act::Say(429, "retry-after: 5\r\n", "slow down"),
        3 => Act::Hang,
        _ if request.lines().len() > 40 => Act::Say(413, "", "too large"),
        _ if n % 60 == 0 => Act::Say(503, "retry-after: 0\r\n", "busy"),
        _ if request.lines().iter().any(poison) => {
            Act::Say(400, "", r#"{"code":"invalid","message":"unable to parse"}"#)
        }
        _ => STORED,
    })
    .await;
    let sink = influx(&ground, "stormy", &stormy.url, 100);
    assert_eq!(ground.drain(&sink).await, Ended::Drained);
    let seen = stormy.seen();
    assert!(seen[3].at - seen[2].at >= Duration::from_secs(5), "Retry-After was kept");
    let asides = store::asides(ground.path(), "stormy");
    let aside: BTreeSet<String> = asides.iter().map(|aside| aside.parcel.body.clone()).collect();
    let wanted: BTreeSet<String> = all.iter().filter(|line| poison(&line.as_str())).cloned().collect();
    assert!(!wanted.is_empty());
    assert_eq!(aside, wanted, "exactly what was refused is set aside");
    assert!(
        asides.iter().all(|aside| aside.words.contains("400") && aside.words.contains("unable to parse"))
    );
    let taken = lines_of(&stormy.taken());
    assert_eq!(taken.union(&aside).cloned().collect::<BTreeSet<_>>(), all, "nothing is missing");
    assert_eq!(taken.intersection(&aside).count(), 0);
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_told_in_words_without_the_secret() {
    let mut ground = Ground::new(8 << 20);
    ground.live(20);
    let elsewhere = Fake::start(|_, _| STORED).await;
    let location: &'static str = Box::leak(format!("location: {}/x\r\n", elsewhere.url).into_boxed_str());
    for (name, act, words) in [
        ("no-token", Act::Say(401, "", "unauthorized access"), "401"),
        ("no-bucket", Act::Say(404, "", "bucket \"clinic\" not found"), "not found"),
        ("moved", Act::Say(307, location, ""), "redirects are not followed"),
    ] {
        let fake = Fake::start(move |_, _| act).await;
        let sink = influx(&ground, name, &fake.url, 100);
        let shown = ground.until(&sink, |shown| shown.state == State::Refused).await;
        assert!(shown.words.contains(words) && !shown.words.contains("secret"), "{shown:?}");
        assert_eq!(fake.seen().len(), 1, "{name}: asked again only after half a minute");
        assert_eq!(store::look(ground.path(), name).unwrap().aside, 0, "nothing is given up");
    }
    assert_eq!(elsewhere.seen().len(), 0, "nothing went where it was not meant to go");
    // TLS with somebody who does not speak it, a port where nobody is, and no token file.
    let plain = Fake::start(|_, _| STORED).await;
    let tls = influx(&ground, "tls", &plain.url.replace("http:", "https:"), 100);
    let shown = ground.until(&tls, |shown| shown.state == State::Failing).await;
    assert!(!shown.words.is_empty() && plain.taken().is_empty(), "{shown:?}");
    let nobody = influx(&ground, "nobody", "http://127.0.0.1:1", 100);
    ground.until(&nobody, |shown| shown.state == State::Failing).await;
    let no_file = influx(&ground, "no-file", &plain.url, 100);
    std::fs::remove_file(ground.path().join("token")).unwrap();
    let shown = ground.until(&no_file, |shown| shown.state == State::Refused).await;
    assert!(shown.words.contains("read the secret in"), "{shown:?}");
}

/// What Python's standard library makes of the headers: no code of ours.
fn signature_is_good(secret: &str, request: &server::Request) -> bool {
    const CHECK: &str = "
import base64, hashlib, hmac, sys
secret, ident, stamp, given = sys.argv[1:5]
signed = f'{ident}.{stamp}.'.encode() + sys.stdin.buffer.read()
mac = hmac.new(base64.b64decode(secret.removeprefix('whsec_')), signed, hashlib.sha256)
wanted = 'v1,' + base64.b64encode(mac.digest()).decode()
sys.exit(0 if wanted in given.split(' ') else 1)
";
    use std::io::Write as _;
    let header = |name: &str| request.headers[name].clone();
    let mut python = Command::new("python3")
        .args(["-c", CHECK, secret])
        .args([header("webhook-id"), header("webhook-timestamp"), header("webhook-signature")])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(request.body.as_bytes()).unwrap();
    python.wait().unwrap().success()
}

#[tokio::test]
async fn a_webhook_keeps_its_schedule_and_its_ids_whatever_the_other_side_does() {
    let mut ground = Ground::new(8 << 20);
    ground.live(60);
    let (old, new) =
        ("whsec_b2xkIHNlY3JldCBvbGQgc2VjcmV0IG9sZA==", "whsec_bmV3IHNlY3JldCBuZXcgc2VjcmV0IG5ldw==");
    let secrets = || vec![ground.file("old", old), ground.file("new", new)];
    let calm = Fake::start(|_, _| STORED).await;
    ground.drain(&webhook("calm", &calm.url, secrets())).await;
    let calm = calm.taken();
    let kinds: Vec<String> = calm
        .iter()
        .map(|request| {
            let event: serde_json::Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!((&event["specversion"], &event["subject"]), (&"1.0".into(), &"cabinet-1".into()));
            assert_eq!(event["id"], request.headers["webhook-id"]);
            assert!(event["source"].as_str().unwrap().starts_with("urn:nonsite:gateway:"));
            assert!(event["time"].as_str().unwrap().starts_with("2026-11-22T"), "{event}");
            for secret in [old, new] {
                assert!(signature_is_good(secret, request), "{:?}", request.headers);
            }
            assert!(!signature_is_good("whsec_AAAA", request));
            event["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(kinds.contains(&"org.nonsite.alert.raised".to_owned()), "{kinds:?}");
    assert!(kinds.contains(&"org.nonsite.alert.cleared".to_owned()), "{kinds:?}");
    let elsewhere = Fake::start(|_, _| STORED).await;
    let location: &'static str = Box::leak(format!("location: {}/x\r\n", elsewhere.url).into_boxed_str());

    let ground = &ground;
    let calm = &calm;
    let storm = |name: &'static str, act: Act, least: Duration| async move {
        let fake = Fake::start(move |n, _| if n == 0 { act } else { STORED }).await;
        ground.drain(&webhook(name, &fake.url, secrets())).await;
        let seen = fake.seen();
        assert_eq!(seen[0].body, seen[1].body, "{name}");
        assert_eq!(seen[0].headers["webhook-id"], seen[1].headers["webhook-id"], "{name}");
        assert!(seen[1].at - seen[0].at >= least, "{name}: {:?}", seen[1].at - seen[0].at);
        let ids: Vec<_> = fake.taken().iter().map(|request| request.headers["webhook-id"].clone()).collect();
        let wanted: Vec<_> = calm.iter().map(|request| request.headers["webhook-id"].clone()).collect();
        assert_eq!(ids, wanted, "{name}: each once, in order");
        seen
    };
    // The second attempt is due after 5 s, a quarter less or more.
    let second = Duration::from_millis(3_750);
    let stormy = tokio::join!(
        storm("error", Act::Say(500, "", "oops"), second),
        storm("busy", Act::Say(429, "retry-after: 8\r\n", ""), Duration::from_secs(8)),
        storm("hang", Act::Hang, second),
        storm("close", Act::Close, second),
        storm("redirect", Act::Say(302, location, ""), second),
    );
    // Only now: Python would hold up the thread on which the others wait for their answers.
    for seen in [stormy.0, stormy.1, stormy.2, stormy.3, stormy.4] {
        assert!(seen.iter().all(|request| signature_is_good(new, request)));
    }
    assert_eq!(elsewhere.seen().len(), 0);
    // A process that lost its cursor tells everything again, under the same ids.
    std::fs::remove_file(ground.path().join("sinks/calm/state.json")).unwrap();
    let again = Fake::start(|_, _| STORED).await;
    ground.drain(&webhook("calm", &again.url, secrets())).await;
    let pairs = |requests: &[server::Request]| -> Vec<(String, String)> {
        requests.iter().map(|request| (request.headers["webhook-id"].clone(), request.body.clone())).collect()
    };
    assert_eq!(pairs(&again.taken()), pairs(calm));
}

#[tokio::test]
async fn a_new_sink_may_begin_with_what_comes_from_now_on() {
    let mut ground = Ground::new(8 << 20);
    ground.live(60);
    let fake = Fake::start(|_, _| STORED).await;
    let sink = SinkPlan { begin: Begin::Newest, ..influx(&ground, "later", &fake.url, 100) };
    ground.drain(&sink).await;
    assert_eq!(fake.seen().len(), 0);
    ground.live(9);
    ground.drain(&sink).await;
    let lines = lines_of(&fake.taken());
    assert_eq!(lines.iter().filter(|line| line.starts_with("reading,")).count(), 9, "{lines:?}");
    assert_eq!(store::look(ground.path(), "later").unwrap().gaps.0.len(), 0, "what was before is not missed");
}

#[tokio::test]
async fn gone_means_gone_until_a_person_resumes() {
    let mut ground = Ground::new(8 << 20);
    ground.live(60);
    let fake = Fake::start(|n, _| if n == 0 { Act::Say(410, "", "unsubscribed") } else { STORED }).await;
    let sink = webhook("platform", &fake.url, Vec::new());
    assert_eq!(ground.drain(&sink).await, Ended::Stopped);
    assert_eq!(ground.drain(&sink).await, Ended::Stopped, "also after a restart");
    assert_eq!(fake.seen().len(), 1);
    let (code, out, _) = ground.cli(&["list"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("stopped by its target: 410") && out.contains("gateway sink resume"), "{out}");
    let (code, _, said) = ground.cli(&["resume", "platform"]);
    assert_eq!((code, said.contains("resumed")), (Some(0), true), "{said}");
    assert_eq!(ground.drain(&sink).await, Ended::Drained);
    assert!(fake.taken().len() >= 2);
}

#[tokio::test]
async fn a_sink_that_is_overtaken_knows_what_it_missed() {
    let mut ground = Ground::new(64 << 10);
    ground.live(100);
    let fake = Fake::start(|_, _| STORED).await;
    let sink = influx(&ground, "slow", &fake.url, 1_000);
    ground.drain(&sink).await;
    let before = lines_of(&fake.taken()).len();
    let mut lived = 100;
    for _ in 0..3 {
        ground.live(3_000);
        lived += 3_000;
    }
    ground.drain(&sink).await;
    let held = store::look(ground.path(), "slow").unwrap();
    assert!(!held.gaps.0.is_empty(), "the ring was overtaken");
    assert!(held.gaps.0.iter().all(|gap| gap.from.is_some() && gap.to.is_some()), "{:?}", held.gaps);
    let readings = lines_of(&fake.taken()).iter().filter(|line| line.starts_with("reading,")).count();
    let missed: u64 = held.gaps.0.iter().filter_map(|gap| gap.count).sum();
    assert!(readings > before, "and it goes on behind the hole");
    // Not every poll is kept; what was kept is delivered or counted as missed.
    let journal = Journal::open_read_only(&ground.path().join("journal")).unwrap().0;
    let kept: usize = journal
        .scan(gateway_journal::Position::default())
        .filter_map(Result::ok)
        .filter_map(|stored| gateway_wire::reread(&stored.bytes).ok()?.body.ok())
        .map(|body| {
            let gateway_wire::Body::Inputs(inputs) = body else { return 0 };
            inputs.items.iter().filter(|item| matches!(item, gateway_model::Input::Reading(_))).count()
        })
        .sum();
    assert!(readings >= kept, "{readings} delivered, {kept} still there");
    assert!(missed > 0 && readings as u64 + missed <= lived, "{readings} + {missed} of {lived}");
    let (_, out, _) = ground.cli(&["gaps", "slow"]);
    assert_eq!(out.lines().count(), held.gaps.0.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_sink_is_listed_drained_and_forgotten() {
    let mut ground = Ground::new(8 << 20);
    ground.live(60);
    let fake = Fake::start(|_, request| {
        if request.lines().iter().any(|line| line.contains("value=31,")) {
            Act::Say(422, "", "no 31")
        } else {
            STORED
        }
    })
    .await;
    ground.drain(&influx(&ground, "old-history", &fake.url, 100)).await;
    let before = lines_of(&fake.taken()).len();
    ground.live(60);
    // No site file names it any more; its folder knows where it went.
    let (code, out, _) = ground.cli(&["list"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("old-history (influxdb): nobody works it, at 1/"), "{out}");
    let (code, out, said) = ground.cli(&["drain", "old-history"]);
    assert_eq!(code, Some(0), "{said}");
    let shown: serde_json::Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!(shown["cursor"], shown["newest"]);
    assert!(lines_of(&fake.taken()).len() > before);
    let (_, out, _) = ground.cli(&["aside", "old-history"]);
    assert!(out.contains("422 Unprocessable Entity: no 31"), "{out}");
    let (code, _, said) = ground.cli(&["drain", "other"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("there is no sink `other`") && said.contains("there are: old-history"), "{said}");
    assert_eq!(ground.cli(&["drop", "old-history"]).0, Some(0));
    let (_, out, _) = ground.cli(&["list"]);
    assert_eq!(out, "");
}

#[test]
fn the_sinks_of_the_example_are_ready_to_be_used() {
    let text = HOTEL.replace("\n#: ", "\n").replace("\n#:\n", "\n\n");
    let site = gateway::config::load_str("site.toml", &text).unwrap_or_else(|problems| {
        panic!("{}", gateway::config::explain(&problems, false));
    });
    let kinds: Vec<_> = site.sinks.iter().map(|sink| sink.target.kind()).collect();
    assert_eq!(kinds, ["influxdb", "mqtt", "webhook"]);
    // The files with the secrets are not there: worth a word, not a refusal.
    assert_eq!(site.warnings.len(), 4, "{:?}", site.warnings);
}

#[test]
fn problems_of_a_sink_are_shown_where_they_are() {
    let text = format!(
        "{HOTEL}\n{}",
        r#"
[[sink]]
name = "history"
kind = "influxdb"
url = "http://db.example.org:8086"
org = "o"
bucket = "b"
tokenfile = "x"

[[sink]]
name = "platform"
kind = "webhook"
url = "https://platform.example.org/hook?key=1"
body = '{"text": "{{titel_zh}}"}'

[[sink]]
name = "platform"
kind = "webhok"

[[sink]]
name = "broker"
kind = "mqtt"
url = "mqtt://127.0.0.1"
prefix = "a/#"
user = "me"
"#
    );
    let problems = gateway::config::load_str("site.toml", &text).unwrap_err();
    let said = gateway::config::explain(&problems, false);
    for words in [
        "what this sink sends would leave this machine unencrypted",
        "`tokenfile` is not known in a [[sink]]",
        "did you mean `token_file`?",
        "there is no field `titel_zh`",
        "did you mean `title_zh`?",
        "there is a sink `platform` already",
        "`webhok` is not a kind of sink",
        "not the beginning of a topic",
        "half a login",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let template = problems.iter().find(|problem| problem.message.contains("titel_zh")).unwrap();
    assert_eq!(&text[template.span.clone()], "{{titel_zh}}");
}
