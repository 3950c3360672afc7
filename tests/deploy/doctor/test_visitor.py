"""The visitor reads frames as they come, also where they are split or compressed."""

import time
import zlib
from collections.abc import Iterator

import httpx

from deploy.doctor.visitor import Stream, code_of, problem_of

FRAMES = (
    b": hello\n\nretry: 1000\n\n",
    b'data: {"type":"chunk","content":"\xc3',
    b'\xa4"}\nid: 7-2\n\nevent: ping\ndata: {"type":"ping"}\n\ndata: {"type":"do',
    b'ne"}\nid: 7-3\n\n',
)


def test_frames_that_are_split_or_compressed_are_whole_and_heartbeats_have_no_event() -> None:
    packer = zlib.compressobj(wbits=31)
    compressed = [packer.compress(each) + packer.flush(zlib.Z_SYNC_FLUSH) for each in FRAMES]
    for parts, headers in ((FRAMES, {}), (compressed, {"Content-Encoding": "gzip"})):
        began = time.monotonic()

        def body(parts: Iterator[bytes]) -> Iterator[bytes]:
            for part in parts:
                time.sleep(0.02)
                yield part

        response = httpx.Response(200, headers=headers, content=body(iter(parts)))
        found = list(Stream(response).arrivals())
        assert [(each.cursor, each.event) for each in found] == [
            *(("7-2", {"type": "chunk", "content": "ä"}), ("", None), ("7-3", {"type": "done"})),
        ]
        assert found[0].at - began >= 0.06
        assert found[2].at - found[0].at >= 0.02


def test_response_is_described_by_its_problem_or_by_its_text() -> None:
    problem = httpx.Response(429, json={"code": "rate_limited", "detail": "Slow down."})
    assert (problem_of(problem), code_of(problem)) == ("429 rate_limited: Slow down.", "rate_limited")
    page = httpx.Response(502, text="<html>Bad Gateway</html>")
    assert (problem_of(page), code_of(page)) == ("502 '<html>Bad Gateway</html>'", "")
    assert problem_of(httpx.Response(200, json=[1])) == "200 '[1]'"
