//! `airlift key new | trust | list`

use super::trust;
use crate::args::{Key, NewKey};
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_release::{SigningKey, keys};
use std::path::{Path, PathBuf};

pub fn run(command: Key) -> Result<u8, Failure> {
    match command {
        Key::New(args) => new(&args),
        Key::Trust { key } => accept(&key),
        Key::List => list(),
    }
}

fn new(args: &NewKey) -> Result<u8, Failure> {
    let passphrase = args.passphrase.read()?;
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

fn accept(path: &Path) -> Result<u8, Failure> {
    let key = trust::keys()?.trust_file(path)?;
    output::line(&format!("trusted  {}  {}", key.id, key.name))?;
    Ok(exit::DONE)
}

fn list() -> Result<u8, Failure> {
    let keys = trust::keys()?.list()?;
    if keys.is_empty() {
        output::line("No key is here, and none is trusted.")?;
        return Ok(exit::DONE);
    }
    let mut rows = vec![
        ["ID", "NAME", "TRUSTED", "SIGNS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for key in keys {
        let trusted = if key.trusted { "yes" } else { "no" };
        let signs = match (key.can_sign, key.needs_passphrase) {
            (false, _) => "no",
            (true, false) => "yes",
            (true, true) => "with its passphrase",
        };
        rows.push(vec![key.id, key.name, trusted.to_owned(), signs.to_owned()]);
    }
    output::table(&rows)?;
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
