//! Writing answers.

use super::json::Fixed;
use crate::event::Event;
use crate::platform::{Connection, NetError};
use airlift_wire::ErrorCode;
use core::fmt::Write as _;

/// An answer that is an error.
pub(super) struct Refusal {
    pub status: &'static str,
    pub code: ErrorCode,
    pub message: &'static str,
}

pub(super) const fn refuse(
    status: &'static str,
    code: ErrorCode,
    message: &'static str,
) -> Refusal {
    Refusal {
        status,
        code,
        message,
    }
}

pub(super) async fn line<C: Connection>(connection: &mut C, event: &Event) -> Result<(), NetError> {
    let mut text = Fixed::<320>::new();
    event.write_json(&mut text).map_err(|_| NetError)?;
    text.write_str("\n").map_err(|_| NetError)?;
    connection.write_all(text.bytes()).await
}

pub(super) async fn stream_head<C: Connection>(connection: &mut C) -> Result<(), NetError> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
                Cache-Control: no-store\r\nConnection: close\r\n\r\n";
    connection.write_all(head.as_bytes()).await
}

pub(super) async fn send<C: Connection>(
    connection: &mut C,
    status: &str,
    body: &[u8],
) -> Result<(), NetError> {
    send_head(connection, status, body.len()).await?;
    connection.write_all(body).await
}

pub(super) async fn send_head<C: Connection>(
    connection: &mut C,
    status: &str,
    len: usize,
) -> Result<(), NetError> {
    let mut head = Fixed::<192>::new();
    write!(
        head,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    .map_err(|_| NetError)?;
    connection.write_all(head.bytes()).await
}

/// Sends part of a log, and where it begins.
pub(super) async fn send_text<C: Connection>(
    connection: &mut C,
    start: u64,
    lines: &[u8],
) -> Result<(), NetError> {
    let mut head = Fixed::<224>::new();
    let len = lines.len();
    write!(
        head,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len}\r\n\
         Airlift-Log-Start: {start}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    .map_err(|_| NetError)?;
    connection.write_all(head.bytes()).await?;
    connection.write_all(lines).await
}

pub(super) async fn error<C: Connection>(
    connection: &mut C,
    refusal: Refusal,
) -> Result<(), NetError> {
    let mut body = Fixed::<256>::new();
    let Refusal {
        status,
        code,
        message,
    } = refusal;
    write!(body, "{{\"code\":\"{code}\",\"message\":\"{message}\"}}").map_err(|_| NetError)?;
    send(connection, status, body.bytes()).await
}

pub(super) async fn busy<C: Connection>(
    connection: &mut C,
    job: &super::Job,
) -> Result<(), NetError> {
    let mut body = Fixed::<320>::new();
    let (release, by) = (job.release, job.by.ip());
    write!(
        body,
        "{{\"code\":\"busy\",\"message\":\"the device is being updated by {by}\",\
         \"release\":\"{release}\",\"by\":\"{by}\"}}"
    )
    .map_err(|_| NetError)?;
    send(connection, "409 Conflict", body.bytes()).await
}
