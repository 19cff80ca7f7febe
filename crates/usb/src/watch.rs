//! Says when ports come and go.
//!
//! The list is asked for twice a second: that costs next to nothing, works on every system, and
//! sees what notices of the system leave out, such as that udev gave the port to its group.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::Error;
use crate::ports::{PortInfo, ports};

/// Between two looks: a port that comes or goes is noticed within a second.
pub const INTERVAL: Duration = Duration::from_millis(400);
/// How many looks a port that just came may refuse to be opened before that counts: udev sets its
/// group a moment after it is there.
const SETTLING: u32 = 2;

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A port is there now.
    Added(PortInfo),
    /// What is known of it is another than before, such as whether it can be opened.
    Changed(PortInfo),
    /// The port of this name is gone.
    Removed(String),
}

/// Watches ports until it is dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Calls `on_change` from a thread of its own: at first for every port that there is, then when
    /// one comes, changes or goes.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no thread to be had.
    pub fn start(on_change: impl FnMut(Change) + Send + 'static) -> Result<Self, Error> {
        Self::start_with(INTERVAL, ports, on_change)
    }

    /// The same with another interval and another list.
    ///
    /// # Errors
    /// As for [`Watch::start`].
    pub fn start_with(
        interval: Duration,
        mut list: impl FnMut() -> Result<Vec<PortInfo>, Error> + Send + 'static,
        mut on_change: impl FnMut(Change) + Send + 'static,
    ) -> Result<Self, Error> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("usb-watch".into())
            .spawn(move || {
                let mut known = Known::default();
                loop {
                    match list() {
                        Ok(now) => known.see(now).into_iter().for_each(&mut on_change),
                        Err(error) => tracing::warn!(%error, "serial ports"),
                    }
                    if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            })
            .map_err(|error| Error::io("usb-watch", &error))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _panicked = thread.join();
        }
    }
}

/// The ports of the last look.
#[derive(Debug, Default)]
struct Known {
    ports: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    port: PortInfo,
    /// Looks since it came.
    looks: u32,
}

impl Known {
    /// What another look shows. A port that was exchanged for another of the same name between two
    /// looks went and came.
    fn see(&mut self, now: Vec<PortInfo>) -> Vec<Change> {
        // One that was named by hand and is not there is none.
        let mut now: Vec<_> = now.into_iter().filter(PortInfo::is_present).collect();
        let mut changes = Vec::new();
        self.ports.retain_mut(|seen| {
            let at = now.iter().position(|port| same(port, &seen.port));
            let Some(at) = at else {
                changes.push(Change::Removed(seen.port.path.clone()));
                return false;
            };
            let port = now.swap_remove(at);
            seen.looks = seen.looks.saturating_add(1);
            let settling = seen.looks < SETTLING && denied(&port);
            if port != seen.port && !settling {
                changes.push(Change::Changed(port.clone()));
                seen.port = port;
            }
            true
        });
        now.sort_by(|a, b| a.path.cmp(&b.path));
        for mut port in now {
            if denied(&port) {
                port.problem = None;
            }
            changes.push(Change::Added(port.clone()));
            self.ports.push(Seen { port, looks: 0 });
        }
        changes
    }
}

fn denied(port: &PortInfo) -> bool {
    matches!(port.problem, Some(Error::PortDenied { .. }))
}

fn same(a: &PortInfo, b: &PortInfo) -> bool {
    let id = |port: &PortInfo| {
        let serial = port.serial_number.clone();
        (port.path.clone(), port.vendor_id, port.product_id, serial)
    };
    id(a) == id(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(path: &str, serial: &str) -> PortInfo {
        PortInfo {
            path: path.into(),
            vendor_id: Some(0x303A),
            product_id: Some(0x1001),
            adapter: "USB-Serial-JTAG".into(),
            manufacturer: None,
            serial_number: Some(serial.into()),
            likely: None,
            named: false,
            problem: None,
        }
    }

    fn refused(mut port: PortInfo) -> PortInfo {
        port.problem = Some(Error::PortDenied {
            path: port.path.clone(),
            group: None,
        });
        port
    }

    #[test]
    fn ports_come_and_go() {
        let mut known = Known::default();
        let (a, b) = (port("/dev/ttyACM0", "1"), port("/dev/ttyACM1", "2"));
        let both = vec![b.clone(), a.clone()];
        let added = [Change::Added(a.clone()), Change::Added(b.clone())];
        assert_eq!(known.see(both.clone()), added);
        assert_eq!(known.see(both), []);
        let removed = Change::Removed("/dev/ttyACM0".into());
        assert_eq!(known.see(vec![b]), [removed]);
    }

    #[test]
    fn another_board_on_the_same_port_is_another() {
        let mut known = Known::default();
        known.see(vec![port("/dev/ttyACM0", "1")]);
        let other = port("/dev/ttyACM0", "2");
        let expected = [
            Change::Removed("/dev/ttyACM0".into()),
            Change::Added(other.clone()),
        ];
        assert_eq!(known.see(vec![other]), expected);
    }

    #[test]
    fn a_port_that_just_came_may_refuse_until_udev_is_done() {
        let mut known = Known::default();
        let fine = port("/dev/ttyACM0", "1");
        let look = known.see(vec![refused(fine.clone())]);
        assert_eq!(look, [Change::Added(fine.clone())]);
        assert_eq!(known.see(vec![refused(fine.clone())]), []);
        assert_eq!(known.see(vec![fine]), []);
    }

    #[test]
    fn one_that_goes_on_refusing_says_so() {
        let mut known = Known::default();
        let denied = refused(port("/dev/ttyACM0", "1"));
        known.see(vec![denied.clone()]);
        known.see(vec![denied.clone()]);
        let changed = Change::Changed(denied.clone());
        assert_eq!(known.see(vec![denied]), [changed]);
    }

    #[test]
    fn a_named_port_comes_when_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("board");
        let list = || vec![PortInfo::named(path.to_string_lossy())];
        let mut known = Known::default();
        assert_eq!(known.see(list()), []);
        std::fs::write(&path, "").unwrap();
        assert!(matches!(&known.see(list())[..], [Change::Added(_)]));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(&known.see(list())[..], [Change::Removed(_)]));
    }

    #[test]
    fn a_watch_calls_until_it_is_dropped() {
        let (tell, told) = channel();
        let mut lists = vec![vec![], vec![port("/dev/ttyACM0", "1")]].into_iter();
        let watch = Watch::start_with(
            Duration::from_millis(1),
            move || Ok(lists.next().unwrap_or_default()),
            move |change| drop(tell.send(change)),
        )
        .unwrap();
        assert!(matches!(told.recv(), Ok(Change::Added(_))));
        assert!(matches!(told.recv(), Ok(Change::Removed(_))));
        drop(watch);
        assert!(told.recv().is_err(), "the thread has ended");
    }
}
