//! Frames on a serial line (RFC 1055), as the loaders of Espressif's chips use them.

const END: u8 = 0xC0;
const ESC: u8 = 0xDB;
const ESC_END: u8 = 0xDC;
const ESC_ESC: u8 = 0xDD;
/// Longest frame that is taken: a block of flash has 4096 bytes. Longer ones are noise.
const MAX_FRAME: usize = 8 * 1024;

/// Appends `payload` as a frame.
pub(crate) fn encode(payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + payload.len() / 64 + 2);
    out.push(END);
    for &byte in payload {
        match byte {
            END => out.extend([ESC, ESC_END]),
            ESC => out.extend([ESC, ESC_ESC]),
            _ => out.push(byte),
        }
    }
    out.push(END);
}

/// Finds frames in what arrives. What is between two ends is a frame, noise included: whoever asks
/// for one knows what it looks like.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    frame: Vec<u8>,
    escaped: bool,
    /// Whether this frame is too long, or has an escape that there is none of.
    spoiled: bool,
    complete: bool,
}

impl Decoder {
    /// Takes a byte; `true` when it completes a frame, which [`Decoder::frame`] is until the next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        if self.complete {
            self.clear();
        }
        if byte == END {
            self.complete = !self.frame.is_empty() && !self.spoiled && !self.escaped;
            if !self.complete {
                self.clear();
            }
            return self.complete;
        }
        let byte = match (self.escaped, byte) {
            (false, ESC) => {
                self.escaped = true;
                return false;
            }
            (false, byte) => byte,
            (true, ESC_END) => END,
            (true, ESC_ESC) => ESC,
            (true, _) => {
                self.spoiled = true;
                return false;
            }
        };
        self.escaped = false;
        if self.frame.len() < MAX_FRAME {
            self.frame.push(byte);
        } else {
            self.spoiled = true;
        }
        false
    }

    /// The frame that is complete.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Forgets what has arrived.
    pub(crate) fn clear(&mut self) {
        self.frame.clear();
        self.escaped = false;
        self.spoiled = false;
        self.complete = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for byte in bytes {
            if decoder.take(*byte) {
                found.push(decoder.frame().to_vec());
            }
        }
        found
    }

    #[test]
    fn the_example_of_the_rfc() {
        let mut out = Vec::new();
        encode(&[1, END, 2, ESC, 3], &mut out);
        assert_eq!(out, [END, 1, ESC, ESC_END, 2, ESC, ESC_ESC, 3, END]);
    }

    #[test]
    fn a_frame_that_is_too_long_or_ill_escaped_is_none_and_the_next_one_is() {
        let mut bytes = vec![7; MAX_FRAME + 1];
        bytes.extend([END, ESC, 7, END, ESC, END, 8, END]);
        assert_eq!(frames(&bytes), [[8]]);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(frame in proptest::collection::vec(any::<u8>(), 1..300)) {
            let mut bytes = Vec::new();
            encode(&frame, &mut bytes);
            encode(&frame, &mut bytes);
            prop_assert_eq!(frames(&bytes), vec![frame.clone(), frame]);
        }

        #[test]
        fn a_frame_after_noise_is_found(
            noise in proptest::collection::vec(any::<u8>(), 0..300),
            frame in proptest::collection::vec(any::<u8>(), 1..300),
        ) {
            let mut bytes = noise;
            encode(&frame, &mut bytes);
            let found = frames(&bytes);
            prop_assert_eq!(found.last(), Some(&frame));
        }
    }
}
