//! Keys whose private part is kept elsewhere: on a stick in a drawer.

use std::fs;
use std::path::Path;

use airlift_release::{SigningKey, keys as files};

use super::{Keys, PUBLIC, check_name, stem};
use crate::{Error, dto};

/// Fewest characters of an offline key's passphrase: whoever finds the stick can try as long as they
/// like.
pub const MIN_OFFLINE_PASSPHRASE: usize = 8;

impl Keys {
    /// Makes a key whose private part is written, encrypted, to `path` and nowhere else: to a stick
    /// that goes into a drawer. Its public part is written beside it, kept here and trusted.
    ///
    /// Only after the file has been read back and opened does this computer know the key, so that
    /// no device is ever told to trust one that nobody has.
    pub fn create_offline(
        &self,
        name: &str,
        path: &Path,
        passphrase: &str,
    ) -> Result<dto::Key, Error> {
        check_name(name)?;
        if passphrase.chars().count() < MIN_OFFLINE_PASSPHRASE {
            return Err(Error::Usage(format!(
                "the passphrase of an offline key has {MIN_OFFLINE_PASSPHRASE} characters or more"
            )));
        }
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let folder = fs::canonicalize(folder).map_err(|e| Error::io(folder, e))?;
        let root = self.home.root();
        if folder.starts_with(fs::canonicalize(root).map_err(|e| Error::io(root, e))?) {
            return Err(Error::Usage(
                "an offline key is kept outside of Airlift's own folder, on a stick for example"
                    .into(),
            ));
        }
        let here = self.home.keys().join(format!("{name}{PUBLIC}"));
        let beside = path.with_file_name(format!("{}{PUBLIC}", stem(path)));
        for path in [&here, &beside] {
            if path.symlink_metadata().is_ok() {
                return Err(airlift_release::Error::Exists(path.clone()).into());
            }
        }
        let key = SigningKey::generate()?;
        files::write_private(path, &key.to_pem(Some(passphrase))?)?;
        let back = files::read_key_file(path).and_then(|pem| {
            let opened = SigningKey::from_pem(&pem, Some(passphrase))?;
            Ok(opened.id() == key.id())
        });
        if !back? {
            let what = std::io::Error::other("the key does not read back as it was written");
            return Err(Error::io(path, what));
        }
        files::write_public(&beside, &key.public())?;
        files::write_public(&here, &key.public())?;
        self.trust(&key.public(), name)
    }

    /// The private key in a file, which is not taken over.
    pub fn signing_file(path: &Path, passphrase: Option<&str>) -> Result<SigningKey, Error> {
        let pem = files::read_key_file(path)?;
        Ok(SigningKey::from_pem(&pem, passphrase)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;
    use crate::keys::read_public;

    fn keys() -> (tempfile::TempDir, Keys) {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::new(Home::open(dir.path()).unwrap());
        (dir, keys)
    }

    #[test]
    fn the_private_part_of_an_offline_key_is_in_its_file_and_nowhere_else() {
        let (dir, keys) = keys();
        let stick = tempfile::tempdir().unwrap();
        let path = stick.path().join("root.pem");
        let key = keys.create_offline("root", &path, "correct horse").unwrap();
        assert!(key.offline && key.trusted && !key.can_sign);
        assert_eq!(keys.list().unwrap(), std::slice::from_ref(&key));
        let opened = Keys::signing_file(&path, Some("correct horse")).unwrap();
        assert_eq!(opened.id().to_string(), key.id);
        assert!(Keys::signing_file(&path, None).is_err(), "it is encrypted");
        assert_eq!(
            read_public(&stick.path().join("root.pub.pem")).unwrap(),
            opened.public()
        );
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        for folder in ["keys", "trusted"] {
            for entry in fs::read_dir(dir.path().join(folder)).unwrap() {
                assert!(!text(&entry.unwrap().path()).contains("PRIVATE"));
            }
        }
        assert!(keys.signing("root", Some("correct horse")).is_err());
        // Back on this computer, it is a key like any other.
        let imported = keys.import(&path, Some("correct horse")).unwrap();
        assert!(imported.can_sign && !imported.offline, "{imported:?}");
    }

    #[test]
    fn a_key_made_here_does_not_take_the_name_of_an_offline_key() {
        let (_dir, keys) = keys();
        let stick = tempfile::tempdir().unwrap();
        let path = stick.path().join("root.pem");
        let offline = keys.create_offline("root", &path, "correct horse").unwrap();
        let error = keys.create("root", None).unwrap_err();
        assert_eq!(error.code().as_str(), "io");
        assert_eq!(keys.list().unwrap(), [offline]);
    }

    #[test]
    fn an_offline_key_needs_a_passphrase_and_a_place_of_its_own() {
        let (dir, keys) = keys();
        let stick = tempfile::tempdir().unwrap();
        let path = stick.path().join("root.pem");
        let code = |name: &str, path: &Path, passphrase: &str| {
            let made = keys.create_offline(name, path, passphrase);
            made.unwrap_err().code().as_str()
        };
        assert_eq!(code("root", &path, ""), "usage");
        assert_eq!(code("root", &path, "1234567"), "usage");
        assert_eq!(code("../x", &path, "correct horse"), "usage");
        for inside in ["root.pem", "keys/root.pem"] {
            let inside = dir.path().join(inside);
            assert_eq!(code("root", &inside, "correct horse"), "usage");
        }
        assert_eq!(
            code("root", &stick.path().join("no/root.pem"), "correct horse"),
            "io"
        );
        assert_eq!(keys.list().unwrap(), [], "no key is known that nobody has");
        fs::write(&path, "somebody's").unwrap();
        assert_eq!(code("root", &path, "correct horse"), "io");
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        assert_eq!(keys.list().unwrap(), []);
    }
}
