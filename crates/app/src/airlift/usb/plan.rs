//! Plans: repair, flash from nothing, put a backup back.

use std::path::Path;
use std::sync::Arc;

use airlift_flash::contents::{self, Contents, Part, Setup};
use airlift_flash::{
    Bootloader, Depth, Diagnosis, How, Rollback, Segment, Target, bootloader, diagnose,
};
use airlift_provision::Credentials;
use airlift_release::{FileKind, Release, UnverifiedRelease, read_bounded};
use airlift_usb::Board;
use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, Table};
use airlift_wire::{ErrorCode, KeySet};
use bytes::Bytes;

use super::job::size;
use crate::airlift::{Airlift, Shared};
use crate::dto::{
    FlashPlan, FlashRequest, FlashSource, UsbActivity as A, UsbBackup, UsbJobKind, WifiCredentials,
};
use crate::store::blocking;
use crate::usb::bound::{Basis, Bound};
use crate::usb::driver::on_flash;
use crate::usb::lane::Lane;
use crate::usb::{backup, view};
use crate::{Error, elf};

/// The longest file that is written as it is: the largest flash.
const MAX_FILE: u64 = 128 * 1024 * 1024;
/// What an error calls the source of a flash.
const SOURCE: &str = "what is to be written";

/// A plan before it has a number.
struct Made {
    shown: FlashPlan,
    what: String,
    backup: bool,
    steps: Vec<Vec<Segment>>,
    after: Option<Box<Diagnosis>>,
    basis: Basis,
}

impl Airlift {
    /// Plans how to mend a board: `smallest`, `slot`, `files` or `everything`. Nothing is written.
    ///
    /// # Errors
    /// `not_connected`, `busy`, `secured`, `usage` for another word, and those of a link. That there
    /// is no way is no error: the plan says so.
    pub async fn usb_plan_repair(&self, port: &str, how: &str) -> Result<FlashPlan, Error> {
        let Some(how) = How::parse(how) else {
            let words = How::ALL.map(How::as_str).join(", ");
            return Err(Error::Usage(format!("a repair is one of {words}")));
        };
        let (shared, vendor) = (self.shared.clone(), self.vendor(port)?);
        self.planning(port, async move |lane, board| {
            let session = lane.session()?;
            let Some(looked) = lane.looked() else {
                let message = "the board was not looked at yet";
                return Err(Error::refused(ErrorCode::NotConnected, message));
            };
            let (cancel, board) = (lane.begin(), board.clone());
            let known = blocking(move || shared.known_for(&board)).await?;
            let plan = on_flash(&*session, cancel, move |flash| {
                airlift_flash::repair(&looked, flash, &known.borrow(), how)
            })
            .await?;
            Ok(Made {
                shown: view::repair(&plan, vendor),
                what: what_of(&plan),
                backup: true,
                steps: plan.steps.iter().map(|s| s.segments.clone()).collect(),
                after: None,
                basis: Basis::Repair(Box::new(plan)),
            })
        })
        .await
    }

    /// Plans what to write to a board, whatever is in it. Nothing is written.
    ///
    /// # Errors
    /// `not_connected`, `busy`, `secured`; those of the files that are given: `bad_release`,
    /// `bad_image`, `wrong_chip`, `too_big`, …; `no_trust` when there is no key to trust.
    pub async fn usb_plan_flash(
        &self,
        port: &str,
        request: FlashRequest,
    ) -> Result<FlashPlan, Error> {
        let (shared, vendor) = (self.shared.clone(), self.vendor(port)?);
        self.planning(port, async move |lane, board| {
            let (kept, target, backup) = (shared.clone(), board.clone(), request.backup);
            let table = match &request.source {
                FlashSource::Parts { .. } => Some(present_table(lane).await?),
                _ => None,
            };
            let contents =
                blocking(move || contents_for(&kept, &target, &request, table.as_deref())).await?;
            let this = board.clone();
            let known = blocking(move || shared.known_for(&this)).await?;
            self.shared.releases_told_if_changed();
            let (after, contents) = blocking({
                let board = board.clone();
                move || Ok((after(&contents, &board, &known.borrow())?, contents))
            })
            .await?;
            let basis = basis(lane).await?;
            let steps = contents.steps.iter().map(|step| view::Step {
                title: step.title.clone(),
                why: step.why.clone(),
                region: step.region.clone(),
                segments: &step.segments,
            });
            let bytes = contents.bytes();
            Ok(Made {
                shown: FlashPlan {
                    id: 0,
                    kind: UsbJobKind::Flash,
                    sentence: contents.summary.clone(),
                    steps: view::steps(steps, vendor),
                    bytes,
                    seconds: view::seconds(bytes, vendor),
                    afterwards: contents.afterwards.clone(),
                    losses: contents.losses.clone(),
                    blocked: None,
                    others: Vec::new(),
                },
                what: contents.what.clone(),
                backup,
                steps: contents.steps.into_iter().map(|s| s.segments).collect(),
                after,
                basis,
            })
        })
        .await
    }

