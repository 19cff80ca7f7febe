//! Whole devices, stepped by hand: no threads, no sockets, no real time.

#[path = "device/kit.rs"]
mod kit;

#[path = "device/api.rs"]
mod api;
#[path = "device/bootloader.rs"]
mod bootloader;
#[path = "device/corners.rs"]
mod corners;
#[path = "device/cuts.rs"]
mod cuts;
#[path = "device/edges.rs"]
mod edges;
#[path = "device/faults.rs"]
mod faults;
#[path = "device/freshness.rs"]
mod freshness;
#[path = "device/health.rs"]
mod health;
#[path = "device/resume.rs"]
mod resume;
#[path = "device/rotation.rs"]
mod rotation;
#[path = "device/trials.rs"]
mod trials;
#[path = "device/updates.rs"]
mod updates;
