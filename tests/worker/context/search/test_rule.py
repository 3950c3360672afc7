"""The rule for `"auto"` decides labelled and held-out questions correctly in nine of ten cases."""

import pytest

from millrace.worker.context.search.rule import MAX_QUESTION_CHARS, is_worth_searching
from tests.worker.context.search.labelled_questions import (
    HELD_OUT_NOT_SEARCHED,
    HELD_OUT_SEARCHED,
    NOT_SEARCHED,
    SEARCHED,
)


@pytest.mark.parametrize(
    ("searched", "not_searched"),
    [(SEARCHED, NOT_SEARCHED), (HELD_OUT_SEARCHED, HELD_OUT_NOT_SEARCHED)],
    ids=["labelled", "held out"],
)
def test_nine_of_ten_questions_are_decided_correctly(searched: tuple[str, ...], not_searched: tuple[str, ...]) -> None:
    assert len(set(searched)) == len(set(not_searched)) == 20
    wrong = [question for question in searched if not is_worth_searching(question)]
    wrong += [question for question in not_searched if is_worth_searching(question)]
    assert len(wrong) <= 4, wrong


def test_a_long_text_is_searched_only_if_it_asks_for_the_web() -> None:
    letter = "The news of today is good. " * (MAX_QUESTION_CHARS // 20)
    assert not is_worth_searching(letter)
    assert is_worth_searching(f"Search the web for this: {letter}")


def test_quoted_words_do_not_count() -> None:
    assert not is_worth_searching('What does "the latest news from Berlin" mean?')
