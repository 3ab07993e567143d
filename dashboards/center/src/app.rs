//! What every route shares: store, clock, key, live hub, and the tasks behind them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use gateway_wire::{Fingerprint, SigningKey};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Config;
use crate::identity;
use crate::ingest::Ingest;
use crate::keys;
use crate::link::Sessions;
use crate::live::Hub;
use crate::metrics::Metrics;
use crate::plans::Plans;
use crate::store::Store;
use crate::tls::{self, Tls};

/// A center is not set back more often than that: what a gateway claims beyond it is wrong.
const ORDER_EPOCHS_MAX: i64 = 1_000;

/// What routes take as state.
pub type AppState = Arc<App>;

/// The center.
#[derive(Debug)]
pub struct App {
    /// The database.
    pub store: Store,
    /// The one clock.
    pub clock: Clock,
    /// Settings.
    pub config: Config,
    /// What open pages listen to.
    pub hub: Hub,
    /// Signs orders and enrolments.
    pub key: SigningKey,
    /// TLS of its own, where the settings ask for it.
    pub tls: Option<Tls>,
    /// Hashes of the keys that gateways may see when they connect.
    pub tls_keys: Vec<Fingerprint>,
    /// The center's statement about itself, as signed.
    pub identity: Vec<u8>,
    /// Takes records in.
    pub ingest: Ingest,
    /// Sessions of the gateways that send them.
    pub sessions: Sessions,
    /// Plans of config records, decoded once.
    pub plans: Plans,
    /// Counters.
    pub metrics: Metrics,
    /// Says that an order was made: long polls look again.
    pub ordered: Notify,
    /// Says that records came in or a verification began: the verifier looks again.
    pub arrived: Notify,
    order_epoch: AtomicI64,
    setup_code: Mutex<Option<String>>,
}

impl App {
    /// Opens everything under `config.data` and starts the tasks behind it. Needs a tokio runtime.
    pub async fn start(config: Config, clock: Clock) -> anyhow::Result<AppState> {
        let data = config.data.clone();
        std::fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
        let key = keys::load_or_make(&data.join("center.key"))?;
        let tls = config.tls.as_ref().map(|tls| Tls::open(tls, &data)).transpose()?;
        let certificate = |path: &Option<PathBuf>| path.as_deref().map(tls::certificate_key).transpose();
        let (proxy, next) = (certificate(&config.proxy_certificate)?, certificate(&config.next_certificate)?);
        let own = tls.iter().flat_map(|tls| [Some(tls.key), tls.next]).flatten();
        let tls_keys: Vec<Fingerprint> = own.chain(proxy).chain(next).collect();
        let store = Store::open(&data.join("center.db")).await?;
        let setup_code = if store.has_users().await? { None } else { Some(readable_code()) };
        let live_epoch = store.count_up("live_epoch").await?;
        let order_epoch = match store.meta("order_epoch").await? {
            Some(text) => text.parse().context("order epoch in the database")?,
            None => store.count_up("order_epoch").await?,
        };
        let identity = identity::settle(&store, &key, order_epoch, &tls_keys, clock.civil()).await?;
        let indexed = store.segment_end().await?;
        let segments = data.join("segments");
        let writers = crate::ingest::Writers {
            chain: crate::segments::Writer::open(&segments, indexed)?,
            aside: crate::segments::Writer::open(&data.join("aside"), store.aside_end().await?)?,
        };
        let (ingest, requests) = Ingest::new();
        // Real time in µs: above every number that a start before this one gave out.
        let sessions = Sessions::new(clock.real().unsigned_abs() * 1_000);
        let app = Arc::new(Self {
            plans: Plans::new(segments),
            store,
            clock,
            config,
            hub: Hub::new(live_epoch),
            key,
            tls,
            tls_keys,
            identity,
            ingest,
            sessions,
            metrics: Metrics::default(),
            ordered: Notify::new(),
            arrived: Notify::new(),
            order_epoch: AtomicI64::new(order_epoch),
            setup_code: Mutex::new(setup_code),
        });
        crate::ingest::spawn(&app, writers, requests);
        crate::verifier::spawn(&app);
        crate::watch::spawn(&app);
        crate::desk::spawn(&app);
        Ok(app)
    }

    /// Epoch of this center's orders: the life of its order book.
    pub fn order_epoch(&self) -> i64 {
        self.order_epoch.load(Ordering::Relaxed)
    }

    /// A gateway has carried out order (epoch, seq). If this center never gave it, it was set back to an older disk: the
    /// next order begins a new life of the book, or the gateway would take it for one that it knows. False: no center
    /// can have given that one.
    pub async fn carried_out(&self, epoch: i64, seq: i64) -> anyhow::Result<bool> {
        let given = self.store.meta("order_seq").await?.map_or(Ok(0), |text| text.parse::<i64>());
        let given = given.context("order number in the database")?;
        let held = self.order_epoch();
        if (epoch, seq) <= (held, given) {
            return Ok(true);
        }
        if epoch.saturating_sub(held) > ORDER_EPOCHS_MAX {
            return Ok(false);
        }
        let next = epoch + 1;
        self.store.set_meta("order_epoch", &next.to_string()).await?;
        self.order_epoch.fetch_max(next, Ordering::Relaxed);
        tracing::error!(
            epoch = next,
            "a gateway has carried out an order that this center does not know: it was set back to an older disk. Orders \
             begin a new epoch"
        );
        Ok(true)
    }

    /// The one-time code with which the first account is made, while there is none.
    pub fn setup_code(&self) -> Option<String> {
        self.setup_code.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses the set-up code up, if it is the right one.
    pub(crate) fn use_setup_code(&self, code: &str) -> bool {
        let mut held = self.setup_code.lock().unwrap_or_else(PoisonError::into_inner);
        let right = held.as_ref().is_some_and(|held| keys::same(held, &code.trim().to_ascii_uppercase()));
        if right {
            *held = None;
        }
        right
    }

    /// Where evidence segments lie.
    pub fn segments(&self) -> PathBuf {
        self.config.data.join("segments")
    }

    /// Where attachments lie.
    pub fn attachments(&self) -> PathBuf {
        self.config.data.join("attachments")
    }
}

/// Twelve characters without any that look alike: 60 bits.
fn readable_code() -> String {
    const ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    keys::random::<12>().iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}
