//! Pages as a browser without a script sees them: cookies, forms, redirects, refusals in words, both languages.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod rig;

use axum::body::Body as HttpBody;
use axum::http::{Request, StatusCode, header};
use center::store::leads::{self, Found};
use center::store::{LeadRow, Words};
use center::verifier;
use gateway_model::Change;
use rig::{Answer, Gateway, INSTITUTION, PASSWORD, Rig, send};

/// A browser: keeps its cookies.
struct Browser<'r> {
    rig: &'r Rig,
    cookies: Vec<(String, String)>,
}

impl<'r> Browser<'r> {
    fn new(rig: &'r Rig) -> Self {
        Self { rig, cookies: Vec::new() }
    }

    async fn ask(&mut self, request: axum::http::request::Builder, body: HttpBody) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header(header::COOKIE, cookies.join("; ")).body(body).unwrap();
        let answer = send(&self.rig.router, request).await;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.ask(Request::get(path), HttpBody::empty()).await
    }

    async fn page(&mut self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", text(&answer));
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        text(&answer)
    }

    async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", escape(value)))
            .collect::<Vec<_>>()
            .join("&");
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.ask(request, HttpBody::from(body)).await
    }

    /// Fills in a form of `page` as it stands there: token and number are the page's own.
    async fn act(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Answer {
        let html = self.page(page).await;
        let form =
            html.split(&format!("action=\"{action}\"")).nth(1).unwrap_or_else(|| panic!("no form {action}"));
        let (csrf, seen) = (hidden(form, "csrf"), hidden(form, "seen"));
        let mut all = vec![("csrf", csrf.as_str()), ("seen", seen.as_str())];
        all.extend_from_slice(fields);
        self.form(action, &all).await
    }

    async fn log_in(&mut self, name: &str) -> Answer {
        self.form("/login", &[("user", name), ("password", PASSWORD), ("next", "")]).await
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

fn hidden(html: &str, name: &str) -> String {
    html.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned()
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |out, byte| format!("{out}%{byte:02X}"))
}

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", text(answer));
    answer.headers[header::LOCATION].to_str().unwrap()
}

async fn raised(rig: &Rig) -> (Gateway, i64) {
    let mut gateway = rig.gateway(1).await;
    let now = rig.app.clock.civil().0;
    let mut records = gateway.start(now - 60_000);
    records.push(gateway.readings(now - 50_000, now - 40_000, 95));
    records.push(gateway.change(now - 40_000, 1, 1, Change::Raised));
    rig.push(&gateway, &records).await;
    (gateway, now)
}

