//! `airlift key new | trust | list`

use crate::args::{Key, NewKey};
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_release::{SigningKey, keys};
use std::path::{Path, PathBuf};

pub fn run(command: Key) -> Result<u8, Failure> {
    match command {
        Key::New(args) => new(&args),
        Key::Trust { key: _ } => Err(Failure::usage("not yet")),
        Key::List => Err(Failure::usage("not yet")),
    }
}

fn new(args: &NewKey) -> Result<u8, Failure> {
    let passphrase = args.passphrase.from_env()?;
    let key = SigningKey::generate()?;
    let pem = key.to_pem(passphrase.as_deref().map(String::as_str))?;
    let public = public_path(&args.key);
    if public.exists() {
        return Err(airlift_release::Error::Exists(public).into());
    }
    keys::write_private(&args.key, &pem)?;
    keys::write_public(&public, &key.public())?;
    output::line(&format!("key      {}", key.id()))?;
    output::line(&format!(
        "private  {}  (keep it, and keep a copy)",
        args.key.display()
    ))?;
    output::line(&format!("public   {}", public.display()))?;
    Ok(exit::DONE)
}

/// `KEY.pem` → `KEY.pub.pem`
fn public_path(private: &Path) -> PathBuf {
    let name = private
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let stem = name.strip_suffix(".pem").unwrap_or(&name);
    private.with_file_name(format!("{stem}.pub.pem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_stands_beside_the_private_one() {
        assert_eq!(
            public_path(Path::new("a/key.pem")),
            Path::new("a/key.pub.pem")
        );
        assert_eq!(public_path(Path::new("key")), Path::new("key.pub.pem"));
    }
}
