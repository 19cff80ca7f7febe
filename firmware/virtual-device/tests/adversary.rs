//! The adversary: every attack that we know of, played against a whole device.
//!
//! Each module has a table of [`attack::Attack`]s, and each attack a test that plays it on the
//! deterministic bench: it asserts the stable code, that nothing changed on flash beyond what the
//! design permits, that the old release still runs, and that an honest update still works. The
//! tables make up the table in `docs/security.md`; `tests/mutants` takes each defence out and
//! requires that the attack's test fails.

#[allow(dead_code)] // shared with the other tests of whole devices
#[path = "device/kit.rs"]
mod kit;

#[path = "adversary/attack.rs"]
mod attack;
#[path = "adversary/forge.rs"]
mod forge;
#[path = "adversary/hostile_host.rs"]
mod hostile_host;
#[path = "adversary/scene.rs"]
mod scene;

#[path = "adversary/api.rs"]
mod api;
#[path = "adversary/envelope.rs"]
mod envelope;
#[path = "adversary/files.rs"]
mod files;
#[path = "adversary/flash.rs"]
mod flash;
#[path = "adversary/freshness.rs"]
mod freshness;
#[path = "adversary/image.rs"]
mod image;
#[path = "adversary/keys.rs"]
mod keys;
#[path = "adversary/manifest.rs"]
mod manifest;
#[path = "adversary/release.rs"]
mod release;
#[path = "adversary/transport.rs"]
mod transport;

#[path = "adversary/documentation.rs"]
mod documentation;
