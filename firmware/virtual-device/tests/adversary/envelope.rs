//! The envelope: signatures that are none, and forms that could be read in two ways.

use crate::attack::{Attack, attacks};
use crate::forge::{Draft, STRANGER, cbor, cose, protected, public, sign, signature};
use crate::kit::*;
use crate::scene::Scene;
use airlift_wire::ErrorCode::*;
use airlift_wire::envelope::EXTERNAL_AAD;

attacks! { "Envelope";
    a_signature_that_does_not_match_is_refused {
        threat: "TUF arbitrary installation; THREAT.IMG.NON_AUTH; THREAT.NET.ONPATH",
        attacker: "Changes one bit of a signed release, or puts its own manifest under the signature.",
        device: "Checks the Ed25519 signature over every byte before it reads the manifest.",
        code: Some(BadSignature),
        mutant: "signature-does-not-decide",
    }
    a_release_without_a_signature_is_refused {
        threat: "THREAT.IMG.NON_AUTH",
        attacker: "Names a trusted key and leaves the signature blank.",
        device: "Refuses it.",
        code: Some(BadSignature),
        mutant: "signature-does-not-decide",
    }
    a_trusted_name_on_the_signature_of_a_stranger_is_refused {
        threat: "TUF arbitrary installation",
        attacker: "Signs with its own key and names the id of a trusted one.",
        device: "Uses the id to choose a key, and only the signature to decide.",
        code: Some(BadSignature),
        mutant: "signature-does-not-decide",
    }
    a_signature_made_for_something_else_is_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Presents what the owner signed with the same key in another protocol.",
        device: "Checks the signature over a context that is Airlift's own.",
        code: Some(BadSignature),
        mutant: "signature-without-a-context",
    }
    a_second_form_of_the_same_signature_is_refused {
        threat: "TUF rollback",
        attacker: "Adds the order of the group to a signature: the same release under a new id.",
        device: "Verifies strictly (RFC 8032): one release has one id.",
        code: Some(BadSignature),
        mutant: "signature-does-not-decide",
    }
    bytes_behind_an_envelope_are_refused {
        threat: "THREAT.IMG.EXTRA",
        attacker: "Appends bytes that no signature covers.",
        device: "Refuses any byte that is not part of the one form.",
        code: Some(BadEnvelope),
        mutant: "bytes-may-follow-the-envelope",
    }
    header_fields_that_nobody_signed_are_refused {
        threat: "THREAT.MFST.OVERRIDE",
        attacker: "Adds parameters to the unprotected header.",
        device: "Requires that header to be empty.",
        code: Some(BadEnvelope),
        mutant: "unprotected-header-is-ignored",
    }
    another_algorithm_is_refused {
        threat: "TUF arbitrary installation",
        attacker: "Names a weaker algorithm, or none.",
        device: "Knows EdDSA only and refuses the rest before it looks at a key.",
        code: Some(BadEnvelope),
        mutant: "algorithm-is-ignored",
    }
    a_broken_envelope_is_refused {
        threat: "TUF endless data",
        attacker: "Cuts an envelope off anywhere, or claims lengths that it does not have.",
        device: "Reads lengths against what is there; nothing is reserved for a promise.",
        code: Some(BadEnvelope),
        mutant: "a-broken-envelope-is-a-bad-signature",
    }
}

fn a_signature_that_does_not_match_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let honest = Draft::new();
    let envelope = honest.served(&scene.bench);
    // The last bytes of R and of the signature, and a byte of the manifest.
    let len = envelope.len();
    for at in [len - 33, len - 1, len - 100] {
        let mut changed = envelope.clone();
        changed[at] ^= 1;
        honest.serve_as(&scene.bench, &changed);
        scene.refuses(attack, &changed);
    }
    // Another manifest under an old signature.
    let old = scene.old.envelope();
    let header = protected(cbor::negative(7), &public(&RELEASE).id().0);
    let swapped = cose(
        &header,
        &cbor::map(&[]),
        &honest.payload(),
        &old[old.len() - 64..],
    );
    honest.serve_as(&scene.bench, &swapped);
    scene.refuses(attack, &swapped);
    scene.recovers();
}

