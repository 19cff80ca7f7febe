//! The device's own HTTP interface: who may ask for what, and how often.

use crate::attack::{Attack, attacks};
use crate::forge::{Draft, PRODUCT_KEY, cbor};
use crate::kit::*;
use crate::scene::{Scene, ended_well};
use airlift_updater::platform::{Connection, Net};
use airlift_virtual_device::deterministic::{Answer, DEVICE, MemoryConnection, ReleaseHost};
use airlift_wire::ErrorCode::*;
use std::net::IpAddr;
use std::time::Duration;

attacks! { "The device's interface";
    a_web_page_cannot_ask_for_anything {
        threat: "Cross-site requests, DNS rebinding",
        attacker: "Has a page in somebody's browser send requests to devices on the network.",
        device: "Refuses every request with `Origin`, preflights too, and allows no origin.",
        code: Some(BadRequest),
        mutant: "web-pages-may-ask",
    }
    a_form_cannot_send_an_update {
        threat: "Cross-site requests",
        attacker: "Sends an update as a form of a web page would, without `Origin`.",
        device: "Takes `application/cose` only, which a form cannot send.",
        code: Some(BadRequest),
        mutant: "any-content-type-will-do",
    }
    nobody_makes_a_device_call_somebody_else {
        threat: "THREAT.NET.REDIRECT",
        attacker: "Names another host in `from`, so that devices flood it or fetch from it.",
        device: "Fetches only from the address that the request came from.",
        code: Some(BadRequest),
        mutant: "from-may-name-anybody",
    }
    a_second_release_in_the_middle_of_an_update_waits {
        threat: "THREAT.MFST.TOCTOU",
        attacker: "Posts another release while one is being installed.",
        device: "Does one update at a time; the envelope in use cannot be replaced.",
        code: Some(Busy),
        mutant: "the-last-post-counts",
    }
    of_two_hosts_at_once_one_is_served {
        threat: "THREAT.MFST.TOCTOU",
        attacker: "Two hosts post different releases at the same moment.",
        device: "Takes the first and tells the other who is updating, and what.",
        code: Some(Busy),
        mutant: "the-last-post-counts",
    }
    the_same_release_again_starts_nothing_new {
        threat: "THREAT.MFST.TOCTOU",
        attacker: "Posts the release that is being installed again, from another address.",
        device: "Shows the update that runs; it keeps fetching from where it began.",
        code: None,
        mutant: "the-last-post-counts",
    }
    a_stranger_cannot_cancel {
        threat: "",
        attacker: "Cancels an update with a wrong token, or with none.",
        device: "Asks for the token that the first line of progress told.",
        code: Some(BadRequest),
        mutant: "any-token-cancels",
    }
    half_an_envelope_does_not_keep_others_out {
        threat: "TUF slow retrieval",
        attacker: "Sends half an envelope and stalls, so that nobody else can send one.",
        device: "Waits five seconds for a request, then for the next one.",
        code: None,
        mutant: "an-envelope-may-take-its-time",
    }
    connections_that_say_nothing_do_not_keep_others_out {
        threat: "TUF slow retrieval",
        attacker: "Opens all connections that the device has, and says nothing.",
        device: "Drops them after five seconds.",
        code: None,
        mutant: "a-request-may-take-its-time",
    }
    watchers_that_read_nothing_do_not_hold_an_update {
        threat: "TUF slow retrieval",
        attacker: "Watches an update on every connection and never reads a line.",
        device: "Waits ten seconds in all for slow watchers, then leaves lines out.",
        code: None,
        mutant: "an-update-waits-for-its-watchers",
    }
    watchers_leave_connections_to_others {
        threat: "TUF slow retrieval",
        attacker: "Watches an update on every connection that the device has, so that nobody can look or cancel.",
        device: "Lets two watch, and turns others away.",
        code: Some(Busy),
        mutant: "every-connection-may-watch",
    }
    more_than_an_envelope_is_not_read {
        threat: "TUF endless data",
        attacker: "Posts a megabyte, or says so, or does not say how much.",
        device: "Takes 1 to 4080 bytes with a `Content-Length`.",
        code: Some(BadRequest),
        mutant: "an-envelope-may-be-larger",
    }
    a_request_that_can_be_read_in_two_ways_is_refused {
        threat: "THREAT.NET.ONPATH",
        attacker: "Sends two lengths or a transfer coding, so that a proxy and the device disagree.",
        device: "Refuses it.",
        code: Some(BadRequest),
        mutant: "requests-with-two-lengths",
    }
    guessing_costs_time {
        threat: "",
        attacker: "Sends envelope after envelope, so that the device does nothing but verify.",
        device: "Checks ten signatures a minute.",
        code: Some(RateLimited),
        mutant: "signatures-without-a-limit",
    }
}

