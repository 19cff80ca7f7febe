//! The main job on two virtual devices, end to end on real parts, in a folder of its own.
//!
//! Nothing outside of this computer can be touched: the devices listen on loopback only, the
//! product is unique to the run, and jobs name the devices by id.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airlift_discover::device::SlotState;
use airlift_release::SigningKey;
use airlift_virtual_device::{Simulation, SimulationConfig, Software};
use airlift_wire::{ErrorCode, KeySet};
use tokio::sync::broadcast::error::RecvError;

use crate::dto::{End, Event, Job, Phase};
use crate::sample;
use crate::{Airlift, Error, Options};

/// How many devices take part.
const DEVICES: usize = 2;
/// How long a device may take to answer for the first time, and the whole demo at most.
const START: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(180);

/// How the demo ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Devices that took part.
    pub devices: usize,
    /// Devices whose own word proves that they run the new release.
    pub updated: usize,
    /// Chunks that devices checked against the signed index.
    pub chunks_verified: u64,
}

/// Packs two releases, starts two devices with the old one, updates both to the new one, and asks
/// the devices themselves whether it is true. `say` gets one line at a time.
pub async fn run(folder: &Path, mut say: impl FnMut(&str)) -> Result<Report, Error> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let product = format!("demo-{:x}-{:x}", std::process::id(), now.subsec_nanos());
    let key = SigningKey::generate()?;
    let old = sample::OLD.pack(&product, now.as_secs(), &key)?;
    let new = sample::NEW.pack(&product, now.as_secs(), &key)?;
    say(&format!(
        "packed   {product} {} and {}, signed by {}",
        sample::OLD.version,
        sample::NEW.version,
        key.id()
    ));

    let trust = KeySet::new(1, key.public(), &[key.public()])
        .ok_or_else(|| Error::Internal("a key set of one key".into()))?;
    let software = Software::Release(Box::new(old));
    let devices = folder.join("devices");
    let mut config = SimulationConfig::new(devices, DEVICES, &product, trust, software);
    config.announce = false;
    let simulation = Simulation::start(&config)
        .map_err(|error| Error::refused(error.code(), error.to_string()))?;
    let simulated = simulation.devices();

    let mut options = Options::new(folder.join("home"));
    options.mdns = false;
    let airlift = Airlift::open(options).await?;
    let report = drive(&airlift, folder, &key, &new, &simulated, &mut say).await;
    airlift.close().await;
    simulation.stop();
    report
}

async fn drive(
    airlift: &Airlift,
    folder: &Path,
    key: &SigningKey,
    new: &airlift_release::Release,
    simulated: &[airlift_virtual_device::simulation::SimulatedDevice],
    say: &mut impl FnMut(&str),
) -> Result<Report, Error> {
    let public = folder.join("demo.pub.pem");
    airlift_release::keys::write_public(&public, &key.public())?;
    airlift.trust_key(&public).await?;
    let file = folder.join(new.file_name());
    std::fs::write(&file, new.to_file()).map_err(|e| Error::io(&file, e))?;
    let release = airlift.add_release(&file).await?;

    for device in simulated {
        let found = find(airlift, &device.address.to_string()).await?;
        say(&format!(
            "found    {} ({}) at {}, running {} from {}",
            found.name,
            found.id,
            found.address,
            found.version.as_deref().unwrap_or("an unknown version"),
            found.slot
        ));
    }

    let mut events = airlift.subscribe();
    let ids: Vec<String> = simulated.iter().map(|device| device.id.clone()).collect();
    let jobs = airlift.start_update(&ids, &release.id, false).await?;
    let watching = async {
        let mut phases: BTreeMap<u32, Phase> = BTreeMap::new();
        let mut ended: BTreeMap<u32, Job> = BTreeMap::new();
        while ended.len() < jobs.len() {
            let job = match events.recv().await {
                Ok(numbered) => match numbered.event {
                    Event::Job(job) if jobs.contains(&job.id) => job,
                    _ => continue,
                },
                Err(RecvError::Lagged(_)) => {
                    // What was missed is in a snapshot.
                    for job in airlift.snapshot().await?.jobs {
                        if jobs.contains(&job.id) && job.end.is_some() {
                            ended.insert(job.id, job);
                        }
                    }
                    continue;
                }
                Err(RecvError::Closed) => break,
            };
            if phases.insert(job.id, job.phase) != Some(job.phase) || job.end.is_some() {
                say(&line(&job));
            }
            if job.end.is_some() {
                ended.insert(job.id, job);
            }
        }
        Ok::<_, Error>(ended)
    };
    let ended = tokio::time::timeout(LIMIT, watching)
        .await
        .map_err(|_| Error::refused(ErrorCode::Stalled, "the demo did not end in time"))??;

    let mut report = Report {
        devices: simulated.len(),
        updated: 0,
        chunks_verified: 0,
    };
    for job in ended.values() {
        let verified = job
            .parts
            .iter()
            .map(|part| u64::from(part.kept + part.fetched));
        report.chunks_verified += verified.sum::<u64>();
    }
    for device in simulated {
        // The job's word does not count here: only the device's own.
        let answer = airlift_discover::probe(device.address).await?;
        let running = &answer.info.running;
        let digest = |part: Option<&airlift_release::Part>| part.map(|part| part.digest());
        let proven = running.release == Some(new.id())
            && running.app_sha256 == digest(new.app())
            && running.files_sha256 == digest(new.files())
            && running.state == SlotState::Valid;
        let verdict = if proven {
            "says so itself"
        } else {
            "DOES NOT SAY SO"
        };
        say(&format!(
            "proof    {}: {} from {}, {}: {verdict}",
            device.name,
            running.version.as_deref().unwrap_or("?"),
            running.slot,
            if running.state == SlotState::Valid {
                "confirmed"
            } else {
                "not confirmed"
            },
        ));
        report.updated += usize::from(proven);
    }
    Ok(report)
}

/// Waits until a device answers at `address`.
async fn find(airlift: &Airlift, address: &str) -> Result<crate::dto::Device, Error> {
    let end = tokio::time::Instant::now() + START;
    loop {
        match airlift.add_device(address).await {
            Err(_) if tokio::time::Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return other,
        }
    }
}

fn line(job: &Job) -> String {
    let chunks: u32 = job.parts.iter().map(|part| part.kept + part.fetched).sum();
    let total: u32 = job.parts.iter().map(|part| part.chunks).sum();
    let what = match job.end {
        Some(End::Done) => "done",
        Some(_) => "failed",
        None => "update",
    };
    format!(
        "{what:<8} {}: {} ({chunks}/{total} chunks)",
        job.device_name, job.summary
    )
}
