//! The hour of installation on the gateway's own page, from the code to the record: forms over HTTP, as a phone sends them.

use std::net::SocketAddr;
use std::path::Path;

use gateway::clock::Wall;
use gateway::config::Site;
use gateway::door::{self, Installer, Told, What};
use gateway::told::Beside;
use gateway_model::{DeviceFact, FactBody, Input, Raw};
use gateway_wire::{Body, SigningKey, hash, hex, unhex};
use reqwest::StatusCode;

use crate::rig::{Peer, eventually, site};
use crate::running::{Running, plain};

/// Two sensors, one of which nobody has wired yet.
const SITE: &str = r#"
[site]
id = "clinic"
institution = "923301000000000193"
name = { zh = "诊所", en = "Clinic" }
[[bus]]
name = "line"
transport = "tcp"
address = "127.0.0.1:1"
[[device]]
id = "fridge-1"
kind = "sensor"
name = { zh = "一号冰箱", en = "Fridge 1" }
read = [{ bus = "line", unit = 1, profile = "xy-md02", every = "1s", accuracy = { temperature = "0.5 °C" } }]
[[device]]
id = "fridge-2"
kind = "sensor"
name = { zh = "二号冰箱", en = "Fridge 2" }
read = [{ bus = "line", unit = 2, profile = "xy-md02", every = "1s" }]
"#;
const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 1, 2, 3];
const BOUNDARY: &str = "----nonsite";

fn clinic(address: SocketAddr) -> Site {
    let mut site = site(SITE);
    site.buses[0].address = address.to_string();
    site
}

async fn open(data: &Path, by: &str) -> String {
    let asked = Installer { by: by.into(), for_ms: 3_600_000 };
    door::installer(data, asked).await.unwrap().0
}

/// A phone: a client that follows nothing, and the cookie it was given.
struct Phone {
    page: String,
    client: reqwest::Client,
    cookie: String,
}

impl Phone {
    fn new(running: &Running) -> Self {
        plain();
        let none = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().no_proxy().redirect(none).build().unwrap();
        Self { page: running.up.page.clone().unwrap(), client, cookie: String::new() }
    }

    async fn enter(&mut self, code: &str) -> StatusCode {
        let form = self.client.post(format!("{}/install?lang=en", self.page));
        let form =
            form.header("content-type", "application/x-www-form-urlencoded").body(format!("code={code}"));
        let answer = form.send().await.unwrap();
        if let Some(cookie) = answer.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
            cookie.split(';').next().unwrap().clone_into(&mut self.cookie);
        }
        answer.status()
    }

    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let asked = self.client.get(format!("{}{path}", self.page)).header("cookie", &self.cookie);
        let answer = asked.send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap().to_vec())
    }

    async fn page(&self, path: &str) -> String {
        let (status, bytes) = self.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        String::from_utf8(bytes).unwrap()
    }

    /// Sends a device's form; the page that comes back, or where it leads.
    async fn tell(&self, id: &str, fields: &[(&str, &[u8])], origin: Option<&str>) -> (StatusCode, String) {
        let mut body = Vec::new();
        for (name, value) in fields {
            let file = if *name == "photo" { "; filename=\"p\"" } else { "" };
            let head =
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let mut form = self
            .client
            .post(format!("{}/install/device/{id}?lang=en", self.page))
            .header("cookie", &self.cookie)
            .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
        if let Some(origin) = origin {
            form = form.header("origin", origin);
        }
        let answer = form.body(body).send().await.unwrap();
        let status = answer.status();
        let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        let text = answer.text().await.unwrap();
        (status, to.unwrap_or(text))
    }
}

