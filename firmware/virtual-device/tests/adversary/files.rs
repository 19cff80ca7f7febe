//! Tars with every known trick, signed by a maker whose tools check nothing.

use crate::attack::{Attack, attacks};
use crate::forge::Draft;
use crate::kit::*;
use crate::scene::{Scene, ended_well};
use airlift_wire::ErrorCode::*;

attacks! { "Files";
    a_path_from_the_root_is_refused {
        threat: "THREAT.IMG.LOCATION",
        attacker: "Names a file by its path from the root.",
        device: "Takes relative paths only; nothing is written outside of the slot's folder.",
        code: Some(BadTar),
        mutant: "paths-with-empty-parts",
    }
    a_path_that_climbs_is_refused {
        threat: "THREAT.IMG.LOCATION",
        attacker: "Climbs out of the folder with `..`.",
        device: "Refuses it.",
        code: Some(BadTar),
        mutant: "paths-may-climb",
    }
    a_path_in_another_form_is_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Writes a path in a second form: `./a`, `a//b`, or none.",
        device: "Knows one form of each path.",
        code: Some(BadTar),
        mutant: "paths-may-have-dots",
    }
    a_name_that_means_something_elsewhere_is_refused {
        threat: "",
        attacker: "Puts a backslash, a control character or broken UTF-8 into a name.",
        device: "Refuses it.",
        code: Some(BadTar),
        mutant: "any-character-in-a-name",
    }
    a_name_with_something_behind_its_end_is_refused {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Hides bytes behind the zero that ends a name.",
        device: "Writes each header again and compares all of it.",
        code: Some(BadTar),
        mutant: "headers-need-not-be-canonical",
    }
    links_and_devices_are_refused {
        threat: "THREAT.IMG.LOCATION",
        attacker: "Packs links and devices: a file that is somewhere else.",
        device: "Knows files and folders.",
        code: Some(BadTar),
        mutant: "everything-is-a-file",
    }
    extended_headers_are_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Overrides names and sizes with headers of pax, GNU or old tars.",
        device: "Knows plain ustar.",
        code: Some(BadTar),
        mutant: "everything-is-a-file",
    }
    a_long_path_in_two_fields_is_refused {
        threat: "THREAT.IMG.LOCATION",
        attacker: "Continues a path in the prefix field, deeper than a device can go.",
        device: "Requires that field to be empty: a path has at most 100 bytes.",
        code: Some(BadTar),
        mutant: "headers-need-not-be-canonical",
    }
    an_entry_that_stands_twice_is_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Packs a file twice: what was checked is replaced.",
        device: "Requires each path to come after the one before.",
        code: Some(BadTar),
        mutant: "entries-in-any-order",
    }
    entries_out_of_order_are_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Packs entries in another order.",
        device: "Requires the order of their bytes, so that the folder makes the same tar again.",
        code: Some(BadTar),
        mutant: "entries-in-any-order",
    }
    a_file_and_a_folder_of_one_name_are_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Packs a file and a folder of the same name.",
        device: "Refuses the tar as soon as the second one comes.",
        code: Some(BadTar),
        mutant: "a-file-may-become-a-folder",
    }
    a_file_without_its_folder_is_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Leaves the entry of a folder out.",
        device: "Requires each folder before its content.",
        code: Some(BadTar),
        mutant: "folders-need-no-entry",
    }
    a_size_that_is_wrong_is_refused {
        threat: "TUF endless data",
        attacker: "Says that a file is longer or shorter than it is.",
        device: "Finds no header where one must be, or no end.",
        code: Some(BadTar),
        mutant: "a-tar-need-not-end",
    }
    a_size_that_is_no_number_is_refused {
        threat: "TUF endless data",
        attacker: "Writes a size in base 256, below zero, in decimal, with spaces.",
        device: "Knows eleven octal digits.",
        code: Some(BadTar),
        mutant: "any-digit-will-do",
    }
    a_wrong_checksum_is_refused {
        threat: "THREAT.NET.ONPATH",
        attacker: "Leaves the checksum of a header wrong.",
        device: "Refuses it.",
        code: Some(BadTar),
        mutant: "headers-need-not-be-canonical",
    }
    owners_and_modes_are_refused {
        threat: "",
        attacker: "Packs owners, set-uid bits and times.",
        device: "Knows one mode and no owners.",
        code: Some(BadTar),
        mutant: "headers-need-not-be-canonical",
    }
    bytes_in_the_padding_are_refused {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Hides bytes between a file and the next header, or in the blocks of the end.",
        device: "Requires zeros.",
        code: Some(BadTar),
        mutant: "padding-may-be-anything",
    }
    bytes_behind_the_end_are_refused {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Goes on after the end: another reader sees more files.",
        device: "Requires that nothing follows.",
        code: Some(BadTar),
        mutant: "a-tar-may-go-on",
    }
    a_tar_without_an_end_is_refused {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Leaves the end of the tar out.",
        device: "Requires both blocks of it.",
        code: Some(BadTar),
        mutant: "a-tar-need-not-end",
    }
    the_updaters_own_file_is_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Packs a `VERSION` of its own, which the updater writes last.",
        device: "Refuses that name at the top.",
        code: Some(BadTar),
        mutant: "the-release-may-write-version",
    }
    what_is_no_tar_is_refused {
        threat: "THREAT.IMG.FORMAT",
        attacker: "Signs an archive of another kind, or an app, as files.",
        device: "Refuses the first block.",
        code: Some(BadTar),
        mutant: "what-is-no-header-is-a-file",
    }
}

