//! `airlift simulate`

use super::trust;
use crate::args::{self, Simulate};
use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_app::sample;
use airlift_release::UnverifiedRelease;
use airlift_virtual_device::simulation::SimulatedDevice;
use airlift_virtual_device::timing::Timing;
use airlift_virtual_device::{
    Behaviour, Bootloader, Settings, Simulation, SimulationConfig, Software,
};
use airlift_wire::{ErrorCode, KeySet, PublicKey};

pub fn run(args: &Simulate) -> Result<u8, Failure> {
    let key = trust::read(&args.trust)?;
    let keys = KeySet::new(1, key, &[key])
        .ok_or_else(|| Failure::new(ErrorCode::Internal, "a key makes no set of keys"))?;
    let software = software(args, key)?;
    let count = usize::from(args.count);
    let mut config = SimulationConfig::new(&args.dir, count, &args.product, keys, software);
    config.settings = settings(args);
    config.announce = !args.no_mdns;
    config.require_fresh = args.require_fresh;
    let known = (1..=count)
        .filter(|n| args.dir.join(format!("device-{n}")).exists())
        .count();
    if known > 0 {
        eprintln!("note: {known} of {count} were there before and keep product, keys and software");
    }
    let simulation = Simulation::start(&config)?;
    super::block_on(async {
        // Before anything is printed: who waits for the lines may end this at once.
        let mut interrupts = Interrupts::new()?;
        announce(&simulation, args)?;
        interrupts.next().await;
        Ok(())
    })?;
    simulation.stop();
    Ok(exit::DONE)
}

fn software(args: &Simulate, key: PublicKey) -> Result<Software, Failure> {
    if let Some(path) = &args.installed {
        let release = UnverifiedRelease::read_file(path)?.verify(&[key])?;
        return Ok(Software::Release(Box::new(release)));
    }
    let Some(path) = &args.app else {
        return Ok(Software::App(sample::OLD.app.to_vec()));
    };
    let app = airlift_app::elf::read_app(path, None)?;
    airlift_release::image::check(&app)?;
    Ok(Software::App(app.into()))
}

fn settings(args: &Simulate) -> Settings {
    let mut settings = Settings::default();
    settings.timing = match args.timing {
        args::Timing::None => Timing::None,
        args::Timing::Typical => Timing::Typical,
        args::Timing::Maximum => Timing::Maximum,
    };
    settings.bootloader = match args.bootloader {
        args::Bootloader::Plain => Bootloader::Plain,
        args::Bootloader::Rollback => Bootloader::Rollback,
    };
    settings.network.latency_ms = args.latency;
    settings.network.bytes_per_second = args.rate;
    settings.network.resets_permille = u16::from(args.loss) * 10;
    settings.network.flips_permille = u16::from(args.flips) * 10;
    if let Some(seconds) = args.confirm_within {
        settings.confirm_ms = seconds.saturating_mul(1000);
    }
    settings.min_uptime_ms = args.min_uptime.saturating_mul(1000);
    for (version, behaviour) in [
        (&args.never_confirms, Behaviour::NeverConfirms),
        (&args.hangs, Behaviour::Hangs),
        (&args.panics, Behaviour::Panics),
        (&args.fails_check, Behaviour::FailsCheck),
        (&args.never_ready, Behaviour::NeverReady),
        (&args.no_network, Behaviour::NoNetwork),
        (&args.blocks, Behaviour::Blocks),
        (&args.panics_later, Behaviour::PanicsLater),
    ] {
        if let Some(version) = version {
            settings = settings.with_trial(version, behaviour);
        }
    }
    settings
}

fn announce(simulation: &Simulation, args: &Simulate) -> Result<(), Failure> {
    let devices = simulation.devices();
    for device in &devices {
        if let Some(port) = device.moved_from {
            let name = &device.name;
            eprintln!("note: {name} was at port {port}, which another program has now");
        }
    }
    if args.json {
        for device in &devices {
            let (id, name, address) = (&device.id, &device.name, device.address);
            output::json(&serde_json::json!({
                "schema": 1, "id": id, "name": name, "address": address,
            }))?;
        }
        return Ok(());
    }
    let row = |device: &SimulatedDevice| {
        vec![
            device.name.clone(),
            device.id.clone(),
            device.address.to_string(),
        ]
    };
    output::table(&devices.iter().map(row).collect::<Vec<_>>())
}
