//! The line between a gateway and the center: requests and receipts get lost, come twice, come late.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http;
use futures_util::future::BoxFuture;
use gateway::uplink::client::Line;
use gateway_model::{CivilTime, Seq};
use gateway_wire::{EpochReceipt, Receipt, peek, unpack};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, sleep};

use super::Plant;
use super::house::{Answer, House};
use crate::dice::Dice;

/// A request that names no limit of time has this one.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Nobody answers: known after this.
const REFUSED: Duration = Duration::from_millis(3);
/// A request that was thought lost arrives within this.
const LATE_S: (i64, i64) = (2, 6 * 3600);
/// Records of one batch, whatever the center allows: for reading a batch again.
const BATCH_MAX: usize = 1024;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Everything arrives within a third of a second.
    Fair,
    /// Of a hundred requests so many go wrong somewhere.
    Rough(u64),
    /// Nothing arrives.
    Cut,
}

/// What became of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) sent: u64,
    pub(super) lost: u64,
    pub(super) receipts_lost: u64,
    pub(super) doubled: u64,
    pub(super) late: u64,
}

struct State {
    weather: Weather,
    dice: Dice,
    fates: Fates,
    underway: u64,
}

/// One gateway's line. Clones are the same line.
#[derive(Clone)]
pub(super) struct Wire {
    house: Arc<House>,
    state: Arc<Mutex<State>>,
    begin: (Instant, CivilTime),
    plant: Option<Plant>,
}

enum Fate {
    Good,
    Lost,
    ReceiptLost,
    Doubled,
    Late(Duration),
}

impl Wire {
    pub(super) fn new(
        house: Arc<House>,
        dice: Dice,
        begin: (Instant, CivilTime),
        plant: Option<Plant>,
    ) -> Self {
        let state = State { weather: Weather::Fair, dice, fates: Fates::default(), underway: 0 };
        Self { house, state: Arc::new(Mutex::new(state)), begin, plant }
    }

    pub(super) fn weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    pub(super) fn fates(&self) -> Fates {
        self.state().fates
    }

    /// Requests that were thought lost and are still on their way.
    pub(super) fn underway(&self) -> u64 {
        self.state().underway
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of the next request, and how long it takes.
    fn fate(&self) -> (Fate, Duration) {
        let mut state = self.state();
        let state = &mut *state;
        state.fates.sent += 1;
        let takes = Duration::from_millis(20 + state.dice.below(300));
        let wrong = match state.weather {
            Weather::Fair => false,
            Weather::Rough(percent) => state.dice.percent(percent),
            Weather::Cut => {
                state.fates.lost += 1;
                return (Fate::Lost, takes);
            }
        };
        if !wrong {
            return (Fate::Good, takes);
        }
        let fate = match state.dice.below(4) {
            0 => {
                state.fates.lost += 1;
                Fate::Lost
            }
            1 => {
                state.fates.receipts_lost += 1;
                Fate::ReceiptLost
            }
            2 => {
                state.fates.doubled += 1;
                Fate::Doubled
            }
            _ => {
                state.fates.late += 1;
                state.underway += 1;
                Fate::Late(Duration::from_secs(state.dice.spread(LATE_S.0, LATE_S.1) as u64))
            }
        };
        (fate, takes)
    }

    /// To the center's doors, now.
    fn deliver(&self, request: &reqwest::Request) -> Option<Answer> {
        let passed = Instant::now().duration_since(self.begin.0).as_millis() as i64;
        self.house.set_clock(CivilTime(self.begin.1.0 + passed));
        let mut builder = http::Request::builder().method(request.method()).uri(request.url().as_str());
        for (name, value) in request.headers() {
            builder = builder.header(name, value);
        }
        let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default().to_vec();
        let request = builder.body(Body::from(body)).expect("what a client built can be built again");
        self.house.call(request)
    }

    /// The planted bug: a receipt for records that the center never saw.
    fn lie(&self, request: &reqwest::Request) -> Option<Answer> {
        let sent = request.body().and_then(|body| body.as_bytes())?;
        if self.plant != Some(Plant::EarlyReceipt) || sent.is_empty() || !self.state().dice.percent(20) {
            return None;
        }
        let mut epochs: Vec<EpochReceipt> = Vec::new();
        for record in unpack(sent, BATCH_MAX).ok()? {
            let (header, _) = peek(record).ok()?;
            match epochs.iter_mut().find(|epoch| epoch.epoch == header.epoch) {
                Some(epoch) => epoch.through = epoch.through.max(Some(header.seq)),
                None => epochs.push(EpochReceipt {
                    epoch: header.epoch,
                    through: Some(Seq(header.seq.0)),
                    ..EpochReceipt::default()
                }),
            }
        }
        let honest = self.deliver_nothing(request)?;
        let receipt = Receipt { epochs, ..Receipt::decode(&honest.bytes).ok()? };
        Some(Answer { bytes: receipt.encode(), ..honest })
    }

    /// The same request without its records: the receipt of a center that did not get them.
    fn deliver_nothing(&self, request: &reqwest::Request) -> Option<Answer> {
        let mut empty = request.try_clone()?;
        *empty.body_mut() = Some(Vec::new().into());
        self.deliver(&empty)
    }

    async fn exchange(&self, request: reqwest::Request) -> reqwest::Result<Response> {
        let limit = request.timeout().copied().unwrap_or(TIMEOUT);
        let (fate, takes) = self.fate();
        sleep(takes).await;
        let answer = match fate {
            Fate::Good => self.lie(&request).or_else(|| self.deliver(&request)),
            Fate::Doubled => {
                self.deliver(&request);
                self.deliver(&request)
            }
            Fate::Lost => {
                sleep(limit).await;
                return Err(unanswered());
            }
            Fate::ReceiptLost => {
                self.deliver(&request);
                sleep(limit).await;
                return Err(unanswered());
            }
            Fate::Late(after) => {
                let wire = self.clone();
                tokio::spawn(async move {
                    sleep(after).await;
                    wire.deliver(&request);
                    wire.state().underway -= 1;
                });
                sleep(limit).await;
                return Err(unanswered());
            }
        };
        let Some(answer) = answer else {
            sleep(REFUSED).await;
            return Err(unanswered());
        };
        let mut response = http::Response::new(answer.bytes);
        (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
        Ok(Response::from(response))
    }
}

impl Line for Wire {
    fn send(&self, request: RequestBuilder, _: Option<usize>) -> BoxFuture<'_, reqwest::Result<Response>> {
        Box::pin(async move { self.exchange(request.build()?).await })
    }
}

/// What a client sees when nobody answers. An error of its kind cannot be made from outside; the client asks only whether
/// there was one.
fn unanswered() -> reqwest::Error {
    let mut response = http::Response::new(Vec::new());
    *response.status_mut() = http::StatusCode::GATEWAY_TIMEOUT;
    Response::from(response).error_for_status().expect_err("504 is an error")
}
