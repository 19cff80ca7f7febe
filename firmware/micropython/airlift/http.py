"""Requests and answers of the device's HTTP API (RFC 9112), one a connection."""

from asyncio import wait_for_ms

from micropython import const

_MAX_HEAD = const(1024)
READ_MS = const(5000)

_STATUS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status, code, message, more=""):
        super().__init__(status, code)
        self.status = status
        self.code = code
        self.message = message
        self.more = more

    def body(self):
        text = '{{"code":"{}","message":"{}"{}}}'
        return text.format(self.code, self.message, self.more)


def malformed(message="the request is malformed"):
    return Refusal(400, "bad_request", message)


class Request:
    def __init__(self, head):
        try:
            lines = str(head, "utf-8").split("\r\n")
        except ValueError:
            raise malformed()
        words = lines[0].split(" ")
        if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
            raise malformed()
        if not words[1].startswith("/"):
            raise malformed()
        self.method = words[0]
        self.path, _, self._query = words[1].partition("?")
        self.length = None
        self.is_cose = self.has_origin = False
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if not colon or not name or name.strip() != name:
                raise malformed()
            if name == "content-length":
                if self.length is not None or not value.isdigit() or len(value) > 9:
                    raise malformed()
                self.length = int(value)
            elif name == "transfer-encoding":
                raise malformed()
            elif name == "content-type":
                self.is_cose = value.lower() == "application/cose"
            elif name == "origin":
                self.has_origin = True

    def parameter(self, name):
        for pair in self._query.split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return value
        return None


def unquote(text):
    """Undoes percent-encoding."""
    pieces = text.split("%")
    out = pieces[0]
    for piece in pieces[1:]:
        try:
            out += chr(int(piece[:2], 16)) + piece[2:]
        except ValueError:
            raise malformed()
    return out


async def read_request(reader):
    """The request, and what came of its content with it."""
    head = b""
    while True:
        end = head.find(b"\r\n\r\n")
        if end >= 0:
            return Request(head[:end]), head[end + 4 :]
        if len(head) >= _MAX_HEAD:
            raise malformed()
        more = await reader.read(_MAX_HEAD - len(head))
        if not more:
            raise OSError(0)
        head += more


async def read_content(reader, early, length):
    content = bytearray(length)
    n = min(len(early), length)
    content[:n] = early[:n]
    view = memoryview(content)
    while n < length:
        more = await reader.readinto(view[n:])
        if not more:
            raise OSError(0)
        n += more
    return bytes(content)


def head(status, kind, length=None, more=""):
    text = "HTTP/1.1 {} {}\r\nContent-Type: {}\r\n".format(status, _STATUS[status], kind)
    if length is not None:
        text += "Content-Length: {}\r\n".format(length)
    return (text + more + "Cache-Control: no-store\r\nConnection: close\r\n\r\n").encode()


async def send(writer, status, body, kind="application/json", more=""):
    if isinstance(body, str):
        body = body.encode()
    writer.write(head(status, kind, len(body), more))
    writer.write(body)
    await wait_for_ms(writer.drain(), READ_MS)
