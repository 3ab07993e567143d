//! The pages, used as people use them, in headless Chromium: an alert that arrives by itself, a keyboard, two screens, a phone.
//! Every page is also drawn into `target/screenshots`, in both languages and both sizes, for a person to look at.

use std::time::Duration;

use e2e::browser::{Driver, Window};
use e2e::center::{Center, PASSWORD};
use e2e::clock::real_now;
use e2e::gateway::command;
use e2e::ground::root;
use e2e::modbus::Peer;
use e2e::{Clock, Gateway, Place, eventually};
use serde_json::Value;

use crate::cases::{PHOTO, alert, reaches};
use crate::sites::{bus, fridge, head};

const SPEED: i64 = 200;
const RULE: &str = "cold-chain/far-too-warm";
const WITHIN: Duration = Duration::from_secs(40);
const DESKTOP: (u32, u32) = (1366, 768);
const PHONE: (u32, u32) = (390, 844);
const ENTER: &str = "\u{E007}";

/// The translation table of a language, as the pages are made from.
struct Words(toml::Table);

impl Words {
    fn of(language: &str) -> Self {
        let path = root().join(format!("dashboards/center/i18n/{language}.toml"));
        Self(std::fs::read_to_string(path).unwrap().parse().unwrap())
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).and_then(toml::Value::as_str).unwrap_or_else(|| panic!("no text for `{key}`"))
    }
}

async fn log_in(window: &Window, url: &str, user: &str) {
    window.open(&format!("{url}/login?lang=zh")).await;
    window.find("#login-user").await.type_in(user).await;
    // As people do: from the last field with Enter.
    window.find("#login-password").await.type_in(&format!("{PASSWORD}{ENTER}")).await;
    eventually("logged in", WITHIN, async || {
        let address = window.address().await;
        if address.contains("/login") { Err(format!("{address}\n{}", window.text().await)) } else { Ok(()) }
    })
    .await;
    window.assert_quiet().await;
}

/// The page in both languages and both sizes; each must show the texts of these keys.
async fn pictures(window: &Window, url: &str, path: &str, name: &str, keys: &[&str]) {
    for language in ["en", "zh"] {
        let words = Words::of(language);
        for (size, (width, height)) in [("desktop", DESKTOP), ("phone", PHONE)] {
            window.size(width, height).await;
            window.open(&format!("{url}{path}?lang={language}")).await;
            for key in keys {
                window.shows(words.get(key)).await;
            }
            window.picture(&format!("{name}-{size}-{language}")).await;
            window.assert_quiet().await;
            if path.starts_with("/unit") || path.starts_with("/login") {
                window.assert_fits().await;
            }
        }
    }
}

