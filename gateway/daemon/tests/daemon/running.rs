//! The whole process in one: Modbus peer, embedded broker, page, and a center of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use gateway::clock::Wall;
use gateway::config::{PagePlan, Site};
use gateway::run::{Options, Up, run};
use gateway::state::{DataDir, Enrolled};
use gateway::uplink::client::audience;
use gateway_model::{AlertId, CivilTime, CommandBody, Epoch, InstitutionId, Seq, SiteId};
use gateway_wire::{
    Body, Enrolment, EpochReceipt, Kind, Order, Receipt, SigningKey, Survey, SurveyRequest, Token,
    VerifyingKey, open, pack_orders, peek, unpack,
};
use rumqttc::{AsyncClient, MqttOptions, PublishOptions, QoS};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rig::{HOSPITAL, HOTEL, Peer, eventually, site};

const PAGE: Option<PagePlan> = Some(PagePlan { listen: SocketAddr::new(LOOPBACK, 0) });
const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

pub(crate) struct Running {
    pub(crate) up: Up,
    stop: CancellationToken,
    ended: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(crate) async fn start(mut site: Site, data: PathBuf, wall: Wall) -> Self {
        site.page = PAGE;
        let stop = CancellationToken::new();
        let (up_in, up) = oneshot::channel();
        let mut up_in = Some(up_in);
        let options = Options { site, data, wall, history: None, record: None, origin: None, lines: None };
        let ended = tokio::spawn(run(options, stop.clone(), move |up| {
            up_in.take().unwrap().send(up.clone()).unwrap();
        }));
        Self { up: up.await.unwrap(), stop, ended }
    }

    async fn status(&self) -> serde_json::Value {
        let url = format!("{}/api/status", self.up.page.as_ref().unwrap());
        plain().get(url).send().await.unwrap().json().await.unwrap()
    }

    async fn point(&self, id: &str) -> serde_json::Value {
        let status = self.status().await;
        status["points"].as_array().unwrap().iter().find(|point| point["id"] == id).unwrap().clone()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
    }
}