/// A header of ustar as it should be, for any name and kind.
fn header(name: &[u8], flag: u8, size: usize) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    let mode = if flag == b'5' {
        "0000755\0"
    } else {
        "0000644\0"
    };
    block[100..108].copy_from_slice(mode.as_bytes());
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

/// Writes the checksum of a header.
fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn changed(mut block: [u8; 512], change: impl FnOnce(&mut [u8; 512])) -> [u8; 512] {
    change(&mut block);
    seal(&mut block);
    block
}

/// Content and its padding.
fn content(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(bytes.len().next_multiple_of(512), 0);
    out
}

fn file(name: &[u8]) -> Vec<u8> {
    [&header(name, b'0', 4)[..], &content(b"evil")].concat()
}

fn folder(name: &[u8]) -> Vec<u8> {
    header(name, b'5', 0).to_vec()
}

const END: [u8; 1024] = [0; 1024];

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [&entries.concat()[..], &END].concat()
}

/// Each of the tars is refused with the code of the attack, and the device recovers.
fn refuse(attack: &Attack, tars: &[Vec<u8>]) {
    let scene = Scene::new();
    for (n, tar) in tars.iter().enumerate() {
        println!("tar {n} of {}", attack.name);
        let draft = Draft::new().files(tar, 8);
        scene.fails(attack, &draft.served(&scene.bench));
    }
    scene.recovers();
}

#[test]
fn what_these_tricks_are_played_on_is_a_tar_that_is_taken() {
    let scene = Scene::new();
    // As deep as a path can be, too: nothing here calls itself.
    let deep: Vec<_> = (1..=49)
        .map(|n| folder("d/".repeat(n).as_bytes()))
        .collect();
    let last = [
        deep.concat(),
        file(format!("{}x", "d/".repeat(49)).as_bytes()),
    ]
    .concat();
    let honest = tar(&[file(b"a"), folder(b"b/"), file(b"b/c"), last]);
    let draft = Draft::new().files(&honest, 120);
    ended_well(&scene.post(&draft.served(&scene.bench)));
}

fn a_path_from_the_root_is_refused(attack: &Attack) {
    let paths = [&b"/settings.json"[..], b"/", b"//x", b"/ota_0/main.py"];
    let mut tars: Vec<_> = paths.map(|name| tar(&[file(name)])).into();
    tars.push(tar(&[folder(b"/"), file(b"/settings.json")]));
    refuse(attack, &tars);
}

fn a_path_that_climbs_is_refused(attack: &Attack) {
    let climbs = [&b"../settings.json"[..], b"..", b"../ota_0/main.py"];
    let mut tars: Vec<_> = climbs.map(|name| tar(&[file(name)])).into();
    tars.push(tar(&[folder(b"../")]));
    tars.push(tar(&[folder(b"a/"), file(b"a/../../settings.json")]));
    tars.push(tar(&[folder(b"a/"), folder(b"a/../"), file(b"a/../b")]));
    refuse(attack, &tars);
}

fn a_path_in_another_form_is_refused(attack: &Attack) {
    let mut tars: Vec<_> = [&b"./a"[..], b".", b"a/", b""]
        .map(|n| tar(&[file(n)]))
        .into();
    tars.push(tar(&[folder(b"a/"), file(b"a//b")]));
    tars.push(tar(&[folder(b"a/"), file(b"a/./b")]));
    tars.push(tar(&[folder(b"./"), file(b"./b")]));
    tars.push(tar(&[folder(b"a"), file(b"a/b")]));
    refuse(attack, &tars);
}

