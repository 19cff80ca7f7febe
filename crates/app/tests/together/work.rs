//! What each of the processes does.

use std::path::Path;
use std::time::Duration;

use airlift_app::dto::End;
use airlift_app::{Airlift, Options};
use serde_json::{Value, json};

/// Names the folder.
pub const DESK: &str = "AIRLIFT_TOGETHER_DESK";
/// What to do, and the number of the process.
pub const ROLE: &str = "AIRLIFT_TOGETHER_ROLE";
/// The file that starts all at once.
pub const GO: &str = "go";
/// What tells a line of a process from the test runner's.
pub const MARK: &str = "@said ";

fn say(line: &Value) {
    println!("{MARK}{line}");
}

#[tokio::test]
#[ignore = "this is a process of the other tests"]
async fn in_a_role() {
    let (Ok(desk), Ok(role)) = (std::env::var(DESK), std::env::var(ROLE)) else {
        return;
    };
    let (desk, (role, n)) = (Path::new(&desk), role.split_once(' ').unwrap());
    let n: usize = n.parse().unwrap();
    while !desk.join(GO).exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let paper: Value =
        serde_json::from_slice(&std::fs::read(desk.join("paper.json")).unwrap()).unwrap();
    let rounds = paper["rounds"].as_u64().unwrap();
    let mut options = Options::command(desk.join("home"));
    options.mdns = false;
    options.remembered = false;
    let app = Airlift::open(options).await.unwrap();
    match role {
        "write" => write(&app, desk, n, rounds).await,
        "sequence" => sequence(&app, rounds).await,
        "update" => update(&app, desk, n).await,
        other => panic!("{other}"),
    }
    app.close().await;
}

async fn write(app: &Airlift, desk: &Path, n: usize, rounds: u64) {
    // All of them the same: one takes it over, the others find it there.
    match app.import_key(&desk.join("maker.pem"), None).await {
        Ok(_) => {}
        Err(e) => assert!(["usage", "io"].contains(&e.code().as_str()), "{e}"),
    }
    app.trust_key(&desk.join("maker.pub.pem")).await.unwrap();
    let mut settings = app.snapshot().await.unwrap().settings;
    settings.port = 50_000 + n as u16;
    for round in 0..rounds {
        // The same name in every process: one gets it, the others take another.
        let key = match app.new_key(&format!("key-{round}"), None).await {
            Ok(key) => key,
            Err(e) => {
                assert_eq!(e.code().as_str(), "io", "{e}");
                app.new_key(&format!("key-{round}-{n}"), None)
                    .await
                    .unwrap()
            }
        };
        say(&json!({"key": key.id}));
        app.add_release(&desk.join("shared.airlift")).await.unwrap();
        app.add_release(&desk.join(format!("own-{n}-{round}.airlift")))
            .await
            .unwrap();
        app.set_settings(settings.clone()).await.unwrap();
    }
}

async fn sequence(app: &Airlift, rounds: u64) {
    let old = app
        .releases()
        .into_iter()
        .find(|release| release.version == "old")
        .unwrap();
    for _ in 0..rounds {
        let made = app.go_back(&old.id, "maker", None).await.unwrap();
        say(&json!({"sequence": made.sequence}));
    }
}

async fn update(app: &Airlift, desk: &Path, n: usize) {
    let devices = std::fs::read(desk.join("devices.json")).unwrap();
    let devices: Vec<String> = serde_json::from_slice(&devices).unwrap();
    let release = app.add_release(&desk.join("new.airlift")).await.unwrap();
    let (own, shared) = (&devices[n], devices.last().unwrap());
    let own = app.add_device(own).await.unwrap();
    let shared = app.add_device(shared).await.unwrap();
    let on_shared = app.start_update(&[shared.id], &release.id, false).await;
    let on_own = app
        .start_update(&[own.id], &release.id, false)
        .await
        .unwrap()[0];
    let ended = app.wait_for(on_own).await.unwrap();
    assert_eq!(ended.end, Some(End::Done), "{}", ended.summary);
    match on_shared {
        Ok(jobs) => {
            let ended = app.wait_for(jobs[0]).await.unwrap();
            assert_eq!(ended.end, Some(End::Done), "{}", ended.summary);
            say(&json!({"shared": "done"}));
        }
        Err(e) => {
            assert_eq!(e.code().as_str(), "busy", "{e}");
            say(&json!({"shared": "busy"}));
        }
    }
}
