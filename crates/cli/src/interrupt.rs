//! Ctrl-C, and the operating system's wish that the program ends.

/// Waits until somebody wants the program to end: Ctrl-C, or `SIGTERM` where there is such a thing.
///
/// Cancel-safe, but a signal that comes while nobody waits is seen only by those who asked before:
/// keep one future for the whole of a command.
pub async fn requested() {
    tokio::select! {
        () = control_c() => {}
        () = terminate() => {}
    }
}

async fn control_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler Ctrl-C ends the program the hard way, which is as good.
        std::future::pending().await
    }
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminate() {
    std::future::pending().await
}
