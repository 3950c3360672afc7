"""A small picture for an answer: a PNG of one colour, which the seed decides."""

import zlib
from hashlib import sha256
from struct import pack

SIZE = 48  # pixels, in both directions


def make_png(seed: str) -> bytes:
    """Return a PNG; the same one for the same seed."""
    pixel = sha256(seed.encode("utf-8", "surrogatepass")).digest()[:3]
    rows = (b"\0" + pixel * SIZE) * SIZE  # each row begins with its filter: none
    header = pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))
