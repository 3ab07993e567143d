//! The real programs: a gateway that runs is given other site files, by a person beside it and by its center.

use std::time::Duration;

use e2e::center::Center;
use e2e::ground::program;
use e2e::modbus::Peer;
use e2e::process::run;
use e2e::{Gateway, Place, eventually, gateway};
use gateway_wire::hex;
use serde_json::Value;

use crate::evidence::agree;
use crate::sites::{bus, fridge, head};

const WITHIN: Duration = Duration::from_mins(1);

async fn good(gateway: &Gateway, point: &str) {
    eventually(&format!("{point} is good"), WITHIN, async || {
        let status = gateway.status().await?;
        let points = status["points"].as_array().cloned().unwrap_or_default();
        let good = points.iter().any(|one| one["id"] == point && one["quality"] == "good");
        if good { Ok(()) } else { Err(status["points"].to_string()) }
    })
    .await;
}

async fn step(gateway: &Gateway, step: &str) -> String {
    eventually(&format!("the configuration is {step}"), WITHIN, async || {
        let status = gateway.status().await?;
        let configuration = &status["configuration"];
        let said = configuration["said"].as_str().unwrap_or_default().to_owned();
        if configuration["step"] == step { Ok(said) } else { Err(configuration.to_string()) }
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_runs_takes_other_site_files_and_proves_what_it_concluded_under_each() {
    let place = Place::new("changes");
    let mut peer = Peer::python(&place, "fridges", "tcp", &[1]).await;
    peer.set(1, "input", 0, 45).await;
    let center = Center::start(&place, None).await;
    let site = |fridges: &[&str]| {
        let devices: String = fridges.iter().map(|id| fridge(id, "modules", "1s")).collect();
        [head("changes-1", Some(&center.url), "5s"), bus("modules", "tcp", peer.address()), devices].concat()
    };
    let mut gateway = Gateway::start(&place, &site(&["fridge-1"]), Some(&center), None).await;
    good(&gateway, "fridge-1/temperature").await;
    let file = gateway.site().to_str().unwrap().to_owned();
    let data = gateway.data().to_str().unwrap().to_owned();
    let reload = |more: &[&str]| {
        let args: [&str; 4] = ["reload", &file, "--data", &data];
        gateway::command([&args[..], more].concat())
    };

    // What it would be; nothing happens.
    let said = reload(&["--dry-run"]).good();
    assert!(said.contains("changes nothing"), "{said}");

    // A bad one: the same words as `gateway check`, the same status, the old one goes on.
    std::fs::write(&file, site(&["fridge-1", "fridge-2"]).replace("kind = \"fridge\"", "kind = \"frigde\""))
        .unwrap();
    let (checked, reloaded) = (gateway::command(["check", &file]), reload(&[]));
    assert_eq!((checked.code, reloaded.code), (Some(78), Some(78)), "{}", reloaded.stderr);
    assert!(reloaded.stderr.starts_with(&checked.stderr), "{}\n--\n{}", checked.stderr, reloaded.stderr);
    assert!(reloaded.stderr.contains("did you mean `fridge`?"), "{}", reloaded.stderr);
    step(&gateway, "refused").await;
    assert_eq!(gateway.status().await.unwrap()["epoch"], 1);

    // A good one, by a signal.
    std::fs::write(&file, site(&["fridge-0", "fridge-1"])).unwrap();
    gateway.program().hang_up();
    let said = step(&gateway, "confirmed").await;
    assert!(said.starts_with("adds 1 device (fridge-0)"), "{said}");
    assert!(said.ends_with("re-plans bus `modules`, restarts nothing else"), "{said}");
    good(&gateway, "fridge-0/temperature").await;
    good(&gateway, "fridge-1/temperature").await;
    assert_eq!(gateway.status().await.unwrap()["epoch"], 2);

    // Another, by an order of the center.
    let other = place.write("other.toml", &site(&["fridge-1", "fridge-3"]));
    let (other, books) = (other.to_str().unwrap(), center.data().to_str().unwrap());
    let order = |site: &str| run(&program("center"), ["order", "config", &gateway.id, site, "--data", books]);
    let ordered: Value = serde_json::from_str(&order(other).good()).unwrap();
    assert!(ordered["order"].is_string() && ordered["bytes"].as_u64() > Some(500), "{ordered}");
    good(&gateway, "fridge-3/temperature").await;
    let said = step(&gateway, "confirmed").await;
    assert!(
        said.contains("adds 1 device (fridge-3)") && said.contains("removes 1 device (fridge-0)"),
        "{said}"
    );

    // And one that cannot be: the center hears why.
    let bad = place.write("bad.toml", &site(&["fridge-1"]).replace("1s", "1 parsec"));
    order(bad.to_str().unwrap()).good();
    let why = step(&gateway, "refused").await;
    assert!(why.contains("parsec") && why.contains('^'), "{why}");
    assert_eq!(gateway.status().await.unwrap()["epoch"], 3);

    // Everything reaches the center, and all of it can be computed again.
    eventually("the center has everything", WITHIN, async || {
        let status = gateway.status().await?;
        if status["through"] == status["last"] { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    gateway.stop();
    let rerun = gateway::command(["rerun", &data]);
    assert_eq!(rerun.code, Some(0), "{}\n{}", rerun.stdout, rerun.stderr);

    // So says the file that a stranger gets, to both verifiers, over three plans in one process.
    let bundle = place.path().join("changes.tar");
    let made = gateway::command(["journal", "export", &data, "-o", bundle.to_str().unwrap()]);
    assert_eq!(made.code, Some(3), "devices are not known: {}", made.stderr);
    let key = ::gateway::state::key_at(gateway.data()).unwrap().verifying_key();
    let policy = place.write("trust.toml", &format!("[[gateway]]\nkey = \"{}\"\n", hex(&key.to_bytes())));
    let (first, second) = agree(&bundle, &policy);
    for line in ["signatures", "sequence", "chain"] {
        assert_eq!(first.line(line)["status"], "ok", "{:#}", first.line(line));
    }
    assert_eq!(first.line("recomputation")["status"], "ok", "{:#}", first.line("recomputation"));
    assert_ne!(second.line("recomputation")["status"], "failed", "{:#}", second.line("recomputation"));

    // A restart begins with the center's configuration: the site file is older.
    let up = gateway.run().await;
    assert_eq!(up["epoch"], 4);
    good(&gateway, "fridge-3/temperature").await;
    gateway.stop();
}
