//! The process that is killed: one thread that waits, one that works, so that the n-th system call
//! is the same one each time.

use std::path::Path;

use airlift_app::dto::{End, NewRelease, Settings};
use airlift_app::{Airlift, Options};
use serde::{Deserialize, Serialize};

use crate::desk::{DESK, Paper};

/// What tells a line of this process from the test runner's.
const MARK: &str = "@ack ";

/// Something that was done, and so must outlive the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ack {
    Settings {
        port: u16,
    },
    Key {
        id: String,
        name: String,
    },
    Trusted {
        id: String,
    },
    Release {
        id: String,
    },
    Deleted {
        id: String,
    },
    /// A file at a place of the user's choice.
    Exported {
        path: String,
        bytes: u64,
    },
    /// A job was started.
    Started {
        job: u32,
    },
    Ended {
        job: u32,
        end: String,
    },
    Closed,
}

/// What a process said before it was killed.
pub fn said(output: &[u8]) -> Vec<Ack> {
    let text = String::from_utf8_lossy(output);
    let lines = text.lines().filter_map(|line| line.strip_prefix(MARK));
    // The last line may be cut short: then it was not said.
    lines
        .map_while(|line| serde_json::from_str(line).ok())
        .collect()
}

fn ack(ack: &Ack) {
    println!("{MARK}{}", serde_json::to_string(ack).unwrap());
}

#[test]
#[ignore = "this is the process that is killed"]
fn in_a_role() {
    let Ok(desk) = std::env::var(DESK) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work(Path::new(&desk)));
}

async fn work(desk: &Path) {
    let paper: Paper =
        serde_json::from_slice(&std::fs::read(desk.join("paper.json")).unwrap()).unwrap();
    let mut options = Options::command(desk.join("home"));
    options.mdns = false;
    let app = Airlift::open(options).await.unwrap();

    let settings = Settings {
        theme: "dark".into(),
        port: paper.port,
        interfaces: vec![],
        notify: false,
    };
    app.set_settings(settings).await.unwrap();
    ack(&Ack::Settings { port: paper.port });

    let key = app.new_key("own", None).await.unwrap();
    let own = key.id.clone();
    ack(&Ack::Key {
        id: key.id,
        name: key.name,
    });
    let key = app.import_key(&desk.join("maker.pem"), None).await.unwrap();
    ack(&Ack::Key {
        id: key.id,
        name: key.name,
    });
    let key = app.trust_key(&desk.join("other.pub.pem")).await.unwrap();
    ack(&Ack::Trusted { id: key.id });

    let mut first = None;
    for name in ["small.airlift", "large.airlift"] {
        let release = app.add_release(&desk.join(name)).await.unwrap();
        ack(&Ack::Release {
            id: release.id.clone(),
        });
        first.get_or_insert(release.id);
    }
    let first = first.unwrap();
    let form = NewRelease {
        product: paper.product.clone(),
        version: "packed".into(),
        sequence: 900_000,
        app: None,
        files: Some(desk.join("files").display().to_string()),
        base: None,
        key_id: own.clone(),
        passphrase: None,
    };
    let packed = app.pack_release(form).await.unwrap();
    ack(&Ack::Release { id: packed.id });
    let back = app.go_back(&first, &own, None).await.unwrap();
    ack(&Ack::Release { id: back.id });
    let out = desk.join("out.airlift");
    app.export_release(&first, &out).await.unwrap();
    exported(&out);
    let out = desk.join("out.pub.pem");
    app.export_public_key(&own, &out).await.unwrap();
    exported(&out);
    let out = desk.join("out.pem");
    app.save_key_copy(&own, &out).await.unwrap();
    exported(&out);
    app.delete_release(&first).await.unwrap();
    ack(&Ack::Deleted { id: first });

    let release = app.add_release(&desk.join("update.airlift")).await.unwrap();
    ack(&Ack::Release {
        id: release.id.clone(),
    });
    let device = app.add_device(&paper.address).await.unwrap();
    let job = app
        .start_update(&[device.id], &release.id, false)
        .await
        .unwrap()[0];
    ack(&Ack::Started { job });
    let ended = app.wait_for(job).await.unwrap();
    assert_eq!(ended.end, Some(End::Done), "{}", ended.summary);
    ack(&Ack::Ended {
        job,
        end: "done".into(),
    });
    app.close().await;
    ack(&Ack::Closed);
}

fn exported(path: &Path) {
    let bytes = std::fs::metadata(path).unwrap().len();
    ack(&Ack::Exported {
        path: path.display().to_string(),
        bytes,
    });
}
