//! Jobs against a device that says what a test tells it to say.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use airlift_app::dto::{End, Event, Job};
use airlift_app::{Airlift, Options, sample};
use airlift_release::SigningKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ID: &str = "c3-fa4e00000001";

/// What the device does with one envelope.
enum Answer {
    /// An HTTP status and a JSON body.
    Error(u16, Value),
    /// Lines, each after a pause; then the connection closes, and the device runs what it runs.
    Lines(Vec<(u64, Value)>, Option<Value>),
}

struct Fake {
    address: SocketAddr,
    /// The request lines of all updates that were sent.
    posts: Arc<Mutex<Vec<String>>>,
    /// Accepts connections until it is aborted.
    life: tokio::task::JoinHandle<()>,
}

/// Starts a device that describes itself as `info` and answers envelopes in turn.
async fn fake(info: Value, answers: Vec<Answer>) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let info = Arc::new(Mutex::new(info));
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let posts: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = posts.clone();
    let life = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, info.clone(), answers.clone(), seen.clone()));
        }
    });
    Fake {
        address,
        posts,
        life,
    }
}

async fn serve(
    mut stream: TcpStream,
    info: Arc<Mutex<Value>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    posts: Arc<Mutex<Vec<String>>>,
) {
    let Some(request) = request(&mut stream).await else {
        return;
    };
    if request.starts_with("GET /v1/device") {
        let body = info.lock().unwrap().to_string();
        return respond(&mut stream, 200, &body).await;
    }
    if !request.starts_with("POST /v1/update") {
        return respond(&mut stream, 404, "{}").await;
    }
    posts
        .lock()
        .unwrap()
        .push(request.lines().next().unwrap_or_default().to_owned());
    let answer = answers.lock().unwrap().pop_front();
    match answer {
        Some(Answer::Error(status, body)) => respond(&mut stream, status, &body.to_string()).await,
        Some(Answer::Lines(lines, after)) => {
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            for (pause, line) in lines {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                if stream
                    .write_all(format!("{line}\n").as_bytes())
                    .await
                    .is_err()
                {
                    return;
                }
            }
            if let Some(after) = after {
                *info.lock().unwrap() = after;
            }
        }
        None => respond(&mut stream, 500, "{}").await,
    }
}

/// Reads a request, its body included.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_ascii_lowercase();
            let len = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
            let start = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
            if bytes.len() >= start + len.unwrap_or(0) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn respond(stream: &mut TcpStream, status: u16, body: &str) {
    let len = body.len();
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    let _ = stream.write_all(text.as_bytes()).await;
}

struct Bench {
    _dir: tempfile::TempDir,
    airlift: Airlift,
    release: airlift_release::Release,
    /// The description of the device before and after the update.
    before: Value,
    after: Value,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::from_seed(&[44; 32]);
        let product = format!("{name}-{}", std::process::id());
        let release = sample::NEW.pack(&product, 0, &key).unwrap();
        let old = sample::OLD.pack(&product, 0, &key).unwrap();
        let mut options = Options::new(dir.path().join("home"));
        options.mdns = false;
        options.patience = Some(Duration::from_millis(200));
        let airlift = Airlift::open(options).await.unwrap();
        let public = dir.path().join("k.pub.pem");
        airlift_release::keys::write_public(&public, &key.public()).unwrap();
        airlift.trust_key(&public).await.unwrap();
        let file = dir.path().join("r.airlift");
        std::fs::write(&file, release.to_file()).unwrap();
        airlift.add_release(&file).await.unwrap();
        let (before, after) = (
            info(&old, "factory", 3_600_000),
            info(&release, "ota_0", 900),
        );
        Self {
            _dir: dir,
            airlift,
            release,
            before,
            after,
        }
    }

    async fn start(&self, device: &Fake) -> u32 {
        self.airlift
            .add_device(&device.address.to_string())
            .await
            .unwrap();
        let id = self.release.id().to_string();
        self.airlift
            .start_update(&[ID.into()], &id, false)
            .await
            .unwrap()[0]
    }

    async fn update(&self, device: &Fake) -> Job {
        let job = self.start(device).await;
        let end = tokio::time::timeout(Duration::from_secs(30), self.airlift.wait_for(job));
        end.await.expect("it ends").unwrap()
    }

    fn started(&self) -> (u64, Value) {
        let id = self.release.id().to_string();
        (
            0,
            json!({"event": "started", "token": "00ff", "release": id, "parts": {}}),
        )
    }
}

