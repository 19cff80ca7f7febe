//! Writes the seeds of every target to FOLDER/TARGET/.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .unwrap_or_else(|| "corpus".into());
    for (target, _) in airlift_fuzz::TARGETS {
        let folder = PathBuf::from(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        for (n, seed) in airlift_fuzz::seeds::of(target).iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}
