//! A stream that gives up on a peer that does nothing.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::crowd::Used;

/// Fails reads and writes with [`io::ErrorKind::TimedOut`] when too much time has passed since the
/// peer last took a byte.
///
/// Bytes that the peer sends do not count: only a request that is complete makes the server write.
/// So one clock bounds an idle connection, a head that trickles in and a reader that stalls, and
/// costs a request two looks at the time.
pub(crate) struct Bounded<S> {
    stream: S,
    /// Longest wait for something to read.
    request: Duration,
    /// Longest wait for the peer to take something.
    stall: Duration,
    /// When the peer last took a byte; at first, when it connected.
    progress: Instant,
    /// Who is told of it, and since when they count.
    used: Option<(Used, Instant)>,
    /// Wakes the task at the deadline or before: it is moved when it fires, not at every byte.
    timer: Pin<Box<Sleep>>,
}

impl<S> Bounded<S> {
    pub(crate) fn new(stream: S, request: Duration, stall: Duration) -> Self {
        let progress = Instant::now();
        let timer = Box::pin(sleep_until(progress + request));
        Self {
            stream,
            request,
            stall,
            progress,
            used: None,
            timer,
        }
    }

    /// Tells `used` whenever the peer takes a byte.
    pub(crate) fn telling(mut self, used: Used, start: Instant) -> Self {
        self.used = Some((used, start));
        self
    }

    /// The stream is not ready: pending until `limit` after the last progress, then an error.
    fn wait<T>(&mut self, context: &mut Context<'_>, limit: Duration) -> Poll<io::Result<T>> {
        let deadline = self.progress + limit;
        loop {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // A read and a write may wait at once, so it is never moved past this deadline.
            if self.timer.is_elapsed() || self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn written(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Pending => self.wait(context, self.stall),
            Poll::Ready(result) => {
                self.progress = Instant::now();
                if let Some((used, start)) = &self.used {
                    used.at(*start, self.progress);
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => {
                let limit = self.request;
                self.wait(context, limit)
            }
            ready => ready,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{advance, sleep},
    };

    use super::*;

    const REQUEST: Duration = Duration::from_secs(60);
    const STALL: Duration = Duration::from_secs(20);
    /// Bytes that the peer's end holds before the peer has to take some.
    const ROOM: usize = 64;

    fn pair() -> (Bounded<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(ROOM);
        (Bounded::new(ours, REQUEST, STALL), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_given_up_when_the_request_limit_has_passed() {
        let (mut stream, _peer) = pair();
        let start = Instant::now();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), REQUEST);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_in_do_not_buy_time() {
        let (mut stream, mut peer) = pair();
        let start = Instant::now();
        let trickle = tokio::spawn(async move {
            while peer.write_u8(b'G').await.is_ok() {
                sleep(Duration::from_secs(7)).await;
            }
        });
        let error = loop {
            if let Err(error) = stream.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), REQUEST);
        drop(stream);
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn every_byte_taken_buys_time_again() {
        let (mut stream, mut peer) = pair();
        for _ in 0..5 {
            advance(REQUEST - Duration::from_secs(1)).await;
            peer.write_u8(b'?').await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_u8(b'!').await.unwrap();
            peer.read_u8().await.unwrap();
        }
        let start = Instant::now();
        assert!(stream.read_u8().await.is_err());
        assert_eq!(start.elapsed(), REQUEST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_when_the_stall_limit_has_passed() {
        let (mut stream, _peer) = pair();
        let start = Instant::now();
        let error = stream.write_all(&[0; ROOM + 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_that_keeps_reading_gets_everything() {
        const LEN: usize = ROOM * 8;
        let (mut stream, mut peer) = pair();
        let reader = tokio::spawn(async move {
            let mut taken = 0;
            let mut buffer = [0; ROOM];
            while taken < LEN {
                sleep(STALL - Duration::from_secs(1)).await;
                taken += peer.read(&mut buffer).await.unwrap();
            }
        });
        stream.write_all(&[0; LEN]).await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_write_fails_in_time_while_a_read_waits_too() {
        let (stream, _peer) = pair();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let start = Instant::now();
        let read = tokio::spawn(async move { reader.read_u8().await });
        tokio::task::yield_now().await;
        assert!(writer.write_all(&[0; ROOM + 1]).await.is_err());
        assert_eq!(start.elapsed(), STALL);
        read.abort();
    }
}
