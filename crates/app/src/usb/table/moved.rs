//! A board that comes back under another name.
//!
//! Linux numbers ports anew while somebody has the old one open, and Windows by the socket that a
//! board is plugged into: what was `/dev/ttyACM0` is `/dev/ttyACM1` then.

use super::{Port, Table, no_such_port};
use crate::Error;
use crate::dto::{UsbJob, UsbPort};

/// A port that came after another one went, as often as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) path: String,
    /// The list with which it came.
    list: u64,
}

impl Table {
    /// The ports on which the board of an absent port may be now, the newest first: those that came
    /// when it went or later, with the same serial number; without one, of the same make. Whether it
    /// is that board, only the board can say. One that was named by hand is only where it was.
    pub(crate) fn came_instead(&self, path: &str) -> Vec<Came> {
        let Some(away) = self.ports.get(path).filter(|port| !port.view.present) else {
            return Vec::new();
        };
        let mut came: Vec<_> = self
            .ports
            .iter()
            .filter(|(_, port)| port.view.present && port.turned >= away.turned)
            .filter(|(_, port)| same_adapter(&port.view, &away.view))
            .map(|(path, port)| Came {
                path: path.clone(),
                list: port.turned,
            })
            .collect();
        came.sort_by_key(|came| std::cmp::Reverse(came.list));
        came
    }

    /// The board of a port answers on another one: what is known of it, its label, plan and job are
    /// there from now on, and the first port is gone.
    ///
    /// # Errors
    /// `no_such_port` when either is not listed.
    pub(crate) fn moved(&mut self, from: &str, to: &str) -> Result<(), Error> {
        let there = self.ports.get(to).ok_or_else(|| no_such_port(to))?;
        let (there, turned) = (there.view.clone(), there.turned);
        let port = self.ports.remove(from).ok_or_else(|| no_such_port(from))?;
        let view = UsbPort {
            path: there.path,
            vendor_id: there.vendor_id,
            product_id: there.product_id,
            adapter: there.adapter,
            serial_number: there.serial_number,
            likely: there.likely,
            present: there.present,
            named: there.named,
            problem: there.problem,
            ..port.view
        };
        let port = Port {
            view,
            turned,
            // With the news that the other one is gone.
            told: None,
            pending: true,
            ..port
        };
        self.ports.insert(to.to_owned(), port);
        self.gone.push(from.to_owned());
        Ok(())
    }

    /// The port that a job is on, or was, and the job.
    pub(crate) fn job(&self, id: u32) -> Option<(&str, &UsbJob)> {
        let mut jobs = self
            .ports
            .iter()
            .filter_map(|(path, port)| Some((path.as_str(), port.view.job.as_ref()?)));
        jobs.find(|(_, job)| job.id == id)
    }
}

fn same_adapter(a: &UsbPort, b: &UsbPort) -> bool {
    let make = |port: &UsbPort| port.vendor_id.zip(port.product_id);
    let unnamed = !a.named && !b.named;
    unnamed && make(a).is_some() && make(a) == make(b) && a.serial_number == b.serial_number
}

#[cfg(test)]
mod tests;
