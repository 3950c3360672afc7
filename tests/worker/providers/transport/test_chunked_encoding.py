"""The chunked decoder, fed with pieces that are split at any byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ProtocolError

from millrace.worker.providers.transport.chunked_encoding import MAX_LINE_BYTES, ChunkedDecoder

BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
EXTENSIONS = st.sampled_from([b"", b";a", b' ; name="1"', b";;"])
TRAILERS = st.sampled_from([b"", b"Expires: never\r\n", b"A: 1\r\nB: 2\r\n"])


def encode(bodies: list[bytes], extension: bytes, trailers: bytes) -> bytes:
    chunks = [b"%x%b\r\n%b\r\n" % (len(body), extension, body) for body in bodies]
    return b"".join([*chunks, b"0", extension, b"\r\n", trailers, b"\r\n"])


@given(BODIES, EXTENSIONS, TRAILERS, st.data())
def test_the_body_is_decoded_wherever_the_bytes_are_split(
    bodies: list[bytes], extension: bytes, trailers: bytes, data: st.DataObject
) -> None:
    whole = encode(bodies, extension, trailers)
    places = sorted(data.draw(st.sets(st.integers(0, len(whole)))))
    decoder, out = ChunkedDecoder(), b""
    for start, end in zip([0, *places], [*places, len(whole)], strict=True):
        assert not decoder.has_ended or start == len(whole)
        out += decoder.decode(whole[start:end])
    assert (out, decoder.has_ended) == (b"".join(bodies), True)


@given(BODIES, EXTENSIONS, TRAILERS)
def test_the_end_is_reported_at_the_last_byte_and_not_before(
    bodies: list[bytes], extension: bytes, trailers: bytes
) -> None:
    decoder = ChunkedDecoder()
    for byte in encode(bodies, extension, trailers):
        assert not decoder.has_ended
        decoder.decode(bytes([byte]))
    assert decoder.has_ended


def test_an_incomplete_chunk_is_returned_as_far_as_it_has_arrived() -> None:
    decoder = ChunkedDecoder()
    assert decoder.decode(b"a\r\n0123") == b"0123"
    assert decoder.decode(b"4567") == b"4567"


@pytest.mark.parametrize(
    "coding",
    [
        b"\r\n",
        b"x\r\nabc",
        b"-1\r\nabc",
        b"+1\r\na\r\n",
        b"1_0\r\nabc",
        b"2\r\nabc\r\n0\r\n\r\n",  # one byte more than the size
        b"2\r\nabcd\r\n0\r\n\r\n",  # two bytes more, which could be a size
        b"a" * (MAX_LINE_BYTES + 1),
        b"0\r\n" + b"a: b\r\n" * MAX_LINE_BYTES,
    ],
)
def test_invalid_chunked_coding_is_rejected_behind_the_bytes_before_it(coding: bytes) -> None:
    decoder = ChunkedDecoder()
    if coding.startswith(b"2"):
        assert decoder.decode(coding) == b"ab"
        assert decoder.damage
        coding = b"more"
    with pytest.raises(ProtocolError):
        decoder.decode(coding)
    assert not decoder.has_ended