    /// Backups of flash that was overwritten here, newest first.
    pub async fn usb_backups(&self) -> Result<Vec<UsbBackup>, Error> {
        let home = self.shared.home.clone();
        blocking(move || backup::list(&home)).await
    }

    /// Plans to put a backup back on the board that it is of. Nothing is written.
    ///
    /// # Errors
    /// `no_such_backup`, `wrong_board` when it is of another one, `bad_backup` for a damaged file.
    pub async fn usb_restore(&self, port: &str, backup: &str) -> Result<FlashPlan, Error> {
        let (shared, vendor, id) = (self.shared.clone(), self.vendor(port)?, backup.to_owned());
        self.planning(port, async move |lane, board| {
            let home = shared.home.clone();
            let saved = blocking(move || backup::find(&home, &id)).await?;
            board.require(&saved.chip, saved.mac.as_deref())?;
            let segments = saved.segments()?;
            let bytes = size(&segments);
            let title = format!("Put {} KiB back", bytes / 1024);
            let step = view::Step {
                title: title.clone(),
                why: saved.summary.clone(),
                region: regions(lane.looked().as_deref(), &segments),
                segments: &segments,
            };
            Ok(Made {
                shown: FlashPlan {
                    id: 0,
                    kind: UsbJobKind::Restore,
                    sentence: format!("{title} as it was at the time of the backup."),
                    steps: view::steps([step], vendor),
                    bytes,
                    seconds: view::seconds(bytes, vendor),
                    afterwards: "The board is what it was before that job.".to_owned(),
                    losses: Vec::new(),
                    blocked: None,
                    others: Vec::new(),
                },
                what: "a backup".to_owned(),
                backup: true,
                basis: basis(lane).await?,
                steps: vec![segments],
                after: None,
            })
        })
        .await
    }

    fn vendor(&self, port: &str) -> Result<Option<u16>, Error> {
        Ok(self.shared.usb.table().view(port)?.vendor_id)
    }

    /// Makes a plan on a connected board and keeps it as the last one.
    async fn planning(
        &self,
        port: &str,
        make: impl AsyncFnOnce(&Lane, &Board) -> Result<Made, Error>,
    ) -> Result<FlashPlan, Error> {
        let usb = &self.shared.usb;
        usb.edit(|table| table.begin(port, A::Diagnosing, &[A::Connected]))?;
        let lane = usb.lane(port);
        let _turn = lane.turn().await;
        let made = async {
            let board = lane.session()?.board().clone();
            board.writable()?;
            Ok((make(&lane, &board).await?, board))
        };
        match made.await {
            Ok((made, board)) => {
                let plan = usb.edit(|table| {
                    table.set_activity(port, A::Connected);
                    table.planned(port, made.shown)
                });
                lane.set_plan(Some(Arc::new(Bound {
                    id: plan.id,
                    kind: plan.kind,
                    what: made.what,
                    backup: made.backup,
                    steps: made.steps,
                    after: made.after,
                    board,
                    basis: made.basis,
                })));
                Ok(plan)
            }
            Err(error) => {
                self.shared.usb_failed(port, &lane, &error);
                Err(error)
            }
        }
    }
}

/// What a repair does, for the records: the titles of its steps.
fn what_of(plan: &airlift_flash::Plan) -> String {
    let titles: Vec<_> = plan.steps.iter().map(|step| step.title.as_str()).collect();
    view::printable(&titles.join("; "))
}

