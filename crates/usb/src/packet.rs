//! Responses of a loader, as in Espressif's "Serial Protocol"
//! (<https://docs.espressif.com/projects/esptool/en/latest/esp32c3/advanced-topics/serial-protocol.html>).
//!
//! | Bytes | Response |
//! | --- | --- |
//! | 0 | 1 |
//! | 1 | the command that it answers |
//! | 2–3 | bytes that follow the value |
//! | 4–7 | value |
//! | 8… | data, then a status and an error byte; those of a ROM have two more |

/// Bytes before the data.
const HEADER: usize = 8;
const RESPONSE: u8 = 1;
const SYNC: u8 = 0x08;

/// Who answers, which decides how long the status is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    Rom,
    Stub,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) command: u8,
    pub(crate) value: u32,
    pub(crate) data: Vec<u8>,
    /// The error, if the status says that it is one.
    pub(crate) error: Option<u8>,
}

/// A frame as a response; `None` when it is none.
pub(crate) fn parse(frame: &[u8], speaker: Speaker) -> Option<Response> {
    let (header, body) = frame.split_at_checked(HEADER)?;
    let [RESPONSE, command, len @ .., _, _, _, _] = header else {
        return None;
    };
    if usize::from(u16::from_le_bytes(len.try_into().ok()?)) != body.len() {
        return None;
    }
    let status_len = match speaker {
        Speaker::Rom => 4,
        Speaker::Stub => 2,
    };
    let (data, status) = body.split_at_checked(body.len().checked_sub(status_len)?)?;
    Some(Response {
        command: *command,
        value: u32::from_le_bytes(header[4..].try_into().ok()?),
        data: data.to_vec(),
        // A ROM says 1 and then what is wrong, a stub what is wrong and then 0.
        error: match status[0] {
            0 => None,
            code => Some(if status[1] == 0 { code } else { status[1] }),
        },
    })
}

/// Who answers a sync. A ROM has some value in its answer, a stub has none and a shorter status.
pub(crate) fn speaker(frame: &[u8]) -> Option<Speaker> {
    let by_status = |speaker| {
        let response = parse(frame, speaker)?;
        (response.command == SYNC && response.data.is_empty()).then_some(response.value)
    };
    match (by_status(Speaker::Stub), by_status(Speaker::Rom)) {
        (Some(0), _) => Some(Speaker::Stub),
        (None, None) => None,
        _ => Some(Speaker::Rom),
    }
}

/// The MD5 in a response: 16 bytes of a stub, 32 hexadecimal digits of a ROM.
pub(crate) fn md5(data: &[u8]) -> Option<[u8; 16]> {
    if let Ok(digest) = data.try_into() {
        return Some(digest);
    }
    let text = std::str::from_utf8(data).ok().filter(|t| t.len() == 32)?;
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_response_has_value_data_and_status() {
        let frame = [1, 0x0A, 2, 0, 0x78, 0x56, 0x34, 0x12, 0, 0];
        let response = parse(&frame, Speaker::Stub).unwrap();
        assert_eq!((response.command, response.value), (0x0A, 0x1234_5678));
        assert_eq!((response.data.len(), response.error), (0, None));
        let frame = [1, 0x13, 5, 0, 0, 0, 0, 0, 9, 1, 7, 0, 0];
        let response = parse(&frame, Speaker::Rom).unwrap();
        assert_eq!((response.data, response.error), (vec![9], Some(7)));
        let frame = [1, 0x13, 2, 0, 0, 0, 0, 0, 0xC1, 0];
        let response = parse(&frame, Speaker::Stub).unwrap();
        assert_eq!(response.error, Some(0xC1));
    }

    #[test]
    fn who_answers_a_sync_is_told_by_its_value_and_its_status() {
        let rom = [1, 8, 4, 0, 7, 0x12, 0x20, 0x55, 0, 0, 0, 0];
        assert_eq!(speaker(&rom), Some(Speaker::Rom));
        let stub = [1, 8, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(speaker(&stub), Some(Speaker::Stub));
        let other = [1, 9, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(speaker(&other), None);
    }

    #[test]
    fn a_length_that_is_not_the_frames_is_no_response() {
        let frame = [1, 0x0A, 3, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(parse(&frame, Speaker::Stub), None);
        assert_eq!(parse(&frame[..9], Speaker::Stub), None);
    }

    #[test]
    fn both_forms_of_a_digest_are_read() {
        let digest = *b"0123456789abcdef";
        let text = "30313233343536373839616263646566";
        assert_eq!(md5(&digest), Some(digest));
        assert_eq!(md5(text.as_bytes()), Some(digest));
        assert_eq!(md5(&text.as_bytes()[1..]), None);
    }

    proptest! {
        #[test]
        fn no_frame_panics(frame in proptest::collection::vec(any::<u8>(), 0..80)) {
            for speaker in [Speaker::Rom, Speaker::Stub] {
                if let Some(response) = parse(&frame, speaker) {
                    let _digest = md5(&response.data);
                }
            }
        }
    }
}
