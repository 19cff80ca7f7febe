//! A host, or whoever is between it and the device, that lies, stalls and breaks off.

use crate::attack::{Attack, attacks};
use crate::forge::index_of;
use crate::hostile_host::*;
use crate::kit::*;
use crate::scene::{Scene, ended_well};
use airlift_release::Release;
use airlift_updater::SlotId;
use airlift_virtual_device::deterministic::{DEVICE, Fate, HOST, ReleaseHost, Step};
use airlift_wire::ErrorCode::*;
use std::cell::Cell;
use std::time::Duration;

attacks! { "Transport";
    a_host_that_ignores_ranges_shifts_no_bytes {
        threat: "THREAT.NET.ONPATH",
        attacker: "Ignores `Range` and answers 200 with the whole part.",
        device: "Takes a range only as 206; gives up after 30 s.",
        code: Some(BadRequest),
        mutant: "any-status-will-do",
    }
    an_answer_with_another_range_is_not_taken {
        threat: "THREAT.NET.ONPATH",
        attacker: "Answers with another range than was asked for.",
        device: "Requires `Content-Range` to be what it asked for.",
        code: Some(BadRequest),
        mutant: "any-range-will-do",
    }
    an_answer_of_another_length_is_not_taken {
        threat: "TUF endless data",
        attacker: "Answers the right range and says that four gigabytes follow.",
        device: "Requires `Content-Length` to be the length of the range.",
        code: Some(BadRequest),
        mutant: "any-length-will-do",
    }
    an_answer_that_can_be_read_in_two_ways_is_not_taken {
        threat: "THREAT.NET.ONPATH",
        attacker: "Sends two lengths, a signed one, or none.",
        device: "Requires one length, in digits (RFC 9112 section 6.3).",
        code: Some(BadRequest),
        mutant: "the-last-length-counts",
    }
    a_chunked_answer_is_not_taken {
        threat: "THREAT.NET.ONPATH",
        attacker: "Sends a transfer coding besides a length, so that a proxy and the device disagree.",
        device: "Refuses transfer codings.",
        code: Some(BadRequest),
        mutant: "transfer-codings-are-ignored",
    }
    a_redirect_is_not_followed {
        threat: "THREAT.NET.REDIRECT",
        attacker: "Redirects the device to a host of its own.",
        device: "Follows no redirect and takes no content from one.",
        code: Some(BadRequest),
        mutant: "any-status-will-do",
    }
    a_host_that_refuses_everything_costs_nothing {
        threat: "TUF malicious mirror",
        attacker: "Answers every request with an error.",
        device: "Has erased nothing before the host has answered once.",
        code: Some(HostUnreachable),
        mutant: "nobody-asks-the-host-first",
    }
    a_host_with_another_envelope_is_not_the_host {
        threat: "THREAT.MFST.TOCTOU",
        attacker: "Posts one release and serves another under its id.",
        device: "Compares what the host serves with what was verified, byte for byte.",
        code: Some(HostUnreachable),
        mutant: "any-envelope-will-do",
    }
    an_envelope_that_goes_on_for_ever_is_not_read {
        threat: "TUF endless data",
        attacker: "Serves an envelope that is longer than its length, or endless.",
        device: "Reads at most what fits a sector, and what was promised.",
        code: Some(HostUnreachable),
        mutant: "surplus-bytes-are-ignored",
    }
    a_head_that_never_ends_is_not_read {
        threat: "TUF endless data",
        attacker: "Sends header fields for ever.",
        device: "Reads 768 bytes of a head, then closes the connection.",
        code: Some(BadRequest),
        mutant: "a-head-may-go-on",
    }
    a_host_that_stalls_at_first_costs_nothing {
        threat: "TUF slow retrieval",
        attacker: "Accepts the connection, or not even that, and stalls: at once, in the head, in the content.",
        device: "Gives up within 5 s and has erased nothing.",
        code: Some(HostUnreachable),
        mutant: "the-host-may-take-its-time",
    }
    a_host_that_stalls_in_between_is_given_up {
        threat: "TUF slow retrieval",
        attacker: "Stalls for ever at any stage: connecting, in a head, after it, in a page, in a chunk.",
        device: "Gives up when no chunk has arrived for 30 s. What it has is kept.",
        code: Some(Stalled),
        mutant: "no-end-of-patience",
    }
    a_host_that_drips_is_given_up {
        threat: "TUF slow retrieval",
        attacker: "Sends a byte every four seconds, so that the line is never silent.",
        device: "Counts chunks, not bytes: 30 s without one, and it gives up.",
        code: Some(Stalled),
        mutant: "every-byte-is-progress",
    }
    connections_that_break_after_any_byte_do_not_end_an_update {
        threat: "THREAT.NET.ONPATH",
        attacker: "Breaks every connection after n bytes, for many n.",
        device: "Goes on where it was, as long as each connection brings a chunk.",
        code: None,
        mutant: "a-broken-connection-ends-an-update",
    }
    connections_that_bring_no_whole_chunk_are_given_up {
        threat: "TUF slow retrieval",
        attacker: "Breaks every connection before a chunk is whole.",
        device: "Never takes the start of a chunk for a chunk; gives up after 30 s.",
        code: Some(Stalled),
        mutant: "a-broken-answer-is-whole",
    }
    a_page_of_hashes_that_nobody_signed_is_refused {
        threat: "TUF arbitrary installation; THREAT.IMG.NON_AUTH",
        attacker: "Serves its own blob, and an index page with the hashes of that blob.",
        device: "Checks the page against the signed manifest before it believes a hash in it.",
        code: Some(BadChunk),
        mutant: "pages-are-not-checked",
    }
    a_page_of_another_part_is_refused {
        threat: "TUF mix-and-match",
        attacker: "Serves page and blob of another release, signed by the same key.",
        device: "Checks the page against the manifest of this release.",
        code: Some(BadChunk),
        mutant: "pages-are-not-checked",
    }
    a_blob_that_is_not_the_signed_one_is_refused {
        threat: "TUF arbitrary installation; THREAT.IMG.REPLACE",
        attacker: "Serves the right index, and a blob of its own.",
        device: "Checks each chunk before it touches flash; eight wrong ones end the update.",
        code: Some(BadChunk),
        mutant: "chunks-are-not-checked",
    }
    right_chunks_in_the_wrong_place_are_refused {
        threat: "TUF mix-and-match",
        attacker: "Serves chunks of the right part in another order.",
        device: "Checks each chunk against the hash of its own place.",
        code: Some(BadChunk),
        mutant: "chunks-are-not-checked",
    }
    a_blob_that_changes_while_it_is_fetched_is_refused {
        threat: "THREAT.MFST.TOCTOU; THREAT.IMG.REPLACE",
        attacker: "Serves the right blob first and another one from the tenth chunk on.",
        device: "Checks every chunk as it arrives; what was right stays, nothing else reaches flash.",
        code: Some(BadChunk),
        mutant: "chunks-are-not-checked",
    }
    a_flipped_bit_is_asked_for_again {
        threat: "THREAT.NET.ONPATH",
        attacker: "Flips a bit here and there on the way.",
        device: "Refuses the chunk, says which hash it had, and asks again.",
        code: None,
        mutant: "chunks-are-not-checked",
    }
    a_second_answer_behind_the_first_gains_nothing {
        threat: "THREAT.NET.ONPATH",
        attacker: "Sends an answer to the next request, with its own content, before it is asked.",
        device: "Checks that content like any other.",
        code: None,
        mutant: "chunks-are-not-checked",
    }
}

