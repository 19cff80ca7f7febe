//! `airlift serve`

use crate::args::Serve;
use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_app::plain::PlainBoards;
use airlift_app::server::local;
use airlift_release::{Release, UnverifiedRelease};
use airlift_serve::{
    DEFAULT_PORT, Limits, MemoryStore, Observations, PlainOffer, PlainRelease, PlainRequest,
    Server, bind, bind_from, observer, router,
};
use airlift_wire::ErrorCode;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many requests of plain clients may wait to be counted.
const REPORTS: usize = 4096;
/// How often boards that went silent are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

pub fn run(args: Serve) -> Result<u8, Failure> {
    let release = UnverifiedRelease::read_file(&args.release)?.verify(&super::trusted_keys()?)?;
    let store = Arc::new(MemoryStore::default());
    let parts = release.parts().map(|(_, part)| part.bytes().clone());
    store.insert(release.envelope().clone(), parts)?;
    let listeners = match args.bind {
        Some(address) => vec![bind(address)?],
        None => on_local_addresses()?,
    };
    let plain = args.plain.then(|| Plain::new(&release)).transpose()?;
    let servers = listeners
        .into_iter()
        .map(|listener| {
            let mut routes = router(store.clone());
            if let Some(plain) = &plain {
                let address = listener
                    .local_addr()
                    .map_err(|error| Failure::new(ErrorCode::CannotListen, error.to_string()))?;
                routes = routes.merge(plain.offer.router(address));
            }
            Ok(Server::start(listener, routes, Limits::default())?)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    super::block_on(async {
        // Before anything is printed: who waits for the lines may end this at once.
        let mut interrupts = Interrupts::new()?;
        announce(&release, &servers, args.plain)?;
        tokio::select! {
            () = interrupts.next() => {}
            result = tell(plain) => result?,
        }
        for server in servers {
            server.stop().await;
        }
        Ok(exit::DONE)
    })
}

/// The release for boards that check no signature, and what is seen of them.
struct Plain {
    offer: PlainOffer,
    heard: Observations<PlainRequest>,
    boards: PlainBoards,
}

impl Plain {
    fn new(release: &Release) -> Result<Self, Failure> {
        let part = |part: Option<&airlift_release::Part>| part.map(|part| part.bytes().clone());
        let plain = PlainRelease::new(release.id(), part(release.app()), part(release.files()))
            .map_err(|error| Failure::new(error.code(), error.to_string()))?;
        eprintln!(
            "warning: --plain has no signature: anyone on the network can replace the code of the \
             boards that use it"
        );
        let (observer, heard) = observer(REPORTS);
        let (offer, mut boards) = (PlainOffer::observed(observer), PlainBoards::default());
        let manifest = release.manifest();
        boards.serve(Some((&plain, &manifest.product, &manifest.version)));
        offer.set(Some(plain));
        Ok(Self {
            offer,
            heard,
            boards,
        })
    }
}

/// Prints a line for each thing that boards of the plain protocol are seen to do; never ends.
async fn tell(plain: Option<Plain>) -> Result<(), Failure> {
    let Some(Plain {
        mut heard,
        mut boards,
        ..
    }) = plain
    else {
        return std::future::pending().await;
    };
    let start = Instant::now();
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let request = tokio::select! {
            request = heard.next() => request,
            _ = look.tick() => None,
        };
        let now = start.elapsed().as_secs_f64();
        if let Some(request) = request {
            boards.heard(&request, now);
        }
        for board in boards.news(now) {
            output::line(&format!("{}: {}", board.address, board.summary))?;
        }
    }
}

fn announce(release: &Release, servers: &[Server], plain: bool) -> Result<(), Failure> {
    let manifest = release.manifest();
    let (product, version) = (&manifest.product, &manifest.version);
    output::line(&format!("Serving {product} {version} until Ctrl-C:"))?;
    for server in servers {
        let address = server.local_addr();
        output::line(&format!("http://{address}/v1/releases/{}", release.id()))?;
        if plain {
            output::line(&format!("http://{address}/updatemeta"))?;
        }
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
