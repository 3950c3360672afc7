"""The emulated model's picture."""

import zlib
from struct import unpack

from deploy.emulator.picture import SIZE, make_png


def test_picture_is_a_whole_png_whose_checksums_are_right() -> None:
    data = make_png("a")
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    rest = data[8:]
    while rest:
        size, kind = unpack(">I4s", rest[:8])
        body, (checksum,) = rest[8 : 8 + size], unpack(">I", rest[8 + size : 12 + size])
        assert checksum == zlib.crc32(kind + body)
        chunks[kind] = body
        rest = rest[12 + size :]
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert unpack(">II", chunks[b"IHDR"][:8]) == (SIZE, SIZE)
    assert len(zlib.decompress(chunks[b"IDAT"])) == SIZE * (1 + 3 * SIZE)


def test_picture_depends_on_the_seed_only() -> None:
    assert make_png("a") == make_png("a") != make_png("b \ud800")
