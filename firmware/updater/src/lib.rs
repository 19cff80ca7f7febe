//! The updater and boot guard that run on a device
