//! A board that runs: its log, line by line.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use airlift_provision::Credentials;
use tokio::sync::oneshot;

use crate::connect::reset_lines;
use crate::error::Error;
use crate::improv::{Improv, Scanner};
use crate::line::{BASE_BAUD, Line as _, Pulse, SerialLine};
use crate::link::After;
use crate::loader::pulse;
use crate::session::{ConnectOptions, Session};

mod line;
mod symbols;
pub(crate) mod text;

pub use line::Kind;
pub use symbols::Symbols;

/// How long the line is listened to before orders are looked at.
const LISTEN: Duration = Duration::from_millis(50);
/// How long the rest of a line may take, such as of a prompt that has no end.
const UNFINISHED: Duration = Duration::from_millis(500);
/// How often a port that is gone is looked for.
const LOOK: Duration = Duration::from_millis(200);
/// How long a board that takes no bytes is waited for.
const SEND_WAIT: Duration = Duration::from_secs(2);
/// How long sending an order may wait for the thread.
const ANSWER: Duration = Duration::from_secs(10);

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text, without colours and control characters.
    pub text: String,
    /// What it is.
    pub kind: Kind,
    /// What it means: why the board was reset, or what the addresses are, a line each.
    pub notes: Vec<String>,
}

/// What addresses mean, a line each.
type Explain = Box<dyn Fn(u32) -> Vec<String> + Send>;

/// Makes lines of bytes. Pure: what arrives in, lines out.
#[derive(Default)]
pub struct Lines {
    text: text::Text,
    explain: Option<Explain>,
}

impl Lines {
    /// With the program that runs, if its addresses are to be explained.
    pub fn new(symbols: Option<Symbols>) -> Self {
        let explain =
            symbols.map(|symbols| -> Explain { Box::new(move |address| symbols.at(address)) });
        Self {
            text: text::Text::default(),
            explain,
        }
    }

    /// Takes bytes, and calls `on_line` for each line that they end.
    pub fn take(&mut self, bytes: &[u8], on_line: &mut dyn FnMut(Line)) {
        for byte in bytes {
            if let Some((text, colour)) = self.text.take(*byte) {
                on_line(self.line(text, colour));
            }
        }
    }

    /// The line that was begun, if there is one.
    pub fn flush(&mut self) -> Option<Line> {
        let (text, colour) = self.text.flush()?;
        Some(self.line(text, colour))
    }

    fn line(&mut self, text: String, colour: text::Colour) -> Line {
        let kind = line::kind(&text, colour);
        let mut notes: Vec<String> = Vec::new();
        notes.extend(line::reset_reason(&text).map(str::to_string));
        if let Some(explain) = &self.explain {
            let addresses = line::addresses(&text);
            // Debug information that makes no sense may make its reader panic; the log goes on.
            let explained = catch_unwind(AssertUnwindSafe(|| -> Vec<String> {
                addresses.into_iter().flat_map(explain).collect()
            }));
            match explained {
                Ok(explained) => notes.extend(explained.iter().map(|note| text::printable(note))),
                Err(_) => {
                    self.explain = None;
                    let note =
                        "The ELF file cannot explain this: its debug information is damaged.";
                    notes.push(note.to_owned());
                }
            }
        }
        Line { text, kind, notes }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let explained = self.explain.is_some();
        f.debug_struct("Lines")
            .field("text", &self.text)
            .field("explained", &explained)
            .finish()
    }
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct MonitorOptions {
    /// Name of the port, and how its board is reset.
    pub port: ConnectOptions,
    /// Rate of the application's log.
    pub baud: u32,
    /// The ELF of the program that runs, to explain addresses.
    pub elf: Option<PathBuf>,
}

impl MonitorOptions {
    /// At the usual rate, without an ELF.
    pub fn new(port: ConnectOptions) -> Self {
        Self {
            port,
            baud: BASE_BAUD,
            elf: None,
        }
    }
}

/// What a monitor sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A line.
    Line(Line),
    /// The port is gone; it is looked for.
    Lost(Error),
    /// It is back.
    Back,
}

type OnEvent = Box<dyn FnMut(Event) + Send>;
type Answer<T> = oneshot::Sender<Result<T, Error>>;

enum Order {
    Reset(Answer<()>),
    Send(Vec<u8>, Answer<()>),
    Provision(Box<Improv>, Answer<String>),
    Stop(oneshot::Sender<()>),
}

/// Listens to a board until it is stopped or dropped.
#[derive(Debug)]
pub struct Monitor {
    orders: Sender<Order>,
}