fn refusal(scene: &Scene, attack: &Attack, status: u16, answer: &Answer) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.json()["code"], attack.code());
    scene.is_untouched();
    assert_eq!(scene.bench.host().requests(), []);
}

fn ask(scene: &Scene, head: &str, content: &[u8]) -> Answer {
    scene.run(async { scene.bench.client().request(head, content).await.unwrap() })
}

/// A `POST /v1/update` with these fields besides the length.
fn post(envelope: &[u8], query: &str, fields: &str) -> String {
    let len = envelope.len();
    format!("POST /v1/update{query} HTTP/1.1\r\nContent-Length: {len}\r\n{fields}\r\n")
}

const COSE: &str = "Content-Type: application/cose\r\n";

fn a_web_page_cannot_ask_for_anything(attack: &Attack) {
    let scene = Scene::new();
    let envelope = Draft::new().served(&scene.bench);
    for origin in ["http://evil.example", "null", "http://10.0.0.2"] {
        let field = format!("oRiGiN: {origin}\r\n");
        let get = format!("GET /v1/device HTTP/1.1\r\n{field}\r\n");
        refusal(&scene, attack, 403, &ask(&scene, &get, &[]));
        let update = post(&envelope, "", &format!("{COSE}{field}"));
        refusal(&scene, attack, 403, &ask(&scene, &update, &envelope));
        let preflight = format!(
            "OPTIONS /v1/update HTTP/1.1\r\n{field}Access-Control-Request-Method: POST\r\n\r\n"
        );
        let answer = ask(&scene, &preflight, &[]);
        refusal(&scene, attack, 403, &answer);
        let cancel = format!("POST /v1/update/cancel?token=00 HTTP/1.1\r\n{field}\r\n");
        refusal(&scene, attack, 403, &ask(&scene, &cancel, &[]));
    }
    scene.recovers();
}

fn a_form_cannot_send_an_update(attack: &Attack) {
    let scene = Scene::new();
    let envelope = Draft::new().served(&scene.bench);
    for kind in [
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: text/plain\r\n",
        "",
    ] {
        let answer = ask(&scene, &post(&envelope, "", kind), &envelope);
        refusal(&scene, attack, 415, &answer);
    }
    scene.recovers();
}

fn nobody_makes_a_device_call_somebody_else(attack: &Attack) {
    let scene = Scene::new();
    let envelope = Draft::new().served(&scene.bench);
    let elsewhere = ReleaseHost::new();
    let address = "10.0.0.66:7410".parse().unwrap();
    elsewhere.start(scene.bench.scheduler(), scene.bench.network(), address);
    elsewhere.add_resource("/".to_owned(), &Vec::new().into());
    for from in [
        "http://10.0.0.66:7410",
        "http://10.0.0.1:7410@10.0.0.66:7410",
        "http://10.0.0.66:7410/%23http://10.0.0.1:7410",
        "http%3A%2F%2F10.0.0.66%3A7410",
        "http://printer.local:80",
        "https://10.0.0.1:7410",
        "ftp://10.0.0.1",
        "http://127.0.0.1:7410",
        "%GG",
        "",
    ] {
        let head = post(&envelope, &format!("?from={from}"), COSE);
        refusal(&scene, attack, 400, &ask(&scene, &head, &envelope));
    }
    assert_eq!(elsewhere.requests(), []);
    scene.recovers();
}

/// A scene in which an update takes long enough for something to happen in its middle.
fn slow() -> Scene {
    let mut settings = settings();
    settings.network.bytes_per_second = 50_000;
    Scene::with(settings)
}

const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 77));

fn a_second_release_in_the_middle_of_an_update_waits(attack: &Attack) {
    let scene = slow();
    let (first, second) = (release("2.0.0", 6), release("3.0.0", 7));
    scene.bench.host().add(&first);
    scene.bench.host().add(&second);
    scene.run(async {
        let mut lines = scene.bench.client().update(&first, "").await.unwrap();
        let mut seen = Vec::new();
        // At the first line, in the app, in the files, while all is checked.
        for moment in ["started", "\"n\":3", "\"part\":\"files\"", "\"check\""] {
            while !seen
                .last()
                .is_some_and(|line: &String| line.contains(moment))
            {
                seen.push(lines.next().await.expect("the update goes on"));
            }
            let busy = scene.bench.client().update(&second, "").await.unwrap();
            assert_eq!(busy.status, 409, "{moment}");
            let busy = json(busy.all().await);
            assert_eq!(busy[0]["code"], attack.code());
            assert_eq!(busy[0]["release"], first.id().to_string());
        }
        ended_well(&json(lines.all().await));
        while settled(&scene.bench).await["running"]["slot"] != "ota_1" {
            scene
                .bench
                .scheduler()
                .sleep(Duration::from_millis(100))
                .await;
        }
        let info = settled(&scene.bench).await;
        assert_eq!(info["running"]["release"], first.id().to_string());
    });
    scene.takes_an_honest_update();
}

