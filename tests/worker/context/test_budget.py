"""Token budgets: estimates are upper bounds, the newest messages are kept, and a user's message comes first."""

import re
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.emulator.token_counter import count_tokens
from millrace.worker.context.budget import MESSAGE_TOKENS, estimate_tokens, fit_history, fit_materials, truncate
from millrace.worker.context.escaping import render_material
from millrace.worker.context.source import Material
from millrace.worker.contract.request import PromptMessage, ReasoningState

texts = st.text() | st.text("ab cd.!?\n0123456789", max_size=400) | st.text("水車 дом é😀", max_size=200)
messages = st.builds(PromptMessage, st.sampled_from(["user", "assistant"]), texts)
budgets = st.integers(0, 400)
ENGLISH = "Water from the stream turns the wheel, and the wheel drives the stones that grind the grain. " * 20


@given(texts)
def test_an_estimate_is_never_below_the_count_of_the_local_endpoint(text: str) -> None:
    assert estimate_tokens(text) >= count_tokens(text)


_TOKEN = re.compile(" ?[A-Za-z]{1,5}| ?[\u00c0-\u024f]{1,2}|[\u0370-\u07ff]{1,2}|[0-9]{1,2}|\\s+|.", re.DOTALL)


def estimate_slowly(text: str) -> int:
    pieces = sum(1 if piece.group()[0] < "\U00010000" else 3 for piece in _TOKEN.finditer(text))
    return min(len(text.encode("utf-8", "surrogatepass")), ceil(1.2 * pieces))


@given(st.text("abZ  \n\t19!é水жא😀\u0301", max_size=60), st.text())
def test_an_estimate_counts_the_runs_of_letters_that_are_one_token(common: str, text: str) -> None:
    assert estimate_tokens(common) == estimate_slowly(common)
    assert estimate_tokens(text) >= estimate_slowly(text), "rare letters may count as one token each"


def test_english_is_estimated_at_three_to_five_characters_per_token() -> None:
    assert 3 < len(ENGLISH) / estimate_tokens(ENGLISH) < 5


@given(st.lists(messages, max_size=12), budgets)
def test_a_fitted_history_is_the_newest_run_within_the_budget_and_begins_with_a_user(
    history: list[PromptMessage], tokens: int
) -> None:
    kept = fit_history(history, tokens)
    nonblank = [message for message in history if message.content.strip()]
    assert list(kept) == nonblank[len(nonblank) - len(kept) :]
    assert not kept or kept[0].role == "user"
    assert sum(MESSAGE_TOKENS + estimate_tokens(each.content) for each in kept) <= tokens


@given(st.lists(messages, max_size=12))
def test_a_history_that_fits_is_kept_from_its_first_user_message(history: list[PromptMessage]) -> None:
    nonblank = [message for message in history if message.content.strip()]
    while nonblank and nonblank[0].role != "user":
        nonblank.pop(0)
    assert list(fit_history(history, 1_000_000)) == nonblank


def test_the_oldest_messages_are_dropped_first() -> None:
    history = [PromptMessage("assistant" if number % 2 else "user", f"{number}") for number in range(10)]
    each = MESSAGE_TOKENS + estimate_tokens("1")
    assert [message.content for message in fit_history(history, 4 * each)] == ["6", "7", "8", "9"]
    assert [message.content for message in fit_history(history, 5 * each)] == ["6", "7", "8", "9"]


def test_a_message_over_the_budget_drops_everything_before_it() -> None:
    history = [
        PromptMessage("user", "a"),
        PromptMessage("assistant", "b " * 1000),
        PromptMessage("user", "c"),
        PromptMessage("assistant", "d"),
    ]
    assert [message.content for message in fit_history(history, 100)] == ["c", "d"]


@given(st.lists(st.builds(Material, st.just("memory"), texts, texts), max_size=6), budgets)
def test_materials_keep_their_order_within_the_budget_and_only_the_last_is_truncated(
    given: list[Material], tokens: int
) -> None:
    kept = fit_materials(given, tokens)
    assert sum(MESSAGE_TOKENS + estimate_tokens(render_material(each)) for each in kept) <= tokens
    for before, after in zip(given, kept, strict=False):
        assert (after.kind, after.title) == (before.kind, before.title)
        assert before.text.startswith(after.text)
    assert [each.text for each in kept[:-1]] == [each.text for each in given[: len(kept[:-1])]]


@pytest.mark.parametrize("text", ["<" * 1000, "word " * 1000, "水" * 1000])
def test_a_material_is_truncated_by_its_rendered_length(text: str) -> None:
    (kept,) = fit_materials([Material("memory", text)], 200)
    assert 100 < MESSAGE_TOKENS + estimate_tokens(render_material(kept)) <= 200


@given(texts, budgets)
def test_a_truncated_text_is_a_prefix_within_the_budget(text: str, tokens: int) -> None:
    beginning = truncate(text, tokens)
    assert text.startswith(beginning)
    assert estimate_tokens(beginning) <= tokens
    if estimate_tokens(text) <= tokens and len(text) <= 6 * tokens:
        assert beginning == text


def test_reasoning_counts_towards_the_budget_of_its_message() -> None:
    question, text = PromptMessage("user", "Why?"), "x" * 30
    bare = PromptMessage("assistant", text)
    full = PromptMessage("assistant", text, ReasoningState("bedrock", "m", [{"text": ENGLISH}]))
    assert fit_history([question, bare], 100) == (question, bare)
    assert fit_history([question, full], 100) == ()
    assert fit_history([question, full], 10_000) == (question, full)
