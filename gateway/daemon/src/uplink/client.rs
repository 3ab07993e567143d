//! The center's door as seen from a gateway: one HTTP/2 connection, every call with a limit.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway_model::{CivilTime, CommandBody, GatewayId};
use gateway_wire::{
    BATCH_TYPE, EnrolAnswer, EnrolCode, EnrolRequest, Enrolment, Identity, KeyHistory, Order, Receipt,
    RecordError, SigningKey, Survey, SurveyRequest, Token, VerifyingKey, hex, pack, unpack_orders,
};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Body, RequestBuilder, Response, StatusCode};

use super::meter::Meter;
use super::pins::{Held, Offered, Pins};
use super::tls::{self, Trust};
use crate::clock;
use crate::state::Enrolled;

/// Opening a connection. Real time, like all limits here.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A batch, from the first byte to the receipt, …
const POST_TIMEOUT: Duration = Duration::from_secs(15);
/// … and so much more for every so many bytes of it: a line of 1 kB/s is slow, not dead.
const POST_PER_KB: Duration = Duration::from_secs(1);
/// Between the pieces of a body that a line takes in pieces only: a quarter of what [`POST_PER_KB`] allows for the smallest.
const PIECES_APART: Duration = Duration::from_millis(125);
/// The center holds a question for orders for so long; on a metered line for longer, which a sign of life every 90 s
/// still allows.
const ORDERS_WAIT: Duration = Duration::from_secs(30);
/// See [`ORDERS_WAIT`].
const ORDERS_WAIT_METERED: Duration = Duration::from_mins(1);
/// Something on the way forgets connections on which nothing moves: below the 30 s that the hastiest proxies are known for.
const ORDERS_WAIT_FORGETFUL: Duration = Duration::from_secs(25);
/// Longer than that nothing is on the way.
const ORDERS_GRACE: Duration = Duration::from_secs(15);
/// Nothing on the way may forget a connection that is tested.
const _: () = assert!(PING_AFTER.as_secs() < 30 && ORDERS_WAIT_FORGETFUL.as_secs() < 30);
/// A token is shown again for so long: the same head costs a few bytes, a new one 300.
const TOKEN_MS: i64 = 150_000;
/// The line is tested when nothing was heard for so long, …
const PING_AFTER: Duration = Duration::from_secs(5);
/// … and given up when the test is not answered: together at most 15 s on a line that swallows everything.
const PING_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes of any answer.
const ANSWER_MAX: usize = 4 << 20;
/// A clock that says less than 2020 does not know the date.
const KNOWN_SINCE: i64 = 1_577_836_800_000;
/// Longest pause that a center may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(10);

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer.
    #[error("reach the center")]
    Unreachable(#[source] reqwest::Error),
    /// The token was not accepted; the center's clock, if it said.
    #[error("the center does not accept the gateway's token ({code})")]
    Unauthorized {
        /// Why, as a code.
        code: String,
        /// Its clock.
        server_time: Option<CivilTime>,
    },
    /// Somebody began a newer session for this gateway, or the center was started anew: compare again.
    #[error("the center knows a newer session of this gateway, or none")]
    Ended,
    /// The batch was too large.
    #[error("the center takes smaller batches")]
    TooLarge,
    /// Ask again later.
    #[error("the center is busy")]
    Busy {
        /// How much later, if it said.
        after: Option<Duration>,
    },
    /// Any other status.
    #[error("the center answered {status}: {text}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The beginning of its words.
        text: String,
    },
    /// An answer that is not one.
    #[error("the center's answer cannot be read")]
    Answer(#[source] gateway_wire::RecordError),
    /// An answer that is too long.
    #[error("the center's answer is longer than 4 MiB")]
    TooLong,
}

/// A client without a name: what enrolment uses.
pub fn http(url: &str, trust: Trust) -> anyhow::Result<reqwest::Client> {
    built(url, trust, true)
}

/// `pings`: a line that swallows everything is noticed within 15 s. Without them, which a metered line is spared (150 MB a
/// month), when the next answer stays away.
fn built(url: &str, trust: Trust, pings: bool) -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client(trust)?)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(pings.then_some(PING_AFTER))
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("nonsite-gateway/", env!("CARGO_PKG_VERSION")));
    // Without TLS there is nothing that could agree on HTTP/2.
    let builder = if url.starts_with("http://") { builder.http2_prior_knowledge() } else { builder };
    Ok(builder.build()?)
}

