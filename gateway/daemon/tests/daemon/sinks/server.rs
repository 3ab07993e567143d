//! An HTTP server that misbehaves as told, byte by byte.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it does with a request.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// Status, more headers (each with its line end), text.
    Say(u16, &'static str, &'static str),
    /// Never answers.
    Hang,
    /// Takes it, and closes without a word.
    Close,
}

pub(super) const STORED: Act = Act::Say(204, "", "");

/// What came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) target: String,
    pub(super) headers: BTreeMap<String, String>,
    /// Unpacked.
    pub(super) body: String,
    pub(super) at: Instant,
}

impl Request {
    pub(super) fn lines(&self) -> Vec<&str> {
        self.body.lines().collect()
    }
}

type Decide = Arc<dyn Fn(usize, &Request) -> Act + Send + Sync>;

#[derive(Clone)]
pub(super) struct Fake {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<(Request, bool)>>>,
}

impl Fake {
    /// `decide` gets the number of the request and the request.
    pub(super) async fn start(decide: impl Fn(usize, &Request) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, seen: Arc::default() };
        let (serving, decide): (_, Decide) = (fake.clone(), Arc::new(decide));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream, decide.clone()));
            }
        });
        fake
    }

    /// Every request so far.
    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    /// Those that were answered with 2xx.
    pub(super) fn taken(&self) -> Vec<Request> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, taken)| *taken)
            .map(|(request, _)| request.clone())
            .collect()
    }

    async fn serve(self, mut stream: TcpStream, decide: Decide) {
        while let Some(request) = read(&mut stream).await {
            let act = {
                let mut seen = self.seen.lock().unwrap();
                let act = decide(seen.len(), &request);
                seen.push((request, matches!(act, Act::Say(200..300, ..))));
                act
            };
            match act {
                Act::Hang => tokio::time::sleep(Duration::from_mins(10)).await,
                Act::Close => return,
                Act::Say(status, headers, text) => {
                    let answer = format!(
                        "HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n{text}",
                        text.len()
                    );
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let target = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let body = if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
        text
    } else {
        String::from_utf8(body).unwrap()
    };
    Some(Request { target, headers, body, at: Instant::now() })
}
