"""Makes a board a device: writes its product and keys, and installs boot.py and this
client. Over USB, once:

    from airlift import setup
    setup.provision("thermostat", "root.pub.pem")

In main.py of the release that the plain protocol brings:

    if setup.move("thermostat", "root.pub.pem", version="2.0.0"):
        machine.reset()
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


def move(product, root, keys=(), name="", version=None):
    """From a release that the plain protocol brought: all of the above, unless it is done.
    Whether it did something; restart the board then."""
    if s.Store().state.trust is None:
        provision(product, root, keys, name)
    elif _same("boot.py", "/boot.py"):
        return False
    install(version=version)
    from .slots import Slots

    Slots().keep()  # the plain protocol knows no trial
    return True


def install(boot="boot.py", version=None, target="/lib/airlift"):
    """Copies this client to /lib, and boot.py to the top: what every slot falls back to.
    `version` is written to the working directory, the folder of the running slot, if it has
    none. boot.py comes last: until then nothing has changed for the board."""
    for folder in ("/lib", target):
        try:
            os.mkdir(folder)
        except OSError:
            pass
    source = __file__.rsplit("/", 1)[0]
    if not source.startswith("/"):
        source = os.getcwd().rstrip("/") + "/" + source
    if source != target:
        for name in os.listdir(source):
            _copy(source + "/" + name, target + "/" + name)
    if version and "VERSION" not in os.listdir():
        with open("VERSION", "w") as file:
            file.write(version + "\n")
    _copy(boot, "/boot.py")


def _same(a, b):
    try:
        with open(a, "rb") as one:
            with open(b, "rb") as other:
                return one.read() == other.read()
    except OSError:
        return False


def _copy(source, target):
    with open(source, "rb") as file:
        with open(target + ".new", "wb") as new:
            while True:
                data = file.read(512)
                if not data:
                    break
                new.write(data)
    os.rename(target + ".new", target)
