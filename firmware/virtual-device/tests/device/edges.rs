//! What other programs leave behind: names that no release has, entries of otadata at the end of their
//! count, and none at all.

use crate::kit::*;
use airlift_littlefs::{BlockDevice, FileSystem, Geometry, IoError, Storage};
use airlift_release::FilesInput;
use airlift_updater::SlotId;
use airlift_virtual_device::nor::SharedNor;
use airlift_wire::otadata::{Entry, ImageState};

struct Vfs(SharedNor, u32);

impl BlockDevice for Vfs {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        self.0
            .read(self.1 + offset, buf)
            .map_err(|_| IoError::Device)
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        self.0
            .write(self.1 + offset, data)
            .map_err(|_| IoError::BadBlock)
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        self.0.erase(self.1 + offset).map_err(|_| IoError::BadBlock)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// Works on the file system of a device that is off.
fn with_fs<T>(nor: &SharedNor, work: impl FnOnce(&mut FileSystem<'_, Vfs>) -> T) -> T {
    let vfs = layout(&nor.snapshot(), SlotId::Ota0).vfs.unwrap();
    let mut storage = Storage::new();
    let geometry = Geometry {
        block_count: vfs.size / 4096,
    };
    let device = Vfs(nor.clone(), vfs.offset);
    work(&mut FileSystem::mount(&mut storage, device, geometry).unwrap())
}

#[test]
fn names_in_the_target_folder_that_no_release_can_have_are_removed_with_the_rest() {
    let odd: [&[u8]; 3] = [b"ota_1/\xFF\xFE", b"ota_1/dir/\xC3", b"data/\xFF"];
    let deep = format!("ota_1/{}/{}", "d".repeat(90), "f".repeat(90));
    for old in [Some(release("0.5.0", 1)), None] {
        // With a release in the target, and with nothing but such names.
        let running = release("1.0.0", 2);
        let (bench, nor) = bench(flash_with(SlotId::Ota0, &running), settings());
        if let Some(old) = &old {
            let first = bench.run(update_and_settle(&bench, &release("1.1.0", 3)));
            assert_eq!(first.unwrap()["running"]["slot"], "ota_1");
            let _ = old;
            bench
                .run(update_and_settle(&bench, &release("1.2.0", 4)))
                .unwrap();
        }
        bench.power_off();
        nor.power_on();
        with_fs(&nor, |fs| {
            for folder in ["ota_1/dir", "data", &deep[..96]] {
                let _ = fs.mkdir(folder);
            }
            for path in odd.into_iter().chain([deep.as_bytes()]) {
                fs.create(path).unwrap();
                fs.append(b"x").unwrap();
                fs.close().unwrap();
            }
        });
        bench.power_on();
        let new = release("2.0.0", 5);
        let info = bench.run(update_and_settle(&bench, &new)).unwrap();
        assert_eq!(info["running"]["release"], new.id().to_string());
        bench.power_off();
        nor.power_on();
        with_fs(&nor, |fs| {
            assert!(fs.stat(odd[0]).is_err() && fs.stat(odd[1]).is_err());
            assert!(fs.stat(&deep).is_err());
            assert!(fs.stat(odd[2]).is_ok(), "the application's own");
        });
    }
}

#[test]
fn a_name_that_no_release_can_have_hides_no_room_that_will_be_free() {
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
    bench.run(async {}).unwrap();
    bench.power_off();
    nor.power_on();
    let blocks = layout(&nor.snapshot(), SlotId::Ota0).vfs.unwrap().size / 4096;
    with_fs(&nor, |fs| {
        let _ = fs.mkdir("ota_1");
        fs.create("ota_1/a").unwrap();
        for _ in 0..blocks - 40 {
            fs.append(&[b'x'; 4096]).unwrap();
        }
        fs.close().unwrap();
        // Listed after all others.
        fs.create(b"ota_1/\xFF").unwrap();
        fs.close().unwrap();
    });
    bench.power_on();
    let large = (0..50).map(|n| (format!("f{n}"), vec![b'y'; 4096]));
    let files = FilesInput::from_iter(large);
    let new = release_of("2.0.0", 2, None, Some(files), Some(&release("1.0.0", 1)));
    let info = bench.run(update_and_settle(&bench, &new)).unwrap();
    assert_eq!(info["running"]["release"], new.id().to_string());
}

#[test]
fn the_count_of_otadata_starts_anew_before_it_ends() {
    // ota_0 by the highest number that selects it, and with an aborted entry above.
    let highest = u32::MAX - 2;
    for other in [None, Some(Entry::new(u32::MAX - 1, ImageState::Aborted))] {
        let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings());
        bench.power_off();
        nor.power_on();
        let at = layout(&nor.snapshot(), SlotId::Ota0);
        let entry = Entry::new(highest, ImageState::Valid);
        assert_eq!(entry.slot(2), Some(0));
        for (n, entry) in [Some(entry), other].into_iter().enumerate() {
            let bytes = entry.map_or([0xFF; 32], |e| e.encode());
            let mut nor = nor.lock();
            nor.overwrite(at.otadata_offset(n), &bytes).unwrap();
        }
        bench.power_on();
        for (version, sequence, slot) in [("2.0.0", 2, "ota_1"), ("3.0.0", 3, "ota_0")] {
            let info = bench.run(update_and_settle(&bench, &release(version, sequence)));
            assert_eq!(info.unwrap()["running"]["slot"], slot);
        }
        assert!(otadata(&nor.snapshot()).iter().all(|e| e.sequence < 8));
    }
}

#[test]
fn a_factory_app_goes_on_from_a_count_that_has_ended() {
    let (bench, nor) = bench(bare_flash(), settings());
    bench.power_off();
    nor.power_on();
    let at = layout(&nor.snapshot(), SlotId::Factory);
    let entry = Entry::new(u32::MAX - 1, ImageState::Aborted);
    nor.lock()
        .overwrite(at.otadata_offset(0), &entry.encode())
        .unwrap();
    bench.power_on();
    let info = bench
        .run(update_and_settle(&bench, &release("1.0.0", 1)))
        .unwrap();
    assert_eq!(info["running"]["slot"], "ota_0");
}

#[test]
fn a_slot_that_the_bootloader_falls_back_to_is_not_confirmed_by_that() {
    // ota_0 is selected and damaged; ota_1 holds a trial that was given up.
    let settings = settings().with_trial("2.0.0", airlift_virtual_device::Behaviour::Hangs);
    let (bench, nor) = bench(flash_with(SlotId::Ota0, &release("1.0.0", 1)), settings);
    let starts = bench.starts();
    bench.run(update(&bench, &release("2.0.0", 2))).unwrap();
    let info = bench
        .run(async {
            while bench.starts() == starts {
                bench
                    .scheduler()
                    .sleep(std::time::Duration::from_millis(50))
                    .await;
            }
            settled(&bench).await
        })
        .unwrap();
    assert_eq!(info["last_update"]["end"], "rolled_back");
    bench.power_off();
    let at = layout(&nor.snapshot(), SlotId::Ota0);
    flip_bit(&nor, at.ota[0].offset + 5000);
    flip_bit(&nor, at.factory.unwrap().offset + 5000);
    bench.power_on();
    let info = bench.run(settled(&bench)).unwrap();
    assert_eq!(info["running"]["slot"], "ota_1");
    assert_eq!(info["running"]["state"], "aborted");
    assert_eq!(info["last_update"]["end"], "rolled_back");
    assert_eq!(state(&nor.snapshot()).sequence, 1, "it never confirmed");
    // And it can be left.
    let info = bench
        .run(update_and_settle(&bench, &release("3.0.0", 3)))
        .unwrap();
    assert_eq!(info["running"]["slot"], "ota_0");
    assert_eq!(info["running"]["state"], "valid");
}
