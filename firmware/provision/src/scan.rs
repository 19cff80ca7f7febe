//! What a board hears around it, as a person wants to see it: each name once, the strongest first.

use crate::MAX_SSID;

/// Networks that are kept: as many as somebody would read through.
pub const MAX_NETWORKS: usize = 12;

/// A network that a board could join.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    ssid: [u8; MAX_SSID],
    ssid_len: u8,
    /// Signal strength.
    pub dbm: i8,
    /// Whether it asks for a password.
    pub protected: bool,
}

impl Network {
    /// A network; `None` for a name that is hidden or too long.
    pub fn new(ssid: &[u8], dbm: i8, protected: bool) -> Option<Self> {
        let mut network = Self {
            ssid: [0; MAX_SSID],
            ssid_len: u8::try_from(ssid.len()).ok().filter(|len| *len > 0)?,
            dbm,
            protected,
        };
        network.ssid.get_mut(..ssid.len())?.copy_from_slice(ssid);
        Some(network)
    }

    /// Its name: bytes, usually UTF-8.
    pub fn ssid(&self) -> &[u8] {
        self.ssid
            .get(..usize::from(self.ssid_len))
            .unwrap_or_default()
    }
}

impl core::fmt::Debug for Network {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = self.ssid().escape_ascii();
        write!(f, "{name} {} dBm protected: {}", self.dbm, self.protected)
    }
}

/// What one scan found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Networks([Option<Network>; MAX_NETWORKS]);

impl Networks {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self([None; MAX_NETWORKS])
    }

    /// Adds what was heard. Of access points with one name the strongest counts; when there is no
    /// room, the weakest is left out.
    pub fn add(&mut self, network: Network) {
        let same = |place: &Option<Network>| place.is_some_and(|n| n.ssid() == network.ssid());
        if let Some(place) = self.0.iter_mut().find(|place| same(place)) {
            if place.is_some_and(|before| before.dbm >= network.dbm) {
                return;
            }
            *place = None;
        }
        // The weakest is the last; an empty place is weaker still.
        if let Some(last) = self.0.last_mut()
            && last.is_none_or(|weakest| weakest.dbm < network.dbm)
        {
            *last = Some(network);
        }
        self.0
            .sort_unstable_by_key(|place| place.map_or(i16::MAX, |n| -i16::from(n.dbm)));
    }

    /// The strongest first.
    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    fn found(heard: &[(&str, i8)]) -> Vec<(Vec<u8>, i8)> {
        let mut networks = Networks::new();
        for (ssid, dbm) in heard {
            networks.add(Network::new(ssid.as_bytes(), *dbm, true).unwrap());
        }
        networks
            .iter()
            .map(|n| (n.ssid().to_vec(), n.dbm))
            .collect()
    }

    #[test]
    fn the_strongest_comes_first_and_every_name_once() {
        let list = found(&[("a", -70), ("b", -40), ("a", -50), ("b", -90), ("c", -60)]);
        let expected = [("b", -40), ("a", -50), ("c", -60)];
        assert_eq!(list, expected.map(|(ssid, dbm)| (ssid.into(), dbm)));
    }

    #[test]
    fn when_there_is_no_room_the_weakest_is_left_out() {
        let names: Vec<_> = (0..MAX_NETWORKS).map(|n| format!("n{n}")).collect();
        let mut heard: Vec<_> = names.iter().map(|name| (name.as_str(), -60)).collect();
        heard[3].1 = -80;
        heard.extend([("weaker", -90), ("stronger", -50)]);
        let list = found(&heard);
        assert_eq!(list.len(), MAX_NETWORKS);
        assert_eq!(list[0], ("stronger".into(), -50));
        assert!(
            list.iter()
                .all(|(name, _)| name != b"weaker" && name != b"n3")
        );
    }

    #[test]
    fn a_hidden_network_is_none() {
        assert_eq!(Network::new(b"", -40, true), None);
        assert_eq!(Network::new(&[b'n'; 33], -40, true), None);
    }

    proptest! {
        #[test]
        fn whatever_is_heard_the_list_is_sorted_and_has_no_name_twice(
            heard in proptest::collection::vec(("[a-f]{1,2}", any::<i8>()), 0..40)
        ) {
            let heard: Vec<_> = heard.iter().map(|(ssid, dbm)| (ssid.as_str(), *dbm)).collect();
            let list = found(&heard);
            prop_assert!(list.is_sorted_by(|a, b| a.1 >= b.1));
            for (n, (name, _)) in list.iter().enumerate() {
                prop_assert!(list[..n].iter().all(|(other, _)| other != name));
            }
            let strongest = heard.iter().map(|(_, dbm)| *dbm).max();
            prop_assert_eq!(list.first().map(|(_, dbm)| *dbm), strongest);
        }
    }
}
