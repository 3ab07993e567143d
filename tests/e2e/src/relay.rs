//! A TLS relay: what a proxy in front of a center is, or somebody who would like to be taken for it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gateway_wire::Fingerprint;
use rcgen::PublicKeyData as _;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A key with a certificate of its own.
pub struct Shown {
    pair: rcgen::KeyPair,
    certificate: rcgen::Certificate,
}

/// Somebody who answers every question for a center's identity with the same bytes, and counts what else is asked.
pub struct Parrot {
    /// Where it listens, without TLS.
    pub address: SocketAddr,
    identities: Arc<AtomicU64>,
    others: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Parrot {
    /// Listens on a free port.
    pub async fn start(statement: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let (identities, others) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (told, turned) = (Arc::clone(&identities), Arc::clone(&others));
        let identity = move || async move {
            told.fetch_add(1, Ordering::Relaxed);
            statement
        };
        let other = move || async move {
            turned.fetch_add(1, Ordering::Relaxed);
            axum::http::StatusCode::NOT_FOUND
        };
        let router =
            axum::Router::new().route("/gateway/v1/identity", axum::routing::get(identity)).fallback(other);
        let task =
            tokio::spawn(
                async move { axum::serve(listener, router).await.expect("a bound listener serves") },
            );
        Self { address, identities, others, task }
    }

    /// How often it was asked who it is, and how often anything else.
    pub fn asked(&self) -> (u64, u64) {
        (self.identities.load(Ordering::Relaxed), self.others.load(Ordering::Relaxed))
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shown {
    /// A fresh one.
    pub fn fresh() -> Self {
        Self::of(rcgen::KeyPair::generate().expect("a key can be made"))
    }

    /// A key from a PEM file, with a new certificate.
    pub fn read(path: &Path) -> Self {
        let pem = std::fs::read_to_string(path).expect("a key that can be read");
        Self::of(rcgen::KeyPair::from_pem(&pem).expect("a key in PEM"))
    }

    fn of(pair: rcgen::KeyPair) -> Self {
        let params =
            rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address is a name");
        let certificate = params.self_signed(&pair).expect("it can be signed");
        Self { pair, certificate }
    }

    /// Its key as gateways pin it.
    pub fn key(&self) -> Fingerprint {
        Fingerprint(gateway_wire::hash(&self.pair.subject_public_key_info()))
    }

    /// Writes the certificate as PEM.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.certificate.pem()).expect("a place can be written");
    }
}

/// Ends TLS with a key of its own and passes the bytes on, until it is dropped.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    refused: Arc<AtomicU64>,
    agreed: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Listens at `at` (port 0: any) and passes on to `to`.
    pub async fn start(shown: &Shown, at: SocketAddr, to: SocketAddr) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(shown.pair.serialize_der()).expect("a key of rcgen");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of ring")
            .with_no_client_auth()
            .with_single_cert(vec![shown.certificate.der().clone()], key)
            .expect("a certificate and its key");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(at).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let refused = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&refused);
        let agreed = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&agreed);
        let task = tokio::spawn(async move {
            let mut passing = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                let noted = Arc::clone(&noted);
                // Ends with the relay: aborting the task drops the set.
                passing.spawn(async move {
                    let Ok(mut shaken) = acceptor.accept(stream).await else {
                        counted.fetch_add(1, Ordering::Relaxed);
                        return;
                    };
                    let protocol = shaken.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                    noted.lock().expect("nothing panics here").push(protocol);
                    let Ok(mut center) = TcpStream::connect(to).await else { return };
                    // How a connection ends is its peers' business.
                    tokio::io::copy_bidirectional(&mut shaken, &mut center).await.ok();
                });
            }
        });
        Self { address, refused, agreed, task }
    }

    /// `https://…`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Hand-shakes that the other side broke off.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Which protocol each connection agreed on (ALPN).
    pub fn agreed(&self) -> Vec<Option<Vec<u8>>> {
        self.agreed.lock().expect("nothing panics here").clone()
    }

    /// Gives the address free.
    pub async fn stop(self) -> SocketAddr {
        self.task.abort();
        // Cancelled is what it should be.
        self.task.await.ok();
        self.address
    }
}