/// One picture and the words around it, as a browser sends them.
fn submission(csrf: &str, seen: &str, words: &str, photo: &[u8]) -> (String, Vec<u8>) {
    let boundary = "----nonsite";
    let mut body = Vec::new();
    for (name, value) in [("csrf", csrf), ("seen", seen), ("text", words)] {
        body.extend(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                .bytes(),
        );
    }
    let head =
        "Content-Disposition: form-data; name=\"photo\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg";
    body.extend(format!("--{boundary}\r\n{head}\r\n\r\n").bytes());
    body.extend_from_slice(photo);
    body.extend(format!("\r\n--{boundary}--\r\n").bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

#[tokio::test]
async fn from_alert_to_closed_by_forms_alone() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    rig.user("housekeeping", "institution").await;
    let (mut gateway, now) = raised(&rig).await;

    let mut center = Browser::new(&rig);
    assert_eq!(location(&center.get("/alerts").await), "/login?next=/alerts");
    assert_eq!(location(&center.log_in("admin").await), "/");
    let tasks = center.page("/").await;
    assert!(
        tasks.contains("我的待办")
            && tasks.contains("data-case-id=\"1\"")
            && tasks.contains("data-state=\"open\"")
    );
    let list = center.page("/alerts").await;
    assert!(list.contains("data-state=\"unacknowledged\"") && list.contains("data-acknowledge"));
    assert!(list.contains("1号冰箱为9.5"), "the sentence is filled in");

    // Received from the list, and back on the list.
    let answer = center.act("/alerts", "/cases/1/acknowledge", &[("back", "/alerts")]).await;
    assert_eq!(location(&answer), "/alerts");
    let list = center.page("/alerts").await;
    assert!(list.contains("data-state=\"acknowledged\"") && !list.contains("data-acknowledge"));

    let page = center.page("/cases/1").await;
    for part in [
        "id=\"dispatch-submit\"",
        "id=\"close-submit\"",
        "data-limit=\"8\"",
        "data-curve",
        "V · 已对照标准原文",
    ] {
        assert!(page.contains(part), "{part} on {page}");
    }
    let deadline = hidden_after(&page, "name=\"deadline\" type=\"datetime-local\" value=\"");
    let asked =
        [("recipient", INSTITUTION), ("deadline", deadline.as_str()), ("requirement", "请检查冰箱门")];
    assert_eq!(location(&center.act("/cases/1", "/cases/1/dispatch", &asked).await), "/cases/1");
    assert!(center.page("/cases/1").await.contains("派单给西湖宾馆"), "an institution is shown by its name");

    let mut unit = Browser::new(&rig);
    assert_eq!(location(&unit.log_in("housekeeping").await), "/unit");
    assert_eq!(location(&unit.get("/cases/1").await), "/unit");
    assert!(unit.page("/unit").await.contains("有1件事需要您处理"));
    assert_eq!(location(&unit.act("/unit/cases/1", "/unit/cases/1/accept", &[]).await), "/unit/cases/1");
    let form = unit.page("/unit/cases/1").await;
    assert!(form.contains("请检查冰箱门") && form.contains("id=\"rectify-photo\""));

    // Not a photo: refused in words, and what was written is still there.
    let (csrf, seen) =
        (hidden(&form, "csrf"), hidden(form.split("/unit/cases/1/submit").nth(1).unwrap(), "seen"));
    let (kind, body) = submission(&csrf, &seen, "已更换门封条", b"<svg/>");
    let request = Request::post("/unit/cases/1/submit").header(header::CONTENT_TYPE, &kind);
    let answer = unit.ask(request, HttpBody::from(body)).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&answer).contains("只能上传照片") && text(&answer).contains(">已更换门封条</textarea>"));

    let (kind, body) = submission(&csrf, &seen, "已更换门封条", b"\xff\xd8\xff\xe0 a photo");
    let request = Request::post("/unit/cases/1/submit").header(header::CONTENT_TYPE, &kind);
    assert_eq!(location(&unit.ask(request, HttpBody::from(body)).await), "/unit/cases/1");
    let delivered = unit.page("/unit/cases/1").await;
    assert!(delivered.contains("已送达监管中心 ") && delivered.contains("/api/v1/attachments/"));

    let to = rig.get("/api/v1/cases/1").await["verification"]["to"].as_i64().unwrap();
    let record = gateway.readings(now - 39_000, to + 1_000, 50);
    rig.push(&gateway, &[record]).await;
    verifier::turn(&rig.app).await.unwrap();
    let page = center.page("/cases/1").await;
    assert!(
        page.contains("data-verdict=\"pass\"") && page.contains("数据核验通过") && !page.contains("合格")
    );
    let answer = center.act("/cases/1", "/cases/1/review", &[("decision", "approve"), ("reason", "")]).await;
    assert_eq!(location(&answer), "/cases/1");
    assert!(center.page("/cases/1").await.contains("data-state=\"closed\""));
    assert!(unit.page("/unit/cases/1").await.contains("已办结，谢谢"));
}