/// What is offered, and what an attacker would like better.
fn honest_and_evil(scene: &Scene) -> (Release, Release) {
    let (honest, evil) = (release("2.0.0", 6), release("evil", 6));
    scene.bench.host().add(&honest);
    (honest, evil)
}

fn bytes(release: &Release) -> Vec<u8> {
    release.app().unwrap().bytes().to_vec()
}

/// Begins an update at each stage at which the device asks for ranges, with answers as given, and
/// expects the code of the attack.
fn fails_at_each_stage(
    attack: &Attack,
    answer: impl Fn(&airlift_virtual_device::deterministic::Request, &[u8]) -> Vec<Step>
    + Copy
    + 'static,
) {
    let scene = Scene::new();
    let (honest, evil) = honest_and_evil(&scene);
    for stage in BEGUN {
        answers(&scene, stage, answer);
        scene.fails(attack, honest.envelope());
        scene.target_holds_nothing_of(&bytes(&evil));
    }
    scene.recovers();
}

fn a_host_that_ignores_ranges_shifts_no_bytes(attack: &Attack) {
    fails_at_each_stage(attack, |_, whole| {
        let length = format!("Content-Length: {}", whole.len());
        send(head("200 OK", &[&length]), whole.to_vec())
    });
}

fn an_answer_with_another_range_is_not_taken(attack: &Attack) {
    for by in [1, 4096] {
        fails_at_each_stage(attack, move |request, whole| {
            let content = right_content(request, whole);
            let length = format!("Content-Length: {}", content.len());
            let range = content_range(request, whole, by);
            send(head("206 Partial Content", &[&length, &range]), content)
        });
    }
    // And without any.
    fails_at_each_stage(attack, |request, whole| {
        let content = right_content(request, whole);
        let length = format!("Content-Length: {}", content.len());
        send(head("206 Partial Content", &[&length]), content)
    });
}

