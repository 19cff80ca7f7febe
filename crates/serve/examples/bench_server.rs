//! Serves one file as a blob on a free port of loopback, prints the address, ends with its input's
//! end or by a signal. The benchmark in `tests/bench/serve` runs it.

use std::{env, error::Error, fs, net::Ipv4Addr, sync::Arc, thread};

use airlift_serve::{Limits, MemoryStore, Server, bind, router};

fn main() -> Result<(), Box<dyn Error>> {
    let part = env::args_os().nth(1).ok_or("usage: bench_server FILE")?;
    let store = Arc::new(MemoryStore::default());
    store.insert("not signed".into(), [fs::read(part)?.into()])?;
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let server = Server::start(listener, router(store), Limits::default())?;
    println!("{}", server.local_addr());
    loop {
        thread::park();
    }
}