fn of_two_hosts_at_once_one_is_served(attack: &Attack) {
    let scene = slow();
    let (first, second) = (release("2.0.0", 6), release("3.0.0", 7));
    scene.bench.host().add(&first);
    let theirs = ReleaseHost::new();
    theirs.add(&second);
    let address = (OTHER, 7410).into();
    theirs.start(scene.bench.scheduler(), scene.bench.network(), address);
    let (ours, other) = scene.run(async {
        let (ours, other) = (scene.bench.client(), scene.bench.client_at(OTHER));
        let all = async |client: airlift_virtual_device::deterministic::Client, release| {
            let lines = client.update(release, "").await.unwrap();
            (lines.status, json(lines.all().await))
        };
        embassy_futures::join::join(all(ours, &first), all(other, &second)).await
    });
    assert_eq!((ours.0, other.0), (200, 409));
    ended_well(&ours.1);
    assert_eq!(other.1[0]["code"], attack.code());
    assert_eq!(other.1[0]["by"], "10.0.0.1");
    assert_eq!(theirs.requests(), []);
}

fn the_same_release_again_starts_nothing_new(_: &Attack) {
    let scene = slow();
    let release = release("2.0.0", 6);
    scene.bench.host().add(&release);
    let theirs = ReleaseHost::new();
    theirs.add(&release);
    let address = (OTHER, 7410).into();
    theirs.start(scene.bench.scheduler(), scene.bench.network(), address);
    let (first, again) = scene.run(async {
        let mut first = scene.bench.client().update(&release, "").await.unwrap();
        while !first.next().await.unwrap().contains("\"n\":3") {}
        let again = scene
            .bench
            .client_at(OTHER)
            .update(&release, "")
            .await
            .unwrap();
        assert_eq!(again.status, 200);
        let (first, again) = embassy_futures::join::join(first.all(), again.all()).await;
        (json(first), json(again))
    });
    ended_well(&first);
    ended_well(&again);
    assert_eq!(theirs.requests(), []);
    let total = release.app().unwrap().bytes().len() as u64;
    let sent = scene
        .bench
        .host()
        .bytes_sent(release.app().unwrap().digest());
    assert_eq!(sent, total, "nothing was fetched twice");
}

fn a_stranger_cannot_cancel(attack: &Attack) {
    let scene = slow();
    let release = release("2.0.0", 6);
    scene.bench.host().add(&release);
    scene.run(async {
        let mut lines = scene.bench.client().update(&release, "").await.unwrap();
        let started = json(vec![lines.next().await.unwrap()]);
        let token = started[0]["token"].as_str().unwrap();
        let off_by_one = format!(
            "{}{}",
            if token.starts_with('0') { "1" } else { "0" },
            &token[1..]
        );
        let short = &token[..14];
        for guess in ["", "?token=", "?token=0000000000000000", "?tok=1"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("?token={off_by_one}"), format!("?token={short}")])
        {
            let head = format!("POST /v1/update/cancel{guess} HTTP/1.1\r\n\r\n");
            let answer = scene
                .bench
                .client_at(OTHER)
                .request(&head, &[])
                .await
                .unwrap();
            assert_eq!(answer.status, 403, "{guess}");
            assert_eq!(answer.json()["code"], attack.code());
        }
        ended_well(&json(lines.all().await));
    });
}

async fn connect(scene: &Scene) -> MemoryConnection {
    let mut interface = scene.bench.network().interface(OTHER);
    interface.connect(DEVICE).await.unwrap()
}

fn half_an_envelope_does_not_keep_others_out(_: &Attack) {
    let scene = Scene::new();
    let honest = release("2.0.0", 6);
    scene.bench.host().add(&honest);
    let (took, lines) = scene.run(async {
        let mut half = connect(&scene).await;
        let head = post(honest.envelope(), "", COSE);
        half.write_all(head.as_bytes()).await.unwrap();
        half.write_all(&honest.envelope()[..100]).await.unwrap();
        scene
            .bench
            .scheduler()
            .sleep(Duration::from_millis(10))
            .await;
        let start = scene.bench.scheduler().now();
        loop {
            let lines = scene.bench.client().update(&honest, "").await.unwrap();
            if lines.status == 200 {
                let took = scene.bench.scheduler().now() - start;
                return (took, json(lines.all().await));
            }
            scene
                .bench
                .scheduler()
                .sleep(Duration::from_millis(500))
                .await;
        }
    });
    assert!(took < Duration::from_secs(6), "{took:?}");
    ended_well(&lines);
}

