//! `airlift key new | trust | list | show | offline`

use super::{signer, trust};
use crate::args::{Key, NewKey, OfflineKey};
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_app::keys::stem;
use airlift_app::{Uses, dto};
use airlift_release::{SigningKey, keys};
use std::path::{Path, PathBuf};

pub fn run(command: Key) -> Result<u8, Failure> {
    match command {
        Key::New(args) => new(&args),
        Key::Trust { key } => accept(&key),
        Key::List { json } => list(json),
        Key::Show { key } => show(&key),
        Key::Offline(args) => offline(&args),
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
    let (key, note) = match keys::write_private(&args.key, &pem) {
        Ok(()) => (key, "keep it, and keep a copy"),
        Err(exists @ airlift_release::Error::Exists(_)) => {
            // A key whose making was cut off before its public half was written is finished.
            let passphrase = passphrase.as_deref().map(String::as_str);
            let there = keys::read_key_file(&args.key);
            let there = there.and_then(|pem| SigningKey::from_pem(&pem, passphrase));
            (
                there.map_err(|_| exists)?,
                "was there, without its public half",
            )
        }
        Err(error) => return Err(error.into()),
    };
    keys::write_public(&public, &key.public())?;
    output::line(&format!("key      {}", key.id()))?;
    output::line(&format!("private  {}  ({note})", args.key.display()))?;
    output::line(&format!("public   {}", public.display()))?;
    Ok(exit::DONE)
}

fn accept(path: &Path) -> Result<u8, Failure> {
    let key = trust::keys()?.trust_file(path)?;
    output::line(&format!("trusted  {}  {}", key.id, key.name))?;
    Ok(exit::DONE)
}

/// Makes a key of which this computer keeps the public part only.
fn offline(args: &OfflineKey) -> Result<u8, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => stem(&args.key),
    };
    let Some(passphrase) = signer::new_passphrase(&args.passphrase)? else {
        return Err(Failure::usage(
            "an offline key needs a passphrase: name its variable with --passphrase-env",
        ));
    };
    let key = trust::keys()?.create_offline(&name, &args.key, &passphrase)?;
    let private = args.key.display();
    output::line(&format!("key      {}  {}", key.id, key.name))?;
    output::line(&format!(
        "private  {private}  (encrypted; this computer keeps no copy: put it where only you get it)"
    ))?;
    output::line(&format!("public   {}", public_path(&args.key).display()))?;
    Ok(exit::DONE)
}

/// Where a key's private part is, in a word.
fn signs(key: &dto::Key) -> &'static str {
    match key {
        key if key.can_sign && key.needs_passphrase => "with its passphrase",
        key if key.can_sign => "yes",
        key if key.offline => "offline",
        _ => "no",
    }
}

fn list(json: bool) -> Result<u8, Failure> {
    let keys = trust::keys()?.list()?;
    let devices = super::block_on(trust::seen_devices())?;
    if json {
        for key in keys {
            let uses = Uses::of(&key, &devices);
            output::json(&serde_json::json!({
                "schema": 1, "id": key.id, "name": key.name, "trusted": key.trusted,
                "private": key.can_sign, "encrypted": key.needs_passphrase, "offline": key.offline,
                "root_of": uses.root_of, "release_key_of": uses.release_key_of,
            }))?;
        }
        return Ok(exit::DONE);
    }
    if keys.is_empty() {
        output::line("No key is here, and none is trusted.")?;
        return Ok(exit::DONE);
    }
    let heading = ["ID", "NAME", "TRUSTED", "SIGNS", "DEVICES"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for key in keys {
        let trusted = if key.trusted { "yes" } else { "no" };
        let uses = Uses::of(&key, &devices);
        let counts = [
            ("root of", uses.root_of.len()),
            ("release key of", uses.release_key_of.len()),
        ];
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<_> = counts.map(|(what, n)| format!("{what} {n}")).collect();
        let signs = signs(&key).to_owned();
        rows.push(vec![
            key.id,
            key.name,
            trusted.to_owned(),
            signs,
            counts.join(", "),
        ]);
    }
    output::table(&rows)?;
    Ok(exit::DONE)
}

fn show(which: &str) -> Result<u8, Failure> {
    let known = trust::known_keys()?;
    let given = Path::new(which);
    let id = match given.is_file() {
        true => trust::read(given)?.id().to_string(),
        false => which.to_owned(),
    };
    let key = known.into_iter().find(|key| key.id == id || key.name == id);
    let key = match key {
        Some(key) => key,
        None if given.is_file() => dto::Key {
            id,
            name: stem(given),
            can_sign: false,
            needs_passphrase: false,
            trusted: false,
            offline: false,
        },
        None => return Err(airlift_app::Error::NoSuchKey(id).into()),
    };
    let uses = Uses::of(&key, &super::block_on(trust::seen_devices())?);
    let private = match &key {
        key if key.can_sign && key.needs_passphrase => "here, encrypted",
        key if key.can_sign => "here, not encrypted",
        key if key.offline => "offline: made here and kept elsewhere",
        _ => "not here",
    };
    let trusted = if key.trusted {
        "yes: its releases are accepted here"
    } else {
        "no"
    };
    output::line(&format!("key             {}", key.id))?;
    output::line(&format!("name            {}", key.name))?;
    output::line(&format!("private part    {private}"))?;
    output::line(&format!("trusted         {trusted}"))?;
    for (what, devices) in [
        ("root of         ", &uses.root_of),
        ("release key of  ", &uses.release_key_of),
    ] {
        let list = if devices.is_empty() {
            "no device that was seen".to_owned()
        } else {
            devices.join(", ")
        };
        output::line(&format!("{what}{list}"))?;
    }
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
