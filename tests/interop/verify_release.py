#!/usr/bin/env python3
"""Verifies an Airlift release without any code of Airlift.

Written from the text of the format alone (ARCHITECTURE.md and the documentation
of the crate ``wire``), with libraries that others wrote: ``cbor2`` for CBOR and
``cryptography`` for Ed25519. What this reader and Airlift agree on is the
format; where they differ, one of them has it wrong.

    verify_release.py RELEASE.airlift --trust KEY.pub.pem

Checks, in the order in which a device does: the envelope and its signature,
the manifest, then for each part it carries the size, the SHA-256 of every
4096-byte chunk through the index pages, the SHA-256 of the whole, the header,
checksum and hash of the app image, and every header of the files' tar.

Prints one JSON object with the counts of what was verified. The exit code is 1
if anything differs, with the reason on the error output, and 2 on wrong usage.
"""

import argparse
import hashlib
import json
import pathlib
import re
import sys

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CHUNK = 4096
HASHES_IN_A_PAGE = 128
BLOCK = 512
MAX_ENVELOPE = 4080
MAX_PART = 16 * 1024 * 1024
ANY_CHIP = 0xFFFF
EXTERNAL_AAD = b"airlift-release-v1"
PRODUCT = re.compile(r"[a-z0-9._-]{1,64}")


class Wrong(Exception):
    """Something is not what the format or the manifest says."""


def need(condition, what):
    if not condition:
        raise Wrong(what)


def sha256(data):
    return hashlib.sha256(data).digest()


def deterministic(data, what):
    """Decodes CBOR that must be in the one deterministic form."""
    try:
        value = cbor2.loads(data)
    except Exception as error:
        raise Wrong(f"{what} is not CBOR: {error}") from error
    need(cbor2.dumps(value, canonical=True) == data, f"{what} is not deterministic CBOR")
    return value


def is_uint(value, most=2**64 - 1):
    return type(value) is int and 0 <= value <= most


# --- tar -----------------------------------------------------------------


def entries(tar, what):
    """The entries of a ustar as (path, is_folder, content); nothing may stand after its end."""
    at = 0
    while True:
        block = tar[at : at + BLOCK]
        need(len(block) == BLOCK, f"{what} ends too early")
        if not any(block):
            break
        yield entry(block, tar[at + BLOCK :], what)
        size = int(block[124:135], 8)
        padded = (size + BLOCK - 1) // BLOCK * BLOCK
        need(not any(tar[at + BLOCK + size : at + BLOCK + padded]), f"{what}: padding")
        at += BLOCK + padded
    need(tar[at:] == bytes(2 * BLOCK), f"{what} does not end with two zero blocks")


def entry(block, rest, what):
    name = block[:100].rstrip(b"\0").decode()
    need(b"\0" not in name.encode(), f"{what}: a name with a zero byte")
    kind = block[156:157]
    need(kind in (b"0", b"5"), f"{what}: {name} is neither a file nor a folder")
    folder = kind == b"5"
    need(folder == name.endswith("/"), f"{what}: {name} and its kind")
    size = int(block[124:135], 8)
    expected = {
        "mode": (block[100:108], b"0000755\0" if folder else b"0000644\0"),
        "owner": (block[108:116], b"0000000\0"),
        "group": (block[116:124], b"0000000\0"),
        "time": (block[136:148], b"00000000000\0"),
        "link": (block[157:257], bytes(100)),
        "magic": (block[257:265], b"ustar\00000"),
        "owner names": (block[265:329], bytes(64)),
        "device, prefix": (block[329:512], bytes(183)),
    }
    for field, (found, wanted) in expected.items():
        need(found == wanted, f"{what}: {name} has another {field}")
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    need(block[148:156] == b"%06o\0 " % total, f"{what}: {name} has a wrong checksum")
    need(len(rest) >= size, f"{what} ends inside {name}")
    need(not (folder and size), f"{what}: the folder {name} has content")
    return name, folder, rest[:size]


def check_files(tar):
    """A canonical tar: sorted, plain paths, each folder before its content. Returns the count."""
    last, folders, files = None, set(), set()
    for name, folder, _ in entries(tar, "files.tar"):
        path = name.rstrip("/") if folder else name
        parts = path.split("/")
        need(not set(parts) & {"", ".", ".."}, f"files.tar: the path {name}")
        need(path != "VERSION", "files.tar: VERSION at the top")
        need(last is None or last < name.encode(), f"files.tar: {name} is out of order")
        parent = "/".join(parts[:-1])
        need(not parent or parent in folders, f"files.tar: {name} has no folder before it")
        need(not (folder and path in files), f"files.tar: {path} is a file and a folder")
        (folders if folder else files).add(path)
        last = name.encode()
    return len(folders) + len(files)


# --- app image -----------------------------------------------------------


def check_app(image, chip):
    """Header, segments, checksum and appended SHA-256, as ESP-IDF documents them."""
    need(len(image) > 24 and image[0] == 0xE9, "app.bin is no ESP image")
    found = int.from_bytes(image[12:14], "little")
    need(found == chip, f"app.bin is for chip {found}, the manifest says {chip}")
    at, checksum = 24, 0xEF
    for _ in range(image[1]):
        size = int.from_bytes(image[at + 4 : at + 8], "little")
        data = image[at + 8 : at + 8 + size]
        need(len(data) == size, "app.bin ends inside a segment")
        for byte in data:
            checksum ^= byte
        at += 8 + size
    at += 16 - at % 16
    need(image[at - 1 : at] == bytes([checksum]), "app.bin has a wrong checksum")
    if image[23] == 1:
        need(image[at:] == sha256(image[:at]), "app.bin has a wrong appended SHA-256")
    else:
        need(len(image) == at, "app.bin has bytes after its end")