fn connections_that_say_nothing_do_not_keep_others_out(_: &Attack) {
    let scene = Scene::new();
    let took = scene.run(async {
        let mut silent = Vec::new();
        for _ in 0..6 {
            let mut connection = connect(&scene).await;
            connection.write_all(b"GET /v1/dev").await.unwrap();
            silent.push(connection);
        }
        let start = scene.bench.scheduler().now();
        assert_eq!(
            scene.bench.client().get("/v1/device").await.unwrap().status,
            200
        );
        scene.bench.scheduler().now() - start
    });
    assert!(took <= Duration::from_secs(6), "{took:?}");
    scene.recovers();
}

fn watchers_that_read_nothing_do_not_hold_an_update(_: &Attack) {
    let scene = Scene::new();
    // A few lines, and a sender has to wait for its reader.
    scene.bench.network().set_window(2_000);
    let honest = release("2.0.0", 6);
    scene.bench.host().add(&honest);
    let took = scene.run(async {
        let start = scene.bench.scheduler().now();
        let mut never_read = Vec::new();
        for _ in 0..airlift_updater::device::MAX_WATCHERS {
            never_read.push(scene.bench.client().update(&honest, "").await);
        }
        while settled(&scene.bench).await["running"]["slot"] != "ota_1" {
            let sleep = scene.bench.scheduler().sleep(Duration::from_millis(100));
            sleep.await;
        }
        scene.bench.scheduler().now() - start
    });
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(
        took > Duration::from_secs(5),
        "nobody had to wait: {took:?}"
    );
}

fn watchers_leave_connections_to_others(attack: &Attack) {
    let mut settings = settings();
    settings.network.bytes_per_second = 20_000;
    let scene = Scene::with(settings);
    let honest = release("2.0.0", 6);
    scene.bench.host().add(&honest);
    let client = || scene.bench.client();
    scene.run(async {
        let mut owner = client().update(&honest, "").await.unwrap();
        assert_eq!(owner.status, 200);
        let started = json(vec![owner.next().await.unwrap()]);
        let mut watching = Vec::new();
        for n in 1..6 {
            let other = client().update(&honest, "").await.unwrap();
            if n < airlift_updater::device::MAX_WATCHERS {
                assert_eq!(other.status, 200);
                watching.push(other);
            } else {
                assert_eq!(other.status, 503);
                assert_eq!(json(other.all().await)[0]["code"], attack.code());
            }
        }
        assert_eq!(info(&client()).await["updater"]["state"], "updating");
        let token = started[0]["token"].as_str().unwrap();
        let cancel = format!("POST /v1/update/cancel?token={token} HTTP/1.1\r\n\r\n");
        assert_eq!(client().request(&cancel, &[]).await.unwrap().status, 200);
        assert_eq!(code(&json(owner.all().await)), "cancelled");
        for other in watching {
            assert_eq!(code(&json(other.all().await)), "cancelled");
        }
    });
    scene.recovers();
}

fn more_than_an_envelope_is_not_read(attack: &Attack) {
    let scene = Scene::new();
    let large = vec![0xD2; 4081];
    refusal(
        &scene,
        attack,
        413,
        &ask(&scene, &post(&large, "", COSE), &large),
    );
    for length in [
        "Content-Length: 4294967295\r\n",
        "Content-Length: 0\r\n",
        "",
    ] {
        let head = format!("POST /v1/update HTTP/1.1\r\n{COSE}{length}\r\n");
        refusal(&scene, attack, 413, &ask(&scene, &head, &[]));
    }
    let head = format!(
        "POST /v1/update HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(5000)
    );
    refusal(&scene, attack, 400, &ask(&scene, &head, &[]));
    scene.recovers();
}

fn a_request_that_can_be_read_in_two_ways_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let envelope = Draft::new().served(&scene.bench);
    for fields in [
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "no colon\r\n",
    ] {
        let head = post(&envelope, "", &format!("{COSE}{fields}"));
        refusal(&scene, attack, 400, &ask(&scene, &head, &envelope));
    }
    scene.recovers();
}

fn guessing_costs_time(attack: &Attack) {
    let scene = Scene::new();
    let envelope = Draft::new()
        .set(PRODUCT_KEY, cbor::text("another"))
        .envelope();
    scene.run(async {
        scene.bench.scheduler().sleep(Duration::from_secs(60)).await;
        for _ in 0..10 {
            let lines = scene
                .bench
                .client()
                .post_envelope(&envelope, "")
                .await
                .unwrap();
            assert_eq!(code(&json(lines.all().await)), "wrong_product");
        }
        for _ in 0..3 {
            let limited = scene
                .bench
                .client()
                .post_envelope(&envelope, "")
                .await
                .unwrap();
            assert_eq!(limited.status, 429);
            assert_eq!(json(limited.all().await)[0]["code"], attack.code());
        }
        scene.bench.scheduler().sleep(Duration::from_secs(60)).await;
    });
    scene.is_untouched();
    scene.recovers();
}