fn a_release_without_a_signature_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let draft = Draft::new();
    let header = protected(cbor::negative(7), &public(&RELEASE).id().0);
    let blank = cose(&header, &cbor::map(&[]), &draft.payload(), &[0; 64]);
    draft.serve_as(&scene.bench, &blank);
    scene.refuses(attack, &blank);
    scene.recovers();
}

fn a_trusted_name_on_the_signature_of_a_stranger_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let draft = Draft::new();
    let header = protected(cbor::negative(7), &public(&RELEASE).id().0);
    let theirs = signature(&STRANGER, &header, EXTERNAL_AAD, &draft.payload());
    let envelope = cose(&header, &cbor::map(&[]), &draft.payload(), &theirs);
    draft.serve_as(&scene.bench, &envelope);
    scene.refuses(attack, &envelope);
    scene.recovers();
}

fn a_signature_made_for_something_else_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let draft = Draft::new();
    let header = protected(cbor::negative(7), &public(&RELEASE).id().0);
    for context in [&b""[..], b"airlift-fresh-v1", b"airlift-release-v2"] {
        let elsewhere = signature(&RELEASE, &header, context, &draft.payload());
        let envelope = cose(&header, &cbor::map(&[]), &draft.payload(), &elsewhere);
        draft.serve_as(&scene.bench, &envelope);
        scene.refuses(attack, &envelope);
    }
    scene.recovers();
}

/// The order of the group of Ed25519, least significant byte first (RFC 8032 section 5.1).
const ORDER: [u8; 32] = [
    0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn a_second_form_of_the_same_signature_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let draft = Draft::new();
    let mut envelope = draft.envelope();
    let start = envelope.len() - 32;
    let mut carry = 0;
    for (byte, add) in envelope[start..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert_eq!(carry, 0, "the sum still fits");
    draft.serve_as(&scene.bench, &envelope);
    scene.refuses(attack, &envelope);
    scene.recovers();
}

fn bytes_behind_an_envelope_are_refused(attack: &Attack) {
    let scene = Scene::new();
    let draft = Draft::new();
    for more in [&[0][..], &[0xA0; 40], &draft.envelope()] {
        let longer = [&draft.envelope(), more].concat();
        draft.serve_as(&scene.bench, &longer);
        scene.refuses(attack, &longer);
    }
    scene.recovers();
}

fn header_fields_that_nobody_signed_are_refused(attack: &Attack) {
    let scene = Scene::new();
    let draft = Draft::new();
    let header = protected(cbor::negative(7), &public(&RELEASE).id().0);
    let right = signature(&RELEASE, &header, EXTERNAL_AAD, &draft.payload());
    let fields = cbor::map(&[(3, cbor::text("application/octet-stream"))]);
    let envelope = cose(&header, &fields, &draft.payload(), &right);
    draft.serve_as(&scene.bench, &envelope);
    scene.refuses(attack, &envelope);
    scene.recovers();
}

fn another_algorithm_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let draft = Draft::new();
    // ES256, RSASSA-PSS, HMAC (with the public key as its secret, perhaps), and a number below.
    for algorithm in [
        cbor::negative(6),
        cbor::negative(36),
        cbor::uint(5),
        cbor::uint(0),
    ] {
        let header = protected(algorithm, &public(&RELEASE).id().0);
        let right = signature(&RELEASE, &header, EXTERNAL_AAD, &draft.payload());
        let envelope = cose(&header, &cbor::map(&[]), &draft.payload(), &right);
        draft.serve_as(&scene.bench, &envelope);
        scene.refuses(attack, &envelope);
    }
    scene.recovers();
}

fn a_broken_envelope_is_refused(attack: &Attack) {
    let scene = Scene::new();
    let whole = Draft::new().envelope();
    for len in [1, 2, 8, 20, whole.len() / 2, whole.len() - 1] {
        scene.refuses(attack, &whole[..len]);
    }
    // A byte string of four exabytes.
    let liar = [&whole[..18], &[0x5B, 0x40, 0, 0, 0, 0, 0, 0, 0]].concat();
    scene.refuses(attack, &liar);
    // Arrays of indefinite length, and a message without its tag.
    let mut indefinite = whole.clone();
    indefinite[1] = 0x9F;
    indefinite.push(0xFF);
    scene.refuses(attack, &indefinite);
    scene.refuses(attack, &whole[1..]);
    assert_eq!(sign(&RELEASE, &Draft::new().payload()), whole);
    scene.recovers();
}
