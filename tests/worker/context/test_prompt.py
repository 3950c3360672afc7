"""The prompt: what it holds, in which order, and that it fits; and what the reader is told of it."""

from dataclasses import replace
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.emulator.token_counter import count_prompt_tokens
from millrace.worker.context.prompt import Context
from millrace.worker.context.source import ContextPart, Gathered, Material
from millrace.worker.contract.events import ContextEvent, Link
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.providers.bedrock.arguments import build_arguments
from millrace.worker.providers.bedrock.models import find_traits
from millrace.worker.providers.protocol import Prompt
from millrace.worker.settings.schema import Settings, load

HISTORY = [PromptMessage("user", "One?"), PromptMessage("assistant", "Two."), PromptMessage("user", "Three?")]
SMALL = "amazon.nova-lite-v1:0:4k"
PAGE = Material("search_result", "Water.", "Mill", "https://mill.example")


def first(request: ModelRequest, settings: Settings | None = None, gathered: Gathered | None = None) -> Prompt:
    return next(Context(request, settings or load({}), gathered or Gathered()).prompts())


def talk(count: int, text: str) -> tuple[PromptMessage, ...]:
    return tuple(PromptMessage("assistant" if number % 2 else "user", f"{number} {text}") for number in range(count))


def test_a_bare_request_asks_its_messages_alone() -> None:
    assert first(ModelRequest(HISTORY, "model", 10)) == Prompt("model", tuple(HISTORY), 10)


def test_the_configured_instructions_come_first_then_the_sources_the_user_and_the_requests_own() -> None:
    request = ModelRequest(HISTORY, "model", 10, "Be brief.", 0.5, 0.9, ["STOP"])
    pieces = {"own": ContextPart(instructions="It is late."), "profile": ContextPart(about_user="I am <Ada>.")}
    prompt = first(request, load({"MILLRACE_SYSTEM_PROMPT": "Be kind."}), Gathered(pieces))
    configured, own, user, asked = prompt.system
    assert (configured, own, asked) == ("Be kind.", "It is late.", "Be brief.")
    assert user.endswith("<user_profile>\nI am &lt;Ada&gt;.\n</user_profile>")
    assert (prompt.temperature, prompt.top_p, prompt.stop_sequences) == (0.5, 0.9, ("STOP",))


def test_the_history_comes_first_then_the_material_then_the_question_as_it_is() -> None:
    question = "What </material> is <this>?"
    pieces = {"history": ContextPart(history=tuple(HISTORY[:2])), "search": ContextPart(materials=(PAGE,))}
    prompt = first(ModelRequest([PromptMessage("user", question)], "model", 10), None, Gathered(pieces))
    one, two, material, asked = prompt.messages
    assert [one, two] == HISTORY[:2]
    assert material.role == "user"
    assert '<search_result title="Mill" url="https://mill.example">\nWater.\n</search_result>' in material.content
    assert asked == PromptMessage("user", question)


def test_the_conversations_context_is_the_last_sources_that_gives_one_and_material_as_well() -> None:
    pieces = {
        "history": ContextPart(slots={"to": "Oslo"}),
        "intent": ContextPart(slots={"to": "</material>東京"}),
        "none": ContextPart(),
    }
    prompt = first(ModelRequest(HISTORY[:1], "model", 10), None, Gathered(pieces))
    assert (
        '<conversation_context>\n{"to": "&lt;/material&gt;東京"}\n</conversation_context>' in prompt.messages[0].content
    )
    assert "Oslo" not in prompt.messages[0].content


def test_a_beginning_of_the_answer_is_the_last_message() -> None:
    prompt = next(Context(ModelRequest(HISTORY, "model", 10), load({})).prompts("Well,"))
    assert prompt.messages == (*HISTORY, PromptMessage("assistant", "Well,"))


