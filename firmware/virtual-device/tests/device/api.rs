//! The HTTP API.

use crate::kit::*;
use airlift_updater::SlotId;
use std::net::IpAddr;
use std::time::Duration;

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
fn a_request_from_a_web_page_is_refused() {
    let (bench, nor) = bench(bare_flash(), settings());
    bench.run(async {}).unwrap();
    let changes = nor.counters().changes();
    let release = app_only("1.0.0", 1);
    bench.host().add(&release);
    let answers = bench
        .run(async {
            let client = bench.client();
            let get = "GET /v1/device HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n";
            let len = release.envelope().len();
            let post = format!(
                "POST /v1/update HTTP/1.1\r\norigin: null\r\nContent-Length: {len}\r\n\
                 Content-Type: application/cose\r\n\r\n"
            );
            [
                client.request(get, &[]).await.unwrap(),
                client.request(&post, release.envelope()).await.unwrap(),
            ]
        })
        .unwrap();
    for answer in answers {
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json()["code"], "bad_request");
    }
    assert_eq!(nor.counters().changes(), changes);
    assert_eq!(bench.host().requests(), []);
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
fn only_ten_signatures_are_checked_in_a_minute() {
    let (bench, _) = bench(bare_flash(), settings());
    let release = packed_for_another_product();
    bench
        .run(async {
            for _ in 0..10 {
                let lines = bench.client().update(&release, "").await.unwrap();
                assert_eq!(code(&json(lines.all().await)), "wrong_product");
            }
            let limited = bench.client().update(&release, "").await.unwrap();
            assert_eq!(limited.status, 429);
            bench.scheduler().sleep(Duration::from_secs(60)).await;
            let lines = bench.client().update(&release, "").await.unwrap();
            assert_eq!(lines.status, 200);
        })
        .unwrap();
}

fn packed_for_another_product() -> airlift_release::Release {
    let key = key();
    let mut options = airlift_release::PackOptions::new("another", 1, &key);
    options.app = Some(app("1.0.0").into());
    airlift_release::pack(options).unwrap().release
}

#[test]
fn a_client_that_stops_reading_does_not_hold_up_the_update() {
    let (bench, _) = bench(bare_flash(), settings());
    // Enough lines to fill what a connection holds on its way.
    let large = airlift_virtual_device::deterministic::sample_app(CHIP, "big", 900_000);
    let release = release_of("big", 1, Some(large), None, None);
    bench.host().add(&release);
    let took = bench
        .run(async {
            let start = bench.scheduler().now();
            let _never_read = bench.client().update(&release, "").await.unwrap();
            while settled(&bench).await["running"]["slot"] != "ota_0" {
                bench.scheduler().sleep(Duration::from_millis(100)).await;
            }
            bench.scheduler().now() - start
        })
        .unwrap();
    assert!(took < Duration::from_secs(30), "{took:?}");
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

#[test]
fn more_connections_than_a_board_has_wait_their_turn() {
    let (bench, _) = bench(bare_flash(), settings());
    // Six that say nothing: they are dropped after five seconds.
    let took = bench
        .run(async {
            use airlift_updater::platform::Net;
            let mut silent = Vec::new();
            for _ in 0..6 {
                let mut interface = bench.network().interface("10.0.0.9".parse().unwrap());
                silent.push(
                    interface
                        .connect(airlift_virtual_device::deterministic::DEVICE)
                        .await
                        .unwrap(),
                );
            }
            let start = bench.scheduler().now();
            let answer = bench.client().get("/v1/device").await.unwrap();
            assert_eq!(answer.status, 200);
            bench.scheduler().now() - start
        })
        .unwrap();
    assert!(took <= Duration::from_secs(6), "{took:?}");
}
