"""The upstream service's fields: any names, paths through objects and lists, and answers of any form."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.protocol import Delta, Prompt, Stopped
from millrace.worker.providers.rlm.fields import StreamMapper, build_body, find, parse_answer
from millrace.worker.settings.provider_groups import RlmSettings

HISTORY = (PromptMessage("user", "a"), PromptMessage("assistant", "b"))
PROMPT = Prompt("rlm", (*HISTORY, PromptMessage("user", "c")), 9, system=("Be brief.", "Rhyme."), profile="Ada")
SENT = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
DEFAULT = RlmSettings()

MEMBERS = ("content", "text", "delta", "done", "error", "answer", "new", "0", "code", "status", "message")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.tuples(st.sampled_from(["", "", "", "message", "error", "done", "ping"]), VALUES)


def read(*events: Any, is_framed: bool = True) -> list[Delta]:
    """Return the deltas of a stream; an event is its JSON, or its name and its JSON, or its very bytes."""
    mapper = StreamMapper(DEFAULT.delta_fields, DEFAULT.answer_field)
    deltas: list[Delta] = []
    for event in events:
        name, value = event if isinstance(event, tuple) else ("", event)
        deltas += mapper.map(name, value if isinstance(value, bytes) else json.dumps(value).encode())
    return deltas + mapper.end(is_framed=is_framed)


def code_of(call: Any) -> str:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value.code


def test_a_question_has_message_history_profile_and_instructions() -> None:
    assert build_body(PROMPT, DEFAULT) == {
        "message": "c",
        "history": SENT,
        "profile": "Ada",
        "system": "Be brief.\n\nRhyme.",
    }


def test_each_field_has_any_name_or_path_and_can_be_left_out() -> None:
    settings = RlmSettings(
        message_field="input.text", history_field="input.turns", profile_field="about-user", system_field=""
    )
    assert build_body(PROMPT, settings) == {"input": {"text": "c", "turns": SENT}, "about-user": "Ada"}


def test_an_answer_is_found_at_its_path() -> None:
    assert parse_answer(b'{"answer": "a \\u2028 b", "more": 1}', "answer") == "a \u2028 b"
    nested = {"data": {"choices": [{"text": "x"}, {"text": "y"}]}}
    assert parse_answer(json.dumps(nested).encode(), "data.choices.1.text") == "y"
    for path in ("data.choices.2.text", "data.choices.x", "data.x.y", "x", "data.choices.-1"):
        assert find(nested, path) is None


def test_a_body_without_an_answer_is_unreadable_or_its_own_error() -> None:
    for body in (b"", b"[]", b"null", b"<html>", b'{"answer": 5}', b'{"answer": " \\n"}', b'{"answer": null}', b"{"):
        assert code_of(lambda body=body: parse_answer(body, "answer")) == "provider_rejected", body
    for error, code in (
        ("The model is away.", "provider_unavailable"),
        ({"code": 429, "message": "slow"}, "provider_throttled"),
        ({"message": "prompt is too long: 9 tokens > 8 maximum"}, "context_too_long"),
        ([1], "provider_unavailable"),
    ):
        body = json.dumps({"error": error}).encode()
        assert code_of(lambda body=body: parse_answer(body, "answer")) == code, error
    assert parse_answer(b'{"answer": "a", "error": null}', "answer") == "a"


def test_pieces_are_found_in_the_first_field_that_has_one_and_each_kind_of_end_counts() -> None:
    expected = [Chunk("a"), Chunk("b"), Stopped("end_turn")]
    pieces: list[Any] = [{"content": "a"}, {"content": "", "delta": "b"}]
    assert read(*pieces) == expected, "the end of the response"
    assert read(*pieces, b" [DONE] ", {"content": "c"}, is_framed=False) == expected
    assert read(*pieces, {"done": True}, {"content": "c"}, is_framed=False) == expected
    assert read(*pieces, ("done", b"any text"), {"content": "c"}, is_framed=False) == expected
    assert read({"content": "a", "done": False}, {"text": "b", "done": True}, is_framed=False) == expected
    assert read("a", "b", {"usage": 5}, ("ping", {}), None) == expected, "texts themselves; other events say nothing"


def test_a_stream_without_the_mark_that_it_should_have_is_cut_off() -> None:
    assert read({"content": "a"}, is_framed=False) == [Chunk("a")]
    assert read({"content": "a", "done": False}) == [Chunk("a")]


def test_a_whole_answer_at_the_end_counts_only_where_no_piece_has_come() -> None:
    assert read({"status": "thinking"}, {"answer": "ab", "done": True}) == [Chunk("ab"), Stopped("end_turn")]
    assert read({"content": "a"}, {"answer": "a"}) == [Chunk("a"), Stopped("end_turn")]
    assert read({"content": "a"}, ("complete", {"content": "a"})) == [Chunk("a"), Stopped("end_turn")]


def test_errors_empty_streams_and_odd_pieces_end_in_errors() -> None:
    cases: list[tuple[list[Any], str]] = [
        ([{"content": "a"}, {"error": "away"}], "provider_unavailable"),
        ([("error", {"code": 503})], "provider_unavailable"),
        ([("error", b"not JSON")], "provider_unavailable"),
        ([{"error": {"status": 401}}], "provider_authentication"),
        *((events, "provider_rejected") for events in ([], [{"done": True}], [{"content": 5}], [{"text": ["a"]}])),
        ([b'{"conte'], "provider_rejected"),
    ]
    for events, code in cases:
        assert code_of(lambda events=events: read(*events)) == code, events


@given(st.lists(EVENTS, max_size=5), st.booleans())
@example([("", {"error": {"code": 10**30}})], True)
def test_events_of_any_form_are_read_or_end_in_an_error_of_the_provider(events: list[Any], is_framed: bool) -> None:
    deltas: list[Delta] = []
    with suppress(ProviderError):
        deltas = read(*events, is_framed=is_framed)
    assert all(isinstance(delta, Chunk | Stopped) for delta in deltas)
    assert not deltas or isinstance(deltas[0], Chunk)
