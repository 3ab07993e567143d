//! The uplink's calls over a line that is not there: what a proxy in between does, in virtual time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http;
use futures_util::future::BoxFuture;
use gateway::state::{DataDir, Enrolled};
use gateway::uplink::client::{CallError, Client, Line};
use gateway::uplink::meter::Meter;
use gateway_model::{CivilTime, Epoch, InstitutionId, SiteId};
use gateway_wire::{Enrolment, SigningKey, pack_orders};
use reqwest::{RequestBuilder, Response};

/// What the hastiest proxies are known for.
const IDLE: Duration = Duration::from_secs(30);

/// Forgets a connection on which nothing moved for [`IDLE`]: the answer that comes then is swallowed. Tests of the
/// connection would keep it awake; a metered line has none.
#[derive(Default)]
struct Forgetful {
    /// How long each question was to be held.
    waits: Mutex<Vec<u64>>,
}

impl Line for Forgetful {
    fn send(&self, request: RequestBuilder, _: Option<usize>) -> BoxFuture<'_, reqwest::Result<Response>> {
        Box::pin(async move {
            let request = request.build()?;
            let mut pairs = request.url().query_pairs();
            let wait = pairs.find(|(name, _)| name == "wait").unwrap().1.parse().unwrap();
            self.waits.lock().unwrap().push(wait);
            if Duration::from_secs(wait) < IDLE {
                tokio::time::sleep(Duration::from_secs(wait)).await;
                return Ok(http::Response::new(pack_orders(&[] as &[Vec<u8>])).into());
            }
            tokio::time::sleep(*request.timeout().unwrap()).await;
            // An error of a lost answer cannot be made from outside; only that there is one matters.
            let mut lost = http::Response::new(Vec::new());
            *lost.status_mut() = http::StatusCode::GATEWAY_TIMEOUT;
            Err(Response::from(lost).error_for_status().unwrap_err())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_metered_line_that_forgets_idle_connections_is_asked_for_orders_sooner() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::open(folder.path()).unwrap();
    let (key, center) = (data.key().unwrap(), SigningKey::from_bytes(&[9; 32]));
    let statement = Enrolment {
        gateway_key: key.verifying_key().to_bytes(),
        institution: InstitutionId("i".into()),
        site: SiteId("hotel-1".into()),
        epoch_floor: Epoch(0),
        tls_keys: Vec::new(),
        issued: CivilTime(0),
        gateway: None,
    }
    .seal(&center);
    let enrolled = Enrolled { url: "http://center".into(), center: center.verifying_key(), statement };
    let line = Arc::new(Forgetful::default());
    let meter = Meter::new(Some(100_000_000), data.position("line"));
    let client = Client::new(enrolled, key, meter).unwrap().over(line.clone());
    let now = CivilTime(1_790_000_000_000);
    let first = client.orders(now, (0, 0)).await;
    assert!(matches!(first, Err(CallError::Unreachable(_))), "{first:?}");
    for _ in 0..3 {
        let (orders, refused) = client.orders(now, (0, 0)).await.unwrap();
        assert!(orders.is_empty() && refused.is_empty());
    }
    assert_eq!(*line.waits.lock().unwrap(), [60, 25, 25, 25]);
}
