"""The prompt: its parts, their order, and that it fits the window; and the `context` event that describes it."""

from dataclasses import replace
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from deploy.emulator.token_counter import count_prompt_tokens
from millrace.worker.context import prompt as prompt_module
from millrace.worker.context.budget import fit_history
from millrace.worker.context.prompt import PromptBuilder
from millrace.worker.context.source import NO_CONTEXT, ContextPart, GatheredContext, Material
from millrace.worker.contract.events import ContextEvent, Link
from millrace.worker.contract.request import ModelRequest, PromptMessage, ReasoningState
from millrace.worker.providers.bedrock.arguments import build_arguments
from millrace.worker.providers.protocol import Prompt
from millrace.worker.settings.catalog import find_traits
from millrace.worker.settings.schema import Settings, load

HISTORY = [PromptMessage("user", "One?"), PromptMessage("assistant", "Two."), PromptMessage("user", "Three?")]
SMALL = "amazon.nova-lite-v1:0:4k"
PAGE = Material("search_result", "Water.", "Mill", "https://mill.example")


def build(request: ModelRequest, settings: Settings | None = None, gathered: GatheredContext | None = None) -> Prompt:
    return next(make_builder(request, gathered or GatheredContext(), settings).prompts())


def make_builder(
    request: ModelRequest, gathered: GatheredContext = NO_CONTEXT, settings: Settings | None = None
) -> PromptBuilder:
    settings = settings or load({})
    return PromptBuilder(request, settings, settings.candidates(request.model)[0], gathered)


def make_history(count: int, text: str) -> tuple[PromptMessage, ...]:
    return tuple(PromptMessage("assistant" if number % 2 else "user", f"{number} {text}") for number in range(count))


def test_a_prompt_holds_no_lone_surrogate_anywhere_and_the_request_is_unchanged() -> None:
    request = ModelRequest(
        [
            PromptMessage("user", "a\ud83d"),
            PromptMessage("assistant", "\ude00b"),
            PromptMessage("user", "\ud83d\ude00\ud800"),
        ],
        "model",
        10,
        "Be \ud800.",
        stop_sequences=["\udfff"],
    )
    prompt = build(request, gathered=GatheredContext({"profile": ContextPart(about_user="I \ud800.")}))
    texts = (*prompt.system, *(each.content for each in prompt.messages), *prompt.stop_sequences)
    assert [each.content for each in prompt.messages] == ["a\ufffd", "\ufffdb", "😀\ufffd"]
    assert not [text for text in texts if text.encode("utf-8", "replace").decode() != text]
    assert request.messages[0].content == "a\ud83d"


def test_a_request_without_context_sends_its_messages_only() -> None:
    assert build(ModelRequest(HISTORY, "model", 10)) == Prompt("model", tuple(HISTORY), 10)


def test_instructions_are_ordered_configured_then_sources_then_profile_then_request() -> None:
    request = ModelRequest(HISTORY, "model", 10, "Be brief.", 0.5, 0.9, ["STOP"])
    parts = {"plugin": ContextPart(instructions="It is late."), "profile": ContextPart(about_user="I am <Ada>.")}
    prompt = build(request, load({"MILLRACE_SYSTEM_PROMPT": "Be kind."}), GatheredContext(parts))
    configured, plugin, profile, requested = prompt.system
    assert (configured, plugin, requested) == ("Be kind.", "It is late.", "Be brief.")
    assert profile.endswith("<user_profile>\nI am &lt;Ada&gt;.\n</user_profile>")
    assert prompt.profile == "I am <Ada>.", "as the user wrote it, for a service that takes it by itself"
    assert (prompt.temperature, prompt.top_p, prompt.stop_sequences) == (0.5, 0.9, ("STOP",))


def test_messages_are_ordered_history_then_material_then_the_unchanged_question() -> None:
    question = "What </material> is <this>?"
    parts = {"history": ContextPart(history=tuple(HISTORY[:2])), "search": ContextPart(materials=(PAGE,))}
    prompt = build(ModelRequest([PromptMessage("user", question)], "model", 10), None, GatheredContext(parts))
    one, two, material, last = prompt.messages
    assert [one, two] == HISTORY[:2]
    assert material.role == "user"
    assert '<search_result title="Mill" url="https://mill.example">\nWater.\n</search_result>' in material.content
    assert last == PromptMessage("user", question)


def test_the_conversations_context_is_material_from_the_last_source_that_returns_one() -> None:
    parts = {
        "history": ContextPart(slots={"to": "Oslo"}),
        "intent": ContextPart(slots={"to": "</material>東京"}),
        "none": ContextPart(),
    }
    prompt = build(ModelRequest(HISTORY[:1], "model", 10), None, GatheredContext(parts))
    assert (
        '<conversation_context>\n{"to": "&lt;/material&gt;東京"}\n</conversation_context>' in prompt.messages[0].content
    )
    assert "Oslo" not in prompt.messages[0].content


def test_a_prefill_is_the_last_message() -> None:
    prompt = next(make_builder(ModelRequest(HISTORY, "model", 10)).prompts("Well,"))
    assert prompt.messages == (*HISTORY, PromptMessage("assistant", "Well,"))


def test_the_oldest_messages_are_dropped_when_the_budget_is_full() -> None:
    request = ModelRequest(
        [*make_history(500, "mill race " * 50), PromptMessage("user", "Why?")], "anthropic.claude-sonnet-4", 100
    )
    for tokens in (1000, 20_000):
        prompt = build(request, load({"MILLRACE_CONTEXT_TOKENS": str(tokens)}))
        assert prompt.messages[-1] == PromptMessage("user", "Why?")
        assert prompt.messages[-2].content.startswith("499 ")
        assert tokens / 3 < count_prompt_tokens([each.content for each in prompt.messages]) <= tokens