/// What carries a request to the center and its answer back.
pub trait Line: Send + Sync {
    /// Sends it, within the limits of time it names. `piece`: a body of more bytes than that leaves in pieces of so many.
    fn send(&self, request: RequestBuilder, piece: Option<usize>)
    -> BoxFuture<'_, reqwest::Result<Response>>;
}

/// The network.
struct Network;

impl Line for Network {
    fn send(
        &self,
        request: RequestBuilder,
        piece: Option<usize>,
    ) -> BoxFuture<'_, reqwest::Result<Response>> {
        Box::pin(async move {
            let (client, request) = request.build_split();
            let mut request = request?;
            let whole = request.body().and_then(Body::as_bytes);
            if let (Some(piece), Some(whole)) = (piece, whole)
                && whole.len() > piece
            {
                let whole = Bytes::copy_from_slice(whole);
                *request.body_mut() = Some(in_pieces(whole, piece));
            }
            client.execute(request).await
        })
    }
}

/// A body whose pieces travel in packets of their own: TCP sends what is written at once, and joins what waits.
fn in_pieces(whole: Bytes, piece: usize) -> Body {
    Body::wrap_stream(futures_util::stream::unfold(whole, move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        // Also before the first: the head is a packet of its own.
        tokio::time::sleep(PIECES_APART).await;
        let first = left.split_to(left.len().min(piece));
        Some((Ok::<_, std::convert::Infallible>(first), left))
    }))
}

/// An enrolled gateway's calls.
#[derive(Clone)]
pub struct Client {
    line: Arc<dyn Line>,
    /// What is larger leaves in pieces.
    piece: Option<usize>,
    http: reqwest::Client,
    enrolled: Enrolled,
    /// Its sessions are those of a delivery.
    delivers: bool,
    key: SigningKey,
    gateway: GatewayId,
    meter: Arc<Meter>,
    pins: Pins,
    /// A question that was held for long had no answer: what is not tested must not rest so long.
    forgetful: Arc<AtomicBool>,
    shown: Arc<Mutex<Option<(CivilTime, String)>>>,
}

/// An order that this center did not sign for this gateway.
#[derive(Debug)]
pub struct Unsigned {
    /// What is wrong with it.
    pub error: RecordError,
    /// It claims to be a configuration.
    pub configures: bool,
}

impl Client {
    /// Opens nothing yet.
    pub fn new(enrolled: Enrolled, key: SigningKey, meter: Meter) -> anyhow::Result<Self> {
        let statement = Enrolment::open(&enrolled.center, &enrolled.statement)
            .context("the center's statement in the data directory; enrol again")?;
        let pins = Pins::enrolled(&statement);
        let http = built(&enrolled.url, Trust::Keys(pins.clone()), meter.budget.is_none())?;
        let gateway = key.gateway_id();
        Ok(Self {
            line: Arc::new(Network),
            piece: None,
            http,
            gateway,
            enrolled,
            delivers: false,
            key,
            meter: Arc::new(meter),
            pins,
            forgetful: Arc::default(),
            shown: Arc::default(),
        })
    }

    /// Knows what this data directory has learnt of the center's TLS keys since it enrolled, and keeps there what it learns.
    pub fn remembering(self, data: &Path) -> anyhow::Result<Self> {
        self.pins.keep_in(data).context("the TLS keys of the center")?;
        Ok(self)
    }

    /// Over another line: for tests in virtual time, which have no network.
    #[must_use]
    pub fn over(self, line: Arc<dyn Line>) -> Self {
        Self { line, ..self }
    }

    /// For a line that swallows packets above a size: what is larger than so many bytes leaves in pieces, with pauses.
    #[must_use]
    pub fn in_pieces(self, piece: Option<usize>) -> Self {
        Self { piece, ..self }
    }

    /// For somebody who delivers a disk: its sessions end none of the gateway that runs.
    #[must_use]
    pub fn delivering(self) -> Self {
        Self { delivers: true, ..self }
    }

    /// The TLS keys of the center that are believed.
    pub fn pins(&self) -> &Pins {
        &self.pins
    }

