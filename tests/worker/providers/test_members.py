"""Members of a provider's JSON: any value of any type is read or ends the answer with one error."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.errors import ProviderError
from millrace.worker.providers.members import (
    bytes_of,
    checked,
    count_of,
    list_of,
    merge,
    name_of,
    object_of,
    parse_object,
    text_of,
    unreadable,
)

TEXTS = st.text(max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=5)


def rejects(call: Callable[[Any], object], value: Any) -> bool:
    with suppress(ProviderError):
        call(value)
        return False
    return True


@given(VALUES)
def test_a_member_is_of_its_type_or_an_error(value: Any) -> None:
    for call, kind in ((object_of, dict), (list_of, list), (text_of, str)):
        assert rejects(call, value) == (value is not None and not isinstance(value, kind))
    assert rejects(name_of, value) == (not isinstance(value, str) or not value)
    assert isinstance(count_of(value), int)


def test_absent_members_are_empty_and_odd_counts_are_0() -> None:
    assert (object_of(None), list_of(None), text_of(None)) == ({}, [], "")
    assert [count_of(each) for each in (5, 0, -1, True, 2**53 + 1, 1.5, "5", None)] == [5, 0, 0, 0, 0, 0, 0, 0]


@given(st.dictionaries(TEXTS, VALUES, max_size=3))
def test_any_json_object_is_parsed_as_the_standard_library_does(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert json.dumps(parse_object(text.encode("utf-8", "surrogatepass"))) == json.dumps(value)


def test_half_of_a_surrogate_pair_is_kept_and_no_object_is_an_error() -> None:
    assert parse_object(b'{"a": "\\ud83d"}') == {"a": "\ud83d"}
    for odd in (b"", b"[]", b"null", b"5", b"{", b'{"a": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000, "{'a': 1}"):
        assert rejects(parse_object, odd), odd[:20]


def test_an_unreadable_answer_may_be_asked_for_again_by_the_user() -> None:
    error = unreadable()
    assert (error.code, error.retryable, error.is_transient) == ("provider_rejected", True, False)


@pytest.mark.parametrize("odd", [{"a": float("nan")}, [float("inf")]])
def test_numbers_that_json_does_not_have_are_rejected(odd: Any) -> None:
    assert rejects(checked, odd)


def test_nesting_beyond_its_limit_is_rejected() -> None:
    for depth, expected in ((50, False), (101, True)):
        value: Any = 1
        for _ in range(depth):
            value = [value]
        assert rejects(checked, value) == expected


@given(VALUES)
def test_bytes_are_read_from_base64_or_end_the_answer(value: Any) -> None:
    assert bytes_of(None) == b""
    assert rejects(bytes_of, value) or isinstance(value, str | None)
    assert bytes_of(b"raw") == b"raw"
    assert bytes_of("aGk=") == b"hi"


def test_the_operators_arguments_are_merged_into_ours() -> None:
    ours = {"requestMetadata": {"generation": "g"}, "outputConfig": {"textFormat": {}}}
    given = {"requestMetadata": {"team": "t"}, "outputConfig": {"effort": "low"}, "serviceTier": {"type": "flex"}}
    assert merge(ours, given) == {
        "requestMetadata": {"generation": "g", "team": "t"},
        "outputConfig": {"textFormat": {}, "effort": "low"},
        "serviceTier": {"type": "flex"},
    }
