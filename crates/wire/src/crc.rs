//! CRC-32 as in zlib (reflected, polynomial 0xEDB88320).

/// Continues a CRC-32: `crc32(crc32(0, a), b)` is the CRC of `a` then `b`, as zlib's `crc32()`.
///
/// ESP-IDF's `esp_rom_crc32_le(UINT32_MAX, …)` over the OTA sequence is `crc32(0xFFFF_FFFF, …)`
/// here: it starts from an inverted register.
pub fn crc32(previous: u32, bytes: &[u8]) -> u32 {
    let mut crc = !previous;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            // Branch-free: the mask is all ones when the low bit is set.
            crc = crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_holds() {
        assert_eq!(crc32(0, b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(crc32(0, b"1234"), b"56789"), 0xCBF4_3926);
    }

    #[test]
    fn the_first_ota_sequence_has_the_crc_that_esp_idf_writes() {
        assert_eq!(crc32(u32::MAX, &1u32.to_le_bytes()), 0x4743_989A);
    }
}
