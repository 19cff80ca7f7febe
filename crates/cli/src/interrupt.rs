//! Ctrl-C, and the operating system's wish that the program ends.

use crate::failure::Failure;
use airlift_wire::ErrorCode;
use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};

/// Wishes that the program ends. From the time that this is made none is missed, and none ends the
/// program by itself.
pub struct Interrupts {
    #[cfg(unix)]
    signals: [Signal; 2],
    #[cfg(windows)]
    signals: (CtrlC, CtrlBreak),
}

impl Interrupts {
    /// Starts to listen. Must be called inside the runtime.
    pub fn new() -> Result<Self, Failure> {
        let signals = listen();
        let signals = signals.map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
        Ok(Self { signals })
    }

    /// Waits for the next wish.
    #[cfg(unix)]
    pub async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    /// Waits for the next wish.
    #[cfg(windows)]
    pub async fn next(&mut self) {
        let (control_c, control_break) = &mut self.signals;
        tokio::select! {
            _ = control_c.recv() => {}
            _ = control_break.recv() => {}
        }
    }
}

#[cfg(unix)]
fn listen() -> io::Result<[Signal; 2]> {
    Ok([
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    ])
}

#[cfg(windows)]
fn listen() -> io::Result<(CtrlC, CtrlBreak)> {
    Ok((ctrl_c()?, ctrl_break()?))
}
