//! Where boards are that were named by their ports.

use airlift_app::dto::UsbPort;

/// Boards by the names of their ports. One that is unplugged in the middle of its job may come back
/// under another name.
pub struct Places(Vec<Place>);

struct Place {
    named: String,
    now: String,
    job: Option<u32>,
}

/// A board that was seen.
#[derive(Debug, PartialEq)]
pub struct Seen<'a> {
    /// The port that it was named by.
    pub named: &'a str,
    /// Whether it was elsewhere before.
    pub moved: bool,
}

impl Places {
    /// Boards where they are named.
    pub fn new(ports: &[String]) -> Self {
        let place = |port: &String| Place {
            named: port.clone(),
            now: port.clone(),
            job: None,
        };
        Self(ports.iter().map(place).collect())
    }

    /// The ports that they are on now.
    pub fn now(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|place| place.now.as_str())
    }

    /// The board that a port has; none when it is none of these. A job says which board it is, as long
    /// as there is none its port does.
    pub fn see(&mut self, port: &UsbPort) -> Option<Seen<'_>> {
        let job = port.job.as_ref().map(|job| job.id);
        let place = self.0.iter_mut().find(|place| match place.job {
            Some(id) => job == Some(id),
            None => place.now == port.path,
        })?;
        place.job = job;
        let moved = place.now != port.path;
        place.now.clone_from(&port.path);
        Some(Seen {
            named: &place.named,
            moved,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::usb::board::tests::port;
    use crate::command::usb::follow::tests::job;
    use airlift_app::dto::{UsbEnd, UsbJob};

    const A: &str = "/dev/ttyACM0";
    const B: &str = "/dev/ttyACM1";

    fn with_job(path: &str, id: u32) -> UsbPort {
        let job = UsbJob {
            id,
            ..job(UsbEnd::Done)
        };
        UsbPort {
            job: Some(job),
            ..port(path, None, true)
        }
    }

    #[test]
    fn a_board_is_where_its_job_is_and_has_the_name_that_it_was_given() {
        let mut places = Places::new(&[A.to_owned()]);
        let seen = |moved| Some(Seen { named: A, moved });
        assert_eq!(places.see(&port(B, None, true)), None);
        assert_eq!(places.see(&port(A, None, true)), seen(false));
        assert_eq!(places.see(&with_job(A, 1)), seen(false));
        assert_eq!(places.see(&with_job(B, 1)), seen(true));
        assert_eq!(places.see(&with_job(B, 1)), seen(false));
        assert_eq!(places.now().collect::<Vec<_>>(), [B]);
        // Who has the name now is another board.
        assert_eq!(places.see(&port(A, None, true)), None);
        assert_eq!(places.see(&with_job(A, 2)), None);
    }
}