/// What was placed, in the order of the record.
fn placed(data: &Path) -> Vec<DeviceFact> {
    let secret = unhex::<32>(std::fs::read_to_string(data.join("key")).unwrap().trim()).unwrap();
    let key = SigningKey::from_bytes(&secret).verifying_key();
    let (journal, _) = gateway_journal::Journal::open_read_only(&data.join("journal")).unwrap();
    let bodies = journal.scan(gateway_journal::Position::default());
    let inputs = bodies.filter_map(|stored| {
        match gateway_wire::open(&key, &stored.unwrap().bytes).unwrap().body.unwrap() {
            Body::Inputs(inputs) => Some(inputs.items),
            Body::Start(_)
            | Body::Config(_)
            | Body::Conclusions(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => None,
        }
    });
    let fact = |input| {
        let Input::Fact(fact) = input else { return None };
        let FactBody::Device(fact @ DeviceFact::Placed { .. }) = fact.body else { return None };
        Some(fact)
    };
    inputs.flatten().filter_map(fact).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_accepted_on_a_phone_and_stands_in_the_record() {
    let (peer, address) = Peer::start().await;
    peer.set(1, 4, 1, 43);
    peer.set(1, 4, 2, 510);
    peer.silence(2);
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(clinic(address), dir.path().into(), Wall::system()).await;
    let mut phone = Phone::new(&running);
    let code = open(dir.path(), "p-17").await;
    assert_eq!(phone.enter(&code).await, StatusCode::SEE_OTHER);

    let list = eventually("both devices are judged", async || {
        let list = phone.page("/install?lang=en").await;
        (list.contains("found</span>") && list.contains("does not answer</span>")).then_some(list)
    })
    .await;
    assert!(list.contains("Accepted <strong>0</strong> / 2"), "{list}");
    assert!(list.contains("<strong>line</strong> · found 1 / 2"), "{list}");
    let live = phone.page("/install/live/fridge-1?lang=zh").await;
    assert!(live.contains("<strong>4.3 °C</strong>") && live.contains("秒前应答"), "{live}");

    // Half a degree is allowed: 3.7 beside 4.3 is not.
    let far: &[(&str, &[u8])] = &[
        ("place", "一楼药房".as_bytes()),
        ("serial", b"MD-0042"),
        ("ref:fridge-1/temperature", "3,7".as_bytes()),
        ("do", b"confirm"),
    ];
    let (status, page) = phone.tell("fridge-1", far, None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("outside its accuracy") && page.contains("outside</span>"), "{page}");
    assert!(page.contains("value=\"一楼药房\"") && page.contains("<strong>+0.6</strong> °C"), "{page}");
    assert_eq!(placed(dir.path()), [], "nothing was said yet");

    let near: &[(&str, &[u8])] = &[
        ("place", "一楼药房".as_bytes()),
        ("serial", b"MD-0042"),
        ("ref:fridge-1/temperature", b"4.10"),
        ("photo", JPEG),
        ("photo", b""),
        ("do", b"confirm"),
    ];
    let (status, to) = phone.tell("fridge-1", near, Some(&phone.page)).await;
    assert_eq!((status, &*to), (StatusCode::SEE_OTHER, "/install/device/fridge-1?lang=en&said=confirmed"));

    let name = hex(&hash(JPEG));
    let page = phone.page(&to).await;
    assert!(page.contains("Accepted and on record") && page.contains("within</span>"), "{page}");
    assert_eq!(phone.get(&format!("/install/photo/{name}")).await, (StatusCode::OK, JPEG.to_vec()));
    let sheet = phone.page("/install/sheet?lang=zh").await;
    for shown in ["安装验收单", "一楼药房", "MD-0042", "p-17", "+0.2", "±0.5 °C", "合格", &name]
    {
        assert!(sheet.contains(shown), "{shown}: {sheet}");
    }
    assert!(sheet.contains("尚未验收") && sheet.contains("二号冰箱"), "{sheet}");
    assert!(phone.page("/install?lang=en").await.contains("Accepted <strong>1</strong> / 2"));

    // One too large stops the form and costs nothing that was there.
    let mut large = JPEG.to_vec();
    large.resize((8 << 20) + 1, 0);
    let (status, page) =
        phone.tell("fridge-1", &[("place", "一楼药房".as_bytes()), ("photo", &large)], None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.contains("at most 8 MB") && page.contains(&name) && page.contains("accepted</span>"),
        "{page}"
    );

    // One that does not answer is not accepted, whatever is typed.
    let dead: &[(&str, &[u8])] = &[("place", b"x"), ("serial", b"y"), ("do", b"confirm")];
    let (status, page) = phone.tell("fridge-2", dead, None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("has no reading: it cannot be accepted"), "{page}");

    // The other way in ends in the same place: what it shows now, beside what the person says.
    let what = What::Placed {
        serial: "MD-0042".into(),
        place: "二楼".into(),
        by: "p-18".into(),
        review: None,
        compared: vec![Beside { point: "temperature".into(), shown: None, reference: "4.2".into() }],
        photos: vec![name.clone()],
    };
    door::say(dir.path(), &Told { device: "fridge-1".into(), what: what.clone() }).await.unwrap();
    assert!(phone.page("/install/sheet?lang=en").await.contains("二楼"));
    let What::Placed { serial, place, by, review, compared, .. } = what else { panic!("it is one") };
    let absent = What::Placed { serial, place, by, review, compared, photos: vec!["0".repeat(64)] };
    let why = door::say(dir.path(), &Told { device: "fridge-1".into(), what: absent }).await.unwrap_err();
    assert!(format!("{why:#}").contains("there is no photo 0000"), "{why:#}");
    running.stop().await;

    let facts = placed(dir.path());
    let [
        DeviceFact::Placed { place, by, accepted: Some(accepted), .. },
        DeviceFact::Placed { accepted: Some(second), .. },
    ] = &facts[..]
    else {
        panic!("{facts:?}");
    };
    assert_eq!((&**place, &**by), ("一楼药房", "p-17"));
    assert_eq!(accepted.photos[0].sha256, hash(JPEG));
    let compared = &accepted.compared[0];
    assert_eq!(compared.reference, Raw::Dec { mantissa: 410, exponent: -2 }, "as it was typed");
    let number = |raw: Raw| raw.value(1.0, 0.0).unwrap();
    assert!((number(compared.shown) - 4.3).abs() < 1e-9);
    assert_eq!(compared.accuracy.map(number), Some(0.5));
    assert_eq!(second.compared[0].reference, Raw::Dec { mantissa: 42, exponent: -1 });

    // It goes on after a restart; what was entered with the old code does not.
    let running = Running::start(clinic(address), dir.path().into(), Wall::system()).await;
    phone.page = running.up.page.clone().unwrap();
    assert_eq!(phone.get("/install/sheet").await.0, StatusCode::SEE_OTHER);
    let code = open(dir.path(), "p-17").await;
    assert_eq!(phone.enter(&code).await, StatusCode::SEE_OTHER);
    assert!(phone.page("/install?lang=en").await.contains("Accepted <strong>1</strong> / 2"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_in_without_the_code_and_other_sites_forms_are_refused() {
    let (peer, address) = Peer::start().await;
    peer.set(1, 4, 1, 43);
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(clinic(address), dir.path().into(), Wall::system()).await;
    let mut phone = Phone::new(&running);
    let closed = phone.page("/install?lang=en").await;
    assert!(closed.contains("The page is closed") && !closed.contains("<form"), "{closed}");
    assert_eq!(phone.enter("12345678").await, StatusCode::FORBIDDEN);
    for path in ["/install/sheet", "/install/device/fridge-1", "/install/live/fridge-1", "/install/photo/00"]
    {
        assert_eq!(phone.get(path).await.0, StatusCode::SEE_OTHER, "{path}");
    }
    let confirm: &[(&str, &[u8])] = &[("place", b"x"), ("serial", b"y"), ("photo", JPEG), ("do", b"confirm")];
    assert_eq!(phone.tell("fridge-1", confirm, None).await.0, StatusCode::SEE_OTHER);
    assert!(!dir.path().join("photos").exists(), "nothing is kept for a stranger");

    let code = open(dir.path(), "p-17").await;
    assert_eq!(phone.enter("0").await, StatusCode::FORBIDDEN);
    assert_eq!(phone.enter(&code).await, StatusCode::SEE_OTHER);
    let foreign = phone.tell("fridge-1", confirm, Some("http://elsewhere.example")).await;
    assert_eq!(foreign.0, StatusCode::FORBIDDEN);
    assert!(!dir.path().join("photos").exists());
    assert_eq!(phone.tell("nobody", confirm, None).await.0, StatusCode::NOT_FOUND);
    let (status, page) = phone.tell("fridge-1", &[("photo", b"<svg/>"), ("place", b"kept")], None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("JPEG or PNG") && page.contains("value=\"kept\""), "{page}");
    let answer = plain().get(format!("{}/install", phone.page)).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script"), "{policy}");
    // A code for too long a time, and none where there is no page.
    let long = Installer { by: "p".into(), for_ms: 86_400_001 };
    let why = format!("{:#}", door::installer(dir.path(), long).await.unwrap_err());
    assert!(why.contains("for at most 1 d"), "{why}");
    running.stop().await;
}
