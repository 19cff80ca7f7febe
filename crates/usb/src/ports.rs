//! Which serial ports there are, what is behind them, and why one cannot be opened.

use std::path::Path;

use serialport::{SerialPortInfo, SerialPortType};

use crate::error::Error;

mod access;
mod adapter;

pub(crate) use access::open_error;
pub use adapter::{Adapter, adapter};

/// Ports that are named by hand, separated as in `PATH`: those that the system does not list.
pub const PORTS_VARIABLE: &str = "AIRLIFT_USB_PORTS";

/// The file name of [`UDEV_RULE`], and where it goes. systemd's `73-seat-late.rules` grants what is
/// tagged `uaccess`, so a rule that sorts after it has no effect.
pub const UDEV_RULE_PATH: &str = "/etc/udev/rules.d/70-airlift.rules";

/// A udev rule that lets whoever sits at a Linux computer open the adapters of ESP boards, and
/// keeps modem programs from talking to them. After copying it: `sudo udevadm control --reload`,
/// then plug the board in again.
pub const UDEV_RULE: &str = include_str!("ports/70-airlift.rules");

/// A serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// What the system calls it, such as `/dev/ttyACM0` or `COM3`.
    pub path: String,
    /// USB vendor id.
    pub vendor_id: Option<u16>,
    /// USB product id.
    pub product_id: Option<u16>,
    /// What people read: "USB-Serial-JTAG", "CP210x", "CH340", or what the device calls itself.
    pub adapter: String,
    /// Who made it, as the device says.
    pub manufacturer: Option<String>,
    /// Its serial number; that of USB-Serial-JTAG is the board's address.
    pub serial_number: Option<String>,
    /// What is likely behind it, by the ids.
    pub likely: Option<&'static str>,
    /// Whether it was named by hand and the system does not list it.
    pub named: bool,
    /// Why it cannot be opened, as far as can be seen without opening it.
    pub problem: Option<Error>,
}

impl PortInfo {
    /// A port that was named by hand.
    pub fn named(path: impl Into<String>) -> Self {
        let path = path.into();
        Self {
            problem: access::problem(&path),
            path,
            vendor_id: None,
            product_id: None,
            adapter: "named by hand".into(),
            manufacturer: None,
            serial_number: None,
            likely: None,
            named: true,
        }
    }

    /// Whether it is there now.
    pub fn is_present(&self) -> bool {
        !matches!(self.problem, Some(Error::NoSuchPort { .. }))
    }
}

/// Lists ports: those on USB, then those named in `AIRLIFT_USB_PORTS`, each kind by name. None of
/// them is opened.
///
/// # Errors
/// [`Error::Io`] when the system does not say.
pub fn ports() -> Result<Vec<PortInfo>, Error> {
    let mut ports = usb_ports()?;
    for path in named_ports() {
        if ports.iter().all(|port| port.path != path) {
            ports.push(PortInfo::named(path));
        }
    }
    Ok(ports)
}

fn usb_ports() -> Result<Vec<PortInfo>, Error> {
    let listed = serialport::available_ports().map_err(|error| Error::Io {
        path: "the list of serial ports".into(),
        why: error.to_string(),
    })?;
    let mut ports: Vec<_> = listed.into_iter().filter_map(usb_port).collect();
    ports.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(ports)
}

fn usb_port(port: SerialPortInfo) -> Option<PortInfo> {
    let SerialPortType::UsbPort(usb) = port.port_type else {
        return None;
    };
    // macOS has each port twice; this one waits for a carrier when it is opened.
    if port.port_name.starts_with("/dev/tty.") {
        return None;
    }
    let known = adapter(usb.vid, usb.pid);
    let named = || usb.product.clone().filter(|name| !name.trim().is_empty());
    Some(PortInfo {
        problem: access::problem(&port.port_name),
        path: port.port_name,
        vendor_id: Some(usb.vid),
        product_id: Some(usb.pid),
        adapter: match known {
            Some(known) => known.name.to_string(),
            None => named().unwrap_or_else(|| format!("{:04x}:{:04x}", usb.vid, usb.pid)),
        },
        manufacturer: usb.manufacturer,
        serial_number: usb.serial_number.filter(|text| !text.trim().is_empty()),
        likely: known.and_then(|known| known.likely),
        named: false,
    })
}

/// The ports of `AIRLIFT_USB_PORTS`.
pub fn named_ports() -> Vec<String> {
    let value = std::env::var_os(PORTS_VARIABLE).unwrap_or_default();
    split(&value)
}

fn split(value: &std::ffi::OsStr) -> Vec<String> {
    std::env::split_paths(value)
        .filter(|path| path != Path::new(""))
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serialport::UsbPortInfo;

    fn usb(path: &str, vid: u16, pid: u16, product: &str) -> SerialPortInfo {
        SerialPortInfo {
            port_name: path.into(),
            port_type: SerialPortType::UsbPort(UsbPortInfo {
                vid,
                pid,
                serial_number: Some("7C:DF:A1:00:00:01".into()),
                manufacturer: Some("Espressif".into()),
                product: Some(product.into()),
            }),
        }
    }

    #[test]
    fn a_known_adapter_has_its_name_and_its_likely_chips() {
        let port = usb_port(usb("/dev/no-such", 0x303A, 0x1001, "USB JTAG/serial")).unwrap();
        assert_eq!(port.adapter, "USB-Serial-JTAG");
        assert!(port.likely.unwrap().contains("C3"));
        assert_eq!(port.serial_number.as_deref(), Some("7C:DF:A1:00:00:01"));
    }

    #[test]
    fn the_udev_rule_comes_before_the_one_that_grants_access() {
        let (_, name) = UDEV_RULE_PATH.rsplit_once('/').unwrap();
        assert!(UDEV_RULE.contains("uaccess") && name < "73-seat-late.rules");
        assert!(UDEV_RULE.contains(UDEV_RULE_PATH), "it says where it goes");
    }

    #[test]
    fn an_unknown_one_has_the_name_that_it_gives_itself() {
        let port = usb_port(usb("/dev/no-such", 0xFFFF, 1, "Dongle")).unwrap();
        assert_eq!((port.adapter.as_str(), port.likely), ("Dongle", None));
        let port = usb_port(usb("/dev/no-such", 0xFFFF, 1, " ")).unwrap();
        assert_eq!(port.adapter, "ffff:0001");
    }

    #[test]
    fn what_is_not_on_usb_or_there_twice_is_left_out() {
        let other = SerialPortInfo {
            port_name: "/dev/ttyS0".into(),
            port_type: SerialPortType::Unknown,
        };
        assert_eq!(usb_port(other), None);
        assert_eq!(
            usb_port(usb("/dev/tty.usbmodem1", 0x303A, 0x1001, "")),
            None
        );
        assert!(usb_port(usb("/dev/cu.usbmodem1", 0x303A, 0x1001, "")).is_some());
    }

    #[test]
    fn a_port_that_is_named_need_not_be_there() {
        let port = PortInfo::named("/dev/no-such-port");
        assert!(port.named && !port.is_present());
    }

    #[cfg(unix)]
    #[test]
    fn ports_are_named_as_folders_are_in_path() {
        assert_eq!(split("/a::/b/c:".as_ref()), ["/a", "/b/c"]);
        assert!(split("".as_ref()).is_empty());
    }
}
