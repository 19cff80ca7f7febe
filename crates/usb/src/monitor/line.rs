//! What a line of a board's log says.

use super::text::Colour;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything else.
    Log,
    /// The application calls it an error.
    Error,
    /// The application calls it a warning.
    Warning,
    /// ROM or bootloader.
    Boot,
    /// It was reset; the note says why.
    Reset,
    /// It crashed.
    Panic,
    /// Where it crashed.
    Backtrace,
}

impl Kind {
    /// Its stable name, such as `backtrace`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Boot => "boot",
            Self::Reset => "reset",
            Self::Panic => "panic",
            Self::Backtrace => "backtrace",
        }
    }
}

const PANICS: [&str; 13] = [
    "Guru Meditation Error",
    "panicked at",
    "abort() was called",
    "assert failed:",
    "PANIC",
    "***ERROR*** A stack overflow",
    "Stack smashing",
    "Brownout detector was triggered",
    "Task watchdog got triggered",
    "Interrupt wdt timeout",
    "A panic occurred",
    "Exception occurred",
    "Traceback (most recent call last)",
];

const BOOTS: [&str; 14] = [
    "ESP-ROM:",
    "Build:",
    "ets ",
    "load:0x",
    "entry 0x",
    "SPIWP:",
    "mode:",
    "configsip:",
    "clk_drv:",
    "Saved PC:",
    "waiting for download",
    "invalid header:",
    "csum err:",
    "flash read err",
];

/// Registers that hold an address of code, as both architectures print them.
const CODE_REGISTERS: [&str; 4] = ["MEPC", "RA", "PC", "EPC1"];

/// What a line is, by its words, then by its colour.
pub(super) fn kind(text: &str, colour: Colour) -> Kind {
    let start = text.trim_start();
    if start.starts_with("rst:0x") {
        Kind::Reset
    } else if PANICS.iter().any(|words| text.contains(words)) {
        Kind::Panic
    } else if !addresses(text).is_empty() {
        Kind::Backtrace
    } else if BOOTS.iter().any(|words| start.starts_with(words)) || is_bootloader(start) {
        Kind::Boot
    } else {
        match (level(start), colour) {
            (Some(kind), _) => kind,
            (None, Colour::Red) => Kind::Error,
            (None, Colour::Yellow) => Kind::Warning,
            (None, Colour::Plain) => Kind::Log,
        }
    }
}

/// `I (29) boot: …`, of ESP-IDF's bootloader.
fn is_bootloader(text: &str) -> bool {
    let Some((stamp, rest)) = text.split_once(") ") else {
        return false;
    };
    let stamped = ["I (", "D ("].iter().any(|level| stamp.starts_with(level));
    stamped
        && ["boot", "esp_image", "qio_mode"]
            .iter()
            .any(|tag| rest.starts_with(tag))
}

/// `E (123) tag: …` of ESP-IDF, `ERROR - …` and `[ERROR …` of Rust.
fn level(text: &str) -> Option<Kind> {
    let text = text.strip_prefix('[').unwrap_or(text);
    let starts = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    if starts(&["E (", "ERROR ", "ERROR]", "ERROR:"]) {
        Some(Kind::Error)
    } else if starts(&["W (", "WARN ", "WARN]", "WARNING:"]) {
        Some(Kind::Warning)
    } else {
        None
    }
}

/// Why a board was reset, in words, from a line such as `rst:0x1 (POWERON),boot:0x8 (…)`.
///
/// The names are those of the ROMs (ESP-IDF, `rom/rtc.h` of each chip).
pub(super) fn reset_reason(text: &str) -> Option<&'static str> {
    let name = text.trim_start().strip_prefix("rst:0x")?.split_once('(')?.1;
    let name = name.split_once(')')?.0;
    let has = |part: &str| name.contains(part);
    Some(if has("POWERON") {
        "Started because: it was powered on, or RESET was pressed."
    } else if has("BROWN_OUT") || has("BROWNOUT") {
        "Started because: its supply voltage was too low."
    } else if has("GLITCH") {
        "Started because: its supply voltage had a glitch."
    } else if has("DEEPSLEEP") || has("DSLEEP") {
        "Started because: it woke from deep sleep."
    } else if has("WDT") || has("WATCHDOG") {
        "Started because: a watchdog bit; it hung."
    } else if has("LOCKUP") {
        "Started because: its processor locked up."
    } else if has("USB") {
        "Started because: the computer reset it over USB."
    } else if has("JTAG") {
        "Started because: a debugger reset it."
    } else if has("SW_") || has("_SW") || has("SW ") {
        "Started because: its software restarted it."
    } else if has("EXT") {
        "Started because: RESET was pressed."
    } else if has("SDIO") {
        "Started because: its SDIO host reset it."
    } else {
        return None;
    })
}

