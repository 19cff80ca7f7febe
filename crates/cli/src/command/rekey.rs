//! `airlift rekey`

use super::update::{Listening, follow, targets};
use super::{new_keys, signer};
use crate::args::Rekey;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_app::{Airlift, NewKeys};
use airlift_release::SigningKey;
use airlift_wire::ErrorCode;
use std::collections::BTreeMap;

pub async fn run(args: Rekey) -> Result<u8, Failure> {
    // Before the search: a passphrase may be asked for, and a wrong file is found at once.
    let root = signer::read(&args.key)?;
    let app = super::open(!args.no_mdns).await?;
    let result = rekey(&app, &args, root).await;
    app.close().await;
    result
}

async fn rekey(app: &Airlift, args: &Rekey, root: SigningKey) -> Result<u8, Failure> {
    let (new_root, release) =
        new_keys::publics(args.new_root.as_ref(), &args.new_release_key, &root)?;
    let new = NewKeys {
        root: new_root,
        release,
        epoch: args.epoch,
    };
    let mut interrupts = Interrupts::new()?;
    let devices = tokio::select! {
        found = find(app, args, &root) => found?,
        () = interrupts.next() => {
            return Err(Failure::new(ErrorCode::Cancelled, "cancelled before anything was sent"));
        }
    };
    let listening = Listening::to(app);
    let ids = app.rekey(&devices, root, new).await?;
    if !args.json {
        say_what_is_sent(app, &ids).await?;
    }
    follow(app, ids, listening, interrupts, args.json).await
}

/// The releases that bring the keys: whoever packs the next one needs a sequence above theirs.
async fn say_what_is_sent(app: &Airlift, jobs: &[u32]) -> Result<(), Failure> {
    let mut sent = BTreeMap::new();
    for id in jobs {
        *sent.entry(app.job(*id).await?.release).or_insert(0) += 1;
    }
    for release in app.releases() {
        let (Some(devices), Some(keys)) = (sent.get(&release.id), &release.keys) else {
            continue;
        };
        output::line(&format!(
            "keys     epoch {}, as sequence {} of {}, for {devices} {}",
            keys.epoch,
            release.sequence,
            release.product,
            if *devices == 1 { "device" } else { "devices" },
        ))?;
    }
    Ok(())
}

/// The devices that are named, or for `--all` those online of the product that trust this root.
async fn find(app: &Airlift, args: &Rekey, root: &SigningKey) -> Result<Vec<String>, Failure> {
    let Some(product) = args.product.as_ref().filter(|_| args.all) else {
        return targets::named(app, &args.device, args.wait).await;
    };
    tokio::time::sleep(args.wait).await;
    let root = root.id().to_string();
    let mut devices = app.devices();
    devices.retain(|d| d.online && d.product == *product);
    devices.retain(|d| d.root.as_deref() == Some(root.as_str()));
    if devices.is_empty() {
        let message = format!("no {product} is online whose root is {root}");
        return Err(Failure::new(ErrorCode::NoSuchDevice, message));
    }
    Ok(devices.into_iter().map(|device| device.id).collect())
}
