"""What of a turn is shown to the small model, and what of its words is kept: pure."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.after.turn import EXCERPT_CHARS, CompletedTurn, build_prompt, excerpt, one_line
from millrace.worker.providers.protocol import Tool
from millrace.worker.settings.schema import Settings

any_text = st.text(st.characters(exclude_categories=()), max_size=300)


def test_a_long_text_is_shown_by_its_beginning_and_its_end() -> None:
    shown = excerpt("a" * 10_000 + "b" * 10_000)
    assert len(shown) <= EXCERPT_CHARS + 10
    assert (shown[0], shown[-1]) == ("a", "b")
    assert excerpt("a" * EXCERPT_CHARS) == "a" * EXCERPT_CHARS


@given(any_text, st.integers(1, 300))
def test_a_line_is_one_short_line_without_what_does_not_print(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most
    assert line.isprintable()
    assert line == line.strip()


def test_however_long_the_turn_the_prompt_is_bounded() -> None:
    turn = CompletedTurn("g", "o", "c", "q" * 1_000_000, "a" * 1_000_000)
    prompt = build_prompt(turn, Settings(), "Name it.", Tool("t", "", {}), 100)
    assert sum(len(message.content) for message in prompt.messages) < 2 * EXCERPT_CHARS + 100
    assert [message.role for message in prompt.messages] == ["user", "assistant", "user"]