fn hidden_after(html: &str, before: &str) -> String {
    html.split(before).nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_false_alarm_is_closed_with_a_reason_and_a_refusal_keeps_what_was_typed() {
    let rig = Rig::new().await;
    raised(&rig).await;
    let mut center = Browser::new(&rig);
    center.log_in("admin").await;
    center.act("/cases/1", "/cases/1/acknowledge", &[]).await;
    let stale = [("csrf", ""), ("seen", "1"), ("disposition", "false_alarm"), ("reason", "传感器安装调试")];
    assert_eq!(center.form("/cases/1/close", &stale).await.status, StatusCode::FORBIDDEN, "no token");
    let csrf = hidden(&center.page("/cases/1").await, "csrf");
    let mut brought = stale;
    brought[0].1 = &csrf;
    let answer = center.form("/cases/1/close", &brought).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(text(&answer).contains("id=\"refusal\"") && text(&answer).contains("value=\"传感器安装调试\""));
    let answer = center
        .act("/cases/1", "/cases/1/close", &[("disposition", "false_alarm"), ("reason", "安装调试")])
        .await;
    assert_eq!(location(&answer), "/cases/1");
    assert!(center.page("/cases/1").await.contains("以“误报”办结"));
    // The condition still holds: the alert stays listed, and nobody is asked to receive it again.
    let list = center.page("/alerts").await;
    assert!(
        list.contains("data-alert-id")
            && list.contains("data-state=\"closed\"")
            && !list.contains("data-acknowledge")
    );
}

#[tokio::test]
async fn the_language_is_kept_and_every_page_exists_in_both() {
    let rig = Rig::new().await;
    raised(&rig).await;
    let mut browser = Browser::new(&rig);
    browser.log_in("admin").await;
    for (lang, tag, words) in
        [("en", "<html lang=\"en\">", "My tasks"), ("zh", "<html lang=\"zh-CN\">", "我的待办")]
    {
        assert!(browser.page(&format!("/?lang={lang}")).await.contains(words));
        for path in [
            "/",
            "/alerts",
            "/alerts?state=all",
            "/gateways",
            "/gateways/join",
            "/cases/1",
            "/?step=open",
            "/leads",
            "/leads?week=0",
        ] {
            let html = browser.page(path).await;
            assert!(html.contains(tag) && html.contains(words), "{path} in {lang}");
        }
    }
    let answer = browser.get("/cases/99?lang=en").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(text(&answer).contains("data-code=\"not_found\""));
}

#[tokio::test]
async fn set_up_happens_once_and_assets_are_kept_for_ever() {
    let rig = Rig::new().await;
    let mut browser = Browser::new(&rig);
    assert!(browser.page("/setup").await.contains("设置已完成"));
    let refused = browser.form("/setup", &[("code", "AAAA"), ("user", "x"), ("password", PASSWORD)]).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    let wrong = browser.form("/login", &[("user", "admin"), ("password", "wrong password")]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(text(&wrong).contains("用户名或密码不正确") && text(&wrong).contains("value=\"admin\""));
    let elsewhere = Request::post("/login")
        .header("sec-fetch-site", "cross-site")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let answer =
        browser.ask(elsewhere, HttpBody::from(format!("user=admin&password={}", escape(PASSWORD)))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "a form of another site");
    let html = browser.page("/login").await;
    let sheet = hidden_after(&html, "rel=\"stylesheet\" href=\"");
    let answer = browser.get(&sheet).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    let tag = answer.headers[header::ETAG].clone();
    let again = browser.ask(Request::get(&sheet).header(header::IF_NONE_MATCH, tag), HttpBody::empty()).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn codes_are_made_by_administrators_with_their_own_form_only() {
    let rig = Rig::new().await;
    rig.user("duty", "duty_officer").await;
    let mut browser = Browser::new(&rig);
    browser.log_in("duty").await;
    assert_eq!(browser.get("/gateways/join").await.status, StatusCode::FORBIDDEN);
    assert!(!browser.page("/gateways").await.contains("/gateways/join"));
    let mut browser = Browser::new(&rig);
    browser.log_in("admin").await;
    assert!(browser.page("/gateways").await.contains("/gateways/join"));
    let forged = browser.form("/gateways/join", &[("institution", "x"), ("site", "s")]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN, "no token of this session");
    let csrf = hidden(&browser.page("/gateways/join").await, "csrf");
    let form = [("csrf", csrf.as_str()), ("institution", "nobody"), ("site", "s")];
    let refused = browser.form("/gateways/join", &form).await;
    assert!(!refused.status.is_success() && text(&refused).contains("没有该单位"), "{}", text(&refused));
}

#[tokio::test]
async fn a_lead_is_dismissed_on_its_page_and_a_township_is_entered_with_the_unit() {
    let rig = Rig::new().await;
    let gateway = rig.gateway(1).await;
    let week = center::leads::listed_week(rig.app.clock.civil());
    let lead = LeadRow {
        id: 0,
        week,
        institution: INSTITUTION.to_owned(),
        institution_name: Words::default(),
        gateway: gateway.id(),
        rule: "dental-clinic/handpieces-too-few".to_owned(),
        device: "feed-1".to_owned(),
        alert: Some(1),
        feed: Some(990),
        state: "listed".to_owned(),
        found: Found::default(),
        answered_by: None,
        answered_at: None,
        reason: None,
        case: None,
    };
    let mut tx = rig.app.store.write().await.unwrap();
    leads::keep(&mut tx, 7, &lead).await.unwrap();
    tx.commit().await.unwrap();
    let mut browser = Browser::new(&rig);
    browser.log_in("admin").await;
    let page = browser.page("/leads").await;
    assert!(page.contains("data-lead-id=\"7\"") && page.contains("99 %"));
    let csrf = hidden(&page, "csrf");
    let forged = browser.form("/leads/7/dismiss", &[("reason", "x")]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN, "no token of this session");
    let empty = browser.form("/leads/7/dismiss", &[("csrf", &csrf), ("reason", " ")]).await;
    assert!(!empty.status.is_success() && text(&empty).contains("请填写原因"), "{}", text(&empty));
    let done = browser.form("/leads/7/dismiss", &[("csrf", &csrf), ("reason", "多为复诊")]).await;
    assert_eq!(location(&done), "/leads");
    let page = browser.page("/leads").await;
    assert!(page.contains("已排除：多为复诊") && page.contains("这一周没有线索"), "{page}");

    let csrf = hidden(&browser.page("/gateways/join").await, "csrf");
    let unit = [
        ("csrf", csrf.as_str()),
        ("id", "913301000000000017"),
        ("name_zh", "三墩口腔"),
        ("name_en", "Sandun Dental"),
        ("kind", "clinic"),
        ("township", " 三墩镇 "),
    ];
    assert_eq!(location(&browser.form("/gateways/join/institution", &unit).await), "/gateways/join");
    assert!(
        browser.page("/gateways/join").await.contains("<option value=\"三墩镇\">"),
        "offered for the next one"
    );

    rig.user("housekeeping", "institution").await;
    let mut unit = Browser::new(&rig);
    unit.log_in("housekeeping").await;
    assert_eq!(location(&unit.get("/leads").await), "/unit", "leads are the center's");
}