fn an_answer_of_another_length_is_not_taken(attack: &Attack) {
    fails_at_each_stage(attack, |request, whole| {
        let range = content_range(request, whole, 0);
        let length = format!("Content-Length: {}", u32::MAX);
        let head = head("206 Partial Content", &[&length, &range]);
        let first = right_content(request, whole);
        vec![
            Step::Send(head),
            Step::Send(first),
            Step::Repeat(vec![0; 4096]),
        ]
    });
}

fn an_answer_that_can_be_read_in_two_ways_is_not_taken(attack: &Attack) {
    for lengths in [
        &["Content-Length: 1", "Content-Length: {}"][..],
        &["Content-Length: +{}"],
        &["Content-Length: 4294967296{}"],
        &["Content-Length: {}, {}"],
        &[],
    ] {
        fails_at_each_stage(attack, move |request, whole| {
            let content = right_content(request, whole);
            let fields = lengths.iter().chain(&[]);
            let length = content.len().to_string();
            let mut fields: Vec<String> = fields.map(|f| f.replace("{}", &length)).collect();
            fields.push(content_range(request, whole, 0));
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            send(head("206 Partial Content", &fields), content)
        });
    }
}

fn a_chunked_answer_is_not_taken(attack: &Attack) {
    fails_at_each_stage(attack, |request, whole| {
        let content = right_content(request, whole);
        let length = format!("Content-Length: {}", content.len());
        let range = content_range(request, whole, 0);
        let fields = ["Transfer-Encoding: chunked", &length, &range];
        send(head("206 Partial Content", &fields), content)
    });
}

fn a_redirect_is_not_followed(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    let elsewhere = ReleaseHost::new();
    elsewhere.add(&honest);
    let address = "10.0.0.66:7410".parse().unwrap();
    elsewhere.start(scene.bench.scheduler(), scene.bench.network(), address);
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "307 Temporary Redirect",
    ] {
        for stage in BEGUN {
            answers(&scene, stage, move |request, whole| {
                let content = right_content(request, whole);
                let location = format!("Location: http://10.0.0.66:7410{}", request.path);
                let length = format!("Content-Length: {}", content.len());
                let range = content_range(request, whole, 0);
                send(head(status, &[&location, &length, &range]), content)
            });
            scene.fails(attack, honest.envelope());
        }
    }
    assert_eq!(elsewhere.requests(), []);
    scene.recovers();
}

/// The preflight fails with the code of the attack within five seconds, and nothing was erased.
fn fails_before_anything_is_erased(scene: &Scene, attack: &Attack, envelope: &[u8]) {
    let (lines, took) = scene.run(async {
        scene.bench.scheduler().sleep(Duration::from_secs(7)).await;
        let start = scene.bench.scheduler().now();
        let lines = scene
            .bench
            .client()
            .post_envelope(envelope, "")
            .await
            .unwrap();
        let lines = json(lines.all().await);
        (lines, scene.bench.scheduler().now() - start)
    });
    assert_eq!(code(&lines), attack.code());
    assert!(took <= Duration::from_millis(5_001), "{took:?}");
    scene.is_untouched();
}

