"""Chunked transfer coding, torn anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import ProtocolError

from millrace.worker.providers.bedrock.chunked_encoding import MOST_LINE_BYTES, Chunks

BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
EXTENSIONS = st.sampled_from([b"", b";a", b' ; name="1"', b";;"])
TRAILERS = st.sampled_from([b"", b"Expires: never\r\n", b"A: 1\r\nB: 2\r\n"])


def coded(bodies: list[bytes], extension: bytes, trailers: bytes) -> bytes:
    chunks = [b"%x%b\r\n%b\r\n" % (len(body), extension, body) for body in bodies]
    return b"".join([*chunks, b"0", extension, b"\r\n", trailers, b"\r\n"])


@given(BODIES, EXTENSIONS, TRAILERS, st.data())
def test_the_body_comes_out_wherever_the_coding_is_torn(
    bodies: list[bytes], extension: bytes, trailers: bytes, data: st.DataObject
) -> None:
    whole = coded(bodies, extension, trailers)
    places = sorted(data.draw(st.sets(st.integers(0, len(whole)))))
    chunks, out = Chunks(), b""
    for start, end in zip([0, *places], [*places, len(whole)], strict=True):
        assert not chunks.has_ended or start == len(whole)
        out += chunks.body(whole[start:end])
    assert (out, chunks.has_ended) == (b"".join(bodies), True)


@given(BODIES, EXTENSIONS, TRAILERS)
def test_it_has_not_ended_before_its_last_byte(bodies: list[bytes], extension: bytes, trailers: bytes) -> None:
    chunks = Chunks()
    for byte in coded(bodies, extension, trailers):
        assert not chunks.has_ended
        chunks.body(bytes([byte]))
    assert chunks.has_ended


def test_a_chunk_gives_what_there_is_of_it_before_it_is_whole() -> None:
    chunks = Chunks()
    assert chunks.body(b"a\r\n0123") == b"0123"
    assert chunks.body(b"4567") == b"4567"


@pytest.mark.parametrize(
    "coding",
    [
        b"\r\n",
        b"x\r\nabc",
        b"-1\r\nabc",
        b"+1\r\na\r\n",
        b"1_0\r\nabc",
        b"2\r\nabc\r\n0\r\n\r\n",  # one byte more than was said
        b"2\r\nabcd\r\n0\r\n\r\n",  # two more, which could be a size
        b"a" * (MOST_LINE_BYTES + 1),
        b"0\r\n" + b"a: b\r\n" * MOST_LINE_BYTES,
    ],
)
def test_what_is_no_such_coding_is_refused(coding: bytes) -> None:
    with pytest.raises(ProtocolError):
        Chunks().body(coding)
