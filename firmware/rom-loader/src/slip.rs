//! SLIP framing (RFC 1055) as the ESP loaders use it: a frame begins *and* ends with `END`.

/// Begins and ends a frame.
pub const END: u8 = 0xC0;
const ESC: u8 = 0xDB;
const ESC_END: u8 = 0xDC;
const ESC_ESC: u8 = 0xDD;

/// Longest frame that is taken: the largest data block of any tool, with room for its headers.
pub const MAX_FRAME: usize = 0x1_0100;

/// What the bytes of a frame were before framing, with both ends.
pub fn encode(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + payload.len() / 64 + 2);
    frame.push(END);
    for &byte in payload {
        match byte {
            END => frame.extend([ESC, ESC_END]),
            ESC => frame.extend([ESC, ESC_ESC]),
            _ => frame.push(byte),
        }
    }
    frame.push(END);
    frame
}

/// Finds frames in what arrives. What is between frames, and frames that are malformed or too long,
/// are skipped, as the ROM does.
#[derive(Debug, Default)]
pub struct Decoder {
    frame: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Outside of a frame, or in one that is skipped.
    #[default]
    Outside,
    Inside,
    Escaped,
}

impl Decoder {
    /// Takes a byte; `Some` when it ends a frame that is not empty.
    pub fn push(&mut self, byte: u8) -> Option<Vec<u8>> {
        match (self.state, byte) {
            // The end of a skipped frame looks like the start of one, and two ends in a row are an
            // empty frame: both leave the decoder at the start of the next.
            (State::Outside, END) | (State::Escaped, END) => {
                self.frame.clear();
                self.state = State::Inside;
            }
            (State::Outside, _) => {}
            (State::Inside, END) if self.frame.is_empty() => {}
            (State::Inside, END) => {
                self.state = State::Outside;
                return Some(std::mem::take(&mut self.frame));
            }
            (State::Inside, ESC) => self.state = State::Escaped,
            (State::Inside, _) => self.keep(byte),
            (State::Escaped, ESC_END) => self.keep(END),
            (State::Escaped, ESC_ESC) => self.keep(ESC),
            (State::Escaped, _) => self.skip(),
        }
        None
    }

    /// Forgets what arrived so far.
    pub fn clear(&mut self) {
        self.skip();
    }

    fn keep(&mut self, byte: u8) {
        if self.frame.len() == MAX_FRAME {
            self.skip();
        } else {
            self.frame.push(byte);
            self.state = State::Inside;
        }
    }

    fn skip(&mut self) {
        self.frame.clear();
        self.state = State::Outside;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut decoder = Decoder::default();
        bytes
            .iter()
            .filter_map(|byte| decoder.push(*byte))
            .collect()
    }

    #[test]
    fn the_two_special_bytes_are_escaped() {
        assert_eq!(
            encode(&[0x01, END, ESC, 0x02]),
            [END, 0x01, ESC, ESC_END, ESC, ESC_ESC, 0x02, END]
        );
    }

    #[test]
    fn an_unknown_escape_skips_the_frame() {
        assert_eq!(
            decode(&[END, 1, ESC, 7, 2, END, END, 3, END]),
            [vec![3]],
            "the malformed frame is gone, the next is whole"
        );
    }

    #[test]
    fn a_frame_without_end_takes_no_memory_for_ever() {
        let mut decoder = Decoder::default();
        decoder.push(END);
        for _ in 0..4 * MAX_FRAME {
            assert_eq!(decoder.push(1), None);
        }
        assert!(decoder.frame.capacity() <= 2 * MAX_FRAME);
        assert_eq!(decoder.push(END), None);
        assert_eq!(decoder.push(9), None);
        assert_eq!(decoder.push(END), Some(vec![9]));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(frames in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 1..300), 0..6,
        )) {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| encode(frame)).collect();
            prop_assert_eq!(decode(&bytes), frames);
        }

        #[test]
        fn noise_before_a_frame_costs_at_most_that_frame(
            noise in proptest::collection::vec(any::<u8>(), 0..300),
            payload in proptest::collection::vec(any::<u8>(), 1..300),
        ) {
            let mut bytes = noise;
            bytes.extend(encode(&payload));
            bytes.extend(encode(&payload));
            prop_assert_eq!(decode(&bytes).pop(), Some(payload));
        }
    }
}
