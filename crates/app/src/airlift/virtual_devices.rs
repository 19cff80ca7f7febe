//! The window's own virtual devices.

use super::{Airlift, lock};
use crate::Error;
use crate::dto::Event;

impl Airlift {
    /// Starts virtual devices that run the demo's 1.0.0, and puts its releases into the library.
    pub async fn start_virtual_devices(&self, count: u32) -> Result<(), Error> {
        self.shared.virtual_devices.start(self, count).await?;
        self.keys_changed().await?;
        self.shared.tell_releases();
        self.shared.events.send(Event::VirtualDevices(true));
        Ok(())
    }

    /// Stops them and forgets them.
    pub async fn stop_virtual_devices(&self) -> Result<(), Error> {
        let shared = &self.shared;
        for live in lock(&shared.jobs)
            .values()
            .filter(|l| shared.virtual_devices.has(&l.device))
        {
            live.cancel();
        }
        for id in shared.virtual_devices.stop(shared).await {
            self.forget_device(&id).await?;
        }
        self.shared.events.send(Event::VirtualDevices(false));
        Ok(())
    }
}
