"""Tests of the JSON that all wires write."""

import json

from deploy.emulator.wire import json_bytes


def test_json_is_utf8_and_escaped_only_where_utf8_cannot_encode_it() -> None:
    assert json_bytes({"a": "é水"}) == '{"a":"é水"}'.encode()
    assert json_bytes(["\ud800é"]) == rb'["\ud800\u00e9"]'
    assert json.loads(json_bytes(["\ud800é"])) == ["\ud800é"]