async fn basis(lane: &Lane) -> Result<Basis, Error> {
    let Some(looked) = lane.looked() else {
        return Ok(Basis::Stretches(Vec::new()));
    };
    let session = lane.session()?;
    let cancel = lane.begin();
    on_flash(&*session, cancel, move |flash| Basis::of(&looked, flash)).await
}

/// The bytes where a board has its partition table.
async fn present_table(lane: &Lane) -> Result<Vec<u8>, Error> {
    let session = lane.session()?;
    on_flash(&*session, lane.begin(), |flash| {
        let mut bytes = vec![0xFF; TABLE_LEN];
        flash.read(TABLE_OFFSET, &mut bytes)?;
        Ok(bytes)
    })
    .await
}

/// The names of the regions that segments are in.
fn regions(looked: Option<&Diagnosis>, segments: &[Segment]) -> String {
    let regions = looked.into_iter().flat_map(|looked| &looked.regions);
    let touched = regions.filter(|region| {
        let end = region.offset.saturating_add(region.size);
        let inside = |s: &Segment| s.offset() < end && region.offset < s.end();
        segments.iter().any(inside)
    });
    let names: Vec<_> = touched.map(|region| region.name.as_str()).collect();
    names.join(", ")
}

/// What is to be on a board, from what was asked for; `table` is where the board has its partition
/// table, for parts. Reads files.
fn contents_for(
    shared: &Shared,
    board: &Board,
    request: &FlashRequest,
    table: Option<&[u8]>,
) -> Result<Contents, Error> {
    let target = target(board);
    let own_bootloader = match &request.bootloader {
        Some(path) => {
            let bytes = read_bounded(Path::new(path), "the bootloader", MAX_FILE)?;
            Some(bootloader::from_file(&bytes, &target, Rollback::Unknown)?)
        }
        None => None,
    };
    let setup = |trust: KeySet| -> Result<Setup<'_>, Error> {
        Ok(Setup {
            name: request.name.as_deref().unwrap_or_default(),
            product: None,
            trust: Some(trust),
            wifi: request.wifi.as_ref().map(credentials).transpose()?,
            factory_slot: request.factory_slot,
            bootloader: own_bootloader.as_ref(),
            keep_nvs: request.keep_nvs,
            freshness_required: false,
        })
    };
    let keys = || shared.keys_for_board(&request.trusts);
    let of_release = |release: &Release| -> Result<Contents, Error> {
        Ok(contents::of_release(release, &target, &setup(keys()?)?)?)
    };
    match &request.source {
        FlashSource::Release { id } => {
            of_release(&shared.library.open(id, &shared.keys.trusted()?)?)
        }
        FlashSource::Parts { parts } => {
            only_raw(request, own_bootloader.as_ref())?;
            let read = |part: &crate::dto::FlashPart| -> Result<Part, Error> {
                let path = Path::new(&part.path);
                Ok(Part {
                    offset: part.offset,
                    name: file_name(path),
                    bytes: read_bounded(path, SOURCE, MAX_FILE)?.into(),
                })
            };
            let parts: Result<Vec<Part>, Error> = parts.iter().map(read).collect();
            let (parts, keep_nvs) = (parts?, request.keep_nvs);
            let present = table.and_then(|bytes| Table::parse(bytes, board.flash_size).ok());
            Ok(match present {
                Some(present) => contents::of_parts_on(parts, &present, &target, keep_nvs)?,
                None => contents::of_parts(parts, &target, keep_nvs)?,
            })
        }
        FlashSource::File { path } => {
            let path = Path::new(path);
            let bytes: Bytes = read_bounded(path, SOURCE, elf::MAX_ELF)?.into();
            match FileKind::of(&bytes) {
                FileKind::Release => {
                    let release = UnverifiedRelease::read_file(path)?;
                    let release = release.verify(&shared.keys.trusted()?)?;
                    let contents = of_release(&release)?;
                    // With it here, the board can be mended later.
                    shared.library.add(&release)?;
                    Ok(contents)
                }
                FileKind::MergedImage => {
                    only_raw(request, own_bootloader.as_ref())?;
                    let name = file_name(path);
                    Ok(contents::of_merged(
                        &name,
                        &bytes,
                        &target,
                        request.keep_nvs,
                    )?)
                }
                // Whatever else it is: whoever checks images says so.
                _ => {
                    let app = elf::read_app(path, None)?;
                    Ok(contents::of_app(&app, &target, &setup(keys()?)?)?)
                }
            }
        }
    }
}

