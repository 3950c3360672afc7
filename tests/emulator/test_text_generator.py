"""Tests of the generated text and of the default answer."""

from hypothesis import given
from hypothesis import strategies as st

from deploy.emulator.text_generator import default_answer, generate_text

any_text = st.text(st.characters(exclude_categories=()), max_size=50)  # including lone surrogates


@given(seed=any_text, length=st.integers(0, 10_000))
def test_generated_text_has_exactly_the_requested_length(seed: str, length: int) -> None:
    assert len(generate_text(seed, length)) == length


@given(seed=any_text)
def test_equal_seeds_give_equal_texts_and_shorter_ones_are_prefixes(seed: str) -> None:
    assert generate_text(seed, 5000)[:100] == generate_text(seed, 100)


def test_different_seeds_give_different_texts() -> None:
    assert generate_text("a", 100) != generate_text("b", 100)


def test_default_answer_states_that_no_model_was_called_and_quotes_the_question() -> None:
    text = "".join(default_answer("Why is\nthe sky blue?", "a-model"))
    assert "No model was called" in text
    assert "stands in for `a-model`" in text
    assert "> Why is\n> the sky blue?\n" in text


def test_default_answer_shortens_a_long_question_and_handles_an_empty_one() -> None:
    text = "".join(default_answer("x" * 1000, "a-model"))
    assert f"> {'x' * 280} …\n" in text
    assert "> (a message without text)\n" in "".join(default_answer("", "a-model"))
