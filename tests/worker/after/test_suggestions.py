import pytest

from millrace.worker.contract.events import AnyEvent, Suggestions
from tests.worker.after.conftest import Hire, told


def suggestions(events: list[AnyEvent]) -> list[list[str]]:
    return [event.suggestions for event in events if isinstance(event, Suggestions)]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (["a?", "b?", "c?"], ["a?", "b?", "c?"]),
        (["a?", "b?", "c?", "d?"], ["a?", "b?", "c?"]),
        ([" a\nb? ", "", " ", "a b?"], ["a b?"]),
        (["a" * 500], ["a" * 159 + "…"]),
    ],
)
def test_three_different_lines_at_most_are_suggested(hire: Hire, said: list[str], kept: list[str]) -> None:
    assert suggestions(hire({"suggest_questions": told(suggestions=said)}, titles=0).answer()) == [kept]


@pytest.mark.parametrize("given", [{"suggestions": []}, {"suggestions": [" "]}, {"suggestions": "a?"}, {}])
def test_what_suggests_nothing_is_left_out(hire: Hire, given: dict[str, object]) -> None:
    assert suggestions(hire({"suggest_questions": told(**given)}, titles=0).answer()) == []