fn a_host_that_refuses_everything_costs_nothing(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    for status in [
        "404 Not Found",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ] {
        scene
            .bench
            .host()
            .set_script(move |_, _| Some(send(head(status, &["Content-Length: 0"]), Vec::new())));
        fails_before_anything_is_erased(&scene, attack, honest.envelope());
    }
    scene
        .bench
        .host()
        .set_script(|_, _| Some(vec![Step::Close]));
    fails_before_anything_is_erased(&scene, attack, honest.envelope());
    // Or listens at none of its ports.
    let lines = scene.run(scene.posting(honest.envelope(), "?from=http://10.0.0.1:9"));
    assert_eq!(code(&lines), attack.code());
    scene.is_untouched();
    scene.recovers();
}

fn a_host_with_another_envelope_is_not_the_host(attack: &Attack) {
    let scene = Scene::new();
    let (honest, evil) = honest_and_evil(&scene);
    for other in [evil.envelope().to_vec(), vec![0; honest.envelope().len()]] {
        answers(&scene, Stage::Release, move |_, _| {
            let length = format!("Content-Length: {}", other.len());
            send(head("200 OK", &[&length]), other.clone())
        });
        fails_before_anything_is_erased(&scene, attack, honest.envelope());
    }
    scene.recovers();
}

fn an_envelope_that_goes_on_for_ever_is_not_read(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    answers(&scene, Stage::Release, |request, whole| {
        // Right, and then more in the same piece.
        let answer = [right_head(request, whole), whole.to_vec(), vec![0; 9]].concat();
        vec![Step::Send(answer)]
    });
    fails_before_anything_is_erased(&scene, attack, honest.envelope());
    answers(&scene, Stage::Release, |_, whole| {
        let length = format!("Content-Length: {}", u32::MAX);
        vec![
            Step::Send(head("200 OK", &[&length])),
            Step::Send(whole.to_vec()),
            Step::Repeat(vec![0; 4096]),
        ]
    });
    fails_before_anything_is_erased(&scene, attack, honest.envelope());
    scene.recovers();
}

fn a_head_that_never_ends_is_not_read(attack: &Attack) {
    fails_at_each_stage(attack, |_, _| {
        vec![
            Step::Send(b"HTTP/1.1 206 Partial Content\r\n".to_vec()),
            Step::Repeat(
                b"X-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".to_vec(),
            ),
        ]
    });
    // One line that never ends.
    fails_at_each_stage(attack, |_, _| vec![Step::Repeat(vec![b'H'; 100])]);
}

/// Head and content of an answer, and what is sent of it.
type Stall = fn(Vec<u8>, Vec<u8>) -> Vec<Step>;

/// Where an answer stalls: before it, in its head, after it, in its content.
const STALLS: [Stall; 4] = [
    |_, _| vec![Step::Stall],
    |head, _| vec![Step::Send(head[..head.len() / 2].to_vec()), Step::Stall],
    |head, _| vec![Step::Send(head), Step::Stall],
    |head, content| {
        // Less than a chunk: a whole one would be progress.
        let half = content[..content.len().min(4096) / 2].to_vec();
        vec![Step::Send(head), Step::Send(half), Step::Stall]
    },
];

fn a_host_that_stalls_at_first_costs_nothing(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    for stall in STALLS {
        answers(&scene, Stage::Release, move |request, whole| {
            stall(right_head(request, whole), right_content(request, whole))
        });
        fails_before_anything_is_erased(&scene, attack, honest.envelope());
    }
    // Packets are dropped, as by a firewall.
    scene.bench.network().set_silent(HOST, true);
    fails_before_anything_is_erased(&scene, attack, honest.envelope());
    scene.recovers();
}

/// The update is given up with the code of the attack after some 30 seconds.
fn given_up_in_time(scene: &Scene, attack: &Attack, envelope: &[u8]) {
    let (lines, took) = scene.run(async {
        scene.bench.scheduler().sleep(Duration::from_secs(7)).await;
        let start = scene.bench.scheduler().now();
        let lines = scene
            .bench
            .client()
            .post_envelope(envelope, "")
            .await
            .unwrap();
        let lines = json(lines.all().await);
        (lines, scene.bench.scheduler().now() - start)
    });
    scene.failed(attack, &lines);
    assert!((30..41).contains(&took.as_secs()), "{took:?}");
}

