//! Options, and orders from standard input.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use airlift_rom_loader::{
    Application, Chip, Config, Faults, Improv, Mode, RomLoader, Running, Security, Timing,
};
use clap::{Parser, ValueEnum};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

/// A board in its serial ROM loader, on a pseudo-terminal.
///
/// Prints the path of the terminal, then takes orders from standard input, one a line, and answers
/// each with "ok", what was asked for, or "error: ...". Ends with standard input.
///
/// Orders: reset | download | unplug | plug | print TEXT | fault RULE | no-faults | mode | journal |
/// commands
#[derive(Parser)]
#[command(name = "airlift-rom-loader", version)]
struct Options {
    /// The file that holds the flash; made when it is missing. In memory without.
    #[arg(long, value_name = "FILE")]
    flash: Option<PathBuf>,
    /// Size of the flash, for example 4MB.
    #[arg(long, default_value = "4MB", value_parser = size)]
    size: u32,
    /// esp32, esp32s2, esp32s3, esp32c3 or esp32c6.
    #[arg(long, default_value_t = Chip::Esp32c3)]
    chip: Chip,
    /// A link to the terminal, gone while the board is unplugged.
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
    /// What the boot pin says at the start.
    #[arg(long, value_enum, default_value = "download")]
    mode: Boot,
    /// MAC address.
    #[arg(long, value_parser = mac)]
    mac: Option<[u8; 6]>,
    /// Take as long as a board does.
    #[arg(long)]
    timing: bool,
    /// The host must be at the baud rate of the board, as behind a UART.
    #[arg(long)]
    baud_matters: bool,
    /// What goes wrong, any number of times: COMMAND:WHEN:ACTION as in
    /// flash_defl_data:3:drop_response, or bad_sector=0x10000, write_protected, flash_id=ID,
    /// chip_id=ID, magic=WORD, seed=NUMBER.
    #[arg(long, value_name = "RULE")]
    fault: Vec<String>,
    /// Secure boot is on.
    #[arg(long)]
    secure_boot: bool,
    /// Flash encryption is on.
    #[arg(long)]
    flash_encryption: bool,
    /// Secure download mode is on.
    #[arg(long)]
    secure_download: bool,
    /// A line that the application prints when it starts, any number of times.
    #[arg(long, value_name = "LINE")]
    log: Vec<String>,
    /// The application speaks Improv Serial and can join this network.
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = network)]
    improv: Option<(String, String)>,
    /// What was done to the flash, as JSON lines, written at the end.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Boot {
    Download,
    Application,
}

impl Options {
    fn config(&self) -> Result<Config, String> {
        let mut faults = Faults::none();
        for fault in &self.fault {
            faults.add(fault)?;
        }
        let defaults = Config::default();
        Ok(Config {
            chip: self.chip,
            size: self.size,
            flash: self.flash.clone(),
            link: self.link.clone(),
            mac: self.mac.unwrap_or(defaults.mac),
            security: Security {
                secure_boot: self.secure_boot,
                flash_encryption: self.flash_encryption,
                secure_download: self.secure_download,
            },
            mode: match self.mode {
                Boot::Download => Mode::Download,
                Boot::Application => Mode::Application,
            },
            baud_matters: self.baud_matters,
            timing: self.timing.then_some(Timing::TYPICAL),
            faults,
            application: Application {
                log: self.log.clone(),
                improv: self.improv.clone().map(|network| Improv {
                    firmware: "airlift-demo".to_string(),
                    version: "1.0.0".to_string(),
                    name: "test board".to_string(),
                    url: "http://192.0.2.1/".to_string(),
                    network,
                }),
            },
        })
    }
}

/// `512KB`, `4MB` or a number of bytes.
fn size(text: &str) -> Result<u32, String> {
    let (digits, unit) = match (text.strip_suffix("MB"), text.strip_suffix("KB")) {
        (Some(digits), _) => (digits, 1 << 20),
        (_, Some(digits)) => (digits, 1 << 10),
        _ => (text, 1),
    };
    let number: u32 = digits.parse().map_err(|_| "a size as in 4MB".to_string())?;
    number.checked_mul(unit).ok_or("too large".to_string())
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Result<Vec<u8>, _> = text.split(':').map(|b| u8::from_str_radix(b, 16)).collect();
    let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or("an address as in 7c:df:a1:00:00:01".to_string())
}

fn network(text: &str) -> Result<(String, String), String> {
    let (name, password) = text.split_once(':').ok_or("NAME:PASSWORD")?;
    Ok((name.to_string(), password.to_string()))
}

pub fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("airlift-rom-loader: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let mut faults = options.config()?.faults;
    let board = RomLoader::start(options.config()?)?;
    println!("{}", board.path().display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        loop {
            tokio::select! {
                _ = terminate.recv() => return io::Result::Ok(()),
                _ = interrupt.recv() => return Ok(()),
                line = lines.next_line() => match line? {
                    Some(line) => obey(line.trim(), &board, &mut faults)?,
                    None => return Ok(()),
                },
            }
        }
    })?;
    if let Some(path) = &options.journal {
        let file = std::fs::File::create(path)?;
        write_journal(&board, io::BufWriter::new(file))?;
    }
    // A read of standard input may be under way; nobody waits for it.
    runtime.shutdown_background();
    Ok(())
}

/// Obeys an order, and says so.
fn obey(line: &str, board: &Running, faults: &mut Faults) -> io::Result<()> {
    let (order, argument) = line.split_once(' ').unwrap_or((line, ""));
    let mut out = io::stdout().lock();
    match order {
        "" => return Ok(()),
        "reset" => board.reset(Mode::Application),
        "download" => board.reset(Mode::Download),
        "unplug" => board.unplug(),
        "plug" => board.plug(),
        "print" => board.print(argument),
        "fault" => match faults.add(argument) {
            Ok(()) => board.set_faults(faults.clone()),
            Err(error) => return writeln!(out, "error: {error}"),
        },
        "no-faults" => {
            *faults = Faults::none();
            board.set_faults(Faults::none());
        }
        "mode" if board.is_application() => writeln!(out, "application")?,
        "mode" => writeln!(out, "download")?,
        "journal" => write_journal(board, &mut out)?,
        "commands" => {
            for command in board.commands() {
                writeln!(out, "{command}")?;
            }
        }
        _ => return writeln!(out, "error: {order:?} is no order"),
    }
    writeln!(out, "ok")?;
    out.flush()
}

fn write_journal(board: &Running, mut out: impl Write) -> io::Result<()> {
    for operation in board.journal() {
        serde_json::to_writer(&mut out, &operation)?;
        writeln!(out)?;
    }
    out.flush()
}
