//! A board of the plain protocol, from the switch to its end, with a client written from the
//! description of the protocol.

use std::net::SocketAddr;
use std::time::Duration;

use airlift_app::dto::{Plain, PlainState};
use airlift_app::{Airlift, Options, sample};
use airlift_release::{FilesInput, PackOptions, Release, SigningKey, pack};
use airlift_wire::Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CHUNK: usize = 512;
/// Loopback alone, so that a test opens no port to a network.
const ONLY_LOOPBACK: &str = "airlift-test-none";

struct Bench {
    dir: tempfile::TempDir,
    key: SigningKey,
    airlift: Airlift,
}

impl Bench {
    async fn new(port: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let airlift = open(&dir).await;
        let mut settings = airlift.snapshot().await.unwrap().settings;
        settings.interfaces = vec![ONLY_LOOPBACK.into()];
        settings.port = port;
        airlift.set_settings(settings).await.unwrap();
        let key = SigningKey::from_seed(&[42; 32]);
        let file = dir.path().join("k.pub.pem");
        airlift_release::keys::write_public(&file, &key.public()).unwrap();
        airlift.trust_key(&file).await.unwrap();
        Self { dir, key, airlift }
    }

    async fn add(&self, release: &Release) -> String {
        let file = self.dir.path().join(format!("{}.airlift", release.id()));
        std::fs::write(&file, release.to_file()).unwrap();
        self.airlift.add_release(&file).await.unwrap().id
    }

    fn files(&self, sequence: u32, files: &[(&str, &str)]) -> Release {
        self.release(sequence, None, files)
    }

    fn release(&self, sequence: u32, app: Option<&[u8]>, files: &[(&str, &str)]) -> Release {
        let product = format!("plain-{}", std::process::id());
        let mut options = PackOptions::new(&product, sequence, &self.key);
        options.version = Some("1.0.0");
        options.app = app.map(|app| app.to_vec().into());
        let files = files
            .iter()
            .map(|(name, text)| (*name, text.as_bytes().to_vec()));
        options.files = Some(FilesInput::from_iter(files));
        pack(options).unwrap().release
    }

    async fn plain(&self) -> Plain {
        self.airlift.snapshot().await.unwrap().plain
    }

    async fn address(&self) -> SocketAddr {
        let server = self.airlift.snapshot().await.unwrap().server;
        let [address] = &server.addresses[..] else {
            panic!("one listener: {server:?}");
        };
        address.parse().unwrap()
    }

