"""Tests of the wires as a whole: the JSON that they write, the paths and the faults that they have."""

import json
from typing import get_args

from deploy.emulator.__main__ import WIRES
from deploy.emulator.directive import Directive
from deploy.emulator.faults import ErrorFault, TransportFault
from deploy.emulator.wire import json_bytes


def test_json_is_utf8_and_escaped_only_where_utf8_cannot_encode_it() -> None:
    assert json_bytes({"a": "é水"}) == '{"a":"é水"}'.encode()
    assert json_bytes(["\ud800é"]) == rb'["\ud800\u00e9"]'
    assert json.loads(json_bytes(["\ud800é"])) == ["\ud800é"]


def test_every_wire_words_every_error_or_says_that_it_does_not_have_it() -> None:
    for wire in WIRES:
        for fault in get_args(ErrorFault):
            if fault not in wire.unsupported:
                assert wire.find_error(fault).status >= 400, (wire, fault)


def test_every_key_and_fault_that_a_wire_does_not_have_is_one() -> None:
    known = {*Directive.__struct_fields__, *get_args(ErrorFault), *get_args(TransportFault)}
    assert not {name for wire in WIRES for name in wire.unsupported} - known


def test_each_path_belongs_to_one_vendor_and_the_last_wire_serves_all_others() -> None:
    for path in (
        "/v1/chat/completions",
        "/v1/messages",
        "/v1beta/models/m:generateContent",
        "/rlm",
        "/model/m/converse",
    ):
        assert sum(wire.serves(path) for wire in WIRES[:-1]) == (not path.startswith("/model")), path
        assert WIRES[-1].serves(path)
