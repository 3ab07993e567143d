//! A center without a port, and a gateway that seals real records.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    missing_docs,
    reason = "tests; each file uses its part"
)]

use std::sync::Arc;

use axum::Router;
use axum::body::Body as HttpBody;
use axum::http::{Request, Response, StatusCode, header};
use center::app::{App, AppState};
use center::clock::Clock;
use center::config::Config;
use center::http::router;
use gateway_model::*;
use gateway_wire::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub const INSTITUTION: &str = "91330100TEST000001";
pub const PASSWORD: &str = "correct horse battery";

pub struct Rig {
    pub directory: Arc<tempfile::TempDir>,
    pub app: AppState,
    pub router: Router,
    pub token: String,
}

pub fn config(directory: &std::path::Path) -> Config {
    Config { data: directory.join("data"), verify_grace_ms: 3_600_000, ..Config::default() }
}

/// A demo clock that runs this much faster than real time, from now on.
pub fn demo_clock(directory: &std::path::Path, speed: f64) -> Clock {
    let now = Clock::system().real();
    let key = json!({ "demo_clock": 1, "real": now, "civil": now, "speed": speed, "key": "ab".repeat(32) });
    let path = directory.join("demo.json");
    std::fs::write(&path, key.to_string()).unwrap();
    Clock::demo(&path).unwrap()
}

/// Answer, decoded as JSON where it is.
pub struct Answer {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

pub async fn send(router: &Router, request: Request<HttpBody>) -> Answer {
    let response: Response<HttpBody> = router.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap().to_vec();
    Answer { status, headers, bytes }
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(Clock::system()).await
    }

