"""Tests of answers: how directives, prefills and `max_tokens` decide blocks, deltas, stop reason and usage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.emulator.answer import ContentBlock, EmulatedAnswer, make_answer
from deploy.emulator.directive import is_directive, parse_directive
from deploy.emulator.faults import ServiceError
from deploy.emulator.request import EmulatedRequest, Turn
from tests.emulator.harness import emulate

any_text = st.text(st.characters(exclude_categories=()), max_size=200)


def answer_to(question: str, *, max_tokens: int | None = None, prefill: str = "") -> EmulatedAnswer:
    turns = (Turn("user", (question,)), *([Turn("assistant", (prefill,))] if prefill else []))
    request = EmulatedRequest("Converse", "a-model", False, [], turns, [], {}, max_tokens, 12)
    return make_answer(request, parse_directive(question) if is_directive(question) else None)


def only_block(answer: EmulatedAnswer) -> ContentBlock:
    (block,) = answer.blocks
    return block


@given(text=any_text.filter(bool), tokens=st.none() | st.integers(0, 300), chars=st.none() | st.integers(1, 300))
def test_deltas_join_to_the_scripted_text_and_none_is_empty(text: str, tokens: int | None, chars: int | None) -> None:
    block = only_block(answer_to(emulate(text=text, tokens=tokens, chars=chars)))
    assert block.content == text
    assert all(block.deltas)


def test_text_is_split_into_deltas_of_four_characters_by_default() -> None:
    assert only_block(answer_to(emulate(text="Hello wheel"))).deltas == ("Hell", "o wh", "eel")


def test_text_is_split_into_the_requested_number_of_deltas() -> None:
    assert only_block(answer_to(emulate(text="Hello wheel", tokens=2))).deltas == ("Hello", " wheel")


@given(tokens=st.integers(1, 400), chars=st.integers(1, 40))
def test_generated_text_has_the_requested_number_and_size_of_deltas(tokens: int, chars: int) -> None:
    assert {len(delta) for delta in only_block(answer_to(emulate(tokens=tokens, chars=chars))).deltas} == {chars}
    assert answer_to(emulate(tokens=tokens, chars=chars)).delta_count == tokens


def test_equal_directives_give_equal_answers_and_different_ones_different_answers() -> None:
    assert answer_to(emulate(tokens=50)) == answer_to(emulate(tokens=50))
    assert answer_to(emulate(tokens=50)) != answer_to(emulate(tokens=50, chars=4))


@pytest.mark.parametrize("keys", [{"text": ""}, {"tokens": 0}, {"deltas": []}])
def test_empty_answer_has_no_block(keys: dict[str, object]) -> None:
    assert answer_to(emulate(**keys)).blocks == ()


def test_listed_deltas_are_used_unchanged() -> None:
    assert only_block(answer_to(emulate(deltas=["a", "", "bc"]))).deltas == ("a", "", "bc")


def test_listed_deltas_cannot_be_combined_with_a_text() -> None:
    with pytest.raises(ServiceError, match=r"Invalid /emulate directive: .*\bdeltas\b") as caught:
        answer_to(emulate(deltas=["a"], text="a"))
    assert caught.value.status == 400


@given(text=any_text, chars=st.integers(1, 5))
def test_split_surrogate_pairs_join_to_the_text(text: str, chars: int) -> None:
    deltas = [block.deltas for block in answer_to(emulate(text=text, chars=chars, split_surrogates=True)).blocks]
    joined = "".join("".join(block) for block in deltas)
    assert joined.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


@pytest.mark.parametrize("keys", [{"text": "a \U0001f600 b"}, {"text": "\U0001f600", "chars": 9}, {"tokens": 9}])
def test_split_surrogates_cuts_one_emoji_in_two(keys: dict[str, object]) -> None:
    deltas = only_block(answer_to(emulate(**keys, split_surrogates=True))).deltas
    assert sum(delta.endswith("\ud83d") for delta in deltas) == 1
    assert sum(delta.startswith("\ude00") for delta in deltas) == 1


@given(limit=st.integers(1, 60))
def test_max_tokens_limits_the_deltas_of_all_blocks_together(limit: int) -> None:
    whole = answer_to(emulate(tokens=20, reasoning=True, tool=True))
    cut = answer_to(emulate(tokens=20, reasoning=True, tool=True), max_tokens=limit)
    assert cut.delta_count == min(limit, whole.delta_count)
    assert cut.stop_reason == ("max_tokens" if limit < whole.delta_count else "end_turn")
    assert cut.usage.output_tokens == cut.delta_count


def test_tool_input_cut_by_max_tokens_is_read_as_empty() -> None:
    script = emulate(tool={"input": {"city": "Leeds"}}, text="x")
    assert answer_to(script).blocks[0].tool_input == {"city": "Leeds"}
    assert only_block(answer_to(script, max_tokens=1)).tool_input == {}


def test_answer_continues_after_a_matching_prefill() -> None:
    assert only_block(answer_to(emulate(text="Hello wheel"), prefill="Hello")).deltas == (" wh", "eel")
    assert only_block(answer_to(emulate(text="Hello wheel"), prefill="Howdy")).content == "Hello wheel"
    assert answer_to(emulate(text="Hello wheel"), prefill="Hello wheel").blocks == ()


def test_reasoning_and_tool_are_omitted_after_a_matching_prefill() -> None:
    script = emulate(text="Hello wheel", reasoning=True, tool=True)
    assert only_block(answer_to(script, prefill="Hello")).content == " wheel"
    assert [block.kind for block in answer_to(script, prefill="Howdy").blocks] == ["reasoning", "tool", "text"]


@given(text=any_text.filter(bool), place=st.integers(1, 200), chars=st.integers(1, 5), split=st.booleans())
def test_prefill_and_answer_join_to_the_text(text: str, place: int, chars: int, *, split: bool) -> None:
    prefill = text[:place]
    blocks = answer_to(emulate(text=text, chars=chars, split_surrogates=split), prefill=prefill).blocks
    whole = prefill + "".join(block.content for block in blocks)
    assert whole.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


def test_prefill_of_a_generated_text_and_of_the_default_answer_is_continued() -> None:
    for question in (emulate(tokens=30), "Why is the sky blue?"):
        whole = only_block(answer_to(question)).content
        assert only_block(answer_to(question, prefill=whole[:50])).content == whole[50:]


def test_tool_changes_the_stop_reason_only_when_scripted() -> None:
    assert answer_to(emulate(tool=True)).stop_reason == "end_turn"
    assert answer_to(emulate(tool={"name": "clock", "stop_reason": "tool_use"})).stop_reason == "tool_use"
    assert answer_to(emulate(tool=True, stop_reason="guardrail_intervened")).stop_reason == "guardrail_intervened"


def test_scripted_usage_is_used_and_the_total_is_its_sum() -> None:
    usage = answer_to(emulate(text="x", usage={"inputTokens": 5, "cacheReadInputTokens": 7})).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.total_tokens) == (5, 1, 7, 13)
