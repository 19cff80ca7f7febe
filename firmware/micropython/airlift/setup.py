"""Makes a board a device: writes its product and keys, and installs boot.py and this
client. Run once, over USB or from a release that the plain protocol brought.

    from airlift import setup
    setup.provision("thermostat", "root.pub.pem")
    setup.install()
"""

import os
from binascii import a2b_base64

from . import state as s
from .ed25519 import is_usable
from .text import is_printable, is_product

# SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), but for the key itself.
_SPKI = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"


def key_of(pem):
    """The raw key of a public key file: its name, or its text."""
    if "-----" not in pem:
        with open(pem) as file:
            pem = file.read()
    lines = [line.strip() for line in pem.strip().split("\n")]
    if lines[0] != "-----BEGIN PUBLIC KEY-----":
        raise ValueError("not a public key file; KEY.pub.pem is one")
    data = a2b_base64("".join(lines[1:-1]))
    if data[:12] != _SPKI or len(data) != 44 or not is_usable(data[12:]):
        raise ValueError("not an Ed25519 public key")
    return data[12:]


def provision(product, root, keys=(), name="", again=False):
    """Writes product, root key and release keys (without any, the root signs releases).
    A board that has keys keeps them unless `again` is True."""
    store = s.Store()
    if store.state.trust and not again:
        raise ValueError("this board has keys already")
    if not is_product(product) or not is_printable(name) or len(name.encode()) > 32:
        raise ValueError("a product has 1 to 64 of a-z 0-9 . _ -, a name at most 32 bytes")
    root = key_of(root)
    state = store.state
    state.trust = (0, root, [key_of(key) for key in keys] or [root])
    state.product = product
    state.name = name
    store.save()


def install(boot="boot.py", target="/lib/airlift"):
    """Copies this client to /lib, and boot.py to the top: what every slot falls back to.
    boot.py comes last: until then nothing has changed for the board."""
    for folder in ("/lib", target):
        try:
            os.mkdir(folder)
        except OSError:
            pass
    source = __file__.rsplit("/", 1)[0] if "/" in __file__ else "."
    if not source.startswith("/"):
        source = os.getcwd().rstrip("/") + "/" + source
    if source != target:
        for name in os.listdir(source):
            _copy(source + "/" + name, target + "/" + name)
    _copy(boot, "/boot.py")


def _copy(source, target):
    with open(source, "rb") as file:
        with open(target + ".new", "wb") as new:
            while True:
                data = file.read(512)
                if not data:
                    break
                new.write(data)
    os.rename(target + ".new", target)
