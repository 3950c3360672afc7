"""Tests of the `/emulate` directive's parser."""

from typing import Any

import pytest

from deploy.emulator.directive import Directive, ScriptedTool, find_forced, is_directive, parse_directive
from deploy.emulator.faults import ServiceError
from tests.emulator.harness import emulate


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"tokenz": 1}, "tokenz"),
        ({"tokens": "5"}, "tokens"),
        ({"tokens": True}, "tokens"),
        ({"chars": 0}, "chars"),
        ({"rate": -1}, "rate"),
        ({"first_delay": "soon"}, "first_delay"),
        ({"fault": "flood"}, "fault"),
        ({"fault": {"state": 400}}, "state"),
        ({"fault": {"status": 200}}, "status"),
        ({"fault": {"code": "a\r\nb"}}, "code"),
        ({"events": [{"a": 1, "b": 2}]}, "events"),
        ({"events": [{"a b": 1}]}, "events"),
        ({"at": -1}, "at"),
        ({"times": 1.5}, "times"),
        ({"text": 5}, "text"),
        ({"split_surrogates": 1}, "split_surrogates"),
        ({"reasoning": 3}, "reasoning"),
        ({"tool": {"name": "x", "inputs": {}}}, "inputs"),
        ({"stop_reason": "bored"}, "stop_reason"),
        ({"usage": {"tokens": 1}}, "tokens"),
        ({"deltas": "ab"}, "deltas"),
        ({"tokens": 1_000_000, "chars": 1_000_000}, "tokens"),
    ],
)
def test_error_names_the_invalid_key(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(ServiceError, match=rf"Invalid /emulate directive: .*\b{named}\b") as caught:
        parse_directive(emulate(**keys))
    assert caught.value.status == 400


@pytest.mark.parametrize("rest", ["", "{", "[1]", "nonsense", '{"rate": NaN}', "[" * 100_000, '{"\\ud800": 1}'])
def test_directive_without_a_valid_json_object_is_rejected(rest: str) -> None:
    with pytest.raises(ServiceError, match="Invalid /emulate directive"):
        parse_directive("/emulate " + rest)


def test_text_after_the_json_object_is_ignored() -> None:
    assert parse_directive(emulate(text="x") + " and thank you") == Directive(text="x")


def test_null_means_absent() -> None:
    assert parse_directive(emulate(text=None, tokens=None, fault=None)) == Directive()


def test_only_a_message_that_begins_with_the_prefix_is_a_directive() -> None:
    assert is_directive("/emulate {}")
    assert not is_directive(" /emulate {}")
    assert not is_directive("/emulated")


@pytest.mark.parametrize("is_last", [False, True])
def test_scripts_for_forced_tools_are_found_in_a_directive_whose_middle_is_left_out(is_last: bool) -> None:
    keys: dict[str, Any] = {"text": 'a "forced" answer ' * 500}
    script = {"forced": {"look_up": {"tool": {"input": {"a": 1}}}}}
    message = emulate(**(keys | script if is_last else script | keys))
    forced = find_forced(f"{message[:3000]}\n[…]\n{message[-3000:]}")
    assert forced == find_forced(message) == {"look_up": Directive(tool=ScriptedTool(input={"a": 1}))}


def test_scripts_that_are_no_longer_whole_are_lost_and_invalid_ones_are_rejected() -> None:
    assert find_forced(emulate(forced={"look_up": {"text": "a" * 9000}})[:3000]) == {}
    assert find_forced("/emulate {") == find_forced('/emulate {"forced": 5') == {}
    with pytest.raises(ServiceError, match="tokenz"):
        find_forced(emulate(forced={"look_up": {"tokenz": 1}}))
