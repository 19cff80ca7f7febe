//! What can be found.

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal;)*) => {
        /// What was found; scripts may branch on [`FindingCode::as_str`], which never changes. The
        /// order is that of how bad it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingCode {
            $($(#[$doc])* $variant,)*
        }

        impl FindingCode {
            /// Every code, the worst first.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as scripts see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    };
}

codes! {
    /// There is nothing in the flash.
    BlankFlash = "blank_flash";
    /// What is in the flash is not Airlift's, and need not be broken.
    ForeignFirmware = "foreign_firmware";
    /// Where the bootloader belongs, there is none.
    NoBootloader = "no_bootloader";
    /// The bootloader is for another chip.
    WrongChipBootloader = "wrong_chip_bootloader";
    /// The bootloader is not whole.
    DamagedBootloader = "damaged_bootloader";
    /// The bootloader believes in less flash than the partitions need, or in more than there is.
    BootloaderFlashSize = "bootloader_flash_size";
    /// There is no partition table.
    NoPartitionTable = "no_partition_table";
    /// The partition table is damaged.
    DamagedPartitionTable = "damaged_partition_table";
    /// The partition table is for a larger flash.
    TableTooLarge = "table_too_large";
    /// The partition table does not allow updates.
    TableWithoutSlots = "table_without_slots";
    /// No slot has an image that starts.
    NoBootableSlot = "no_bootable_slot";
    /// The slot that should start is empty.
    SelectedSlotEmpty = "selected_slot_empty";
    /// An image ends too early.
    SlotTruncated = "slot_truncated";
    /// An image is not what it should be.
    SlotDamaged = "slot_damaged";
    /// An image is for another chip.
    SlotWrongChip = "slot_wrong_chip";
    /// An image is whole, but not the one of the release that the slot should hold.
    SlotMismatch = "slot_mismatch";
    /// Neither entry of otadata counts, and one should.
    OtadataLost = "otadata_lost";
    /// Another slot is selected than the one that was confirmed last.
    OlderSelected = "older_selected";
    /// A release was tried, and its trial has ended badly.
    TrialDied = "trial_died";
    /// A release is on trial.
    OnTrial = "on_trial";
    /// The file system is not one that can be read.
    FilesUnreadable = "files_unreadable";
    /// The file system is not a littlefs of the size of its partition; it need not be damaged.
    FilesForeign = "files_foreign";
    /// The file system is of a newer version than this program and most boards read.
    FilesNewer = "files_newer";
    /// A part of the file system cannot be read.
    FilesDamaged = "files_damaged";
    /// The folder of the slot that starts is not the one of its release.
    FilesMismatch = "files_mismatch";
    /// There is no state: the board knows neither what it is nor whom it trusts.
    StateLost = "state_lost";
    /// The board trusts nobody.
    NoKeys = "no_keys";
    /// The stored envelope of a slot is damaged, or no key that the board trusts has signed it.
    EnvelopeUntrusted = "envelope_untrusted";
    /// An update was cut short; starting it again goes on where it was.
    UnfinishedUpdate = "unfinished_update";
    /// The SHA-256 behind the bootloader does not match; the ROM starts it nevertheless.
    BootloaderHash = "bootloader_hash";
    /// A bootloader accepts the partition table, and the updater refuses it: no update over the air.
    TableRefused = "table_refused";
    /// Everything that was checked is right.
    Healthy = "healthy";
}

impl std::fmt::Display for FindingCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What.
    pub code: FindingCode,
    /// One sentence.
    pub sentence: String,
    /// Name of the region that it is about.
    pub region: Option<String>,
    /// Whether the board starts nevertheless.
    pub harmless: bool,
}
