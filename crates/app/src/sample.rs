//! The software that virtual devices and the demo use: a real ESP32-C3 image and a small MicroPython
//! application, each as 1.0.0 and 1.1.0, built into the program so that they are always there.

use airlift_release::{FilesInput, PackOptions, Release, SigningKey, pack};

use crate::Error;

macro_rules! files {
    ($version:literal, $($path:literal,)*) => {
        &[$(($path, include_bytes!(concat!(
            "../../../tests/fixtures/files/", $version, "/", $path
        )) as &[u8]),)*]
    };
}

/// One version of the sample.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Its version.
    pub version: &'static str,
    /// Its sequence.
    pub sequence: u32,
    /// App image for the ESP32-C3.
    pub app: &'static [u8],
    /// Paths and contents.
    pub files: &'static [(&'static str, &'static [u8])],
}

/// What virtual devices start with.
pub const OLD: Sample = Sample {
    version: "1.0.0",
    sequence: 1,
    app: include_bytes!("../../../tests/fixtures/demo-1.0.0.bin"),
    files: files!(
        "1.0.0",
        "data/defaults.json",
        "lib/fieldlog/__init__.py",
        "lib/fieldlog/app.py",
        "lib/fieldlog/average.py",
        "lib/fieldlog/config.py",
        "lib/fieldlog/sensors.py",
        "lib/fieldlog/store.py",
        "lib/fieldlog/web.py",
        "main.py",
        "www/index.html",
        "www/page.js",
        "www/style.css",
        "www/units.json",
    ),
};

/// What they are updated to.
pub const NEW: Sample = Sample {
    version: "1.1.0",
    sequence: 2,
    app: include_bytes!("../../../tests/fixtures/demo-1.1.0.bin"),
    files: files!(
        "1.1.0",
        "data/defaults.json",
        "lib/fieldlog/__init__.py",
        "lib/fieldlog/app.py",
        "lib/fieldlog/config.py",
        "lib/fieldlog/sensors.py",
        "lib/fieldlog/stats.py",
        "lib/fieldlog/store.py",
        "lib/fieldlog/web.py",
        "main.py",
        "www/index.html",
        "www/page.js",
        "www/style.css",
        "www/units.json",
    ),
};

impl Sample {
    /// Packs it as a release of `product`, made at `created` (Unix seconds).
    pub fn pack(&self, product: &str, created: u64, key: &SigningKey) -> Result<Release, Error> {
        let mut options = PackOptions::new(product, self.sequence, key);
        options.version = Some(self.version);
        options.created = created;
        options.app = Some(bytes::Bytes::from_static(self.app));
        options.files = Some(FilesInput::from_iter(self.files.iter().copied()));
        Ok(pack(options)?.release)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_sample_is_what_lies_in_the_fixtures() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let key = SigningKey::from_seed(&[1; 32]);
        for sample in [OLD, NEW] {
            let folder = fixtures.join("files").join(sample.version);
            let mut options = PackOptions::new("sample-test", sample.sequence, &key);
            options.version = Some(sample.version);
            options.app = Some(bytes::Bytes::from_static(sample.app));
            options.files = Some(FilesInput::from_path(&folder).unwrap());
            let from_folder = pack(options).unwrap().release;
            let built_in = sample.pack("sample-test", 0, &key).unwrap();
            assert_eq!(
                built_in.id(),
                from_folder.id(),
                "{} was changed",
                sample.version
            );
            assert_eq!(built_in.image().unwrap().chip, Some("esp32c3"));
        }
    }
}
