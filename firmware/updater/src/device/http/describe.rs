//! `GET /v1/device`: what the device says of itself.

use super::STARTING;
use crate::device::answer::{Refusal, send_head};
use crate::device::json::{Json, Measure, Window};
use crate::device::request::MAX_REQUEST_HEAD;
use crate::device::vitals::Moment;
use crate::device::{Device, Status};
use crate::platform::{Connection, NetError};
use airlift_wire::state::Cause;

impl Device {
    /// Sends what the device says of itself, piece by piece: all of it never is in memory. Each piece
    /// is cut out of the whole text, which is written anew for it.
    pub(super) async fn device<C: Connection>(
        &self,
        connection: &mut C,
        moment: Moment,
        piece: &mut [u8; MAX_REQUEST_HEAD],
    ) -> Result<Result<(), Refusal>, NetError> {
        if self.info.borrow().as_ref().is_none() {
            return Ok(Err(STARTING));
        }
        let whole = self.describe(piece, 0, &moment)?;
        send_head(connection, "200 OK", whole.len).await?;
        let mut at = 0;
        while at < whole.len {
            // Half of one answer and half of another is neither.
            if self.describe(piece, at, &moment)? != whole {
                return Err(NetError);
            }
            let n = (whole.len - at).min(piece.len());
            connection.write_all(&piece[..n]).await?;
            at += n;
        }
        Ok(Ok(()))
    }

    /// Writes what the device says of itself, of which the bytes from `start` on land in `piece`.
    fn describe(
        &self,
        piece: &mut [u8],
        start: usize,
        moment: &Moment,
    ) -> Result<Measure, NetError> {
        let mut window = Window::new(piece, start);
        self.write_json(&mut Json(&mut window), moment)
            .map_err(|_| NetError)?;
        Ok(window.measure)
    }

    fn write_json<W: core::fmt::Write>(
        &self,
        json: &mut Json<'_, W>,
        moment: &Moment,
    ) -> core::fmt::Result {
        let info = self.info.borrow();
        let info = info.as_ref().ok_or(core::fmt::Error)?;
        let job = self.job.borrow();
        info.write_json(json)?;
        json.raw(",\"updater\":{\"state\":")?;
        if job.status == Status::Running {
            json.raw("\"updating\",\"release\":")?;
            json.digest(Some(job.release))?;
            json.format(format_args!(",\"by\":\"{}\"}}", job.by.ip()))?;
        } else {
            json.raw(if info.trial {
                "\"trial\"}"
            } else {
                "\"idle\"}"
            })?;
        }
        let now_ms = moment.now_ms;
        self.freshness_json(info.freshness_required, now_ms, json)?;
        json.raw(",\"reset_reason\":")?;
        match moment.reset_reason {
            Cause::None => json.raw("null")?,
            cause => json.string(cause.name())?,
        }
        match moment.signal_dbm {
            None => json.raw(",\"signal_dbm\":null")?,
            Some(dbm) => json.format(format_args!(",\"signal_dbm\":{dbm}"))?,
        }
        let free_memory = moment.free_memory;
        json.format(format_args!(
            ",\"uptime_ms\":{now_ms},\"free_memory\":{free_memory}}}"
        ))
    }

    /// What is known of the newest release, and the last offer that was refused for its age.
    fn freshness_json<W: core::fmt::Write>(
        &self,
        required: bool,
        now_ms: u64,
        json: &mut Json<'_, W>,
    ) -> core::fmt::Result {
        json.format(format_args!(
            ",\"freshness\":{{\"required\":{required},\"newest\":"
        ))?;
        json.number(self.newest(now_ms).map(|newest| newest.sequence))?;
        json.raw("},\"stale_offer\":")?;
        let Some(offer) = self.stale_offer() else {
            return json.raw("null");
        };
        json.raw("{\"release\":")?;
        json.digest(Some(offer.release))?;
        json.format(format_args!(",\"offered\":{},\"newest\":", offer.offered))?;
        json.number(offer.newest)?;
        let (by, at_ms) = (offer.by, offer.at_ms);
        json.format(format_args!(",\"by\":\"{by}\",\"at_ms\":{at_ms}}}"))
    }
}
