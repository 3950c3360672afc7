"""What is answered to which script: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.emulator.answer import Answer, Block, answer_to
from deploy.emulator.directive import is_directive, parse_directive
from deploy.emulator.errors import ServiceError
from deploy.emulator.request import Request
from tests.emulator.asking import said_by_user, scripted

any_text = st.text(st.characters(exclude_categories=()), max_size=200)


def answered(question: str, *, max_tokens: int | None = None, prefill: str = "") -> Answer:
    request = Request("a-model", said_by_user(question), question, prefill, [], {}, max_tokens, 12)
    return answer_to(request, parse_directive(question) if is_directive(question) else None)


def only_block(answer: Answer) -> Block:
    (block,) = answer.blocks
    return block


@given(text=any_text.filter(bool), tokens=st.none() | st.integers(0, 300), chars=st.none() | st.integers(1, 300))
def test_a_text_comes_whole_however_it_is_cut(text: str, tokens: int | None, chars: int | None) -> None:
    block = only_block(answered(scripted(text=text, tokens=tokens, chars=chars)))
    assert block.content == text
    assert all(block.deltas)


def test_a_text_is_cut_into_deltas_of_four_characters() -> None:
    assert only_block(answered(scripted(text="Hello wheel"))).deltas == ("Hell", "o wh", "eel")


def test_a_text_is_cut_into_as_many_deltas_as_asked_for() -> None:
    assert only_block(answered(scripted(text="Hello wheel", tokens=2))).deltas == ("Hello", " wheel")


@given(tokens=st.integers(1, 400), chars=st.integers(1, 40))
def test_a_generated_text_has_the_size_asked_for(tokens: int, chars: int) -> None:
    assert {len(delta) for delta in only_block(answered(scripted(tokens=tokens, chars=chars))).deltas} == {chars}
    assert answered(scripted(tokens=tokens, chars=chars)).length == tokens


def test_the_same_script_gives_the_same_text_and_another_gives_another() -> None:
    assert answered(scripted(tokens=50)) == answered(scripted(tokens=50))
    assert answered(scripted(tokens=50)) != answered(scripted(tokens=50, chars=4))


@pytest.mark.parametrize("keys", [{"text": ""}, {"tokens": 0}, {"deltas": []}])
def test_an_empty_answer_has_no_block(keys: dict[str, object]) -> None:
    assert answered(scripted(**keys)).blocks == ()


def test_listed_deltas_are_taken_as_they_are() -> None:
    assert only_block(answered(scripted(deltas=["a", "", "bc"]))).deltas == ("a", "", "bc")


@given(text=any_text, chars=st.integers(1, 5))
def test_split_pairs_join_to_the_text_again(text: str, chars: int) -> None:
    deltas = [block.deltas for block in answered(scripted(text=text, chars=chars, split_surrogates=True)).blocks]
    joined = "".join("".join(block) for block in deltas)
    assert joined.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


@pytest.mark.parametrize("keys", [{"text": "a \U0001f600 b"}, {"text": "\U0001f600", "chars": 9}, {"tokens": 9}])
def test_an_emoji_is_cut_in_two(keys: dict[str, object]) -> None:
    deltas = only_block(answered(scripted(**keys, split_surrogates=True))).deltas
    assert sum(delta.endswith("\ud83d") for delta in deltas) == 1
    assert sum(delta.startswith("\ude00") for delta in deltas) == 1


@given(limit=st.integers(1, 60))
def test_max_tokens_cuts_all_blocks_together(limit: int) -> None:
    whole = answered(scripted(tokens=20, reasoning=True, tool=True))
    cut = answered(scripted(tokens=20, reasoning=True, tool=True), max_tokens=limit)
    assert cut.length == min(limit, whole.length)
    assert cut.stop_reason == ("max_tokens" if limit < whole.length else "end_turn")
    assert cut.usage.output_tokens == cut.length


def test_an_answer_goes_on_after_the_prefill() -> None:
    assert only_block(answered(scripted(text="Hello wheel"), prefill="Hello")).deltas == (" wh", "eel")
    assert only_block(answered(scripted(text="Hello wheel"), prefill="Howdy")).content == "Hello wheel"
    assert answered(scripted(text="Hello wheel"), prefill="Hello wheel").blocks == ()


def test_what_comes_before_the_text_is_not_said_again_after_a_prefill() -> None:
    script = scripted(text="Hello wheel", reasoning=True, tool=True)
    assert only_block(answered(script, prefill="Hello")).content == " wheel"
    assert [block.kind for block in answered(script, prefill="Howdy").blocks] == ["reasoning", "tool", "text"]


@given(text=any_text.filter(bool), place=st.integers(1, 200), chars=st.integers(1, 5), split=st.booleans())
def test_a_prefill_and_what_follows_it_are_the_text(text: str, place: int, chars: int, *, split: bool) -> None:
    prefill = text[:place]
    blocks = answered(scripted(text=text, chars=chars, split_surrogates=split), prefill=prefill).blocks
    whole = prefill + "".join(block.content for block in blocks)
    assert whole.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


def test_a_prefill_of_the_made_up_and_of_the_plain_text_is_continued_too() -> None:
    for question in (scripted(tokens=30), "Why is the sky blue?"):
        whole = only_block(answered(question)).content
        assert only_block(answered(question, prefill=whole[:50])).content == whole[50:]


def test_a_tool_leaves_the_stop_reason_unless_it_says_so() -> None:
    assert answered(scripted(tool=True)).stop_reason == "end_turn"
    assert answered(scripted(tool={"name": "clock", "stop_reason": "tool_use"})).stop_reason == "tool_use"
    assert answered(scripted(tool=True, stop_reason="guardrail_intervened")).stop_reason == "guardrail_intervened"


def test_scripted_usage_is_taken_and_the_total_is_added_up() -> None:
    usage = answered(scripted(text="x", usage={"inputTokens": 5, "cacheReadInputTokens": 7})).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.total_tokens) == (5, 1, 7, 13)


def test_without_a_script_it_says_that_no_model_was_called() -> None:
    text = only_block(answered("Why is\nthe sky blue?")).content
    assert "No model was called" in text
    assert "> Why is\n> the sky blue?\n" in text


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"tokenz": 1}, "tokenz"),
        ({"tokens": "5"}, "tokens"),
        ({"tokens": True}, "tokens"),
        ({"chars": 0}, "chars"),
        ({"rate": -1}, "rate"),
        ({"first_delay": "soon"}, "first_delay"),
        ({"fault": "flood"}, "fault"),
        ({"at": -1}, "at"),
        ({"times": 1.5}, "times"),
        ({"text": 5}, "text"),
        ({"split_surrogates": 1}, "split_surrogates"),
        ({"reasoning": 3}, "reasoning"),
        ({"tool": {"name": "x", "inputs": {}}}, "inputs"),
        ({"stop_reason": "bored"}, "stop_reason"),
        ({"usage": {"tokens": 1}}, "tokens"),
        ({"deltas": "ab"}, "deltas"),
        ({"deltas": ["a"], "text": "a"}, "deltas"),
        ({"tokens": 1_000_000, "chars": 1_000_000}, "tokens"),
    ],
)
def test_a_wrong_key_is_named(keys: dict[str, object], named: str) -> None:
    with pytest.raises(ServiceError, match=rf"directive was refused: .*\b{named}\b") as caught:
        answered(scripted(**keys))
    assert (caught.value.status, caught.value.code) == (400, "ValidationException")


@pytest.mark.parametrize("rest", ["", "{", "[1]", "nonsense", '{"rate": NaN}', "[" * 100_000, '{"\\ud800": 1}'])
def test_a_directive_that_is_no_object_is_refused(rest: str) -> None:
    with pytest.raises(ServiceError, match="directive was refused"):
        answered("/emulate " + rest)


def test_what_follows_the_object_is_left_alone() -> None:
    assert only_block(answered(scripted(text="x") + " and thank you")).content == "x"
