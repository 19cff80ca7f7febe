//! What a board says it is.

use crate::error::Error;

/// A board, as its loader and its fuses describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Chip, such as `esp32c3`.
    pub chip: String,
    /// The id of the chip in image headers, such as 5.
    pub chip_id: u16,
    /// Its revision, major and minor.
    pub revision: Option<(u32, u32)>,
    /// Its address, lower case with colons.
    pub mac: Option<String>,
    /// Bytes of flash; 0 when the loader does not let us know.
    pub flash_size: u32,
    /// Its crystal, in MHz.
    pub crystal: Option<u32>,
    /// What its fuses say that it has.
    pub features: Vec<String>,
    /// What its fuses forbid.
    pub security: Security,
}

/// What fuses forbid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// It starts signed images only.
    pub secure_boot: bool,
    /// What it runs from flash is encrypted.
    pub flash_encryption: bool,
    /// Its loader only writes.
    pub secure_download: bool,
}

impl Board {
    /// Why nothing is written to it, if so: what we write is neither signed nor encrypted for it.
    ///
    /// # Errors
    /// [`Error::Secured`].
    pub fn writable(&self) -> Result<(), Error> {
        let security = self.security;
        let why = if security.secure_download {
            "secure download mode is on: its flash cannot be read or checked over USB"
        } else if security.secure_boot {
            "secure boot is on: it would refuse to start what is written here"
        } else if security.flash_encryption {
            "flash encryption is on: what is written here would be noise to it"
        } else {
            return Ok(());
        };
        Err(Error::Secured { why })
    }

    /// Chip and address, for people.
    pub fn name(&self) -> String {
        match &self.mac {
            Some(mac) => format!("{} {mac}", self.chip),
            None => self.chip.clone(),
        }
    }

    /// Whether it is that one, as far as chip and address tell.
    ///
    /// # Errors
    /// [`Error::WrongBoard`].
    pub fn require(&self, chip: &str, mac: Option<&str>) -> Result<(), Error> {
        if self.chip == chip && (mac.is_none() || self.mac.as_deref() == mac) {
            return Ok(());
        }
        Err(Error::WrongBoard {
            expected: mac.map_or_else(|| chip.to_string(), |mac| format!("{chip} {mac}")),
            found: self.name(),
        })
    }

    /// Whether a range is in its flash.
    pub(crate) fn range(&self, offset: u32, len: u32) -> Result<(), Error> {
        let size = self.flash_size;
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(Error::OutOfRange { offset, len, size }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use airlift_wire::ErrorCode;

    pub(crate) fn board(flash_size: u32) -> Board {
        Board {
            chip: "esp32c3".into(),
            chip_id: 5,
            revision: Some((0, 4)),
            mac: Some("7c:df:a1:00:00:01".into()),
            flash_size,
            crystal: Some(40),
            features: vec!["WiFi".into()],
            security: Security::default(),
        }
    }

    #[test]
    fn every_fuse_that_would_brick_it_refuses_writing() {
        let mut board = board(4096);
        assert_eq!(board.writable(), Ok(()));
        let fuses: [fn(&mut Security) -> &mut bool; 3] = [
            |s| &mut s.secure_boot,
            |s| &mut s.flash_encryption,
            |s| &mut s.secure_download,
        ];
        for fuse in fuses {
            board.security = Security::default();
            *fuse(&mut board.security) = true;
            assert_eq!(board.writable().unwrap_err().code(), ErrorCode::Secured);
        }
    }

    #[test]
    fn another_chip_or_address_is_another_board() {
        let board = board(4096);
        assert_eq!(board.require("esp32c3", None), Ok(()));
        assert_eq!(board.require("esp32c3", Some("7c:df:a1:00:00:01")), Ok(()));
        for (chip, mac) in [("esp32", None), ("esp32c3", Some("7c:df:a1:00:00:02"))] {
            let error = board.require(chip, mac).unwrap_err();
            assert_eq!(error.code(), ErrorCode::WrongBoard);
        }
    }

    #[test]
    fn a_range_past_the_end_is_refused() {
        let board = board(4096);
        assert_eq!(board.range(4096, 0), Ok(()));
        assert!(board.range(4095, 2).is_err());
        assert!(board.range(u32::MAX, 2).is_err());
    }
}
