"""The excerpt of a turn in a prompt; pure."""

from millrace.worker.after.turn import EXCERPT_CHARS, CompletedTurn, build_prompt, completed_turn, excerpt
from millrace.worker.providers.protocol import Tool
from millrace.worker.settings.schema import Settings


def test_excerpt_of_a_long_text_is_its_beginning_and_its_end() -> None:
    shortened = excerpt("a" * 10_000 + "b" * 10_000)
    assert len(shortened) <= EXCERPT_CHARS + 10
    assert (shortened[0], shortened[-1]) == ("a", "b")
    assert excerpt("a" * EXCERPT_CHARS) == "a" * EXCERPT_CHARS


def test_turn_with_a_blank_text_is_not_completed() -> None:
    assert completed_turn("g", "o", "c", "q", "a") == CompletedTurn("g", "o", "c", "q", "a")
    assert completed_turn("g", "o", "c", " \n", "a") is None
    assert completed_turn("g", "o", "c", "q", "\t") is None


def test_prompt_size_is_bounded_for_a_turn_of_any_length() -> None:
    turn = CompletedTurn("g", "o", "c", "q" * 1_000_000, "a" * 1_000_000)
    prompt = build_prompt(turn, Settings(), "Name it.", Tool("t", "", {}), 100)
    assert sum(len(message.content) for message in prompt.messages) < 2 * EXCERPT_CHARS + 100
    assert [message.role for message in prompt.messages] == ["user", "assistant", "user"]
