"""Tests of the neutral request: which texts are the question and the prefill."""

import pytest

from deploy.emulator.request import EmulatedRequest, Turn


@pytest.mark.parametrize(
    ("turns", "question", "prefill"),
    [
        ([("user", "a", "b")], "b", ""),
        ([("user", "a"), ("assistant", "So ", "be")], "a", "So be"),
        ([("user", "a"), ("assistant", "b"), ("user", "c")], "c", ""),
        ([("user",)], "", ""),
        ([], "", ""),
    ],
)
def test_question_is_the_last_text_of_the_user_and_prefill_a_final_answer(
    turns: list[tuple[str, ...]], question: str, prefill: str
) -> None:
    given = tuple(Turn(role, tuple(texts)) for role, *texts in turns)
    request = EmulatedRequest("Converse", "m", False, [], given, None, {}, None, 1)
    assert (request.question, request.prefill) == (question, prefill)
