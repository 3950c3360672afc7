"""Tests of the frames of server-sent events."""

import json

from deploy.emulator.sse_format import SseFormat, encode_event


def test_a_frame_is_one_line_of_json_whatever_its_text_holds() -> None:
    text = "a\r\nb\n\nc\u2028\x85\x0b\ud800"
    for name in ("", "ping"):
        frame = encode_event(name, {"text": text})
        head, _, data = frame.removesuffix(b"\n\n").rpartition(b"\n")
        assert head == (b"event: ping" if name else b"")
        assert b"\r" not in frame
        assert json.loads(data.removeprefix(b"data: ")) == {"text": text}


def test_corrupt_bytes_are_no_text() -> None:
    damaged = SseFormat().corrupt(encode_event("", {"text": "é"}))
    assert damaged.decode("utf-8", "replace").count("\ufffd") >= 2
    assert damaged.endswith(b"\n\n")
