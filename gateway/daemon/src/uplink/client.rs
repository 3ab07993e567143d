//! The center's door as seen from a gateway: one HTTP/2 connection, every call with a limit.

use std::time::Duration;

use anyhow::Context as _;
use gateway_model::{CivilTime, GatewayId};
use gateway_wire::{
    BATCH_TYPE, EnrolAnswer, EnrolCode, EnrolRequest, Enrolment, Identity, KeyHistory, Order, Receipt,
    RecordError, SigningKey, Token, VerifyingKey, hex, pack, unpack_orders,
};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::tls::{self, Trust};
use crate::state::Enrolled;

/// Opening a connection. Real time, like all limits here.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A batch, from the first byte to the receipt.
pub(super) const POST_TIMEOUT: Duration = Duration::from_secs(15);
/// The center holds a question for orders for 30 s.
const ORDERS_TIMEOUT: Duration = Duration::from_secs(45);
/// The line is tested when nothing was heard for so long, …
const PING_AFTER: Duration = Duration::from_secs(5);
/// … and given up when the test is not answered: together at most 15 s on a line that swallows everything.
const PING_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes of any answer.
const ANSWER_MAX: usize = 4 << 20;
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
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::client(trust)?)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_AFTER)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("nonsite-gateway/", env!("CARGO_PKG_VERSION")));
    // Without TLS there is nothing that could agree on HTTP/2.
    let builder = if url.starts_with("http://") { builder.http2_prior_knowledge() } else { builder };
    Ok(builder.build()?)
}

/// An enrolled gateway's calls.
#[derive(Clone)]
pub struct Client {
    pub(super) http: reqwest::Client,
    pub(super) enrolled: Enrolled,
    key: SigningKey,
    gateway: GatewayId,
}

impl Client {
    /// Opens nothing yet.
    pub fn new(enrolled: Enrolled, key: SigningKey) -> anyhow::Result<Self> {
        let statement = Enrolment::open(&enrolled.center, &enrolled.statement)
            .context("the center's statement in the data directory; enrol again")?;
        let http = http(&enrolled.url, Trust::Keys(statement.tls_keys))?;
        Ok(Self { http, gateway: key.gateway_id(), enrolled, key })
    }

    /// Sends records as they lie in the journal; none at all asks what the center has.
    pub async fn records(&self, civil: CivilTime, records: &[Vec<u8>]) -> Result<Receipt, CallError> {
        let request = self
            .http
            .post(format!("{}/gateway/v1/records", self.enrolled.url))
            .header(AUTHORIZATION, self.token(civil))
            .header(CONTENT_TYPE, BATCH_TYPE)
            .timeout(POST_TIMEOUT)
            .body(pack(records));
        let bytes = answer(request.send().await.map_err(CallError::Unreachable)?).await?;
        Receipt::decode(&bytes).map_err(CallError::Answer)
    }

    /// Orders after (center epoch, order seq); waits for one up to 30 s. An order that is not signed by the center or
    /// is meant for another gateway is left out and counted.
    pub async fn orders(
        &self,
        civil: CivilTime,
        after: (u64, u64),
    ) -> Result<(Vec<Order>, usize), CallError> {
        let request = self
            .http
            .get(format!("{}/gateway/v1/orders?after={}/{}", self.enrolled.url, after.0, after.1))
            .header(AUTHORIZATION, self.token(civil))
            .timeout(ORDERS_TIMEOUT);
        let bytes = answer(request.send().await.map_err(CallError::Unreachable)?).await?;
        let sealed =
            if bytes.is_empty() { Vec::new() } else { unpack_orders(&bytes).map_err(CallError::Answer)? };
        let mut orders: Vec<Order> = sealed
            .iter()
            .filter_map(|bytes| Order::open(&self.enrolled.center, self.gateway, bytes).ok())
            .collect();
        let refused = sealed.len() - orders.len();
        orders.sort_by_key(|order| (order.center_epoch, order.seq));
        Ok((orders, refused))
    }

    pub(super) fn token(&self, civil: CivilTime) -> String {
        format!("Nonsite {}", Token::make(&self.key, civil, &audience(&self.enrolled.center)))
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
    let identity = http(&url, Trust::Anyone)?
        .get(format!("{url}/gateway/v1/identity"))
        .timeout(POST_TIMEOUT)
        .send()
        .await;
    let identity = answer(identity.map_err(CallError::Unreachable)?).await?;
    let identity = Identity::open(code, &identity).map_err(|error| {
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
    let sent = http(&url, Trust::Keys(identity.tls_keys))?
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
    Ok(Joined { enrolled, enrolment, history: answer.history })
}

/// What joining a center brings.
pub struct Joined {
    /// To be kept.
    pub enrolled: Enrolled,
    /// What the center states.
    pub enrolment: Enrolment,
    /// The keys before, where this box replaces another.
    pub history: Option<KeyHistory>,
}

/// What a 401 says: a gateway whose own clock is wrong learns the time from it.
#[derive(serde::Deserialize)]
struct Told {
    code: String,
    server_time: i64,
}

/// The body of a good answer, or what a bad one means.
pub(super) async fn answer(mut response: Response) -> Result<Vec<u8>, CallError> {
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
            let told = serde_json::from_slice::<Told>(&body).ok();
            Err(CallError::Unauthorized {
                server_time: told.as_ref().map(|told| CivilTime(told.server_time)),
                code: told.map_or_else(String::new, |told| told.code.chars().take(40).collect()),
            })
        }
        StatusCode::PAYLOAD_TOO_LARGE => Err(CallError::TooLarge),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Err(CallError::Busy { after }),
        _ => {
            let text = String::from_utf8_lossy(&body).chars().take(200).collect();
            Err(CallError::Refused { status, text })
        }
    }
}
