//! One module a command, and what they share.

mod demo;
mod devices;
mod history;
mod inspect;
mod key;
mod new_keys;
mod pack;
mod rekey;
mod run;
mod serve;
mod signer;
mod simulate;
mod trust;
mod update;
mod usb;

use crate::args::Command;
use crate::failure::Failure;
use airlift_app::dto::ErrorInfo;
use airlift_app::home::Home;
use airlift_app::{Airlift, Options};
use airlift_wire::ErrorCode;
use std::time::Duration;
use trust::trusted_keys;

/// How long what still runs in the background may take at the end.
const LEFTOVERS: Duration = Duration::from_secs(2);

/// Runs a command and returns its exit code.
pub fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Key(args) => key::run(args),
        Command::Pack(args) => pack::pack(args),
        Command::Resign(args) => pack::resign(args),
        Command::Rekey(args) => block_on(rekey::run(args)),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Verify(args) => inspect::verify(args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Devices(args) => block_on(devices::run(args)),
        Command::Update(args) => block_on(update::run(args)),
        Command::Run(args) => block_on(run::run(args)),
        Command::Serve(args) => serve::run(args),
        Command::Usb(args) => block_on(usb::run(args)),
        Command::History(args) => block_on(history::run(args)),
        Command::Demo => block_on(demo::run()),
    }
}

/// Runs a future to its end, then gives up on what it left behind.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(LEFTOVERS);
    result
}

/// What people call a key, by its id: with the name that it has here, if it is known here.
fn key_name() -> Result<impl Fn(&str) -> String, Failure> {
    let known = trust::known_keys()?;
    Ok(move |id: &str| {
        let key = known.iter().find(|key| key.id == id);
        key.map_or_else(|| id.to_owned(), |key| format!("{id} ({})", key.name))
    })
}

/// Opens the app on `AIRLIFT_HOME`. Jobs that other processes left are theirs or the window's.
async fn open(mdns: bool) -> Result<Airlift, Failure> {
    open_with(|options| options.mdns = mdns).await
}

/// As [`open`], with other options.
async fn open_with(change: impl FnOnce(&mut Options)) -> Result<Airlift, Failure> {
    let mut options = Options::command(Home::locate()?);
    change(&mut options);
    let app = Airlift::open(options).await?;
    app.notices().iter().for_each(warn);
    Ok(app)
}

/// Tells what is wrong and does not keep a command from doing what it was asked.
fn warn(notice: &ErrorInfo) {
    eprintln!("warning: {} [{}]", notice.message, notice.code);
    eprintln!("warning: {}", notice.help);
}
