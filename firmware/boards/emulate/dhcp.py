"""A DHCP server (RFC 2131) for one board on one interface: the least that works."""

import socket
import struct
import threading

SERVER_PORT, CLIENT_PORT = 67, 68
MAGIC = b"\x63\x82\x53\x63"
MESSAGE_TYPE, SERVER_ID, END = 53, 54, 255
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
LEASE_SECONDS = 3600


def serve(interface: str, server: str, client: str) -> None:
    """Gives `client` to whoever asks on `interface`, in a thread that ends with the program."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    sock.bind(("", SERVER_PORT))

    def answer() -> None:
        while True:
            packet, _ = sock.recvfrom(1500)
            reply = reply_to(packet, server, client)
            if reply:
                sock.sendto(reply, ("255.255.255.255", CLIENT_PORT))

    threading.Thread(target=answer, daemon=True).start()


def reply_to(packet: bytes, server: str, client: str) -> bytes | None:
    """The answer to a message, or none."""
    if len(packet) < 241 or packet[236:240] != MAGIC or packet[0] != 1:
        return None
    kind = {DISCOVER: OFFER, REQUEST: ACK}.get(option(packet, MESSAGE_TYPE))
    if kind is None:
        return None
    address = socket.inet_aton(server)
    head = bytearray(packet[:236])
    head[0] = 2
    head[16:20] = socket.inet_aton(client)
    head[20:24] = address
    options = [
        (MESSAGE_TYPE, bytes([kind])),
        (SERVER_ID, address),
        (51, struct.pack(">I", LEASE_SECONDS)),
        (1, socket.inet_aton("255.255.255.0")),
        (3, address),
    ]
    body = b"".join(bytes([n, len(value)]) + value for n, value in options)
    return bytes(head) + MAGIC + body + bytes([END])


def option(packet: bytes, wanted: int) -> int | None:
    """The first byte of an option."""
    at = 240
    while at + 2 < len(packet) and packet[at] != END:
        if packet[at] == 0:
            at += 1
            continue
        if packet[at] == wanted:
            return packet[at + 2]
        at += 2 + packet[at + 1]
    return None