    pub async fn with(clock: Clock) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let settings = config(directory.path());
        Self::set_up(directory, settings, clock).await
    }

    async fn set_up(directory: Arc<tempfile::TempDir>, settings: Config, clock: Clock) -> Self {
        let app = App::start(settings, clock).await.unwrap();
        let router = router(Arc::clone(&app));
        let code = app.setup_code().unwrap();
        let setup = json!({ "code": code, "user": "admin", "password": PASSWORD });
        let answer = send(&router, post("/api/v1/setup", None, &setup)).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let cookie =
            answer.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
        let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
        let request = Request::post("/api/v1/tokens")
            .header(header::COOKIE, cookie)
            .header("x-csrf-token", csrf)
            .header(header::CONTENT_TYPE, "application/json")
            .body(HttpBody::from(json!({ "name": "test" }).to_string()))
            .unwrap();
        let token = send(&router, request).await.json()["token"].as_str().unwrap().to_owned();
        Self { directory, app, router, token }
    }

    /// The center again, on the same disk.
    pub async fn restart(self) -> Self {
        let settings = config(self.directory.path());
        self.restart_with(settings, Clock::system()).await
    }

    pub async fn restart_with(self, settings: Config, clock: Clock) -> Self {
        let Self { directory, app, router: old, token } = self;
        app.store.close().await;
        drop((app, old));
        let app = App::start(settings, clock).await.unwrap();
        Self { router: router(Arc::clone(&app)), directory, app, token }
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = send(&self.router, get(path, Some(&self.token))).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.bytes));
        answer.json()
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        send(&self.router, post(path, Some(&self.token), &body)).await
    }

    /// A token of a new account.
    pub async fn user(&self, name: &str, role: &str) -> String {
        let institution = (role == "institution").then_some(INSTITUTION);
        self.user_of(name, role, institution).await
    }

    pub async fn user_of(&self, name: &str, role: &str, institution: Option<&str>) -> String {
        let body = json!({ "user": name, "password": PASSWORD, "role": role, "institution": institution });
        let answer = self.post("/api/v1/users", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.bytes));
        let session = self.app.login(name, PASSWORD).await.unwrap();
        let cookie = session.cookie.split(';').next().unwrap().to_owned();
        let request = Request::post("/api/v1/tokens")
            .header(header::COOKIE, cookie)
            .header("x-csrf-token", session.csrf)
            .header(header::CONTENT_TYPE, "application/json")
            .body(HttpBody::from(json!({ "name": name }).to_string()))
            .unwrap();
        send(&self.router, request).await.json()["token"].as_str().unwrap().to_owned()
    }

    pub async fn institution(&self, id: &str) {
        let body = json!({ "id": id, "name_zh": "西湖宾馆", "name_en": "West Lake Hotel", "kind": "hotel" });
        assert_eq!(self.post("/api/v1/institutions", body).await.status, StatusCode::CREATED);
    }

    /// Enrols a gateway the whole way.
    pub async fn gateway(&self, secret: u8) -> Gateway {
        self.institution(INSTITUTION).await;
        let answer = self
            .post("/api/v1/enrolment-codes", json!({ "institution": INSTITUTION, "site": "lobby" }))
            .await;
        let code = EnrolCode::parse(answer.json()["code"].as_str().unwrap()).unwrap();
        let key = SigningKey::from_bytes(&[secret; 32]);
        let request = EnrolRequest {
            secret: code.secret.clone(),
            gateway_key: key.verifying_key().to_bytes(),
            software: "test".into(),
            epoch: None,
            replaces: None,
        };
        let request = Request::post("/gateway/v1/enrol").body(HttpBody::from(request.seal(&key))).unwrap();
        let answer = send(&self.router, request).await;
        assert_eq!(answer.status, StatusCode::OK);
        let answer = EnrolAnswer::decode(&answer.bytes).unwrap();
        let (center, enrolment) = answer.check(&code, &key.verifying_key()).unwrap();
        assert_eq!(enrolment.institution.0, INSTITUTION);
        Gateway::new(key, &center)
    }

    pub async fn push(&self, gateway: &Gateway, records: &[Vec<u8>]) -> Receipt {
        let answer = send(&self.router, self.push_request(gateway, pack(records))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.bytes));
        Receipt::decode(&answer.bytes).unwrap()
    }

    /// Begins a session, or asks for another page of it.
    pub async fn survey(&self, gateway: &Gateway, asked: &SurveyRequest) -> Answer {
        let request = Request::post("/gateway/v1/session")
            .header(header::AUTHORIZATION, self.authorization(gateway))
            .body(HttpBody::from(asked.encode()))
            .unwrap();
        send(&self.router, request).await
    }

    /// A gateway's question for orders.
    pub async fn orders(&self, gateway: &Gateway, query: &str) -> Answer {
        let request = Request::get(format!("/gateway/v1/orders?{query}"))
            .header(header::AUTHORIZATION, self.authorization(gateway))
            .body(HttpBody::empty())
            .unwrap();
        send(&self.router, request).await
    }

    fn authorization(&self, gateway: &Gateway) -> String {
        format!("Nonsite {}", Token::make(&gateway.key, self.app.clock.civil(), &gateway.audience))
    }

    pub fn push_request(&self, gateway: &Gateway, body: Vec<u8>) -> Request<HttpBody> {
        self.push_as(gateway, "", body)
    }

    /// With `?session=…`.
    pub fn push_as(&self, gateway: &Gateway, query: &str, body: Vec<u8>) -> Request<HttpBody> {
        Request::post(format!("/gateway/v1/records{query}"))
            .header(header::AUTHORIZATION, self.authorization(gateway))
            .header(header::CONTENT_TYPE, "application/cbor-seq")
            .body(HttpBody::from(body))
            .unwrap()
    }
}

pub fn get(path: &str, token: Option<&str>) -> Request<HttpBody> {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(HttpBody::empty()).unwrap()
}

pub fn post(path: &str, token: Option<&str>, body: &Value) -> Request<HttpBody> {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(HttpBody::from(body.to_string())).unwrap()
}

/// Bytes of the config that a gateway starts with.
pub fn config_length() -> usize {
    let config = ConfigBody { plan: plan(), software: "test 1".into(), semantics: SEMANTICS };
    minicbor::to_vec(&config).unwrap().len()
}

