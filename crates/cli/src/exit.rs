//! Exit codes, part of the contract with scripts.

use airlift_wire::ErrorCode;

/// All done.
pub const DONE: u8 = 0;
/// Anything else.
pub const OTHER: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// A bad release or signature.
pub const BAD_RELEASE: u8 = 3;
/// No such device.
pub const NO_DEVICE: u8 = 4;
/// Some device failed or was rolled back.
pub const DEVICE_FAILED: u8 = 5;
/// Cancelled.
pub const CANCELLED: u8 = 6;

/// The exit code of an error that ended a command.
pub fn of(code: ErrorCode) -> u8 {
    use ErrorCode as E;
    match code {
        E::Usage => USAGE,
        E::BadEnvelope
        | E::BadSignature
        | E::UnknownKey
        | E::BadManifest
        | E::BadRelease
        | E::WrongProduct
        | E::WrongChip
        | E::LowerSequence
        | E::SequenceConflict
        | E::SequenceTooHigh
        | E::TooBig
        | E::WrongBase
        | E::BadTar
        | E::NotForPlain
        | E::BadImage
        | E::NotCompiled
        | E::BadKeySet => BAD_RELEASE,
        E::NoSuchDevice | E::NoSuchPort => NO_DEVICE,
        E::HostUnreachable
        | E::Stalled
        | E::Busy
        | E::FlashFault
        | E::RolledBackBefore
        | E::TrialRunning
        | E::NotSeenAgain
        | E::RolledBack
        | E::NoTrust
        | E::BadLayout
        | E::BadChunk
        | E::ConnectionLost
        | E::PortBusy
        | E::PortDenied
        | E::NotConnected
        | E::NoAnswer
        | E::LinkLost
        | E::Unplugged
        | E::WrongBoard
        | E::PlanStale
        | E::Secured
        | E::FlashUnreadable
        | E::VerifyFailed
        | E::BadFlash
        | E::NoRepair
        | E::NoReset
        | E::NoImprov
        | E::WifiRefused => DEVICE_FAILED,
        E::Cancelled => CANCELLED,
        _ => OTHER,
    }
}
