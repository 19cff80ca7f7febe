//! `airlift usb monitor | wifi | reset`

use super::{board, follow, object, write};
use crate::args::{Monitor, OnePort, Wifi};
use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_app::dto::{Event, Numbered, UsbActivity, UsbLogLine, WifiCredentials};
use airlift_app::{Airlift, Secret};
use airlift_wire::ErrorCode;
use std::io::IsTerminal as _;
use tokio::sync::broadcast::error::RecvError;

/// What turns colours off, see no-color.org.
const NO_COLOR: &str = "NO_COLOR";

pub async fn monitor(app: &Airlift, args: &Monitor) -> Result<u8, Failure> {
    let path = board::one(app, &args.port).await?;
    let mut interrupts = Interrupts::new()?;
    let mut events = app.subscribe();
    let elf = args.elf.as_deref();
    let elf = elf.map(|path| path.to_string_lossy().into_owned());
    app.usb_monitor(&path, elf).await?;
    if args.reset {
        app.usb_reset(&path).await?;
    }
    let mut log = Log::new(&path, args.json);
    let result = loop {
        tokio::select! {
            biased;
            () = interrupts.next() => break Ok(exit::DONE),
            event = events.recv() => match event {
                Ok(Numbered { event: Event::UsbLog { port, .. }, .. }) if port == path => {
                    log.more(app).await?;
                }
                Ok(Numbered { event: Event::UsbPort(port), .. }) if port.path == path => {
                    if let (UsbActivity::Idle, Some(error)) = (port.activity, port.error) {
                        let code = ErrorCode::parse(&error.code).unwrap_or(ErrorCode::Unplugged);
                        break Err(Failure::new(code, error.message));
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => log.more(app).await?,
                Err(RecvError::Closed) => break Ok(exit::DONE),
            },
        }
    };
    log.more(app).await?;
    if let Some(file) = &args.save {
        app.usb_save_log(&path, &file.to_string_lossy()).await?;
    }
    app.usb_stop_monitor(&path).await?;
    result
}

/// The lines of a log, each shown once.
struct Log<'a> {
    port: &'a str,
    next: u32,
    json: bool,
    colours: bool,
}

impl<'a> Log<'a> {
    fn new(port: &'a str, json: bool) -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os(NO_COLOR).is_none();
        Self {
            port,
            next: 0,
            json,
            colours,
        }
    }

    /// Shows what is new. Asked for by number: events may be lost, lines are kept.
    async fn more(&mut self, app: &Airlift) -> Result<(), Failure> {
        loop {
            let lines = app.usb_log(self.port, self.next).await?;
            let Some(last) = lines.last() else {
                return Ok(());
            };
            if lines[0].n > self.next {
                eprintln!("note: {} lines were not kept", lines[0].n - self.next);
            }
            self.next = last.n + 1;
            for line in &lines {
                self.line(line)?;
            }
        }
    }

    fn line(&self, line: &UsbLogLine) -> Result<(), Failure> {
        if self.json {
            return output::json(&object(Some(self.port), Some("log"), line));
        }
        match colour(&line.kind).filter(|_| self.colours) {
            Some(colour) => output::line(&format!("\x1b[{colour}m{}\x1b[0m", line.text))?,
            None => output::line(&line.text)?,
        }
        for resolved in &line.resolved {
            output::line(&format!("    {resolved}"))?;
        }
        Ok(())
    }
}

/// The colour of a kind of line.
fn colour(kind: &str) -> Option<&'static str> {
    match kind {
        "panic" | "error" => Some("31"),
        "warning" | "reset" => Some("33"),
        "backtrace" => Some("35"),
        "boot" => Some("2"),
        _ => None,
    }
}

pub async fn wifi(app: &Airlift, args: &Wifi) -> Result<u8, Failure> {
    let path = board::one(app, &args.port).await?;
    let wifi = WifiCredentials {
        ssid: args.ssid.clone(),
        password: match &args.password_env {
            None if std::io::stdin().is_terminal() => {
                let asked = rpassword::prompt_password(format!("Password of {}: ", args.ssid));
                let asked = asked.map_err(|e| Failure::new(ErrorCode::Io, e.to_string()))?;
                Secret::new(asked)
            }
            variable => write::password(variable.as_deref())?,
        },
    };
    let address = follow::interruptible(app, &path, app.usb_wifi(&path, wifi)).await?;
    if args.json {
        let joined = serde_json::json!({"ssid": args.ssid, "address": address});
        output::json(&object(Some(&path), Some("wifi"), &joined))?;
    } else {
        output::line(&format!("joined {}; the board is at {address}", args.ssid))?;
    }
    Ok(exit::DONE)
}

pub async fn reset(app: &Airlift, port: &OnePort) -> Result<u8, Failure> {
    let path = board::one(app, port).await?;
    follow::interruptible(app, &path, app.usb_reset(&path)).await?;
    Ok(exit::DONE)
}