/// How a device that runs this release describes itself.
fn info(release: &airlift_release::Release, slot: &str, uptime: u64) -> Value {
    let kid = release.signer().id().to_string();
    json!({
        "schema": 1, "id": ID, "name": "fake", "product": release.manifest().product,
        "chip": "esp32c3", "flash_size": 4 << 20,
        "running": {
            "slot": slot, "state": "valid", "release": release.id().to_string(),
            "version": release.manifest().version, "sequence": release.manifest().sequence,
            "app_sha256": release.app().unwrap().digest().to_string(),
            "files_sha256": release.files().unwrap().digest().to_string(),
        },
        "slots": [], "trust": {"epoch": 1, "root": kid, "keys": [kid]},
        "updater": {"state": "idle"}, "uptime_ms": uptime,
    })
}

#[tokio::test]
async fn a_device_that_is_busy_says_who_updates_it() {
    let bench = Bench::new("fake-busy").await;
    let refusal = json!({"code": "busy", "message": "updated by 10.0.0.7"});
    let device = fake(bench.before.clone(), vec![Answer::Error(409, refusal)]).await;
    let job = bench.update(&device).await;
    let error = job.error.unwrap();
    assert_eq!((job.end, error.code.as_str()), (Some(End::Failed), "busy"));
    assert_eq!(error.message, "Updated by 10.0.0.7.");
}

#[tokio::test]
async fn what_a_device_claims_brings_nobody_to_sign_the_last_sequence_or_epoch() {
    for (name, claim, next) in [
        ("fake-ahead", 1_000, 1_001),
        ("fake-forward", u32::MAX - 1, 3),
    ] {
        let bench = Bench::new(name).await;
        assert_eq!(bench.release.manifest().sequence, 2);
        let mut claims = bench.before.clone();
        claims["running"]["sequence"] = json!(claim);
        claims["trust"]["epoch"] = json!(claim);
        let device = fake(claims, vec![]).await;
        let added = bench.airlift.add_device(&device.address.to_string()).await;
        added.unwrap();
        let plan = bench.airlift.plan_key_change(&[ID.into()]).await.unwrap();
        assert!(plan.epoch <= next, "epoch {}", plan.epoch);
        let key = bench.airlift.new_key("mine", None).await.unwrap();
        let id = bench.release.id().to_string();
        let made = bench.airlift.go_back(&id, &key.id, None).await.unwrap();
        assert_eq!(made.sequence, next);
    }
}

