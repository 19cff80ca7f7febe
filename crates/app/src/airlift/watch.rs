//! Noticing what other processes change in the folder.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Airlift;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Airlift {
    /// Looks at releases and keys from time to time: the command line works on the same folder.
    pub(super) fn follow_home(&self) {
        let weak = std::sync::Arc::downgrade(&self.shared);
        self.spawn(async move {
            let mut tick = interval(LOOK_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut keys = None;
            loop {
                tick.tick().await;
                let Some(shared) = weak.upgrade() else { return };
                let this = Self { shared };
                if let Err(e) = this.look(&mut keys).await {
                    tracing::warn!("{e}");
                }
            }
        });
    }

    async fn look(&self, keys: &mut Option<Vec<crate::dto::Key>>) -> Result<(), crate::Error> {
        let now = self.keys().await?;
        let changed = keys.as_ref().is_some_and(|before| *before != now);
        *keys = Some(now);
        if changed {
            self.keys_changed().await?;
        } else if self.shared.refresh_library().await? {
            self.shared.tell_releases();
        }
        Ok(())
    }
}
