//! Remembered devices and settings.

use airlift_discover::{DeviceInfo, Remembered, SeenDevice};
use rusqlite::{OptionalExtension as _, params};

use super::{Store, json, parsed};
use crate::Error;
use crate::dto::Settings;

impl Store {
    /// Remembers devices and where they were, all or none of them.
    pub async fn remember(&self, devices: Vec<SeenDevice>) -> Result<(), Error> {
        self.call(move |db| {
            let tx = db.transaction()?;
            {
                let mut insert = tx.prepare_cached(
                    "INSERT INTO devices (id, info, addresses, last_seen) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (id) DO UPDATE SET info = ?2, addresses = ?3,
                         last_seen = coalesce(?4, last_seen)",
                )?;
                for seen in devices {
                    let text = (
                        serde_json::to_string(&seen.info),
                        serde_json::to_string(&seen.addresses),
                    );
                    // What came as JSON goes as JSON.
                    let (Ok(info), Ok(addresses)) = text else {
                        continue;
                    };
                    let last_seen = seen.last_seen_unix.map(|unix| unix as f64);
                    insert.execute(params![seen.id.as_str(), info, addresses, last_seen])?;
                }
            }
            tx.commit()
        })
        .await
    }

    /// Forgets a device.
    pub async fn forget(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.call(move |db| db.execute("DELETE FROM devices WHERE id = ?1", [id]))
            .await
            .map(drop)
    }

    /// The devices of earlier runs. A row that this version cannot read is left out.
    pub async fn remembered(&self) -> Result<Vec<Remembered>, Error> {
        self.call(|db| {
            let mut query = db.prepare("SELECT id, info, addresses, last_seen FROM devices")?;
            let rows = query.query_map([], |r| {
                let (id, info): (String, String) = (r.get(0)?, r.get(1)?);
                let (addresses, seen): (String, Option<f64>) = (r.get(2)?, r.get(3)?);
                Ok((id, info, addresses, seen))
            })?;
            let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
            let remembered = rows.into_iter().filter_map(|(id, info, addresses, seen)| {
                Some(Remembered {
                    id: id.parse().ok()?,
                    info: DeviceInfo::parse(info.as_bytes()).ok(),
                    addresses: serde_json::from_str(&addresses).ok()?,
                    last_seen_unix: seen.map(|seen| seen as u64),
                })
            });
            Ok(remembered.collect())
        })
        .await
    }

    /// The settings, if they were ever changed.
    pub async fn settings(&self) -> Result<Option<Settings>, Error> {
        let sql = "SELECT value FROM settings";
        self.call(move |db| db.query_row(sql, [], |r| parsed(r, 0)).optional())
            .await
    }

    /// Keeps the settings.
    pub async fn set_settings(&self, settings: &Settings) -> Result<(), Error> {
        let json = json(settings)?;
        self.call(move |db| {
            db.execute(
                "INSERT OR REPLACE INTO settings (only, value) VALUES (1, ?1)",
                [json],
            )
        })
        .await
        .map(drop)
    }
}
