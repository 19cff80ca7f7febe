//! A folder of its own for each test, and the program on it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The images that the demo uses.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures")
        .join(name)
}

/// A working folder with an `AIRLIFT_HOME` in it.
pub struct Desk {
    dir: TempDir,
}

/// What the program said and how it ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder for temporary files"),
        }
    }

    /// A desk with `key.pem` and `key.pub.pem`.
    pub fn with_key() -> Self {
        let desk = Self::new();
        desk.run(&["key", "new", "key.pem"]).succeeded();
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect(name)
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The program, on this desk and with nothing of the caller's surroundings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_airlift"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("AIRLIFT_HOME", self.path("home"))
            .env_remove("AIRLIFT_LOG")
            .env_remove("SOURCE_DATE_EPOCH")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    pub fn run_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Run {
        let mut command = self.command(args);
        let output = command
            .envs(variables.iter().copied())
            .output()
            .expect("the program starts");
        Run {
            code: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Packs an app into a release of product `p` and returns what the program said.
    pub fn pack(&self, output: &str, sequence: &str, more: &[&str]) -> Run {
        let app = fixture("demo-1.1.0.bin");
        let app = app.to_str().expect("a path in UTF-8");
        let mut args = vec![
            "pack",
            "--product",
            "p",
            "--sequence",
            sequence,
            "--app",
            app,
        ];
        args.extend(["--key", "key.pem", "-o", output]);
        args.extend(more);
        self.run(&args)
    }
}

impl Run {
    /// It did what it was asked.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It refused with this exit code and error code, in the form that people read.
    #[track_caller]
    pub fn refused(self, exit: i32, code: &str) -> Self {
        assert_eq!(self.code, exit, "{self:?}");
        let mut lines = self
            .err
            .lines()
            .skip_while(|line| line.starts_with("warning: "));
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("error: "), "{self:?}");
        assert!(first.ends_with(&format!("[{code}]")), "{self:?}");
        let help = lines.next().unwrap_or_default();
        assert!(
            help.starts_with("  ") && help.ends_with('.'),
            "says what to do: {self:?}"
        );
        assert_eq!(lines.next(), None, "two lines: {self:?}");
        assert_eq!(self.out, "", "nothing on standard output: {self:?}");
        self
    }

    /// Standard output as one JSON object a line.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).expect(line);
        let lines: Vec<Value> = self.out.lines().map(parse).collect();
        assert!(lines.iter().all(Value::is_object), "{self:?}");
        lines
    }
}
