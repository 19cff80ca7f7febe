//! Which devices are meant.

use crate::args::Update;
use crate::failure::Failure;
use airlift_app::Airlift;
use airlift_app::dto::{Device, Release};
use airlift_wire::ErrorCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the list of devices is looked at while one is missing.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The ids of the devices to update, each once. Empty when `--all` finds that all are there already.
///
/// # Errors
/// `no_such_device` when one that was named does not answer in time, or there is none for `--all`.
pub async fn find(app: &Airlift, release: &Release, args: &Update) -> Result<Vec<String>, Failure> {
    if args.all {
        sleep(args.wait).await;
        let releases = app.releases();
        let current = releases.iter().find(|known| known.id == release.id);
        let current = current
            .map(|known| known.running_on.as_slice())
            .unwrap_or_default();
        return all(release, &app.devices(), current);
    }
    named(app, &args.device, args.wait).await
}

/// The ids of devices that are named by id or address, each once.
///
/// # Errors
/// `no_such_device` when one of them does not answer in time.
pub async fn named(
    app: &Airlift,
    names: &[String],
    wait: Duration,
) -> Result<Vec<String>, Failure> {
    let deadline = Instant::now() + wait;
    let mut ids = Vec::new();
    for name in names {
        let device = if is_address(name) {
            app.add_device(name).await?
        } else {
            by_id(app, name, deadline).await?
        };
        if !ids.contains(&device.id) {
            ids.push(device.id);
        }
    }
    Ok(ids)
}

/// Ids are of `a-z`, `0-9` and `-`; host names and addresses have a dot or a colon.
fn is_address(name: &str) -> bool {
    name.contains(['.', ':'])
}

async fn by_id(app: &Airlift, id: &str, deadline: Instant) -> Result<Device, Failure> {
    loop {
        let device = app.devices().into_iter().find(|device| device.id == id);
        let message = match device {
            Some(device) if device.online => return Ok(device),
            Some(device) => format!("{} ({id}) is known and does not answer", device.name),
            None => format!("no device {id} was found"),
        };
        if Instant::now() >= deadline {
            return Err(Failure::new(ErrorCode::NoSuchDevice, message));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Online, of the product and chip, and not there already.
fn all(release: &Release, devices: &[Device], current: &[String]) -> Result<Vec<String>, Failure> {
    let fits = |device: &&Device| {
        device.online
            && device.product == release.product
            && (release.chip == "any" || device.chip == release.chip)
    };
    let mut fitting = devices.iter().filter(fits).peekable();
    if fitting.peek().is_none() {
        let message = format!(
            "no {} with chip {} is online",
            release.product, release.chip
        );
        return Err(Failure::new(ErrorCode::NoSuchDevice, message));
    }
    Ok(fitting
        .filter(|device| !current.contains(&device.id))
        .map(|d| d.id.clone())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_app::dto::Part;

    fn release(chip: &str) -> Release {
        Release {
            id: "r".into(),
            product: "lamp".into(),
            version: "2".into(),
            sequence: 2,
            chip: chip.into(),
            created: 0.0,
            added: 0.0,
            app: Part::Any,
            files: Part::Any,
            size: 0,
            key_id: "k".into(),
            keys: None,
            running_on: vec![],
        }
    }

    fn device(id: &str, product: &str, chip: &str, online: bool) -> Device {
        Device {
            id: id.into(),
            name: id.into(),
            product: product.into(),
            chip: chip.into(),
            address: String::new(),
            local_address: None,
            online,
            last_seen: None,
            version: None,
            slot: "ota_0".into(),
            state: "valid".into(),
            release: None,
            sequence: None,
            app_sha256: None,
            files_sha256: None,
            slots: vec![],
            trusts: vec![],
            root: None,
            release_keys: vec![],
            epoch: 1,
            bootloader_rollback: None,
            flash_size: 0,
            free_memory: None,
            signal_dbm: None,
            reset_reason: None,
            uptime_ms: None,
            last_update: None,
            freshness_required: false,
            stale_offer: None,
            updater: "idle".into(),
            blocked: None,
            job: None,
            simulated: false,
        }
    }

    #[test]
    fn all_are_those_online_of_the_product_and_chip_and_not_there_yet() {
        let devices = [
            device("a", "lamp", "esp32c3", true),
            device("b", "lamp", "esp32c3", false),
            device("c", "fan", "esp32c3", true),
            device("d", "lamp", "esp32s3", true),
            device("e", "lamp", "esp32c3", true),
        ];
        let found = all(&release("esp32c3"), &devices, &["e".into()]).expect("there are some");
        assert_eq!(found, ["a"]);
        let found = all(&release("any"), &devices, &[]).expect("there are some");
        assert_eq!(found, ["a", "d", "e"]);
    }

    #[test]
    fn all_there_already_is_nothing_to_do_and_none_at_all_is_an_error() {
        let devices = [device("a", "lamp", "esp32c3", true)];
        assert_eq!(
            all(&release("any"), &devices, &["a".into()]).ok(),
            Some(vec![])
        );
        let error = all(&release("esp32s3"), &devices, &[]).expect_err("no such chip");
        assert_eq!(error.code(), ErrorCode::NoSuchDevice);
    }

    #[test]
    fn ids_and_addresses_are_told_apart() {
        assert!(!is_address("c3-7cdfa1b2c3d4"));
        for address in [
            "127.0.0.1:80",
            "10.0.0.7",
            "porch.local",
            "[fe80::1]:80",
            "lamp:8080",
        ] {
            assert!(is_address(address), "{address}");
        }
    }
}