impl Monitor {
    /// Opens a port and listens. The board is not reset: see [`Monitor::reset`].
    ///
    /// # Errors
    /// [`Error::NoSuchPort`], [`Error::PortBusy`], [`Error::PortDenied`]; [`Error::BadElf`].
    pub async fn start(
        options: MonitorOptions,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Error> {
        Self::spawn(options, None, Box::new(on_event)).await
    }

    /// Ends a session, starts what is in flash and listens from its first byte on.
    ///
    /// # Errors
    /// Those of [`Session::close`]; the port is closed then.
    pub async fn after(
        session: Session,
        options: MonitorOptions,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Error> {
        let line = session.into_parts(After::Run).await?;
        Self::spawn(options, Some(line), Box::new(on_event)).await
    }

    async fn spawn(
        options: MonitorOptions,
        line: Option<(SerialLine, Vec<u8>)>,
        on_event: OnEvent,
    ) -> Result<Self, Error> {
        let (orders, inbox) = channel();
        let (reply, answer) = oneshot::channel();
        let path = options.port.path.clone();
        std::thread::Builder::new()
            .name("usb-monitor".into())
            .spawn(move || match Thread::new(options, line, on_event) {
                Ok(thread) => {
                    let _unheard = reply.send(Ok(()));
                    thread.run(&inbox);
                }
                Err(error) => drop(reply.send(Err(error))),
            })
            .map_err(|error| Error::io(&path, &error))?;
        wait(answer, ANSWER).await??;
        Ok(Self { orders })
    }

    /// Resets the board, so that it starts anew.
    ///
    /// # Errors
    /// [`Error::NoReset`] when its port has no lines for that.
    pub async fn reset(&self) -> Result<(), Error> {
        self.ask(Order::Reset, ANSWER).await
    }

    /// Sends bytes to the board.
    ///
    /// # Errors
    /// [`Error::Unplugged`], [`Error::LinkLost`].
    pub async fn send(&self, bytes: Vec<u8>) -> Result<(), Error> {
        self.ask(|reply| Order::Send(bytes, reply), ANSWER).await
    }

    /// Gives the board its Wi-Fi by Improv Serial; returns where it is reached then, as far as it
    /// says. It may take a while to start, and to join.
    ///
    /// # Errors
    /// [`Error::BadCredentials`]; [`Error::NoImprov`] when nothing answers within `start`;
    /// [`Error::WifiRefused`] when it could not join, or has not within `join`.
    pub async fn provision(
        &self,
        ssid: &str,
        password: &str,
        start: Duration,
        join: Duration,
    ) -> Result<String, Error> {
        let credentials = Credentials::new(ssid.as_bytes(), password.as_bytes());
        let credentials = credentials.ok_or(Error::BadCredentials)?;
        let improv = Box::new(Improv::new(&credentials, start, join));
        let order = |reply| Order::Provision(improv, reply);
        self.ask(order, start + join + ANSWER).await
    }

    /// Closes the port.
    pub async fn stop(self) {
        let (reply, answer) = oneshot::channel();
        if self.orders.send(Order::Stop(reply)).is_ok() {
            let _ended = wait(answer, ANSWER).await;
        }
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(Answer<T>) -> Order,
        limit: Duration,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.orders.send(order(reply));
        sent.map_err(|_| Error::lost("the monitor has ended"))?;
        wait(answer, limit).await?
    }
}

async fn wait<T>(answer: oneshot::Receiver<T>, limit: Duration) -> Result<T, Error> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(Error::lost("the monitor has ended")),
        Err(_) => Err(Error::lost("the system does not return from the port")),
    }
}

struct Thread {
    options: MonitorOptions,
    line: SerialLine,
    lines: Lines,
    scanner: Scanner,
    improv: Option<(Box<Improv>, Answer<String>)>,
    on_event: OnEvent,
    /// When something arrived last.
    heard: Instant,
}

impl Thread {
    fn new(
        options: MonitorOptions,
        line: Option<(SerialLine, Vec<u8>)>,
        on_event: OnEvent,
    ) -> Result<Self, Error> {
        let symbols = options.elf.as_deref().map(Symbols::open).transpose()?;
        let (line, arrived) = match line {
            Some((mut line, arrived)) => {
                line.set_baud(options.baud)?;
                (line, arrived)
            }
            None => (open(&options)?, Vec::new()),
        };
        let mut thread = Self {
            options,
            line,
            lines: Lines::new(symbols),
            scanner: Scanner::default(),
            improv: None,
            on_event,
            heard: Instant::now(),
        };
        thread.hear(&arrived, Instant::now());
        Ok(thread)
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            match inbox.try_recv() {
                Ok(Order::Stop(done)) => {
                    drop(self);
                    let _unheard = done.send(());
                    return;
                }
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            if let Err(error) = self.listen() {
                (self.on_event)(Event::Lost(error.clone()));
                if let Some((_, reply)) = self.improv.take() {
                    let _unheard = reply.send(Err(error));
                }
                match self.find(inbox) {
                    Found::Back => (self.on_event)(Event::Back),
                    Found::Stopped(done) => {
                        drop(self);
                        let _unheard = done.map(|done| done.send(()));
                        return;
                    }
                }
            }
        }
    }

