//! Sets of keys: what a release brings that changes whom devices trust.

use super::check_public;
use crate::Error;
use airlift_wire::limits::MAX_RELEASE_KEYS;
use airlift_wire::{KeySet, PublicKey};

/// A set that devices can take and that does not shut its maker out by mistake.
///
/// # Errors
/// `bad_key_set` for epoch 0, which no device can rise to, for the highest one, after which none can
/// follow, for none or more than four release keys, one that stands there twice, and keys under
/// which signatures prove nothing.
pub fn key_set(epoch: u32, root: PublicKey, release: &[PublicKey]) -> Result<KeySet, Error> {
    let refused = |what: String| Err(Error::KeySet(what));
    let count = release.len();
    if count > MAX_RELEASE_KEYS {
        return refused(format!(
            "there are {count} release keys, and a device holds {MAX_RELEASE_KEYS}"
        ));
    }
    let Some(set) = KeySet::new(epoch, root, release) else {
        return refused("there is no release key among them".to_owned());
    };
    check_set(&set)?;
    Ok(set)
}

/// The same for a set that exists already.
pub(crate) fn check_set(set: &KeySet) -> Result<(), Error> {
    let refused = |what: String| Err(Error::KeySet(what));
    match set.epoch {
        0 => return refused("epoch 0 is not above that of any device".to_owned()),
        u32::MAX => return refused("no set could follow one of this epoch".to_owned()),
        _ => {}
    }
    for (n, key) in set.release_keys().iter().enumerate() {
        if set.release_keys()[..n].contains(key) {
            return refused(format!("release key {} stands there twice", key.id()));
        }
    }
    for key in std::iter::once(&set.root).chain(set.release_keys()) {
        check_public(key).map_err(|e| Error::KeySet(e.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn key(seed: u8) -> PublicKey {
        SigningKey::from_seed(&[seed; 32]).public()
    }

    #[test]
    fn the_root_may_be_a_release_key_too() {
        let set = key_set(1, key(1), &[key(1), key(2)]).unwrap();
        assert_eq!(set.release_keys(), [key(1), key(2)]);
    }

    #[test]
    fn a_set_that_devices_cannot_take_or_that_shuts_its_maker_out_says_why() {
        let weak = PublicKey(std::array::from_fn(|n| u8::from(n == 0)));
        let five: Vec<_> = (1..=5).map(key).collect();
        for (epoch, root, release, why) in [
            (0, key(1), vec![key(2)], "epoch 0"),
            (u32::MAX, key(1), vec![key(2)], "no set could follow"),
            (1, key(1), vec![], "no release key"),
            (1, key(1), five, "5 release keys"),
            (1, key(1), vec![key(2), key(3), key(2)], "twice"),
            (1, weak, vec![key(2)], "not a usable Ed25519 key"),
            (1, key(1), vec![key(2), weak], "not a usable Ed25519 key"),
        ] {
            let error = key_set(epoch, root, &release).unwrap_err();
            assert_eq!(error.code().as_str(), "bad_key_set");
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
