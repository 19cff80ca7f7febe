//! Adapters that ESP boards have, by their USB ids.

/// What is known of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// What it is called.
    pub name: &'static str,
    /// Chips that are likely behind it.
    pub likely: Option<&'static str>,
    /// What Windows needs for it, if that is not part of Windows.
    pub driver: Option<&'static str>,
}

const fn chip(name: &'static str, likely: &'static str) -> Adapter {
    Adapter {
        name,
        likely: Some(likely),
        driver: None,
    }
}

const fn bridge(name: &'static str, driver: &'static str) -> Adapter {
    Adapter {
        name,
        likely: Some("any ESP32"),
        driver: Some(driver),
    }
}

const SILABS: &str = "CP210x VCP driver of Silicon Labs";
const WCH: &str = "CH341SER or CH343SER driver of WCH";
const FTDI: &str = "VCP driver of FTDI";
const PROLIFIC: &str = "PL2303 driver of Prolific";

/// What is known of the adapter with these ids. Bridges are in front of any chip; Espressif's own
/// ids are those of <https://github.com/espressif/usb-pids>.
pub fn adapter(vendor: u16, product: u16) -> Option<Adapter> {
    Some(match (vendor, product) {
        (0x303A, 0x1001) => chip("USB-Serial-JTAG", "ESP32-C3, C5, C6, H2, P4 or S3"),
        (0x303A, 0x0002) => chip("USB-OTG", "ESP32-S2"),
        (0x303A, 0x0009) => chip("USB-OTG", "ESP32-S3"),
        (0x303A, 0x0012) => chip("USB-OTG", "ESP32-P4"),
        (0x303A, 0x1002) => chip("ESP-USB-Bridge", "any ESP32"),
        (0x303A, _) => chip("USB of the chip", "ESP32-S2, S3 or P4"),
        (0x10C4, 0xEA60..=0xEA63) => bridge("CP210x", SILABS),
        (0x10C4, 0xEA70..=0xEA71) => bridge("CP210x, two or four ports", SILABS),
        (0x1A86, 0x7522 | 0x7523) => bridge("CH340", WCH),
        (0x1A86, 0x55D2) => bridge("CH342", WCH),
        (0x1A86, 0x55D3) => bridge("CH343", WCH),
        (0x1A86, 0x55D4) => bridge("CH9102", WCH),
        (0x1A86, 0x55D5 | 0x55D8) => bridge("CH344 or CH9101", WCH),
        (0x0403, 0x6001) => bridge("FT232R", FTDI),
        (0x0403, 0x6010) => bridge("FT2232H", FTDI),
        (0x0403, 0x6011) => bridge("FT4232H", FTDI),
        (0x0403, 0x6014) => bridge("FT232H", FTDI),
        (0x0403, 0x6015) => bridge("FT231X", FTDI),
        (0x067B, 0x2303 | 0x23A3..=0x23F3) => bridge("PL2303", PROLIFIC),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::UDEV_RULE;

    #[test]
    fn the_udev_rule_opens_every_vendor_that_is_known() {
        let vendors = [0x303A, 0x10C4, 0x1A86, 0x0403, 0x067B];
        let products = [0x1001, 0xEA60, 0x7523, 0x6001, 0x2303];
        for (vendor, product) in vendors.into_iter().zip(products) {
            assert!(adapter(vendor, product).is_some());
            let rule = format!("ATTRS{{idVendor}}==\"{vendor:04x}\"");
            assert!(UDEV_RULE.contains(&rule), "{vendor:04x}");
        }
    }

    #[test]
    fn a_bridge_may_need_a_driver_and_the_chips_own_usb_none() {
        assert_eq!(adapter(0x303A, 0x1001).unwrap().driver, None);
        assert!(adapter(0x1A86, 0x7523).unwrap().driver.is_some());
        assert_eq!(adapter(0x1A86, 1), None);
    }
}
