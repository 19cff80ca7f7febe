//! What a device keeps besides its flash: its id, its name and its port.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// The only `schema` that this version reads.
const SCHEMA: u32 = 1;
/// Largest `device.json`, in bytes.
const MAX_RECORD: usize = 4096;
/// Names of the first devices; the others are numbered.
const NAMES: [&str; 12] = [
    "kitchen", "porch", "shed", "attic", "garage", "cellar", "hall", "study", "garden", "pantry",
    "landing", "workshop",
];

/// `device.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    schema: u32,
    pub id: String,
    pub name: String,
    /// 0 until the device had one.
    pub port: u16,
}

impl Record {
    /// A device that was not there before.
    pub fn new(n: usize) -> Result<Self, Error> {
        let mut bytes = [0; 6];
        getrandom::fill(&mut bytes).map_err(|error| Error::System {
            what: "no randomness for the id of a device",
            source: std::io::Error::other(error),
        })?;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = match NAMES.get(n) {
            Some(name) => (*name).to_owned(),
            None => format!("device {}", n + 1),
        };
        Ok(Self {
            schema: SCHEMA,
            id: format!("c3-{digits}"),
            name,
            port: 0,
        })
    }

    /// Reads a record; `None` when there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(path, source)),
        };
        let wrong = |reason: String| Error::Record {
            path: path.to_owned(),
            reason,
        };
        if bytes.len() > MAX_RECORD {
            return Err(wrong(format!("longer than {MAX_RECORD} bytes")));
        }
        let record: Self = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if record.schema != SCHEMA {
            return Err(wrong(format!("schema {} is not known", record.schema)));
        }
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&record.id.len()) || !record.id.bytes().all(letter) {
            return Err(wrong("an id is 1 to 32 of a-z, 0-9 and -".to_owned()));
        }
        Ok(Some(record))
    }

    /// Writes it, so that a cut leaves the old or the new one.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string(self).map_err(|e| Error::Record {
            path: path.to_owned(),
            reason: e.to_string(),
        })?;
        let new = path.with_extension("json.new");
        std::fs::write(&new, text + "\n").map_err(|e| io(&new, e))?;
        std::fs::rename(&new, path).map_err(|e| io(path, e))
    }
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.json");
        assert_eq!(Record::load(&path).unwrap(), None);
        let record = Record {
            port: 4711,
            ..Record::new(0).unwrap()
        };
        record.save(&path).unwrap();
        assert_eq!(Record::load(&path).unwrap().as_ref(), Some(&record));
        assert_eq!((record.name.as_str(), record.id.len()), ("kitchen", 15));
    }

    #[test]
    fn a_record_of_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("device.json");
        for text in [
            "",
            "{}",
            r#"{"schema":2,"id":"c3-0","name":"x","port":1}"#,
            r#"{"schema":1,"id":"../x","name":"x","port":1}"#,
            r#"{"schema":1,"id":"c3-0","name":"x","port":70000}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(Record::load(&path).is_err(), "{text}");
        }
    }

    #[test]
    fn devices_without_a_name_of_their_own_are_numbered() {
        assert_eq!(Record::new(200).unwrap().name, "device 201");
    }
}