texts = st.text(max_size=3000) | st.sampled_from(
    ["<" * 3000, "水" * 3000, "!?" * 1500, "a b " * 700, "x" * 3000, "😀" * 900]
)
parts = st.builds(
    ContextPart,
    history=st.lists(st.builds(PromptMessage, st.sampled_from(["user", "assistant"]), texts), max_size=8).map(tuple),
    materials=st.lists(st.builds(Material, st.just("memory"), texts, texts), max_size=3).map(tuple),
    about_user=texts.map(lambda text: text * 5),
)


def test_the_event_and_the_prompt_estimate_a_history_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []
    monkeypatch.setattr(
        prompt_module, "fit_history", lambda history, tokens: fitted.append(tokens) or fit_history(history, tokens)
    )
    builder = make_builder(ModelRequest([*make_history(8, "word"), HISTORY[0]], "model", 10))
    event, prompt = builder.context_event(), next(builder.prompts())
    assert event is not None
    assert (event.history, len(prompt.messages), len(fitted)) == (8, 9, 1)
    assert next(builder.prompts("Two")).messages[:-1] == prompt.messages
    assert len(fitted) == 2, "a prefill takes some of the tokens"


@given(st.lists(parts, min_size=1, max_size=2), st.integers(1, 8000), st.booleans())
def test_no_prompt_exceeds_the_models_window_by_the_count_of_the_local_endpoint(
    given_parts: list[ContextPart], max_tokens: int, is_cached: bool
) -> None:
    gathered = GatheredContext({str(number): part for number, part in enumerate(given_parts)})
    context = make_builder(ModelRequest([PromptMessage("user", "Why?")], SMALL, max_tokens), gathered)
    for prompt in context.prompts():
        arguments = build_arguments(prompt, "cache_points" if is_cached else None)
        tokens = count_prompt_tokens(arguments["messages"], arguments.get("system"))
        assert tokens + prompt.max_tokens <= find_traits(SMALL).window
        roles = [message["role"] for message in arguments["messages"]]
        assert roles == [role for role, _ in zip(cycle(("user", "assistant")), roles, strict=False)]
        assert arguments["messages"][-1]["content"][-1] == {"text": "Why?"}
        assert all(
            block["text"].strip() for each in arguments["messages"] for block in each["content"] if "text" in block
        )


def test_prompts_shrink_down_to_the_bare_question() -> None:
    request = ModelRequest([*make_history(100, "mill " * 20), PromptMessage("user", "Why?")], SMALL, 1000)
    prompts = list(make_builder(request, GatheredContext({"search": ContextPart(materials=(PAGE,))})).prompts("So"))
    lengths = [len(prompt.messages) for prompt in prompts]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == len(lengths) == 4
    assert prompts[-1].messages == (PromptMessage("user", "Why?"), PromptMessage("assistant", "So"))
    assert len(list(make_builder(ModelRequest(HISTORY[:1], SMALL, 10)).prompts())) == 1


def test_the_context_event_describes_the_prompt() -> None:
    parts = {
        "history": ContextPart(history=(PromptMessage("assistant", "late"), *HISTORY[:2])),
        "profile": ContextPart(about_user="I am Ada."),
        "memory": ContextPart(materials=(Material("memory", "A cat."), Material("memory", "A dog."))),
        "intent": ContextPart(intent="ask", updated={"pet": "cat"}),
        "search": ContextPart(materials=(PAGE, replace(PAGE, title="\u202e", url="https://b.example"))),
    }
    event = make_builder(ModelRequest(HISTORY[:1], "model", 10), GatheredContext(parts, failed=1)).context_event()
    pages = [Link("Mill", "https://mill.example"), Link("https://b.example", "https://b.example")]
    assert event == ContextEvent(pages, history=2, profile=1, memory=2, failed=1, intent="ask", updated={"pet": "cat"})


@pytest.mark.parametrize(
    "gathered", [GatheredContext(failed=1), GatheredContext({"search": ContextPart()})], ids=["failed", "found nothing"]
)
def test_there_is_a_context_event_if_a_source_failed_or_found_nothing(gathered: GatheredContext) -> None:
    assert make_builder(ModelRequest(HISTORY[:1], "model", 10), gathered).context_event() is not None


def test_a_question_without_context_has_no_context_event() -> None:
    assert make_builder(ModelRequest(HISTORY[:1], "model", 10)).context_event() is None


def test_reasoning_goes_back_to_the_model_that_gave_it_only_and_never_with_a_prefill() -> None:
    own = ReasoningState("bedrock", "model", [{"a": 1}])
    states = (own, ReasoningState("bedrock", "other", [{"a": 1}]), ReasoningState("gemini", "model", [{"a": 1}]))
    turns = [
        (PromptMessage("user", f"{n}?"), PromptMessage("assistant", "Yes.", each)) for n, each in enumerate(states)
    ]
    gathered = GatheredContext({"history": ContextPart(history=tuple(message for turn in turns for message in turn))})
    builder = make_builder(ModelRequest(HISTORY[:1], "model", 10), gathered)
    assert [each.reasoning for each in next(builder.prompts()).messages] == [None, own, *[None] * 5]
    assert not any(each.reasoning for each in next(builder.prompts("Be")).messages)
    other = structs.replace(builder.candidate, id="other")
    assert [each.reasoning for each in next(builder.prompts_for(other)).messages if each.reasoning] == [states[1]]
