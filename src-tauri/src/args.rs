//! The few arguments of the window; the command line is `airlift`.

use std::ffi::OsString;

/// What `--help` prints.
pub const USAGE: &str = "\
Usage: airlift-desktop [--try-virtual-devices]

Opens the window of Airlift. AIRLIFT_HOME names the folder that keeps everything.

  --try-virtual-devices  start two virtual devices on this computer
  --version              print the version and exit
  --help                 print this and exit
";

/// The arguments of one start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// Start two virtual devices.
    pub try_virtual_devices: bool,
    /// Print the version instead of opening a window.
    pub version: bool,
    /// Print the usage instead of opening a window.
    pub help: bool,
}

impl Args {
    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    /// The first argument that is not known.
    pub fn parse<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Result<Self, String> {
        let mut parsed = Self::default();
        for arg in args {
            let arg = arg.into();
            match arg.to_str() {
                Some("--try-virtual-devices") => parsed.try_virtual_devices = true,
                Some("--version" | "-V") => parsed.version = true,
                Some("--help" | "-h") => parsed.help = true,
                _ => return Err(arg.to_string_lossy().into_owned()),
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_arguments_the_window_just_opens() {
        assert_eq!(Args::parse([""; 0]), Ok(Args::default()));
    }

    #[test]
    fn an_unknown_argument_is_named() {
        let args = ["--try-virtual-devices", "--fast"];
        assert_eq!(Args::parse(args), Err("--fast".to_owned()));
    }

    #[test]
    fn every_argument_of_the_usage_is_understood() {
        let named = USAGE
            .split_whitespace()
            .map(|word| word.trim_matches(['[', ']']))
            .filter(|word| word.starts_with("--"));
        assert!(Args::parse(named).is_ok_and(|args| args.help && args.version));
    }
}