#[tokio::test]
async fn an_alert_arrives_is_received_by_keyboard_and_rectified_on_a_phone() {
    let place = Place::new("browser");
    let clock = Clock::start(&place, real_now(), SPEED);
    let mut peer = Peer::libmodbus(&place, "fridge").await;
    peer.set(1, "input", 0, 50).await;
    let driver = Driver::start(&place).await;
    let console = driver.window("console", DESKTOP.0, DESKTOP.1).await;

    // The first page that anybody sees.
    let fresh = Center::unset(&place, "fresh").await;
    pictures(&console, &fresh.1, "/setup", "setup", &["setup_title", "setup_code"]).await;
    drop(fresh);

    let center = Center::start(&place, Some(&clock)).await;
    let url = center.url.clone();
    let site = [
        head("browser-1", Some(&url), "60s"),
        bus("fridges", "tcp", peer.address()),
        fridge("fridge-1", "fridges", "30s"),
    ]
    .concat();
    let mut gateway = Gateway::start(&place, &site, Some(&center), Some(&clock)).await;
    let api = center.api();

    pictures(&console, &url, "/login", "login", &["login_title", "user_name"]).await;
    console.size(DESKTOP.0, DESKTOP.1).await;
    log_in(&console, &url, "duty").await;
    let words = Words::of("zh");
    console.shows(words.get("tasks_title")).await;
    pictures(&console, &url, "/", "tasks-quiet", &["tasks_title"]).await;

    // Two screens show the list of alerts. Nothing reloads them: a mark in each page would be gone.
    let second = driver.window("second", DESKTOP.0, DESKTOP.1).await;
    log_in(&second, &url, "duty").await;
    console.size(DESKTOP.0, DESKTOP.1).await;
    for window in [&console, &second] {
        window.open(&format!("{url}/alerts?lang=zh")).await;
        window.shows(words.get("alerts_title")).await;
        window.find("#link-state[data-link=live]").await;
        window.script("window.stillHere = true; return 1").await;
    }
    peer.set(1, "input", 0, 135).await;
    let raised = alert(&api, RULE, "fridge-1", WITHIN).await;
    let row = format!("[data-alert-id=\"{}\"]", raised["id"].as_str().unwrap());
    for window in [&console, &second] {
        let text = window.find(&row).await.text().await;
        assert!(text.contains("冰箱温度严重过高") && text.contains("13.5"), "{text}");
        assert_eq!(
            window.script("return window.stillHere === true").await,
            true,
            "the page was not reloaded"
        );
        window.assert_quiet().await;
    }
    pictures(&second, &url, "/alerts", "alerts", &["alerts_title", "acknowledge"]).await;
    second.size(DESKTOP.0, DESKTOP.1).await;

    // Received with the keyboard only, from the list to the case to the button; the second screen sees it happen.
    let case = raised["case"].clone();
    second.open(&format!("{url}/cases/{case}?lang=zh")).await;
    second.find("#case-state[data-state=open]").await;
    second.find("#link-state[data-link=live]").await;
    second.script("window.stillHere = true; return 1").await;
    pictures(
        &console,
        &url,
        &format!("/cases/{case}"),
        "case-open",
        &["case_why", "case_chart", "case_timeline"],
    )
    .await;
    console.size(DESKTOP.0, DESKTOP.1).await;
    console.open(&format!("{url}/alerts?lang=zh")).await;
    console.tab_to(&format!("{row} .row-link")).await;
    console.press(ENTER).await;
    console.find("#acknowledge").await;
    console.tab_to("#acknowledge").await;
    console.press(ENTER).await;
    console.find("#case-state[data-state=acknowledged]").await;
    second.find("#case-state[data-state=acknowledged]").await;
    assert_eq!(
        second.script("return window.stillHere === true").await,
        true,
        "the second screen was not reloaded"
    );
    eventually("the gateway knows who received it", WITHIN, async || {
        let status = gateway.status().await?;
        let found =
            status["alerts"].as_array().into_iter().flatten().find(|alert| alert["rule"] == RULE).cloned();
        match found {
            Some(alert) if alert["state"] == "acknowledged" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    // Dispatched, also by keyboard: the form is filled in already.
    console.tab_to("#dispatch-submit").await;
    console.press(ENTER).await;
    console.find("#case-state[data-state=dispatched]").await;
    console.assert_quiet().await;
    pictures(&console, &url, "/", "tasks", &["tasks_title", "tasks_others"]).await;
    pictures(&console, &url, "/gateways", "gateways", &["nav_gateways"]).await;

    // The institution's phone.
    let phone = driver.window("phone", PHONE.0, PHONE.1).await;
    log_in(&phone, &url, "unit").await;
    pictures(&phone, &url, "/unit", "unit", &["case_device", "log_out"]).await;
    pictures(
        &phone,
        &url,
        &format!("/unit/cases/{case}"),
        "unit-case",
        &["unit_what", "unit_requirement", "unit_accept"],
    )
    .await;
    phone.size(PHONE.0, PHONE.1).await;
    phone.open(&format!("{url}/unit?lang=zh")).await;
    phone.find(&format!("[data-case-id=\"{case}\"]")).await.click().await;
    phone.find("#accept").await.click().await;
    phone.find("#rectify-text").await.type_in("已更换温控器，温度恢复").await;
    peer.set(1, "input", 0, 45).await;
    let photo = place.path().join("photo.png");
    std::fs::write(&photo, PHOTO).unwrap();
    phone.find("#rectify-photo").await.type_in(&photo.to_string_lossy()).await;
    phone.picture("unit-case-filled-phone-zh").await;
    phone.find("#rectify-submit").await.click().await;
    phone.find("#case-state[data-state=verifying]").await;
    phone.assert_fits().await;
    phone.assert_quiet().await;
    let shown = reaches(&api, &case, "verifying", WITHIN).await;
    let submitted: Option<&Value> =
        shown["timeline"].as_array().unwrap().iter().find(|entry| entry["kind"] == "submitted");
    assert_eq!(submitted.unwrap()["attachments"].as_array().unwrap().len(), 1, "{shown:#}");
    second.find("#case-state[data-state=verifying]").await;
    pictures(
        &second,
        &url,
        &format!("/cases/{case}"),
        "case-verifying",
        &["case_verification", "case_timeline"],
    )
    .await;
    pictures(&phone, &url, &format!("/unit/cases/{case}"), "unit-case-verifying", &["unit_what"]).await;

    // A center that is gone is said to be gone on every open screen.
    second.size(DESKTOP.0, DESKTOP.1).await;
    second.open(&format!("{url}/alerts?lang=zh")).await;
    second.find("#link-state[data-link=live]").await;
    second.assert_quiet().await;
    center.process.freeze(true);
    second.find("#link-state[data-link=disconnected]").await;
    second.shows(words.get("link_disconnected")).await;
    second.picture("alerts-disconnected-desktop-zh").await;
    center.process.freeze(false);
    second.find("#link-state[data-link=live]").await;

    for window in [console, second, phone] {
        window.close().await;
    }
    gateway.stop();
    center.process.assert_log(&["first start"]);
}

#[tokio::test]
async fn an_administrator_lets_a_gateway_join() {
    let place = Place::new("join");
    let driver = Driver::start(&place).await;
    let console = driver.window("console", DESKTOP.0, DESKTOP.1).await;
    let center = Center::start(&place, None).await;
    let url = center.url.clone();
    log_in(&console, &url, "admin").await;
    pictures(&console, &url, "/gateways/join", "join", &["join_title", "join_make", "join_new_institution"])
        .await;
    console.size(DESKTOP.0, DESKTOP.1).await;
    for language in ["en", "zh"] {
        console.open(&format!("{url}/gateways?lang={language}")).await;
        console.find("#join-link").await.click().await;
        console.find("#institution-id").await.type_in(&format!("clinic-{language}")).await;
        console.find("#institution-zh").await.type_in("湖滨口腔诊所").await;
        console.find("#institution-en").await.type_in("Lakeside Dental Clinic").await;
        console.find("#institution-submit").await.click().await;
        console.find(&format!("option[value=clinic-{language}]")).await.click().await;
        console.find("#join-site").await.type_in("clinic-1").await;
        console.find("#join-submit").await.click().await;
        console.shows(Words::of(language).get("join_once")).await;
        console.find(".join-picture svg").await;
        console.picture(&format!("join-code-desktop-{language}")).await;
        console.assert_quiet().await;
        let code = console.find(".join-typed").await.text().await;
        // What the page says is what works.
        let site = head("clinic-1", Some(&url), "5s");
        let gateway = Gateway::prepare(&place, &format!("gateway-{language}"), &site, None, None).await;
        gateway.enrol(&[&url, &code]).good();
        let rows = center.api().list("/api/v1/gateways", "gateways").await;
        assert!(rows.iter().any(|row| row["institution"] == format!("clinic-{language}")), "{rows:?}");
    }
    center.process.assert_log(&["first start"]);
}

/// A phone sends with each form where it comes from, and the gateway insists on that: only a browser shows that both agree.
#[tokio::test]
async fn an_installer_accepts_a_device_on_a_phone() {
    let place = Place::new("browser-install");
    let mut peer = Peer::libmodbus(&place, "fridge").await;
    peer.set(1, "input", 0, 50).await;
    let site = [
        head("browser-2", None, "5s"),
        bus("fridges", "tcp", peer.address()),
        fridge("fridge-1", "fridges", "1s"),
    ]
    .concat();
    let gateway = Gateway::start(&place, &site, None, None).await;
    let page = format!("{}/install", gateway.page);
    let driver = Driver::start(&place).await;
    let phone = driver.window("installer", PHONE.0, PHONE.1).await;
    let data = gateway.data().to_str().unwrap();
    let opened = command(["installer", "--by", "E-1", "--data", data]).good();
    let opened: Value = serde_json::from_str(&opened).unwrap();

    phone.open(&format!("{page}?lang=en")).await;
    phone.find("#code").await.type_in("00000000").await;
    phone.find("form button").await.click().await;
    phone.shows("That is not the code; tries left: 9").await;
    phone.picture("install-wrong-phone-en").await;
    phone.find("#code").await.type_in(&format!("{}{ENTER}", opened["code"].as_str().unwrap())).await;
    phone.shows("fridge-1").await;
    for language in ["zh", "en"] {
        phone.open(&format!("{page}?lang={language}")).await;
        phone.shows("fridge-1").await;
        phone.picture(&format!("install-list-phone-{language}")).await;
        phone.assert_fits().await;
    }

    phone.find("a[href*='/install/device/fridge-1']").await.click().await;
    // 5.0 °C is what the instrument shows; the reference reads 4.9.
    phone.find("#ref-1").await.type_in("4.9").await;
    phone.find("#place").await.type_in("Store room").await;
    phone.find("#serial").await.type_in("SN-1").await;
    let photo = place.path().join("plate.jpg");
    std::fs::write(&photo, PHOTO).unwrap();
    phone.find("input[type=file]").await.type_in(photo.to_str().unwrap()).await;
    phone.find("button[value=save]").await.click().await;
    phone.find("p.result").await;
    phone.find(".card img").await;
    for language in ["zh", "en"] {
        phone.open(&format!("{page}/device/fridge-1?lang={language}")).await;
        phone.find("iframe.live").await;
        phone.picture(&format!("install-device-phone-{language}")).await;
        phone.assert_fits().await;
    }
    phone.find("button[value=confirm]").await.click().await;
    phone.shows("Accepted and on record").await;
    for language in ["zh", "en"] {
        phone.open(&format!("{page}/sheet?lang={language}")).await;
        phone.shows("SN-1").await;
        phone.picture(&format!("install-sheet-phone-{language}")).await;
        phone.assert_fits().await;
    }
    phone.open(&format!("{page}?lang=en")).await;
    phone.shows("1 / 1").await;
    phone.find("form[action*='/install/leave'] button").await.click().await;
    phone.shows("The page is closed").await;
    phone.close().await;
}
