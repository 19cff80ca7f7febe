//! All targets for a short time, without coverage and without a C++ compiler: what is kept first,
//! then random changes of it, drawn from a seed.
//!
//! ```text
//! short [SECONDS [SEED]]     all targets, SECONDS in all
//! short --names              the targets, and the longest input of each
//! short --seeds FOLDER       writes the seeds to FOLDER/TARGET/
//! ```

use airlift_fuzz::{TARGETS, Target, corpus, seeds};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["--names"] => {
            for target in TARGETS {
                println!("{} {}", target.name, target.max_len);
            }
            Ok(true)
        }
        ["--seeds", folder] => write_seeds(Path::new(folder)).map(|()| true),
        [] => all(30, 1),
        [seconds] => all(seconds.parse().unwrap_or(30), 1),
        [seconds, seed, ..] => all(seconds.parse().unwrap_or(30), seed.parse().unwrap_or(1)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write_seeds(folder: &Path) -> std::io::Result<()> {
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (n, seed) in seeds::of(target.name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}

fn all(seconds: u32, seed: u64) -> std::io::Result<bool> {
    println!(
        "{:16} {:>7} {:>10} {:>9}",
        "target", "kept", "executions", "a second"
    );
    let time = Duration::from_secs(seconds.into()) / TARGETS.len() as u32;
    let mut sound = true;
    for target in TARGETS {
        let kept = corpus::of(target)?;
        let inputs: Vec<Vec<u8>> = kept.into_iter().map(|kept| kept.bytes).collect();
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let start = Instant::now();
        let (mut count, mut next) = (0_u64, inputs.iter());
        while next.len() > 0 || start.elapsed() < time {
            let input = match next.next() {
                Some(kept) => kept.clone(),
                None => changed(&inputs, target.max_len, &mut random),
            };
            count += 1;
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                keep(target, &input)?;
                sound = false;
                break;
            }
        }
        let rate = count as f64 / start.elapsed().as_secs_f64();
        println!(
            "{:16} {:>7} {count:>10} {rate:>9.0}",
            target.name,
            inputs.len()
        );
    }
    Ok(sound)
}

/// Writes an input that broke something to where [`corpus::of`] finds it again.
fn keep(target: &Target, input: &[u8]) -> std::io::Result<()> {
    let folder = corpus::folder_of("regressions", target);
    let name = airlift_wire::Digest::of(input).to_string();
    let path = folder.join(&name[..16]);
    fs::create_dir_all(&folder)?;
    fs::write(&path, input)?;
    eprintln!("{} breaks on {}", target.name, path.display());
    Ok(())
}

/// xorshift64: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// Numbers at which lengths and counts turn over.
const EDGES: [u32; 12] = [
    0,
    1,
    16,
    127,
    128,
    255,
    256,
    4095,
    4096,
    65_535,
    1 << 31,
    u32::MAX,
];

/// A kept input after one to eight changes.
fn changed(inputs: &[Vec<u8>], max_len: usize, random: &mut Random) -> Vec<u8> {
    let Some(first) = inputs.get(random.below(inputs.len())) else {
        return Vec::new();
    };
    let mut out = first.clone();
    for _ in 0..=random.below(8) {
        let at = random.below(out.len());
        let len = 1 + random.below(32.min(out.len().saturating_sub(at)));
        let end = (at + len).min(out.len());
        match random.below(9) {
            0 | 1 if !out.is_empty() => out[at] ^= 1 << random.below(8),
            2 if !out.is_empty() => out[at] = random.below(256) as u8,
            3 if out.len() >= at + 4 => {
                let edge = EDGES[random.below(EDGES.len())];
                let bytes = if random.below(2) == 0 {
                    edge.to_le_bytes()
                } else {
                    edge.to_be_bytes()
                };
                let size = 1 << random.below(3);
                out[at..at + size].copy_from_slice(&bytes[..size]);
            }
            4 => drop(out.drain(at..end)),
            5 => {
                let piece = out[at..end].to_vec();
                let to = random.below(out.len());
                out.splice(to..to, piece);
            }
            6 => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len());
                let until = (from + 1 + random.below(256)).min(other.len());
                let at = at.min(out.len());
                out.splice(at..end, other[from..until].iter().copied());
            }
            7 => out.truncate(at),
            _ => out.splice(at..at, [random.below(256) as u8]).for_each(drop),
        }
    }
    out.truncate(max_len);
    out
}