# --- manifest ------------------------------------------------------------


def check_envelope(data, key):
    """The payload of a COSE_Sign1 that `key` signed."""
    need(len(data) <= MAX_ENVELOPE, "the envelope is too long")
    sign1 = deterministic(data, "the envelope")
    need(type(sign1) is cbor2.CBORTag and sign1.tag == 18, "no COSE_Sign1")
    need(isinstance(sign1.value, (list, tuple)) and len(sign1.value) == 4, "no COSE_Sign1")
    protected, unprotected, payload, signature = sign1.value
    need(not unprotected, "the unprotected header is not empty")
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    kid = sha256(raw)[:8]
    header = deterministic(protected, "the protected header")
    need(header == {1: -8, 4: kid}, "another algorithm or another key signed")
    signed = cbor2.dumps(["Signature1", protected, EXTERNAL_AAD, payload], canonical=True)
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        raise Wrong("the signature does not match") from None
    return kid, payload


def check_manifest(payload):
    m = deterministic(payload, "the manifest")
    need(type(m) is dict and set(range(8)) <= set(m), "the manifest lacks a field")
    need(not set(m) & set(range(9, 16)), "the manifest has an unknown field")
    need(m[0] == 1, "another format")
    need(type(m[1]) is str and PRODUCT.fullmatch(m[1]), "the product")
    need(is_uint(m[2], 0xFFFF), "the chip")
    need(m[2] != ANY_CHIP or not isinstance(m[6], dict), "any chip, but with an app")
    need(type(m[3]) is str and 1 <= len(m[3].encode()) <= 64, "the version")
    need(is_uint(m[4], 2**32 - 1), "the sequence")
    need(is_uint(m[5]), "the time")
    if 8 in m:
        keys = m[8]
        need(set(keys) == {0, 1, 2} and is_uint(keys[0]), "the key set")
        need(1 <= len(keys[2]) <= 4, "the number of release keys")
        need(all(len(key) == 32 for key in [keys[1], *keys[2]]), "the length of a key")
    return m


def check_part(name, part, data):
    """Chunk by chunk through the index pages; returns what was counted."""
    need({0, 1, 2} <= set(part) <= {0, 1, 2, 3}, f"{name}: its fields in the manifest")
    need(3 not in part or name == "files", f"{name}: blocks are for files only")
    need(1 <= part[0] <= MAX_PART and part[0] == len(data), f"{name}: its size")
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    hashes = [sha256(chunk) for chunk in chunks]
    pages = [
        b"".join(hashes[at : at + HASHES_IN_A_PAGE])
        for at in range(0, len(hashes), HASHES_IN_A_PAGE)
    ]
    need(len(pages) == len(part[2]), f"{name}: its number of index pages")
    for n, (page, wanted) in enumerate(zip(pages, part[2])):
        need(sha256(page) == wanted, f"{name}: index page {n}")
    need(sha256(data) == part[1], f"{name}: the hash of the whole")
    return {
        "size": len(data),
        "sha256": part[1].hex(),
        "chunks": len(chunks),
        "pages": len(pages),
    }


def verify(release, key):
    members = list(entries(release, "the release"))
    need(members and members[0][0] == "manifest.cose", "manifest.cose does not come first")
    envelope = members[0][2]
    kid, payload = check_envelope(envelope, key)
    m = check_manifest(payload)
    carried = [
        (name, member, part)
        for name, member, part in (("app", "app.bin", m[6]), ("files", "files.tar", m[7]))
        if isinstance(part, dict)
    ]
    names = [member for _, member, _ in carried]
    need([name for name, _, _ in members[1:]] == names, "the members of the release file")
    parts = {}
    for (name, _, part), (_, _, data) in zip(carried, members[1:]):
        parts[name] = check_part(name, part, data)
        if name == "app":
            check_app(data, m[2])
        else:
            parts[name]["entries"] = check_files(data)
    for part in (m[6], m[7]):
        fits = part is None or isinstance(part, dict) or len(part) == 32
        need(fits, "a part that is not carried is neither a digest nor null")
    return {
        "schema": 1,
        "id": sha256(envelope).hex(),
        "key": kid.hex(),
        "product": m[1],
        "version": m[3],
        "sequence": m[4],
        "parts": parts,
        "pages_verified": sum(part["pages"] for part in parts.values()),
        "chunks_verified": sum(part["chunks"] for part in parts.values()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("release", type=pathlib.Path)
    parser.add_argument("--trust", type=pathlib.Path, required=True, metavar="KEY.pub.pem")
    arguments = parser.parse_args()
    key = load_pem_public_key(arguments.trust.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        parser.error("--trust is not an Ed25519 key")
    try:
        print(json.dumps(verify(arguments.release.read_bytes(), key)))
    except (Wrong, ValueError) as error:
        print(f"{arguments.release}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
