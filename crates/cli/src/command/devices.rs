//! `airlift devices`

use crate::args::Devices;
use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_app::dto::Device;
use serde::Serialize;

/// A device as scripts see it.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    id: &'a str,
    name: &'a str,
    address: &'a str,
    product: &'a str,
    chip: &'a str,
    version: Option<&'a str>,
    slot: &'a str,
    online: bool,
    #[serde(skip_serializing_if = "is_false")]
    freshness_required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale_offer: Option<Offer<'a>>,
}

/// A release that the device was offered and refused for its age.
#[derive(Serialize)]
struct Offer<'a> {
    release: &'a str,
    offered: u32,
    newest: Option<u32>,
    by: Option<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

impl<'a> From<&'a Device> for Line<'a> {
    fn from(device: &'a Device) -> Self {
        Self {
            schema: 1,
            id: &device.id,
            name: &device.name,
            address: &device.address,
            product: &device.product,
            chip: &device.chip,
            version: device.version.as_deref(),
            slot: &device.slot,
            online: device.online,
            freshness_required: device.freshness_required,
            stale_offer: device.stale_offer.as_ref().map(|offer| Offer {
                release: &offer.release,
                offered: offer.offered,
                newest: offer.newest,
                by: offer.by.as_deref(),
            }),
        }
    }
}

pub async fn run(args: Devices) -> Result<u8, Failure> {
    let mut interrupts = Interrupts::new()?;
    let app = super::open(!args.no_mdns).await?;
    let cut_short = tokio::select! {
        () = tokio::time::sleep(args.wait) => false,
        () = interrupts.next() => true,
    };
    let snapshot = app.snapshot().await;
    app.close().await;
    let mut devices = snapshot?.devices;
    devices.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    if args.json {
        for device in &devices {
            output::json(&Line::from(device))?;
        }
    } else if devices.is_empty() {
        output::line("No device was found.")?;
    } else {
        print(&devices)?;
    }
    Ok(if cut_short {
        exit::CANCELLED
    } else {
        exit::DONE
    })
}

fn print(devices: &[Device]) -> Result<(), Failure> {
    let head = [
        "NAME", "ID", "PRODUCT", "CHIP", "VERSION", "SLOT", "ADDRESS", "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for device in devices {
        let state = match (&device.blocked, device.online) {
            (_, false) => "offline".to_owned(),
            (Some(error), true) => error.message.clone(),
            (None, true) => String::new(),
        };
        rows.push(vec![
            device.name.clone(),
            device.id.clone(),
            device.product.clone(),
            device.chip.clone(),
            device.version.clone().unwrap_or_else(|| "-".to_owned()),
            device.slot.clone(),
            device.address.clone(),
            state,
        ]);
    }
    output::table(&rows)?;
    for device in devices {
        if let Some(offer) = &device.stale_offer {
            eprintln!("warning: {}: {}", device.name, offer.sentence);
        }
    }
    Ok(())
}
