//! ELF files as a linker would write them for an ESP32-C3, made here byte by byte.
#![allow(dead_code, reason = "each test that includes this uses a part of it")]

/// `EM_RISCV`.
pub const RISCV: u16 = 243;
/// `EM_XTENSA`.
pub const XTENSA: u16 = 94;
/// Where the chip maps data of its flash, behind an image's headers.
pub const DATA: u32 = 0x3C00_0020;
/// Where the chip maps code of its flash, on a later page.
pub const CODE: u32 = 0x4201_0020;
/// RAM for data.
pub const RAM: u32 = 0x3FC8_0000;

const ALLOCATED: u32 = 2;

/// A section with its content.
#[derive(Clone)]
pub struct Section {
    pub name: &'static str,
    pub address: u32,
    pub flags: u32,
    pub data: Vec<u8>,
}

/// What goes into an ELF file.
#[derive(Clone)]
pub struct Elf {
    pub machine: u16,
    pub sections: Vec<Section>,
    /// Content of esp-hal's note of the chip.
    pub chip: Option<&'static str>,
}

/// An app descriptor (ESP-IDF: `esp_app_desc_t`).
pub fn descriptor(version: &str, project: &str) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    bytes[..4].copy_from_slice(&0xABCD_5432u32.to_le_bytes());
    bytes[16..16 + version.len()].copy_from_slice(version.as_bytes());
    bytes[48..48 + project.len()].copy_from_slice(project.as_bytes());
    bytes[182] = 16; // pages of 64 KiB
    bytes
}

/// Bytes that look like nothing in particular.
pub fn noise(len: usize, seed: u8) -> Vec<u8> {
    let step = |n: usize| (n.wrapping_mul(167) ^ (n >> 8)) as u8;
    (0..len).map(|n| step(n).wrapping_add(seed)).collect()
}

impl Section {
    pub fn new(name: &'static str, address: u32, data: Vec<u8>) -> Self {
        let flags = ALLOCATED;
        Self {
            name,
            address,
            flags,
            data,
        }
    }
}

impl Elf {
    /// A small program for the ESP32-C3, with its descriptor, constants, code and data in RAM.
    pub fn new(version: &str) -> Self {
        Self {
            machine: RISCV,
            sections: vec![
                Section::new(".data", RAM, noise(1001, 3)),
                Section::new(".flash.appdesc", DATA, descriptor(version, "elf-test")),
                Section::new(".rodata", DATA + 256, noise(5003, 5)),
                Section::new(".text", CODE, noise(30_002, 7)),
            ],
            chip: Some("esp32c3"),
        }
    }

    pub fn section(&mut self, name: &str) -> &mut Section {
        let found = self.sections.iter_mut().find(|s| s.name == name);
        found.expect("a section of that name")
    }

    /// The file (System V ABI, "Object Files").
    pub fn bytes(&self) -> Vec<u8> {
        const HEADER: usize = 52;
        const PROGRAM: usize = 32;
        let mut names = vec![0];
        let mut file = vec![0; HEADER + PROGRAM * self.sections.len()];
        let mut programs = Vec::new();
        let mut table = vec![[0u32; 10]];
        let mut add =
            |file: &mut Vec<u8>, name: &str, kind, flags, address, data: &[u8], link, of| {
                file.resize(file.len().next_multiple_of(16), 0);
                let at = names.len() as u32;
                names.extend_from_slice(name.as_bytes());
                names.push(0);
                let (offset, size) = (file.len() as u32, data.len() as u32);
                file.extend_from_slice(data);
                table.push([at, kind, flags, address, offset, size, link, 1, 4, of]);
                offset
            };
        for s in &self.sections {
            let offset = add(&mut file, s.name, 1, s.flags, s.address, &s.data, 0, 0);
            let size = s.data.len() as u32;
            programs.push([1, offset, s.address, s.address, size, size, 5, 4]);
        }
        if let Some(chip) = self.chip {
            let section = self.sections.len() as u32 + 1;
            add(
                &mut file,
                ".espressif.metadata",
                1,
                0,
                0,
                chip.as_bytes(),
                0,
                0,
            );
            let mut symbols = vec![0u8; 16];
            for word in [1, 0, chip.len() as u32, 0x11 | section << 16] {
                symbols.extend_from_slice(&u32::to_le_bytes(word));
            }
            let strings = b"\0build_info.CHIP_NAME\0";
            add(&mut file, ".symtab", 2, 0, 0, &symbols, section + 2, 1);
            add(&mut file, ".strtab", 3, 0, 0, strings, 0, 0);
        }
        let count = table.len() as u16 + 1;
        let mut all = std::mem::take(&mut names);
        let at = all.len() as u32;
        all.extend_from_slice(b".shstrtab\0");
        let offset = file.len() as u32;
        table.push([at, 3, 0, 0, offset, all.len() as u32, 0, 0, 1, 0]);
        file.extend_from_slice(&all);
        file.resize(file.len().next_multiple_of(4), 0);
        let sections_at = file.len() as u32;
        for (n, mut row) in table.into_iter().enumerate() {
            // A table of symbols has entries of 16 bytes; nothing else has any.
            row[9] = if row[1] == 2 { 16 } else { 0 };
            row[7] = u32::from(n > 0 && row[1] == 2);
            row.iter().for_each(|word| file.extend(word.to_le_bytes()));
        }
        let mut head = b"\x7FELF\x01\x01\x01".to_vec();
        head.resize(16, 0);
        for half in [2, self.machine] {
            head.extend(u16::to_le_bytes(half));
        }
        for word in [1, CODE, HEADER as u32, sections_at, 1] {
            head.extend(u32::to_le_bytes(word));
        }
        for half in [
            HEADER as u16,
            PROGRAM as u16,
            programs.len() as u16,
            40,
            count,
            count - 1,
        ] {
            head.extend(half.to_le_bytes());
        }
        for word in programs.iter().flatten() {
            head.extend(u32::to_le_bytes(*word));
        }
        file[..head.len()].copy_from_slice(&head);
        file
    }
}
