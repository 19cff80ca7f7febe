//! `GET /v1/nonce` and `POST /v1/freshness`: which release is the newest.

use super::{REQUEST_MS, STARTING};
use crate::Failure;
use crate::device::answer::{Refusal, refuse, send};
use crate::device::json::{Fixed, Json};
use crate::device::request::Request;
use crate::device::{Device, FRESH_MS, may_check};
use crate::platform::{Clock, Connection, InTime as _, NetError, within};
use airlift_wire::ErrorCode;
use airlift_wire::limits::MAX_STATEMENT;

const TOO_MANY_STATEMENTS: Refusal = refuse(
    "429 Too Many Requests",
    ErrorCode::RateLimited,
    "five statements were checked in the last minute",
);

impl Device {
    /// A nonce for a statement of freshness.
    pub(super) async fn nonce<C: Connection>(
        &self,
        connection: &mut C,
        clock: &impl Clock,
    ) -> Result<Result<(), Refusal>, NetError> {
        let Some(nonce) = self.with_freshness(|f| f.give(clock.now_ms())) else {
            return Ok(Err(STARTING));
        };
        let mut body = Fixed::<96>::new();
        Json(&mut body)
            .format(format_args!("{{\"schema\":1,\"nonce\":\"{nonce}\"}}"))
            .map_err(|_| NetError)?;
        send(connection, "200 OK", body.bytes()).await.map(Ok)
    }

    /// Receives a statement which release is the newest.
    pub(super) async fn statement<C: Connection>(
        &self,
        connection: &mut C,
        request: &Request<'_>,
        early: &[u8],
        clock: &impl Clock,
    ) -> Result<Result<(), Refusal>, NetError> {
        let len = match request.content_length {
            Some(len @ 1..=MAX_STATEMENT) => len,
            _ => {
                let message = "a statement has 1 to 320 bytes and a Content-Length";
                let status = "413 Content Too Large";
                return Ok(Err(refuse(status, ErrorCode::BadRequest, message)));
            }
        };
        if !request.is_cose {
            let message = "a statement is sent as application/cose";
            let status = "415 Unsupported Media Type";
            return Ok(Err(refuse(status, ErrorCode::BadRequest, message)));
        }
        let mut message = [0; MAX_STATEMENT];
        message[..early.len()].copy_from_slice(early);
        let receiving = async {
            let mut got = early.len();
            while got < len {
                let n = connection.read(&mut message[got..len]).await?;
                if n == 0 || n > len - got {
                    return Err(NetError);
                }
                got += n;
            }
            Ok(())
        };
        within(clock, REQUEST_MS, receiving)
            .await
            .in_time()
            .ok_or(NetError)??;
        let now_ms = clock.now_ms();
        let (trust, product, id) = {
            let info = self.info.borrow();
            let Some(info) = info.as_ref() else {
                return Ok(Err(STARTING));
            };
            (info.trust, info.product, info.id)
        };
        let Some(trust) = trust else {
            let message = "the device was given no keys";
            return Ok(Err(refuse("403 Forbidden", ErrorCode::NoTrust, message)));
        };
        if !may_check(&self.statement_checks, now_ms) {
            return Ok(Err(TOO_MANY_STATEMENTS));
        }
        let (product, id) = (product.as_str(), id.as_str());
        let taken = self.with_freshness(|f| f.take(&message[..len], &trust, product, id, now_ms));
        match taken {
            Ok(newest) => {
                let left = FRESH_MS.saturating_sub(now_ms.saturating_sub(newest.at_ms));
                let mut body = Fixed::<96>::new();
                Json(&mut body)
                    .format(format_args!(
                        "{{\"schema\":1,\"newest\":{},\"fresh_ms\":{left}}}",
                        newest.sequence
                    ))
                    .map_err(|_| NetError)?;
                send(connection, "200 OK", body.bytes()).await.map(Ok)
            }
            Err(Failure { code, message }) => {
                let status = match code {
                    ErrorCode::BadStatement => "400 Bad Request",
                    _ => "403 Forbidden",
                };
                Ok(Err(refuse(status, code, message)))
            }
        }
    }
}
