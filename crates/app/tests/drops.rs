//! What is dropped on the window, and the releases that come of it.

use std::path::{Path, PathBuf};

use airlift_app::dto::{Draft, DropPlan, NewRelease, Part};
use airlift_app::{Airlift, Options, sample};
use airlift_release::SigningKey;

#[path = "support/elf.rs"]
mod elf;

struct Bench {
    dir: tempfile::TempDir,
    airlift: Airlift,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().join("home"));
        options.mdns = false;
        Self {
            airlift: Airlift::open(options).await.unwrap(),
            dir,
        }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn plan(&self, paths: &[&Path]) -> DropPlan {
        let paths: Vec<_> = paths.iter().map(|path| path.to_path_buf()).collect();
        self.airlift.plan_drop(&paths).await.unwrap()
    }

    async fn refusal(&self, paths: &[&Path]) -> String {
        match self.plan(paths).await {
            DropPlan::Refuse { error } => error.code,
            other => panic!("{other:?}"),
        }
    }

    async fn draft(&self, paths: &[&Path]) -> Draft {
        match self.plan(paths).await {
            DropPlan::NewRelease { draft, .. } => draft,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_image_and_a_folder_fill_the_sheet_and_become_a_release() {
    let bench = Bench::new().await;
    let app = bench.file("blink.bin", sample::OLD.app);
    let page = bench.file("web/index.html", b"<p>hello");
    let web = page.parent().unwrap();
    let plan = bench.plan(&[&app, web]).await;
    let DropPlan::NewRelease { sentence, draft } = plan else {
        panic!("{plan:?}")
    };
    assert_eq!(sentence, "New release from blink.bin and web/");
    assert_eq!(draft.chip.as_deref(), Some("esp32c3"));
    assert_eq!(
        (draft.version.as_str(), draft.sequence),
        ("1.0.0", 1),
        "{draft:?}"
    );
    let fields: Vec<_> = draft.problems.iter().map(|p| p.field.as_str()).collect();
    assert_eq!(fields, ["key"], "with no key yet, the sheet makes one");

    let key = bench.airlift.new_key("mine", None).await.unwrap();
    let form = |sequence| NewRelease {
        product: "drop-test".into(),
        version: "1.0.0".into(),
        sequence,
        app: Some(app.display().to_string()),
        files: Some(web.display().to_string()),
        base: None,
        key_id: key.id.clone(),
        passphrase: None,
    };
    let release = bench.airlift.pack_release(form(1)).await.unwrap();
    assert_eq!(
        (release.chip.as_str(), &release.key_id),
        ("esp32c3", &key.id)
    );
    assert!(
        matches!(release.app, Part::Carried { size, .. } if size as usize == sample::OLD.app.len())
    );
    assert_eq!(bench.airlift.releases(), [release]);
    let error = bench.airlift.pack_release(form(0)).await.unwrap_err();
    assert_eq!(error.code().as_str(), "usage");
}

#[tokio::test]
async fn a_part_alone_is_warned_about_and_a_base_is_offered() {
    let bench = Bench::new().await;
    let key = bench.airlift.new_key("mine", None).await.unwrap();
    let app = bench.file("blink.bin", sample::OLD.app);
    let draft = bench.draft(&[&app]).await;
    let warning = &draft.problems[0];
    assert_eq!(
        (warning.field.as_str(), warning.warning),
        ("files", true),
        "{draft:?}"
    );

    let form = NewRelease {
        product: draft.product.clone(),
        version: draft.version,
        sequence: draft.sequence,
        app: Some(app.display().to_string()),
        files: None,
        base: None,
        key_id: key.id,
        passphrase: None,
    };
    let base = bench.airlift.pack_release(form).await.unwrap();
    let next = bench
        .draft(&[&bench.file("next.bin", sample::NEW.app)])
        .await;
    assert_eq!((next.sequence, next.bases), (2, vec![base]));
}

#[tokio::test]
async fn a_release_is_added_once_its_key_is_trusted() {
    let bench = Bench::new().await;
    let key = SigningKey::from_seed(&[45; 32]);
    let release = sample::OLD.pack("drop-test", 0, &key).unwrap();
    let path = bench.file("r.airlift", &release.to_file());
    assert_eq!(bench.refusal(&[&path]).await, "unknown_key");

    let public = bench.dir.path().join("vendor.pub.pem");
    airlift_release::keys::write_public(&public, &key.public()).unwrap();
    let plan = bench.plan(&[&public]).await;
    assert!(matches!(&plan, DropPlan::TrustKey { key_id, .. } if *key_id == key.id().to_string()));
    bench.airlift.trust_key(&public).await.unwrap();

    let plan = bench.plan(&[&path]).await;
    let DropPlan::AddRelease {
        sentence,
        known: false,
        ..
    } = &plan
    else {
        panic!("{plan:?}")
    };
    assert_eq!(sentence, "Add release drop-test 1.0.0");
    let added = bench.airlift.add_release(&path).await.unwrap();
    assert!(matches!(
        bench.plan(&[&path]).await,
        DropPlan::AddRelease { known: true, .. }
    ));
    bench.airlift.delete_release(&added.id).await.unwrap();
    assert!(bench.airlift.releases().is_empty());
}

#[tokio::test]
async fn what_airlift_does_not_know_is_refused_with_a_reason() {
    let bench = Bench::new().await;
    let text = bench.file("notes.txt", b"remember the milk");
    let elf = bench.file("blink.elf", b"\x7FELF\x01\x01\x01");
    let image = bench.file("a.bin", sample::OLD.app);
    let other = bench.file("b.bin", sample::NEW.app);
    let gone = bench.dir.path().join("gone.bin");
    assert_eq!(bench.refusal(&[&text]).await, "bad_image");
    assert_eq!(bench.refusal(&[&elf]).await, "bad_image");
    assert_eq!(bench.refusal(&[&image, &other]).await, "usage");
    assert_eq!(bench.refusal(&[&gone]).await, "io");
    assert_eq!(bench.refusal(&[]).await, "usage");
}

#[tokio::test]
async fn a_micropython_firmware_is_called_by_its_version() {
    let bench = Bench::new().await;
    let mut elf = elf::Elf::new("2026.11");
    let banner = b"3.4.0; MicroPython v1.28.0 on 2026-04-06";
    elf.section(".rodata").data[100..100 + banner.len()].copy_from_slice(banner);
    let draft = bench.draft(&[&bench.file("firmware", &elf.bytes())]).await;
    let found = draft.app.unwrap().found;
    let line = "MicroPython v1.28.0; its application is in the files".to_owned();
    assert!(found.contains(&line), "{found:?}");
}

#[tokio::test]
async fn an_elf_fills_the_sheet_as_the_image_that_is_made_of_it() {
    let bench = Bench::new().await;
    let key = bench.airlift.new_key("mine", None).await.unwrap();
    let elf = bench.file("blink", &elf::Elf::new("4.5.6").bytes());
    let draft = bench.draft(&[&elf]).await;
    assert_eq!(draft.chip.as_deref(), Some("esp32c3"));
    assert_eq!((&*draft.version, &*draft.product), ("4.5.6", "elf-test"));
    let made = airlift_app::elf::read_app(&elf, None).unwrap();
    let part = draft.app.unwrap();
    assert_eq!(part.size as usize, made.len(), "the size of what is sent");
    assert_eq!(part.found[0], "elf-test 4.5.6");
    assert!(
        part.found
            .contains(&"Image made from the ELF file".to_owned())
    );
    let form = NewRelease {
        product: draft.product,
        version: draft.version,
        sequence: draft.sequence,
        app: Some(elf.display().to_string()),
        files: None,
        base: None,
        key_id: key.id,
        passphrase: None,
    };
    let release = bench.airlift.pack_release(form).await.unwrap();
    let Part::Carried { sha256, .. } = release.app else {
        panic!("{:?}", release.app)
    };
    assert_eq!(sha256, airlift_wire::Digest::of(&made).to_string());
}

#[tokio::test]
async fn an_elf_that_no_image_can_be_made_of_says_why() {
    let bench = Bench::new().await;
    let mut arm = elf::Elf::new("1");
    arm.machine = 40;
    let arm = bench.file("arm.elf", &arm.bytes());
    let DropPlan::Refuse { error } = bench.plan(&[&arm]).await else {
        panic!("it is refused")
    };
    assert_eq!(error.code, "bad_image");
    assert!(error.help.contains("riscv32imc"), "{error:?}");
}

#[tokio::test]
async fn a_damaged_image_is_a_problem_of_its_field() {
    let bench = Bench::new().await;
    let mut bytes = sample::OLD.app.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let draft = bench.draft(&[&bench.file("bad.bin", &bytes)]).await;
    let problem = draft.problems.iter().find(|p| p.field == "app").unwrap();
    assert_eq!(
        (problem.error.code.as_str(), problem.warning),
        ("bad_image", false)
    );
}

#[tokio::test]
async fn what_another_process_adds_to_the_folder_is_noticed() {
    let bench = Bench::new().await;
    let mut events = bench.airlift.subscribe();
    let mut options = Options::command(bench.dir.path().join("home"));
    options.mdns = false;
    let other = Airlift::open(options).await.unwrap();
    let key = other.new_key("from-the-command-line", None).await.unwrap();
    let noticed = async {
        loop {
            let event = events.recv().await.unwrap().event;
            if let airlift_app::dto::Event::Keys(keys) = event {
                return keys;
            }
        }
    };
    let keys = tokio::time::timeout(std::time::Duration::from_secs(10), noticed)
        .await
        .unwrap();
    assert_eq!(keys, [key]);
    other.close().await;
}