/// Files that are written as they are bring everything, and nothing is put into them.
fn only_raw(request: &FlashRequest, bootloader: Option<&Bootloader>) -> Result<(), Error> {
    let refused = |what: &str| {
        Err(Error::Usage(format!(
            "{what} cannot be given with files that are written as they are"
        )))
    };
    if request.name.is_some() {
        refused("a name")
    } else if !request.trusts.is_empty() {
        refused("keys")
    } else if request.wifi.is_some() {
        refused("Wi-Fi")
    } else if bootloader.is_some() {
        refused("a bootloader")
    } else {
        Ok(())
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn credentials(wifi: &WifiCredentials) -> Result<Credentials, Error> {
    let (ssid, password) = (wifi.ssid.as_bytes(), wifi.password.expose().as_bytes());
    Credentials::new(ssid, password).ok_or_else(|| {
        Error::Usage("a network's name has 1 to 32 bytes and its password at most 64".to_owned())
    })
}

pub(super) fn target(board: &Board) -> Target {
    let mut target = Target::new(board.chip_id, board.flash_size);
    let revision = board.revision.map(|(major, minor)| major * 100 + minor);
    target.revision = revision.and_then(|revision| u16::try_from(revision).ok());
    target.crystal_mhz = board.crystal.and_then(|mhz| u8::try_from(mhz).ok());
    target
}

/// What will be in a flash that is written from nothing, as far as it is written. Nothing where what
/// was in the flash before decides as well: whoever wants to know has to look afterwards.
fn after(
    contents: &Contents,
    board: &Board,
    known: &airlift_flash::Known<'_>,
) -> Result<Option<Box<Diagnosis>>, Error> {
    if !contents.decides_all() {
        return Ok(None);
    }
    let mut flash = vec![0xFF; board.flash_size as usize];
    for segment in contents.segments() {
        let place = segment.offset() as usize..segment.end() as usize;
        if let Some(place) = flash.get_mut(place) {
            place.copy_from_slice(segment.bytes());
        }
    }
    let mut found = diagnose(&mut &flash[..], known, Depth::Full, &mut |_, _| {})?;
    for region in &mut found.regions {
        let end = region.offset.saturating_add(region.size);
        let inside = |s: &Segment| s.offset() < end && region.offset < s.end();
        if !contents.segments().any(inside) {
            region.health = airlift_flash::diagnosis::Health::Unknown;
            region.summary = "not looked at".to_owned();
            region.used = None;
        }
    }
    Ok(Some(Box::new(found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::airlift::Options;
    use crate::dto::FlashPart;
    use crate::usb::fake::{FakeBoards, board};
    use airlift_flash::{Factory, factory};
    use airlift_virtual_device::deterministic::sample_app;
    use airlift_wire::otadata::{Entry, ImageState};
    use airlift_wire::partition::{Partition, encode};

    const PORT: &str = "/dev/a";
    const CHIP: u16 = 5;

    struct Bench {
        app: Airlift,
        boards: FakeBoards,
        dir: tempfile::TempDir,
        target: Target,
        table: Vec<u8>,
    }

    impl Bench {
        /// A board that starts the app in `ota_1`.
        async fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let boards = FakeBoards::default();
            boards.plug(PORT, board(1));
            let target = target(&board(1));
            let table = factory::table(target.flash_size, false).unwrap().to_vec();
            let bootloader = bootloader::for_target(&target).unwrap();
            let app = Bytes::from(sample_app(CHIP, "1.0.0", 9000));
            let mut factory = Factory::untrusting("demo", "bench");
            factory.bootloader = Some(&bootloader);
            factory.app = Some(&app);
            factory.factory_slot = false;
            let mut flash = factory.build().unwrap();
            let parsed = Table::parse(&table, target.flash_size).unwrap();
            let place = |label| parsed.labelled(label).unwrap().offset as usize;
            flash[place("ota_1")..][..app.len()].copy_from_slice(&app);
            let second = Entry::new(2, ImageState::Valid).encode();
            flash[place("otadata")..][..second.len()].copy_from_slice(&second);
            boards.put(PORT, 0, &flash);
            let mut options = Options::command(dir.path().join("home"));
            options.mdns = false;
            options.usb = true;
            let app = Airlift::open_with(options, Arc::new(boards.clone()));
            let app = app.await.unwrap();
            app.usb_connect(PORT).await.unwrap();
            Self {
                app,
                boards,
                dir,
                target,
                table,
            }
        }

        async fn plan(&self, parts: &[(u32, &str, &[u8])]) -> Result<FlashPlan, Error> {
            let parts = parts.iter().map(|(offset, name, bytes)| {
                let path = self.dir.path().join(name);
                std::fs::write(&path, bytes).unwrap();
                FlashPart {
                    offset: *offset,
                    path: path.to_string_lossy().into_owned(),
                }
            });
            let request = FlashRequest {
                source: FlashSource::Parts {
                    parts: parts.collect(),
                },
                name: None,
                trusts: Vec::new(),
                wifi: None,
                factory_slot: false,
                bootloader: None,
                keep_nvs: true,
                backup: false,
            };
            self.app.usb_plan_flash(PORT, request).await
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_board_starts_after_parts_is_seen_and_not_foretold() {
        let bench = Bench::new().await;
        let bootloader = bootloader::for_target(&bench.target).unwrap();
        let app = sample_app(CHIP, "2.0.0", 9000);
        let table = Table::parse(&bench.table, bench.target.flash_size).unwrap();
        let first = table.labelled("ota_0").unwrap().offset;
        let parts = [
            (0, "bootloader.bin", &bootloader.bytes()[..]),
            (TABLE_OFFSET, "table.bin", &bench.table[..]),
            (first, "app.bin", &app[..]),
        ];
        let plan = bench.plan(&parts).await.unwrap();
        let job = bench.app.usb_carry_out(PORT, plan.id).await.unwrap();
        let job = bench.app.usb_wait(PORT, job).await.unwrap();
        let port = bench.app.shared.usb.table().view(PORT).unwrap();
        let seen = port.diagnosis.unwrap();
        assert_eq!(seen.boots.as_deref(), Some("ota_1"), "{job:?}");
        assert!(job.summary.contains(&seen.next_boot), "{job:?}");
        assert_eq!(bench.boards.starts(PORT), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn labels_in_a_flash_cannot_speak_to_the_terminal() {
        let bench = Bench::new().await;
        let mut list: Vec<_> = Table::parse(&bench.table, bench.target.flash_size)
            .unwrap()
            .iter()
            .collect();
        let first = &mut list[0];
        let label = "a\u{1b}[2J\u{9b}m";
        *first = Partition::new(label, first.kind, first.subtype, first.offset, first.size);
        let mut table = [0xFF; TABLE_LEN];
        encode(&list, &mut table).unwrap();
        bench.boards.put(PORT, TABLE_OFFSET as usize, &table);
        let seen = bench.app.usb_diagnose(PORT, true).await.unwrap();
        let names: Vec<_> = seen.regions.iter().map(|region| &region.name[..]).collect();
        assert!(names.contains(&"a\u{fffd}[2J\u{fffd}m"), "{names:?}");
        for region in &seen.regions {
            let texts = [&region.name, &region.summary].into_iter();
            for text in texts.chain(&region.details) {
                assert!(!text.contains(char::is_control), "{text:?}");
            }
        }
        for finding in &seen.findings {
            assert!(!finding.sentence.contains(char::is_control), "{finding:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parts_are_checked_against_the_partitions_of_the_board() {
        let bench = Bench::new().await;
        let table = Table::parse(&bench.table, bench.target.flash_size).unwrap();
        let airlift = table.labelled("airlift").unwrap();
        let app = sample_app(CHIP, "2.0.0", airlift.size as usize + 1);
        let over = bench.plan(&[(airlift.offset, "app.bin", &app)]).await;
        assert_eq!(over.unwrap_err().code(), ErrorCode::TooBig);
        let other = factory::table(bench.target.flash_size, true).unwrap();
        let plan = bench.plan(&[(TABLE_OFFSET, "t.bin", &other)]).await;
        let losses = plan.unwrap().losses.join(" ");
        assert!(losses.contains("cannot start any more"), "{losses}");
    }
}