fn a_host_that_stalls_in_between_is_given_up(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    for stage in BEGUN {
        for stall in STALLS {
            answers(&scene, stage, move |request, whole| {
                stall(right_head(request, whole), right_content(request, whole))
            });
            given_up_in_time(&scene, attack, honest.envelope());
        }
    }
    // The host is gone without a word once the index was fetched.
    let network = scene.bench.network().clone();
    answers(&scene, Stage::Blob, move |_, _| {
        network.set_silent(HOST, true);
        vec![Step::Reset]
    });
    given_up_in_time(&scene, attack, honest.envelope());
    scene.recovers();
}

fn a_host_that_drips_is_given_up(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    for stage in BEGUN {
        for in_head in [true, false] {
            answers(&scene, stage, move |request, whole| {
                let slow = Duration::from_secs(4);
                let (head, content) = (right_head(request, whole), right_content(request, whole));
                if in_head {
                    return vec![Step::Drip(head, slow)];
                }
                vec![Step::Send(head), Step::Drip(content, slow)]
            });
            given_up_in_time(&scene, attack, honest.envelope());
        }
    }
    scene.recovers();
}

/// Sends the right answer and breaks off after `n` bytes of its content.
fn cut_after(scene: &Scene, n: usize, reset: bool) {
    answers(scene, Stage::Blob, move |request, whole| {
        let mut content = right_content(request, whole);
        content.truncate(n);
        let end = if reset { Step::Reset } else { Step::Close };
        vec![
            Step::Send(right_head(request, whole)),
            Step::Send(content),
            end,
        ]
    });
}

fn connections_that_break_after_any_byte_do_not_end_an_update(_: &Attack) {
    for n in [4096, 4097, 5000, 8191, 8192, 12_345, 40_960] {
        let scene = Scene::new();
        let (honest, _) = honest_and_evil(&scene);
        cut_after(&scene, n, false);
        let lines = scene.offer(&honest);
        ended_well(&lines);
        let image = scene.nor.snapshot();
        assert!(app_of(&image, SlotId::Ota1, bytes(&honest).len()) == bytes(&honest));
    }
}

fn connections_that_bring_no_whole_chunk_are_given_up(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    for (n, reset) in [
        (0, false),
        (1, false),
        (511, true),
        (2048, false),
        (4095, false),
    ] {
        cut_after(&scene, n, reset);
        given_up_in_time(&scene, attack, honest.envelope());
    }
    // Inside of a head, and in every page of hashes.
    for n in [0, 1, 12, 40, 70] {
        for stage in BEGUN {
            answers(&scene, stage, move |request, whole| {
                let head = right_head(request, whole);
                vec![Step::Send(head[..n].to_vec()), Step::Close]
            });
            given_up_in_time(&scene, attack, honest.envelope());
        }
    }
    answers(&scene, Stage::Index, |request, whole| {
        let mut content = right_content(request, whole);
        content.pop();
        let mut steps = send(right_head(request, whole), content);
        steps.push(Step::Close);
        steps
    });
    given_up_in_time(&scene, attack, honest.envelope());
    scene.recovers();
}

/// Serves, for the app of `honest`, index and blob of other bytes.
fn serve_for(scene: &Scene, honest: &Release, index: Option<&[u8]>, blob: &[u8]) {
    let digest = honest.app().unwrap().digest();
    let host = scene.bench.host();
    host.add_resource(format!("/v1/blobs/{digest}"), &blob.to_vec().into());
    if let Some(index) = index {
        host.add_resource(format!("/v1/indexes/{digest}"), &index.to_vec().into());
    }
}

fn a_page_of_hashes_that_nobody_signed_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    let mut evil = bytes(&honest);
    evil[50_000..50_064].fill(0xEE);
    serve_for(&scene, &honest, Some(&index_of(&evil)), &evil);
    let lines = scene.fails(attack, honest.envelope());
    assert!(
        lines.iter().all(|line| line["event"] != "chunk"),
        "no chunk was asked for"
    );
    scene.target_holds_nothing_of(&evil);
    scene.recovers();
}

fn a_page_of_another_part_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let (honest, evil) = honest_and_evil(&scene);
    assert_eq!(bytes(&honest).len(), bytes(&evil).len());
    serve_for(
        &scene,
        &honest,
        Some(&index_of(&bytes(&evil))),
        &bytes(&evil),
    );
    scene.fails(attack, honest.envelope());
    scene.target_holds_nothing_of(&bytes(&evil));
    scene.recovers();
}

