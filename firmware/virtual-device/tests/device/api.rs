//! The HTTP API.

use crate::kit::*;
use airlift_updater::SlotId;
use std::net::IpAddr;

#[test]
fn a_device_describes_itself() {
    let release = release("1.0.0", 1);
    let (bench, _) = bench(flash_with(SlotId::Ota0, &release), settings());
    let info = bench.run(async { info(&bench.client()).await }).unwrap();
    assert_eq!(info["schema"], 1);
    assert_eq!(info["id"], "c3-000000000001");
    assert_eq!(info["name"], "bench");
    assert_eq!(info["product"], PRODUCT);
    assert_eq!(info["chip"], "esp32c3");
    assert_eq!(info["flash_size"], 4 << 20);
    assert_eq!(info["running"]["slot"], "ota_0");
    assert_eq!(info["running"]["release"], release.id().to_string());
    assert_eq!(info["trust"]["root"], root().id().to_string());
    assert_eq!(info["trust"]["keys"][0], key().id().to_string());
    assert_eq!(info["updater"]["state"], "idle");
    assert_eq!(info["last_update"], serde_json::Value::Null);
    let slots = info["slots"].as_array().unwrap();
    assert_eq!(slots.len(), 3);
    assert_eq!(slots[1], info["running"]);
    assert_eq!(slots[2]["state"], "empty");
}

#[test]
fn the_host_side_reads_every_answer() {
    let (bench, _) = bench(bare_flash(), settings());
    let release = release("1.0.0", 1);
    bench
        .run(async {
            let before = bench.client().get("/v1/device").await.unwrap();
            let read: airlift_discover::DeviceInfo = serde_json::from_str(&before.text).unwrap();
            assert_eq!(read.running.version, None);
            let after = update_and_settle(&bench, &release).await.to_string();
            let read: airlift_discover::DeviceInfo = serde_json::from_str(&after).unwrap();
            assert_eq!(read.running.version.as_deref(), Some("1.0.0"));
            assert_eq!(
                read.running.app_sha256,
                Some(release.app().unwrap().digest())
            );
        })
        .unwrap();
}

#[test]
fn another_release_during_an_update_is_busy_and_says_with_what() {
    let mut settings = settings();
    settings.network.bytes_per_second = 50_000;
    let (bench, _) = bench(bare_flash(), settings);
    let (first, second) = (app_only("1.0.0", 1), app_only("2.0.0", 2));
    bench.host().add(&first);
    let (busy, info) = bench
        .run(async {
            let mut lines = bench.client().update(&first, "").await.unwrap();
            lines.next().await.unwrap();
            let other: IpAddr = "10.0.0.77".parse().unwrap();
            let busy = bench.client_at(other).update(&second, "").await.unwrap();
            let status = busy.status;
            let busy = json(busy.all().await);
            let info = info(&bench.client()).await;
            assert_eq!(
                json(lines.all().await).last().unwrap()["event"],
                "rebooting"
            );
            ((status, busy), info)
        })
        .unwrap();
    assert_eq!(busy.0, 409);
    assert_eq!(busy.1[0]["code"], "busy");
    assert_eq!(busy.1[0]["release"], first.id().to_string());
    assert_eq!(busy.1[0]["by"], "10.0.0.1");
    assert_eq!(info["updater"]["state"], "updating");
    assert_eq!(info["updater"]["release"], first.id().to_string());
}

#[test]
fn from_must_name_the_address_that_the_request_came_from() {
    let (bench, _) = bench(bare_flash(), settings());
    let release = app_only("1.0.0", 1);
    bench.host().add(&release);
    let (bad, good) = bench
        .run(async {
            let client = bench.client();
            let bad = client
                .update(&release, "?from=http://10.0.0.9:7410")
                .await
                .unwrap();
            let good = client
                .update(&release, "?from=http%3A%2F%2F10.0.0.1%3A7410")
                .await;
            (bad.status, json(good.unwrap().all().await))
        })
        .unwrap();
    assert_eq!(bad, 400);
    assert_eq!(good.last().unwrap()["event"], "rebooting");
}

#[test]
fn what_is_no_request_of_the_api_gets_a_status_and_a_code() {
    let (bench, _) = bench(bare_flash(), settings());
    let post = |len: usize, kind: &str| {
        format!("POST /v1/update HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\r\n")
    };
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 404),
        ("DELETE /v1/device HTTP/1.1\r\n\r\n".to_owned(), 405),
        (
            "POST /v1/update/cancel?token=0011223344556677 HTTP/1.1\r\n\r\n".to_owned(),
            404,
        ),
        ("hello\r\n\r\n".to_owned(), 400),
        (post(5000, "application/cose"), 413),
        (post(0, "application/cose"), 413),
        (post(100, "text/plain"), 415),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(2000)), 400),
    ];
    for (head, status) in cases {
        let answer = bench.run(async { bench.client().request(&head, &[]).await.unwrap() });
        let answer = answer.unwrap();
        assert_eq!(answer.status, status, "{head}");
        assert!(answer.json()["code"].is_string(), "{head}");
    }
}
