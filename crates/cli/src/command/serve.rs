//! `airlift serve`

mod local;

use crate::args::Serve;
use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_release::{Release, UnverifiedRelease};
use airlift_serve::{DEFAULT_PORT, Limits, MemoryStore, Server, bind, bind_from, router};
use airlift_wire::ErrorCode;
use std::net::TcpListener;
use std::sync::Arc;

pub fn run(args: Serve) -> Result<u8, Failure> {
    let release = UnverifiedRelease::read_file(&args.release)?.verify(&super::trusted_keys()?)?;
    let store = Arc::new(MemoryStore::default());
    let parts = release.parts().map(|(_, part)| part.bytes().clone());
    store.insert(release.envelope().clone(), parts)?;
    let listeners = match args.bind {
        Some(address) => vec![bind(address)?],
        None => on_local_addresses()?,
    };
    let servers = listeners
        .into_iter()
        .map(|listener| Server::start(listener, router(store.clone()), Limits::default()))
        .collect::<Result<Vec<_>, _>>()?;
    super::block_on(async {
        // Before anything is printed: who waits for the lines may end this at once.
        let mut interrupts = Interrupts::new()?;
        announce(&release, &servers)?;
        interrupts.next().await;
        for server in servers {
            server.stop().await;
        }
        Ok(exit::DONE)
    })
}

fn announce(release: &Release, servers: &[Server]) -> Result<(), Failure> {
    let manifest = release.manifest();
    let (product, version) = (&manifest.product, &manifest.version);
    output::line(&format!("Serving {product} {version} until Ctrl-C:"))?;
    for server in servers {
        let address = server.local_addr();
        output::line(&format!("http://{address}/v1/releases/{}", release.id()))?;
    }
    Ok(())
}

/// A listener for each address of this computer that devices on its networks can reach.
fn on_local_addresses() -> Result<Vec<TcpListener>, Failure> {
    let addresses = local::addresses()
        .map_err(|error| Failure::new(ErrorCode::CannotListen, error.to_string()))?;
    for address in &addresses.public {
        eprintln!("note: not on {address}, which the Internet may reach; --bind asks for it");
    }
    let mut listeners = Vec::new();
    let mut refused = None;
    for address in addresses.local {
        match bind_from(address, DEFAULT_PORT) {
            Ok(listener) => listeners.push(listener),
            Err(error) => {
                eprintln!("warning: {error}");
                refused.get_or_insert(error);
            }
        }
    }
    match refused {
        Some(error) if listeners.is_empty() => Err(error.into()),
        None if listeners.is_empty() => {
            let text = "this computer has no address on a local network";
            Err(Failure::new(ErrorCode::CannotListen, text))
        }
        _ => Ok(listeners),
    }
}