    fn listen(&mut self) -> Result<(), Error> {
        let mut bytes = [0; 4096];
        let count = self.line.receive(&mut bytes, LISTEN)?;
        let now = Instant::now();
        if count > 0 {
            self.heard = now;
            self.hear(bytes.get(..count).unwrap_or_default(), now);
        } else if now.duration_since(self.heard) >= UNFINISHED
            && let Some(line) = self.lines.flush()
        {
            (self.on_event)(Event::Line(line));
        }
        self.speak(now)
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        let Self {
            scanner,
            lines,
            improv,
            on_event,
            ..
        } = self;
        for byte in bytes {
            let Some(packet) = scanner.take(*byte, |log| {
                lines.take(log, &mut |line| on_event(Event::Line(line)));
            }) else {
                continue;
            };
            let Some((running, _)) = improv else { continue };
            if let Some(end) = running.hear(&packet, now)
                && let Some((_, reply)) = improv.take()
            {
                let _unheard = reply.send(end);
            }
        }
    }

    /// What Improv has to say now.
    fn speak(&mut self, now: Instant) -> Result<(), Error> {
        let Some((improv, _)) = &mut self.improv else {
            return Ok(());
        };
        match improv.say(now) {
            Ok(Some(packet)) => self.line.send(&packet, SEND_WAIT),
            Ok(None) => Ok(()),
            Err(error) => {
                if let Some((_, reply)) = self.improv.take() {
                    let _unheard = reply.send(Err(error));
                }
                Ok(())
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Reset(reply) => {
                let lines = reset_lines(&self.options.port);
                let reset = match lines {
                    lines if !lines.help() => Err(Error::NoReset {
                        path: self.options.port.path.clone(),
                    }),
                    lines => pulse(&mut self.line, lines),
                };
                let _unheard = reply.send(reset);
            }
            Order::Send(bytes, reply) => {
                let _unheard = reply.send(self.line.send(&bytes, SEND_WAIT));
            }
            Order::Provision(improv, reply) => self.improv = Some((improv, reply)),
            // Where it is received.
            Order::Stop(_) => {}
        }
    }

    /// Until the port is back.
    fn find(&mut self, inbox: &Receiver<Order>) -> Found {
        let gone = || Error::Unplugged {
            path: self.options.port.path.clone(),
        };
        loop {
            match inbox.recv_timeout(LOOK) {
                Ok(Order::Stop(done)) => return Found::Stopped(Some(done)),
                Ok(Order::Reset(reply) | Order::Send(_, reply)) => {
                    let _unheard = reply.send(Err(gone()));
                }
                Ok(Order::Provision(_, reply)) => {
                    let _unheard = reply.send(Err(gone()));
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    return Found::Stopped(None);
                }
            }
            if let Ok(line) = open(&self.options) {
                self.line = line;
                self.scanner = Scanner::default();
                return Found::Back;
            }
        }
    }
}

enum Found {
    Back,
    Stopped(Option<oneshot::Sender<()>>),
}

fn open(options: &MonitorOptions) -> Result<SerialLine, Error> {
    let mut line = SerialLine::open(&options.port.path, Pulse::default())?;
    line.set_baud(options.baud)?;
    // Released: some systems hold them when they open a port, and that may hold the board in reset.
    if let Err(error) = line.set_lines(false, false) {
        tracing::debug!(%error, "monitor without lines");
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_when_its_symbols_cannot_be_read() {
        let mut lines = Lines {
            text: text::Text::default(),
            explain: Some(Box::new(|address| {
                assert_ne!(address, 0x4200_0002, "damaged");
                vec!["a\u{9b}31m function".to_owned()]
            })),
        };
        let mut found = Vec::new();
        let log = b"Backtrace: 0x42000001\nBacktrace: 0x42000002\nBacktrace: 0x42000001\n";
        lines.take(log, &mut |line| found.push(line));
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].notes, ["a\u{fffd}31m function"]);
        assert!(found[1].notes[0].contains("damaged"), "{found:?}");
        assert!(found[2].notes.is_empty(), "without symbols");
    }

    #[test]
    fn a_crash_is_told_with_its_reason() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let log = b"hello\r\nrst:0x7 (TG0WDT_SYS_RST),boot:0x8\r\npanicked at x\r\n> ";
        lines.take(log, &mut |line| found.push(line));
        found.extend(lines.flush());
        let kinds: Vec<_> = found.iter().map(|line| line.kind.as_str()).collect();
        assert_eq!(kinds, ["log", "reset", "panic", "log"]);
        assert_eq!(
            found[1].notes,
            ["Started because: a watchdog bit; it hung."]
        );
        assert_eq!(found[3].text, "> ");
        assert_eq!(lines.flush(), None);
    }
}