    /// The one board, once it is in this state.
    async fn board(&self, state: PlainState) -> airlift_app::dto::PlainBoard {
        for _ in 0..100 {
            if let [board] = &self.plain().await.boards[..]
                && board.state == state
            {
                return board.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no board is {state:?}: {:?}", self.plain().await);
    }
}

async fn open(dir: &tempfile::TempDir) -> Airlift {
    let mut options = Options::new(dir.path().join("home"));
    options.mdns = false;
    options.usb = false;
    Airlift::open(options).await.unwrap()
}

/// One request on a connection of its own, as HTTP/1.0 has it. Such a client does not look at the
/// status; the test does.
async fn get(address: SocketAddr, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap();
    (status.parse().unwrap(), answer[head + 4..].to_vec())
}

/// Fetches a part by the URL that the announcement gives, 512 bytes a request, and checks its hash.
async fn fetch(address: SocketAddr, part: &serde_json::Value) -> Vec<u8> {
    let url = part["url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{address}")).unwrap();
    let size = part["size"].as_u64().unwrap() as usize;
    assert_ne!(size, 0);
    let mut all = Vec::new();
    for n in 0..size.div_ceil(CHUNK) {
        all.extend(get(address, &format!("{path}/{n}")).await.1);
    }
    assert_eq!(all.len(), size);
    assert_eq!(Digest::of(&all).to_string(), part["hash"].as_str().unwrap());
    all
}

#[tokio::test]
async fn a_plain_client_is_updated_and_shown_from_its_first_question_to_its_unknown_end() {
    let bench = Bench::new(41_510).await;
    let files = [
        ("lib/x.py", "x = 1\n"),
        ("www/index.html", "<p>"),
        ("main.py", "import lib.x\n"),
    ];
    let release = bench.release(1, Some(sample::NEW.app), &files);
    let id = bench.add(&release).await;
    assert_eq!(bench.plain().await.release, None, "off by default");

    bench.airlift.serve_plain(Some(&id)).await.unwrap();
    assert_eq!(bench.plain().await.release.as_deref(), Some(id.as_str()));
    let address = bench.address().await;
    let (status, meta) = get(address, "/updatemeta").await;
    assert_eq!(status, 200);
    let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    assert_eq!(bench.board(PlainState::Asked).await.address, "127.0.0.1");

    let app = fetch(address, &meta["partition"]).await;
    assert_ne!(app.len() % CHUNK, 0);
    assert!(app.starts_with(release.app().unwrap().bytes()));
    let board = bench.board(PlainState::Fetching).await;
    assert_eq!(board.parts[0].fetched, board.parts[0].chunks);
    assert_eq!(board.parts[1].fetched, 0);

    let files = fetch(address, &meta["vfs"]).await;
    assert_eq!(files[..], release.files().unwrap().bytes()[..]);
    let board = bench.board(PlainState::Unknown).await;
    assert!(board.summary.contains("does not say"), "{}", board.summary);
    assert!(bench.airlift.devices().is_empty(), "it is no device");

    let busy = bench.airlift.delete_release(&id).await.unwrap_err();
    assert_eq!(busy.code().as_str(), "busy");
    bench.airlift.serve_plain(None).await.unwrap();
    let (status, body) = get(address, "/updatemeta").await;
    assert_eq!(status, 404);
    assert!(serde_json::from_slice::<serde_json::Value>(&body).is_err());
    bench.airlift.delete_release(&id).await.unwrap();
    bench.airlift.close().await;
}

#[tokio::test]
async fn it_moves_to_another_release_and_is_off_after_a_restart() {
    let bench = Bench::new(41_530).await;
    let files = [("lib/x.py", "x = 1\n"), ("main.py", "import lib.x\n")];
    let first = bench.add(&bench.files(1, &files[1..])).await;
    let second = bench.add(&bench.files(2, &files)).await;
    bench.airlift.serve_plain(Some(&first)).await.unwrap();
    bench.airlift.serve_plain(Some(&second)).await.unwrap();
    assert_eq!(bench.plain().await.release, Some(second.clone()));
    let address = bench.address().await;
    let meta: serde_json::Value =
        serde_json::from_slice(&get(address, "/updatemeta").await.1).unwrap();
    assert!(meta.get("partition").is_none(), "it carries files only");
    let tar = fetch(address, &meta["vfs"]).await;
    assert!(
        tar.starts_with(b"lib/\0"),
        "an entry for the folder, and no ./ before it"
    );
    bench.airlift.close().await;
    let again = open(&bench.dir).await;
    assert_eq!(again.snapshot().await.unwrap().plain, Plain::default());
    again.close().await;
}

#[tokio::test]
async fn what_such_boards_cannot_take_is_refused_and_what_was_served_stays() {
    let bench = Bench::new(41_550).await;
    let good = bench.add(&bench.files(1, &[("main.py", "")])).await;
    let nested = bench.add(&bench.files(2, &[("a/b/c.py", "")])).await;
    bench.airlift.serve_plain(Some(&good)).await.unwrap();
    let refused = bench.airlift.serve_plain(Some(&nested)).await.unwrap_err();
    assert_eq!(refused.code().as_str(), "not_for_plain");
    assert!(refused.to_string().contains("a/b/"), "{refused}");
    assert_eq!(bench.plain().await.release, Some(good));
    let missing = bench.airlift.serve_plain(Some("beef")).await.unwrap_err();
    assert_eq!(missing.code().as_str(), "no_such_release");
    bench.airlift.close().await;
}