    /// What goes over the line.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// One page of the comparison with which a session begins.
    pub async fn survey(&self, civil: CivilTime, asked: &SurveyRequest) -> Result<Survey, CallError> {
        let delivery = if self.delivers { "?delivery=true" } else { "" };
        let request = self.http.post(format!("{}/gateway/v1/session{delivery}", self.enrolled.url));
        let bytes = self.post(civil, request, "application/cbor", asked.encode()).await?;
        Survey::decode(&bytes).map_err(CallError::Answer)
    }

    /// Sends records as they lie in the journal; none at all asks what the center has. `aside`: their numbers are
    /// taken, the center keeps them beside the chain.
    pub async fn records(
        &self,
        civil: CivilTime,
        session: u64,
        aside: bool,
        records: &[Vec<u8>],
    ) -> Result<Receipt, CallError> {
        let aside = if aside { "&aside=true" } else { "" };
        let delivery = if self.delivers { "&delivery=true" } else { "" };
        let url = format!("{}/gateway/v1/records?session={session}{aside}{delivery}", self.enrolled.url);
        let bytes = self.post(civil, self.http.post(url), BATCH_TYPE, pack(records)).await?;
        Receipt::decode(&bytes).map_err(CallError::Answer)
    }

    async fn post(
        &self,
        civil: CivilTime,
        request: RequestBuilder,
        media_type: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, CallError> {
        let up = body.len();
        let timeout = POST_TIMEOUT + POST_PER_KB * (up / 1024) as u32;
        let request = request.header(CONTENT_TYPE, media_type).timeout(timeout).body(body);
        self.call(civil, request, up).await
    }

    /// Orders after (center epoch, order seq); waits for one. An order that is not signed by the center or is meant for
    /// another gateway is left out and named.
    pub async fn orders(
        &self,
        civil: CivilTime,
        after: (u64, u64),
    ) -> Result<(Vec<Order>, Vec<Unsigned>), CallError> {
        let metered = self.meter.budget.is_some();
        let wait = match (metered, self.forgetful.load(Ordering::Relaxed)) {
            (true, false) => ORDERS_WAIT_METERED,
            (true, true) => ORDERS_WAIT_FORGETFUL,
            (false, _) => ORDERS_WAIT,
        };
        let line = self.meter.budget.map(|budget| format!("&line={}/{budget}", self.meter.used()));
        let request = self
            .http
            .get(format!(
                "{}/gateway/v1/orders?after={}/{}&wait={}{}",
                self.enrolled.url,
                after.0,
                after.1,
                wait.as_secs(),
                line.unwrap_or_default()
            ))
            .timeout(wait + ORDERS_GRACE);
        let asked = clock::instant();
        let answer = self.call(civil, request, 0).await;
        let lost = matches!(answer, Err(CallError::Unreachable(_)));
        if metered && lost && clock::since(asked) > ORDERS_WAIT_FORGETFUL {
            self.forgetful.store(true, Ordering::Relaxed);
        }
        let bytes = answer?;
        let sealed =
            if bytes.is_empty() { Vec::new() } else { unpack_orders(&bytes).map_err(CallError::Answer)? };
        let (mut orders, mut refused) = (Vec::new(), Vec::new());
        for bytes in &sealed {
            match Order::open(&self.enrolled.center, self.gateway, bytes) {
                Ok(order) => orders.push(order),
                Err(error) => {
                    let configures = matches!(Order::claimed(bytes), Some(CommandBody::Configure { .. }));
                    refused.push(Unsigned { error, configures });
                }
            }
        }
        orders.sort_by_key(|order| (order.center_epoch, order.seq));
        Ok((orders, refused))
    }

    /// Tells the center how the keys followed each other. Signed by itself: a token of a new key is none yet.
    pub async fn keys(&self, history: &KeyHistory) -> Result<(), CallError> {
        let body = history.encode();
        let up = body.len();
        let request = self
            .http
            .post(format!("{}/gateway/v1/keys", self.enrolled.url))
            .header(CONTENT_TYPE, "application/cbor")
            .timeout(POST_TIMEOUT)
            .body(body);
        self.carry(None, request, up).await.map(|_| ())
    }

    /// Records of the box that this one replaces, from number `skip` on; none = that was all.
    pub async fn predecessor(&self, civil: CivilTime, skip: usize) -> Result<Vec<u8>, CallError> {
        let url = format!("{}/gateway/v1/predecessor?skip={skip}", self.enrolled.url);
        self.call(civil, self.http.get(url).timeout(POST_TIMEOUT), 0).await
    }

    /// A piece of a configuration that was ordered, from byte `from` on; empty = that was all.
    pub async fn configuration(
        &self,
        civil: CivilTime,
        name: &str,
        from: usize,
    ) -> Result<Vec<u8>, CallError> {
        let url = format!("{}/gateway/v1/configurations/{name}?from={from}", self.enrolled.url);
        self.call(civil, self.http.get(url).timeout(POST_TIMEOUT), 0).await
    }

    /// What the center has of an attachment, in its words.
    pub async fn attachment(&self, civil: CivilTime, name: &str) -> Result<Vec<u8>, CallError> {
        let request = self.http.get(self.attachment_url(name)).timeout(POST_TIMEOUT);
        self.call(civil, request, 0).await
    }

    /// A piece of one, from byte `offset` on, of `length` in all.
    pub async fn attach(
        &self,
        civil: CivilTime,
        name: &str,
        (offset, length): (usize, usize),
        piece: Vec<u8>,
    ) -> Result<(), CallError> {
        let up = piece.len();
        let request = self
            .http
            .put(self.attachment_url(name))
            .header("upload-offset", offset)
            .header("upload-length", length)
            .timeout(POST_TIMEOUT + POST_PER_KB * (up / 1024) as u32)
            .body(piece);
        self.call(civil, request, up).await.map(|_| ())
    }

    fn attachment_url(&self, name: &str) -> String {
        format!("{}/gateway/v1/attachments/{name}", self.enrolled.url)
    }

    /// Sends it and counts it, whatever comes of it.
    async fn call(&self, civil: CivilTime, request: RequestBuilder, up: usize) -> Result<Vec<u8>, CallError> {
        let known = Some(civil).filter(|civil| civil.0 > KNOWN_SINCE);
        let outcome = self.carry(known, request.header(AUTHORIZATION, self.token(civil)), up).await;
        if matches!(outcome, Err(CallError::Unauthorized { .. })) {
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        outcome
    }

    /// The same without a token.
    async fn carry(
        &self,
        known: Option<CivilTime>,
        request: RequestBuilder,
        up: usize,
    ) -> Result<Vec<u8>, CallError> {
        self.meter.out(known, up as u64);
        let outcome = match self.line.send(request, self.piece).await {
            Ok(response) => answer(response).await,
            Err(error) => Err(CallError::Unreachable(error)),
        };
        self.meter.back(known, outcome.as_ref().map_or(0, Vec::len) as u64);
        // The next attempt, which whoever called makes anyway, has what was learnt.
        if outcome.is_err() && self.pins.ask() {
            self.ask_who(known).await;
        }
        outcome
    }

    /// Somebody shows a TLS key that is not believed: the center with a new one, or somebody in its place. Only the center
    /// can say so in words that its own key has signed; nothing is sent but the question.
    async fn ask_who(&self, known: Option<CivilTime>) {
        self.meter.out(known, 0);
        let said = statement(&self.enrolled.url).await;
        self.meter.back(known, said.as_ref().map_or(0, Vec::len) as u64);
        let learnt = said.and_then(|bytes| {
            let identity = Identity::open_of(&self.enrolled.center, &bytes)?;
            Ok(self.pins.offer(Held { issued: identity.issued, keys: identity.tls_keys })?)
        });
        match learnt {
            Ok(Offered::Taken) => tracing::info!("the center has new TLS keys, by its own signed word"),
            Ok(Offered::Known | Offered::Older) => tracing::warn!(
                "whoever answers at the center's address shows a TLS key that the center's newest statement does not name: \
                 nothing is sent there. If the center's TLS key was changed, start the center anew, so that it says so"
            ),
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "whoever answers at the center's address shows a TLS key that is not the center's, and cannot show that it \
                 is the center: nothing is sent there"
            ),
        }
    }

    fn token(&self, civil: CivilTime) -> String {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shown {
            Some((made, text)) if civil.0.saturating_sub(made.0).abs() < TOKEN_MS => text.clone(),
            Some(_) | None => {
                let token = Token::make(&self.key, civil, &audience(&self.enrolled.center));
                let text = format!("Nonsite {token}");
                *shown = Some((civil, text.clone()));
                text
            }
        }
    }
}

/// For whom tokens are made: the center's key, whatever its address is.
pub fn audience(center: &VerifyingKey) -> String {
    hex(&center.fingerprint())
}

/// First contact: nothing is sent before the center has shown that it holds the key of the code, and then only over a
/// line that ends at a TLS key it has signed (or that public roots vouch for).
pub async fn enrol(
    url: &str,
    code: &EnrolCode,
    key: &SigningKey,
    replaces: Option<GatewayId>,
) -> anyhow::Result<Joined> {
    let url = url.trim_end_matches('/').to_owned();
    let identity = Identity::open(code, &statement(&url).await?).map_err(|error| {
        let other_center = matches!(error, RecordError::KeyId { .. });
        anyhow::Error::new(error).context(if other_center {
            format!(
                "the center at {url} is not the one that made this code: check the address, and get a new code if it \
                 is right"
            )
        } else {
            format!("{url} does not show that it is the supervision center of this code: check the address")
        })
    })?;
    let request = EnrolRequest {
        secret: code.secret.clone(),
        gateway_key: key.verifying_key().to_bytes(),
        software: crate::recorder::start::software(),
        epoch: None,
        replaces,
    };
    let pins = Held { issued: identity.issued, keys: identity.tls_keys };
    let sent = http(&url, Trust::Keys(Pins::new(pins.clone())))?
        .post(format!("{url}/gateway/v1/enrol"))
        .header(CONTENT_TYPE, "application/cbor")
        .timeout(POST_TIMEOUT)
        .body(request.seal(key))
        .send()
        .await
        .map_err(CallError::Unreachable)
        .with_context(|| {
            format!(
                "join {url}; if TLS was refused, somebody between here and the center answers in its place"
            )
        })?;
    let bytes = answer(sent).await?;
    let answer = EnrolAnswer::decode(&bytes)?;
    let (center, enrolment) = answer.check(code, &key.verifying_key())?;
    let enrolled = Enrolled { url, center, statement: answer.statement };
    Ok(Joined { enrolled, enrolment, history: answer.history, pins })
}

/// What whoever answers at this address shows of the center's statement about itself, unchecked.
async fn statement(url: &str) -> anyhow::Result<Vec<u8>> {
    let request = http(url, Trust::Anyone)?.get(format!("{url}/gateway/v1/identity")).timeout(POST_TIMEOUT);
    Ok(answer(request.send().await.map_err(CallError::Unreachable)?).await?)
}

/// What joining a center brings.
pub struct Joined {
    /// To be kept.
    pub enrolled: Enrolled,
    /// What the center states.
    pub enrolment: Enrolment,
    /// The keys before, where this box replaces another.
    pub history: Option<KeyHistory>,
    /// The TLS keys that the center shows.
    pub pins: Held,
}

/// What a refusal says. A gateway whose own clock is wrong learns the time from a 401.
#[derive(serde::Deserialize)]
struct Told {
    code: String,
    server_time: Option<i64>,
}

fn told(body: &[u8]) -> Option<Told> {
    serde_json::from_slice(body).ok()
}

/// The body of a good answer, or what a bad one means.
async fn answer(mut response: Response) -> Result<Vec<u8>, CallError> {
    let status = response.status();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let after = header(RETRY_AFTER.as_str())
        .and_then(|seconds| seconds.parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(CallError::Unreachable)? {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(CallError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    match status {
        _ if status.is_success() => Ok(body),
        StatusCode::UNAUTHORIZED => {
            let told = told(&body);
            Err(CallError::Unauthorized {
                server_time: told.as_ref().and_then(|told| told.server_time).map(CivilTime),
                code: told.map_or_else(String::new, |told| told.code.chars().take(40).collect()),
            })
        }
        StatusCode::CONFLICT if told(&body).is_some_and(|told| told.code == "session") => {
            Err(CallError::Ended)
        }
        StatusCode::PAYLOAD_TOO_LARGE => Err(CallError::TooLarge),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(CallError::Busy { after }),
        _ => {
            let text = String::from_utf8_lossy(&body).chars().take(200).collect();
            Err(CallError::Refused { status, text })
        }
    }
}
