//! Cuts the power of a virtual device at every flash operation and checks what is left.
//!
//! A [`Scenario`] is a device and an update. Its erases and writes are counted once, in a run without a
//! cut; those of littlefs are among them, because it lives on the same flash. Then, for each of them:
//!
//! 1. the power goes before it, after it, or in the middle of it, in several [ways](Cut): some bits
//!    changed, some not, some that read differently each time;
//! 2. the [`Oracle`](oracle::Oracle) reads the cells that are left and checks what must always hold;
//! 3. the device starts, is looked at, and is updated again until it has arrived: a cut is no dead end;
//! 4. the erases and writes of *that* run are cut in turn, and steps 2 and 3 repeated.
//!
//! A run starts from the flash as it was at the operation, so nothing that came before is done again.
//! All is on virtual time and drawn from seeds: equal flashes have equal futures. A cut that leaves the
//! cells as another one did is counted and not run again.
//!
//! [`replay`] runs one case by its [name](Case).
//!
//! # Non-goals
//!
//! Bits that rot while the device has power, worn sectors, networks: the virtual device's own tests try
//! those. Boards: what is simulated of the flash is in [`airlift_virtual_device::nor`].

mod case;
mod cut;
pub mod folders;
pub mod oracle;
mod prove;
mod recovery;
mod releases;
pub mod scenario;
pub mod snapshot;

pub use case::{Case, NotACase};
pub use cut::{Cut, Kind, NotACut, Point};
pub use prove::{Effort, Failure, Totals, prove, replay};
pub use scenario::Scenario;
