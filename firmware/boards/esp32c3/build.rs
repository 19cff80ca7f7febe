//! Passes the release's version to the compiler.

fn main() {
    println!("cargo::rerun-if-env-changed=AIRLIFT_VERSION");
    let version = std::env::var("AIRLIFT_VERSION").unwrap_or_else(|_| "0.0.0-dev".into());
    // The descriptor holds 32 bytes, the last one NUL; a longer text would be cut without a word.
    if version.is_empty() || version.len() > 31 || !version.bytes().all(|b| b.is_ascii_graphic()) {
        println!("cargo::error=AIRLIFT_VERSION must be 1 to 31 printable ASCII bytes: {version:?}");
        return;
    }
    println!("cargo::rustc-env=AIRLIFT_VERSION={version}");
}
