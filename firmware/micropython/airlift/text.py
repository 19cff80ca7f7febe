"""Text that people are shown, and its bytes."""

_PRODUCT = b"abcdefghijklmnopqrstuvwxyz0123456789._-"
# Marks that change the direction of what follows, and line ends.
_HIDDEN = ((0x61C, 0x61C), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069), (0xFEFF, 0xFEFF))


def is_product(text):
    return 1 <= len(text) <= 64 and all(byte in _PRODUCT for byte in text.encode())


def is_printable(text):
    for character in text:
        point = ord(character)
        if point < 0x20 or 0x7F <= point < 0xA0:
            return False
        if any(low <= point <= high for low, high in _HIDDEN):
            return False
    return True


def is_utf8(data, at, end):
    """Whether data[at:end] is UTF-8 (RFC 3629); the interpreter's own check is
    laxer about overlong forms and surrogates."""
    while at < end:
        first = data[at]
        at += 1
        if first < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= first <= 0xDF:
            more = 1
        elif 0xE0 <= first <= 0xEF:
            more = 2
            if first == 0xE0:
                low = 0xA0
            elif first == 0xED:
                high = 0x9F
        elif 0xF0 <= first <= 0xF4:
            more = 3
            if first == 0xF0:
                low = 0x90
            elif first == 0xF4:
                high = 0x8F
        else:
            return False
        if at + more > end:
            return False
        for _ in range(more):
            if not low <= data[at] <= high:
                return False
            low, high = 0x80, 0xBF
            at += 1
    return True
