//! A folder of its own for each test, and the program on it.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
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
        desk.run("key new key.pem").succeeded();
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

    /// The program, on this desk and with nothing of the caller's surroundings. The words of
    /// `line` are its arguments; `@NAME` is a fixture.
    pub fn command(&self, line: &str) -> Command {
        let args = line
            .split_whitespace()
            .map(|word| match word.strip_prefix('@') {
                Some(name) => fixture(name),
                None => PathBuf::from(word),
            });
        let mut command = Command::new(env!("CARGO_BIN_EXE_airlift"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("AIRLIFT_HOME", self.path("home"))
            .env_remove("AIRLIFT_LOG")
            .env_remove("AIRLIFT_MPY_CROSS")
            .env_remove("SOURCE_DATE_EPOCH")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, line: &str) -> Run {
        self.run_with(line, &[])
    }

    pub fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Run {
        let mut command = self.command(line);
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

    /// Packs an app into a release of product `p`.
    pub fn pack(&self, output: &str, sequence: u32, more: &str) -> Run {
        self.run(&format!(
            "pack --product p --sequence {sequence} --app @demo-1.1.0.bin --key key.pem -o {output} {more}"
        ))
    }
}

/// The program while it runs. Dropping it ends it.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    /// What was read so far.
    seen: String,
}

impl Desk {
    /// Starts the program and goes on.
    pub fn start(&self, line: &str) -> Running {
        let mut command = self.command(line);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        Running {
            child,
            out,
            seen: String::new(),
        }
    }
}

impl Running {
    /// Waits for the next line on standard output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.out.read_line(&mut line).expect("text");
        assert!(read > 0, "it ended after: {}", self.seen);
        self.seen.push_str(&line);
        line.trim_end().to_owned()
    }

    /// Waits for the next line, which is JSON.
    #[track_caller]
    pub fn json_line(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).expect(&line)
    }

    /// Ctrl-C.
    #[cfg(unix)]
    pub fn interrupt(&self) {
        // The shell's own `kill` is there even where the program of that name is not.
        let command = format!("kill -INT {}", self.child.id());
        let status = Command::new("sh")
            .args(["-c", &command])
            .status()
            .expect("a shell");
        assert!(status.success());
    }

    /// Ends it the hard way and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Waits until it ends by itself.
    pub fn end(mut self) -> Run {
        self.wait()
    }

    /// As [`Running::end`], for one that stays where it is.
    pub fn wait(&mut self) -> Run {
        let mut out = std::mem::take(&mut self.seen);
        self.out.read_to_string(&mut out).expect("text");
        let mut err = String::new();
        let pipe = self.child.stderr.take();
        pipe.expect("a pipe")
            .read_to_string(&mut err)
            .expect("text");
        let status = self.child.wait().expect("it ends");
        Run {
            code: status.code().expect("by itself"),
            out,
            err,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or nobody needs it any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
