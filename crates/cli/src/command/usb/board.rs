//! Which board is meant.

use crate::args::OnePort;
use crate::failure::Failure;
use airlift_app::Airlift;
use airlift_app::dto::UsbPort;
use airlift_wire::ErrorCode;

/// The port that was named, or the only one that may have a board.
pub async fn one(app: &Airlift, port: &OnePort) -> Result<String, Failure> {
    match &port.port {
        Some(path) => Ok(app.usb_add_port(path).await?.path),
        None => only(&app.usb_ports()),
    }
}

/// The ports that were named, or the only one that may have a board.
pub async fn several(app: &Airlift, ports: &[String]) -> Result<Vec<String>, Failure> {
    if ports.is_empty() {
        return Ok(vec![only(&app.usb_ports())?]);
    }
    let mut paths: Vec<String> = Vec::new();
    for path in ports {
        let path = app.usb_add_port(path).await?.path;
        if paths.contains(&path) {
            return Err(Failure::usage(format!("{path} is named twice")));
        }
        paths.push(path);
    }
    Ok(paths)
}

/// The only port that may have a board. One that says what is behind it goes before those that may be
/// anything.
fn only(ports: &[UsbPort]) -> Result<String, Failure> {
    let present: Vec<_> = ports.iter().filter(|port| port.present).collect();
    let likely: Vec<_> = present
        .iter()
        .copied()
        .filter(|port| port.likely.is_some() || port.named)
        .collect();
    let boards = if likely.is_empty() { present } else { likely };
    match boards.as_slice() {
        [port] => Ok(port.path.clone()),
        [] => Err(Failure::new(
            ErrorCode::NoSuchPort,
            "there is no serial port that a board may be on",
        )),
        several => {
            let paths: Vec<_> = several.iter().map(|port| port.path.as_str()).collect();
            let paths = paths.join(", ");
            Err(Failure::usage(format!(
                "there are several boards ({paths}): name one with --port"
            )))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use airlift_app::dto::UsbActivity;

    pub fn port(path: &str, likely: Option<&str>, present: bool) -> UsbPort {
        UsbPort {
            path: path.into(),
            vendor_id: None,
            product_id: None,
            adapter: "CP210x".into(),
            serial_number: None,
            likely: likely.map(str::to_owned),
            present,
            named: false,
            problem: None,
            activity: UsbActivity::Idle,
            board: None,
            diagnosis: None,
            plan: None,
            job: None,
            error: None,
            label: None,
        }
    }

    #[test]
    fn one_board_is_meant_and_two_are_listed() {
        let c3 = port("/dev/ttyACM0", Some("ESP32-C3"), true);
        let modem = port("/dev/ttyACM1", None, true);
        let gone = port("/dev/ttyUSB0", Some("ESP32"), false);
        let ports = [c3.clone(), modem.clone(), gone.clone()];
        assert_eq!(only(&ports).expect("one"), "/dev/ttyACM0");
        assert_eq!(only(&[modem, gone.clone()]).expect("one"), "/dev/ttyACM1");
        let none = only(&[gone]).expect_err("none is there");
        assert_eq!(none.code(), ErrorCode::NoSuchPort);
        let other = port("/dev/ttyACM7", Some("ESP32-C3"), true);
        let two = only(&[c3, other]).expect_err("which?");
        assert_eq!(two.code(), ErrorCode::Usage);
        assert!(two.to_string().contains("/dev/ttyACM0, /dev/ttyACM7"));
    }
}