fn a_name_that_means_something_elsewhere_is_refused(attack: &Attack) {
    let names = [
        &b"..\\..\\x"[..],
        b"a\nb",
        b"a\x1b[2J",
        b"a\x7f",
        b"a\xff\xfe",
        b"\xc0\xae\xc0\xae/x",
    ];
    refuse(attack, &names.map(|name| tar(&[file(name)])));
}

fn a_name_with_something_behind_its_end_is_refused(attack: &Attack) {
    refuse(
        attack,
        &[tar(&[file(b"a\0.py")]), tar(&[file(b"a\0/../../x")])],
    );
}

fn links_and_devices_are_refused(attack: &Attack) {
    let entry = |flag: u8| {
        let link = changed(header(b"a", flag, 0), |h| {
            h[157..171].copy_from_slice(b"/settings.json")
        });
        tar(&[link.to_vec()])
    };
    // Hard link, symbolic link, character device, block device, pipe, contiguous file.
    refuse(attack, &[b'1', b'2', b'3', b'4', b'6', b'7'].map(entry));
}

fn extended_headers_are_refused(attack: &Attack) {
    let record = b"19 path=../../evil\n";
    let entry = |flag: u8| {
        let extended = [&header(b"x", flag, record.len())[..], &content(record)].concat();
        tar(&[extended, file(b"y")])
    };
    // pax, pax global, GNU long name, GNU long link, GNU sparse, multi-volume, volume name.
    let mut tars: Vec<_> = [b'x', b'g', b'L', b'K', b'S', b'M', b'V'].map(entry).into();
    // The magic of GNU, and files of tars from before 1988.
    let gnu = changed(header(b"a", b'0', 0), |h| {
        h[257..265].copy_from_slice(b"ustar  \0")
    });
    let old = changed(header(b"a", 0, 0), |h| h[257..265].fill(0));
    tars.extend([gnu, old].map(|block| tar(&[block.to_vec()])));
    refuse(attack, &tars);
}

fn a_long_path_in_two_fields_is_refused(attack: &Attack) {
    let long = changed(header(b"evil.py", b'0', 0), |h| {
        h[345..351].copy_from_slice(b"deeper")
    });
    let deep = changed(header(&b"d/".repeat(50), b'5', 0), |h| {
        h[345..445].copy_from_slice(&b"d/".repeat(50));
    });
    refuse(attack, &[tar(&[long.to_vec()]), tar(&[deep.to_vec()])]);
}

fn an_entry_that_stands_twice_is_refused(attack: &Attack) {
    let files = tar(&[file(b"a"), file(b"a")]);
    let folders = tar(&[folder(b"a/"), folder(b"a/"), file(b"a/b")]);
    refuse(attack, &[files, folders]);
}

fn entries_out_of_order_are_refused(attack: &Attack) {
    let files = tar(&[file(b"b"), file(b"a")]);
    let in_folder = tar(&[folder(b"a/"), file(b"a/c"), file(b"a/b")]);
    let back = tar(&[folder(b"a/"), file(b"a/x"), file(b"b"), file(b"a/y")]);
    refuse(attack, &[files, in_folder, back]);
}

fn a_file_and_a_folder_of_one_name_are_refused(attack: &Attack) {
    let next_to_each_other = tar(&[file(b"a"), folder(b"a/")]);
    let with_content = tar(&[file(b"a"), folder(b"a/"), file(b"a/b")]);
    let apart = tar(&[file(b"a"), file(b"a-b"), file(b"a.c"), folder(b"a/")]);
    let deeper = tar(&[folder(b"d/"), file(b"d/a"), folder(b"d/a/"), file(b"d/a/b")]);
    refuse(attack, &[next_to_each_other, with_content, apart, deeper]);
}

fn a_file_without_its_folder_is_refused(attack: &Attack) {
    let none = tar(&[file(b"a/b")]);
    let one_missing = tar(&[folder(b"a/"), file(b"a/b/c")]);
    let another = tar(&[folder(b"a/"), file(b"b/c")]);
    let begins_alike = tar(&[folder(b"a/"), file(b"ab/c")]);
    refuse(attack, &[none, one_missing, another, begins_alike]);
}

