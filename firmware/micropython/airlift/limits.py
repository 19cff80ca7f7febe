"""Limits of the formats; crates/wire/src/limits.rs has the same."""

from micropython import const

CHUNK = const(4096)  # bytes of a chunk and of an erase sector
PAGE_CHUNKS = const(128)  # hashes in a full index page
DIGEST = const(32)
BLOCK = const(512)  # bytes of a tar block
MAX_PART = const(16777216)
MAX_ENVELOPE = const(4080)
MAX_PATH = const(100)
MAX_ENTRIES = const(4096)
SPARE_BLOCKS = const(4)  # file-system blocks that stay free
