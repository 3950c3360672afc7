"""Suggestions: the validation of the reply."""

import pytest

from millrace.worker.contract.events import AnyEvent, Suggestions
from tests.worker.after.harness import MakeHarness, tool_reply


def suggestions(events: list[AnyEvent]) -> list[list[str]]:
    return [event.suggestions for event in events if isinstance(event, Suggestions)]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (["a?", "b?", "c?"], ["a?", "b?", "c?"]),
        (["a?", "b?", "c?", "d?"], ["a?", "b?", "c?"]),
        ([" a\nb? ", "", " ", "a b?"], ["a b?"]),
        (["a" * 500], ["a" * 159 + "…"]),
        ('["a?", "b?"]', ["a?", "b?"]),
        ([{"question": "a?"}, 5, "b?"], ["a?", "b?"]),
    ],
)
def test_suggestions_are_at_most_three_short_distinct_lines(
    make_harness: MakeHarness, reply: object, expected: list[str]
) -> None:
    harness = make_harness({"suggest_questions": tool_reply(suggestions=reply)}, titles=0)
    assert suggestions(harness.answer()) == [expected]


@pytest.mark.parametrize("reply", [{"suggestions": []}, {"suggestions": [" "]}, {"suggestions": "a?"}, {}])
def test_reply_without_suggestions_appends_no_event(make_harness: MakeHarness, reply: dict[str, object]) -> None:
    harness = make_harness({"suggest_questions": tool_reply(**reply)}, titles=0)
    assert suggestions(harness.answer()) == []