pub(crate) fn plain() -> reqwest::Client {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A clock that runs at demo speed from now on.
fn fast() -> Wall {
    Wall::demo_from(CivilTime(1_795_305_600_000), 60.0)
}

fn hotel(address: SocketAddr) -> Site {
    let mut site = site(HOTEL);
    site.buses[0].address = address.to_string();
    // Nobody is at the meters.
    site.buses[1].address = "127.0.0.1:1".into();
    site
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_register_reaches_the_page_in_both_languages() {
    let (peer, address) = Peer::start().await;
    peer.set(1, 4, 0, 251);
    peer.set(1, 4, 1, 30_000);
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(hotel(address), dir.path().into(), Wall::system()).await;
    let point = eventually("a good temperature", async || {
        let point = running.point("cabinet-1/temperature").await;
        (point["quality"] == "good").then_some(point)
    })
    .await;
    assert!((point["value"].as_f64().unwrap() - 25.1).abs() < 1e-9, "{point}");
    assert_eq!(
        running.point("cabinet-2/temperature").await["quality"],
        "bad",
        "30000 means that the probe is open"
    );
    let page = running.up.page.clone().unwrap();
    for (lang, word) in [("zh", "网关状态"), ("en", "Gateway status")] {
        let answer = plain().get(format!("{page}/?lang={lang}")).send().await.unwrap();
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let html = answer.text().await.unwrap();
        assert!(html.contains(word) && html.contains("25.1"), "{html}");
    }
    let metrics = plain().get(format!("{page}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("nonsite_gateway_bus_requests_total{bus=\"modules\",outcome=\"ok\"}"),
        "{metrics}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_reaches_the_journal_through_the_embedded_broker() {
    let mut site = site(HOSPITAL);
    site.buses[0].address = "127.0.0.1:1".into();
    site.broker.move_to(SocketAddr::new(LOOPBACK, 0));
    let bag = site.plan.points.iter().find(|point| point.id.ends_with("/bag")).unwrap().id.clone();
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(site, dir.path().into(), Wall::system()).await;
    let broker = running.up.mqtt.unwrap();
    let options = MqttOptions::new("publisher", (broker.ip().to_string(), broker.port()));
    let (client, mut events) = AsyncClient::builder(options).capacity(8).build();
    let polling = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let payload = r#"{"v":1,"at":"2026-11-22T09:30:00+08:00","label":"MW-1","category":"841-001-01","department":"外科","kg":3.25}"#;
    let with = |payload: &str| {
        let payload = payload.as_bytes().to_vec();
        client.publish("hospital/waste/bag", payload, PublishOptions::new(QoS::AtLeastOnce))
    };
    with("no JSON at all").await.unwrap();
    // The listener may still be connecting: a message before that is nobody's.
    eventually("the bag's weight", async || {
        with(payload).await.unwrap();
        (running.point(&bag).await["value"] == 3.25).then_some(())
    })
    .await;
    polling.abort();
    running.stop().await;
    let key = DataDir::open(dir.path()).unwrap().key().unwrap().verifying_key();
    let (journal, _) = gateway_journal::Journal::open_read_only(&dir.path().join("journal")).unwrap();
    let facts = journal.scan(gateway_journal::Position::default()).filter_map(|stored| {
        match open(&key, &stored.unwrap().bytes).unwrap().body.unwrap() {
            Body::Inputs(inputs) => Some(format!("{:?}", inputs.items)),
            Body::Start(_)
            | Body::Config(_)
            | Body::Conclusions(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => None,
        }
    });
    assert!(facts.collect::<String>().contains("BagLabelled"), "the fact is an input of its own");
}

/// A center that keeps what it gets, and misbehaves as told.
#[derive(Clone)]
pub(crate) struct Center(pub(crate) Arc<Mutex<Books>>);

pub(crate) struct Books {
    pub(crate) key: SigningKey,
    gateway: VerifyingKey,
    now: Box<dyn Fn() -> CivilTime + Send>,
    pub(crate) records: BTreeMap<(u64, u64), Vec<u8>>,
    twice: usize,
    sessions: usize,
    batches: Vec<Vec<Kind>>,
    /// So many receipts are lost on the way back.
    lose_receipts: usize,
    /// So many batches are refused with 503.
    refuse: usize,
    pub(crate) orders: Vec<Vec<u8>>,
    /// Under the hash by which they are asked for, whatever they are.
    pub(crate) configurations: BTreeMap<String, Vec<u8>>,
    /// So many pieces of a configuration are brought; then the center fails.
    pub(crate) pieces: usize,
    ordered_after: BTreeSet<String>,
}

impl Center {
    pub(crate) async fn start(gateway: VerifyingKey, wall: Wall) -> (Self, String) {
        let books = Books {
            key: SigningKey::from_bytes(&[9; 32]),
            gateway,
            now: Box::new(move || wall.civil().unwrap()),
            records: BTreeMap::new(),
            twice: 0,
            sessions: 0,
            batches: Vec::new(),
            lose_receipts: 0,
            refuse: 0,
            orders: Vec::new(),
            configurations: BTreeMap::new(),
            pieces: usize::MAX,
            ordered_after: BTreeSet::new(),
        };
        let center = Self(Arc::new(Mutex::new(books)));
        let routes = Router::new()
            .route("/gateway/v1/records", post(records))
            .route("/gateway/v1/session", post(session))
            .route("/gateway/v1/orders", get(orders))
            .route("/gateway/v1/configurations/{sha256}", get(configuration))
            .with_state(center.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (center, url)
    }

    pub(crate) fn enrolled(&self, url: &str) -> Enrolled {
        let books = self.0.lock().unwrap();
        let statement = Enrolment {
            gateway_key: books.gateway.to_bytes(),
            institution: InstitutionId("i".into()),
            site: SiteId("hotel-1".into()),
            epoch_floor: Epoch(4),
            tls_keys: Vec::new(),
            issued: CivilTime(0),
            gateway: None,
        };
        let center = books.key.verifying_key();
        Enrolled { url: url.to_owned(), center, statement: statement.seal(&books.key) }
    }
}

impl Books {
    fn admit(&self, headers: &HeaderMap) -> Option<Response> {
        let token = headers["authorization"].to_str().unwrap().strip_prefix("Nonsite ").unwrap();
        let now = (self.now)();
        let checked = Token::check(&self.gateway, token, now, &audience(&self.key.verifying_key()));
        checked.err().map(|_| {
            let body = serde_json::json!({ "code": "token_stale", "server_time": now.0 });
            (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response()
        })
    }

    fn receipt(&self) -> Receipt {
        let mut epochs: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (epoch, seq) in self.records.keys() {
            epochs.entry(*epoch).or_default().insert(*seq);
        }
        let epochs = epochs.into_iter().map(|(epoch, seqs)| {
            let through = (0..1_000_000).take_while(|seq| seqs.contains(seq)).last();
            let beyond = seqs.iter().filter(|seq| through.is_none_or(|through| **seq > through));
            let have = beyond.map(|seq| (Seq(*seq), Seq(*seq))).take(64).collect();
            EpochReceipt { epoch: Epoch(epoch), through: through.map(Seq), have, ends: None }
        });
        Receipt { server_time: (self.now)(), window: 16, epochs: epochs.collect(), ..Receipt::default() }
    }
}

async fn records(State(center): State<Center>, headers: HeaderMap, body: Bytes) -> Response {
    let mut books = center.0.lock().unwrap();
    if let Some(refusal) = books.admit(&headers) {
        return refusal;
    }
    let batch = unpack(&body, 1_000).unwrap();
    if !batch.is_empty() && books.refuse > 0 {
        books.refuse -= 1;
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response();
    }
    books.batches.push(batch.iter().map(|bytes| peek(bytes).unwrap().1).collect());
    for bytes in &batch {
        let header = open(&books.gateway, bytes).unwrap().header;
        let known = books.records.insert((header.epoch.0, header.seq.0), bytes.to_vec());
        books.twice += usize::from(known.is_some_and(|known| {
            assert_eq!(known, *bytes, "a record never changes");
            true
        }));
    }
    if !batch.is_empty() && books.lose_receipts > 0 {
        books.lose_receipts -= 1;
        return StatusCode::BAD_GATEWAY.into_response();
    }
    books.receipt().encode().into_response()
}

/// What it has, in one page.
async fn session(State(center): State<Center>, headers: HeaderMap, body: Bytes) -> Response {
    let mut books = center.0.lock().unwrap();
    if let Some(refusal) = books.admit(&headers) {
        return refusal;
    }
    let asked = SurveyRequest::decode(&body).unwrap();
    assert_eq!((asked.session, asked.to), (None, None), "one page");
    books.sessions += 1;
    let Receipt { server_time, epochs, .. } = books.receipt();
    Survey { server_time, session: 7, epochs, next: None }.encode().into_response()
}

/// Five hundred bytes at a time.
async fn configuration(
    State(center): State<Center>,
    headers: HeaderMap,
    axum::extract::Path(sha256): axum::extract::Path<String>,
    uri: axum::http::Uri,
) -> Response {
    let mut books = center.0.lock().unwrap();
    if let Some(refusal) = books.admit(&headers) {
        return refusal;
    }
    let from: usize = uri.query().unwrap().strip_prefix("from=").unwrap().parse().unwrap();
    let Some(bytes) = books.configurations.get(&sha256).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if books.pieces == 0 {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    books.pieces -= 1;
    let from = from.min(bytes.len());
    bytes[from..bytes.len().min(from + 500)].to_vec().into_response()
}

async fn orders(State(center): State<Center>, headers: HeaderMap, uri: axum::http::Uri) -> Response {
    let all = {
        let mut books = center.0.lock().unwrap();
        if let Some(refusal) = books.admit(&headers) {
            return refusal;
        }
        books.ordered_after.insert(uri.query().unwrap().to_owned());
        books.orders.clone()
    };
    if all.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Also the ones that were carried out: a gateway must know them again.
    pack_orders(&all).into_response()
}

fn key(dir: &TempDir) -> VerifyingKey {
    DataDir::open(dir.path()).unwrap().key().unwrap().verifying_key()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_arrives_once_whatever_the_link_does_and_conclusions_come_first() {
    let (peer, address) = Peer::start().await;
    // The probe is broken: after ten minutes that is an alert.
    peer.set(1, 4, 0, 30_000);
    let dir = tempfile::tempdir().unwrap();
    let wall = fast();
    let (center, url) = Center::start(key(&dir), wall.clone()).await;
    DataDir::open(dir.path()).unwrap().enrol(&center.enrolled(&url)).unwrap();
    {
        let mut books = center.0.lock().unwrap();
        (books.refuse, books.lose_receipts) = (1, 1);
    }
    let mut site = hotel(address);
    site.center = Some(gateway::config::CenterPlan { url: url.clone(), month_bytes: None });
    // A first life without a center within reach builds a backlog.
    site.center.as_mut().unwrap().url = "http://127.0.0.1:1".into();
    let alone = Running::start(site.clone(), dir.path().into(), wall.clone()).await;
    assert!(alone.up.epoch > 4, "above what the center has seen of an older life");
    eventually("an alert: the cabinet is not measured", async || {
        (!alone.status().await["alerts"].as_array().unwrap().is_empty()).then_some(())
    })
    .await;
    assert_eq!(alone.status().await["center"], "down");
    alone.stop().await;

    site.center.as_mut().unwrap().url = url;
    let running = Running::start(site, dir.path().into(), wall).await;
    let last = eventually("the center has everything", async || {
        let status = running.status().await;
        (status["through"] == status["last"] && status["center"] == "up").then_some(status["last"].clone())
    })
    .await;
    running.stop().await;
    let books = center.0.lock().unwrap();
    let (epoch, seq) = books.records.keys().last().unwrap();
    assert_eq!(last.as_str().map(str::to_owned), Some(format!("{epoch}/{seq}")));
    assert_eq!(books.sessions, 1, "first it asks what the center has");
    let first = books.batches.iter().find(|batch| !batch.is_empty()).unwrap();
    assert_eq!(first[..2], [Kind::Start, Kind::Config]);
    assert!(first.contains(&Kind::Conclusions), "{first:?}");
    let before = first.iter().position(|kind| *kind == Kind::Conclusions).unwrap();
    assert!(
        before <= 4,
        "conclusions, the inputs that led there, start and config: nothing else before them: {first:?}"
    );
    assert!(books.twice > 0, "the lost receipt made it send again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_carried_out_once_and_a_wrong_clock_is_forgiven() {
    let (peer, address) = Peer::start().await;
    peer.set(1, 4, 0, 251);
    let dir = tempfile::tempdir().unwrap();
    let gateway = key(&dir);
    // The center is a day ahead of the gateway: its first token is stale.
    let ahead = Wall::demo_from(CivilTime(1_795_305_600_000 + 86_400_000), 60.0);
    let (center, url) = Center::start(gateway, ahead).await;
    DataDir::open(dir.path()).unwrap().enrol(&center.enrolled(&url)).unwrap();
    let order = {
        let books = center.0.lock().unwrap();
        let order = |seq, expires| Order {
            center_epoch: 1,
            seq,
            gateway: gateway.gateway_id(),
            issued: (books.now)(),
            expires: CivilTime(expires),
            author: "person-1".into(),
            body: CommandBody::Acknowledge { alert: AlertId { epoch: Epoch(5), n: 999 }, event: 1 },
        };
        vec![
            order(1, i64::MAX).seal(&books.key),
            order(2, 0).seal(&books.key),
            order(3, i64::MAX).seal(&SigningKey::from_bytes(&[1; 32])),
            Order {
                gateway: SigningKey::from_bytes(&[1; 32]).verifying_key().gateway_id(),
                ..order(4, i64::MAX)
            }
            .seal(&books.key),
            order(5, i64::MAX).seal(&books.key)[..90].to_vec(),
            b"acknowledge everything".to_vec(),
        ]
    };
    center.0.lock().unwrap().orders = order;
    let mut site = hotel(address);
    site.center = Some(gateway::config::CenterPlan { url, month_bytes: None });
    for _life in 0..2 {
        let running = Running::start(site.clone(), dir.path().into(), fast()).await;
        eventually("the order's end", async || {
            let asked = center.0.lock().unwrap().ordered_after.contains("after=1/2&wait=30");
            let status = running.status().await;
            (asked && status["through"] == status["last"]).then_some(())
        })
        .await;
        // Named, one by one: another key, another gateway, cut off, no order at all; and older ones are known again.
        eventually("each is named", async || {
            let page = running.up.page.clone().unwrap();
            let metrics = plain().get(format!("{page}/metrics")).send().await.unwrap().text().await.unwrap();
            let count = |outcome: &str| {
                let line = metrics.lines().find(|line| line.contains(&format!("outcome=\"{outcome}\"")));
                line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            };
            (count("order_refused") >= 4 && count("order_known") >= 2).then_some(())
        })
        .await;
        running.stop().await;
    }
    let books = center.0.lock().unwrap();
    let told: Vec<String> = books
        .records
        .values()
        .filter_map(|bytes| match open(&books.gateway, bytes).unwrap().body.unwrap() {
            Body::Conclusions(conclusions) => Some(format!("{:?}", conclusions.list)),
            Body::Start(_)
            | Body::Config(_)
            | Body::Inputs(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => None,
        })
        .collect();
    let ends = |what: &str| told.iter().map(|list| list.matches(what).count()).sum::<usize>();
    assert_eq!(ends("order: (1, 1), outcome: Refused("), 1, "{told:?}");
    assert_eq!(ends("order: (1, 2), outcome: Expired"), 1, "{told:?}");
    for refused in 3..6 {
        assert_eq!(ends(&format!("order: (1, {refused})")), 0, "not an order for this gateway");
    }
}