/// The addresses of code in a line of a crash, in order; none in any other line.
pub(super) fn addresses(text: &str) -> Vec<u32> {
    let text = text.trim();
    if let Some(frames) = text.strip_prefix("Backtrace:") {
        // PC and stack pointer of each frame (Xtensa).
        let words = frames.split_whitespace();
        return words
            .filter_map(|word| hex(word.split(':').next()?))
            .collect();
    }
    if let Some(dump) = text.strip_prefix("STACKDUMP: ") {
        let first = dump.split_whitespace().next();
        return first
            .and_then(|word| u32::from_str_radix(word, 16).ok())
            .into_iter()
            .collect();
    }
    // A frame for itself, as in Rust's backtraces.
    if let Some(address) = hex(text.split_once(" - ").map_or(text, |(address, _)| address)) {
        return vec![address];
    }
    registers(text)
}

/// `MEPC    : 0x42001234  RA      : 0x42005678  SP …`
fn registers(text: &str) -> Vec<u32> {
    let mut found = Vec::new();
    let mut words = text
        .split(|c: char| c.is_whitespace() || c == ':')
        .filter(|w| !w.is_empty());
    while let Some(word) = words.next() {
        if CODE_REGISTERS.contains(&word) {
            match words.next().and_then(hex) {
                Some(address) => found.push(address),
                // A word of a sentence.
                None => return Vec::new(),
            }
        }
    }
    found
}

/// `0x42001234`
fn hex(word: &str) -> Option<u32> {
    let digits = word.strip_prefix("0x").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(text: &str) -> Kind {
        kind(text, Colour::Plain)
    }

    #[test]
    fn lines_are_what_they_say() {
        let cases = [
            ("hello", Kind::Log),
            ("E (523) wifi: no such network", Kind::Error),
            ("W (523) wifi: weak", Kind::Warning),
            ("ERROR - no such network", Kind::Error),
            ("[WARN  demo] weak", Kind::Warning),
            ("ESP-ROM:esp32c3-api1-20210207", Kind::Boot),
            ("I (29) boot: ESP-IDF v5.1 2nd stage bootloader", Kind::Boot),
            ("I (29) main: started", Kind::Log),
            (
                "rst:0x1 (POWERON),boot:0x8 (SPI_FAST_FLASH_BOOT)",
                Kind::Reset,
            ),
            (
                "Guru Meditation Error: Core  0 panic'ed (Load access fault).",
                Kind::Panic,
            ),
            ("thread 'main' panicked at src/main.rs:4:5:", Kind::Panic),
            (
                "Backtrace: 0x400d1234:0x3ffb1f00 0x400d5678:0x3ffb1f20",
                Kind::Backtrace,
            ),
            (
                "MEPC    : 0x42001234  RA      : 0x42005678  SP      : 0x3fc90000",
                Kind::Backtrace,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected, "{text}");
        }
        assert_eq!(kind("red", Colour::Red), Kind::Error);
        assert_eq!(kind("W (1) x", Colour::Red), Kind::Warning);
    }

    #[test]
    fn every_reset_has_a_reason_in_words() {
        let cases = [
            ("POWERON_RESET", "powered on"),
            ("RTCWDT_BROWN_OUT_RESET", "voltage"),
            ("DEEPSLEEP_RESET", "deep sleep"),
            ("TG0WDT_SYS_RST", "watchdog"),
            ("RTC_SW_SYS_RST", "software"),
            ("SW_CPU_RESET", "software"),
            ("USB_UART_CHIP_RESET", "USB"),
            ("EXT_CPU_RESET", "RESET was pressed"),
        ];
        for (name, words) in cases {
            let reason = reset_reason(&format!("rst:0x3 ({name}),boot:0x8"));
            assert!(reason.unwrap().contains(words), "{name}");
        }
        assert_eq!(reset_reason("rst:0x3 (NEW_KIND),boot:0x8"), None);
    }

    #[test]
    fn addresses_of_code_are_found_and_others_are_not() {
        let both = addresses("Backtrace: 0x400d1234:0x3ffb1f00 0x400d5678:0x3ffb1f20 |<-CORRUPTED");
        assert_eq!(both, [0x400D_1234, 0x400D_5678]);
        let both = addresses("MEPC    : 0x42001234  RA      : 0x42005678  SP      : 0x3fc90000");
        assert_eq!(both, [0x4200_1234, 0x4200_5678]);
        assert_eq!(addresses("0x42001234"), [0x4200_1234]);
        assert_eq!(addresses("0x42001234 - main"), [0x4200_1234]);
        assert_eq!(addresses("STACKDUMP: 42001234 00ff"), [0x4200_1234]);
        assert!(addresses("the PC of somebody").is_empty());
        assert!(addresses("heap at 0x3fc90000").is_empty());
    }

    proptest! {
        #[test]
        fn no_line_panics(text in ".{0,200}") {
            let _kind = plain(&text);
            let _reason = reset_reason(&text);
        }

        #[test]
        fn no_line_like_these_panics(
            start in prop_oneof![Just("Backtrace:"), Just("rst:0x"), Just("MEPC:"), Just("STACKDUMP: ")],
            text in "[0-9a-fx:() ]{0,60}",
        ) {
            let line = format!("{start}{text}");
            let _kind = plain(&line);
            let _reason = reset_reason(&line);
        }
    }
}