fn a_blob_that_is_not_the_signed_one_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let (honest, evil) = honest_and_evil(&scene);
    serve_for(&scene, &honest, None, &bytes(&evil));
    let lines = scene.fails(attack, honest.envelope());
    let refused = lines
        .iter()
        .filter(|line| line["state"] == "refused")
        .count();
    assert_eq!(refused, 8);
    scene.target_holds_nothing_of(&bytes(&evil));
    scene.recovers();
}

fn right_chunks_in_the_wrong_place_are_refused(attack: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    let mut shuffled = bytes(&honest);
    let (first, rest) = shuffled.split_at_mut(20 * 4096);
    first[5 * 4096..6 * 4096].swap_with_slice(&mut rest[..4096]);
    serve_for(&scene, &honest, None, &shuffled);
    let lines = scene.fails(attack, honest.envelope());
    let refused = lines.iter().filter(|line| line["state"] == "refused");
    assert!(refused.into_iter().all(|line| line["n"] == 5));
    scene.recovers();
}

fn a_blob_that_changes_while_it_is_fetched_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let (honest, evil) = honest_and_evil(&scene);
    let other = bytes(&evil);
    scene.bench.host().set_tamper(move |piece, bytes| {
        if piece.path.contains("blobs") && piece.offset >= 10 * 4096 {
            *bytes = other[piece.offset..][..bytes.len()].to_vec();
        }
        Fate::Send
    });
    scene.fails(attack, honest.envelope());
    let image = scene.nor.snapshot();
    let kept = app_of(&image, SlotId::Ota1, 10 * 4096);
    assert!(kept == &bytes(&honest)[..10 * 4096]);
    scene.target_holds_nothing_of(&bytes(&evil));
    scene.recovers();
}

fn a_flipped_bit_is_asked_for_again(_: &Attack) {
    let scene = Scene::new();
    let (honest, _) = honest_and_evil(&scene);
    scene.bench.host().set_tamper(|piece, bytes| {
        if piece.index % 5 == 3 {
            bytes[piece.index as usize % 400] ^= 0x10;
        }
        Fate::Send
    });
    let lines = scene.offer(&honest);
    ended_well(&lines);
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line["state"] == "refused")
        .collect();
    assert!(!refused.is_empty());
    assert!(
        refused
            .iter()
            .all(|line| line["expected"] != line["computed"])
    );
    // A wrong chunk that was written and replaced would have cost a second erase.
    let target = layout(&scene.before(), SlotId::Ota0).ota[1].offset;
    let nor = scene.nor.lock();
    let chunks = honest.app().unwrap().chunks();
    assert!((0..chunks).all(|n| nor.erases_at(target + n * 4096) == 1));
}

fn a_second_answer_behind_the_first_gains_nothing(_: &Attack) {
    let scene = Scene::new();
    let large = airlift_virtual_device::deterministic::sample_app(CHIP, "2.0.0", 400_000);
    let evil = airlift_virtual_device::deterministic::sample_app(CHIP, "evil", 400_000);
    let honest = release_of("2.0.0", 6, Some(large.clone()), None, None);
    scene.bench.host().add(&honest);
    let done = Cell::new(false);
    let wanted = evil.clone();
    answers(&scene, Stage::Blob, move |request, whole| {
        let mut steps = send(right_head(request, whole), right_content(request, whole));
        let end = request.range.clone().unwrap().end;
        if !done.replace(true) && end < whole.len() {
            // The device asks for up to 64 chunks at a time: what it will ask for next is known.
            let next = airlift_virtual_device::deterministic::Request {
                path: request.path.clone(),
                range: Some(end..whole.len().min(end + 64 * 4096)),
            };
            steps.extend(send(
                right_head(&next, &wanted),
                right_content(&next, &wanted),
            ));
        }
        steps
    });
    let lines = scene.offer(&honest);
    ended_well(&lines);
    assert_eq!(DEVICE.port(), 80);
    let image = scene.nor.snapshot();
    assert!(app_of(&image, SlotId::Ota1, large.len()) == large);
}
