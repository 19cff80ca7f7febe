//! Keys and their passphrases from the command line.

use crate::args::{Passphrase, Signer};
use crate::failure::Failure;
use airlift_release::{SigningKey, keys};
use airlift_wire::ErrorCode;
use std::io::IsTerminal as _;
use std::path::Path;
use zeroize::Zeroizing;

impl Passphrase {
    /// The passphrase in the variable that `--passphrase-env` names.
    pub fn read(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let Some(name) = &self.passphrase_env else {
            return Ok(None);
        };
        match std::env::var(name) {
            Ok(text) if !text.is_empty() => Ok(Some(Zeroizing::new(text))),
            Ok(_) => Err(Failure::usage(format!("the variable {name} is empty"))),
            Err(_) => Err(Failure::usage(format!("the variable {name} is not set"))),
        }
    }
}

/// Reads the key that signs. Asks for a passphrase on a terminal only.
pub fn read(signer: &Signer) -> Result<SigningKey, Failure> {
    open(&signer.key, &signer.passphrase)
}

/// As [`read`], from its parts.
pub fn open(key: &Path, passphrase: &Passphrase) -> Result<SigningKey, Failure> {
    let pem = keys::read_key_file(key)?;
    let mut passphrase = passphrase.read()?;
    if passphrase.is_none() && keys::needs_passphrase(&pem) && std::io::stdin().is_terminal() {
        let asked = rpassword::prompt_password(format!("Passphrase of {}: ", key.display()));
        let asked = asked.map_err(|e| Failure::new(ErrorCode::BadPassphrase, e.to_string()))?;
        passphrase = Some(Zeroizing::new(asked));
    }
    let passphrase = passphrase.as_deref().map(String::as_str);
    Ok(SigningKey::from_pem(&pem, passphrase)?)
}

/// The passphrase of a key that is to be made: from its variable, or typed twice on a terminal.
pub fn new_passphrase(args: &Passphrase) -> Result<Option<Zeroizing<String>>, Failure> {
    let given = args.read()?;
    if given.is_some() || !std::io::stdin().is_terminal() {
        return Ok(given);
    }
    let ask = |prompt: &str| {
        let asked = rpassword::prompt_password(prompt).map(Zeroizing::new);
        asked.map_err(|e| Failure::new(ErrorCode::BadPassphrase, e.to_string()))
    };
    let first = ask("Passphrase: ")?;
    if *ask("The same again: ")? != *first {
        return Err(Failure::new(
            ErrorCode::BadPassphrase,
            "the two passphrases differ",
        ));
    }
    Ok(Some(first))
}

/// Now, or `SOURCE_DATE_EPOCH` when it is set, in Unix seconds.
pub fn created() -> Result<u64, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .parse()
            .map_err(|_| Failure::usage("SOURCE_DATE_EPOCH is not a number of seconds")),
        Err(_) => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map(|since| since.as_secs())
            .map_err(|_| Failure::usage("this computer's clock is before 1970")),
    }
}
