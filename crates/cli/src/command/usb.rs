//! `airlift usb`

mod board;
mod follow;
mod list;
mod look;
mod monitor;
mod places;
mod show;
mod write;

use super::open_with;
use crate::args::Usb;
use crate::failure::Failure;
use airlift_app::Airlift;
use airlift_app::dto::UsbActivity;
use serde::Serialize;
use serde_json::{Map, Value};

pub async fn run(command: Usb) -> Result<u8, Failure> {
    let app = open_with(|options| {
        options.mdns = false;
        options.remembered = false;
        options.usb = true;
    })
    .await?;
    let result = on(&app, command).await;
    leave(&app).await;
    app.close().await;
    result
}

/// Boards that were only looked at are left as they were found: running. One that was written in part
/// stays in its loader, for whoever goes on.
async fn leave(app: &Airlift) {
    for port in app.usb_ports() {
        if port.activity == UsbActivity::Connected && port.job.is_none() {
            // A port without lines for it stays where it is, and somebody presses RESET.
            let _ = app.usb_reset(&port.path).await;
        }
    }
}

async fn on(app: &Airlift, command: Usb) -> Result<u8, Failure> {
    match command {
        Usb::List { json } => list::ports(app, json),
        Usb::Info { port, json } => look::info(app, &port, json).await,
        Usb::Diagnose(args) => look::diagnose(app, &args).await,
        Usb::Flash(args) => write::flash(app, &args).await,
        Usb::Repair(args) => write::repair(app, &args).await,
        Usb::Backups { json } => list::backups(app, json).await,
        Usb::Restore(args) => write::restore(app, &args).await,
        Usb::Monitor(args) => monitor::monitor(app, &args).await,
        Usb::Wifi(args) => monitor::wifi(app, &args).await,
        Usb::Reset { port } => monitor::reset(app, &port).await,
        Usb::Records { csv, json } => list::records(app, csv.as_deref(), json).await,
        Usb::Rule => list::rule(app),
    }
}

/// What the window sees, as scripts see it: an object with a schema, a port and names in snake case.
fn object(port: Option<&str>, event: Option<&str>, value: &impl Serialize) -> Value {
    let mut fields = Map::new();
    fields.insert("schema".into(), 1.into());
    if let Some(event) = event {
        fields.insert("event".into(), event.into());
    }
    if let Some(port) = port {
        fields.insert("port".into(), port.into());
    }
    if let Ok(Value::Object(inner)) = serde_json::to_value(value) {
        for (name, value) in inner {
            fields.insert(snake(&name), renamed(value));
        }
    }
    Value::Object(fields)
}

fn renamed(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            Value::Object(fields.map(|(name, v)| (snake(&name), renamed(v))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(renamed).collect()),
        other => other,
    }
}

fn snake(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_snake_case_however_deep() {
        let value = serde_json::json!({"nextBoot": null, "regions": [{"bootsNow": true}]});
        let object = object(Some("/dev/ttyACM0"), Some("diagnosis"), &value);
        let wanted = serde_json::json!({
            "schema": 1, "event": "diagnosis", "port": "/dev/ttyACM0",
            "next_boot": null, "regions": [{"boots_now": true}],
        });
        assert_eq!(object, wanted);
    }
}
