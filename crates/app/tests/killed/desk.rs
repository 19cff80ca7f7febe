//! What the work needs: a device of its own, and a folder with an empty home and files to work on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use airlift_app::sample;
use airlift_release::{FilesInput, PackOptions, Release, SigningKey, keys, pack};
use airlift_virtual_device::{Simulation, SimulationConfig, Software};
use airlift_wire::KeySet;
use serde::{Deserialize, Serialize};

/// Names the folder to the process that works on it.
pub const DESK: &str = "AIRLIFT_KILLED_DESK";
/// Bytes of the large release's file.
const LARGE: usize = 1 << 20;

/// What the work has to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Paper {
    pub product: String,
    pub address: String,
    /// The first port that the chunk server tries.
    pub port: u16,
}

/// A device that gets one update after the other.
pub struct Lane {
    n: usize,
    dir: tempfile::TempDir,
    product: String,
    key: SigningKey,
    simulation: Simulation,
    sequence: u32,
}

/// A folder for one run.
pub struct Desk {
    _dir: tempfile::TempDir,
    pub path: PathBuf,
    /// The release that the device is updated to.
    pub update: Release,
}

impl Lane {
    pub fn new(n: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let product = format!("killed-{n}-{}", std::process::id());
        let key = SigningKey::from_seed(&[n as u8 + 1; 32]);
        let old = sample::OLD.pack(&product, 0, &key).unwrap();
        let trust = KeySet::new(1, key.public(), &[key.public()]).unwrap();
        let software = Software::Release(Box::new(old));
        let mut config =
            SimulationConfig::new(dir.path().join("devices"), 1, &product, trust, software);
        config.announce = false;
        config.settings.boot_ms = 20;
        let simulation = Simulation::start(&config).unwrap();
        Self {
            n,
            dir,
            product,
            key,
            simulation,
            sequence: 10,
        }
    }

    /// A new folder with all that the work needs.
    pub fn desk(&mut self) -> Desk {
        self.sequence += 1;
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap();
        let path = dir.path().to_owned();
        keys::write_private(&path.join("maker.pem"), &self.key.to_pem(None).unwrap()).unwrap();
        let other = SigningKey::from_seed(&[99; 32]).public();
        keys::write_public(&path.join("other.pub.pem"), &other).unwrap();
        std::fs::create_dir(path.join("files")).unwrap();
        std::fs::write(path.join("files/main.py"), "print('packed')\n").unwrap();

        self.write(&path, "small", 2, vec![b's'; 100]);
        self.write(
            &path,
            "large",
            3,
            (0..LARGE).map(|i| (i * i % 251) as u8).collect(),
        );
        let content = format!("{:06}", self.sequence).into_bytes().repeat(8_000);
        let update = self.write(&path, "update", self.sequence, content);
        let paper = Paper {
            product: self.product.clone(),
            address: self.simulation.devices()[0].address.to_string(),
            // Far from the default and from one another.
            port: 43_000 + 20 * (std::process::id() % 500) as u16 + 5 * self.n as u16,
        };
        std::fs::write(path.join("paper.json"), serde_json::to_vec(&paper).unwrap()).unwrap();
        Desk {
            _dir: dir,
            path,
            update,
        }
    }

    fn write(&self, path: &Path, name: &str, sequence: u32, content: Vec<u8>) -> Release {
        let mut options = PackOptions::new(&self.product, sequence, &self.key);
        options.version = Some(name);
        options.app = (name == "update").then(|| sample::NEW.app.into());
        options.files = Some(FilesInput::from_iter([("data.bin", content)]));
        let release = pack(options).unwrap().release;
        std::fs::write(path.join(format!("{name}.airlift")), release.to_file()).unwrap();
        release
    }
}

impl Desk {
    pub fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// The process that works here; see [`crate::work`].
    pub fn worker(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "work::in_a_role", "--ignored", "--nocapture"])
            .env(DESK, &self.path)
            .stdin(Stdio::null());
        command
    }
}