/// One fridge with one thermometer and one rule: above 8 °C.
pub fn plan() -> Plan {
    let text = |zh: &str, en: &str| Text { zh: zh.into(), en: en.into() };
    Plan {
        site: SiteId("lobby".into()),
        institution: InstitutionId(INSTITUTION.into()),
        devices: vec![DevicePlan {
            id: "fridge-1".into(),
            kind: "fridge".into(),
            name: text("1号冰箱", "Fridge 1"),
            bus: 0,
        }],
        points: vec![PointPlan {
            id: "fridge-1/temperature".into(),
            device: DeviceIx(0),
            name: text("温度", "temperature"),
            unit: Unit::Celsius,
            gain: 0.1,
            offset: 0.0,
            source: "input 0x0000 i16".into(),
            every_ms: 1_000,
            max_age_ms: 10_000,
            deadband: 0.0,
            heartbeat_ms: 60_000,
            span: None,
            sentinels: vec![],
            truth: false,
            calibration: None,
            stuck: None,
        }],
        rules: vec![RulePlan {
            id: "cold-chain/too-warm".into(),
            pack: 0,
            subject: DeviceIx(0),
            kind: RuleKind::Condition {
                when: Program(vec![Op::Point(PointIx(0)), Op::Number(8.0), Op::Greater]),
                returned: None,
                on_delay_ms: 0,
                off_delay_ms: 0,
                shown: Some(PointIx(0)),
                limit: Some(8.0),
            },
            priority: Priority::Orange,
            first: First::Institution,
            self_fix_ms: None,
            latching: false,
            text: RuleText {
                title: text("温度过高", "Too warm"),
                sentence: text(
                    "{device}为{value}{unit}，上限{limit}{unit}。",
                    "{device} is at {value} {unit}, limit {limit} {unit}.",
                ),
                action: text("请检查", "Check it"),
                norm: text("疫苗储存和运输管理规范", "Vaccine storage rules"),
                mark: "V".into(),
            },
            verify: VerifyPlan { window_ms: 2_000, coverage_permille: 900, during: None, criterion: None },
            handling: None,
        }],
        modules: vec![],
        packs: vec![],
        buses: vec!["steam".into()],
        utc_offset_min: 480,
        judging: None,
    }
}

/// Seals real records, one epoch after the other.
pub struct Gateway {
    pub key: SigningKey,
    pub audience: String,
    pub epoch: u64,
    pub seq: u64,
    pub prev: [u8; 32],
    pub simulated: bool,
    pub offset_ms: i64,
}

impl Gateway {
    pub fn new(key: SigningKey, center: &VerifyingKey) -> Self {
        let audience = hex(&center.fingerprint());
        Self { key, audience, epoch: 1, seq: 0, prev: [0; 32], simulated: false, offset_ms: 0 }
    }

    pub fn id(&self) -> String {
        self.key.gateway_id().to_string()
    }

    pub fn seal(&mut self, t0: i64, t1: i64, body: &Body) -> Vec<u8> {
        let header = Header {
            gateway: self.key.gateway_id(),
            epoch: Epoch(self.epoch),
            seq: Seq(self.seq),
            prev: self.prev,
            config: Seq(u64::from(self.seq > 1)),
            t0: EngineTime(t0),
            t1: EngineTime(t1),
        };
        let bytes = seal(&self.key, &header, body);
        self.seq += 1;
        self.prev = hash(&bytes);
        bytes
    }

    /// Start, config, and a clock that says civil = engine + `offset_ms`.
    pub fn start(&mut self, at: i64) -> Vec<Vec<u8>> {
        self.start_with(at, plan())
    }