#[tokio::test]
async fn a_command_does_not_wait_for_ever_for_a_device_that_went_away() {
    let bench = Bench::new("fake-away").await;
    let device = fake(bench.before.clone(), vec![]).await;
    bench
        .airlift
        .add_device(&device.address.to_string())
        .await
        .unwrap();
    device.life.abort();
    let id = bench.release.id().to_string();
    let started = bench.airlift.start_update(&[ID.into()], &id, false).await;
    let job = bench.airlift.wait_for(started.unwrap()[0]);
    // Discovery takes some seconds to be sure that it is gone.
    let job = tokio::time::timeout(Duration::from_secs(30), job).await;
    let job = job.expect("it ends").unwrap();
    let code = job.error.map(|error| error.code);
    assert_eq!(
        (job.end, code.as_deref()),
        (Some(End::Failed), Some("not_seen_again"))
    );
    assert!(device.posts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_device_is_told_where_to_fetch_from_and_what_to_allow_when_it_cannot() {
    let bench = Bench::new("fake-firewall").await;
    let failed = json!({"event": "failed", "code": "host_unreachable", "message": "no answer"});
    let answer = Answer::Lines(vec![bench.started(), (0, failed)], None);
    let device = fake(bench.before.clone(), vec![answer]).await;
    let job = bench.update(&device).await;
    let post = device.posts.lock().unwrap()[0].clone();
    let from = post
        .split_once("from=http://")
        .unwrap()
        .1
        .split_whitespace()
        .next()
        .unwrap();
    let server = bench.airlift.snapshot().await.unwrap().server;
    assert_eq!(server.addresses, [from], "{post}");
    let error = job.error.unwrap();
    assert_eq!(error.code, "host_unreachable");
    let port = from.rsplit_once(':').unwrap().1;
    assert!(
        error.help.contains(&format!("port {port} on 127.0.0.1")),
        "{}",
        error.help
    );
}

#[tokio::test]
async fn a_lost_connection_is_attached_to_again_with_the_same_envelope() {
    let bench = Bench::new("fake-reattach").await;
    let chunk = |n: u32| json!({"event": "chunk", "part": "app", "n": n, "state": "checked"});
    let reboot = json!({"event": "rebooting", "slot": "ota_0"});
    let answers = vec![
        Answer::Lines(vec![bench.started(), (0, chunk(0))], None),
        Answer::Lines(
            vec![bench.started(), (0, chunk(1)), (0, reboot)],
            Some(bench.after.clone()),
        ),
    ];
    let device = fake(bench.before.clone(), answers).await;
    let job = bench.update(&device).await;
    assert_eq!(job.end, Some(End::Done), "{}", job.summary);
    assert_eq!(
        job.parts[0].fetched, 2,
        "what was told before the loss still counts"
    );
    assert_eq!(device.posts.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_device_that_says_rebooting_and_stays_as_it_is_is_not_done() {
    let bench = Bench::new("fake-liar").await;
    let reboot = json!({"event": "rebooting", "slot": "ota_0"});
    let answer = Answer::Lines(vec![bench.started(), (0, reboot)], None);
    let device = fake(bench.before.clone(), vec![answer]).await;
    let job = bench.start(&device).await;
    let end = tokio::time::timeout(Duration::from_secs(2), bench.airlift.wait_for(job)).await;
    assert!(
        end.is_err(),
        "{:?}",
        end.map(|job| job.map(|job| job.summary))
    );
    bench.airlift.close().await;
}

#[tokio::test]
async fn the_window_is_told_ten_times_a_second_at_most_and_loses_no_chunk() {
    let bench = Bench::new("fake-chatty").await;
    let mut lines = vec![bench.started()];
    let chunks = bench.release.app().unwrap().chunks();
    for n in 0..chunks {
        for state in ["fetching", "checked", "written", "read_back"] {
            let line = json!({"event": "chunk", "part": "app", "n": n, "state": state});
            lines.push((5, line));
        }
    }
    lines.push((0, json!({"event": "rebooting", "slot": "ota_0"})));
    let answer = Answer::Lines(lines, Some(bench.after.clone()));
    let device = fake(bench.before.clone(), vec![answer]).await;
    let mut events = bench.airlift.subscribe();
    let start = Instant::now();
    let job = bench.update(&device).await;
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(job.end, Some(End::Done), "{}", job.summary);

    let (mut told, mut ends, mut last_seq) = (0.0, 0, 0);
    let mut cells = vec![None; chunks as usize];
    while let Ok(numbered) = events.try_recv() {
        assert!(last_seq == 0 || numbered.seq == last_seq + 1);
        last_seq = numbered.seq;
        match numbered.event {
            Event::Job(job) => {
                told += 1.0;
                ends += u32::from(job.end.is_some());
            }
            Event::Chunks { runs, .. } => {
                for run in runs {
                    let cells = cells
                        .iter_mut()
                        .skip(run.first as usize)
                        .take(run.count as usize);
                    cells.for_each(|cell| *cell = Some(run.state));
                }
            }
            _ => {}
        }
    }
    assert_eq!(ends, 1, "exactly one end");
    // Changes of phase are told at once, and there are at most eight.
    assert!(told <= seconds * 10.0 + 8.0, "{told} in {seconds} s");
    assert!(told >= 5.0, "{told} in {seconds} s");
    let read_back = Some(airlift_app::dto::ChunkState::ReadBack);
    assert!(cells.iter().all(|cell| *cell == read_back), "{cells:?}");
}