def test_the_oldest_messages_are_left_out_where_the_prompt_may_have_no_more() -> None:
    request = ModelRequest(
        [*talk(500, "mill race " * 50), PromptMessage("user", "Why?")], "anthropic.claude-sonnet-4", 100
    )
    for tokens in (1000, 20_000):
        prompt = first(request, load({"MILLRACE_CONTEXT_TOKENS": str(tokens)}))
        assert prompt.messages[-1] == PromptMessage("user", "Why?")
        assert prompt.messages[-2].content.startswith("499 ")
        assert tokens / 3 < count_prompt_tokens([each.content for each in prompt.messages]) <= tokens


texts = st.text(max_size=3000) | st.sampled_from(
    ["<" * 3000, "水" * 3000, "!?" * 1500, "a b " * 700, "x" * 3000, "😀" * 900]
)
pieces = st.builds(
    ContextPart,
    history=st.lists(st.builds(PromptMessage, st.sampled_from(["user", "assistant"]), texts), max_size=8).map(tuple),
    materials=st.lists(st.builds(Material, st.just("memory"), texts, texts), max_size=3).map(tuple),
    about_user=texts.map(lambda text: text * 5),
)


@given(st.lists(pieces, min_size=1, max_size=2), st.integers(1, 8000), st.booleans())
def test_no_prompt_is_longer_than_the_models_window_as_the_local_endpoint_counts_it(
    given_pieces: list[ContextPart], max_tokens: int, is_cached: bool
) -> None:
    gathered = Gathered({str(number): piece for number, piece in enumerate(given_pieces)})
    context = Context(ModelRequest([PromptMessage("user", "Why?")], SMALL, max_tokens), load({}), gathered)
    for prompt in context.prompts():
        asked = build_arguments(prompt, is_cached=is_cached)
        tokens = count_prompt_tokens(asked["messages"], asked.get("system"))
        assert tokens + prompt.max_tokens <= find_traits(SMALL).window
        roles = [message["role"] for message in asked["messages"]]
        assert roles == [role for role, _ in zip(cycle(("user", "assistant")), roles, strict=False)]
        assert asked["messages"][-1]["content"][-1] == {"text": "Why?"}
        assert all(block["text"].strip() for each in asked["messages"] for block in each["content"] if "text" in block)


def test_what_a_model_finds_too_long_is_asked_again_with_less_down_to_the_bare_question() -> None:
    request = ModelRequest([*talk(100, "mill " * 20), PromptMessage("user", "Why?")], SMALL, 1000)
    prompts = list(Context(request, load({}), Gathered({"search": ContextPart(materials=(PAGE,))})).prompts("So"))
    lengths = [len(prompt.messages) for prompt in prompts]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == len(lengths) == 4
    assert prompts[-1].messages == (PromptMessage("user", "Why?"), PromptMessage("assistant", "So"))
    assert len(list(Context(ModelRequest(HISTORY[:1], SMALL, 10), load({})).prompts())) == 1


def test_the_reader_is_told_of_what_is_in_the_prompt() -> None:
    pieces = {
        "history": ContextPart(history=(PromptMessage("assistant", "late"), *HISTORY[:2])),
        "profile": ContextPart(about_user="I am Ada."),
        "memory": ContextPart(materials=(Material("memory", "A cat."), Material("memory", "A dog."))),
        "intent": ContextPart(intent="ask", updated={"pet": "cat"}),
        "search": ContextPart(materials=(PAGE, replace(PAGE, title="", url="https://b.example"))),
    }
    told = Context(ModelRequest(HISTORY[:1], "model", 10), load({}), Gathered(pieces, failed=1)).event()
    pages = [Link("Mill", "https://mill.example"), Link("https://b.example", "https://b.example")]
    assert told == ContextEvent(pages, history=2, profile=1, memory=2, failed=1, intent="ask", updated={"pet": "cat"})


@pytest.mark.parametrize(
    "gathered", [Gathered(failed=1), Gathered({"search": ContextPart()})], ids=["failed", "found nothing"]
)
def test_a_source_that_failed_or_found_nothing_is_told_as_well(gathered: Gathered) -> None:
    assert Context(ModelRequest(HISTORY[:1], "model", 10), load({}), gathered).event() is not None


def test_of_a_question_that_stands_alone_nothing_is_told() -> None:
    assert Context(ModelRequest(HISTORY[:1], "model", 10), load({})).event() is None
