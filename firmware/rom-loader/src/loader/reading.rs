//! Flash on its way to the host, as a stub sends it: a frame, its acknowledgement, the next.

use std::sync::Mutex;

use md5::{Digest, Md5};

use super::{Answer, Refusal, lock};
use crate::flash::{Flash, Kind};
use crate::packet::Request;

/// Most that a stub sends in a frame.
const MAX_FRAME: u32 = 4096;

/// Between a request to read and the digest at its end.
#[derive(Debug)]
pub(crate) struct Reading {
    offset: u32,
    /// Not yet sent.
    remaining: u32,
    length: u32,
    frame: u32,
    digest: Md5,
}

impl Reading {
    pub(crate) fn new(request: &Request) -> Result<Self, Refusal> {
        let frame = request.word(2);
        if frame == 0 || frame > MAX_FRAME {
            return Err(Refusal::Malformed);
        }
        Ok(Self {
            offset: request.word(0),
            remaining: request.word(1),
            length: request.word(1),
            frame,
            digest: Md5::new(),
        })
    }

    /// The first frame; whether nothing is left to do.
    pub(crate) fn first(&mut self, flash: &Mutex<Flash>) -> (Answer, bool) {
        if self.remaining == 0 {
            return (self.end(), true);
        }
        match self.send(flash) {
            Some(answer) => (answer, false),
            None => (Answer::default(), true),
        }
    }

    /// What follows an acknowledgement: the number of bytes that arrived so far. Anything else ends
    /// the reading with the digest of what was sent.
    pub(crate) fn acknowledge(&mut self, frame: &[u8], flash: &Mutex<Flash>) -> (Answer, bool) {
        let acknowledged = frame.try_into().map(u32::from_le_bytes).ok();
        if acknowledged.is_none() || self.remaining == 0 && acknowledged >= Some(self.length) {
            return (self.end(), true);
        }
        if self.remaining == 0 {
            return (Answer::default(), false);
        }
        match self.send(flash) {
            Some(answer) => (answer, false),
            None => (Answer::default(), true),
        }
    }

    /// `None` when the flash ends before: a stub stops without a word.
    fn send(&mut self, flash: &Mutex<Flash>) -> Option<Answer> {
        let length = self.remaining.min(self.frame);
        let mut flash = lock(flash);
        let data = flash.read(Kind::Read, self.offset, length).ok()?.to_vec();
        self.digest.update(&data);
        self.offset += length;
        self.remaining -= length;
        Some(Answer {
            frames: vec![data],
            before: flash.take_work(),
            ..Answer::default()
        })
    }

    fn end(&mut self) -> Answer {
        Answer {
            frames: vec![self.digest.finalize_reset().to_vec()],
            ..Answer::default()
        }
    }
}