    /// The same with another plan.
    pub fn start_with(&mut self, at: i64, plan: Plan) -> Vec<Vec<u8>> {
        let start = StartInput {
            at: EngineTime(at),
            epoch: Epoch(self.epoch),
            previous: None,
            previous_hash: None,
            cause: StartCause::First,
            downtime_ms: None,
            simulated: self.simulated,
        };
        let config = ConfigBody { plan, software: "test 1".into(), semantics: SEMANTICS };
        let clock = Input::Clock(ClockInput {
            at: EngineTime(at),
            offset_ms: self.offset_ms,
            error_ms: Some(10),
            source: ClockSource::System,
            since: None,
        });
        vec![
            self.seal(at, at, &Body::Start(start)),
            self.seal(at, at, &Body::Config(Box::new(config))),
            self.inputs(at, at, vec![clock], 0),
        ]
    }

    /// The same with the config in parts of `size` bytes: start, head, parts, clock.
    pub fn start_in_parts(&mut self, at: i64, size: usize, harm: impl Fn(&mut Part)) -> Vec<Vec<u8>> {
        let (epoch, prev) = (self.epoch, self.prev);
        let mut records = self.start(at);
        let opened = open(&self.key.verifying_key(), &records[1]).unwrap();
        let Ok(Body::Config(config)) = opened.body else { panic!("no config") };
        let clock = open(&self.key.verifying_key(), &records[2]).unwrap().body.unwrap();
        let start = open(&self.key.verifying_key(), &records[0]).unwrap().body.unwrap();
        let content = minicbor::to_vec(&config).unwrap();
        let parts: Vec<_> = content.chunks(size).zip(0..).collect();
        let head = Head { parts: parts.len() as u32, length: content.len() as u64, sha256: hash(&content) };
        (self.epoch, self.seq, self.prev) = (epoch, 0, prev);
        records.clear();
        records.push(self.seal(at, at, &start));
        records.push(self.seal(at, at, &Body::Parted(Parted { of: PartedKind::Config, head })));
        for (bytes, n) in parts {
            let mut part = Part { n, bytes: bytes.to_vec() };
            harm(&mut part);
            records.push(self.seal(at, at, &Body::Part(part)));
        }
        records.push(self.seal(at, at, &clock));
        records
    }

    pub fn inputs(&mut self, t0: i64, t1: i64, items: Vec<Input>, due: u32) -> Vec<u8> {
        let counts = vec![PointCounts { point: PointIx(0), due, answered: due, ..PointCounts::default() }];
        self.seal(t0, t1, &Body::Inputs(InputsBody { items, counts: if due > 0 { counts } else { vec![] } }))
    }

    /// A reading of this many tenths of a degree once a second over the span.
    pub fn readings(&mut self, from: i64, to: i64, tenths: i64) -> Vec<u8> {
        let items: Vec<_> = (from..=to)
            .step_by(1_000)
            .map(|at| {
                let value = Quality::Good(Raw::Int(tenths));
                Input::Reading(Reading { point: PointIx(0), at: EngineTime(at), value })
            })
            .chain([Input::Advance(EngineTime(to))])
            .collect();
        let due = (items.len() - 1) as u32;
        self.inputs(from, to, items, due)
    }

    pub fn change(&mut self, at: i64, n: u32, event: u32, change: Change) -> Vec<u8> {
        let active = !matches!(change, Change::Cleared(_));
        let regions = Regions {
            process: if active { ProcessRegion::Active } else { ProcessRegion::Normal },
            ack: AckRegion::Unacked,
            ..Regions::default()
        };
        let change = AlertChange {
            alert: AlertId { epoch: Epoch(self.epoch), n },
            event,
            rule: Some(RuleIx(0)),
            change,
            regions,
            value: Some(9.5),
            limit: Some(8.0),
            since: Some(EngineTime(at)),
            detail: None,
            about: None,
        };
        let list = vec![Conclusion { at: EngineTime(at), body: ConclusionBody::Alert(change) }];
        let body = ConclusionsBody { because: Seq(self.seq - 1), list, frames: vec![] };
        self.seal(at, at, &Body::Conclusions(body))
    }
}