fn a_size_that_is_wrong_is_refused(attack: &Attack) {
    let sized = |size: usize, bytes: &[u8]| {
        tar(&[[&header(b"a", b'0', size)[..], &content(bytes)].concat()])
    };
    let folder_with_content = [&header(b"a/", b'5', 4)[..], &content(b"evil")].concat();
    refuse(
        attack,
        &[
            sized(3, &[b'x'; 600]),
            sized(0, b"evil"),
            // Takes the end, or some of it, for content.
            sized(4 + 512, b"evil"),
            sized(4 + 1024, b"evil"),
            sized(1 << 20, b"evil"),
            sized(16 * 1024 * 1024 + 1, b"evil"),
            sized(0o77_777_777_777, b"evil"),
            tar(&[folder_with_content]),
        ],
    );
}

fn a_size_that_is_no_number_is_refused(attack: &Attack) {
    let fields: [&[u8; 12]; 6] = [
        b"\x80\0\0\0\0\0\0\0\0\0\0\x04",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfc",
        b"-0000000004\0",
        b"          4\0",
        b"0000000000:\0",
        b"000000000004",
    ];
    let entry = |field: &[u8; 12]| {
        let block = changed(header(b"a", b'0', 4), |h| {
            h[124..136].copy_from_slice(field)
        });
        tar(&[[&block[..], &content(b"evil")].concat()])
    };
    refuse(attack, &fields.map(entry));
}

fn a_wrong_checksum_is_refused(attack: &Attack) {
    let with = |sum: &[u8; 8]| {
        let mut entry = file(b"a");
        entry[148..156].copy_from_slice(sum);
        tar(&[entry])
    };
    let right = file(b"a")[148..156].to_vec();
    let spaced = [b" ", &right[1..]].concat();
    let spaced = spaced.first_chunk().unwrap();
    refuse(
        attack,
        &[with(b"000000\0 "), with(b"        "), with(spaced)],
    );
}

fn owners_and_modes_are_refused(attack: &Attack) {
    let entry = |at: usize, field: &[u8]| {
        let block = changed(header(b"a", b'0', 0), |h| {
            h[at..at + field.len()].copy_from_slice(field)
        });
        tar(&[block.to_vec()])
    };
    refuse(
        attack,
        &[
            entry(100, b"0004755\0"),
            entry(100, b"0000777\0"),
            entry(108, b"0001750\0"),
            entry(136, b"14717777777\0"),
            entry(265, b"root"),
            entry(329, b"0000000\0"),
        ],
    );
}

fn bytes_in_the_padding_are_refused(attack: &Attack) {
    let mut behind_a_file = tar(&[file(b"a")]);
    behind_a_file[512 + 4] = b'#';
    let mut in_the_end = tar(&[file(b"a")]);
    let at = in_the_end.len() - 1;
    in_the_end[at] = 1;
    let mut in_its_first_block = tar(&[file(b"a")]);
    let at = in_its_first_block.len() - 600;
    in_its_first_block[at] = 1;
    refuse(attack, &[behind_a_file, in_the_end, in_its_first_block]);
}

fn bytes_behind_the_end_are_refused(attack: &Attack) {
    let whole = tar(&[file(b"a")]);
    let zeros = [&whole[..], &[0; 512]].concat();
    let more = [&whole[..], &tar(&[file(b"b")])].concat();
    refuse(attack, &[zeros, more]);
}

fn a_tar_without_an_end_is_refused(attack: &Attack) {
    let whole = tar(&[file(b"a")]);
    let cut = |less: usize| whole[..whole.len() - less].to_vec();
    let in_the_content = header(b"a", b'0', 4000).to_vec();
    refuse(
        attack,
        &[cut(512), cut(1024), cut(1), cut(1024 + 512), in_the_content],
    );
}

fn the_updaters_own_file_is_refused(attack: &Attack) {
    let folder = tar(&[folder(b"VERSION/"), file(b"VERSION/x")]);
    refuse(attack, &[tar(&[file(b"VERSION")]), folder]);
}

fn what_is_no_tar_is_refused(attack: &Attack) {
    let zip = [&b"PK\x03\x04"[..], &[7; 2000]].concat();
    let gzip = [&b"\x1f\x8b\x08\x00"[..], &[9; 3000]].concat();
    refuse(
        attack,
        &[
            tar(&[vec![b'x'; 512]]),
            zip,
            gzip,
            app("files"),
            vec![b'x'; 5000],
            vec![1],
        ],
    );
}
